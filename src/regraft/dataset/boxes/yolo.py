"""YOLO folders: data.yaml, and beside images/…/a.jpg a labels/…/a.txt with a line for each box.

A line is `class centre_x centre_y width height`, all but the class in shares of the picture, or a
polygon: `class x y x y x y …`. A picture without a label file is a negative, and that is said.

Decisions:

- A category number that data.yaml does not have is an error, with file and line.
- Lines whose width and height are above 1 are in pixels; they are read so, and it is said. Where
  no number is above 2, they are shares that reach a little beyond the picture.
- What YOLO has no word for stands in data.yaml, where others pass over it: `crowd:` lists the
  lines, counted from 1, of each label file that are crowds.
- `train` and `val` in the same folder are how YOLO says that nothing is split.
- Label Studio and LabelImg write no data.yaml but a classes.txt, a category a line, beside images/
  and labels/, or in labels/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, final

from regraft import store
from regraft.dataset import guard
from regraft.dataset.boxes.collector import Collector
from regraft.dataset.boxes.rows import BoxData, around, listed, number
from regraft.dataset.encoding import read_utf8
from regraft.dataset.reader import SPLIT_NAMES
from regraft.dataset.rows import SPLITS, Split
from regraft.errors import DataError
from regraft.wording import plural

_MAX_YAML_BYTES = 512 * 2**10
_MAX_LABEL_BYTES = 16 * 2**20
_MAX_DEPTH = 8
_KEYS: Mapping[Split, str] = {"train": "train", "valid": "val", "test": "test"}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in "bool int float null timestamp".split()}
_CLEARLY = 2.0
"""No share is larger, however careless."""
_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


@final
@dataclass(frozen=True)
class YoloReader:
    """Reads and writes YOLO folders."""

    name: str = "yolo"

    def recognises(self, path: Path) -> bool:
        """A YAML file that has names or folders, or a folder with a data.yaml like that."""
        file = _description(path)
        if file is None:
            return False
        try:
            content = _loaded(file)
        except (DataError, OSError):
            # A data.yaml that cannot be read is still what says that this is YOLO.
            return path.is_dir()
        names, folders = "names" in content, any(key in content for key in SPLIT_NAMES)
        # In a folder that may be of something else, one of them is not enough.
        seems = path.is_file() or "nc" in content or (path / "labels").is_dir()
        return (names and folders) or (seems and (names or folders))

    def read(self, path: Path) -> BoxData:
        """The rows; see `dataset.boxes.read_boxes`."""
        file = _description(path)
        if file is None:
            file, content = _bare(path)
            root = path.resolve()
        else:
            content, root = _loaded(file), file.resolve().parent
        into = Collector(path, root, self.name)
        own = guard.shown(file.name)
        names = _categories(into, content, own)
        if not any(key in content for key in SPLIT_NAMES):
            raise DataError(
                "data.yaml has neither train nor val: it does not say where the pictures are.",
                where=guard.shown(file),
                mend="add the folders of the pictures, for example train: images",
            )
        crowds = _crowds(content)
        seen: set[Path] = set()
        done: set[Path] = set()
        for picture, split in _listed(into, content, root, file.name):
            label = _label_file(picture)
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
            label = _label_file(Path(picture.id)).as_posix()
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
        content |= {"nc": len(data.categories), "names": list(data.categories)}
        if crowds:
            content["crowd"] = crowds
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        store.commit(folder / "data.yaml", text.encode())


# data.yaml ----------------------------------------------------------------------------------------


def _description(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() in (".yaml", ".yml") else None
    return next((path / name for name in _NAMES if (path / name).is_file()), None)


def is_bare(folder: Path) -> bool:
    """Whether a folder has pictures and labels as YOLO wants them, with or without a data.yaml.

    That may be so of data in another format, too.
    """
    if not all((folder / name).is_dir() for name in ("images", "labels")):
        return False
    folder = folder.resolve()
    pictures = (file for file, _ in guard.files(folder, folder / "images"))
    labels = (file for file, _ in guard.files(folder, folder / "labels"))
    return any(map(guard.claims_picture, pictures)) and any(
        file.suffix.lower() == ".txt" for file in labels
    )


def _bare(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file that names the categories of a folder without data.yaml, and what one would hold.

    Raises:
        DataError: there is none.
    """
    places = (folder / "classes.txt", folder / "labels" / "classes.txt")
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise DataError(
            "There is neither a data.yaml nor a classes.txt: nothing names the categories.",
            where=guard.shown(folder),
            mend="add classes.txt beside images/ and labels/, with the name of category 0 in its "
            "first line, of 1 in its second, and so on",
        )
    names = [line.strip() for line in read_utf8(file, _MAX_YAML_BYTES).splitlines()]
    while names and not names[-1]:
        names.pop()
    if "" in names:
        raise DataError(
            "A line has no name; which category has which number cannot be told.",
            where=f"{guard.shown(file.name)}:{names.index('') + 1}",
            mend="write a name in each line, the first for category 0",
        )
    images = folder / "images"
    splits = {key: f"images/{key}" for key in SPLIT_NAMES if (images / key).is_dir()}
    loose = [path for path, is_folder in guard.listed(images) if not is_folder]
    if splits and (odd := next(filter(guard.claims_picture, loose), None)):
        raise DataError(
            f"{guard.shown(odd.name)} lies beside the folders of the splits.",
            where=guard.shown(images),
            mend=f"move such pictures into images/{next(iter(splits))}, and their labels likewise",
        )
    return file, {"names": names, **(splits or {"train": "images", "val": "images"})}


