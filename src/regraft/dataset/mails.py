"""E-mails as files and tables hold them, read as a person reads them: subject and text.

Decisions:

- A text is an e-mail (RFC 5322) if it begins with header lines and nothing else before the first
  blank line, three of them at least of names that e-mails have. A text that begins with "Subject:"
  or "Note:" is none, nor is a mailbox of several e-mails.
- Header lines but the subject are not read: they name mailboxes, machines and programs, by which
  classes would be told apart that were collected in different places.
- Parts are undone as RFC 2045 to 2047 say: base64, quoted-printable, encoded words, character sets.
  Of alternatives the last is read, the one that mail programs show; attachments are not.
- Many texts keep the header lines of mails whose parts were undone before. A part is read as it
  stands, and that is said, where base64 would have other lines than most of its own, or
  quoted-printable something else behind most of its equals signs.
- Bytes beyond ASCII that are UTF-8 are taken for it, whatever the mail says: cells of tables were
  decoded before. Where nothing is said, they are Windows-1252, a guess that is reported.
- NULs, which e-mails may not have, are left out.
- HTML is read without its tags, by patterns that take time in proportion to it: `html.parser` takes
  the square of it on HTML that was made to hurt, and refuses some of what mail programs write.
- `email` takes the square of the length of a header line that was made to hurt: it is given the
  beginning of each, and leaves longer subjects as they are.
- E-mails are in threads by Message-ID, In-Reply-To and References. Mails of a thread are no copies,
  but one group.
"""

from __future__ import annotations

import codecs
import email
import email.errors
import email.header
import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from email.policy import Compat32
from itertools import chain
from typing import Any, final

from regraft.dataset.duplicates import Forest

_FEWEST_FIELDS = 3
_FIELDS = frozenset(
    "from sender reply-to to cc bcc date subject message-id in-reply-to references return-path "
    "received delivered-to envelope-to mime-version content-type content-transfer-encoding "
    "newsgroups path organization lines nntp-posting-host xref".split()
)
"""Of e-mails and of articles of Usenet."""
_LONGEST_FIELD = 2**11
_FIELD = re.compile(r"([!-9;-~]+)[ \t]*:(.*(?:\n[ \t].*)*)\n?")
_ENVELOPE = re.compile(r">?From .*\n")
_NEXT_MAIL = re.compile(rb"\n\r?\nFrom [^\n]*\n[!-9;-~]+:")
_BLANK = re.compile(rb"\r?\n\r?\n|\r\r")
_MESSAGE_ID = re.compile(r"<[^<>\s]{3,250}>")
_THREAD = ("message-id", "in-reply-to", "references")
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style|title)\b.*?(?:</\1\s*>|\Z)", re.I | re.S)
_LINE = re.compile(
    r"</?(?:br|p|div|tr|table|ul|ol|li|dl|dt|dd|h[1-6]|hr|pre|blockquote|center)\b[^<>]*>", re.I
)
_CELL = re.compile(r"<t[dh]\b[^<>]*>", re.I)
_TAG = re.compile(r"<[a-z/!?][^<>]*>", re.I)
_CODED = {
    "base64": (re.compile(rb"\S[^\r\n]*"), re.compile(rb"[A-Za-z0-9+/]+={0,2}\s*")),
    "quoted-printable": (
        re.compile(rb"=.{0,2}", re.S),
        re.compile(rb"=(?:[0-9A-Fa-f]{2}|\r?\n.?)?", re.S),
    ),
}
"""What parts consist of by which they are told to be coded, and how most of it looks then."""
_NO_SETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
"""Codecs that are no character sets; some take long."""
_LARGER = {
    "": "cp1252",
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "iso-8859-9": "cp1254",
}
"""What mails mean that name a character set which has a larger one of the same characters."""


@dataclass(frozen=True)
class Mail:
    """What is read of an e-mail.

    Attributes:
        text: its subject, a blank line, and its text; "" where it has neither.
        ids: its own message id, and those of the mails that it answers.
        guessed: whether it has characters of which it does not say how they are coded.
        stands: whether it has a part that is not in the transfer encoding which it names, and is
            read as it stands.
    """

    text: str
    ids: tuple[str, ...]
    guessed: bool
    stands: bool = False


