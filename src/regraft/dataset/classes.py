"""Which classes can be learnt: those that train has. What others have beyond that is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from regraft.dataset import guard
from regraft.dataset.reader import LAYOUT_OF_CLASSES
from regraft.dataset.rows import (
    Dataset,
    Problem,
    Sample,
    Split,
    labels_of,
    losses,
    renumbered,
)
from regraft.errors import DataError

_WHOLE = re.compile(r"(-?\d+)(?:\.0+)?")


def learnable(dataset: Dataset) -> Dataset:
    """The data set with the classes that train has.

    Raises:
        DataError: fewer than two classes are left (one, where samples may have several).
    """
    names, thing = used(dataset, training(dataset)), dataset.thing
    leaks = [problem for problem in dataset.problems if problem.kind == "leak"]
    if leaks and not training(dataset):
        raise DataError(
            f"All {thing}s to train on are copies of {thing}s to validate or test with, and were "
            f"set aside. {leaks[0].where}: {leaks[0].what}",
            where=guard.shown(dataset.path),
            mend=f"give other {thing}s to validate and test with, or none: they are then split off",
        )
    problems = [
        Problem("empty-class", name, f"The class {name} has no {thing} left.", "class left out")
        for name in sorted(set(dataset.classes) - used(dataset, dataset.samples))
    ]
    kept: list[Sample] = []
    for sample in dataset:
        labels = [dataset.classes[label] for label in labels_of(sample.target)]
        unknown = [label for label in labels if label not in names]
        if unknown:
            what = f"No {thing} of the class {unknown[0]} is there to train on."
            problems.append(Problem("unknown-class", sample.id, what, "left out"))
        else:
            kept.append(sample)
    dataset = dataset.with_problems(problems)
    if len(names) < (1 if dataset.multilabel else 2):
        raise _too_few_classes(dataset, names)
    return with_classes(dataset, kept, names, dataset.multilabel)


def _too_few_classes(dataset: Dataset, names: set[str]) -> DataError:
    found = f"only the class {min(names)}" if names else "no class"
    others = f"add {dataset.thing}s of other classes"
    return DataError(
        f"There is {found} to train on, and telling apart takes two.{losses(dataset)}",
        where=guard.shown(dataset.path),
        mend=LAYOUT_OF_CLASSES if dataset.thing == "picture" else others,
    )


def used(dataset: Dataset, samples: Iterable[Sample]) -> set[str]:
    """The classes that some samples of a data set have."""
    return {dataset.classes[label] for sample in samples for label in labels_of(sample.target)}


def with_crowds_said(dataset: Dataset) -> Dataset:
    """The data set of boxes with a problem for each category that has crowds alone to train on.

    Args:
        dataset: split, large pictures as tiles.
    """
    there = [box for sample in training(dataset) for box in sample.boxes]
    crowds = {box.category for box in there} - {box.category for box in there if not box.crowd}
    names = [dataset.classes[category] for category in sorted(crowds)]
    what = "All boxes of the category {} to train on are crowds" + (
        ", or too large for the tiles." if dataset.tile_px else "."
    )
    return dataset.with_problems(
        Problem("only-crowds", name, what.format(name), "category not learnt") for name in names
    )


def refuse_without_objects(dataset: Dataset) -> None:
    """Stop where no box to train or to validate with is there but crowds; other data go on.

    Raises:
        DataError: says which.
    """
    if dataset.task != "object-detection":
        return
    splits: dict[Split, str] = {"train": "learn from", "valid": "validate with"}
    for split, use in splits.items():
        samples = dataset.split(split)
        if has_objects(samples):
            continue
        if any(sample.boxes for sample in samples):
            what = f"There is no object to {use}; crowds are neither learnt nor counted."
            mend = (
                "draw objects one by one, or take away the mark (iscrowd, difficult) where "
                "a box is around one object"
            )
        else:
            what = f"There is no object to {use}: no picture of the {split} split has a box."
            mend = f"add pictures with boxes, to the {split} split where splits are given"
        raise DataError(what, where=guard.shown(dataset.path), mend=mend)


def has_objects(samples: Iterable[Sample]) -> bool:
    """Whether a box is no crowd."""
    return any(not box.crowd for sample in samples for box in sample.boxes)


def training(dataset: Dataset) -> list[Sample]:
    """The samples to learn from: those of no other split."""
    return [sample for sample in dataset if sample.split in ("", "train")]


def with_numbers_as(dataset: Dataset, known: Iterable[str]) -> Dataset:
    """The data set whose classes are called as known ones are that are the same whole number.

    pandas writes the labels 0 and 1 of a file as 0.0 and 1.0 where one of them is missing.
    """
    names = set(known)
    by_number = {number: name for name in names if (number := _whole(name))}
    called = {
        name: by_number[number]
        for name in dataset.classes
        if name not in names and (number := _whole(name)) in by_number
    }
    if not called:
        return dataset
    problems = [
        Problem("number-class", old, f"{old} is {new} in the other data.", f"read as {new}")
        for old, new in called.items()
    ]
    renamed = replace(dataset, classes=tuple(called.get(name, name) for name in dataset.classes))
    merged = with_classes(renamed, renamed.samples, set(renamed.classes), renamed.multilabel)
    return merged.with_problems(problems)


def _whole(name: str) -> str:
    """The whole number that a class is called by, as it is usually written; or ""."""
    found = _WHOLE.fullmatch(name)
    return found.group(1) if found else ""


def with_classes(
    dataset: Dataset, samples: Iterable[Sample], names: set[str], multilabel: bool
) -> Dataset:
    """The data set with these samples, whose labels are all in `names`, counted anew."""
    classes = tuple(sorted(names))
    index = {name: number for number, name in enumerate(classes)}
    place = {old: index[name] for old, name in enumerate(dataset.classes) if name in index}
    several = dataset.multilabel or multilabel
    samples = tuple(renumbered(sample, place, several) for sample in samples)
    return replace(dataset, classes=classes, samples=samples, multilabel=several)
