"""What belongs together stays together, and classes are spread."""

from __future__ import annotations

import numpy as np

from regraft.tasks.clusters import folds, known_elsewhere, numbered


def test_names_share_a_number_and_the_nameless_stand_alone() -> None:
    cluster_n = numbered(["a", "", "b", "a", ""])
    assert cluster_n[0] == cluster_n[3]
    assert len(set(cluster_n.tolist())) == 4


def test_a_class_of_two_clusters_is_in_two_folds() -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        label_n = np.concatenate([rng.integers(0, 3, 60), [3, 3, 3]])
        clusters = [""] * 60 + ["one", "one", "other"]
        target_nc = np.eye(4)[label_n]
        fold_n = folds(target_nc, clusters, seed, 5)
        assert fold_n[60] == fold_n[61] != fold_n[62]
        assert known_elsewhere(target_nc, clusters, fold_n).all()
        for c in range(3):
            counts = np.bincount(fold_n[label_n == c], minlength=5)
            assert counts.max() - counts.min() <= 1


def test_of_several_classes_the_rarest_is_spread() -> None:
    target_nc = np.zeros((40, 3))
    target_nc[:, 0] = 1
    target_nc[:10, 1] = 1
    target_nc[38:, 0] = 0  # of no class
    fold_n = folds(target_nc, [""] * 40, 0, 5)
    assert (np.bincount(fold_n[:10], minlength=5) == 2).all()
    assert len(set(fold_n[38:].tolist())) == 2


def test_of_shares_the_largest_is_the_class() -> None:
    target_nc = np.full((20, 2), 0.3)
    target_nc[:10, 0] = target_nc[10:, 1] = 0.7
    fold_n = folds(target_nc, [""] * 20, 0, 5)
    assert (np.bincount(fold_n[:10], minlength=5) == 2).all()


def test_a_class_in_one_fold_alone_is_unknown_elsewhere() -> None:
    target_nc = np.eye(3)[[0, 1, 0, 1, 2]]
    fold_n = np.array([0, 0, 1, 1, 1])
    alone = known_elsewhere(target_nc, [""] * 5, fold_n)
    assert alone.tolist() == [True, True, True, True, False]
    together = known_elsewhere(target_nc, ["", "", "", "p", "p"], fold_n)
    assert together.tolist() == [True, True, True, False, False]
