"""Which files may be touched, and which pictures may be decoded.

Decisions:

- Nothing outside the data's own folder is read, but pictures and videos whose checksum the data
  name (see `form.py`, and `table.py` of boxes): links that leave it are refused, links to folders
  are not followed (so there are no loops). A link to a file inside the folder is that file.
- Only regular files are opened. A pipe would wait for ever, a device may do anything.
- A picture's size is taken from its header, that of an icon from the pictures in it, and refused
  above 100 megapixels before one pixel is decoded. A file over 512 MiB is not read at all.
- Names are printed so that one name is one line: control characters, bytes that are no text and
  backslashes are escaped.
- What operating systems leave behind (.DS_Store, Thumbs.db, …) and hidden files are no data, nor
  is a run of regraft, which lies among them where a command was given in their folder.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import final

from regraft.dataset.rows import Problem
from regraft.errors import DataError, UnreadableSample

MAX_PIXELS = 100_000_000
"""300 MB as RGB, in each thread that decodes: an aerial picture of 10,000 × 10,000 passes."""
MAX_BYTES = 512 * 2**20
_ADDRESS = re.compile(r"(https?|ftp|s3|gs|hf|file):/+", re.IGNORECASE)
"""As a path has it, which keeps one slash of two or three."""
SNIFFED = 500
"""Files whose names are looked at to tell what a folder holds."""

PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .gif .bmp .dib .tif .tiff .webp .avif .avifs .jp2 .j2k .jpx "
    ".jpc .ppm .pgm .pbm .pnm .pfm .tga .ico .icns .pcx .sgi .rgb .dds .mpo .psd .qoi .xbm .xpm "
    ".heic .heif .jxl .cr2 .cr3 .nef .arw .dng .raw".split()
)
"""A file with one of these claims to be a picture, whether or not we can read it."""

TEXT_SUFFIXES = frozenset(".txt .text .eml .md .rst .html .htm .log".split())
"""A file with one of these claims to be a text."""

TABLE_SUFFIXES = frozenset(".csv .tsv .parquet .pq .jsonl .ndjson".split())
"""A file with one of these claims to be a table."""

_JUNK = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx", "icon\r"})
_ESCAPE = re.compile(r"\\(?:[\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
_NESTED_PNG = re.compile(rb"\x89PNG\r\n\x1a\n....IHDR(.{8})", re.DOTALL)
_NESTED_JP2 = re.compile(rb"ihdr(?=(.{8})\0)", re.DOTALL)
_NESTED_J2K = re.compile(rb"\xff\x4f\xff\x51\0(?=...(.{16}))", re.DOTALL)
"""JPEG 2000: in a box, and its bare stream. One may lie where the other says its size."""
_ICO = b"\0\0\1\0"
_ENTRY = struct.Struct("<12xI")
"""Of an icon's table of contents: where the picture lies."""
_OS2 = 12
_BITMAPS = (_OS2, 40, 52, 56, 64, 108, 124)
"""Lengths of the headers of bitmaps, with which they begin."""

_BEGINNINGS = (
    (b"PK\x03\x04", "a ZIP archive or a Word file"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Word or Excel file"),
)


@final
class Refused(UnreadableSample):
    """One file was refused.

    Args:
        kind: the stable name of the reason, as in `Problem.kind`.
        what: the fault, in one sentence.
        where: the file.
        mend: what to do about it.
    """

    def __init__(self, kind: str, what: str, *, where: object = "", mend: str = "") -> None:
        super().__init__(what, where=where, mend=mend)
        self.kind = kind


def document_of(data: bytes) -> str:
    """What a file is that is neither a picture nor a text, by its first bytes; "" if not known."""
    head = data[:64].lstrip()
    return next((name for begin, name in _BEGINNINGS if head.startswith(begin)), "")


def shown(name: str | Path) -> str:
    r"""A name as one printable line; different names stay different ("a\nb" for a line break)."""
    text = name if isinstance(name, str) else name.as_posix()
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escaped(letter) for letter in text)


def unshown(name: str) -> str:
    """The name that `shown` shows so."""
    return _ESCAPE.sub(lambda found: found[0].encode().decode("unicode_escape"), name)


