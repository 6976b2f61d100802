"""The pool as arrays of one shape: in memory where they fit, else decoded again for each batch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import final

import numpy as np

from regraft.events import Advanced, Tell
from regraft.machine import cores
from regraft.transfer.ahead import ReadAhead

POOL_BYTES = 2 * 2**30


@final
class Decoded:
    """Samples by their number.

    Args:
        decode: the array of one sample, uint8; called from several threads at once.
        shape: of all of them; the first is how many there are.
        tell: hears how far the first pass is.
        always: decode all of them at once even where they do not fit, because what `decode` reads
            is faster the second time.
    """

    def __init__(
        self,
        decode: Callable[[int], np.ndarray],
        shape: tuple[int, ...],
        tell: Tell,
        *,
        always: bool = False,
    ) -> None:
        self._decode, self._shape = decode, shape
        self._threads = ThreadPoolExecutor(cores())
        fits = int(np.prod(shape)) <= POOL_BYTES
        self._kept = np.empty(shape, np.uint8) if fits else None
        if fits or always:
            # Some ahead, not all: what is done and not yet taken is in memory beside what is kept.
            with ReadAhead(decode, range(shape[0]), cores(), cores()) as ahead:
                for i, one in enumerate(ahead):
                    if self._kept is not None:
                        self._kept[i] = one
                    tell(Advanced("decoding", i + 1, shape[0]))

    def rows(self, index_b: np.ndarray) -> np.ndarray:
        """Some of them: uint8 (b, …)."""
        if self._kept is not None:
            return self._kept[index_b]
        rows_b = np.empty((len(index_b), *self._shape[1:]), np.uint8)

        def put(place: int) -> None:  # here at once: a list of all would be a second copy
            rows_b[place] = self._decode(int(index_b[place]))

        list(self._threads.map(put, range(len(index_b))))
        return rows_b

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)
