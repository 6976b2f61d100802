"""What is on disk: how it gets there whole, and how damage is found.

Decisions:

- A file is never changed in place. The new one is written beside it under a temporary name,
  flushed, renamed over it, and the folder is flushed: a reader sees the old file or the new one.
- A sealed file ends in one line of text that its data determine to the last bit, so no bit of
  the file can change, vanish or be added unseen. The data come first and start at byte 0.
- What is missing is no fault: readers let `FileNotFoundError` through.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import filelock
import platformdirs

from regraft.errors import Damaged, StoreError

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"

_SEAL = b"\nregraft-seal %016x %b\n"
_SEAL_BYTES = len(_SEAL % (0, b"0" * 64))
_TEMPORARY = re.compile(r"\.regraft-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{16}\.tmp")
_ABANDONED_S = 3600.0
_TICK_S = 2.0  # the coarsest clock of a file system in use
_Stamp: TypeAlias = tuple[int, int, int, int]

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
    with explained(path, "read"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """`file_sha256`, read once by a process for as long as the file stays as it is.

    Raises:
        FileNotFoundError: there is none.
        StoreError: it cannot be read.
    """
    stamp = _stamp(path)
    return file_sha256(path) if stamp is None else _remembered_sha256(path, stamp)


@lru_cache(maxsize=4096)
def _remembered_sha256(path: Path, stamp: _Stamp) -> str:
    return file_sha256(path)


def _stamp(path: Path) -> _Stamp | None:
    """What is the same while a file stays as it is: its size, its times and its inode.

    Returns:
        None while its times are so new that the next change may not show in them.
    """
    with explained(path, "read"):
        status = path.stat()
    if time.time() - max(status.st_mtime, status.st_ctime) < _TICK_S:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


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
    with explained(path, "write"):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Another process may make it too, and write: nothing is put in the place of its file.
            _write_through(path, os.O_CREAT | os.O_APPEND, ())
            _flush_folder(path.resolve().parent)
    append_to(path, line)


def append_to(path: Path, line: bytes) -> None:
    """`append_line` where a file that is missing is a fault."""
    with explained(path, "write"):
        clean = b"" if _ends_whole(path) else b"\n"
        _write_through(path, os.O_APPEND, (clean + line + b"\n",))


def flush(path: Path) -> None:
    """Wait until the disk has all that was written to a file, by whomever.

    Raises:
        StoreError: the disk does not take it.
    """
    with explained(path, "write"):
        _write_through(path, os.O_APPEND, ())


def read_sealed(path: Path, sha256: str | None = None) -> bytes:
    """The data that `commit_sealed` wrote; held once, because they are big.

    Args:
        path: of the file.
        sha256: what it gave for them, where that is known.

    Raises:
        FileNotFoundError: there is no such file.
        Damaged: one bit or more is off, bytes are missing or too many, or the data are others.
        StoreError: it cannot be read.
    """
    with explained(path, "read"), path.open("rb") as file:
        length = max(os.fstat(file.fileno()).st_size - _SEAL_BYTES, 0)
        data = file.read(length)
        seal = file.read()
    found = hashlib.sha256(data).hexdigest()
    if seal != _seal(len(data), found) or sha256 not in (None, found):
        raise Damaged(
            f"{path.name} is damaged: its checksum does not fit",
            where=path,
            mend="delete it and repeat the command that wrote it",
        )
    return data


def sealed_bytes(path: Path) -> int:
    """How many bytes of data a sealed file holds, once its checksum was found to fit.

    A process checks a file once for as long as it stays as it is. What `read_sealed` raises is
    raised here.
    """
    stamp = _stamp(path)
    return len(read_sealed(path)) if stamp is None else _remembered_bytes(path, stamp)


@lru_cache(maxsize=4096)
def _remembered_bytes(path: Path, stamp: _Stamp) -> int:
    return len(read_sealed(path))


def quarantine(path: Path) -> Path:
    """Move a damaged file into `quarantine/` beside it, under a fresh name; never deletes.

    A file that is gone already (another process was quicker) stays gone.
    """
    target = _fresh_name_aside(path)
    with explained(path, "set aside"):
        target.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            path.replace(target)
    return target


def copy_aside(path: Path) -> Path:
    """`quarantine` a damaged file that is about to be replaced; it is never missing in between."""
    target = _fresh_name_aside(path)
    with explained(path, "read"):
        commit(target, path.read_bytes())
    return target


@contextmanager
def lock(path: Path, timeout_s: float = 600.0) -> Generator[None, None, None]:
    """Keep other processes out while the block runs; ends with the process that holds it.

    Not re-entrant. The (empty) file stays behind.

    Raises:
        StoreError: somebody else held it for `timeout_s`, or it cannot be made.
    """
    held = acquire(path, timeout_s)
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
def explained(path: Path, doing: str) -> Generator[None, None, None]:
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


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with explained(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
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


def sweep(folder: Path) -> None:
    """Remove temporary files that killed processes left. What resists is left for next time."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match and _is_abandoned(entry, match[1], int(match[2])):
                Path(entry.path).unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what `commit` writes before it is whole."""
    return _TEMPORARY.fullmatch(name) is not None


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


def acquire(path: Path, timeout_s: float) -> filelock.BaseFileLock:
    """`lock` for as long as what is given back is held or lives."""
    held = filelock.FileLock(path, thread_local=False)
    _make(path.parent)
    with explained(path, "lock"):
        try:
            held.acquire(timeout=timeout_s)
        except filelock.Timeout as error:
            raise StoreError(
                "another process, or another call in this one, is at work here",
                where=path,
                mend="wait for it to end or stop it, then repeat",
            ) from error
    return held
