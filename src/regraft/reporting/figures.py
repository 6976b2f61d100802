"""Pictures of a report, written as SVG that stands inside the page.

They are written out by hand because importing a plotting library takes a second, a fifth of what a
whole run may last. Colours and type come from the page's style sheet by class name, so the
pictures are dark where the page is dark; a picture is 480 units wide and stays readable at the
width of a phone. All text goes through `Markup`, which escapes it.

Units: `_px` are units of the picture's view box, x to the right, y downwards.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from regraft.wording import NO_INTERVAL

Kind = Literal["chosen", "kept", "left", "scratch"]
Form = Callable[[float], str]
"""A number as an axis says it."""

_WIDTH_PX = 480.0
_HEIGHT_PX = 350.0
_LETTER_PX = 13.0


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement in a plot: a point with its 95 % interval."""

    label: str
    x: float
    value: float
    low: float
    high: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows: its title, how its numbers are written, and what they are at most."""

    title: str
    form: Form
    most: float = math.inf


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same confidence: the mean of it, how many were right, how many."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of shares: its name, its points, and one of them that is marked."""

    label: str
    points: Sequence[tuple[float, float]]
    at: tuple[float, float] | None = None


def visible(text: object) -> str:
    """`text` on one line, with what cannot be seen or would reorder its neighbours escaped."""
    raw = str(text)
    if raw.isascii() and raw.isprintable():
        return raw
    return "".join(
        mark.encode("unicode_escape", "surrogatepass").decode()
        if unicodedata.category(mark)[0] == "C" or mark in "\u2028\u2029"
        else mark
        for mark in raw
    )


# The pictures -------------------------------------------------------------------------------------


def intervals(name: str, title: str, marks: Sequence[Point], x: Axis, y: Axis) -> Markup:
    """Points with intervals over a logarithmic axis, joined in order where they belong together.

    Args:
        name: of the picture, unique on the page.
        title: read out instead of the picture.
        marks: in the order they were measured.
        x: the logarithmic axis.
        y: the metric's axis, 0…1.
    """
    area = Box(58, 34, _WIDTH_PX - 14, _HEIGHT_PX - 50)
    across = log_scale([mark.x for mark in marks], area.left, area.right)
    up = share_scale([v for mark in marks for v in (mark.low, mark.high)], area.bottom, area.top)
    at_px = _dodged([across.px(mark.x) for mark in marks])
    parts = [_frame(area, across, up, x, y)]
    parts += [
        _BAND.format(area.left, up.px(m.high), area.width, max(1.0, up.px(m.low) - up.px(m.high)))
        for m in marks
        if m.kind == "chosen" and len(marks) > 1 and m.low < m.high
    ]
    climb = [(px, up.px(m.value)) for px, m in zip(at_px, marks, strict=True) if m.kind in _CLIMB]
    parts.append(_path("climb", climb))
    for px, mark in zip(at_px, marks, strict=True):
        ends = f"{y.form(mark.low)} to {y.form(mark.high)}" if mark.low < mark.high else NO_INTERVAL
        said = f"{mark.label}: {y.form(mark.value)} ({ends})"
        parts.append(_mark(px, up, mark, f"{said}, {x.form(mark.x)}"))
    parts += _labels(area, up, list(zip(at_px, marks, strict=True)))
    return _picture(name, title, parts)


