"""YOLO folders: data.yaml, and beside images/…/a.jpg a labels/…/a.txt with a line for each box.

A line is `class centre_x centre_y width height`, all but the class in shares of the picture, or a
polygon: `class x y x y x y …`. A picture without a label file is a negative, and that is said.

Decisions:

- A category number that data.yaml does not have is an error, with file and line.
- Lines whose width and height are above 1 are in pixels; they are read so, and it is said. Where
  no number is above 2, they are shares that reach a little beyond the picture.
- What YOLO has no word for stands in data.yaml, where others pass over it: `crowd:` lists the
  lines, counted from 1, of each label file that are crowds.
- `yolo_layout.py` says what may stand in the place of data.yaml, and where pictures and labels are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, final

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.collector import Collector
from regraft.dataset.boxes.rows import BoxData, around, listed, number
from regraft.dataset.boxes.yolo_layout import (
    is_described,
    label_of,
    layout_of,
    pictures_in,
    wanted_label,
)
from regraft.dataset.encoding import read_utf8
from regraft.dataset.reader import SPLIT_NAMES
from regraft.dataset.rows import SPLITS, Split
from regraft.errors import DataError
from regraft.wording import plural

_MAX_LABEL_BYTES = 16 * 2**20
_KEYS: Mapping[Split, str] = {"train": "train", "valid": "val", "test": "test"}
_CLEARLY = 2.0
"""No share is larger, however careless."""


@final
@dataclass(frozen=True)
class YoloReader:
    """Reads and writes YOLO folders."""

    name: str = "yolo"

    def recognises(self, path: Path) -> bool:
        """See `yolo_layout.is_described`."""
        return is_described(path)

    def read(self, path: Path) -> BoxData:
        """The rows; see `dataset.boxes.read_boxes`."""
        layout = layout_of(path)
        content, root = layout.content, layout.root
        into = Collector(path, root, self.name)
        own = guard.shown(layout.file.name)
        names = _categories(into, content, own)
        if not any(key in content for key in SPLIT_NAMES):
            raise DataError(
                f"{own} has neither train nor val: it does not say where the pictures are.",
                where=guard.shown(layout.file),
                mend="add the folders of the pictures, for example train: images",
            )
        crowds = _crowds(content)
        seen: set[Path] = set()
        done: set[Path] = set()
        for picture, split in pictures_in(into, layout):
            label = label_of(picture)
            shown = _shown(label, root)
            if picture in done:
                into.picture(picture, shown, split)  # says so where it is in two splits
                continue
            if label in seen:
                what = f"Two pictures share it; one is {guard.shown(picture.name)}."
                into.say("shared-labels", shown, what, "read for both")
            done.add(picture)
            seen.add(label)
            naming = _Naming(names, own, shown, crowds.get(shown, frozenset()), content)
            _read_labels(into, picture, split, label, naming)
        _say_strays(into, root, seen)
        return into.finish(names.values())

    def place(self, name: str, split: str) -> str:
        """See `BoxFormat`."""
        return f"images/{split}/{name}" if split else f"images/{name}"

    def write(self, data: BoxData, folder: Path) -> None:
        """data.yaml and a label file for each picture, an empty one for negatives.

        Raises:
            DataError: two pictures would share a label file.
        """
        import yaml

        crowds: dict[str, list[int]] = {}
        labels: dict[str, str] = {}
        for picture in data.pictures:
            label = wanted_label(Path(picture.id)).as_posix()
            if label in labels:
                raise DataError(
                    f"{picture.id} and {labels[label]} would share {label}.",
                    where=guard.shown(data.path),
                    mend="give the pictures names that differ in more than their endings",
                )
            labels[label] = picture.id
            wide, high = picture.width_px, picture.height_px
            lines = [
                f"{b.category} {(b.left + b.right) / 2 / wide!r} {(b.top + b.bottom) / 2 / high!r}"
                f" {(b.right - b.left) / wide!r} {(b.bottom - b.top) / high!r}\n"
                for b in picture.boxes
            ]
            store.commit(folder / label, "".join(lines).encode())
            crowd = [line for line, box in enumerate(picture.boxes, 1) if box.crowd]
            if crowd:
                crowds[label] = crowd
        splits = {picture.split for picture in data.pictures}
        named = {_KEYS[split]: f"images/{split}" for split in SPLITS if split and split in splits}
        content: dict[str, Any] = named or {"train": "images", "val": "images"}
        content |= {"nc": len(data.listed), "names": list(data.listed)}
        if crowds:
            content["crowd"] = crowds
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        store.commit(folder / "data.yaml", text.encode())


# Categories ---------------------------------------------------------------------------------------


def _categories(into: Collector, content: Mapping[str, Any], where: str) -> dict[int, str]:
    given = content.get("names")
    if isinstance(given, list):
        given = dict(enumerate(given))
    if not isinstance(given, dict) or not given:
        raise DataError(
            f"{where} names no categories.",
            where=where,
            mend="add names: [first, second]"
            if where.endswith((".yaml", ".yml"))
            else "write a name a line",
        )
    names: dict[int, str] = {}
    known: set[str] = set()
    for given_key, name in given.items():
        key = int(given_key) if str(given_key).isdecimal() else given_key
        if isinstance(key, bool) or not isinstance(key, int) or key < 0:
            raise DataError(
                f"The category {name!r} has the number {key!r}.",
                where=f"{where}: names",
                mend="count from 0",
            )
        if str(name) in known:
            what = f"Two categories are called {str(name)!r}."
            into.say("duplicate-category", f"{where}: names[{key}]", what, "read as one")
        known.add(str(name))
        names[key] = str(name)
    gap = next(number for number in range(len(names) + 1) if number not in names)
    if gap < len(names):
        what = f"There is no category {gap}, but one with a higher number."
        into.say("category-gap", f"{where}: names", what, "numbers kept")
    count = content.get("nc")
    if count is not None and count != len(names):
        what = f"nc is {count!r}; there are {len(names)} names."
        into.say("wrong-count", f"{where}: nc", what, "the names count")
    return names


def _crowds(content: Mapping[str, Any]) -> dict[str, frozenset[int]]:
    given = content.get("crowd")
    if not isinstance(given, dict):
        return {}
    return {
        str(label): frozenset(line for line in lines if isinstance(line, int))
        for label, lines in given.items()
        if isinstance(lines, list)
    }


# Labels -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Naming:
    """What the lines of one label file mean."""

    names: Mapping[int, str]
    file: str
    where: str
    crowds: frozenset[int]
    content: Mapping[str, Any]

    @property
    def listed_in(self) -> str:
        """Where a further category would stand."""
        return f"`names` in {self.file}" if self.file.endswith((".yaml", ".yml")) else self.file


def _shown(file: Path, root: Path) -> str:
    return guard.shown(file.relative_to(root) if file.is_relative_to(root) else file)


def _read_labels(
    into: Collector, picture: Path, split: Split, label: Path, naming: _Naming
) -> None:
    try:
        lines = read_utf8(label, _MAX_LABEL_BYTES).splitlines()
    except guard.Refused as fault:
        lines = []
        if fault.kind == "missing" and guard.is_file(picture):
            what = f"{guard.shown(picture.name)} has no label file."
            into.say("no-label-file", naming.where, what, "taken as a negative")
        elif fault.kind not in ("empty", "missing"):
            return into.set_aside(picture, fault.kind, naming.where, fault.what)
    except DataError as fault:
        return into.set_aside(picture, "unreadable", fault.where, fault.what)
    id_ = into.picture(picture, naming.where, split)
    for at, line in enumerate(lines, 1):
        if line.strip():
            _line(into, id_, line.split(), at, naming)


def _line(into: Collector, id_: str | None, words: list[str], at: int, naming: _Naming) -> None:
    where = f"{naming.where}:{at}"
    numbers = words[1:5] if "kpt_shape" in naming.content else words[1:]
    if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
        what = f"The line has {plural(len(words), 'column')}; a box has 5, a polygon 7, 9, 11, …"
        return into.refuse("wrong-columns", where, what, id_=id_)
    category = number(words[0])
    known = naming.names.get(int(category)) if category is not None and category % 1 == 0 else None
    if known is None:
        hint = " (do they count from 1?)" if category == max(naming.names) + 1 else ""
        return into.unknown_category(
            f"{where}: category {words[0]}{hint}",
            f"{naming.file} has {listed(naming.names)}",
            f"add the category to {naming.listed_in}",
        )
    crowd = at in naming.crowds
    if id_ is None:
        return into.box(None, known, [], where, crowd)
    size = into.size(id_)
    box = _of_polygon(numbers, size) if len(numbers) > 4 else _of_middle(numbers, size)
    if box is None:
        return into.box(id_, known, numbers, where, crowd)
    edges, in_pixels = box
    if in_pixels:
        into.say("in-pixels", where, "Width and height are above 1.", "read as pixels")
        return into.box(id_, known, edges, where, crowd, pixels=True, mended=True)
    scaled = [edge * size[i % 2] for i, edge in enumerate(edges)]
    into.box(id_, known, scaled, where, crowd, pixels=True)


def _of_polygon(
    numbers: Sequence[object], size: tuple[int, int]
) -> tuple[Sequence[float], bool] | None:
    """Left, top, right, bottom around x, y, x, y, …, and whether they are in pixels."""
    edges = [value for edge in around(numbers) if (value := number(edge)) is not None]
    if not edges:
        return None
    _, _, right, bottom = edges
    return edges, _in_pixels(right, bottom, size, max(edges))


def _of_middle(
    numbers: Sequence[object], size: tuple[int, int]
) -> tuple[Sequence[float], bool] | None:
    """Left, top, right, bottom of a middle and sides, and whether they are in pixels."""
    finite = [value for one in numbers if (value := number(one)) is not None and isfinite(value)]
    if len(finite) != len(numbers):
        return None
    x, y, wide, high = finite
    in_pixels = _in_pixels(wide, high, size, max(finite))
    if wide < 0 or high < 0:
        return [x, y, x, y], in_pixels
    return [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], in_pixels


def _in_pixels(across: float, down: float, size: tuple[int, int], largest: float) -> bool:
    """Whether these cannot be shares but lie on the picture, or a pixel beyond it."""
    return 1 < across <= size[0] + 1 and 1 < down <= size[1] + 1 and largest > _CLEARLY


def _say_strays(into: Collector, root: Path, seen: set[Path]) -> None:
    """Label files without a picture: their boxes are counted, and refused."""
    for folder in sorted({file.parent for file in seen}):
        if not folder.is_dir():
            continue
        for file, is_folder in guard.listed(folder):
            stray = file.suffix.lower() == ".txt" and not is_folder and file not in seen
            if not stray or file.stem.lower() in ("classes", *SPLIT_NAMES):
                continue
            try:
                lines = read_utf8(file, _MAX_LABEL_BYTES).splitlines()
            except DataError:
                lines = []
            lines = [words for line in lines if (words := line.split())]
            what = f"No picture belongs to it; it has {plural(len(lines), 'box', 'boxes')}."
            if lines and all(number(word) is not None for word in lines[0]):
                into.refuse("no-picture", _shown(file, root), what, len(lines))
