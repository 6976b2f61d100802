"""Which column of a table holds what: paths, texts or classes; and which task the table is for.

Decisions:

- A table with a column `path` is of pictures, or of videos where most paths are called so. Any
  other is of texts: the column `text`, or one that is usually called so (body, message, …), or the
  only one with long cells, or where none has such the only one of words. The classes of texts may
  also be called `category`, `class`, …
- Where there is no `path` and no column of texts, one whose cells are called as pictures or videos
  are, and lead to files, is taken for it, and that is said. Names of files are not learnt as texts
  unless their column is named.
- A table with both is of texts where no path is called as a picture or video is, and none leads to
  a file of another kind than texts. What other columns of words there are is reported.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from regraft.dataset import guard
from regraft.dataset.places import Places
from regraft.dataset.rows import Problem
from regraft.dataset.table import (
    KNOWN,
    LABEL_NAMES,
    OF_PEOPLE,
    TEXT_NAMES,
    Table,
    brief,
    column_name,
    read_table,
)
from regraft.dataset.video import claims_video
from regraft.errors import DataError

FILE_NAMES = tuple(
    "image_path file_path filepath image img picture video filename file_name file".split()
)
"""What columns of paths are usually called where they are not called `path`; the surest first."""
_LONG = 20
"""Characters in the middle cell of a column that may be texts though its name does not say so."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_LOOKED_AT = 1000
"""Rows by which it is told whether a column holds words."""


def task_of(path: Path) -> str:
    """What a table is for; it is read for this.

    Raises:
        DataError: it cannot be read.
    """
    return guessed_task(with_path(read_table(path)))


def lines_of(path: Path, column: str = "") -> tuple[list[tuple[str, str]], tuple[Problem, ...]]:
    """The column of texts of a table, each with its line, as samples are called: "line 07".

    Args:
        path: of the table.
        column: its name; found if "".

    Raises:
        DataError: it cannot be read, or has no such column.
    """
    table = named(read_table(path), text=column)
    lines = list(zip(table.line_ids, table.contents(text_column(table)), strict=True))
    return lines, table.notes


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
        known = wanted if wanted in table.cells else column_name(wanted)
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


def guessed_task(table: Table) -> str:
    """What a table is for, by its columns and how its files are called."""
    if "path" not in table.columns or _only_texts(table):
        return "text-classification"
    paths = table.texts("path")
    videos = sum(claims_video(Path(name.strip())) for name in paths)
    return "video-classification" if 2 * videos > len(paths) else "image-classification"


def with_path(table: Table) -> Table:
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
    usual = [lower[name] for name in FILE_NAMES if name in lower]
    if not usual and len(files) > 1:
        raise DataError(
            f"There is no column `path`, and {' and '.join(map(brief, files))} name files.",
            where=guard.shown(table.path),
            mend="call the one that is meant `path`",
        )
    column = (usual or files)[0]
    own = table.own or {name: name for name in table.columns}
    said = Problem(
        "columns",
        guard.shown(table.path.name),
        f"There is no column `path`; {brief(column)} names files.",
        "read as path",
    )
    return replace(
        table,
        cells={"path" if name == column else name: cells for name, cells in table.cells.items()},
        own={name: "path" if name == column else called for name, called in own.items()},
        notes=(*table.notes, said),
    )


def named_text_column(columns: Sequence[str]) -> str | None:
    """The column that is called as columns of texts usually are."""
    lower = {name.lower(): name for name in columns}
    return next((lower[name] for name in TEXT_NAMES if name in lower), None)


def text_column(table: Table) -> str:
    """Which column holds the texts.

    Raises:
        DataError: none, or it is not clear which.
    """
    named = named_text_column(table.columns)
    if named is not None:
        return named
    table.refuse_unread(named_text_column(tuple(table.unread)))
    if table.lacks_header:
        raise headless(table)
    files = [name for name in _nameless(table) if _names_files(table, name)]
    long = [name for name in _long(table) if name not in files]
    if files and not long:
        raise _no_path(table, files[0])
    likely = long or [name for name in _nameless(table) if _may_be_texts(table, name)]
    if len(likely) == 1:
        return likely[0]
    taken = next((name for name, called in table.own.items() if called == "label"), None)
    raise DataError(
        f"The table has no column `path`; it has {table.listed}. "
        "Nor is it clear which column holds texts"
        + (f"; --columns takes {taken} for the classes." if taken is not None else "."),
        where=guard.shown(table.path),
        mend="call it `text` (or `path` for pictures), and the column with the classes `label`; "
        f"or give their names: --columns text=…,label=…{OF_PEOPLE}",
    )


