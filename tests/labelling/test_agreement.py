"""Agreement against worked examples, a second implementation, and brute force."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from regraft.labelling import agreement
from regraft.labelling.votes import Votes, votes_of

# The worked example of Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), part C:
# four observers, twelve units, five values, missing votes.
_WORKED = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def _votes(matrix: np.ndarray, scale: str) -> Votes:
    """Votes from an (annotators, samples) matrix of numbers with NaN for missing ones."""
    rows = [
        (f"s{u:04d}", f"a{a}", (str(int(value)),))
        for a, row in enumerate(matrix)
        for u, value in enumerate(row)
        if not np.isnan(value)
    ]
    return votes_of(rows, scale=scale)


def _worked() -> np.ndarray:
    return np.array([[float(x) if x != "." else np.nan for x in r.split()] for r in _WORKED])


def test_the_worked_example_gives_the_published_alphas():
    nominal = agreement.alpha(_votes(_worked(), "nominal"))
    ordinal = agreement.alpha(_votes(_worked(), "ordinal"))
    assert nominal.value == pytest.approx(0.743, abs=5e-4)
    assert ordinal.value == pytest.approx(0.815, abs=5e-4)
    assert nominal.samples == 11
    assert nominal.low < nominal.value < nominal.high


@pytest.mark.parametrize("scale", ["nominal", "ordinal"])
@pytest.mark.parametrize("seed", range(8))
def test_alpha_equals_a_second_implementation(scale: str, seed: int):
    second = pytest.importorskip("nltk.metrics.agreement")
    rng = np.random.default_rng(seed)
    truth = rng.integers(-4, 5, size=40)
    matrix = np.clip(truth + rng.integers(-2, 3, size=(6, 40)), -4, 4).astype(float)
    matrix[rng.random(matrix.shape) < 0.4] = np.nan
    told = [
        (f"a{a}", f"s{u}", int(matrix[a, u]))
        for a, u in zip(*np.nonzero(matrix == matrix), strict=True)
    ]
    distance = (lambda a, b: float(a != b)) if scale == "nominal" else _ordinal_distance(told)
    expected = second.AnnotationTask(told, distance).alpha()
    assert agreement.alpha(_votes(matrix, scale), draws=0).value == pytest.approx(
        expected, abs=1e-6
    )


def _ordinal_distance(told):
    """Krippendorff's distance of two ranks: the square of the votes that lie between them.

    nltk takes any distance. Only votes with company count.
    """
    a_sample = Counter(sample for _, sample, _ in told)
    count = Counter(value for _, sample, value in told if a_sample[sample] > 1)

    def distance(a, b):
        low, high = min(a, b), max(a, b)
        between = sum(number for value, number in count.items() if low <= value <= high)
        return (between - (count[low] + count[high]) / 2) ** 2

    return distance


def test_the_distance_of_sets_is_that_of_a_second_implementation():
    second = pytest.importorskip("nltk.metrics.distance")
    some = [names for n in range(1, 4) for names in itertools.combinations("abcd", n)]
    for a, b in itertools.product(some, some):
        wanted = second.masi_distance(frozenset(a), frozenset(b))
        assert agreement.masi(a, b) == pytest.approx(wanted, abs=1e-12)


def test_many_samples_are_paired_part_by_part(monkeypatch):
    rng = np.random.default_rng(0)
    votes = _votes(rng.integers(-4, 5, size=(5, 50)).astype(float), "ordinal")
    whole = agreement.alpha(votes, seed=1)
    monkeypatch.setattr(agreement, "_CELLS", 900)
    assert agreement.alpha(votes, draws=0).value == whole.value


def test_alpha_of_sets_is_what_counting_all_pairs_gives():
    rng = np.random.default_rng(3)
    names = "abcd"
    rows = [
        (f"s{u}", f"p{a}", tuple(n for n in names if rng.random() < 0.4))
        for u in range(15)
        for a in range(rng.integers(1, 5))
    ]
    units: dict[str, list[tuple[str, ...]]] = {}
    for sample, _, value in rows:
        units.setdefault(sample, []).append(value)
    units = {s: v for s, v in units.items() if len(v) > 1}
    every = [value for values in units.values() for value in values]
    observed = sum(
        agreement.masi(a, b) / (len(values) - 1)
        for values in units.values()
        for a, b in itertools.permutations(values, 2)
    )
    expected = sum(agreement.masi(a, b) for a, b in itertools.permutations(every, 2))
    wanted = 1 - observed / (expected / (len(every) - 1))
    assert agreement.alpha(votes_of(rows), draws=0).value == pytest.approx(wanted, abs=1e-12)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)

    def drawn(count: int) -> Votes:
        truth = rng.integers(0, 3, size=count)
        wrong = rng.random((4, count)) < 0.3
        return _votes(
            np.where(wrong, rng.integers(0, 3, (4, count)), truth).astype(float), "nominal"
        )

    truth = agreement.alpha(drawn(20_000), draws=0).value
    intervals = [agreement.alpha(drawn(60), seed=s, draws=200) for s in range(60)]
    covered = sum(one.low <= truth <= one.high for one in intervals)
    assert covered >= 50


def test_no_two_votes_on_one_sample_give_no_alpha():
    assert agreement.alpha(votes_of([("1", "a", ("x",)), ("2", "b", ("y",))])).value is None


def test_one_value_only_is_full_agreement():
    votes = votes_of([(str(u), p, ("x",)) for u in range(3) for p in "ab"])
    assert agreement.alpha(votes).value == 1.0


def test_cohen_and_fleiss_equal_their_definitions():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 4, size=(2, 50))
    second = np.where(rng.random(50) < 0.5, first, second)
    assert agreement.cohen(first, second) == pytest.approx(metrics.cohen_kappa_score(first, second))
    assert agreement.cohen(first, second, weighted=True) == pytest.approx(
        metrics.cohen_kappa_score(first, second, weights="quadratic")
    )
    # Fleiss 1971, as worked out in many textbooks: 10 subjects, 14 raters, kappa 0.210
    table = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    rows = [
        (f"s{u}", "", (str(k),)) for u, row in enumerate(table) for k, n in enumerate(row)
        for _ in range(n)
    ]  # fmt: skip
    assert agreement.fleiss(votes_of(rows)) == pytest.approx(0.210, abs=5e-4)
    assert agreement.fleiss(votes_of(rows[:-1])) is None


def test_where_people_disagree_is_found():
    rows = [(f"s{u}", p, ("cat",)) for u in range(20) for p in ("ann", "ben", "cec")]
    rows += [(f"t{u}", p, ("dog",)) for u in range(20) for p in ("ann", "ben")]
    rows += [(f"t{u}", "cec", ("cat",)) for u in range(10)] + [("t0", "dan", ("owl",))]
    votes = votes_of(rows)
    assert agreement.divided(votes)[0]["sample"] == "t0"
    assert agreement.divided(votes)[0]["votes"] == {"cat": 1, "dog": 2, "owl": 1}
    often = [row for row in agreement.per_pair(votes) if row["samples"] > 1]
    assert "cec" in often[0]["annotators"]
    assert agreement.per_class(votes)[0]["class"] == "owl"


def test_a_tie_divides_people_more_than_two_to_one_however_many_they_are():
    said = {"a": "xxy", "b": "xxyy", "c": "xxx", "d": "xxxyyy", "e": "xy", "f": "xxxy"}
    votes = votes_of([(name, "", (vote,)) for name, row in said.items() for vote in row])
    assert [row["sample"] for row in agreement.divided(votes)] == ["b", "d", "e", "a", "f"]
    steps = [(name, "", (str("yx".index(v) * 3 - 1),)) for name, row in said.items() for v in row]
    found = [row["sample"] for row in agreement.divided(votes_of(steps))]
    assert found == ["b", "d", "e", "a", "f"]


def test_steps_of_a_scale_stand_in_their_order():
    votes = votes_of([(f"s{n}", p, (str(n - 2),)) for n in range(5) for p in "ab"])
    names = [row["class"] for row in agreement.per_class(votes)]
    assert names == ["-2", "-1", "0", "1", "2"]
    mixed = [("s", "a", ("-1",)), ("s", "b", ("2",)), ("t", "a", ("-10",)), ("t", "b", ("-10",))]
    assert [row["class"] for row in agreement.per_class(votes_of(mixed))] == ["-10", "-1", "2"]


def test_classes_are_drawn_by_cluster_too():
    rows = [
        (f"s{u:03d}", person, ("cat" if (u // 10) % 2 or person == "a" else "dog",))
        for u in range(200)
        for person in "ab"
    ]
    votes = votes_of(rows)
    clusters = [f"picture {u // 10}" for u in range(200)]
    alone, together = (
        agreement.per_class(votes, clusters=some)[0]["alpha"] for some in ((), clusters)
    )
    assert together["value"] == alone["value"]
    assert together["high"] - together["low"] > 2 * (alone["high"] - alone["low"])


@pytest.mark.parametrize("count", [2, 5, 6, 12])
def test_a_mean_of_few_samples_is_no_surer_than_a_sign_test(count: int) -> None:
    value_v = np.repeat(np.linspace(0.2, 0.9, count), 3)
    value, low, high, p = agreement.bootstrap(value_v, np.repeat(np.arange(count), 3), 0)
    assert low < value < high
    assert p == pytest.approx(max(2.0 ** (1 - count), 2 / (agreement.DRAWS + 1)))
    assert agreement.bootstrap(-value_v, np.repeat(np.arange(count), 3), 0)[3] == p
