"""Box data in and out: read any known format, judge every box, write another format."""

from __future__ import annotations

from regraft.dataset.boxes.check import check_box_format
from regraft.dataset.boxes.convert import convert_boxes, describe_boxes, read_boxes
from regraft.dataset.boxes.formats import FORMATS, BoxFormat
from regraft.dataset.boxes.rows import BoxData, Picture
from regraft.dataset.rows import Box

__all__ = [
    "FORMATS",
    "Box",
    "BoxData",
    "BoxFormat",
    "Picture",
    "check_box_format",
    "convert_boxes",
    "describe_boxes",
    "read_boxes",
]
