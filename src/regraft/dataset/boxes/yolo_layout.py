"""Where a YOLO folder has its pictures, labels and names of categories.

Decisions:

- data.yaml says it. Without one, names stand in classes.txt or labels/classes.txt, a category a
  line (Label Studio, LabelImg), or, in Darknet's form (CVAT's "YOLO 1.1"), in obj.names beside
  obj.data; pictures are in images/, in the images/ of each split, or beside their labels.
- `train` and `val` in the same folder are how YOLO says that nothing is split.
- Paths are often those of another computer: folders are looked for by the end of their path, and
  so are the pictures of a list none of which is in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from regraft.dataset import guard
from regraft.dataset.boxes.collector import Collector
from regraft.dataset.boxes.elsewhere import found_elsewhere
from regraft.dataset.boxes.rows import number
from regraft.dataset.encoding import read_utf8
from regraft.dataset.reader import SPLIT_NAMES
from regraft.dataset.rows import Split
from regraft.errors import DataError

_MAX_YAML_BYTES = 512 * 2**10
_MAX_DEPTH = 8
_MAX_WORD = 3000
"""Characters without a space; numbers with more are slow to read, or Python does not write them."""
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in "bool int float null timestamp".split()}
_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_DARKNET, _DARKNET_NAMES = "obj.data", "obj.names"
_IMAGES, _LABELS = "images", "labels"
_FIRST_BYTES = 4096


@dataclass(frozen=True)
class Layout:
    """What describes a folder.

    Attributes:
        file: it names the categories.
        root: the data's folder, resolved.
        content: as data.yaml has it: names, and a path or paths for each split.
    """

    file: Path
    root: Path
    content: Mapping[str, Any]


def layout_of(path: Path) -> Layout:
    """What describes the data at a path.

    Raises:
        DataError: nothing names the categories, or what does is damaged.
    """
    file = _description(path)
    if file is not None:
        return Layout(file, file.resolve().parent, _loaded(file))
    if any((path / name).is_file() for name in (_DARKNET, _DARKNET_NAMES)):
        return _darknet(path.resolve())
    return _bare(path.resolve())


def is_described(path: Path) -> bool:
    """A YAML file that has names or folders, or a folder with a data.yaml like that."""
    file = _description(path)
    if file is None:
        return False
    try:
        content = _loaded(file)
        has_labels = path.is_dir() and _folder(path, _LABELS) is not None
    except (DataError, OSError):
        # A data.yaml that cannot be read is still what says that this is YOLO.
        return path.is_dir()
    names, folders = "names" in content, any(key in content for key in SPLIT_NAMES)
    # In a folder that may be of something else, one of them is not enough.
    seems = path.is_file() or "nc" in content or has_labels
    return (names and folders) or (seems and (names or folders))


def _description(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() in (".yaml", ".yml") else None
    return next((path / name for name in _YAMLS if (path / name).is_file()), None)


# Without data.yaml --------------------------------------------------------------------------------


def is_bare(folder: Path) -> bool:
    """Whether a folder has pictures and labels as YOLO wants them, with or without names for these.

    That may be so of data in another format, too.
    """
    if not folder.is_dir():
        return False
    folder = folder.resolve()
    try:
        return (
            all((folder / name).is_file() for name in (_DARKNET, _DARKNET_NAMES))
            or _has_both(folder)
            or any(map(_has_both, _splits_in(folder).values()))
            or _has_labels_beside(folder)
        )
    except OSError:
        return False


def _has_both(folder: Path) -> bool:
    """Whether pictures are in images/ and labels in labels/."""
    images, labels = _folder(folder, _IMAGES), _folder(folder, _LABELS)
    if images is None or labels is None:
        return False
    pictures = (file for file, _ in guard.files(folder, images))
    texts = (file for file, _ in guard.files(folder, labels))
    return any(map(guard.claims_picture, pictures)) and any(map(_is_text, texts))


def _has_labels_beside(folder: Path) -> bool:
    """Whether most pictures have a label file beside them; the first files are looked at."""
    files = {file for file, problem in islice(guard.files(folder), guard.SNIFFED) if not problem}
    pictures = [file for file in files if guard.claims_picture(file)]
    texts = [text for file in pictures if (text := file.with_suffix(".txt")) in files]
    if 2 * len(texts) <= len(pictures):
        return False
    begun = [_first_words(text) for text in texts]
    return any(begun) and all(map(_is_box, filter(None, begun)))


def _first_words(file: Path) -> list[str]:
    try:
        with file.open("rb") as opened:
            start = opened.read(_FIRST_BYTES)
    except OSError:
        return []
    lines = start.decode("utf-8", "replace").split("\n")
    return next((words for line in lines if (words := line.split())), [])


def _is_box(words: list[str]) -> bool:
    return len(words) == 5 and words[0].isdigit() and all(number(w) is not None for w in words)


def _is_text(file: Path) -> bool:
    return file.suffix.lower() == ".txt"


def _folder(folder: Path, name: str) -> Path | None:
    """A folder in another, upper and lower case being the same."""
    if not folder.is_dir():
        return None
    tops = (path for path, is_folder in guard.listed(folder) if is_folder)
    return next((path for path in tops if path.name.lower() == name), None)


def _splits_in(folder: Path) -> dict[str, Path]:
    """The folders in another that are called like splits, by their names in lower case."""
    tops = [path for path, is_folder in guard.listed(folder) if is_folder]
    return {top.name.lower(): top for top in tops if top.name.lower() in SPLIT_NAMES}


def _bare(root: Path) -> Layout:
    """What a data.yaml would say.

    Raises:
        DataError: nothing names the categories, or it is not clear which pictures are in a split.
    """
    labels = _folder(root, _LABELS)
    places = [root / "classes.txt", *([labels / "classes.txt"] if labels else [])]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise DataError(
            "The labels are YOLO's, and there is neither a data.yaml nor a classes.txt: nothing "
            "names the categories.",
            where=guard.shown(root),
            mend="add classes.txt at the top of the folder, with the name of category 0 in its "
            "first line, of 1 in its second, and so on",
        )
    return Layout(file, root, {"names": _names(file), **_pictures_of(root)})


def _names(file: Path) -> list[str]:
    names = [line.strip() for line in read_utf8(file, _MAX_YAML_BYTES).splitlines()]
    while names and not names[-1]:
        names.pop()
    if "" in names:
        raise DataError(
            "A line has no name; which category has which number cannot be told.",
            where=f"{guard.shown(file.name)}:{names.index('') + 1}",
            mend="write a name in each line, the first for category 0",
        )
    return names


def _pictures_of(root: Path) -> dict[str, str]:
    """The folder of each split, or one for all."""
    base = _folder(root, _IMAGES) or root
    splits = _splits_in(base)
    loose = [path for path, is_folder in guard.listed(base) if not is_folder]
    if splits and (odd := next(filter(guard.claims_picture, loose), None)):
        raise DataError(
            f"{guard.shown(odd.name)} lies beside the folders of the splits.",
            where=guard.shown(base),
            mend=f"move such pictures into {next(iter(splits.values())).relative_to(root)}, and "
            "their labels likewise",
        )
    whole = base.relative_to(root).as_posix()
    named = {key: folder.relative_to(root).as_posix() for key, folder in splits.items()}
    return named or {"train": whole, "val": whole}


def _darknet(root: Path) -> Layout:
    """What obj.data says, and the lists that lie beside it though it names none or not all."""
    file = root / _DARKNET_NAMES
    if not file.is_file():
        raise DataError(
            f"There is {_DARKNET} and no {_DARKNET_NAMES}: nothing names the categories.",
            where=guard.shown(root),
            mend=f"add {_DARKNET_NAMES}, with a name in each line, the first for category 0",
        )
    content: dict[str, Any] = {
        path.stem.lower(): path.name
        for path, is_folder in guard.listed(root)
        if not is_folder and _is_text(path) and path.stem.lower() in SPLIT_NAMES
    }
    said = root / _DARKNET
    for line in read_utf8(said, _MAX_YAML_BYTES).splitlines() if said.is_file() else []:
        key, _, value = (part.strip() for part in line.partition("="))
        if key.lower() in SPLIT_NAMES and value:
            content.setdefault(key.lower(), value)
    return Layout(file, root, {"names": _names(file), **(content or _pictures_of(root))})


# data.yaml ----------------------------------------------------------------------------------------


def _loaded(file: Path) -> dict[str, Any]:
    """What data.yaml holds; the keys of splits in lower case.

    Raises:
        DataError: it is no plain mapping, or made to do harm: aliases, depth, size, long words.
    """
    import yaml

    where = guard.shown(file)
    text = read_utf8(file, _MAX_YAML_BYTES)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            value = event.value if isinstance(event, yaml.ScalarEvent) else ""
            is_endless = len(value) > _MAX_WORD and len(value.split(maxsplit=1)) == 1
            if depth > _MAX_DEPTH or isinstance(event, yaml.AliasEvent) or is_endless:
                line = event.start_mark.line + 1
                what = "The YAML has aliases, endless words, or is nested too deeply."
                raise DataError(what, where=f"{where}:{line}", mend="write it out plainly")
        content = _constructed(text)
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError) as fault:
        # The last two are what PyYAML makes of `!!int ""`, `!!bool maybe` and the like.
        if isinstance(fault, DataError):
            raise
        mark = fault.problem_mark if isinstance(fault, yaml.MarkedYAMLError) else None
        at = f"{where}:{mark.line + 1}" if mark else where
        raise DataError("This is no YAML.", where=at, mend="save it again") from fault
    if not isinstance(content, dict):
        raise DataError("This is no data.yaml.", where=where, mend="it has names, train and val")
    return {_lower_if_split(key): value for key, value in content.items()}


def _lower_if_split(key: Any) -> Any:
    lower = str(key).lower()
    return lower if lower in SPLIT_NAMES else key


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


# Pictures and their labels ------------------------------------------------------------------------


def pictures_in(into: Collector, layout: Layout) -> Iterator[tuple[Path, Split]]:
    """Every picture with its split, in order; what is not found is said."""
    content, root, file = layout.content, layout.root, guard.shown(layout.file.name)
    every: list[tuple[str, Split, list[str]]] = [
        (key, split, _paths(content.get(key))) for key, split in SPLIT_NAMES.items()
    ]
    given = [row for row in every if row[2]]
    together = len(given) > 1 and len({tuple(paths) for *_, paths in given}) == 1
    for key, split, paths in given[:1] if together else given:
        for path in paths:
            found = _found(path, content.get("path"), root) or _by_its_end(
                into, path, root, f"{file}: {key}"
            )
            if found is None:
                what = f"There is no folder or list {guard.shown(path)} in the data."
                into.say("missing-split", f"{file}: {key}", what, "nothing read")
                continue
            named: Split = "" if together else split
            for picture in _pictures(into, found, root):
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


def _by_its_end(into: Collector, path: str, root: Path, where: str) -> Path | None:
    """What is there under the last folders of a path of another computer, as many as fit."""
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part != "/"]
    ends = (PurePosixPath(*parts[at:]) for at in range(1, len(parts)))
    end = next((end for end in ends if _found(str(end), None, root)), None)
    if end is None:
        return None
    what = f"There is no {guard.shown(path)} in the data; there is {guard.shown(str(end))}."
    into.say("other-place", where, what, "read instead")
    return _found(str(end), None, root)


def _pictures(into: Collector, place: Path, root: Path) -> Iterator[Path]:
    """The pictures of a folder or a list."""
    if place.is_dir():
        for file, problem in guard.files(root, place):
            if guard.claims_picture(file) and problem is None:
                yield file
        return
    names = [line.strip() for line in read_utf8(place).splitlines()]
    names = [name for name in names if name and "\0" not in name]
    near = {name: [folder / name for folder in (place.parent, root)] for name in names}
    there = {name: file for name, files in near.items() if (file := _first_file(files))}
    if not there:
        there = found_elsewhere(into, root, near, guard.shown(place.relative_to(root)))
    yield from (there.get(name, near[name][0]) for name in names)


def _first_file(files: list[Path]) -> Path | None:
    return next(filter(guard.is_file, files), None)


def wanted_label(picture: Path) -> Path:
    """Where YOLO wants a picture's labels: in labels/ for the last folder that is images/."""
    parts = list(picture.parts)
    at = [i for i, part in enumerate(parts[:-1]) if part.lower() == _IMAGES]
    if at:
        parts[at[-1]] = _in_case_of(parts[at[-1]])
    return Path(*parts).with_suffix(".txt")


def label_of(picture: Path) -> Path:
    """Where a picture's labels are: where YOLO wants them, or else beside it if they are there."""
    wanted, beside = wanted_label(picture), picture.with_suffix(".txt")
    return beside if not guard.is_file(wanted) and guard.is_file(beside) else wanted


def _in_case_of(images: str) -> str:
    written = {_IMAGES.title(): _LABELS.title(), _IMAGES.upper(): _LABELS.upper()}
    return written.get(images, _LABELS)