def _loaded(file: Path) -> dict[str, Any]:
    """What data.yaml holds.

    Raises:
        DataError: it is no plain mapping, or made to do harm: aliases, depth, size.
    """
    import yaml

    where = guard.shown(file)
    text = read_utf8(file, _MAX_YAML_BYTES)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH or isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1
                what = "The YAML has aliases or is nested too deeply."
                raise DataError(what, where=f"{where}:{line}", mend="write it out plainly")
        content = _constructed(text)
    except (yaml.YAMLError, ValueError, RecursionError) as fault:
        if isinstance(fault, DataError):
            raise
        mark = fault.problem_mark if isinstance(fault, yaml.MarkedYAMLError) else None
        at = f"{where}:{mark.line + 1}" if mark else where
        raise DataError("This is no YAML.", where=at, mend="save it again") from fault
    if not isinstance(content, dict):
        raise DataError("This is no data.yaml.", where=where, mend="it has names, train and val")
    return content


def _constructed(text: str) -> Any:
    """What YAML says, with names as they are written: `no` and 007 are neither truth nor number."""
    import yaml

    loader = yaml.CSafeLoader(text)
    node = loader.get_single_node()
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    for value in [value for key, value in pairs if key.value == "names"]:
        named = isinstance(value, yaml.MappingNode)
        for name in [name for _, name in value.value] if named else value.value:
            if isinstance(name, yaml.ScalarNode) and name.tag in _PLAIN_TAGS:
                name.tag = "tag:yaml.org,2002:str"
    return loader.construct_document(node) if node is not None else None


def _categories(into: Collector, content: Mapping[str, Any], where: str) -> dict[int, str]:
    given = content.get("names")
    if isinstance(given, list):
        given = dict(enumerate(given))
    if not isinstance(given, dict) or not given:
        raise DataError(
            f"{where} names no categories.",
            where=where,
            mend="write a name a line" if where.endswith(".txt") else "add names: [first, second]",
        )
    names: dict[int, str] = {}
    for key, name in given.items():
        if isinstance(key, bool) or not isinstance(key, int) or key < 0:
            raise DataError(
                f"The category {name!r} has the number {key!r}.",
                where=f"{where}: names",
                mend="count from 0",
            )
        if str(name) in names.values():
            what = f"Two categories are called {str(name)!r}."
            into.say("duplicate-category", f"{where}: names[{key}]", what, "read as one")
        names[key] = str(name)
    gaps = sorted(set(range(max(names) + 1)) - set(names))
    if gaps:
        what = f"There is no category {gaps[0]}, but one with a higher number."
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


def _listed(
    into: Collector, content: Mapping[str, Any], root: Path, where: str
) -> Iterator[tuple[Path, Split]]:
    """Every picture with its split, in order."""
    every: list[tuple[str, Split, list[str]]] = [
        (key, split, _paths(content.get(key))) for key, split in SPLIT_NAMES.items()
    ]
    given = [row for row in every if row[2]]
    together = len(given) > 1 and len({tuple(paths) for *_, paths in given}) == 1
    for key, split, paths in given[:1] if together else given:
        for path in paths:
            found = _found(path, content.get("path"), root)
            if found is None:
                what = f"There is no folder or list {guard.shown(path)} in the data."
                into.say("missing-split", f"{where}: {key}", what, "nothing read")
                continue
            named: Split = "" if together else split
            for picture in _pictures(found, root):
                yield picture, named


