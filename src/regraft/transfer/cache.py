"""How much the cache may hold, what goes when it is full, and what `regraft cache` shows.

Folders of features go whole, the one used longest ago first, and never while a process uses them.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from regraft.errors import UsageError
from regraft.store import cache_folder
from regraft.transfer.shards import IN_USE, unused

LIMIT = "REGRAFT_CACHE_LIMIT"
MOST_BYTES = 20 * 10**9
SHARE_OF_DISK = 0.1
"""Without a limit by the user: 20 GB, or this much of what is free, whichever is less."""

_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_GOING = ".going-"


@dataclass(frozen=True)
class Entry:
    """A folder of the cache.

    Attributes:
        kind: "features", "frames", "clips", "compiled" or "backbones".
        path: the folder.
        about: what is in it.
        bytes: on disk.
        used: when it was last used, in seconds since 1970.
    """

    kind: str
    path: Path
    about: str
    bytes: int
    used: float


def features_folder() -> Path:
    """Where features lie."""
    return cache_folder() / "features"


def frames_folder() -> Path:
    """Where frames of clips lie."""
    return cache_folder() / "frames"


def limit_bytes() -> int:
    """How much features may take on disk.

    Raises:
        UsageError: the limit that the user set makes no sense.
    """
    return bytes_allowed(LIMIT, sum(entry.bytes for entry in _features()))


def bytes_allowed(variable: str, there: int) -> int:
    """What a part of the cache may take: as the user says, or by what is free.

    Args:
        variable: of the environment.
        there: bytes that it takes now.

    Raises:
        UsageError: the limit that the user set makes no sense.
    """
    text = os.environ.get(variable, "").strip().lower()
    if text:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]b|)", text)
        if match is None:
            raise UsageError(
                f"{text!r} is not a size",
                where=variable,
                mend="for example 20 GB, or a number of bytes",
            )
        return int(float(match[1]) * _UNITS[match[2]])
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    could_be_free = shutil.disk_usage(folder).free + there
    return min(MOST_BYTES, int(could_be_free * SHARE_OF_DISK))


def make_room(more_bytes: int) -> int:
    """Remove features that were not used for longest, until `more_bytes` more fit the limit.

    Returns:
        how many bytes they will exceed the limit by all the same; what is in use stays.
    """
    entries = sorted(_features(), key=lambda entry: entry.used)
    excess = sum(entry.bytes for entry in entries) + more_bytes - limit_bytes()
    for entry in entries:
        if excess <= 0:
            break
        if _remove(entry.path):
            excess -= entry.bytes
    return max(0, excess)


def show() -> list[Entry]:
    """What is in the cache, the last used first."""
    entries = [*_features(), *_others("compiled", "manifest.json"), *_others("backbones", "*.json")]
    entries += _small()
    return sorted(entries, key=lambda entry: -entry.used)


def clear() -> tuple[int, int]:
    """Remove what can be made again: of features and compiled networks, those not in use.

    Returns:
        bytes removed, and bytes left because they are in use.
    """
    removed = left = 0
    for entry in _small():
        # A process that misses one of these files makes it again.
        shutil.rmtree(entry.path, ignore_errors=True)
        removed += entry.bytes
    for entry in [*_features(), *_others("compiled", "manifest.json")]:
        if _remove(entry.path):
            removed += entry.bytes
        else:
            left += entry.bytes
    return removed, left


def _features() -> list[Entry]:
    entries: list[Entry] = []
    for folder in _folders("features"):
        try:
            about = json.loads((folder / "about.json").read_bytes())
            text = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items())
            used = (folder / IN_USE).stat().st_mtime
        except (OSError, ValueError):
            text, used = "unfinished", 0.0
        entries.append(Entry("features", folder, text, _bytes_in(folder), used))
    return entries


def _small() -> list[Entry]:
    """Folders of many files that are sealed one by one: decoded frames, what is in video files."""
    entries: list[Entry] = []
    for kind, pattern, about in (
        ("frames", "*.frames", "frames of {} clips"),
        ("clips", "*.json", "what is in {} video files"),
    ):
        folder = cache_folder() / kind
        if not folder.is_dir():
            continue
        times: list[float] = []
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):
                times.append(path.stat().st_mtime)
        used = max(times, default=0.0)
        entries.append(Entry(kind, folder, about.format(len(times)), _bytes_in(folder), used))
    return entries


def _others(kind: str, described: str) -> list[Entry]:
    entries: list[Entry] = []
    for folder in _folders(kind):
        files = sorted(folder.glob(described))
        if files:
            used = max(file.stat().st_mtime for file in files)
            entries.append(Entry(kind, folder, "", _bytes_in(folder), used))
    return entries


def _folders(kind: str) -> list[Path]:
    root = cache_folder() / kind
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass  # removed meanwhile
    return total


def _remove(folder: Path) -> bool:
    """Remove a folder, unless a process uses it."""
    with unused(folder) as free:
        if not free:
            return False
        # Renamed first: whoever looks meanwhile finds all of it or nothing.
        going = folder.with_name(f"{_GOING}{secrets.token_hex(8)}")
        if not folder.name.startswith(_GOING):
            folder = folder.rename(going)
        shutil.rmtree(folder, ignore_errors=True)
    return True