def curve(
    name: str,
    title: str,
    points: Sequence[Point],
    forecast: tuple[float, float] | None,
    axes: tuple[Axis, Axis],
) -> Markup:
    """A line with its band over a logarithmic axis, and where it is expected to go.

    Args:
        name: of the picture, unique on the page.
        title: read out instead of the picture.
        points: sorted by x, at least one.
        forecast: x and value that the line is expected to reach, if it is.
        axes: the logarithmic one, and the metric's, 0…1.
    """
    x, y = axes
    area = Box(58, 34, _WIDTH_PX - 14, _HEIGHT_PX - 50)
    ahead = [forecast] if forecast else []
    across = log_scale([p.x for p in points] + [f[0] for f in ahead], area.left, area.right)
    spread = [v for p in points for v in (p.low, p.high)] + [f[1] for f in ahead]
    up = share_scale(spread, area.bottom, area.top)
    parts = [_frame(area, across, up, x, y)]
    over = [(across.px(p.x), up.px(p.high)) for p in points]
    under = [(across.px(p.x), up.px(p.low)) for p in reversed(points)]
    parts.append(_path("band", over + under, closed=True))
    line = [(across.px(p.x), up.px(p.value)) for p in points]
    parts.append(_path("line", line))
    for (px, py), point in zip(line, points, strict=True):
        said = f"{x.form(point.x)}: {y.form(point.value)}"
        parts.append(
            _DOT.format(
                "kept", px, py, 4.0, f"{said} ({y.form(point.low)} to {y.form(point.high)})"
            )
        )
    if forecast:
        end = (across.px(forecast[0]), up.px(forecast[1]))
        said = f"{y.form(forecast[1])} expected at {x.form(forecast[0])}"
        parts.append(_path("ahead", [line[-1], end]))
        parts.append(_DOT.format("left", *end, 5.0, said))
        parts.append(_TEXT.format("label", end[0] + 4, end[1] - 12, "end", said))
    return _picture(name, title, parts)


def lines(name: str, title: str, drawn: Sequence[Line], x: Axis, y: Axis) -> Markup:
    """Curves over two shares, both 0…1, each with its name beside the plot, as high as it ends.

    Args:
        name: of the picture, unique on the page.
        title: read out instead of the picture.
        drawn: at most six.
        x: the axis across.
        y: the axis upwards.
    """
    names = [visible(_shortened(line.label, 20)) for line in drawn]
    beside_px = max(map(_text_width, names)) if any(names) else 0.0
    area = Box(58, 34, _WIDTH_PX - 14 - beside_px, _HEIGHT_PX - 50)
    across, up = Scale(0.0, 1.0, area.left, area.right), Scale(0.0, 1.0, area.bottom, area.top)
    parts = [_frame(area, across, up, x, y)]
    wanted = [up.px(line.points[-1][1]) + 4 for line in drawn]
    text_py = _apart(wanted, area.top + 10, area.bottom - 4)
    for number, line in enumerate(drawn):
        at_px = [(across.px(px), up.px(py)) for px, py in line.points]
        parts.append(_path(f"line c{number}", at_px))
        if line.at:
            spoken = f"{visible(line.label)} {x.form(line.at[0])}, {y.form(line.at[1])}".strip()
            parts.append(
                _DOT.format(f"c{number}", across.px(line.at[0]), up.px(line.at[1]), 5.0, spoken)
            )
        place = (area.right + 8, text_py[number], "start")
        parts.append(_TEXT.format(f"label c{number}", *place, names[number]))
    return _picture(name, title, parts)


def reliability(name: str, title: str, after: Sequence[Bin], before: Sequence[Bin]) -> Markup:
    """How often answers of a confidence are right; on the diagonal, confidence can be trusted.

    Args:
        name: of the picture, unique on the page.
        title: read out instead of the picture.
        after: bins with the temperature applied.
        before: bins without it; empty where they were not kept.
    """
    area = Box(58, 34, 400, 376)
    low = min([b.confidence for b in [*after, *before]] + [b.accuracy for b in [*after, *before]])
    floor = math.floor(max(0.0, low - 0.02) * 10) / 10
    across = Scale(floor, 1.0, area.left, area.right)
    up = Scale(floor, 1.0, area.bottom, area.top)
    x, y = Axis("confidence", whole_percent), Axis("share right", whole_percent)
    parts = [_frame(area, across, up, x, y)]
    parts.append(_path("ideal", [(area.left, area.bottom), (area.right, area.top)]))
    most = max([b.count for b in [*after, *before]], default=1)
    for kind, bins in (("before", before), ("after", after)):
        parts.append(_path(kind, [(across.px(b.confidence), up.px(b.accuracy)) for b in bins]))
        for b in bins:
            radius_px = 3 + 6 * math.sqrt(b.count / most)
            right = f"{whole_percent(b.accuracy)} right"
            said = f"{b.count:,} answers of {whole_percent(b.confidence)}: {right}"
            at = (across.px(b.confidence), up.px(b.accuracy))
            parts.append(_DOT.format(kind, *at, radius_px, said))
    return _picture(name, title, parts, width_px=414, height_px=426)


