"""What the next labels are worth, and whether a second opinion on old ones is worth more.

Every labelled sample is held out once, from probes that learn from growing parts of the rest. The
error falls as a power of the labels (Hestness et al. 2017); a line through log error against log
labels says what the next ones bring. Second opinions are tried out: among the samples learnt from,
the labels that fit worst are set to what the others suggest, and the same held-out samples are
asked again. A person's second opinion sets right more than that.

Accuracy is balanced where classes differ much in size: else a rare class would hardly count, and
labels would seem worth nothing where it is not known yet.

A gain below the noise of the measurement, the half width of the 95 % interval of the accuracy,
could not be told from chance. That alone is no reason to stop, as of few samples the noise is wide
and the curve steep: it takes a gain whose upper end is below the noise, and small.

Legend: n samples, d features, c classes, s sizes, r bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regraft.events import Advanced, Tell, silent
from regraft.labelling.likely_errors import Rows, axes_of, fit_of
from regraft.seeds import generator
from regraft.store import Json
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.tasks.clusters import folds, numbered
from regraft.tasks.probe import Axes, chances, fit_probe
from regraft.wording import interval, metric_name, span_of_points

OUTER, INNER = 3, 3
"""Folds that are held out, and those of second opinions within the rest."""
MOST = 4000
"""Samples that this is measured on; drawn by chance from more."""
LEAST = 60
PARTS = (0.125, 0.25, 0.5, 1.0)
DRAWS = 400
SMALL = 0.02
"""Of accuracy; whatever the noise, more than that is worth having."""


@dataclass(frozen=True)
class Gain:
    """Accuracy, or what something brings of it, with its 95 % interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(value: float, drawn_r: np.ndarray) -> Gain:
        """From a value and its bootstrap draws."""
        low, high = (float(q) for q in np.quantile(drawn_r, [0.025, 0.975]))
        return Gain(value, min(low, value), max(high, value))

    def to_json(self) -> dict[str, Json]:
        """As it stands in labels.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Worth:
    """What is known about the next labels.

    Attributes:
        labels: how many there are.
        batch: how many more are asked about.
        metric: "accuracy" or "balanced_accuracy".
        accuracy: by it, on samples held out, learning from all others.
        noise: half the width of its interval.
        new: what `batch` new labels bring.
        double: what as many new labels as there are bring.
        second: what `batch` second opinions on the worst labels bring, if they are what the other
            samples suggest.
        ahead: `new` less `second`.
        curve: (labels, accuracy) pairs; the last is about two thirds of the labels, as each is held
            out once.
        expected: where the curve is with twice as many labels as there are.
    """

    labels: int
    batch: int
    metric: str
    accuracy: Gain
    noise: float
    new: Gain
    double: Gain
    second: Gain
    ahead: Gain
    curve: tuple[tuple[int, float], ...]
    expected: tuple[int, float]

    @property
    def stop(self) -> bool:
        """What labels bring is surely small: the next ones, and as many as there are."""
        return self._at_most < min(self.noise, SMALL)

    @property
    def _at_most(self) -> float:
        return max(self.new.high, self.double.high)

    def text(self) -> str:
        """The outcome in words."""
        said = (self._new_labels(), self._verdict(), self._second_opinions())
        return " ".join(filter(None, said))

    def _new_labels(self) -> str:
        """Where the accuracy stands, and what new labels add to what there are."""
        one = self.batch == 1
        what = "the next label is" if one else f"the next {self.batch:,} labels are"
        less = "less" if self.new.value < self.noise else "more"
        double = f"; {self.labels:,} more would be worth {100 * self.double.value:.1f}"
        name = metric_name(self.metric)
        return (
            f"On samples held out the {name} is {interval(self.accuracy.to_json())}, learning "
            f"from {self.curve[-1][0]:,} of the {self.labels:,} labels. Beyond what all of them "
            f"bring, {what} worth {100 * self.new.value:.1f} points of {name}, {less} than your "
            f"noise (±{100 * self.noise:.1f} points){'' if self.batch == self.labels else double}."
        )

    def _verdict(self) -> str:
        """Whether to go on; "" where what new labels bring says it."""
        if self.stop:
            return "Even as many labels as there are would bring less, so this is a place to stop."
        if self.new.value >= self.noise:
            return ""
        if self.double.value >= self.noise:
            return "So few bring too little to show; as many labels as there are would show."
        return (
            f"As many as {100 * self._at_most:.1f} are possible, so it cannot be told whether this "
            "is a place to stop."
        )

    def _second_opinions(self) -> str:
        """What they bring, and which pay more, they or new labels."""
        one = self.batch == 1
        second = f"{self.batch:,} second opinions on the worst labels"
        if one:
            second = "a second opinion on the worst label"
        span = span_of_points(self.second.low, self.second.high)
        if self.second.low > 0:
            gain = f"{100 * self.second.value:.1f} points ({span})"
            second += f" {'is' if one else 'are'} worth {gain}"
            second += " where other samples' suggestions are taken, and people know more"
        else:
            second += f" {'brings' if one else 'bring'} nothing"
            second += f" that can be told from chance ({span} points)"
        if self.ahead.low > 0:
            return f"New labels pay more: {second}."
        if self.ahead.high < 0:
            return f"Second opinions pay more: {second}."
        return f"{second[:1].upper()}{second[1:]}."

    def to_json(self) -> dict[str, Json]:
        """As it stands in labels.json."""
        points: list[Json] = [{"labels": n, "value": value} for n, value in self.curve]
        return {
            "labels": self.labels,
            "batch": self.batch,
            "metric": self.metric,
            "accuracy": self.accuracy.to_json(),
            "noise": self.noise,
            "new": self.new.to_json(),
            "double": self.double.to_json(),
            "second_opinions": self.second.to_json(),
            "ahead": self.ahead.to_json(),
            "stop": self.stop,
            "curve": points,
            "expected": {"labels": self.expected[0], "value": self.expected[1]},
            "text": self.text(),
        }


def worth(
    rows: Rows,
    target_nc: np.ndarray,
    clusters: Sequence[str],
    *,
    task: Classification,
    batch: int,
    penalty: float,
    seed: int = 0,
    tell: Tell = silent,
) -> Worth | None:
    """What the next labels bring; None where there are too few to say. One class a sample.

    Args:
        rows: features by index.
        target_nc: one-hot.
        clusters: n names; samples that share a non-empty one are held out together.
        task: to tell the classes apart; it has the metric, and the weights of samples.
        batch: how many labels would be asked for next.
        penalty: of the probes.
        seed: of every draw.
        tell: hears `Advanced("worth of labels", …)`.
    """
    count = len(target_nc)
    some = np.sort(generator(seed, "worth").permutation(count)[:MOST])
    names = [clusters[int(n)] for n in some]
    if len(some) < LEAST or numbered(names).max() + 1 < OUTER + INNER:
        return None
    if np.count_nonzero(target_nc[some].sum(axis=0)) < 2:
        return None
    x_nd = rows(some)
    axes = axes_of(lambda index: x_nd[index], target_nc[some], seed)
    asked = _Asked(x_nd, target_nc[some], names, task, axes, penalty, seed)
    share = len(some) / count
    score_s, mended, sizes = _asked_all(asked, max(1, round(batch * share)), tell)
    weights_rn = measure.bootstrap_weights(names, seed, DRAWS).astype(np.float64)
    all_1n = np.ones((1, len(some)))
    accuracy_rs, value_s = (
        np.stack([score(weights) for score in score_s], axis=1) for weights in (weights_rn, all_1n)
    )
    second_r, second = mended(weights_rn), mended(all_1n)
    measured = measure.estimate(task.metric_name, score_s[-1], weights_rn)
    accuracy = Gain(measured.value, measured.low, measured.high)
    new = _gained(value_s, accuracy_rs, sizes, count, batch)
    double = _gained(value_s, accuracy_rs, sizes, count, count)
    gained_r = second_r - accuracy_rs[:, -1]
    gained = float(second[0]) - accuracy.value
    ahead_r = _extrapolated(accuracy_rs, sizes, count, count + batch) - gained_r
    ahead_s = _extrapolated(value_s, sizes, sizes[-1], 2 * count)
    return Worth(
        count,
        batch,
        task.metric_name,
        accuracy,
        (accuracy.high - accuracy.low) / 2,
        new,
        double,
        Gain.of(gained, gained_r),
        Gain.of(new.value - gained, ahead_r),
        tuple((round(size), float(value)) for size, value in zip(sizes, value_s[0], strict=True)),
        (2 * count, min(1.0, accuracy.value + float(ahead_s[0]))),
    )


@dataclass(frozen=True)
class _Asked:
    """What the question is put to."""

    x_nd: np.ndarray
    target_nc: np.ndarray
    clusters: Sequence[str]
    task: Classification
    axes: Axes
    penalty: float
    seed: int

    def answers(self, learn: np.ndarray, target_nc: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Logits of held samples from a probe on others."""
        probe = fit_probe(
            self.x_nd[learn],
            target_nc,
            exclusive=True,
            weight_n=self.task.sample_weights(target_nc),
            clusters=[],
            seed=self.seed,
            penalty=self.penalty,
            axes=self.axes,
        )
        return probe.logits(self.x_nd[held])


