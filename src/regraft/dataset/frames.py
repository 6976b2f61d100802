"""Pictures to look at, one after the other: files, and the frames of videos."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from regraft.dataset import guard, images, video
from regraft.errors import UnreadableSample


def frames(
    paths: Iterable[Path], every_s: float
) -> Iterator[tuple[str, Image.Image | UnreadableSample]]:
    """Names and pictures, or what speaks against one; no more than two are in memory.

    Args:
        paths: pictures and videos.
        every_s: of a video, one frame in so many seconds, from the first on.

    Yields:
        the path, for a frame with its time ("walk.mp4@12.00s"), and the picture, mode RGB.
    """
    for path in paths:
        if video.claims_video(path):
            yield from _stills(path, every_s)
            continue
        try:
            yield str(path), images.decode(path)
        except UnreadableSample as fault:
            yield str(path), fault


def _stills(path: Path, every_s: float) -> Iterator[tuple[str, Image.Image | UnreadableSample]]:
    try:
        found = video.examine(path, guard.shown(path))
        # A frame at the very end is none: lengths are sums of many durations.
        count = max(1, math.ceil(found.seconds / every_s - 0.01))
        times_s = [number * every_s for number in range(count)]
        for time_s, still in zip(
            times_s, video.stills(path, guard.shown(path), times_s), strict=True
        ):
            yield f"{path}@{time_s:.2f}s", still
    except UnreadableSample as fault:
        yield str(path), fault