def courses(
    name: str,
    title: str,
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    levels: Sequence[tuple[str, float]],
    axes: tuple[Axis, Axis],
) -> Markup:
    """Lines over a linear axis, and levels across that they are compared with.

    Args:
        name: of the picture, unique on the page.
        title: read out instead of the picture.
        series: class in the style sheet ("line", "before") and points, at least two; across
            they are counted in whole numbers.
        levels: what a level is, and where it is.
        axes: across and up; numbers up the side have as many digits as tell them apart.
    """
    x, y = axes
    area = Box(58, 34, _WIDTH_PX - 14, _HEIGHT_PX - 50)
    places = [place for _, points in series for place in points]
    values = [value for _, value in places] + [value for _, value in levels]
    low, high = min(values), max(values)
    air = 0.06 * (high - low) or 0.05 * max(abs(high), 1.0)
    first, last = min(p[0] for p in places), max(p[0] for p in places)
    across = Scale(first, last, area.left, area.right, whole=True)
    least = 0.0 if low >= 0 else -math.inf
    up = Scale(max(low - air, least), max(high, min(high + air, y.most)), area.bottom, area.top)
    parts = [_frame(area, across, up, x, Axis(y.title, _exact(up.ticks())))]
    for label, value in levels:
        parts.append(_path("ideal", [(area.left, up.px(value)), (area.right, up.px(value))]))
        said = f"{visible(label)} {y.form(value)}"
        parts.append(_TEXT.format("label", area.right, up.px(value) - 5, "end", said))
    for kind, points in series:
        parts.append(_path(kind, [(across.px(at), up.px(value)) for at, value in points]))
    return _picture(name, title, parts)


