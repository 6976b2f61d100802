"""Reader: a table (CSV, TSV, Parquet, JSON lines) of paths or texts, and labels.

    path,label,split,group                      text,label
    img/1.jpg,cat,train,animal 7                "Dear customer, …",spam

Decisions:

- `table_columns.py` says which column holds what. Tables of videos may have columns `start` and
  `stop`, in seconds. A row of texts is called by its line.
- `path` is relative to the table's folder and may not leave it. `split` and `group` may be left
  out; an empty split is train where others are given.
- `table_labels.py` says which classes a row has. No label means that nothing applies where there
  can be several; otherwise the row is set aside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from regraft.dataset import guard
from regraft.dataset.places import Places
from regraft.dataset.reader import SPLIT_NAMES
from regraft.dataset.rows import Dataset, Problem, Sample, Split, Target
from regraft.dataset.table import Table, brief, read_table
from regraft.dataset.table_columns import (
    guessed_task,
    named,
    not_read,
    text_column,
    with_label,
    with_path,
)
from regraft.dataset.table_labels import Labels, labels_in
from regraft.dataset.times import Span, parts, with_times
from regraft.dataset.video import clip_id
from regraft.errors import DataError, UsageError


@final
@dataclass(frozen=True)
class TableReader:
    """Reads a table of paths and labels, or of texts and labels.

    Attributes:
        name: see `Reader`.
        text: the column that holds the texts; found if "".
        label: the column that holds the classes; found if "".
    """

    name: str = "table of paths or texts and labels"
    text: str = ""
    label: str = ""

    def recognises(self, path: Path) -> bool:
        """A file called .csv, .tsv, .parquet, .pq, .jsonl or .ndjson."""
        return path.suffix.lower() in guard.TABLE_SUFFIXES and path.is_file()

    def read(self, path: Path) -> Dataset:
        """The rows of a table; see `Reader`.

        Raises:
            DataError: the table is damaged, ragged, lacks columns or holds what it may not.
        """
        table = with_path(named(read_table(path), self.text, self.label))
        dataset = dataset_of(table)
        is_guessed = dataset.modality == "text" and not self.text
        return dataset.with_problems(not_read(table) if is_guessed else ())


def reader_of(columns: str) -> TableReader:
    """The reader for columns that the user named.

    Args:
        columns: "text=NAME", "label=NAME" or both with a comma between.

    Raises:
        UsageError: it is nothing of the kind.
    """
    pairs = [part.partition("=") for part in columns.split(",")]
    given = {meaning.strip(): name.strip() for meaning, _, name in pairs}
    if not all(given.values()) or not set(given) <= {"text", "label"} or len(given) < len(pairs):
        raise UsageError(
            f"These are no columns: {guard.shown(columns)}.",
            where="--columns",
            mend="for example text=body,label=kind",
        )
    return TableReader(text=given.get("text", ""), label=given.get("label", ""))


def dataset_of(table: Table, known: Mapping[str, str] | None = None) -> Dataset:
    """The rows of a table of pictures or texts with labels; see the head of this file.

    Args:
        table: what was read.
        known: paths with the sha256 of what has to lie there; they may lead out of its folder.

    Raises:
        DataError: it lacks columns or holds what it may not.
    """
    task = guessed_task(table)
    table = with_times(table) if task == "video-classification" else table
    is_text = task == "text-classification"
    column = text_column(table) if is_text else ""
    labelled = with_label(table) if is_text else table
    labels = labels_in(labelled)
    if is_text:
        rows, problems = _text_rows(table, column, labels)
    else:
        rows, problems = _rows(table, labels, known or {})
    classes = tuple(sorted({name for row in rows for name in row.labels}))
    index = {name: number for number, name in enumerate(classes)}
    return Dataset(
        path=table.path,
        task=task,
        classes=classes,
        samples=tuple(
            Sample(
                row.id, row.source, _target(row.labels, index, labels.several),
                split=row.split, group=row.group, span_s=row.span_s,
            )
            for row in sorted(rows, key=lambda row: row.id)
        ),
        problems=(*labelled.notes, *labels.problems, *problems),
        multilabel=labels.several,
        found=len(table.lines),
    )  # fmt: skip


def unlabelled_of(path: Path) -> Dataset:
    """The pictures or videos, or parts of videos, that a table names.

    Whatever labels and splits it has: all are of the pool.

    Raises:
        DataError: it names none, or cannot be read.
    """
    table = with_path(read_table(path))
    task = guessed_task(table)
    if task == "text-classification":
        raise DataError(
            f"The table names no pictures and no videos; it has {table.listed}.",
            where=guard.shown(path),
            mend="name them in a column `path`, and parts of videos in `start` and `stop`",
        )
    table = with_times(table) if task == "video-classification" else table
    table = replace(table, cells={n: cells for n, cells in table.cells.items() if n != "split"})
    labels = Labels([()] * len(table.lines), True, ())
    rows, problems = _rows(table, labels, {})
    samples = tuple(
        Sample(row.id, row.source, None, split="train", group=row.group, span_s=row.span_s)
        for row in sorted(rows, key=lambda row: row.id)
    )
    return Dataset(path, task, (), samples, (*table.notes, *problems), found=len(table.lines))


def _target(labels: tuple[str, ...], index: dict[str, int], multilabel: bool) -> Target:
    if multilabel:
        return tuple(sorted({index[name] for name in labels}))
    return index[labels[0]]


# Rows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    id: str
    source: Path | str
    labels: tuple[str, ...]
    split: Split
    group: str
    line: int
    span_s: Span | None = None


def _rows(
    table: Table, labels: Labels, known: Mapping[str, str]
) -> tuple[list[_Row], list[Problem]]:
    places = Places.of(table.path)
    splits, groups = splits_in(table), groups_in(table)
    spans = _parts(table)
    rows: list[_Row] = []
    problems: list[Problem] = []
    for number, (line, text) in enumerate(zip(table.lines, table.texts("path"), strict=True)):
        found = places.find(text, known.get(text, ""))
        if isinstance(found, str):
            where = guard.shown(text) or f"line {line}"
            problems.append(Problem(found, where, f"{_WHY[found]} (line {line}).", "set aside"))
            continue
        span_s = spans[number]
        if isinstance(span_s, str):
            what = f"{span_s} (line {line})."
            problems.append(Problem("bad-time", guard.shown(text), what, "set aside"))
            continue
        id_ = _called(guard.shown(os.path.relpath(found, places.root)), span_s)
        label, split, group = labels.of_rows[number], splits[number], groups[number]
        rows.append(_Row(id_, found, label, split, group, line, span_s))
    labelled, lacking = _labelled(rows, labels.several)
    kept, repeated = _once(labelled)
    return kept, [*problems, *lacking, *repeated]


def file_names(table: Table) -> list[str]:
    """What each row of a table with `path` is called as a sample: its file, or the part of it.

    However a path is written, its file is called by one name; one that is not found is called as
    it is written.

    Raises:
        DataError: a part is none.
    """
    if guessed_task(table) == "video-classification":
        table = with_times(table)
    places, texts = Places.of(table.path), table.texts("path")
    names: dict[str, str] = {}
    for text in set(texts):
        found = places.find(text)
        named = text.strip().removeprefix("./")
        names[text] = guard.shown(
            named if isinstance(found, str) else found.relative_to(places.root)
        )
    called: list[str] = []
    for text, line, part in zip(texts, table.lines, _parts(table), strict=True):
        if isinstance(part, str):
            raise table.fault(line, f"{part}.", "give seconds, start first")
        called.append(_called(names[text], part))
    return called


def _called(name: str, span_s: Span | None) -> str:
    """What a file's part is called, or the whole of it."""
    return name if span_s is None else clip_id(name, span_s)


