"""What names, folders and patterns stand for."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from regraft.dataset import guard
from regraft.dataset.table_rows import TableReader
from regraft.dataset.unlabelled import read_unlabelled_texts
from regraft.errors import UnreadableSample, UsageError
from regraft.predicting import texts_of
from regraft.predicting.named import files_of, not_entered, not_meant, nothing_found, refuse_stdin


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("a.jpg", "sub/b.jpg", ".thumbs/a.jpg", "sub/.hidden.jpg", "sub/Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (".", ["a.jpg", "sub/b.jpg"]),
        ("*", ["a.jpg", "sub/b.jpg"]),
        ("**/*.jpg", ["a.jpg", "sub/b.jpg"]),
        ("s[u]b", ["sub/b.jpg"]),
        (".thumbs", [".thumbs/a.jpg"]),
        (".thumbs/*.jpg", [".thumbs/a.jpg"]),
        ("sub/.hidden.jpg", ["sub/.hidden.jpg"]),
        ("none.jpg", ["none.jpg"]),
        ("none*.jpg", []),
    ],
)
def test_hidden_files_are_no_data_unless_named(place: Path, asked: str, found: list[str]) -> None:
    assert [str(p.relative_to(place)) for p in files_of([place / asked])] == found


def test_patterns_may_be_relative(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "sub")
    assert [str(p) for p in files_of(["../*.jpg", "*.jpg"])] == ["../a.jpg", "b.jpg"]


def written(*names: str, content: bytes = b"") -> None:
    """Files of these names in the working folder."""
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content)


def test_what_lay_in_a_folder_and_claims_nothing_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written("in/readme.txt", "in/bad.jpg", "in/clip.mp4", "named.txt", "more/fits.txt")

    def ignored(modality: str, *inputs: str | Path) -> list[str]:
        answers = [{"sample": str(path), "problem": "none"} for path in files_of(inputs)]
        answers.append({"sample": "in/odd", "label": "cat"})
        return [row["sample"] for row in not_meant(answers, inputs, modality) if "ignored" in row]

    assert ignored("image", "in", Path("named.txt")) == ["in/clip.mp4", "in/readme.txt"]
    assert ignored("video", "in") == ["in/readme.txt"]
    assert ignored("image", "./named.txt", "more/*.txt") == []
    assert ignored("image", "m*") == ["more/fits.txt"]


def test_a_table_is_told_where_no_texts_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written("clips.csv")
    answers = [{"sample": "clips.csv", "problem": "No video."}]
    (told,) = not_meant(answers, ["clips.csv"], "video")
    assert "Tables are read of texts alone" in told["problem"]
    assert not_meant(answers, ["clips.csv"], "text") == answers


def test_what_is_no_text_by_its_name_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written("in/a.png", "in/b.bin", "in/c.txt", "in/README", "d.png", content=b"\0")
    inputs = ["in", "d.png", "-", "gone"]
    asked = ["in/a.png", "in/b.bin", "in/c.txt", "in/README", "d.png", "gone"]
    answers = [{"sample": name, "problem": "It holds a NUL."} for name in asked]
    answers += [{"sample": name, "problem": "empty"} for name in ("line 3", "in/t.csv, line 3")]
    told = not_meant(answers, inputs, "text")
    ignored = [row["sample"] for row in told if "ignored" in row]
    assert ignored == ["in/a.png", "in/b.bin", "in/README"]


def test_what_cannot_be_looked_into_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written("elsewhere/a.jpg", "in/b.jpg", "in/.hidden/c.jpg", "in/run/run.json")
    written("in/run/journal.jsonl", "in/run/report.html")
    os.mkfifo("in/pipe.jpg")
    for name, target in (
        ("a link.jpg", "../elsewhere/a.jpg"), ("away", "../elsewhere"), ("none", "gone"),
        ("secret", ".hidden"), ("self", "."),
    ):  # fmt: skip
        Path("in", name).symlink_to(target)
    asked = ["in", Path("in"), "i*"]
    assert [str(path) for path in files_of(asked)] == ["in/a link.jpg", "in/b.jpg"]
    told = {row["sample"]: row["problem"] for row in not_entered(asked)}
    assert list(told) == ["in/away", "in/none", "in/pipe.jpg", "in/secret"]
    assert "leaves the data" in told["in/away"]
    assert "leads nowhere" in told["in/none"]
    assert "hidden folder" in told["in/secret"]
    written("only/a")
    Path("only/a").unlink()
    Path("only/link").symlink_to("gone")
    assert "no files (only/link: This link leads nowhere.)" in nothing_found(["only"], "texts").what


def test_a_pattern_or_folder_with_nothing_in_it_is_said_beside_others(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    (place / "empty").mkdir()
    asked = ["a.jpg", "*.mkv", ".thum*/no*", "s*/*.jpg", "em*"]
    assert [str(path) for path in files_of(asked)] == ["a.jpg", "sub/b.jpg"]
    no_files = "The folder has no files; hidden ones and runs of regraft do not count."
    assert not_entered(asked) == [
        {"sample": "*.mkv", "problem": "No file fits this pattern."},
        {"sample": ".thum*/no*", "problem": "No file fits this pattern."},
        {"sample": "empty", "problem": no_files},
    ]
    written("empty/run/run.json", "empty/run/journal.jsonl")
    assert not_entered(["a.jpg", "empty"]) == [{"sample": "empty", "problem": no_files}]


def test_texts_alone_are_read_from_stdin(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    refuse_stdin(["a.jpg", place / "-"], "videos")
    with pytest.raises(UsageError, match="from stdin; this model looks at videos"):
        refuse_stdin(["a.jpg", "-"], "videos")
    written("-")
    refuse_stdin(["-"], "videos")


def test_a_folder_that_may_not_be_read_is_said(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = guard.listed

    def closed(folder: Path) -> list[tuple[Path, bool]]:
        if folder.name == "sub":  # root may read everything
            raise PermissionError(errno.EACCES, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(guard, "listed", closed)
    assert [path.name for path in files_of([place])] == ["a.jpg"]
    (row,) = not_entered([place])
    assert row["sample"] == str(place / "sub")
    assert row["problem"] == "The folder cannot be read: Permission denied."


def test_a_file_is_looked_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    asked = ["sub/b.jpg", "sub", place / "sub" / "b.jpg", "a.jpg", "*.jpg", "none", "./none"]
    assert [str(p) for p in files_of(asked)] == ["sub/b.jpg", "a.jpg", "none"]
    (place / "mail.txt").write_text("a text")
    found = [name for name, _ in texts_of(["mail.txt", "*.txt", place / "mail.txt"], "")]
    assert found == ["mail.txt"]


def test_where_nothing_was_found_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    asked = [".thumbs/none", "none*.jpg", "-"]
    (place / ".thumbs" / "none").mkdir()
    fault = nothing_found(asked, "pictures")
    assert fault.what == (
        "No pictures were found: the folder .thumbs/none has no files "
        "(hidden ones and runs of regraft do not count); no file fits none*.jpg; stdin is empty."
    )
    assert fault.where == ".thumbs/none, none*.jpg, -"
    assert "files or folders of pictures" in fault.mend


def test_lines_of_tables_are_called_as_reading_calls_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f'"say {i}\nmore",{"ab"[i % 2]}\n' for i in range(6)]
    path.write_text("text,label\n" + "".join(rows))
    found = [name for name, _ in texts_of([path], "")]
    ids = sorted(sample.id for sample in TableReader().read(path))
    assert found == [f"{path}, {id_}" for id_ in ids]
    assert ids[:2] == ["line 02", "line 04"]
    assert [sample.id for sample in read_unlabelled_texts(path)] == ids


def test_lines_of_stdin_are_read_as_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\xef\xbb\xbfgood\r\ncaf\xe9\n\nbad \0\nlast"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    found = dict(texts_of(["-"], ""))
    assert [found[f"line {n}"] for n in (1, 2, 5)] == ["good", "caf\u00e9", "last"]
    assert isinstance(found["line 4"], UnreadableSample)
    assert "line 3" not in found  # it is blank


def test_a_file_that_vanishes_while_its_folder_is_listed_is_no_fault_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone.jpg"
    monkeypatch.setattr(guard, "listed", lambda folder: [(gone, False)])
    assert list(guard.files(tmp_path)) == [(gone, None)]
