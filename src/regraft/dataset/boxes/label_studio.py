"""Boxes in Label Studio: its export is read, and what a model found goes there to be mended.

Decisions:

- Exports as "JSON" (every annotation) and "JSON-MIN" are read. Of a picture that several people
  drew on, the latest annotation counts; `regraft labels` compares them.
- A task without an annotation, or with withdrawn ones alone, is not known to be empty: it is left
  out. An annotation in which nothing is drawn says that nothing is there.
- A polygon becomes the rectangle around it. Ellipses, brushes and what has no label are refused, so
  a picture with these alone is no negative.
- Label Studio counts in percent of the picture, as it is shown. A rectangle that is turned becomes
  the one around it.
- Pictures are looked for beside the export, by as much of the path in the task as fits.
- What Label Studio has no word for goes along: the split in the task's data, a crowd in the
  rectangle's meta.

Formats: https://labelstud.io/guide/export, …/guide/predictions and …/tags/rectanglelabels (1.x).
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import cos, isfinite, radians, sin
from pathlib import Path
from typing import Any, final
from urllib.parse import quote

from markupsafe import escape

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.collector import Collector
from regraft.dataset.boxes.rows import BoxData, around, number
from regraft.dataset.label_studio import (
    Fact,
    annotator_name,
    damaged,
    is_withdrawn,
    objects_in,
    paths_in,
    said_at,
    tasks_in,
)
from regraft.dataset.reader import SPLIT_NAMES
from regraft.dataset.rows import Split
from regraft.errors import DataError

TASKS, INTERFACE = "label-studio.json", "label-studio.xml"
_CONTROL, _PICTURE, _RECTANGLES = "label", "image", "rectanglelabels"
_LOCAL = "/data/local-files/?d="
_POLYGONS = "polygonlabels"
_NOT_DRAWN = frozenset(
    "choices datetime number pairwise ranker rating relation taxonomy textarea".split()
)
"""Types of results that are no place on a picture."""


# In -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawing:
    """What one person drew on one picture.

    Attributes:
        data: the task's.
        annotator: a name.
        at: when, or "".
        regions: rectangles as Label Studio writes them, and what else was drawn or said.
        where: file and task.
    """

    data: Mapping[str, Any]
    annotator: str
    at: str
    regions: Sequence[Mapping[str, Any]]
    where: str


@final
@dataclass(frozen=True)
class LabelStudioReader:
    """Reads exports with rectangles, and writes tasks.

    Attributes:
        annotator: whose drawings are read; "" is the latest of each picture.
    """

    annotator: str = ""
    name: str = "label-studio"

    def recognises(self, path: Path) -> bool:
        """A JSON file of tasks with rectangles, or a folder with such."""
        return bool(_files(path))

    def read(self, path: Path) -> BoxData:
        """The rows; see `dataset.boxes.read_boxes`."""
        root = path.resolve() if path.is_dir() else path.resolve().parent
        into = Collector(path, root, self.name)
        for file in _files(path):
            drawings = drawings_in(file)
            mine = [one for one in drawings if self.annotator in ("", one.annotator)]
            for one in _latest(mine, into):
                _read_drawing(into, one, root)
            for where in () if path.is_dir() else _not_drawn(file):
                # In a folder, pictures that nothing was said about are found anyway.
                into.say("not-annotated", where, "Nobody has annotated it.", "not learnt from")
        return into.finish()

    def place(self, name: str, split: str) -> str:
        """See `BoxFormat`."""
        return f"images/{name}"

    def write(self, data: BoxData, folder: Path) -> None:
        """Tasks whose boxes are annotations, and the labelling interface."""
        tasks: list[Fact] = []
        for picture in data.pictures:
            results = [
                _rectangle(
                    f"{at}",
                    data.categories[box.category],
                    (box.left, box.top, box.right, box.bottom),
                    (picture.width_px, picture.height_px),
                )
                | ({"meta": {"crowd": True}} if box.crowd else {})
                for at, box in enumerate(picture.boxes)
            ]
            about: Fact = {_PICTURE: _LOCAL + quote(picture.id)}
            about |= {"split": picture.split} if picture.split else {}
            tasks.append({"data": about, "annotations": [{"result": results}]})
        for name, text in _written(tasks, data.listed).items():
            store.commit(folder / name, text.encode())


def annotators_of(path: Path) -> list[str]:
    """Who drew something in an export; none if the file is no export with rectangles."""
    found = {one.annotator for file in _files(path) for one in drawings_in(file) if one.regions}
    return sorted(found)


def is_drawn(path: Path) -> bool:
    """Whether a file is of tasks with rectangles or polygons, by its content.

    Pictures are not opened.
    """
    try:
        if path.suffix.lower() != ".json" or not 0 < path.stat().st_size <= guard.MAX_BYTES:
            return False
        with (
            path.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            starts = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
            kinds = (f'"{kind}"'.encode() for kind in (_RECTANGLES, _POLYGONS))
            return starts and any(content.find(kind) >= 0 for kind in kinds)
    except (OSError, ValueError):
        return False


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        try:
            listed = [file for file, is_folder in guard.listed(path) if not is_folder]
        except (OSError, DataError):
            return []
        return [file for file in listed if is_drawn(file)]
    return [path] if is_drawn(path) else []


def drawings_in(file: Path) -> list[Drawing]:
    """All annotations of an export, those that were cancelled left out.

    Raises:
        DataError: the file is damaged.
    """
    return [one for at, task in enumerate(tasks_in(file), 1) for one in _drawings(file, at, task)]


def _drawings(file: Path, at: int, task: Fact) -> Iterator[Drawing]:
    where = f"{guard.shown(file.name)}: task {task.get('id', at)}"
    listed = task.get("annotations")
    if isinstance(listed, list):
        data = task.get("data")
        for one in listed:
            if not isinstance(one, dict) or not isinstance(data, dict):
                raise damaged(where, "a task has no data, or an annotation is no object")
            if is_withdrawn(one):
                continue
            regions = objects_in(one.get("result"), where)
            yield Drawing(
                data, annotator_name(one.get("completed_by")), said_at(one), regions, where
            )
    elif "annotation_id" in task:
        regions = [
            {"type": kind, "value": region, **_size_of(region)}
            for value in task.values()
            if isinstance(value, list)
            for region in value
            if isinstance(region, dict) and (kind := _kind_of(region))
        ]
        yield Drawing(task, annotator_name(task.get("annotator")), said_at(task), regions, where)


def _kind_of(region: Fact) -> str:
    """What a region of JSON-MIN is, whose labels stand under the name of its kind; "" for none."""
    if _RECTANGLES in region:
        return _RECTANGLES
    if "original_width" not in region or not {*_NOT_DRAWN, "text"}.isdisjoint(region):
        return ""
    return next((name for name in region if name.endswith("labels")), "region")


def _size_of(region: Fact) -> Fact:
    return {name: region.get(name) for name in ("original_width", "original_height")}


def _not_drawn(file: Path) -> Iterator[str]:
    """Where tasks stand that nobody annotated, or whose annotations were all withdrawn."""
    for at, task in enumerate(tasks_in(file), 1):
        listed = task.get("annotations")
        drawn = isinstance(listed, list) and not all(map(is_withdrawn, listed))
        if "data" in task and not drawn:
            yield f"{guard.shown(file.name)}: task {task.get('id', at)}"


def _latest(drawings: Sequence[Drawing], into: Collector) -> Iterator[Drawing]:
    """One drawing of each picture."""
    latest: dict[str, Drawing] = {}
    for one in drawings:
        address = _address_in(one.data)
        if address is None:
            into.say("bad-picture", one.where, "The task names no picture.", "set aside")
            continue
        before = latest.get(address)
        if before is not None:
            what = f"{before.annotator} and {one.annotator} drew on the same picture."
            into.say("drawn-twice", one.where, what, "the latest counts")
        if before is None or one.at >= before.at:
            latest[address] = one
    yield from latest.values()


def _read_drawing(into: Collector, one: Drawing, root: Path) -> None:
    address = _address_in(one.data)
    assert address is not None, "see `_latest`"
    split = _split_of(one.data.get("split"))
    id_ = into.picture(_file_of(address, root), one.where, split)
    drawn = [region for region in one.regions if str(region.get("type")) not in _NOT_DRAWN]
    for region in drawn:
        _read_region(into, id_, region, one.where)
    # After the boxes: they are of the picture as it is shown, whatever the size is.
    sizes = [(region.get("original_width"), region.get("original_height")) for region in drawn]
    if id_ is not None:
        for _, size in sorted({repr(size): size for size in sizes}.items()):
            into.declared(id_, size, one.where)


def _read_region(into: Collector, id_: str | None, region: Mapping[str, Any], where: str) -> None:
    """Reads one thing that was drawn."""
    kind, value = str(region.get("type")), region.get("value")
    value = value if isinstance(value, dict) else {}
    size = into.size(id_) if id_ is not None else (1, 1)
    turned = False
    if kind == _RECTANGLES:
        edges, turned = _edges(value, size)
        if turned:
            into.say("turned", where, "The rectangle is turned.", "the rectangle around it is used")
    elif kind == _POLYGONS and (edges := _around(value, size)):
        what = "There is a polygon and no rectangle."
        into.say("no-bbox", where, what, "the box around it is used")
    else:
        what = f"This is no rectangle but {kind!r}."
        return into.refuse("no-rectangle", where, what, id_=id_)
    named = value.get(kind)
    crowd = isinstance(region.get("meta"), dict) and region["meta"].get("crowd") is True
    for name in named if isinstance(named, list) and named else [None]:
        into.box(id_, name, edges, where, crowd, pixels=True, mended=turned)


def _around(value: Mapping[str, Any], size: tuple[int, int]) -> list[object]:
    """Left, top, right, bottom in pixels around a polygon; [] when it is none."""
    points = value.get("points")
    corners = points if isinstance(points, list) else []
    corners = [corner for corner in corners if isinstance(corner, list)]
    edges = around([length for corner in corners for length in corner])
    return [(number(edge) or 0.0) / 100 * size[at % 2] for at, edge in enumerate(edges)]


def _edges(value: Mapping[str, Any], size: tuple[int, int]) -> tuple[list[object], bool]:
    """Left, top, right, bottom in pixels; and whether the rectangle is turned.

    Label Studio turns clockwise, around the upper left corner.
    """
    given: list[object] = [value.get(name) for name in ("x", "y", "width", "height")]
    numbers = [number(one) for one in given]
    if any(one is None for one in numbers):
        return given, False
    x, y, wide, high = (float(one) for one in numbers if one is not None)
    left, top = x / 100 * size[0], y / 100 * size[1]
    wide, high = wide / 100 * size[0], high / 100 * size[1]
    if wide < 0 or high < 0:
        return [left, top, left, top], False
    angle = radians(number(value.get("rotation")) or 0.0)
    if not isfinite(angle):
        return [angle] * 4, False
    if not angle:
        return [left, top, left + wide, top + high], False
    across = (0.0, wide * cos(angle), -high * sin(angle), wide * cos(angle) - high * sin(angle))
    down = (0.0, wide * sin(angle), high * cos(angle), wide * sin(angle) + high * cos(angle))
    return [left + min(across), top + min(down), left + max(across), top + max(down)], True


def _split_of(value: object) -> Split:
    return SPLIT_NAMES.get(value.lower(), "") if isinstance(value, str) else ""


def _address_in(data: Mapping[str, Any]) -> str | None:
    """The value of a task's data that names the picture."""
    values = [data.get(_PICTURE), *data.values()]
    texts = [value for value in values if isinstance(value, str) and "\0" not in value]
    named = [
        text
        for text in texts
        if any(Path(name).suffix.lower() in guard.PICTURE_SUFFIXES for name in paths_in(text))
    ]
    return named[0] if named else None


