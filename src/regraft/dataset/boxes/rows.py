"""Pictures with boxes: the rows that every format is read into, and what is done with bad ones.

Decisions:

- A box is four edges in pixels of the picture as it is shown, counted from the left and upper
  edge: left < right, top < bottom. Formats that count from 1, or in shares, are turned into that.
- What can be mended is mended and said: edges outside are clipped, swapped corners swapped.
  What cannot is refused and said. The counts always add up: found = used + refused.
- A picture with boxes of which none can be used is left out: it would teach that nothing is there.
- A category that nobody drew is left out, and said; so every format can hold what is read.
- Edges are kept to a millionth of a pixel, so that formats that write other numbers (width for the
  right edge, shares for pixels) give back the same box to the last bit.
- Whether edges are pixels or shares of the picture is told from all boxes together: when nearly
  every one lies in 0…1 or, as rounding and careless hands have it, little beyond, they are shares,
  and the rest is refused. A box in 0…1 among boxes in pixels is refused, so where none lies within,
  those little beyond are pixels.
- Where some pictures have a split, the others train.
- A declared size that the picture has without its EXIF turn says that boxes were drawn on it so,
  and they are turned as it is; unless they lie only on the picture as it is shown.
"""

from __future__ import annotations

import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, final

from regraft.dataset import guard, images
from regraft.dataset.reader import alike
from regraft.dataset.rows import Box, Problem, Split
from regraft.errors import DataError

_SLACK_PX = 1e-6
_SLACK = 0.5
"""How far a box in shares may reach beyond the picture."""
_NEARLY_ALL = 20
"""Boxes in shares for each that cannot be, from which on the data are in shares."""
_DECIMALS = 6
_LISTED = 10
_MOST_SHOWN = 200
_TOLD = 3
_ON_ITS_SIDE = 5
"""EXIF orientations from here on swap width and height."""


TRUTH: Mapping[str, bool] = {"1": True, "true": True, "0": False, "false": False, "": False}
"""What stands for yes and no, in lower case."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and what is in it; without boxes it is a negative.

    Attributes:
        id: path relative to the data, as `guard.shown` prints it.
        source: the file.
        width_px: as shown (EXIF applied).
        height_px: likewise.
        boxes: sorted.
        split: as given, or "".
    """

    id: str
    source: Path
    width_px: int
    height_px: int
    boxes: tuple[Box, ...]
    split: Split = ""


@dataclass(frozen=True)
class BoxData:
    """A data set for detection.

    Attributes:
        path: what was read.
        format: "coco", "yolo", "voc", "csv" or "label-studio".
        categories: names, sorted.
        pictures: sorted by id.
        problems: what was found.
        found: boxes that were come across.
        mended: how many of the used ones were changed.
        refused: how many are not used.
    """

    path: Path
    format: str
    categories: tuple[str, ...]
    pictures: tuple[Picture, ...]
    problems: tuple[Problem, ...] = field(default=())
    found: int = 0
    mended: int = 0
    refused: int = 0

    @property
    def used(self) -> int:
        """Number of boxes in the pictures."""
        return sum(len(picture.boxes) for picture in self.pictures)


