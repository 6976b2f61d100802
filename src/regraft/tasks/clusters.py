"""Samples that belong together: copies, one patient, clips of one video.

They are no independent evidence: they stay in one fold and are drawn together.

Shapes: n samples, c classes, k clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regraft.seeds import generator


def numbered(clusters: Sequence[str]) -> np.ndarray:
    """Cluster_n, 0…k-1: samples that share a non-empty name share a number, others stand alone."""
    names = np.array([name or f"\x00{i}" for i, name in enumerate(clusters)])
    return np.unique(names, return_inverse=True)[1]


def folds(target_nc: np.ndarray, clusters: Sequence[str], seed: int, count: int) -> np.ndarray:
    """Fold_n, 0…count-1: clusters together, classes spread evenly.

    A class of at least two clusters is in at least two folds. Where a sample has several classes,
    the rarest is the one that is spread.

    Args:
        target_nc: above 0 where a class applies; of shares that sum to 1 the largest does.
        clusters: n names, as `numbered` takes them.
        seed: of the run.
        count: of folds.
    """
    cluster_n = numbered(clusters)
    _, first = np.unique(cluster_n, return_index=True)
    label_k = _rarest(target_nc)[first]
    shuffled = generator(seed, "folds").permutation(len(first))
    order = shuffled[np.argsort(label_k[shuffled], kind="stable")]
    fold_k = np.empty(len(first), dtype=np.int64)
    fold_k[order] = np.arange(len(first)) % count
    return fold_k[cluster_n]


def _rarest(target_nc: np.ndarray) -> np.ndarray:
    """The rarest class of each sample, c for none."""
    applies_nc = _applies(target_nc)
    count_c = applies_nc.sum(axis=0)
    rank_nc = np.where(applies_nc, count_c, len(target_nc) + 1)
    return np.where(applies_nc.any(axis=1), rank_nc.argmin(axis=1), target_nc.shape[1])


def known_elsewhere(
    target_nc: np.ndarray, clusters: Sequence[str], fold_n: np.ndarray
) -> np.ndarray:
    """Whether each class of a sample, and of its whole cluster, is also in another fold: bool_n.

    A model that learns from the other folds says nothing of a class that is in none of them.

    Args:
        target_nc: as for `folds`.
        clusters: as for `folds`.
        fold_n: what `folds` gave.
    """
    applies_nc = _applies(target_nc)
    there_fc = np.stack([applies_nc[fold_n == fold].any(axis=0) for fold in np.unique(fold_n)])
    lost_n = applies_nc[:, there_fc.sum(axis=0) < 2].sum(axis=1)
    cluster_n = numbered(clusters)
    return ~np.isin(cluster_n, cluster_n[lost_n > 0])


def lone(target_nc: np.ndarray, number_n: np.ndarray) -> np.ndarray:
    """Which classes have samples of one number (a cluster, a fold) and of no other: bool_c."""
    return np.array([len(np.unique(number_n[own_n])) == 1 for own_n in _applies(target_nc).T])


def _applies(target_nc: np.ndarray) -> np.ndarray:
    applies_nc = target_nc > 0
    shared_n = np.flatnonzero(np.isclose(target_nc.sum(axis=1), 1))
    applies_nc[shared_n] = False
    applies_nc[shared_n, target_nc[shared_n].argmax(axis=1)] = True
    return applies_nc
