"""Characters: which encoding the bytes of a table are in, and what is refused.

Decisions:

- Tables are UTF-8 with or without a byte-order mark, or UTF-16 with one. Other files that programs
  write are UTF-8.
- What is not UTF-8 and has no line that is, nor mostly characters that UTF-8 writes as several
  bytes, is taken for Windows-1252, of which Latin-1 text is a part: spreadsheets of Western Europe
  save it. That is reported. What holds both is two encodings in one file, and what Windows-1252
  has no character for, or no Western words, is another one still: refused, with the line, because
  any guess would be wrong without a trace.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from regraft.dataset import guard
from regraft.dataset.rows import Problem
from regraft.errors import DataError

_SEVERAL_BYTES = re.compile(
    rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_HIGH = re.compile(rb"[\x80-\xff]+")
_WORDS = re.compile(r"[A-Za-z\x80-\U0010ffff]+")
_END = re.compile(rb"\r\n?|\n")
_FOREIGN = 2
"""So many letters beyond ASCII for each of ASCII are more than words of Western languages have."""
_HEAD_BYTES, _LONG_BYTES = 2**16, 2**22
_SAVE = "save it as UTF-8 (in Excel: CSV UTF-8)"


def read_characters(path: Path) -> tuple[str, tuple[Problem, ...]]:
    """The characters of a file, without a byte-order mark, and what is to be said about them.

    Raises:
        DataError: it cannot be read, or not be told what is in it; names the line.
    """
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise DataError(
            f"The table cannot be read: {fault.strerror}.",
            where=guard.shown(path),
            mend="check its permissions and the disk",
        ) from fault
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16"), ()
        except UnicodeDecodeError as fault:
            before = data[: fault.start].decode("utf-16", "ignore")
            line = 1 + len(_END.findall(before.encode()))
            raise _refused(path, line, "This is no UTF-16.") from fault
    try:
        return data.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        return _western(path, data)


def read_utf8(file: Path, most: int = guard.MAX_BYTES) -> str:
    """The characters of a file that a program wrote.

    Args:
        file: it.
        most: bytes that it may have.

    Raises:
        DataError: it is missing, too large or not in UTF-8.
    """
    data = guard.read_file(file)
    if len(data) > most:
        raise DataError(f"The file has {len(data)} bytes.", where=file, mend="give a smaller one")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data[: fault.start].count(b"\n") + 1
        raise DataError(
            "The file is not UTF-8.", where=f"{guard.shown(file)}:{line}", mend="save it as UTF-8"
        ) from fault


def first_lines(path: Path) -> list[str]:
    """The first lines of a file as `read_characters` has them; none where they cannot be told.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if not any(line.strip() for line in _END.split(head)[:-1]):
            head += file.read(_LONG_BYTES)  # a line of JSON may hold a long text
        whole = not file.read(1)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = head[: len(head) // 2 * 2].decode("utf-16", "ignore")
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, whole)
        except UnicodeDecodeError:
            text = head.decode("cp1252", "replace")
    lines = re.split(r"\r\n?|\n", text)
    return lines if whole or len(lines) < 2 else lines[:-1]


def _western(path: Path, data: bytes) -> tuple[str, tuple[Problem, ...]]:
    """Bytes that are not UTF-8, as Windows-1252."""
    first = _fault(data)
    assert first is not None, "it was not UTF-8 before"
    line = _line(data, first)
    if b"\0" in data:
        what = "There are NULs among the characters; this is no text."
        raise _refused(path, _line(data, data.index(b"\0")), what)
    if _holds_utf8(data):
        raise _refused(path, line, "This is not UTF-8, though other lines are.")
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as fault:
        what = "This is neither UTF-8 nor Windows-1252."
        raise _refused(path, _line(data, fault.start), what) from fault
    if not _is_western(text):
        raise _refused(path, line, "This is not UTF-8, and as Windows-1252 it has no words.")
    what = f"The table is not in UTF-8 (line {line} is the first that shows it)."
    note = Problem("encoding", guard.shown(path.name), what, "read as Windows-1252")
    return text, (note,)


def _holds_utf8(data: bytes) -> bool:
    """Whether some lines are in UTF-8, by more than what may be chance.

    In Windows-1252 two letters or signs side by side can be the bytes of one in UTF-8 (ß and a
    closing quote); hardly all of a line, and not most of a file.
    """
    several = sum(map(len, _SEVERAL_BYTES.findall(data)))
    if not several or 2 * several > sum(map(len, _HIGH.findall(data))):
        return several > 0
    return any(_fault(line) is None for line in _END.split(data) if not line.isascii())


def _is_western(text: str) -> bool:
    """Whether the words with letters beyond ASCII have others, too, as in Western languages.

    In what other alphabets, or Chinese, are as Windows-1252, whole words are such letters. A letter
    that stands alone (à) tells nothing, nor do signs in a row.
    """
    plain = other = 0
    lines = (line for line in text.split("\n") if not line.isascii())
    for word in (word for line in lines for word in _WORDS.findall(line)):
        letters = [] if word.isascii() else list(filter(str.isalpha, word))
        if len(letters) > 1:
            count = sum(map(str.isascii, letters))
            plain += count
            other += len(letters) - count
    return other <= _FOREIGN * plain


def _line(data: bytes, at: int) -> int:
    return 1 + len(_END.findall(data, 0, at))


def _fault(data: bytes) -> int | None:
    """Where bytes are no UTF-8 first; None where they are."""
    try:
        data.decode()
    except UnicodeDecodeError as fault:
        return fault.start
    return None


def _refused(path: Path, line: int, what: str) -> DataError:
    return DataError(what, where=f"{guard.shown(path)}, line {line}", mend=_SAVE)
