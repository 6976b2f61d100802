"""How sure a number is: intervals, paired tests, calibration.

Every metric here is a function of weights on the samples, so one set of bootstrap weights serves
the value (all ones), its interval and the paired comparison of two models. Samples of one group
(near duplicates, one patient) are drawn together, because they are not independent evidence.

Shapes: n samples, c classes, r bootstrap draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft import wording
from regraft.seeds import generator
from regraft.tasks.clusters import numbered

DRAWS = 2000
CONFIDENCE = 0.95
NOISE = 0.05
"""A difference with a larger p counts as noise."""

_TELLING_DRAWS = 100
"""Enough to tell any two clusters apart."""
_MOST_CARRYING = 12
"""So many clusters that agree are surer than the bootstrap's draws can say."""
_NOTHING = 1e-9
"""Of a difference: as much as rounding leaves."""
_CHUNK, _CHUNK_NUMBERS = 250, 2**22
"""Draws at a time, and numbers of 8 bytes at most: of many samples fewer draws."""

Score = Callable[[np.ndarray], np.ndarray]
"""weights_rn -> values_r: one metric of one model's answers, under each draw's weights, float64."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric with its 95 % interval."""

    name: str
    value: float
    low: float
    high: float

    def to_json(self) -> Any:
        """As it stands in report.json."""
        return {"name": self.name, "value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Difference:
    """One model's metric less another's, on the same samples.

    `p` is two-sided: how often chance alone would show a difference this large.
    """

    value: float
    low: float
    high: float
    p: float

    @property
    def points(self) -> str:
        """In words, without `p`: "+1.2 points (-0.3 to +2.7)"."""
        return wording.points(self.value, self.low, self.high)


@dataclass(frozen=True)
class Shares:
    """A `Score`: the share of right answers in each class, averaged over the classes.

    Attributes:
        right_n: 1 where an answer is right, 0 where it is wrong, or the mean over several models.
        member_nc: 1 where a sample is of a class.
    """

    right_n: np.ndarray
    member_nc: np.ndarray

    def __call__(self, weights_rn: np.ndarray) -> np.ndarray:
        """See `Score`; classes that a draw lacks do not count in it."""
        count_rc = weights_rn @ self.member_nc
        right_rc = weights_rn @ (self.member_nc * self.right_n[:, None])
        recall_rc = np.full_like(count_rc, np.nan)
        np.divide(right_rc, count_rc, out=recall_rc, where=count_rc > 0)
        return np.nanmean(recall_rc, axis=1)

    def unseen(self, weights_rn: np.ndarray) -> float:
        """How large a share of mistakes could have gone unseen, where all are right.

        One less the lowest mean of the classes' shares under which a chance of 0.025 to see no
        mistake is left; of one class of k clusters that is the exact lower bound, 0.025 ^ (1/k)
        (Clopper & Pearson 1934). Where the mean is lowest, the share of each class is in
        proportion to its clusters, and 1 at most.
        """
        tail = (1 - CONFIDENCE) / 2
        telling_rn = weights_rn[:_TELLING_DRAWS]
        count_c = np.array([_clusters(telling_rn[:, one > 0]) for one in self.member_nc.T])
        low, high = -60.0, 0.0  # of the logarithm of the proportion
        for _ in range(60):
            middle = (low + high) / 2
            share_c = np.minimum(1.0, math.exp(middle) * count_c)
            seen = float(count_c @ np.log(share_c))
            low, high = (middle, high) if seen < math.log(tail) else (low, middle)
        return float(1 - np.minimum(1.0, math.exp(high) * count_c).mean())


def accuracy(correct_n: np.ndarray) -> Shares:
    """Share of right answers."""
    return Shares(correct_n.astype(np.float64), np.ones((len(correct_n), 1)))


def balanced_accuracy(correct_n: np.ndarray, target_n: np.ndarray) -> Shares:
    """Mean over classes of the share of right answers; every class counts the same."""
    member_nc = target_n[:, None] == np.unique(target_n)[None, :]
    return Shares(correct_n.astype(np.float64), member_nc.astype(np.float64))


def mean_of(scores: Sequence[Score]) -> Score:
    """The mean of a metric over several models' answers on the same samples."""
    first, *_ = scores
    if isinstance(first, Shares):
        right_n = np.mean([one.right_n for one in scores if isinstance(one, Shares)], axis=0)
        return Shares(right_n, first.member_nc)
    return lambda weights_rn: np.mean([score(weights_rn) for score in scores], axis=0)


def mean_average_precision(score_nc: np.ndarray, target_nc: np.ndarray) -> Score:
    """Average precision of the ranking for each class that occurs, averaged over classes.

    Samples with equal scores are found together, so their order does not matter.
    """
    occurring = np.flatnonzero(target_nc.any(axis=0))
    order_nc = np.argsort(-score_nc, axis=0, kind="stable")

    def score(weights_rn: np.ndarray) -> np.ndarray:
        total_r = np.zeros(len(weights_rn))
        seen_r = np.zeros(len(weights_rn))
        for c in occurring:
            order_n = order_nc[:, c]
            ordered_n = score_nc[order_n, c]
            ends = np.flatnonzero(np.append(ordered_n[1:] != ordered_n[:-1], True))  # of ties
            ranked_rn = weights_rn[:, order_n]
            hit_re = (ranked_rn * target_nc[order_n, c]).cumsum(axis=1)[:, ends]
            precision_re = hit_re / np.maximum(ranked_rn.cumsum(axis=1)[:, ends], 1e-12)
            hits_r = hit_re[:, -1]
            found_re = np.diff(hit_re, axis=1, prepend=0)
            total_r += (precision_re * found_re).sum(axis=1) / np.maximum(hits_r, 1e-12)
            seen_r += hits_r > 0
        return total_r / np.maximum(seen_r, 1)

    return score


def bootstrap_weights(clusters: list[str], seed: int, draws: int = DRAWS) -> np.ndarray:
    """Weights_rn of `draws` bootstrap samples in which whole clusters are drawn.

    Where all samples are of one cluster they are drawn themselves: numbers then say how sure they
    are for this cluster alone, as the problem "one-group" of the data does in words.

    Args:
        clusters: n names; samples with the same non-empty name are drawn together.
        seed: of the run.
        draws: r.

    Returns:
        uint8: how often a sample is drawn is a small number, and there are many of them.
    """
    member_n = numbered(clusters)
    if not member_n.any():
        member_n = np.arange(len(clusters))
    count = int(member_n.max()) + 1
    rng = generator(seed, "bootstrap", count)
    chance_k = np.full(count, 1 / count)
    weights_rn = np.empty((draws, len(clusters)), np.uint8, order="F")  # see `_in_chunks`
    for rows in _chunks(weights_rn):
        # The generator gives the same numbers however many are asked for at a time.
        drawn_rk = rng.multinomial(count, chance_k, size=len(weights_rn[rows]))
        assert drawn_rk.max() < 256, "once in a draw is the mean"
        weights_rn[rows] = drawn_rk[:, member_n]
    return weights_rn


def estimate(name: str, score: Score, weights_rn: np.ndarray) -> Estimate:
    """The metric's value and its percentile bootstrap interval (Efron 1979).

    The bootstrap only knows mistakes that were made: where there are few or none it is blind. The
    interval of a share of right answers therefore reaches at least as far as mistakes could have
    gone unseen in as many clusters (`Shares.unseen`); that of another metric does as if it were a
    share of right clusters, which is a rule of thumb. Of a single sample nothing can be drawn but
    itself: it goes from 0 to 1, since of another one nothing is known.
    """
    value = float(score(np.ones((1, weights_rn.shape[1])))[0])
    is_share = isinstance(score, Shares)
    reach = score.unseen(weights_rn) if is_share else least_reach(weights_rn)
    return from_draws(name, value, _in_chunks(score, weights_rn), reach)


def from_draws(name: str, value: float, draws_r: np.ndarray, reach: float) -> Estimate:
    """`estimate` of what is known under the weights already.

    Args:
        name: of the metric.
        value: on all samples once.
        draws_r: under the weights; NaN where a draw says nothing.
        reach: how far the interval goes at least.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(q) for q in np.nanquantile(draws_r, [tail, 1 - tail]))
    low, high = max(0.0, min(low, value - reach)), min(1.0, max(high, value + reach))
    return Estimate(name, value, min(low, value), max(high, value))


def least_reach(weights_rn: np.ndarray) -> float:
    """How far the interval of what is no share of right answers goes at least; see `estimate`."""
    clusters = _clusters(weights_rn)
    return unseen(clusters) if clusters > 1 else 1.0


def unseen(clusters: int) -> float:
    """The share of mistakes that so many right answers leave possible (Clopper & Pearson 1934)."""
    return 1 - ((1 - CONFIDENCE) / 2) ** (1 / clusters)


def _clusters(weights_rn: np.ndarray) -> int:
    """How many clusters were drawn."""
    return len(np.unique(_cluster_of(weights_rn)))


def _cluster_of(weights_rn: np.ndarray) -> np.ndarray:
    """Cluster_n, 0…k-1: samples of one have the same weight in every draw."""
    drawn_nr = weights_rn[:_TELLING_DRAWS].T
    return np.unique(drawn_nr, axis=0, return_inverse=True)[1].ravel()


def compare(new: Score, old: Score, weights_rn: np.ndarray) -> Difference:
    """Paired bootstrap test of `new` against `old` on the same samples.

    The bootstrap only knows clusters that were seen: where the two that differ speak for the same
    model, no draw says otherwise. So p is no smaller than that of a sign test (Arbuthnot 1710;
    Dixon & Mood 1946) on the h clusters that carry the difference (`_carrying`), 2 ^ (1 - h): six
    that agree are the fewest which tell two models apart. Where the difference is within noise by
    that, its interval holds 0; of a single sample it goes from -1 to 1.
    """
    ones_1n = np.ones((1, weights_rn.shape[1]))
    value = float(new(ones_1n)[0] - old(ones_1n)[0])
    gap_r = _in_chunks(new, weights_rn) - _in_chunks(old, weights_rn)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(q) for q in np.nanquantile(gap_r, [tail, 1 - tail]))
    if low == high and _clusters(weights_rn) == 1:
        low, high = -1.0, 1.0
    against = min(np.count_nonzero(gap_r <= 0), np.count_nonzero(gap_r >= 0))
    p = 2 * (float(against) + 1) / (len(gap_r) + 1)
    sign = math.copysign(1, value)

    def lead(kept_rn: np.ndarray) -> np.ndarray:
        return sign * (new(kept_rn) - old(kept_rn))

    p = min(1.0, max(p, 2.0 ** (1 - _carrying(lead, weights_rn, sign * gap_r))))
    if p >= NOISE:
        low, high = min(low, 0.0), max(high, 0.0)
    return Difference(value, low, high, p)


def _carrying(lead: Score, weights_rn: np.ndarray, lead_r: np.ndarray) -> int:
    """Without how few clusters nothing is left of a lead; `_MOST_CARRYING` for so many and more.

    If each differs by as much, these are what one model has more than the other, and p of the sign
    test on all that differ is never less than 2 ^ (1 - h). Those that count most are left out
    first. Which they are the draws tell: where a few carry the lead, it rises and falls with how
    often they were drawn.

    Args:
        lead: under weights.
        weights_rn: the draws.
        lead_r: what `lead` gives for them.
    """
    cluster_n = _cluster_of(weights_rn)
    _, first_k = np.unique(cluster_n, return_index=True)
    above_r = np.nan_to_num(lead_r - np.nanmean(lead_r))
    worth_k = sum(
        above_r[rows] @ weights_rn[rows][:, first_k].astype(np.float64)
        for rows in _chunks(weights_rn)
    )
    most = min(_MOST_CARRYING, len(first_k))
    kept_hn = np.ones((most, len(cluster_n)))
    for h, cluster in enumerate(np.argsort(-worth_k, kind="stable")[: most - 1], start=1):
        kept_hn[h:, cluster_n == cluster] = 0
    (lost_h,) = np.nonzero(lead(kept_hn) <= _NOTHING)
    return int(lost_h[0]) if len(lost_h) else most


def _in_chunks(score: Score, weights_rn: np.ndarray) -> np.ndarray:
    """`score` over all draws, without a temporary for all of them at once.

    In memory the draws of one sample lie beside each other, as they always have: sums in another
    order are rounded otherwise.
    """
    parts = [score(weights_rn[rows].astype(np.float64, order="F")) for rows in _chunks(weights_rn)]
    return np.concatenate(parts)


def _chunks(weights_rn: np.ndarray) -> list[slice]:
    """Some draws at a time, in order."""
    draws, count = weights_rn.shape
    some = max(1, min(_CHUNK, _CHUNK_NUMBERS // max(1, count)))
    return [slice(start, start + some) for start in range(0, draws, some)]


def calibration_error(confidence_n: np.ndarray, correct_n: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over equal-width bins (Guo et al. 2017), 0…1."""
    rows = reliability(confidence_n, correct_n, bins)
    total = sum(row["count"] for row in rows)
    return sum(row["count"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / total


def reliability(
    confidence_n: np.ndarray, correct_n: np.ndarray, bins: int = 10
) -> list[dict[str, float]]:
    """Mean confidence and accuracy per filled bin of confidence: the reliability diagram."""
    which_n = np.minimum((confidence_n * bins).astype(int), bins - 1)
    rows: list[dict[str, float]] = []
    for b in range(bins):
        inside_n = which_n == b
        if inside_n.any():
            rows.append(
                {
                    "confidence": float(confidence_n[inside_n].mean()),
                    "accuracy": float(correct_n[inside_n].mean()),
                    "count": int(inside_n.sum()),
                }
            )
    return rows
