"""Boxes drawn onto pictures: blue and solid where right, orange and dashed where wrong.

The two differ in more than colour, for those who cannot tell colours apart and for print.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    from regraft.dataset import Sample

Edges = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

RIGHT = (10, 92, 214)
WRONG = (232, 94, 0)
_HALO = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Mark:
    """A box to draw.

    Attributes:
        edges: in pixels of the picture.
        text: written at its upper left corner; "" for nothing.
        wrong: how it is drawn.
    """

    edges: Edges
    text: str = ""
    wrong: bool = False


def drawn(
    picture: Image.Image, marks: Sequence[Mark], longest_px: int | None = None
) -> Image.Image:
    """A copy of the picture with boxes on it.

    Args:
        picture: mode RGB.
        marks: the later ones lie on top.
        longest_px: the longer side of the copy at most; None keeps the size.
    """
    from PIL import ImageDraw, ImageFont

    copy = picture.copy()
    if longest_px is not None:
        copy.thumbnail((longest_px, longest_px))
    scale = (copy.width / picture.width, copy.height / picture.height)
    thing_px = _usual_px(marks) * scale[0]
    width_px = max(2, round(min(max(copy.size) / 240, thing_px / 12)))
    brush = ImageDraw.Draw(copy)
    font = ImageFont.load_default(max(11, round(min(max(copy.size) / 45, thing_px / 2))))
    for mark in marks:
        left, top, right, bottom = (edge * scale[i % 2] for i, edge in enumerate(mark.edges))
        edges = (left, top, max(right, left + 1), max(bottom, top + 1))
        colour = WRONG if mark.wrong else RIGHT
        _outline(brush, edges, _HALO, width_px + 2, False)
        _outline(brush, edges, colour, width_px, mark.wrong)
        if mark.text:
            _write(brush, mark.text, edges, colour, font)
    return copy


def _usual_px(marks: Sequence[Mark]) -> float:
    """The median of the boxes' longer sides: strokes must not hide small things."""
    sides = [max(m.edges[2] - m.edges[0], m.edges[3] - m.edges[1]) for m in marks]
    return median(sides) if sides else 0.0


def _outline(
    brush: ImageDraw.ImageDraw,
    edges: Edges,
    colour: tuple[int, int, int],
    width_px: int,
    dashed: bool,
) -> None:
    left, top, right, bottom = edges
    sides = [(left, top, right, top), (left, bottom, right, bottom)]
    sides += [(left, top, left, bottom), (right, top, right, bottom)]
    for x0, y0, x1, y1 in sides:
        length = max(x1 - x0, y1 - y0)
        dash = 4.0 * width_px if dashed else length
        count = max(1, round(length / (1.6 * dash))) if dashed else 1
        step = length / count
        for i in range(count):
            begin, end = i * step, i * step + (dash if dashed else length)
            ends = [min(end, length) / max(length, 1e-9), begin / max(length, 1e-9)]
            points = [(x0 + share * (x1 - x0), y0 + share * (y1 - y0)) for share in ends]
            brush.line(points, fill=colour, width=width_px)


def _write(
    brush: ImageDraw.ImageDraw,
    text: str,
    edges: Edges,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """White on the box's colour, above its corner, or inside where there is no room above.

    It is moved to the left where it would leave the picture, and shortened where it is too long.
    """
    image_px = brush.im.size[0]
    kept = len(text)
    while kept > 1 and brush.textbbox((0, 0), _cut(text, kept), font=font)[2] + 6 > image_px:
        kept -= 1
    text = _cut(text, kept)
    *_, wide, high = brush.textbbox((0, 0), text, font=font)
    left, top = max(0.0, min(edges[0], image_px - wide - 6)), edges[1] - high - 4
    if top < 0:
        top = edges[1]
    brush.rectangle((left, top, left + wide + 6, top + high + 4), fill=colour)
    brush.text((left + 3, top + 1), text, fill=_HALO, font=font)


def _cut(text: str, letters: int) -> str:
    """The beginning and the end, which has how sure it is."""
    if letters >= len(text):
        return text
    return f"{text[: -(-letters // 2)]}…{text[len(text) - letters // 2 :]}"


def file_of(sample: Sample, data: Path) -> str:
    """Where the file of a sample lies, relative to the data: its id does not always say it."""
    root = data.resolve()
    return os.path.relpath(sample.source, root if root.is_dir() else root.parent)


def jpeg(picture: Image.Image, quality: int = 75) -> bytes:
    """The picture as a JPEG."""
    import io

    held = io.BytesIO()
    picture.save(held, "JPEG", quality=quality)
    return held.getvalue()
