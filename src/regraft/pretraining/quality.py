"""What the contrastive loss does not say: whether the embeddings mean anything.

Alignment and uniformity (Wang & Isola, "Understanding contrastive representation learning", 2020),
effective rank (Roy & Vetterli 2007), and the spread of embeddings. Embeddings that have all become
one point satisfy alignment and nothing else: that is collapse.

Legend: n samples, d dimensions, m queries, k neighbours, s some of the queries.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

COLLAPSED_SPREAD = 0.05
COLLAPSED_RANK = 1.5
AT_ONCE = 2**22
"""Cosines that are held at once."""


@dataclass(frozen=True)
class Quality:
    """Of embeddings on the unit sphere.

    Attributes:
        alignment: mean squared distance of partners, 0…4; smaller is closer.
        uniformity: log of the mean of exp(-2 distance²) over pairs; smaller is more even.
        effective_rank: exp of the entropy of the singular values; 1 is a line.
        spread: 1 - length of the mean embedding: 0 is one point, 1 is all around.
    """

    alignment: float
    uniformity: float
    effective_rank: float
    spread: float

    def to_json(self) -> Any:
        """As it stands in report.json."""
        return asdict(self)

    @property
    def collapsed(self) -> bool:
        """Whether all embeddings have become nearly one point, or one line."""
        return self.spread < COLLAPSED_SPREAD or self.effective_rank < COLLAPSED_RANK


def quality(a_nd: np.ndarray, b_nd: np.ndarray) -> Quality:
    """Of the embeddings of two views, row by row partners; of any length."""
    a_nd, b_nd = unit(a_nd), unit(b_nd)
    mean_d = a_nd.mean(axis=0)
    squared_nn = np.maximum(2 - 2 * a_nd @ a_nd.T, 0)
    pairs = squared_nn[np.triu_indices(len(a_nd), 1)]
    return Quality(
        alignment=float(((a_nd - b_nd) ** 2).sum(axis=1).mean()),
        uniformity=float(np.log(np.exp(-2 * pairs).mean())) if len(pairs) else 0.0,
        effective_rank=effective_rank(a_nd),
        spread=float(max(0.0, 1 - np.linalg.norm(mean_d))),
    )


def effective_rank(x_nd: np.ndarray) -> float:
    """Of centred rows; 1.0 where all are equal."""
    values = np.linalg.svd(x_nd - x_nd.mean(axis=0), compute_uv=False)
    if values.sum() < 1e-6 * max(1, len(x_nd)) ** 0.5:
        return 1.0
    share = values / values.sum()
    share = share[share > 1e-12]
    return float(np.exp(-(share * np.log(share)).sum()))


def unit(x_nd: np.ndarray) -> np.ndarray:
    """Rows of length 1, float64."""
    x_nd = x_nd.astype(np.float64)
    return x_nd / np.maximum(np.linalg.norm(x_nd, axis=1, keepdims=True), 1e-12)


def nearest(x_nd: np.ndarray, query_md: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows (or all, if fewer) nearest to each query by cosine, nearest first; and cosines.

    Some queries at a time: of many samples all cosines at once are gigabytes.
    """
    x_nd, query_md = unit(x_nd), unit(query_md)
    some = max(1, AT_ONCE // max(1, len(x_nd)))
    index: list[np.ndarray] = []
    alike: list[np.ndarray] = []
    for start in range(0, len(query_md), some):
        alike_sn = query_md[start : start + some] @ x_nd.T
        index.append(np.argsort(-alike_sn, axis=1, kind="stable")[:, :k])
        alike.append(np.take_along_axis(alike_sn, index[-1], axis=1))
    return np.concatenate(index), np.concatenate(alike)


def neighbour_labels(
    x_nd: np.ndarray, label_n: np.ndarray, query_md: np.ndarray, k: int = 5
) -> np.ndarray:
    """The label that most of the k nearest rows (by cosine) have, nearer ones counting more."""
    nearest_mk, alike_mk = nearest(x_nd, query_md, k)
    votes = np.zeros((len(query_md), int(label_n.max()) + 1))
    weight_mk = np.exp(alike_mk / 0.1)
    for place in range(nearest_mk.shape[1]):
        np.add.at(
            votes, (np.arange(len(votes)), label_n[nearest_mk[:, place]]), weight_mk[:, place]
        )
    return votes.argmax(axis=1)