def _asked_all(
    asked: _Asked, batch: int, tell: Tell
) -> tuple[list[measure.Score], measure.Score, list[float]]:
    """The score with growing parts, that after second opinions, and the sizes of the parts."""
    count = len(asked.target_nc)
    fold_n = folds(asked.target_nc, asked.clusters, asked.seed, OUTER)
    logits_snc = np.zeros((len(PARTS), *asked.target_nc.shape))
    second_nc = np.zeros(asked.target_nc.shape)
    sizes = np.zeros(len(PARTS))
    for fold in range(OUTER):
        held, learn = np.flatnonzero(fold_n == fold), np.flatnonzero(fold_n != fold)
        order = learn[generator(asked.seed, "worth order", fold).permutation(len(learn))]
        for s, part in enumerate(PARTS):
            mine = order[: max(2, round(part * len(order)))]
            sizes[s] += len(mine) / OUTER
            logits_snc[s, held] = asked.answers(mine, asked.target_nc[mine], held)
        mended_nc = _second_opinions(asked, learn, round(batch * len(learn) / count))
        second_nc[held] = asked.answers(learn, mended_nc, held)
        tell(Advanced("worth of labels", fold + 1, OUTER))

    def score(logits_nc: np.ndarray) -> measure.Score:
        return asked.task.score({"logits": logits_nc}, asked.target_nc)

    return [score(logits_snc[s]) for s in range(len(PARTS))], score(second_nc), sizes.tolist()


