"""Who trains, who validates, who tests.

Decisions:

- What is there to train on besides (`more`) stays in train, with all of its groups.
- Splits that are given are kept. Nothing given: 70 % train, 15 % valid, 15 % test. Train and test
  given: valid is taken from train, because it is needed. Train and valid given: no test is made,
  because taking it from either would make that smaller than its owner meant it to be.
- Groups stay together. A group is placed by a hash of (seed, its key), never by its place in a
  list, so that the same data give the same split on every machine, and a sample that is added
  later moves few others.
- Stratified: each group belongs to the rarest class that it holds, and the groups of one class
  are dealt in the order of their hashes, 15 % to test, 15 % to valid, the rest to train. With
  several labels per sample that keeps rare classes exact and common ones close.
- A class is never missing from train. One that has two groups is also in valid, one that has
  three or more also in test. Where it would be missing, its smallest group of train moves.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from regraft.dataset import guard, video
from regraft.dataset.rows import Dataset, Problem, Sample, Split, labels_of, losses
from regraft.errors import DataError
from regraft.seeds import seed_of
from regraft.wording import class_in_words, plural, some_of

SHARES: Mapping[Split, float] = {"test": 0.15, "valid": 0.15}
"""What is taken from train for each of the others when nothing is given."""

_NAMED = 5
"""Classes that a message lists."""
MANY_CLASSES, FEW_OF_EACH = 20, 3
"""So many classes, with fewer samples of each than this, may be another column than was meant."""

_DIGEST = re.compile("[0-9a-f]{64}")
"""What a group without a name is called by; see `copies.py`."""
_DIVIDED = "Clips of one file count as one; in a table a column split may divide them"


def with_splits(dataset: Dataset, seed: int) -> Dataset:
    """The data set with the splits that it lacks.

    Args:
        dataset: grouped; `split` as given.
        seed: another one makes other splits.
    """
    given = {sample.split for sample in dataset}
    problems = _few_samples(dataset) + _many_classes(dataset)
    if given <= {"", "train"}:
        dataset = _carved(dataset, SHARES, seed)
    elif "valid" not in given:
        share = SHARES["valid"] / (1 - SHARES["test"])
        dataset = _carved(dataset, {"valid": share}, seed)
        if dataset.split("valid"):
            what = f"No valid split is given; {share:.0%} of train became it."
            problems.append(Problem("no-valid", "valid", what, "made"))
    if not dataset.split("test"):
        what = "There is no test split; the score on valid, which chose the model, is the only one."
        problems.append(Problem("no-test", "test", what))
    problems += _missing_in(dataset, "valid") + _missing_in(dataset, "test")
    problems += _of_one_group(dataset, "valid") + _of_one_group(dataset, "test")
    return dataset.with_problems(problems)


def refuse_lost(given: Dataset, left: Dataset) -> None:
    """Stop where nothing is left of a split to measure on: another would be made unnoticed.

    Args:
        given: with its splits, before anything was dropped.
        left: with the classes that train has.

    Raises:
        DataError: says why.
    """
    for name in SHARES:
        lost = given.split(name)
        if not lost or left.split(name):
            continue
        classes = sorted({given.classes[label] for s in lost for label in labels_of(s.target)})
        what, mend = f"Nothing is left of the {name} split that was given", "give another"
        if set(classes) & set(left.classes):
            what += f".{losses(left)}"
        else:
            theirs, ours = some_of(classes, _NAMED), some_of(left.classes, _NAMED)
            what += f": its classes are {theirs}, those to train on {ours}."
            mend = "write the classes alike in both"
        raise DataError(
            what,
            where=guard.shown(given.path),
            mend=f"{mend}, or give none: it is then taken from the training data",
        )


def refuse_without_valid(dataset: Dataset) -> None:
    """Stop where no sample could be taken to validate with.

    Raises:
        DataError: with what was dropped.
    """
    if not dataset.split("valid"):
        raise DataError(
            f"Nothing is left to validate with: no class has {_two_different(dataset)}."
            f"{losses(dataset)}",
            where=guard.shown(dataset.path),
            mend=f"add {dataset.thing}s; twenty of each class make a start" + _joined(dataset),
        )


def _carved(dataset: Dataset, shares: Mapping[Split, float], seed: int) -> Dataset:
    """Train, or all where nothing is given, divided."""
    free: Split = "" if any(not sample.split for sample in dataset) else "train"
    fixed = {_key(sample) for sample in dataset if free == "" and sample.split == "train"}
    members: dict[str, list[Sample]] = {}
    for sample in dataset:
        if sample.split == free and _key(sample) not in fixed:
            members.setdefault(_key(sample), []).append(sample)
    units = [
        Unit(key, tuple(c for s in group for c in labels_of(s.target)), len(group))
        for key, group in sorted(members.items())
    ]
    found = dict(zip(sorted(members), divide(units, shares, seed), strict=True))
    return dataset.with_samples(
        replace(s, split=found.get(_key(s), "train")) if s.split == free else s for s in dataset
    )


def _key(sample: Sample) -> str:
    return sample.group or sample.sha256


def _two_different(dataset: Dataset) -> str:
    """What a class has to have."""
    if _cut_from_files(dataset):
        return "clips of two files"
    return f"two different {dataset.thing}s (copies and groups count once)"


def _joined(dataset: Dataset) -> str:
    """What helps besides where clips were labelled and few files."""
    if not _cut_from_files(dataset):
        return ""
    return f". {_DIVIDED}"


def _cut_from_files(dataset: Dataset) -> bool:
    return dataset.modality == "video" and any(sample.group for sample in dataset)


def _few_samples(dataset: Dataset) -> list[Problem]:
    groups = Counter(
        label for label, _ in {(c, _key(s)) for s in dataset for c in labels_of(s.target)}
    )
    samples = Counter(label for s in dataset for label in labels_of(s.target))
    problems: list[Problem] = []
    for number, name in enumerate(dataset.classes):
        if groups[number] >= 3:
            continue
        count_as = f", which count as {groups[number]}" * (samples[number] > groups[number])
        what = (
            f"The class {class_in_words(name)} has {plural(samples[number], dataset.thing)}"
            f"{count_as} (copies and groups count once): "
            f"too few to train, validate and test with{_joined(dataset)}."
        )
        problems.append(Problem("few-samples", name, what))
    return problems


def _many_classes(dataset: Dataset) -> list[Problem]:
    """Doubt where classes are so many that another column may have been meant."""
    classes, count = len(dataset.classes), len(dataset)
    if not dataset.task.endswith("classification"):
        return []
    if classes < MANY_CLASSES or count >= FEW_OF_EACH * classes:
        return []
    what = (
        f"There are {classes:,} classes for {count:,} {dataset.thing}s: "
        "are these the labels that were meant?"
    )
    return [Problem("many-classes", "labels", what)]


def _of_one_group(dataset: Dataset, name: Split) -> list[Problem]:
    """A split that is one picture, one patient, one video."""
    samples = dataset.split(name)
    if len(samples) < 2 or not samples[0].group or len({s.group for s in samples}) > 1:
        return []
    split = "validation" if name == "valid" else name
    first = samples[0]
    called = first.group
    if _DIGEST.fullmatch(called):  # nobody knows copies by their checksum
        called = f"that of {first.id}"
    whose, mend = f"group ({guard.shown(called)})", ""
    if first.group == first.file_sha256:
        whose, mend = f"file ({guard.shown(video.parted(first.id)[0])})", f" {_DIVIDED}."
    what = (
        f"All {len(samples):,} {dataset.thing}s of the {split} split are of one {whose}: "
        f"intervals and tests say how sure the numbers are for it alone.{mend}"
    )
    return [Problem("one-group", split, what)]


def _missing_in(dataset: Dataset, name: Split) -> list[Problem]:
    """Classes that a split lacks though it is there."""
    samples = dataset.split(name)
    if not samples:
        return []
    lacking = sorted(
        set(dataset.classes) - {dataset.classes[c] for s in samples for c in labels_of(s.target)}
    )
    return [
        Problem(
            "class-not-in-split", f"{name}: {label}", f"{name} has no {dataset.thing} of {label}."
        )
        for label in lacking
    ]


# Dealing ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unit:
    """What is placed as a whole: a group, or a sample that stands alone.

    Attributes:
        key: names it, the same on every machine.
        labels: the classes of its samples, one entry per sample and class.
        size: number of samples.
    """

    key: str
    labels: tuple[int, ...]
    size: int


def divide(units: Sequence[Unit], shares: Mapping[Split, float], seed: int) -> list[Split]:
    """The split of each unit.

    Args:
        units: in any order, which does not matter.
        shares: of each split other than train, in the order in which they are served.
        seed: another one gives another division.

    Returns:
        One split per unit, "train" or one of `shares`.
    """
    order = sorted(range(len(units)), key=lambda i: (seed_of(seed, "split", units[i].key), i))
    sizes = Counter(label for unit in units for label in unit.labels)
    by_class: dict[int, list[int]] = {
        label: [] for label in sorted(sizes, key=lambda c: (sizes[c], c))
    }
    strata: dict[int, list[int]] = defaultdict(list)
    for i in order:
        labels = set(units[i].labels)
        strata[min(labels, key=lambda c: (sizes[c], c), default=-1)].append(i)
        for label in labels:
            by_class[label].append(i)
    splits: list[Split] = ["train"] * len(units)
    for members in strata.values():
        _deal(units, members, shares, splits)
    wanted: list[Split] = ["train", *reversed(tuple(shares))]
    for place, name in enumerate(wanted):
        for members in by_class.values():
            if len(members) > place and all(splits[i] != name for i in members):
                _mend(units, by_class, members, name, wanted[place + 1 :], splits)
    return splits


def _deal(
    units: Sequence[Unit], members: list[int], shares: Mapping[Split, float], splits: list[Split]
) -> None:
    """Deal the groups of one stratum, in order, until each split has its share, rounded."""
    total = sum(units[i].size for i in members)
    left = {name: total * share for name, share in shares.items()}
    for i in members:
        for name in shares:
            if units[i].size / 2 <= left[name]:
                splits[i] = name
                left[name] -= units[i].size
                break


def _mend(
    units: Sequence[Unit],
    by_class: Mapping[int, list[int]],
    members: list[int],
    name: Split,
    later: Sequence[Split],
    splits: list[Split],
) -> None:
    """Bring one class into a split: its smallest group that leaves no class behind without one.

    What is in a split that is mended later may come whatever it leaves behind.
    """

    def can_leave(i: int) -> bool:
        return splits[i] in later or all(
            sum(splits[other] == splits[i] for other in by_class[label]) > 1
            for label in set(units[i].labels)
        )

    movable = [i for i in members if can_leave(i)]
    if movable:
        chosen = min(movable, key=lambda i: (splits[i] != "train", units[i].size))
        splits[chosen] = name
