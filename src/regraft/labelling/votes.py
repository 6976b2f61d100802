"""Votes: what several people said about the same samples.

Three tables are read (CSV, TSV, Parquet, JSON lines), told apart by their columns:

- long: one vote a row, `path,annotator,label`; `annotator` may also be called `rater`, `worker`,
  `coder` or `labeller`, each with `_id` or without, and `label` as in tables of labels, or `vote`,
  `rating` or `answer`. An empty annotator makes all votes anonymous.
- wide: one sample a row and a column for each person, two or more:
  `path,annotator_anna,annotator_ben`, `rater 1`, `worker1`, ….
- anonymous: one sample a row, `path,votes`, where `votes` (or `ratings`) is `cat|cat|dog`, a JSON
  list, numbers with commas between or, in Parquet, a list; or numbered columns `vote_1,vote_2,…`.

An export of Label Studio ("JSON" or "JSON-MIN") holds votes too; see `label_studio_exports.py`.

Samples are named by a column `path` or another of files beside the table, by `sample`, `id`,
`item` or `task`; or the samples are texts (a column `text`, `body`, …), and where no such column
has one text for each name a text is called by its first line.

Decisions:

- Capitals in the columns' names do not matter.
- A table with labels (in `category` or `sentiment` too) that does not say whose they are is a table
  of labels, whatever else stands in it: `votes`, `rater_age` and the like are about the sample.
- A missing vote is an empty cell or a row that is not there, and normal everywhere. Only in a long
  table of votes for several classes an empty cell is its annotator's vote that none applies: as the
  row is there, somebody looked. Both are counted in `notes`.
- Where all votes are numbers, 3, 3.0 and +3 are one, and NaN or null is a missing vote, which is
  counted in `notes`: pandas writes whole numbers with a gap among them so.
- A wide table's mean, count, majority and spread are no people's.
- Votes hold several classes where a cell says so: `cat|dog` or `cat;dog`, as in tables of labels
  (in a cell of `votes` these are two votes), or is a list, written out or not. `|` alone, `[]`, or
  in JSON lines and Parquet an empty list, is then the vote that nothing applies.
- Whole numbers of which one is negative are steps of a scale; other labels are categories. Class
  numbers look like scales, so this is said, and `scale` overrides it.
- Someone who voted twice on a sample counts with the later vote.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regraft.dataset import guard
from regraft.dataset.reader import class_name
from regraft.dataset.table import LABEL_NAMES, Table, brief, columns_of, read_table
from regraft.dataset.table_columns import FILE_NAMES, named_text_column, with_path
from regraft.dataset.table_labels import SEVERAL, with_lists
from regraft.dataset.table_rows import TableReader, file_names
from regraft.dataset.texts import NoText
from regraft.errors import DataError, UsageError
from regraft.labelling.label_studio_exports import is_export, votes_in
from regraft.wording import plural, some_of

Scale = Literal["nominal", "ordinal", "multilabel"]
SCALES: tuple[Scale, ...] = ("nominal", "ordinal", "multilabel")
Value = tuple[str, ...]
"""The classes that one vote names: one, or several or none of multi-label data."""

_NAMES = ("path", "sample", "id", "sample_id", "item", "item_id", "task", "task_id")
_ROLES = ("annotator", "rater", "worker", "coder", "labeller", "labeler")
_ANNOTATORS = (*_ROLES, *(f"{role}_id" for role in _ROLES))
_VOTED = ("label", "labels", "vote", "rating", "answer", *LABEL_NAMES)
_PERSON = re.compile(rf"(?:{'|'.join(_ROLES)})(?:[_ -](.+)|([0-9]+))", re.IGNORECASE)
_MEAN = re.compile("(?:mean|average|avg)(?:[_ -].+)?", re.IGNORECASE)
_FIGURE = re.compile(
    rf"{_MEAN.pattern}|(?:median|majority|consensus|agreement|confidence)(?:[_ -].+)?"
    "|std|stdev|variance|count|total|sum|gold|final",
    re.IGNORECASE,
)
"""What a column of a wide table says of all people together."""
_SPREAD = re.compile("sd|var", re.IGNORECASE)
"""What it says beside a mean; else these are initials."""
_NUMBERED = re.compile("vote[_ -]?[0-9]+", re.IGNORECASE)
_NUMBER = re.compile(r"[+\-\u2212]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?")
_MISSING = frozenset({"nan", "null", "<na>"})
"""What stands for a missing vote among numbers, in small letters."""
_BRACKETS = frozenset({("[", "]"), ("(", ")")})
_NAMED = 5
"""Columns that a message names."""
_MOST_STEPS = 64


def scale_of(name: str | None) -> Scale | None:
    """The scale by its name; None tells it from the votes.

    Raises:
        UsageError: there is none of that name.
    """
    if name is None or name in SCALES:
        return name
    raise UsageError(
        f"There is no scale {guard.shown(name)}.",
        where="--scale",
        mend=f"use one of {', '.join(SCALES)}",
    )


@dataclass(frozen=True)
class Votes:
    """Votes on samples. Legend: u samples, a annotators, k values, v votes, c classes.

    Attributes:
        samples: names, sorted; only those with a vote.
        annotators: names, sorted; empty when the votes are anonymous.
        values: what was voted; steps of a scale in their order, else sorted.
        scale: how values differ.
        sample_v: which sample.
        annotator_v: who; -1 everywhere when anonymous.
        value_v: what.
        nameless: samples of votes that name nobody though others do: then nobody's can be told.
        notes: what is to be said of how they were read, in sentences.
    """

    samples: tuple[str, ...]
    annotators: tuple[str, ...]
    values: tuple[Value, ...]
    scale: Scale
    sample_v: np.ndarray
    annotator_v: np.ndarray
    value_v: np.ndarray
    nameless: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.value_v)

    @property
    def anonymous(self) -> bool:
        """Nobody knows who voted what."""
        return not self.annotators

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class that was named; steps of a scale in their order, else sorted."""
        if self.scale == "multilabel":
            return tuple(sorted({name for value in self.values for name in value}))
        return tuple(value[0] for value in self.values)

    @property
    def numbered(self) -> bool:
        """Whether the classes could be steps of a scale: three numbers or more."""
        return 2 < len(self.values) <= _MOST_STEPS and _numbers(set(self.values)) is not None

    def per_sample(self) -> np.ndarray:
        """Count_u of votes."""
        return np.bincount(self.sample_v, minlength=len(self.samples))

    def said(self) -> np.ndarray:
        """Said_vc: 1 where a vote names a class, float32."""
        index = {name: c for c, name in enumerate(self.classes)}
        member_kc = np.zeros((len(self.values), len(index)), dtype=np.float32)
        for k, value in enumerate(self.values):
            member_kc[k, [index[name] for name in value]] = 1
        return member_kc[self.value_v]

    def tally(self) -> np.ndarray:
        """Count_uc: how many votes name each class, float32."""
        count_uc = np.zeros((len(self.samples), len(self.classes)), dtype=np.float32)
        if self.scale == "multilabel":
            np.add.at(count_uc, self.sample_v, self.said())
        else:
            np.add.at(count_uc, (self.sample_v, self.value_v), 1)
        return count_uc

    def listed(self) -> list[dict[str, int]]:
        """How often each value was voted, sample by sample; several classes in one name."""
        count = Counter(zip(self.sample_v.tolist(), self.value_v.tolist(), strict=True))
        found: list[dict[str, int]] = [{} for _ in self.samples]
        for u, k in sorted(count):
            found[u][", ".join(self.values[k]) or "none"] = count[u, k]
        return found

    def where(self, keep_v: np.ndarray) -> Votes:
        """The votes that a mask keeps; samples, annotators and values stay as they are."""
        return replace(
            self,
            sample_v=self.sample_v[keep_v],
            annotator_v=self.annotator_v[keep_v],
            value_v=self.value_v[keep_v],
        )

    def binary(self, name: str) -> Votes:
        """The same votes as the answers to one question: does this class apply?"""
        holds_k = np.array([name in value for value in self.values], dtype=np.int64)
        values: tuple[Value, ...] = ((f"not {name}",), (name,))
        return replace(self, values=values, scale="nominal", value_v=holds_k[self.value_v])


