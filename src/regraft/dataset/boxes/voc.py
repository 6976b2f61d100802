"""Pascal VOC XML: Annotations/a.xml for JPEGImages/a.jpg, or each beside its picture.

Decisions:

- VOC counts pixels from 1 and takes the last one in: xmin 1 is the left edge 0, xmax 7 the right
  edge 7. Many programs count from 0 all the same; one xmin or ymin of 0 shows that, and then all
  of the data are read so, and it is said.
- `difficult` objects are crowds: neither learnt nor counted as missed, as VOC's own measure has it.
- Splits stand in ImageSets/Main/train.txt, val.txt and test.txt, or are folders of these names.
- XML is read with defusedxml as a stream: no entity is expanded, nothing is fetched, and 16 levels
  are the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, final

from markupsafe import escape

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.rows import BoxData, Collector, around, number
from regraft.dataset.reader import SPLIT_NAMES
from regraft.dataset.rows import Split
from regraft.errors import DataError

_MAX_XML_BYTES = 8 * 2**20
_MAX_DEPTH = 16
_MAX_NODES = 200_000
_MAX_TEXT = 4096
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_SETS: dict[Split, str] = {"train": "train", "valid": "val", "test": "test"}


@final
@dataclass
class _Node:
    """An element."""

    tag: str
    line: int
    text: str = ""
    children: list[_Node] = field(default_factory=list["_Node"])

    def first(self, tag: str) -> _Node | None:
        return next((child for child in self.children if child.tag == tag), None)

    def said(self, tag: str) -> str | None:
        child = self.first(tag)
        return child.text.strip() if child else None


@dataclass(frozen=True)
class _Page:
    """What one XML file says."""

    file: Path
    root: _Node


@final
@dataclass(frozen=True)
class VocReader:
    """Reads and writes Pascal VOC XML."""

    name: str = "voc"

    def recognises(self, path: Path) -> bool:
        """A folder in which, or in whose Annotations/, lies an XML file of an annotation."""
        try:
            return path.is_dir() and any(_is_annotation(file) for file in _some(path))
        except OSError:
            return False

    def read(self, path: Path) -> BoxData:
        """The rows; see `dataset.boxes.read_boxes`."""
        root = path.resolve()
        into = Collector(path, root, self.name)
        pages = list(_pages(into, root))
        first = 1 - _counts_from_0(into, pages, root)
        sets = _sets(into, root)
        for page in pages:
            _read_page(into, page, root, sets, first)
        return into.finish()

    def place(self, name: str, split: str) -> str:
        """See `BoxFormat`."""
        return f"JPEGImages/{name}"

    def write(self, data: BoxData, folder: Path) -> None:
        """An XML file for each picture, and the lists of the splits."""
        sets: dict[str, list[str]] = {}
        taken: set[str] = set()
        for picture in data.pictures:
            inner = PurePosixPath(*PurePosixPath(picture.id).parts[1:])
            stem = str(inner.with_suffix(""))
            # Pictures whose names differ in their endings alone keep these in the XML's name.
            stem = str(inner) if stem in taken else stem
            taken.add(stem)
            if picture.split:
                sets.setdefault(_SETS[picture.split], []).append(stem)
            lines = [
                "<annotation>",
                f"  <folder>{escape(str(PurePosixPath(picture.id).parent))}</folder>",
                f"  <filename>{escape(inner.name)}</filename>",
                f"  <size><width>{picture.width_px}</width><height>{picture.height_px}</height>"
                "<depth>3</depth></size>",
            ]
            for box in picture.boxes:
                edges = (box.left + 1, box.top + 1, box.right, box.bottom)
                bounds = "".join(
                    f"<{tag}>{_written(edge)}</{tag}>"
                    for tag, edge in zip(_EDGES, edges, strict=True)
                )
                name = escape(data.categories[box.category])
                hard = int(box.crowd)
                lines += [
                    f"  <object><name>{name}</name><difficult>{hard}</difficult>",
                    f"    <bndbox>{bounds}</bndbox></object>",
                ]
            text = "\n".join([*lines, "</annotation>", ""])
            store.commit(folder / "Annotations" / f"{stem}.xml", text.encode())
        for name, stems in sets.items():
            text = "\n".join([*stems, ""])
            store.commit(folder / "ImageSets" / "Main" / f"{name}.txt", text.encode())


def _written(edge: float) -> str:
    rounded = round(edge, 6)
    return str(int(rounded)) if rounded == int(rounded) else repr(rounded)


# Files --------------------------------------------------------------------------------------------


def _some(folder: Path) -> Iterator[Path]:
    """The first XML file of the folders where annotations usually are."""
    places = [folder, *(place for place, is_folder in guard.listed(folder) if is_folder)]
    for place in [*places, *(place / "Annotations" for place in places[1:])]:
        if place.is_dir():
            entries = guard.listed(place)
            yield from [f for f, _ in entries if f.suffix.lower() == ".xml"][:1]


def _is_annotation(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return file.is_file() and b"<annotation" in opened.read(4096)
    except OSError:
        return False


def _pages(into: Collector, root: Path) -> Iterator[_Page]:
    for file, problem in guard.files(root):
        if file.suffix.lower() != ".xml":
            continue
        where = guard.shown(file.relative_to(root))
        if problem is not None:
            into.say(problem.kind, where, problem.what, "set aside")
            continue
        try:
            node = _parsed(guard.read_file(file), where)
        except guard.Refused as fault:
            into.say(fault.kind, where, fault.what, "set aside")
        except DataError as fault:
            into.say("hostile-or-broken", fault.where, fault.what, "set aside")
        else:
            if node.tag != "annotation":
                into.say("no-annotation", where, f"This is a <{node.tag}>.", "ignored")
            else:
                yield _Page(file, node)


@final
class _Builder:
    """Makes nodes, and stops at what nobody means: a target of ElementTree's parser."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._open: list[_Node] = []
        self._count = 0
        self.line: Callable[[], int] = lambda: 0
        self.root: _Node | None = None

    def start(self, tag: str, attributes: object) -> None:
        """An element begins."""
        node = _Node(guard.shown(tag[:100]), self.line())
        self._count += 1
        if len(self._open) >= _MAX_DEPTH or self._count > _MAX_NODES:
            raise DataError(
                f"The XML has more than {_MAX_DEPTH} levels or {_MAX_NODES:,} elements.",
                where=f"{self._where}:{node.line}",
                mend="this is no annotation",
            )
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def end(self, tag: str) -> None:
        """It ends."""
        self._open.pop()

    def data(self, text: str) -> None:
        """Text in it."""
        if len(self._open[-1].text) < _MAX_TEXT:
            self._open[-1].text += text

    def close(self) -> None:
        """The file ends."""


