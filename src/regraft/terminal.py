"""What a person at a terminal sees on stderr: progress, faults; results are in `printing`.

Progress is drawn in place where stderr is a terminal, and said in a line every few seconds where
it is not. Names of files and classes come from outside, so whatever could move the cursor, ring
or hide is shown escaped.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from regraft.errors import RegraftError
from regraft.events import Advanced, Event, Measured, Said, Saved, Stepped, Tell
from regraft.wording import duration, interval, metric_name

_LINE_EVERY_S = 3.0
_DOUBLED = re.compile(r"(?!\A\\\\[^\\])\\\\")


# Words --------------------------------------------------------------------------------------------


def shown(value: object) -> str:
    """The text of `value` on one line, with all that is not printable escaped."""
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape", "surrogatepass").decode()
        for mark in str(value)
    )


def plainly(text: str) -> str:
    r"""A message with names as people write them: C:\Users, not C:\\Users.

    Messages name things so that different names stay different, with each backslash doubled. Two
    that a text begins with are the share of a path that stands there as it was given.
    """
    return _DOUBLED.sub(r"\\", text)


# Progress -----------------------------------------------------------------------------------------


@contextmanager
def telling() -> Generator[Tell]:
    """Progress on stderr for as long as the block runs."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True, highlight=False)
        with Progress(*columns, console=console, refresh_per_second=4, transient=True) as bars:
            yield LiveProgress(bars)
    else:
        yield PlainProgress(say)


def say(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr, flush=True)


def show_cursor() -> None:
    """Undo what a bar drawn in place hides, for an end without clean-up."""
    if sys.stderr.isatty():
        Console(stderr=True).show_cursor()


def say_fault(fault: RegraftError) -> None:
    """What is wrong, where, and how to mend it, on stderr."""
    where = shown(plainly(fault.where))
    told = RegraftError(_lines_shown(fault.what), where=where, mend=_lines_shown(fault.mend))
    say(f"regraft: {told}")


def _lines_shown(text: str) -> str:
    return "\n".join(map(shown, plainly(text).split("\n")))


def _piece_of_work(event: Advanced | Stepped) -> tuple[str, int, int]:
    if isinstance(event, Advanced):
        return shown(event.what), event.done, event.total
    return f"training {shown(event.rung)}, loss {event.loss:.3f}", event.step, event.steps


def _line(event: Measured | Said) -> str:
    if isinstance(event, Said):
        return shown(event.text)
    measured = {"value": event.value, "low": event.low, "high": event.high}
    return f"{shown(event.rung)}: {shown(metric_name(event.metric))} {interval(measured)}"


@final
class LiveProgress:
    """Bars with the time left, redrawn in place; lines scroll above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        match event:
            case Advanced() | Stepped():
                text, done, total = _piece_of_work(event)
                name = event.what if isinstance(event, Advanced) else event.rung
                if name not in self._tasks:
                    self._tasks[name] = self._bars.add_task(text, total=total)
                self._bars.update(self._tasks[name], description=text, completed=done, total=total)
                if done >= total:
                    self._bars.remove_task(self._tasks.pop(name))
            case Measured() | Said():
                self._bars.console.print(Text(_line(event)), soft_wrap=True)
            case Saved():
                pass


@final
class PlainProgress:
    """A line every few seconds, for logs and pipes; of work that a line was said of, the end too.

    Args:
        say: takes one line.
        clock_s: the time now, in seconds.
    """

    def __init__(
        self, say: Callable[[str], None], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock_s = clock_s
        self._said_s = clock_s()
        self._began: dict[str, tuple[float, int]] = {}
        self._told: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Say one event, or keep quiet about it."""
        match event:
            case Advanced() | Stepped():
                self._advance(event)
            case Measured() | Said():
                self._say(_line(event))
            case Saved():
                pass

    def _advance(self, event: Advanced | Stepped) -> None:
        text, done, total = _piece_of_work(event)
        name = event.what if isinstance(event, Advanced) else event.rung
        now_s = self._clock_s()
        began_s, done_before = self._began.setdefault(name, (now_s, done))
        is_end_of_told = done >= total and name in self._told
        if done >= total:
            del self._began[name]
            self._told.discard(name)
        if now_s - self._said_s < _LINE_EVERY_S and not is_end_of_told:
            return
        self._said_s = now_s
        if done < total:
            self._told.add(name)
        line = f"{text}: {done:,} of {total:,}"
        if done_before < done < total:
            left_s = (now_s - began_s) * (total - done) / (done - done_before)
            line += f", about {duration(left_s)} left"
        self._say(line)