@final
class _Shortened(Compat32):
    """Header lines as `email` reads them, no longer than it can bear."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = Compat32.header_source_parse(self, sourcelines)
        return name, value[:_LONGEST_FIELD]


def mail_in(data: bytes) -> Mail | None:
    """What is read of a text that is an e-mail; None for any other.

    Args:
        data: as it came by mail; a text that was decoded already, in UTF-8.
    """
    data = data.replace(b"\0", b"").lstrip()
    fields = _header(data)
    if fields is None:
        return None
    try:
        message = email.message_from_bytes(data, policy=_Shortened())
        parts = list(_texts(message))
    except (RecursionError, TypeError):
        # Parts within parts, a thousand deep, or numbered parameters beside one without a number,
        # which `email` cannot sort: no mail program wrote it.
        return None
    subject, guessed = _subject(fields.get("subject", [""])[0])
    bodies = [_body(part) for part in parts]
    texts = (text.strip() for text in (subject, *(body.text for body in bodies)))
    text = "\n\n".join(filter(None, texts))
    if not text and not _BLANK.search(data):
        return None  # a form, all of which looks like header lines
    lines = "".join(line for name in _THREAD for line in fields.get(name, ()))
    ids = tuple(dict.fromkeys(_MESSAGE_ID.findall(lines)))
    guessed = guessed or any(body.guessed for body in bodies)
    return Mail(text, ids, guessed, any(body.stands for body in bodies))


def threads(ids: Sequence[Sequence[str]]) -> list[str]:
    """The thread that each e-mail is of, called by its first message id; "" where it is of none.

    Args:
        ids: message ids of each mail, as in `Mail`; none for texts that are no mails.
    """
    forest = Forest(len(ids))
    first: dict[str, int] = {}
    for i, some in enumerate(ids):
        for name in some:
            forest.join(first.setdefault(name, i), i)
    roots = [forest.root(i) for i in range(len(ids))]
    sizes, called = Counter(roots), dict[int, str]()
    for root, some in zip(roots, ids, strict=True):
        if sizes[root] > 1:
            called[root] = min(filter(None, (called.get(root), *some)))
    return [called.get(root, "") for root in roots]


def _header(data: bytes) -> dict[str, list[str]] | None:
    """Contents of the header lines by their names in lower case; None where this is no e-mail.

    Each byte is a character.
    """
    if not data[:1].isalpha() and not data.startswith(b">From "):
        return None
    end = _BLANK.search(data)
    head = data[: end.start() if end else len(data)].decode("latin-1")
    head = head.replace("\r\n", "\n").replace("\r", "\n") + "\n"
    fields: dict[str, list[str]] = {}
    is_one_of_many = envelope = _ENVELOPE.match(head)
    at = envelope.end() if envelope else 0
    while at < len(head):
        field = _FIELD.match(head, at)
        if field is None:
            return None
        fields.setdefault(field[1].lower(), []).append(field[2])
        at = field.end()
    if len(fields.keys() & _FIELDS) < _FEWEST_FIELDS:
        return None
    return None if is_one_of_many and _NEXT_MAIL.search(data) else fields


def _texts(message: Message) -> Iterator[Message]:
    """The parts that are shown, in order."""
    if message.get_content_disposition() == "attachment":
        return
    if not message.is_multipart():
        if message.get_content_maintype() in ("text", "multipart", "message"):
            yield message
        return
    parts: Any = message.get_payload()
    shown = (list(_texts(part)) for part in parts)
    if message.get_content_type() == "multipart/alternative":
        yield from next((some for some in reversed(list(shown)) if some), [])
    elif message.get_content_type() != "message/delivery-status":
        yield from chain.from_iterable(shown)


@dataclass(frozen=True)
class _Body:
    """What is read of a part; see `Mail`."""

    text: str
    guessed: bool
    stands: bool


def _body(part: Message) -> _Body:
    data, stands = _undone(part)
    try:
        charset = part.get_content_charset() or ""
    except TypeError:  # as above
        charset = ""
    text, guessed = _characters(data, charset)
    text = text.replace("\r\n", "\n")
    is_html = part.get_content_subtype() == "html"
    return _Body(_without_tags(text) if is_html else text, guessed, stands)


def _undone(part: Message) -> tuple[bytes, bool]:
    """The bytes of a part without its transfer encoding; and whether they stand as they were."""
    data = part.get_payload(decode=True)
    coding = str(part.get("content-transfer-encoding", "")).lower()
    del part["content-transfer-encoding"]
    given = part.get_payload(decode=True)
    assert isinstance(data, bytes) and isinstance(given, bytes), "only parts of several have none"
    if data == given or coding not in _CODED:
        return data, False
    unit, coded = _CODED[coding]
    is_coded = [coded.fullmatch(found) is not None for found in unit.findall(given)]
    return (data, False) if 2 * sum(is_coded) > len(is_coded) else (given, True)


def _subject(line: str) -> tuple[str, bool]:
    """A subject without its encoding, and whether its characters are a guess."""
    words: list[tuple[str | bytes, str | None]] = [(line, None)]
    if len(line) <= _LONGEST_FIELD:
        with suppress(email.errors.HeaderParseError):
            words = email.header.decode_header(line)
    found = [
        _characters(word.encode("latin-1") if isinstance(word, str) else word, charset or "")
        for word, charset in words
    ]
    return " ".join("".join(text for text, _ in found).split()), any(guess for _, guess in found)


def _characters(data: bytes, charset: str) -> tuple[str, bool]:
    """Characters of bytes that are said to be in a character set, and whether they are a guess.

    What the set has no character for is replaced, as mail programs do.
    """
    charset = charset.lower()
    if not data.isascii():
        try:
            return data.decode(), False
        except UnicodeDecodeError:
            pass
    try:
        codec = codecs.lookup(_LARGER.get(charset, charset)).name
        if codec in _NO_SETS:
            raise LookupError(codec)
        text = data.decode(codec, "replace")
    except (LookupError, ValueError):  # no such set, or no name of any
        text = data.decode("cp1252", "replace")
        charset = ""
    return text.replace("\0", ""), not charset and not data.isascii()


def _without_tags(text: str) -> str:
    """The words of HTML, in the lines in which they are shown."""
    text = _UNSEEN.sub("", " ".join(text.split()))
    text = _TAG.sub("", _CELL.sub(" ", _LINE.sub("\n", text)))
    lines = (" ".join(line.split()) for line in html.unescape(text).split("\n"))
    return "\n".join(filter(None, lines))
