"""Data given for a split, or to train on besides."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_pictures import classes, noise, saved
from tallies import accounted, kinds, splits

from regraft.dataset import Dataset, read, read_to_inspect
from regraft.errors import DataError
from regraft.events import Event, Said
from regraft.tasks import Classification


def test_valid_and_test_from_elsewhere(tmp_path: Path) -> None:
    classes(tmp_path / "data" / "train", cat=5, dog=5)
    saved(noise(50), tmp_path / "data/valid/cat/old.png")
    saved(noise(51), tmp_path / "new/cat/1.png")
    saved(noise(52), tmp_path / "new/dog/1.png")
    saved(noise(53), tmp_path / "new/emu/1.png")
    dataset = read(tmp_path / "data", valid=tmp_path / "new")
    assert splits(dataset) == {"train": 10, "valid": 2}
    assert {s.id for s in dataset.split("valid")} == {"valid:cat/1.png", "valid:dog/1.png"}
    assert dataset.classes == ("cat", "dog")
    assert kinds(dataset) == {"replaced": 1, "unknown-class": 1, "no-test": 1}
    assert accounted(dataset)


def test_more_is_trained_on_and_never_measured_on(tmp_path: Path) -> None:
    classes(tmp_path / "data", cat=20, dog=20)
    for name in range(30):
        saved(noise(500 + name), tmp_path / f"more/cat/{name}.png")
    saved(noise(600), tmp_path / "more/emu/1.png")
    shutil.copy(tmp_path / "data/dog/003.png", tmp_path / "more/dog.png")
    (tmp_path / "more/dog").mkdir()
    (tmp_path / "more/dog.png").rename(tmp_path / "more/dog/again.png")
    alone, both = read(tmp_path / "data"), read(tmp_path / "data", more=tmp_path / "more")
    assert both.classes == ("cat", "dog", "emu")
    assert {s.id for s in both if s.id.startswith("more:")} <= {s.id for s in both.split("train")}
    assert len(both.split("valid")) == len(alone.split("valid")) == 6
    assert len(both.split("test")) == len(alone.split("test")) == 6
    # What stands in both is learnt from, once, and measured on nowhere.
    assert [s.id for s in both if s.sha256 == _sha(alone, "dog/003.png")] == ["more:dog/again.png"]
    assert accounted(both)


def test_a_class_of_more_alone_is_warned_of(tmp_path: Path) -> None:
    classes(tmp_path / "data", Trousers=10, Dress=10)
    for name in ("Trouser", "dress", "Dress", "wellington"):
        saved(noise(len(name) + 600 + name.islower()), tmp_path / f"more/{name}/1.png")
    events: list[Event] = []
    dataset = read(tmp_path / "data", more=tmp_path / "more", tell=events.append)
    said = [problem.what for problem in dataset.problems if problem.kind == "new-class"]
    assert said == [
        "Trouser is a class of --more alone; did you mean Trousers?",
        "dress is a class of --more alone; did you mean Dress?",
        "wellington is a class of --more alone.",
    ]
    told = [event.text for event in events if isinstance(event, Said)]
    assert told == [f"warning: {what}" for what in said]
    # A slip of the pen does not decide what all is measured by.
    assert Classification.of(dataset).metric_name == "accuracy"


@pytest.mark.parametrize("given", ["train", "train and test", "test from elsewhere"])
def test_more_is_never_measured_on_whatever_splits_are_given(tmp_path: Path, given: str) -> None:
    root = tmp_path / "data" / "train" if given.startswith("train") else tmp_path / "data"
    classes(root, cat=20, dog=20)
    for place, first in (("data/test", 900), ("held", 920)):
        if place == "held" or given == "train and test":
            for name, kind in enumerate(("cat", "dog") * 3):
                saved(noise(first + name), tmp_path / place / kind / f"{name}.png")
    for name in range(60):
        saved(noise(500 + name), tmp_path / f"more/{('cat', 'dog')[name % 2]}/{name}.png")
    held = tmp_path / "held" if given == "test from elsewhere" else None
    dataset = read(tmp_path / "data", test=held, more=tmp_path / "more")
    more = [sample for sample in dataset if sample.id.startswith("more:")]
    assert len(more) == 60 and {sample.split for sample in more} == {"train"}
    assert dataset.split("valid") and dataset.split("test")


def test_more_that_holds_all_of_the_data_is_refused(tmp_path: Path) -> None:
    data = classes(tmp_path, cat=5, dog=5)
    with pytest.raises(DataError, match="none are left to measure on"):
        read(data, more=data)


def _sha(dataset: Dataset, name: str) -> str:
    return next(sample.sha256 for sample in dataset if sample.id == name)


def test_more_brings_its_threads_along_into_train(tmp_path: Path) -> None:
    table = "text,label,group\n"
    rows = [f"words about number {n} and {n * n},{'ab'[n % 2]},g{n // 2}\n" for n in range(80)]
    (tmp_path / "a.csv").write_text(table + "".join(rows))
    tested = read(tmp_path / "a.csv").split("test")[0].group
    (tmp_path / "more.csv").write_text(f"{table}some other words of the same thread,a,{tested}\n")
    dataset = read(tmp_path / "a.csv", more=tmp_path / "more.csv")
    assert {s.split for s in dataset if s.group == tested} == {"train"}
    assert "group-across-splits" not in kinds(dataset)
    assert dataset.split("valid") and dataset.split("test")


def test_valid_may_lie_inside_the_data(tmp_path: Path) -> None:
    classes(tmp_path, cat=5, dog=5)
    saved(noise(51), tmp_path / "held out/cat/1.png")
    saved(noise(52), tmp_path / "held out/dog/1.png")
    (tmp_path / "held out/dog/2.png").write_bytes(b"broken")
    dataset = read(tmp_path, test=tmp_path / "held out")
    assert dataset.classes == ("cat", "dog")
    assert splits(dataset) == {"train": 8, "valid": 2, "test": 2}
    assert kinds(dataset) == {"no-valid": 1, "not-an-image": 1}
    assert accounted(dataset)


def test_data_given_for_valid_has_no_splits_of_its_own(tmp_path: Path) -> None:
    classes(tmp_path / "a", cat=3, dog=3)
    classes(tmp_path / "b" / "train", cat=3, dog=3)
    with pytest.raises(DataError, match="splits of its own"):
        read(tmp_path / "a", valid=tmp_path / "b")


def test_rows_without_a_split_train(tmp_path: Path) -> None:
    names = ["train", "", "valid", "test", "train", "valid", "test"]
    rows = [f"{i}.png,{'cat' if i in (0, 2, 3) else 'dog'},{n}" for i, n in enumerate(names)]
    for index in range(len(names)):
        saved(noise(index), tmp_path / f"{index}.png")
    (tmp_path / "t.csv").write_text("path,label,split\n" + "\n".join(rows))
    dataset = read(tmp_path / "t.csv")
    assert splits(dataset) == {"train": 3, "valid": 2, "test": 2}
    assert kinds(dataset) == {"no-split": 1}


def test_where_all_of_train_is_in_valid_that_is_said(tmp_path: Path) -> None:
    data = classes(tmp_path / "data", cat=3, dog=3)
    shutil.copytree(data, tmp_path / "again")
    with pytest.raises(DataError, match="All pictures to train on are copies of pict") as caught:
        read(data, valid=tmp_path / "again")
    assert "cat/000.png: A copy of valid:cat/000.png" in caught.value.what
    assert "\n" not in caught.value.what
    assert "other pictures to validate" in caught.value.mend
    with pytest.raises(DataError, match="All pictures to train on were given for test") as caught:
        read(data, test=data)
    assert "--test" in caught.value.mend


def test_single_labels_join_several(tmp_path: Path) -> None:
    for index in range(8):
        saved(noise(index), tmp_path / f"{index}.png")
    rows = [f"{i}.png,{'a|b' if i == 3 else 'ab'[i % 2]}" for i in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]))
    (tmp_path / "v.csv").write_text("path,label\n6.png,a\n7.png,b\n")
    dataset = read(tmp_path / "t.csv", valid=tmp_path / "v.csv")
    assert [s.target for s in dataset.split("valid")] == [(0,), (1,)]


def mails(path: Path, labels: list[str], first: int = 0, split: str = "") -> Path:
    """A table of texts, no two of which are alike."""
    head = "text,label,split\n" if split else "text,label\n"
    end = f",{split}\n" if split else "\n"
    rows = [f"number {first + n} alone,{label}{end}" for n, label in enumerate(labels)]
    path.write_text(head + "".join(rows))
    return path


@pytest.mark.parametrize("name", ["valid", "test"])
def test_a_given_split_of_other_classes_is_refused(tmp_path: Path, name: str) -> None:
    data = mails(tmp_path / "t.csv", ["1", "0"] * 10)
    other = mails(tmp_path / "u.csv", ["yes", "no"] * 5, first=100)
    said = f"of the {name} split that was given: its classes are no, yes, those to train on 0, 1"
    with pytest.raises(DataError, match=said) as caught:
        read(data, **{name: other})
    assert "write the classes alike" in caught.value.mend


def test_a_split_of_other_classes_in_the_data_is_refused(tmp_path: Path) -> None:
    path = mails(tmp_path / "t.csv", ["spam", "ham"] * 10, split="train")
    test = mails(tmp_path / "u.csv", ["Spam", "Ham"] * 5, first=100, split="test")
    path.write_text(path.read_text() + test.read_text().partition("\n")[2])
    with pytest.raises(DataError, match="its classes are Ham, Spam, those to train on ham, spam"):
        read(path)
    assert "no-fit" in kinds(read_to_inspect(path))


def test_a_given_split_of_which_nothing_can_be_used_is_refused(tmp_path: Path) -> None:
    data = classes(tmp_path / "data", cat=10, dog=10)
    (tmp_path / "test/cat").mkdir(parents=True)
    (tmp_path / "test/cat/1.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"left of the test split that was given\.\n  test:cat/1"):
        read(data, test=tmp_path / "test")


@pytest.mark.parametrize(("ours", "theirs"), [("01", ["0.0", "1.0"]), (["0.0", "1.0"], "01")])
def test_whole_numbers_are_the_same_class_however_they_are_written(
    tmp_path: Path, ours: list[str], theirs: list[str]
) -> None:
    data = mails(tmp_path / "t.csv", [*ours] * 10)
    other = mails(tmp_path / "u.csv", [*theirs] * 5, first=100)
    dataset = read(data, test=other, more=mails(tmp_path / "m.csv", [*theirs], first=200))
    assert dataset.classes == tuple(ours)
    assert [s.target for s in dataset.split("test")] == [0, 1] * 5
    said = [(p.where, p.what, p.done) for p in dataset.problems if p.kind == "number-class"]
    assert said == [
        (f"{name}:{their}", f"{their} is {our} in the other data.", f"read as {our}")
        for name in ("test", "more")
        for our, their in zip(ours, theirs, strict=True)
    ]
    assert "new-class" not in kinds(dataset) and accounted(dataset)
