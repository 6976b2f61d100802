"""A CSV of boxes: path, category, left, top, right, bottom, and perhaps crowd and split.

Edges are pixels from 0; they may be called otherwise (`xmin`, `x1`, …), and `width` and `height`
may stand for right and bottom beside `left` and `top`. A row with only a path is a picture without
boxes. Columns are parted by commas, semicolons or tabs. Between semicolons edges may have a decimal
comma, as spreadsheets of many countries write it; with a point besides they are no numbers. A table
that seems to be of boxes but lacks columns is refused, and the columns that it has are named: as a
table of labels it would fail without a word of boxes. So are `x` and `y`, which may be a corner or
the middle.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.collector import TRUTH, Collector
from regraft.dataset.boxes.rows import BoxData, number
from regraft.dataset.encoding import read_utf8
from regraft.dataset.reader import SPLIT_NAMES
from regraft.errors import DataError
from regraft.wording import plural, some_of

_NAME = "boxes.csv"
_EDGES = ("left", "top", "right", "bottom")
_SIDES = (("width", "height"), ("w", "h"))
_ENOUGH = 3
"""Columns called like edges from which on a table is of boxes."""
_LISTED = 10
_CROWD = {**TRUTH, "yes": True, "no": False}
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?")
_PREFIX = re.compile("(?:b?box)[_ ]")
_ALIASES = {
    **dict.fromkeys(("image_path", "file", "filename", "image", "image_name"), "path"),
    **dict.fromkeys(("label", "class", "class_name", "category_name"), "category"),
    **dict.fromkeys(("xmin", "x_min", "x1"), "left"),
    **dict.fromkeys(("ymin", "y_min", "y1"), "top"),
    **dict.fromkeys(("xmax", "x_max", "x2"), "right"),
    **dict.fromkeys(("ymax", "y_max", "y2"), "bottom"),
}


@final
@dataclass(frozen=True)
class TableReader:
    """Reads and writes a CSV of boxes."""

    name: str = "csv"

    def recognises(self, path: Path) -> bool:
        """A .csv file whose first line names what boxes have; or a folder with boxes.csv."""
        path = path / _NAME if path.is_dir() else path
        if path.suffix.lower() != ".csv" or not path.is_file():
            return False
        try:
            with path.open(encoding="utf-8-sig", errors="replace") as file:
                first = file.readline(10_000)
        except OSError:
            return False
        columns = set(_columns(first.strip().split(_separator(first))))
        corners = {"x", "y"} <= columns or {"left", "top"} <= columns
        sides = any({*names} <= columns for names in _SIDES)
        return len(columns & {*_EDGES}) >= _ENOUGH or ("path" in columns and corners and sides)

    def read(self, path: Path) -> BoxData:
        """The rows; see `dataset.boxes.read_boxes`."""
        file = path / _NAME if path.is_dir() else path
        text = read_utf8(file)
        first = text.partition("\n")[0]
        separator = _separator(first)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        root = file.resolve().parent
        into = Collector(path, root, self.name)
        columns = _columns(next(rows, []))
        _refuse_missing(columns, f"{guard.shown(file)}:1")
        try:
            for row in rows:
                where = f"{guard.shown(file.name)}:{rows.line_num}"
                _row(into, root, columns, row, where, commas=separator == ";")
        except csv.Error as fault:
            where = f"{guard.shown(file)}:{rows.line_num}"
            raise DataError(
                f"This is no CSV: {fault}.", where=where, mend="save it again"
            ) from fault
        return into.finish()

    def place(self, name: str, split: str) -> str:
        """See `BoxFormat`."""
        return name

    def write(self, data: BoxData, folder: Path) -> None:
        """One file, `boxes.csv`."""
        out = io.StringIO(newline="")
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["path", "category", *_EDGES, "crowd", "split"])
        for picture in data.pictures:
            if not picture.boxes:
                table.writerow([picture.id, *[""] * 6, picture.split])
            for box in picture.boxes:
                edges = [box.left, box.top, box.right, box.bottom]
                name = data.categories[box.category]
                table.writerow([picture.id, name, *edges, int(box.crowd), picture.split])
        store.commit(folder / _NAME, out.getvalue().encode())


def _separator(first: str) -> str:
    return max(",;\t", key=first.count)


def _refuse_missing(columns: list[str], where: str) -> None:
    needed = ("path", "category", *_EDGES[:2], *(_sides_in(columns) or _EDGES[2:]))
    missing = [repr(name) for name in needed if name not in columns]
    if not missing:
        return
    there = some_of([guard.shown(name) for name in columns], _LISTED) or "none"
    lack = (
        f"is no column {missing[0]}"
        if len(missing) == 1
        else f"are no columns {', '.join(missing)}"
    )
    mend = "the first line is path,category,left,top,right,bottom"
    if "left" not in columns and {"x", "y"} <= {*columns}:
        mend += "; where x and y are the left upper corner, call them left and top"
    raise DataError(f"There {lack}; there are {there}.", where=where, mend=mend)


def _columns(names: list[str]) -> list[str]:
    plain = [_PREFIX.sub("", name.strip().strip('"').lower()) for name in names]
    return [_ALIASES.get(name, name) for name in plain]


def _sides_in(columns: Collection[str]) -> tuple[str, str] | None:
    """The columns that stand for right and bottom where there are none."""
    if {"right", "bottom"} & {*columns} or not {"left", "top"} <= {*columns}:
        return None
    return next((names for names in _SIDES if {*names} <= {*columns}), None)


def _edges(cells: Mapping[str, str], commas: bool) -> list[str]:
    """Left, top, right, bottom of a row, as they are written or with the sides added."""
    sides = _sides_in(cells)
    edges = [cells[name] for name in (*_EDGES[:2], *(sides or _EDGES[2:]))]
    edges = _with_points(edges) if commas else edges
    numbers = [number(edge) for edge in edges]
    if sides is None or None in numbers:
        return edges
    left, top, wide, high = (value for value in numbers if value is not None)
    return [*edges[:2], repr(left + wide), repr(top + high)]


def _with_points(edges: list[str]) -> list[str]:
    """Numbers with points for decimal commas; as they are where one of them is no number then."""
    pointed = [e.replace(",", ".") if _DECIMAL_COMMA.fullmatch(e) else e for e in edges]
    return edges if any(number(edge) is None for edge in pointed) else pointed


def _row(
    into: Collector, root: Path, columns: list[str], row: list[str], where: str, commas: bool
) -> None:
    if not row:
        return
    if len(row) != len(columns):
        many = plural(len(row), "column")
        what = f"The line has {many}; the first one has {len(columns)}."
        into.refuse("wrong-columns", where, what)
        return
    given = dict(zip(columns, row, strict=True))
    cells = {name: cell.strip() for name, cell in given.items()}
    if given["path"] != cells["path"] and guard.is_file(root / given["path"]):
        cells["path"] = given["path"]  # space around it belongs to the name
    if not cells["path"] or "\0" in cells["path"]:
        into.refuse("no-picture", where, "The line names no picture.")
        return
    named = cells.get("split", "").lower()
    if named and named not in SPLIT_NAMES:
        into.say("unknown-split", where, f"There is no split {named!r}.", "read as none")
    id_ = into.picture(root / cells["path"], where, SPLIT_NAMES.get(named, ""))
    edges = _edges(cells, commas)
    if cells["category"] or any(edges):
        crowd = into.crowd(cells.get("crowd"), where, _CROWD)
        into.box(id_, cells["category"], edges, where, crowd)
