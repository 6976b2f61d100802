"""What the cells of a table of votes say.

Decisions:

- Votes hold several classes where a cell says so: `cat|dog` or `cat;dog`, as in tables of labels
  (in a cell with all votes on a sample these are two votes), or is a list, written out or not. `|`
  alone, `[]`, or in JSON lines and Parquet an empty list, is then the vote that nothing applies.
- All votes on a sample may stand in one cell as `cat|cat|dog`, a JSON list, numbers with commas
  between or, in Parquet, a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from regraft.dataset.reader import class_name
from regraft.dataset.table import Cell, Table, brief
from regraft.dataset.table_labels import SEVERAL, written_list
from regraft.dataset.texts import NoText
from regraft.labelling.votes import Scale, Value, may_be_number

_BRACKETS = frozenset({("[", "]"), ("(", ")")})


def may_name_several(cells: Iterable[Cell], scale: Scale | None) -> bool:
    """Whether one of the cells names several classes, or says that none applies, or any may."""
    return scale == "multilabel" or any(
        SEVERAL.search(text) or text.strip() == "[]" for text in map(_text, cells)
    )


def one_vote(cell: Cell, several: bool) -> Value | None:
    """The vote in a cell of one; None where nobody voted.

    Args:
        cell: a class, or classes.
        several: votes may name several classes or none.
    """
    text = _text(cell)
    if not text.strip():
        return None
    if several:
        return _value([] if text.strip() == "[]" else [text])
    return (class_name(text),)


def all_votes(table: Table, line: int, cell: Cell) -> list[Value]:
    """The votes in a cell with all votes on a sample.

    Args:
        table: for messages.
        line: of it, for messages.
        cell: votes, in one of the ways that the head of this file lists.

    Raises:
        DataError: they are written otherwise.
    """
    if isinstance(cell, tuple):
        if any(isinstance(text, NoText) for text in cell):
            mend = 'write it as text: "[[\\"cat\\", \\"dog\\"], []]"'
            raise table.fault(line, "A vote is a list itself, inside of a list.", mend)
        return [_value([text]) for text in cell if text.strip()]
    if numbers := _numbers(cell):
        return numbers
    if not cell.strip().startswith("["):
        if "," in cell and not SEVERAL.search(cell):
            mend = 'write cat|cat|dog; or, for a class with a comma, ["a, b"]'
            raise table.fault(line, f"{brief(cell)} seems to be several votes.", mend)
        return [(class_name(text),) for text in SEVERAL.split(cell) if text.strip()]
    return _json_list(table, line, cell)


def _json_list(table: Table, line: int, cell: str) -> list[Value]:
    """Votes as JSON, or as Python writes a list out.

    A list inside the list is a vote for several classes or none.
    """
    try:
        given: Any = json.loads(cell)
    except (ValueError, RecursionError):
        if (items := written_list(cell)) is not None:
            return [_value([item]) for item in items if item.strip()]
        raise table.fault(line, "The votes are no JSON list.", 'write ["cat", "dog"]') from None
    votes: list[Value] = []
    for vote in given:
        if isinstance(vote, list):
            votes.append(_value(map(str, vote)))
        elif isinstance(vote, str | int | float) and str(vote).strip():
            votes.append(_value([str(vote)]))
        elif vote is not None and vote != "":
            raise table.fault(line, f"{vote!r} is no vote.", "write text, numbers or lists of them")
    return votes


def _numbers(cell: str) -> list[Value]:
    """Numbers with commas or blanks between, or in brackets; none where it is else.

    What is missing among them `votes_of` leaves out, and says.
    """
    parts = re.sub(r"[\s,]+", " ", cell.strip(" ()[]")).split()
    is_list = len(parts) > 1 or (cell.strip()[:1], cell.strip()[-1:]) in _BRACKETS
    if not is_list or cell.count("[") > 1 or not all(map(may_be_number, parts)):
        return []
    return [(part,) for part in parts]


def _text(cell: Cell) -> str:
    """A cell of one vote as a text; an empty list is the vote that nothing applies."""
    if isinstance(cell, tuple):
        return "|".join(cell) if cell else "[]"
    return cell


def _value(texts: Iterable[str]) -> Value:
    """The classes in some texts, separated as in a table of labels: no class has a separator."""
    parts = (part for text in texts for part in SEVERAL.split(text))
    return tuple(sorted({name for part in parts if (name := class_name(part))}))
