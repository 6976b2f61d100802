"""Consensus finds planted truths; the method is what the data allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regraft.dataset import Dataset, Sample
from regraft.labelling import consensus as c
from regraft.labelling.votes import votes_of


def crowd_of(skill: dict[str, float], samples: int, classes: int, seed: int, share: float = 1.0):
    """Votes of people who are right with a chance of their own, else guess."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, samples)
    rows = []
    for name, chance in skill.items():
        for u in np.flatnonzero(rng.random(samples) < share):
            told = truth[u] if rng.random() < chance else rng.integers(0, classes)
            rows.append((f"s{u:05d}", name, (f"c{told}",)))
    return votes_of(rows), truth


_SKILL = {"good": 0.95, "fair": 0.8, "spam1": 0.05, "spam2": 0.05, "spam3": 0.05}


@pytest.mark.parametrize("method", ["dawid-skene", "glad", "mace"])
def test_models_of_the_people_find_more_truth_than_counting(method):
    votes, truth = crowd_of(_SKILL, 400, 3, seed=2)
    by_model = c.consensus(votes, method).chance_uc.argmax(axis=1)
    by_count = c.consensus(votes, "majority").chance_uc.argmax(axis=1)
    assert (by_model == truth).mean() > (by_count == truth).mean() + 0.05
    assert (by_model == truth).mean() > 0.85


def test_one_vote_that_names_nobody_is_named():
    votes, _ = crowd_of(_SKILL, 400, 3, 0)
    rows = [
        (votes.samples[u], votes.annotators[a] if v else "", votes.values[k])
        for v, (u, a, k) in enumerate(
            zip(votes.sample_v, votes.annotator_v, votes.value_v, strict=True)
        )
    ]
    method, why = c.choose(votes_of(rows))
    assert method == "majority"
    assert f"Of 2,000 votes 1 name nobody (the first is on {rows[0][0]})" in why
    nobody = votes_of([(sample, "", value) for sample, _, value in rows])
    assert "The votes are anonymous" in c.choose(nobody)[1]


def test_numbers_that_may_be_steps_of_a_scale_are_known():
    assert votes_of([("a", "p", ("1",)), ("a", "q", ("3",)), ("b", "p", ("5",))]).may_be_steps
    assert not votes_of([("a", "p", ("0",)), ("a", "q", ("1",))]).may_be_steps
    assert not votes_of([("a", "p", ("1",)), ("a", "q", ("3",)), ("b", "p", ("cat",))]).may_be_steps


def test_chances_are_written_without_the_hair_that_decides_a_tie():
    votes = votes_of([("1", "ann", ("x",)), ("1", "ben", ("y",)), ("2", "ann", ("x",))])
    assert c.summary(c.consensus(votes), votes)["labels"][0]["probability"] == 0.5


def test_the_method_is_what_the_data_allow():
    assert c.choose(crowd_of(_SKILL, 400, 3, 0)[0])[0] == "dawid-skene"
    assert c.choose(crowd_of(_SKILL, 120, 6, 0)[0])[0] == "glad"
    assert c.choose(crowd_of(_SKILL, 150, 6, 0, share=0.4)[0])[0] == "mace"
    assert c.choose(crowd_of(_SKILL, 12, 3, 0)[0])[0] == "majority"
    assert c.choose(crowd_of({"a": 0.9, "b": 0.9}, 400, 2, 0)[0])[0] == "majority"
    method, why = c.choose(votes_of([("1", "", ("x",)), ("1", "", ("y",))]))
    assert method == "majority" and "anonymous" in why
    assert "of one person" in c.choose(votes_of([("1", "ann", ("x",))]))[1]
    _, why = c.choose(votes_of([("1", "ann", ("x",)), ("1", "ben", ("y",))]))
    assert why == (
        "With 2 annotators there is no telling who is right, so labels are decided by majority, "
        "and ties are marked."
    )


def test_majority_counts_and_ties_are_named():
    rows = [("1", "", ("cat",))] * 2 + [("1", "", ("dog",))] + [("2", "", ("owl",))]
    rows += [("2", "", ("cat",))]
    found = c.consensus(votes_of(rows))
    assert found.labels() == [("cat",), ("cat",)]
    assert found.tied_u.tolist() == [False, True]
    assert found.chance_uc[0] == pytest.approx([2 / 3, 1 / 3, 0])


