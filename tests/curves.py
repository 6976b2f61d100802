"""A label curve whose trainings are looked at, not done."""

from __future__ import annotations

from typing import Any

import pytest

from regraft.dataset import Dataset
from regraft.tasks import Task
from regraft.transfer import curve
from regraft.transfer.ground import Ground
from regraft.transfer.step import Step


def trained_curve(
    rows: Dataset, task: Task[Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[dict[str, Any]], list[Ground]]:
    """Its points, and what each part of the training samples would be trained on."""
    seen: list[Ground] = []

    def head_on(ground: Ground, name: str, views: int) -> Step:
        seen.append(ground)
        return Step({"metric": {"value": 0.5, "low": 0.4, "high": 0.6}}, {}, {})

    monkeypatch.setattr(curve, "_head_on", head_on)
    unused: Any = None
    ground = Ground(unused, rows, unused, task, unused, 0, None, unused)
    head = Step({"metric": {"value": 0.6, "low": 0.5, "high": 0.7}, "views": 2}, {}, {})
    return curve._trained_curve(ground, head), seen
