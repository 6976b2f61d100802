"""Pools of samples without labels."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_pictures import classes

from regraft.dataset import Dataset, read_all, read_unlabelled, read_unlabelled_texts
from regraft.dataset.unlabelled import recognises_texts
from regraft.errors import DataError, UsageError
from regraft.events import Event, Said

NUMBERS = ("one", "two", "three", "four", "five")


def test_a_pool_of_which_all_is_labelled_is_empty(tmp_path: Path) -> None:
    classes(tmp_path / "labelled", cat=2, dog=2)
    known = read_all(tmp_path / "labelled")
    pool = read_unlabelled(tmp_path / "labelled" / "cat", apart_from=known.samples)
    assert len(pool) == 0 and [p.kind for p in pool.problems] == ["leak"] * 2
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="No picture can be used"):
        read_unlabelled(tmp_path / "none", apart_from=known.samples)


def test_pools_are_tables_folders_and_files(tmp_path: Path) -> None:
    texts = [f"Some text, number {word}, of which there are several." for word in NUMBERS]
    (tmp_path / "mails.jsonl").write_text("\n".join(json.dumps({"body": t}) for t in texts))
    assert [s.source for s in read_unlabelled_texts(tmp_path / "mails.jsonl")] == texts
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    for word, text in zip(NUMBERS, texts, strict=True):
        (folder / f"{word}.txt").write_text(text)
    (folder / "again.txt").write_text(texts[0])
    (folder / "odd.bin").write_bytes(b"\0\1")
    found = read_unlabelled_texts(tmp_path / "deep")
    assert sorted(str(s.source) for s in found) == sorted(texts)
    kinds = {(p.kind, p.where) for p in found.problems}
    assert {("repeated", "er/one.txt"), ("not-a-text", "er/odd.bin")} <= kinds
    assert found.found == len(found) + sum(
        p.done in ("left out", "ignored") for p in found.problems
    )
    (tmp_path / "book.txt").write_text("\n\n\n".join("word " * 150 + word for word in NUMBERS))
    blocks = read_unlabelled_texts(tmp_path / "book.txt", max_bad=0)
    assert [len(str(s.source)) > 1000 for s in blocks] == [True, True, False]
    lines = [f"{word} " * 20 + f"and so on {i}" for i, word in enumerate(NUMBERS * 20)]
    (tmp_path / "lines.txt").write_text("\n".join([*lines, "", "A paragraph.", "", "And another."]))
    *divided, last = read_unlabelled_texts(tmp_path / "lines.txt", max_bad=0)
    assert all(1000 <= len(str(s.source)) < 1200 for s in divided[:-1])
    assert "\n".join(str(s.source) for s in divided) == "\n".join(lines)
    assert last.source == "A paragraph.\n\nAnd another."
    with pytest.raises(DataError, match="no such file"):
        read_unlabelled_texts(tmp_path / "nowhere")


def test_a_guess_of_a_files_encoding_is_said(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes("Grüße aus Köln".encode("cp1252"))
    (block,) = found = read_unlabelled_texts(tmp_path / "book.txt", max_bad=0)
    assert block.source == "Grüße aus Köln" and found.found == 1
    assert [(p.kind, p.done) for p in found.problems] == [("encoding", "read as Windows-1252")]
    (tmp_path / "book.csv").write_bytes("text\nGrüße aus Köln\n".encode("cp1252"))
    found = read_unlabelled_texts(tmp_path / "book.csv", max_bad=0)
    assert [(p.kind, p.done) for p in found.problems] == [("encoding", "read as Windows-1252")]


def test_a_long_line_is_divided_between_words(tmp_path: Path) -> None:
    spaced = " ".join(f"word{i}" for i in range(3000))
    unspaced = "".join(chr(0x4E00 + i) for i in range(9000))
    for line in (spaced, unspaced):
        (tmp_path / "line.txt").write_text(f"{line}\nA short one.\n")
        blocks = [str(s.source) for s in read_unlabelled_texts(tmp_path / "line.txt", max_bad=0)]
        assert "".join(blocks) == f"{line}\nA short one."
        assert all(1000 <= len(block) <= 1101 for block in blocks[:-1])
        assert line is unspaced or all(block.startswith("word") for block in blocks)


@pytest.mark.parametrize("read", [read_unlabelled, read_unlabelled_texts])
def test_what_is_no_share_of_bad_files_is_refused(
    tmp_path: Path, read: Callable[..., Dataset]
) -> None:
    with pytest.raises(UsageError, match="share of bad files cannot be 2"):
        read(tmp_path, max_bad=2)


def test_pictures_among_the_texts_of_a_pool_are_spoken_of(tmp_path: Path) -> None:
    for name in ("a.txt", "b.png"):
        (tmp_path / name).write_text("Some text, of which there is little.")
    told: list[Event] = []
    assert len(read_unlabelled_texts(tmp_path, tell=told.append)) == 1
    assert Said("1 picture is not read: most files here are texts") in told


def test_a_link_to_a_folder_is_not_counted_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("Some text, of which there is little.")
    (tmp_path / "odd.bin").write_bytes(b"\0\1")
    (tmp_path / "x.jpg").symlink_to(tmp_path / "sub")
    told: list[Event] = []
    assert len(read_unlabelled_texts(tmp_path, tell=told.append)) == 1
    said = [event.text for event in told if isinstance(event, Said)]
    assert said == ["1 other file is not read: most files here are texts"]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    for name in ("pipe", "pipe.txt"):
        os.mkfifo(tmp_path / name)
        assert not recognises_texts(tmp_path / name)


def test_splits_of_a_pool_are_not_looked_at(tmp_path: Path) -> None:
    classes(tmp_path, a=2)
    rows = [f"a/{number:03d}.png,pool" for number in range(2)]
    (tmp_path / "t.csv").write_text("\n".join(["path,split", *rows]))
    assert [s.split for s in read_unlabelled(tmp_path / "t.csv")] == ["train"] * 2
