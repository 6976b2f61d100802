"""E-mails as they are on disk: what is read of them, and which texts are none."""

from __future__ import annotations

import email.message
import time
from base64 import b64encode
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import Policy, compat32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.dataset import mails

HEAD = "From: a@b\nDate: Mon, 1 Jan 2024 10:00:00 +0000\nMessage-ID: <1@host>\n"


def text_of(data: bytes | str) -> str:
    found = mails.mail_in(data if isinstance(data, bytes) else data.encode())
    assert found is not None
    return found.text


def test_subject_and_text_are_read() -> None:
    assert text_of(HEAD + "Subject: lunch\n\nAt noon?\n") == "lunch\n\nAt noon?"
    assert text_of(HEAD + "\nAt noon?\n") == "At noon?"
    assert text_of(HEAD + "Subject: lunch") == "lunch"
    assert text_of("From a@b Mon Jan 1 10:00:00 2024\r\n" + HEAD + "\r\nNoon.") == "Noon."
    folded = HEAD + "Subject: a long\n\tone\nReceived: x\n\tby y\n\nNoon."
    assert text_of(folded) == "a long one\n\nNoon."


@pytest.mark.parametrize("policy", [compat32, compat32.clone(linesep="\r\n")])
@pytest.mark.parametrize("charset", ["utf-8", "gb2312", "iso-8859-1", "koi8-r", "shift_jis"])
def test_encodings_are_undone(charset: str, policy: Policy) -> None:
    words = {"gb2312": "免费领取优惠券", "koi8-r": "Привет, мир", "shift_jis": "無料のお知らせ"}
    said = words.get(charset, "Grüße aus Köln")
    mail = MIMEText(said, "plain", charset)
    mail["From"], mail["Date"], mail["Message-ID"] = "a@b", "Mon, 1 Jan 2024", "<1@host>"
    mail["Subject"] = email.header.Header(said, charset)
    assert text_of(mail.as_bytes(policy=policy)) == f"{said}\n\n{said}"
    head = f"{HEAD}Subject: x\nContent-Type: text/plain; charset={charset}\n\n"
    assert text_of(head.encode() + said.encode(charset)) == f"x\n\n{said}"
    assert text_of(head + said) == f"x\n\n{said}", "a cell of a table was decoded before"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("base64", "Hello, this is plain text"),
        ("base64", "Dear Ann,\nthis text was decoded.\nRegards\nBob"),
        ("quoted-printable", '<a href="https://host?id=20A3&b=c">'),
        ("quoted-printable", "2+2=4, a = b, id=ff"),
    ],
)
def test_parts_that_were_undone_before_are_read_as_they_stand(coding: str, body: str) -> None:
    found = mails.mail_in(f"{HEAD}Content-Transfer-Encoding: {coding}\n\n{body}".encode())
    assert found == mails.Mail(body, ("<1@host>",), False, stands=True)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_footer_in_another_coding_does_not_stop_a_part_from_being_undone(end: str) -> None:
    coded = b64encode(b"We shall meet at noon, as we did before. " * 5).decode()
    lines = end.join(coded[at : at + 76] for at in range(0, len(coded), 76))
    head = HEAD + "Content-Transfer-Encoding: base64\n\n"
    found = mails.mail_in(f"{head}{lines}{end}-- {end}To leave, write to us.".encode())
    assert found is not None and not found.stands
    assert found.text.startswith("We shall meet at noon, as we did before. We shall")
    head = HEAD + "Content-Transfer-Encoding: quoted-printable\n\n"
    found = mails.mail_in(f"{head}At=20noon, a=3Db,=\r\n or later\nhttps://host?a=x".encode())
    assert found is not None and not found.stands
    assert found.text == "At noon, a=b, or later\nhttps://host?a=x"


def test_html_is_read_without_its_tags() -> None:
    page = (
        "<html><head><title>Untitled</title><style>p {color: red}</style></head><!-- > hidden -->"
        "<body bgcolor='#fff'><p>Free&nbsp;m<b></b>oney &amp; <i>more</i></p>now<br>1 < 2"
        "<table><tr><td>a<td>b</table><script>alert('x')</script>"
    )
    head = HEAD + "Content-Type: text/html\n\n"
    assert text_of(head + page) == "Free money & more\nnow\n1 < 2\na b"
    assert text_of(head + "left <!-- never closed <p>gone") == "left"


def test_the_last_alternative_is_read_and_attachments_are_not() -> None:
    whole, both = MIMEMultipart("mixed"), MIMEMultipart("alternative")
    for kind, text in (("plain", "as plain text"), ("html", "<p>as <b>HTML</b></p>")):
        both.attach(MIMEText(text, kind))
    inner = MIMEText("what was forwarded")
    notes = MIMEText("some notes")
    notes.add_header("Content-Disposition", "attachment", filename="notes.txt")
    forwarded = email.message.Message()
    forwarded["Content-Type"] = "message/rfc822"
    forwarded.set_payload([inner])
    for part in (both, notes, forwarded, MIMEText("the end")):
        whole.attach(part)
    for name, value in (("From", "a@b"), ("Date", "today"), ("Subject", "both")):
        whole[name] = value
    assert text_of(whole.as_bytes()) == "both\n\nas HTML\n\nwhat was forwarded\n\nthe end"


