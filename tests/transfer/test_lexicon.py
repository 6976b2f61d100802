"""Words beside vectors: their rows, their weights, and what a head makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.dataset import Sample
from regraft.errors import StoreError
from regraft.seeds import generator
from regraft.store import digest
from regraft.tasks.probe import fit_probe
from regraft.transfer import lexicon
from regraft.transfer.lexicon import Lexicon, Words

LABELS = np.arange(120) % 2


def texts(of_class: bool, seed: int = 0) -> list[Sample]:
    """Six words each, of a half of 40 by their class where that is wanted, else of all of them."""
    rng = generator(seed, "words")
    found = []
    for label in LABELS:
        words = 2 * rng.integers(0, 20, 6) + (label if of_class else rng.integers(0, 2, 6))
        text = " ".join(f"word{n}" for n in words)
        found.append(Sample(str(len(found)), text, int(label), sha256=digest(text)))
    return found


def vectors(of_class: bool, seed: int = 0) -> np.ndarray:
    x_nd = generator(seed, "vectors").normal(0, 3, (len(LABELS), 16)).astype(np.float32)
    x_nd[:, 0] += 12 * LABELS * of_class
    return x_nd


def right(samples: list[Sample], x_nd: np.ndarray, with_words: bool) -> float:
    """Share of right answers on the last 80, by a head on the first 40."""
    if with_words:
        words = Words(samples[:40], x_nd[:40])
        x_nd = np.hstack([x_nd, words.rows(samples)])
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
    rows = [Words(samples, x_nd).rows(samples) for _ in range(2)]
    assert np.array_equal(*rows)
    lengths = [((part - part.mean(axis=0)) ** 2).sum(axis=1).mean() for part in (rows[0], x_nd)]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-4)
    # Among others, or asked again, a text has the same row.
    assert np.array_equal(Words(samples, x_nd).rows(samples[7:9]), rows[0][7:9])


def test_axes_are_few_and_found_on_some_of_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, x_nd = texts(True), vectors(False)
    monkeypatch.setattr(lexicon, "RANK", 5)
    monkeypatch.setattr(lexicon, "MOST_TEXTS", 50)
    assert Words(samples, x_nd).rows(samples).shape == (120, 5)
    assert Words(samples[:3], x_nd[:3]).rows(samples).shape == (120, 3)


def test_weights_of_words_say_what_weights_on_axes_say() -> None:
    samples, x_nd = texts(True), vectors(False)
    words = Words(samples, x_nd)
    rows = words.rows(samples)
    weight_cr = generator(0, "head").normal(size=(3, rows.shape[1])).astype(np.float32)
    found = words.folded(weight_cr)
    again = Lexicon.of(found.tensors())
    assert again is not None
    asked = [str(sample.source) for sample in samples] + ["nothing known", "", "word1 unheard-of"]
    assert np.array_equal(again.logits(asked), found.logits(asked))
    assert np.allclose(found.logits(asked)[:120], rows @ weight_cr.T, atol=1e-4)
    assert not found.logits(asked)[120:122].any() and found.logits(asked)[122].any()


def test_texts_without_words_are_read_by_their_characters() -> None:
    samples = [Sample(str(i), t, 0, sha256=digest(t)) for i, t in enumerate(("🙂🙂", "🙃", "🙂🙃"))]
    words = Words(samples, vectors(True)[:3])
    assert words.rows(samples).any()
    kept = Lexicon.of(
        words.folded(np.ones((2, words.rows(samples).shape[1]), np.float32)).tensors()
    )
    assert kept is not None and kept.units == "char" and kept.logits(["🙂"]).any()


def test_equal_texts_are_no_division_by_zero() -> None:
    samples = [Sample(str(i), "the same", 0, sha256=digest("the same")) for i in range(4)]
    assert np.isfinite(Words(samples, vectors(True)[:4]).rows(samples)).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t.pop("words.idf"),
        lambda t: t.update({"words.idf": t["words.idf"][:-1]}),
        lambda t: t.update({"words.weight": t["words.weight"][:, 1:]}),
        lambda t: t.update({"words.weight": t["words.weight"][0]}),
        lambda t: t.update({"words.vocabulary": np.frombuffer(b"[" * 100_000, np.uint8)}),
        lambda t: t.update({"words.vocabulary": np.frombuffer(b'{"words": 3}', np.uint8)}),
        lambda t: t.update({"words.vocabulary": t["words.vocabulary"][:-2]}),
    ],
)
def test_damaged_words_are_refused(damage) -> None:
    samples = texts(True)
    words = Words(samples, vectors(True))
    rank = words.rows(samples).shape[1]
    tensors = words.folded(np.ones((2, rank), np.float32)).tensors()
    damage(tensors)
    with pytest.raises(StoreError, match="words of the model are damaged"):
        Lexicon.of(tensors)


def test_a_head_without_words_has_no_lexicon() -> None:
    assert Lexicon.of({"head.weight": np.zeros((2, 3))}) is None