def _file_of(address: str, root: Path) -> Path:
    """The picture below a folder that an address means; where it should be, if it is not there."""
    names = list(paths_in(address))
    inside = [root / name for name in names if not Path(name).is_absolute()]
    return next((file for file in inside if guard.is_file(file)), inside[0])


# Out ----------------------------------------------------------------------------------------------


def predicted_tasks(
    found: Sequence[tuple[str, Mapping[str, Any]]], classes: Sequence[str]
) -> dict[str, str]:
    """What a model found as pre-annotations: files by name.

    Args:
        found: the picture's path from Label Studio's document root on, and what `predict` says.
        classes: in the model's order.
    """
    tasks: list[Fact] = []
    for path, row in found:
        size = (row["width"], row["height"])
        results = [
            _rectangle(f"{at}", thing["label"], thing["box"], size)
            | {"score": thing["probability"]}
            for at, thing in enumerate(row["objects"])
        ]
        prediction: Fact = {"model_version": "regraft", "result": results}
        if results:
            prediction["score"] = sum(one["score"] for one in results) / len(results)
        tasks.append({"data": {_PICTURE: _LOCAL + quote(path)}, "predictions": [prediction]})
    return _written(tasks, classes)


def _written(tasks: Sequence[Fact], classes: Sequence[str]) -> dict[str, str]:
    lines = [
        "<View>",
        f'  <Image name="{_PICTURE}" value="${_PICTURE}" zoom="true"/>',
        f'  <RectangleLabels name="{_CONTROL}" toName="{_PICTURE}">',
        *(f'    <Label value="{escape(name)}"/>' for name in classes),
        "  </RectangleLabels>",
        "</View>",
    ]
    return {
        TASKS: json.dumps(list(tasks), indent=1, ensure_ascii=False) + "\n",
        INTERFACE: "\n".join(lines) + "\n",
    }


def _rectangle(name: str, category: str, edges: Sequence[float], size: tuple[int, int]) -> Fact:
    left, top, right, bottom = edges
    return {
        "id": name,
        "type": _RECTANGLES,
        "from_name": _CONTROL,
        "to_name": _PICTURE,
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": {
            "x": 100 * left / size[0],
            "y": 100 * top / size[1],
            "width": 100 * (right - left) / size[0],
            "height": 100 * (bottom - top) / size[1],
            "rotation": 0,
            _RECTANGLES: [category],
        },
    }
