"""Which classes a row of a table has.

Decisions:

- One label a row: the column `label`. Several: a column `labels`, or `label` as soon as one cell
  holds several, separated by `|` or `;`, or a list. Several as columns: `label_cat`, `label_dog`, …
  with 0 or 1; without any of these, two or more columns that hold only 0 and 1 are classes, and
  that is said. One alone may as well be something else, and one without a name may number rows.
- A list that was written out (`['a', 'b']`, as pandas does, or `{"choices": ["a", "b"]}`, as Label
  Studio does) is a list, and that is said. What else begins like one, or like an object, is
  refused: its characters would be the name of a class.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from regraft.dataset import guard
from regraft.dataset.reader import class_name
from regraft.dataset.rows import Problem
from regraft.dataset.table import KNOWN, OF_PEOPLE, SPAN, Cell, Table, brief, is_nameless
from regraft.dataset.table_columns import guessed_task, text_column
from regraft.dataset.texts import NoText
from regraft.errors import DataError

SEVERAL = re.compile(r"[|;]")
"""What separates the classes in one cell."""
_SELDOM = 0.01
"""So small a share of cells with several classes may be a slip of the pen; so may one cell."""
_TRUTH = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
_ITEM = re.compile(r"""'([^'\\]*)'|"([^"\\]*)"|(\d+)""")
_LIST = re.compile(rf"\[\s*(({_ITEM.pattern})(\s*,\s*({_ITEM.pattern}))*)?\s*\]")
_CHOICES = re.compile(r'\{\s*"choices"\s*:\s*(\[.*\])\s*\}', re.DOTALL)
"""What Label Studio writes into a cell of CSV where several classes were chosen."""
_BEGINS = re.compile(r"""[\[{(]\s*['"]""")
"""How lists and objects begin that were written out, of NumPy too, which sets no commas."""


@final
@dataclass(frozen=True)
class Labels:
    """The classes of rows.

    Attributes:
        of_rows: names, for each row.
        several: whether a row may have several, or none.
        problems: what is to be said about them.
    """

    of_rows: Sequence[tuple[str, ...]]
    several: bool
    problems: tuple[Problem, ...]


def labels_in(table: Table) -> Labels:
    """The classes of the rows of a table; see the head of this file.

    Raises:
        DataError: it has no column of classes, or one that holds what is none.
    """
    column = next((name for name in ("labels", "label") if name in table.columns), None)
    if column is None:
        return _by_columns(table)
    where = guard.shown(table.path.name)
    cells, problems = with_lists(table, column)
    several = column == "labels" or any(map(_holds_several, cells))
    names = [_names(cell, several) for cell in cells]
    if column == "label":
        problems += _seldom_several(table, cells)
    problems += _commas({name for row in names for name in row}, where)
    return Labels(names, several, tuple(problems))


def written_list(text: str) -> tuple[str, ...] | None:
    """The items of a list that was written out (`['a', 'b']`, `[007]`); None for any other text."""
    text = text.strip()
    if choices := _CHOICES.fullmatch(text):
        text = choices[1]
    if not _LIST.fullmatch(text):
        return None
    return tuple("".join(item.groups("")) for item in _ITEM.finditer(text))


def _by_columns(table: Table) -> Labels:
    """Classes that are columns with 0 or 1."""
    problems: tuple[Problem, ...] = ()
    columns = [name for name in table.columns if name.startswith("label_")]
    if not columns:
        named = (n for n in table.columns if n not in KNOWN and not is_nameless(n))
        columns = [name for name in named if _is_truth(table, name)]
        if len(columns) < 2:
            raise _no_label(table)
        listed, where = ", ".join(map(brief, columns)), guard.shown(table.path.name)
        what = f"There is no column `label`; {listed} hold nothing but 0 and 1."
        problems = (Problem("columns", where, what, "read as classes"),)
    truths = {name: _truths(table, name) for name in columns}
    names = {column: class_name(column.removeprefix("label_")) for column in columns}
    of_rows = [
        tuple(names[column] for column in columns if truths[column][row])
        for row in range(len(table.lines))
    ]
    return Labels(of_rows, True, problems)


def _no_label(table: Table) -> DataError:
    table.refuse_unread("label")
    return DataError(
        f"The table has no column `label`; it has {table.listed}.",
        where=guard.shown(table.path),
        mend="call the column with the classes `label`, or have columns label_… with 0 and 1; "
        f"or give its name: --columns {_option_for(table)}{OF_PEOPLE}",
    )


def _option_for(table: Table) -> str:
    """What to give as --columns, as far as it can be told."""
    text = text_column(table) if guessed_task(table) == "text-classification" else "path"
    known = (text, *KNOWN, *SPAN)
    others = [n for n in table.columns if n not in known and not is_nameless(n)]
    label = f"label={others[0] if len(others) == 1 else '…'}"
    own = next((name for name, called in table.own.items() if called == text), text)
    return shlex.quote(label if text == "path" else f"text={own},{label}")


def with_lists(table: Table, column: str) -> tuple[list[Cell], list[Problem]]:
    """The cells of a column of classes, those that are lists written out as lists; what is said.

    Raises:
        DataError: a cell is an object, or begins like a list and is none.
    """
    cells: list[Cell] = []
    first: tuple[int, str] | None = None
    for line, cell in zip(table.lines, table.cells[column], strict=True):
        items = (cell,) if isinstance(cell, str) else cell
        if any(isinstance(item, NoText) for item in items):
            raise table.fault(
                line,
                f"The label is {brief(str(items[0]))}, no name of a class.",
                "write its name, or a list of names",
            )
        if isinstance(cell, str) and (written := written_list(cell)) is not None:
            first = first or (line, cell)
            cell = written
        elif isinstance(cell, str) and _BEGINS.match(cell.strip()):
            raise table.fault(
                line,
                f"The label {brief(cell)} is a list or an object written out.",
                "write the names of the classes, with | between several",
            )
        cells.append(cell)
    if first is None:
        return cells, []
    what = f"Line {first[0]} has a list written out ({brief(first[1])}) as its label."
    said = Problem("several-labels", guard.shown(table.path.name), what, "read as a list")
    return cells, [said]


def _holds_several(cell: Cell) -> bool:
    return isinstance(cell, tuple) or SEVERAL.search(cell) is not None


def _seldom_several(table: Table, cells: Sequence[Cell]) -> list[Problem]:
    """What is said where few cells of `label` are why all samples may have several classes."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    if len(texts) < len(cells):
        return []  # lists are meant
    signs = [(row, found[0]) for row, text in enumerate(texts) if (found := SEVERAL.search(text))]
    if not signs or len(signs) > max(1, _SELDOM * len(texts)):
        return []
    row, sign = signs[0]
    what = (
        f"Line {table.lines[row]} has several labels ({brief(texts[row])}), so each sample may; "
        f"if {sign} is part of a name, write something else for it."
    )
    return [Problem("several-labels", guard.shown(table.path.name), what)]


def _commas(classes: set[str], where: str) -> list[Problem]:
    """What is said of classes that are others with commas between, which separate none."""
    joined = [
        name
        for name in sorted(classes)
        if "," in name and {part.strip() for part in name.split(",")} <= classes
    ]
    if not joined:
        return []
    what = f"The class {brief(joined[0])} is others with a comma between; | separates several."
    return [Problem("several-labels", where, what, "kept as one class")]


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
                f"Column {column} holds '{brief(text)}'.",
                f"write 1 where the label applies, else 0{OF_PEOPLE}",
            )
        values.append(_TRUTH[text.strip().lower()])
    return values
