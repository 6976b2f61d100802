"""Pictures to look at, one after the other: files, and the frames of videos."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from PIL import Image

from regraft.dataset import clips, guard, images, video
from regraft.errors import UnreadableSample
from regraft.events import Advanced, Tell, silent


@final
@dataclass(frozen=True)
class Frame:
    """A picture, or what speaks against it.

    Attributes:
        name: the path, for a frame with its time ("walk.mp4@12.00s").
        picture: mode RGB.
        damage: on the last frame of a video, what the video lacks, sentence by sentence.
    """

    name: str
    picture: Image.Image | UnreadableSample
    damage: tuple[str, ...] = ()


def frames(paths: Iterable[Path], every_s: float, tell: Tell = silent) -> Iterator[Frame]:
    """Pictures, or what speaks against one; no more than two are in memory.

    Args:
        paths: pictures and videos.
        every_s: of a video, one frame in so many seconds, from the first on.
        tell: hears how far a long video is read, and how many of its frames were given.
    """
    for path in paths:
        if video.claims_video(path):
            yield from _stills(path, every_s, tell)
            continue
        try:
            yield Frame(str(path), images.decode(path))
        except UnreadableSample as fault:
            yield Frame(str(path), fault)


def _stills(path: Path, every_s: float, tell: Tell) -> Iterator[Frame]:
    try:
        found = video.examine(path, guard.shown(path), tell)
        # A frame at the very end is none: lengths are sums of many durations.
        count = max(1, math.ceil(found.seconds / every_s - 0.01))
        times_s = [number * every_s for number in range(count)]
        damage = tuple(problem.what for problem in clips.complaints(path.name, found))
        stills = video.stills(path, guard.shown(path), times_s)
        for number, (time_s, still) in enumerate(zip(times_s, stills, strict=True), 1):
            yield Frame(f"{path}@{time_s:.2f}s", still, damage if number == count else ())
            tell(Advanced(f"predicting {guard.shown(path.name)}, in frames", number, count))
    except UnreadableSample as fault:
        yield Frame(str(path), fault)
