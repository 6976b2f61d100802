from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from made_pictures import noise, saved
from made_tables import table, targets

from regraft.dataset import Dataset, check_reader
from regraft.dataset import read as read_with_splits
from regraft.dataset.table_rows import TableReader
from regraft.errors import DataError

READER = TableReader()


def read(path: Path) -> Dataset:
    check_reader(READER, path)
    return READER.read(path)


def test_path_and_label(tmp_path: Path) -> None:
    dataset = read(table(tmp_path, "path,label\nimg/1.png,owl\nimg/0.png,cat\n"))
    assert [(s.id, s.target) for s in dataset] == [("img/0.png", 0), ("img/1.png", 1)]
    assert dataset.classes == ("cat", "owl")
    assert not dataset.multilabel


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("l.csv", ["Path;Label;Split;Group", "img/0.png;cat;train;a", "img/1.png;owl;val;b"]),
        ("l.csv", ["\ufeffpath, label ,split,group", '"img/0.png","cat",Train,a', "",
                   "img/1.png,owl,dev,b"]),
        ("l.tsv", ["path\tlabel\tsplit\tgroup\r", "img/0.png\tcat\ttrain\ta\r",
                   "img/1.png\towl\tvalid\tb\r"]),
    ],
)  # fmt: skip
def test_spellings(tmp_path: Path, name: str, lines: list[str]) -> None:
    dataset = read(table(tmp_path, "\n".join(lines), name))
    assert [(s.split, s.group) for s in dataset] == [("train", "a"), ("valid", "b")]
    assert targets(dataset) == [("cat",), ("owl",)]


@pytest.mark.parametrize(
    "text",
    [
        'path,label\nimg/0.png,"cat|owl"\nimg/1.png,owl\nimg/2.png,\n',
        "path,labels\nimg/0.png,owl;cat\nimg/1.png,owl\nimg/2.png,\n",
        "path,label_owl,label_cat,notes\nimg/0.png,1,1,x\nimg/1.png,1,0,y\nimg/2.png,0,0,z\n",
        "path,owl,cat,notes\nimg/0.png,1,1,x\nimg/1.png,true,False,y\nimg/2.png,0,0,z\n",
    ],
)
def test_several_labels(tmp_path: Path, text: str) -> None:
    dataset = read(table(tmp_path, text))
    assert dataset.multilabel
    assert targets(dataset) == [("cat", "owl"), ("owl",), ()]


@pytest.mark.parametrize(
    ("column", "labels", "said"),
    [
        ("label", [*["ham"] * 15, "ham;spam", *["spam"] * 24], True),
        ("label", ["ham|spam", "ham;spam", *["spam"] * 198], True),
        ("label", ["ham|spam", "ham;spam", *["spam"] * 100], False),
        ("label", ["ham"] * 10, False),
        ("labels", [*["ham"] * 15, "ham;spam"], False),
    ],
)
def test_a_sign_in_few_labels_is_said_to_make_all_several(
    tmp_path: Path, column: str, labels: list[str], said: bool
) -> None:
    path = tmp_path / "mails.tsv"
    rows = [f"letter {n}\t{label}\n" for n, label in enumerate(labels)]
    path.write_text("".join([f"text\t{column}\n", *rows]))
    found = [p for p in READER.read(path).problems if p.kind == "several-labels"]
    assert len(found) == said
    if said:
        first = next(n for n, label in enumerate(labels) if len(label) > 4)
        assert f"Line {first + 2} has several labels ({labels[first]}), so each" in found[0].what


