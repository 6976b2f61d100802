"""The page: what stands in report.json in words, tables and pictures, as one file.

Nothing on it is fetched and nothing runs: the style sheet and the pictures are inside, and a
content security policy forbids the rest, so that a class or file named like markup stays text
even if escaping failed. Escaping is jinja2's and markupsafe's, for every value without exception.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from regraft.reporting import content, detection, figures
from regraft.reporting.figures import Axis, Bin, Kind, Point
from regraft.wording import (
    NO_INTERVAL,
    NOTHING,
    class_in_words,
    count,
    duration,
    is_untold,
    metric_name,
    percent,
    plural,
    rate,
    size,
    span,
)

if TYPE_CHECKING:
    from jinja2 import Environment

Facts = Mapping[str, Any]
"""A JSON object of the report."""

LARGEST_MATRIX = 24
"""With more classes than this, the most confused pairs stand in for the confusion matrix."""

_PAIRS = 10
_BEFORE_UNIT = re.compile(r"(?<=\d) ")
_CODE = re.compile("`([^`]+)`")
_MARKED = re.compile(r"`[^`]+`|\((?=[^()]{1,32}\))(?:[^`)]|`[^`)]+`)+\)[.,;]?")
"""Code, or a short parenthesis, which may hold code, but not half of it."""
HARDLY = 0.001
"""A smaller share of wrong labels is said to be hardly any, where no more than `_FEW` may be."""
_FEW = 0.02


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What is known about one class; a share is None where nothing was counted."""

    name: str
    counts: tuple[int, int, int]
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A class taken for another: how often, and the share of the given class that this is."""

    given: str
    predicted: str
    count: int
    share: float


def render(report: Facts, thumbnails: Mapping[str, bytes]) -> str:
    """The page as HTML.

    Args:
        report: follows schema.json.
        thumbnails: sample id to a small JPEG.
    """
    best = next(rung for rung in report["rungs"] if rung["name"] == report["best"])
    headline, stop, particulars = report["verdict"].partition(". ")
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            best=best,
            headline=headline + stop.rstrip(),
            particulars=particulars,
            metric=metric_name(best["metric"]["name"]),
            ladder=_ladder(report),
            why=reasons(report["rungs"]),
            label_curve=_label_curve(report, best["metric"]["name"]),
            reliability=_reliability(report["calibration"]),
            classes=class_rows(report),
            pairs=confused_pairs(report)[:_PAIRS],
            heat=_heat(report),
            plot=detection.curves(report["detection"]) if "detection" in report else None,
            pictures=inlined(thumbnails),
            plural=plural,
        )
    )


def environment() -> Environment:
    """Templates of this folder with the words and numbers of a page; all values are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # slow to import

    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finished,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= {
        "percent": _joined(percent),
        "span": _ends,
        "interval": _interval,
        "count": _joined(count),
        "rate": _joined(rate),
        "duration": _joined(duration),
        "seconds": seconds,
        "size": _joined(size),
        "metric": metric_name,
        "class_in_words": class_in_words,
        "listed": listed,
        "unbroken": unbroken,
    }
    return page


def inlined(thumbnails: Mapping[str, bytes]) -> dict[str, str]:
    """JPEGs as addresses that hold them, so that a page needs no file beside it."""
    return {
        name: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        for name, jpeg in thumbnails.items()
    }


# Words --------------------------------------------------------------------------------------------


def _joined(say: Callable[[Any], str]) -> Callable[[Any], str]:
    """What says a number, with the unit kept on the number's line."""
    return lambda number: _BEFORE_UNIT.sub("\u00a0", say(number))


def _ends(metric: Facts) -> str:
    """The ends of an interval, in per cent: "88.1–93.9"."""
    return span(metric).replace(" to ", "–")


def _interval(metric: Facts, after: str = "") -> str:
    """The ends with their unit, and a text after them; or that there is no interval."""
    return NO_INTERVAL if is_untold(metric) else f"{_ends(metric)}\u00a0%{after}"


def seconds(number: float | None) -> str:
    """Seconds for a column of them."""
    if number is None:
        return NOTHING
    return f"{number:,.1f}" if number < 99.95 else f"{number:,.0f}"


def share_wrong(share: Facts) -> str:
    """The estimated share of wrong labels in a sentence."""
    span = f"{percent(share['low'])} to {percent(share['high'])}"
    if share["value"] is None:
        return f"How many labels are wrong can hardly be told ({span})."
    if share["value"] < HARDLY:
        if share["high"] < _FEW:
            return f"Hardly any label seems wrong (up to {percent(share['high'])} may be)."
        return f"Perhaps no label is wrong, perhaps up to {percent(share['high'])} are."
    if share["low"] == 0 and share["value"] < share["high"] / 3:
        likeliest = percent(share["value"])
        return f"Up to {percent(share['high'])} of the labels may be wrong; likeliest {likeliest}."
    surely = "are" if share["low"] > 0 else "may be"
    return f"About {percent(share['value'])} of the labels {surely} wrong ({span})."


def reasons(rungs: Sequence[Facts]) -> list[str]:
    """Why each rung was kept or not; what ended the climb is not said again for each one below."""
    found: list[str] = []
    for before, rung in zip([None, *rungs], rungs, strict=False):
        is_same = before is not None and before["why"] == rung["why"]
        found.append("as above" if is_same and rung["verdict"] == "skipped" else rung["why"])
    return found


def listed(labels: str | Sequence[str]) -> str:
    """One label, or several."""
    return (labels if isinstance(labels, str) else ", ".join(labels)) or "none"