def votes_of(
    rows: Iterable[tuple[str, str, Value]], *, scale: Scale | None = None, where: object = ""
) -> Votes:
    """Votes from rows of (sample, annotator, classes); an empty annotator anywhere: anonymous.

    Args:
        rows: one for each vote.
        scale: how values differ; told from the values if None.
        where: the file, for messages.

    Raises:
        DataError: there is no vote.
        UsageError: the values do not fit the scale.
    """
    given = list(rows)
    rows = _numbers_as_one(given)
    notes = _dropped(len(given) - len(rows))
    if not rows:
        raise DataError("There is no vote.", where=where, mend="write one vote per row or cell")
    nameless = tuple(sample for sample, annotator, _ in rows if not annotator)
    if not nameless:
        rows = [
            (sample, person, value)
            for (sample, person), value in {(s, a): v for s, a, v in rows}.items()
        ]
    else:
        nameless = nameless if len(nameless) < len(rows) else ()
        rows = [(sample, "", value) for sample, _, value in rows]
    scale, values = _values({value for _, _, value in rows}, scale, where)
    samples = tuple(sorted({sample for sample, _, _ in rows}))
    people = tuple(sorted({person for _, person, _ in rows} - {""}))
    places = [{name: i for i, name in enumerate(names)} for names in (samples, people, values)]
    table_v3 = np.array(
        [(places[0][s], places[1].get(a, -1), places[2][v]) for s, a, v in rows], dtype=np.int64
    )
    return Votes(samples, people, values, scale, *table_v3.T, nameless=nameless, notes=notes)


