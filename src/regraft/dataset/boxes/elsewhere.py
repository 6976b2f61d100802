"""Pictures that lie elsewhere than the annotations say: programs write paths of their own folders.

Decisions:

- Only where none of the pictures that a file names is in its place. One that is missing among
  others is missing, and no other of its name is taken for it.
- Of several files with the name, the one is meant whose folders agree with the path the furthest
  from its end. Where two agree as far, or one would be meant by two paths, none is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from regraft.dataset import guard
from regraft.dataset.boxes.collector import Collector


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
    there: dict[str, list[Path]] = {}
    for file, problem in guard.files(root):
        if problem is None and file.name in bare:
            there.setdefault(file.name, []).append(file)
    found: dict[str, Path] = {}
    for name, parts in wanted.items():
        file = _meant(parts, there.get(parts[-1], []), root) if parts else None
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


def _parts(name: str) -> Sequence[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _meant(parts: Sequence[str], files: Sequence[Path], root: Path) -> Path | None:
    agree = [_agreeing(parts, file.relative_to(root).parts) for file in files]
    best = [file for file, count in zip(files, agree, strict=True) if count == max(agree)]
    return best[0] if len(best) == 1 else None


def _agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts of two paths are the same, counted from the end."""
    pairs = list(zip(reversed(one), reversed(other), strict=False))
    return next((at for at, (a, b) in enumerate(pairs) if a != b), len(pairs))
