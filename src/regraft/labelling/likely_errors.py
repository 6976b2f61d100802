"""Labels that are likely wrong: what the rest of the data say about each.

Every sample gets probabilities from probes that never saw it (cross-validated; copies and groups
stay in one fold). cleanlab scores how well the given label fits them (confident learning, Northcutt
et al. 2021). Beside these stand copies with different labels, where one label must be wrong,
samples unlike all others, and classes that the network cannot tell apart.

Decisions:

- Two rounds. The probes of the second learn from what the first did not suspect, so that wrong
  labels teach less. No probe learns from a sample that it answers on; but what the second round
  learns from was chosen by probes that saw the held-out labels, so its answers rank labels and
  the first round's, which are strictly out of sample, are what a model is measured by.
- A probe learns from at most `MOST_TO_LEARN` samples, and rows are read in pieces: memory grows
  with probabilities (n x c), not with features.
- The penalty is chosen by cross-validated log-loss, once a round; it is shared by all folds. Wrong
  labels ask for a stronger one than the truth does, and the labels that the first round trusts for
  a weaker one, since they were trusted for being easy to tell: the second round takes the middle of
  the two (geometric mean).
- The axes that the probes are found on are shared by all folds too: they are made of features
  alone, not of labels, and to find them anew for each fold took longer than the probes.
- A class that lies in one group alone (one file, one patient) is in no other fold to be learnt
  from: nothing is said against its labels.
- Features are looked at as vectors; what they come from (pictures, texts, clips) does not matter.

Legend: n samples, d features, c classes, f folds, b rows of a piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from regraft.dataset.rows import Dataset, labels_of
from regraft.events import Advanced, Tell, silent
from regraft.seeds import generator
from regraft.tasks.classification import Classification
from regraft.tasks.clusters import folds, lone, numbered
from regraft.tasks.probe import Axes, Probe, chances, chosen_penalty, fit_probe, one_blas_thread

FOLDS = 5
MOST_TO_LEARN = 12_000
PIECE = 4096
ROUNDS = 2
LEAST = 20
"""Fewer samples tell nothing about each other."""

Rows = Callable[[np.ndarray], np.ndarray]
"""Indices_b to x_bd: features, read when they are asked for."""


@dataclass(frozen=True)
class Judged:
    """What probes that never saw a sample say about it.

    Attributes:
        chance_nc: float32; rows sum to 1, or one chance a class for several classes. Of a sample
            of a lone class, which nothing is said of, it is the label itself.
        first_nc: the same from the first round, whose probes learnt from all labels.
        quality_n: how well the given label fits, 0…1; the lowest are the likeliest errors.
        suspect_n: confident learning would call the label wrong.
        distance_n: to the nearest samples of other folds, relative to the typical distance.
        penalty: of the first round's probes.
    """

    chance_nc: np.ndarray
    first_nc: np.ndarray
    quality_n: np.ndarray
    suspect_n: np.ndarray
    distance_n: np.ndarray
    penalty: float


def why_not(dataset: Dataset) -> str:
    """Why labels cannot be judged by each other; empty where they can."""
    if len(dataset) < LEAST or len(dataset.classes) < 2:
        return f"Too few samples or classes to judge labels: it takes {LEAST} and 2."
    if numbered([sample.group for sample in dataset]).max() == 0:
        return "All samples are of one group, so there are no others to judge their labels by."
    if len(lone_classes(dataset)) == len({c for s in dataset for c in labels_of(s.target)}):
        return "Each class is of one group (one file, one person), so nothing else shows it."
    return ""


def lone_classes(dataset: Dataset) -> list[str]:
    """Classes whose samples are all of one group, so that their labels cannot be judged."""
    target_nc = Classification(dataset.task, dataset.classes).targets(dataset.samples)
    lone_c = lone(target_nc, numbered([sample.group for sample in dataset]))
    return [name for name, is_lone in zip(dataset.classes, lone_c, strict=True) if is_lone]


def rows_judged(dataset: Dataset) -> np.ndarray:
    """Indices of the samples without a label of a lone class, of which nothing can be said."""
    named = {dataset.classes.index(name) for name in lone_classes(dataset)}
    return np.array(
        [n for n, sample in enumerate(dataset) if named.isdisjoint(labels_of(sample.target))],
        dtype=np.int64,
    )


def judged_labels(dataset: Dataset, rows: Rows, *, seed: int = 0, tell: Tell = silent) -> Judged:
    """What probes say about the labels of a data set; see `judge`."""
    task = Classification(dataset.task, dataset.classes, dataset.multilabel)
    return judge(
        rows,
        task.targets(dataset.samples),
        [sample.group for sample in dataset],
        exclusive=not dataset.multilabel,
        seed=seed,
        tell=tell,
    )


def judge(
    rows: Rows,
    target_nc: np.ndarray,
    clusters: Sequence[str],
    *,
    exclusive: bool,
    seed: int = 0,
    rounds: int = ROUNDS,
    tell: Tell = silent,
) -> Judged:
    """Out-of-sample answers on every sample, and how well its label fits them.

    Args:
        rows: features by index.
        target_nc: ones where a class is given.
        clusters: n names; samples that share a non-empty one stay in one fold.
        exclusive: one class a sample.
        seed: of the folds.
        rounds: 1 learns from all labels, 2 once more without the suspects.
        tell: hears `Advanced("judging labels", …)`.
    """
    fold_n = folds(target_nc, clusters, seed, FOLDS)
    axes = axes_of(rows, len(target_nc), seed)
    judging = _Judging(
        rows, target_nc, clusters, fold_n, axes, exclusive, seed, tell, rounds * FOLDS
    )
    trusted_n = np.ones(len(target_nc), dtype=bool)
    penalty = judging.penalty(trusted_n)
    chance_nc, distance_n = judging.answers(trusted_n, penalty, 0)
    found = Judged(
        chance_nc, chance_nc, *fit_of(target_nc, chance_nc, exclusive), distance_n, penalty
    )
    for turn in range(1, rounds):
        trusted_n = ~found.suspect_n
        between = math.sqrt(penalty * judging.penalty(trusted_n))
        chance_nc, distance_n = judging.answers(trusted_n, between, turn)
        quality_n, suspect_n = fit_of(target_nc, chance_nc, exclusive)
        found = replace(
            found,
            chance_nc=chance_nc,
            quality_n=quality_n,
            suspect_n=suspect_n,
            distance_n=distance_n,
        )
    return found


def axes_of(rows: Rows, count: int, seed: int) -> Axes:
    """The axes of so many samples, or of some by chance if there are very many."""
    some = np.sort(generator(seed, "axes").permutation(count)[:MOST_TO_LEARN])
    with one_blas_thread():
        return Axes.of(rows(some))


@dataclass(frozen=True)
class _Judging:
    """One question to all folds; see `judge`."""

    rows: Rows
    target_nc: np.ndarray
    clusters: Sequence[str]
    fold_n: np.ndarray
    axes: Axes
    exclusive: bool
    seed: int
    tell: Tell
    pieces: int

    @cached_property
    def lone_n(self) -> np.ndarray:
        """Samples of a class that no other fold has."""
        lone_c = lone(self.target_nc, self.fold_n)
        return np.any(self.target_nc[:, lone_c] > 0, axis=1)

    def penalty(self, trusted_n: np.ndarray) -> float:
        """That trusted samples ask for, those of the first fold left out."""
        learn = self._to_learn(0, trusted_n)
        return chosen_penalty(
            self.rows(learn),
            self.target_nc[learn],
            exclusive=self.exclusive,
            clusters=[self.clusters[int(n)] for n in learn],
            seed=self.seed,
            axes=self.axes,
        )

    def answers(
        self, trusted_n: np.ndarray, penalty: float, turn: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Chance_nc and distance_n, from probes on trusted samples."""
        chance_nc = np.empty(self.target_nc.shape, dtype=np.float32)
        distance_n = np.empty(len(self.fold_n), dtype=np.float32)
        for fold in range(FOLDS):
            learn = self._to_learn(fold, trusted_n)
            x_nd = self.rows(learn)
            probe = self._probe(x_nd, learn, penalty)
            held = np.flatnonzero(self.fold_n == fold)
            near = _Near.of(x_nd, self.seed)
            for begin in range(0, len(held), PIECE):
                some = held[begin : begin + PIECE]
                x_bd = self.rows(some)
                chance_nc[some] = chances(probe.logits(x_bd), self.exclusive)
                distance_n[some] = near.distances(x_bd)
            self.tell(Advanced("judging labels", turn * FOLDS + fold + 1, self.pieces))
        chance_nc[self.lone_n] = self.target_nc[self.lone_n]
        return chance_nc, distance_n

    def _to_learn(self, fold: int, trusted_n: np.ndarray) -> np.ndarray:
        """Indices of trusted samples of the other folds; a class keeps its last ones."""
        others = np.flatnonzero(self.fold_n != fold)
        keep = trusted_n[others]
        counts_c = self.target_nc[others[keep]].sum(axis=0)
        rare_c = counts_c < 2
        keep |= self.target_nc[others][:, rare_c].any(axis=1)
        learn = others[keep]
        if len(learn) > MOST_TO_LEARN:
            order = generator(self.seed, "to learn", fold).permutation(len(learn))
            learn = np.sort(learn[order[:MOST_TO_LEARN]])
        return learn

    def _probe(self, x_nd: np.ndarray, learn: np.ndarray, penalty: float) -> Probe:
        return fit_probe(
            x_nd,
            self.target_nc[learn],
            exclusive=self.exclusive,
            weight_n=np.ones(len(x_nd)),
            clusters=(),  # they matter to the choice of a penalty alone
            seed=self.seed,
            penalty=penalty,
            axes=self.axes,
        )


