from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_pictures import broken, classes, jpeg, noise, saved, scenes
from tallies import accounted, kinds, splits

from regraft.dataset import (
    Dataset,
    Sample,
    check_reader,
    describe,
    guess_task,
    read,
    read_all,
    read_to_inspect,
)
from regraft.errors import DataError, TooManyBadSamples, UsageError
from regraft.events import Advanced, Event


def test_a_folder_of_classes(tmp_path: Path) -> None:
    dataset = read(classes(tmp_path, cat=20, dog=20))
    assert dataset.task == "image-classification"
    assert splits(dataset) == {"train": 28, "valid": 6, "test": 6}
    assert all(len(s.sha256) == 64 and s.size == (40, 48) and s.format == "PNG" for s in dataset)
    assert not dataset.problems
    assert accounted(dataset)


def test_reading_twice_and_reading_a_copy_give_the_same(tmp_path: Path) -> None:
    first = read(classes(tmp_path / "a", cat=10, dog=10))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    second = read(tmp_path / "b")
    assert first == read(tmp_path / "a")
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != read(tmp_path / "a", seed=1).fingerprint()


def test_a_renamed_file_keeps_its_split(tmp_path: Path) -> None:
    before = read(classes(tmp_path, cat=20, dog=20))
    (tmp_path / "cat" / "000.png").rename(tmp_path / "cat" / "zebra.png")
    after = read(tmp_path)
    of = {s.sha256: s.split for s in before}
    assert all(of[s.sha256] == s.split for s in after)


def test_progress_is_told_and_can_stop_the_work(tmp_path: Path) -> None:
    heard: list[Event] = []
    read(classes(tmp_path, cat=20, dog=20), tell=heard.append)
    assert heard[-1] == Advanced("reading", 40, 40)
    dones = [event.done for event in heard if isinstance(event, Advanced)]
    assert dones == sorted(set(dones))

    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(tmp_path, tell=stop)


# Given splits ------------------------------------------------------------------------------------


def test_given_splits_are_kept(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "val", "test")):
        for label, pictures in (("cat", range(4)), ("dog", range(4, 8))):
            for index in pictures:
                saved(noise(100 * number + index), tmp_path / name / label / f"{index}.png")
    dataset = read(tmp_path)
    assert splits(dataset) == {"train": 8, "valid": 8, "test": 8}
    assert all(s.id.split("/")[0].startswith(s.split[:3]) for s in dataset)


def test_no_test_is_made_when_valid_is_given(tmp_path: Path) -> None:
    classes(tmp_path / "train", cat=5, dog=5)
    saved(noise(91), tmp_path / "valid/cat/1.png")
    saved(noise(92), tmp_path / "valid/dog/1.png")
    dataset = read(tmp_path)
    assert splits(dataset) == {"train": 10, "valid": 2}
    assert kinds(dataset) == {"no-test": 1}


def test_valid_is_taken_from_train_when_test_is_given(tmp_path: Path) -> None:
    classes(tmp_path / "train", cat=17, dog=17)
    saved(noise(91), tmp_path / "test/cat/1.png")
    saved(noise(92), tmp_path / "test/dog/1.png")
    dataset = read(tmp_path)
    assert splits(dataset) == {"train": 28, "valid": 6, "test": 2}
    assert kinds(dataset) == {"no-valid": 1}


def test_a_folder_that_is_called_train_and_nothing_else(tmp_path: Path) -> None:
    classes(tmp_path / "train", cat=20, dog=20)
    assert splits(read(tmp_path)) == {"train": 28, "valid": 6, "test": 6}


