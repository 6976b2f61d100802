"""COCO JSON: one file, or a folder with a file for each split (train.json, instances_val.json).

Decisions:

- Files lie in the folder, in its annotations/, or one in the folder of each split, as Roboflow has
  it. The first of these places that has some is read. What JSON there is not, and what of other
  places has boxes or may have, is a problem; other JSON there, as LabelMe's, is not.
- Where some are called instances_…, these hold the boxes: COCO's own captions and keypoints, which
  lie beside them, hold others, or the same once more. Nor are those read beside other names.
- Files that say by their name which split they are come first: of a picture that a file of all
  names, too, theirs counts.
- A picture is looked for beside its file, then in the folder called like the file's last words or
  its split (train2017/ for instances_train2017.json), then in images/; see `elsewhere.py`, too.
"""

from __future__ import annotations

import json
import mmap
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, Literal, final

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.collector import Collector
from regraft.dataset.boxes.elsewhere import found_elsewhere
from regraft.dataset.boxes.rows import BoxData, around, listed, number
from regraft.dataset.encoding import read_utf8
from regraft.dataset.reader import SPLIT_NAMES
from regraft.dataset.rows import SPLITS, Split
from regraft.errors import DataError
from regraft.wording import plural, some_of

_PLACES = ("images", "..", "../images")
_OTHERS = ("person_keypoints", "captions", "image_info", "panoptic", "stuff")
"""First words of COCO's own files that lie beside the instances; the first have people's boxes."""
_Kind = Literal["of boxes", "other", "large", "unreadable"]
_UNREAD: Mapping[_Kind, str] = {
    "other": "JSON without the lists images and annotations.",
    "large": f"JSON larger than {guard.MAX_BYTES // 2**20} MiB.",
    "unreadable": "JSON that cannot be read.",
}
_WORDS = re.compile(r"[_.-]")
_NAMED = 3
"""Files that are named where one thing is said of several."""


@final
@dataclass(frozen=True)
class CocoReader:
    """Reads and writes COCO JSON."""

    name: str = "coco"

    def recognises(self, path: Path) -> bool:
        """A JSON file; or a folder with such that have the lists, or whose annotations/ does."""
        if path.is_file():
            return path.suffix.lower() == ".json"
        try:
            places = list(_json_by_place(path))
            return any(_kind(file) == "of boxes" for files in places for file in files)
        except OSError:
            return False

    def read(self, path: Path) -> BoxData:
        """The rows; see `BoxReader`."""
        found, others = _found(path)
        root = path.resolve() if path.is_dir() else path.resolve().parent
        if root.name == "annotations":
            root = root.parent
        into = Collector(path, root, self.name)
        declared: set[str] = set()
        splits: dict[Path, Split] = {
            file: _split(file, root) if path.is_dir() else "" for file in _of_boxes(found)
        }
        pictures: dict[Path, set[str]] = {}
        for file in sorted(splits, key=lambda file: not splits[file]):
            names, pictures[file] = _read_file(into, file, root, splits[file])
            declared |= names
        _say_shared(into, {_shown(file, root): ids for file, ids in pictures.items()}, splits)
        others["of boxes"] += [file for file in found if file not in splits]
        _say_unread(into, others, list(splits), root)
        return into.finish(declared)

    def place(self, name: str, split: str) -> str:
        """See `BoxFormat`."""
        return name

    def write(self, data: BoxData, folder: Path) -> None:
        """One file for each split."""
        for split in ("", *SPLITS):
            pictures = [p for p in data.pictures if p.split == split]
            if not pictures:
                continue
            annotations: list[dict[str, Any]] = []
            for at, picture in enumerate(pictures, 1):
                for box in picture.boxes:
                    wide, high = round(box.right - box.left, 6), round(box.bottom - box.top, 6)
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": at,
                            "category_id": box.category + 1,
                            "bbox": [box.left, box.top, wide, high],
                            "area": round(wide * high, 6) if box.area is None else box.area,
                            "iscrowd": int(box.crowd),
                        }
                    )
            content = {
                "images": [
                    {"id": i, "file_name": p.id, "width": p.width_px, "height": p.height_px}
                    for i, p in enumerate(pictures, 1)
                ],
                "annotations": annotations,
                "categories": [{"id": i, "name": n} for i, n in enumerate(data.listed, 1)],
            }
            store.commit(folder / f"{split or 'boxes'}.json", json.dumps(content).encode())


def _say_unread(
    into: Collector, others: Mapping[_Kind, Sequence[Path]], read: Sequence[Path], root: Path
) -> None:
    """Say once of each kind of JSON that it is not read, however many files there are."""
    elsewhere = f"The boxes are in {some_of([_shown(file, root) for file in read], _NAMED)}."
    for kind, files in others.items():
        if files:
            where = some_of([_shown(file, root) for file in files], _NAMED)
            into.say("other-json", where, _UNREAD.get(kind, elsewhere), "not read")


