"""Pictures that lie elsewhere than the annotations say: programs write paths of their own folders.

Decisions:

- Only where none of the pictures that a file names is in its place. One that is missing among
  others is missing, and no other of its name is taken for it.
- Of several files with the name, the one is meant whose folders agree with the path the furthest
  from its end. Where two agree as far, or one would be meant by two paths, none is.
- Pictures on which `predict` drew what it found are never meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from regraft.dataset import guard
from regraft.dataset.boxes.collector import Collector
from regraft.dataset.boxes.predicted import is_drawn


def found_elsewhere(
    into: Collector, root: Path, names: Iterable[str], where: str
) -> dict[str, Path]:
    """The files that are meant by paths of which none leads to a file; said once.

    Args:
        into: hears it.
        root: the data's folder, resolved.
        names: the paths, with / or backslashes between folders.
        where: the file that has them.

    Returns:
        the file by path, for those that are found.
    """
    wanted = {name: _parts(name) for name in names}
    bare = {parts[-1] for parts in wanted.values() if parts}
    by_end: dict[tuple[str, ...], list[Path]] = {}
    for file, problem in guard.files(root):
        if problem is None and file.name in bare and not is_drawn(file):
            for end in _ends(file.relative_to(root).parts):
                by_end.setdefault(end, []).append(file)
    found: dict[str, Path] = {}
    for name, parts in wanted.items():
        file = _meant(parts, by_end)
        if file is not None:
            found[name] = file
    times = Counter(found.values())
    found = {name: file for name, file in found.items() if times[file] == 1}
    if found:
        name, file = next(iter(found.items()))
        more = f", and {len(found) - 1:,} more likewise" if len(found) > 1 else ""
        there_is = guard.shown(file.relative_to(root))
        what = f"There is no {guard.shown(name)}; there is {there_is}{more}."
        into.say("other-place", where, what, "read instead")
    return found


def _parts(name: str) -> tuple[str, ...]:
    parts = name.replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in ("", ".", ".."))


def _ends(parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The last part of a path, the last two, and so on."""
    return (parts[at:] for at in reversed(range(len(parts))))


def _meant(parts: tuple[str, ...], by_end: Mapping[tuple[str, ...], Sequence[Path]]) -> Path | None:
    shared = list(takewhile(by_end.__contains__, _ends(parts)))
    best = by_end[shared[-1]] if shared else ()
    return best[0] if len(best) == 1 else None
