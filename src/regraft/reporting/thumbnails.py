"""Small JPEGs of what a page shows: pictures, and film strips of clips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from regraft import dataset as data_sets
from regraft.errors import UnreadableSample
from regraft.reporting import detection
from regraft.reporting.drawing import jpeg

STRIP = 5
"""Frames in a film strip."""


def of_fit(root: Path, report: Mapping[str, Any], size_px: int = 128) -> dict[str, bytes]:
    """Small JPEGs of the samples that the report shows; those that are gone are left out."""
    if "detection" in report:
        return detection.pictures(root if root.is_dir() else root.parent, report["detection"])
    entries = (*report["most_wrong"], *report["least_certain"])
    return of_samples(root, report["task"], entries, size_px)


def of_samples(
    root: Path,
    task: str,
    entries: Iterable[Mapping[str, Any]],
    size_px: int = 128,
    frames: int = STRIP,
) -> dict[str, bytes]:
    """Small JPEGs of pictures, film strips of clips, nothing of texts; by "sample" of the entries.

    Those that are gone are left out.

    Args:
        root: the data.
        task: a name such as "image-classification".
        entries: with "sample" and, where that is not its place below the data, "file".
        size_px: the longer side of a picture, the side of a frame.
        frames: in a film strip.
    """
    found: dict[str, bytes] = {}
    if task not in _SHOW:
        return found
    folder = root if root.is_dir() else root.parent
    for entry in entries:
        try:
            picture = _SHOW[task](folder, entry, size_px, frames)
        except (UnreadableSample, OSError):
            continue
        found[entry["sample"]] = jpeg(picture, 80)
    return found


def _show_picture(folder: Path, entry: Mapping[str, Any], size_px: int, frames: int) -> Image.Image:
    picture = data_sets.images.decode(folder / entry.get("file", entry["sample"]))
    picture.thumbnail((size_px, size_px))
    return picture


def _show_clip(folder: Path, entry: Mapping[str, Any], size_px: int, frames: int) -> Image.Image:
    name, span_s = data_sets.video.parted(entry["sample"])
    return _film_strip(folder / entry.get("file", name), span_s, size_px, frames)


def _film_strip(
    path: Path, span_s: tuple[float, float] | None, size_px: int, count: int = STRIP
) -> Image.Image:
    """Some frames of a clip side by side, each in a square.

    Raises:
        UnreadableSample: the file cannot be decoded.
    """
    start_s, stop_s = span_s or (0.0, math.inf)
    if math.isinf(stop_s):
        stop_s = data_sets.clips.examined(path, path.name)[1].seconds
    strip = Image.new("RGB", (count * size_px + (count - 1) * 2, size_px), "white")
    times_s = data_sets.video.moments((start_s, stop_s), count)
    for place, frame in enumerate(data_sets.video.stills(path, path.name, times_s)):
        square = data_sets.views.square(frame, size_px, 1.0, "bilinear", data_sets.View(), "")
        strip.paste(Image.fromarray(square), (place * (size_px + 2), 0))
    return strip


_SHOW = {"image-classification": _show_picture, "video-classification": _show_clip}
