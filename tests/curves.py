"""A label curve whose trainings are looked at, not done."""

from __future__ import annotations

from typing import Any

import pytest

from regraft.dataset import Dataset
from regraft.store import Outcome
from regraft.tasks import Task
from regraft.transfer import curve, ladder


def trained_curve(
    rows: Dataset, task: Task[Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[dict[str, Any]], list[ladder.Ground]]:
    """Its points, and what each part of the training samples would be trained on."""
    seen: list[ladder.Ground] = []

    def refitted(ground: ladder.Ground, name: str) -> Outcome:
        seen.append(ground)
        return Outcome({"metric": {"value": 0.5, "low": 0.4, "high": 0.6}})

    monkeypatch.setattr(curve, "refitted", refitted)
    unused: Any = None
    ground = ladder.Ground(unused, rows, unused, task, unused, 0, None, unused)
    head = ladder.Step({"metric": {"value": 0.6, "low": 0.5, "high": 0.7}}, {}, {})
    return curve._trained_curve(ground, head), seen
