"""Names on pictures in letters that Pillow's own font lacks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image, ImageFont

from regraft.reporting import drawing, lettering


@pytest.fixture
def fontless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without fonts."""
    lettering._font_with.cache_clear()
    monkeypatch.setattr(lettering, "_FONTS", ("no such font.ttf",))
    yield
    lettering._font_with.cache_clear()


def _dejavu() -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype("DejaVuSans.ttf", 16)
    except OSError:
        pytest.skip("needs the font DejaVu Sans")


def test_names_in_any_script_can_be_told_apart_on_a_picture() -> None:
    plain = Image.new("RGB", (200, 100), "gray")
    names = ["Käfer", "Köfer", "猫", "狗", "жук", "жак"]
    pictures = [drawing.drawn(plain, [drawing.Mark((9, 40, 99, 90), name)]) for name in names]
    assert all(one.tobytes() != other.tobytes() for one, other in pairwise(pictures))


def test_english_is_written_in_the_same_font_everywhere() -> None:
    text, font = lettering.written("beetle 0.93 …", 16)
    assert text == "beetle 0.93 …"
    assert font.getname() == ImageFont.load_default(16).getname()


def test_other_letters_are_written_in_a_font_of_the_machine() -> None:
    name = _dejavu().getname()
    text, font = lettering.written("Schädling жук 0.93", 16)
    assert text == "Schädling жук 0.93"
    assert font.getname() == name == ("DejaVu Sans", "Book")
    assert lettering.respelt(["Schädling", "жук"]) == []


def test_no_font_of_the_working_folder_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold the data of a stranger, and what reads fonts is not made for that."""
    shutil.copy(str(_dejavu().path), tmp_path / "evil.ttf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lettering, "_FONTS", ("evil.ttf",))
    lettering._font_with.cache_clear()
    assert lettering.respelt(["Schädling"]) == ["Schädling"]
    lettering._font_with.cache_clear()


def test_a_font_is_opened_once_for_all_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, load = [], ImageFont.load_default
    monkeypatch.setattr(ImageFont, "load_default", lambda px: opened.append(px) or load(px))
    lettering._font.cache_clear()
    for _ in range(9):
        lettering.written("beetle 0.93", 17)
    assert opened.count(17) == 1


@pytest.mark.usefixtures("fontless")
def test_what_no_font_has_is_spelt_otherwise() -> None:
    text, font = lettering.written("Schädling 猫 0.93", 16)
    assert text == "Schadling \\u732b 0.93"
    assert font.getname() == ImageFont.load_default(16).getname()
    assert lettering.respelt(["beetle", "Schädling", "猫"]) == ["Schädling", "猫"]
