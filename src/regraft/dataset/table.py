"""Reader: a table (CSV, TSV, Parquet, JSON lines) of paths or texts, and labels.

    path,label,split,group                      text,label
    img/1.jpg,cat,train,animal 7                "Dear customer, …",spam

Decisions:

- A table with a column `path` is of pictures, or of videos where most paths are called so; these
  may have columns `start` and `stop`, in seconds. Any other is of texts: the column `text`, or one
  that is usually called so (body, message, …), or the only one with long cells. The classes of
  texts may also be called `category`, `class`, … A row of texts is called by its line.
- Where there is no `path` and no column of texts, one whose cells are called as pictures or videos
  are, and lead to files, is taken for it, and that is said. Names of files are not learnt as texts
  unless their column is named.
- A table with both is of texts where no path is called as a picture or video is, and none leads to
  a file of another kind than texts. What other columns of words there are is reported.
- `path` is relative to the table's folder and may not leave it, unless the column `sha256` gives
  the checksum of the file: who knows that, learns nothing by it. `split` and `group` may be left
  out; an empty split is train where others are given.
- A column `suggested` beside `label` means that labels are being filled in: rows that have none yet
  are passed over.
- One label a picture: the column `label`. Several: a column `labels`, or `label` as soon as one
  cell holds several, separated by `|` or `;`, or (Parquet) a list. Several as columns: `label_cat`,
  `label_dog`, … with 0 or 1; without any of these, every other column that holds only 0 and 1 is
  a class.
- An empty cell means that nothing applies where there can be several labels; otherwise the row is
  set aside.
- CSV is read by Python's own reader, because it knows the line of a fault; Parquet by pyarrow.
  A row with another number of cells than the header stops the reading, with file and line: what
  was meant cannot be known. A row that spans lines is called by its first.
- `encoding.py` says which bytes are characters.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, final

from regraft.dataset import guard
from regraft.dataset.encoding import first_lines, read_characters
from regraft.dataset.reader import SPLIT_NAMES, class_name
from regraft.dataset.rows import Dataset, Problem, Sample, Split, Target
from regraft.dataset.texts import NoText
from regraft.dataset.video import claims_video, clip_id
from regraft.errors import DataError, StoreError, UsageError
from regraft.store import file_sha256

_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson")
_TEXT_NAMES = ("text", "body", "message", "content", "document", "mail", "email", "review")
_LABEL_NAMES = ("category", "class", "target", "topic", "sentiment")
_FILE_NAMES = tuple(
    "image_path file_path filepath image img picture video filename file_name file".split()
)
"""What columns of paths are usually called where they are not called `path`; the surest first."""
_LONG = 20
"""Characters in the middle cell of a column that may be texts though its name does not say so."""
_MOST_CHARACTERS = 64 * 2**20
"""In one cell of a CSV file; Python's own limit is 128 KiB, and mails are longer."""
_BRIEF = 60
"""Characters of a cell that a message shows."""
_KNOWN = ("path", "label", "labels", "split", "group")
_SPAN = ("start", "stop")
_FORM = frozenset({"label", "suggested"})
"""Columns of a table whose labels are being filled in, as `regraft labels --out` writes it."""
_SEPARATOR_LINE = re.compile('"?sep=([^\\w"\'\\s]|\\t)"?', re.I)
SEVERAL = re.compile(r"[|;]")
"""What separates the classes in one cell."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_LOOKED_AT = 1000
"""Rows by which it is told whether a column holds words."""
_TRUTH = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}

Cell = str | tuple[str, ...]
"""Text, or a list of texts (Parquet only)."""


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
        return path.suffix.lower() in _SUFFIXES and path.is_file()

    def read(self, path: Path) -> Dataset:
        """The rows of a table; see `Reader`.

        Raises:
            DataError: the table is damaged, ragged, lacks columns or holds what it may not.
        """
        table = _with_path(named(read_table(path), self.text, self.label))
        is_form = _FORM <= set(table.columns)
        dataset = dataset_of(_filled_in(table) if is_form else table)
        is_guessed = dataset.modality == "text" and not self.text and not is_form
        return dataset.with_problems(_not_read(table) if is_guessed else ())


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


def read_table(path: Path) -> Table:
    """The cells of a CSV, TSV, JSONL or Parquet file.

    Raises:
        DataError: the table is damaged, ragged or empty.
    """
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    return _parquet(path) if suffix in (".parquet", ".pq") else _text(path)


def named(table: Table, text: str = "", label: str = "") -> Table:
    """The table with the columns that the user named under the names that are looked for.

    Args:
        table: any.
        text: its column of texts, or "".
        label: its column of classes, or "".

    Raises:
        DataError: there is no such column.
    """
    renamed: dict[str, str] = {}
    for wanted, meaning in ((text, "text"), (label, "label")):
        if not wanted:
            continue
        known = wanted if wanted in table.cells else _column(wanted)
        table.refuse_unread(known)
        if known not in table.cells:
            raise DataError(
                f"There is no column {guard.shown(wanted)}; there are {table.listed}.",
                where=guard.shown(table.path),
                mend="name one of these: --columns text=…,label=…",
            )
        renamed[known] = meaning
    # Others that have these names would be taken for what was named.
    hidden = ({"text", "path"} if text else set[str]()) | ({"label", "labels"} if label else set())
    cells = {
        renamed.get(name, name): cells
        for name, cells in table.cells.items()
        if name in renamed or name not in hidden
    }
    own = {n: renamed.get(n, "" if n in hidden else n) for n in table.cells}
    return replace(table, cells=cells, own=own)


def columns_of(path: Path) -> tuple[str, ...]:
    """The columns of a table, without reading the rest of it; none where it cannot be read."""
    suffix = path.suffix.lower()
    try:
        if suffix in (".parquet", ".pq"):
            import pyarrow.parquet as parquet

            return tuple(_column(name) for name in parquet.read_schema(path).names)
        lines = (line for line in first_lines(path) if line.strip())
        first = next(lines, "")
        said = _said_separator(first)
        first = next(lines, "") if said else first
        if suffix in (".jsonl", ".ndjson"):
            return tuple(_column(name) for name in _object(path, 1, first))
        separator = said or _separator(path, first)
        return tuple(map(_column, next(csv.reader([first], delimiter=separator), [])))
    except (DataError, ValueError, OSError, csv.Error):
        return ()


def dataset_of(table: Table) -> Dataset:
    """The rows of a table of pictures or texts with labels; see the head of this file.

    Raises:
        DataError: it lacks columns or holds what it may not.
    """
    task = _task(table)
    is_text = task == "text-classification"
    column = _text_column(table) if is_text else ""
    labels, multilabel = _labels(_with_label(table) if is_text else table)
    if is_text:
        rows, problems = _text_rows(table, column, labels, multilabel)
    else:
        rows, problems = _rows(table, labels, multilabel)
    classes = tuple(sorted({name for row in rows for name in row.labels}))
    index = {name: number for number, name in enumerate(classes)}
    return Dataset(
        path=table.path,
        task=task,
        classes=classes,
        samples=tuple(
            Sample(
                row.id, row.source, _target(row.labels, index, multilabel),
                split=row.split, group=row.group, span_s=row.span_s,
            )
            for row in sorted(rows, key=lambda row: row.id)
        ),
        problems=(*table.notes, *problems),
        multilabel=multilabel,
        found=len(table.lines),
    )  # fmt: skip


def _target(labels: tuple[str, ...], index: dict[str, int], multilabel: bool) -> Target:
    if multilabel:
        return tuple(sorted({index[name] for name in labels}))
    return index[labels[0]]


# Tables ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A table in memory: `cells[column][row]`, the line each row begins in, and what is odd.

    `own` says what `named` called each column of the file; "" is one that was left out. `unread`
    are the types of columns that were not read, which Parquet can have.
    """

    path: Path
    cells: dict[str, Sequence[Cell]]
    lines: Sequence[int]
    notes: tuple[Problem, ...] = field(default=())
    own: Mapping[str, str] = field(default_factory=dict[str, str])
    unread: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def columns(self) -> tuple[str, ...]:
        """Names, in order; those with a meaning in small letters."""
        return tuple(self.cells)

    @property
    def listed(self) -> str:
        """The columns of the file, for messages."""
        return ", ".join(map(_brief, self.own or self.columns)) or "none"

    @property
    def lacks_header(self) -> bool:
        """Whether the first row looks like any other: it has a long cell, or one that recurs."""
        return self.path.suffix.lower() in (".csv", ".tsv") and any(
            len(name) > _BRIEF or (name and name in cells) for name, cells in self.cells.items()
        )

    def texts(self, column: str) -> list[str]:
        """The cells of a column as texts; the items of a list joined by `|`."""
        return ["|".join(cell) if isinstance(cell, tuple) else cell for cell in self.cells[column]]

    def contents(self, column: str) -> list[str]:
        """The cells of a column of texts; a list is no text and is refused where it is read."""
        return [
            NoText("|".join(cell)) if isinstance(cell, tuple) else cell
            for cell in self.cells[column]
        ]

    def refuse_unread(self, column: str | None) -> None:
        """Refuse a column that was meant and could not be read.

        Raises:
            DataError: it is one of `unread`.
        """
        if column is not None and column in self.unread:
            raise DataError(
                f"Column {_brief(column)} is of type {_brief(self.unread[column])}, no text.",
                where=guard.shown(self.path),
                mend="save it as strings; in pandas: table[NAME].str.decode('utf-8')",
            )

    def fault(self, line: int, what: str, mend: str) -> DataError:
        """An error at a line."""
        return DataError(what, where=f"{guard.shown(self.path)}, line {line}", mend=mend)


