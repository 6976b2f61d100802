"""What of some data is not looked at, as labels.json lists it and as a sentence says it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from regraft.dataset.rows import DROPPED, Problem
from regraft.labelling.found import Facts
from regraft.wording import plural, some_of

_NAMED = 3


def left_out(problems: Iterable[Problem]) -> list[Facts]:
    """Files and rows that are no samples, with why.

    What is ignored never claimed to be one: files that describe the others, links to folders.
    """
    return [asdict(one) for one in problems if one.done in DROPPED and one.done != "ignored"]


def said_of(rows: Sequence[Facts], one: str, many: str = "") -> str:
    """How many were left out, why and which, or "".

    Args:
        rows: what `left_out` gives.
        one: what one of them is called.
        many: what several are called; `one` with an s if not given.
    """
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        places[row["kind"], row["done"]].append(row["where"])
    return " ".join(
        f"{plural(len(where), one, many)} {'was' if len(where) == 1 else 'were'} {done} on "
        f"reading ({kind}): {some_of(where, _NAMED)}."
        for (kind, done), where in places.items()
    )
