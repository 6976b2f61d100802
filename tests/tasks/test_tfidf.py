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


def test_where_texts_have_several_classes_the_penalty_is_chosen_too() -> None:
    rng = np.random.default_rng(0)
    target_nc = rng.integers(0, 2, (160, 3)).astype(float)
    plain = [" ".join(f"w{n}" for n in rng.integers(0, 60, 8)) for _ in target_nc]
    for i, c in np.argwhere(target_nc):
        plain[i] += f" kind{c}"
    assert _fit(plain, target_nc).inverse_penalty == 100
    noise_nc = rng.integers(0, 2, (160, 3)).astype(float)
    assert _fit(plain, noise_nc).inverse_penalty == 1


def test_classes_that_all_texts_have_need_no_penalty() -> None:
    target_nc = np.tile([1.0, 0.0], (20, 1))
    logits_nc = _fit(["cats purr", "dogs bark"] * 10, target_nc).logits(["cats"])
    assert logits_nc[0, 0] > 0 > logits_nc[0, 1]


def test_where_classes_count_the_same_a_rare_one_has_its_say_in_the_penalty() -> None:
    # Weakly penalised, the rare class is found by a word of its own; strongly, all is "ham".
    rng = np.random.default_rng(1)
    label_n = (np.arange(150) % 15 == 0).astype(int)
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 200, 30)) for _ in label_n]
    for i in np.flatnonzero(label_n):
        texts[i] += " " + " ".join(f"offer{n}" for n in rng.integers(0, 4, 3))
    target_nc = np.eye(2)[label_n]
    model = fit_tfidf(texts, target_nc, [""] * 150, balanced=True)
    held = ["w1 w2 w3 offer1 offer2", "w1 w2 w3 w4 w5"]
    assert model.logits(held).argmax(axis=1).tolist() == [1, 0]
