"""The frames of clips: decoded once, at the size that networks want, and kept with a limit.

Decisions:

- A clip's canvas is some frames, evenly spread over it, each the middle square at the side that
  the plain view is cut from: uint8 (frames, side, side, 3). Views are cut from canvases, the same
  way for all frames of a clip.
- A canvas is one sealed file under the clip's checksum, the number of frames and the side. What
  is damaged is set aside and decoded again.
- Canvases have a limit of their own (`REGRAFT_FRAMES_LIMIT`). The one used longest ago goes first,
  but none that was used within the last hour: where more is wanted at once than fits, the rest is
  decoded each time, instead of each clip pushing out the next. That there is no room is noted in
  the folder, for all processes, and believed for a minute: to look through all files for each clip
  that is not kept would cost as much as decoding it.

Legend: t frames, s side in pixels.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from regraft import store
from regraft.backbones import Preprocessing
from regraft.dataset import Sample, View, clips, video
from regraft.dataset.views import square
from regraft.errors import Damaged, DataError, UnreadableSample
from regraft.transfer import sources
from regraft.transfer.cache import bytes_allowed, frames_folder

_IN_USE_S = 3600.0
_FULL, _FULL_S = "full", 60.0
"""The note that there is no room, and for how long it holds."""


def views_of(
    sample: Sample, views: Sequence[View], preprocessing: Preprocessing
) -> list[np.ndarray]:
    """Views of a clip as a network takes it: for each uint8 (frames, size_px, size_px, 3).

    Raises:
        DataError: the file can no longer be read, or is not the one that was hashed.
    """
    p, side_px, key = preprocessing, canvas_px(preprocessing), sample.sha256
    frames = [Image.fromarray(frame_ssc) for frame_ssc in canvas(sample, p.frames, side_px)]
    crop = p.size_px / side_px
    return [
        np.stack([square(f, p.size_px, crop, p.interpolation, view, key) for f in frames])
        for view in views
    ]


def canvas_px(preprocessing: Preprocessing) -> int:
    """Side of the canvas whose middle, pixel for pixel, is the plain view."""
    size_px = preprocessing.size_px
    return size_px + 2 * round((size_px / preprocessing.crop - size_px) / 2)


def canvas(sample: Sample, count: int, side_px: int) -> np.ndarray:
    """Frames of a clip, evenly spread, from the cache or into it.

    Returns:
        uint8 (count, side_px, side_px, 3).

    Raises:
        DataError: the file can no longer be read, or is not the one that was hashed.
        StoreError: the cache cannot be written.
    """
    kept = frames_folder() / f"{_key(sample, count, side_px)}.frames"
    shape = (count, side_px, side_px, 3)
    try:
        data = store.read_sealed(kept)
        with suppress(FileNotFoundError):
            os.utime(kept)
        return np.frombuffer(data, np.uint8).reshape(shape).copy()
    except FileNotFoundError:
        pass
    except Damaged:
        store.quarantine(kept)
    found = decoded(sample, count, side_px)
    if _room_for(kept.parent, found.nbytes):
        store.commit_sealed(kept, found.tobytes())
    return found


def decoded(sample: Sample, count: int, side_px: int) -> np.ndarray:
    """The same, from the file itself."""
    assert isinstance(sample.source, Path) and sample.span_s is not None, sample
    try:
        if clips.content(store.remembered_sha256(sample.source), sample.span_s) != sample.sha256:
            raise DataError(
                "the file has changed since the data set was read",
                where=sample.id,
                mend="repeat the command while nothing else writes there",
            )
        return squares(sample.source, sample.id, video.moments(sample.span_s, count), side_px)
    except (UnreadableSample, FileNotFoundError) as fault:
        what = fault.what if isinstance(fault, UnreadableSample) else "it is gone"
        raise DataError(
            f"the clip could be read before, but not any more: {what}",
            where=sample.id,
            mend="copy it again from where it came, or take it out",
        ) from fault


def squares(path: Path, where: str, times_s: Sequence[float], side_px: int) -> np.ndarray:
    """The middle squares of frames, uint8 (t, side_px, side_px, 3).

    Raises:
        UnreadableSample: the file cannot be decoded.
    """
    found = np.empty((len(times_s), side_px, side_px, 3), np.uint8)
    for place, image in enumerate(video.stills(path, where, times_s)):
        found[place] = square(image, side_px, 1.0, "bicubic", View(), "")
    return found


def facts() -> dict[str, store.Json]:
    """What can change the bits of a frame, besides the file, the moment and the side."""
    return {
        "code": sources.code(sources.FRAMES),
        "av": str(video.import_av().__version__),
        "pillow": PIL.__version__,
    }


def _key(sample: Sample, count: int, side_px: int) -> str:
    return store.digest(store.canonical(facts()), sample.sha256, f"{count} {side_px}")[:32]


def _room_for(folder: Path, more_bytes: int) -> bool:
    """Whether there is room, after what was not used for long has gone."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / _FULL
    with suppress(FileNotFoundError):
        if time.time() - note.stat().st_mtime < _FULL_S:
            return False
    files: list[tuple[float, int, str]] = []
    for path in folder.glob("*.frames"):
        # Another thread or process may send it away at any moment.
        with suppress(FileNotFoundError):
            status = path.stat()
            files.append((status.st_mtime, status.st_size, str(path)))
    total = sum(size for _, size, _ in files) + more_bytes
    most = bytes_allowed("REGRAFT_FRAMES_LIMIT", total - more_bytes)
    for used, size, path in sorted(files):
        if total <= most or time.time() - used < _IN_USE_S:
            break
        Path(path).unlink(missing_ok=True)
        total -= size
    if total > most:
        with suppress(OSError):  # on a full disk, or where another process clears the cache
            note.touch()
    return total <= most