@dataclass(frozen=True)
class _Near:
    """Distances to a handful of known samples, by angle."""

    known_md: np.ndarray
    typical: float

    @staticmethod
    def of(x_nd: np.ndarray, seed: int, most: int = 2000) -> _Near:
        order = generator(seed, "known").permutation(len(x_nd))[: 2 * most]
        known_md = _directions(x_nd[order[: len(order) // 2 + 1]])
        other_bd = _directions(x_nd[order[len(order) // 2 + 1 :]])
        if not len(other_bd):
            return _Near(known_md, 1.0)
        typical = float(np.median(_nearest(other_bd, known_md)))
        return _Near(known_md, max(typical, 1e-6))

    def distances(self, x_bd: np.ndarray) -> np.ndarray:
        """Distance_b to the nearest, in units of the median one."""
        return _nearest(_directions(x_bd), self.known_md) / self.typical


def _directions(x_nd: np.ndarray) -> np.ndarray:
    return x_nd / np.maximum(np.linalg.norm(x_nd, axis=1, keepdims=True), 1e-12)


def _nearest(x_bd: np.ndarray, known_md: np.ndarray) -> np.ndarray:
    """Mean of 1 - cosine to the five nearest."""
    apart_bm = 1 - x_bd @ known_md.T
    few = min(5, apart_bm.shape[1])
    return np.partition(apart_bm, few - 1, axis=1)[:, :few].mean(axis=1)


def fit_of(
    target_nc: np.ndarray, chance_nc: np.ndarray, exclusive: bool
) -> tuple[np.ndarray, np.ndarray]:
    """How well labels fit, and which confident learning calls wrong; cleanlab's.

    Returns:
        quality_n in 0…1, and suspect_n.
    """
    if not exclusive:
        right_nc = np.where(target_nc > 0, chance_nc, 1 - chance_nc)
        quality_n = right_nc.min(axis=1)
        return quality_n, quality_n < 0.1
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    # A class that reviewers emptied, say, has no labels to doubt.
    _, given_n = np.unique(target_nc.argmax(axis=1), return_inverse=True)
    safe_nc = np.clip(chance_nc[:, target_nc.any(axis=0)], 1e-7, 1.0)
    safe_nc /= safe_nc.sum(axis=1, keepdims=True)
    quality_n: Any = get_label_quality_scores(given_n, safe_nc, method="self_confidence")
    suspect_n: Any = find_label_issues(
        given_n, safe_nc, filter_by="prune_by_noise_rate", n_jobs=1, min_examples_per_class=0
    )
    return np.asarray(quality_n), np.asarray(suspect_n)
