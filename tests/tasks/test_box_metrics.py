"""Average precision against faster-coco-eval, its interval, the confidence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from regraft.tasks import box_metrics, measure
from regraft.tasks.boxes import BoxAnswers, BoxTargets, areas
from regraft.tasks.coco_table import coco_table

CLASSES = ("a", "b", "c")


def made(
    seed: int, pictures: int = 40, classes: int = 3, steps: int = 20
) -> tuple[BoxAnswers, BoxTargets]:
    """Truths at random, some crowds, some pictures empty; answers near them, some twice, some far.

    With few steps many scores are equal.
    """
    rng = np.random.default_rng(seed)
    truths, said = [], []
    for _ in range(pictures):
        k = int(rng.integers(0, 6))
        corner_k2 = rng.uniform(0, 200, (k, 2))
        box_k4 = np.hstack([corner_k2, corner_k2 + rng.uniform(5, 150, (k, 2))])
        label_k = rng.integers(0, classes, k)
        truths.append((box_k4, label_k, rng.random(k) < 0.15))
        near = rng.integers(0, k, 2 * k) if k else np.zeros(0, int)
        far_d4 = rng.uniform(0, 150, (int(rng.integers(0, 4)), 4))
        far_d4[:, 2:] += far_d4[:, :2] + 1
        box_d4 = np.vstack([box_k4[near] + rng.normal(0, 6, (len(near), 4)), far_d4])
        box_d4[:, 2:] = np.maximum(box_d4[:, 2:], box_d4[:, :2] + 1)
        flip_d = rng.random(len(box_d4)) < 0.2
        label_d = np.concatenate([label_k[near], rng.integers(0, classes, len(far_d4))])
        label_d = np.where(flip_d, rng.integers(0, classes, len(box_d4)), label_d)
        said.append((box_d4, label_d, rng.integers(1, steps, len(box_d4)) / steps))
    boxes_k4 = np.concatenate([box for box, *_ in truths]).astype(np.float32)
    targets = BoxTargets(
        np.array([len(label) for _, label, _ in truths]),
        boxes_k4,
        np.concatenate([label for _, label, _ in truths]),
        np.concatenate([crowd for *_, crowd in truths]),
        np.full((pictures, 2), 400),
        ("",) * pictures,
        areas(boxes_k4),
    )
    return BoxAnswers.from_pictures(said), targets


def drawn(answers: BoxAnswers, targets: BoxTargets, times_n: np.ndarray):
    """The data set with each picture as often as it was drawn, its copies side by side."""
    rows = np.repeat(np.arange(len(times_n)), times_n)
    said = list(answers)
    there = list(targets)
    parts = [there[n] for n in rows]
    area = np.split(targets.area_k, targets.count_n.cumsum()[:-1])
    return BoxAnswers.from_pictures([said[n] for n in rows]), BoxTargets(
        targets.count_n[rows],
        np.concatenate([p[0] for p in parts]),
        np.concatenate([p[1] for p in parts]),
        np.concatenate([p[2] for p in parts]),
        targets.sizes_n2[rows],
        ("",) * len(rows),
        np.concatenate([area[n] for n in rows]),
    )


@pytest.mark.parametrize("seed", range(8))
def test_it_agrees_with_the_table(seed: int) -> None:
    answers, targets = made(seed)
    table = coco_table(answers, targets, CLASSES, np.ones((1, len(targets))))
    ones_1n = np.ones((1, len(targets)))
    ap50 = box_metrics.average_precision(answers, targets, 3)(ones_1n)[0]
    assert ap50 == pytest.approx(table["ap50"], abs=1e-6)
    assert 0 < table["ap"] < table["ap50"] < 1
    for c, row in enumerate(table["categories"]):
        one = box_metrics.curve_of(box_metrics.match(answers, targets, 3), c)
        assert box_metrics.area(one, ones_1n)[0] == pytest.approx(row["ap50"], abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_categories_matched_with_any_truth_are_each_matched_alone(seed: int) -> None:
    answers, targets = made(seed)
    one_kind = replace(targets, labels_k=np.zeros_like(targets.labels_k))
    ones_1n = np.ones((1, len(targets)))
    matches = box_metrics.match(answers, targets, 3, of_any=True)
    for c in range(3):
        parts = ((b[label == c], label[label == c] * 0, s[label == c]) for b, label, s in answers)
        alone = box_metrics.average_precision(BoxAnswers.from_pictures(list(parts)), one_kind, 1)
        assert box_metrics.area(box_metrics.curve_of(matches, c), ones_1n) == alone(ones_1n)


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_pictures_that_were_drawn_several_times(seed: int) -> None:
    """What the bootstrap rests on: the score under weights is the score of the drawn data.

    Of equal scores on one picture, COCO takes one copy of the picture after the other; so there
    are none here.
    """
    answers, targets = made(seed, steps=1_000_000)
    score = box_metrics.average_precision(answers, targets, 3)
    times_n = np.random.default_rng(seed).multinomial(len(targets), [1 / len(targets)] * 40)
    table = coco_table(*drawn(answers, targets, times_n), CLASSES, np.ones((1, len(targets))))
    assert score(times_n[None, :].astype(float))[0] == pytest.approx(table["ap50"], abs=1e-6)


def test_more_than_a_hundred_boxes_and_a_category_without_truth() -> None:
    rng = np.random.default_rng(0)
    corner_d2 = rng.uniform(0, 300, (400, 2))
    box_d4 = np.hstack([corner_d2, corner_d2 + 20])
    answers = BoxAnswers.from_pictures([(box_d4, np.repeat([0, 1], 200), rng.random(400))])
    targets = BoxTargets(
        np.array([60]),
        box_d4[:60].astype(np.float32),
        np.zeros(60, int),
        np.zeros(60, bool),
        np.array([[400, 400]]),
        ("",),
        np.full(60, 400.0),
    )
    table = coco_table(answers, targets, CLASSES, np.ones((1, 1)))
    score = box_metrics.average_precision(answers, targets, 3)
    assert score(np.ones((1, 1)))[0] == pytest.approx(table["ap50"], abs=1e-6)
    assert len(box_metrics.match(answers, targets, 3).score_d) == 200


def test_no_answers_and_no_truths() -> None:
    nothing = BoxAnswers.from_pictures([(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))] * 40)
    _, targets = made(0)
    assert box_metrics.average_precision(nothing, targets, 3)(np.ones((2, 40))).tolist() == [0, 0]
    confidence = box_metrics.choose_confidence(box_metrics.match(nothing, targets, 3))
    assert (confidence.precision, confidence.recall) == (0, 0)


def test_the_interval_and_the_paired_test_tell_better_from_worse() -> None:
    answers, targets = made(3, pictures=60)
    worse = BoxAnswers(answers.count_n, answers.boxes_k4 + 4, answers.labels_k, answers.scores_k)
    weights_rn = measure.bootstrap_weights([""] * 60, 0, draws=500)
    good, bad = (box_metrics.average_precision(a, targets, 3) for a in (answers, worse))
    estimate = measure.estimate("ap50", good, weights_rn)
    assert 0 < estimate.low < estimate.value < estimate.high < 1
    assert measure.compare(good, bad, weights_rn).p < 0.05
    assert measure.compare(good, good, weights_rn).p == 1


def brute(answers: BoxAnswers, targets: BoxTargets, threshold: float) -> tuple[int, int, int]:
    """Right, shown and there, by matching anew what is shown."""
    shown = [
        (b[s >= threshold], label[s >= threshold], s[s >= threshold]) for b, label, s in answers
    ]
    matches = box_metrics.match(BoxAnswers.from_pictures(shown), targets, 3)
    right = int(matches.hit_d.sum())
    return right, int((~matches.ignored_d).sum()), int(matches.truths_nc.sum())


def test_the_confidence_has_the_best_f1_or_the_wanted_precision() -> None:
    answers, targets = made(5)
    matches = box_metrics.match(answers, targets, 3)
    best = box_metrics.choose_confidence(matches)
    by_hand = {}
    for threshold in np.unique(matches.score_d):
        right, said, there = brute(answers, targets, threshold)
        by_hand[float(threshold)] = (right / said, right / there, 2 * right / (said + there))
    assert best.f1 == pytest.approx(max(f1 for *_, f1 in by_hand.values()))
    lowest = min(score for score in by_hand if score >= best.threshold)
    assert by_hand[lowest] == pytest.approx((best.precision, best.recall, best.f1))
    jitter = 1e-4 * np.random.default_rng(0).standard_normal(len(matches.score_d))
    same_d = (matches.score_d >= best.threshold) == (matches.score_d + jitter >= best.threshold)
    assert same_d.all(), "the same boxes are shown where scores are rounded otherwise"
    wanted = sorted(p for p, *_ in by_hand.values())[-3]
    sure = box_metrics.choose_confidence(matches, precision=wanted)
    assert sure.precision >= wanted
    assert sure.recall == max(r for p, r, _ in by_hand.values() if p >= wanted)
    most = box_metrics.choose_confidence(matches, precision=1.1)
    assert most.precision == max(p for p, *_ in by_hand.values())


def test_the_lowest_confidence_is_kept_for_every_step_of_precision() -> None:
    answers, targets = made(5)
    # Those that are right are made surer.
    right_d = box_metrics.match(answers, targets, 3)
    scores_k = answers.scores_k.copy()
    scores_k[right_d.rank_d[right_d.hit_d]] += 0.4
    answers = BoxAnswers(answers.count_n, answers.boxes_k4, answers.labels_k, scores_k)
    matches = box_metrics.match(answers, targets, 3)
    kept = box_metrics.confidences(matches)
    assert kept["threshold"] == box_metrics.choose_confidence(matches).threshold
    steps = box_metrics.steps_of(json.loads(json.dumps(kept)))
    assert len(steps) > 3 and steps == sorted(steps)
    for precision, threshold in steps:
        right, said, _ = brute(answers, targets, threshold)
        assert right / said == precision
    for wanted in np.arange(1, 101) / 100:
        chosen = box_metrics.choose_confidence(matches, wanted)
        told = [threshold for precision, threshold in steps if precision >= wanted]
        assert told[:1] == ([chosen.threshold] if chosen.precision >= wanted else [])


def test_the_steps_of_models_of_before_are_read() -> None:
    kept = {"threshold": 0.4, "precision_0.95": 0.7, "precision_0.5": 0.3}
    assert box_metrics.steps_of(kept) == [(0.5, 0.3), (0.95, 0.7)]
    assert box_metrics.steps_of({"threshold": 0.4}) == []


def test_the_curve_ends_where_the_last_truth_is_found() -> None:
    answers, targets = made(1)
    one = box_metrics.curve_of(box_metrics.match(answers, targets, 3), 0)
    points = box_metrics.precision_recall(one)
    assert [r for r, *_ in points] == sorted(r for r, *_ in points)
    assert [s for *_, s in points] == sorted((s for *_, s in points), reverse=True)
    assert all(0 < p <= 1 for _, p, _ in points)
