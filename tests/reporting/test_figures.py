"""Scales, ticks and labels of the pictures."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.reporting import figures
from regraft.reporting.figures import Axis, Line, Point

SHARE = Axis("accuracy", lambda share: f"{100 * share:.3g} %")
SECONDS = Axis("seconds", lambda number: f"{number:.3g}")
shares = st.floats(0, 1)


@given(st.lists(shares, min_size=1, max_size=6))
def test_shares_lie_on_their_scale_with_round_ticks(values: list[float]) -> None:
    scale = figures.share_scale(values, 300, 0)
    assert 0 <= scale.low < scale.high <= 1
    assert all(0 <= scale.px(value) <= 300 for value in values)
    assert 2 <= len(scale.ticks()) <= 9
    assert len({SHARE.form(tick) for tick in scale.ticks()}) == len(scale.ticks())


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=6))
def test_positive_numbers_lie_on_their_scale_with_round_ticks(values: list[float]) -> None:
    scale = figures.log_scale(values, 0, 300)
    assert all(-1e-6 <= scale.px(value) <= 300 + 1e-6 for value in values)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(ticks)
    assert all(scale.low * 0.999 <= tick <= scale.high * 1.001 for tick in ticks)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(3, 70, ["3", "10", "30"]), (9e3, 4e6, ["1e+04", "1e+05", "1e+06"]), (2, 8, ["2", "5"])],
)
def test_ticks_of_a_logarithmic_scale(low: float, high: float, ticks: list[str]) -> None:
    scale = figures.Scale(low, high, 0, 300, log=True)
    assert [SECONDS.form(tick) for tick in scale.ticks()] == ticks


def crowd(count: int) -> list[Point]:
    """Rungs that take about the same time and do about as well."""
    return [
        Point(f"last:{k}", 10 + k / 9, 0.9 + k / 300, 0.88 + k / 300, 0.92 + k / 300, "kept")
        for k in range(count)
    ]


def label_boxes(svg: str) -> list[tuple[float, float, float, float]]:
    boxes: list[tuple[float, float, float, float]] = []
    pattern = r'class="label[^"]*" x="([\d.-]+)" y="([\d.-]+)" text-anchor="(\w+)">([^<]+)'
    for x, y, anchor, text in re.findall(pattern, svg):
        width = 6.2 * len(text)
        left = float(x) - {"start": 0, "middle": width / 2, "end": width}[anchor]
        boxes.append((left, float(y) - 10, left + width, float(y) + 3))
    return boxes


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_labels_do_not_cover_each_other(count: int) -> None:
    svg = str(figures.intervals("n", "title", crowd(count), SECONDS, SHARE))
    boxes = label_boxes(svg)
    assert len(boxes) == count
    for i, a in enumerate(boxes):
        assert a[0] >= 0 and a[2] <= 490
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


RUNGS = [("head", 4, 0.74), ("last:1", 15, 0.76), ("last:2", 40, 0.80), ("all", 150, 0.79)]


def lines_drawn(svg: str) -> list[tuple[float, float, float, float]]:
    """What a name must not touch: intervals, marks and the climb, in small boxes."""
    number = r'"([\d.]+)"'
    pattern = f'class="interval" x1={number} y1={number} x2={number} y2={number}'
    drawn = [tuple(map(float, found)) for found in re.findall(pattern, svg)]
    boxes = [(x - 1.5, min(y, end), x + 1.5, max(y, end)) for x, y, _, end in drawn]
    for found in re.findall(f"<circle cx={number} cy={number} r={number}", svg):
        x, y, r = map(float, found)
        boxes.append((x - r, y - r, x + r, y + r))
    for x, y in re.findall(r'<path d="M([\d.]+) ([\d.]+)l6 6', svg):
        boxes.append((float(x) - 6, float(y), float(x) + 6, float(y) + 12))
    (steps,) = re.findall(r'class="climb" d="M([^"]+)"', svg)
    places = [tuple(map(float, step.split())) for step in steps.split("L")]
    for (x0, y0), (x1, y1) in zip(places, places[1:], strict=False):
        along = [(x0 + (x1 - x0) * k / 200, y0 + (y1 - y0) * k / 200) for k in range(201)]
        boxes += [(x, y, x, y) for x, y in along]
    return boxes


@pytest.mark.parametrize("seconds", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("better", [-0.03, 0.0, 0.03])
@pytest.mark.parametrize("beside", range(4))
def test_labels_touch_no_line_and_no_mark(beside: int, better: float, seconds: float) -> None:
    marks = [Point(name, x, v, v - 0.04, v + 0.03, "kept") for name, x, v in RUNGS]
    x, v = RUNGS[beside][1] * seconds, RUNGS[beside][2] + better
    marks.append(Point("scratch twin", x, v, v - 0.04, v + 0.03, "scratch"))
    svg = str(figures.intervals("n", "title", marks, SECONDS, SHARE))
    names = label_boxes(svg)
    assert len(names) == 5
    for k, a in enumerate(names):
        assert a[0] >= 0 and a[2] <= 490
        for b in [*names[:k], *lines_drawn(svg)]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_intervals_of_equal_place_stand_beside_each_other() -> None:
    marks = [Point(name, 5.0, 0.9, 0.8, 0.95, "kept") for name in "abc"]
    svg = str(figures.intervals("n", "title", marks, SECONDS, SHARE))
    at = sorted(float(x) for x in re.findall(r'class="interval" x1="([\d.]+)"', svg))
    assert min(b - a for a, b in zip(at, at[1:], strict=False)) > 12


def test_an_interval_is_drawn_to_scale() -> None:
    svg = str(figures.intervals("n", "t", [Point("a", 5.0, 0.5, 0.4, 0.7, "kept")], SECONDS, SHARE))
    grid = dict(re.findall(r'y1="([\d.]+)"[^>]*/><text class="tick"[^>]*>([\d.]+) %', svg))
    px = {float(share): float(y) for y, share in grid.items()}
    ((low, high),) = re.findall(r'class="interval" [^>]*y1="([\d.]+)" [^>]*y2="([\d.]+)"', svg)
    (value,) = re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', svg)
    a_share = (px[50.0] - px[60.0]) / 10
    assert float(value) == pytest.approx(px[50.0], abs=0.2)
    assert float(low) == pytest.approx(px[50.0] + 10 * a_share, abs=0.2)
    assert float(high) == pytest.approx(px[50.0] - 20 * a_share, abs=0.2)


def test_visible_keeps_what_can_be_read() -> None:
    assert figures.visible("Süß 桜 \u00a0 e\u0301") == "Süß 桜 \u00a0 e\u0301"
    assert figures.visible("a\tb\x7f\u200b\u2066\udcff") == "a\\tb\\x7f\\u200b\\u2066\\udcff"


def ticks_of(svg: object) -> tuple[list[str], list[str]]:
    """What is written up the side, and along the bottom."""
    found = re.findall(r'class="tick"[^>]*text-anchor="(\w+)">([^<]*)<', str(svg))
    return [t for side, t in found if side == "end"], [t for side, t in found if side == "middle"]


@pytest.mark.parametrize(
    ("points", "up", "across"),
    [
        ([(0, 5.541), (10, 5.545)], ["5.541", "5.542", "5.543", "5.544", "5.545"], None),
        ([(0, 100.0), (2, 101.0)], ["100.0", "100.2", "100.4", "100.6", "100.8", "101.0"], None),
        ([(0, 1.0), (10, 1.0)], ["0.96", "0.98", "1.00", "1.02", "1.04"], None),
        ([(0, 0.0), (10, 0.0)], ["0.00", "0.01", "0.02", "0.03", "0.04", "0.05"], None),
        ([(0, 0.0), (2, 1.0)], None, ["0", "1", "2"]),
        ([(0, 0.0), (18, 1.0)], None, ["0", "5", "10", "15"]),
        ([(0, 0.0), (900, 1.0)], None, ["0", "200", "400", "600", "800"]),
    ],
)
def test_numbers_on_the_axes_of_a_course_are_exact_and_differ(
    points: list[tuple[float, float]], up: list[str] | None, across: list[str] | None
) -> None:
    axes = Axis("steps", lambda n: f"{n:,.0f}"), Axis("loss", lambda n: f"{n:.3g}")
    found = ticks_of(figures.courses("n", "title", [("line", points)], [], axes))
    assert up is None or found[0] == up
    assert across is None or found[1] == across


def test_names_of_lines_stay_in_the_picture_and_apart() -> None:
    drawn = [Line(f"kind {k}", [(0.0, 1.0), (0.95 - k / 100, 0.01)]) for k in range(6)]
    svg = str(figures.lines("n", "title", drawn, SHARE, SHARE))
    heights = sorted(
        float(y) for y in re.findall(r'class="label c\d" x="[\d.]+" y="([\d.]+)"', svg)
    )
    assert heights[-1] < 300
    names = [float(x) for x in re.findall(r'class="label c\d" x="([\d.]+)"', svg)]
    curves = [float(x) for path in re.findall(r'class="line c\d" d="([^"]+)"', svg)
              for x in re.findall(r"[ML]([\d.]+) ", path)]  # fmt: skip
    assert min(names) > max(curves)
    assert min(b - a for a, b in zip(heights, heights[1:], strict=False)) >= 15


def test_names_that_are_no_text_can_be_written() -> None:
    drawn = [Line("caf\udce9", [(0.0, 1.0), (1.0, 0.0)], (0.5, 0.5))]
    svg = str(figures.lines("n", "title", drawn, SHARE, SHARE))
    assert svg.encode("utf-8").count(b"caf\\udce9") == 2