def _found(path: Path) -> tuple[list[Path], dict[_Kind, list[Path]]]:
    """The files of the first of the places where they may lie, and other JSON that may be meant."""
    found, others = [path] * path.is_file(), defaultdict[_Kind, list[Path]](list)
    for files in _json_by_place(path):
        here = defaultdict[_Kind, list[Path]](list)
        for file in files:
            here[_kind(file)].append(file)
        if here["of boxes"] and not found:
            found = here.pop("of boxes")
        else:
            here.pop("other", None)
        for kind, some in here.items():
            others[kind] += some
    return found, others


def _json_by_place(folder: Path) -> Iterator[list[Path]]:
    if not folder.is_dir():
        return
    tops = [place for place, is_folder in guard.listed(folder) if is_folder]
    splits = [place for place in tops if _split_in(place.name)]
    for places in ([folder], [folder / "annotations"], splits):
        yield [file for place in places if place.is_dir() for file in _json_in(place)]


def _json_in(folder: Path) -> list[Path]:
    files = [file for file, is_folder in guard.listed(folder) if not is_folder]
    return [file for file in files if file.suffix.lower() == ".json" and file.is_file()]


def _of_boxes(files: Sequence[Path]) -> Sequence[Path]:
    """Those of boxes, as COCO's own are called, else all but COCO's own of other things."""

    def called(*starts: str) -> list[Path]:
        """The files whose name is one of these, or has it before a `_`."""
        begin = tuple(f"{start}_" for start in starts)
        return [file for file in files if f"{file.stem.lower()}_".startswith(begin)]

    own = called(*_OTHERS)
    others = [file for file in files if file not in own]
    return called("instances") or others or called(_OTHERS[0]) or files


def _kind(file: Path) -> _Kind:
    """Whether a file speaks of images and annotations; a large one is not read."""
    try:
        size = file.stat().st_size
        if size > guard.MAX_BYTES:
            return "large"
        if size == 0:
            return "other"
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            has = all(content.find(b'"%b"' % part) >= 0 for part in (b"images", b"annotations"))
    except (OSError, ValueError):
        return "unreadable"
    return "of boxes" if has else "other"


def _split(file: Path, root: Path) -> Split:
    """What a file is called for, or the folder it is in."""
    folder = file.resolve().parent
    return _split_in(file.stem) or (_split_in(folder.name) if folder != root else "")


def _split_in(name: str) -> Split:
    words = [word.rstrip("0123456789") for word in _WORDS.split(name.lower())]
    named: list[Split] = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
    return named[-1] if named else ""


def _shown(file: Path, root: Path) -> str:
    whole = file.resolve()
    return guard.shown(whole.relative_to(root) if whole.is_relative_to(root) else file.name)