@final
class Collector:
    """Gathers what one reader comes across, and judges it the same way for every format.

    Args:
        path: what is read.
        root: the folder that no picture may leave.
        form: the format's name.
    """

    def __init__(self, path: Path, root: Path, form: str) -> None:
        self._path, self._root, self._form = path, root.resolve(), form
        self._pictures: dict[str, tuple[Path, int, int, Split]] = {}
        self._boxes: dict[str, dict[tuple[str, Box], str]] = {}
        self._problems: list[Problem] = []
        self._unknown: list[tuple[str, str, str]] = []
        self._seen: set[Path] = set()
        self._in_folder: dict[Path, dict[str, str]] = {}
        self._unit: list[tuple[str, str, Box, str]] = []
        self._turns: dict[str, int] = {}
        self._unturned: dict[str, str] = {}
        self._waiting: dict[str, list[tuple[str, Box, str, bool]]] = {}
        self._offered: Counter[str] = Counter()
        self._found = self._mended = self._refused = 0

    def picture(
        self, file: Path, where: str, split: Split = "", looked: Sequence[Path] = ()
    ) -> str | None:
        """A picture was named; its id, or None when it cannot be used (said).

        Args:
            file: it.
            where: file and line, or file and id, that name it.
            split: as given, or "".
            looked: the paths at which it was looked for, where there are several.
        """
        id_, fault = self._named(file)
        if id_ in self._pictures:
            if split and split != self._pictures[id_][3]:
                self.say("two-splits", where, f"{id_} is in two splits.", "the first one counts")
            return id_
        width_px = height_px = turn = 0
        if fault is None:
            try:
                width_px, height_px, turn = _shown_size(file)
            except guard.Refused as refused:
                what = f"{id_}: {refused.what}"
                what += self._hints(file, looked) if refused.kind == "missing" else ""
                fault = (refused.kind, what)
        if fault is not None:
            self.set_aside(file, fault[0], where, fault[1])
            return None
        self._pictures[id_] = (file.resolve(), width_px, height_px, split)
        self._turns[id_] = turn
        self._boxes[id_] = {}
        return id_

    def set_aside(self, file: Path, kind: str, where: str, what: str) -> None:
        """A picture cannot be used; said once, however often it is named."""
        whole = Path(os.path.abspath(file))  # noqa: PTH100 (a link is not followed)
        if whole not in self._seen:
            self._seen.add(whole)
            self.say(kind, where, what, "set aside")

    def _named(self, file: Path) -> tuple[str, tuple[str, str] | None]:
        real = resolved(file)
        if not real.is_relative_to(self._root):
            return guard.shown(file), ("outside", f"{guard.shown(file)} leaves the data's folder.")
        return guard.shown(real.relative_to(self._root)), None

    def _hints(self, file: Path, looked: Sequence[Path]) -> str:
        """Where a picture that is missing was looked for, and why it may not have been found."""
        paths = [Path(os.path.abspath(path)) for path in looked or [file]]  # noqa: PTH100
        paths = [path for path in paths if path.is_relative_to(self._root)]
        folders = dict.fromkeys(path.parent for path in paths if path.parent.is_dir())
        names = [guard.shown(folder.relative_to(self._root)) for folder in folders]
        names = ["the data's folder" if name == "." else f"{name}/" for name in names]
        hints = f" It was looked for in {', '.join(names)}." if looked and names else ""
        alike = (self._like(folder, file.name) for folder in folders)
        if found := next(filter(None, alike), ""):
            hints += f" There is {found}: upper and lower case differ."
        if "\\" in file.name:
            hints += " The name has backslashes; folders are parted by /."
        return hints

    def _like(self, folder: Path, name: str) -> str:
        """What is in a folder under that name but for upper and lower case, or ""."""
        if folder not in self._in_folder:
            files = (file.name for file, _ in guard.listed(folder))
            self._in_folder[folder] = {file.casefold(): file for file in files}
        return self._in_folder[folder].get(name.casefold(), "")

    def size(self, id_: str) -> tuple[int, int]:
        """Width and height of a picture that was taken."""
        _, width_px, height_px, _ = self._pictures[id_]
        return width_px, height_px

    def declared(self, id_: str, size: tuple[object, object], where: str) -> None:
        """The annotations claim this width and height; the picture's own count.

        To be said before its boxes, which may have been drawn on it without its EXIF turn.
        """
        own = self.size(id_)
        if size == own or None in size:
            return
        if size == own[::-1] and self._turns[id_] >= _ON_ITS_SIDE and id_ not in self._offered:
            self._unturned.setdefault(id_, where)
        else:
            self._say_wrong_size(id_, size, where)

    def _say_wrong_size(self, id_: str, size: tuple[object, object], where: str) -> None:
        own = self.size(id_)
        wide, high = (f"{edge:g}" if isinstance(edge, float) else edge for edge in size)
        what = f"It says {wide} × {high} pixels; {id_} has {own[0]} × {own[1]}."
        self.say("wrong-size", where, what, "the picture's own size is used")

    def box(
        self,
        id_: str | None,
        name: object,
        edges: Sequence[object],
        where: str,
        crowd: bool = False,
        pixels: bool = False,
        mended: bool = False,
    ) -> None:
        """A box was found: left, top, right, bottom. It is used, mended or refused.

        Args:
            id_: what `picture` gave.
            name: the category.
            edges: four numbers, or what stands in their place.
            where: file and line, or file and id.
            crowd: see `Box`.
            pixels: edges are known to be pixels, however small they are.
            mended: it was changed already.
        """
        self._found += 1
        if id_ is None:
            return self._refuse("no-picture", where, "Its picture is not used.")
        self._offered[id_] += 1
        if not isinstance(name, str) or not category_name(name):
            return self._refuse("no-category", where, "The box has no category.")
        numbers = [number(edge) for edge in edges]
        if len(numbers) != 4 or any(value is None for value in numbers):
            return self._refuse("not-a-number", where, _words_for(edges))
        left, top, right, bottom = (float(value) for value in numbers if value is not None)
        if not all(map(math.isfinite, (left, top, right, bottom))):
            return self._refuse("not-finite", where, _words_for(edges))
        box = Box(0, left, top, right, bottom, crowd)
        if not pixels and self._may_be_shares(id_, box, _SLACK):
            self._unit.append((id_, category_name(name), box, where))
        elif id_ in self._unturned:
            drawn = (category_name(name), box, where, mended)
            self._waiting.setdefault(id_, []).append(drawn)
        else:
            self._judge(id_, category_name(name), box, where, mended)

    def crowd(self, value: object, where: str, words: Mapping[str, bool] = TRUTH) -> bool:
        """Whether what a format says of a box makes it a crowd; what is neither yes nor no is said.

        Args:
            value: what stands there; None is no.
            where: file and line, or file and id.
            words: what means yes, and what no, in lower case.
        """
        text = "" if value is None else str(value).strip().lower().removesuffix(".0")
        known = words.get(text)
        if known is None:
            what = f"Whether it is a crowd cannot be told from {value!r}"[:_MOST_SHOWN] + "."
            self.say("bad-crowd", where, what, "read as no crowd")
        return known or False

    def _may_be_shares(self, id_: str, box: Box, slack: float = 0.0) -> bool:
        edges = box.left, box.top, box.right, box.bottom
        within = all(-slack <= edge <= 1 + slack for edge in edges)
        return within and min(self.size(id_)) > 1

    def _judge(self, id_: str, name: str, box: Box, where: str, mended: bool) -> None:
        """Use, mend or refuse a box of four finite edges in pixels."""
        left, right, swapped_x = _in_order(_rounded(box.left), _rounded(box.right))
        top, bottom, swapped_y = _in_order(_rounded(box.top), _rounded(box.bottom))
        if left == right or top == bottom:
            return self._refuse("zero-area", where, "The box has no area.")
        width_px, height_px = self.size(id_)
        clipped = max(left, 0.0), max(top, 0.0), min(right, width_px), min(bottom, height_px)
        if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
            what = f"The box lies outside of its {width_px} × {height_px} pixels."
            return self._refuse("box-outside", where, what)
        edges = [float(edge) for edge in clipped]
        used = Box(0, edges[0], edges[1], edges[2], edges[3], box.crowd)
        if self._may_be_shares(id_, used):
            what = "It lies within the first pixel; is it in shares of the picture?"
            return self._refuse("mixed-units", where, what)
        over = max(abs(a - b) for a, b in zip(clipped, (left, top, right, bottom), strict=True))
        if swapped_x or swapped_y:
            self.say("swapped", where, "The box ends before it begins.", "corners swapped")
        if over > _SLACK_PX:
            self.say("box-over-edge", where, f"The box goes {over:g} px too far.", "clipped")
        if (name, used) in self._boxes[id_]:
            return self._refuse("duplicate-box", where, f"The same box of {name} was there.")
        self._mended += mended or swapped_x or swapped_y or over > _SLACK_PX
        self._boxes[id_][name, used] = where

    def _settle_turns(self) -> None:
        """Boxes of pictures whose size is given as it is without the EXIF turn.

        They were drawn on the picture that all of them lie on; where that is both, on the one
        that more of the other pictures' boxes lie on.
        """
        fits: dict[str, tuple[bool, bool]] = {}
        for id_ in self._unturned:
            boxes = [box for _, box, *_ in self._waiting.get(id_, [])]
            wide, high = self.size(id_)
            fits[id_] = _fit(boxes, high, wide), _fit(boxes, wide, high)
        lean = sum(before - shown for before, shown in fits.values())
        for id_, where in list(self._unturned.items()):
            high, wide = self.size(id_)
            before, shown = fits[id_]
            turned = id_ in self._offered and (before if before != shown else lean >= 0)
            if turned:
                what = f"It says {wide} × {high} pixels, as {id_} has without its EXIF turn."
                self.say("unturned", where, what, "its boxes are turned as it is")
            else:
                del self._unturned[id_]
                self._say_wrong_size(id_, (wide, high), where)
            for name, box, here, mended in self._waiting.get(id_, []):
                box = self._upright(id_, box) if turned else box
                self._judge(id_, name, box, here, mended or turned)

    def _upright(self, id_: str, box: Box) -> Box:
        """A box that was drawn on the picture without its EXIF turn, on it as it is shown."""
        wide, high = self.size(id_)
        edges = {
            5: (box.top, box.left, box.bottom, box.right),
            6: (wide - box.bottom, box.left, wide - box.top, box.right),
            7: (wide - box.bottom, high - box.right, wide - box.top, high - box.left),
            8: (box.top, high - box.right, box.bottom, high - box.left),
        }[self._turns[id_]]
        return Box(0, *edges, box.crowd)

    def _settle_units(self) -> None:
        """Boxes in 0…1 and little beyond: shares where nearly all are, in pixels among others."""
        within = [self._may_be_shares(id_, box) for id_, _, box, _ in self._unit]
        others = sum(map(len, self._boxes.values()))
        shares = any(within) and len(within) >= _NEARLY_ALL * others
        if shares:
            inside, whole = within.count(True), len(within) + others
            many = f"All {whole}" if inside == whole else f"{inside} of {whole}"
            what = f"{many} boxes lie within 0…1."
            self.say("shares", self._unit[0][3], what, "read as shares of width and height")
            self._refuse_in_pixels()
        for (id_, name, box, where), is_within in zip(self._unit, within, strict=True):
            if shares:
                box = self._in_pixels(id_, box)
            elif id_ in self._unturned and not is_within:
                box = self._upright(id_, box)
            self._judge(id_, name, box, where, shares)

    def _refuse_in_pixels(self) -> None:
        """The few boxes that were used before the data turned out to be in shares."""
        self._mended = 0  # of these alone, so far
        for boxes in self._boxes.values():
            for where in boxes.values():
                self._refuse("mixed-units", where, "Nearly all boxes are in shares; it cannot be.")
            boxes.clear()

    def _in_pixels(self, id_: str, box: Box) -> Box:
        turned = id_ in self._unturned
        width_px, height_px = self.size(id_)[::-1] if turned else self.size(id_)
        left, right = box.left * width_px, box.right * width_px
        drawn = Box(0, left, box.top * height_px, right, box.bottom * height_px, box.crowd)
        return self._upright(id_, drawn) if turned else drawn

    def _refuse(self, kind: str, where: str, what: str) -> None:
        self._refused += 1
        self.say(kind, where, what, "box refused")

    def refuse(
        self, kind: str, where: str, what: str, count: int = 1, id_: str | None = None
    ) -> None:
        """Boxes were found that cannot even be read, on the picture `id_` where that is known."""
        self._found += count
        self._refused += count - 1
        if id_ is not None:
            self._offered[id_] += count
        self._refuse(kind, where, what)

    def unknown_category(self, where: str, there: str, mend: str) -> None:
        """A box has a category that does not exist: an error, once all are found.

        Args:
            where: file and line, or file and id, and the category.
            there: which categories there are, and where they are listed.
            mend: how to list another.
        """
        self._unknown.append((where, there, mend))

    def say(self, kind: str, where: str, what: str, done: str) -> None:
        """A problem was found."""
        self._problems.append(Problem(kind, guard.shown(where), guard.shown(what), done))

    def _leave_out_emptied(self) -> None:
        """Pictures all of whose boxes were refused."""
        for id_, count in sorted(self._offered.items()):
            if self._boxes[id_]:
                continue
            file, *_ = self._pictures.pop(id_)
            del self._boxes[id_]
            self._seen.add(file)
            whose = "Its only box was" if count == 1 else f"All of its {count} boxes were"
            what = f"{whose} refused; it is not known to be empty."
            self.say("no-box-left", id_, what, "left out")

    def _name_splits(self) -> None:
        """Where some pictures have a split, the others train."""
        if not any(split for *_, split in self._pictures.values()):
            return
        for id_, (file, width_px, height_px, split) in self._pictures.items():
            if not split:
                self._pictures[id_] = (file, width_px, height_px, "train")
                self.say("no-split", id_, "It has no split where others have.", "put into train")

    def _say_unlisted(self) -> None:
        """Pictures in the folder that nothing was said about."""
        taken = {file for file, *_ in self._pictures.values()} | self._seen
        for file, problem in guard.files(self._root):
            if problem is not None:
                if guard.claims_picture(file) and file not in self._seen:
                    self._problems.append(problem)
            elif guard.claims_picture(file) and file not in taken and file.resolve() not in taken:
                name = guard.shown(file.relative_to(self._root))
                self.say("not-listed", name, "No annotation names this picture.", "ignored")

    def finish(self, declared: Iterable[str] = ()) -> BoxData:
        """The rows.

        Args:
            declared: category names that the format lists.

        Raises:
            DataError: categories do not exist, or there is no picture or no box.
        """
        if self._unknown:
            count, more = len(self._unknown), len(self._unknown) - _LISTED
            boxes = "1 box has" if count == 1 else f"{count} boxes have"
            _, there, mend = self._unknown[0]
            raise DataError(
                f"{boxes} a category that does not exist; {there}.",
                where="; ".join(where for where, *_ in self._unknown[:_LISTED])
                + (f"; {more} more" if more > 0 else ""),
                mend=f"{mend}, or mend the {'number' if count == 1 else 'numbers'}",
            )
        self._settle_turns()
        self._settle_units()
        self._leave_out_emptied()
        self._name_splits()
        if self._path.is_dir():
            self._say_unlisted()
        names = sorted({name for boxes in self._boxes.values() for name, _ in boxes})
        for name in sorted({category_name(n) for n in declared} - set(names)):
            what = f"No box is of the category {name}."
            self.say("empty-category", name, what, "category not learnt")
        for one, other in alike(names):
            what = f"The categories {one} and {other} differ in upper and lower case alone."
            self.say("alike-categories", other, what, "both kept")
        if not names:
            raise DataError(
                "There is no box that can be used."
                + "".join(f" {p.where}: {p.what}" for p in self._problems[:_TOLD])
                + (f" And {more} more." if (more := len(self._problems) - _TOLD) > 0 else ""),
                where=guard.shown(self._path),
                mend=self._mend(),
            )
        at = {name: number for number, name in enumerate(names)}
        return BoxData(
            self._path,
            self._form,
            tuple(names),
            tuple(
                Picture(
                    id_,
                    source,
                    width_px,
                    height_px,
                    tuple(
                        sorted(
                            (
                                Box(at[n], b.left, b.top, b.right, b.bottom, b.crowd)
                                for n, b in self._boxes[id_]
                            ),
                            key=lambda b: (b.category, b.left, b.top, b.right, b.bottom),
                        )
                    ),
                    split,
                )
                for id_, (source, width_px, height_px, split) in sorted(self._pictures.items())
            ),
            tuple(self._problems),
            self._found,
            self._mended,
            self._refused,
        )

    def _mend(self) -> str:
        """What helps where no box can be used."""
        kinds = {problem.kind for problem in self._problems}
        if kinds & {"missing", "outside"}:
            return (
                "give the annotations the names that the pictures have, with / between folders; "
                "upper and lower case count, and pictures lie inside of the data's folder"
            )
        if self._refused:
            return "mend these boxes; docs/boxes.md says how each format counts"
        return "draw a box around at least one object"


