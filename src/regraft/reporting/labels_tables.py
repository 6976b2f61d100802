"""The tables of `regraft labels --out`, CSV: to look through, to label, and to learn from."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from regraft import store
from regraft.dataset import Sample, cells, form, guard
from regraft.dataset.clips import named_part
from regraft.dataset.table import SPAN
from regraft.dataset.times import Span, as_cells
from regraft.dataset.video import parted
from regraft.errors import DataError, UsageError
from regraft.labelling.box_agreement import NOTHING
from regraft.labelling.found import CONSENSUS_OF_BOXES
from regraft.labelling.named import spoken_of

Facts = Mapping[str, Any]

LIKELY_ERRORS = ("sample", "given", "suggested", "score", "reason")
SCORES = ("sample", "given", "suggested", "score", "suspect")
CONSENSUS = ("sample", *form.CONSENSUS)
_BESIDE = ("split", "group")
"""Behind the others of a consensus, where the data have them."""


def refuse_worked_on(folder: Path) -> None:
    """Refuse a folder whose tables hold what a person wrote, or are not of an earlier call.

    Raises:
        UsageError: next.csv has labels, or another table is not as it is written here.
    """
    path = folder / "next.csv"
    if path.is_file() and form.is_worked_on(path):
        raise UsageError(
            "Labels were written into this table, and would be lost.",
            where=guard.shown(path),
            mend="learn from it with `regraft fit --more`, and name another folder with --out; "
            "or move it away",
        )
    known = {
        "likely_errors": (LIKELY_ERRORS, _with_text(LIKELY_ERRORS)),
        "scores": (SCORES, _with_text(SCORES)),
        "consensus": tuple(_consensus_columns()),
    }
    for name, columns in known.items():
        path = folder / f"{name}.csv"
        if path.is_file() and _header(path) not in columns:
            raise UsageError(
                "A table of this name goes there, and this one is not from an earlier call.",
                where=guard.shown(path),
                mend="name another folder with --out; or move the table away",
            )


def _consensus_columns() -> Iterator[tuple[str, ...]]:
    """Those that a consensus may have: of names, texts, files, parts of these, and objects."""
    yield CONSENSUS
    yield CONSENSUS_OF_BOXES[:-1]  # older versions wrote no checksums
    for columns in (
        _with_text(CONSENSUS),
        ("sample", "path", *form.CONSENSUS, "sha256"),
        ("sample", "path", *SPAN, *form.CONSENSUS, "sha256"),
        CONSENSUS_OF_BOXES,
    ):
        for beside in ((), _BESIDE[:1], _BESIDE[1:], _BESIDE):
            yield (*columns, *beside)


def _header(path: Path) -> tuple[str, ...]:
    """The columns of a table as `write` leaves it; of one that was saved otherwise, others."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return tuple(file.readline(1000).rstrip("\r\n").split(","))


