from __future__ import annotations

from pathlib import Path

import pytest
from made_pictures import noise, saved
from made_tables import table, targets

from regraft.dataset import Dataset, check_reader, read_all
from regraft.dataset.table import columns_of, read_table
from regraft.dataset.table_columns import lines_of, task_of
from regraft.dataset.table_rows import TableReader
from regraft.errors import DataError

READER = TableReader()


def read(path: Path) -> Dataset:
    check_reader(READER, path)
    return READER.read(path)


LONG = [f"img/{'0' * 20}{i}.png" for i in range(2)]


def with_files(root: Path, header: str, lines: list[str]) -> Path:
    """A table beside pictures with long and with short names."""
    for name in LONG:
        saved(noise(5), root / name)
    return table(root, "\n".join([header, *lines]))


@pytest.mark.parametrize("column", ["image_path", "Filename", "img", "Bild"])
@pytest.mark.parametrize("names", [LONG, ["img/0.png", "img/1.png"]])
def test_a_column_of_files_is_read_as_path(tmp_path: Path, column: str, names: list[str]) -> None:
    path = with_files(tmp_path, f"id,{column},label", [f"1,{names[0]},a", f"2,{names[1]},b"])
    assert task_of(path) == "image-classification"
    dataset = read(path)
    assert [sample.id for sample in dataset] == names and targets(dataset) == [("a",), ("b",)]
    (told,) = dataset.problems
    assert (told.kind, told.where, told.done) == ("columns", "labels.csv", "read as path")
    assert told.what == f"There is no column `path`; {column} names files."
    path.write_text(path.read_text().replace("label", "kind", 1))
    with pytest.raises(DataError, match=f"it has id, {column}, kind"):
        READER.read(path)
    assert len(TableReader(label="kind").read(path)) == 2


def test_of_several_columns_of_files_the_usual_one_is_read(tmp_path: Path) -> None:
    lines = [f"img/2.png,{LONG[0]},a", f"img/3.png,{LONG[1]},b"]
    dataset = READER.read(with_files(tmp_path, "mask,image,label", lines))
    assert [sample.id for sample in dataset] == LONG
    with pytest.raises(DataError, match="mask and front name files") as caught:
        READER.read(with_files(tmp_path, "mask,front,label", lines))
    assert caught.value.mend == "call the one that is meant `path`"


@pytest.mark.parametrize("folder", ["elsewhere/long-enough-to-be-a-text", "no"])
def test_names_of_files_that_are_not_there_are_no_texts(tmp_path: Path, folder: str) -> None:
    lines = [f"{folder}/{i}.jpg,{'ab'[i % 2]}" for i in range(4)]
    path = with_files(tmp_path, "scan,label", lines)
    with pytest.raises(DataError, match="no column `path`, and scan seems to name files") as caught:
        READER.read(path)
    assert "call it `path`" in caught.value.mend and "--columns text=scan" in caught.value.mend
    looked = f"0.jpg and the others were looked for in {tmp_path}, and most are not"
    assert looked in caught.value.what
    dataset = TableReader(text="scan").read(path)
    assert [sample.source for sample in dataset] == [f"{folder}/{i}.jpg" for i in range(4)]


