"""Views of a batch of pictures: one affine warp, one colour matrix and one blur for each sample.

Everything is drawn per sample and applied to the whole batch as tensors, on any device. The warp
joins crop, scale and mirror in one resampling; the matrix joins brightness, contrast, saturation,
hue and grey; the blur is two matrix products. Ranges and chances are those of MoCo v2 (Chen et
al., "Improved baselines with momentum contrastive learning", 2020), whose recipe follows SimCLR
(Chen et al. 2020) with half its strength of colour:

    crop        aspect 3:4 to 4:3, 20 % of the area to as much as fits (less of a picture that is
                longer than 5:1), anywhere (Szegedy et al. 2015)
    mirror      left and right, one in two
    colour      four in five: brightness, contrast, saturation times 0.6 to 1.4; hue turned by up
                to 36° (0.1 of the circle), about the grey axis in YIQ
    grey        one in five
    blur        one in two: Gaussian, sigma 0.1 to 2.0 pixels at 224, in proportion at other sizes

Colour is applied in one order (hue, saturation, contrast, brightness), where the sources shuffle
it; and contrast turns about the mean grey of the tile.

Legend: b pictures, h w rows and columns of a tile, c colours, t tiles drawn together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

GREY = (0.299, 0.587, 0.114)
_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@dataclass(frozen=True)
class Ranges:
    """What a view may do; see the head of this file.

    Attributes:
        area: the smallest share of the area that a crop keeps, where so much fits.
        aspect: the widest aspect; the narrowest is one over it.
        mirror: chance of it.
        colour: how far brightness, contrast and saturation may go from 1.
        hue: how far hue may be turned, in parts of the circle.
        coloured: chance of any change of colour.
        grey: chance of it.
        blur: chance of it.
        sigma_px: of the blur, smallest and largest, at 224 px.
    """

    area: float = 0.2
    aspect: float = 4 / 3
    mirror: float = 0.5
    colour: float = 0.4
    hue: float = 0.1
    coloured: float = 0.8
    grey: float = 0.2
    blur: float = 0.5
    sigma_px: tuple[float, float] = (0.1, 2.0)


LEAST_WEIGHT = 1e-8
"""Of a blur, in parts of the middle's."""
DRAWS = 14
"""Random numbers that one view takes."""


def augmented(
    pixels_bhwc: Tensor,
    draws_bk: np.ndarray,
    size_px: int,
    ranges: Ranges | None = None,
    aspect_b: np.ndarray | None = None,
) -> Tensor:
    """One random view of each picture.

    Args:
        pixels_bhwc: uint8 (B, H, W, 3), or (B, T, H, W, 3): the T frames of a picture all get
            the same view.
        draws_bk: in 0…1, shape (B, DRAWS); the view is a pure function of a row.
        size_px: side of the views.
        ranges: what they may do.
        aspect_b: width over height of what each picture shows, where that was squeezed into a
            square; a tile shows it as it was. None is 1.

    Returns:
        float32 (B, 3, size_px, size_px) in 0…1; with frames (B * T, 3, size_px, size_px).
    """
    ranges = ranges or Ranges()
    frames = pixels_bhwc.shape[1] if pixels_bhwc.ndim == 5 else 1
    flat = pixels_bhwc.reshape(-1, *pixels_bhwc.shape[-3:])
    x = flat.permute(0, 3, 1, 2).to(torch.float32) / 255
    # Draws are few and made into tables on the CPU, so that every device gets the same numbers.
    u = torch.from_numpy(draws_bk.astype(np.float32)).repeat_interleave(frames, dim=0)
    shown_b = np.ones(len(draws_bk)) if aspect_b is None else aspect_b
    shown = torch.from_numpy(shown_b.astype(np.float32)).repeat_interleave(frames)
    x = _warped(x, _boxes(u, shown, ranges), size_px)
    x = _coloured(x, u, ranges)
    return _blurred(x, u, ranges, size_px).clamp(0, 1)


