"""The ceiling is fair, and a model is judged as a person is."""

from __future__ import annotations

import numpy as np
import pytest
from test_consensus import crowd_of

from regraft.labelling.ceiling import against_people, beside_people, ceiling, per_annotator
from regraft.labelling.votes import votes_of
from regraft.wording import percent


def test_the_ceiling_is_the_agreement_with_the_others_counted_by_hand():
    # three people: x x y. Two see (x, y): half credit each. One says y against x x: none.
    votes = votes_of([("1", p, (v,)) for p, v in zip("abc", "xxy", strict=True)])
    assert ceiling(votes).value == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert ceiling(votes_of([("1", "a", ("x",))])) is None
    worst = per_annotator(votes)[0]
    assert worst["annotator"] == "c" and worst["agreement"] == 0


def test_a_model_as_good_as_a_person_is_within_noise_and_a_better_one_is_not():
    votes, truth = crowd_of({f"p{i}": 0.7 for i in range(9)}, 300, 3, seed=2)
    rng = np.random.default_rng(0)
    perfect = np.eye(3)[truth]
    alike = np.eye(3)[np.where(rng.random(300) < 0.7, truth, rng.integers(0, 3, 300))]
    bad = np.eye(3)[rng.integers(0, 3, 300)]
    assert "within noise" in against_people(votes, alike)["text"]
    said = against_people(votes, bad, model="a new head")
    person, model = percent(said["person"]), percent(said["model"])
    assert said["text"] == (
        f"One annotator ({person}) agrees with the others more often than a new head ({model})."
    )
    assert against_people(votes, perfect)["low"] > 0
    assert against_people(votes, bad)["high"] < 0
    halves = perfect.copy()
    halves[::2] = np.nan
    assert against_people(votes, halves)["samples"] == 150


def test_the_ceilings_interval_draws_clusters_whole():
    rows = [
        (f"s{u:03d}", person, ("x" if (u // 10) % 2 or person == "a" else "y",))
        for u in range(200)
        for person in "ab"
    ]
    votes = votes_of(rows)
    alone = ceiling(votes)
    together = ceiling(votes, clusters=[f"picture {u // 10}" for u in range(200)])
    assert (together.value, together.samples) == (alone.value, alone.samples)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_on_a_scale_it_is_said_how_far_one_person_is_from_the_median_of_the_others():
    steps = {"s1": (-2, 0, 4), "s2": (0, 0)}
    rows = [(s, f"p{n}", (str(v),)) for s, row in steps.items() for n, v in enumerate(row)]
    # -2 beside 0 and 4, 0 beside -2 and 4, 4 beside -2 and 0; and twice 0 beside 0.
    found = ceiling(votes_of(rows))
    assert found.mean_absolute_error == pytest.approx((4 + 1 + 5 + 0 + 0) / 5)
    assert ceiling(votes_of(rows, scale="nominal")).mean_absolute_error is None


def test_an_answer_that_nobody_ever_gave_is_wrong():
    kinds = {f"s{u:02d}": ("cat", "owl")[u % 2] for u in range(40)}
    votes = votes_of([(name, person, (kind,)) for name, kind in kinds.items() for person in "abc"])
    classes = ("cat", "dog", "owl")
    always_dog = np.tile([0.1, 0.85, 0.05], (40, 1))
    beside = beside_people(votes, list(kinds), classes, always_dog)
    assert (beside["model"], beside["person"]) == (0.0, 1.0)
    right = np.array([[kind == name for name in classes] for kind in kinds.values()], float)
    assert beside_people(votes, list(kinds), classes, right)["model"] == 1.0