@pytest.mark.parametrize("name", ["text", "Beschreibung"])
def test_texts_beside_files_stay_texts(tmp_path: Path, name: str) -> None:
    long = ["this is a long enough description", "and that is another one of these"]
    lines = [f"img/{i}.png,{text},{'ab'[i]}" for i, text in enumerate(long)]
    path = with_files(tmp_path, f"picture,{name},label", lines)
    dataset = read(path)
    assert dataset.task == "text-classification" and [s.source for s in dataset] == long
    assert [p.what for p in dataset.problems] == [
        f"The texts are in {name}; picture is not read. "
        "To learn from the files in picture, call it `path`."
    ]
    with pytest.raises(DataError, match="not for image-classification") as caught:
        read_all(path, task="image-classification")
    assert "call the column with the names of the files `path`" in caught.value.mend
    named = [line.replace("img/", "img/with-a-long-name-of-its-own-") for line in lines]
    assert [s.source for s in read(with_files(tmp_path, f"picture,{name},label", named))] == long


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_table_without_a_header_is_refused(tmp_path: Path, order: tuple[int, int]) -> None:
    path = tmp_path / "t.csv"
    cells = [(f"this is the text of number {n}", str(n % 2)) for n in range(8)]
    path.write_text("".join(f"{row[order[0]]},{row[order[1]]}\n" for row in cells))
    for reads in (READER.read, lines_of):
        with pytest.raises(DataError, match="first row seems to be data") as caught:
            reads(path)
        assert "write a header above it" in caught.value.mend
        assert "of a form with a question a column" in caught.value.mend
    header = ("0", "1")
    path.write_text(f"{header[order[0]]},{header[order[1]]}\n" + path.read_text())
    dataset = TableReader(text="0", label="1").read(path)
    assert (len(dataset), dataset.classes, dataset.multilabel) == (8, ("0", "1"), False)


def test_a_long_header_or_one_that_recurs_is_one_where_a_column_is_known(tmp_path: Path) -> None:
    question = "What, in your own words, did you like about the talk that you heard today?"
    path = tmp_path / "t.csv"
    path.write_text(f'"{question}",label\nthe cake that was served,a\nthe end of all of it,label\n')
    assert read(path).classes == ("a", "label")


def test_a_header_that_is_repeated_is_no_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Text,label\nsome text,a\nText,label\nanother one,b\nText,label\n")
    dataset = read(path)
    assert dataset.classes == ("a", "b")
    assert [(p.kind, p.what, p.done) for p in dataset.problems] == [
        ("repeated-header", "The header stands again in line 3, 5.", "no row")
    ]


def test_of_several_columns_of_classes_the_others_are_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,sentiment,topic\nsome text,good,cars\nanother one,bad,trains\n")
    dataset = read(path)
    assert dataset.classes == ("cars", "trains")
    assert [p.what for p in dataset.problems] == [
        "The classes are in topic; sentiment is not read. --columns label=sentiment reads another."
    ]
    assert not TableReader(label="topic").read(path).problems


def test_short_texts_are_found_where_no_other_column_has_words(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,Satz,label\n1,sehr gut,a\n2,schlecht,b\n")
    dataset = read(path)
    assert {sample.source for sample in dataset} == {"sehr gut", "schlecht"}
    assert [(p.what, p.done) for p in dataset.problems] == [
        ("There is no column `text`; no other holds words but Satz.", "read as text")
    ]
    for header in ("Satz,Sorte", "Satz"):
        path.write_text(f"{header}\n" + header.replace("S", "z"))
        with pytest.raises(DataError, match="which column holds texts"):
            lines_of(path)
    path.write_text("sentence,label\nsehr gut,a\nschlecht,b\n")
    assert not read(path).problems


def test_columns_without_a_name_are_called_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{n},A letter about the garden number {n},{k},,{k}" for n, k in enumerate("abab")]
    path.write_text("\n".join([",,,,label", *rows]))
    dataset = read(path)
    assert dataset.samples[0].source == "A letter about the garden number 0"
    assert read_table(path).columns == ("column 1", "column 2", "column 3", "label")
    assert "column 2" in columns_of(path)
    with pytest.raises(DataError, match="there are column 1, column 2, column 3, label"):
        TableReader(text="column 4").read(path)


def test_json_lines_have_the_columns_of_their_first_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('\n{"text": "a"}\n{"text": "b", "label": "c"}\nno object\n{"group": "d"}\n')
    assert columns_of(path) == ("text", "label")
    path.write_text("no object\n")
    assert columns_of(path) == ()


def test_of_columns_of_one_name_it_is_said_which_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label,note,note\none more,a,first,last\none less,b,first,last\n")
    assert read_table(path).cells["note"] == ("last", "last")
    (problem,) = read(path).problems
    assert (problem.kind, problem.what) == ("columns", "Several columns are called note.")
    assert problem.done == "the last of a name is kept"
