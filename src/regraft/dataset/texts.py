"""Texts: which files are, how their bytes are read, and which e-mails are a thread.

Decisions:

- A file is UTF-8, or has the byte-order mark of UTF-16; else it is read as Windows-1252, or as
  Latin-1 where it has bytes that Windows-1252 has no character for, as old e-mails do; which of
  them is reported. What holds a NUL is no text.
- E-mails that begin with their header lines are in threads by Message-ID, In-Reply-To and
  References (RFC 5322). Mails of a thread are no copies, but one group.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import final

from regraft.dataset import guard
from regraft.dataset.duplicates import Forest
from regraft.dataset.folder import FolderReader
from regraft.dataset.guard import Refused
from regraft.dataset.rows import Dataset, Sample
from regraft.dataset.video import claims_video

EXCERPT = 160
"""Characters of a text that are shown."""
FOREIGN = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}
"""Encodings that are guessed where bytes are no UTF-8, in this order, and what they are called."""
TEXTS_A_PICTURE = 4
"""Of a folder with more texts than so many for each picture, the texts are meant."""
_HALF = re.compile("[\ud800-\udfff]")
_HEAD_CHARACTERS = 16_384
_IS_MAIL = re.compile(r"^(from|date|subject):", re.I | re.M)
_THREAD_LINES = re.compile(
    r"^(?:message-id|in-reply-to|references):(.*(?:\n[ \t].*)*)", re.I | re.M
)
_MESSAGE_ID = re.compile(r"<[^<>\s]{3,250}>")


@final
class NoText(str):
    """What stands where a text should and is none: a list or an object of JSON, as written out."""


@final
@dataclass(frozen=True)
class TextFolderReader:
    """Reads a folder of classes that hold text files, laid out as for pictures."""

    name: str = "folder of classes"

    def recognises(self, path: Path) -> bool:
        """A folder with more text files than videos and hardly a picture, as far as is looked.

        A picture may have a text of its own beside it.
        """
        if not path.is_dir():
            return False
        some = [file for file, _ in islice(guard.files(path.resolve()), guard.SNIFFED)]
        count = sum(map(guard.claims_text, some))
        pictures, videos = sum(map(guard.claims_picture, some)), sum(map(claims_video, some))
        return count > max(videos, TEXTS_A_PICTURE * pictures)

    def read(self, path: Path) -> Dataset:
        """The rows of a folder; see `Reader`.

        Raises:
            DataError: no text lies in a class folder, or splits and classes are mixed.
        """
        return FolderReader(task="text-classification").read(path)


def decode(data: bytes, where: str) -> tuple[str, str]:
    """The text of a file, and the encoding it was read in.

    Raises:
        UnreadableSample: it is no text, or there is nothing in it.
    """
    if document := guard.document_of(data):
        what, mend = f"This is no text; it looks like {document}.", "save it as plain text"
        raise Refused("not-a-text", what, where=where, mend=mend)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ("utf-16",)
    else:
        encodings = ("utf-8-sig", *FOREIGN)
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return checked(text, where), encoding
    raise Refused("not-a-text", "This is no text.", where=where, mend="save it as UTF-8")


def checked(text: str, where: str) -> str:
    """The text with line ends as on Linux.

    Raises:
        UnreadableSample: it is empty, no text, or holds a NUL or half a character (which JSON can).
    """
    if isinstance(text, NoText):
        what, mend = "It is a list or an object, no text.", "write one text in quotes"
        raise Refused("not-a-text", what, where=where, mend=mend)
    if "\0" in text:
        raise Refused("not-a-text", "It holds a NUL.", where=where, mend="save it as plain text")
    if _HALF.search(text):
        what = "It holds half of a character (a lone surrogate)."
        raise Refused("not-a-text", what, where=where, mend="save it again as UTF-8")
    if not text.strip():
        raise Refused("empty", "There is no text in it.", where=where, mend="take it out")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def excerpt(sample: Sample) -> dict[str, str]:
    """How a text begins, as "excerpt"; nothing for pictures."""
    if not isinstance(sample.source, str):
        return {}
    words = " ".join(sample.source[: 4 * EXCERPT].split())
    return {"excerpt": words if len(words) <= EXCERPT else words[:EXCERPT] + "…"}


def threads(texts: Sequence[str]) -> list[str]:
    """The thread that each e-mail is of, called by its first message id; "" where it is of none."""
    forest = Forest(len(texts))
    first: dict[str, int] = {}
    named = [_message_ids(text) for text in texts]
    for i, ids in enumerate(named):
        for name in ids:
            forest.join(first.setdefault(name, i), i)
    sizes = Counter(forest.root(i) for i in range(len(texts)))
    called: dict[int, str] = {}
    for i, ids in enumerate(named):
        if sizes[forest.root(i)] > 1:
            root = forest.root(i)
            called[root] = min(called.get(root, ids[0]), *ids)
    return [called.get(forest.root(i), "") for i in range(len(texts))]


def _message_ids(text: str) -> list[str]:
    """Message ids in the header lines of an e-mail; none where the text has no such lines."""
    head = text[:_HEAD_CHARACTERS].partition("\n\n")[0]
    if not _IS_MAIL.search(head):
        return []
    lines = _THREAD_LINES.findall(head)
    return list(dict.fromkeys(name for line in lines for name in _MESSAGE_ID.findall(line)))
