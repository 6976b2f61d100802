"""What share of the labels is wrong, with an interval.

Counting suspects overstates it: a probe that is wrong on hard samples suspects right labels.
Instead a share s of the labels is taken to be wrong, p(given | x) = (1 - s) q(given | x) +
s r(given | x), where q are the probe's answers, calibrated, and r says what wrong labels are like:
the likelihood of responses of which some are misreported (Copas 1988; Hausman, Abrevaya &
Scott-Morton 1998). What the probe finds hard anyway is then no evidence of a wrong label, but a
label that contradicts answers however sure is. The interval holds the shares that explain the
labels nearly as well as the best one, with q and r chosen for each share (profile likelihood, Wilks
1938). So it reaches down to nothing wherever classes that overlap explain the labels as well as
wrong labels do.

- Answers are calibrated by matrix scaling (Guo et al. 2017) with two numbers: one for all logits,
  one for those of the classes that a class is taken for. With a single temperature the overlap of
  similar classes would be taken for wrong labels, since probes are too timid between groups of
  classes where they are sure enough within one.
- Wrong labels are alike for all classes, or go where answers are divided, or half and half. Where
  they go is not fitted to the labels: of many classes with few samples each the fit would learn the
  hard samples by heart and call them wrong.
- Of two classes one is often mislabelled much more than the other: what is looked for and rare is
  overlooked, and probes learn from such labels that it is rarer than it is. So there the rates of
  the two are fitted, too, with a shift of the answers. As that bends to overlap more easily, the
  interval spans both explanations, and the value is their mean, weighed by how well they explain
  the labels for the numbers they have (Akaike 1978). Of ten classes, one of which is mislabelled
  more often, such a fit brought nothing.
- Samples that belong together are no more evidence than one, so the log-likelihood is divided by
  their design effect (Kish 1965).
- Probes that learnt from all labels believe wrong ones a little, and probes that learnt without the
  suspects doubt right ones a little: the interval spans those of both.

Legend: n samples, c classes, s shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import expit, softmax
from scipy.stats import chi2

from regraft.seeds import generator
from regraft.store import Json
from regraft.tasks.clusters import numbered
from regraft.tasks.measure import CONFIDENCE, unseen

MOST = 5000
"""Samples that the estimate is made on, at most; drawn by chance."""
SHARES_S = np.linspace(0, 0.9, 100) ** 2
"""Those that are tried; where more is wrong, probes learn nothing."""
_FLAT = 0.4
"""An interval wider than this spans half of them: which of them is best is chance."""
_SCALES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.3)
_OF_SIMILAR = (0.0, 0.3, 0.6, 0.9)
"""How much of a logit is taken to the classes that its class is taken for."""

_SCALES_OF_TWO = (*_SCALES, 4.5, 6.0)
_SHIFTS = (-2.0, -1.5, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 1.5, 2.0)
_TIMES_AS_OFTEN = (1 / 30, 1 / 10, 1 / 3, 1, 3, 10, 30)
"""The second of two classes is wrong, to the first."""
_NUMBERS_MORE = 2
"""The shift and how often, which a fit of two classes has and the other has not."""
_GRAIN = 0.05
"""Answers of two classes are rounded to this, in logits: equal ones are counted."""


@dataclass(frozen=True)
class Share:
    """Share of wrong labels with its 95 % interval; no value where the answers hardly tell it."""

    value: float | None
    low: float
    high: float

    def of_part(self, part: float) -> Share:
        """The share of the whole, where it was estimated on a part and the rest is right."""
        value = None if self.value is None else part * self.value
        return Share(value, part * self.low, part * self.high)

    def to_json(self) -> dict[str, Json]:
        """As it stands in labels.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


def wrong_share(
    given_n: np.ndarray,
    answers: Sequence[np.ndarray],
    *,
    clusters: Sequence[str] | None = None,
    surely: float = 0.0,
    seed: int = 0,
) -> Share:
    """The share of labels that are wrong.

    Args:
        given_n: class indices.
        answers: out-of-sample chance_nc, from probes on all labels and from those on trusted ones.
        clusters: n names; samples that share a non-empty one are as much evidence as one. All
            stand alone if None.
        surely: a share that is known to be wrong, whatever the answers: the estimate is not below.
        seed: of the samples drawn, where there are many.
    """
    some = generator(seed, "wrong share").permutation(len(given_n))[:MOST]
    given_n = given_n[some]
    names = [""] * len(some) if clusters is None else [clusters[int(n)] for n in some]
    size_k = np.bincount(numbered(names))
    design_effect = float((size_k**2).sum()) / len(some)
    fits = (_fit, _fit_of_two) if answers[0].shape[1] == 2 else (_fit,)
    told = [
        _together([fit(given_n, chance_nc[some]) / design_effect for fit in fits])
        for chance_nc in answers
    ]
    values, lows, highs = zip(*told, strict=True)
    value = max(surely, float(np.mean(values)))
    low, high = min(lows), max(highs)
    # Wrong labels that happen not to be among so few are not ruled out.
    high = min(1.0, max(high, value + unseen(len(size_k))))
    low, high = max(surely, min(low, value)), max(high, value)
    return Share(None if high - low > _FLAT else value, low, high)


