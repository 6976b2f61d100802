"""Samples as a page can show them, bounded in size whatever the files hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from regraft.dataset import Sample, guard, images
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

    Args:
        sample: one whose source is a file.
        roots: the folders that the file must still be in one of.
        side_px: never enlarged to this.

    Raises:
        UnreadableSample: the file is gone, damaged, another one now, or outside of the folders.
    """
    assert isinstance(sample.source, Path)
    where = guard.shown(sample.id)
    place = sample.source.resolve()
    if not any(place.is_relative_to(root.resolve()) for root in roots):
        raise UnreadableSample("The file leads out of the data now.", where=where)
    data = guard.read_file(sample.source)
    if sample.sha256 and hashlib.sha256(data).hexdigest() != sample.sha256:
        raise UnreadableSample(
            "The file was changed after it was read.", where=where, mend="start the review again"
        )
    image = images.decode_bytes(data, where, sample.source.suffix)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
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
