"""Words beside vectors: their rows, their weights, and what a head makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.dataset import Sample
from regraft.errors import StoreError
from regraft.seeds import generator
from regraft.tasks.probe import fit_probe
from regraft.transfer import lexicon
from regraft.transfer.lexicon import Lexicon, Words

LABELS = np.arange(120) % 2
BIAS = {"head.bias": np.zeros(3, np.float32)}


def texts(of_class: bool, seed: int = 0) -> list[Sample]:
    """Six words each, of a half of 40 by their class where that is wanted, else of all of them."""
    rng = generator(seed, "words")
    found = []
    for label in LABELS:
        words = 2 * rng.integers(0, 20, 6) + (label if of_class else rng.integers(0, 2, 6))
        text = " ".join(f"word{n}" for n in words)
        found.append(Sample(str(len(found)), text, int(label)))
    return found


def vectors(of_class: bool, seed: int = 0) -> np.ndarray:
    x_nd = generator(seed, "vectors").normal(0, 3, (len(LABELS), 16)).astype(np.float32)
    x_nd[:, 0] += 12 * LABELS * of_class
    return x_nd


def rows(words: Words, samples: list[Sample]) -> np.ndarray:
    """What stands beside vectors without width."""
    return words.beside(np.empty((len(samples), 0), np.float32), samples)


def right(samples: list[Sample], x_nd: np.ndarray, with_words: bool) -> float:
    """Share of right answers on the last 80, by a head on the first 40."""
    if with_words:
        x_nd = Words(samples[:40], x_nd[:40]).beside(x_nd, samples)
    target_nc = np.eye(2, dtype=np.float32)[LABELS]
    head = fit_probe(
        x_nd[:40], target_nc[:40], exclusive=True, weight_n=np.ones(40), clusters=[""] * 40, seed=0
    )
    return float((head.logits(x_nd[40:]).argmax(axis=1) == LABELS[40:]).mean())


@pytest.mark.parametrize(("told", "least"), [("words", 0.9), ("vectors", 0.9), ("both", 0.97)])
def test_a_head_takes_what_either_tells(told: str, least: float) -> None:
    samples, x_nd = texts(told != "vectors"), vectors(told != "words")
    assert right(samples, x_nd, with_words=True) >= least
    alone = right(samples, x_nd, with_words=False)
    assert alone < 0.7 if told == "words" else alone > 0.85


def test_words_weigh_as_much_as_vectors_and_are_the_same_each_time() -> None:
    samples, x_nd = texts(True), 100 * vectors(False)
    both = [rows(Words(samples, x_nd), samples) for _ in range(2)]
    assert np.array_equal(*both)
    lengths = [((part - part.mean(axis=0)) ** 2).sum(axis=1).mean() for part in (both[0], x_nd)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-4)
    # Among others, or asked again, a text has the same row.
    words = Words(samples, x_nd)
    assert np.array_equal(rows(words, samples[7:9]), both[0][7:9])
    assert np.array_equal(words.beside(x_nd, samples), np.hstack([x_nd, both[0]]))


def test_texts_that_differ_in_no_word_leave_the_vectors_alone() -> None:
    """ "Grade A" and "Grade B": what has one letter is no word."""
    x_nd = vectors(True)
    samples = [Sample(str(i), f"Grade {'AB'[c]}", int(c)) for i, c in enumerate(LABELS)]
    assert not rows(Words(samples, x_nd), samples).any()
    assert right(samples, x_nd, with_words=True) == right(samples, x_nd, with_words=False) > 0.85


def test_axes_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, x_nd = texts(True), vectors(False)
    monkeypatch.setattr(lexicon, "RANK", 5)
    assert rows(Words(samples, x_nd), samples).shape == (120, 5)
    assert rows(Words(samples[:3], x_nd[:3]), samples).shape == (120, 3)


def test_of_many_texts_some_of_each_kind_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are ordered; here every other one is of the other class."""
    samples = texts(True)
    assert lexicon.subsample(samples) == samples
    monkeypatch.setattr(lexicon, "MOST_TEXTS", 60)
    some = lexicon.subsample(samples)
    assert len(some) == 60 and 15 < sum(sample.target == 1 for sample in some) < 45


