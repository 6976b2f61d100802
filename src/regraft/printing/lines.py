"""Lines and tables on a console, as all results are printed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from regraft.terminal import shown

Facts = Mapping[str, Any]
"""A JSON object that a verb gave: a report, a description, a prediction."""
WIDE = 100
"""Characters of a console on which a table may have its lesser columns."""
CLASSES = 50
"""Rows of a table of classes."""
_PIPE = 240


def output() -> Console:
    """Where results go: stdout, without colours or cursor movements unless it is a terminal."""
    width = None if sys.stdout.isatty() else _PIPE
    return Console(highlight=False, markup=False, emoji=False, width=width)


def table_of(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table without rows; columns that `right` names are of numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def print_lines(console: Console, *lines: str) -> None:
    """Lines as they are, however wide the console is."""
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """A table; where no terminal hides them, without the blanks that its last column ends in."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as held:
        console.print(table)
    print_lines(console, *(line.rstrip() for line in held.get().removesuffix("\n").split("\n")))


def done_about(what: Sequence[str]) -> str:
    """What was done about a problem, behind what is said of it."""
    done = ", ".join(shown(one) for one in what if one != "nothing")
    return f" ({done})" if done else ""
