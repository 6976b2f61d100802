"""What will be needed next, made in other threads: a step's batch, or one result after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Generic, TypeVar, final

from regraft.machine import cores

Batch = TypeVar("Batch")
In = TypeVar("In")
Out = TypeVar("Out")


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


@final
class ReadAhead(Generic[In, Out]):
    """`work(item)` for each item, in order, on all cores, some results ahead.

    It begins at once, not when the first result is asked for.

    Args:
        work: called in several threads.
        items: what it is called with.
        first: how many results may wait until one is asked for.
        depth: how many from then on; results that wait long are cold in the processor's cache.
    """

    def __init__(
        self, work: Callable[[In], Out], items: Iterable[In], first: int, depth: int
    ) -> None:
        self._work = work
        self._items = iter(items)
        self._depth = max(depth, 2 * cores())
        self._pool = ThreadPoolExecutor(cores(), "regraft-read")
        self._begun: deque[Future[Out]] = deque()
        self._begin(first)

    def __iter__(self) -> Iterator[Out]:
        while self._begun:
            self._begin(self._depth)
            done = self._begun.popleft()
            yield done.result()

    def __enter__(self) -> ReadAhead[In, Out]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, most: int) -> None:
        for item in islice(self._items, max(0, most - len(self._begun))):
            self._begun.append(self._pool.submit(self._work, item))
