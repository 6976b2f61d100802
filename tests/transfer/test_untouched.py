"""The detector as it is: how its categories are read, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regraft.backbones.backbone import Detector
from regraft.dataset.rows import Box, Sample
from regraft.tasks import Detection, measure
from regraft.tasks.boxes import BoxAnswers, BoxTargets
from regraft.transfer import untouched

DETECTOR = Detector("dense", ("person", "cow", "umbrella"), (8,), 4)
TREE = Detection(("tree",), DETECTOR, 64, (1.0,))
SAMPLE = Sample("a.png", Path("a.png"), 0, "0" * 64)


def boxes(*rows: tuple[float, int, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squares of 20 px from (left, category, score)."""
    left, label, score = (np.array(column) for column in zip(*rows, strict=True))
    edges = np.stack([left, 0 * left, left + 20, 0 * left + 20], axis=1).astype(np.float32)
    return edges, label.astype(np.int64), score.astype(np.float32)


def truths(*lefts: float, category: int = 0) -> BoxTargets:
    made = tuple(Box(category, left, 0.0, left + 20, 20.0) for left in lefts)
    return BoxTargets.from_samples([replace(SAMPLE, boxes=made, size=(100, 400))])


def test_a_new_category_is_read_as_the_one_that_fits_it_best() -> None:
    # Umbrellas are on the trees, cows beside them.
    own = BoxAnswers.from_pictures(
        [boxes((0, 2, 0.3), (100, 2, 0.2), (200, 1, 0.9), (300, 1, 0.8))]
    )
    assert untouched._reading(own, truths(0, 100), TREE) == [2]
    read = untouched._read(own, [2])
    assert read.labels_k.tolist() == [0, 0]
    assert read.boxes_k4[:, 0].tolist() == [0, 100]


def test_where_all_categories_together_fit_best_boxes_on_one_place_count_once() -> None:
    own = BoxAnswers.from_pictures(
        [boxes((0, 1, 0.9), (1, 2, 0.8), (100, 2, 0.7), (200, 1, 0.6), (201, 0, 0.5))]
    )
    targets = truths(0, 100, 200)
    assert untouched._reading(own, targets, TREE) == [untouched.ANY]
    read = untouched._read(own, [untouched.ANY])
    assert read.boxes_k4[:, 0].tolist() == [0, 100, 200]
    score = TREE.score(read.arrays(), targets)
    assert float(score(np.ones((1, 1)))[0]) == pytest.approx(1.0)


def test_a_category_known_by_name_is_not_read_otherwise() -> None:
    task = replace(TREE, classes=("cow", "tree"))
    own = BoxAnswers.from_pictures([boxes((0, 2, 0.9), (100, 1, 0.8))])
    both = truths(0, category=0)
    assert untouched._reading(own, both, task) == [1, None]
    read = untouched._read(own, [1, 2])
    assert list(zip(read.labels_k.tolist(), read.boxes_k4[:, 0].tolist(), strict=True)) == [
        (1, 0),
        (0, 100),
    ]


def test_nothing_found_is_nothing_read() -> None:
    own = BoxAnswers.from_pictures([(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))])
    assert untouched._reading(own, truths(0), TREE) == [None]
    assert len(untouched._read(own, [None]).labels_k) == 0


def test_it_is_said_how_it_was_read() -> None:
    metric = {"name": "AP50", "value": 0.2, "low": 0.1, "high": 0.3}
    facts = {"metric": metric, "reading": {"tree": "umbrella", "cow": "cow"}, "known": ["cow"]}
    text = untouched._text(facts, measure.Difference(0.4, 0.3, 0.5, 0.001), "head")
    assert "tree is what it calls umbrella" in text
    assert "cow is" not in text
    assert "head is 40.0 points ahead of it" in text
    facts["reading"] = {"tree": None}
    text = untouched._text(facts, measure.Difference(0.0, -0.1, 0.1, 0.9), "head")
    assert "it finds no tree" in text
    assert "head is level with it within noise: +0.0 points (-10.0 to +10.0, p = 0.900)." in text
    text = untouched._text(facts, measure.Difference(0.0, 0.0, 0.0, 1.0), "head")
    assert text.endswith("head is level with it within noise: no difference (p = 1.000).")


def test_pictures_of_a_rare_new_category_are_among_those_it_is_read_by() -> None:
    plain = replace(SAMPLE, boxes=(), size=(100, 400))
    rare = replace(plain, id="rare", boxes=(Box(0, 0.0, 0.0, 20.0, 20.0),))
    tried = untouched._tried([*[plain] * 501, rare, *[plain] * 498], TREE)
    assert rare in tried
    assert len(tried) == untouched.TRIED + 1
