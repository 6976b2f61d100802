"""What a sensible engineer does with texts when there is no pre-trained model.

TF-IDF of words and pairs of words, and logistic regression, its penalty chosen by cross-validation
on the training texts. It is quick, strong on topics and spam, and stands beside every report.

Shapes: n texts, c classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from regraft.dataset.words import has_words, terms_of
from regraft.tasks.clusters import folds, known_elsewhere

INVERSE_PENALTIES = (1.0, 10.0, 100.0)
UNJUDGED = 10.0
"""Taken where there are too few texts to choose."""
MOST_WORDS = 50_000
_FOLDS = 3
_SURE = 10.0
"""Log-odds of a class that all texts have."""


@dataclass(frozen=True)
class Lexical:
    """A fitted model.

    Attributes:
        words: gives the columns of a text.
        model: gives logits of those.
        inverse_penalty: the one chosen.
        parameters: numbers that were fitted.
        always: where a text may have several classes, the logit of each class that all or none of
            the texts have, and 0 where `model` holds one for it; else None.
    """

    words: Any
    model: Any
    inverse_penalty: float
    parameters: int
    always: np.ndarray | None = None

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Logits_nc, float32."""
        x_nw = self.words.transform(texts)
        if self.always is None:
            score_nc = np.asarray(self.model.decision_function(x_nw))
            if score_nc.ndim == 1:
                score_nc = np.stack([-score_nc / 2, score_nc / 2], axis=1)
            return score_nc.astype(np.float32)
        found_nc = np.tile(self.always, (len(texts), 1))
        for c, model in zip(np.flatnonzero(self.always == 0), self.model, strict=True):
            found_nc[:, c] = model.decision_function(x_nw)
        return found_nc


def fit_tfidf(
    texts: Sequence[str], target_nc: np.ndarray, clusters: Sequence[str], balanced: bool
) -> Lexical:
    """Fit on training texts.

    Args:
        texts: n of them.
        target_nc: ones where a class applies; a row may have several.
        clusters: texts of one cluster stay in one fold; "" stands alone.
        balanced: every class counts the same.
    """
    words = vectoriser(partial(terms_of, units=units_of(texts)), MOST_WORDS)
    x_nw: Any = words.fit_transform(texts)
    exclusive = bool((target_nc.sum(axis=1) == 1).all() and target_nc.any(axis=0).all())
    if not exclusive:
        return _fit_several(words, x_nw, target_nc, clusters, balanced)
    y_n = target_nc.argmax(axis=1)
    best = _chosen(x_nw, target_nc, y_n, clusters, balanced)
    model = _model(best, balanced).fit(x_nw, y_n)
    parameters = sum(one.coef_.size + 1 for one in model.estimators_)
    return Lexical(words, model, best, parameters)


def units_of(texts: Sequence[str]) -> str:
    """What texts are taken apart into: "word", or "char" where none has a word (emoji, letters)."""
    return "word" if any(map(has_words, texts)) else "char"


def vectoriser(analyser: Callable[[str], Sequence[str]], most: int, vocabulary: Any = None) -> Any:
    """A scikit-learn `TfidfVectorizer`: texts to rows of unit length, a column for each term.

    Args:
        analyser: gives the terms of a text.
        most: terms that have a column, the most frequent ones.
        vocabulary: the terms, in order, where they are known.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    make: Any = TfidfVectorizer
    return make(
        analyzer=analyser, sublinear_tf=True, max_features=most, vocabulary=vocabulary,
        dtype=np.float32,
    )  # fmt: skip


def _fit_several(
    words: Any, x_nw: Any, target_nc: np.ndarray, clusters: Sequence[str], balanced: bool
) -> Lexical:
    """A model for each class that some of the texts have and some have not."""
    share_c = target_nc.mean(axis=0)
    always_c = np.where(share_c == 1, _SURE, np.where(share_c == 0, -_SURE, 0)).astype(np.float32)
    best = _chosen_for_several(x_nw, target_nc[:, always_c == 0], clusters, balanced)
    models = [
        _binary(best, balanced).fit(x_nw, target_nc[:, c] > 0)
        for c in np.flatnonzero(always_c == 0)
    ]
    return Lexical(words, models, best, sum(one.coef_.size + 1 for one in models), always_c)


def _chosen_for_several(
    x_nw: Any, target_nc: np.ndarray, clusters: Sequence[str], balanced: bool
) -> float:
    """The inverse penalty with the least log loss out of fold, over all classes."""
    if not target_nc.shape[1]:
        return UNJUDGED
    fold_n = folds(target_nc, clusters, 0, _FOLDS)
    loss = np.zeros(len(INVERSE_PENALTIES))
    for fold in np.unique(fold_n):
        held_n = fold_n == fold
        for y_n in target_nc.T > 0:
            if len(np.unique(y_n[~held_n])) < 2:
                continue
            for i, inverse_penalty in enumerate(INVERSE_PENALTIES):
                model = _binary(inverse_penalty, balanced).fit(x_nw[~held_n], y_n[~held_n])
                margin_n = model.decision_function(x_nw[held_n]) * np.where(y_n[held_n], 1, -1)
                loss[i] += np.logaddexp(0, -margin_n).sum()
    return INVERSE_PENALTIES[int(loss.argmin())] if loss.any() else UNJUDGED


def _binary(inverse_penalty: float, balanced: bool) -> Any:
    from sklearn.linear_model import LogisticRegression

    weight = "balanced" if balanced else None
    return LogisticRegression(
        C=inverse_penalty, class_weight=weight, solver="liblinear", random_state=0
    )


def _model(inverse_penalty: float, balanced: bool) -> Any:
    from sklearn.multiclass import OneVsRestClassifier

    return OneVsRestClassifier(_binary(inverse_penalty, balanced))


def _chosen(
    x_nw: Any, target_nc: np.ndarray, y_n: np.ndarray, clusters: Sequence[str], balanced: bool
) -> float:
    """The inverse penalty with the most right answers out of fold; balanced, in the mean class."""
    weight_n = 1 / np.bincount(y_n)[y_n] if balanced else np.ones(len(y_n))
    fold_n = folds(target_nc, clusters, 0, _FOLDS)
    judged_n = known_elsewhere(target_nc, clusters, fold_n)
    right = np.zeros(len(INVERSE_PENALTIES))
    for fold in np.unique(fold_n[judged_n]):
        held_n = judged_n & (fold_n == fold)
        for i, inverse_penalty in enumerate(INVERSE_PENALTIES):
            model = _model(inverse_penalty, balanced).fit(x_nw[~held_n], y_n[~held_n])
            right[i] += (model.predict(x_nw[held_n]) == y_n[held_n]) @ weight_n[held_n]
    return INVERSE_PENALTIES[int(right.argmax())] if judged_n.any() else UNJUDGED
