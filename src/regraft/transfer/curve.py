"""The label curve: what fewer labels would have brought, and what more may bring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from regraft.dataset import Sample
from regraft.machine import cores
from regraft.seeds import generator
from regraft.store import Outcome
from regraft.tasks import measure
from regraft.tasks.probe import one_blas_thread
from regraft.transfer.fine_tuning import trained
from regraft.transfer.ground import Facts, Ground, head_facts, inputs_of
from regraft.transfer.ladder import Climbed
from regraft.transfer.rungs import make_rung
from regraft.transfer.step import Step
from regraft.wording import plural

FAR = 100
"""A forecast of more than so many times the labels there are is no plan."""
LEAST_POINTS = 3
"""Through two points goes any line."""
LEAST_GROUPS = 20
"""On fewer validation groups the curve climbs in steps too large to be extrapolated."""
CURVE_POINTS = 3
"""Of the label curve, where each takes a training loop."""


def label_curve(ground: Ground, climbed: Climbed) -> list[Facts]:
    """The head refitted on nested subsets of the training samples, from the cache.

    The interval of a point is the bootstrap over the validation samples.
    """
    if ground.task.convex:
        return _convex_curve(ground, climbed.steps[0])
    return _trained_curve(ground, climbed.steps[0])


def _trained_curve(ground: Ground, head: Step) -> list[Facts]:
    """One nested order; each part of it has a loop of its own, the whole of it is the rung.

    It is one of pictures, all of whose tiles come along: whoever labels, labels pictures.
    """
    pictures, valid = _pictures(ground.dataset.split("train")), ground.dataset.split("valid")
    order = generator(ground.seed, "label curve", 0).permutation(len(pictures))
    views: Any = head.facts["views"]
    points: list[Facts] = []
    for size in _sizes(len(pictures), len(ground.task.classes))[-CURVE_POINTS:]:
        some = [sample for i in order[:size] for sample in pictures[i]]
        metric: Any = head.facts["metric"]
        if size < len(pictures):
            less = replace(
                ground,
                dataset=ground.dataset.with_samples([*some, *valid]),
                task=ground.task.learning_from(some),
            )
            metric = _head_on(less, f"curve-{size}", views).facts["metric"]
        points.append({"labels": size, **_spread(metric)})
    return points


def _pictures(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples of each picture: its tiles, or itself."""
    tiles: dict[object, list[Sample]] = {}
    for sample in samples:
        picture = sample.id if sample.window is None else sample.source
        tiles.setdefault(picture, []).append(sample)
    return list(tiles.values())


def _head_on(ground: Ground, name: str, views: int) -> Step:
    """The head trained by the loop on fewer training samples; a step of the run by this name.

    Of more views, as so few samples would otherwise get, each costs a pass through the network.
    """
    rung = make_rung(ground, "head")
    rung = replace(rung, name=name, views=min(rung.views, views))
    return trained(ground, name, rung, {})


def _convex_curve(ground: Ground, whole: Step, draws: int = 3) -> list[Facts]:
    """Each point is the mean over `draws` nested orders; the last is the head itself.

    The penalty, which is per sample, is the one chosen on all of them.
    """
    train, valid = ground.dataset.split("train"), ground.validation
    ground = replace(ground, penalty=whole.facts["penalty"])
    *sizes, _ = _sizes(len(train), len(ground.task.classes))

    def compute() -> Outcome:
        data, held_nd, _ = ground.head_data(train, valid.samples)
        orders = [_nested(data.target_nc, ground.seed, draw) for draw in range(draws)]

        def score(some: np.ndarray) -> measure.Score:
            head = data.fit(ground.task, ground.seed, some)
            return valid.score({"logits": head.logits(held_nd)})

        with one_blas_thread(), ThreadPoolExecutor(cores()) as pool:
            parts = [order[:size] for size in sizes for order in orders]
            scores = list(pool.map(score, parts))
        points: list[Any] = []
        for place, size in enumerate(sizes):
            mean = measure.mean_of(scores[draws * place : draws * (place + 1)])
            points.append({"labels": size, **_spread(valid.estimate(mean).to_json())})
        return Outcome({"points": points}, {})

    inputs = inputs_of(ground, head_facts(ground) | {"draws": draws})
    points: Any = ground.run.step("label-curve", inputs, compute).facts["points"]
    return [*points, {"labels": len(train), **_spread(whole.facts["metric"])}]


