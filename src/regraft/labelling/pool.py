"""The pool: samples without labels, of which some are to be labelled next.

What is labelled already, and near copies of it, are left out; near copies within the pool share a
group, so that one batch never asks for two of them.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

from regraft import dataset as data_sets
from regraft.dataset import Dataset, Sample, guard
from regraft.dataset.table import TableReader
from regraft.errors import DataError
from regraft.events import Tell, silent
from regraft.labelling.decisions import Journal, Verdict, about, verdicts
from regraft.store import commit


def read_pool(
    path: Path, labelled: Dataset, *, column: str = "", max_bad: float = 0.01, tell: Tell = silent
) -> Dataset:
    """The pool beside labelled data of the same kind.

    Args:
        path: a folder of pictures of any shape; or a folder of text files, or a table of texts.
        labelled: what is labelled already.
        column: of a table, the one with the texts; found if "".
        max_bad: share of files that cannot be read and are left out before it is an error.
        tell: hears `Advanced("reading", …)`; may raise to stop.

    Returns:
        what is left to label, which may be nothing.

    Raises:
        DataError: there is nothing that can be read.
        TooManyBadSamples: more files are bad than `max_bad` allows.
    """
    known = labelled.samples
    if labelled.task != "text-classification":
        return data_sets.read_unlabelled(path, apart_from=known, max_bad=max_bad, tell=tell)
    if path.is_file() and not TableReader().recognises(path):
        raise DataError(
            "This is neither a table nor a folder of texts.",
            where=guard.shown(path),
            mend="give a table with a column of texts, or a folder with a file for each",
        )
    return data_sets.read_unlabelled_texts(
        path, column=column, apart_from=known, max_bad=max_bad, tell=tell
    )


def place_of(data: Path, pool: Path) -> str:
    """Where a pool lies, as seen from the journal beside the data: no sample of theirs is there.

    Both may be moved together, or be known by another name on another machine.
    """
    place = Path(os.path.relpath(pool.resolve(), data.resolve().parent)).as_posix()
    return guard.shown(place if place.startswith("../") else f"./{place}")


def name_of(data: Path, pool: Dataset, sample: Sample) -> str:
    """What a sample of a pool is called in the journal beside the data."""
    between = "/" if pool.path.is_dir() else ": "
    return f"{place_of(data, pool.path)}{between}{sample.id}"


def as_in_journal(data: Path, pool: Dataset | None) -> tuple[Sample, ...]:
    """The samples of a pool, called by `name_of`, in their order."""
    return tuple(replace(one, id=name_of(data, pool, one)) for one in pool) if pool else ()


def settled_by(
    labelled: Dataset, pool: Dataset, said: Mapping[str, Verdict]
) -> tuple[Dataset, Dataset]:
    """Samples that reviewers have labelled move from the pool to the end of the labelled data.

    There they are called by `name_of` and have no target yet; `decisions.reviewed` sets it.
    Where nothing was labelled before, the classes are those that the reviewers named.
    """
    changed = {name: v.labels for name, v in said.items() if v.action == "change"}
    named = as_in_journal(labelled.path, pool)
    classes = labelled.classes
    if not classes:
        chosen = {label for sample in named for label in changed.get(sample.id, ())}
        classes = tuple(sorted(chosen))
    moved = [sample for sample in named if set(changed.get(sample.id, ("",))) <= set(classes)]
    known = replace(labelled, classes=classes).with_samples((*labelled, *moved))
    gone = {sample.id for sample in moved}
    rest = (one for one, sample in zip(pool, named, strict=True) if sample.id not in gone)
    return known, pool.with_samples(rest)


def write_labelled(
    data: Path, pool: Path, samples: Iterable[Sample], journal: Journal
) -> Path | None:
    """What of a pool has labels now, as a table beside it that `fit` takes.

    Where all labels were taken back there is no such table any more.

    Args:
        data: that the journal lies beside.
        pool: the folder or table.
        samples: of any data; those of the pool are called by `name_of`.
        journal: with what reviewers decided.

    Returns:
        the table; None where nothing is labelled.

    Raises:
        StoreError: it cannot be written.
    """
    pool, place = pool.resolve(), place_of(data, pool)
    mine = [sample for sample in samples if sample.id.startswith(place)]
    said = verdicts(about(journal.standing(), mine)[0])
    labelled = [
        (sample, said[sample.id].labels)
        for sample in mine
        if sample.id in said and said[sample.id].action == "change"
    ]
    path = pool.with_name(f"{pool.name}.labelled.csv")
    if labelled:
        commit(path, _table(labelled, pool.parent).encode())
        return path
    places = (place, guard.shown(pool))
    if any(str(line.get("sample", "")).startswith(places) for line in journal.lines()):
        path.unlink(missing_ok=True)
    return None


def _table(samples: Sequence[tuple[Sample, Sequence[str]]], place: Path) -> str:
    """Samples with their classes, as CSV in this folder."""
    several = any(len(labels) != 1 for _, labels in samples)
    table = StringIO()
    rows = csv.writer(table, lineterminator="\n")
    is_text = any(isinstance(sample.source, str) for sample, _ in samples)
    rows.writerow(["text" if is_text else "path", "labels" if several else "label"])
    for sample, labels in samples:
        what = sample.source
        name = what if isinstance(what, str) else what.relative_to(place).as_posix()
        rows.writerow([name, "|".join(labels)])
    return table.getvalue()