def _numbers_as_one(rows: list[tuple[str, str, Value]]) -> list[tuple[str, str, Value]]:
    """Votes that are all numbers in one spelling, without those that are missing.

    With a leading zero it is a code, and stays as it is written.
    """
    spelt: dict[Value, Value | None] = {}
    for value in {value for _, _, value in rows}:
        if len(value) != 1:
            return rows
        (text,) = value
        if _NUMBER.fullmatch(text):
            spelt[value] = (_spelt(text),)
        elif text.lower() in _MISSING:
            spelt[value] = None
        else:
            return rows
    if not any(spelt.values()):
        return rows
    return [(s, a, one) for s, a, value in rows if (one := spelt[value]) is not None]


def _spelt(number: str) -> str:
    """A number in its shortest spelling; as text, since a float would merge long ones."""
    number = number.replace("\u2212", "-").removeprefix("+")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return "0" if number == "-0" else number


def _dropped(missing: int) -> tuple[str, ...]:
    """What is said of numbers that are none."""
    if not missing:
        return ()
    what = plural(missing, "vote of NaN or null is", "votes of NaN or null are")
    return (f"{what} read as missing, because all others are numbers.",)


def _values(
    found: set[Value], scale: Scale | None, where: object
) -> tuple[Scale, tuple[Value, ...]]:
    """The scale, and the values in its order."""
    several = any(len(value) != 1 for value in found)
    numbers = None if several else _numbers(found)
    if scale is None:
        signed = numbers is not None and min(numbers.values()) < 0
        scale = "multilabel" if several else "ordinal" if signed else "nominal"
    if scale == "nominal" and several:
        raise UsageError(
            "Some votes name several classes or none.",
            where=where,
            mend="take --scale multilabel, or write one class for each vote",
        )
    if scale != "ordinal":
        return scale, tuple(sorted(found))
    if numbers is None or len(found) > _MOST_STEPS:
        raise UsageError(
            "These votes are no steps of a scale: "
            + ("some are no numbers." if numbers is None else f"there are {len(found)} of them."),
            where=where,
            mend=f"take --scale nominal, or write at most {_MOST_STEPS} different numbers",
        )
    return scale, tuple(sorted(found, key=lambda value: numbers[value]))


def _numbers(values: set[Value]) -> dict[Value, float] | None:
    """The number that each value is; None where one is none."""
    try:
        numbers = {value: float(value[0]) for value in values}
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers.values())) else None


