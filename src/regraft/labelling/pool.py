"""The pool: samples without labels, of which some are to be labelled next.

What is labelled already, and near copies of it, are left out; near copies within the pool share a
group, so that one batch never asks for two of them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

from regraft import dataset as data_sets
from regraft.dataset import Dataset, Sample, guard
from regraft.dataset.table import TableReader
from regraft.errors import DataError
from regraft.events import Tell, silent
from regraft.labelling.decisions import Verdict
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


def name_of(pool: Dataset, sample: Sample) -> str:
    """What a sample of a pool is called in the journal: like no sample of the labelled data."""
    place = guard.shown(pool.path.resolve())
    return f"{place}/{sample.id}" if pool.path.is_dir() else f"{place}: {sample.id}"


def settled_by(
    labelled: Dataset, pool: Dataset, verdicts: Mapping[str, Verdict]
) -> tuple[Dataset, Dataset]:
    """Samples that reviewers have labelled move from the pool to the end of the labelled data.

    There they are called by `name_of` and have no target yet; `decisions.reviewed` sets it.
    Where nothing was labelled before, the classes are those that the reviewers named.
    """
    changed = {name: v.labels for name, v in verdicts.items() if v.action == "change"}
    mine = {name_of(pool, sample): sample for sample in pool}
    classes = labelled.classes
    if not classes:
        named = {label for name, labels in changed.items() if name in mine for label in labels}
        classes = tuple(sorted(named))
    moved = {
        name: sample
        for name, sample in mine.items()
        if set(changed.get(name, ("",))) <= set(classes)
    }
    rest = {sample.id for sample in moved.values()}
    known = replace(labelled, classes=classes).with_samples(
        (*labelled, *(replace(sample, id=name) for name, sample in moved.items()))
    )
    return known, pool.with_samples(sample for sample in pool if sample.id not in rest)


def write_labelled(
    pool: Path, samples: Iterable[Sample], verdicts: Mapping[str, Verdict]
) -> Path | None:
    """What of a pool has labels now, as a table beside it that `fit` takes.

    Args:
        pool: the folder or table.
        samples: of any data; those of the pool are called by `name_of`.
        verdicts: by sample id.

    Returns:
        the table; None where nothing is labelled.

    Raises:
        StoreError: it cannot be written.
    """
    pool = pool.resolve()
    place = guard.shown(pool)
    labelled = [
        (sample, verdicts[sample.id].labels)
        for sample in samples
        if sample.id.startswith(place) and sample.id in verdicts
        if verdicts[sample.id].action == "change"
    ]
    if not labelled:
        return None
    path = pool.with_name(f"{pool.name}.labelled.csv")
    commit(path, _table(labelled, pool.parent).encode())
    return path


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
