"""The next step's batch, made while this one is learnt from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar, final

Batch = TypeVar("Batch")


@final
class Ahead(Generic[Batch]):
    """`make(step)` for one step after the other, begun one step early in another thread.

    Args:
        make: a function of the step alone.
        steps: how many there are; None where there is always another.
    """

    def __init__(self, make: Callable[[int], Batch], steps: int | None = None) -> None:
        self._make = make
        self._steps = steps
        self._pool = ThreadPoolExecutor(1, "regraft-ahead")
        self._begun: tuple[int, Future[Batch]] | None = None

    def of(self, step: int) -> Batch:
        """The batch of a step; that of the next is begun."""
        if self._begun is None or self._begun[0] != step:
            self._begun = step, self._pool.submit(self._make, step)
        batch = self._begun[1].result()
        self._begun = None
        if self._steps is None or step + 1 < self._steps:
            self._begun = step + 1, self._pool.submit(self._make, step + 1)
        return batch

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)