def task_of(path: Path) -> str:
    """What a table is for; it is read for this.

    Raises:
        DataError: it cannot be read.
    """
    return _task(_with_path(read_table(path)))


def _with_path(table: Table) -> Table:
    """The table with its column of files called `path`, where that is all there is to learn from.

    Raises:
        DataError: several columns are of files.
    """
    if "path" in table.columns or named_text_column(table.columns) or table.lacks_header:
        return table
    files = _of_files(table)
    if not files or not all(_names_files(table, name) for name in _long(table)):
        return table
    lower = {name.lower(): name for name in files}
    usual = [lower[name] for name in _FILE_NAMES if name in lower]
    if not usual and len(files) > 1:
        raise DataError(
            f"There is no column `path`, and {' and '.join(map(_brief, files))} name files.",
            where=guard.shown(table.path),
            mend="call the one that is meant `path`",
        )
    column = (usual or files)[0]
    own = table.own or {name: name for name in table.columns}
    said = Problem(
        "columns",
        guard.shown(table.path.name),
        f"There is no column `path`; {_brief(column)} names files.",
        "read as path",
    )
    return replace(
        table,
        cells={"path" if name == column else name: cells for name, cells in table.cells.items()},
        own={name: "path" if name == column else called for name, called in own.items()},
        notes=(*table.notes, said),
    )


