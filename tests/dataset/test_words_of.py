"""What a word is, in any script."""

from __future__ import annotations

import pytest

from regraft.dataset.words import has_words, pieces_of, plain, terms_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 2 GREAT_days, isn't it?", ["it", "s", "great", "days", "isn", "t", "it"]),
        ("हिन्दी में लिखा हुआ", ["हिन्दी", "में", "लिखा", "हुआ"]),
        ("cafe\u0301 e\u0301te\u0301", ["cafe\u0301", "e\u0301te\u0301"]),
        ("한국어는 있다", ["한국어는", "있다"]),
        ("我喜欢 this产品。", ["我", "喜", "欢", "this", "产", "品"]),
        ("日本のラーメン、", ["日", "本", "の", "ラ", "ー", "メ", "ン"]),
        ("ม่เว้น", ["ม่", "เ", "ว้", "น"]),
        ("🙂 ❤️ 42", []),
    ],
)
def test_words_have_their_marks_and_characters_without_spaces_are_words(
    text: str, words: list[str]
) -> None:
    assert words_of(text) == words


def test_terms_are_words_and_pairs_of_them() -> None:
    assert terms_of("A x1 of_it, too", "word") == ["x1", "of_it", "too", "x1 of_it", "of_it too"]
    assert terms_of("很好 ok", "word") == ["很", "好", "ok", "很 好", "好 ok"]
    assert terms_of("हुआ क", "word") == ["हुआ"]
    assert terms_of("A  b", "char") == ["a", " ", "b", "a ", " b"]


def test_terms_are_those_of_scikit_learn_where_words_have_spaces() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    text = "Größe 12 m_2: l'été à Kraków, ça  va?\n\tÜber straße ΣΊΣΥΦΟΣ Привет a b"
    for units in ("word", "char"):
        whole = TfidfVectorizer(analyzer=units, ngram_range=(1, 2)).build_analyzer()
        assert terms_of(text, units) == whole(text)


def test_pieces_are_cut_with_the_signs_beside_them() -> None:
    text = "很好！It's  ok."
    assert [text[slice(*span)] for span in pieces_of(text)] == ["很", "好！", "It's", "ok."]


def test_emoji_and_single_letters_are_no_words() -> None:
    assert not any(map(has_words, ["🙂", "❤️❤️", "a b ?", ""]))
    assert all(map(has_words, ["ok", "好", "हुआ", "42"]))


def test_a_plain_text_has_neither_case_nor_signs() -> None:
    assert plain("Great staff, 2!") == plain("great  STAFF … 2") == "great staff 2"
