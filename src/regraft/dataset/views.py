"""Views: from a picture in RGB to the square of pixels that a network takes.

Decisions:

- One resampling. Cropping, scaling and random cropping are one `resize(box=…)`, so that a view
  costs the same as none and is never resampled twice. Colour is one 3×4 matrix.
- View 0 is the plain one: shorter side to `size_px / crop`, middle square.

Legend: k boxes; c channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from regraft.dataset.images import Box, Pixels
from regraft.seeds import generator

_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a picture.

    Attributes:
        index: 0 is the plain view; k > 0 is the k-th random draw, a pure function of the
            picture's key and k.
        crop: the smallest share of the area that a random crop keeps; 1.0 keeps the plain crop.
        mirror: whether left and right may be exchanged.
        colour: brightness, contrast and saturation are each multiplied by 1 ± up to this.
    """

    index: int = 0
    crop: float = 1.0
    mirror: bool = False
    colour: float = 0.0


def squeezed(image: Image.Image, size_px: int, interpolation: str) -> Pixels:
    """All of a picture in a square, whatever its shape: uint8 (size_px, size_px, 3)."""
    width_px, height_px = image.size
    return np.array(_resized(image, size_px, interpolation, (0.0, 0.0, width_px, height_px)))


def square(
    image: Image.Image, size_px: int, crop: float, interpolation: str, view: View, key: str
) -> Pixels:
    """The square of pixels that a network takes.

    Args:
        image: mode RGB, any size.
        size_px: side of the square.
        crop: share of the shorter side that the plain view keeps, in (0, 1].
        interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming".
        view: plain or a random draw. A random crop takes a share of the area, evenly between
            `view.crop` and 1, at an aspect ratio between 3:4 and 4:3, as in Szegedy et al.,
            "Going deeper with convolutions", 2015.
        key: names the picture in random draws; its sha256.

    Returns:
        uint8 of shape (size_px, size_px, 3).
    """
    box = _plain_box(image.size, size_px / round(size_px / crop))
    if view.index == 0:
        return np.array(_resized(image, size_px, interpolation, box))
    random = generator(0, "view", key, view.index)
    # All draws are made, used or not: mirroring must not depend on whether there is a crop.
    draws = random.random(8)
    if view.crop < 1.0:
        box = _random_box(image.size, view.crop, draws[:4])
    result = _resized(image, size_px, interpolation, box)
    if view.mirror and draws[4] < 0.5:
        result = result.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if view.colour > 0.0:
        result = _coloured(result, 1.0 + view.colour * (2.0 * draws[5:8] - 1.0))
    return np.array(result)


@dataclass(frozen=True, slots=True)
class Placement:
    """The square of a picture's plane that becomes the network's input.

    Attributes:
        left: of the square, in pixels of the picture; it may begin outside.
        top: likewise.
        side: of the square, in pixels of the picture.
        mirror: left and right are swapped.
    """

    left: float
    top: float
    side: float
    mirror: bool = False

    def onto(self, boxes_k4: npt.NDArray[np.float32], size_px: int) -> npt.NDArray[np.float32]:
        """Boxes of the picture as the input of `size_px` pixels a side has them; not clipped."""
        scale = size_px / self.side
        shifted_k4 = (boxes_k4 - np.array([self.left, self.top] * 2, np.float32)) * scale
        if self.mirror:
            shifted_k4[:, [0, 2]] = size_px - shifted_k4[:, [2, 0]]
        return shifted_k4.astype(np.float32)

    def back(self, boxes_k4: npt.NDArray[np.float32], size_px: int) -> npt.NDArray[np.float32]:
        """The inverse of `onto`."""
        boxes_k4 = boxes_k4.copy()
        if self.mirror:
            boxes_k4[:, [0, 2]] = size_px - boxes_k4[:, [2, 0]]
        scale = self.side / size_px
        return (boxes_k4 * scale + np.array([self.left, self.top] * 2)).astype(np.float32)


