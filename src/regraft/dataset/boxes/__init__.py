"""Box data in and out: read any known format, judge every box, write another format."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from regraft.dataset.boxes.coco import CocoReader
from regraft.dataset.boxes.rows import Box, BoxData, Picture
from regraft.dataset.boxes.table import TableReader
from regraft.errors import DataError, UsageError

__all__ = ["FORMATS", "Box", "BoxData", "Picture", "convert_boxes", "describe_boxes", "read_boxes"]

FORMATS: tuple[CocoReader | TableReader, ...] = (CocoReader(), TableReader())


def read_boxes(path: Path) -> BoxData:
    """Read box data of any known format.

    Raises:
        DataError: the format is not known, or nothing in it can be used.
    """
    for form in FORMATS:
        if form.recognises(path):
            return form.read(path)
    raise DataError(
        "These are no boxes in a known format.",
        where=path,
        mend="give a COCO JSON file, a folder of them, or a CSV of boxes",
    )


def convert_boxes(path: Path, out: Path, to: str) -> BoxData:
    """Write box data in another format, with copies of its pictures.

    Args:
        path: what to read.
        out: a new or empty folder.
        to: "coco" or "csv".

    Returns:
        what was read, with its problems.

    Raises:
        UsageError: `out` holds something, or the format is not known.
        DataError: see `read_boxes`.
    """
    form = next((form for form in FORMATS if form.name == to), None)
    if form is None:
        names = ", ".join(form.name for form in FORMATS)
        raise UsageError(f"there is no format {to!r}", where="--to", mend=f"use one of {names}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("the folder is not empty", where=out, mend="name a new one")
    data = read_boxes(path)
    for picture in data.pictures:
        relative = picture.source.relative_to(_root(picture))
        target = out / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture.source, target)
    out.mkdir(parents=True, exist_ok=True)
    form.write(data, out)
    return data


def _root(picture: Picture) -> Path:
    """The folder that the picture's id starts from."""
    return picture.source.parents[picture.id.count("/")]


def describe_boxes(data: BoxData) -> dict[str, Any]:
    """JSON values: "format", "pictures", "negatives", "boxes", "categories", "problems"."""
    counts = Counter(box.category for picture in data.pictures for box in picture.boxes)
    kinds = Counter(problem.kind for problem in data.problems)
    return {
        "path": str(data.path),
        "format": data.format,
        "pictures": len(data.pictures),
        "negatives": sum(not picture.boxes for picture in data.pictures),
        "boxes": {
            "found": data.found,
            "used": data.used,
            "mended": data.mended,
            "refused": data.refused,
        },
        "categories": {name: counts[at] for at, name in enumerate(data.categories)},
        "problems": [
            {"kind": p.kind, "where": p.where, "what": p.what, "done": p.done}
            for p in data.problems
        ],
        "kinds": dict(sorted(kinds.items())),
    }
