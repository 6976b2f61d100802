"""The contract of a format of boxes, as code."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from regraft.dataset.boxes.convert import convert_boxes, plain_names
from regraft.dataset.boxes.formats import BoxFormat
from regraft.dataset.boxes.rows import BoxData
from regraft.dataset.boxes.samples import rows_of
from regraft.dataset.reader import check_reader
from regraft.dataset.rows import Box, Dataset
from regraft.errors import ContractBroken


def check_box_format(form: BoxFormat, path: Path) -> None:
    """Check that a format keeps its contract on some data that it is for.

    Args:
        form: yours.
        path: data in its format; the more problems are in them, the better.

    Raises:
        ContractBroken: names the promise that is not kept.
    """
    check_reader(_AsReader(form), path)
    data = form.read(path)
    _promise(form, data.format == form.name, "`format` of what was read is its name")
    _promise(form, data.found == data.used + data.refused, "found is used and refused")
    _promise(form, 0 <= data.mended <= data.used, "mended boxes are used")
    _promise(
        form,
        list(data.categories) == sorted({data.categories[b.category] for b in _boxes(data)}),
        "categories are sorted, and each has a box",
    )
    for picture in data.pictures:
        for box in picture.boxes:
            inside = 0 <= box.left < box.right <= picture.width_px
            inside = inside and 0 <= box.top < box.bottom <= picture.height_px
            _promise(form, inside, f"boxes lie inside of their picture: {picture.id}, {box}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "written"
        convert_boxes(path, out, form.name)
        back = form.read(out)
    _promise(form, same_boxes(data, back), "what is written is read again, to the last bit")
    _promise(form, back.mended == back.refused == 0, "what is written needs no mending")


def same_boxes(one: BoxData, other: BoxData) -> bool:
    """Whether two data sets have the same pictures, splits, categories and boxes.

    The folders that a format wants pictures to be in make no difference.
    """
    return one.categories == other.categories and _rows(one) == _rows(other)


def _rows(data: BoxData) -> dict[str, object]:
    names = plain_names(data)
    return {
        name: (p.width_px, p.height_px, p.split, p.boxes)
        for name, p in zip(names, data.pictures, strict=True)
    }


def _boxes(data: BoxData) -> Iterator[Box]:
    return (box for picture in data.pictures for box in picture.boxes)


class _AsReader:
    """A format as a `dataset.reader.Reader`."""

    def __init__(self, form: BoxFormat) -> None:
        self._form = form

    @property
    def name(self) -> str:
        return self._form.name

    def recognises(self, path: Path) -> bool:
        return self._form.recognises(path)

    def read(self, path: Path) -> Dataset:
        return rows_of(self._form.read(path))


def _promise(form: BoxFormat, kept: bool, promise: str) -> None:
    if not kept:
        raise ContractBroken(
            f"The format {form.name!r} breaks its contract: {promise}.", where="check_box_format"
        )