def _with_text(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of a table about texts: the text stands behind the name."""
    return columns[0], "text", *columns[1:]


def tables(
    found: Facts, pool: Iterable[Sample], labelled: Iterable[Sample], folder: Path
) -> dict[str, str]:
    """All of them by name, as CSV; "" of one without rows.

    Args:
        found: what `regraft.labels` gives.
        pool: the samples of which some are to be labelled next.
        labelled: those whose labels may be wrong.
        folder: where they will lie, resolved; paths begin there.

    Raises:
        DataError: a picture with boxes is gone.
        StoreError: it cannot be read.
    """
    return {
        "likely_errors": _with_texts(found["likely_errors"], labelled, LIKELY_ERRORS),
        "scores": _with_texts(found["scores"], labelled, SCORES),
        "next": _next(found["next"], pool, folder),
        "consensus": _consensus(found, labelled, folder),
    }


def _with_texts(rows: Sequence[Facts], labelled: Iterable[Sample], columns: Sequence[str]) -> str:
    """Rows about samples, as CSV with these columns; of texts with the text behind the name."""
    texts = {sample.id: sample.source for sample in labelled if isinstance(sample.source, str)}
    held = [{**row, "text": texts.get(row["sample"])} for row in rows]
    return _table(held, _with_text(columns) if texts else columns)


def _consensus(found: Facts, labelled: Iterable[Sample], folder: Path) -> str:
    """The label of each sample that was voted on, as CSV in this folder that `fit` takes.

    The votes are in one cell. Where a sample may have several classes, each label has a bar: `|`
    alone says that none applies. Where there are samples, votes on others are left out, as on a
    file that could not be read.
    """
    consensus = found["consensus"]
    if consensus is None:
        return ""
    rows: list[Facts] = [
        {**row, "votes": ", ".join(f"{name}: {times}" for name, times in row["votes"].items())}
        for row in consensus["labels"]
    ]
    if "crowds" in consensus:
        boxes = list(_boxes(rows, found, folder))
        return _table(boxes, (*CONSENSUS_OF_BOXES, *_beside(boxes)))
    # Classes were made printable, and are when they are read as labels.
    held = [{**row, "label": guard.unshown(row["label"])} for row in rows]
    if found["agreement"]["scale"] == "multilabel":
        held = [
            row if "|" in row["label"] else {**row, "label": f"{row['label']}|"} for row in held
        ]
    samples = list(labelled)
    if not samples:
        return _table(held, CONSENSUS)
    content = _voted_on([row["sample"] for row in held], samples, folder)
    held = [{**row, **content[row["sample"]]} for row in held if row["sample"] in content]
    return _of_samples(held, form.CONSENSUS, _beside(held))


def _beside(rows: Sequence[Facts]) -> tuple[str, ...]:
    return tuple(name for name in _BESIDE if any(name in row for row in rows))


def _voted_on(names: Collection[str], labelled: Iterable[Sample], folder: Path) -> dict[str, Facts]:
    """The content of what votes are on, by name: of samples, and of what clips were cut of."""
    spoken, found = spoken_of(names), dict[str, Facts]()
    for sample in labelled:
        name = spoken(sample.id)
        if name is not None and name not in found:
            part = named_part(sample) if name == sample.id else parted(name)[1]
            found[name] = _content(sample, part, folder)
    return found


def _boxes(rows: Sequence[Facts], found: Facts, folder: Path) -> Iterator[Facts]:
    """Rows of a table of boxes; where nothing is there, a row has no category and no edges.

    Args:
        rows: the consensus on objects, the votes in one cell.
        found: what `regraft.labels` gives.
        folder: of the table.
    """
    root, consensus = root_of(found["data"]), found["consensus"]
    splits = {picture: {"split": split} for picture, split in consensus["splits"].items()}

    @cache
    def place(picture: str) -> Facts:
        file = root / guard.unshown(picture)
        try:
            return {**_place(file, store.file_sha256(file), folder), **splits.get(picture, {})}
        except FileNotFoundError:
            raise DataError(
                "The picture was there, and is gone.",
                where=guard.shown(file),
                mend="put it back, or call `regraft labels` again",
            ) from None

    for row in rows:
        box = _box(row["label"], row["edges"], 0) if row["label"] != NOTHING else {}
        yield {**row, **place(row["picture"]), "chance": row["probability"], **box}
    for crowd in consensus["crowds"]:
        box = _box(crowd["category"], crowd["edges"], 1)
        yield {**place(crowd["picture"]), **box}
    for picture in consensus["bare"]:
        yield place(picture)


def root_of(data: Facts) -> Path:
    """The folder that pictures with boxes are called by their ways from."""
    path = Path(data["path"]).resolve()
    return path if path.is_dir() else path.parent


def _box(category: str, edges: Sequence[float], crowd: int) -> dict[str, Any]:
    sides = dict(zip(("left", "top", "right", "bottom"), edges, strict=True))
    return {"category": category, **sides, "crowd": crowd}


def _next(rows: Sequence[Facts], pool: Iterable[Sample], folder: Path) -> str:
    """What is to be labelled next, as CSV in this folder that `fit --more` takes when labelled.

    Files are outside of the folder as a rule; a table may name such ones with their checksums.
    """
    chosen = {row["sample"] for row in rows}
    content = {one.id: _content(one, named_part(one), folder) for one in pool if one.id in chosen}
    held = [{**row, **content.get(row["sample"], {})} for row in rows]
    return _of_samples(held, form.COLUMNS)


def _of_samples(rows: Sequence[Facts], columns: Sequence[str], last: Sequence[str] = ()) -> str:
    """Rows with what `_content` gives of their samples, as CSV with these columns besides."""
    if any("text" in row for row in rows):
        return _table(rows, ("sample", "text", *columns, *last))
    span = SPAN if any("start" in row for row in rows) else ()
    return _table(rows, ("sample", "path", *span, *columns, "sha256", *last))


def _content(sample: Sample, span_s: Span | None, folder: Path) -> Facts:
    """A sample's text; or the way to its file from a folder, which part is meant, its checksum."""
    if isinstance(sample.source, str):
        return {"text": sample.source}
    part = {} if span_s is None else dict(zip(SPAN, as_cells(span_s), strict=True))
    return {**part, **_place(sample.source, sample.file_sha256 or sample.sha256, folder)}


def _place(file: Path, sha256: str, folder: Path) -> Facts:
    """The way to a file from a folder, and its checksum, without which a table may not leave it."""
    place = os.path.relpath(file, folder)
    path = place if place.startswith("../") else f"./{place}"  # or it might be a formula
    return {"path": path, "sha256": sha256}


def _table(rows: Sequence[Facts], columns: Sequence[str]) -> str:
    """The rows as CSV, "" of none; what a spreadsheet would take for a formula is text.

    Numbers are not.
    """
    if not rows:
        return ""
    held = io.StringIO(newline="")
    writer = csv.writer(held)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_plain(row.get(column, "")) for column in columns])
    return held.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, str):
        return cells.to_cell(value)
    return "" if value is None else value
