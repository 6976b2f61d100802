"""What is asked about: files behind names, folders and patterns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from regraft.dataset import guard
from regraft.dataset.table_rows import TableReader
from regraft.dataset.texts import is_text_file
from regraft.dataset.video import claims_video
from regraft.errors import DataError, UsageError

_NOT_COUNTED = "hidden ones and runs of regraft do not count"
_TABLE = "Tables are read of texts alone; name the files themselves, or folders of them."


def files_of(inputs: Iterable[str | Path], seen: set[Path] | None = None) -> Iterator[Path]:
    """The files of `found_in` alone."""
    return (path for path, _ in found_in(inputs, seen))


def found_in(
    inputs: Iterable[str | Path], seen: set[Path] | None = None
) -> Iterator[tuple[Path, bool]]:
    """Files behind names, folders and patterns, each once, in the order of their first mention.

    Of folders, and of what patterns find, what is hidden or left behind by operating systems is no
    data, as for `fit`, nor is a run in a folder; a file that is named is looked at whatever its
    name. Links to files are followed, also out of a folder; `not_entered` has what else is in one.

    Args:
        inputs: names, folders and patterns.
        seen: files that came before; those found are added.

    Yields:
        A file, and whether it is named or fits a pattern itself, not the folder that it lies in.
    """
    seen = set() if seen is None else seen
    for path, is_named, objection in chain.from_iterable(map(_behind, inputs)):
        whole = _whole(path)
        if not objection and whole not in seen:
            seen.add(whole)
            yield path, is_named


def refuse_stdin(inputs: Sequence[str | Path], things: str) -> None:
    """Refuse "-" where no texts are looked at, unless a file has this name.

    Args:
        inputs: names, folders and patterns.
        things: what is looked at, for example "pictures".

    Raises:
        UsageError: it is among them.
    """
    if "-" in map(str, inputs) and not Path("-").exists():
        raise UsageError(
            f"Texts alone are read from stdin; this model looks at {things}.",
            where="-",
            mend="name files, folders or patterns; xargs makes arguments of a list of names",
        )


def _whole(path: Path) -> Path:
    """The same for the same file, however it is named; links are files of their own."""
    return path.parent.resolve() / path.name


def not_entered(inputs: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Answers for what cannot be looked into, each with what speaks against it.

    These are patterns that nothing fits, folders that are named or fit one and are empty, and in
    folders: folders that may not be read, links that lead nowhere or to folders elsewhere, pipes.

    Args:
        inputs: names, folders and patterns.
    """
    found = chain.from_iterable(map(_behind, inputs))
    unread = {_whole(path): (path, objection) for path, _, objection in found if objection}
    return [{"sample": str(path), "problem": what} for path, what in unread.values()]


def not_meant(
    answers: Sequence[dict[str, Any]], inputs: Sequence[str | Path], modality: str
) -> list[dict[str, Any]]:
    """The answers, with "ignored" where a file was found in a folder, is none, and claims nothing.

    Of a table where no texts are looked at it is said that it is one.

    Args:
        answers: with "sample", and "problem" where it could not be read.
        inputs: names, folders and patterns; what is named, or fits a pattern, is meant.
        modality: "image", "video" or "text".
    """
    if not any("problem" in answer for answer in answers):
        return list(answers)
    asked = chain.from_iterable(map(_behind, inputs))
    named = {_whole(path) for path, is_named, _ in asked if is_named}
    claims = {
        "image": (guard.claims_picture,),
        "video": (guard.claims_picture, claims_video),
        "text": (_claims_text,),
    }[modality]

    def is_meant(answer: dict[str, Any]) -> bool:
        path = Path(answer["sample"])
        return _whole(path) in named or any(claim(path) for claim in claims)

    def told(answer: dict[str, Any]) -> dict[str, Any]:
        if "problem" not in answer:
            return answer
        if not is_meant(answer):
            return answer | {"ignored": True}
        is_table = modality != "text" and TableReader().recognises(Path(answer["sample"]))
        return answer | {"problem": _TABLE} if is_table else answer

    return [told(answer) for answer in answers]


def _claims_text(path: Path) -> bool:
    """Whether this is meant as a text; rows of tables and lines of stdin are no files."""
    return is_text_file(path) or not path.is_file()


def nothing_found(inputs: Sequence[str | Path], things: str) -> DataError:
    """What to say where `files_of` finds no file at all.

    Args:
        inputs: names, folders and patterns, or "-" for stdin.
        things: what was looked for, for example "pictures".
    """

    def place(name: str) -> str:
        if Path(name).is_dir():
            unread = (f"{guard.shown(at)}: {what}" for at, _, what in _below(Path(name)) if what)
            return f"the folder {guard.shown(name)} has no files ({next(unread, _NOT_COUNTED)})"
        return "stdin is empty" if name == "-" else f"no file fits {guard.shown(name)}"

    places = "; ".join(place(str(given)) for given in inputs)
    return DataError(
        f"No {things} were found: {places or 'no place was named'}.",
        where=", ".join(map(str, inputs)),
        mend=f"name files or folders of {things}, or a pattern that fits some",
    )


def _behind(given: str | Path) -> Iterator[tuple[Path, bool, str]]:
    """What is behind one name, folder or pattern.

    Yields:
        A path; whether it is named or fits the pattern itself; and what speaks against looking at
        it, which is "" for files.
    """
    path = Path(given)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.exists() or not set("*?[") & set(str(given)):
        yield path, True, ""
    else:
        yield from _matching(path)


def _matching(pattern: Path) -> Iterator[tuple[Path, bool, str]]:
    root, named, fits = Path(pattern.anchor), set(pattern.parts), False
    for found in sorted(root.glob(str(pattern.relative_to(root)))):
        if any(guard.is_junk(part) and part not in named for part in found.parts):
            continue
        fits = True
        if found.is_dir():
            yield from _in_folder(found)
        else:
            yield found, True, ""
    if not fits:
        yield pattern, True, "No file fits this pattern."


def _in_folder(folder: Path) -> Iterator[tuple[Path, bool, str]]:
    """What is in a folder that is named or fits a pattern, or that it is empty; see `_behind`."""
    found = _below(folder)
    yield next(found, (folder, True, f"The folder has no files; {_NOT_COUNTED}."))
    yield from found


def _below(folder: Path) -> Iterator[tuple[Path, bool, str]]:
    """What is in a folder, to the bottom; see `_behind`."""
    root = folder.resolve()
    for file, problem in guard.files(root):
        path = folder / file.relative_to(root)
        if problem is None or (problem.kind == "outside" and path.is_file()):
            yield path, False, ""
        elif problem.kind != "link":
            yield path, False, problem.what
