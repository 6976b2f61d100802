"""What the words of a text add to its vector, for a head that reads both.

A vector says what a text is about; its words say what it is called. A linear head on both is ahead
of either wherever it was measured (docs/texts.md), and costs next to nothing.

Decisions:

- Words and pairs of words are weighed by TF-IDF, all of the text, also what the network does not
  read. Their rows are laid on the `RANK` main axes of the training texts (latent semantic analysis,
  Deerwester et al. 1990): few labels could not say which of 10,000 words matter.
- Words weigh as much as the vectors: the mean squared length of both is the same. Nothing is
  tuned to the labels but the head.
- A head is linear, and so are the axes. What a model keeps is a weight for each word and class.
- Words are kept by a hash of 64 bits, so that names and numbers that stand in training texts are
  not to be read in a model. Whoever guesses a word can find out that it is there.

Shapes: n texts, d width of a vector, v words, r axes, c classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, final

import numpy as np

from regraft.dataset import Sample
from regraft.dataset.words import terms_of
from regraft.errors import StoreError
from regraft.seeds import generator
from regraft.tasks.probe import one_blas_thread
from regraft.tasks.tfidf import units_of, vectoriser

RANK = 64
MOST_WORDS = 10_000
"""The most frequent ones count."""
MOST_TEXTS = 4000
"""Texts, drawn by chance, that words and axes are found on."""
_NO_LENGTH = 1e-5
"""Rows that are no longer than this from their mean are all the same."""
_UNITS = ("word", "char")
_NAMES = ("weight", "idf", "keys", "units")


def subsample(samples: Sequence[Sample]) -> list[Sample]:
    """Of training texts those that `Words` is made of; in order."""
    some = generator(0, "words").permutation(len(samples))[:MOST_TEXTS]
    return [samples[i] for i in sorted(some)]


@final
class Words:
    """The words of training texts, as rows beside their vectors.

    Args:
        samples: n training texts.
        x_nd: their vectors.
    """

    def __init__(self, samples: Sequence[Sample], x_nd: np.ndarray) -> None:
        texts = [str(sample.source) for sample in samples]
        self._units = units_of(texts)
        self._reader = _reader(self._units)
        with one_blas_thread():
            from sklearn.utils import extmath

            x_nv = self._reader.fit_transform(texts)
            svd: Any = extmath.randomized_svd
            _, _, axes_rv = svd(x_nv, min(RANK, *x_nv.shape), n_iter=2, random_state=0)
            length = _length(x_nv @ axes_rv.T)
        scale = _length(x_nd) / length if length > _NO_LENGTH else 0.0
        self._axes_vr = np.ascontiguousarray((axes_rv.T * scale).astype(np.float32))
        self._known: dict[str, np.ndarray] = {}

    def beside(self, x_nd: np.ndarray, samples: Sequence[Sample]) -> np.ndarray:
        """Vectors of any texts with their words: (n, d + r), float32."""
        texts = [str(sample.source) for sample in samples]
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            with one_blas_thread():
                x_nr = self._reader.transform(new) @ self._axes_vr
            self._known |= dict(zip(new, x_nr.astype(np.float32), strict=True))
        return np.hstack([x_nd, np.stack([self._known[text] for text in texts])])

    def folded(self, weight_cr: np.ndarray) -> Lexicon:
        """What a head's weights on these axes mean for each word."""
        weight_cv = (weight_cr @ self._axes_vr.T).astype(np.float32)
        keys = tuple(str(key) for key in self._reader.get_feature_names_out())
        return Lexicon(weight_cv, self._reader.idf_.astype(np.float32), keys, self._units)


def _length(x_nd: np.ndarray) -> float:
    """The root of the mean squared length of centred rows."""
    return float(np.sqrt(((x_nd - x_nd.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _reader(units: str, keys: Sequence[str] | None = None) -> Any:
    """Texts to rows, a column for each hash of a word; of the columns that are given, if any."""

    def hashed(text: str) -> list[str]:
        return [_key(term) for term in terms_of(text, units)]

    return vectoriser(hashed, MOST_WORDS, keys)


def _key(word: str) -> str:
    return blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@final
@dataclass(frozen=True)
class Lexicon:
    """A weight for each word and class: the words' part of a head.

    Attributes:
        weight_cv: float32.
        idf_v: float32; how rare each word is.
        keys: hashes of the words, or pairs, or characters; 16 hexadecimal digits each.
        units: "word" or "char": what texts are taken apart into.
    """

    weight_cv: np.ndarray
    idf_v: np.ndarray
    keys: tuple[str, ...]
    units: str

    @cached_property
    def _reads(self) -> Any:
        reader = _reader(self.units, self.keys)
        reader.idf_ = self.idf_v
        return reader

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """What the words of texts add to the logits: (n, c), float32."""
        return np.asarray(self._reads.transform(texts) @ self.weight_cv.T, np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """As a run and a model keep them, by the names "words.…"."""
        key_v = np.array([int(key, 16) for key in self.keys], np.uint64).view(np.int64)
        arrays = (self.weight_cv, self.idf_v, key_v, np.array(_UNITS.index(self.units)))
        return {f"words.{name}": array for name, array in zip(_NAMES, arrays, strict=True)}

    @staticmethod
    def of(tensors: Mapping[str, np.ndarray]) -> Lexicon | None:
        """What `tensors` gave; None where these are of a head that reads no words.

        Args:
            tensors: of a step or a model, with its "head.bias".

        Raises:
            StoreError: they do not fit together.
        """
        if not reads_words(tensors):
            return None
        damaged = StoreError(
            "the words of the model are damaged", mend="fit it again, or copy it again"
        )
        try:
            weight_cv, idf_v, key_v, units = (tensors[f"words.{name}"] for name in _NAMES)
        except KeyError as fault:
            raise damaged from fault
        sound = (
            (weight_cv.ndim, idf_v.ndim, key_v.ndim, units.ndim) == (2, 1, 1, 0)
            and weight_cv.shape == (len(tensors["head.bias"]), len(idf_v))
            and 0 < len(set(key_v.tolist())) == len(key_v) == len(idf_v)
            and (weight_cv.dtype, idf_v.dtype, key_v.dtype) == (np.float32, np.float32, np.int64)
            and int(units) in range(len(_UNITS))
            and bool(np.isfinite(weight_cv).all() and np.isfinite(idf_v).all())
        )
        if not sound:
            raise damaged
        keys = tuple(f"{key:016x}" for key in key_v.view(np.uint64).tolist())
        return Lexicon(weight_cv, idf_v, keys, _UNITS[int(units)])


def reads_words(tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether these are tensors of a head that reads words."""
    return "words.weight" in tensors
