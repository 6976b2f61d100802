"""What is on disk: how it gets there whole, how damage is found, how finished work is remembered.

Decisions:

- A file is never changed in place. The new one is written beside it under a temporary name,
  flushed, renamed over it, and the folder is flushed: a reader sees the old file or the new one.
- A sealed file ends in one line of text that its data determine to the last bit, so no bit of
  the file can change, vanish or be added unseen. The data come first and start at byte 0.
- A run is a folder with a journal. A step is done when the journal says so and the files it
  names hold what it says; anything else is set aside in `quarantine/` and computed again.
- What a caller gets from a step is always read back from the disk, so that a resumed run and an
  undisturbed one cannot see a difference.
- What is missing is no fault: readers let `FileNotFoundError` through.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, final

import filelock
import numpy as np
import platformdirs
import safetensors.numpy

from regraft.errors import Damaged, StoreError, UsageError
from regraft.events import Said, Tell, silent

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"
Fact: TypeAlias = dict[str, Any]
"""A JSON object whose values the reader knows; `Any` spares every reader a cast."""

_SEAL = b"\nregraft-seal %016x %b\n"
_SEAL_BYTES = len(_SEAL % (0, b"0" * 64))
_TEMPORARY = re.compile(r"\.regraft-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{16}\.tmp")
_ABANDONED_S = 3600.0
_TICK_S = 2.0  # the coarsest clock of a file system in use
_TOLD = 4  # settings that differ
_RUN_WAIT_S = 1.0  # a killed process needs a moment to let go of its lock
_STEP_NAME = re.compile(r"\w[\w.:=+-]{0,99}", re.ASCII)

_MENDS = {
    "free some space or choose another folder, then repeat": (errno.ENOSPC, errno.EDQUOT),
    "make the folder writable or choose another, then repeat": (
        *(errno.EACCES, errno.EPERM, errno.EROFS),
    ),
    "a folder is where a file belongs, or a file where a folder does: move it away": (
        *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY),
    ),
    "its folder cannot be made there: choose another, then repeat": (errno.ENOENT,),
}


# Values and digests ------------------------------------------------------------------------------


def canonical(value: Json) -> bytes:
    """One byte string per value: sorted keys, no spaces, ASCII only.

    Raises:
        AssertionError: the value holds NaN or an infinity, which JSON cannot say.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise AssertionError(f"not a JSON value: {error}") from error
    return text.encode("ascii")


def digest(*parts: bytes | str) -> str:
    """sha256, in hex, over the parts with their lengths; a text counts as its UTF-8 bytes."""
    sha256 = hashlib.sha256()
    for part in parts:
        # Names of files may hold bytes that are no UTF-8; Python shows them as lone surrogates.
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        sha256.update(len(data).to_bytes(8, "big"))
        sha256.update(data)
    return sha256.hexdigest()