def printable(text: str) -> str:
    """A sentence as one printable line; names in it that `shown` escaped stay as they are."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    if letter.isprintable() and letter != "\\":
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def claims_picture(path: Path) -> bool:
    """Whether the name says that this is a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def claims_text(path: Path) -> bool:
    """Whether the name says that this is a text."""
    return path.suffix.lower() in TEXT_SUFFIXES


def holds(folder: Path, claims: Callable[[Path], bool]) -> bool:
    """Whether a folder has a file of a kind, as far as it is read: among the first `SNIFFED`."""
    some = islice(files(folder.resolve()), SNIFFED)
    return any(problem is None and claims(file) for file, problem in some)


def is_junk(name: str) -> bool:
    """Whether this is what an operating system leaves behind, or hidden."""
    return name.startswith(".") or name.lower() in _JUNK


def files(root: Path, below: Path | None = None) -> Iterator[tuple[Path, Problem | None]]:
    """Every file under a folder, with what speaks against opening it; in a fixed order.

    Args:
        root: the data's folder, resolved.
        below: walk only this folder inside of it.

    Yields:
        A path, and None or a problem whose `where` is the path relative to `root`.
    """
    pending = [(root if below is None else below, True)]
    while pending:
        path, is_folder = pending.pop()
        if not is_folder:
            yield path, (None if _is_plain(path) else objection(root, path))
            continue
        try:
            entries = listed(path)
        except OSError as fault:
            what = f"The folder cannot be read: {fault.strerror}."
            yield path, _problem(root, path, "unreadable", what)
            continue
        if not entries and claims_picture(path):
            what = "This is an empty folder, not a picture."
            yield path, _problem(root, path, "not-a-file", what)
        pending.extend(reversed(entries))


def listed(folder: Path) -> list[tuple[Path, bool]]:
    """What is in a folder but for junk and runs, sorted; and whether it is a folder, no link."""
    with os.scandir(folder) as scan:
        entries = sorted((e for e in scan if not is_junk(e.name)), key=lambda e: e.name)
    found = [(folder / e.name, e.is_dir(follow_symlinks=False)) for e in entries]
    return [(path, is_folder) for path, is_folder in found if not (is_folder and is_run(path))]


def is_run(folder: Path) -> bool:
    """Whether a command of ours wrote this folder."""
    try:
        return all((folder / name).is_file() for name in ("run.json", "journal.jsonl"))
    except PermissionError:
        return False


def _is_plain(path: Path) -> bool:
    """Whether this is a file; one that has vanished is said to be missing by who opens it."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True


def objection(root: Path, path: Path) -> Problem | None:
    """What speaks against a link, a pipe, a device.

    Args:
        root: the data's folder, resolved.
        path: something inside of it that is no plain file and no folder.
    """
    if not path.is_symlink():
        return _problem(root, path, "not-a-file", "This is a pipe, a socket or a device.")
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return _problem(root, path, "missing", "This link leads nowhere.")
    if not target.is_relative_to(root):
        return _problem(root, path, "outside", f"This link leaves the data, to {shown(target)}.")
    if target.is_dir():
        if _is_walked(root, target):
            return _problem(root, path, "link", "This link leads to a folder that is read anyway.")
        if is_run(target):
            what = "This link leads to a run of regraft, which is no data."
            return _problem(root, path, "link", what)
        what = "This link leads to a hidden folder, or into a run of regraft; neither is read."
        return _problem(root, path, "hidden", what)
    if not target.is_file():
        return _problem(root, path, "not-a-file", "This link leads to a pipe or a device.")
    return None


def _is_walked(root: Path, folder: Path) -> bool:
    """Whether `files` comes to a folder inside of the data."""
    if folder == root:
        return True
    is_passed_over = is_junk(folder.name) or is_run(folder)
    return not is_passed_over and _is_walked(root, folder.parent)


def _problem(root: Path, path: Path, kind: str, what: str) -> Problem:
    done = "ignored" if kind in ("link", "hidden") else "set aside"
    return Problem(kind, shown(path.relative_to(root)), what, done)


def is_file(file: Path) -> bool:
    """Whether a file is there; names that no file can have are none."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def nothing_at(path: Path) -> DataError:
    """What is said of data that do not exist; of an address of the network, that it is one."""
    where, mend = shown(path), "check the path"
    if address := _ADDRESS.match(where):
        scheme, rest = address[1], where[address.end() :]
        where = f"{scheme}://{rest}"
        mend = "this is an address: fetch what lies there yourself, and give the file or folder"
        if scheme.lower() == "file":
            where = f"{scheme}:///{rest}"
            mend = f"this is an address: give the path alone, /{rest}"
    return DataError("There is no such file or folder.", where=where, mend=mend)


