"""What a reader of boxes comes across is judged here, the same way for every format.

Decisions:

- What can be mended is mended and said: edges outside are clipped, swapped corners swapped.
  What cannot is refused and said. The counts always add up: found = used + refused.
- A picture with boxes of which none can be used is left out: it would teach that nothing is there.
- A category that nobody drew is told apart, and said: it is not learnt, and formats that list
  categories keep it.
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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import final

from regraft.dataset import guard, images
from regraft.dataset.boxes.missing import Hints
from regraft.dataset.boxes.rows import BoxData, category_name, number
from regraft.dataset.boxes.taken import Taken
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
        self._pictures: dict[str, Taken] = {}
        self._problems: list[Problem] = []
        self._unknown: list[tuple[str, str, str]] = []
        self._seen: set[Path] = set()
        self._hints = Hints(self._root)
        self._unit: list[tuple[str, str, Box, str]] = []
        self._unturned: dict[str, str] = {}
        self._found = self._mended = self._refused = 0

    def picture(
        self,
        file: Path,
        where: str,
        split: Split = "",
        looked: Sequence[Path] = (),
        is_known: bool = False,
    ) -> str | None:
        """A picture was named; its id, or None when it cannot be used (said).

        Args:
            file: it.
            where: file and line, or file and id, that name it.
            split: as given, or "".
            looked: the paths at which it was looked for, where there are several.
            is_known: its content is the one that was drawn on, so it may lie elsewhere.
        """
        id_, fault = self._named(file, is_known)
        if id_ in self._pictures:
            if split and split != self._pictures[id_].split:
                self.say("two-splits", where, f"{id_} is in two splits.", "the first one counts")
            return id_
        if fault is None:
            try:
                width_px, height_px, turn = _shown_size(file)
            except guard.Refused as refused:
                what = f"{id_}: {refused.what}"
                what += self._hints.of(file, looked) if refused.kind == "missing" else ""
                fault = (refused.kind, what)
            else:
                self._pictures[id_] = Taken(file.resolve(), width_px, height_px, turn, split)
                return id_
        self.set_aside(file, fault[0], where, fault[1])
        return None

    def set_aside(self, file: Path, kind: str, where: str, what: str) -> None:
        """A picture cannot be used; said once, however often it is named."""
        whole = Path(os.path.abspath(file))  # noqa: PTH100 (a link is not followed)
        if whole not in self._seen:
            self._seen.add(whole)
            self.say(kind, where, what, "set aside")

    def _named(self, file: Path, is_known: bool) -> tuple[str, tuple[str, str] | None]:
        real = guard.resolved(file)
        if is_known:
            return guard.shown(os.path.relpath(real, self._root)), None
        if not real.is_relative_to(self._root):
            return guard.shown(file), ("outside", f"{guard.shown(file)} leaves the data's folder.")
        return guard.shown(real.relative_to(self._root)), None

    def size(self, id_: str) -> tuple[int, int]:
        """Width and height of a picture that was taken."""
        return self._pictures[id_].size

    def declared(self, id_: str, size: tuple[object, object], where: str) -> None:
        """The annotations claim this width and height; the picture's own count.

        To be said before its boxes where they may have been drawn on it without its EXIF turn;
        after them it turns none.
        """
        picture = self._pictures[id_]
        if size == picture.size or None in size:
            return
        is_turned = size == picture.size[::-1] and picture.turn >= _ON_ITS_SIDE
        if is_turned and not picture.offered:
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
        area: float | None = None,
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
            area: see `Box`.
        """
        self._found += 1
        if id_ is None:
            return self._refuse("no-picture", where, "Its picture is not used.")
        self._pictures[id_].offered += 1
        if not isinstance(name, str) or not category_name(name):
            return self._refuse("no-category", where, "The box has no category.")
        numbers = [number(edge) for edge in edges]
        if len(numbers) != 4 or any(value is None for value in numbers):
            return self._refuse("not-a-number", where, _words_for(edges))
        left, top, right, bottom = (float(value) for value in numbers if value is not None)
        if not all(map(math.isfinite, (left, top, right, bottom))):
            return self._refuse("not-finite", where, _words_for(edges))
        box = Box(0, left, top, right, bottom, crowd, area)
        if not pixels and self._pictures[id_].may_have_in_shares(box, _SLACK):
            self._unit.append((id_, category_name(name), box, where))
        elif id_ in self._unturned:
            self._pictures[id_].waiting.append((category_name(name), box, where, mended))
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

    def _judge(self, id_: str, name: str, box: Box, where: str, mended: bool) -> None:
        """Use, mend or refuse a box of four finite edges in pixels."""
        left, right, swapped_x = _in_order(_rounded(box.left), _rounded(box.right))
        top, bottom, swapped_y = _in_order(_rounded(box.top), _rounded(box.bottom))
        if left == right or top == bottom:
            return self._refuse("zero-area", where, "The box has no area.")
        picture = self._pictures[id_]
        width_px, height_px = picture.size
        clipped = max(left, 0.0), max(top, 0.0), min(right, width_px), min(bottom, height_px)
        if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
            what = f"The box lies outside of its {width_px} × {height_px} pixels."
            return self._refuse("box-outside", where, what)
        edges = [float(edge) for edge in clipped]
        used = Box(0, edges[0], edges[1], edges[2], edges[3], box.crowd, box.area)
        if picture.may_have_in_shares(used):
            what = "It lies within the first pixel; is it in shares of the picture?"
            return self._refuse("mixed-units", where, what)
        over = max(abs(a - b) for a, b in zip(clipped, (left, top, right, bottom), strict=True))
        if swapped_x or swapped_y:
            self.say("swapped", where, "The box ends before it begins.", "corners swapped")
        if over > _SLACK_PX:
            self.say("box-over-edge", where, f"The box goes {over:g} px too far.", "clipped")
        if (name, used) in picture.boxes:
            return self._refuse("duplicate-box", where, f"The same box of {name} was there.")
        self._mended += mended or swapped_x or swapped_y or over > _SLACK_PX
        picture.boxes[name, used] = where

    def _settle_turns(self) -> None:
        """Boxes of pictures whose size is given as it is without the EXIF turn.

        They were drawn on the picture that all of them lie on; where that is both, on the one
        that more of the other pictures' boxes lie on.
        """
        fits: dict[str, tuple[bool, bool]] = {}
        for id_ in self._unturned:
            picture = self._pictures[id_]
            boxes, (wide, high) = [box for _, box, *_ in picture.waiting], picture.size
            fits[id_] = _fit(boxes, high, wide), _fit(boxes, wide, high)
        lean = sum(before - shown for before, shown in fits.values())
        for id_, where in list(self._unturned.items()):
            picture, (before, shown) = self._pictures[id_], fits[id_]
            high, wide = picture.size
            turned = picture.offered > 0 and (before if before != shown else lean >= 0)
            if turned:
                what = f"It says {wide} × {high} pixels, as {id_} has without its EXIF turn."
                self.say("unturned", where, what, "its boxes are turned as it is")
            else:
                del self._unturned[id_]
                self._say_wrong_size(id_, (wide, high), where)
            for name, box, here, mended in picture.waiting:
                box = picture.upright(box) if turned else box
                self._judge(id_, name, box, here, mended or turned)

    def _settle_units(self) -> None:
        """Boxes in 0…1 and little beyond: shares where nearly all are, in pixels among others."""
        within = [self._pictures[id_].may_have_in_shares(box) for id_, _, box, _ in self._unit]
        others = sum(len(picture.boxes) for picture in self._pictures.values())
        shares = any(within) and len(within) >= _NEARLY_ALL * others
        if shares:
            inside, whole = within.count(True), len(within) + others
            many = f"All {whole}" if inside == whole else f"{inside} of {whole}"
            what = "The box lies within 0…1." if whole == 1 else f"{many} boxes lie within 0…1."
            self.say("shares", self._unit[0][3], what, "read as shares of width and height")
            self._refuse_in_pixels()
        for (id_, name, box, where), is_within in zip(self._unit, within, strict=True):
            picture, is_turned = self._pictures[id_], id_ in self._unturned
            if shares:
                box = picture.in_pixels(box, is_turned)
            elif is_turned and not is_within:
                box = picture.upright(box)
            self._judge(id_, name, box, where, shares)

    def _refuse_in_pixels(self) -> None:
        """The few boxes that were used before the data turned out to be in shares."""
        self._mended = 0  # of these alone, so far
        for picture in self._pictures.values():
            for where in picture.boxes.values():
                self._refuse("mixed-units", where, "Nearly all boxes are in shares; it cannot be.")
            picture.boxes.clear()

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
            self._pictures[id_].offered += count
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
        """A problem was found; names of files have been through `guard.shown`."""
        self._problems.append(Problem(kind, guard.printable(where), guard.printable(what), done))

    def _leave_out_emptied(self) -> None:
        """Pictures all of whose boxes were refused."""
        for id_, picture in sorted(self._pictures.items()):
            if picture.boxes or not (count := picture.offered):
                continue
            del self._pictures[id_]
            self._seen.add(picture.file)
            whose = "Its only box was" if count == 1 else f"All of its {count} boxes were"
            what = f"{whose} refused; it is not known to be empty."
            self.say("no-box-left", id_, what, "left out")

    def _name_splits(self) -> None:
        """Where some pictures have a split, the others train."""
        if not any(picture.split for picture in self._pictures.values()):
            return
        for id_, picture in self._pictures.items():
            if not picture.split:
                picture.split = "train"
                self.say("no-split", id_, "It has no split where others have.", "put into train")

    def _say_unlisted(self) -> None:
        """Pictures in the folder that nothing was said about."""
        taken = {picture.file for picture in self._pictures.values()} | self._seen
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
        self._refuse_unknown_categories()
        self._settle_turns()
        self._settle_units()
        self._leave_out_emptied()
        self._name_splits()
        if self._path.is_dir():
            self._say_unlisted()
        names = sorted({name for one in self._pictures.values() for name, _ in one.boxes})
        unused = sorted({category_name(name) for name in declared} - {"", *names})
        self._say_odd_categories(names, unused)
        self._refuse_no_box(names)
        at = {name: number for number, name in enumerate(names)}
        pictures = (one.picture(id_, at) for id_, one in sorted(self._pictures.items()))
        return BoxData(
            self._path,
            self._form,
            tuple(names),
            tuple(pictures),
            tuple(self._problems),
            self._found,
            self._mended,
            self._refused,
            tuple(unused),
        )

    def _refuse_unknown_categories(self) -> None:
        if not self._unknown:
            return
        count, more = len(self._unknown), len(self._unknown) - _LISTED
        boxes = "1 box has" if count == 1 else f"{count} boxes have"
        _, there, mend = self._unknown[0]
        raise DataError(
            f"{boxes} a category that does not exist; {there}.",
            where="; ".join(where for where, *_ in self._unknown[:_LISTED])
            + (f"; {more} more" if more > 0 else ""),
            mend=f"{mend}, or mend the {'number' if count == 1 else 'numbers'}",
        )

    def _say_odd_categories(self, names: Sequence[str], unused: Sequence[str]) -> None:
        for name in unused:
            what = f"No box is of the category {name}."
            self.say("empty-category", name, what, "category not learnt")
        for one, other in alike(names):
            what = f"The categories {one} and {other} differ in upper and lower case alone."
            self.say("alike-categories", other, what, "both kept")

    def _refuse_no_box(self, names: Sequence[str]) -> None:
        if names:
            return
        raise DataError(
            "There is no box that can be used."
            + "".join(f" {p.where}: {p.what}" for p in self._problems[:_TOLD])
            + (f" And {more} more." if (more := len(self._problems) - _TOLD) > 0 else ""),
            where=guard.shown(self._path),
            mend=self._mend(),
        )

    def _mend(self) -> str:
        """What helps where no box can be used."""
        kinds = {problem.kind for problem in self._problems}
        if "missing-split" in kinds:
            return "let train and val name folders or lists that are in the data's folder"
        if kinds & {"missing", "outside"}:
            mend = (
                "give the annotations the names that the pictures have, with / between folders; "
                "upper and lower case count, and pictures lie inside of the data's folder"
            )
            first = "put the file where its paths lead to the pictures"
            return mend if self._path.is_dir() else f"{first}, or {mend}"
        if self._refused:
            return "mend these boxes; docs/boxes.md says how each format counts"
        return "draw a box around at least one object"