# Tables ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Which columns of a table hold votes.

    Attributes:
        kind: see the head of this file.
        columns: that hold what was voted.
        annotator: of a long table, the column that says who; "" of others.
        figures: columns about all people together, which are not read.
    """

    kind: Literal["long", "wide", "anonymous"]
    columns: tuple[str, ...]
    annotator: str = ""
    figures: tuple[str, ...] = ()

    def said(self) -> str:
        """What is read as votes, a sentence."""
        names = [guard.shown(name) for name in (self.annotator, *self.columns) if name]
        listed = some_of(names, _NAMED)
        each = ", one person each" if self.kind == "wide" else ""
        if len(names) == 1:
            return f"The column {listed} is read as votes."
        said = f"The columns {listed} are read as votes{each}."
        if self.figures:
            figures = some_of([guard.shown(name) for name in self.figures], _NAMED)
            said += f" Of {figures} nothing is read: no person is called so."
        return said


def layout_of(columns: Sequence[str]) -> Layout | None:
    """Where the votes stand in a table with these columns; None where it holds none."""
    if _first(columns, (*_NAMES, *FILE_NAMES)) is None and named_text_column(columns) is None:
        return None
    voted, annotator = _first(columns, _VOTED), _first(columns, _ANNOTATORS)
    if voted is not None and annotator is not None:
        return Layout("long", (voted,), annotator)
    labelled = _first(columns, ("label", "labels", *LABEL_NAMES))
    if labelled is not None or any(name.lower().startswith("label_") for name in columns):
        return None
    votes = _first(columns, ("votes", "ratings"))
    numbered = tuple(name for name in columns if _NUMBERED.fullmatch(name))
    if votes is not None or numbered:
        return Layout("anonymous", numbered if votes is None else (votes,))
    people = {name: _person(name) for name in columns if name.lower() not in _ANNOTATORS}
    figures = _figures(people)
    people = tuple(name for name, person in people.items() if person and name not in figures)
    return Layout("wide", people, figures=figures) if len(people) > 1 else None


def _figures(people: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that are about all people together, of columns and whose they seem to be."""
    has_mean = any(map(_MEAN.fullmatch, people.values()))
    return tuple(
        name
        for name, person in people.items()
        if _FIGURE.fullmatch(person) or (has_mean and _SPREAD.fullmatch(person))
    )


def _holds_all_votes(layout: Layout) -> bool:
    """Whether one column holds all votes on a sample."""
    return layout.kind == "anonymous" and _NUMBERED.fullmatch(layout.columns[0]) is None


def _whose(column: str, layout: Layout) -> str:
    """The person of a column of a wide table; elsewhere the column."""
    return (_person(column) if layout.kind == "wide" else "") or column


def _person(column: str) -> str:
    """Whose votes a column of a wide table holds, by its name; "" where it holds none."""
    found = _PERSON.fullmatch(column)
    return (found[1] or found[2]) if found else ""


def _first(columns: Sequence[str], meanings: Sequence[str]) -> str | None:
    """The column that is called so, in capitals or not; the first of the meanings first."""
    lower = {name.lower(): name for name in columns}
    return next((lower[name] for name in meanings if name in lower), None)


def is_votes(path: Path) -> bool:
    """Whether a file is a table of votes, by its columns."""
    if is_export(path):
        return True
    return TableReader().recognises(path) and layout_of(columns_of(path)) is not None


def read_votes(path: Path, *, scale: Scale | None = None) -> Votes:
    """The votes in a table.

    Args:
        path: see the head of this file.
        scale: how values differ; told from the values if None.

    Raises:
        DataError: the table is damaged, or is none of votes.
        UsageError: the values do not fit the scale.
    """
    if path.suffix.lower() == ".json":
        rows = votes_in(path, several=scale == "multilabel")
        return votes_of(rows, scale=scale, where=guard.shown(path))
    return votes_in_table(with_path(read_table(path)), scale=scale)


def votes_in_table(table: Table, *, scale: Scale | None = None) -> Votes:
    """The votes in a table that was read, its column of files called `path`; see `read_votes`."""
    where = guard.shown(table.path)
    layout = layout_of(table.columns)
    if layout is None:
        raise DataError(
            f"The table holds no votes; its columns are {table.listed}.",
            where=where,
            mend="have path,annotator,label or path,annotator_…,annotator_… or path,votes",
        )
    _refuse_namesakes(table, layout)
    table, lists = _with_lists(table, layout)
    read = {"long": _long, "wide": _wide, "anonymous": _anonymous}[layout.kind]
    rows, notes = read(table, layout, sample_names(table), scale)
    votes = votes_of(rows, scale=scale, where=where)
    return replace(votes, notes=(*lists, *notes, *votes.notes, *_no_names(table)))


