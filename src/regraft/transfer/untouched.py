"""What the source detector finds by itself, its own head on: the row that any training must beat.

Decisions:

- A category that the source knows by name is what the source says it is.
- For one that it does not know, that category of the source is taken whose boxes fit it best on
  the training pictures, or all of them as one: nobody who uses the detector as it is could do
  better, so the reading is in its favour. Boxes of all categories on one object count as one.
- It is measured on the same validation samples as the rungs, from the same cached values.

Shapes: n samples, k boxes of one sample, c categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from regraft.dataset import Sample
from regraft.store import Outcome
from regraft.tasks import Detection, measure
from regraft.tasks.box_metrics import area, average_precision, curve_of, match, overlaps
from regraft.tasks.boxes import BoxAnswers, BoxTargets
from regraft.transfer.ground import Facts, Ground, inputs_of
from regraft.transfer.ladder import Climbed
from regraft.transfer.step import Step, final_answers
from regraft.wording import interval, metric_name, points, span_of_points

ANYTHING = "any object"
TRIED, TRIED_OF_EACH = 100, 10
"""Training pictures, at most, by which it is seen what fits a category; and so many more, at most,
that have one which the source does not know by name."""
SAME = 0.6
"""Of two boxes that overlap by more (intersection over union), one stays where all are one."""
ANY = -1


def untouched(ground: Ground, task: Detection, climbed: Climbed) -> Facts | None:
    """The entry in report.json; None where the source has no head of its own.

    Returns:
        "name", "metric", "reading" (for each category what was taken for it: a category of the
        source, "any object", or null where it finds nothing), "known" (categories that it knows
        by name), "gap" and "p" (the chosen rung's lead), "text".
    """
    if not task.detector.categories:
        return None
    valid, some = ground.validation, _tried(ground.dataset.split("train"), task)

    def compute() -> Outcome:
        found = _by_the_source(ground, task, [*some, *valid.samples])
        rows = list(found)
        own = BoxAnswers.from_pictures(rows[: len(some)])
        taken = _reading(own, task.targets(some), task)
        read = _read(BoxAnswers.from_pictures(rows[len(some) :]), taken)
        facts: Facts = {"metric": valid.measured(read.arrays()).to_json(), "taken": taken}
        return Outcome(facts, read.arrays())

    outcome = ground.run.step("untouched", inputs_of(ground, {"rung": "untouched"}), compute)
    gap = valid.compare(climbed.best.answers, outcome.tensors)
    taken: Any = outcome.facts["taken"]
    reading = {
        name: None if at is None else ANYTHING if at == ANY else task.detector.categories[at]
        for name, at in zip(task.classes, taken, strict=True)
    }
    known = [name for name, row in zip(task.classes, task.kept_rows, strict=True) if row >= 0]
    facts: Facts = {
        "name": "untouched",
        "metric": outcome.facts["metric"],
        "reading": reading,
        "known": known,
        "gap": gap.value,
        "p": gap.p,
    }
    return facts | {"text": _text(facts, gap, climbed.best.facts["name"])}


def _by_the_source(ground: Ground, task: Detection, samples: Sequence[Sample]) -> BoxAnswers:
    """Its own boxes, in its own categories."""
    theirs = task.detector.categories
    source = replace(task, classes=theirs, frequency=(0.0,) * len(theirs))
    frozen = len(ground.backbone.stages)
    head = source.head(ground.backbone, ground.seed)
    weights = {f"head.{name}": tensor.numpy() for name, tensor in head.state_dict().items()}
    step = Step({"frozen_stages": frozen}, weights, {})
    answers = final_answers(replace(ground, task=source), step, samples)
    return BoxAnswers.from_arrays(answers)


def _tried(train: Sequence[Sample], task: Detection) -> list[Sample]:
    """Pictures from all over, and some of each category that the source does not know by name."""
    places = {*range(0, len(train), -(-len(train) // TRIED))}
    for c, row in enumerate(task.kept_rows):
        if row < 0:
            with_c = [i for i, s in enumerate(train) if any(box.category == c for box in s.boxes)]
            places |= {*with_c[:TRIED_OF_EACH]}
    return [train[i] for i in sorted(places)]


def _reading(own: BoxAnswers, targets: BoxTargets, task: Detection) -> list[int | None]:
    """For each category the source's that is taken for it; `ANY` is all of them."""
    theirs = len(task.detector.categories)
    as_one, once_each = _read(own, [ANY]), np.ones((1, len(targets)))
    taken: list[int | None] = []
    for c, row in enumerate(task.kept_rows):
        if row >= 0:
            taken.append(row)
            continue
        of_c = _only(targets, c)
        matches = match(own, of_c, theirs, of_any=True)
        fits = {ANY: float(average_precision(as_one, of_c, 1)(once_each)[0])}
        for label in np.unique(own.labels_k):
            fits[int(label)] = float(area(curve_of(matches, label), once_each)[0])
        best = max(fits, key=lambda label: fits[label])
        taken.append(best if fits[best] > 0 else None)
    return taken


def _only(targets: BoxTargets, c: int) -> BoxTargets:
    """The boxes of one category, which is then the only one."""
    here_k = targets.labels_k == c
    picture_k = np.repeat(np.arange(len(targets)), targets.count_n)
    return replace(
        targets,
        count_n=np.bincount(picture_k[here_k], minlength=len(targets)),
        boxes_k4=targets.boxes_k4[here_k],
        labels_k=np.zeros(int(here_k.sum()), dtype=np.int64),
        crowd_k=targets.crowd_k[here_k],
        area_k=targets.area_k[here_k],
    )


def _read(own: BoxAnswers, taken: Sequence[int | None]) -> BoxAnswers:
    """The source's boxes in our categories, the surest of each sample first."""
    pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for boxes_k4, labels_k, scores_k in own:
        once = _once(boxes_k4) if ANY in taken else np.zeros(0, dtype=np.int64)
        parts = [
            (once if label == ANY else np.flatnonzero(labels_k == label), c)
            for c, label in enumerate(taken)
            if label is not None
        ]
        empty = np.zeros(0, dtype=np.int64)
        at_k = np.concatenate([empty, *(at for at, _ in parts)])
        label_k = np.concatenate([empty, *(np.full(len(at), c) for at, c in parts)])
        order = np.argsort(-scores_k[at_k], kind="stable")
        pictures.append((boxes_k4[at_k][order], label_k[order], scores_k[at_k][order]))
    return BoxAnswers.from_pictures(pictures)


def _once(boxes_k4: np.ndarray) -> np.ndarray:
    """Of boxes on the same place the surest: their positions. The surest come first."""
    if not len(boxes_k4):
        return np.zeros(0, dtype=np.int64)
    same_kk = overlaps(boxes_k4, boxes_k4, np.zeros(len(boxes_k4), dtype=bool)) > SAME
    kept: list[int] = []
    for k in range(len(boxes_k4)):
        if not same_kk[k, kept].any():
            kept.append(k)
    return np.array(kept, dtype=np.int64)


def _text(facts: Facts, gap: measure.Difference, best: str) -> str:
    """In words."""
    metric = facts["metric"]
    text = (
        f"The detector as it is, its own head on, reaches {interval(metric)} "
        f"{metric_name(metric['name'])}"
    )
    taken = [
        f"{name} is what it calls {theirs}"
        if theirs != ANYTHING
        else f"{name} is whatever it finds"
        for name, theirs in facts["reading"].items()
        if theirs is not None and name not in facts["known"]
    ]
    lost = [name for name, theirs in facts["reading"].items() if theirs is None]
    if taken:
        text += f", read in its favour: {'; '.join(taken)} (what fits best on training pictures)"
    if lost:
        text += f"; it finds no {', '.join(lost)}"
    if gap.p >= measure.NOISE:
        told = points(gap.value, gap.low, gap.high, gap.p)
        return f"{text}. {best} is level with it within noise: {told}."
    word = "ahead of" if gap.value > 0 else "behind"
    spread = span_of_points(gap.low, gap.high, gap.p)
    return f"{text}. {best} is {100 * abs(gap.value):.1f} points {word} it ({spread})."
