"""Boxes that a model found, as files for people and programs.

All hold the confidence: COCO as "score" of each annotation, YOLO as a sixth column, as programs
that read predictions expect it; Label Studio shows them to be mended, the least sure ones first.
COCO, YOLO and CSV name pictures from the folder on that all have in common: put there, they are
data.

Labels that people made have the same names as what is written here, so a folder has a list of what
was written into it; nothing else is replaced. Nothing is removed: what an earlier call wrote of
other pictures stays, and may have been mended since.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.label_studio import predicted_tasks
from regraft.dataset.cells import encoded, path_cell, to_cell
from regraft.errors import UsageError

_WRITTEN = {
    "json": ("predictions.json",),
    "csv": ("predictions.csv",),
    "coco": ("coco.json",),
    "yolo": ("classes.txt", "labels"),
    "label-studio": ("label-studio.json", "label-studio.xml"),
}
FILES = tuple(_WRITTEN)
DRAWN = "drawn"
"""The folder for pictures with boxes on them."""
_LIST = ".regraft-predict"
"""A file with the names of what was written into a folder; hidden, so that it is no data."""

Row = Mapping[str, Any]
"""What `predict` says of a picture: "sample", and "width", "height" and "objects", or "problem"."""


def check_place(folder: Path, to: str, draw: bool) -> None:
    """Refuse to replace what was not written by `predict`.

    Args:
        folder: to write into; it need not be there.
        to: one of `FILES`.
        draw: whether pictures with boxes on them are written, too.

    Raises:
        UsageError: one of the names is taken, or `folder` is a file.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError("this is no folder", where=folder, mend="name a new one")
    names = sorted(_names(to, draw) - _listed(folder))
    taken = [name for name in names if _is_taken(folder / name)]
    if taken:
        raise UsageError(
            f"predict would replace what it did not write: {', '.join(taken)}",
            where=folder,
            mend="name a new folder",
        )


def list_place(folder: Path, to: str, draw: bool) -> None:
    """Say in a folder what will be written into it, for the next `check_place`; arguments as there.

    Raises:
        StoreError: the disk is full, or the folder cannot be written to.
    """
    names = sorted(_names(to, draw) | _listed(folder))
    store.commit(folder / _LIST, "".join(f"{name}\n" for name in names).encode())


def others_in(folder: Path, written: Collection[Path]) -> list[str]:
    """What lies in a folder where `predict` writes, and is not of this call; named from it on.

    Args:
        folder: that was written into.
        written: the files of this call.
    """
    known = {DRAWN, *chain.from_iterable(_WRITTEN.values())}
    places = [folder / name for name in sorted(known & _listed(folder))]
    files = [file for place in places for file in (place, *sorted(place.rglob("*")))]
    others = [file for file in files if file.is_file() and file not in written]
    return [file.relative_to(folder).as_posix() for file in others]


def is_drawn(file: Path) -> bool:
    """Whether a picture was written by `predict`, with boxes on it."""
    return any(at.name == DRAWN and DRAWN in _listed(at.parent) for at in file.parents)


def _names(to: str, draw: bool) -> set[str]:
    return {*_WRITTEN[to], *([DRAWN] if draw else [])}


def _listed(folder: Path) -> set[str]:
    file = folder / _LIST
    return set(file.read_text(errors="replace").splitlines()) if file.is_file() else set()


def _is_taken(path: Path) -> bool:
    """Whether something is there, but for an empty folder."""
    is_folder = path.is_dir() and not path.is_symlink()
    return any(path.iterdir()) if is_folder else os.path.lexists(path)


def write_predictions(
    rows: Sequence[Row], classes: Sequence[str], folder: Path, to: str
) -> list[Path]:
    """Write what was found; pictures that could not be read are in the JSON alone.

    Args:
        rows: what `regraft.predict` gave.
        classes: in the model's order.
        folder: made if it is not there; files of the same names are replaced, see `check_place`.
        to: one of `FILES`.

    Returns:
        the files that were written.

    Raises:
        UsageError: there is no such format.
        StoreError: the disk is full, or the folder cannot be written to.
    """
    if to not in FILES:
        raise UsageError(
            f"there is no format {to!r}", where="--to", mend=f"use one of {', '.join(FILES)}"
        )
    writers = {
        "json": _as_json,
        "csv": _as_csv,
        "coco": _as_coco,
        "yolo": _as_yolo,
        "label-studio": _for_label_studio,
    }
    files = writers[to](rows, classes)
    for name, text in files.items():
        data = encoded(text) if to == "csv" else text.encode("utf-8", "backslashreplace")
        store.commit(folder / name, data)
    return [folder / name for name in files]


