"""One file per task: head, loss, metrics, decoding of outputs; and the contract they keep."""

from __future__ import annotations

from typing import Any

from regraft.backbones.backbone import Detector
from regraft.tasks.check import check_task
from regraft.tasks.classification import Classification
from regraft.tasks.detection import Detection
from regraft.tasks.task import Task

__all__ = ["Classification", "Detection", "Task", "check_task", "restored"]


def restored(facts: dict[str, Any], detector: Detector | None = None) -> Task[Any]:
    """The task that gave these facts.

    Args:
        facts: what `Task.facts` gave, or more.
        detector: of the backbone that it goes on.
    """
    classes = tuple(facts["classes"])
    if detector is not None:
        return Detection(classes, detector, facts["size_px"], tuple(facts["frequency"]))
    return Classification(facts["task"], classes, facts["multilabel"], facts["balanced"])
