"""TF-IDF where texts or classes are unusual."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from regraft.tasks.tfidf import fit_tfidf


def _fit(texts: list[str], target_nc: np.ndarray):
    return fit_tfidf(texts, target_nc, [""] * len(texts), balanced=False)


def test_texts_without_a_word_are_told_apart_by_characters() -> None:
    texts = ["😀 !", "😡 ?"] * 10
    target_nc = np.tile(np.eye(2), (10, 1))
    model = _fit(texts, target_nc)
    assert (model.logits(texts).argmax(axis=1) == target_nc.argmax(axis=1)).all()


def test_a_class_that_no_text_has_still_gets_a_column() -> None:
    texts = ["cats purr", "dogs bark"] * 10
    logits_nc = _fit(texts, np.tile(np.eye(3)[:2], (10, 1))).logits(["cats", "dogs"])
    assert logits_nc.shape == (2, 3)
    assert logits_nc.argmax(axis=1).tolist() == [0, 1]


def test_a_class_of_one_text_does_not_end_the_choice_of_the_penalty() -> None:
    rng = np.random.default_rng(0)
    label_n = np.arange(120) % 2
    words = [rng.integers(0, 40, 12) for _ in label_n]
    texts = [" ".join([f"w{n}" for n in some] + ["ham"]) for some in words]
    texts[1::2] = [text.replace("ham", "spam") for text in texts[1::2]]
    usual = _fit(texts, np.eye(2)[label_n])
    with_one = _fit([*texts, "quite other words"], np.eye(3)[np.append(label_n, 2)])
    assert with_one.inverse_penalty == usual.inverse_penalty
