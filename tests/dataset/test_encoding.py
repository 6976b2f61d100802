"""Which encoding a table is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from regraft.dataset.encoding import read_characters
from regraft.errors import DataError


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