def _places(file: Path, root: Path, split: Split) -> list[Path]:
    """Folders in which the pictures of a file may lie, the likeliest first."""
    own = split or _split_in(file.stem)
    starts = [0, *(part.end() for part in _WORDS.finditer(file.stem))]
    names = [file.stem[at:] for at in starts]
    names += [name for name, meaning in SPLIT_NAMES.items() if meaning == own]
    names = [name for name in dict.fromkeys(names) if name.strip(".")]
    bases = [file.parent, file.parent / "images", root, root / "images"]
    places = [file.parent, *(base / name for name in names for base in bases)]
    places += [file.parent / place for place in _PLACES] + [root / "images" / (split or ".")]
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def _loaded(file: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(read_utf8(file))
    except json.JSONDecodeError as fault:
        where = f"{guard.shown(file)}:{fault.lineno}"
        mend = "save it again"
        if fault.msg == "Extra data":
            mend = "if it has an object on each line, it is JSON lines: call it .jsonl"
        raise DataError(f"This is no JSON: {fault.msg}.", where=where, mend=mend) from fault
    except (RecursionError, ValueError) as fault:
        if isinstance(fault, DataError):
            raise
        what = "The JSON is nested too deeply or holds an endless number."
        raise DataError(what, where=guard.shown(file), mend="this is no COCO file") from fault
    _refuse_results(content, file)
    _refuse_via(content, file)
    if isinstance(content, list):
        raise DataError(
            "This is a JSON array, which no format of boxes is but Label Studio's export.",
            where=guard.shown(file),
            mend="a COCO file is an object with the lists images, annotations and categories; of "
            "texts and labels make one object a line: jq -c '.[]' FILE > FILE.jsonl",
        )
    parts = ("images", "annotations", "categories")
    for part in parts:
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise DataError(
                f"There is no list {part!r}.",
                where=guard.shown(file),
                mend="a COCO file has the lists images, annotations and categories",
            )
    return {part: content[part] for part in parts}


def _refuse_results(content: object, file: Path) -> None:
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(first, dict) and "image_id" in first and "bbox" in first:
        raise DataError(
            "These are predictions in COCO's form for results, not a data set.",
            where=guard.shown(file),
            mend="give the file with images, annotations and categories that was predicted for",
        )


def _refuse_via(content: object, file: Path) -> None:
    """Refuse what the VGG Image Annotator writes as JSON: a project, or pictures with regions."""
    entries = list(content.values()) if isinstance(content, dict) else []
    of_pictures = bool(entries) and all(isinstance(e, dict) and "regions" in e for e in entries)
    if of_pictures or (isinstance(content, dict) and "_via_img_metadata" in content):
        raise DataError(
            "This is the own JSON of VIA, the VGG Image Annotator.",
            where=guard.shown(file),
            mend="in VIA, take Annotation > Export Annotations (COCO format)",
        )


@final
class _Ids:
    """The ids of a list, which annotations may spell otherwise: "1" or 1.0 for 1; said once.

    Args:
        field: what annotations call it.
        known: the list's ids, as `_key` has them.
    """

    def __init__(self, field: str, known: Collection[object]) -> None:
        self._field, self._known = field, known
        self._spelt = {_spelt(id_): id_ for id_ in known}
        self._said = False

    def key(self, into: Collector, row: Mapping[str, Any], where: str) -> object | None:
        """Which of the ids an annotation means; None where it is none of them."""
        value = row.get(self._field)
        if _key(value) in self._known:
            return _key(value)
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            return None
        key = self._spelt.get(_spelt(value))
        if key is not None and not self._said:
            self._said = True
            what = f"{self._field} is {value!r}, and the list has {key!r}."
            into.say("other-spelling", where, what, "read as the same, here and further on")
        return key


@dataclass(frozen=True)
class _Lists:
    """What the annotations of one file refer to; `where` is the file."""

    where: str
    pictures: Mapping[object, str | None]
    categories: Mapping[object, str]
    picture_ids: _Ids
    category_ids: _Ids


def _say_shared(
    into: Collector, pictures: Mapping[str, set[str]], splits: Mapping[Path, Split]
) -> None:
    """Say that files are about the same pictures, where no split of their own tells them apart."""
    times = Counter(chain.from_iterable(pictures.values()))
    shared = {id_ for id_, files in times.items() if files > 1}
    if not shared or any(splits.values()):
        return
    count = plural(len(shared), "picture")
    what = (
        f"{count} {'is' if len(shared) == 1 else 'are'} in several of these files, and the boxes "
        "of all count. If each file is a person's, see how far they agree with `regraft labels`."
    )
    where = some_of([file for file, ids in pictures.items() if ids & shared], _NAMED)
    into.say("same-pictures", where, what, "read together")


def _read_file(into: Collector, file: Path, root: Path, split: Split) -> tuple[set[str], set[str]]:
    """The categories that a file declares, and the pictures that it names."""
    content, where = _loaded(file), _shown(file, root)
    names = _categories(into, content["categories"], where)
    ids = _pictures(into, content["images"], file, root, split)
    lists = _Lists(where, ids, names, _Ids("image_id", ids), _Ids("category_id", names))
    seen: set[object] = set()
    for at, row in enumerate(content["annotations"]):
        if not isinstance(row, dict):
            into.refuse("not-an-object", f"{where}: annotations[{at}]", "This is no object.")
            continue
        here = f"{where}: annotation {row.get('id', f'number {at}')}"
        own = row.get("id")
        if own is not None and _key(own) in seen:
            into.say("duplicate-id", here, "Two annotations have this id.", "both are read")
        seen.add(_key(own))
        _read_row(into, row, lists, here)
    return set(names.values()), {taken for taken in ids.values() if taken is not None}


def _read_row(into: Collector, row: dict[str, Any], lists: _Lists, where: str) -> None:
    picture = lists.picture_ids.key(into, row, where)
    if picture is None:
        return into.refuse("unknown-picture", where, f"There is no image {row.get('image_id')!r}.")
    category = lists.category_ids.key(into, row, where)
    if category is None:
        return into.unknown_category(
            f"{where}: category_id {row.get('category_id')!r}",
            f"{lists.where} has {listed(lists.categories)}",
            f"add the category to `categories` in {lists.where}",
        )
    id_ = lists.pictures[picture]
    if not row.get("bbox") and isinstance(row.get("segmentation"), dict):
        what = "It is a mask in run lengths (RLE), which are not read, and has no bbox."
        return into.refuse("run-lengths", where, what, id_=id_)
    edges = _edges(into, row, where)
    crowd, area = into.crowd(row.get("iscrowd"), where), number(row.get("area"))
    is_area = area is not None and isfinite(area) and area > 0
    name = lists.categories[category]
    into.box(id_, name, edges, where, crowd, area=area if is_area else None)


def _key(value: object) -> object:
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else repr(value)


def _spelt(id_: object) -> str:
    return str(id_).strip().removesuffix(".0")


def _categories(into: Collector, rows: list[Any], where: str) -> dict[object, str]:
    names: dict[object, str] = {}
    for at, row in enumerate(rows):
        name, id_ = (row.get("name"), row.get("id")) if isinstance(row, dict) else (None, None)
        if not isinstance(name, str) or not name.strip() or id_ is None:
            what = "The category has no id or no name."
            into.say("bad-category", f"{where}: categories[{at}]", what, "not read")
            continue
        if _key(id_) in names:
            raise DataError(
                f"Two categories have the id {id_!r}: {names[_key(id_)]!r} and {name!r}.",
                where=f"{where}: categories[{at}]",
                mend="give each its own id",
            )
        if name in names.values():
            what = f"Two categories are called {name!r}."
            into.say("duplicate-category", f"{where}: categories[{at}]", what, "read as one")
        names[_key(id_)] = name
    return names


def _pictures(
    into: Collector, rows: list[Any], file: Path, root: Path, split: Split
) -> dict[object, str | None]:
    ids: dict[object, str | None] = {}
    names: dict[object, str] = {}
    taken_for: dict[str, object] = {}
    own = _shown(file, root)
    located = _located(into, rows, _places(file, root, split), root, own)
    for at, row in enumerate(rows):
        here = f"{own}: images[{at}]"
        name, id_ = (row.get("file_name"), row.get("id")) if isinstance(row, dict) else (None, None)
        if not isinstance(name, str) or not name or "\0" in name or id_ is None:
            into.say("bad-picture", here, "The image has no id or no file_name.", "set aside")
            continue
        here = f"{own}: image {id_}"
        if _key(id_) in ids:
            if names[_key(id_)] != name:
                raise DataError(
                    f"Two images have the id {id_!r}: {names[_key(id_)]!r} and {name!r}.",
                    where=here,
                    mend="give each its own id",
                )
            into.say("duplicate-picture", here, f"{name} is listed twice.", "read as one")
            continue
        place, looked = located[name]
        names[_key(id_)] = name
        ids[_key(id_)] = taken = into.picture(place, here, split, looked)
        if taken is not None:
            other = taken_for.setdefault(taken, id_)
            if other != id_:
                what = f"Image {other} is the same file, {taken}."
                into.say("duplicate-picture", here, what, "read as one")
            into.declared(taken, (row.get("width"), row.get("height")), here)
    return ids


def _located(
    into: Collector, rows: list[Any], places: Sequence[Path], root: Path, where: str
) -> dict[str, tuple[Path, Sequence[Path]]]:
    """Where each picture that is named lies or ought to lie, and where it was looked for."""
    given = [row.get("file_name") for row in rows if isinstance(row, dict)]
    looked = {
        name: [place / name for place in places]
        for name in given
        if isinstance(name, str) and name and "\0" not in name
    }
    there = {name: file for name, files in looked.items() if (file := _first_file(files, root))}
    if not there:
        there = found_elsewhere(into, root, looked, where)
    return {name: (there.get(name, files[0]), files) for name, files in looked.items()}


def _first_file(files: Sequence[Path], root: Path) -> Path | None:
    """The first that is there, one inside of the data's folder before others."""
    there = [file for file in files if guard.is_file(file)]
    inside = (file for file in there if file.resolve().is_relative_to(root))
    return next(inside, there[0] if there else None)


def _edges(into: Collector, row: dict[str, Any], where: str) -> list[object]:
    """Left, top, right, bottom of `bbox`, else around the polygons."""
    given = row.get("bbox")
    if isinstance(given, list) and given:
        numbers = [number(value) for value in given]
        known = [value for value in numbers if value is not None and isfinite(value)]
        if len(known) != 4 or len(given) != 4:
            return given  # to be refused, in the words of the file
        left, top, wide, high = known
        if wide < 0 or high < 0:
            return [left, top, left, top]
        return [left, top, left + wide, top + high]
    polygons = row.get("segmentation")
    if not isinstance(polygons, list):
        return [given] if given else []
    found = [around(points) for points in polygons if isinstance(points, list)]
    found = [edges for edges in found if edges]
    if not found:
        return [given] if given else []
    into.say("no-bbox", where, "There is a polygon and no bbox.", "the box around it is used")
    low = [min(number(e[i]) or 0.0 for e in found) for i in (0, 1)]
    return [*low, *(max(number(e[i]) or 0.0 for e in found) for i in (2, 3))]
