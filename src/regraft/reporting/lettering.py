r"""Fonts for names that are written on pictures.

Decisions:

- What Pillow's own font has is written in it, so pictures are the same on every machine. It has the
  letters of English: no umlauts, no Greek, no Chinese.
- Other names are written in the first of some well-known fonts, where the machine has it, that has
  all of their characters. None is brought along: fonts of all scripts are larger than the networks.
- Fonts are opened from where the system keeps them alone. The working folder, which Pillow would
  look into first, may hold a stranger's data.
- Where no font has a character, the letter below its accents stands for it ("a" for "ä"), or else
  its number ("\u732b"): an empty square would make all names alike.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FONTS = (
    "DejaVuSans.ttf",  # Latin, Greek, Cyrillic, Arabic, Hebrew
    "LiberationSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",  # Chinese, Japanese, Korean
    "NotoSansCJK-VF.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "msyh.ttc",
    "PingFang.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "FreeSans.ttf",
    "unifont.otf",  # coarse, but nearly all there is
    "unifont.ttf",
)
"""Names of files that Pillow finds where systems keep fonts, the best first."""
_NOWHERE = Path(__file__)
"""No folder: Pillow finds nothing in it and looks where systems keep fonts."""
_PROBE_PX = 16
_NO_CHARACTER = "\uffff"
"""What no font has: it is drawn as whatever else a font lacks."""


def written(text: str, size_px: int) -> tuple[str, Font]:
    """A text as it can be written, and the font that has all of its characters.

    Args:
        text: on one line.
        size_px: of the letters.
    """
    name = _font_with(_beyond_ascii(text))
    font = _font(name or "", size_px)
    assert font is not None, name  # it was opened in another size
    return (_respelt(text) if name is None else text), font


def respelt(names: Iterable[str]) -> list[str]:
    """The names that none of the fonts can write as they are."""
    return [name for name in names if _font_with(_beyond_ascii(name)) is None]


def _beyond_ascii(text: str) -> frozenset[str]:
    return frozenset(letter for letter in text if not letter.isascii())


@cache
def _font_with(letters: frozenset[str]) -> str | None:
    """The first font that has all of these: "" is Pillow's own, None says that there is none."""
    return next((name for name in ("", *_FONTS) if letters <= _had(name, letters)), None)


@lru_cache(64)  # each may hold a file open
def _font(name: str, size_px: int) -> Font | None:
    """A font: "" is Pillow's own, None says that it is not on this machine."""
    from PIL import ImageFont

    try:
        if name:
            return ImageFont.truetype(_NOWHERE / name, size_px)
        return ImageFont.load_default(size_px)
    except OSError:
        return None


@cache
def _had(name: str, letters: frozenset[str]) -> frozenset[str]:
    """Those of the letters that a font has; none where it is not on this machine."""
    font = _font(name, _PROBE_PX)
    if font is None:
        return frozenset()
    lacking = _drawn(font, _NO_CHARACTER)
    return frozenset(
        letter for letter in letters if letter.isspace() or _drawn(font, letter) != lacking
    )


def _drawn(font: Font, letter: str) -> bytes:
    from PIL import Image, ImageDraw

    paper = Image.new("L", (2 * _PROBE_PX, 2 * _PROBE_PX))
    ImageDraw.Draw(paper).text((0, 0), letter, fill=255, font=font)
    return paper.tobytes()


def _respelt(text: str) -> str:
    """A text in the letters of Pillow's own font."""
    had = _had("", _beyond_ascii(text))
    return "".join(
        letter if letter.isascii() or letter in had else _in_ascii(letter) for letter in text
    )


def _in_ascii(letter: str) -> str:
    bare = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return bare or letter.encode("ascii", "backslashreplace").decode()