def _parts(table: Table) -> list[Span | None | str]:
    """Which part of its video each row is about, or what is wrong; None where it is no part."""
    if guessed_task(table) != "video-classification":
        return [None] * len(table.lines)
    return parts(table)


def _text_rows(table: Table, column: str, labels: Labels) -> tuple[list[_Row], list[Problem]]:
    splits, groups = splits_in(table), groups_in(table)
    called = zip(table.line_ids, table.lines, table.contents(column), strict=True)
    rows = [
        _Row(id_, text, labels.of_rows[number], splits[number], groups[number], line)
        for number, (id_, line, text) in enumerate(called)
    ]
    return _labelled(rows, labels.several)


_WHY = {
    "missing": "There is no such file",
    "outside": "The path leaves the table's folder; only what lies in it is read",
    "changed": "The picture or video that is meant is not there, or no longer the same",
}


def _labelled(rows: list[_Row], multilabel: bool) -> tuple[list[_Row], list[Problem]]:
    """The rows with as many labels as are needed, and what is said of the others."""
    problems = [
        Problem("no-label", row.id, f"Line {row.line} has no label.", "set aside")
        for row in rows
        if not row.labels and not multilabel
    ]
    return [row for row in rows if row.labels or multilabel], problems


def _thing(row: _Row) -> str:
    return "file" if row.span_s is None else "part of a file"


def _once(rows: Iterable[_Row]) -> tuple[list[_Row], list[Problem]]:
    """Each sample once, and none that is given different labels: nobody knows which is right.

    Such a sample counts once towards those that are bad, however many rows it has.
    """
    by_id: dict[str, list[_Row]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
    kept: list[_Row] = []
    problems: list[Problem] = []
    for first, *others in by_id.values():
        other = next((row for row in others if set(row.labels) != set(first.labels)), None)
        if other is None:
            kept.append(first)
        else:
            what = f"Lines {first.line} and {other.line} give it different labels; none is used."
            problems.append(Problem("conflict", first.id, what, "set aside"))
        for row in others:
            what = f"Lines {first.line} and {row.line} name the same {_thing(row)}."
            problems.append(Problem("repeated-row", row.id, what, "left out"))
    return kept, problems


def groups_in(table: Table) -> list[str]:
    """The group of each row; half a character in it, which JSON can have, is escaped."""
    if "group" not in table.columns:
        return [""] * len(table.lines)
    return [
        text.strip().encode(errors="backslashreplace").decode() for text in table.texts("group")
    ]


def splits_in(table: Table) -> list[Split]:
    """The split of each row, "" where it has none.

    Raises:
        DataError: a split is called what none is.
    """
    if "split" not in table.columns:
        return [""] * len(table.lines)
    splits: list[Split] = []
    for line, text in zip(table.lines, table.texts("split"), strict=True):
        name = text.strip().lower()
        if name and name not in SPLIT_NAMES:
            raise table.fault(
                line, f"There is no split '{brief(text)}'.", "write train, valid or test"
            )
        splits.append(SPLIT_NAMES[name] if name else "")
    return splits
