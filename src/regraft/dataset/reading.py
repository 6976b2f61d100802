"""`read`: from a path to a data set that can be trained on.

Read the names, open every file, set bad ones aside, group copies, drop what cannot be learned,
make the splits that are missing. Everything that is dropped or changed on the way is a problem of
the data set, with the file's name.

Copies among labelled videos are looked for before these are cut. Cuts overlap only where the
wholes do, and of the many pairs of short cuts one that is alike by chance would join two files.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from regraft.dataset import guard
from regraft.dataset.boxes.tiles import tiled
from regraft.dataset.choosing import check_task, list_rows, reader_for
from regraft.dataset.classes import learnable, refuse_without_objects, with_crowds_said
from regraft.dataset.clips import cut
from regraft.dataset.copies import settle
from regraft.dataset.form import FormReader
from regraft.dataset.merging import (
    say_new_classes,
    with_given,
    with_more,
    with_named_splits,
)
from regraft.dataset.reader import LAYOUT, Reader, alike
from regraft.dataset.rows import Dataset, Problem
from regraft.dataset.splits import refuse_lost, refuse_without_valid, with_splits
from regraft.dataset.usable import check_max_bad, refuse_too_many_bad, say_ignored, usable
from regraft.defaults import MAX_BAD
from regraft.errors import DataError
from regraft.events import Tell, silent


def read(
    path: str | Path,
    *,
    task: str | None = None,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    more: str | Path | None = None,
    max_bad: float = MAX_BAD,
    seed: int = 0,
    clip_s: float | None = None,
    tell: Tell = silent,
    reader: Reader | None = None,
) -> Dataset:
    """Read, check, group and split a data set.

    Args:
        path: a folder of classes, with or without train/, valid/ and test/ above them; or a
            table (CSV, TSV, Parquet) with the columns path and label; or boxes in a format of
            `dataset.boxes.FORMATS`.
        task: "image-classification", "object-detection", "text-classification" or
            "video-classification"; None takes what the data look like.
        valid: data for validation, in place of what `path` has for it.
        test: data for the test, likewise.
        more: data to train on besides, such as what was labelled of a pool; never measured on.
        max_bad: share of files that may be set aside; one file always may, unless this is 0.
        seed: another one makes other splits.
        clip_s: videos that are longer are cut into clips of this length.
        tell: hears `Advanced("reading", …)`; may raise to stop.
        reader: your own, for a format that is not known here; see `regraft.dataset.reader`.

    Raises:
        DataError: there is nothing to learn from; the message says what is missing.
        TooManyBadSamples: more files are bad than `max_bad` allows.
        UsageError: an argument is wrong.
    """
    check_task(task)
    check_max_bad(max_bad)
    listed = list_rows(Path(path), reader, task, "leave --task out, or ")
    if valid is not None:
        listed = with_given(listed, "valid", list_rows(Path(valid), reader, listed.task))
    if test is not None:
        listed = with_given(listed, "test", list_rows(Path(test), reader, listed.task))
    listed = with_named_splits(listed)
    if more is not None:
        form, more = FormReader(), Path(more)
        filled_in = form if form.recognises(more) else reader_for(more, reader)
        listed = with_more(listed, list_rows(more, filled_in, listed.task))
        say_new_classes(listed, tell)
    dataset = _settled(listed, max_bad, tell)
    dataset = learnable(cut(dataset, clip_s))
    refuse_lost(listed, dataset)
    dataset = with_splits(dataset, seed)
    refuse_without_valid(dataset)
    dataset = _tiled(dataset)
    refuse_without_objects(dataset)
    return dataset


def read_to_inspect(
    path: str | Path,
    *,
    task: str | None = None,
    clip_s: float | None = None,
    tell: Tell = silent,
    reader: Reader | None = None,
) -> Dataset:
    """Read a data set as `read` does; what `read` would stop at is a problem of it.

    Args:
        path: as for `read`.
        task: as for `read`.
        clip_s: as for `read`.
        tell: as for `read`.
        reader: as for `read`.

    Raises:
        DataError: there is nothing that can be read.
        UsageError: as for `read`.
    """
    check_task(task)
    listed = with_named_splits(list_rows(Path(path), reader, task, "leave --task out, or "))
    settled, faults = _settled(listed, 0.999, tell), list[DataError]()
    try:
        refuse_too_many_bad(settled, MAX_BAD)
    except DataError as fault:
        faults.append(fault)
    dataset = cut(settled, clip_s)
    try:
        dataset = learnable(dataset)
        refuse_lost(listed, dataset)
    except DataError as fault:
        if not dataset.samples:
            raise
        faults.append(fault)
    dataset = with_splits(dataset, 0)
    tiles = _tiled(dataset)
    try:
        refuse_without_valid(dataset)
        refuse_without_objects(tiles)
    except DataError as fault:
        faults.append(fault)
    return tiles.with_problems(map(_stopping, faults))


def _stopping(fault: DataError) -> Problem:
    """What `read` would stop at; the lines after its first one list problems that are known."""
    return Problem("no-fit", fault.where, fault.what.splitlines()[0], "fit stops")


def read_all(
    path: str | Path,
    *,
    task: str | None = None,
    max_bad: float = MAX_BAD,
    clip_s: float | None = None,
    tell: Tell = silent,
    reader: Reader | None = None,
) -> Dataset:
    """Read and check a data set to measure a model on: grouped, but not split.

    Splits that are given are forgotten; one class, or one sample, is enough. Large pictures with
    boxes are whole (see `boxes.tiles.tiled`).

    Args:
        path: as for `read`.
        task: as for `read`.
        max_bad: as for `read`.
        clip_s: as for `read`.
        tell: as for `read`.
        reader: as for `read`.

    Raises:
        DataError: there is nothing at all.
        TooManyBadSamples: as for `read`.
        UsageError: as for `read`.
    """
    check_task(task)
    check_max_bad(max_bad)
    listed = list_rows(Path(path), reader, task)
    whole = listed.with_samples(replace(sample, split="") for sample in listed)
    dataset = cut(_settled(whole, max_bad, tell), clip_s)
    if not dataset.samples:
        raise DataError("No sample can be used.", where=guard.shown(dataset.path), mend=LAYOUT)
    return dataset


def _tiled(dataset: Dataset) -> Dataset:
    is_of_boxes = dataset.task == "object-detection"
    return with_crowds_said(tiled(dataset)) if is_of_boxes else dataset


def _settled(listed: Dataset, max_bad: float, tell: Tell) -> Dataset:
    """The data set with every file opened, bad ones set aside, copies grouped."""
    dataset, thumbnails_nhw = usable(listed, max_bad, tell)
    say_ignored(dataset, tell)
    return _with_alike(settle(dataset, thumbnails_nhw))


def _with_alike(dataset: Dataset) -> Dataset:
    """Say which classes may be one, by their names; of boxes their reader says it."""
    if dataset.task == "object-detection":
        return dataset
    what = "The classes {} and {} differ in upper and lower case alone."
    return dataset.with_problems(
        Problem("alike-classes", other, what.format(one, other), "both kept")
        for one, other in alike(dataset.classes)
    )
