"""Boxes drawn onto pictures: solid where right or not known, dashed where wrong.

What is right is blue and what is wrong orange; the two differ in more than colour, for those who
cannot tell colours apart and for print. Where nobody knows what is right, each category has a
colour; there are eight, and all are dark enough for white letters.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from regraft.reporting import lettering

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from regraft.dataset import Sample

Edges = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

RIGHT = (10, 92, 214)
WRONG = (232, 94, 0)
_HALO = (255, 255, 255)
_COLUMNS = 8
"""Places for a name along a box, at most: each is held against all names before."""
COLOURS = (
    RIGHT, (196, 30, 58), (0, 122, 61), (123, 44, 191), (158, 84, 0), (0, 118, 133), (190, 24, 147),
    (84, 84, 84),
)  # fmt: skip
"""Of categories, by their number; after the last the first comes again."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A box to draw.

    Attributes:
        edges: in pixels of the picture.
        text: written at its upper left corner; "" for nothing.
        wrong: how it is drawn.
        category: number of the colour of one that is not wrong.
    """

    edges: Edges
    text: str = ""
    wrong: bool = False
    category: int = 0


def drawn(
    picture: Image.Image,
    marks: Sequence[Mark],
    longest_px: int | None = None,
    letters_px: int | None = None,
) -> Image.Image:
    """A copy of the picture with boxes on it.

    Args:
        picture: mode RGB.
        marks: the later ones lie on top.
        longest_px: the longer side of the copy at most; None keeps the size.
        letters_px: how high letters are; None goes by the picture and the boxes.
    """
    from PIL import ImageDraw

    copy = picture.copy()
    if longest_px is not None:
        copy.thumbnail((longest_px, longest_px))
    scale = (copy.width / picture.width, copy.height / picture.height)
    thing_px = _usual_px(marks) * scale[0]
    width_px = max(2, round(min(max(copy.size) / 240, thing_px / 12)))
    brush = ImageDraw.Draw(copy)
    if letters_px is None:
        letters_px = max(11, round(min(max(copy.size) / 45, thing_px / 2)))
    names: list[tuple[str, Edges, tuple[int, int, int]]] = []
    for mark in marks:
        left, top, right, bottom = (edge * scale[i % 2] for i, edge in enumerate(mark.edges))
        edges = (left, top, max(right, left + 1), max(bottom, top + 1))
        colour = WRONG if mark.wrong else COLOURS[mark.category % len(COLOURS)]
        _outline(brush, edges, _HALO, width_px + 2, False)
        _outline(brush, edges, colour, width_px, mark.wrong)
        if mark.text:
            names.append((mark.text, edges, colour))
    written: list[Edges] = []
    for name in names:  # on top of all outlines
        written.append(_write(brush, *name, letters_px, written))
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
    letters_px: int,
    written: Sequence[Edges],
) -> Edges:
    """White on the box's colour, above its corner, or inside or below where there is no room above.

    It is moved to the left where it would leave the picture, to the right, as far as the box goes,
    where others stand, and shortened where it is too long.

    Returns:
        where it stands; on nothing that was `written` before if one of the places is free.
    """
    image_px, image_high_px = brush.im.size
    text, font = lettering.written(text, letters_px)
    kept = len(text)
    while kept > 1 and brush.textbbox((0, 0), _cut(text, kept), font=font)[2] + 6 > image_px:
        kept -= 1
    text = _cut(text, kept)
    *_, wide, high = brush.textbbox((0, 0), text, font=font)
    left, line_px = max(0.0, min(edges[0], image_px - wide - 6)), high + 4
    tops = [edges[1] - line_px, edges[1], edges[3], edges[3] - line_px]
    columns = max(1, min(_COLUMNS, int((min(edges[2], image_px) - left) // (wide + 6))))
    lefts = [left + n * (wide + 6) for n in range(columns)]
    places = [(x, top, x + wide + 6, top + line_px) for x in lefts for top in tops]
    inside = [place for place in places if place[1] >= 0 and place[3] <= image_high_px]
    free = [place for place in inside if not any(_meet(place, other) for other in written)]
    place = (free or inside or places[1:])[0]
    brush.rectangle(place, fill=colour)
    brush.text((place[0] + 3, place[1] + 1), text, fill=_HALO, font=font)
    return place


def _meet(one: Edges, other: Edges) -> bool:
    return all(one[i] < other[i + 2] and other[i] < one[i + 2] for i in (0, 1))


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
