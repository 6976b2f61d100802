"""Boxes that a model found, as files for people and programs.

All hold the confidence: COCO as "score" of each annotation, YOLO as a sixth column, as programs
that read predictions expect it; Label Studio shows them to be mended, the least sure ones first.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.label_studio import predicted_tasks
from regraft.errors import UsageError

FILES = ("json", "csv", "coco", "yolo", "label-studio")

Row = Mapping[str, Any]
"""What `predict` says of a picture: "sample", and "width", "height" and "objects", or "problem"."""


def write_predictions(
    rows: Sequence[Row], classes: Sequence[str], folder: Path, to: str
) -> list[Path]:
    """Write what was found; pictures that could not be read are in the JSON alone.

    Args:
        rows: what `regraft.predict` gave.
        classes: in the model's order.
        folder: made if it is not there; files of the same names are replaced.
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
        store.commit(folder / name, text.encode("utf-8", "backslashreplace"))
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


def _as_csv(rows: Sequence[Row], classes: Sequence[str]) -> dict[str, str]:
    out = io.StringIO(newline="")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["path", "category", "left", "top", "right", "bottom", "score"])
    for row in rows:
        for thing in row.get("objects", ()):
            edges = [f"{edge:g}" for edge in thing["box"]]
            table.writerow([row["sample"], thing["label"], *edges, thing["probability"]])
        if "objects" in row and not row["objects"]:
            table.writerow([row["sample"], *[""] * 6])
    return {"predictions.csv": out.getvalue()}


def _as_coco(rows: Sequence[Row], classes: Sequence[str]) -> dict[str, str]:
    read = [row for row in rows if "objects" in row]
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
            {"id": i, "file_name": row["sample"], "width": row["width"], "height": row["height"]}
            for i, row in enumerate(read, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, 1)],
    }
    return {"predictions.json": json.dumps(content, indent=1) + "\n"}


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