def test_column_classes_keep_their_capitals(tmp_path: Path) -> None:
    text = "path,label_Owl,label_CAT\nimg/0.png,1,0\nimg/1.png,0,1\n"
    assert read(table(tmp_path, text)).classes == ("CAT", "Owl")


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table(tmp_path, "")
    path = tmp_path / "labels.parquet"
    columns = {"path": ["img/0.png", "img/1.png", "img/2.png"], "picture": [b"\xff"] * 3}
    pq.write_table(pa.table({**columns, "label": [3, 12, None]}), path)
    dataset = READER.read(path)
    assert targets(dataset) == [("3",), ("12",)]
    assert [(p.kind, p.where) for p in dataset.problems] == [("no-label", "img/2.png")]
    pq.write_table(pa.table({**columns, "label": [["b|c", "a"], ["a"], []]}), path)
    assert targets(read(path)) == [("a", "b|c"), ("a",), ()]
    pq.write_table(pa.table({**columns, "a": [True, False, True], "b": [0, 1, 0]}), path)
    assert targets(read(path)) == [("a",), ("b",), ("a",)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("path,label\nimg/0.png,cat\nimg/1.png\n", 3),
        ("path,label\nimg/0.png,cat,extra\n", 2),
        ('path,label\n"img\n/0.png",cat\nimg/1.png,a,b\n', 4),
        ('path,label\nimg/0.png,"cat"x\n', 2),
        ("path,label,split\nimg/0.png,cat,train\nimg/1.png,cat,holdout\n", 3),
        ("path,label_cat\nimg/0.png,1\nimg/1.png,2\n", 3),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(DataError, match=rf"labels\.csv, line {line}\n"):
        READER.read(table(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "no rows"),
        (b"path,label\n", "no rows"),
        (b"file,label\na,b\n", "no column `path`; it has file, label"),
        (b"path,klass\nimg/0.png,b\n", "no column `label`"),
        (b"path,label,label\na,b,c\n", "Two columns are called label"),
        ("path,label\nimg/0.png,Kä\0fer\n".encode("cp1252"), "NULs among the characters"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, content: bytes, what: str) -> None:
    path = table(tmp_path, "")
    path.write_bytes(content)
    with pytest.raises(DataError, match=what):
        READER.read(path)


def test_damaged_parquet(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", b"PAR1" + bytes(range(256)) + b"PAR1", b"path,label\n"):
        path = tmp_path / "labels.parquet"
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read") as refused:
            READER.read(path)
        assert not refused.value.what.endswith("..")  # some of pyarrow's reasons end in one


def test_paths_may_not_leave_the_folder(tmp_path: Path) -> None:
    outside = saved(noise(9), tmp_path / "outside.png")
    root = tmp_path / "data"
    text = (
        f"path,label\nimg/0.png,cat\n../outside.png,cat\n{outside},cat\n"
        "img/link.png,owl\nup/outside.png,owl\n"
    )
    path = table(root, text)
    (root / "img/link.png").symlink_to(outside)
    (root / "up").symlink_to(tmp_path)
    dataset = read(path)
    assert [s.id for s in dataset] == ["img/0.png"]
    assert [p.kind for p in dataset.problems] == ["outside"] * 4
    assert dataset.problems[0].where == "../outside.png"


def test_paths_spelt_by_other_systems(tmp_path: Path) -> None:
    saved(noise(7), tmp_path / unicodedata.normalize("NFD", "grün.png"))
    absolute = tmp_path.resolve() / "img" / "2.png"
    green = unicodedata.normalize("NFC", "grün.png")
    text = f"path,label\n{green},a\nimg\\1.png,b\n{absolute},b\n./img//3.png,a\n"
    dataset = read(table(tmp_path, text))
    assert len(dataset) == 4
    assert {"img/1.png", "img/2.png", "img/3.png"} < {s.id for s in dataset}


def test_rows_that_cannot_be_used_are_reported(tmp_path: Path) -> None:
    text = (
        "path,label\nimg/0.png,cat\nimg/0.png,cat\nimg/1.png,cat\n./img/1.png,owl\n"
        'img/9.png,owl\nimg/2.png,\n"a\nb.png",owl\n,cat\n'
    )
    dataset = read(table(tmp_path, text))
    assert [s.id for s in dataset] == ["img/0.png"]
    assert [(p.kind, p.where, p.done) for p in dataset.problems] == [
        ("missing", "img/9.png", "set aside"),
        ("missing", "a\\nb.png", "set aside"),
        ("missing", "line 10", "set aside"),
        ("no-label", "img/2.png", "set aside"),
        ("repeated-row", "img/0.png", "left out"),
        ("conflict", "img/1.png", "set aside"),
        ("repeated-row", "img/1.png", "left out"),
    ]


def test_a_file_with_different_labels_is_used_with_none(tmp_path: Path) -> None:
    rows = ["0.png,cat", "1.png,cat", "1.png,owl", "1.png,cat", "2.png,owl", "2.png,owl"]
    dataset = read(table(tmp_path, "\n".join(["path,label", *(f"img/{row}" for row in rows)])))
    assert [s.id for s in dataset] == ["img/0.png", "img/2.png"]
    (conflict,) = [p for p in dataset.problems if p.done == "set aside"]
    assert (conflict.kind, conflict.where) == ("conflict", "img/1.png")
    assert conflict.what == "Lines 3 and 4 give it different labels; none is used."
    repeated = [p.what for p in dataset.problems if p.done == "left out"]
    assert repeated == [
        f"Lines {a} and {b} name the same file." for a, b in [(3, 4), (3, 5), (6, 7)]
    ]


def test_groups_with_half_a_character_are_divided_like_others(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "label": "ab"[n % 2], "group": f"\ud800{n // 2}"} for n in range(12)]
    path = table(tmp_path, "\n".join(map(json.dumps, rows)), "t.jsonl")
    groups: dict[str, set[str]] = {}
    for sample in read_with_splits(path):
        groups.setdefault(sample.group, set()).add(sample.split)
    assert sorted(groups) == [f"\\ud800{n}" for n in range(6)]
    assert [len(splits) for splits in groups.values()] == [1] * 6
