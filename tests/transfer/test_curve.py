"""What a label curve is made of, what it foretells, and how surely."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from curves import trained_curve

from regraft.backbones.backbone import Detector
from regraft.dataset.boxes.tiles import tiled
from regraft.dataset.rows import Box, Dataset, Sample
from regraft.tasks import Detection
from regraft.transfer.curve import forecast


def curve(*points: tuple[int, float], half: float) -> list[dict[str, float]]:
    """Points with intervals of this half width."""
    return [
        {"labels": labels, "value": value, "low": value - half, "high": min(1.0, value + half)}
        for labels, value in points
    ]


def test_a_power_law_is_followed_to_half_of_the_mistakes() -> None:
    # Error falls with the square root: half of it takes four times the labels.
    points = [(labels, 1 - labels**-0.5) for labels in (25, 50, 100, 200, 400)]
    found = forecast(curve(*points, half=0.001), 50)
    assert found["labels"] == 1600
    assert found["target"] == pytest.approx(1 - 0.5 * 400**-0.5)
    least, most = map(int, re.findall(r"\((\d[\d,]*) to (\d[\d,]*)\)", _plain(found))[0])
    assert 1300 <= least <= 1600 <= most <= 2000


def test_wide_intervals_leave_a_wide_range() -> None:
    points = [(labels, 1 - labels**-0.5) for labels in (25, 50, 100, 200, 400)]
    found = forecast(curve(*points, half=0.03), 50)
    assert found["labels"] == 1600
    assert "or more)" in found["text"]


def test_a_flat_curve_says_what_it_takes_at_the_least() -> None:
    points = ((25, 0.60), (50, 0.63), (100, 0.65), (200, 0.66))
    found = forecast(curve(*points, half=0.045), 50)
    assert found["labels"] is None
    assert re.search(r"takes at least [\d,]+ labels", found["text"])
    sure = forecast(curve((50, 0.66), (100, 0.66), (200, 0.66), half=0.0005), 50)
    assert "more than 100 times as many" in sure["text"]


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "Too few points"),
        ([(50, 0.6), (100, 0.7)], "Too few points"),
        ([(50, 0.9), (100, 1.0)], "nothing is left to forecast"),
        (
            [(12, 0.7), (25, 0.8), (50, 0.9), (100, 0.95), (200, 0.97), (400, 0.98), (800, 1.0)],
            "nothing is left to forecast",
        ),
    ],
)
def test_what_cannot_be_foretold_is_not(points: list[tuple[int, float]], said: str) -> None:
    found = forecast(curve(*points, half=0.05), 50)
    assert found["labels"] is None and said in found["text"]


def test_few_validation_groups_foretell_nothing() -> None:
    points = curve(*((labels, 1 - labels**-0.5) for labels in (25, 50, 100, 200)), half=0.001)
    found = forecast(points, 6)
    assert found["labels"] is None and found["target"] is None
    assert "the validation split is of 6 groups" in found["text"]
    assert forecast(points, 20)["labels"] == 800
    right = curve((4, 0.5), (8, 1.0), half=0.05)
    assert "nothing is left" not in forecast(right, 3)["text"], "three texts prove little"


def _plain(found: dict) -> str:
    return found["text"].replace(",", "")


def test_on_tiles_the_curve_is_one_of_fewer_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(0, 10, 10, 50, 50)
    pictures = tuple(
        Sample(f"{n}", Path(f"{n}"), (0,), f"{n}", "train", size=(2000, 2000), boxes=(box,))
        for n in range(8)
    )
    rows = tiled(Dataset(Path(), "object-detection", ("tree",), pictures))
    task = Detection(rows.classes, Detector("dense", (), (8, 16), 6), 64, (0.0,))
    points, seen = trained_curve(rows, task, monkeypatch)
    assert [point["labels"] for point in points] == [2, 4, 8]
    for less, size in zip(seen, (2, 4), strict=True):
        some = less.dataset.split("train")
        assert len({sample.source for sample in some}) == size
        assert len(some) == len(rows) // 8 * size