def _paths(value: object) -> list[str]:
    values: list[object] = list(value) if isinstance(value, list) else [value]
    return [path for path in values if isinstance(path, str) and path and "\0" not in path]


def _found(path: str, base: object, root: Path) -> Path | None:
    """What a path in data.yaml means; many are written for another folder than they lie in."""
    bases = [root / base, root] if isinstance(base, str) and "\0" not in base else [root]
    stripped = path
    while stripped.startswith("../"):
        stripped = stripped[3:]
    tried = [folder / path for folder in bases] + [root / stripped]
    inside = (place.resolve() for place in tried if guard.is_there(place))
    return next((place for place in inside if place.is_relative_to(root)), None)


def _pictures(place: Path, root: Path) -> Iterator[Path]:
    if place.is_dir():
        for file, problem in guard.files(root, place):
            if guard.claims_picture(file) and problem is None:
                yield file
        return
    for line in read_utf8(place).splitlines():
        name = line.strip()
        if name and "\0" not in name:
            places = [folder / name for folder in (place.parent, root)]
            yield next(filter(guard.is_file, places), places[0])


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
        return self.file if self.file.endswith(".txt") else f"`names` in {self.file}"


def _label_file(picture: Path) -> Path:
    """As YOLO has it: the last folder called images becomes labels."""
    parts = list(picture.parts)
    at = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if at:
        parts[at[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _shown(file: Path, root: Path) -> str:
    return guard.shown(file.relative_to(root) if file.is_relative_to(root) else file)


def _read_labels(
    into: Collector, picture: Path, split: Split, label: Path, naming: _Naming
) -> None:
    try:
        lines = read_utf8(label, _MAX_LABEL_BYTES).splitlines()
    except guard.Refused as fault:
        lines = []
        if fault.kind == "missing":
            what = f"{guard.shown(picture.name)} has no label file."
            into.say("no-label-file", naming.where, what, "taken as a negative")
        elif fault.kind != "empty":
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
    if len(numbers) > 4:
        edges = around(numbers)
        if not edges:
            return into.box(id_, known, numbers, where, crowd)
        values = [number(edge) for edge in edges]
        x, y, wide, high = (value or 0.0 for value in values)
    else:
        values = [number(word) for word in numbers]
        finite = [value for value in values if value is not None and isfinite(value)]
        if len(finite) != len(values):
            return into.box(id_, known, numbers, where, crowd)
        x, y, wide, high = finite
        values = [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]
        if wide < 0 or high < 0:
            values = [x, y, x, y]
    known_values = [value for value in values if value is not None]
    if _in_pixels((x, y, wide, high), size):
        into.say("in-pixels", where, "Width and height are above 1.", "read as pixels")
        return into.box(id_, known, known_values, where, crowd, pixels=True, mended=True)
    scaled = [value * size[i % 2] for i, value in enumerate(known_values)]
    into.box(id_, known, scaled, where, crowd, pixels=True)


def _in_pixels(numbers: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    """Whether a line is in pixels: its middle and sides, or the edges of its polygon."""
    _, _, wide, high = numbers
    return 1 < wide <= size[0] and 1 < high <= size[1] and max(numbers) > _CLEARLY


def _say_strays(into: Collector, root: Path, seen: set[Path]) -> None:
    """Label files without a picture: their boxes are counted, and refused."""
    for folder in sorted({file.parent for file in seen}):
        if not folder.is_dir():
            continue
        for file, is_folder in guard.listed(folder):
            stray = file.suffix.lower() == ".txt" and not is_folder and file not in seen
            if not stray or file.name in ("classes.txt", "train.txt", "val.txt", "test.txt"):
                continue
            try:
                lines = [line for line in read_utf8(file, _MAX_LABEL_BYTES).splitlines() if line]
            except DataError:
                lines = []
            what = f"No picture belongs to it; it has {plural(len(lines), 'box', 'boxes')}."
            if lines:
                into.refuse("no-picture", _shown(file, root), what, len(lines))
