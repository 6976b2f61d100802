"""Tables: the cells of a CSV, TSV, Parquet or JSON lines file, with the line of each row.

Decisions:

- CSV is read by Python's own reader, because it knows the line of a fault; Parquet by pyarrow.
  A row with another number of cells than the header stops the reading, with file and line: what
  was meant cannot be known. A row that spans lines is called by its first.
- `encoding.py` says which bytes are characters.
- A column without a name is called by its place, `column 3`; where nothing stands in it, as
  spreadsheets leave some, there is none.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regraft.dataset import guard
from regraft.dataset.encoding import first_lines, read_characters
from regraft.dataset.rows import Problem
from regraft.dataset.texts import NoText
from regraft.errors import DataError
from regraft.wording import some_of

KNOWN = ("path", "label", "labels", "split", "group")
"""Columns whose names have a meaning, in capitals too."""
SPAN = ("start", "stop")
"""Columns that say which part of its file a row is about, in seconds."""
TEXT_NAMES = (
    "text", "body", "message", "content", "document", "mail", "email", "review", "sentence",
)  # fmt: skip
"""What columns of texts are usually called."""
LABEL_NAMES = ("category", "class", "target", "topic", "sentiment")
"""What columns of classes are usually called where they are not called `label`."""
OF_PEOPLE = (
    "; or, where several people labelled: text,annotator,label with one vote a row, or "
    "text,rater_anna,rater_ben,… (path or id may stand for text)"
)
"""How to mend a table that may be one of votes and has no column of classes; see docs/labels.md."""
_MEANT = frozenset((*KNOWN, *TEXT_NAMES, *LABEL_NAMES))
_MOST_CHARACTERS = 64 * 2**20
"""In one cell of a CSV file; Python's own limit is 128 KiB, and mails are longer."""
_NAMED = 5
"""Lines or columns that a message lists."""
_BRIEF = 60
"""Characters of a cell that a message shows."""
_BY_PLACE = re.compile("column [0-9]+")
_SEPARATOR_LINE = re.compile('"?sep=([^\\w"\'\\s]|\\t)"?', re.I)

Cell = str | tuple[str, ...]
"""Text, or a list of texts (in Parquet and JSON lines)."""


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
    def line_ids(self) -> list[str]:
        """What the rows are called where they are texts; they sort as they stand in the table."""
        digits = len(str(self.lines[-1]))
        return [f"line {line:0{digits}d}" for line in self.lines]

    @property
    def listed(self) -> str:
        """The columns of the file, for messages."""
        return ", ".join(map(brief, self.own or self.columns)) or "none"

    @property
    def lacks_header(self) -> bool:
        """Whether the first row looks like any other: it has a long cell, or one that recurs.

        And none that columns are usually called.
        """
        return (
            self.path.suffix.lower() in (".csv", ".tsv")
            and not any(map(_has_meaning, self.columns))
            and any(len(name) > _BRIEF or name in cells for name, cells in self.cells.items())
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
                f"Column {brief(column)} is of type {brief(self.unread[column])}, no text.",
                where=guard.shown(self.path),
                mend="save it as strings; in pandas: table[NAME].str.decode('utf-8')",
            )

    def fault(self, line: int, what: str, mend: str) -> DataError:
        """An error at a line."""
        return DataError(what, where=f"{guard.shown(self.path)}, line {line}", mend=mend)


def read_table(path: Path) -> Table:
    """The cells of a CSV, TSV, JSONL or Parquet file.

    Raises:
        DataError: the table is damaged, ragged or empty.
    """
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    return _parquet(path) if suffix in (".parquet", ".pq") else _text(path)


def columns_of(path: Path) -> tuple[str, ...]:
    """The columns of a table, without reading the rest of it; none where it cannot be read.

    Of JSON lines, those of the first lines: each may lack some.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in (".parquet", ".pq"):
            import pyarrow.parquet as parquet

            return tuple(_column_names(parquet.read_schema(path).names))
        lines = (line for line in first_lines(path) if line.strip())
        if suffix in (".jsonl", ".ndjson"):
            return tuple(_column_names(_keys(_objects_until_damaged(path, lines))))
        first = next(lines, "")
        said = said_separator(first)
        first = next(lines, "") if said else first
        separator = said or _separator(path, first)
        return tuple(_column_names(next(csv.reader([first], delimiter=separator), [])))
    except (DataError, ValueError, OSError, csv.Error):
        return ()


def column_name(text: str) -> str:
    """A column's name; those with a meaning are known in capitals too."""
    name = text.strip()
    return name.lower() if name.lower() in KNOWN else name


def _column_names(header: Iterable[str]) -> list[str]:
    """The names in a header; a column that has none is called by its place."""
    return [column_name(text) or f"column {place}" for place, text in enumerate(header, 1)]


def is_nameless(column: str) -> bool:
    """Whether a column is called by its place, as that of pandas' row numbers is."""
    return _BY_PLACE.fullmatch(column) is not None


def _has_meaning(name: str) -> bool:
    return name.lower() in _MEANT or name.startswith("label_")


def brief(text: str) -> str:
    """A name or a cell for messages: one line, and never a whole letter."""
    return guard.shown(text if len(text) <= _BRIEF else text[:_BRIEF] + "…")