def _refuse_namesakes(table: Table, layout: Layout) -> None:
    """Refuse columns of one name or one person: the votes in one of them would be lost."""
    meant = {*layout.columns, layout.annotator}
    # A table has each name once, and the first of JSON lines may lack some.
    header = [name for name in columns_of(table.path) if name in meant]
    columns = max(header, [name for name in table.columns if name in meant], key=len)
    people = Counter(class_name(_whose(name, layout)) for name in columns)
    again = next((name for name, count in people.items() if count > 1), None)
    if again is not None:
        who = "of the person" if layout.kind == "wide" else "called"
        raise DataError(
            f"Two columns are {who} {again}.",
            where=guard.shown(table.path),
            mend="rename or take out one of them",
        )


def _with_lists(table: Table, layout: Layout) -> tuple[Table, tuple[str, ...]]:
    """The table with lists that were written out as lists, as in tables of labels; what is said.

    A column `votes` has lists of votes instead.
    """
    if _holds_all_votes(layout):
        return table, ()
    read = {column: with_lists(table, column) for column in layout.columns}
    said = [
        f"{problem.what} It is read as a list." for _, found in read.values() for problem in found
    ]
    cells = {column: cells for column, (cells, _) in read.items()}
    return replace(table, cells={**table.cells, **cells}), tuple(said[:1])


def sample_names(table: Table) -> list[str]:
    """What the sample of each row is called; of files, as `file_names` calls it.

    Where no column says it, a text is called by its first line, and what else there is by its own.
    """
    if "path" in table.columns:
        return file_names(table)
    text = named_text_column(table.columns)
    lines = table.line_ids
    if text is not None:
        first: dict[str, str] = {}
        pairs = zip(lines, table.texts(text), strict=True)
        lines = [first.setdefault(content, line) for line, content in pairs]
    column = next((c for c in _naming(table) if text is None or _one_text_each(table, c)), None)
    if column is None:
        return lines
    return [name or line for name, line in zip(_names_in(table, column), lines, strict=True)]


def _naming(table: Table) -> list[str]:
    """The columns that may name samples, the surest first."""
    is_text = named_text_column(table.columns) is not None
    lower = {name.lower(): name for name in table.columns}
    return [
        lower[name] for name in (_NAMES if is_text else (*_NAMES, *FILE_NAMES)) if name in lower
    ]


def _names_in(table: Table, column: str) -> list[str]:
    return [guard.shown(text.strip().removeprefix("./")) for text in table.texts(column)]


def _one_text_each(table: Table, column: str) -> bool:
    """Whether what a column names is one text each: a `task` may be that of all."""
    text = named_text_column(table.columns)
    assert text is not None, "it is a table of texts"
    first: dict[str, str] = {}
    contents = (content.strip() for content in table.texts(text))
    pairs = zip(_names_in(table, column), contents, strict=True)
    # The text may be written in the first row of its sample alone.
    return all(first.setdefault(name, said) == said for name, said in pairs if name and said)


def _no_names(table: Table) -> tuple[str, ...]:
    """What is said of columns that could name texts and do not."""
    if "path" in table.columns or named_text_column(table.columns) is None:
        return ()
    shared = [name for name in _naming(table) if not _one_text_each(table, name)]
    return tuple(
        f"The column {guard.shown(name)} has one name for several texts, so it names no samples."
        for name in shared
    )


_Read = tuple[list[tuple[str, str, Value]], tuple[str, ...]]
"""Votes as `votes_of` takes them, and what is to be said of how they were read."""


def _long(table: Table, layout: Layout, names: Sequence[str], scale: Scale | None) -> _Read:
    (column,) = layout.columns
    texts = _texts(table, column)
    people = [class_name(text) for text in table.texts(layout.annotator)]
    several = column == "labels" or _any_several(texts, scale)
    nothing = 0
    # Beside lists an empty one is the vote that none applies, and a cell without one is none.
    if several and not any(isinstance(cell, tuple) for cell in table.cells[column]):
        looked = [n for n, text in enumerate(texts) if people[n] and not text.strip()]
        nothing = len(looked)
        for n in looked:
            texts[n] = "[]"
    votes = [_vote(text, several) for text in texts]
    rows = [
        (name, person, vote)
        for name, person, vote in zip(names, people, votes, strict=True)
        if vote is not None
    ]
    return rows, _notes(several, nothing, votes.count(None))


def _wide(table: Table, layout: Layout, names: Sequence[str], scale: Scale | None) -> _Read:
    people = [class_name(_whose(column, layout)) for column in layout.columns]
    return _one_a_cell(table, layout, names, scale, people)


