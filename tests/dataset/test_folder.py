from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from made_pictures import classes, noise, saved

from regraft.dataset import check_reader
from regraft.dataset.folder import FolderReader
from regraft.errors import DataError
from regraft.store import Run


def test_classes_and_ids(tmp_path: Path) -> None:
    dataset = FolderReader().read(classes(tmp_path, owl=2, cat=1))
    assert dataset.classes == ("cat", "owl")
    assert [sample.id for sample in dataset] == ["cat/000.png", "owl/000.png", "owl/001.png"]
    assert [sample.target for sample in dataset] == [0, 1, 1]
    assert dataset.found == 3
    assert not dataset.problems


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("Train", "val", "Testing"), ("train", "test")]
)
def test_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        classes(tmp_path / name, cat=1, dog=1)
    dataset = FolderReader().read(tmp_path)
    assert dataset.classes == ("cat", "dog")
    found = {sample.split for sample in dataset}
    assert found == {"train", "test"} | ({"valid"} if len(names) == 3 else set())
    check_reader(FolderReader(), tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    dataset = FolderReader().read(classes(tmp_path, train=1, bus=1))
    assert dataset.classes == ("bus", "train")
    assert {sample.split for sample in dataset} == {""}


def test_splits_beside_classes_are_refused(tmp_path: Path) -> None:
    classes(tmp_path / "train", cat=1, dog=1)
    classes(tmp_path / "test", cat=1, dog=1)
    classes(tmp_path, extra=1)
    with pytest.raises(DataError, match="extra"):
        FolderReader().read(tmp_path)


@pytest.mark.parametrize("below", ["", "train"])
def test_a_run_among_the_data_is_no_data(tmp_path: Path, below: str) -> None:
    data = classes(tmp_path / below, cat=1, dog=1)
    if below:
        classes(tmp_path / "test", cat=1, dog=1)
    before = FolderReader().read(tmp_path)
    with Run.open(tmp_path / "photos-regraft", {}), Run.open(data / "cat" / "run", {}):
        for place in (tmp_path / "photos-regraft", data / "cat" / "run"):
            saved(noise(7), place / "pictures" / "1.png")
        assert FolderReader().read(tmp_path) == before
        assert not before.problems


def test_valid_and_test_without_train_are_refused(tmp_path: Path) -> None:
    classes(tmp_path / "valid", cat=1, dog=1)
    classes(tmp_path / "test", cat=1, dog=1)
    with pytest.raises(DataError, match="none for train"):
        FolderReader().read(tmp_path)


def test_folders_inside_a_class_belong_to_it(tmp_path: Path) -> None:
    saved(noise(0), tmp_path / "cat" / "summer" / "june" / "1.png")
    saved(noise(1), tmp_path / "dog" / "1.png")
    dataset = FolderReader().read(tmp_path)
    assert dataset.samples[0].id == "cat/summer/june/1.png"
    assert dataset.classes == ("cat", "dog")


def test_junk_is_passed_over_and_the_rest_is_reported(tmp_path: Path) -> None:
    classes(tmp_path, cat=1, dog=1)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    saved(noise(5), tmp_path / "__MACOSX" / "cat" / "1.png")
    saved(noise(6), tmp_path / "lost.png")
    (tmp_path / "notes.txt").write_text("hello")
    dataset = FolderReader().read(tmp_path)
    assert [(p.kind, p.where, p.done) for p in dataset.problems] == [
        ("no-class", "lost.png", "set aside"),
        ("not-an-image", "notes.txt", "ignored"),
    ]
    assert (len(dataset), dataset.found) == (2, 4)
    check_reader(FolderReader(), tmp_path)


def test_an_empty_class_is_reported(tmp_path: Path) -> None:
    classes(tmp_path, cat=1, dog=1, emu=0)
    dataset = FolderReader().read(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert [(p.kind, p.where) for p in dataset.problems] == [("empty-class", "emu")]
    check_reader(FolderReader(), tmp_path)


def test_one_name_coded_in_two_ways_is_one_class(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    saved(noise(0), tmp_path / "train" / composed / "grün.png")
    saved(noise(1), tmp_path / "valid" / decomposed / "grün.png")
    saved(noise(2), tmp_path / "train" / "Eule" / "1.png")
    dataset = FolderReader().read(tmp_path)
    assert dataset.classes == ("Eule", composed)
    check_reader(FolderReader(), tmp_path)


def test_pictures_without_classes_get_an_explanation(tmp_path: Path) -> None:
    for index in range(3):
        saved(noise(index), tmp_path / f"{index}.png")
    with pytest.raises(DataError) as fault:
        FolderReader().read(tmp_path)
    assert "3 pictures but no classes" in str(fault.value)
    assert "photos/cat/1.jpg" in str(fault.value)
    (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"labels are in labels\.csv"):
        FolderReader().read(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures in class folders"):
        FolderReader().read(tmp_path)


def test_videos_are_called_videos(tmp_path: Path) -> None:
    reader = FolderReader(task="video-classification")
    (tmp_path / "1.mp4").write_bytes(b"")
    with pytest.raises(DataError, match="is 1 video but no classes: which video shows what"):
        reader.read(tmp_path)
    for name in ("wave", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "wave" / "1.mp4").write_bytes(b"")
    (tmp_path / "poster.png").write_bytes(b"")
    lost, poster, empty = reader.read(tmp_path).problems
    assert (lost.kind, lost.where, lost.done) == ("no-class", "1.mp4", "set aside")
    assert (poster.kind, poster.where, poster.done) == ("not-a-video", "poster.png", "ignored")
    assert empty.what == "The class empty has no videos."


def test_the_order_is_that_of_the_ids(tmp_path: Path) -> None:
    for name in ("a/b/1.png", "a/b.png", "a-b/1.png", "a/B.png", "ä/1.png"):
        saved(noise(0), tmp_path / name)
    ids = [sample.id for sample in FolderReader().read(tmp_path)]
    assert ids == sorted(ids)
