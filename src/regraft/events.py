"""What long work says while it goes on.

Every long function takes `tell`, a function of one event, and calls it between pieces of work,
at moments when everything is in a state that can be kept. The command line draws progress from
it; raising from `tell` is how a caller stops the work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Advanced:
    """`done` of `total` units of `what` are finished (for example "features", in images)."""

    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """One optimiser step of a rung was taken."""

    rung: str
    step: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric was measured."""

    rung: str
    metric: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Saved:
    """A state was committed to disk: from here on, repeating the command goes on from it."""

    what: str


@dataclass(frozen=True, slots=True)
class Said:
    """A line for people: what was found, chosen or refused, and why."""

    text: str


Event = Advanced | Stepped | Measured | Saved | Said
Tell = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""
