"""A table of boxes: path, category, left, top, right, bottom, and perhaps crowd and split.

Edges are pixels from 0; they may be called otherwise (`xmin`, `x1`, …), and `width` and `height`
may stand for right and bottom beside `left` and `top`; beside all four they are the picture's.
Columns are parted by commas, semicolons, tabs, or what a line `sep=` above the first names. Between
semicolons or tabs edges may have a decimal comma, as spreadsheets of many countries write it; with
a point besides they are no numbers. A table that seems to be of boxes but lacks columns is refused,
and the columns that it has are named: as a table of labels it would fail without a word of boxes.
So are two columns of one meaning, `x` and `y`, which may be a corner or the middle, boxes in one
column (WKT, lists), and VIA's own CSV.

A row with only a path is a picture without boxes, whether the other cells are empty or NaN, as
pandas writes them. So is, and that is said, one whose edges are all 0, as DeepForest writes it.

A picture with its `sha256` has to have it, and may then lie outside of the table's folder: what
several people drew comes to such a table, which `regraft labels` writes to wherever it is told to.
It is looked for where its path leads, and nowhere else.

A folder may have boxes.csv or another such table, or one in the folder of each split (Roboflow).

TSV, Parquet and JSON lines are read as CSV is. A list or an object where one value belongs, which
the latter two can have, is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.collector import TRUTH, Collector
from regraft.dataset.boxes.elsewhere import found_elsewhere
from regraft.dataset.boxes.rows import BoxData, number
from regraft.dataset.cells import encoded, from_cell, path_cell, to_cell
from regraft.dataset.encoding import characters_in, first_lines
from regraft.dataset.places import Places
from regraft.dataset.reader import SPLIT_NAMES
from regraft.dataset.rows import Problem, Split
from regraft.dataset.table import Table, columns_of, read_table, said_separator
from regraft.dataset.texts import NoText
from regraft.errors import DataError
from regraft.wording import plural, some_of

_NAME = "boxes.csv"
_WRITTEN = frozenset({".csv", ".tsv"})
"""What tables end in whose cells are parted by separators."""
_EDGES = ("left", "top", "right", "bottom")
_SIDES = (("width", "height"), ("w", "h"))
_ENOUGH = 3
"""Columns called like edges from which on a table is of boxes."""
_LISTED = 10
_CROWD = {**TRUTH, "yes": True, "no": False}
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?")
_PREFIX = re.compile("^b?box[_ ]")
_MIDDLES = (("x_center", "y_center"), ("center_x", "center_y"), ("cx", "cy"), ("xc", "yc"))
_IN_ONE = frozenset({"geometry", "geom", "wkt", "polygon", "bbox", "box"})
"""Columns that may hold a whole box."""
_WHOLE = re.compile(r"POLYGON|[\[(]\s*[0-9.]+\s*,", re.IGNORECASE)
_VIA = "region_shape_attributes"
_NOTHING = frozenset({"", "nan", "na", "none", "null"})
"""What an empty cell may be written as, in lower case."""
_PREDICTED = frozenset({"score", "confidence", "probability"})
_ALIASES = {
    **dict.fromkeys(("image_path", "file", "filename", "image", "image_name"), "path"),
    **dict.fromkeys(("label", "class", "class_name", "category_name"), "category"),
    **dict.fromkeys(("xmin", "x_min", "minx", "xtl", "x1"), "left"),
    **dict.fromkeys(("ymin", "y_min", "miny", "ytl", "y1"), "top"),
    **dict.fromkeys(("xmax", "x_max", "maxx", "xbr", "x2"), "right"),
    **dict.fromkeys(("ymax", "y_max", "maxy", "ybr", "y2"), "bottom"),
}
_FROM_0 = {"x0": "left", "y0": "top", "x1": "right", "y1": "bottom"}
"""Where there is an `x0`, `x1` is the right edge."""


@final
@dataclass(frozen=True)
class TableReader:
    """Reads a table of boxes, and writes it as CSV."""

    name: str = "csv"

    def recognises(self, path: Path) -> bool:
        """A table whose columns are called what boxes have; or a folder with such."""
        try:
            return bool(_tables_in(path)) if path.is_dir() else _is_of_boxes(path)
        except DataError:  # there are too many
            return True
        except OSError:
            return False

    def read(self, path: Path) -> BoxData:
        """The rows; see `dataset.boxes.read_boxes`."""
        root = path.resolve() if path.is_dir() else path.resolve().parent
        into = Collector(path, root, self.name)
        for file, split in _tables_in(path):
            _read_file(into, file.resolve(), root, split)
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
                table.writerow([path_cell(picture.id), *[""] * 6, picture.split])
            for box in picture.boxes:
                edges = [box.left, box.top, box.right, box.bottom]
                words = [path_cell(picture.id), to_cell(data.categories[box.category])]
                table.writerow([*words, *edges, int(box.crowd), picture.split])
        store.commit(folder / _NAME, encoded(out.getvalue()))


# Files --------------------------------------------------------------------------------------------


def _tables_in(folder: Path) -> list[tuple[Path, Split]]:
    """The tables of boxes of a folder, and the split of each; of a file, that file.

    Raises:
        DataError: there are several at the top of the folder.
    """
    if not folder.is_dir():
        return [(folder, "")]
    if (folder / _NAME).is_file():
        return [(folder / _NAME, "")]
    entries = guard.listed(folder)
    top = _of_ground_truth(file for file, is_folder in entries if not is_folder)
    if len(top) > 1:
        names = some_of([guard.shown(file.name) for file in top], _LISTED)
        raise DataError(
            f"There are several tables of boxes: {names}.",
            where=guard.shown(folder),
            mend="give one of them, or put all rows into one, called boxes.csv; tables of several "
            "people are compared by: regraft labels",
        )
    if top:
        return [(top[0], "")]
    splits = [entry for entry, is_folder in entries if is_folder and _split_of(entry)]
    inside = {place: [file for file, _ in guard.listed(place)] for place in splits}
    found = {place: _of_ground_truth(files) for place, files in inside.items()}
    return [(files[0], _split_of(place)) for place, files in found.items() if len(files) == 1]


def _split_of(folder: Path) -> Split:
    return SPLIT_NAMES.get(folder.name.lower(), "")


def _of_ground_truth(files: Iterable[Path]) -> list[Path]:
    """Tables of boxes that nobody predicted."""
    return [file for file in files if _is_of_boxes(file) and not _PREDICTED & {*_head(file)[0]}]


def _is_of_boxes(file: Path) -> bool:
    if file.suffix.lower() not in guard.TABLE_SUFFIXES or not file.is_file():
        return False
    names, second = _head(file)
    columns = {*names}
    corners = {"x", "y"} <= columns or {"left", "top"} <= columns
    middles = any({*pair} <= columns for pair in _MIDDLES)
    sides = any({*pair} <= columns for pair in _SIDES)
    return (
        len(columns & {*_EDGES}) >= _ENOUGH
        or ("path" in columns and (corners or middles) and sides)
        or _VIA in columns
        or bool(columns & _IN_ONE and _WHOLE.search(second))
    )


def _head(file: Path) -> tuple[list[str], str]:
    """The columns of a table, as they are understood, and its second line if it is written."""
    if file.suffix.lower() not in _WRITTEN:
        return _columns(columns_of(file)), ""
    try:
        lines = [*first_lines(file)[:3], "", "", ""]
    except OSError:
        return [], ""
    said = said_separator(lines[0])
    first, second = lines[1:3] if said else lines[:2]
    return _columns(first.strip().split(said or _separator(first))), second


def _read_file(into: Collector, file: Path, root: Path, split: Split) -> None:
    shown = guard.shown(file.relative_to(root))
    rows, commas = _cells(into, file, shown)
    header, line = next(rows, ([], 1))
    columns = _columns(header)
    at = f"{guard.shown(file)}:{line}"
    _refuse_foreign(columns, at)
    _refuse_several(columns, header, at)
    _refuse_missing(columns, at)
    lines = [(row, f"{shown}:{line}") for row, line in rows if row]
    table = _Table(into, file.parent, columns, commas, split)
    named = [(cells, where) for row, where in lines if (cells := table.cells(row, where))]
    table.locate((cells for cells, _ in named), root, shown)
    for cells, where in named:
        table.read(cells, where)


_Rows = Iterator[tuple[list[str], int]]
"""The rows of a table, its columns first, and the line that each ends in."""


def _cells(into: Collector, file: Path, shown: str) -> tuple[_Rows, bool]:
    """The rows of a table, and whether numbers in them may have decimal commas."""
    if file.suffix.lower() not in _WRITTEN:
        table = read_table(file)
        _say(into, table.notes, shown)
        _refuse_unread(table)
        cells = zip(*map(table.contents, table.columns), strict=True)
        rows = [[*table.columns], *map(list, cells)]
        return zip(rows, (1, *table.lines), strict=True), False
    text, notes = characters_in(guard.read_file(file), file)
    _say(into, notes, shown)
    first = text.partition("\n")[0]
    said = said_separator(first)
    separator = said or _separator(first)
    rows = _rows(file, text, separator)
    if said:
        next(rows)
    return rows, separator != ","


def _say(into: Collector, notes: Iterable[Problem], where: str) -> None:
    for note in notes:
        into.say(note.kind, where, note.what, note.done)


def _rows(file: Path, text: str, separator: str) -> _Rows:
    """The rows of a table that is written.

    Raises:
        DataError: it is none.
    """
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for row in rows:
            yield row, rows.line_num
    except csv.Error as fault:
        where = f"{guard.shown(file)}:{rows.line_num}"
        raise DataError(f"This is no CSV: {fault}.", where=where, mend="save it again") from fault


def _separator(first: str) -> str:
    return max(",;\t", key=first.count)


# What they say ------------------------------------------------------------------------------------


def _refuse_foreign(columns: Collection[str], where: str) -> None:
    if _VIA in columns:
        raise DataError(
            "This is the own CSV of VIA, the VGG Image Annotator.",
            where=where,
            mend="in VIA, take Annotation > Export Annotations (COCO format)",
        )
    whole = sorted(_IN_ONE & {*columns})
    if whole and not {*_EDGES} & {*columns}:
        raise DataError(
            f"The boxes are in one column, {whole[0]!r}, which is not read.",
            where=where,
            mend="write the edges of each into the columns left, top, right and bottom, in pixels "
            "(geopandas: frame.bounds)",
        )


def _refuse_unread(table: Table) -> None:
    """Refuse a column that is meant, is of a type that is not read, and has none in its place."""
    columns = _columns([*table.columns, *table.unread])
    there, unread = columns[: len(table.columns)], columns[len(table.columns) :]
    for own, name in zip(table.unread, unread, strict=True):
        if name in _read_of(columns) and name not in there:
            table.refuse_unread(own)


def _refuse_several(columns: Sequence[str], header: Sequence[str], where: str) -> None:
    twice = next((name for name in _read_of(columns) if columns.count(name) > 1), None)
    if twice is None:
        return
    given = zip(columns, header, strict=True)
    own = [guard.shown(name) for column, name in given if column == twice]
    raise DataError(
        f"Several columns are read as {twice!r}: {some_of(own, _LISTED)}.",
        where=where,
        mend="keep the one that is meant, and take the others out or call them otherwise",
    )


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


def _columns(names: Iterable[str]) -> list[str]:
    plain = [_PREFIX.sub("", name.strip().strip('"').lower()) for name in names]
    aliases = {**_ALIASES, **_FROM_0} if "x0" in plain else _ALIASES
    return [aliases.get(name, name) for name in plain]


def _read_of(columns: Collection[str]) -> tuple[str, ...]:
    """What columns are read as."""
    return ("path", "category", *_EDGES, *(_sides_in(columns) or ()), "crowd", "split")


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


def _without_one_value(cells: Mapping[str, str]) -> str | None:
    """The first column of a box that has a list or an object in this row."""
    of_box = ("category", *_EDGES, *(_sides_in(cells) or ()))
    return next((name for name in of_box if isinstance(cells.get(name), NoText)), None)


def _with_points(edges: list[str]) -> list[str]:
    """Numbers with points for decimal commas; as they are where one of them is no number then."""
    pointed = [e.replace(",", ".") if _DECIMAL_COMMA.fullmatch(e) else e for e in edges]
    return edges if any(number(edge) is None for edge in pointed) else pointed


@final
@dataclass
class _Table:
    """One file.

    Attributes:
        into: takes what is found.
        base: the folder that paths begin in.
        columns: as they are understood.
        commas: edges may have decimal commas.
        split: of all its pictures, where they have none of their own.
        elsewhere: pictures that are not where their path leads, by path.
        places: finds those whose checksum is known.
        sized: pictures and the sizes that were given for them.
    """

    into: Collector
    base: Path
    columns: list[str]
    commas: bool
    split: Split
    elsewhere: Mapping[str, Path] = field(default_factory=dict[str, Path])
    places: Places = field(init=False)
    sized: set[tuple[str, float, float]] = field(default_factory=set[tuple[str, float, float]])

    def __post_init__(self) -> None:
        self.places = Places(self.base)

    def cells(self, row: list[str], where: str) -> dict[str, str] | None:
        """A row by column; None where it cannot be read (said)."""
        if len(row) != len(self.columns):
            many = plural(len(row), "column")
            what = f"The line has {many}; the first one has {len(self.columns)}."
            self.into.refuse("wrong-columns", where, what)
            return None
        given = dict(zip(self.columns, row, strict=True))
        cells = {
            name: cell if isinstance(cell, NoText) else cell.strip() for name, cell in given.items()
        }
        if given["path"] != cells["path"] and guard.is_file(self.base / given["path"]):
            cells["path"] = given["path"]  # space around it belongs to the name
        if not cells["path"] or "\0" in cells["path"] or isinstance(cells["path"], NoText):
            self.into.refuse("no-picture", where, "The line names no picture.")
            return None
        return cells

    def locate(self, rows: Iterable[Mapping[str, str]], root: Path, where: str) -> None:
        """Find the pictures where none is in its place, but for those whose checksum is known."""
        known = {cells["path"]: bool(cells.get("sha256")) for cells in rows}
        wanted = [name for name, is_known in known.items() if not is_known]
        if wanted and not any(guard.is_file(self.base / name) for name in known):
            self.elsewhere = found_elsewhere(self.into, root, wanted, where)

    def read(self, cells: Mapping[str, str], where: str) -> None:
        """A row: a picture, and perhaps a box on it."""
        into, named = self.into, cells.get("split", "").lower()
        if named and named not in SPLIT_NAMES:
            into.say("unknown-split", where, f"There is no split {named!r}.", "read as none")
        id_ = self._picture(cells, where, SPLIT_NAMES.get(named, self.split))
        edges = _edges(cells, self.commas)
        if id_ is not None:
            self._declare(id_, cells, edges, where)
        if _NOTHING.issuperset(cell.lower() for cell in (cells["category"], *edges)):
            return
        if (several := _without_one_value(cells)) is not None:
            what = f"There is a list or an object in {several!r}; one value belongs there."
            return into.refuse("not-one-value", where, what, id_=id_)
        if all(number(edge) == 0 for edge in edges):
            what = "All edges are 0."
            return into.say("no-object", where, what, "read as a picture without objects")
        crowd = into.crowd(cells.get("crowd"), where, _CROWD)
        into.box(id_, from_cell(cells["category"]), edges, where, crowd)

    def _picture(self, cells: Mapping[str, str], where: str, split: Split) -> str | None:
        """The picture of a row, by its path or by what lies there; None where it is not used."""
        path, sha256 = cells["path"], cells.get("sha256", "").lower()
        file = self.base / path
        if not sha256:
            return self.into.picture(self.elsewhere.get(path, file), where, split)
        found = self.places.find(path, sha256)
        if isinstance(found, Path):
            return self.into.picture(found, where, split, is_known=True)
        what = f"{guard.shown(file)} is not there, or no longer the picture that was drawn on."
        self.into.set_aside(file, "changed", where, what)
        return None

    def _declare(
        self, id_: str, cells: Mapping[str, str], edges: Sequence[str], where: str
    ) -> None:
        """The size of the picture, if width and height are not those of the box; once."""
        pair = next((pair for pair in _SIDES if {*pair} <= {*self.columns}), None)
        if pair is None or _sides_in(self.columns):
            return
        wide, high = (number(cells[name]) for name in pair)
        if wide is None or high is None or (id_, wide, high) in self.sized:
            return
        left, top, right, bottom = (number(edge) or 0.0 for edge in edges)
        if abs(right - left - wide) <= 1 and abs(bottom - top - high) <= 1:
            return
        self.sized.add((id_, wide, high))
        self.into.declared(id_, (wide, high), where)
