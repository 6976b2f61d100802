"""The share of wrong labels, by answers that are as sure as they are right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from regraft.labelling.likely_errors import judge
from regraft.labelling.share import Share, wrong_share


def _drawn(count: int, classes: int, wrong: float, seed: int):
    """Calibrated answers, labels drawn from them, and which of these were then made wrong."""
    rng = np.random.default_rng(seed)
    logits_nc = rng.normal(0, 1.5, (count, classes))
    logits_nc[np.arange(count), rng.integers(0, classes, count)] += 6
    chance_nc = softmax(logits_nc, axis=1)
    truth = (chance_nc.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    planted = rng.random(count) < wrong
    other = (truth + rng.integers(1, classes, count)) % classes
    return chance_nc, np.where(planted, other, truth), planted


@pytest.mark.parametrize(
    ("count", "classes", "wrong"), [(320, 40, 0.0), (300, 50, 0.0), (300, 50, 0.05)]
)
def test_what_is_hard_is_not_wrong_where_there_are_many_classes_with_few_samples_each(
    count: int, classes: int, wrong: float
):
    chance_nc, given, planted = _drawn(count, classes, wrong, seed=0)
    share = wrong_share(given, (chance_nc,) * 2)
    assert share.low <= planted.mean() <= share.high < planted.mean() + 0.06
    assert share.value == pytest.approx(planted.mean(), abs=0.02)


def test_labels_of_one_class_given_to_the_next_are_told_by_their_share():
    chance_nc, truth, _ = _drawn(600, 10, 0.0, seed=1)
    planted = np.random.default_rng(1).random(600) < 0.1
    share = wrong_share(np.where(planted, (truth + 1) % 10, truth), (chance_nc,) * 2)
    assert share.low <= planted.mean() <= share.high < share.low + 0.1


@pytest.mark.parametrize("seed", range(3))
def test_answers_that_say_nothing_leave_an_interval_and_no_value(seed: int):
    rng = np.random.default_rng(seed)
    chance_nc = softmax(rng.normal(0, 0.3, (200, 4)), axis=1)
    share = wrong_share(rng.integers(0, 4, 200), (chance_nc,) * 2)
    assert share.value is None and share.high > share.low + 0.5
    part = share.of_part(0.5)
    assert part.to_json() == {"value": None, "low": share.low / 2, "high": share.high / 2}


def test_wrong_labels_of_the_rarer_of_two_classes_are_told_by_their_share():
    """Defects overlooked: probes that learn from the labels take them for rarer than they are."""
    pytest.importorskip("cleanlab")
    told = [_overlooked(seed) for seed in range(4)]
    for wrong, share in told:
        assert 0 < share.value < wrong + 0.01
        assert share.low <= wrong <= share.high < wrong + 0.02
    assert sum(share.value for _, share in told) > 0.6 * sum(wrong for wrong, _ in told)


def _overlooked(seed: int) -> tuple[float, Share]:
    """The share of wrong labels, and what is told of it."""
    rng = np.random.default_rng(seed)
    is_rare = rng.random(1200) < 0.15
    given = is_rare & ~(rng.random(1200) < 0.25)
    x_nd = rng.normal(size=(1200, 8)).astype(np.float32)
    x_nd[:, :4] += 2.0 * is_rare[:, None]
    target_nc = np.eye(2, dtype=np.float32)[given.astype(int)]
    judged = judge(lambda rows: x_nd[rows], target_nc, [""] * 1200, exclusive=True)
    share = wrong_share(given.astype(int), (judged.first_nc, judged.chance_nc))
    return (given != is_rare).mean(), share


@pytest.mark.parametrize("seed", range(4))
def test_of_two_classes_that_overlap_no_label_need_be_wrong(seed: int):
    pytest.importorskip("cleanlab")
    rng = np.random.default_rng(seed)
    given = rng.random(600) < 0.15
    x_nd = rng.normal(size=(600, 12)).astype(np.float32)
    x_nd[:, :4] += 0.8 * given[:, None]
    target_nc = np.eye(2, dtype=np.float32)[given.astype(int)]
    judged = judge(lambda rows: x_nd[rows], target_nc, [""] * 600, exclusive=True)
    share = wrong_share(given.astype(int), (judged.first_nc, judged.chance_nc))
    assert share.low == 0
    assert share.value is None or share.value < 0.05