def placement(size: tuple[int, int], view: View, key: str) -> Placement:
    """Which part of a picture a view shows where the picture stays whole.

    Args:
        size: width and height in pixels.
        view: the plain one shows all, in the middle of the square. A random one has a side
            between `view.crop` and 1 / `view.crop` of that, at a random place: within the picture
            where it is smaller, around it where it is larger.
        key: names the picture in random draws; its sha256.
    """
    side = float(max(size))
    if view.index == 0:
        return Placement((size[0] - side) / 2, (size[1] - side) / 2, side)
    draws = generator(0, "view", key, view.index).random(8)
    side *= math.exp(math.log(view.crop) * (1 - 2 * draws[0]))
    left, top = ((length - side) * draw for length, draw in zip(size, draws[2:4], strict=True))
    return Placement(left, top, side, view.mirror and bool(draws[4] < 0.5))


def framed(image: Image.Image, size_px: int, interpolation: str, view: View, key: str) -> Pixels:
    """What `placement` says, as the network takes it; outside of the picture it is black.

    Returns:
        uint8 of shape (size_px, size_px, 3).
    """
    shown = placement(image.size, view, key)
    scale = size_px / shown.side
    target: list[int] = []
    source: list[float] = []
    for begin, length in zip((shown.left, shown.top), image.size, strict=True):
        low = max(0, round(-begin * scale))
        high = max(low + 1, min(size_px, round((length - begin) * scale)))
        target += [low, high]
        source += [max(0.0, begin + low / scale), min(float(length), begin + high / scale)]
    x0, x1, y0, y1 = target
    box = (source[0], source[2], source[1], source[3])
    method = Image.Resampling[interpolation.upper()]
    part = image.resize((x1 - x0, y1 - y0), method, box=box)
    if view.index and view.colour > 0.0:
        draws = generator(0, "view", key, view.index).random(8)
        part = _coloured(part, 1.0 + view.colour * (2.0 * draws[5:8] - 1.0))
    pixels = np.zeros((size_px, size_px, 3), dtype=np.uint8)
    pixels[y0:y1, x0:x1] = np.asarray(part)
    return np.ascontiguousarray(pixels[:, ::-1]) if shown.mirror else pixels


def _resized(image: Image.Image, size_px: int, interpolation: str, box: Box) -> Image.Image:
    method = Image.Resampling[interpolation.upper()]
    return image.resize((size_px, size_px), method, box=box)


def _plain_box(size: tuple[int, int], share: float) -> Box:
    width_px, height_px = size
    side = min(size) * share
    left, top = (width_px - side) / 2, (height_px - side) / 2
    return left, top, left + side, top + side


def _random_box(size: tuple[int, int], crop: float, draws: npt.NDArray[np.float64]) -> Box:
    width_px, height_px = size
    area = width_px * height_px * (crop + (1 - crop) * draws[0])
    aspect = math.exp(math.log(4 / 3) * (2 * draws[1] - 1))
    width = min(float(width_px), math.sqrt(area * aspect))
    height = min(float(height_px), math.sqrt(area / aspect))
    left, top = (width_px - width) * draws[2], (height_px - height) * draws[3]
    return left, top, min(left + width, width_px), min(top + height, height_px)


def _coloured(image: Image.Image, factors: npt.NDArray[np.float64]) -> Image.Image:
    """Brightness, then contrast about the mean grey, then saturation, as one affine map."""
    brightness, contrast, saturation = (float(factor) for factor in factors)
    mean_grey = float(np.asarray(image.convert("L")).mean())
    gain = brightness * contrast
    offset = (1 - contrast) * brightness * mean_grey
    matrix: list[float] = []
    for row in range(3):
        matrix += [gain * ((1 - saturation) * grey + saturation * (row == c))
                   for c, grey in enumerate(_GREY)]  # fmt: skip
        matrix.append(offset)
    return image.convert("RGB", tuple(matrix))
