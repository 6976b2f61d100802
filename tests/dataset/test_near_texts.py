"""Which texts are nearly the same."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.dataset import near_texts
from regraft.dataset.near_texts import near_pairs

MAIL = (
    "dear customer we are glad to offer you a new loan at the best rate of the year "
    "please answer this mail with your name and the amount that you would like to have"
)
TALK = (
    "the patch applies to the current tree but the test of the driver still fails on my machine "
    "so could you please look at the log that i have put on the server of the project"
)


def test_templates_and_quotes_are_near_copies() -> None:
    some = [MAIL, TALK, MAIL.upper().replace("LOAN", "CREDIT"), "short", "short", TALK + " thanks"]
    assert set(near_pairs(some)) == {(0, 2), (1, 5), (3, 4)}


def test_a_long_text_is_compared_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    letters = np.array([*"abcdefghij"])
    long = [" ".join(map("".join, letters[rng.integers(0, 10, (900, 4))])) for _ in range(3)]
    several = [*long, long[1] + " and a word"]
    whole = near_texts._signatures(several)
    monkeypatch.setattr(near_texts, "_AT_ONCE", 100)
    parts = near_texts._signatures(several)
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))
    assert near_pairs(several) == [(1, 3)]


def test_short_texts_are_copies_but_for_capitals_and_punctuation() -> None:
    some = ["Great staff!", "great  staff", "great staff 2", "GREAT STAFF …", "🙂", "!", "🙃", "?!"]
    assert set(near_pairs(some)) == {(0, 1), (0, 3)}


def test_texts_without_spaces_are_compared_by_their_characters() -> None:
    rng = np.random.default_rng(0)
    for first, last in (("一", "龥"), ("ก", "ฮ"), ("ぁ", "ん")):
        one, other = (
            "".join(map(chr, rng.integers(ord(first), ord(last) + 1, 400))) for _ in range(2)
        )
        assert near_pairs([one, other, one[:200] + first + one[201:]]) == [(0, 2)]
