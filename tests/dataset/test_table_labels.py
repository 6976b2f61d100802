"""The classes in the cells and columns of a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from made_tables import targets

from regraft.dataset import Dataset, check_reader
from regraft.dataset.table_rows import TableReader
from regraft.errors import DataError

READER = TableReader()


def texts(root: Path, columns: str, rows: list[str] | list[tuple[int, ...]]) -> Path:
    """A table with a text before the cells of each row."""
    path = root / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", *columns.split(",")])
        for n, row in enumerate(rows):
            writer.writerow([f"text number {n}", *([row] if isinstance(row, str) else row)])
    return path


def read(path: Path) -> Dataset:
    check_reader(READER, path)
    return READER.read(path)


def test_one_column_of_0_and_1_is_no_class(tmp_path: Path) -> None:
    path = texts(tmp_path, "stars,verified", [(n % 5, n % 2) for n in range(10)])
    with pytest.raises(DataError, match="no column `label`; it has text, stars, verified"):
        READER.read(path)
    path = texts(tmp_path, "spam", ["0", "1"])
    with pytest.raises(DataError) as caught:
        READER.read(path)
    assert "--columns text=text,label=spam" in caught.value.mend


def test_a_column_without_a_name_is_no_class(tmp_path: Path) -> None:
    path = texts(tmp_path, ",spam", [(0, 1), (1, 0)])
    with pytest.raises(DataError) as caught:
        READER.read(path)
    assert "--columns text=text,label=spam" in caught.value.mend
    assert read(texts(tmp_path, ",spam,late", [(0, 1, 0), (1, 0, 1)])).classes == ("late", "spam")


def test_several_columns_of_0_and_1_are_said_to_be_classes(tmp_path: Path) -> None:
    dataset = read(texts(tmp_path, "stars,rude,late", [(4, 1, 1), (3, 0, 1), (2, 0, 0)]))
    assert targets(dataset) == [("late", "rude"), ("late",), ()]
    assert [(p.kind, p.what, p.done) for p in dataset.problems] == [
        (
            "columns",
            "There is no column `label`; rude, late hold nothing but 0 and 1.",
            "read as classes",
        )
    ]


@pytest.mark.parametrize("column", ["label", "labels", "category"])
def test_lists_that_were_written_out_are_lists(tmp_path: Path, column: str) -> None:
    cells = ["['a', 'b']", """["it's, b", "a"]""", "[]", "[3]", "c"]
    dataset = read(texts(tmp_path, column, cells))
    assert targets(dataset) == [("a", "b"), ("a", "it's, b"), (), ("3",), ("c",)]
    assert [(p.kind, p.what, p.done) for p in dataset.problems] == [
        (
            "several-labels",
            "Line 2 has a list written out (['a', 'b']) as its label.",
            "read as a list",
        )
    ]


def test_several_choices_of_label_studio_are_a_list(tmp_path: Path) -> None:
    dataset = read(texts(tmp_path, "label", ['{"choices": ["a", "b"]}', "a", '{"choices": []}']))
    assert targets(dataset) == [("a", "b"), ("a",), ()]
    with pytest.raises(DataError, match="is a list or an object"):
        READER.read(texts(tmp_path, "label", ["c", '{"taxonomy": [["a", "b"]]}']))


def test_items_of_lists_are_taken_as_they_are_written(tmp_path: Path) -> None:
    number = "1" * 5000
    cells = ["[007]", "['a\nb', 'c']", f"[{number}]", "['[\"x\"]']"]
    dataset = read(texts(tmp_path, "label", cells))
    assert targets(dataset) == [("007",), ("a\\nb", "c"), (number,), ('["x"]',)]


@pytest.mark.parametrize("cell", ["['a' 'b']", "{'a': 1}", "['a', None]", "{'a', 'b'}"])
def test_what_else_begins_like_a_list_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match="is a list or an object written out") as caught:
        READER.read(texts(tmp_path, "label", ["c", cell]))
    assert caught.value.where.endswith("t.csv, line 3")


@pytest.mark.parametrize("label", [{"k": 0}, [{"k": 0}], ["a", ["b"]]])
def test_objects_are_no_labels(tmp_path: Path, label: object) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"text": "some text", "label": label}))
    with pytest.raises(DataError, match="no name of a class") as caught:
        READER.read(path)
    assert caught.value.where.endswith("t.jsonl, line 1")


def test_a_class_that_is_others_with_a_comma_between_is_said(tmp_path: Path) -> None:
    cells = ["a", "b", "a, b", "c, d"]
    for column in ("label", "labels"):
        dataset = read(texts(tmp_path, column, cells))
        assert dataset.classes == ("a", "a, b", "b", "c, d")
        assert [(p.what, p.done) for p in dataset.problems] == [
            (
                "The class a, b is others with a comma between; | separates several.",
                "kept as one class",
            )
        ]
