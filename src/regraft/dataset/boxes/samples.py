"""Boxes of any known format as rows of the data set that `fit` reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from regraft.dataset.boxes.formats import form_of, known_form_of
from regraft.dataset.boxes.rows import BoxData, Picture
from regraft.dataset.rows import DROPPED, BoxCounts, Dataset, Sample


@final
@dataclass(frozen=True)
class BoxReader:
    """A `dataset.reader.Reader` of pictures with boxes."""

    name: str = "data set of boxes"

    def recognises(self, path: Path) -> bool:
        """Whether one of the formats does."""
        return form_of(path) is not None

    def read(self, path: Path) -> Dataset:
        """The rows; a sample's target holds the categories of its boxes, each once.

        Raises:
            DataError: the boxes as a whole cannot be read.
        """
        return rows_of(known_form_of(path).read(path))


def rows_of(data: BoxData) -> Dataset:
    """The data set of what was read."""
    dropped = sum(problem.done in DROPPED for problem in data.problems)
    return Dataset(
        data.path,
        "object-detection",
        data.categories,
        tuple(_sample(picture) for picture in data.pictures),
        data.problems,
        multilabel=True,
        found=len(data.pictures) + dropped,
        box_counts=BoxCounts(data.found, data.mended, data.refused, data.used, data.crowds),
    )


def _sample(picture: Picture) -> Sample:
    categories = tuple(sorted({box.category for box in picture.boxes}))
    return Sample(picture.id, picture.source, categories, split=picture.split, boxes=picture.boxes)
