"""The linear probe: logistic regression on cached features, by a convex solver.

There is one minimum, so there are no epochs, no learning rate and no luck. Three things make it
quick. The penalty is a multiple of the squared weights, which a rotation does not change, so the
samples are first rotated onto their principal axes, of which there are no more than samples. On
these axes the curvature of the loss is nearly diagonal and known, so the solver works in
coordinates in which it is nearly round. And along the path of penalties, from strong to weak, each
solution starts from the one before; the path ends when the held-out loss has turned.

Shapes: n samples, d features, c classes, k principal axes.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import numpy as np

from regraft.machine import cores
from regraft.seeds import generator
from regraft.tasks.clusters import folds, known_elsewhere

PENALTIES: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""From strong to weak; in units of the mean squared length of a (centred) feature vector."""

PENALTY_UNJUDGED = 1e-3
"""Taken where there are too few samples to cross-validate."""

EXACT, ROUGH = 1e-6, 1e-4
"""Tolerances of the solver: for the head, and for telling penalties apart."""

TURNED = 1
"""The search ends after this many penalties in a row that were worse than the best."""

FOLDS = 5
ALWAYS_LEARNT = -1
"""The fold of samples that are not held out: nothing else would teach their class."""
SAMPLES_TO_JUDGE = 4000
"""The penalty is chosen on at most this many samples; it is per sample, so it carries over."""


@dataclass(frozen=True)
class Probe:
    """A linear head and how it was found.

    Attributes:
        weight_cd: float32.
        bias_c: float32.
        penalty: the chosen one.
        judged: cross-validated log-loss for each penalty tried; empty when there were too few
            samples to choose.
    """

    weight_cd: np.ndarray
    bias_c: np.ndarray
    penalty: float
    judged: tuple[tuple[float, float], ...]

    def logits(self, x_nd: np.ndarray) -> np.ndarray:
        """Float32 logits_nc."""
        return x_nd @ self.weight_cd.T + self.bias_c


@contextmanager
def one_blas_thread() -> Generator[None]:
    """Keep linear algebra on the thread that asks for it.

    Among many small products threads wait for each other longer than they work (30 times slower
    on a busy machine), and one thread gives the same bits whatever the number of cores. Whoever
    fits several probes at once holds this around all of them.
    """
    from threadpoolctl import threadpool_limits

    import_module("scipy.optimize")  # brings a BLAS of its own, which must be there to be limited
    with threadpool_limits(1, user_api="blas"):
        yield


def fit_probe(
    x_nd: np.ndarray,
    target_nc: np.ndarray,
    *,
    exclusive: bool,
    weight_n: np.ndarray,
    clusters: Sequence[str],
    seed: int,
    penalty: float | None = None,
    axes: Axes | None = None,
) -> Probe:
    """Fit an L2-penalised logistic regression, the penalty chosen by cross-validated log-loss.

    Args:
        x_nd: features, float32.
        target_nc: one-hot, or several ones a row when not exclusive.
        exclusive: softmax over classes if true, else one sigmoid a class.
        weight_n: weights of the samples, mean 1.
        clusters: n names; samples that share a non-empty name stay in one fold. Not looked at
            when the penalty is given.
        seed: of the run.
        penalty: take this one and choose none.
        axes: of all samples, for whoever fits many probes on parts of the same data; found if
            None. The minimum stays where it is, but for the unit of the penalty, which is theirs.
    """
    with one_blas_thread():
        axes = axes or Axes.of(x_nd)
        z_nk = axes.coordinates(x_nd)
        judged: tuple[tuple[float, float], ...] = ()
        if penalty is None:
            penalty, judged = _choose_penalty(z_nk, target_nc, exclusive, weight_n, clusters, seed)
        theta = _solve(z_nk, target_nc, exclusive, weight_n, penalty, None, EXACT)
        weight_cd, bias_c = axes.back(theta)
    return Probe(weight_cd.astype(np.float32), bias_c.astype(np.float32), penalty, judged)


def chosen_penalty(
    x_nd: np.ndarray,
    target_nc: np.ndarray,
    *,
    exclusive: bool,
    clusters: Sequence[str],
    seed: int,
    axes: Axes,
) -> float:
    """The penalty that `fit_probe` would choose where samples count alike; no probe is fitted."""
    with one_blas_thread():
        z_nk = axes.coordinates(x_nd)
        weight_n = np.ones(len(x_nd))
        return _choose_penalty(z_nk, target_nc, exclusive, weight_n, clusters, seed)[0]


def _choose_penalty(
    z_nk: np.ndarray,
    target_nc: np.ndarray,
    exclusive: bool,
    weight_n: np.ndarray,
    clusters: Sequence[str],
    seed: int,
) -> tuple[float, tuple[tuple[float, float], ...]]:
    """The penalty with the least log-loss on held-out folds, and the loss of each."""
    if len(z_nk) > SAMPLES_TO_JUDGE:
        some = generator(seed, "penalty").permutation(len(z_nk))[:SAMPLES_TO_JUDGE]
        z_nk, target_nc, weight_n = z_nk[some], target_nc[some], weight_n[some]
        clusters = [clusters[int(i)] for i in some]
    fold_n = folds(target_nc, clusters, seed, FOLDS)
    fold_n[~known_elsewhere(target_nc, clusters, fold_n)] = ALWAYS_LEARNT
    held_n = fold_n[fold_n != ALWAYS_LEARNT]
    theta_f: dict[int, np.ndarray | None] = dict.fromkeys(np.unique(held_n).tolist())
    if len(theta_f) < 2:
        return PENALTY_UNJUDGED, ()
    judged: list[tuple[float, float]] = []
    best = 0

    def held_out_loss(penalty: float, fold: int) -> float:
        learn, held = fold_n != fold, fold_n == fold
        theta = _solve(
            z_nk[learn], target_nc[learn], exclusive, weight_n[learn], penalty, theta_f[fold], ROUGH
        )
        theta_f[fold] = theta
        logits_nc = z_nk[held] @ theta[:-1] + theta[-1]
        return float(_losses(logits_nc, target_nc[held], exclusive) @ weight_n[held])

    with ThreadPoolExecutor(cores()) as pool:
        for penalty in PENALTIES:
            losses = pool.map(partial(held_out_loss, penalty), theta_f)
            judged.append((penalty, sum(losses) / len(held_n)))
            best = min(range(len(judged)), key=lambda i: judged[i][1])
            if len(judged) - 1 - best >= TURNED:
                break
    return judged[best][0], tuple(judged)


