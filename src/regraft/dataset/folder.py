"""Reader: a folder of classes, with or without folders of splits above them.

    photos/cat/1.jpg                       classes
    photos/train/cat/1.jpg                 splits, then classes; valid may be called val, …

Decisions: the top folders are splits when one of them is called train and all of them are called
like splits; otherwise they are classes. Folders inside a class belong to the class. Any file in
it may be a picture or a video, whatever its name; opening it will tell. Of texts, other files that
lie among them are passed over (see `texts.py`). A link in the place of a class or a
split that leads to where nothing is read is refused, or the class would be gone unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import final

from regraft.dataset import guard
from regraft.dataset.reader import LAYOUT, LAYOUT_OF_TEXTS, SPLIT_NAMES, class_name
from regraft.dataset.rows import Dataset, Problem, Sample, Split
from regraft.dataset.texts import is_nameless, is_text_file
from regraft.dataset.video import claims_video, passed_over
from regraft.errors import DataError

TEXTS_A_PICTURE = 4
"""Of a folder with more texts than so many for each picture, the texts are meant."""


@final
@dataclass(frozen=True)
class _Kind:
    """What lies in the folders of classes.

    Attributes:
        files: what they are called.
        claims: whether a file is meant as one.
        any_file: whether any file in a class folder may be one; opening it will tell.
        other: the kind of problem that another file is.
        layout: how they are to lie, where they do not.
    """

    files: str
    claims: Callable[[Path], bool]
    any_file: bool
    other: str
    layout: str


_KINDS = {
    "image-classification": _Kind("pictures", guard.claims_picture, True, "not-an-image", LAYOUT),
    "video-classification": _Kind("videos", claims_video, True, "not-a-video", LAYOUT),
    "text-classification": _Kind("texts", is_text_file, False, "not-a-text", LAYOUT_OF_TEXTS),
}


@final
@dataclass(frozen=True)
class FolderReader:
    """Reads a folder of classes."""

    name: str = "folder of classes"
    task: str = "image-classification"

    def recognises(self, path: Path) -> bool:
        """Any folder."""
        return path.is_dir()

    def read(self, path: Path) -> Dataset:
        """The rows of a folder; see `Reader`.

        Raises:
            DataError: no file lies in a class folder, splits and classes are mixed, or one of them
                is a link that is not followed.
        """
        root = path.resolve()
        _refuse_links(root, root)
        splits = _splits(root)
        for top in splits:
            _refuse_links(root, root / top)
        depth = 1 if splits else 0
        rows: list[tuple[str, Path, str, Split]] = []
        problems: list[Problem] = []
        for file, problem in guard.files(root):
            parts = file.relative_to(root).parts
            if problem is not None:
                problems.append(problem)
            elif len(parts) < depth + 2:
                problems.append(self._without_class(guard.shown("/".join(parts)), file))
            elif not (self._kind.any_file or self._kind.claims(file)):
                problems.append(self._other(guard.shown("/".join(parts)), file))
            else:
                split = splits[parts[0]] if splits else ""
                rows.append((guard.shown("/".join(parts)), file, class_name(parts[depth]), split))
        if not rows:
            raise _no_samples(path, root, problems, self._kind)
        classes = tuple(sorted({name for _, _, name, _ in rows}))
        index = {name: number for number, name in enumerate(classes)}
        return Dataset(
            path=path,
            task=self.task,
            classes=classes,
            samples=tuple(
                Sample(id_, file, index[name], split=split)
                for id_, file, name, split in sorted(rows)
            ),
            problems=(*problems, *_empty_classes(root, splits, classes, self._kind.files)),
            found=len(rows) + len(problems),
        )

    @property
    def _kind(self) -> _Kind:
        return _KINDS[self.task]

    def _without_class(self, where: str, file: Path) -> Problem:
        thing = self._kind.files[:-1]
        if self._kind.claims(file):
            return Problem("no-class", where, f"The {thing} lies in no class folder.", "set aside")
        return self._other(where, file)

    def _other(self, where: str, file: Path) -> Problem:
        what = passed_over(file, self._kind.files[:-1])
        return Problem(self._kind.other, where, what, "ignored")


@final
@dataclass(frozen=True)
class TextFolderReader:
    """Reads a folder of classes that hold text files, laid out as for pictures."""

    name: str = "folder of classes"

    def recognises(self, path: Path) -> bool:
        """A folder with more text files than videos and hardly a picture, as far as is looked.

        A picture may have a text of its own beside it, and pictures may have no names that tell.
        """
        if not path.is_dir():
            return False
        found = list(islice(guard.files(path.resolve()), guard.SNIFFED))
        pictures = sum(guard.claims_picture(file) for file, _ in found)
        videos = sum(claims_video(file) for file, _ in found)
        here = [file for file, problem in found if problem is None]
        count = sum(map(is_text_file, here))
        untold = sum(is_nameless(file) and not is_text_file(file) for file in here)
        return count > max(videos, TEXTS_A_PICTURE * pictures, untold)

    def read(self, path: Path) -> Dataset:
        """The rows of a folder; see `Reader`.

        Raises:
            DataError: no text lies in a class folder, or splits and classes are mixed.
        """
        return FolderReader(task="text-classification").read(path)


def reader_asked_for(task: str, path: Path) -> FolderReader | None:
    """The reader of a folder with files for a task, whatever there is more of; else None."""
    kind = _KINDS.get(task)
    if kind is None or not path.is_dir() or not guard.holds(path, kind.claims):
        return None
    return FolderReader(task=task)


def _refuse_links(root: Path, folder: Path) -> None:
    for path, _ in guard.listed(folder):
        # Where the disk that it leads to is not there, a name without a suffix is a folder's.
        is_folder = path.is_dir() or not (path.exists() or path.suffix)
        problem = guard.objection(root, path) if path.is_symlink() and is_folder else None
        if problem is not None and problem.kind != "link":
            raise DataError(
                f"{problem.what} Nothing in it would be read.",
                where=guard.shown(path),
                mend="put the folder itself there, or take the link out",
            )


def _splits(root: Path) -> dict[str, Split]:
    """The split that each top folder stands for; empty when the top folders are classes."""
    tops = _folders(root)
    named: dict[str, Split] = {
        top.name: SPLIT_NAMES[top.name.lower()] for top in tops if top.name.lower() in SPLIT_NAMES
    }
    if "train" not in named.values():
        if len(set(named.values())) == len(tops) == 2:
            raise DataError(
                "There are folders for valid and test but none for train.",
                where=guard.shown(root),
                mend="add a folder train/ with a folder for each class",
            )
        return {}
    if len(named) == len(tops):
        return named
    if len(set(named.values())) == 1:
        return {}
    other = next(top.name for top in tops if top.name not in named)
    raise DataError(
        f"Some folders are splits ({', '.join(sorted(named))}) and some are not "
        f"({guard.shown(other)}): it is not clear what the classes are.",
        where=guard.shown(root),
        mend="leave only train/, valid/ and test/ at the top, or only classes",
    )


def _folders(root: Path) -> list[Path]:
    return [path for path, is_folder in guard.listed(root) if is_folder]


def _empty_classes(
    root: Path, splits: dict[str, Split], classes: tuple[str, ...], files: str
) -> list[Problem]:
    bases = [root / top for top in splits] if splits else [root]
    names = {class_name(folder.name) for base in bases for folder in _folders(base)}
    return [
        Problem("empty-class", name, f"The class {name} has no {files}.", "class left out")
        for name in sorted(names - set(classes))
    ]


def _no_samples(path: Path, root: Path, problems: list[Problem], kind: _Kind) -> DataError:
    files = kind.files
    without = sum(problem.kind == "no-class" for problem in problems)
    tables = [
        file.name for file, _ in guard.listed(root) if file.suffix.lower() in guard.TABLE_SUFFIXES
    ]
    if tables:
        mend = (
            f"if the labels are in {guard.shown(tables[0])}, give that file instead of the folder"
        )
    else:
        mend = kind.layout
    if without:
        there = f"is 1 {files[:-1]}" if without == 1 else f"are {without} {files}"
        what = f"There {there} but no classes: which {files[:-1]} shows what?"
    else:
        what = f"There are no {files} in class folders here."
    return DataError(what, where=guard.shown(path), mend=mend)