def test_of_steps_of_a_scale_the_median_is_the_label():
    said = {"a": (-1, 2, 3, 4), "b": (-4, -4, 1, 2, 3), "c": (2, 3), "d": (1, 4, 4, 4), "e": (-2,)}
    votes = votes_of(
        [(name, f"p{n}", (str(v),)) for name, row in said.items() for n, v in enumerate(row)]
    )
    found = c.consensus(votes)
    assert (found.method, votes.scale) == ("median", "ordinal")
    assert found.why == "The votes are steps of a scale: the label is their median."
    assert found.labels() == [("2",), ("1",), ("2",), ("4",), ("-2",)]
    assert found.tied_u.tolist() == [True, False, True, False, False]
    # The chances stay the shares of the votes, and the label's is what it is listed with.
    assert found.chance_uc[0] == pytest.approx([0, 0, 0.25, 0, 0.25, 0.25, 0.25])
    assert found.sure() == pytest.approx([0.25, 0.2, 0.5, 0.75, 1])
    # Of two steps in the middle the label is the one nearer to the mean.
    high = votes_of([("a", f"p{n}", (v,)) for n, v in enumerate(("-9", "1", "2", "2"))])
    low = votes_of([("a", f"p{n}", (v,)) for n, v in enumerate(("-9", "-9", "1", "2"))])
    assert (c.consensus(high).labels(), c.consensus(low).labels()) == ([("1",)], [("1",)])
    unnamed = votes_of([("a", "", ("-1",)), ("a", "", ("-1",)), ("a", "p", ("3",))])
    assert c.choose(unnamed)[0] == "median" and "name nobody" in c.choose(unnamed)[1]


def test_a_label_is_doubtful_where_less_than_four_in_five_say_it():
    rows = [("1", "", ("cat",))] * 4 + [("1", "", ("dog",))] + [("2", "", ("dog",))]
    rows += [("3", "", (name,)) for name in ("cat", "cat", "dog")]
    votes = votes_of(rows)
    said = c.summary(c.consensus(votes), votes)
    assert (said["ties"], said["doubtful"]) == (0, {"below": 0.8, "samples": 1})
    assert [(row["sample"], row["votes"]) for row in said["labels"]] == [
        ("3", {"cat": 2, "dog": 1}),
        ("1", {"cat": 4, "dog": 1}),
        ("2", {"dog": 1}),
    ]


@pytest.mark.parametrize("method", ["dawid-skene", "mace"])
def test_a_tie_is_doubtful_however_sure_a_model_of_the_people_is(method):
    votes, _ = crowd_of({"a": 0.98, "b": 0.98, "c": 0.4, "d": 0.4}, 80, 2, seed=3)
    found = c.consensus(votes, method)
    sure_u, said = found.sure(), c.summary(found, votes)
    assert (sure_u[found.tied_u] > 0.8).any()
    doubtful = int((found.tied_u | (sure_u < 0.8)).sum())
    assert said["doubtful"]["samples"] == doubtful >= said["ties"] == found.tied_u.sum()
    first, rest = said["labels"][:doubtful], said["labels"][doubtful:]
    assert all(row["tied"] or row["probability"] < 0.8 for row in first)
    assert not any(row["tied"] for row in rest)
    assert first == sorted(first, key=lambda row: row["probability"])


def test_people_are_sure_where_three_or_more_nearly_all_say_the_same():
    rows = [("1", "", ("cat",))] * 4 + [("1", "", ("dog",))] + [("2", "", ("cat",))] * 2
    rows += [("3", "", (name,)) for name in ("cat", "cat", "dog")]
    votes = votes_of(rows)
    assert c.agreed(votes) == {"1": "cat"}
    samples = tuple(Sample(str(n), f"text {n}", 0) for n in (1, 2, 3))
    dataset = Dataset(Path("votes.csv"), "text-classification", ("cat", "dog"), samples)
    assert c.upheld(votes, dataset) == {"1"}
    # A label that a model of the people chose against nearly all of them is not theirs.
    otherwise = dataset.with_samples(replace(sample, target=1) for sample in dataset)
    assert c.upheld(votes, otherwise) == frozenset()


