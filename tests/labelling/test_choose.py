"""What is chosen is typical at first, then doubtful and diverse, and never twice the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from regraft.labelling import choose
from regraft.labelling.worth import Gain, Worth, worth
from regraft.tasks.classification import Classification


def _blobs(count: int, seed: int, classes: int = 6, first: float = 0.5):
    """Directions in tight clouds; the first is larger."""
    rng = np.random.default_rng(seed)
    which = np.where(rng.random(count) < first, 0, rng.integers(0, classes, count))
    middle = np.eye(classes, 16)[which]
    x_nd = (middle + 0.15 * rng.normal(size=(count, 16))).astype(np.float32)
    return choose.directions(x_nd, np.zeros(16, np.float32)), which


def test_typical_samples_come_from_every_cloud_and_from_its_middle():
    u_nd, which = _blobs(600, 0)
    picks = choose.typical(u_nd, u_nd[:0], 6, [""] * 600)
    rows = [pick.row for pick in picks]
    assert len(set(which[rows])) >= 5
    middles = np.stack([u_nd[which == k].mean(axis=0) for k in range(6)])
    nearness = (u_nd * middles[which]).sum(axis=1)
    assert np.mean(nearness[rows]) > np.quantile(nearness, 0.7)


def test_clouds_that_hold_a_label_come_last():
    u_nd, which = _blobs(600, 1, first=0.0)
    known = u_nd[[int(np.flatnonzero(which == k)[0]) for k in (0, 1, 2)]]
    picks = choose.typical(u_nd, known, 3, [""] * 600)
    assert not {0, 1, 2} & {int(which[pick.row]) for pick in picks}


def test_the_lazy_choice_is_the_greedy_one():
    u_nd, _ = _blobs(150, 2)
    doubt_n = np.random.default_rng(2).random(150).astype(np.float32)
    lazy = [pick.row for pick in choose.herded(u_nd, doubt_n, u_nd[:5], 12, [""] * 150)]
    apart = 1 - u_nd @ u_nd.T
    reach = float(np.median(np.partition(apart, choose.REACH, axis=1)[:, choose.REACH]))
    near = np.exp(-apart / reach)
    covered = near[:, :5].max(axis=1)
    greedy: list[int] = []
    for _ in range(12):
        gain = (doubt_n[:, None] * np.maximum(near - covered[:, None], 0)).sum(axis=0)
        gain[greedy] = -1
        greedy.append(int(gain.argmax()))
        covered = np.maximum(covered, near[:, greedy[-1]])
    assert lazy == greedy


def test_no_batch_holds_near_duplicates_or_two_of_a_group():
    u_nd, _ = _blobs(100, 3)
    twice = np.concatenate([u_nd, u_nd + 1e-5])
    doubt_n = np.ones(200, dtype=np.float32)
    rows = [pick.row % 100 for pick in choose.herded(twice, doubt_n, twice[:0], 40, [""] * 200)]
    assert len(set(rows)) == 40
    groups = [f"g{n // 50}" for n in range(200)]
    for picks in (
        choose.herded(twice, doubt_n, twice[:0], 40, groups),
        choose.typical(twice, twice[:0], 40, groups),
    ):
        chosen = [groups[pick.row] for pick in picks]
        assert len(chosen) == len(set(chosen)) == 4


def test_doubt_decides_between_places_that_are_as_full():
    u_nd, which = _blobs(400, 4)
    doubt_n = np.where(which == 3, 1.0, 0.05).astype(np.float32)
    picks = choose.herded(u_nd, doubt_n, u_nd[:0], 5, [""] * 400)
    assert [int(which[pick.row]) for pick in picks].count(3) >= 3
    chance_nc = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.6, 0.3, 0.1]])
    assert choose.doubt(chance_nc) == pytest.approx([1.0, 0.0, 0.7])


def test_a_large_pool_is_thinned_to_the_doubtful_and_some_others():
    doubt_n = np.linspace(0, 1, 50_000)
    some = choose.thinned(50_000, doubt_n, seed=0)
    assert len(some) == choose.MOST == len(set(some.tolist()))
    assert set(range(50_000 - choose.MOST // 2, 50_000)) <= set(some.tolist())
    assert choose.thinned(7, None, 0).tolist() == list(range(7))


# What labels are worth ----------------------------------------------------------------------------


def _clouds(count: int, wrong: float, seed: int):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, count)
    x_nd = rng.normal(size=(count, 24)).astype(np.float32)
    x_nd[np.arange(count), truth] += 2.5
    planted = rng.random(count) < wrong
    given = np.where(planted, (truth + rng.integers(1, 4, count)) % 4, truth)
    return x_nd, np.eye(4, dtype=np.float32)[given]


TASK = Classification("image-classification", tuple("abcd"))


def _worth(x_nd, target_nc, batch):
    names = [""] * len(x_nd)
    return worth(lambda rows: x_nd[rows], target_nc, names, task=TASK, batch=batch, penalty=1e-2)


def test_what_labels_are_worth_is_near_what_they_bring():
    pytest.importorskip("cleanlab")
    x_nd, target_nc = _clouds(1200, 0.0, seed=0)
    few, all_of_them = (_worth(x_nd[:n], target_nc[:n], 50) for n in (300, 1200))
    brought = all_of_them.accuracy.value - few.accuracy.value
    step = _worth(x_nd[:300], target_nc[:300], 900).new
    assert step.low - 0.02 <= brought <= step.high + 0.03
    assert few.new.value > all_of_them.new.value >= 0
    labels, expected = few.expected
    assert labels == 600
    assert few.accuracy.value + few.double.value <= expected < 1  # the curve ends at two thirds
    assert all_of_them.stop and "cannot be told whether" not in all_of_them.text()


@pytest.mark.parametrize(
    ("noise", "high", "stop"), [(0.03, 0.019, True), (0.03, 0.021, False), (0.01, 0.019, False)]
)
def test_a_place_to_stop_is_one_where_the_gain_is_surely_small(noise, high, stop):
    found = _found(0.005, Gain(0.008, 0.0, high), noise)
    assert found.stop == stop
    said = f"As many as {100 * high:.1f} are possible, so it cannot be told whether"
    assert (said in found.text()) == (not stop)
    assert ("less, so this is a place to stop. 100 second opinions" in found.text()) == stop


@pytest.mark.parametrize(
    ("new", "double", "said"),
    [
        (
            0.005,
            0.04,
            "(±3.0 points); 500 more would be worth 4.0. So few bring too little to show",
        ),
        (
            0.035,
            0.04,
            "worth 3.5 points of accuracy, more than your noise (±3.0 points); 500 more would",
        ),
    ],
)
def test_it_is_said_of_what_the_next_labels_bring_points(new, double, said):
    text = _found(new, Gain(double, 0.0, 0.05), 0.03).text()
    now = "On samples held out the accuracy is 90.0 % (87.0 to 93.0), learning from 333 of the 500"
    assert text.startswith(f"{now} labels. Beyond what all of them bring, the next 100 labels are")
    assert said in text and "place to stop" not in text


def _found(new, double, noise):
    """Worth of 100 labels more; second opinions bring what these do, by chance."""
    gain, accuracy = Gain(new, 0.0, new + 0.005), Gain(0.9, 0.87, 0.93)
    ahead, curve = Gain(0.0, -0.01, 0.01), ((42, 0.8), (333, 0.9))
    return Worth(
        500, 100, "accuracy", accuracy, noise, gain, double, gain, ahead, curve, (1000, 0.9)
    )


def test_a_steep_curve_of_few_labels_is_no_place_to_stop():
    pytest.importorskip("cleanlab")
    found = _worth(*_clouds(100, 0.0, seed=0), 50)
    assert found.double.value < found.noise and not found.stop


def test_labels_without_a_mistake_are_no_reason_to_ask_for_more():
    pytest.importorskip("cleanlab")
    label = np.arange(200) % 2
    far = np.random.default_rng(0).normal(size=(200, 16)) * 0.05 + np.eye(2, 16)[label]
    found = _worth(far.astype(np.float32), np.eye(2, dtype=np.float32)[label], 50)
    assert found.accuracy.value == found.expected[1] == 1 and found.noise > 0
    assert found.stop and "less than your noise" in found.text()


def test_second_opinions_pay_where_many_labels_are_wrong():
    pytest.importorskip("cleanlab")
    clean, noisy = (
        np.mean([_worth(*_clouds(600, wrong, seed), 100).second.value for seed in range(1, 11)])
        for wrong in (0.0, 0.3)
    )
    assert noisy > clean + 0.004  # measured: 0.008 against -0.001, each ± 0.001
    assert noisy > 0.004


def test_second_opinions_that_may_bring_nothing_are_said_to():
    found = _found(0.01, Gain(0.02, 0.0, 0.05), 0.03)
    assert "bring nothing that can be told from chance (+0.0 to +1.5 points)" in found.text()
    sure = replace(found, second=Gain(0.02, 0.01, 0.03), ahead=Gain(-0.01, -0.02, -0.001))
    said = "Second opinions pay more: 100 second opinions on the worst labels are worth 2.0 points"
    assert f"{said} (+1.0 to +3.0) where" in sure.text()


def test_a_rare_class_that_is_not_known_yet_is_no_place_to_stop():
    """By accuracy alone it might be: nearly all samples are of the other class."""
    pytest.importorskip("cleanlab")
    rng = np.random.default_rng(0)
    rare = np.arange(400) % 20 == 0
    x_nd = rng.normal(size=(400, 24)).astype(np.float32)
    x_nd[rare, :4] += 1.0
    target_nc = np.eye(2, dtype=np.float32)[rare.astype(int)]
    plain, balanced = (
        worth(
            lambda rows: x_nd[rows], target_nc, [""] * 400, task=replace(TASK, balanced=balanced),
            batch=100, penalty=1e-2,
        )
        for balanced in (False, True)
    )  # fmt: skip
    assert plain.accuracy.value > 0.94 and balanced.accuracy.value < 0.85
    assert not balanced.stop and "the balanced accuracy is" in balanced.text()
    assert balanced.to_json()["metric"] == "balanced_accuracy"


def test_too_few_labels_say_nothing():
    pytest.importorskip("cleanlab")
    assert _worth(*_clouds(40, 0.0, seed=2), 10) is None


@pytest.mark.parametrize(("groups", "says"), [(1, False), (5, False), (6, True)])
def test_few_groups_say_nothing(groups: int, says: bool):
    pytest.importorskip("cleanlab")
    x_nd, target_nc = _clouds(120, 0.0, seed=2)
    names = [f"group {n % groups}" for n in range(120)]
    found = worth(lambda rows: x_nd[rows], target_nc, names, task=TASK, batch=10, penalty=1e-2)
    assert (found is not None) == says
