"""What report.json says of a run that learnt to find objects, beside what all runs have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from regraft.dataset import Sample
from regraft.store import Outcome
from regraft.tasks import measure
from regraft.tasks.box_metrics import choose_confidence, coco_table, match
from regraft.tasks.boxes import BoxAnswers
from regraft.tasks.detection import Detection
from regraft.transfer import ladder


def facts_of(
    ground: ladder.Ground,
    task: Detection,
    best: ladder.Step,
    calibrated: dict[str, float],
    tested: Outcome | None,
) -> dict[str, Any]:
    """COCO's numbers, the confidence, what became of the categories and of the boxes."""
    valid = ground.dataset.split("valid")
    answers, targets = BoxAnswers.from_arrays(best.answers), task.targets(valid)
    chosen = choose_confidence(match(answers, targets, len(task.classes)))
    judged = ("valid", answers, targets)
    if tested:
        test = ground.dataset.split("test")
        judged = ("test", BoxAnswers.from_arrays(tested.tensors), task.targets(test))
    kept = [task.detector.categories[row] if row >= 0 else None for row in task.kept_rows]
    counts = ground.dataset.box_counts
    return {
        "calibration": None,
        "confusion": None,
        "imbalance": None,
        "most_wrong": [],
        "least_certain": [],
        "detection": {
            "categories": dict(zip(task.classes, kept, strict=True)),
            "confidence": {
                "split": "valid",
                "threshold": calibrated["threshold"],
                "precision": chosen.precision,
                "recall": chosen.recall,
                "f1": chosen.f1,
            },
            "coco": {"split": judged[0], **coco_table(judged[1], judged[2], task.classes)},
            "boxes": counts
            and {
                "found": counts.found,
                "mended": counts.mended,
                "refused": counts.refused,
                "used": sum(len(sample.boxes) for sample in ground.dataset),
            },
            "tile_px": ground.dataset.tile_px,
        },
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
