"""How near two engines are: queries are a set, all else has its place."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.seeds import generator
from regraft.transfer.parity import cosines, in_order

RNG = generator(0, "parity")
QUERIES_NQD = RNG.normal(size=(2, 5, 4)).astype(np.float32)
BOXES_NQ4 = RNG.random((2, 5, 4)).astype(np.float32)
MAPS_NDHW = RNG.normal(size=(2, 5, 3, 3)).astype(np.float32)
ORDER = np.array([[2, 0, 1, 4, 3], [4, 3, 2, 1, 0]])


def shuffled(x_nqd: np.ndarray) -> np.ndarray:
    return np.stack([x[order] for x, order in zip(x_nqd, ORDER, strict=True)])


def test_queries_in_another_order_are_the_same_and_maps_are_left() -> None:
    here = [QUERIES_NQD, BOXES_NQ4, MAPS_NDHW]
    there = [shuffled(QUERIES_NQD), shuffled(BOXES_NQ4), MAPS_NDHW]
    assert cosines(there, here).max() < 0.9
    found = in_order(there, here, 5)
    assert all(np.array_equal(a, b) for a, b in zip(found, here, strict=True))
    assert np.array_equal(there[0], shuffled(QUERIES_NQD))  # nothing is changed in place


def test_queries_move_with_their_boxes() -> None:
    """A box that went to another query is no matter of order."""
    found = in_order([QUERIES_NQD, shuffled(BOXES_NQ4)], [QUERIES_NQD, BOXES_NQ4], 5)
    assert cosines(found, [QUERIES_NQD, BOXES_NQ4]).max() < 0.999


@pytest.mark.parametrize("queries", [0, 4])
def test_what_holds_no_queries_stays(queries: int) -> None:
    there = [shuffled(QUERIES_NQD)]
    assert np.array_equal(in_order(there, [QUERIES_NQD], queries)[0], there[0])


def test_values_that_are_no_numbers_stay_wrong() -> None:
    wrong = QUERIES_NQD * np.nan
    assert cosines(in_order([wrong], [QUERIES_NQD], 5), [QUERIES_NQD]).max() == 0
