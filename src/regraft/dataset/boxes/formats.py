"""The formats of boxes, and what a reader and writer of one is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from regraft.dataset import guard
from regraft.dataset.boxes.coco import CocoReader
from regraft.dataset.boxes.label_studio import LabelStudioReader
from regraft.dataset.boxes.rows import BoxData
from regraft.dataset.boxes.table import TableReader
from regraft.dataset.boxes.voc import VocReader
from regraft.dataset.boxes.yolo import YoloReader
from regraft.dataset.boxes.yolo_layout import is_bare
from regraft.dataset.table import columns_of, read_table
from regraft.errors import DataError


class BoxFormat(Protocol):
    """The contract of a format; `check_box_format` checks it."""

    @property
    def name(self) -> str:
        """As `--to` has it."""
        ...

    def recognises(self, path: Path) -> bool:
        """Whether this format's reader reads what lies there. Never raises; opens no picture."""
        ...

    def read(self, path: Path) -> BoxData:
        """The pictures and their boxes, judged by a `Collector`.

        Raises:
            DataError: a box has a category that does not exist, or nothing can be used.
        """
        ...

    def place(self, name: str, split: str) -> str:
        """Where a picture of this name and split goes, relative to the folder that is written."""
        ...

    def write(self, data: BoxData, folder: Path) -> None:
        """Write all but the pictures, whose `id` is where they were placed in `folder`."""
        ...


FORMATS: tuple[BoxFormat, ...] = (
    LabelStudioReader(),  # before COCO, which reads any JSON file
    CocoReader(),
    YoloReader(),
    VocReader(),
    TableReader(),
)


def form_of(path: Path) -> BoxFormat | None:
    """The format of what lies at a path, if it is one of boxes."""
    found = next((form for form in FORMATS if form.recognises(path)), None)
    return YoloReader() if found is None and is_bare(path) else found


def known_form_of(path: Path) -> BoxFormat:
    """The format of what lies at a path.

    Raises:
        DataError: it is of none.
    """
    form = form_of(path)
    if form is None:
        raise no_boxes_at(path)
    return form


def no_boxes_at(path: Path) -> DataError:
    """What is said of a path with nothing at it, a damaged table, or nothing in a known format."""
    if not path.exists():
        return guard.nothing_at(path)
    if path.suffix.lower() in guard.TABLE_SUFFIXES and path.is_file() and not columns_of(path):
        try:
            read_table(path)
        except DataError as fault:
            return fault
    return DataError(
        "These are no boxes in a known format.",
        where=guard.shown(path),
        mend="give a COCO JSON file, a folder with a YOLO data.yaml, a folder of Pascal VOC "
        "XML, a table of boxes, or an export of Label Studio",
    )
