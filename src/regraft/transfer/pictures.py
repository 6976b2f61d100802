"""From samples to what a network takes, on all cores, ahead of who needs it.

A picture becomes pixels, a text token ids.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar, final

import numpy as np
from PIL import Image

from regraft.backbones import Backbone, Preprocessing
from regraft.dataset import Sample, View, images
from regraft.dataset.guard import read_file, shown
from regraft.errors import DataError, UnreadableSample
from regraft.machine import cores
from regraft.transfer import clips
from regraft.transfer.tokens import token_ids

PLAIN = View()

In = TypeVar("In")
Out = TypeVar("Out")


def look(sample: Sample, views: Sequence[View], backbone: Backbone) -> list[np.ndarray]:
    """Views of a sample as the network takes them; a file is read and decoded once.

    Returns:
        for each view of a picture uint8 (size_px, size_px, 3); of a clip (frames, size_px,
        size_px, 3); of a text int32 (tokens,).

    Raises:
        DataError: the file can no longer be read, or is not the one that was hashed.
    """
    if not isinstance(backbone.preprocessing, Preprocessing):
        assert isinstance(sample.source, str), sample
        return [token_ids(sample.source, backbone)] * len(views)
    if backbone.frames:
        return clips.views_of(sample, views, backbone.preprocessing)
    return _look(sample, views, backbone.preprocessing)


def squeezed(sample: Sample, size_px: int, interpolation: str) -> np.ndarray:
    """All of a picture in a square, uint8 (size_px, size_px, 3); raises as `look` does."""
    return images.squeezed(_opened(sample), size_px, interpolation)


def _look(sample: Sample, views: Sequence[View], preprocessing: Preprocessing) -> list[np.ndarray]:
    image = _opened(sample)
    return [pixels_of(image, preprocessing, view, sample.view_key) for view in views]


def _opened(sample: Sample) -> Image.Image:
    """The picture, or the part of it that the sample is."""
    assert isinstance(sample.source, Path), sample
    try:
        data = read_file(sample.source)
        if hashlib.sha256(data).hexdigest() != sample.sha256:
            raise DataError(
                "the file has changed since the data set was read",
                where=sample.id,
                mend="repeat the command while nothing else writes there",
            )
        image = images.decode_bytes(data, shown(sample.source), sample.source.suffix)
    except UnreadableSample as fault:
        raise DataError(
            f"the picture could be read before, but not any more: {fault.what}",
            where=sample.id,
            mend=fault.mend or "copy it again from where it came, or take it out",
        ) from fault
    return image if sample.window is None else image.crop(sample.window)


def pixels_of(
    image: Image.Image, preprocessing: Preprocessing, view: View = PLAIN, key: str = ""
) -> np.ndarray:
    """A view of a picture as the network takes it: uint8 (size_px, size_px, 3)."""
    p = preprocessing
    if p.whole:
        return images.framed(image, p.size_px, p.interpolation, view, key)
    return images.square(image, p.size_px, p.crop, p.interpolation, view, key)


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