def _of_files(table: Table) -> list[str]:
    """The columns, not called `path`, of pictures or videos that are there."""
    places = _Places(table.path.resolve().parent, {})

    def is_there(name: str) -> bool:
        return isinstance(places.find(name), Path)

    return [
        name
        for name in _nameless(table)
        if _names_files(table, name) and _mostly(table, name, is_there)
    ]


def _names_files(table: Table, column: str) -> bool:
    """Whether most cells are called as pictures or videos are."""
    return _mostly(table, column, lambda name: _claims_file(Path(name.strip())))


def _claims_file(path: Path) -> bool:
    return guard.claims_picture(path) or claims_video(path)


def _mostly(table: Table, column: str, holds: Callable[[str], bool]) -> bool:
    """Whether something holds of more than half of the first cells of a column."""
    cells = table.texts(column)[:_LOOKED_AT]
    return 2 * sum(map(holds, cells)) > len(cells)


def _task(table: Table) -> str:
    if "path" not in table.columns or _only_texts(table):
        return "text-classification"
    paths = table.texts("path")
    videos = sum(claims_video(Path(name.strip())) for name in paths)
    return "video-classification" if 2 * videos > len(paths) else "image-classification"


def _only_texts(table: Table) -> bool:
    """Whether a table has texts besides paths that are no pictures' and no videos'.

    Where such files are missing, it is an error as it is without the texts: these may be captions.
    """
    if named_text_column(table.columns) is None:
        return False
    places = _Places(table.path.resolve().parent, {})
    for name in table.texts("path"):
        path = Path(name.strip())
        if _claims_file(path):
            return False
        if not guard.claims_text(path) and isinstance(places.find(name), Path):
            return False
    return True


