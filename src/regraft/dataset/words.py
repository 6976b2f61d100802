"""What a word is, in any script: for copies, leaks, TF-IDF and the words that decide.

A word is a run of letters, or of letters, digits and underscores, with the marks that belong to
them: vowel signs of Hindi, accents that are characters of their own. Chinese, Japanese, Thai, Lao,
Khmer and Burmese write no spaces between words, and dictionaries of them are large: there each
character, with its marks, is a word, and pairs and runs of words are pairs and runs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese
)
"""Scripts without spaces between words."""
_BLOCK = 128
_GRAVE = "\u0300"


def words_of(text: str) -> list[str]:
    """The words by which texts are compared: without case, digits and signs."""
    text, marks = _spaced(text.lower())
    return re.findall(rf"(?:[^\W\d_]+[{marks}]*)+", text)


def plain(text: str) -> str:
    """A text without case, signs and marks; digits stay."""
    return " ".join(re.findall(r"\w+", text.lower()))


def pieces_of(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end, with the signs beside them."""
    piece = rf"(?=\w)[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+"
    return [found.span() for found in re.finditer(piece, text)]


def has_words(text: str) -> bool:
    """Whether a text has words for TF-IDF; emoji and single letters are none."""
    return re.search(*_word(text)) is not None


def terms_of(text: str, units: str) -> list[str]:
    """The words and pairs of neighbouring words of a text, or characters, as often as they occur.

    Args:
        text: any.
        units: "word" (where there are spaces, of two letters at least) or "char".
    """
    text = text.lower()
    if units == "char":
        text = re.sub(r"\s\s+", " ", text)
        return [*text, *map("".join, pairwise(text))]
    words = re.findall(*_word(text))
    return [*words, *map(" ".join, pairwise(words))]


def _word(text: str) -> tuple[str, str]:
    """A pattern of the words of a text for TF-IDF, and the text that it finds them in."""
    spaced, marks = _spaced(text)
    word = rf"\w[\w{marks}]+"
    return (word if spaced is text else rf"[{_UNSPACED}][{marks}]*|{word}"), spaced


def _spaced(text: str) -> tuple[str, str]:
    """A text with spaces around each character that is a word, and which marks it may have.

    These are all of the blocks that it has some of, so that few patterns are compiled; or one that
    it does not have, as a class of `re` is not empty.
    """
    if text.isascii():
        return text, _GRAVE
    blocks = {ord(sign) // _BLOCK for sign in set(text) if _is_mark(sign)}
    signs = (chr(block * _BLOCK + at) for block in sorted(blocks) for at in range(_BLOCK))
    marks = "".join(filter(_is_mark, signs)) or _GRAVE
    spaced, count = re.subn(rf"(?=\w)[{_UNSPACED}][{marks}]*", r" \g<0> ", text)
    return (spaced if count else text), marks


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign) in ("Mn", "Mc")
