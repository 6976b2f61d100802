"""Data that were given for a split, or to train on besides, become part of the data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from regraft.dataset import guard
from regraft.dataset.classes import training, used, with_classes, with_numbers_as
from regraft.dataset.rows import (
    DROPPED,
    NEW_CLASS,
    BoxCounts,
    Dataset,
    Problem,
    Split,
)
from regraft.errors import DataError
from regraft.events import Said, Tell


def with_given(main: Dataset, name: Split, other: Dataset) -> Dataset:
    """The data set with another one as its valid or test split.

    Raises:
        DataError: the other one has splits, or all that there is to train on lies in it.
    """
    if any(sample.split for sample in other):
        raise DataError(
            f"The data given for {name} has splits of its own.",
            where=guard.shown(other.path),
            mend="name the folder of one of them, or take the column split out",
        )
    before, main = training(main), _without(main, other)
    if before and not training(main):
        raise DataError(
            f"All {main.thing}s to train on were given for {name} as well; "
            "what is measured on is not learnt from.",
            where=guard.shown(other.path),
            mend=f"give other {main.thing}s with --{name}, or leave it out",
        )
    replaced = [sample for sample in main if sample.split == name]
    text = f"{name} is taken from {guard.shown(other.path)} instead."
    problems = [Problem("replaced", sample.id, text, "left out") for sample in replaced]
    kept = [
        replace(sample, split=sample.split or "train") for sample in main if sample.split != name
    ]
    return _together(main.with_samples(kept), other, name, name).with_problems(problems)


def with_more(main: Dataset, other: Dataset) -> Dataset:
    """The data set with another one to train on besides, whatever splits that has.

    What the data set's own validation split is still to be taken from has no split then, so that
    nothing else is.

    Raises:
        DataError: all of the data set lies in the other one.
    """
    before, main = len(main), _without(main, other)
    if before and not len(main):
        raise DataError(
            f"All {main.thing}s were given with --more as well, so none are left to measure on.",
            where=guard.shown(other.path),
            mend="give other data with --more, or leave it out",
        )
    if not main.split("valid"):
        main = main.with_samples(
            replace(sample, split="") if sample.split == "train" else sample for sample in main
        )
    together = _together(main, other, "more", "train")
    names = used(main, main.samples)
    new = sorted(set(together.classes) - names)
    return together.with_problems(_new_class(name, names) for name in new)


def say_new_classes(dataset: Dataset, tell: Tell) -> None:
    """Tell which classes only `--more` has: each may be a slip of whoever typed it."""
    for problem in dataset.problems:
        if problem.kind == NEW_CLASS:
            tell(Said(f"warning: {problem.what}"))


def _new_class(name: str, known: Iterable[str]) -> Problem:
    """What is said of a class that `known` ones do not have."""
    by_small = {other.casefold(): other for other in known}
    near = get_close_matches(name.casefold(), sorted(by_small), 1)
    asked = f"; did you mean {by_small[near[0]]}?" if near else "."
    return Problem(NEW_CLASS, name, f"{name} is a class of --more alone{asked}", "learnt too")


def with_named_splits(dataset: Dataset) -> Dataset:
    """Where some samples have a split, the others train."""
    if not any(sample.split for sample in dataset) or all(sample.split for sample in dataset):
        return dataset
    problems = [
        Problem("no-split", sample.id, "It has no split where others have.", "put into train")
        for sample in dataset
        if not sample.split
    ]
    samples = (replace(sample, split=sample.split or "train") for sample in dataset)
    return dataset.with_samples(samples).with_problems(problems)


def _together(main: Dataset, other: Dataset, prefix: str, split: Split) -> Dataset:
    """One data set of two, with the classes of both."""
    names = used(main, main.samples)
    other = with_numbers_as(other, names)
    names |= used(other, other.samples)
    several = main.multilabel or other.multilabel
    main = with_classes(main, main.samples, names, several)
    added = [
        replace(sample, id=f"{prefix}:{sample.id}", split=split)
        for sample in with_classes(other, other.samples, names, several)
    ]
    return replace(
        main,
        samples=tuple(sorted([*main.samples, *added], key=lambda sample: sample.id)),
        found=main.found + other.found,
        box_counts=_counted_together(main.box_counts, other.box_counts),
    ).with_problems(
        replace(problem, where=f"{prefix}:{problem.where}") for problem in other.problems
    )


def _counted_together(one: BoxCounts | None, other: BoxCounts | None) -> BoxCounts | None:
    if one is None or other is None:
        return None
    return BoxCounts(
        one.found + other.found,
        one.mended + other.mended,
        one.refused + other.refused,
        one.used + other.used,
        one.crowds + other.crowds,
    )


def _without(main: Dataset, other: Dataset) -> Dataset:
    """The data set without the files of another that lies inside it.

    Texts of a table are no files: where both have the same one, it is a leak and said to be.
    """
    sources = {sample.source for sample in other if isinstance(sample.source, Path)}
    samples = tuple(sample for sample in main if sample.source not in sources)
    problems = main.problems
    root, inner = main.path.resolve(), other.path.resolve()
    if inner.is_dir() and inner.is_relative_to(root) and inner != root:
        begin = guard.shown(inner.relative_to(root)) + "/"
        problems = tuple(p for p in problems if not p.where.startswith(begin))
    fewer = len(main) - len(samples) + _dropped(main.problems) - _dropped(problems)
    return replace(main, samples=samples, problems=problems, found=main.found - fewer)


def _dropped(problems: Iterable[Problem]) -> int:
    return sum(problem.done in DROPPED for problem in problems)