@dataclass(frozen=True)
class Axes:
    """Principal axes of samples: centred, scaled to mean squared length 1, rotated."""

    mean_d: np.ndarray
    scale: float
    basis_dk: np.ndarray

    @staticmethod
    def of(x_nd: np.ndarray, most: int | None = None) -> Axes:
        """Of x_nd, the first ones; there are no more of them than samples or features."""
        mean_d = x_nd.mean(axis=0)
        centred_nd = x_nd - mean_d
        scale = float(np.sqrt((centred_nd**2).sum(axis=1).mean())) or 1.0
        wide = len(x_nd) < x_nd.shape[1]
        gram = centred_nd @ centred_nd.T if wide else centred_nd.T @ centred_nd
        value_k, vector_k = np.linalg.eigh(gram.astype(np.float64))
        least = np.count_nonzero(value_k <= value_k[-1] * 1e-7)
        first = max(least, 0 if most is None else len(value_k) - most)
        value_k, vector_k = value_k[first:], vector_k[:, first:]
        basis_dk = centred_nd.T @ (vector_k / np.sqrt(value_k)) if wide else vector_k
        return Axes(mean_d, scale, basis_dk.astype(np.float32))

    def coordinates(self, x_nd: np.ndarray) -> np.ndarray:
        """Z_nk: where samples lie on the axes."""
        return ((x_nd - self.mean_d) / self.scale) @ self.basis_dk

    def back(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight_cd and bias_c that act on the features as they come."""
        weight_cd = (self.basis_dk @ theta[:-1] / self.scale).T
        return weight_cd, theta[-1] - weight_cd @ self.mean_d


def _solve(
    z_nk: np.ndarray,
    target_nc: np.ndarray,
    exclusive: bool,
    weight_n: np.ndarray,
    penalty: float,
    start: np.ndarray | None,
    tolerance: float,
) -> np.ndarray:
    """Minimise mean loss + penalty / 2 * |W|^2 by L-BFGS (Liu & Nocedal 1989).

    Args:
        z_nk: samples on their principal axes.
        target_nc: see `fit_probe`.
        exclusive: see `fit_probe`.
        weight_n: see `fit_probe`.
        penalty: the multiple of the squared weights.
        start: a solution for another penalty, to start from.
        tolerance: the last step's share of the loss.

    Returns:
        (k + 1, c) float64; the last row is the bias, which is not penalised.
    """
    from scipy.optimize import minimize  # slow to import, and not every verb needs it

    n, c = target_nc.shape
    z_nk = np.ascontiguousarray(z_nk, dtype=np.float32)
    slack = 1 / c * (1 - 1 / c) if exclusive else 0.25  # curvature of the loss at equal chances
    curvature_k = np.append((z_nk**2).mean(axis=0) * slack + penalty, slack)
    unit_k1 = (1 / np.sqrt(curvature_k))[:, None]

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        theta = flat.reshape(-1, c) * unit_k1
        logits_nc = z_nk @ theta[:-1].astype(np.float32) + theta[-1]
        loss_n = _losses(logits_nc, target_nc, exclusive)
        error_nc = (chances(logits_nc, exclusive) - target_nc) * (weight_n / n)[:, None]
        slope = np.empty_like(theta)
        slope[:-1] = z_nk.T @ error_nc.astype(np.float32) + penalty * theta[:-1]
        slope[-1] = error_nc.sum(axis=0)
        value = float(loss_n @ weight_n) / n + penalty / 2 * float((theta[:-1] ** 2).sum())
        return value, (slope * unit_k1).ravel()

    first = np.zeros((len(curvature_k), c)) if start is None else start / unit_k1
    found = minimize(
        value_and_slope,
        first.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 300, "maxcor": 6, "ftol": tolerance, "gtol": 1e-6},
    )
    return np.asarray(found.x, dtype=np.float64).reshape(-1, c) * unit_k1


def _losses(logits_nc: np.ndarray, target_nc: np.ndarray, exclusive: bool) -> np.ndarray:
    """Log-loss of each sample, natural logarithm."""
    if exclusive:
        top_n = logits_nc.max(axis=1)
        whole_n = top_n + np.log(np.exp(logits_nc - top_n[:, None]).sum(axis=1))
        return whole_n - (logits_nc * target_nc).sum(axis=1)
    return (np.logaddexp(0, logits_nc) - logits_nc * target_nc).sum(axis=1)


def chances(logits_nc: np.ndarray, exclusive: bool) -> np.ndarray:
    """Probabilities of logits: softmax over the row, or a sigmoid each."""
    if exclusive:
        raised_nc = np.exp(logits_nc - logits_nc.max(axis=1, keepdims=True))
        return raised_nc / raised_nc.sum(axis=1, keepdims=True)
    return 0.5 * (1 + np.tanh(0.5 * logits_nc))