def file_sha256(path: Path) -> str:
    """sha256, in hex, of a file's bytes, read in pieces.

    Raises:
        FileNotFoundError: there is none.
        StoreError: it cannot be read.
    """
    with _explained(path, "read"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """`file_sha256`, read once by a process for as long as the file stays as it is.

    It is the same file while its size, its times and its inode are the same. Its times have to be
    old enough that the next change would show in them.

    Raises:
        FileNotFoundError: there is none.
        StoreError: it cannot be read.
    """
    with _explained(path, "read"):
        status = path.stat()
    if time.time() - max(status.st_mtime, status.st_ctime) < _TICK_S:
        return file_sha256(path)
    times_ns = status.st_mtime_ns, status.st_ctime_ns
    return _remembered(path, status.st_size, times_ns, status.st_ino)


@lru_cache(maxsize=4096)
def _remembered(path: Path, size: int, times_ns: tuple[int, int], inode: int) -> str:
    return file_sha256(path)


# Files -------------------------------------------------------------------------------------------


def commit(path: Path, data: bytes) -> None:
    """Make `data` the content of `path`, folders included; on any failure the old content stays.

    Raises:
        StoreError: the disk is full, the folder is read-only, the path is a folder, …
    """
    _write(path, (data,))


def commit_sealed(path: Path, data: bytes) -> str:
    """`commit` with a seal behind the data, for `read_sealed`. Gives the sha256 of the data."""
    sha256 = hashlib.sha256(data).hexdigest()
    _write(path, (data, _seal(len(data), sha256)))
    return sha256


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file, made if missing, and wait until the disk has it.

    What a crash or a full disk left of an earlier line is ended first, so that it cannot spoil this
    one. Hold a `lock` meanwhile; readers need none, if they take whole lines only.

    Raises:
        StoreError: the disk is full, the folder is read-only, … Part of the line may be there.
    """
    with _explained(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        clean = b"" if is_new or _ends_whole(path) else b"\n"
        _write_through(path, os.O_CREAT | os.O_APPEND, (clean + line + b"\n",))
        if is_new:
            _flush_folder(path.parent)


def flush(path: Path) -> None:
    """Wait until the disk has all that was written to a file, by whomever.

    Raises:
        StoreError: the disk does not take it.
    """
    with _explained(path, "write"):
        _write_through(path, os.O_APPEND, ())


def read_sealed(path: Path) -> bytes:
    """The data that `commit_sealed` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        Damaged: one bit or more is off, or bytes are missing or too many.
        StoreError: it cannot be read.
    """
    return _read_sealed(path)[0]


def quarantine(path: Path) -> Path:
    """Move a damaged file into `quarantine/` beside it, under a fresh name; never deletes.

    A file that is gone already (another process was quicker) stays gone.
    """
    target = _fresh_name_aside(path)
    with _explained(path, "set aside"):
        target.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            path.replace(target)
    return target


@contextmanager
def lock(path: Path, timeout_s: float = 600.0) -> Generator[None, None, None]:
    """Keep other processes out while the block runs; ends with the process that holds it.

    Not re-entrant. The (empty) file stays behind.

    Raises:
        StoreError: somebody else held it for `timeout_s`, or it cannot be made.
    """
    held = _locked(path, timeout_s)
    try:
        yield
    finally:
        held.release()


def cache_folder() -> Path:
    """Where what can be computed again is kept: `REGRAFT_CACHE`, else the platform's place."""
    chosen = os.environ.get("REGRAFT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("regraft", appauthor=False)


@contextmanager
def _explained(path: Path, doing: str) -> Generator[None, None, None]:
    """Say what, where and how to mend when the operating system refuses."""
    try:
        yield
    except OSError as error:
        if doing == "read" and isinstance(error, FileNotFoundError):
            raise
        mends = [mend for mend, codes in _MENDS.items() if error.errno in codes]
        mend = mends[0] if mends else "repeat; if it fails again, look at the disk"
        raise StoreError(
            f"could not {doing} {path.name}: {error.strerror or error}",
            where=path,
            mend=f"{mend}; REGRAFT_CACHE names another folder" if _is_cache(path) else mend,
        ) from error


def _seal(length: int, sha256: str) -> bytes:
    return _SEAL % (length, sha256.encode())


def _read_sealed(path: Path, expected: str | None = None) -> tuple[bytes, str]:
    """The data, held once because they are big, and their sha256, which must be `expected`."""
    with _explained(path, "read"), path.open("rb") as file:
        length = max(os.fstat(file.fileno()).st_size - _SEAL_BYTES, 0)
        data = file.read(length)
        seal = file.read()
    sha256 = hashlib.sha256(data).hexdigest()
    if seal != _seal(len(data), sha256) or expected not in (None, sha256):
        raise Damaged(
            f"{path.name} is damaged: its checksum does not fit",
            where=path,
            mend="delete it and repeat the command that wrote it",
        )
    return data, sha256


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with _explained(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        temporary = path.with_name(
            f".regraft-{_host()}-{os.getpid()}-{secrets.token_hex(8)}.tmp",
        )
        try:
            _write_through(temporary, os.O_CREAT | os.O_EXCL, parts)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _flush_folder(path.parent)


def _write_through(path: Path, flags: int, parts: Iterable[bytes]) -> None:
    """Write all of the parts and wait until the disk has them."""
    descriptor = os.open(path, os.O_WRONLY | flags, 0o666)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ends_whole(path: Path) -> bool:
    """Whether a file is empty or ends with a line break."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def _host() -> str:
    """Names where a process's number means that process: a machine, or a container on it.

    Containers may share the name of their machine, and a cache.
    """
    namespace = ""
    with suppress(OSError):  # there is none but on Linux
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return digest(os.uname().nodename, namespace)[:8]


def _sweep(folder: Path) -> None:
    """Remove temporary files that killed processes left. What resists is left for next time."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match and _is_abandoned(entry, match[1], int(match[2])):
                Path(entry.path).unlink(missing_ok=True)


def _is_abandoned(entry: os.DirEntry[str], host: str, process: int) -> bool:
    if host == _host():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it lives, under another user
    return time.time() - entry.stat().st_mtime > _ABANDONED_S


def _fresh_name_aside(path: Path) -> Path:
    name = f"{path.stem[:100]}-{secrets.token_hex(4)}{path.suffix}"
    return path.parent / "quarantine" / name


def _make(folder: Path) -> None:
    """Make a folder; where that cannot be, say which option names another."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        other = "REGRAFT_CACHE" if _is_cache(folder) else "--out"
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mended = "free some space" if is_full else "see to it that this one can be made and written"
        raise StoreError(
            f"the folder cannot be made: {error.strerror or error}",
            where=folder,
            mend=f"name another with {other}, or {mended}",
        ) from error


def _is_cache(path: Path) -> bool:
    return path.is_relative_to(cache_folder())


def _locked(path: Path, timeout_s: float) -> filelock.BaseFileLock:
    held = filelock.FileLock(path, thread_local=False)
    _make(path.parent)
    with _explained(path, "lock"):
        try:
            held.acquire(timeout=timeout_s)
        except filelock.Timeout as error:
            raise StoreError(
                "another process, or another call in this one, is at work here",
                where=path,
                mend="wait for it to end or stop it, then repeat",
            ) from error
    return held


# Runs --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a step found.

    Attributes:
        facts: JSON values, finite numbers only.
        tensors: arrays of numbers or truth values, of any shape, under names in plain Unicode.
    """

    facts: dict[str, Json] = field(default_factory=dict[str, Json])
    tensors: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])


@final
@dataclass(frozen=True, eq=False)
class Run:
    """A folder with a journal of memoised steps; made by `Run.open`, for one thread.

    It holds the folder's lock until `close`, the end of a `with` block or of the process. A run
    that ends in an error before its first step binds nobody: its folder goes, if it was new.

    `run.json` says which question the run answers, `journal.jsonl` what was done, `steps/` holds
    the outcomes and `checkpoints/` the states of steps that are not finished.
    """

    folder: Path
    _held: filelock.BaseFileLock
    _tell: Tell
    _is_new: bool

    @classmethod
    def open(cls, folder: Path, question: dict[str, Json], *, tell: Tell = silent) -> Run:
        """Begin a run in a new or empty folder, or go on with the run that is in it.

        Args:
            folder: made if missing.
            question: all settings that decide the answer. The release of regraft is added.
            tell: hears what was found damaged.

        Raises:
            UsageError: the folder holds something else, or a run with another question.
            StoreError: another process is at work in it, or it cannot be written.
        """
        _refuse_strangers(folder)
        is_new = not folder.exists()
        run = cls(folder, _locked(folder / ".lock", _RUN_WAIT_S), tell, is_new)
        try:
            for place in (folder, folder / "steps", folder / "checkpoints"):
                _sweep(place)
            run._settle({**question, "regraft release": importlib.metadata.version("regraft")})
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Let others into the folder."""
        self._held.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and self._is_new:
                self._vanish()
        finally:
            self.close()

    def step(self, name: str, inputs: dict[str, Json], compute: Callable[[], Outcome]) -> Outcome:
        """What `compute()` gives, from the disk if it was computed before from the same inputs.

        Args:
            name: a word for people and for the file's name.
            inputs: everything the outcome depends on.
            compute: called if the outcome is not there or damaged.

        Raises:
            StoreError: the outcome cannot be written or read.
        """
        path = self._place("steps", name, inputs)
        key = digest(name, canonical(inputs))
        steps = (line for line in self.lines() if "step" in line)
        done = [line["sha256"] for line in steps if line["key"] == key]
        outcome = self._recall(path, done[-1]) if done else None
        if outcome is None:
            sha256 = _save(path, compute())
            self._append({"step": name, "key": key, "sha256": sha256})
            outcome = _load(path, sha256)
        self.checkpoint(name, inputs).clear()
        return outcome

    def checkpoint(self, name: str, inputs: dict[str, Json]) -> Checkpoint:
        """The states of a step while it is computed. They go when the step is done."""
        return Checkpoint(self, self._place("checkpoints", name, inputs))

    def note(self, fact: dict[str, Json]) -> None:
        """Add a line to the journal. The keys "opened", "step" and "mended" are the run's own."""
        assert not {"opened", "step", "mended"} & set(fact), fact
        self._append(fact)

    def lines(self) -> list[Fact]:
        """What the journal says, oldest first; torn and damaged lines are left out.

        Besides notes: {"opened": settings} for each `Run.open`, {"step", "key", "sha256"} for
        each step done, {"mended": file, "why", "kept": path or null} for damage found.
        """
        return _read_journal(self._journal).facts

    def set_aside(self, path: Path, why: str) -> None:
        """Quarantine a damaged file of this run; say so in the journal and to the user."""
        self._report(path, why, quarantine(path))

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def _place(self, kind: str, name: str, inputs: dict[str, Json]) -> Path:
        assert _STEP_NAME.fullmatch(name), name
        return self.folder / kind / f"{name}-{digest(name, canonical(inputs))[:16]}.json"

    @property
    def _has_begun(self) -> bool:
        """Whether there is anything that its settings decided."""
        own = {".lock", "run.json", "journal.jsonl", "steps", "checkpoints"}
        if {path.name for path in self.folder.iterdir()} - own:
            return True
        places = (self.folder / "steps", self.folder / "checkpoints")
        return any(any(place.iterdir()) for place in places if place.is_dir())

    def _vanish(self) -> None:
        """Remove the folder if it holds nothing. What cannot be removed stays.

        In an order of which every beginning leaves what `open` takes for a run or a killed
        beginning of one; the lock is the last file.
        """
        with suppress(OSError):
            if self._has_begun:
                return
            for name in ("steps", "checkpoints"):
                if (self.folder / name).is_dir():
                    (self.folder / name).rmdir()
            for name in ("journal.jsonl", "run.json", ".lock"):
                (self.folder / name).unlink(missing_ok=True)
            self.folder.rmdir()

    def _settle(self, settings: dict[str, Json]) -> None:
        """Check that the run is about these settings; mend run.json and the journal."""
        path = self.folder / "run.json"
        try:
            there, damaged = json.loads(read_sealed(path)), False
        except FileNotFoundError:
            there, damaged = None, False
        except Damaged:
            there, damaged = self._settings_by_journal(), True
        is_other = there is not None and canonical(there) != canonical(settings)
        if is_other and self._has_begun:
            raise UsageError(
                "this folder holds a run with other settings: " + _differences(there, settings),
                where=self.folder,
                mend="choose another --out, repeat the command that began the run, "
                "or remove the folder",
            )
        kept = _copy_aside(path) if damaged else None
        if damaged or is_other or there is None:
            commit_sealed(path, canonical(settings))
        self._mend_journal()
        if damaged:
            self._report(path, "its checksum does not fit", kept)
        self._append({"opened": settings})

    def _settings_by_journal(self) -> Json:
        facts = self.lines() if self._journal.exists() else []
        return next((fact["opened"] for fact in reversed(facts) if "opened" in fact), None)

    def _mend_journal(self) -> None:
        if not self._journal.exists():
            commit(self._journal, b"")
        journal = _read_journal(self._journal)
        if not journal.damaged and not journal.torn_bytes:
            return
        kept = _copy_aside(self._journal) if journal.damaged else None
        commit(self._journal, b"".join(map(_journal_line, journal.facts)))
        if journal.damaged:
            lines = ", ".join(map(str, journal.damaged))
            self._report(self._journal, f"damaged lines: {lines}", kept)
        else:  # what a kill in the middle of a write leaves: no news for the user
            why = f"torn bytes: {journal.torn_bytes}"
            self._append({"mended": self._journal.name, "why": why, "kept": None})

    def _append(self, fact: Fact) -> None:
        assert self._held.is_locked, "the run is closed"
        with _explained(self._journal, "write"):
            raw = self._journal.read_bytes()
            # A write that failed before may have left half a line: it must not spoil this one.
            clean = b"\n" if raw and not raw.endswith(b"\n") else b""
            _write_through(self._journal, os.O_APPEND, (clean + _journal_line(fact),))

    def _recall(self, path: Path, sha256: str) -> Outcome | None:
        try:
            return _load(path, sha256)
        except FileNotFoundError as missing:
            self._report(Path(missing.filename), "it is missing", None)
        except Damaged as damage:
            self.set_aside(Path(damage.where), damage.what)
        return None

    def _report(self, path: Path, why: str, kept: Path | None) -> None:
        relative = kept and kept.relative_to(self.folder).as_posix()
        self._append({"mended": path.name, "why": why, "kept": relative})
        aside = f"; the damaged file is kept as {kept}" if kept else ""
        self._tell(Said(f"{path}: {why}. What is lost is computed again{aside}."))


@final
@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The newest state of an unfinished step, and the one before it in case that is damaged."""

    _run: Run
    _path: Path

    def load(self) -> Outcome | None:
        """The newest state that is whole, or None. Damaged ones are set aside."""
        for path in reversed(self._files(".json")):
            try:
                return _load(path)
            except FileNotFoundError:
                self._run.set_aside(path, "its tensors are missing")
            except Damaged as damage:
                self._run.set_aside(Path(damage.where), damage.what)
                quarantine(path)  # facts without their tensors are no state to fall back to
        return None

    def save(self, outcome: Outcome) -> None:
        """Keep a newer state.

        Raises:
            StoreError: it cannot be written. The older state is still there.
        """
        older = self._files(".json")
        serial = int(older[-1].name.split(".")[-2]) + 1 if older else 1
        _save(self._path.with_suffix(f".{serial:09d}.json"), outcome)
        if older:
            self._remove(file for file in self._files() if file.name < older[-1].name)

    def clear(self) -> None:
        """Forget all states."""
        self._remove(self._files())

    def _files(self, suffix: str = "") -> list[Path]:
        """Oldest first; of one state, the facts first."""
        return sorted(self._path.parent.glob(f"{self._path.stem}.*{suffix}"))

    def _remove(self, files: Iterable[Path]) -> None:
        with _explained(self._path, "remove"):
            for file in files:  # oldest first: a reader never falls back to an older state
                file.unlink()


def folder_beside(data: Path, ending: str) -> Path:
    """Where a run on this data is kept when nobody says: here, under the data's name.

    Args:
        data: a folder, whose whole name it is, or a file, whose suffix is left out.
        ending: such as "regraft".
    """
    data = data.resolve()
    return Path(f"{data.name if data.is_dir() else data.stem}-{ending}")


def _refuse_strangers(folder: Path) -> None:
    """A folder is ours if it is empty, holds a run, or what a killed beginning of one left."""
    with _explained(folder, "open"):
        if not folder.exists() or (folder / "run.json").is_file():
            return
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ["(a file)"]
    strangers = [name for name in names if name != ".lock" and not _TEMPORARY.fullmatch(name)]
    if strangers:
        raise UsageError(
            "this is not empty and no run of regraft; it holds " + ", ".join(strangers[:3]),
            where=folder,
            mend="choose another --out",
        )


def _differences(there: Json, now: Json) -> str:
    """The settings that differ, each with both values, in one line; a few where they are many.

    Those that both have come first: a run of another verb shares few.
    """
    before, after = dict(_flat(there)), dict(_flat(now))
    names = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    names.sort(key=lambda name: (name not in before or name not in after, name))
    said = [
        f"{name} was {before.get(name, 'not set')[:60]}, is now {after.get(name, 'not set')[:60]}"
        for name in names[:_TOLD]
    ]
    rest = len(names) - len(said)
    return "; ".join([*said, f"and {rest} more"] if rest else said)


def _flat(value: Json, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, canonical(value).decode()


def _copy_aside(path: Path) -> Path:
    """Keep a damaged file that is about to be replaced; it is never missing in between."""
    target = _fresh_name_aside(path)
    with _explained(path, "read"):
        commit(target, path.read_bytes())
    return target


@dataclass(frozen=True)
class _Journal:
    facts: list[Fact]
    damaged: list[int]  # line numbers, from 1
    torn_bytes: int


def _read_journal(path: Path) -> _Journal:
    with _explained(path, "read"):
        *whole, tail = path.read_bytes().split(b"\n")
    facts = [_checked(line) for line in whole]
    return _Journal(
        facts=[fact for fact in facts if fact is not None],
        damaged=[number for number, fact in enumerate(facts, 1) if fact is None],
        torn_bytes=len(tail),
    )


def _journal_line(fact: Fact) -> bytes:
    return _framed(canonical(fact)) + b"\n"


def _framed(fact: bytes) -> bytes:
    return b'{"check":"%b","fact":%b}' % (digest(fact)[:16].encode(), fact)


def _checked(line: bytes) -> Fact | None:
    """The fact of a line, or None if a bit of it is off."""
    fact = line[len(_framed(b"")) - 1 : -1]
    return json.loads(fact) if _framed(fact) == line else None


def _save(path: Path, outcome: Outcome) -> str:
    """Write an outcome; the sha256 given back answers for facts and tensors together.

    The facts (`path`) are written last and name the tensors (beside it) by checksum, so that a
    reader can tell when the two files are not of one piece.
    """
    assert all(tensor.dtype.kind in "fiub" for tensor in outcome.tensors.values())
    canonical(outcome.facts)  # refuses what is no JSON before anything is written
    sha256 = None
    if outcome.tensors:
        # safetensors writes the memory as it lies, whatever the strides say.
        tensors = {name: np.asarray(it, order="C") for name, it in outcome.tensors.items()}
        data = safetensors.numpy.save(tensors)
        sha256 = commit_sealed(path.with_suffix(".safetensors"), data)
    return commit_sealed(path, canonical({"facts": outcome.facts, "tensors": sha256}))


def _load(path: Path, sha256: str | None = None) -> Outcome:
    """Read what `_save` wrote, and only that. `Damaged.where` is the file at fault."""
    body = json.loads(_read_sealed(path, sha256)[0])
    if body["tensors"] is None:
        return Outcome(body["facts"])
    data, _ = _read_sealed(path.with_suffix(".safetensors"), body["tensors"])
    tensors = safetensors.numpy.load(data)  # in another order each time
    return Outcome(body["facts"], dict(sorted(tensors.items())))
