"""Which encoding tables and texts are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from regraft.dataset.encoding import read_characters, wide_encoding
from regraft.dataset.table import columns_of
from regraft.dataset.texts import doubts, read_bytes
from regraft.errors import DataError, UnreadableSample


def written(root: Path, text: str, encoding: str) -> Path:
    path = root / "t.csv"
    path.write_bytes(f"text,label\nplain words,a\n{text},b\n".encode(encoding))
    return path


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "我们今天去公园看花和鸟儿"),
        ("big5", "我們今天去公園看花和鳥兒"),
        ("euc_kr", "오늘 우리는 공원에 가서 꽃을 봅니다"),
        ("cp1251", "Сегодня мы идем в парк смотреть на птиц"),
        ("koi8-r", "Сегодня мы идем в парк"),
        ("cp1253", "σήμερα πάμε στο πάρκο"),
        ("cp1255", "היום אנחנו הולכים לפארק"),
        ("cp1256", "ذهبنا اليوم إلى الحديقة لمشاهدة الطيور"),
    ],
)
def test_other_encodings_are_not_taken_for_western_text(
    tmp_path: Path, encoding: str, text: str
) -> None:
    path = written(tmp_path, text, encoding)
    with pytest.raises(DataError, match="not UTF-8, and as Windows-1252 it has no words") as caught:
        read_characters(path)
    assert caught.value.where == f"{path}, line 3"
    assert "save it as UTF-8" in caught.value.mend


@pytest.mark.parametrize(
    "text",
    ["à la maison", "été", "Größe", "Það er á Íslandi", "äiti", "« Été »", "“Über”", "••• – 5 €"],
)
def test_western_texts_are_read_as_windows_1252(tmp_path: Path, text: str) -> None:
    characters, (note,) = read_characters(written(tmp_path, text, "cp1252"))
    assert text in characters
    assert (note.kind, note.done) == ("encoding", "read as Windows-1252")


GERMAN = "„Grüße“ aus Köln und 5 Äpfel"
JAPANESE = "きょうはこうえんにいってはなをみます"
CHINESE = "我们今天去公园看花和鸟儿"


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        ("Grüße aus Köln", "latin-1", "Windows-1252"),
        (GERMAN, "cp1252", "Windows-1252"),
        (GERMAN, "utf-8", ""),
        (GERMAN, "utf-8-sig", ""),
        (GERMAN, "utf-16", ""),
        (CHINESE, "utf-16", ""),
        (f"\ufeff{GERMAN}", "utf-16-be", ""),
        ("plain words", "utf-16-le", "UTF-16"),
        (GERMAN, "utf-16-le", "UTF-16"),
        (GERMAN, "utf-16-be", "UTF-16"),
    ],
)
def test_tables_and_texts_are_read_alike(
    tmp_path: Path, text: str, encoding: str, guess: str
) -> None:
    content = read_bytes(text.encode(encoding), "a.txt")
    assert content.text == text.removeprefix("\ufeff")
    assert [p.done for p in doubts(content, "a.txt")] == [f"read as {guess}"] * bool(guess)
    path = tmp_path / "t.csv"
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    path.write_bytes(f"{mark}text,label\n{content.text},a\n".encode(encoding))
    characters, notes = read_characters(path)
    assert characters == f"text,label\n{content.text},a\n"
    assert [note.done for note in notes] == [f"read as {guess}"] * bool(guess)
    assert columns_of(path) == ("text", "label")


@pytest.mark.parametrize(
    ("data", "said", "done"),
    [
        (JAPANESE.encode("shift_jis"), "is not UTF-8, and as Windows-1252 it has", "Windows-1252"),
        (CHINESE.encode("gb18030"), "is not UTF-8, and as Windows-1252 it has", "Windows-1252"),
        (b"Gr\xfc\xdfe \x81 aus Bonn", "is neither UTF-8 nor Windows-1252", "Latin-1"),
        (
            "Größe\n".encode() + "Grüße\n".encode("latin-1"),
            "is not UTF-8, though other lines are",
            "Windows-1252",
        ),
    ],
)
def test_in_doubt_a_table_is_refused_and_a_text_read_with_the_doubt(
    tmp_path: Path, data: bytes, said: str, done: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"text,label\n" + data + b",a\n")
    with pytest.raises(DataError, match=f"This {said}") as caught:
        read_characters(path)
    assert "line " in caught.value.where
    (told,) = doubts(read_bytes(data, "a.txt"), "a.txt")
    assert told.what.startswith(f"It {said}") and told.what.endswith(": save it as UTF-8.")
    assert told.done == f"read as {done}"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("Grüße".encode("utf-32"), "is in UTF-32"),
        (b"\0\0\xfe\xff" + "Grüße".encode("utf-32-be"), "is in UTF-32"),
        ("Grüße".encode("utf-16")[:-1], "is no UTF-16"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_either(
    tmp_path: Path, data: bytes, said: str
) -> None:
    with pytest.raises(UnreadableSample, match=f"It {said}"):
        read_bytes(data, "a.txt")
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"This {said}"):
        read_characters(path)


def test_a_few_nuls_make_no_utf_16() -> None:
    for data in (b"a\0b", b"\0\0\0\0", b"a\0 text with a NUL!", b"\0a\0b\0c and so on", b""):
        assert not wide_encoding(data)


@pytest.mark.parametrize(
    "data",
    [
        "text,label\nplain,a\n".encode("utf-32-be"),
        "text,label\nplain,a\n".encode("utf-32-le"),
        "text,label\nplain,a\n".encode("utf-16-le") + b"\n",
        b"\0text,label\nplain,a\n",
    ],
)
def test_a_table_whose_header_has_nuls_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match="has NULs among the characters; it is no text") as caught:
        read_characters(path)
    assert caught.value.where == f"{path}, line 1"
    path.write_bytes(b"text,label\na\0b,a\n")
    assert read_characters(path) == ("text,label\na\0b,a\n", ())
