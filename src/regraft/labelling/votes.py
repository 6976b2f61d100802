"""Votes: what several people said about the same samples.

How tables of votes are read says `votes_table.py`; exports of Label Studio hold votes too, see
`label_studio_exports.py`.

Decisions:

- Where all votes are numbers, 3, 3.0 and +3 are one, and NaN or null is a missing vote, which is
  counted in `notes`: pandas writes whole numbers with a gap among them so.
- Whole numbers of which one is negative are steps of a scale; other labels are categories. Class
  numbers look like scales, so this is said, and `scale` overrides it.
- Someone who voted twice on a sample counts with the later vote.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from regraft.dataset import guard
from regraft.dataset.reader import alike
from regraft.errors import DataError, UsageError
from regraft.wording import plural, some_of

Scale = Literal["nominal", "ordinal", "multilabel"]
SCALES: tuple[Scale, ...] = ("nominal", "ordinal", "multilabel")
Value = tuple[str, ...]
"""The classes that one vote names: one, or several or none of multi-label data."""

_NUMBER = re.compile(r"[+\-\u2212]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?")
_MISSING = frozenset({"nan", "null", "<na>"})
"""What stands for a missing vote among numbers, in small letters."""
_MOST_STEPS = 64
_NAMED = 3
"""Pairs of classes that a message names."""


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
    def may_be_steps(self) -> bool:
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
        """How often each value was voted, sample by sample; `|` between its classes."""
        count = Counter(zip(self.sample_v.tolist(), self.value_v.tolist(), strict=True))
        found: list[dict[str, int]] = [{} for _ in self.samples]
        for u, k in sorted(count):
            found[u]["|".join(self.values[k]) or "none"] = count[u, k]
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
        last = {(sample, person): value for sample, person, value in rows}
        notes = (*notes, *_changed(rows, last))
        rows = [(sample, person, value) for (sample, person), value in last.items()]
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
    votes = Votes(samples, people, values, scale, *table_v3.T, nameless=nameless, notes=notes)
    return replace(votes, notes=(*notes, *said_alike(votes.classes)))


def said_alike(classes: Iterable[str]) -> tuple[str, ...]:
    """What is said of classes that may be one, by their names: people differ in how they write."""
    pairs = [f"{one} and {other}" for one, other in alike(classes)]
    if not pairs:
        return ()
    what = "differ in upper and lower case alone, and count as different classes"
    return (f"{some_of(pairs, _NAMED)} {what}.",)


def _changed(
    rows: Iterable[tuple[str, str, Value]], last: Mapping[tuple[str, str], Value]
) -> tuple[str, ...]:
    """What is said where somebody voted for one thing, and later for another on the same sample."""
    changed = {(s, person): value for s, person, value in rows if last[s, person] != value}
    if not changed:
        return ()
    (sample, person), value = next(iter(changed.items()))
    first, then = ("|".join(one) or "no class" for one in (value, last[sample, person]))
    return (
        f"{plural(len(changed), 'vote is', 'votes are')} followed by another of the same person on "
        f"the same sample, which counts instead: of {person} on {sample}, first {first}, then "
        f"{then}.",
    )


def may_be_number(text: str) -> bool:
    """Whether a vote is a number, or what stands for a missing one among numbers."""
    return text.lower() in _MISSING or _NUMBER.fullmatch(text) is not None


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