def _json_lines(path: Path) -> Table:
    """A JSON object on each line; a key that a line lacks is an empty cell there."""
    characters, notes = read_characters(path)
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(io.StringIO(characters), 1):
        if line.strip():
            objects.append(_object(path, number, line))
            lines.append(number)
    names = _keys(objects)
    cells = [[_cell(values.get(name)) for values in objects] for name in names]
    return _with_header(path, names, cells, lines, notes)


def _keys(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those of all, each once."""
    return list(dict.fromkeys(name for values in objects for name in values))


def _objects_until_damaged(path: Path, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield _object(path, 1, line)
        except DataError:
            return


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
    characters, notes = read_characters(path)
    file = io.StringIO(characters, newline="")
    first = file.readline()
    said = said_separator(first)
    if not said:
        file.seek(0)
    separator = said or _separator(path, first)
    usual = csv.field_size_limit(_MOST_CHARACTERS)
    try:
        reader = csv.reader(file, delimiter=separator, strict=True)
        return _checked(path, reader, notes, begin=2 if said else 1)
    finally:
        csv.field_size_limit(usual)


def said_separator(first: str) -> str:
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


def _checked(path: Path, reader: Any, notes: tuple[Problem, ...], begin: int) -> Table:
    """Every row of a CSV reader, which is at line `begin`, each as long as the header."""
    header: list[str] | None = None
    lines: list[int] = []
    again: list[int] = []
    rows: list[list[str]] = []
    first = begin
    try:
        for cells in reader:
            line, first = first, reader.line_num + begin
            if not cells:
                continue
            if header is None:
                header = cells
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"The row has {len(cells)} cells, the header {len(header)}.",
                    where=f"{guard.shown(path)}, line {line}",
                    mend="add or take out a separator; put text that holds one in double quotes",
                )
            if cells == header and any(_has_meaning(column_name(cell)) for cell in cells):
                again.append(line)
            else:
                rows.append(cells)
                lines.append(line)
    except csv.Error as fault:
        raise _damaged(path, str(fault), first, reader.line_num + begin - 1) from fault
    if again:
        what = f"The header stands again in line {some_of(list(map(str, again)), _NAMED)}."
        notes = (*notes, Problem("repeated-header", guard.shown(path.name), what, "no row"))
    return _with_header(path, header or [], list(zip(*rows, strict=True)), lines, notes)


def _damaged(path: Path, why: str, first: int, last: int) -> DataError:
    """A row that begins in one line and cannot be read on in another."""
    if why == "unexpected end of data":
        what, mend = "A quote that is opened in this row is never closed.", "close it"
    else:
        what = f"The row cannot be read: {why}." + (f" (line {last})" if last > first else "")
        mend = 'check its quotes; one inside of quoted text is written twice: "" and not \\"'
    return DataError(what, where=f"{guard.shown(path)}, line {first}", mend=mend)


def _parquet(path: Path) -> Table:
    import pyarrow  # slow, and needed for this format only
    import pyarrow.parquet as parquet

    try:
        schema = parquet.read_schema(path)
        names = [field.name for field in schema if not _is_heavy(field.type)]
        unread = {column_name(f.name): str(f.type) for f in schema if _is_heavy(f.type)}
        columns = parquet.read_table(path, columns=names)
        cells = [[_cell(v) for v in _values(path, columns.column(name), name)] for name in names]
    except (pyarrow.ArrowException, OSError, OverflowError) as fault:
        raise _unreadable(path, str(fault)) from fault
    lines = range(1, 1 + (len(cells[0]) if cells else 0))
    table = _with_header(path, names, cells, lines)
    return replace(table, unread=unread)


def _values(path: Path, column: Any, name: str) -> list[object]:
    """The values of a column; pyarrow does not look at the bytes of texts before this."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError as fault:
        line = next(line for line, value in enumerate(column, 1) if not _is_whole(value))
        raise DataError(
            f"Column {brief(name)} holds bytes that are no UTF-8.",
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


def _with_header(
    path: Path,
    header: Sequence[str],
    cells: Sequence[Sequence[Cell]],
    lines: Sequence[int],
    notes: tuple[Problem, ...] = (),
) -> Table:
    names = _column_names(header)
    repeated = sorted({name for name in names if names.count(name) > 1})
    meant = [name for name in repeated if name.lower() in _MEANT]
    if meant:
        raise DataError(
            f"Two columns are called {meant[0]}.",
            where=guard.shown(path),
            mend="rename or take out one of them",
        )
    if not lines:
        raise DataError(
            "The table has no rows.", where=guard.shown(path), mend="write one row per sample"
        )
    if repeated:
        what = f"Several columns are called {some_of(list(map(brief, repeated)), _NAMED)}."
        said = Problem("columns", guard.shown(path.name), what, "the last of a name is kept")
        notes = (*notes, said)
    columns = zip(header, names, cells, strict=True)
    held = {name: column for own, name, column in columns if own.strip() or any(column)}
    return Table(path, held, lines, notes)


def _unreadable(path: Path, why: str) -> DataError:
    what = f"The table cannot be read: {why.rstrip('.')}."
    return DataError(what, where=guard.shown(path), mend="save it again")
