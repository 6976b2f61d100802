"""Which columns of a table hold votes, and whose; told by their names.

Decisions:

- Capitals in the columns' names do not matter.
- A table with labels (in `category` or `sentiment` too) that does not say whose they are is a table
  of labels, whatever else stands in it: `votes`, `rater_age` and the like are about the sample.
- A wide table's mean, count, majority and spread are no people's, nor are comments and times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from regraft.dataset import guard
from regraft.dataset.reader import class_name
from regraft.dataset.table import LABEL_NAMES
from regraft.labelling.votes_samples import names_samples
from regraft.wording import some_of

_ROLES = ("annotator", "rater", "worker", "coder", "labeller", "labeler")
_ANNOTATORS = (*_ROLES, *(f"{role}{end}" for role in _ROLES for end in ("_id", "id")))
_LABELS = ("label", "labels", *LABEL_NAMES)
_VOTED = ("label", "labels", "vote", "rating", "answer", *LABEL_NAMES, "choice")
_LISTED = ("votes", "ratings")
_PERSON = re.compile(rf"(?:{'|'.join(_ROLES)})(?:[_ -](.+)|([0-9]+))", re.IGNORECASE)
_NOBODY = re.compile("vote[_ -]?[0-9]+", re.IGNORECASE)
"""What columns are called of which each has one vote on a sample, and none says whose."""
_MEAN = re.compile("(?:mean|average|avg)(?:[_ -].+)?", re.IGNORECASE)
_FIGURE = re.compile(
    rf"{_MEAN.pattern}|std|stdev|variance|count|total|sum|gold|final"
    "|(?:median|majority|consensus|agreement|confidence"
    "|comments?|notes?|remarks?|reasons?|time|timestamp|date|duration)(?:[_ -].+)?",
    re.IGNORECASE,
)
"""What a column of a wide table says of all people together, or beside their votes."""
_SPREAD = re.compile("sd|var", re.IGNORECASE)
"""What it says beside a mean; else these are initials."""
_NAMED = 5
"""Columns that a message names."""


@dataclass(frozen=True)
class Layout:
    """Which columns of a table hold votes.

    Attributes:
        kind: see the head of `votes_table.py`.
        columns: that hold what was voted.
        annotator: of a long table, the column that says who; "" of others.
        people: of a wide table, whose votes each column holds; empty where nobody is named.
        figures: columns about all people together, and beside votes, which are not read.
    """

    kind: Literal["long", "wide", "listed"]
    columns: tuple[str, ...]
    annotator: str = ""
    people: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """All columns that votes are read from: who voted, where one says it, and what."""
        return (self.annotator, *self.columns) if self.annotator else self.columns

    def said(self) -> str:
        """What is read as votes, a sentence."""
        names = [guard.shown(name) for name in self.read]
        listed = some_of(names, _NAMED)
        each = ", one person each" if self.people else ""
        if len(names) == 1:
            return f"The column {listed} is read as votes."
        said = f"The columns {listed} are read as votes{each}."
        if self.figures:
            figures = some_of([guard.shown(name) for name in self.figures], _NAMED)
            said += f" Of {figures} nothing is read: no person is called so."
        return said


def layout_of(columns: Sequence[str]) -> Layout | None:
    """Where the votes stand in a table with these columns; None where it holds none."""
    if not names_samples(columns):
        return None
    voted, annotator = _first(columns, _VOTED), _first(columns, _ANNOTATORS)
    if voted is not None and annotator is not None:
        return Layout("long", (voted,), annotator)
    is_labelled = _first(columns, _LABELS) is not None
    if is_labelled or any(name.lower().startswith("label_") for name in columns):
        return None
    listed = _first(columns, _LISTED)
    if listed is not None:
        return Layout("listed", (listed,))
    nobodys = tuple(name for name in columns if _NOBODY.fullmatch(name))
    return Layout("wide", nobodys) if nobodys else _of_people(columns)


def _of_people(columns: Sequence[str]) -> Layout | None:
    """A column for each person; None where there are not two."""
    whose = {
        name: found[1] or found[2]
        for name in columns
        if name.lower() not in _ANNOTATORS and (found := _PERSON.fullmatch(name))
    }
    figures = _figures(whose)
    people = {name: class_name(who) for name, who in whose.items() if name not in figures}
    if len(people) < 2:
        return None
    return Layout("wide", tuple(people), people=tuple(people.values()), figures=figures)


def _figures(whose: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that are about all people together, of columns and whose they seem to be."""
    has_mean = any(map(_MEAN.fullmatch, whose.values()))
    return tuple(
        name
        for name, person in whose.items()
        if _FIGURE.fullmatch(person) or (has_mean and _SPREAD.fullmatch(person))
    )


def _first(columns: Sequence[str], meanings: Sequence[str]) -> str | None:
    """The column that is called so, in capitals or not; the first of the meanings first."""
    lower = {name.lower(): name for name in columns}
    return next((lower[name] for name in meanings if name in lower), None)
