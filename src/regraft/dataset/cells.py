"""Cells of the tables that regraft writes: in a spreadsheet they stand as they are.

Decisions:

- In a cell that a spreadsheet would take for a formula an apostrophe stands first. Where one stood
  there already it is doubled, so that taking one off gives back every text. A column `path` has
  "./" instead, which leads to the same file in every program; names of samples lead nowhere.
- Only readers of forms and of boxes take the apostrophe off: in any other table it may be the
  user's own. So what is labelled of a pool (`labelling/pool.py`), which is learnt from like any
  table, is written without it.
- A table with other characters than ASCII begins with a byte-order mark: without it Excel takes
  UTF-8 for the encoding of its country. One of ASCII has none, as some programs do not know it.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def to_cell(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula; numbers stay as they are."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_cell(text: str) -> str:
    """The text that `to_cell` was given."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


def path_cell(path: str) -> str:
    """A path as such a cell, which leads to the same file."""
    return path if to_cell(path) == path else f"./{path}"


def encoded(table: str) -> bytes:
    """The bytes of a table, UTF-8; with a byte-order mark where it has more than ASCII."""
    return table.encode("utf-8" if table.isascii() else "utf-8-sig", "backslashreplace")
