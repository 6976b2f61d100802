"""Intervals, paired tests and calibration."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from regraft.seeds import generator
from regraft.tasks import measure


def test_accuracy_and_its_interval_cover_the_truth_as_often_as_promised() -> None:
    truth, n, repeats = 0.8, 150, 200
    rng = generator(0, "coverage")
    covered = 0
    for repeat in range(repeats):
        correct_n = rng.random(n) < truth
        weights_rn = measure.bootstrap_weights([""] * n, repeat, draws=400)
        found = measure.estimate("accuracy", measure.accuracy(correct_n), weights_rn)
        assert found.value == pytest.approx(correct_n.mean())
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / repeats <= 0.99


def test_clusters_widen_the_interval() -> None:
    correct_n = np.repeat([True, True, False, True, False, True, True, True], 20)
    alone = measure.bootstrap_weights([""] * 160, 0)
    together = measure.bootstrap_weights([str(i // 20) for i in range(160)], 0)
    score = measure.accuracy(correct_n)
    narrow = measure.estimate("accuracy", score, alone)
    wide = measure.estimate("accuracy", score, together)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_of_a_single_cluster_samples_are_drawn() -> None:
    """The interval has a width, and a difference a p-value, for this cluster alone."""
    correct_n = np.arange(40) % 4 > 0
    of_one = measure.bootstrap_weights(["photo"] * 40, 0)
    assert (of_one.sum(axis=1) == 40).all()
    assert (of_one.std(axis=1) > 0).all()
    found = measure.estimate("accuracy", measure.accuracy(correct_n), of_one)
    assert 0.1 < found.high - found.low < 0.4
    gap = measure.compare(
        measure.accuracy(correct_n), measure.accuracy(np.roll(correct_n, 1)), of_one
    )
    assert gap.p > 0.5


@pytest.mark.parametrize("value", [0.0, 0.255, 1.0])
def test_a_single_sample_makes_nothing_certain(value: float) -> None:
    weights_rn = measure.bootstrap_weights([""], 0)

    def score(weights_rn: np.ndarray) -> np.ndarray:
        return np.full(len(weights_rn), value)

    found = measure.estimate("average_precision", score, weights_rn)
    assert (found.value, found.low, found.high) == (value, 0, 1)
    gap = measure.compare(score, lambda weights_rn: 0.1 * score(weights_rn), weights_rn)
    assert (gap.low, gap.high, gap.p) == (-1, 1, 1)


def test_a_worse_ranking_of_few_groups_is_no_surer_than_a_perfect_one() -> None:
    group_n = [f"site {n % 2}" for n in range(40)]
    weights_rn = measure.bootstrap_weights(group_n, 0)
    target_nc = np.arange(40)[:, None] % 4 == np.arange(4)[None, :]
    noise_nc = np.random.default_rng(0).random((40, 4))
    perfect, worse = (
        measure.estimate("mAP", measure.mean_average_precision(score, target_nc), weights_rn)
        for score in (target_nc.astype(float), target_nc + 1.2 * noise_nc)
    )
    assert worse.value < perfect.value == perfect.high == 1
    assert worse.low <= perfect.low == pytest.approx(0.025**0.5)


@pytest.mark.parametrize(("right", "n"), [(True, 10), (True, 300), (False, 10)])
def test_all_right_or_all_wrong_is_not_certainty(right: bool, n: int) -> None:
    weights_rn = measure.bootstrap_weights([""] * n, 0)
    found = measure.estimate("accuracy", measure.accuracy(np.full(n, right)), weights_rn)
    reach = 1 - 0.025 ** (1 / n)
    expected = (1 - reach, 1.0) if right else (0.0, reach)
    assert (found.low, found.high) == pytest.approx(expected)


def test_what_is_all_right_is_as_certain_as_its_clusters_are_many() -> None:
    weights_rn = measure.bootstrap_weights(["one"] * 50 + ["other"] * 50, 0)
    found = measure.estimate("accuracy", measure.accuracy(np.full(100, True)), weights_rn)
    assert (found.low, found.high) == pytest.approx((0.025**0.5, 1.0))


def test_one_mistake_makes_nothing_surer_than_none() -> None:
    weights_rn = measure.bootstrap_weights([""] * 24, 0)
    lows = []
    for mistakes in (0, 0.3, 1, 2):  # 0.3: by one of three models
        right_n = np.ones(24)
        right_n[: int(np.ceil(mistakes))] -= mistakes / np.ceil(mistakes or 1)
        found = measure.estimate("accuracy", measure.accuracy(right_n), weights_rn)
        lows.append(found.low)
    assert lows == sorted(lows, reverse=True)
    assert lows[0] == pytest.approx(0.025 ** (1 / 24))


def test_balanced_accuracy_is_as_certain_as_its_rarest_class() -> None:
    target_n = np.array([0] * 26 + [1] * 5)
    weights_rn = measure.bootstrap_weights([""] * 31, 0)
    score = measure.balanced_accuracy(np.ones(31), target_n)
    low = measure.estimate("balanced_accuracy", score, weights_rn).low
    # The rare class alone would reach down to 0.025 ** (1 / 5); it is half of the mean.
    assert low == pytest.approx((1 + 0.025**0.2) / 2)


def test_many_equal_classes_are_as_certain_as_all_their_samples() -> None:
    weights_rn = measure.bootstrap_weights([""] * 500, 0)
    score = measure.balanced_accuracy(np.ones(500), np.arange(500) % 100)
    assert score.unseen(weights_rn) == pytest.approx(1 - 0.025 ** (1 / 500))


def test_the_mean_of_models_is_the_mean_of_their_scores() -> None:
    rng = np.random.default_rng(0)
    target_n = rng.integers(0, 3, 40)
    scores = [measure.balanced_accuracy(rng.random(40) < 0.7, target_n) for _ in range(3)]
    weights_rn = measure.bootstrap_weights([""] * 40, 0)[:50]
    apart = np.mean([score(weights_rn) for score in scores], axis=0)
    np.testing.assert_allclose(measure.mean_of(scores)(weights_rn), apart)


def test_balanced_accuracy_counts_each_class_the_same() -> None:
    target_n = np.array([0] * 90 + [1] * 10)
    correct_n = target_n == 0
    score = measure.balanced_accuracy(correct_n, target_n)
    assert score(np.ones((1, 100)))[0] == pytest.approx(0.5)


def test_mean_average_precision_equals_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score

    rng = generator(1, "map")
    target_nc = rng.random((60, 4)) < 0.3
    score_nc = rng.random((60, 4)) + target_nc * 0.3
    ours = measure.mean_average_precision(score_nc, target_nc)
    theirs = average_precision_score(target_nc, score_nc, average="macro")
    assert ours(np.ones((1, 60)))[0] == pytest.approx(theirs)
    # A weight of two is the same as the sample standing there twice.
    weights_n = rng.integers(0, 3, 60)
    twice = np.repeat(np.arange(60), weights_n)
    again = measure.mean_average_precision(score_nc[twice], target_nc[twice])
    assert ours(weights_n[None].astype(float))[0] == pytest.approx(
        again(np.ones((1, len(twice))))[0]
    )


def test_paired_test_sees_a_real_difference_and_not_a_null_one() -> None:
    rng = generator(2, "paired")
    old_n = rng.random(300) < 0.8
    new_n = old_n | (rng.random(300) < 0.3)
    weights_rn = measure.bootstrap_weights([""] * 300, 0)
    real = measure.compare(measure.accuracy(new_n), measure.accuracy(old_n), weights_rn)
    assert real.value > 0
    assert real.p < 0.01
    assert real.low > 0
    same = measure.compare(measure.accuracy(old_n), measure.accuracy(old_n), weights_rn)
    assert (same.value, same.p) == (0, 1)


def test_false_alarms_of_the_paired_test_are_as_rare_as_promised() -> None:
    rng = generator(3, "null")
    alarms = 0
    for repeat in range(200):
        weights_rn = measure.bootstrap_weights([""] * 120, repeat, draws=400)
        a, b = (measure.accuracy(rng.random(120) < 0.7) for _ in range(2))
        alarms += measure.compare(a, b, weights_rn).p < 0.05
    assert alarms <= 20


def won_by(groups: int, of: int, size: int = 8) -> measure.Difference:
    """Two models on `of` groups of samples; one is right in so many where the other is wrong."""
    group_n = np.repeat(np.arange(of), size)
    weights_rn = measure.bootstrap_weights([str(g) for g in group_n], 0)
    old_n = group_n >= groups
    new = measure.accuracy(np.ones(len(old_n), dtype=bool))
    return measure.compare(new, measure.accuracy(old_n), weights_rn)


@pytest.mark.parametrize("groups", [1, 2, 4, 5, 6, 9])
def test_groups_that_agree_are_no_surer_than_a_sign_test_on_them(groups: int) -> None:
    gap = won_by(groups, of=max(2, groups))
    assert gap.p == pytest.approx(2.0 ** (1 - groups))
    assert (gap.low <= 0) == (groups < 6)
    assert gap.value > 0
    assert won_by(groups, of=20).p >= 2.0 ** (1 - groups)


def test_a_few_answers_that_agree_are_as_sure_as_mcnemars_exact_test() -> None:
    from scipy.stats import binomtest

    weights_rn = measure.bootstrap_weights([""] * 500, 0)
    for better, worse in ((4, 0), (5, 0), (6, 0), (7, 1), (9, 1), (12, 2)):
        new_n, old_n = np.arange(500) >= worse, np.arange(500) < 500 - better
        both = measure.accuracy(new_n), measure.accuracy(old_n)
        exact = binomtest(worse, better + worse).pvalue
        found = measure.compare(*both, weights_rn)
        back = measure.compare(*reversed(both), weights_rn)
        assert found.p == pytest.approx(exact) if not worse else found.p <= exact
        assert found.p >= 2.0 ** (1 - (better - worse))
        assert back.p == pytest.approx(found.p, abs=0.02)
        assert (found.low > 0) == (found.p < 0.05)


def test_what_carries_a_ranking_counts_too() -> None:
    """The floor needs no share of right answers: it is the same for any score."""
    rng = generator(4, "ranking")
    target_nc = rng.random((60, 3)) < 0.4
    old_nc = target_nc + 0.0
    old_nc[:3] = 1 - old_nc[:3]  # three samples are ranked all wrong
    scores = (measure.mean_average_precision(s, target_nc) for s in (target_nc + 0.0, old_nc))
    gap = measure.compare(*scores, measure.bootstrap_weights([""] * 60, 0))
    assert gap.value > 0
    assert gap.p == pytest.approx(0.25)


def test_calibration_error() -> None:
    confidence_n = np.full(100, 0.95)
    assert measure.calibration_error(confidence_n, np.arange(100) < 95) == pytest.approx(0)
    assert measure.calibration_error(confidence_n, np.arange(100) < 50) == pytest.approx(0.45)
    rows = measure.reliability(np.array([0.05, 0.55, 1.0]), np.array([False, True, True]))
    assert [row["count"] for row in rows] == [1, 1, 1]


def test_many_samples_take_little_memory_and_are_drawn_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n = 5000
    correct_n = np.arange(n) % 3 > 0

    def measured() -> tuple[np.ndarray, measure.Estimate]:
        weights_rn = measure.bootstrap_weights([f"{i // 2:04}" for i in range(n)], 0)
        return weights_rn, measure.estimate("accuracy", measure.accuracy(correct_n), weights_rn)

    tracemalloc.start()
    weights_rn, found = measured()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 5 * measure.DRAWS * n, "8 bytes for each weight are not held at once"
    whole_rk = generator(0, "bootstrap", n // 2).multinomial(
        n // 2, np.full(n // 2, 2 / n), size=measure.DRAWS
    )
    assert (weights_rn == whole_rk.repeat(2, axis=1)).all()
    monkeypatch.setattr(measure, "_CHUNK_NUMBERS", 7 * n)
    again_rn, again = measured()
    assert (again_rn == weights_rn).all() and again == found