def _parsed(data: bytes, where: str) -> _Node:
    """The root element.

    Raises:
        DataError: the XML is broken, too large, too deep, or has entities.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser, ParseError

    if len(data) > _MAX_XML_BYTES:
        raise DataError(f"The XML has {len(data)} bytes.", where=where)
    builder = _Builder(where)
    parser: Any = DefusedXMLParser(target=builder, forbid_dtd=True)
    builder.line = lambda: int(parser.parser.CurrentLineNumber)
    try:
        parser.feed(data)
        parser.close()
    except ParseError as fault:
        at = f"{where}:{fault.position[0]}"
        raise DataError(f"This is no XML: {guard.shown(str(fault))}.", where=at) from fault
    except DefusedXmlException as fault:
        what = "The XML has a document type or entities, which can be made to do harm."
        raise DataError(what, where=where, mend="take out the DOCTYPE") from fault
    except (ValueError, LookupError) as fault:
        if isinstance(fault, DataError):
            raise
        raise DataError(f"This is no XML: {guard.shown(str(fault))}.", where=where) from fault
    assert builder.root is not None, "XML without a root is broken"
    return builder.root


# What they say ------------------------------------------------------------------------------------


def _bounds(thing: _Node) -> list[str | None] | None:
    box = thing.first("bndbox")
    return [box.said(tag) for tag in _EDGES] if box else None


def _counts_from_0(into: Collector, pages: Sequence[_Page], root: Path) -> int:
    """1 where an xmin or ymin below 1 shows that pixels count from 0."""
    for page in pages:
        for thing in page.root.children:
            edges = _bounds(thing) if thing.tag == "object" else None
            lows = [number(edge) for edge in (edges or [])[:2]]
            if any(low is not None and 0 <= low < 1 for low in lows):
                where = f"{guard.shown(page.file.relative_to(root))}:{thing.line}"
                what = "A box begins at 0, and VOC counts from 1."
                into.say("counts-from-0", where, what, "all read as counting from 0")
                return 1
    return 0


def _sets(into: Collector, root: Path) -> dict[str, Split]:
    """Split by name without ending, from ImageSets/Main."""
    found: dict[str, Split] = {}
    for split, name in _SETS.items():
        file = root / "ImageSets" / "Main" / f"{name}.txt"
        if not file.is_file():
            continue
        lines = guard.read_file(file).decode("utf-8", "replace").splitlines()
        for at, line in enumerate(lines, 1):
            # Lists of one class have a second column.
            stem = line.strip().removesuffix(" 1").removesuffix(" -1").strip()
            if stem and found.setdefault(stem, split) != split:
                where = f"ImageSets/Main/{name}.txt:{at}"
                into.say("two-splits", where, f"{stem} is in two.", "the first one counts")
    return found


def _read_page(
    into: Collector, page: _Page, root: Path, sets: dict[str, Split], first: int
) -> None:
    where = guard.shown(page.file.relative_to(root))
    named = page.root.said("filename") or ""
    picture = _picture(page, named, root)
    id_ = into.picture(picture, f"{where}:{page.root.line}", _split(page.file, root, sets))
    size = page.root.first("size")
    if size is not None and id_ is not None:
        width, height = (number(size.said(tag)) for tag in ("width", "height"))
        into.declared(id_, (width, height), f"{where}:{size.line}")
    for thing in page.root.children:
        if thing.tag == "object":
            _read_object(into, id_, thing, f"{where}:{thing.line}", first)


def _picture(page: _Page, named: str, root: Path) -> Path:
    """Where the picture lies; what `path` says is somebody else's computer."""
    name = PurePosixPath(named.replace("\\", "/").replace("\0", ""))
    folder = (page.root.said("folder") or "").replace("\0", "")
    beside = page.file.parent
    stem = page.file.relative_to(root).with_suffix("")
    stem = Path(*stem.parts[1:]) if stem.parts[0].lower() == "annotations" else stem
    places = [root / folder, beside, beside.parent / "JPEGImages", beside.parent / "images"]
    places += [root / "JPEGImages", root / "images", root]
    inside = [p for p in places if p.resolve().is_relative_to(root)]
    if named:
        for place in inside:
            if (place / name.name).is_file():
                return place / name.name
    for place in inside:
        for suffix in (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG"):
            for base in (place / page.file.stem, place / stem):
                if (found := base.with_name(base.name + suffix)).is_file():
                    return found
    return beside / (name.name or page.file.with_suffix(".jpg").name)


def _split(file: Path, root: Path, sets: dict[str, Split]) -> Split:
    inner = file.relative_to(root).with_suffix("")
    parts = inner.parts[1:] if inner.parts[0].lower() == "annotations" else inner.parts
    if sets:
        return sets.get("/".join(parts), sets.get(file.stem, ""))
    named: list[Split] = [SPLIT_NAMES[p.lower()] for p in parts[:-1] if p.lower() in SPLIT_NAMES]
    return named[0] if named else ""


def _read_object(into: Collector, id_: str | None, thing: _Node, where: str, first: int) -> None:
    given = _bounds(thing)
    if given is not None:
        edges: list[object] = list(given)
        numbers = [number(edge) for edge in given]
        if not any(value is None for value in numbers):
            left, top, right, bottom = (value for value in numbers if value is not None)
            edges = [left - first, top - first, right, bottom]
    else:
        polygon = thing.first("polygon")
        points = polygon.children if polygon else []
        corners = around([point.text.strip() for point in points])
        if corners:
            what = "There is a polygon and no bndbox."
            into.say("no-bbox", where, what, "the box around it is used")
        low, high = [number(c) for c in corners[:2]], list(corners[2:])
        edges = [value - first if value is not None else None for value in low] + high
    hard = thing.said("difficult") == "1"
    into.box(id_, thing.said("name"), edges, where, hard)
