"""Characters: which encoding bytes are in, for tables and for files that are a text each.

Decisions:

- Bytes are UTF-8 with or without a byte-order mark, or UTF-16 with one. UTF-32 is told, not read.
- UTF-16 without a mark, as some databases write it, is known where most of every other byte are
  NULs, and hardly any of the rest. What is none of these is taken for Windows-1252, of which
  Latin-1 text is a part: programs of Western Europe save it. Where it has bytes that Windows-1252
  has no character for, it is taken for Latin-1. These are guesses, and reported.
- What holds lines of UTF-8 besides is two encodings in one file, and what has no Western words is
  another encoding still: such a guess is in doubt. A table in doubt is refused, with the line: the
  guess would spoil all of its rows, and is mended by saving one file. A text in doubt is read, and
  the doubt reported: it is one of many, and may be too short to tell words by.
- Other files that programs write are UTF-8, as their formats say: nothing is guessed there.
- E-mails say themselves in which character set each part is; see `mails.py`.
"""

from __future__ import annotations

import codecs
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from regraft.dataset import guard
from regraft.dataset.rows import Problem
from regraft.errors import DataError
from regraft.wording import some_of

ENCODING = "encoding"
"""The kind of problem of characters that had to be guessed."""
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Byte-order marks of UTF-16."""
_SEVERAL_BYTES = re.compile(
    rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_HIGH = re.compile(rb"[\x80-\xff]+")
_WORDS = re.compile(r"[A-Za-z\x80-\U0010ffff]+")
_END, _LINE_END = re.compile(rb"\r\n?|\n"), re.compile(r"\r\n?|\n")
_FOREIGN = 2
"""So many letters beyond ASCII for each of ASCII are more than words of Western languages have."""
_FEW = 20
"""In UTF-16 of Western characters the high bytes have so many times more NULs than the low ones."""
_PLACES = 3
"""That are named where one thing is said of many."""
_HEAD_BYTES, _LONG_BYTES = 2**16, 2**22
_NULS = "has NULs among the characters; it is no text"
_SAVE = "save it as UTF-8 (in Excel: CSV UTF-8)"


@final
class Undecodable(ValueError):
    """Bytes are no characters.

    Args:
        what: the fault, as said of the file: "is no UTF-16".
        line: at which it shows, from 1.
    """

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.what, self.line = what, line


@final
@dataclass(frozen=True)
class Decoded:
    """The characters of bytes.

    Attributes:
        text: without a byte-order mark.
        guess: the encoding's name where it is a guess: "Windows-1252", "Latin-1" or "UTF-16"; else
            "".
        why: why it had to be guessed, as said of the file: "is not in UTF-8"; else "".
        is_doubtful: whether `why` speaks against the guess.
        line: that shows it, from 1.
    """

    text: str
    guess: str = ""
    why: str = ""
    is_doubtful: bool = False
    line: int = 1


def decoded(data: bytes) -> Decoded:
    """The characters of a table or a text.

    Raises:
        Undecodable: it is in UTF-32, or damaged UTF-16.
    """
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise Undecodable("is in UTF-32", 1)
    wide = wide_encoding(data)
    try:
        text = data.decode(wide or "utf-8-sig")
    except UnicodeDecodeError as fault:
        if not wide:
            return _western(data, fault.start)
        before = data[: fault.start].decode(wide, "ignore")
        raise Undecodable("is no UTF-16", 1 + len(_END.findall(before.encode()))) from fault
    if not wide or data.startswith(WIDE_MARKS):
        return Decoded(text)
    return Decoded(text, "UTF-16", "has two bytes a character, and no byte-order mark")


def wide_encoding(data: bytes) -> str:
    """The codec of UTF-16, by its mark or by the NULs of Western characters; else ""."""
    if data.startswith(WIDE_MARKS):
        return "utf-16"
    if b"\0" not in data or len(data) % 2:
        return ""
    first, second = data[::2].count(0), data[1::2].count(0)
    few, many = sorted((first, second))
    if 4 * many <= len(data) or _FEW * few > many:
        return ""
    return "utf-16-be" if first > second else "utf-16-le"


def read_characters(path: Path) -> tuple[str, tuple[Problem, ...]]:
    """The characters of a table, without a byte-order mark, and what is to be said about them.

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
    return characters_in(data, path)


def characters_in(data: bytes, path: Path) -> tuple[str, tuple[Problem, ...]]:
    """The same of the bytes of a table that were read already.

    Raises:
        DataError: it cannot be told what is in it, or its header has a NUL; names the line.
    """
    try:
        found = decoded(data)
    except Undecodable as fault:
        raise _refused(path, fault.line, fault.what) from fault
    if found.is_doubtful:
        raise _refused(path, found.line, found.why)
    if "\0" in _LINE_END.split(found.text, maxsplit=1)[0]:
        raise _refused(path, 1, _NULS)
    if not found.guess:
        return found.text, ()
    what = f"The table {found.why} (line {found.line} is the first that shows it)."
    note = Problem(ENCODING, guard.shown(path.name), what, f"read as {found.guess}")
    return found.text, (note,)


def read_utf8(file: Path, most: int = guard.MAX_BYTES) -> str:
    """The characters of a file that a program wrote, in a format that is UTF-8.

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


def said_of_encodings(problems: Iterable[Problem]) -> list[str]:
    """What problems say of encodings that were guessed: a sentence with the files it is true of."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for problem in problems:
        if problem.kind == ENCODING:
            places[problem.what, problem.done].append(problem.where)
    return [
        f"{some_of(where, _PLACES)}: {what} {done[:1].upper()}{done[1:]}."
        for (what, done), where in places.items()
    ]


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
    if wide := wide_encoding(head):
        text = head[: len(head) // 2 * 2].decode(wide, "ignore")
    else:
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, whole)
        except UnicodeDecodeError:
            text = head.decode("cp1252", "replace")
    lines = _LINE_END.split(text)
    return lines if whole or len(lines) < 2 else lines[:-1]


def _western(data: bytes, first: int) -> Decoded:
    """Bytes that are not UTF-8 from `first` on, as Windows-1252, or as Latin-1."""
    guess, missing = "Windows-1252", None
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as fault:
        guess, missing, text = "Latin-1", fault.start, data.decode("latin-1")
    if b"\0" in data:
        why, at = _NULS, data.index(b"\0")
    elif _holds_utf8(data):
        why, at = "is not UTF-8, though other lines are", first
    elif missing is not None:
        why, at = "is neither UTF-8 nor Windows-1252", missing
    elif not _is_western(text):
        why, at = "is not UTF-8, and as Windows-1252 it has no words", first
    else:
        return Decoded(text, guess, "is not in UTF-8", line=_line(data, first))
    return Decoded(text, guess, why, is_doubtful=True, line=_line(data, at))


def _holds_utf8(data: bytes) -> bool:
    """Whether some lines are in UTF-8, by more than what may be chance.

    In Windows-1252 two letters or signs side by side can be the bytes of one in UTF-8 (ß and a
    closing quote); hardly all of a line, and not most of a file.
    """
    several = sum(map(len, _SEVERAL_BYTES.findall(data)))
    if not several or 2 * several > sum(map(len, _HIGH.findall(data))):
        return several > 0
    return any(_is_utf8(line) for line in _END.split(data) if not line.isascii())


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


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refused(path: Path, line: int, what: str) -> DataError:
    return DataError(f"This {what}.", where=f"{guard.shown(path)}, line {line}", mend=_SAVE)
