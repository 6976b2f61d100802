"""Texts: which files are, how their bytes are read, and which texts are nearly the same.

Decisions:

- A file is UTF-8, or has the byte-order mark of UTF-16; else it is read as Windows-1252, or as
  Latin-1 where it has bytes that Windows-1252 has no character for, as old e-mails do; which of
  them is reported. What holds a NUL is no text.
- Near copies are found by MinHash (Broder, "On the resemblance and containment of documents",
  1997) of word triples in 16 bands of 4; those of which 3 in 4 hashes agree are copies: newsletters
  of one template, answers that quote the whole mail. Case, digits and marks do not count.
- Texts of fewer than eight words are copies only if they are equal.
- E-mails that begin with their header lines are in threads by Message-ID, In-Reply-To and
  References (RFC 5322). Mails of a thread are no copies, but one group.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import final

import numpy as np

from regraft.dataset import guard
from regraft.dataset.duplicates import Forest
from regraft.dataset.folder import FolderReader
from regraft.dataset.guard import Refused
from regraft.dataset.rows import Dataset, Sample
from regraft.dataset.video import claims_video
from regraft.seeds import generator

EXCERPT = 160
"""Characters of a text that are shown."""
FOREIGN = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}
"""Encodings that are guessed where bytes are no UTF-8, in this order, and what they are called."""
TEXTS_A_PICTURE = 4
"""Of a folder with more texts than so many for each picture, the texts are meant."""
_FEWEST_WORDS = 8
_HASHES, _BAND = 64, 4
_COMPARED = 10_000
_AT_ONCE = 4096
_ALIKE = 0.75
_HALF = re.compile("[\ud800-\udfff]")
_HEAD_CHARACTERS = 16_384
_IS_MAIL = re.compile(r"^(from|date|subject):", re.I | re.M)
_THREAD_LINES = re.compile(
    r"^(?:message-id|in-reply-to|references):(.*(?:\n[ \t].*)*)", re.I | re.M
)
_MESSAGE_ID = re.compile(r"<[^<>\s]{3,250}>")
_WORD = re.compile(r"[^\W\d_]+")
_SIGN = re.compile(r"\w+")


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


def near_pairs(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of texts of which one is nearly the other; enough of them to connect all copies.

    Texts of few words are copies where they differ in capitals and punctuation alone.
    """
    judged_m, signature_mh = _signatures(texts)
    pairs: set[tuple[int, int]] = set()
    first: dict[str, int] = {}
    for i in sorted(set(range(len(texts))) - set(judged_m.tolist())):
        plain = " ".join(_SIGN.findall(texts[i].lower()))
        if plain and first.setdefault(plain, i) != i:
            pairs.add((first[plain], i))
    for band_mh in np.split(signature_mh, _HASHES // _BAND, axis=1):
        for one_p, other_p in _in_one_bucket(band_mh):
            alike_p = (signature_mh[one_p] == signature_mh[other_p]).mean(axis=1) >= _ALIKE
            found = judged_m[one_p[alike_p]].tolist(), judged_m[other_p[alike_p]].tolist()
            pairs.update(zip(*found, strict=True))
    return sorted(pairs)


def _signatures(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which texts are long enough to judge, and their least hashes, uint32 `[m, hashes]`."""
    rng = generator(0, "minhash")
    factor_h = rng.integers(1, 2**63, _HASHES, dtype=np.uint64) | np.uint64(1)
    shift_h = rng.integers(0, 2**63, _HASHES, dtype=np.uint64)
    signature_nh = np.zeros((len(texts), _HASHES), np.uint32)
    judged: list[int] = []
    for i, text in enumerate(texts):
        triples_s = _triples(text)
        if triples_s is not None:
            least_h = np.full(_HASHES, 2**32 - 1, np.uint64)
            for at in range(0, len(triples_s), _AT_ONCE):  # a long text has millions
                hashes_hs = factor_h[:, None] * triples_s[at : at + _AT_ONCE] + shift_h[:, None]
                least_h = np.minimum(least_h, (hashes_hs >> np.uint64(32)).min(axis=1))
            signature_nh[len(judged)] = least_h
            judged.append(i)
    return np.array(judged, np.int64), signature_nh[: len(judged)]


def _in_one_bucket(band_mh: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows with equal hashes, each beside the one before it and beside the first of them.

    The dictionary that the method is usually written with takes kilobytes a text; sorting takes
    bytes. Rows that only share a key by chance are told apart by whoever compares them.
    """
    key_m = np.zeros(len(band_mh), np.uint64)
    for hash_m in band_mh.T:
        key_m = (key_m ^ hash_m) * np.uint64(0x9E3779B97F4A7C15)
    row_m = np.argsort(key_m, kind="stable")
    is_next_m = np.diff(key_m[row_m], prepend=key_m[row_m[:1]] + np.uint64(1)) == 0
    first_m = np.maximum.accumulate(np.where(is_next_m, 0, np.arange(len(row_m))))
    (place_p,) = is_next_m.nonzero()
    for at in range(0, len(place_p), _COMPARED):
        some_p = place_p[at : at + _COMPARED]
        yield row_m[some_p - 1], row_m[some_p]
        yield row_m[first_m[some_p]], row_m[some_p]


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


def _triples(text: str) -> np.ndarray | None:
    """A number for each three words in a row, uint64; None for texts too short to judge."""
    words = words_of(text)
    return None if len(words) < _FEWEST_WORDS else word_runs(words, 3)


def words_of(text: str) -> list[str]:
    """The words by which texts are compared."""
    return _WORD.findall(text.lower())


def word_runs(words: Sequence[str], length: int) -> np.ndarray:
    """A number for each run of so many words, distinct and sorted, uint64."""
    if len(words) < length:
        return np.empty(0, np.uint64)
    word_w = np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint64)
    prime = np.uint64(0x9E3779B97F4A7C15)
    count = len(word_w) - length + 1
    mixed = word_w[:count].copy()
    for shift in range(1, length):
        mixed = mixed * prime + word_w[shift : count + shift]
    return np.unique(mixed ^ (mixed >> np.uint64(29)))