def _not_read(table: Table) -> tuple[Problem, ...]:
    """What is to be said where a table has more columns of words than the one that was taken.

    And where it has one of files.
    """
    column, files = _text_column(table), _of_files(table)
    label = next((own for own, called in table.own.items() if called == "label"), None)
    if label is None:
        known = {name.lower(): name for name in table.columns}
        label = next((known[name] for name in _LABEL_NAMES if name in known), "")
    others = [
        name
        for name in table.columns
        if name not in (column, label, *files, *_KNOWN)
        and not name.startswith("label_")
        and median(len(_WORD.findall(text)) for text in table.texts(name)[:_LOOKED_AT]) >= 2
    ]
    if not others and not files:
        return ()
    unread = [*others, *files]
    what = f"The texts are in {_brief(column)}; {', '.join(map(_brief, unread))} " + (
        "is not read." if len(unread) == 1 else "are not read."
    )
    if others:
        meant = shlex.quote(f"text={others[0]}" + (f",label={label}" if label else ""))
        what += f" --columns {meant} reads another."
    if files:
        what += f" To learn from the files in {_brief(files[0])}, call it `path`."
    return (Problem("columns", guard.shown(table.path.name), what),)


def texts_of(path: Path, column: str = "") -> list[str]:
    """The column of texts of a table, labelled or not.

    Args:
        path: of the table.
        column: its name; found if "".

    Raises:
        DataError: it cannot be read, or has no such column.
    """
    return [text for _, text in lines_of(path, column)]


def lines_of(path: Path, column: str = "") -> list[tuple[str, str]]:
    """The column of texts of a table, each with its line, as samples are called: "line 07".

    Args:
        path: of the table.
        column: its name; found if "".

    Raises:
        DataError: it cannot be read, or has no such column.
    """
    table = named(read_table(path), text=column)
    return list(zip(_line_ids(table), table.contents(_text_column(table)), strict=True))


def _line_ids(table: Table) -> list[str]:
    """What the rows of a table of texts are called; they sort as they stand in it."""
    digits = len(str(table.lines[-1]))
    return [f"line {line:0{digits}d}" for line in table.lines]


def _json_lines(path: Path) -> Table:
    """A JSON object on each line; a key that a line lacks is an empty cell there."""
    characters, notes = _characters(path)
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(io.StringIO(characters), 1):
        if line.strip():
            objects.append(_object(path, number, line))
            lines.append(number)
    names = list(dict.fromkeys(name for values in objects for name in values))
    cells = [[_cell(values.get(name)) for values in objects] for name in names]
    return _with_header(path, [_column(name) for name in names], cells, lines, notes)


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        is_array = line.lstrip().startswith("[")
        raise DataError(
            "This is a JSON array, no object." if is_array else "This is no JSON object.",
            where=f"{guard.shown(path)}, line {number}",
            mend='write one object a line: {"text": "…", "label": "…"}'
            + ("; jq -c '.[]' FILE makes such lines of an array" if is_array else ""),
        )
    return values


def _text(path: Path) -> Table:
    """A CSV or TSV file."""
    characters, notes = _characters(path)
    file = io.StringIO(characters, newline="")
    first = file.readline()
    said = _said_separator(first)
    if not said:
        file.seek(0)
    separator = said or _separator(path, first)
    usual = csv.field_size_limit(_MOST_CHARACTERS)
    try:
        reader = csv.reader(file, delimiter=separator, strict=True)
        return _checked(path, reader, notes, begin=2 if said else 1)
    finally:
        csv.field_size_limit(usual)


def _characters(path: Path) -> tuple[str, tuple[Problem, ...]]:
    """As `read_characters`, and UTF-32 is told from UTF-16, which its mark begins like."""
    characters, notes = read_characters(path)
    if characters.startswith("\0"):
        raise DataError(
            "The table is in UTF-32.",
            where=guard.shown(path),
            mend="save it as UTF-8 (in Excel: CSV UTF-8)",
        )
    return characters, notes


def _said_separator(first: str) -> str:
    """The separator that a line above the header names, as Excel writes and wants it; or ""."""
    said = _SEPARATOR_LINE.fullmatch(first.strip("\r\n"))
    return said.group(1) if said else ""


def _separator(path: Path, header: str) -> str:
    """Comma, semicolon or tab, whichever the header has most of.

    Raises:
        DataError: it has none of them, and another that is usual.
    """
    if path.suffix.lower() == ".tsv":
        return "\t"
    if "|" in header and not set(",;\t") & set(header):
        raise DataError(
            "The cells are separated by |.",
            where=f"{guard.shown(path)}, line 1",
            mend="separate them by commas, semicolons or tabs, or write a line sep=| above this",
        )
    return max(",;\t", key=header.count)


