"""What the words of a text add to its vector, for a head that reads both.

A vector says what a text is about; its words say what it is called. A linear head on both is ahead
of either wherever it was measured (docs/texts.md), and costs next to nothing.

Decisions:

- Words and pairs of words are weighed by TF-IDF, all of the text, also what the network does not
  read. Their rows are laid on the `RANK` main axes of the training texts (latent semantic analysis,
  Deerwester et al. 1990): few labels could not say which of 50,000 words matter.
- Words weigh as much as the vectors: the mean squared length of both is the same. Nothing is
  tuned to the labels but the head.
- A head is linear, and so are the axes. What a model keeps is a weight for each word and class.

Shapes: n texts, d width of a vector, v words, r axes, c classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from regraft.dataset import Sample
from regraft.errors import StoreError
from regraft.tasks.probe import one_blas_thread
from regraft.tasks.tfidf import vectoriser

RANK = 64
MOST_TEXTS = 4000
"""Texts that the axes are found on, evenly spread over those that there are."""
_NAMES = ("weight", "idf", "vocabulary")


@final
class Words:
    """The words of training texts, as rows beside their vectors; found at the first use.

    Args:
        samples: n training texts.
        x_nd: their vectors.
    """

    def __init__(self, samples: Sequence[Sample], x_nd: np.ndarray) -> None:
        step = -(-len(samples) // MOST_TEXTS)
        texts, x_nd = [str(s.source) for s in samples[::step]], x_nd[::step]
        self._words: Any = vectoriser(texts)
        with one_blas_thread():
            from sklearn.utils import extmath

            x_nv = self._words.fit_transform(texts)
            rank = min(RANK, *x_nv.shape)
            svd: Any = extmath.randomized_svd
            _, _, axes_rv = svd(x_nv, rank, n_iter=2, random_state=0)
            scale = _length(x_nd) / max(_length(x_nv @ axes_rv.T), 1e-12)
        self._axes_vr = np.ascontiguousarray((axes_rv.T * scale).astype(np.float32))
        self._known: dict[str, np.ndarray] = {}

    def rows(self, samples: Sequence[Sample]) -> np.ndarray:
        """X_nr of any texts, float32; what was asked before is remembered."""
        new = {s.sha256: str(s.source) for s in samples if s.sha256 not in self._known}
        if new:
            with one_blas_thread():
                x_nr = self._words.transform(new.values()) @ self._axes_vr
            self._known |= dict(zip(new, x_nr.astype(np.float32), strict=True))
        return np.stack([self._known[s.sha256] for s in samples])

    def folded(self, weight_cr: np.ndarray) -> Lexicon:
        """What a head's weights on these axes mean for each word."""
        weight_cv = (weight_cr @ self._axes_vr.T).astype(np.float32)
        names = [str(name) for name in self._words.get_feature_names_out()]
        idf_v = self._words.idf_.astype(np.float32)
        return Lexicon(weight_cv, idf_v, tuple(names), self._words.analyzer)


def _length(x_nd: np.ndarray) -> float:
    """The root of the mean squared length of centred rows."""
    return float(np.sqrt(((x_nd - x_nd.mean(axis=0)) ** 2).sum(axis=1).mean()))


@final
@dataclass(frozen=True)
class Lexicon:
    """A weight for each word and class: the words' part of a head.

    Attributes:
        weight_cv: float32.
        idf_v: float32; how rare each word is.
        words: v of them, or pairs, or characters.
        units: "word" or "char": what texts are taken apart into.
    """

    weight_cv: np.ndarray
    idf_v: np.ndarray
    words: tuple[str, ...]
    units: str

    @cached_property
    def _reader(self) -> Any:
        reader: Any = vectoriser((), self.units, self.words)
        reader.idf_ = self.idf_v
        return reader

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """What the words of texts add to the logits: (n, c), float32."""
        return np.asarray(self._reader.transform(texts) @ self.weight_cv.T, np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """As a run and a model keep them, by the names "words.…"."""
        text = json.dumps({"units": self.units, "words": self.words})
        vocabulary = np.frombuffer(text.encode(), np.uint8)
        arrays = (self.weight_cv, self.idf_v, vocabulary)
        return {f"words.{name}": array for name, array in zip(_NAMES, arrays, strict=True)}

    @staticmethod
    def of(tensors: Mapping[str, np.ndarray]) -> Lexicon | None:
        """What `tensors` gave; None where these are of a head that reads no words.

        Raises:
            StoreError: they do not fit together.
        """
        if "words.weight" not in tensors:
            return None
        try:
            weight_cv, idf_v, vocabulary = (tensors[f"words.{name}"] for name in _NAMES)
            content = json.loads(vocabulary.tobytes())
            words = tuple(str(word) for word in content["words"])
            found = Lexicon(weight_cv, idf_v, words, content["units"])
            sound = found.units in ("word", "char")
            sound = sound and len(set(words)) == len(words) == len(idf_v) == weight_cv.shape[1]
        except (KeyError, TypeError, ValueError, IndexError, RecursionError) as fault:
            raise _damaged() from fault
        if not sound:
            raise _damaged()
        return found


def _damaged() -> StoreError:
    return StoreError("the words of the model are damaged", mend="fit it again, or copy it again")