def _words_for(edges: Sequence[object]) -> str:
    """What stands in the place of the four edges of a box."""
    if all(edge is None for edge in edges):
        return "There is no box."
    listed = ", ".join("nothing" if edge is None else repr(edge) for edge in edges)
    return f"The box is [{listed}]."[:_MOST_SHOWN]


def _fit(boxes: Iterable[Box], wide: int, high: int) -> bool:
    """Whether boxes lie on a picture of that size, but for a pixel."""
    return all(box.right <= wide + 1 and box.bottom <= high + 1 for box in boxes)


def _in_order(low: float, high: float) -> tuple[float, float, bool]:
    return (low, high, False) if low <= high else (high, low, True)


def category_name(text: str) -> str:
    """A category's name, printable; of a name that this gave it gives the same name."""
    name = unicodedata.normalize("NFC", text.strip())
    return name if name.isprintable() else guard.shown(name)


def listed(names: Mapping[Any, str]) -> str:
    """Categories with their numbers, as far as they fit into a message."""
    first = islice(names.items(), _LISTED)
    some = [f"{guard.shown(str(key))} {guard.shown(name)}" for key, name in first]
    more = len(names) - _LISTED
    return ", ".join(some) + (f" and {more} more" if more > 0 else "") or "none"


def _rounded(edge: float) -> float:
    return round(edge, _DECIMALS) + 0.0  # of -0.0, too, it makes 0.0