def _column(text: str) -> str:
    """A column's name; those with a meaning are known in capitals too."""
    name = text.strip()
    return name.lower() if name.lower() in _KNOWN else name


def _checked(path: Path, reader: Any, notes: tuple[Problem, ...], begin: int) -> Table:
    """Every row of a CSV reader, which is at line `begin`, each as long as the header."""
    header: list[str] | None = None
    lines: list[int] = []
    rows: list[list[str]] = []
    first = begin
    try:
        for cells in reader:
            line, first = first, reader.line_num + begin
            if not cells:
                continue
            if header is None:
                header = [_column(cell) for cell in cells]
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"The row has {len(cells)} cells, the header {len(header)}.",
                    where=f"{guard.shown(path)}, line {line}",
                    mend="add or take out a separator; put text that holds one in double quotes",
                )
            rows.append(cells)
            lines.append(line)
    except csv.Error as fault:
        raise _damaged(path, str(fault), first, reader.line_num + begin - 1) from fault
    return _with_header(path, header or [], list(zip(*rows, strict=True)), lines, notes)


def _damaged(path: Path, why: str, first: int, last: int) -> DataError:
    """A row that begins in one line and cannot be read on in another."""
    if why == "unexpected end of data":
        what, mend = "A quote that is opened in this row is never closed.", "close it"
    else:
        what = f"The row cannot be read: {why}." + (f" (line {last})" if last > first else "")
        mend = "check its quotes; one inside of quoted text is written twice"
    return DataError(what, where=f"{guard.shown(path)}, line {first}", mend=mend)


def _parquet(path: Path) -> Table:
    import pyarrow  # slow, and needed for this format only
    import pyarrow.parquet as parquet

    try:
        schema = parquet.read_schema(path)
        names = [field.name for field in schema if not _is_heavy(field.type)]
        unread = {_column(f.name): str(f.type) for f in schema if _is_heavy(f.type)}
        columns = parquet.read_table(path, columns=names)
        cells = [[_cell(v) for v in _values(path, columns.column(name), name)] for name in names]
    except (pyarrow.ArrowException, OSError, OverflowError) as fault:
        raise _unreadable(path, str(fault)) from fault
    lines = range(1, 1 + (len(cells[0]) if cells else 0))
    table = _with_header(path, [_column(name) for name in names], cells, lines)
    return replace(table, unread=unread)