def _second_opinions(asked: _Asked, learn: np.ndarray, batch: int) -> np.ndarray:
    """Targets of samples learnt from, the worst `batch` suspects as the others suggest."""
    target_nc = asked.target_nc[learn].copy()
    fold_n = folds(target_nc, [asked.clusters[int(n)] for n in learn], asked.seed, INNER)
    logits_nc = np.empty(target_nc.shape)
    for fold in range(INNER):
        rest, held = learn[fold_n != fold], learn[fold_n == fold]
        logits_nc[fold_n == fold] = asked.answers(rest, target_nc[fold_n != fold], held)
    chance_nc = chances(logits_nc, exclusive=True)
    quality_n, suspect_n = fit_of(target_nc, chance_nc, exclusive=True)
    worst = np.argsort(np.where(suspect_n, quality_n, np.inf), kind="stable")
    worst = worst[: min(batch, int(suspect_n.sum()))]
    target_nc[worst] = 0
    target_nc[worst, chance_nc[worst].argmax(axis=1)] = 1
    return target_nc


def _gained(
    value_s: np.ndarray, drawn_rs: np.ndarray, sizes: Sequence[float], have: int, more: int
) -> Gain:
    value = float(_extrapolated(value_s, sizes, have, have + more)[0])
    return Gain.of(value, _extrapolated(drawn_rs, sizes, have, have + more))


def _extrapolated(
    accuracy_rs: np.ndarray, sizes: Sequence[float], have: float, goal: float
) -> np.ndarray:
    """Gain_r of that many labels, by a line of log error against log labels; never negative."""
    log_s = np.log(sizes)
    error_rs = np.log(np.maximum(1 - accuracy_rs, 1e-4))
    far_s = log_s - log_s.mean()
    slope_r = np.minimum(0.0, (error_rs @ far_s) / (far_s @ far_s))
    now_r = np.exp(error_rs.mean(axis=1) + slope_r * (np.log(have) - log_s.mean()))
    later_r = now_r * (goal / have) ** slope_r
    return now_r - later_r