def number(value: object) -> float | None:
    """The number in a value or a text, or None; truth values are no numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def around(points: Sequence[object]) -> list[object]:
    """The edges of a polygon x, y, x, y, …; [] when it is none."""
    numbers = [number(value) for value in points]
    if len(numbers) < 6 or len(numbers) % 2 or any(value is None for value in numbers):
        return []
    known = [value for value in numbers if value is not None]
    xs, ys = known[::2], known[1::2]
    if not all(map(math.isfinite, known)):
        return [math.nan] * 4
    return [min(xs), min(ys), max(xs), max(ys)]


def is_file(file: Path) -> bool:
    """Whether a file is there; names that no file can have are none."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def is_there(path: Path) -> bool:
    """Whether a file or folder is there; names that nothing can have are none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def resolved(path: Path) -> Path:
    """A path without links; one that only leads in circles stays as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # before Python 3.13
        return Path(os.path.abspath(path))  # noqa: PTH100 (a link is not followed)


def _shown_size(file: Path) -> tuple[int, int, int]:
    """Width and height of a picture, from its header, as it is shown.

    Raises:
        Refused: it is missing or no picture.
    """
    data, where = guard.read_file(file), guard.shown(file.name)
    with images.refusing(where), images.opened(data, where, file.suffix) as image:
        width_px, height_px = image.size
        turn = images.orientation(image)
    return (height_px, width_px, turn) if turn >= _ON_ITS_SIDE else (width_px, height_px, turn)


def text_of(file: Path, most: int = guard.MAX_BYTES) -> str:
    """A file's text.

    Raises:
        DataError: it is missing, too large or not in UTF-8.
    """
    data = guard.read_file(file)
    if len(data) > most:
        raise DataError(f"The file has {len(data)} bytes.", where=file, mend="give a smaller one")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data[: fault.start].count(b"\n") + 1
        raise DataError(
            "The file is not UTF-8.", where=f"{guard.shown(file)}:{line}", mend="save it as UTF-8"
        ) from fault