def _words_for(edges: Sequence[object]) -> str:
    """What stands in the place of the four edges of a box."""
    if all(edge is None for edge in edges):
        return "There is no box."
    shown = ["nothing" if edge in (None, "") else guard.shown(str(edge)) for edge in edges]
    between = "; " if any("," in edge for edge in shown) else ", "  # decimal commas
    return f"The box is ({between.join(shown)})."[:_MOST_SHOWN]


def _fit(boxes: Iterable[Box], wide: int, high: int) -> bool:
    """Whether boxes lie on a picture of that size, but for a pixel."""
    return all(box.right <= wide + 1 and box.bottom <= high + 1 for box in boxes)


def _in_order(low: float, high: float) -> tuple[float, float, bool]:
    return (low, high, False) if low <= high else (high, low, True)


def _rounded(edge: float) -> float:
    return round(edge, _DECIMALS) + 0.0  # of -0.0, too, it makes 0.0


def _shown_size(file: Path) -> tuple[int, int, int]:
    """Width and height of a picture, from its header, as it is shown; and its EXIF orientation.

    Raises:
        Refused: it is missing or no picture.
    """
    data, where = guard.read_file(file), guard.shown(file.name)
    with images.refusing(where), images.opened(data, where, file.suffix) as image:
        width_px, height_px = image.size
        turn = images.orientation(image)
    return (height_px, width_px, turn) if turn >= _ON_ITS_SIDE else (width_px, height_px, turn)