def test_weights_of_words_say_what_weights_on_axes_say() -> None:
    samples, x_nd = texts(True), vectors(False)
    words = Words(samples, x_nd)
    x_nr = rows(words, samples)
    weight_cr = generator(0, "head").normal(size=(3, x_nr.shape[1])).astype(np.float32)
    found = words.folded(weight_cr)
    again = Lexicon.of(found.tensors() | BIAS)
    assert again is not None
    asked = [str(sample.source) for sample in samples] + ["nothing known", "", "word1 unheard-of"]
    assert np.array_equal(again.logits(asked), found.logits(asked))
    assert np.allclose(found.logits(asked)[:120], x_nr @ weight_cr.T, atol=1e-4)
    assert not found.logits(asked)[120:122].any() and found.logits(asked)[122].any()


def test_words_are_not_to_be_read_in_what_is_kept() -> None:
    samples = [Sample(str(i), f"patient Grimaldi number {i}", 0) for i in range(30)]
    words = Words(samples, vectors(True)[:30])
    rank = rows(words, samples).shape[1]
    tensors = words.folded(np.ones((3, rank), np.float32)).tensors()
    kept = b"".join(array.tobytes() for array in tensors.values())
    assert b"rimaldi" not in kept
    kept_again = Lexicon.of(tensors | BIAS)
    assert kept_again is not None and kept_again.logits(["GRIMALDI"]).any()


def test_texts_without_words_are_read_by_their_characters() -> None:
    samples = [Sample(str(i), text, 0) for i, text in enumerate(("🙂🙂", "🙃", "🙂🙃"))]
    words = Words(samples, vectors(True)[:3])
    x_nr = rows(words, samples)
    assert x_nr.any()
    found = Lexicon.of(words.folded(np.ones((3, x_nr.shape[1]), np.float32)).tensors() | BIAS)
    assert found is not None and found.units == "char" and found.logits(["🙂"]).any()


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("idf", None),
        ("idf", lambda a: a[:-1]),
        ("idf", lambda a: a[:, None]),
        ("idf", lambda a: a * np.float32("nan")),
        ("weight", lambda a: a[:, 1:]),
        ("weight", lambda a: a[0]),
        ("weight", lambda a: a[:1]),
        ("weight", lambda a: a[..., None]),
        ("weight", lambda a: a.astype(np.float64)),
        ("weight", lambda a: a * np.float32("inf")),
        ("keys", lambda a: a[:-1]),
        ("keys", lambda a: np.repeat(a[:1], len(a))),
        ("keys", lambda a: a.astype(np.float64)),
        ("units", lambda a: a + 7),
        ("units", lambda a: a[None]),
    ],
)
def test_damaged_words_are_refused(name: str, damaged) -> None:
    samples = texts(True)
    words = Words(samples, vectors(True))
    rank = rows(words, samples).shape[1]
    tensors = words.folded(np.ones((3, rank), np.float32)).tensors() | BIAS
    array = tensors.pop(f"words.{name}")
    if damaged is not None:
        tensors[f"words.{name}"] = damaged(array)
    with pytest.raises(StoreError, match="words of the model are damaged"):
        Lexicon.of(tensors)


def test_nothing_at_all_is_refused() -> None:
    none = {"weight": np.zeros((3, 0), np.float32), "idf": np.zeros(0, np.float32)}
    none |= {"keys": np.zeros(0, np.int64), "units": np.array(0)}
    with pytest.raises(StoreError, match="damaged"):
        Lexicon.of({f"words.{name}": array for name, array in none.items()} | BIAS)


def test_a_head_without_words_has_no_lexicon() -> None:
    assert Lexicon.of({"head.weight": np.zeros((2, 3))}) is None
