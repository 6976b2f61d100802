"""A picture that can be used, while its boxes are gathered: what edges of a box on it may mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from regraft.dataset.boxes.rows import Picture
from regraft.dataset.rows import Box, Split


@final
@dataclass
class Taken:
    """A picture that can be used, and what was found on it so far.

    Attributes:
        file: without links.
        width_px: as shown (EXIF applied).
        height_px: likewise.
        turn: the EXIF orientation.
        split: as given, or "".
        boxes: category and box, and where it was found.
        offered: boxes that were come across, refused ones too.
        waiting: category, box, where and whether it was mended, of boxes that may have to be
            turned.
    """

    file: Path
    width_px: int
    height_px: int
    turn: int
    split: Split
    boxes: dict[tuple[str, Box], str] = field(default_factory=dict[tuple[str, Box], str])
    offered: int = 0
    waiting: list[tuple[str, Box, str, bool]] = field(
        default_factory=list[tuple[str, Box, str, bool]]
    )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as shown."""
        return self.width_px, self.height_px

    def may_have_in_shares(self, box: Box, slack: float = 0.0) -> bool:
        """Whether edges lie in 0…1, or so little beyond: they may be shares of the picture."""
        edges = box.left, box.top, box.right, box.bottom
        within = all(-slack <= edge <= 1 + slack for edge in edges)
        return within and min(self.size) > 1

    def upright(self, box: Box) -> Box:
        """A box that was drawn on the picture without its EXIF turn, on it as it is shown."""
        wide, high = self.size
        edges = {
            5: (box.top, box.left, box.bottom, box.right),
            6: (wide - box.bottom, box.left, wide - box.top, box.right),
            7: (wide - box.bottom, high - box.right, wide - box.top, high - box.left),
            8: (box.top, high - box.right, box.bottom, high - box.left),
        }[self.turn]
        return Box(0, *edges, box.crowd, box.area)

    def in_pixels(self, box: Box, is_turned: bool) -> Box:
        """A box in shares of the picture; of that without its EXIF turn, if it is turned."""
        width_px, height_px = self.size[::-1] if is_turned else self.size
        left, right = box.left * width_px, box.right * width_px
        drawn = Box(0, left, box.top * height_px, right, box.bottom * height_px, box.crowd)
        return self.upright(drawn) if is_turned else drawn

    def picture(self, id_: str, at: Mapping[str, int]) -> Picture:
        """What is left of it in the end, with the numbers of the categories."""
        boxes = (replace(box, category=at[name]) for name, box in self.boxes)
        ordered = sorted(boxes, key=lambda b: (b.category, b.left, b.top, b.right, b.bottom))
        return Picture(id_, self.file, self.width_px, self.height_px, tuple(ordered), self.split)
