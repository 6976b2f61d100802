"""Texts: which files are, and how their bytes are read.

Decisions:

- A file is a text by its name; where the name does not say what it is (51060, 00001.7c53336b), by
  its first characters: no NUL, hardly a control one. JSON, tables and the like are none, as they
  lie beside texts to describe them; Word and PDF are meant as texts, and refused as what they are.
- `encoding.py` says which bytes are characters; a guess, and a doubt about it, is reported. What
  holds a NUL is no text.
- What is an e-mail, in a file or a cell, is read as `mails.py` says.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from regraft.dataset import guard
from regraft.dataset.encoding import ENCODING, WIDE_MARKS, Undecodable, decoded, wide_encoding
from regraft.dataset.guard import Refused
from regraft.dataset.mails import mail_in
from regraft.dataset.rows import Problem, Sample
from regraft.dataset.video import claims_video

EXCERPT = 160
"""Characters of a text that are shown."""
_DATA = frozenset(".json .jsonl .ndjson .csv .tsv .parquet .pq .xml .yaml .yml".split())
_DOCUMENTS = frozenset(".pdf .doc .docx .odt .rtf".split())
_HEAD_BYTES = 4096
_CONTROLS = re.compile(rb"[\x01-\x07\x0e-\x1a\x1c-\x1f]")
_MOST_CONTROLS = 0.01
_HALF = re.compile("[\ud800-\udfff]")


@final
class NoText(str):
    """What stands where a text should and is none: a list or an object of JSON, as written out."""


@final
@dataclass(frozen=True)
class Content:
    """What is read of a file or a cell.

    Attributes:
        text: with line ends as on Linux.
        guess: the encoding's name where it is a guess; else "".
        why: why it had to be guessed, as said of the text: "is not in UTF-8"; else "".
        is_doubtful: whether `why` speaks against the guess.
        is_mail: whether it is an e-mail, of which subject and text are read.
        ids: the message ids by which it is in a thread.
        stands: as for `Mail`.
    """

    text: str
    guess: str = ""
    why: str = ""
    is_doubtful: bool = False
    is_mail: bool = False
    ids: tuple[str, ...] = ()
    stands: bool = False


def is_text_file(path: Path) -> bool:
    """Whether a file is meant as a text, by its name or else by its first bytes.

    Args:
        path: a regular file, or nothing.
    """
    if not is_nameless(path):
        return guard.claims_text(path) or path.suffix.lower() in _DOCUMENTS
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as fault:
        return isinstance(fault, PermissionError)
    if head.startswith(WIDE_MARKS):
        return True
    if wide := wide_encoding(head):
        head = head.decode(wide, "ignore").encode()
    plain = head and b"\0" not in head and not guard.document_of(head)
    return bool(plain) and len(_CONTROLS.findall(head)) <= _MOST_CONTROLS * len(head)


def is_nameless(path: Path) -> bool:
    """Whether the name of a file does not say what it is."""
    is_known = guard.claims_text(path) or guard.claims_picture(path) or claims_video(path)
    return not is_known and path.suffix.lower() not in _DATA | _DOCUMENTS


def read_bytes(data: bytes, where: str) -> Content:
    """What is read of a file's bytes.

    Raises:
        UnreadableSample: it is no text, or there is nothing in it.
    """
    if document := guard.document_of(data):
        what, mend = f"This is no text; it looks like {document}.", "save it as plain text"
        raise Refused("not-a-text", what, where=where, mend=mend)
    is_wide = bool(wide_encoding(data))
    if not is_wide and (content := _mail(data.removeprefix(codecs.BOM_UTF8), where)):
        return content
    try:
        found = decoded(data)
    except Undecodable as fault:
        what, mend = f"It {fault.what}.", "save it as UTF-8"
        raise Refused("not-a-text", what, where=where, mend=mend) from fault
    content = read_cell(found.text, where) if is_wide else Content(_checked(found.text, where))
    return replace(content, guess=found.guess, why=found.why, is_doubtful=found.is_doubtful)


def read_cell(text: str, where: str) -> Content:
    """What is read of a text that was decoded already, as cells of tables are.

    Raises:
        UnreadableSample: it is empty, no text, or holds a NUL or half a character (which JSON can).
    """
    checked = _checked(text, where)
    return _mail(checked.encode(), where) or Content(checked)


def doubts(content: Content, where: str) -> list[Problem]:
    """What is to be said about how the characters of a text were read."""
    found = list[Problem]()
    if content.guess:
        mend = ": save it as UTF-8" if content.is_doubtful else ""
        what, done = f"It {content.why}{mend}.", f"read as {content.guess}"
        found.append(Problem(ENCODING, where, what, done))
    if content.stands:
        what = "A part of it is not in the transfer encoding that it names."
        found.append(Problem(ENCODING, where, what, "read as it stands"))
    return found


def excerpt(sample: Sample) -> dict[str, str]:
    """How a text begins, as "excerpt"; nothing for pictures."""
    if not isinstance(sample.source, str):
        return {}
    words = " ".join(sample.source[: 4 * EXCERPT].split())
    return {"excerpt": words if len(words) <= EXCERPT else words[:EXCERPT] + "…"}


def _mail(data: bytes, where: str) -> Content | None:
    """What is read of an e-mail; None for any other text."""
    mail = mail_in(data)
    if mail is None:
        return None
    guess, why = ("Windows-1252", "is not in UTF-8") if mail.guessed else ("", "")
    text = _checked(mail.text, where)
    return Content(text, guess, why, is_mail=True, ids=mail.ids, stands=mail.stands)


def _checked(text: str, where: str) -> str:
    """The text with line ends as on Linux.

    Raises:
        UnreadableSample: see `read_cell`.
    """
    if isinstance(text, NoText):
        what, mend = "It is a list or an object, no text.", "write one text in quotes"
        raise Refused("not-a-text", what, where=where, mend=mend)
    if "\0" in text:
        what = "It is no text: it holds a NUL, as binary files do."
        raise Refused("not-a-text", what, where=where, mend="save it as plain text")
    if _HALF.search(text):
        what = "It holds half of a character (a lone surrogate)."
        raise Refused("not-a-text", what, where=where, mend="save it again as UTF-8")
    if not text.strip():
        raise Refused("empty", "There is no text in it.", where=where, mend="take it out")
    return text.replace("\r\n", "\n").replace("\r", "\n")
