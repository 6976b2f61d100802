"""Rows of bytes on disk under keys: written once, in shards, found again, checked, shared.

Decisions:

- A shard is a sealed file that says what it holds: a JSON head with the keys of its rows and
  their layout, then the rows. It is never changed. Of a folder that many data sets share, only
  shards with wanted rows are read; a damaged one is set aside, and its rows count as missing.
- Which rows share a shard depends on what was missing when; the bytes of a row do not.
- Rows are read where they are needed, not kept in memory.
- A shard is read whole and checked once in a process, and again when its file has changed.
- One process at a time adds to a folder; the others wait and then find its rows. The lock is the
  operating system's and ends with the process that holds it.
- Every process that uses a folder holds a shared lock on `in-use`, so that nobody removes the
  folder meanwhile; the time of that file is the time of last use.

Legend: b rows of a batch, r bytes of a row.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import weakref
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, final

import numpy as np

from regraft.errors import Damaged, StoreError
from regraft.events import Said, Tell
from regraft.store import Json, canonical, commit, commit_sealed, digest, quarantine, sealed_bytes
from regraft.transfer.packing import Packing

IN_USE = "in-use"
_MAGIC = b"regraft rows 1\n"
_HEAD_BYTES = len(_MAGIC) + 8
_POLL_S = 0.05
_PATIENCE_S = 1.0


@final
class Shards:
    """Some rows of one folder, which holds rows of one layout.

    Args:
        folder: made if missing.
        packing: the layout.
        keys: of the rows that are wanted; others are passed over.
        about: what is in the folder, for people.
    """

    def __init__(
        self, folder: Path, packing: Packing, keys: Sequence[str], about: dict[str, Json]
    ) -> None:
        self.folder = folder
        self.packing = packing
        self.keys = keys
        self._wanted = frozenset(keys)
        self._seen: set[str] = set()
        self._names: list[str] = []
        self._begins: list[np.ndarray] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._end = weakref.finalize(self, os.close, hold(folder))
        if not (folder / "about.json").exists():
            commit(folder / "about.json", canonical(about))

    def close(self) -> None:
        """Let others remove the folder."""
        self._end()

    def scan(self, tell: Tell) -> None:
        """Find rows that are new since the last time, and check the shards that hold them."""
        for path in sorted({*self.folder.glob("*.rows")}):
            if path.name in self._seen:
                continue
            try:
                if self._concerns(path):
                    self._add(path)
            except FileNotFoundError:
                pass  # another process found it damaged first
            except Damaged:
                quarantine(path)
                tell(Said(f"a damaged file of cached features was set aside: {path}"))
            self._seen.add(path.name)

    def missing(self) -> list[str]:
        """Wanted keys that have no row, each once, in order."""
        return [key for key in dict.fromkeys(self.keys) if key not in self._places]

    def places(self) -> np.ndarray:
        """Where the wanted rows are, one after the other: int32 (n, 2), for `read`."""
        return np.array([self._places[key] for key in self.keys], dtype=np.int32).reshape(-1, 2)

    def append(self, keys: Sequence[str], rows: Sequence[np.ndarray] | np.ndarray) -> None:
        """Commit one shard.

        Raises:
            StoreError: it cannot be written.
        """
        shapes: list[Json] = [list(shape) for shape in self.packing.shapes]
        storage = self.packing.storage
        layout: dict[str, Json] = {"keys": list(keys), "shapes": shapes, "storage": storage}
        if self.packing.is_ragged:
            layout["bytes"] = [len(row) for row in rows]
        head = canonical(layout)
        length = len(head).to_bytes(8, "little")
        data = b"".join([_MAGIC, length, head, *(np.ascontiguousarray(row).data for row in rows)])
        name = f"{digest(head)[:32]}.rows"
        commit_sealed(self.folder / name, data)
        self._seen.add(name)
        self._enter(name, layout, _HEAD_BYTES + len(head))

    def read(self, places_b2: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """The rows at these places, uint8: rows_br, or a list where they differ in length.

        Raises:
            StoreError: a file is gone, though this process holds the folder.
        """
        begins = [int(self._begins[shard][row]) for shard, row in places_b2]
        sizes = [
            int(self._begins[shard][row + 1]) - begin
            for (shard, row), begin in zip(places_b2, begins, strict=True)
        ]
        if self.packing.is_ragged:
            rows = [np.empty(size, dtype=np.uint8) for size in sizes]
        else:
            rows = np.empty((len(places_b2), self.packing.row_bytes), dtype=np.uint8)
        for shard in np.unique(places_b2[:, 0]):
            path = self.folder / self._names[shard]
            mine = np.flatnonzero(places_b2[:, 0] == shard)
            try:
                with path.open("rb", buffering=0) as file:
                    whole = [
                        os.preadv(file.fileno(), [rows[at].data], begins[at]) == sizes[at]
                        for at in mine
                    ]
            except OSError:
                whole = [False]
            if not all(whole):
                raise StoreError(
                    "cached features have vanished while they were used",
                    where=path,
                    mend="repeat; they will be computed again",
                )
        return rows

    @contextmanager
    def adding(self, tell: Tell) -> Generator[None, None, None]:
        """Be the only process that adds rows; waits for its turn, then finds what is new."""
        descriptor = os.open(self.folder / "adding", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._wait(descriptor, tell)
            self.scan(tell)
            yield
        finally:
            os.close(descriptor)

    def _wait(self, descriptor: int, tell: Tell) -> None:
        began, said = time.monotonic(), False
        while not _locked(descriptor, fcntl.LOCK_EX):
            if not said and time.monotonic() - began > _PATIENCE_S:
                tell(Said("another process computes features by the same network; waiting for it"))
                said = True
            time.sleep(_POLL_S)

    def _concerns(self, path: Path) -> bool:
        """Whether a shard claims wanted rows, or makes no sense: both have to be read whole."""
        try:
            with path.open("rb") as file:
                head = _head(file)
            return not self._wanted.isdisjoint(head["keys"])
        except (ValueError, TypeError, KeyError, MemoryError, OverflowError):
            return True

    def _add(self, path: Path) -> None:
        length = sealed_bytes(path)
        with path.open("rb") as file:
            head = _head(file)
        assert head["storage"] == self.packing.storage, path
        self._enter(path.name, head, length - sum(self._sizes(head)))

    def _sizes(self, head: dict[str, Any]) -> list[int]:
        """Bytes of each row of a shard."""
        if self.packing.is_ragged:
            return head["bytes"]
        return [self.packing.row_bytes] * len(head["keys"])

    def _enter(self, name: str, head: dict[str, Any], start: int) -> None:
        self._names.append(name)
        self._begins.append(np.cumsum([start, *self._sizes(head)], dtype=np.int64))
        for row, key in enumerate(head["keys"]):
            if key in self._wanted:
                self._places.setdefault(key, (len(self._names) - 1, row))


def _head(file: IO[bytes]) -> dict[str, Any]:
    """The JSON head of a shard. ValueError if it is none."""
    begin = file.read(_HEAD_BYTES)
    if begin[: len(_MAGIC)] != _MAGIC:
        raise ValueError
    return json.loads(file.read(int.from_bytes(begin[len(_MAGIC) :], "little")))


def hold(folder: Path) -> int:
    """Make a folder if it is missing and keep others from removing it.

    Returns:
        a descriptor; closing it lets go.
    """
    path = folder / IN_USE
    while True:
        # Somebody may remove the folder between any two of these calls.
        with suppress(FileExistsError):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is_at(descriptor, path):
            os.utime(descriptor)
            return descriptor
        os.close(descriptor)


@contextmanager
def unused(folder: Path) -> Generator[bool, None, None]:
    """Whether a folder is there and no process holds it; if so, none will until the block ends."""
    try:
        descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _locked(descriptor, fcntl.LOCK_EX) and _is_at(descriptor, folder / IN_USE)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one under this name."""
    with suppress(FileNotFoundError):
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    return False


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
