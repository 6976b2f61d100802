"""How far people agree: Krippendorff's alpha with an interval, and where disagreement sits.

Alpha (Krippendorff, "Content Analysis", 4th ed. 2018, ch. 12) is 1 - observed disagreement /
disagreement expected by chance; it takes any number of votes a sample, missing ones too. How much
two values disagree depends on the scale: nominal 0 or 1; ordinal by how many votes lie between;
sets of classes by MASI (Passonneau 2006). Cohen's kappa compares two people, Fleiss' kappa needs
the same number of votes on every sample; they are given where they apply.

The interval is a percentile bootstrap over samples, which are what was drawn.

Legend: u samples, a annotators, k values, p pairs (k*k), v votes, r bootstrap draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from regraft.labelling.votes import Value, Votes
from regraft.seeds import generator
from regraft.store import Json

DRAWS = 1000
_CELLS = 8_000_000
"""Weights held in memory at once."""
MOST_PEOPLE = 40
"""Pairs are listed among this many most active people."""
SHOWN = 50
_NOTHING = 1e-9
"""Of a mean: as much as rounding leaves."""


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha; None where it is not defined (no sample has two votes).

    Attributes:
        value: 1 is perfect, 0 is chance, below 0 is systematic disagreement.
        low: of the 95 % interval.
        high: of the 95 % interval.
        samples: with at least two votes.
    """

    value: float | None
    low: float | None
    high: float | None
    samples: int

    def to_json(self) -> dict[str, Json]:
        """As it stands in labels.json."""
        return asdict(self)


def alpha(
    votes: Votes, *, seed: int = 0, draws: int = DRAWS, clusters: Sequence[str] = ()
) -> Alpha:
    """Krippendorff's alpha for the scale of the votes, with a bootstrap interval.

    Args:
        votes: of any number per sample.
        seed: of the bootstrap.
        draws: of the bootstrap; 0 gives no interval.
        clusters: a name for each sample; those of one name are drawn together. Each alone if
            empty.
    """
    pairs = _Pairs.of(votes)
    if not pairs.samples:
        return Alpha(None, None, None, 0)
    value = float(pairs.alphas(np.ones((1, pairs.samples)))[0])
    names = np.array(clusters)[votes.per_sample() >= 2] if len(clusters) else None
    _, cluster_u = np.unique(
        np.arange(pairs.samples) if names is None else names, return_inverse=True
    )
    drawn = _weights(int(cluster_u.max()) + 1, seed, draws)
    drawn_r = [pairs.alphas(w_rk[:, cluster_u]) for w_rk in drawn]
    if not drawn_r:
        return Alpha(value, None, None, pairs.samples)
    low, high = (float(q) for q in np.quantile(np.concatenate(drawn_r), [0.025, 0.975]))
    return Alpha(value, min(low, value), max(high, value), pairs.samples)