def _values(path: Path, column: Any, name: str) -> list[object]:
    """The values of a column; pyarrow does not look at the bytes of texts before this."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError as fault:
        line = next(line for line, value in enumerate(column, 1) if not _is_whole(value))
        raise DataError(
            f"Column {_brief(name)} holds bytes that are no UTF-8.",
            where=f"{guard.shown(path)}, line {line}",
            mend="fetch the file again, or save it again from where it came from",
        ) from fault


def _is_whole(value: Any) -> bool:
    try:
        value.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _is_heavy(type_: Any) -> bool:
    """Pictures inside the table, vectors and the like: never labels, and large."""
    import pyarrow.types as types

    if types.is_list(type_) or types.is_large_list(type_):
        return _is_heavy(type_.value_type)
    return types.is_nested(type_) or types.is_binary(type_) or types.is_large_binary(type_)


def _cell(value: object) -> Cell:
    if isinstance(value, list):
        return tuple(_written(item) for item in value)  # pyright: ignore[reportUnknownVariableType]
    return _written(value)


def _written(value: object) -> str:
    """A value as a text; "" for none, and for the number that stands for none (NaN)."""
    if isinstance(value, dict | list):
        return NoText(value)  # pyright: ignore[reportUnknownArgumentType]
    return "" if value is None or value != value else str(value)


def _brief(text: str) -> str:
    """A name or a cell for messages: one line, and never a whole letter."""
    return guard.shown(text if len(text) <= _BRIEF else text[:_BRIEF] + "…")


def _with_header(
    path: Path,
    header: list[str],
    cells: Sequence[Sequence[Cell]],
    lines: Sequence[int],
    notes: tuple[Problem, ...] = (),
) -> Table:
    meant = (*_KNOWN, *_TEXT_NAMES, *_LABEL_NAMES)
    repeated = sorted({n for n in header if header.count(n) > 1 and n.lower() in meant})
    if repeated:
        raise DataError(
            f"Two columns are called {repeated[0]}.",
            where=guard.shown(path),
            mend="rename or take out one of them",
        )
    if not lines:
        raise DataError(
            "The table has no rows.", where=guard.shown(path), mend="write one row per sample"
        )
    return Table(path, dict(zip(header, cells, strict=True)), lines, notes)


def _unreadable(path: Path, why: str | None) -> DataError:
    return DataError(
        f"The table cannot be read: {why}.", where=guard.shown(path), mend="save it again"
    )


# Labels ------------------------------------------------------------------------------------------


def _filled_in(table: Table) -> Table:
    """The table without the rows whose label is still to be filled in.

    Raises:
        DataError: no label is there yet.
    """
    rows = [row for row, text in enumerate(table.texts("label")) if text.strip()]
    waiting = len(table.lines) - len(rows)
    if not rows:
        raise DataError(
            "No label is filled in yet.",
            where=guard.shown(table.path),
            mend="write classes into the column `label`; not all rows need one",
        )
    if not waiting:
        return table
    what = f"{waiting:,} row{'s have' if waiting > 1 else ' has'} no label yet."
    said = Problem("no-label", guard.shown(table.path.name), what, "passed over")
    return replace(
        table,
        cells={name: [cells[row] for row in rows] for name, cells in table.cells.items()},
        lines=[table.lines[row] for row in rows],
        notes=(*table.notes, said),
    )


def _labels(table: Table) -> tuple[list[tuple[str, ...]], bool]:
    """The class names of each row, and whether a row may have several."""
    for column in ("labels", "label"):
        if column in table.columns:
            cells = table.cells[column]
            several = column == "labels" or any(_holds_several(cell) for cell in cells)
            return [_names(cell, several) for cell in cells], several
    columns = [name for name in table.columns if name.startswith("label_")]
    truths = {name: _truths(table, name) for name in columns}
    if not columns:
        columns = [n for n in table.columns if n not in _KNOWN and n and _is_truth(table, n)]
        truths = {name: _truths(table, name) for name in columns}
    if not columns:
        table.refuse_unread("label")
        if table.lacks_header:
            raise _headless(table)
        raise DataError(
            f"The table has no column `label`; it has {table.listed}.",
            where=guard.shown(table.path),
            mend="call the column with the classes `label`, or have columns label_… with 0 and 1; "
            f"or give its name: --columns {_option_for(table)}",
        )
    names = {column: class_name(column.removeprefix("label_")) for column in columns}
    return [
        tuple(names[column] for column in columns if truths[column][row])
        for row in range(len(table.lines))
    ], True


def _headless(table: Table) -> DataError:
    return DataError(
        f"The first row seems to be data, not names of columns: it has {table.listed}.",
        where=f"{guard.shown(table.path)}, line 1",
        mend="write a header above it, for example text,label; or, if these are names, say which "
        "columns are meant: --columns text=…,label=…",
    )


def _option_for(table: Table) -> str:
    """What to give as --columns, as far as it can be told."""
    text = _text_column(table) if _task(table) == "text-classification" else "path"
    others = [name for name in table.columns if name and name not in (text, *_KNOWN, *_SPAN)]
    label = f"label={others[0] if len(others) == 1 else '…'}"
    own = next((name for name, called in table.own.items() if called == text), text)
    return shlex.quote(label if text == "path" else f"text={own},{label}")


def _holds_several(cell: Cell) -> bool:
    return isinstance(cell, tuple) or SEVERAL.search(cell) is not None


def _names(cell: Cell, several: bool) -> tuple[str, ...]:
    if isinstance(cell, str):
        cell = tuple(SEVERAL.split(cell)) if several else (cell,)
    return tuple(name for name in map(class_name, cell) if name)


def _is_truth(table: Table, column: str) -> bool:
    return all(text.strip().lower() in _TRUTH for text in table.texts(column))


def _truths(table: Table, column: str) -> list[bool]:
    values: list[bool] = []
    for line, text in zip(table.lines, table.texts(column), strict=True):
        if text.strip().lower() not in _TRUTH:
            raise table.fault(
                line,
                f"Column {column} holds '{_brief(text)}'.",
                "write 1 where the label applies, else 0",
            )
        values.append(_TRUTH[text.strip().lower()])
    return values


# Rows --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    id: str
    source: Path | str
    labels: tuple[str, ...]
    split: Split
    group: str
    line: int
    span_s: tuple[float, float] | None = None


def _rows(
    table: Table, labels: list[tuple[str, ...]], multilabel: bool
) -> tuple[list[_Row], list[Problem]]:
    splits = _splits(table)
    groups = table.texts("group") if "group" in table.columns else [""] * len(table.lines)
    spans = _parts(table)
    sums = table.texts("sha256") if "sha256" in table.columns else [""] * len(table.lines)
    places = _Places(table.path.resolve().parent, {})
    rows: list[_Row] = []
    problems: list[Problem] = []
    for number, (line, text) in enumerate(zip(table.lines, table.texts("path"), strict=True)):
        found = places.find(text, sums[number].strip().lower())
        if isinstance(found, str):
            where = guard.shown(text) or f"line {line}"
            problems.append(Problem(found, where, f"{_WHY[found]} (line {line}).", "set aside"))
            continue
        span_s = spans[number]
        id_ = _called(guard.shown(os.path.relpath(found, places.root)), span_s)
        group = groups[number].strip()
        rows.append(_Row(id_, found, labels[number], splits[number], group, line, span_s))
    labelled, lacking = _labelled(rows, multilabel)
    kept, repeated = _once(labelled)
    return kept, [*problems, *lacking, *repeated]


def file_names(table: Table) -> list[str]:
    """What each row of a table with `path` is called as a sample: its file, or the part of it.

    However a path is written, its file is called by one name; one that is not found is called as
    it is written.

    Raises:
        DataError: a part is none.
    """
    places, texts = _Places(table.path.resolve().parent, {}), table.texts("path")
    names: dict[str, str] = {}
    for text in set(texts):
        found = places.find(text)
        named = text.strip().removeprefix("./")
        names[text] = guard.shown(
            named if isinstance(found, str) else found.relative_to(places.root)
        )
    return [_called(names[text], part) for text, part in zip(texts, _parts(table), strict=True)]


def _called(name: str, span_s: tuple[float, float] | None) -> str:
    """What a file's part is called, or the whole of it."""
    return name if span_s is None else clip_id(name, span_s)


