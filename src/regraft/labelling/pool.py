"""The pool: samples without labels, of which some are to be labelled next.

What is labelled already, and near copies of it, are left out; near copies within the pool are
named (`Sample.copies`), so that one batch never asks for two of them.
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
from regraft.dataset.cells import encoded
from regraft.dataset.clips import content, named_part
from regraft.dataset.table import SPAN, read_table
from regraft.dataset.table_rows import TableReader
from regraft.dataset.times import Span, as_cells, parts
from regraft.dataset.verify import verify_texts
from regraft.dataset.video import clip_id, parted
from regraft.defaults import MAX_BAD
from regraft.errors import DataError
from regraft.events import Tell, silent
from regraft.labelling.journal import Journal, decisions_in
from regraft.labelling.matching import about
from regraft.labelling.verdicts import Verdict, verdicts
from regraft.store import commit, file_sha256

_PARTS = ("path", *SPAN)
_COLUMNS = tuple(
    (*what, kind) for what in (("path",), _PARTS, ("text",)) for kind in ("label", "labels")
)
"""That a table of what is labelled can have."""


def read_pool(
    path: Path,
    labelled: Dataset,
    *,
    column: str = "",
    clip_s: float | None = None,
    max_bad: float = MAX_BAD,
    tell: Tell = silent,
) -> Dataset:
    """The pool beside labelled data of the same kind.

    Args:
        path: a folder of pictures or videos of any shape, or a table that names them; or a folder
            of text files, or a table of texts.
        labelled: what is labelled already.
        column: of a table, the one with the texts; found if "".
        clip_s: longer videos are cut into clips of this length.
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
        return _with_labelled(
            data_sets.read_unlabelled(
                path, apart_from=known, max_bad=max_bad, clip_s=clip_s, tell=tell
            )
        )
    if path.is_file() and not TableReader().recognises(path):
        raise DataError(
            "This is neither a table nor a folder of texts.",
            where=guard.shown(path),
            mend="give a table with a column of texts, or a folder with a file for each",
        )
    return _with_labelled(
        data_sets.read_unlabelled_texts(
            path, column=column, apart_from=known, max_bad=max_bad, tell=tell
        )
    )