def unbroken(text: str) -> Markup:
    """The text, escaped, with short parentheses kept on one line and signs with their numbers.

    What stands between backticks is code.
    """
    safe = str(escape(figures.visible(text).replace(" %", "\u00a0%")))
    return Markup(_MARKED.sub(_with_marks, safe))  # noqa: S704 (escaped above)


def _with_marks(found: re.Match[str]) -> str:
    inside = _CODE.sub(r"<code>\1</code>", found[0])
    return f'<span class="nowrap">{inside}</span>' if found[0].startswith("(") else inside


def _finished(value: object) -> object:
    return figures.visible(value) if type(value) is str else value


def _short(number: float) -> str:
    """A number on an axis: "300", "10 k", "4 M"."""
    for power, unit in ((1e6, "\u00a0M"), (1e3, "\u00a0k")):
        if number >= power:
            return f"{number / power:.3g}{unit}"
    return f"{number:.3g}"


def _tick_percent(share: float) -> str:
    return f"{100 * share:.3g}\u00a0%"


# Pictures -----------------------------------------------------------------------------------------


def _ladder(report: Facts) -> tuple[Markup, Markup]:
    measured = [rung for rung in report["rungs"] if rung["metric"]]
    rows: list[tuple[str, Facts, Kind]] = [
        (rung["name"], rung, _kind(rung, report["best"])) for rung in measured
    ]
    if report["scratch"]:
        rows.append((_twin(report["scratch"]), report["scratch"], "scratch"))
    y = Axis(f"{metric_name(measured[0]['metric']['name'])}, validation", _tick_percent)
    by_time = [_marked(name, row, kind, row["seconds"]["total"]) for name, row, kind in rows]
    by_size = [_marked(name, row, kind, row["trainable_parameters"]) for name, row, kind in rows]
    return (
        figures.intervals(
            "by-seconds", f"{y.title}, against seconds", by_time, Axis("seconds", _short), y
        ),
        figures.intervals(
            "by-parameters",
            f"{y.title}, against trained parameters",
            by_size,
            Axis("trained parameters", _short),
            y,
        ),
    )


def _twin(twin: Facts) -> str:
    return "TF-IDF" if twin.get("name") == "tf-idf" else "scratch twin"


def _kind(rung: Facts, best: str) -> Kind:
    if rung["name"] == best:
        return "chosen"
    return "kept" if rung["verdict"] == "kept" else "left"


def _marked(label: str, row: Facts, kind: Kind, x: float) -> Point:
    metric = row["metric"]
    return Point(label, x, metric["value"], *_told(metric), kind)


def _told(metric: Facts) -> tuple[float, float]:
    """The ends of an interval, or the value where there is none."""
    return (metric["value"],) * 2 if is_untold(metric) else (metric["low"], metric["high"])


def _label_curve(report: Facts, metric: str) -> Markup | None:
    rows, forecast = report["label_curve"], report["forecast"]
    if not rows:
        return None
    points = [Point("", r["labels"], r["value"], *_told(r), "kept") for r in rows]
    ahead = None
    if forecast and (forecast["labels"] or 0) > rows[-1]["labels"]:
        ahead = (float(forecast["labels"]), float(forecast["target"]))
    axes = (
        Axis(
            f"{'pictures' if 'detection' in report else 'labels'} for training",
            lambda labels: f"{labels:,.0f}",
        ),
        Axis(f"{metric_name(metric)}, validation", _tick_percent),
    )
    return figures.curve("label-curve", f"{axes[1].title}, against labels", points, ahead, axes)


def _reliability(calibration: Facts | None) -> Markup | None:
    if not calibration or not calibration["bins"]:
        return None
    after, before = (
        [Bin(b["confidence"], b["accuracy"], b["count"]) for b in bins]
        for bins in (calibration["bins"], calibration.get("bins_before", []))
    )
    return figures.reliability("reliability", "share right, against confidence", after, before)


# Tables -------------------------------------------------------------------------------------------


def class_rows(report: Facts) -> list[ClassRow]:
    """Every class with its counts, precision and recall; the least recalled first."""
    classes, counts = report["data"]["classes"], report["data"]["counts"]
    tallies = content.tallies(report["confusion"], len(classes))
    rows = [
        ClassRow(
            name,
            (counts["train"][k], counts["valid"][k], counts["test"][k]),
            _ratio(tallies[k][0], tallies[k][1]),
            _ratio(tallies[k][0], tallies[k][2]),
        )
        for k, name in enumerate(classes)
    ]
    return sorted(rows, key=lambda row: 2.0 if row.recall is None else row.recall)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def confused_pairs(report: Facts) -> list[Pair]:
    """Classes taken for each other, the most frequent first."""
    matrix = _matrix(report)
    classes: list[str] = report["data"]["classes"]
    pairs = [
        Pair(classes[given], classes[predicted], number, number / sum(row))
        for given, row in enumerate(matrix)
        for predicted, number in enumerate(row)
        if number and given != predicted
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share))


def _heat(report: Facts) -> list[list[tuple[int, float]]]:
    """The confusion matrix with each number's share of its row; empty where it is too large."""
    matrix = _matrix(report)
    if len(matrix) > LARGEST_MATRIX:
        return []
    return [[(number, number / max(1, sum(row))) for number in row] for row in matrix]


def _matrix(report: Facts) -> list[list[int]]:
    return (report["confusion"] or {}).get("matrix") or []