def named_text_column(columns: Sequence[str]) -> str | None:
    """The column that is called as columns of texts usually are."""
    lower = {name.lower(): name for name in columns}
    return next((lower[name] for name in _TEXT_NAMES if name in lower), None)


def _parts(table: Table) -> list[tuple[float, float] | None]:
    """Which part of its video each row is about; None where it is the whole, or no video."""
    if _task(table) != "video-classification" or not set(_SPAN) & set(table.columns):
        return [None] * len(table.lines)
    cells = [
        table.texts(name) if name in table.columns else [""] * len(table.lines) for name in _SPAN
    ]
    spans: list[tuple[float, float] | None] = []
    for line, start, stop in zip(table.lines, *cells, strict=True):
        if not start.strip() and not stop.strip():
            spans.append(None)
            continue
        try:
            span_s = (float(start or 0), float(stop))
        except ValueError:
            span_s = (0.0, 0.0)
        if not 0 <= span_s[0] < span_s[1] < float("inf"):
            raise table.fault(
                line, f"A clip cannot go from {start!r} to {stop!r}.", "give seconds, start first"
            )
        spans.append(span_s)
    return spans


def _text_column(table: Table) -> str:
    """Which column holds the texts.

    Raises:
        DataError: none, or it is not clear which.
    """
    named = named_text_column(table.columns)
    if named is not None:
        return named
    table.refuse_unread(named_text_column(tuple(table.unread)))
    files = [name for name in _nameless(table) if _names_files(table, name)]
    long = [name for name in _long(table) if name not in files]
    if files and not long:
        raise _headless(table) if table.lacks_header else _no_path(table, files[0])
    if len(long) == 1:
        return long[0]
    if table.lacks_header:
        raise _headless(table)
    taken = next((name for name, called in table.own.items() if called == "label"), None)
    raise DataError(
        f"The table has no column `path`; it has {table.listed}. "
        "Nor is it clear which column holds texts"
        + (f"; --columns takes {taken} for the classes." if taken is not None else "."),
        where=guard.shown(table.path),
        mend="call it `text` (or `path` for pictures), and the column with the classes `label`; "
        "or give their names: --columns text=…,label=…",
    )