def _together(fits_ks: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """The share and its interval by several fits, each with more numbers than the one before."""
    values, lows, highs = zip(*(_told(fit_s) for fit_s in fits_ks), strict=True)
    weight_k = softmax([fit_s.max() - _NUMBERS_MORE * k for k, fit_s in enumerate(fits_ks)])
    return float(weight_k @ values), min(lows), max(highs)


def _told(fit_s: np.ndarray) -> tuple[float, float, float]:
    """The best share, and the ends of those whose log-likelihood is not significantly less."""
    best, least = int(fit_s.argmax()), float(fit_s.max() - chi2.ppf(CONFIDENCE, df=1) / 2)
    fits = np.flatnonzero(fit_s >= least)
    first, last = int(fits[0]), int(fits[-1])
    low, high = SHARES_S[first], SHARES_S[last]
    if first:
        low = np.interp(least, fit_s[first - 1 : first + 1], SHARES_S[first - 1 : first + 1])
    if last + 1 < len(fit_s):
        high = np.interp(-least, -fit_s[last : last + 2], SHARES_S[last : last + 2])
    return float(SHARES_S[best]), float(low), float(high)


def _fit(given_n: np.ndarray, chance_nc: np.ndarray) -> np.ndarray:
    """Log-likelihood_s of each share, with calibration and wrong labels as they suit it best."""
    log_nc = np.log(np.clip(chance_nc.astype(np.float64), 1e-7, 1.0))
    log_nc -= log_nc.mean(axis=1, keepdims=True)
    similar_nc = log_nc @ _to_others(chance_nc.T @ chance_nc).T
    best_s = np.full(len(SHARES_S), -np.inf)
    for scale, of_similar in product(_SCALES, _OF_SIMILAR):
        true_nc = softmax(scale * (log_nc + of_similar * similar_nc), axis=1)
        right_n = true_nc[np.arange(len(given_n)), given_n]
        any_n = (1 - right_n) / (true_nc.shape[1] - 1)
        others_cc = _to_others(true_nc.T @ true_nc)
        divided_n = (true_nc * others_cc[:, given_n].T).sum(axis=1)
        for wrong_n in (any_n, divided_n, (any_n + divided_n) / 2):
            seen_sn = right_n + SHARES_S[:, None] * (wrong_n - right_n)
            best_s = np.maximum(best_s, np.log(np.maximum(seen_sn, 1e-300)).sum(axis=1))
    return best_s


def _fit_of_two(given_n: np.ndarray, chance_nc: np.ndarray) -> np.ndarray:
    """The same where the labels of one of two classes may be wrong more often."""
    chance_n = np.clip(chance_nc[:, 1].astype(np.float64), 1e-7, 1 - 1e-7)
    cell_n = np.stack([np.round(np.log(chance_n / (1 - chance_n)) / _GRAIN), given_n])
    (grain_k, given_k), count_k = np.unique(cell_n, axis=1, return_counts=True)
    best_s = np.full(len(SHARES_S), -np.inf)
    for scale, shift in product(_SCALES_OF_TWO, _SHIFTS):
        second_k = expit(scale * _GRAIN * grain_k + shift)
        right_k = np.where(given_k == 1, second_k, 1 - second_k)
        for times in _TIMES_AS_OFTEN:
            often_k = times * second_k + (1 - second_k)
            once = float(count_k @ often_k) / len(given_n)  # all wrong labels, at a rate of 1
            to_first_k = (times * second_k - (1 - second_k)) / once
            more_k = np.where(given_k == 1, -to_first_k, to_first_k)
            seen_sk = right_k + SHARES_S[:, None] * more_k
            fit_s = np.log(np.maximum(seen_sk, 1e-300)) @ count_k
            possible_s = SHARES_S * max(1, times) < once
            best_s = np.maximum(best_s, np.where(possible_s, fit_s, -np.inf))
    return best_s


def _to_others(table_cc: np.ndarray) -> np.ndarray:
    """The table without its diagonal; rows sum to 1, and one without anything is even."""
    others_cc = (table_cc + 1e-9) * (1 - np.eye(len(table_cc)))
    return others_cc / others_cc.sum(axis=1, keepdims=True)