# Scales -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    def overlap(self, other: Box) -> float:
        """Area in common."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)

    def outside(self, other: Box) -> float:
        """Area of this that is not in `other`."""
        return self.width * (self.bottom - self.top) - self.overlap(other)


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers from `low` to `high` laid out from `start_px` to `stop_px`.

    Attributes:
        low: the lowest number.
        high: the highest.
        start_px: where the lowest stands.
        stop_px: where the highest stands.
        log: whether equal ratios lie equally far apart; else equal differences do.
        whole: whether only whole numbers are marked.
    """

    low: float
    high: float
    start_px: float
    stop_px: float
    log: bool = False
    whole: bool = False

    def px(self, value: float) -> float:
        """Where `value` stands; beyond the ends it stands at the end."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start_px + (at - low) / (high - low) * (self.stop_px - self.start_px)

    def ticks(self) -> list[float]:
        """Round numbers along the scale, two to seven."""
        if not self.log:
            return _round_numbers(self.low, self.high, self.whole)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for mantissas in ((1,), (1, 3), (1, 2, 5)):
            ticks = [m * 10.0**e for e in decades for m in mantissas]
            ticks = [t for t in ticks if self.low <= t * (1 + 1e-9) and t <= self.high * (1 + 1e-9)]
            if len(ticks) >= 3:
                return ticks[:: 1 + len(ticks) // 7]
        return ticks if len(ticks) >= 2 else _round_numbers(self.low, self.high)


def log_scale(values: Iterable[float], start_px: float, stop_px: float) -> Scale:
    """A logarithmic scale with air around the values, at least a factor of four wide.

    What is below a thousandth stands at its lower end.
    """
    there = [value for value in values if value >= 0.001] or [1.0]
    low, high = min(there), max(there)
    if high < 4 * low:
        middle = math.sqrt(low * high)
        low, high = middle / 2, middle * 2
    air = (high / low) ** 0.08
    return Scale(low / air, high * air, start_px, stop_px, log=True)


def share_scale(values: Iterable[float], start_px: float, stop_px: float) -> Scale:
    """A scale for shares of one (0…1) with air around the values."""
    there = list(values)
    low, high = min(there), max(there)
    air = max(0.08 * (high - low), 0.02)
    return Scale(max(0.0, low - air), min(1.0, high + air), start_px, stop_px)


def _step(low: float, high: float, whole: bool) -> float:
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    steps = [power * m for m in (1, 2, 2.5, 5, 10)]
    wide = [step for step in steps if step >= 0.8 * rough]
    if not whole:
        return wide[0]
    return next((step for step in wide if step.is_integer()), 1.0)


def _round_numbers(low: float, high: float, whole: bool = False) -> list[float]:
    step = _step(low, high, whole)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * k, 12) for k in range(first, last + 1)]


def _exact(ticks: Sequence[float]) -> Form:
    """Writes each of these numbers with as many digits as all of them need."""
    digits = next((d for d in range(12) if all(round(t, d) == t for t in ticks)), 12)
    return lambda number: f"{number:,.{digits}f}"


# Pieces -------------------------------------------------------------------------------------------

_CLIMB = ("chosen", "kept", "left")
_SHEET = Markup(
    '<svg class="plot" style="max-width:{:.1f}rem" viewBox="0 0 {:.0f} {:.0f}" role="img" '
    'aria-labelledby="{}-title" xmlns="http://www.w3.org/2000/svg">'
    '<title id="{}-title">{}</title>{}</svg>'
)
_TEXT = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
_LINE = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
_PATH = Markup('<path class="{}" d="{}"/>')
_BAND = Markup('<rect class="band" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
_DOT = Markup(
    '<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>'
)
_MARK = Markup('<g class="mark {}"><title>{}</title>{}{}</g>')
_ROUND = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}"/>')
_DIAMOND = Markup('<path d="M{:.1f} {:.1f}l6 6l-6 6l-6 -6z"/>')


def _picture(
    name: str,
    title: str,
    parts: Iterable[Markup],
    width_px: float = _WIDTH_PX,
    height_px: float = _HEIGHT_PX,
) -> Markup:
    inside = Markup("").join(parts)
    return _SHEET.format(width_px / 14, width_px, height_px, name, name, visible(title), inside)


def whole_percent(share: float) -> str:
    """A share without decimals: "91 %", on one line."""
    return f"{100 * share:.0f}\u00a0%"


def _frame(area: Box, across: Scale, up: Scale, x: Axis, y: Axis) -> Markup:
    parts = [_LINE.format("axis", area.left, area.bottom, area.right, area.bottom)]
    for tick in up.ticks():
        py = up.px(tick)
        if py < area.bottom - 1:
            parts.append(_LINE.format("grid", area.left, py, area.right, py))
        parts.append(_TEXT.format("tick", area.left - 8, py + 4, "end", y.form(tick)))
    for tick in across.ticks():
        px = across.px(tick)
        parts.append(_LINE.format("axis", px, area.bottom, px, area.bottom + 4))
        parts.append(_TEXT.format("tick", px, area.bottom + 18, "middle", x.form(tick)))
    parts.append(_TEXT.format("axis-title", 0, 14, "start", visible(y.title)))
    parts.append(_TEXT.format("axis-title", area.right, area.bottom + 40, "end", visible(x.title)))
    return Markup("").join(parts)


def _path(name: str, points: Sequence[tuple[float, float]], closed: bool = False) -> Markup:
    if len(points) < 2:
        return Markup("")
    steps = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
    return _PATH.format(name, f"M{steps}{'z' if closed else ''}")


def _mark(px: float, up: Scale, mark: Point, said: str) -> Markup:
    py = up.px(mark.value)
    line = _LINE.format("interval", px, up.px(mark.low), px, up.px(mark.high))
    if mark.kind == "scratch":
        shape = _DIAMOND.format(px, py - 6)
    else:
        shape = _ROUND.format(px, py, 6 if mark.kind == "chosen" else 4.5)
    return _MARK.format(mark.kind, visible(said), line, shape)


def _dodged(at_px: Sequence[float], apart_px: float = 13.0) -> list[float]:
    """Positions moved sideways, as little as can be, until each stands `apart_px` from the next."""
    moved = list(at_px)
    order = sorted(range(len(moved)), key=lambda i: (at_px[i], i))
    for _ in range(50):
        for left, right in zip(order, order[1:], strict=False):
            lack = apart_px - (moved[right] - moved[left])
            if lack > 1e-6:
                moved[left] -= lack / 2
                moved[right] += lack / 2
    return moved


def _apart(wanted: Sequence[float], top: float, bottom: float, gap: float = 15.0) -> list[float]:
    """Heights of lines of text near the wanted ones, within the area, none on another."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    above = top - gap
    for i in order:
        above = placed[i] = max(wanted[i], above + gap)
    under = bottom + gap
    for i in reversed(order):
        under = placed[i] = min(placed[i], under - gap)
    return placed


