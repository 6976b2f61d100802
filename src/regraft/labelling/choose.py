"""Which samples of a pool to label next.

Decisions:

- With hardly any labels there is no model to ask. Then typical samples teach most: the pool is
  clustered, and in the largest clusters that hold no label the sample in the densest place is
  taken (TypiClust; Hacohen, Dekel & Weinshall 2022).
- With labels, a probe says how much it doubts each sample of the pool. Taking the most doubtful
  ones would take many of a kind, and outliers. Instead samples are taken one by one that cover most
  of the doubt that is not covered yet (a facility location weighted by doubt; Bae et al.,
  "Uncertainty herding", 2025): a sample covers those near to it in feature space, and what is
  labelled already covers its surroundings from the beginning. So a batch is doubtful, diverse and
  representative, and a near duplicate of what was chosen is worth nothing.
- Copies (see `pool.py`) are never in one batch.
- Of a large pool, the most doubtful samples and as many others by chance are looked at, so memory
  does not grow with it.

Legend: n samples of the pool, m known samples, d features, c classes, r reference samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np

from regraft.seeds import generator

MOST = 20_000
"""Samples of a pool that are looked at closely."""
CANDIDATES, REFERENCES = 3000, 4000
NEIGHBOURS = 20
REACH = 3
"""A sample covers about as far as to its third neighbour. Farther reaches chose too little by doubt
once there were a hundred labels."""


@dataclass(frozen=True)
class Pick:
    """One sample to label.

    Attributes:
        row: position in the pool.
        stands_for: share of the pool (cold) or of its doubt (warm) that it stands for.
    """

    row: int
    stands_for: float


def directions(x_nd: np.ndarray, middle_d: np.ndarray) -> np.ndarray:
    """Vectors from the middle of the pool, of length 1."""
    far_nd = x_nd - middle_d
    return far_nd / np.maximum(np.linalg.norm(far_nd, axis=1, keepdims=True), 1e-12)


def doubt(chance_nc: np.ndarray) -> np.ndarray:
    """Doubt_n in 0…1: 1 less the gap between the two likeliest classes (the margin)."""
    if chance_nc.shape[1] < 2:
        return 1 - chance_nc[:, 0]
    two_n2 = np.partition(chance_nc, -2, axis=1)[:, -2:]
    return 1 - np.abs(two_n2[:, 1] - two_n2[:, 0])


def thinned(count: int, doubt_n: np.ndarray | None, seed: int) -> np.ndarray:
    """Indices of at most `MOST` samples, sorted: the most doubtful half, the rest by chance."""
    if count <= MOST:
        return np.arange(count)
    drawn = generator(seed, "thinned").permutation(count)
    if doubt_n is None:
        return np.sort(drawn[:MOST])
    first = np.argsort(-doubt_n, kind="stable")[: MOST // 2]
    others = drawn[~np.isin(drawn, first)][: MOST - len(first)]
    return np.sort(np.concatenate([first, others]))


def typical(
    u_nd: np.ndarray, known_md: np.ndarray, batch: int, groups: Sequence[str], seed: int = 0
) -> list[Pick]:
    """The densest place of each of the largest clusters without a label.

    Args:
        u_nd: the pool's directions.
        known_md: those of what is labelled.
        batch: how many to choose.
        groups: n names; two of one non-empty name are never chosen.
        seed: of the clusters.
    """
    from sklearn.cluster import MiniBatchKMeans

    both = np.concatenate([u_nd, known_md])
    clusters = min(batch + len(known_md), len(both), max(batch, 500))
    make: Any = MiniBatchKMeans  # whose stubs know n_init as text only
    model = make(clusters, random_state=seed % 2**32, batch_size=2048, n_init=3)
    cluster_b = model.fit_predict(both)
    cluster_n = cluster_b[: len(u_nd)]
    known_k = np.bincount(cluster_b[len(u_nd) :], minlength=clusters)
    size_k = np.bincount(cluster_n, minlength=clusters)
    order = sorted(range(clusters), key=lambda k: (known_k[k], -size_k[k]))
    taken: set[str] = set()
    picks: list[Pick] = []
    while len(picks) < min(batch, len(u_nd)):
        before = len(picks)
        chosen = {pick.row for pick in picks}
        for k in order:
            members = [
                int(n)
                for n in np.flatnonzero(cluster_n == k)
                if n not in chosen and groups[int(n)] not in taken
            ]
            if not members or len(picks) == batch:
                continue
            row = members[_densest(u_nd[members])]
            picks.append(Pick(row, float(size_k[k]) / len(u_nd)))
            taken |= {groups[row]} - {""}
        if len(picks) == before:
            break
    return picks


def _densest(u_nd: np.ndarray) -> int:
    """The one with the least mean distance to its neighbours; of many, of the first thousands."""
    u_nd = u_nd[:4000]
    apart_nn = 1 - u_nd @ u_nd.T
    near = min(NEIGHBOURS, len(u_nd) - 1)
    return int(np.partition(apart_nn, near, axis=1)[:, : near + 1].sum(axis=1).argmin())


def herded(
    u_nd: np.ndarray,
    doubt_n: np.ndarray,
    known_md: np.ndarray,
    batch: int,
    groups: Sequence[str],
    seed: int = 0,
) -> list[Pick]:
    """Samples that cover most of the doubt, one by one.

    Args:
        u_nd: the pool's directions.
        doubt_n: of each; see `doubt`.
        known_md: directions of what is labelled.
        batch: how many to choose.
        groups: n names; two of one non-empty name are never chosen.
        seed: of the samples that are looked at, where there are many.
    """
    rng = generator(seed, "herd")
    reference_r = rng.permutation(len(u_nd))[:REFERENCES]
    candidates = _candidates(doubt_n, rng)
    reach = _reach(u_nd[reference_r])
    near_kr = np.exp((u_nd[candidates] @ u_nd[reference_r].T - 1) / reach)
    covered_r = np.zeros(len(reference_r), dtype=near_kr.dtype)
    for begin in range(0, len(known_md), 2048):
        known_rm = u_nd[reference_r] @ known_md[begin : begin + 2048].T
        covered_r = np.maximum(covered_r, np.exp((known_rm - 1) / reach).max(axis=1))
    weight_r = doubt_n[reference_r].astype(near_kr.dtype)
    total = float(weight_r.sum()) or 1.0
    # What a sample covers can only become less, so whoever is still the best when looked at again
    # is the best (Minoux 1978), and few have to be looked at.
    first_k = np.concatenate(
        [
            np.maximum(near_kr[some] - covered_r, 0) @ weight_r
            for some in np.array_split(np.arange(len(candidates)), 1 + len(candidates) // 500)
        ]
    )
    queue = [(-float(gain), k, 0) for k, gain in enumerate(first_k)]
    heapify(queue)
    taken: set[str] = set()
    picks: list[Pick] = []
    while queue and len(picks) < batch:
        gain, k, looked = heappop(queue)
        row = int(candidates[k])
        if groups[row] in taken:
            continue
        if looked < len(picks):
            again = float(weight_r @ np.maximum(near_kr[k] - covered_r, 0))
            heappush(queue, (-again, k, len(picks)))
            continue
        picks.append(Pick(row, -gain / total))
        covered_r = np.maximum(covered_r, near_kr[k])
        taken |= {groups[row]} - {""}
    return picks


def _candidates(doubt_n: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The most doubtful half and, by chance, as many others."""
    if len(doubt_n) <= CANDIDATES:
        return np.arange(len(doubt_n))
    order = np.argsort(-doubt_n, kind="stable")
    half = CANDIDATES // 2
    others = rng.permutation(order[half:])[: CANDIDATES - half]
    return np.sort(np.concatenate([order[:half], others]))


def _reach(u_rd: np.ndarray) -> float:
    """The median distance to the third neighbour, of some."""
    some = u_rd[:1500]
    apart_rr = 1 - some @ some.T
    at = min(REACH, len(some) - 1)
    return max(float(np.median(np.partition(apart_rr, at, axis=1)[:, at])), 1e-6)
