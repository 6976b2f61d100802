"""From samples to what a network takes: a picture becomes pixels, a text token ids."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from regraft.backbones import Backbone, Preprocessing
from regraft.dataset import Sample, View, images, views
from regraft.dataset.guard import read_file, shown
from regraft.errors import DataError, UnreadableSample
from regraft.transfer import clips
from regraft.transfer.tokens import token_ids

PLAIN = View()


def look(sample: Sample, views: Sequence[View], backbone: Backbone) -> list[np.ndarray]:
    """Views of a sample as the network takes them; see `look_at_parts`."""
    return look_at_parts([(sample, views)], backbone)


def look_at_parts(
    parts: Sequence[tuple[Sample, Sequence[View]]], backbone: Backbone
) -> list[np.ndarray]:
    """Views of samples, one after the other; their file is read and decoded once.

    Args:
        parts: of one picture, with the views of each; of anything else a single sample.
        backbone: takes them.

    Returns:
        for each view of a picture uint8 (size_px, size_px, 3); of a clip (frames, size_px,
        size_px, 3); of a text int32 (tokens,).

    Raises:
        DataError: the file can no longer be read, or is not the one that was hashed.
    """
    sample, views = parts[0]
    if not isinstance(backbone.preprocessing, Preprocessing):
        assert isinstance(sample.source, str), sample
        return [token_ids(sample.source, backbone)] * len(views)
    if backbone.frames:
        return clips.views_of(sample, views, backbone.preprocessing)
    picture = _opened(sample)
    return [
        pixels_of(seen, backbone.preprocessing, view, part.view_key)
        for part, views in parts
        for seen in [_part(picture, part)]
        for view in views
    ]


def squeezed(sample: Sample, size_px: int, interpolation: str) -> np.ndarray:
    """All of a picture in a square, uint8 (size_px, size_px, 3); raises as `look` does."""
    return views.squeezed(_part(_opened(sample), sample), size_px, interpolation)


def _part(picture: Image.Image, sample: Sample) -> Image.Image:
    """The picture, or the part of it that the sample is."""
    return picture if sample.window is None else picture.crop(sample.window)


def _opened(sample: Sample) -> Image.Image:
    """All of the picture that a sample is, or is a part of."""
    assert isinstance(sample.source, Path), sample
    try:
        data = read_file(sample.source)
        if hashlib.sha256(data).hexdigest() != sample.sha256:
            raise DataError(
                "the file has changed since the data set was read",
                where=sample.id,
                mend="repeat the command while nothing else writes there",
            )
        return images.decode_bytes(data, shown(sample.source), sample.source.suffix)
    except UnreadableSample as fault:
        raise DataError(
            f"the picture could be read before, but not any more: {fault.what}",
            where=sample.id,
            mend=fault.mend or "copy it again from where it came, or take it out",
        ) from fault


def pixels_of(
    image: Image.Image, preprocessing: Preprocessing, view: View = PLAIN, key: str = ""
) -> np.ndarray:
    """A view of a picture as the network takes it: uint8 (size_px, size_px, 3)."""
    p = preprocessing
    if p.whole:
        return views.framed(image, p.size_px, p.interpolation, view, key)
    return views.square(image, p.size_px, p.crop, p.interpolation, view, key)