def test_a_class_that_train_lacks_is_left_out(tmp_path: Path) -> None:
    classes(tmp_path / "train", cat=3, dog=3)
    saved(noise(91), tmp_path / "valid/cat/1.png")
    saved(noise(92), tmp_path / "valid/emu/1.png")
    dataset = read(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert kinds(dataset) == {"unknown-class": 1, "no-test": 1, "class-not-in-split": 1}
    assert accounted(dataset)


# Copies and groups -------------------------------------------------------------------------------


def test_copies_stay_together_and_are_reported(tmp_path: Path) -> None:
    classes(tmp_path, cat=12, dog=12)
    saved(scenes()[0], tmp_path / "cat/scene.png")
    saved(scenes()[0].resize((160, 100)), tmp_path / "cat/small.jpg")
    shutil.copy(tmp_path / "dog/003.png", tmp_path / "dog/copy.png")
    for seed in range(5):
        dataset = read(tmp_path, seed=seed)
        assert kinds(dataset) == {"duplicate": 1, "near-duplicate": 1}
        by_id = {sample.id: sample for sample in dataset}
        for one, other in (("cat/scene.png", "cat/small.jpg"), ("dog/003.png", "dog/copy.png")):
            assert by_id[one].group == by_id[other].group != ""
            assert by_id[one].copies == by_id[other].copies != ""
            assert by_id[one].split == by_id[other].split


def test_given_groups_stay_together_and_are_joined_by_copies(tmp_path: Path) -> None:
    rows = ["path,label,group"]
    for index in range(40):
        saved(noise(index % 39), tmp_path / f"{index:02d}.png")
        rows.append(f"{index:02d}.png,{'cat' if index % 2 else 'dog'},{f'animal {index // 4}'}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    for seed in range(5):
        dataset = read(tmp_path / "t.csv", seed=seed)
        found = {(s.group, s.split) for s in dataset}
        assert len(found) == 9  # the copies 00 and 39 make the first and the last group one
        (copies,) = {s.copies for s in dataset} - {""}
        assert sorted(s.id for s in dataset if s.copies == copies) == ["00.png", "39.png"]
        assert kinds(dataset)["conflict"] == 1


def test_leaks_are_left_out_of_train(tmp_path: Path) -> None:
    everything = scenes()
    for index, scene in enumerate(everything):
        name = "train" if index < 6 else "test"
        saved(scene, tmp_path / name / ("cat" if index % 2 else "dog") / f"{index}.png")
    jpeg(everything[6], 60).save(tmp_path / "train/dog/again.jpg")
    shutil.copytree(tmp_path / "test", tmp_path / "valid")
    saved(noise(1), tmp_path / "valid/cat/own.png")
    dataset = read(tmp_path)
    leaks = [p for p in dataset.problems if p.kind == "leak"]
    assert [(p.where, p.done) for p in leaks] == [
        ("train/dog/again.jpg", "left out"),
        ("valid/cat/7.png", "left out"),
        ("valid/dog/6.png", "left out"),
    ]
    assert splits(dataset) == {"train": 6, "valid": 1, "test": 2}
    assert accounted(dataset)


def test_a_group_in_two_given_splits_is_reported_and_kept(tmp_path: Path) -> None:
    rows = ["path,label,split,group"]
    for index, split in enumerate(["train", "train", "valid", "valid", "test", "test"]):
        saved(noise(index), tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{'cat' if index % 2 else 'dog'},{split},g\x1b[2J{index % 5}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    dataset = read(tmp_path / "t.csv")
    assert len(dataset) == 6
    divided = [p.where for p in dataset.problems if p.kind == "group-across-splits"]
    assert divided == [r"g\x1b[2J0"], "as one printable line"
    assert describe(dataset)["divided_groups"] == 1


def test_a_group_whose_copies_were_left_out_is_on_one_side(tmp_path: Path) -> None:
    rows = ["path,label,split,group"]
    for index, split in enumerate(["train", "train", "train", "valid", "test", "test"]):
        saved(noise(max(1, index)), tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{'cat' if index % 2 else 'dog'},{split},g{max(1, index)}")
    shutil.copy(tmp_path / "4.png", tmp_path / "copy.png")
    rows.append("copy.png,dog,train,g4")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    told = describe(read(tmp_path / "t.csv"))
    assert (told["leaks"], told["divided_groups"]) == (1, 0)


def test_a_copy_with_another_label_is_a_problem(tmp_path: Path) -> None:
    classes(tmp_path, cat=5, dog=5)
    shutil.copy(tmp_path / "cat/000.png", tmp_path / "dog/cat.png")
    dataset = read(tmp_path)
    (conflict,) = [p for p in dataset.problems if p.kind == "conflict"]
    assert "cat/000.png is cat, dog/cat.png is dog" in conflict.what
    assert conflict.done == "used as they stand"


# Too little --------------------------------------------------------------------------------------


def test_one_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only the class cat to train on, and telling apart"):
        read(classes(tmp_path, cat=5))


def test_a_class_without_a_readable_picture_is_left_out(tmp_path: Path) -> None:
    classes(tmp_path, cat=1, dog=5, emu=5)
    broken(tmp_path, 1)
    dataset = read(tmp_path)
    assert dataset.classes == ("dog", "emu")
    assert kinds(dataset) == {"truncated": 1, "empty-class": 1}
    shutil.rmtree(tmp_path / "emu")
    with pytest.raises(DataError, match=r"only the class dog(.|\n)*cat/000.png: The file ends"):
        read(tmp_path)


def test_three_samples(tmp_path: Path) -> None:
    dataset = read(classes(tmp_path, cat=2, dog=1))
    assert splits(dataset) == {"train": 2, "valid": 1}
    assert kinds(dataset) == {"few-samples": 2, "no-test": 1, "class-not-in-split": 1}
    assert "The class dog has 1 picture" in dataset.problems[1].what


def test_one_sample_a_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no class has two different pictures"):
        read(classes(tmp_path, cat=1, dog=1, emu=1))


def test_where_nothing_is_left_to_validate_with_what_was_dropped_is_named(tmp_path: Path) -> None:
    rows = ["path,label"]
    for index, label in enumerate(["cat", "dog", "emu"]):
        saved(noise(index), tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{label}")
    rows += ["../x.png,cat", "/etc/passwd,dog", "gone.png,dog", "2.png,cat"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="no class has two different pictures") as caught:
        read(tmp_path / "t.csv", max_bad=0.9)
    for name in ("../x.png", "/etc/passwd", "gone.png", "2.png"):
        assert f"{name}: " in caught.value.what
    assert len(caught.value.what.splitlines()) == 6, "what was kept is not named; 2.png twice"


def test_copies_do_not_make_a_class_larger(tmp_path: Path) -> None:
    classes(tmp_path, cat=1, dog=1)
    shutil.copy(tmp_path / "cat/000.png", tmp_path / "cat/copy.png")
    with pytest.raises(DataError, match="no class has two different pictures"):
        read(tmp_path)


def stops(folder: Path) -> list[str]:
    """What `fit` would stop at, by `inspect`."""
    told = describe(read_to_inspect(folder))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["samples"] == sum(row["total"] for row in told["classes"])
    examples = [p["examples"] for p in told["problems"] if p["done"] == ["fit stops"]]
    return [example["what"] for some in examples for example in some]


def test_what_cannot_be_fitted_can_be_inspected(tmp_path: Path) -> None:
    assert stops(classes(tmp_path / "enough", cat=4, dog=4)) == []
    (one,) = stops(classes(tmp_path / "one", cat=4))
    assert one.startswith("There is only the class cat")
    (few,) = stops(classes(tmp_path / "few", cat=1, dog=1))
    assert few.startswith("Nothing is left to validate with")
    table = tmp_path / "enough" / "t.csv"
    rows = [f"{name}/{n:03d}.png,{name},one" for name in ("cat", "dog") for n in range(4)]
    table.write_text("\n".join(["path,label,group", *rows]))
    (grouped,) = stops(table)
    assert grouped.startswith("Nothing is left to validate with")
    only, nothing = stops(classes(tmp_path / "least", cat=1))
    assert only.startswith("There is only") and nothing.startswith("Nothing is left")


def test_training_pictures_without_boxes_can_be_inspected(tmp_path: Path) -> None:
    for split, boxes in (("train", []), ("valid", [{"bbox": [2, 2, 9, 9], "category_id": 1}])):
        saved(noise(len(boxes)), tmp_path / split / "a.png")
        told = {
            "images": [{"id": 1, "file_name": "a.png", "width": 48, "height": 40}],
            "annotations": [{"id": 1, "image_id": 1} | box for box in boxes],
            "categories": [{"id": 1, "name": "cat"}],
        }
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(told))
    told = describe(read_to_inspect(tmp_path))
    assert told["splits"] == {"train": 1, "valid": 1, "test": 0}
    assert "no-fit" in [problem["kind"] for problem in told["problems"]]
    assert told["imbalance"]["text"] == "No training sample has a class."


def test_more_bad_files_than_fit_takes_are_said_where_data_are_inspected(tmp_path: Path) -> None:
    broken(classes(tmp_path, cat=4, dog=4), 1)
    assert not [p for p in read_to_inspect(tmp_path).problems if p.kind == "no-fit"]
    broken(tmp_path, 3)
    (stop,) = (p for p in read_to_inspect(tmp_path).problems if p.kind == "no-fit")
    assert "cannot be used; at most 1 may be set aside." in stop.what
    with pytest.raises(TooManyBadSamples) as caught:
        read(tmp_path)
    assert caught.value.what.startswith(stop.what)


def test_what_cannot_be_read_cannot_be_inspected(tmp_path: Path) -> None:
    broken(classes(tmp_path, cat=1), 1)
    with pytest.raises(DataError, match="no class to train on"):
        read_to_inspect(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_to_inspect(tmp_path / "nowhere")


def test_read_all_takes_what_there_is_and_splits_nothing(tmp_path: Path) -> None:
    classes(tmp_path / "train", cat=2)
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    (tmp_path / "test/cat/bad.png").write_bytes(b"no")
    dataset = read_all(tmp_path)
    assert splits(dataset) == {"": 4}
    assert kinds(dataset) == {"duplicate": 2, "not-an-image": 1}
    assert len({sample.group for sample in dataset}) == 2
    assert describe(dataset)["imbalance"]["ratio"] == 1
    assert accounted(dataset)
    classes(tmp_path / "one", cat=1)
    assert len(read_all(tmp_path / "one")) == 1
    broken(tmp_path / "one", 1)
    with pytest.raises(DataError, match="No sample can be used"):
        read_all(tmp_path / "one")


def test_classes_that_may_be_one_are_named(tmp_path: Path) -> None:
    classes(tmp_path, ham=3, HAM=3, spam=3)
    found = [p for p in read(tmp_path).problems if p.kind == "alike-classes"]
    assert [(p.where, p.done) for p in found] == [("ham", "both kept")]
    assert "HAM and ham" in found[0].what


# Arguments ---------------------------------------------------------------------------------------


def test_wrong_arguments(tmp_path: Path) -> None:
    classes(tmp_path, cat=5, dog=5)
    for task in ("cooking", "image"):
        with pytest.raises(UsageError, match=task):
            read(tmp_path, task=task)
    with pytest.raises(UsageError) as caught:
        guess_task(tmp_path, "image-clasification")
    assert caught.value.where == "--task"
    assert "did you mean image-classification?" in caught.value.mend
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="share of bad files"):
            read(tmp_path, max_bad=share)
    assert read(tmp_path, task="image-classification") == read(tmp_path)


# Several labels, and readers of one's own --------------------------------------------------------


def test_several_labels(tmp_path: Path) -> None:
    rows = ["path,labels"]
    for index in range(60):
        saved(noise(index), tmp_path / f"{index}.png")
        names = [name for name, every in (("red", 2), ("big", 5), ("old", 7)) if index % every == 0]
        rows.append(f"{index}.png,{'|'.join(names)}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    dataset = read(tmp_path / "t.csv")
    assert dataset.multilabel
    assert dataset.classes == ("big", "old", "red")
    for name in ("train", "valid", "test"):
        seen = {label for sample in dataset.split(name) for label in sample.target}
        assert seen == {0, 1, 2}
    assert not dataset.problems


def test_nearly_as_many_classes_as_samples_are_doubted(tmp_path: Path) -> None:
    rows = [f'"{"word " * n} and more",{n // 2}' for n in range(1, 60)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    (doubt,) = (p for p in read(tmp_path / "t.csv").problems if p.kind == "many-classes")
    assert "30 classes for 59 texts" in doubt.what


def test_a_split_of_one_group_is_a_doubt(tmp_path: Path) -> None:
    rows = ["text,label,split,group"]
    draw = random.Random(0)
    for n in range(24):
        split = ("train", "valid", "test")[n % 3]
        group = "mailbox" if split == "valid" else f"g{n}"
        rows.append(
            f"{' '.join(str(draw.random()) for _ in range(9))},{n // 3 % 2},{split},{group}"
        )
    (tmp_path / "t.csv").write_text("\n".join(rows))
    (doubt,) = (p for p in read(tmp_path / "t.csv").problems if p.kind == "one-group")
    assert doubt.what.startswith("All 8 texts of the validation split are of one group (mailbox):")


def test_a_group_of_copies_is_called_by_one_of_them_and_not_by_its_checksum(tmp_path: Path) -> None:
    rows = [f"{' '.join(f'{n}{k}x' for k in range(9))},{n % 2},train" for n in range(12)]
    rows += ["what stands in validation is one text,0,valid"] * 2
    (tmp_path / "t.csv").write_text("\n".join(["text,label,split", *rows]))
    (doubt,) = (p for p in read(tmp_path / "t.csv").problems if p.kind == "one-group")
    assert "validation split are of one group (that of line 14): intervals" in doubt.what


def test_samples_without_a_label_are_left_out(tmp_path: Path) -> None:
    class Unsure(ListReader):
        def read(self, path: Path) -> Dataset:
            dataset = super().read(path)
            return dataset.with_samples(
                replace(s, target=None) if s.id == "3.png" else s for s in dataset
            )

    path = listed(tmp_path, 20)
    check_reader(Unsure(), path)
    dataset = read(path, reader=Unsure())
    assert len(dataset) == 19
    assert [(p.kind, p.where) for p in dataset.problems] == [("no-label", "3.png")]
    assert accounted(dataset)


class ListReader:
    """A reader of one's own: a text file with a picture and its class in each line."""

    name = "list"

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".list" and path.is_file()

    def read(self, path: Path) -> Dataset:
        rows = sorted(line.split() for line in path.read_text().splitlines())
        names = tuple(sorted({label for _, label in rows}))
        root = path.resolve().parent
        samples = tuple(Sample(file, root / file, names.index(label)) for file, label in rows)
        return Dataset(path, "image-classification", names, samples, found=len(samples))


def listed(root: Path, count: int) -> Path:
    for index in range(count):
        saved(noise(index), root / f"{index}.png")
    path = root / "mine.list"
    path.write_text("\n".join(f"{index}.png {'ab'[index % 2]}" for index in range(count)))
    return path


def test_a_reader_of_ones_own(tmp_path: Path) -> None:
    path = listed(tmp_path, 20)
    check_reader(ListReader(), path)
    dataset = read(path, reader=ListReader())
    assert splits(dataset) == {"train": 12, "valid": 4, "test": 4}
    with pytest.raises(DataError, match="not a list"):
        read(tmp_path, reader=ListReader())