def forecast(curve: Sequence[Facts], groups: int, things: str = "labels") -> Facts:
    """How many labels would halve the error that is left, if error falls as a power of labels.

    A straight line through log error against log labels (Hestness et al. 2017) over the upper half
    of the curve, three points at least, each as heavy as its interval is narrow. An extrapolation,
    and said to be one, with the 95 % range that the line's slope leaves.

    Args:
        curve: see `label_curve`.
        groups: that its validation samples are of.
        things: what labels are counted in.
    """
    found: Facts = {"target": None, "labels": None, "text": "Too few points for a forecast."}
    if groups < LEAST_GROUPS:
        found["text"] = (
            f"No forecast: the validation split is of {plural(groups, 'group')} (each near copy, "
            f"thread or patient is one), and it takes {LEAST_GROUPS} to measure so finely."
        )
        return found
    if curve and curve[-1]["value"] == 1:
        found["text"] = "The head is at 100 % on the validation split: nothing is left to forecast."
        return found
    upper = [p for p in curve[-max(LEAST_POINTS, (len(curve) + 1) // 2) :] if p["value"] < 1]
    if len(upper) < LEAST_POINTS:
        return found
    slope, error = _slope(upper)
    have, value = upper[-1]["labels"], upper[-1]["value"]
    target = 1 - (1 - value) / 2
    least, needed, most = (
        have * _times(slope + side * 1.96 * error) for side in (-1, 0, 1)
    )  # steeper, as drawn, flatter
    found["target"] = target
    if needed > FAR * have:
        far = least > FAR * have
        takes = (
            f"more than {FAR} times as many" if far else f"at least {_rounded(least):,} {things}"
        )
        found["text"] = (
            f"More {things} would help the head slowly: to halve its mistakes takes {takes}, "
            "if the curve goes on."
        )
        return found
    span = "or more" if most > FAR * have else f"to {_rounded(most):,}"
    found["labels"] = _rounded(needed)
    found["text"] = (
        f"About {_rounded(needed):,} {things} ({_rounded(least):,} {span}) would bring the head to "
        f"{100 * target:.1f} % on the validation split, if the curve goes on."
    )
    return found


def _slope(points: Sequence[Facts]) -> tuple[float, float]:
    """Of log error against log labels, with its standard error by the points' intervals."""
    labels = np.log([p["labels"] for p in points])
    errors = np.log([1 - p["value"] for p in points])
    ends = [(math.log(max(1 - p["low"], 1e-3)), math.log(max(1 - p["high"], 1e-3))) for p in points]
    wide = np.array([max(high - low, 1e-3) / (2 * 1.96) for high, low in ends])
    line, covariance = np.polyfit(labels, errors, 1, w=1 / wide, cov="unscaled")
    return float(line[0]), float(np.sqrt(covariance[0, 0]))


def _times(slope: float) -> float:
    """How many times the labels halve the error on a line of this slope."""
    return 2 ** min(-1 / slope, 64) if slope < 0 else math.inf


def _rounded(labels: float) -> int:
    return int(float(f"{labels:.2g}"))


def _spread(metric: Facts) -> Facts:
    """A metric's value and its interval."""
    return {key: metric[key] for key in ("value", "low", "high")}


def _nested(target_nc: np.ndarray, seed: int, draw: int) -> np.ndarray:
    """An order of the samples whose every beginning holds the classes as evenly as it can."""
    label_n = target_nc.argmax(axis=1)
    shuffled = generator(seed, "label curve", draw).permutation(len(label_n))
    turn_n = np.empty(len(label_n))
    for c in np.unique(label_n):
        members = shuffled[label_n[shuffled] == c]
        turn_n[members] = (np.arange(len(members)) + 0.5) / len(members)
        turn_n[members[0]] = 0  # one of each class comes first
    return shuffled[np.argsort(turn_n[shuffled], kind="stable")]


def _sizes(count: int, classes: int) -> list[int]:
    """Doubling from two a class up to all."""
    sizes = [count]
    while sizes[-1] // 2 >= 2 * classes:
        sizes.append(sizes[-1] // 2)
    return sizes[::-1]