def _anonymous(table: Table, layout: Layout, names: Sequence[str], scale: Scale | None) -> _Read:
    if not _holds_all_votes(layout):
        return _one_a_cell(table, layout, names, scale, [""] * len(layout.columns))
    (column,) = layout.columns
    rows = [
        (name, "", vote)
        for name, line, cell in zip(names, table.lines, table.cells[column], strict=True)
        for vote in _list(table, line, cell)
    ]
    return rows, ()


def _one_a_cell(
    table: Table, layout: Layout, names: Sequence[str], scale: Scale | None, people: Sequence[str]
) -> _Read:
    """The votes in columns of one vote a cell, each of one person's."""
    cells = [_texts(table, column) for column in layout.columns]
    several = any(_any_several(texts, scale) for texts in cells)
    votes = [
        (name, person, _vote(text, several))
        for person, texts in zip(people, cells, strict=True)
        for name, text in zip(names, texts, strict=True)
    ]
    rows = [(name, person, vote) for name, person, vote in votes if vote is not None]
    return rows, _notes(several, 0, len(votes) - len(rows))


def _notes(several: bool, nothing: int, missing: int) -> tuple[str, ...]:
    """What empty cells were taken for where samples may have several classes, or none."""
    if not several:
        return ()
    found: list[str] = []
    if nothing:
        what = plural(nothing, "empty cell of somebody is", "empty cells of people are")
        mend = "Leave out the rows of votes that are missing."
        found.append(f"{what} read as the vote that no class applies. {mend}")
    if missing:
        what = plural(missing, "empty cell is", "empty cells are")
        found.append(f"{what} read as missing votes. | alone says that no class applies.")
    return tuple(found)


def _texts(table: Table, column: str) -> list[str]:
    """The cells of one vote each, as texts; an empty list is the vote that nothing applies."""
    pairs = zip(table.cells[column], table.texts(column), strict=True)
    return ["[]" if cell == () else text for cell, text in pairs]


def _any_several(texts: Iterable[str], scale: Scale | None) -> bool:
    """Whether one of the cells holds several classes, or says that none applies, or any may."""
    return scale == "multilabel" or any(
        SEVERAL.search(text) or text.strip() == "[]" for text in texts
    )


def _vote(text: str, several: bool) -> Value | None:
    """One cell; None where nobody voted."""
    if not text.strip():
        return None
    if several:
        return _value([] if text.strip() == "[]" else [text])
    return (class_name(text),)


def _value(texts: Iterable[str]) -> Value:
    """The classes in some texts, separated as in a table of labels: no class has a separator."""
    parts = (part for text in texts for part in SEVERAL.split(text))
    return tuple(sorted({name for part in parts if (name := class_name(part))}))


def _numbers_in(cell: str) -> list[Value]:
    """Numbers with commas or blanks between, or in brackets; none where it is else.

    What is missing among them `votes_of` leaves out, and says.
    """
    parts = re.sub(r"[\s,]+", " ", cell.strip(" ()[]")).split()
    is_list = len(parts) > 1 or (cell.strip()[:1], cell.strip()[-1:]) in _BRACKETS
    if not is_list or cell.count("[") > 1:
        return []
    if not all(part.lower() in _MISSING or _NUMBER.fullmatch(part) for part in parts):
        return []
    return [(part,) for part in parts]


def _list(table: Table, line: int, cell: str | tuple[str, ...]) -> list[Value]:
    """The votes in one cell of a column `votes`."""
    if isinstance(cell, tuple):
        if any(isinstance(text, NoText) for text in cell):
            mend = 'write it as text: "[[\\"cat\\", \\"dog\\"], []]"'
            raise table.fault(line, "A vote is a list itself, inside of a list.", mend)
        return [_value([text]) for text in cell if text.strip()]
    if numbers := _numbers_in(cell):
        return numbers
    if not cell.strip().startswith("["):
        if "," in cell and not SEVERAL.search(cell):
            mend = 'write cat|cat|dog; or, for a class with a comma, ["a, b"]'
            raise table.fault(line, f"{brief(cell)} seems to be several votes.", mend)
        return [(class_name(text),) for text in SEVERAL.split(cell) if text.strip()]
    try:
        given: Any = json.loads(cell)
    except (ValueError, RecursionError):
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
