"""Pascal VOC XML: Annotations/a.xml for JPEGImages/a.jpg, or each beside its picture.

Decisions:

- VOC counts pixels from 1 and takes the last one in: xmin 1 is the left edge 0, xmax 7 the right
  edge 7. Many programs count from 0 all the same; one xmin or ymin of 0 of a box that could be used
  shows that, or fractions of pixels in more than half of the boxes (CVAT), and then all of the data
  are read so, and it is said. So are such boxes written, and read again to the last bit.
- `difficult` objects are crowds: neither learnt nor counted as missed, as VOC's own measure has it.
- Splits stand in ImageSets/Main/train.txt, val.txt and test.txt beside Annotations/, or are folders
  of these names where there are no such lists. So VOCdevkit is read with all that is in it.
- A picture that has the XML's own name is the one that is meant, whatever <filename> says; of
  several that differ in their endings, the one that it names.
- XML is read with defusedxml as a stream: no entity is expanded, nothing is fetched, and 16 levels
  are the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any, final

from markupsafe import escape

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.collector import Collector
from regraft.dataset.boxes.rows import BoxData, around, number
from regraft.dataset.reader import SPLIT_NAMES
from regraft.dataset.rows import Split
from regraft.errors import DataError

_MAX_XML_BYTES = 8 * 2**20
_MAX_DEPTH = 16
_MAX_NODES = 200_000
_MAX_TEXT = 4096
_TRIED = 20
"""XML files of a folder that are looked at until one is an annotation."""
_EDGES = ("xmin", "ymin", "xmax", "ymax")
_SETS: dict[Split, str] = {"train": "train", "valid": "val", "test": "test"}
_CODES = ("ascii", "utf-16-le", "utf-16-be")
_OPENINGS = tuple("<annotation".encode(code) for code in _CODES)
_OF_CVAT = tuple("<annotations".encode(code) for code in _CODES)
_SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


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
    """What one XML file says.

    `base` is the folder that holds Annotations/, or the data's; `inner` the file's name below
    Annotations/, or below the data, without its ending.
    """

    file: Path
    root: _Node
    base: Path
    inner: PurePosixPath


@final
@dataclass(frozen=True)
class VocReader:
    """Reads and writes Pascal VOC XML."""

    name: str = "voc"

    def recognises(self, path: Path) -> bool:
        """A folder in which, or below whose Annotations/, lies an XML file of an annotation.

        One such file, too, to be refused as what it is.
        """
        try:
            files = _some(path) if path.is_dir() else filter(_is_xml, [path])
            return any(map(_is_annotation, files))
        except OSError:
            return False

    def read(self, path: Path) -> BoxData:
        """The rows; see `dataset.boxes.read_boxes`."""
        if not path.is_dir():
            _refuse_cvat([path])
            raise DataError(
                "This is the annotation of one picture in Pascal VOC's form.",
                where=guard.shown(path),
                mend="give the folder that holds Annotations/ and the pictures",
            )
        root = path.resolve()
        into = Collector(path, root, self.name)
        pages = list(_pages(into, root))
        if not pages:
            _refuse_cvat(_some(root))
        first = 1 - _counts_from_0(into, pages, root)
        names: dict[Path, set[str]] = {page.base: set() for page in pages}
        for page in pages:
            names[page.base] |= {str(page.inner), page.file.stem}
        sets = {base: _sets(into, base, root, names[base]) for base in sorted(names)}
        taken: dict[Path, str] = {}
        for page in pages:
            _read_page(into, page, root, _split(page, sets[page.base]), first, taken)
        return into.finish()

    def place(self, name: str, split: str) -> str:
        """See `BoxFormat`."""
        return f"JPEGImages/{name}"

    def write(self, data: BoxData, folder: Path) -> None:
        """An XML file for each picture, and the lists of the splits."""
        sets: dict[str, list[str]] = {}
        if _seem_split(data):
            # An empty list says that nothing is, whatever the folders are called.
            sets["train"] = []
        first = 1 - _mostly_in_fractions(data)
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
                edges = (box.left + first, box.top + first, box.right, box.bottom)
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
            text = "".join(f"{stem}\n" for stem in stems)
            store.commit(folder / "ImageSets" / "Main" / f"{name}.txt", text.encode())


def _seem_split(data: BoxData) -> bool:
    """Whether nothing is split, but a folder is called as splits are."""
    folders = {part for p in data.pictures for part in PurePosixPath(p.id).parts[1:-1]}
    named = any(folder.lower() in SPLIT_NAMES for folder in folders)
    return named and not any(picture.split for picture in data.pictures)


def _mostly_in_fractions(data: BoxData) -> bool:
    boxes = [(b.left, b.top, b.right, b.bottom) for p in data.pictures for b in p.boxes]
    counted = [edges for edges in boxes if not _within_a_pixel(edges)]
    return 2 * sum(map(_has_fraction, counted)) > len(counted)


def _written(edge: float) -> str:
    rounded = round(edge, 6)
    return str(int(rounded)) if rounded == int(rounded) else repr(rounded)


# Files --------------------------------------------------------------------------------------------


def _some(folder: Path) -> Iterator[Path]:
    """The first XML files of the folders where annotations usually are."""
    tops = [place for place, is_folder in guard.listed(folder) if is_folder]
    for place in [folder, *tops]:
        files = (file for file, is_folder in guard.listed(place) if not is_folder)
        yield from islice(filter(_is_xml, files), _TRIED)
    for place in [*tops, *(top / "Annotations" for top in tops)]:
        if place.name.lower() == "annotations" and place.is_dir():
            files = (file for file, _ in guard.files(folder, place))
            yield from islice(filter(_is_xml, files), _TRIED)


def _is_xml(file: Path) -> bool:
    return file.suffix.lower() == ".xml"


def _is_annotation(file: Path) -> bool:
    return any(opening in _start(file) for opening in _OPENINGS)


def _start(file: Path) -> bytes:
    try:
        if not file.is_file():  # a pipe would be waited for
            return b""
        with file.open("rb") as opened:
            return opened.read(4096)
    except OSError:
        return b""


def _pages(into: Collector, root: Path) -> Iterator[_Page]:
    for file, problem in guard.files(root):
        if not _is_xml(file):
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
                yield _Page(file, node, *_base(file, root))


def _refuse_cvat(files: Iterable[Path]) -> None:
    for file in files:
        if any(opening in _start(file) for opening in _OF_CVAT):
            raise DataError(
                'This is CVAT\'s own XML ("CVAT for images").',
                where=guard.shown(file),
                mend="export the task from CVAT as COCO 1.0, Pascal VOC 1.1 or YOLO 1.1, with "
                "Save images",
            )


def _base(file: Path, root: Path) -> tuple[Path, PurePosixPath]:
    """See `_Page`."""
    inner = PurePosixPath(file.relative_to(root).with_suffix(""))
    for at, part in enumerate(inner.parts[:-1]):
        if part.lower() == "annotations":
            return root.joinpath(*inner.parts[:at]), PurePosixPath(*inner.parts[at + 1 :])
    return root, inner


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


def _numbers(bounds: Sequence[str | None] | None) -> list[float]:
    """The four edges; [] where one of them is no finite number."""
    numbers = [number(edge) for edge in bounds or ()]
    known = [value for value in numbers if value is not None and isfinite(value)]
    return known if len(known) == len(numbers) else []


def _counts_from_0(into: Collector, pages: Sequence[_Page], root: Path) -> int:
    """1 where pixels seem to be counted from 0; see the head of this file."""
    fractions: list[str] = []
    boxes = 0
    for page in pages:
        for thing in page.root.children:
            edges = _numbers(_bounds(thing)) if thing.tag == "object" else []
            if not edges or _within_a_pixel(edges):
                continue
            where = f"{guard.shown(page.file.relative_to(root))}:{thing.line}"
            if any(0 <= low < 1 for low in edges[:2]) and _has_area(edges):
                what = "A box begins at 0, and VOC counts from 1."
                into.say("counts-from-0", where, what, "all read as counting from 0")
                return 1
            boxes += 1
            fractions += [where] if _has_fraction(edges) else []
    if 2 * len(fractions) <= boxes:
        return 0
    what = f"{len(fractions)} of {boxes} boxes have fractions of pixels, and VOC counts whole ones."
    into.say("counts-from-0", fractions[0], what, "all read as counting from 0")
    return 1


def _has_area(edges: Sequence[float]) -> bool:
    left, top, right, bottom = edges
    return left != right and top != bottom


def _within_a_pixel(edges: Sequence[float]) -> bool:
    return all(0 <= edge <= 1 for edge in edges)


def _has_fraction(edges: Sequence[float]) -> bool:
    return any(edge % 1 for edge in edges)


def _sets(
    into: Collector, base: Path, root: Path, names: Collection[str]
) -> dict[str, Split] | None:
    """Split by name without ending, from ImageSets/Main; None where there are no lists.

    Args:
        into: hears what is wrong.
        base: holds ImageSets/.
        root: the data's folder.
        names: what XML files are called, with and without their folders.
    """
    found: dict[str, Split] = {}
    lists: list[tuple[Path, Split]] = [
        (base / "ImageSets" / "Main" / f"{name}.txt", split) for split, name in _SETS.items()
    ]
    lists = [(file, split) for file, split in lists if file.is_file()]
    for file, split in lists:
        where = guard.shown(file.relative_to(root))
        try:
            lines = guard.read_file(file).decode("utf-8", "replace").splitlines()
        except guard.Refused as fault:
            if fault.kind != "empty":
                raise
            lines = []
        for at, line in enumerate(lines, 1):
            stem = _listed_name(line, names)
            if stem and found.setdefault(stem, split) != split:
                what = f"{stem} is in two."
                into.say("two-splits", f"{where}:{at}", what, "the first one counts")
    return found if lists else None


def _listed_name(line: str, names: Collection[str]) -> str:
    """The name in a line of a list; lists of one class have a second column, 1 or -1."""
    bare = line.strip()
    first = bare.removesuffix(" 1").removesuffix(" -1").strip()
    return next((name for name in (line, bare) if name in names), first)


def _read_page(
    into: Collector, page: _Page, root: Path, split: Split, first: int, taken: dict[Path, str]
) -> None:
    """Reads one file; `taken` says which one spoke of a picture first."""
    where = guard.shown(page.file.relative_to(root))
    here = f"{where}:{page.root.line}"
    picture, looked = _picture(into, page, root, here)
    other = taken.setdefault(picture, where)
    if other != where:
        into.say("two-files", here, f"{other} is of the same picture.", "both are read")
    id_ = into.picture(picture, here, split, looked)
    size = page.root.first("size")
    if size is not None and id_ is not None:
        width, height = (number(size.said(tag)) for tag in ("width", "height"))
        into.declared(id_, (width, height), f"{where}:{size.line}")
    for thing in page.root.children:
        if thing.tag == "object":
            _read_object(into, id_, thing, f"{where}:{thing.line}", first)


def _picture(into: Collector, page: _Page, root: Path, where: str) -> tuple[Path, list[Path]]:
    """Where the picture lies, and where it was looked for.

    What `path` says is somebody else's computer.
    """
    node = page.root.first("filename")
    text = (node.text if node else "").replace("\\", "/").replace("\0", "")
    # Space around a name may belong to it, or to the way the XML is laid out.
    name, *other = dict.fromkeys(PurePosixPath(one).name for one in (text.strip(), text))
    places = _places(page, root)
    stems = [f"{page.file.stem}{suffix}" for suffix in _SUFFIXES]
    named = _first_file(places, [*other, name]) if name else None
    if named is not None and page.file.stem in (named.name, named.stem):
        return named, []
    own = _first_file(places, stems)
    if own is not None and named is not None and own != named:
        what = f"It names {guard.shown(name)}, and there is {guard.shown(own.name)}."
        into.say("other-name", where, what, "the picture with the XML's own name is used")
    name = name or f"{page.file.stem}.jpg"
    return own or named or page.file.parent / name, [place / name for place in places]


def _places(page: _Page, root: Path) -> list[Path]:
    """Folders in which the picture may lie, the likeliest first."""
    folder = (page.root.said("folder") or "").replace("\0", "")
    beside, above = page.file.parent, page.inner.parent
    places = [beside, *([page.base / folder, root / folder] if folder else [])]
    for base in (page.base, beside.parent, root):
        both = [base / "JPEGImages", base / "images"]
        places += [*(place / above for place in both), *both]
    places += [page.base / above, page.base, root]
    return [place for place in dict.fromkeys(places) if guard.resolved(place).is_relative_to(root)]


def _first_file(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    files = (place / name for place in places for name in names)
    return next((file for file in files if guard.is_file(file) and not _is_xml(file)), None)


def _split(page: _Page, sets: dict[str, Split] | None) -> Split:
    if sets is not None:
        return sets.get(str(page.inner), sets.get(page.file.stem, ""))
    folders = [part.lower() for part in page.inner.parts[:-1]]
    named: list[Split] = [SPLIT_NAMES[name] for name in folders if name in SPLIT_NAMES]
    return named[0] if named else ""


def _read_object(into: Collector, id_: str | None, thing: _Node, where: str, first: int) -> None:
    given = _bounds(thing)
    if given is not None:
        edges: list[object] = list(given)
        if known := _numbers(given):
            left, top, right, bottom = known
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
    hard = into.crowd(thing.said("difficult"), where)
    into.box(id_, thing.said("name"), edges, where, hard)
