"""From one format of boxes to another, with copies of the pictures, and nothing lost."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from regraft.dataset import guard
from regraft.dataset.boxes.formats import FORMATS, BoxFormat, known_form_of
from regraft.dataset.boxes.rows import BoxData, Picture
from regraft.errors import DataError, UsageError

_KNOWN_FOLDERS = re.compile(r"^(?:(?:images|JPEGImages)/(?:(?:train|valid|test)/)?)+")
_WAY_OUT = re.compile(r"^(?:\.\./)+")
"""Of pictures outside of the data, which `table.py` reads; their copies lie inside."""


def read_boxes(path: str | Path) -> BoxData:
    """Read box data of any known format.

    Raises:
        DataError: the format is not known, or nothing in it can be used.
    """
    path = Path(path)
    return known_form_of(path).read(path)


def convert_boxes(path: Path, out: Path, to: str) -> BoxData:
    """Write box data in another format, with copies of its pictures.

    Args:
        path: what to read.
        out: a new or empty folder, not inside of `path`; it is there completely or not at all.
        to: "coco", "yolo", "voc", "csv" or "label-studio".

    Returns:
        what was read, with its problems.

    Raises:
        UsageError: `out` holds something or lies in what is read, or the format is not known.
        DataError: see `read_boxes`; or a name cannot be kept in that format.
    """
    form = next((form for form in FORMATS if form.name == to), None)
    if form is None:
        names = ", ".join(form.name for form in FORMATS)
        raise UsageError(f"there is no format {to!r}", where="--to", mend=f"use one of {names}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("the folder is not empty", where=out, mend="name a new one")
    if path.is_dir() and guard.resolved(out).is_relative_to(guard.resolved(path)):
        raise UsageError(
            "the folder lies inside of the data, which would then hold every picture twice",
            where=out,
            mend="name one beside the data",
        )
    data = read_boxes(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        _write(form, data, scratch)
        scratch.chmod(0o755)
        if out.exists():
            out.rmdir()
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return data


def _write(form: BoxFormat, data: BoxData, folder: Path) -> None:
    names = plain_names(data)
    placed: list[Picture] = []
    for picture, name in zip(data.pictures, names, strict=True):
        target = form.place(name, picture.split)
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture.source, folder / target)
        placed.append(replace(picture, id=target))
    form.write(replace(data, pictures=tuple(placed)), folder)


def plain_names(data: BoxData) -> list[str]:
    """The pictures' names without the folders that a format wants, where they stay different.

    Raises:
        DataError: a name is not one printable line, which not every format can hold.
    """
    for picture in data.pictures:
        # `guard.shown` doubles backslashes and escapes what is no text: then id and name differ.
        if picture.source.name != picture.id.rsplit("/", 1)[-1]:
            raise DataError(
                "The picture's name is no plain text.",
                where=picture.id,
                mend="rename it, or the folder it is in, without odd characters",
            )
    form = next((form for form in FORMATS if form.name == data.format), None)
    # What the format itself puts before a name goes first: below that, train/ may be a folder of
    # the user's.
    own = [p.id.removeprefix(form.place("", p.split) if form else "") for p in data.pictures]
    plain = [_KNOWN_FOLDERS.sub("", _WAY_OUT.sub("", name)) for name in own]
    differ = (names for names in (plain, own) if len(set(names)) == len(names))
    names = next(differ, [picture.id for picture in data.pictures])
    tried = (_inside(names, "_" * length) for length in count(1))
    return next(inside for inside in tried if len(set(inside)) == len(names))


def _inside(names: Sequence[str], up: str) -> list[str]:
    """The names with folders of this name for each that leads out of the data."""
    return [_WAY_OUT.sub(lambda way: way[0].replace("..", up), name) for name in names]


def describe_boxes(data: BoxData) -> dict[str, Any]:
    """JSON values: "format", "pictures", "negatives", "boxes", "categories", "problems"."""
    counts = Counter(box.category for picture in data.pictures for box in picture.boxes)
    kinds = Counter(problem.kind for problem in data.problems)
    return {
        "path": guard.shown(data.path),
        "format": data.format,
        "pictures": len(data.pictures),
        "negatives": sum(not picture.boxes for picture in data.pictures),
        "boxes": {
            "found": data.found,
            "used": data.used,
            "crowds": data.crowds,
            "mended": data.mended,
            "refused": data.refused,
        },
        "categories": {name: counts[at] for at, name in enumerate(data.categories)},
        "problems": [asdict(problem) for problem in data.problems],
        "kinds": dict(sorted(kinds.items())),
    }
