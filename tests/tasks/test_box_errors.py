"""Each kind of mistake, set up by hand, and the gain from mending it."""

from __future__ import annotations

import numpy as np
import pytest
from test_box_metrics import made

from regraft.tasks import box_metrics
from regraft.tasks.box_errors import KINDS, errors_of, gains
from regraft.tasks.boxes import BoxAnswers, BoxTargets, areas

TRUTH = [(0, 0, 100, 100), (200, 0, 300, 100)]


def set_up(said, truths=TRUTH, labels=(0, 1)):
    """One picture; detections are (box, label, score)."""
    boxes, said_labels, scores = zip(*said, strict=True) if said else ([], [], [])
    answers = BoxAnswers.from_pictures(
        [(np.array(boxes, float).reshape(-1, 4), np.array(said_labels, int), np.array(scores))]
    )
    targets = BoxTargets(
        np.array([len(truths)]),
        np.array(truths, np.float32),
        np.array(labels),
        np.zeros(len(truths), bool),
        np.array([[400, 400]]),
        ("",),
        areas(np.array(truths, np.float32).reshape(-1, 4)),
    )
    return answers, targets


FOUND = [(TRUTH[0], 0, 0.9), (TRUTH[1], 1, 0.8)]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (FOUND[:1], "missed"),
        ([*FOUND, ((0, 200, 50, 250), 0, 0.5)], "background"),
        ([FOUND[0], ((200, 0, 240, 100), 1, 0.5)], "wrong place"),
        ([FOUND[0], (TRUTH[1], 0, 0.5)], "wrong category"),
        ([*FOUND, ((0, 0, 100, 99), 0, 0.5)], "duplicate"),
        ([*FOUND, ((0, 0, 40, 100), 1, 0.5)], "place and category"),
    ],
)
def test_each_kind_is_told_and_mending_it_makes_all_right(said, kind):
    answers, targets = set_up(said)
    counts = errors_of(answers, targets, 2).counts()
    assert counts == {name: int(name == kind) for name in KINDS}
    before = box_metrics.average_precision(answers, targets, 2)(np.ones((1, 1)))[0]
    gained = gains(answers, targets, 2)
    assert gained[kind] == pytest.approx(1 - before)
    assert all(gained[other] == pytest.approx(0) for other in KINDS if other != kind)


def test_what_is_not_shown_is_no_mistake_and_finds_nothing():
    answers, targets = set_up([FOUND[0], (TRUTH[1], 1, 0.2), ((0, 200, 50, 250), 0, 0.1)])
    assert errors_of(answers, targets, 2, 0.5).counts()["missed"] == 1
    assert sum(errors_of(answers, targets, 2, 0.5).counts().values()) == 1
    assert errors_of(answers, targets, 2, 0.15).counts()["missed"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_every_false_alarm_has_one_kind_and_the_numbers_add_up(seed):
    answers, targets = made(seed)
    errors = errors_of(answers, targets, 3)
    matches = errors.matches
    assert ((errors.kind_d > 0) == (matches.truth_d < 0)).all()
    right = int(matches.hit_d.sum())
    about = errors.about_d[np.isin(errors.kind_d, (2, 3))]
    found = set(matches.truth_d[matches.hit_d].tolist())
    explained = len(set(about.tolist()) - found)
    assert right + explained + errors.counts()["missed"] == int(matches.truths_nc.sum())
    assert all(gain >= -1e-9 for gain in gains(answers, targets, 3).values())


def test_nothing_said_and_nothing_there():
    answers, targets = set_up([])
    assert errors_of(answers, targets, 2).counts()["missed"] == 2
    answers, targets = set_up(FOUND, truths=np.zeros((0, 4)), labels=np.zeros(0, int))
    assert errors_of(answers, targets, 2).counts()["background"] == 2
    assert gains(answers, targets, 2)["background"] == 0