def _nameless(table: Table) -> list[str]:
    """The columns whose names say nothing."""
    return [name for name in table.columns if name not in _KNOWN]


def _long(table: Table) -> list[str]:
    """Those of them that may be texts."""
    return [name for name in _nameless(table) if median(map(len, table.texts(name))) >= _LONG]


def _no_path(table: Table, column: str) -> DataError:
    """What to say of file names where texts should be."""
    own = next((name for name, called in table.own.items() if called == column), column)
    return DataError(
        f"There is no column `path`, and {_brief(own)} seems to name files, not to hold texts.",
        where=guard.shown(table.path),
        mend="call it `path` and let it lead to the files from the table's folder; or, if the "
        f"names themselves are the texts: --columns {shlex.quote(f'text={own}')}",
    )


def _with_label(table: Table) -> Table:
    """The table with its column of classes called `label`, whatever it was called."""
    if {"label", "labels"} & set(table.columns) or any(n[:6] == "label_" for n in table.columns):
        return table
    lower = {name.lower(): name for name in table.columns}
    found = [lower[name] for name in _LABEL_NAMES if name in lower]
    if not found:
        return table
    return replace(table, cells={**table.cells, "label": table.cells[found[0]]})


def _text_rows(
    table: Table, column: str, labels: list[tuple[str, ...]], multilabel: bool
) -> tuple[list[_Row], list[Problem]]:
    splits = _splits(table)
    groups = table.texts("group") if "group" in table.columns else [""] * len(table.lines)
    called = zip(_line_ids(table), table.lines, table.contents(column), strict=True)
    rows = [
        _Row(id_, text, labels[number], splits[number], groups[number].strip(), line)
        for number, (id_, line, text) in enumerate(called)
    ]
    return _labelled(rows, multilabel)


_WHY = {
    "missing": "There is no such file",
    "outside": "The path leaves the table's folder; only what lies in it is read",
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


def _splits(table: Table) -> list[Split]:
    if "split" not in table.columns:
        return [""] * len(table.lines)
    splits: list[Split] = []
    for line, text in zip(table.lines, table.texts("split"), strict=True):
        name = text.strip().lower()
        if name and name not in SPLIT_NAMES:
            raise table.fault(
                line, f"There is no split '{_brief(text)}'.", "write train, valid or test"
            )
        splits.append(SPLIT_NAMES[name] if name else "")
    return splits


@final
@dataclass(frozen=True)
class _Places:
    """Finds the files that a table names, and sees to it that they lie inside its folder."""

    root: Path
    inside: dict[Path, bool]

    def find(self, text: str, sha256: str = "") -> Path | str:
        """The file, or the kind of problem; outside of the folder only what has this checksum."""
        if "\0" in text or not text.strip():
            return "missing"
        path = self._existing(text)
        if path is None:
            escapes = not Path(os.path.normpath(self.root / text)).is_relative_to(self.root)
            return "outside" if escapes else "missing"
        if not path.is_relative_to(self.root):
            path = path.parent.resolve() / path.name  # the folder may be known by another name
        is_inside = path.is_relative_to(self.root) and self._is_inside(path)
        return path if is_inside or (sha256 and _has_content(path, sha256)) else "outside"

    def _existing(self, text: str) -> Path | None:
        """The file as written, or as another system would have written its name."""
        for spelt in (
            text,
            unicodedata.normalize("NFC", text),
            unicodedata.normalize("NFD", text),
            text.strip(),
            text.replace("\\", "/"),
        ):
            path = Path(os.path.normpath(self.root / spelt))
            if os.path.lexists(path):
                return path
        return None

    def _is_inside(self, path: Path) -> bool:
        if path.parent not in self.inside:
            self.inside[path.parent] = path.parent.resolve().is_relative_to(self.root)
        if not self.inside[path.parent] or not path.is_symlink():
            return self.inside[path.parent]
        try:
            return path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):
            return True


def _has_content(path: Path, sha256: str) -> bool:
    """Whether this is a regular file that has a checksum."""
    try:
        return path.is_file() and file_sha256(path) == sha256
    except (OSError, StoreError):
        return False