def with_label(table: Table) -> Table:
    """The table with its column of classes called `label`, whatever it was called."""
    if {"label", "labels"} & set(table.columns) or any(n[:6] == "label_" for n in table.columns):
        return table
    lower = {name.lower(): name for name in table.columns}
    found = [lower[name] for name in LABEL_NAMES if name in lower]
    if not found:
        return table
    notes = table.notes
    if found[1:]:
        unread = ", ".join(map(brief, found[1:])) + (" is" if len(found) == 2 else " are")
        what = (
            f"The classes are in {brief(found[0])}; {unread} not read. "
            f"--columns {shlex.quote(f'label={found[1]}')} reads another."
        )
        notes = (*notes, Problem("columns", guard.shown(table.path.name), what))
    return replace(table, cells={**table.cells, "label": table.cells[found[0]]}, notes=notes)


def not_read(table: Table) -> tuple[Problem, ...]:
    """What is to be said where a table has more columns of words than the one that was taken.

    And where it has one of files.
    """
    column, files = text_column(table), _of_files(table)
    label = next((own for own, called in table.own.items() if called == "label"), None)
    if label is None:
        known = {name.lower(): name for name in table.columns}
        label = next((known[name] for name in LABEL_NAMES if name in known), "")
    others = [
        name
        for name in table.columns
        if name not in (column, label, *files, *KNOWN)
        and not name.startswith("label_")
        and median(len(_WORD.findall(text)) for text in table.texts(name)[:_LOOKED_AT]) >= 2
    ]
    short: tuple[Problem, ...] = ()
    if named_text_column(table.columns) is None and column not in _long(table):
        what = f"There is no column `text`; no other holds words but {brief(column)}."
        short = (Problem("columns", guard.shown(table.path.name), what, "read as text"),)
    if not others and not files:
        return short
    unread = [*others, *files]
    what = f"The texts are in {brief(column)}; {', '.join(map(brief, unread))} " + (
        "is not read." if len(unread) == 1 else "are not read."
    )
    if others:
        meant = shlex.quote(f"text={others[0]}" + (f",label={label}" if label else ""))
        what += f" --columns {meant} reads another."
    if files:
        what += f" To learn from the files in {brief(files[0])}, call it `path`."
    return (*short, Problem("columns", guard.shown(table.path.name), what))


def headless(table: Table) -> DataError:
    """What to say where the first row seems to be one like any other."""
    return DataError(
        f"The first row seems to be data, not names of columns: it has {table.listed}.",
        where=f"{guard.shown(table.path)}, line 1",
        mend="write a header above it, for example text,label; or, if these are names, say which "
        "columns are meant: --columns text=…,label=…; or, of a form with a question a column, turn "
        "rows into columns",
    )


def _only_texts(table: Table) -> bool:
    """Whether a table has texts besides paths that are no pictures' and no videos'.

    Where such files are missing, it is an error as it is without the texts: these may be captions.
    """
    if named_text_column(table.columns) is None:
        return False
    places = Places.of(table.path)
    for name in table.texts("path"):
        path = Path(name.strip())
        if _claims_file(path):
            return False
        if not guard.claims_text(path) and isinstance(places.find(name), Path):
            return False
    return True


def _of_files(table: Table) -> list[str]:
    """The columns, not called `path`, of pictures or videos that are there."""
    places = Places.of(table.path)

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


def _nameless(table: Table) -> list[str]:
    """The columns whose names say nothing."""
    return [name for name in table.columns if name not in KNOWN]


def _long(table: Table) -> list[str]:
    """Those of them that may be texts."""
    return [name for name in _nameless(table) if median(map(len, table.texts(name))) >= _LONG]


def _may_be_texts(table: Table, column: str) -> bool:
    """Whether a column of short cells holds words, and is not called as classes or files are.

    Alone it tells too little: its name may be a text.
    """
    if len(table.columns) < 2 or column.startswith("label_"):
        return False
    return column.lower() not in (*LABEL_NAMES, *FILE_NAMES) and _mostly(
        table, column, lambda text: 2 * sum(map(len, _WORD.findall(text))) > len(text)
    )


def _no_path(table: Table, column: str) -> DataError:
    """What to say of file names where texts should be; `with_path` has looked for the files."""
    own = next((name for name, called in table.own.items() if called == column), column)
    first = next(filter(str.strip, table.texts(column)), "")
    folder = guard.shown(table.path.resolve().parent)
    return DataError(
        f"There is no column `path`, and {brief(own)} seems to name files, not to hold texts. "
        f"{brief(first)} and the others were looked for in {folder}, and most are not there.",
        where=guard.shown(table.path),
        mend="call it `path` and let it lead to the files from the table's folder; or, if the "
        f"names themselves are the texts: --columns {shlex.quote(f'text={own}')}",
    )
