"""Which reader reads what, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_pictures import classes, noise, saved

from regraft.dataset import (
    check_column_names,
    guess_task,
    read,
    read_all,
    read_to_inspect,
    reader_of,
)
from regraft.errors import DataError, UsageError
from regraft.labelling.reader import AnyReader
from regraft.store import Run


@pytest.mark.parametrize("end", ["xlsx", "XLS", "ods"])
def test_a_spreadsheet_is_called_one(tmp_path: Path, end: str) -> None:
    (tmp_path / f"a.{end}").write_bytes(b"PK")
    with pytest.raises(DataError, match="This is a spreadsheet") as raised:
        read(tmp_path / f"a.{end}")
    assert "CSV" in raised.value.mend


def test_what_is_packed_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match="This is an archive") as raised:
        read(tmp_path / "a.csv.gz")
    assert "unpack it" in raised.value.mend


def test_json_lines_called_json_and_in_a_folder_lead_to_the_table(tmp_path: Path) -> None:
    for name in ("a.json", "train.jsonl"):
        (tmp_path / name).write_text('{"text": "some", "label": "a"}\n' * 2)
    with pytest.raises(DataError, match="no JSON") as raised:
        read(tmp_path / "a.json")
    assert "call it .jsonl" in raised.value.mend
    (tmp_path / "a.json").unlink()
    with pytest.raises(DataError) as raised:
        read(tmp_path)
    assert "labels are in train.jsonl, give that file" in raised.value.mend


@pytest.mark.parametrize(
    ("made", "mend"),
    [
        ("backbone/backbone.json", "--backbone "),
        ("model/model.json", "regraft predict "),
        ("steps/x", "repeat the command that began it"),
    ],
)
def test_a_run_is_no_data(tmp_path: Path, made: str, mend: str) -> None:
    with Run.open(tmp_path / "my run", {"data": "photos"}):
        pass
    (tmp_path / "my run" / made).parent.mkdir(exist_ok=True)
    (tmp_path / "my run" / made).write_text("{}")
    for look in (guess_task, read, read_all, read_to_inspect):
        with pytest.raises(UsageError, match="this is a run") as caught:
            look(tmp_path / "my run")
        assert caught.value.where == str(tmp_path / "my run")
        assert mend in caught.value.mend
        assert (f"'{tmp_path}/my run'" in caught.value.mend) == (made != "steps/x")


def test_columns_are_of_tables_alone(tmp_path: Path) -> None:
    classes(tmp_path / "a", cat=3, dog=3)
    with pytest.raises(UsageError, match="Only tables have columns; .*/a is none") as caught:
        read(tmp_path / "a", reader=reader_of("label=foo"))
    assert caught.value.where == "--columns"
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none.csv", reader=reader_of("label=foo"))


@pytest.mark.parametrize("given", ["HTTPS://example.com/photos.zip", "s3://bucket/photos"])
def test_an_address_is_not_fetched_and_said_to_be_one(given: str) -> None:
    with pytest.raises(DataError, match="no such file or folder") as caught:
        read(given)
    assert caught.value.where == given
    assert caught.value.mend.startswith("this is an address: fetch what lies there yourself")


def test_of_an_address_of_a_file_the_path_is_to_be_given() -> None:
    with pytest.raises(DataError, match="no such file or folder") as caught:
        read("file:///home/photos")
    assert caught.value.where == "file:///home/photos"
    assert caught.value.mend.endswith("give the path alone, /home/photos")


def test_data_for_another_task_lead_to_the_option_where_there_is_one(tmp_path: Path) -> None:
    classes(tmp_path, cat=3, dog=3)
    with pytest.raises(DataError, match="not for object-detection") as caught:
        read(tmp_path, task="object-detection")
    assert caught.value.mend == "leave --task out, or give pictures with boxes"
    with pytest.raises(DataError, match="not for object-detection") as caught:
        read_all(tmp_path, task="object-detection")
    assert caught.value.mend == "give pictures with boxes"


@pytest.mark.parametrize("columns", ["text,label", "text,kind", "remark,comment,kind"])
def test_texts_where_boxes_are_needed_lead_to_boxes_and_to_no_columns(
    tmp_path: Path, columns: str
) -> None:
    row = ",".join(["some words that are no box"] * len(columns.split(",")))
    (tmp_path / "a.csv").write_text(f"{columns}\n{row}\n{row}\n")
    with pytest.raises(DataError) as caught:
        read_all(tmp_path / "a.csv", task="object-detection", reader=AnyReader())
    assert "boxes" in caught.value.what and "column" not in str(caught.value)
    if columns.startswith("text"):
        assert "these are texts with their classes, and pictures with boxes" in caught.value.what
        with pytest.raises(DataError, match="these are texts .*, and pictures with their classes"):
            read_all(tmp_path / "a.csv", task="image-classification", reader=AnyReader())


def test_a_column_that_is_not_there_is_named_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nsome,a\n")
    (tmp_path / "a.jsonl").write_text('{"text": "some"}\n{"text": "more", "kind": "a"}\n')
    with pytest.raises(DataError, match="no column Foo; there are text, label") as caught:
        check_column_names(reader_of("text=Foo"), tmp_path / "a.csv")
    assert caught.value.where == str(tmp_path / "a.csv")
    check_column_names(reader_of("text=text,label=LABEL"), tmp_path / "a.csv")
    check_column_names(reader_of("label=kind"), tmp_path / "a.jsonl")


def test_pictures_without_boxes_are_told_of_boxes_where_these_are_asked_for(
    tmp_path: Path,
) -> None:
    classes(tmp_path, images=3)
    with pytest.raises(DataError, match="no boxes in a known format") as caught:
        read_all(tmp_path / "images", task="object-detection", reader=AnyReader())
    assert "COCO" in caught.value.mend and "a table of boxes" in caught.value.mend


@pytest.mark.parametrize("task", ["object-detection", None])
@pytest.mark.parametrize(
    ("name", "content", "what"),
    [("a.parquet", "PAR1 no", "The table cannot be read: "), ("a.jsonl", "[{}]", "a JSON array")],
)
def test_a_damaged_table_is_told_as_such_whatever_is_asked_for(
    tmp_path: Path, task: str | None, name: str, content: str, what: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=what):
        read_all(tmp_path / name, task=task, reader=AnyReader())


def test_paths_that_are_no_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(
        DataError,
        match=r"not a data set of boxes or a folder of classes or a table(.|\n)*photos/cat",
    ):
        read(saved(noise(0), tmp_path / "one.jpg"))
    with pytest.raises(DataError, match="no such file or folder"):
        read(classes(tmp_path / "a", cat=3, dog=3), valid=tmp_path / "nowhere")
