"""What is done about copies and groups.

Decisions:

- Copies (equal bytes, or near by `duplicates`), samples of one given group and clips of one file
  become one group, which no split will divide.
- Where splits are given and copies stand in more than one of them, test keeps its own, valid
  keeps what is not in test, and the rest is left out: a score must not be earned by memory. Each
  sample left out is a "leak".
- A given group, or a file, that stands in several given splits is reported, not mended: taking it
  out could leave nothing. Of a file only clips that overlap are copies.
- Copies with different labels are reported; which label is right is for a person to say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from regraft.dataset import clips, guard, near_texts, video
from regraft.dataset.duplicates import Forest, Thumbnails, near_pairs
from regraft.dataset.rows import KEPT, Dataset, Problem, Sample, Split, labels_of
from regraft.wording import class_in_words, some_of

_KEEPS_FIRST: tuple[Split, ...] = ("test", "valid", "train", "")
_NAMED = 5
_TOUCHING_S = 0.05
"""Clips that share no more than this follow one another."""


def settle(dataset: Dataset, thumbnails_nhw: Thumbnails) -> Dataset:
    """Group copies, take leaks out, report both.

    Args:
        dataset: verified; `split` and `group` as given.
        thumbnails_nhw: one per sample; none for texts.

    Returns:
        The data set with `group` filled in, without leaking samples, with the problems found.
    """
    samples = dataset.samples
    alike = _copies(samples, thumbnails_nhw)
    sets = [[samples[i] for i in members] for members in _members(alike, len(samples))]
    problems = [_duplicate(copies) for copies in sets]
    problems += [p for copies in sets if (p := _conflict(dataset, copies)) is not None]
    leaks = [leak for copies in sets for leak in _leaks(copies)]
    left_out = {leak.where for leak in leaks}
    problems += sorted(leaks, key=lambda leak: leak.where)
    problems += _divided_groups([sample for sample in samples if sample.id not in left_out])
    grouped = _grouped(samples, alike)
    kept = (sample for sample in grouped if sample.id not in left_out)
    return dataset.with_samples(kept).with_problems(problems)


def settle_apart(
    pool: Dataset,
    others: Sequence[Sample],
    thumbnails_nhw: Thumbnails,
    *,
    keep_leaks: bool = False,
) -> Dataset:
    """Group copies in a pool, take out what is a copy of labelled data, report both.

    Args:
        pool: verified.
        others: the labelled data's samples, verified.
        thumbnails_nhw: one per sample, those of the pool first; none for texts.
        keep_leaks: report what is such a copy, but let it stay.

    Returns:
        The pool with `group` filled in, without leaking samples, with the problems found.
    """
    done = KEPT if keep_leaks else "left out"
    samples = (*pool.samples, *(replace(sample, group="") for sample in others))
    alike = _copies(samples, thumbnails_nhw)
    problems: list[Problem] = []
    leaks: list[Problem] = []
    for members in _members(alike, len(samples)):
        copies = [samples[i] for i in members if i < len(pool)]
        if len(copies) == len(members):
            problems.append(_duplicate(copies))
            continue
        what = f"A copy of {samples[members[len(copies)]].id} in the labelled data."
        leaks += [Problem("leak", sample.id, what, done) for sample in copies]
    left_out = set[str]() if keep_leaks else {leak.where for leak in leaks}
    grouped = _grouped(samples, alike)[: len(pool)]
    problems += sorted(leaks, key=lambda leak: leak.where)
    kept = (sample for sample in grouped if sample.id not in left_out)
    return pool.with_samples(kept).with_problems(problems)


def _copies(samples: tuple[Sample, ...], thumbnails_nhw: Thumbnails) -> Forest:
    forest = Forest(len(samples))
    first: dict[str, int] = {}
    for i, sample in enumerate(samples):
        forest.join(first.setdefault(sample.sha256, i), i)
    different = np.array(list(first.values()), np.int64)
    contents = [samples[i].source for i in different]
    written = [text for text in contents if isinstance(text, str)]
    if written:
        assert len(written) == len(contents), "texts and pictures are not mixed"
        pairs = near_texts.near_pairs(written)
    elif any(sample.span_s for sample in samples):
        # Of one file it is known which moments a clip shows, and what moves on may come again.
        files = [samples[i].file_sha256 for i in different]
        pairs = [
            (i, j) for i, j in clips.near_pairs(thumbnails_nhw[different]) if files[i] != files[j]
        ]
        _join_overlapping(samples, forest)
    else:
        sides_px = np.array([min(samples[i].size) for i in different], np.int64)
        pairs = near_pairs(thumbnails_nhw[different], sides_px)
    for i, j in pairs:
        forest.join(int(different[i]), int(different[j]))
    return forest


def _join_overlapping(samples: tuple[Sample, ...], forest: Forest) -> None:
    """Join clips that share moments of one file, wherever copies of it lie."""
    latest: dict[str, tuple[float, int]] = {}
    spans = [(s.span_s, i) for i, s in enumerate(samples) if s.span_s is not None]
    for (start_s, stop_s), i in sorted(spans):
        file = samples[i].file_sha256
        end_s, before = latest.get(file, (0.0, i))
        if start_s < end_s - _TOUCHING_S:
            forest.join(before, i)
        if stop_s >= end_s:
            latest[file] = (stop_s, i)


def _members(forest: Forest, count: int) -> list[list[int]]:
    """The sets of two and more."""
    members: dict[int, list[int]] = defaultdict(list)
    for i in range(count):
        members[forest.root(i)].append(i)
    return [items for items in members.values() if len(items) > 1]


def _duplicate(copies: list[Sample]) -> Problem:
    others = some_of([sample.id for sample in copies[1:]], _NAMED)
    if len({sample.sha256 for sample in copies}) == 1:
        what = f"The same {content_of(copies[0])} as {others}."
        return Problem("duplicate", copies[0].id, what, "grouped")
    return Problem("near-duplicate", copies[0].id, f"Nearly the same as {others}.", "grouped")


def content_of(sample: Sample) -> str:
    """What messages call that of which a sample's checksum is taken."""
    if isinstance(sample.source, str):
        return "text"
    return "clip" if sample.span_s is not None else "file"


