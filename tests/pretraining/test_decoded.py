"""The pool in memory: how far decoding runs ahead of what takes it."""

from __future__ import annotations

import time
from contextlib import closing

import numpy as np
import pytest

from regraft.events import Event
from regraft.machine import cores
from regraft.pretraining import decoded


@pytest.mark.parametrize("fits", [True, False])
def test_what_is_decoded_and_not_yet_taken_is_bounded(
    fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded, "POOL_BYTES", 2**20 if fits else 0)
    count, begun, waiting, told = 200, list[int](), list[int](), list[Event]()

    def decode(at: int) -> np.ndarray:
        begun.append(at)
        return np.full((2, 2, 3), at, np.uint8)

    def slowly(event: Event) -> None:
        time.sleep(0.001)
        told.append(event)
        waiting.append(len(begun) - len(told))

    with closing(decoded.Decoded(decode, (count, 2, 2, 3), slowly, always=True)) as pool:
        assert len(told) == len(begun) == count
        assert max(waiting) <= 2 * cores()
        rows = pool.rows(np.array([7, 3]))
    assert rows[:, 0, 0, 0].tolist() == [7, 3]
