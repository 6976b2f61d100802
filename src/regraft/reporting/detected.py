"""What report.json and `evaluate` say of finding objects, beside what all tasks have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regraft.dataset import Sample
from regraft.reporting.detection import Judged, section
from regraft.store import Outcome
from regraft.tasks import box_metrics, measure
from regraft.tasks.boxes import BoxAnswers
from regraft.tasks.detection import Detection
from regraft.transfer import ladder


def facts_of(
    ground: ladder.Ground,
    task: Detection,
    best: ladder.Step,
    threshold: float,
    tested: Outcome | None,
) -> dict[str, Any]:
    """The section on objects: of the test split where there is one."""
    split = "test" if tested else "valid"
    samples = ground.dataset.split(split)
    answers = BoxAnswers.from_arrays(tested.tensors if tested else best.answers)
    targets = task.targets(samples)
    kept = [task.detector.categories[row] if row >= 0 else None for row in task.kept_rows]
    judged = Judged(ground.dataset, samples, split, answers, targets, threshold)
    return {
        "calibration": None,
        "confusion": None,
        "imbalance": None,
        "most_wrong": [],
        "least_certain": [],
        "detection": section(judged) | {"source_rows": dict(zip(task.classes, kept, strict=True))},
    }


def measured(
    task: Detection,
    samples: Sequence[Sample],
    answers: BoxAnswers,
    threshold: float,
    whole: tuple[Sequence[Sample], BoxAnswers, BoxAnswers],
) -> dict[str, Any]:
    """What `evaluate` says of finding objects.

    Args:
        task: the model's.
        samples: pictures, large ones as tiles.
        answers: on these.
        threshold: the confidence from which boxes are shown.
        whole: the pictures before they were cut, what was found on them, and what is shown of it.

    Returns:
        "metric" with its interval and "coco", both of the samples; "count" and "classes"; and
        "whole", what `predict` shows on whole pictures: "count", "ap50" and `box_metrics.shown`.
    """
    targets, classes = task.targets(samples), len(task.classes)
    weights_rn = measure.bootstrap_weights([sample.group for sample in samples], 0)
    score = task.score(answers.arrays(), targets)
    pictures, found, shown = whole
    # A large picture has more objects than COCO counts on one.
    given, most = task.targets(pictures), max(box_metrics.MOST, len(found.scores_k))
    ap50 = box_metrics.precision_of(box_metrics.match(found, given, classes, most=most))
    return {
        "count": len(samples),
        "metric": measure.estimate(task.metric_name, score, weights_rn).to_json(),
        "classes": list(task.classes),
        "coco": box_metrics.coco_table(answers, targets, task.classes),
        "whole": {
            "count": len(pictures),
            "ap50": float(ap50(np.ones((1, len(pictures))))[0]),
            **box_metrics.shown(box_metrics.match(shown, given, classes, most=most), threshold),
        },
    }