def common_folder(paths: Iterable[str | Path]) -> Path:
    """The folder that all have in common."""
    whole = [str((Path.cwd() / os.path.normpath(path)).parent) for path in paths]
    return Path(os.path.commonpath(whole)) if whole else Path.cwd()


def below(path: str | Path, folder: Path) -> str:
    """A path from a folder on that holds it."""
    return Path(os.path.relpath(Path.cwd() / path, folder)).as_posix()


def _as_json(rows: Sequence[Row], classes: Sequence[str]) -> dict[str, str]:
    return {"predictions.json": json.dumps(list(rows), indent=1) + "\n"}


def csv_of(rows: Sequence[Row]) -> str:
    """A row for each box; one without edges for a picture on which nothing was found.

    Cells are as `dataset/cells.py` makes them.
    """
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["path", "category", "left", "top", "right", "bottom", "score"])
    for row in rows:
        name = path_cell(row["sample"])
        for thing in row.get("objects", ()):
            edges = [f"{edge:g}" for edge in thing["box"]]
            table.writerow([name, to_cell(thing["label"]), *edges, thing["probability"]])
        if "objects" in row and not row["objects"]:
            table.writerow([name, *[""] * 6])
    return out.getvalue()


def _as_csv(rows: Sequence[Row], classes: Sequence[str]) -> dict[str, str]:
    folder = common_folder(row["sample"] for row in rows)
    named = [{**row, "sample": below(row["sample"], folder)} for row in rows]
    return {"predictions.csv": csv_of(named)}


def _as_coco(rows: Sequence[Row], classes: Sequence[str]) -> dict[str, str]:
    read = [row for row in rows if "objects" in row]
    folder = common_folder(row["sample"] for row in rows)
    names = [below(row["sample"], folder) for row in read]
    number = {name: at for at, name in enumerate(classes, 1)}
    annotations: list[dict[str, Any]] = []
    for at, row in enumerate(read, 1):
        for thing in row["objects"]:
            left, top, right, bottom = thing["box"]
            sides = [left, top, round(right - left, 6), round(bottom - top, 6)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": at,
                    "category_id": number[thing["label"]],
                    "bbox": sides,
                    "area": round(sides[2] * sides[3], 6),
                    "iscrowd": 0,
                    "score": thing["probability"],
                }
            )
    content = {
        "images": [
            {"id": i, "file_name": name, "width": row["width"], "height": row["height"]}
            for i, (name, row) in enumerate(zip(names, read, strict=True), 1)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, 1)],
    }
    return {"coco.json": json.dumps(content, indent=1) + "\n"}


def _for_label_studio(rows: Sequence[Row], classes: Sequence[str]) -> dict[str, str]:
    pictures = [  # a frame of a video is no file that could be shown
        row for row in rows if Path(row["sample"]).suffix.lower() in guard.PICTURE_SUFFIXES
    ]
    read = [row for row in pictures if "objects" in row]
    root = common_folder(row["sample"] for row in read).parent  # a storage lies below it
    return predicted_tasks([(below(row["sample"], root), row) for row in read], classes)


def _as_yolo(rows: Sequence[Row], classes: Sequence[str]) -> dict[str, str]:
    number = {name: at for at, name in enumerate(classes)}
    files = {"classes.txt": "".join(f"{guard.shown(name)}\n" for name in classes)}
    folder = common_folder(row["sample"] for row in rows)
    for row in rows:
        if "objects" not in row:
            continue
        name = PurePosixPath(below(row["sample"], folder))
        lines: list[str] = []
        for thing in row["objects"]:
            left, top, right, bottom = thing["box"]
            wide, high = row["width"], row["height"]
            shares = ((left + right) / 2 / wide, (top + bottom) / 2 / high)
            shares += ((right - left) / wide, (bottom - top) / high)
            words = [f"{share:.8g}" for share in (*shares, thing["probability"])]
            lines.append(" ".join([str(number[thing["label"]]), *words]) + "\n")
        is_picture = name.suffix.lower() in guard.PICTURE_SUFFIXES
        file = f"labels/{name.with_suffix('') if is_picture else name}.txt"
        if file in files:
            # Two pictures whose names differ in their endings alone.
            file = f"labels/{name}.txt"
        files[file] = "".join(lines)
    return files
