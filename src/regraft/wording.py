"""Numbers, metrics and lists in words: the same on a page, at a terminal and in a report.

Spaces are plain ones; a page joins numbers with their units itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "–"
"""Where there is no number."""

NO_INTERVAL = "no interval: too few samples"
"""Where all that a number could be lies within its interval, as it does of one sample."""

_SIGNS = frozenset('.,;:()%"')


def percent(share: float | None) -> str:
    """A share: "91.2 %"; what is not quite all or nothing is not rounded to it."""
    if share is None:
        return NOTHING
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def span(metric: Mapping[str, Any]) -> str:
    """The ends of an interval, in per cent: "88.3 to 93.8"; like `percent`, none becomes all.

    Args:
        metric: with "low" and "high".
    """
    if is_untold(metric):
        return NO_INTERVAL
    low, high = 100 * metric["low"], 100 * metric["high"]
    low = min(low, 99.9) if low < 100 else low
    high = max(high, 0.1) if high > 0 else high
    return f"{low:.1f} to {high:.1f}"


def is_untold(metric: Mapping[str, Any]) -> bool:
    """Whether an interval of a share says nothing: it reaches from nothing to all.

    Args:
        metric: with "low" and "high".
    """
    return metric["low"] <= 0 and metric["high"] >= 1


def ends(metric: Mapping[str, Any]) -> str:
    """The ends of an interval in a sentence: "88.3 % to 93.8 %".

    Args:
        metric: with "low" and "high".
    """
    if is_untold(metric):
        return NO_INTERVAL
    return f"{percent(metric['low'])} to {percent(metric['high'])}"


def interval(metric: Mapping[str, Any] | None) -> str:
    """A metric with its interval: "91.2 % (88.3 to 93.8)".

    Args:
        metric: with "value", "low" and "high".
    """
    return NOTHING if metric is None else f"{percent(metric['value'])} ({span(metric)})"


def points(value: float, low: float, high: float, p: float | None = None) -> str:
    """A difference of shares with its interval: "+1.2 points (-0.3 to +2.7)".

    Args:
        value: the difference.
        low: of its interval.
        high: of its interval.
        p: of the test, said too if it is given: "+1.2 points (-0.3 to +2.7, p = 0.120)".
    """
    if value == low == high == 0:
        # An interval without width would look like certainty.
        return "no difference" if p is None else f"no difference (p = {p:.3f})"
    return f"{100 * value:+.1f} points ({span_of_points(low, high, p)})"


def span_of_points(low: float, high: float, p: float | None = None) -> str:
    """The interval of a difference of shares, in points: "-0.3 to +2.7".

    Args:
        low: of the interval.
        high: of the interval.
        p: of the test, said too if it is given: "-0.3 to +2.7, p = 0.120".
    """
    said = NO_INTERVAL
    if low > -1 or high < 1:
        said = f"{100 * low:+.1f} to {100 * high:+.1f}"
    return said if p is None else f"{said}, p = {p:.3f}"


def class_in_words(name: str) -> str:
    """A class in a sentence: plain words as they are, all else in quotes: 3 is `"3"`.

    Else a number would be taken for one of the sentence's own, and a comma for its comma.
    """
    is_plain = name[:1].isalpha() and not any(mark.isnumeric() or mark in _SIGNS for mark in name)
    return name if is_plain else f'"{name}"'


def metric_name(name: str) -> str:
    """A metric's stable name as people say it: "balanced accuracy"."""
    return name.replace("_", " ")


def plural(number: int, one: str, many: str = "") -> str:
    """A number of things: "1 label", "1,200 labels".

    Args:
        number: of things.
        one: what one of them is called.
        many: what several are called; `one` with an s if not given.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def some_of(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are: "a, b and 3 more"."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def count(number: float | None) -> str:
    """A number in a table: "12,810", "3.4 M"."""
    if number is None:
        return NOTHING
    return f"{number:,.0f}" if abs(number) < 1_000_000 else f"{number / 1e6:,.1f} M"


def rate(per_second: float) -> str:
    """How many a second: "25,071", "1.2 M", and below ten two digits, "0.31"."""
    return count(per_second) if per_second >= 10 else f"{per_second:.2g}"


def duration(seconds: float) -> str:
    """A length of time: "0.4 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(number: float | None) -> str:
    """A number of bytes: "640 B", "17.3 MB", "1.2 GB"."""
    if number is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