def test_several_classes_are_decided_one_by_one():
    rows = [("1", p, v) for p, v in zip("abc", [("x", "y"), ("x",), ()], strict=True)]
    found = c.consensus(votes_of(rows))
    assert found.labels() == [("x",)]
    assert found.chance_uc[0] == pytest.approx([2 / 3, 1 / 3])


def test_every_restart_of_mace_begins_elsewhere(monkeypatch):
    crowd = pytest.importorskip("crowdkit.aggregation")
    begun, begin = [], crowd.MACE._initialize

    def told(self, *sizes):
        begin(self, *sizes)
        begun.append(self.thetas_.copy())

    monkeypatch.setattr(crowd.MACE, "_initialize", told)
    votes, _ = crowd_of(_SKILL, 60, 3, seed=2)
    first = c.consensus(votes, "mace").chance_uc
    assert len(begun) == 5
    assert all(not np.allclose(begun[0], other) for other in begun[1:])
    assert np.array_equal(c.consensus(votes, "mace").chance_uc, first)


@pytest.mark.parametrize("method", ["majority", "dawid-skene"])
def test_what_most_people_see_is_there_whatever_they_call_it(method):
    rng = np.random.default_rng(0)
    rows = []
    for u in range(60):
        truth = "abc"[rng.integers(3)]
        rows += [(f"s{u}", p, (truth if rng.random() < 0.4 else "none",)) for p in "xyz"]
    for name, said in {"two": "ab", "three": "abc", "one": "a"}.items():
        told = [*said, "none", "none"][:3]
        rows += [(name, p, (value,)) for p, value in zip("xyz", told, strict=True)]
    votes = votes_of(rows, scale="nominal")
    found = c.consensus(votes, method, absent="none")
    label = dict(zip(found.samples, found.labels(), strict=True))
    count_uc, none = votes.tally(), votes.classes.index("none")
    seen_u = 2 * count_uc[:, none] <= count_uc.sum(axis=1)
    assert not any(label[votes.samples[u]] == ("none",) for u in np.flatnonzero(seen_u))
    at = found.samples.index("two")
    assert label["two"][0] in "ab" and found.tied_u[at]
    np.testing.assert_allclose(found.chance_uc.sum(axis=1), 1)
    plain = c.consensus(votes, method)
    np.testing.assert_array_equal(found.chance_uc[~seen_u], plain.chance_uc[~seen_u])
    same_u = found.label_u == plain.label_u
    assert same_u[~seen_u].all() and not same_u.all(), "without it some are called nothing"


@pytest.mark.parametrize(
    ("said", "label", "chance", "is_tied"),
    [
        ("nn ccd", "cat", 2 / 5, False),
        ("nn ccc", "cat", 3 / 5, False),
        ("nn cdb", "cat", 1 / 5, True),
        ("nnn cd", "none", 3 / 5, False),
        ("nn cc", "cat", 1 / 2, True),
        ("nn dc", "cat", 1 / 4, True),
        ("n d", "dog", 1 / 2, True),
    ],
)
def test_of_what_is_there_the_share_counts_nothing_and_a_tie_does_not(said, label, chance, is_tied):
    called = {"n": "none", "c": "cat", "d": "dog", "b": "bird"}
    rows = [("1", f"p{n}", (called[one],)) for n, one in enumerate(said.replace(" ", ""))]
    # Nothing and then cat have most votes over all, by which a tie is decided.
    rows += [(f"n{n}", "p0", ("none",)) for n in range(9)] + [("c", "p0", ("cat",))]
    votes = votes_of(rows, scale="nominal")
    found = c.consensus(votes, "majority", absent="none")
    at = found.samples.index("1")
    assert found.labels()[at] == (label,) and found.tied_u[at] == is_tied
    assert found.sure()[at] == pytest.approx(chance)


def test_a_model_that_sees_nothing_where_most_see_something_is_not_believed(monkeypatch):
    votes = votes_of([("1", p, (v,)) for p, v in zip("xyz", ("dog", "none", "dog"), strict=True)])
    chance_uc = np.array([[0.4, 0.6]])
    assert votes.classes == ("dog", "none")
    monkeypatch.setattr(c, "_modelled", lambda *_: chance_uc)
    found = c.consensus(votes, "dawid-skene", absent="none")
    assert found.labels() == [("dog",)] and found.sure() == pytest.approx([2 / 3])
