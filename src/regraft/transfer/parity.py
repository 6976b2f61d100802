"""How near the features of two engines are, and how near is near enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MEDIAN = 0.999
MINIMUM = 0.99
"""Cosines with float32 torch that an engine must reach on the user's own pictures."""

CERTIFIED = 0.99999
"""Minimum at which the float32 graph may stand in for torch when others are judged by it."""


@dataclass(frozen=True)
class Parity:
    """Cosines between features and their reference, over samples.

    Attributes:
        median: over the samples.
        minimum: over the samples.
        samples: how many.
        reference: what they were compared with.
    """

    median: float
    minimum: float
    samples: int
    reference: str

    @property
    def passes(self) -> bool:
        """Whether the engine may serve."""
        return self.median >= MEDIAN and self.minimum >= MINIMUM


def parity(cosines: np.ndarray, reference: str) -> Parity:
    """Median and minimum of the cosines of some samples."""
    return Parity(float(np.median(cosines)), float(cosines.min()), len(cosines), reference)


def cosines(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> np.ndarray:
    """The cosine for each sample, over all tensors of a cut together.

    Args:
        one: arrays (N, …), one for each tensor.
        other: the same from another engine.

    Returns:
        float64 (N,). 1 where both are zero, 0 where one is or a value is no number.
    """
    count = len(one[0])
    dot, squares, other_squares = np.zeros((3, count))
    for mine, theirs in zip(one, other, strict=True):
        for n in range(count):
            a, b = mine[n].ravel(), theirs[n].ravel()
            dot[n] += np.dot(a, b)
            squares[n] += np.dot(a, a)
            other_squares[n] += np.dot(b, b)
    norms = np.sqrt(squares * other_squares)
    both_zero = (squares == 0) & (other_squares == 0)
    found = np.divide(dot, norms, out=np.zeros(count), where=norms > 0)
    return np.where(both_zero, 1.0, np.where(np.isfinite(found), np.minimum(found, 1.0), 0.0))


def in_order(
    one: Sequence[np.ndarray], other: Sequence[np.ndarray], queries: int
) -> list[np.ndarray]:
    """One engine's tensors with its queries in the order of another's.

    A detector's queries are the surest of many places, in an order that means nothing: two that
    are nearly as sure of themselves change places with the last bits of their scores.

    Args:
        one: arrays (N, …), one for each tensor.
        other: the same from another engine.
        queries: how many there are; tensors (N, queries, width) hold them. 0: none do.
    """
    held = [queries > 0 and x.ndim == 3 and x.shape[1] == queries for x in other]
    if not any(held):
        return list(one)
    from scipy.optimize import linear_sum_assignment

    found = [np.array(x) if is_held else x for x, is_held in zip(one, held, strict=True)]
    for n in range(len(one[0])):
        mine, theirs = (
            np.concatenate([x[n] for x, is_held in zip(side, held, strict=True) if is_held], axis=1)
            for side in (one, other)
        )
        far_qq = (theirs**2).sum(axis=1)[:, None] + (mine**2).sum(axis=1) - 2 * theirs @ mine.T
        _, at_q = linear_sum_assignment(np.nan_to_num(far_qq, nan=1e30, posinf=1e30, neginf=-1e30))
        for x, is_held in zip(found, held, strict=True):
            if is_held:
                x[n] = x[n][at_q]
    return found
