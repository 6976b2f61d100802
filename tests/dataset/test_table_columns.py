from __future__ import annotations

from pathlib import Path

import pytest
from made_pictures import noise, saved
from made_tables import table, targets

from regraft.dataset import Dataset, check_reader, read_all
from regraft.dataset.table_columns import task_of
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
