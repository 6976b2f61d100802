"""What report.json and `evaluate` say of finding objects, beside what all tasks have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from regraft.dataset import Sample
from regraft.reporting.detection import Judged, section
from regraft.store import Outcome
from regraft.tasks import measure
from regraft.tasks.box_metrics import coco_table
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


def measured(task: Detection, samples: Sequence[Sample], answers: BoxAnswers) -> dict[str, Any]:
    """What `evaluate` says: "metric" with its interval, "count", "classes", "coco"."""
    targets = task.targets(samples)
    weights_rn = measure.bootstrap_weights([sample.group for sample in samples], 0)
    score = task.score(answers.arrays(), targets)
    return {
        "count": len(samples),
        "metric": measure.estimate(task.metric_name, score, weights_rn).to_json(),
        "classes": list(task.classes),
        "coco": coco_table(answers, targets, task.classes),
    }