def _labels(area: Box, up: Scale, placed: Sequence[tuple[float, Point]]) -> list[Markup]:
    """The marks' names, each where it covers least of the others' marks and names."""
    taken = [Box(px - 8, up.px(m.value) - 8, px + 8, up.px(m.value) + 8) for px, m in placed]
    taken += [Box(px - 3, up.px(m.high), px + 3, up.px(m.low)) for px, m in placed]
    climb = [(px, up.px(m.value)) for px, m in placed if m.kind in _CLIMB]
    for (x0, y0), (x1, y1) in zip(climb, climb[1:], strict=False):
        steps = math.ceil(math.hypot(x1 - x0, y1 - y0) / 8)
        along = [(x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(steps)]
        taken += [Box(px - 4, py - 4, px + 4, py + 4) for px, py in along]
    room = Box(area.left + 2, area.top - 12, area.right + 10, area.bottom - 2)
    texts: list[Markup] = []
    for px, mark in placed:
        name = _shortened(visible(mark.label), 18)
        spots = _spots(px, up, mark, _text_width(name))
        cost = [
            10 * (box.outside(room) + sum(map(box.overlap, taken))) + rank
            for rank, (box, _, _) in enumerate(spots)
        ]
        box, x_px, anchor = spots[cost.index(min(cost))]
        taken.append(box)
        texts.append(_TEXT.format(f"label {mark.kind}", x_px, box.bottom - 4, anchor, name))
    return texts


def _spots(px: float, up: Scale, mark: Point, width: float) -> list[tuple[Box, float, str]]:
    """Where a name may stand, best first: its box, where its text begins, how it is anchored."""
    right, left = px + 12, px - 12
    high, low = min(up.px(mark.high), up.px(mark.value) - 7), up.px(mark.low)
    spots: list[tuple[Box, float, str]] = []
    for middle in (up.px(mark.value), up.px(mark.value) - 16, up.px(mark.value) + 16):
        top, bottom = middle - 9, middle + 9
        spots.append((Box(right, top, right + width, bottom), right, "start"))
        spots.append((Box(left - width, top, left, bottom), left, "end"))
    above, under = high - 12, max(low, up.px(mark.value) + 7) + 13
    for middle in (above, under, above - 16, under + 16):
        top, bottom, half = middle - 9, middle + 9, width / 2
        spots.append((Box(px - half, top, px + half, bottom), px, "middle"))
        spots.append((Box(px - 6, top, px - 6 + width, bottom), px - 6, "start"))
        spots.append((Box(px + 6 - width, top, px + 6, bottom), px + 6, "end"))
    return spots


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _text_width(text: str) -> float:
    wide = sum(unicodedata.east_asian_width(mark) in "WF" for mark in text)
    return _LETTER_PX * (0.58 * (len(text) - wide) + 1.05 * wide)