@pytest.mark.parametrize(
    "text",
    [
        "Subject: lunch\n\nShall we meet at noon?",
        "Note: this is\nWarning: nothing\nRemark: at all\n\nbut a list.",
        "Dear all,\nFrom: now on\nDate: today\nTo: you\nSubject: rules\n\nText.",
        "From: a\nDate: b\nSubject: c\nand then the text begins at once\n\nText.",
        "From: a\nSubject: b\n\nDate: c",
        "Message-ID: <1@host> said",
        "From: Berlin\nTo: Hamburg\nDate: 5 May\nClass: 2",
        f"From x\n{HEAD}\none\n\nFrom y\n{HEAD}\ntwo",
        "",
    ],
)
def test_what_only_looks_like_a_mail_is_none(text: str) -> None:
    assert mails.mail_in(text.encode()) is None


def test_characters_that_nobody_declared_are_a_guess() -> None:
    for head, word, guessed in (("", "Grüße", True), ("", "plain", False)):
        found = mails.mail_in((HEAD + head + "\n" + word).encode("latin-1"))
        assert found == mails.Mail(word, ("<1@host>",), guessed)
    declared = HEAD + "Content-Type: text/plain; charset=iso-8859-1\n\nGrüße"
    assert mails.mail_in(declared.encode("latin-1")) == mails.Mail("Grüße", ("<1@host>",), False)
    for name in ("nonsense", "hex", '"utf\0"', "=?x?="):
        line = f"Content-Type: text/plain; charset={name}\n\n"
        assert "Gr" in text_of((HEAD + line + "Grüße").encode("latin-1"))
    for name in ("punycode", "unicode-escape"):
        line = f"Content-Type: text/plain; charset={name}\n\n"
        assert text_of((HEAD + line + "Grüße, \\n").encode("latin-1")) == "Grüße, \\n"


def test_mails_that_name_each_other_are_a_thread() -> None:
    ids = [("<1@h>", "<0@h>"), ("<2@h>", "<0@h>", "<1@h>"), ("<3@h>", "<2@h>"), ("<4@h>",), ()]
    assert mails.threads(ids) == ["<0@h>"] * 3 + ["", ""]
    answer = HEAD + "In-Reply-To: <0@host>\nReferences: <9@host>\n\t<0@host>\n\nYes."
    found = mails.mail_in(answer.encode())
    assert found is not None
    assert found.ids == ("<1@host>", "<0@host>", "<9@host>")


PIECES = st.sampled_from([
    b"Content-Type: multipart/mixed; boundary=x\n", b"--x\n", b"--x--\n", b"\n", b"\r\n",
    b"Content-Type: text/html; charset=utf-7\n", b"Content-Type: message/rfc822\n", b"<p", b"<!--",
    b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: x-uuencode\n", b"=?q?",
    b"Content-Type: multipart/alternative; boundary*0=x\n", b"Subject: =?x?q?=ff?= =?gbk?b?x?=\n",
    b"Content-Disposition: attachment\n", b"begin 644 a\n", b"Z\xfcM,", b"&#x110000;", b"\xe4\xb8",
])  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=6), max_size=20))
def test_damaged_mails_raise_nothing(pieces: list[bytes]) -> None:
    for data in (b"".join(pieces), HEAD.encode() + b"".join(pieces)):
        found = mails.mail_in(data)
        assert found is None or found.text == found.text.strip()


@pytest.mark.parametrize("piece", ["<!--", "<p ", "<script>", "<", "&", "<a href='"])
def test_html_that_was_made_to_hurt_takes_no_long_time(piece: str) -> None:
    assert len(text_of(HEAD + "Content-Type: text/html\n\n" + "x" + piece * 200_000)) > 0


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ('Content-Type: text/plain; x="' + ";" * 60_000, "x"),
        ('Content-Type: multipart/mixed; x="' + ";" * 60_000, "x"),
        ("Subject: " + "=?a?q?" * 80_000, "x"),
        ("Content-Type: text/plain; charset=punycode", "a" * 80_000 + "-" + "b9" * 40_000),
    ],
)
def test_header_lines_that_were_made_to_hurt_take_no_long_time(line: str, body: str) -> None:
    begin_s = time.process_time()
    assert body in text_of(f"{HEAD}{line}\n\n{body}")
    assert time.process_time() - begin_s < 0.4


def test_parameters_that_cannot_be_sorted_are_passed_over() -> None:
    assert text_of(f"{HEAD}Content-Type: text/plain; charset*; charset*1=b\n\nNoon.") == "Noon."
    odd = f"{HEAD}Content-Type: multipart/mixed; boundary*; boundary*1=b\n\nNoon."
    assert mails.mail_in(odd.encode()) is None


def test_parts_within_parts_without_end_are_no_mail() -> None:
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n" for i in range(3000))
    mails.mail_in((HEAD + deep).encode())
