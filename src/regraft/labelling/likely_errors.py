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
- The penalty is chosen by cross-validated log-loss, once a round; all folds share it. Wrong
  labels ask for a stronger one than the truth does, and the labels that the first round trusts for
  a weaker one, since they were trusted for being easy to tell: the second round takes the middle of
  the two (geometric mean).
- Probes look at signed square roots of features (power normalisation, Perronnin et al. 2010) on
  their first principal axes: else a few large features outweigh the many small ones.
- The axes are shared by all folds too: they are made of features alone, not of labels, and to find
  them anew for each fold took longer than the probes.
- All is done for several divisions into folds, and the answers on a sample are averaged: which
  others a probe learnt from is chance, and the ranking should not be. Penalties are those of the
  first division, and so are the first round's answers, which are to be those of one model.
- A class that lies in one group alone (one file, one patient) is in no other fold to be learnt
  from: nothing is said against its labels.
- Features are looked at as vectors; what they come from (pictures, texts, clips) does not matter.

Legend: n samples, d features, c classes, f folds, b rows of a piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np

from regraft.dataset.rows import Dataset, labels_of
from regraft.events import Advanced, Tell, silent
from regraft.seeds import generator, seed_of
from regraft.tasks.classification import Classification
from regraft.tasks.clusters import folds, lone, numbered
from regraft.tasks.probe import Axes, Probe, chances, chosen_penalty, fit_probe, one_blas_thread

FOLDS = 5
MOST_TO_LEARN = 12_000
PIECE = 4096
DIVISIONS = 3
MOST_AXES = 256
"""And no fewer than classes."""
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
        first_nc: the same from the first round of one division; its probes learnt from all labels.
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
    tell: Tell = silent,
) -> Judged:
    """Out-of-sample answers on every sample, and how well its label fits them.

    Args:
        rows: features by index.
        target_nc: ones where a class is given.
        clusters: n names; samples that share a non-empty one stay in one fold.
        exclusive: one class a sample.
        seed: of the folds.
        tell: hears `Advanced("judging labels", …)`.
    """
    looked_at = rooted(rows)
    axes = axes_of(looked_at, target_nc, seed)
    first, *others = (
        _Division(looked_at, target_nc, clusters, axes, exclusive, seed_of(seed, "division", d))
        for d in range(DIVISIONS)
    )
    done = count(1)

    def advance() -> None:
        tell(Advanced("judging labels", next(done), DIVISIONS * 2 * FOLDS))

    def trusted(chance_nc: np.ndarray) -> np.ndarray:
        return ~fit_of(target_nc, chance_nc, exclusive)[1]

    all_n = np.ones(len(target_nc), dtype=bool)
    penalty = first.penalty(all_n)
    first_nc = first.answers(all_n, penalty, advance)
    trusted_n = trusted(first_nc)
    weaker = math.sqrt(penalty * first.penalty(trusted_n))
    chance_nc = first.answers(trusted_n, weaker, advance) / DIVISIONS
    for other in others:
        believed_n = trusted(other.answers(all_n, penalty, advance))
        chance_nc += other.answers(believed_n, weaker, advance) / DIVISIONS
    distance_n = first.distances(rows, trusted_n)
    return Judged(
        chance_nc, first_nc, *fit_of(target_nc, chance_nc, exclusive), distance_n, penalty
    )


def rooted(rows: Rows) -> Rows:
    """Features as probes look at them."""

    def roots(index: np.ndarray) -> np.ndarray:
        x_nd = rows(index)
        return np.sign(x_nd) * np.sqrt(np.abs(x_nd))

    return roots


def axes_of(rows: Rows, target_nc: np.ndarray, seed: int) -> Axes:
    """The first axes of all samples, or of some by chance if there are very many.

    Args:
        rows: features as the probes look at them.
        target_nc: of which each class may have an axis.
        seed: of the draw.
    """
    n, c = target_nc.shape
    some = np.sort(generator(seed, "axes").permutation(n)[:MOST_TO_LEARN])
    with one_blas_thread():
        return Axes.of(rows(some), most=max(MOST_AXES, c))


@dataclass(frozen=True)
class _Division:
    """One division into folds, and what is asked of it; see `judge`."""

    rows: Rows
    target_nc: np.ndarray
    clusters: Sequence[str]
    axes: Axes
    exclusive: bool
    seed: int

    @cached_property
    def fold_n(self) -> np.ndarray:
        return folds(self.target_nc, self.clusters, self.seed, FOLDS)

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
        self, trusted_n: np.ndarray, penalty: float, advance: Callable[[], None]
    ) -> np.ndarray:
        """Chance_nc from probes on trusted samples of the other folds."""
        chance_nc = np.empty(self.target_nc.shape, dtype=np.float32)
        for fold in range(FOLDS):
            learn = self._to_learn(fold, trusted_n)
            probe = self._probe(self.rows(learn), learn, penalty)
            for some in self._held(fold):
                chance_nc[some] = chances(probe.logits(self.rows(some)), self.exclusive)
            advance()
        chance_nc[self.lone_n] = self.target_nc[self.lone_n]
        return chance_nc

    def distances(self, rows: Rows, trusted_n: np.ndarray) -> np.ndarray:
        """Distance_n of features to trusted samples of the other folds."""
        distance_n = np.empty(len(self.fold_n), dtype=np.float32)
        for fold in range(FOLDS):
            near = _Near.of(rows(self._to_learn(fold, trusted_n)), self.seed)
            for some in self._held(fold):
                distance_n[some] = near.distances(rows(some))
        return distance_n

    def _held(self, fold: int) -> Iterator[np.ndarray]:
        """Indices of its samples, in pieces."""
        held = np.flatnonzero(self.fold_n == fold)
        yield from (held[begin : begin + PIECE] for begin in range(0, len(held), PIECE))

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
