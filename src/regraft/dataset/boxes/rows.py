"""Pictures with boxes: the rows that every format is read into, and what their values mean.

Decisions:

- A box is four edges in pixels of the picture as it is shown, counted from the left and upper
  edge: left < right, top < bottom. Formats that count from 1, or in shares, are turned into that.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regraft.dataset import guard
from regraft.dataset.rows import Box, Problem, Split
from regraft.wording import some_of

_LISTED = 10


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and what is in it; without boxes it is a negative.

    Attributes:
        id: path relative to the data, as `guard.shown` prints it.
        source: the file.
        width_px: as shown (EXIF applied).
        height_px: likewise.
        boxes: sorted.
        split: as given, or "".
    """

    id: str
    source: Path
    width_px: int
    height_px: int
    boxes: tuple[Box, ...]
    split: Split = ""


@dataclass(frozen=True)
class BoxData:
    """A data set for detection.

    Attributes:
        path: what was read.
        format: "coco", "yolo", "voc", "csv" or "label-studio".
        categories: names, sorted.
        pictures: sorted by id.
        problems: what was found.
        found: boxes that were come across.
        mended: how many of the used ones were changed.
        refused: how many are not used.
        unused: categories that are listed and have no box, sorted.
    """

    path: Path
    format: str
    categories: tuple[str, ...]
    pictures: tuple[Picture, ...]
    problems: tuple[Problem, ...] = field(default=())
    found: int = 0
    mended: int = 0
    refused: int = 0
    unused: tuple[str, ...] = ()

    @property
    def listed(self) -> tuple[str, ...]:
        """All categories, those with boxes first, for formats that list them."""
        return *self.categories, *self.unused

    @property
    def used(self) -> int:
        """Number of boxes in the pictures."""
        return sum(len(picture.boxes) for picture in self.pictures)

    @property
    def crowds(self) -> int:
        """How many of these are crowds."""
        return sum(box.crowd for picture in self.pictures for box in picture.boxes)


def category_name(text: str) -> str:
    """A category's name, printable; of a name that this gave it gives the same name."""
    name = unicodedata.normalize("NFC", text.strip())
    return name if name.isprintable() else guard.shown(name)


def listed(names: Mapping[Any, str]) -> str:
    """Categories with their numbers, as far as they fit into a message."""
    said = [f"{guard.shown(str(key))} {guard.shown(name)}" for key, name in names.items()]
    return some_of(said, _LISTED) or "none"


def number(value: object) -> float | None:
    """The number in a value or a text, or None; truth values are no numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def around(points: Sequence[object]) -> list[object]:
    """The edges of a polygon x, y, x, y, …; [] when it is none."""
    numbers = [number(value) for value in points]
    if len(numbers) < 6 or len(numbers) % 2 or any(value is None for value in numbers):
        return []
    known = [value for value in numbers if value is not None]
    xs, ys = known[::2], known[1::2]
    if not all(map(math.isfinite, known)):
        return [math.nan] * 4
    return [min(xs), min(ys), max(xs), max(ys)]
