"""Samples as a page can show them, bounded in size whatever the files hold."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from regraft.dataset import Sample, guard, images, video
from regraft.errors import UnreadableSample

LARGE_PX = 1280
SMALL_PX = 192
MOST_CHARACTERS = 50_000
_LOSSLESS_PX = 256 * 256
"""Pixels up to which a picture is sent without loss: small ones are looked at enlarged."""


@dataclass(frozen=True)
class Picture:
    """Encoded pixels.

    Attributes:
        data: the file.
        kind: its media type.
    """

    data: bytes
    kind: str


def picture_of(sample: Sample, roots: Sequence[Path], side_px: int = LARGE_PX) -> Picture:
    """A sample's picture, as a person would see it, at most `side_px` wide and high.

    Of a clip, four moments on one sheet.

    Args:
        sample: one whose source is a file.
        roots: the folders that the file must still be in one of.
        side_px: never enlarged to this.

    Raises:
        UnreadableSample: the file is gone, damaged, another one now, or outside of the folders.
    """
    assert isinstance(sample.source, Path)
    where = sample.id
    place = sample.source.resolve()
    if not any(place.is_relative_to(root.resolve()) for root in roots):
        raise UnreadableSample("The file leads out of the data now.", where=where)
    if video.claims_video(sample.source):
        return _encoded(_sheet(sample, sample.source, side_px))
    data = guard.read_file(sample.source)
    if sample.sha256 and hashlib.sha256(data).hexdigest() != sample.sha256:
        raise UnreadableSample(
            "The file was changed after it was read.", where=where, mend="start the review again"
        )
    image = images.decode_bytes(data, where, sample.source.suffix)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return _encoded(image)


def _sheet(sample: Sample, source: Path, side_px: int) -> Image.Image:
    """Four moments of a clip, from left to right and down."""
    where = sample.id
    _, span_s = video.parted(sample.id)
    start_s, stop_s = span_s or (0.0, math.inf)
    if math.isinf(stop_s):
        stop_s = video.examine(source, where).seconds
    frames = list(video.stills(source, where, video.moments((start_s, stop_s), 4)))
    for frame in frames:
        frame.thumbnail((side_px // 2, side_px // 2), Image.Resampling.LANCZOS)
    width_px, height_px = frames[0].size
    sheet = Image.new("RGB", (2 * width_px, 2 * height_px))
    for n, frame in enumerate(frames):
        sheet.paste(frame, (n % 2 * width_px, n // 2 * height_px))
    return sheet


def _encoded(image: Image.Image) -> Picture:
    encoded = BytesIO()
    if image.width * image.height <= _LOSSLESS_PX:
        image.save(encoded, "PNG", compress_level=1)
        return Picture(encoded.getvalue(), "image/png")
    image.save(encoded, "JPEG", quality=90)
    return Picture(encoded.getvalue(), "image/jpeg")


def text_of(sample: Sample) -> tuple[str, bool]:
    """A sample's text, and whether it was cut to `MOST_CHARACTERS`."""
    assert isinstance(sample.source, str)
    return sample.source[:MOST_CHARACTERS], len(sample.source) > MOST_CHARACTERS