def _boxes(u: Tensor, shown: Tensor, ranges: Ranges) -> Tensor:
    """Affine matrices (B, 2, 3) from the view's -1…1 to the picture's, whose aspect is `shown`."""
    aspect = torch.exp(math.log(ranges.aspect) * (2 * u[:, 1] - 1))
    most = torch.minimum(aspect / shown, shown / aspect)
    least = most.clamp(max=ranges.area)
    area = least + (most - least) * u[:, 0]
    width = torch.sqrt(area * aspect / shown).clamp(max=1)  # for what rounding adds
    height = torch.sqrt(area / aspect * shown).clamp(max=1)
    mirrored = 1 - 2 * (u[:, 4] < ranges.mirror).float()
    theta = torch.zeros(len(u), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * mirrored, height
    theta[:, 0, 2] = (1 - width) * (2 * u[:, 2] - 1)
    theta[:, 1, 2] = (1 - height) * (2 * u[:, 3] - 1)
    return theta


def _warped(x: Tensor, theta: Tensor, size_px: int) -> Tensor:
    grid = functional.affine_grid(
        theta.to(x.device), [len(x), 3, size_px, size_px], align_corners=False
    )
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _coloured(x: Tensor, u: Tensor, ranges: Ranges) -> Tensor:
    """One 3×3 matrix and one offset for each sample."""
    jitter = (u[:, 5] < ranges.coloured).float()
    brightness, contrast, saturation = (
        1 + jitter * ranges.colour * (2 * u[:, k] - 1) for k in (6, 7, 8)
    )
    saturation = torch.where(u[:, 10] < ranges.grey, 0.0, saturation)
    grey = torch.tensor(GREY)
    turn = _hue(2 * math.pi * jitter * ranges.hue * (2 * u[:, 9] - 1))
    keep = saturation[:, None, None] * torch.eye(3)
    mix = (keep + (1 - saturation)[:, None, None] * grey.expand(3, 3)) @ turn
    mean = x.mean(dim=(2, 3)) @ grey.to(x.device)
    matrix = (mix * (brightness * contrast)[:, None, None]).to(x.device)
    offset = ((1 - contrast) * brightness).to(x.device) * mean
    flat = torch.baddbmm(offset[:, None, None], matrix, x.flatten(2))
    return flat.view_as(x).clamp(0, 1)


def _hue(angle_b: Tensor) -> Tensor:
    """Turns about the grey axis, (B, 3, 3)."""
    to = torch.tensor(_TO_YIQ)
    turn = torch.eye(3).repeat(len(angle_b), 1, 1)
    turn[:, 1, 1], turn[:, 1, 2] = angle_b.cos(), -angle_b.sin()
    turn[:, 2, 1], turn[:, 2, 2] = angle_b.sin(), angle_b.cos()
    return torch.linalg.inv(to) @ turn @ to


def _blurred(x: Tensor, u: Tensor, ranges: Ranges, size_px: int) -> Tensor:
    some = torch.nonzero(u[:, 11] < ranges.blur)[:, 0]
    if not len(some):
        return x
    low, high = (sigma * size_px / 224 for sigma in ranges.sigma_px)
    sigma = (low + (high - low) * u[some, 12]).clamp(min=1e-3)
    at = torch.arange(size_px, dtype=torch.float32)
    kernel = torch.exp(-((at[:, None] - at[None, :]) ** 2) / (2 * sigma[:, None, None] ** 2))
    # What is next to nothing is made nothing: products of such numbers cannot be held in full
    # precision, and a processor takes ten times as long over them.
    kernel = torch.where(kernel < LEAST_WEIGHT, 0.0, kernel)
    kernel = (kernel / kernel.sum(dim=2, keepdim=True)).to(x.device)
    # Rows first, then columns; weights at the border are scaled up instead of reflected.
    kernel = kernel.repeat_interleave(x.shape[1], dim=0)
    planes = x[some.to(x.device)].flatten(0, 1)
    blurred = kernel @ planes @ kernel.transpose(1, 2)
    return x.index_copy(0, some.to(x.device), blurred.unflatten(0, (-1, x.shape[1])))