def _weights(count: int, seed: int, draws: int) -> Iterator[np.ndarray]:
    """Bootstrap weights_ru, a few draws at a time, so that memory stays flat."""
    some = max(1, min(draws, _CELLS // count))
    for begin in range(0, draws, some):
        rng = generator(seed, "alpha", begin)
        chances = np.full(count, 1 / count)
        yield rng.multinomial(count, chances, size=min(some, draws - begin)).astype(np.float64)


@dataclass(frozen=True)
class _Pairs:
    """Votes of samples with at least two, paired.

    Attributes:
        samples: u.
        total_u: votes of each.
        count_uk: sparse.
        apart_kk: disagreement of two values, where it is known beforehand.
        paired_up: sparse, votes paired within a sample, for ordinal scales only.
        within_u: disagreement within each sample, where apart_kk is known.
    """

    samples: int
    total_u: np.ndarray
    count_uk: Any
    apart_kk: np.ndarray | None
    paired_up: Any
    within_u: np.ndarray

    @staticmethod
    def of(votes: Votes) -> _Pairs:
        from scipy.sparse import csr_array

        shape = (len(votes.samples), len(votes.values))
        ones_v = np.ones(len(votes))
        count_uk: Any = csr_array((ones_v, (votes.sample_v, votes.value_v)), shape=shape)
        count_uk = count_uk[votes.per_sample() >= 2]
        total_u = np.asarray(count_uk.sum(axis=1), dtype=np.float64).ravel()
        if votes.scale == "ordinal":
            paired_up = _paired(count_uk, total_u)
            return _Pairs(len(total_u), total_u, count_uk, None, paired_up, np.empty(0))
        if votes.scale == "nominal":
            square_u = np.asarray((count_uk**2).sum(axis=1)).ravel()
            within_u = (total_u**2 - square_u) / (total_u - 1)
            return _Pairs(len(total_u), total_u, count_uk, None, None, within_u)
        apart_kk = np.array([[masi(a, b) for b in votes.values] for a in votes.values])
        within_u = np.asarray((count_uk * (count_uk @ apart_kk)).sum(axis=1)).ravel()
        return _Pairs(
            len(total_u), total_u, count_uk, apart_kk, None, within_u / (total_u - 1)
        )  # a vote is at no distance from itself, so nothing is taken off for pairs of one

    def alphas(self, weights_ru: np.ndarray) -> np.ndarray:
        """Alpha under each draw's weights; 1 where all votes are the same."""
        count_rk = np.asarray((self.count_uk.T @ weights_ru.T).T)
        total_r = weights_ru @ self.total_u
        if self.paired_up is not None:
            paired_rp = np.asarray((self.paired_up.T @ weights_ru.T).T)
            observed_r, expected_r = _ordinal(count_rk, paired_rp)
        else:
            observed_r = weights_ru @ self.within_u
            if self.apart_kk is None:
                expected_r = total_r**2 - (count_rk**2).sum(axis=1)
            else:
                expected_r = np.einsum("rk,kl,rl->r", count_rk, self.apart_kk, count_rk)
        ratio_r = np.divide(
            (total_r - 1) * observed_r,
            expected_r,
            out=np.zeros_like(expected_r),
            where=expected_r > 0,
        )
        return 1 - ratio_r


def _paired(count_uk: Any, total_u: np.ndarray) -> Any:
    """How often each pair of values meets within a sample, over (votes - 1); sparse (u, k * k)."""
    from scipy.sparse import csr_array, vstack

    samples, values = count_uk.shape
    some, k = max(1, _CELLS // values**2), np.arange(values)
    parts: list[Any] = []
    for begin in range(0, samples, some):
        dense_uk = count_uk[begin : begin + some].toarray()
        meet_ukk = dense_uk[:, :, None] * dense_uk[:, None, :]
        meet_ukk[:, k, k] -= dense_uk
        parts.append(csr_array(meet_ukk.reshape(len(dense_uk), -1)))
    whole: Any = vstack(parts) if parts else csr_array((0, values**2))
    return (whole / (total_u - 1)[:, None]).tocsr()


def _ordinal(count_rk: np.ndarray, paired_rp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Observed and expected disagreement; the distance counts the votes that lie between."""
    steps = count_rk.shape[1]
    middle_rk = np.cumsum(count_rk, axis=1) - count_rk / 2
    observed_r, expected_r = np.zeros(len(count_rk)), np.zeros(len(count_rk))
    for k in range(steps):
        apart_rk = (middle_rk - middle_rk[:, [k]]) ** 2
        observed_r += (paired_rp[:, k * steps : (k + 1) * steps] * apart_rk).sum(axis=1)
        expected_r += (count_rk[:, [k]] * count_rk * apart_rk).sum(axis=1)
    return observed_r, expected_r


def masi(first: Value, second: Value) -> float:
    """Distance of two sets of classes in 0…1: 1 - Jaccard * monotonicity (Passonneau 2006)."""
    a, b = set(first), set(second)
    if a == b:
        return 0.0
    if not a & b:
        return 1.0
    monotone = 2 / 3 if a <= b or b <= a else 1 / 3
    return 1 - len(a & b) / len(a | b) * monotone


def cohen(first_n: np.ndarray, second_n: np.ndarray, *, weighted: bool = False) -> float | None:
    """Cohen's kappa of two people on the samples that both labelled.

    Args:
        first_n: value indices.
        second_n: value indices.
        weighted: by the square of the steps between (Cohen 1968), for ordinal scales.

    Returns:
        None where it is not defined: no sample in common, or one value only.
    """
    if not len(first_n):
        return None
    size = int(max(first_n.max(), second_n.max())) + 1
    table_kk = np.zeros((size, size))
    np.add.at(table_kk, (first_n, second_n), 1 / len(first_n))
    k = np.arange(size)
    apart_kk = (k[:, None] - k) ** 2.0 if weighted else (k[:, None] != k).astype(float)
    expected = float((apart_kk * np.outer(table_kk.sum(1), table_kk.sum(0))).sum())
    return None if expected == 0 else 1 - float((apart_kk * table_kk).sum()) / expected


def fleiss(votes: Votes) -> float | None:
    """Fleiss' kappa (1971); None unless every sample has the same number of votes, two or more."""
    total_u = votes.per_sample()
    if votes.scale == "multilabel" or len(set(total_u.tolist())) != 1 or total_u[0] < 2:
        return None
    count_uk, m = votes.tally().astype(np.float64), float(total_u[0])
    agreed = float((((count_uk**2).sum(axis=1) - m) / (m * (m - 1))).mean())
    chance = float(((count_uk.sum(axis=0) / count_uk.sum()) ** 2).sum())
    return None if chance == 1 else (agreed - chance) / (1 - chance)


def bootstrap(
    value_v: np.ndarray, sample_v: np.ndarray, seed: int
) -> tuple[float, float, float, float]:
    """Mean of values, its 95 % interval over samples drawn whole, and a two-sided p for 0.

    p is no smaller than a sign test's on the samples that carry the mean; see `measure.compare`.

    Args:
        value_v: any numbers.
        sample_v: which sample each belongs to.
        seed: of the draws.
    """
    _, sample_v = np.unique(sample_v, return_inverse=True)
    total_u = np.bincount(sample_v, weights=value_v)
    count_u = np.bincount(sample_v).astype(np.float64)
    draws = [(w @ total_u) / (w @ count_u) for w in _weights(len(total_u), seed, DRAWS)]
    drawn_r = np.concatenate(draws)
    low, high = (float(q) for q in np.quantile(drawn_r, [0.025, 0.975]))
    against = min(np.count_nonzero(drawn_r <= 0), np.count_nonzero(drawn_r >= 0))
    value = float(value_v.mean())
    p = 2 * (float(against) + 1) / (len(drawn_r) + 1)
    worth_u = np.sort(math.copysign(1, value) * total_u)[::-1]
    carrying = 1 + np.count_nonzero(worth_u.sum() - np.cumsum(worth_u)[:-1] > _NOTHING)
    p = min(1.0, max(p, 2.0 ** (1 - carrying)))
    return value, min(low, value), max(high, value), p


# Where disagreement sits --------------------------------------------------------------------------


def disagreement(votes: Votes) -> np.ndarray:
    """Apart_u in 0…1: how much two votes on a sample, drawn with replacement, disagree on average.

    So a tie divides people alike, however many they are: 3 to 3 as 1 to 1, and more than 2 to 1;
    and 0 with fewer than two votes. Steps of a scale disagree by the share of the scale that
    lies between them.
    """
    from scipy.sparse import csr_array

    count = len(votes.values)
    k = np.arange(count)
    if votes.scale == "ordinal":
        apart_kk = np.abs(k[:, None] - k) / max(1, count - 1)
    elif votes.scale == "multilabel":
        apart_kk = np.array([[masi(a, b) for b in votes.values] for a in votes.values])
    else:
        apart_kk = None
    shape = (len(votes.samples), count)
    count_uk: Any = csr_array((np.ones(len(votes)), (votes.sample_v, votes.value_v)), shape=shape)
    total_u = votes.per_sample().astype(np.float64)
    if apart_kk is None:
        apart_u = total_u**2 - np.asarray((count_uk**2).sum(axis=1)).ravel()
    else:
        apart_u = np.asarray((count_uk * (count_uk @ apart_kk)).sum(axis=1)).ravel()
    return apart_u / np.maximum(total_u**2, 1)


def per_class(votes: Votes, seed: int = 0, clusters: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Alpha of each class against the rest; arguments as for `alpha`.

    The least agreed first; steps of a scale in their order.
    """
    shares_c = votes.said().sum(axis=0) / len(votes)
    rows: list[dict[str, Any]] = [
        {
            "class": name,
            "share": float(share),
            "alpha": alpha(votes.binary(name), seed=seed, draws=200, clusters=clusters).to_json(),
        }
        for name, share in zip(votes.classes, shares_c, strict=True)
    ]
    if votes.scale == "ordinal":
        return rows
    return sorted(rows, key=lambda row: row["alpha"]["value"] or 0)


def per_pair(votes: Votes) -> list[dict[str, Any]]:
    """Cohen's kappa of each two people with samples in common, the least agreed first."""
    if votes.anonymous:
        return []
    active = np.argsort(-np.bincount(votes.annotator_v), kind="stable")[:MOST_PEOPLE]
    said = [
        dict(zip(votes.sample_v[mine].tolist(), votes.value_v[mine].tolist(), strict=True))
        for mine in (votes.annotator_v == a for a in active)
    ]
    rows: list[dict[str, Any]] = []
    for i, first in enumerate(said):
        for j in range(i):
            common = sorted(first.keys() & said[j].keys())
            if not common:
                continue
            ours = np.array([[first[u], said[j][u]] for u in common]).T
            rows.append(
                {
                    "annotators": sorted(votes.annotators[int(active[x])] for x in (i, j)),
                    "samples": len(common),
                    "same": float((ours[0] == ours[1]).mean()),
                    "kappa": cohen(*ours, weighted=votes.scale == "ordinal"),
                }
            )
    return sorted(rows, key=lambda row: (row["same"], row["annotators"]))


def divided(votes: Votes, count: int = SHOWN) -> list[dict[str, Any]]:
    """The samples that divide people, the most divided first, with their votes."""
    apart_u = disagreement(votes)
    order = [int(u) for u in np.argsort(-apart_u, kind="stable")[:count] if apart_u[u] > 0]
    said = votes.listed()
    return [
        {"sample": votes.samples[u], "disagreement": float(apart_u[u]), "votes": said[u]}
        for u in order
    ]
