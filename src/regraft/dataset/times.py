"""Which parts of videos the rows of a table are about.

Decisions:

- The columns are `start` and `stop`, in seconds. Others that are usually called so count as these
  where most of their cells are times, and that is said.
- A time is a number of seconds, with a point or a comma, or minutes and seconds (1:30), or hours
  before them (0:01:30.5). Without a start a part begins with its file, without a stop it ends with
  it.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from regraft.dataset import guard
from regraft.dataset.rows import Problem
from regraft.dataset.table import KNOWN, SPAN, Table, brief
from regraft.errors import DataError

_USUAL = {
    "start": ("start_time", "start_s", "begin", "from", "t_start"),
    "stop": ("end", "end_time", "stop_time", "stop_s", "end_s", "to", "t_end"),
}
_TIME = re.compile(r"(?:(?:(\d{1,9}):)?(\d{1,9}):)?(\d{1,9}(?:[.,]\d*)?)\s*s?")

Span = tuple[float, float]
"""Where a part begins and ends, in seconds; infinite where it ends with its file."""


def with_times(table: Table) -> Table:
    """A table of videos whose columns of times are called `start` and `stop`.

    Raises:
        DataError: it has a column `start` and none of stops.
    """
    found = _columns_of_times(table)
    if found.get("start", "").lower() == "start" and "stop" not in found:
        raise DataError(
            f"The table has a column `start` and none of stops; it has {table.listed}.",
            where=guard.shown(table.path),
            mend="call the column of the seconds at which parts end `stop`",
        )
    if "stop" not in found:
        return replace(table, notes=(*table.notes, *_unread(table)))
    called = {name: meaning for meaning, name in found.items()}
    own = table.own or {name: name for name in table.columns}
    return replace(
        table,
        cells={called.get(name, name): cells for name, cells in table.cells.items()},
        own={name: called.get(meaning, meaning) for name, meaning in own.items()},
        notes=(*table.notes, *_read_as(table, called)),
    )


def parts(table: Table) -> list[Span | None | str]:
    """Which part of its video each row is about.

    Returns:
        for each row the part, None where it is the whole, or what is wrong with it.
    """
    columns = [table.texts(name) if name in table.columns else None for name in SPAN]
    starts, stops = (cells or [""] * len(table.lines) for cells in columns)
    return [_part(start, stop) for start, stop in zip(starts, stops, strict=True)]


def as_cells(span_s: Span | None) -> tuple[str, str]:
    """A part as `parts` reads it; empty cells where it is the whole."""
    if span_s is None:
        return "", ""
    start_s, stop_s = span_s
    return f"{round(start_s, 3)}", "" if math.isinf(stop_s) else f"{round(stop_s, 3)}"


def _part(start: str, stop: str) -> Span | None | str:
    if not start.strip() and not stop.strip():
        return None
    start_s = _seconds(start) if start.strip() else 0.0
    stop_s = _seconds(stop) if stop.strip() else math.inf
    if start_s is None or stop_s is None or start_s >= stop_s:
        return f"A clip cannot go from '{brief(start)}' to '{brief(stop)}'"
    return start_s, stop_s


def _columns_of_times(table: Table) -> dict[str, str]:
    """Which column says when parts begin, and which when they end, by `start` and `stop`."""
    lower = {name.lower(): name for name in table.columns}
    found: dict[str, str] = {}
    for meaning in SPAN:
        usual = [lower[name] for name in _USUAL[meaning] if name in lower]
        if meaning in lower:
            found[meaning] = lower[meaning]
        elif times := [name for name in usual if _holds_times(table, name)]:
            found[meaning] = times[0]
    return found


def _seconds(text: str) -> float | None:
    """A time; None where it is none."""
    if match := _TIME.fullmatch(text.strip()):
        hours, minutes, seconds = match.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds.replace(",", "."))
    try:
        value = float(text)  # 1e2, .5
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def _holds_times(table: Table, column: str) -> bool:
    """Whether most cells that are not empty are times."""
    cells = [text for text in table.texts(column) if text.strip()]
    return 2 * sum(_seconds(text) is not None for text in cells) > len(cells)


def _read_as(table: Table, called: dict[str, str]) -> list[Problem]:
    where, problems = guard.shown(table.path.name), list[Problem]()
    for name, meaning in called.items():
        if name.lower() != meaning:
            what = f"There is no column `{meaning}`; {brief(name)} holds times."
            problems.append(Problem("columns", where, what, f"read as {meaning}"))
    commas = (text for name in called for text in table.texts(name) if "," in text)
    if text := next(commas, ""):
        what = f"Times have a comma ({brief(text)})."
        problems.append(Problem("columns", where, what, "read as a decimal point"))
    return problems


def _unread(table: Table) -> list[Problem]:
    """What is said where rows of one file may be about parts that other columns tell."""
    paths = table.texts("path")
    if len(set(paths)) == len(paths):
        return []
    names = [
        name
        for name in table.columns
        if name not in KNOWN
        and not name.startswith("label_")
        and _holds_times(table, name)
        and not set(table.texts(name)) <= {"", "0", "1"}
    ]
    if not names:
        return []
    what = (
        f"Several rows name one file, and {', '.join(map(brief, names))} "
        f"{'is' if len(names) == 1 else 'are'} not read. Which part of a file is meant is read, in "
        "seconds, from columns `start` and `stop`."
    )
    return [Problem("columns", guard.shown(table.path.name), what)]