def _conflict(dataset: Dataset, copies: list[Sample]) -> Problem | None:
    if len({sample.target for sample in copies}) == 1:
        return None
    classes = [class_in_words(name) for name in dataset.classes]
    labels = [
        f"{sample.id} is {' | '.join(classes[c] for c in labels_of(sample.target)) or 'nothing'}"
        for sample in copies
    ]
    alike = len({sample.sha256 for sample in copies}) == 1
    told = f"The same {dataset.thing} has" if alike else f"Nearly the same {dataset.thing}s have"
    what = f"{told} different labels: {some_of(labels, _NAMED)}."
    return Problem("conflict", copies[0].id, what, "used as they stand")


def _leaks(copies: list[Sample]) -> list[Problem]:
    kept = min(copies, key=lambda sample: _KEEPS_FIRST.index(sample.split))
    return [
        Problem("leak", s.id, f"A copy of {kept.id}, which is in {kept.split}.", "left out")
        for s in copies
        if s.split != kept.split
    ]


def _divided_groups(samples: Sequence[Sample]) -> list[Problem]:
    """A problem for each given group, and for each file without one, in several given splits."""
    splits: dict[tuple[str, str], set[Split]] = defaultdict(set)
    called: dict[str, str] = {}
    for sample in samples:
        if sample.group:
            splits["group", guard.shown(sample.group)].add(sample.split or "train")
        elif sample.file_sha256:
            name = called.setdefault(sample.file_sha256, video.parted(sample.id)[0])
            splits["file", name].add(sample.split or "train")
    found = (
        (where, what, sorted(names)) for (what, where), names in splits.items() if len(names) > 1
    )
    return [
        Problem("group-across-splits", where, f"The {what} stands in {' and '.join(names)}.")
        for where, what, names in sorted(found)
    ]


def _grouped(samples: tuple[Sample, ...], alike: Forest) -> list[Sample]:
    """The samples with their group's key, and that of their copies.

    A group is called by a given name; or else by the smallest checksum: of copies their own, of
    clips that only their file joins the file's. Copies are called by their smallest checksum.
    """
    forest = Forest(len(samples))
    first: dict[str, int] = {}
    for i, sample in enumerate(samples):
        forest.join(alike.root(i), i)
        for key in filter(None, (sample.group, sample.file_sha256)):
            forest.join(first.setdefault(key, i), i)
    grouped = [replace(sample, group="", copies="") for sample in samples]
    for members in _members(alike, len(samples)):
        copies = min(samples[i].sha256 for i in members)
        for i in members:
            grouped[i] = replace(grouped[i], copies=copies)
    for members in _members(forest, len(samples)):
        names = {samples[i].group for i in members} - {""}
        if not names and len({alike.root(i) for i in members}) == 1:
            names = {samples[i].sha256 for i in members}
        names = names or {samples[i].file_sha256 for i in members}
        for i in members:
            grouped[i] = replace(grouped[i], group=min(names))
    return grouped