def _with_labelled(pool: Dataset) -> Dataset:
    """The pool with its leaks called copies of what is labelled: nothing is measured on them."""
    problems = (
        replace(problem, kind="labelled") if problem.kind == "leak" else problem
        for problem in pool.problems
    )
    return replace(pool, problems=tuple(problems))


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

    There they are called by `name_of` and have no target yet; `verdicts.reviewed` sets it.
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

    What the table holds already stays when it has left the pool, with its label as it stands now.
    Where all labels were taken back there is no such table any more.

    Args:
        data: that the journal lies beside.
        pool: the folder or table.
        samples: of any data; those of the pool are called by `name_of`.
        journal: with what reviewers decided.

    Returns:
        the table; None where nothing is labelled.

    Raises:
        StoreError: it cannot be written, or a file that it names cannot be read.
    """
    pool, place = pool.resolve(), place_of(data, pool)
    path = pool.with_name(f"{pool.name}.labelled.csv")
    mine = [sample for sample in samples if sample.id.startswith((f"{place}/", f"{place}: "))]
    said = verdicts(about(journal.standing(), mine)[0])
    labelled = [
        (sample, said[sample.id].labels)
        for sample in mine
        if sample.id in said and said[sample.id].action == "change"
    ]
    done = {_content(sample) for sample, _ in labelled}
    own = {_content(sample): sample for sample in mine}
    before = [(own.get(_content(one), one), labels) for one, labels in _written(path, pool, place)]
    before_only = [(one, labels) for one, labels in before if _content(one) not in done]
    labelled += _still(before_only, journal)
    if labelled:
        commit(path, encoded(_table(labelled, pool.parent)))
        return path
    if before:
        path.unlink()
    return None


def _content(sample: Sample) -> tuple[str | Path, Span | None]:
    """The text, or the file and which part of it; the same for what a table of ours says of it."""
    return sample.source, parted(sample.id)[1] if isinstance(sample.source, Path) else None


_Labelled = list[tuple[Sample, tuple[str, ...]]]


def _written(path: Path, pool: Path, place: str) -> _Labelled:
    """What a table of `write_labelled` holds; files that are gone, and other tables, are left out.

    Files are called by `name_of`, texts by their rows, as the lines that they had are not known.
    """
    try:
        table = read_table(path) if path.exists() else None
    except DataError:
        return []
    if table is None or table.columns not in _COLUMNS:
        return []
    what, kind = table.columns[0], table.columns[-1]
    labels = [
        tuple(filter(None, cell.split("|"))) if kind == "labels" else (cell,)
        for cell in table.texts(kind)
    ]
    cells = table.texts(what)
    if what == "text":
        rows = [Sample(f"row {n}", text, None) for n, text in enumerate(cells)]
        digests = {one.id: one.sha256 for one in verify_texts(rows, silent).samples}
        rows = [replace(one, sha256=digests.get(one.id, "")) for one in rows]
        return list(zip(rows, labels, strict=True))
    files = [pool.parent / cell for cell in cells]
    root, between = (pool, "/") if pool.is_dir() else (pool.parent, ": ")
    if not all(file.is_relative_to(root) for file in files):
        return []
    held: _Labelled = []
    for file, part, said in zip(files, parts(table), labels, strict=True):
        if not file.is_file() or isinstance(part, str):
            continue
        name = f"{place}{between}{guard.shown(file.relative_to(root).as_posix())}"
        held.append((_sample(name, file, part), said))
    return held


def _sample(name: str, file: Path, span_s: Span | None) -> Sample:
    """A file or a part of one, with the checksum that its content had when it was read."""
    sha256 = file_sha256(file)
    if span_s is None:
        return Sample(name, file, None, sha256)
    return Sample(
        clip_id(name, span_s), file, None, content(sha256, span_s), span_s=span_s,
        file_sha256=sha256,
    )  # fmt: skip


def _still(rows: _Labelled, journal: Journal) -> _Labelled:
    """Rows of a table without those whose labels were taken back in this journal.

    A row that it never spoke of stays as it is; so does one that it says the same of now.
    """
    samples = [sample for sample, _ in rows]
    every = decisions_in(journal.lines())
    spoken = {one.sample for one in about(every, samples)[0]}
    # A file with another content than the one that was decided on is not what the row was about.
    files = {sample.id for sample in samples if isinstance(sample.source, Path)}
    spoken |= files & {one.sample for one in every}
    said = verdicts(about(journal.standing(), samples)[0], {one.id: labels for one, labels in rows})
    still: _Labelled = []
    for sample, labels in rows:
        verdict = said.get(sample.id)
        if sample.id not in spoken or (verdict is not None and verdict.action == "keep"):
            still.append((sample, labels))
        elif verdict is not None and verdict.action == "change":
            still.append((sample, verdict.labels))
    return still


def _table(samples: Sequence[tuple[Sample, Sequence[str]]], place: Path) -> str:
    """Samples with their classes, as CSV in this folder."""
    several = any(len(labels) != 1 for _, labels in samples)
    table = StringIO()
    rows = csv.writer(table, lineterminator="\n")
    is_text = any(isinstance(sample.source, str) for sample, _ in samples)
    spans = [named_part(sample) for sample, _ in samples]
    columns = ("text",) if is_text else _PARTS if any(spans) else ("path",)
    rows.writerow([*columns, "labels" if several else "label"])
    for (sample, labels), span_s in zip(samples, spans, strict=True):
        what = sample.source
        name = what if isinstance(what, str) else what.relative_to(place).as_posix()
        part = as_cells(span_s) if any(spans) else ()
        rows.writerow([name, *part, "|".join(labels)])
    return table.getvalue()