def is_there(path: Path) -> bool:
    """Whether a file or folder is there; names that nothing can have are none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def resolved(path: Path) -> Path:
    """A path without links; one that only leads in circles stays as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # before Python 3.13
        return Path(os.path.abspath(path))  # noqa: PTH100 (a link is not followed)


def read_file(path: Path) -> bytes:
    """The bytes of one regular file of reasonable size.

    Raises:
        UnreadableSample: it is missing, no regular file, empty, too large or not readable.
    """
    where = shown(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Refused(
                "not-a-file",
                "This is not a regular file but a folder, a pipe, a socket or a device.",
                where=where,
                mend="replace it by the picture itself",
            )
        if status.st_size > MAX_BYTES:
            raise Refused(
                "too-large",
                f"The file has {status.st_size / 2**20:.0f} MiB; "
                f"at most {MAX_BYTES // 2**20} are read.",
                where=where,
                mend="save it smaller, or as several",
            )
        data = path.read_bytes()
    except FileNotFoundError as fault:
        raise Refused(
            "missing", "There is no such file.", where=where, mend="check the name"
        ) from fault
    except OSError as fault:
        raise Refused(
            "unreadable",
            f"The file cannot be read: {fault.strerror}.",
            where=where,
            mend="check its permissions and the disk",
        ) from fault
    if not data:
        raise Refused("empty", "The file is empty.", where=where, mend="copy it again")
    return data


def refuse_bomb(width_px: int, height_px: int, where: str) -> None:
    """Refuse a picture by the size that its header claims.

    Raises:
        UnreadableSample: more than 100 megapixels, or no pixels.
    """
    if width_px < 1 or height_px < 1:
        raise Refused(
            "damaged",
            f"The header says {width_px} × {height_px} pixels.",
            where=where,
            mend="save it again",
        )
    if width_px * height_px > MAX_PIXELS:
        raise Refused(
            "bomb",
            f"The header says {width_px} × {height_px} pixels; "
            f"at most {MAX_PIXELS // 10**6} megapixels are decoded.",
            where=where,
            mend="if the size is true, save the picture smaller, or cut it",
        )


def refuse_nested_bomb(data: bytes, where: str) -> None:
    """Refuse an icon file whose inner pictures are larger than its header says.

    Raises:
        UnreadableSample: an inner picture has more than 100 megapixels.
    """
    for width_px, height_px in _inner_sizes(data):
        refuse_bomb(width_px, height_px, where)


def _inner_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of whatever in an icon file begins like a picture."""
    for match in _NESTED_PNG.finditer(data):
        yield struct.unpack(">II", match[1])
    for match in _NESTED_JP2.finditer(data):
        height_px, width_px = struct.unpack(">II", match[1])
        yield width_px, height_px
    for match in _NESTED_J2K.finditer(data):
        right, bottom, left, top = struct.unpack(">IIII", match[1])
        yield right - left, bottom - top
    if data.startswith(_ICO):
        begin, count = len(_ICO) + 2, int.from_bytes(data[4:6], "little")
        for at in range(begin, min(begin + count * _ENTRY.size, len(data) - 15), _ENTRY.size):
            (place,) = _ENTRY.unpack_from(data, at)
            yield from _bitmap_size(data[place : place + 12])


def _bitmap_size(header: bytes) -> Iterator[tuple[int, int]]:
    """Of a bitmap in an icon, whose height counts its mask, too; nothing where it is none."""
    kind = int.from_bytes(header[:4], "little")
    if len(header) == 12 and kind in _BITMAPS:
        form = "<HH" if kind == _OS2 else "<Ii"
        width_px, height_px = struct.unpack_from(form, header, 4)
        yield width_px, abs(height_px) // 2
