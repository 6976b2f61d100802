"""When the climb stops, and what each rung starts from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.backbones.backbone import Recipe
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.transfer import ladder
from regraft.transfer.held_out import HeldOut
from regraft.transfer.ladder import climb
from regraft.transfer.rungs import rung_names
from regraft.transfer.step import Step


def step_of(name: str, value: float = 0.5, **answers: np.ndarray) -> Step:
    metric = {"name": "accuracy", "value": value, "low": 0.4, "high": 0.6}
    return Step({"name": name, "metric": metric, "seconds": {"total": 1.0}}, {}, answers)


def plan_of(ground: Any, name: str, *_: Any) -> Any:
    return SimpleNamespace(rung=name, over_budget=False, to_json=dict)


@pytest.mark.parametrize(
    ("verdicts", "best", "rise"),
    [
        (["kept", "no gain", "no gain", "skipped", "skipped", "skipped"], "head", ""),
        (["kept", "no gain", "worse", "skipped", "skipped", "skipped"], "head", ""),
        (["kept", "no gain", "kept", "no gain", "no gain", "skipped"], "last:2", ""),
        (["kept", "no gain", "kept", "no gain", "kept", "no gain"], "last:8", ""),
        (["kept", "kept", "kept", "kept", "kept", "kept"], "all", ""),
        (
            ["kept", "no gain", "no gain", "no gain", "no gain", "kept"],
            "all",
            "last:1 last:2 last:8",
        ),
        (["kept", "no gain", "no gain", "no gain", "skipped", "skipped"], "head", "last:2"),
    ],
)
def test_two_rungs_in_vain_end_the_climb(
    verdicts: list[str], best: str, rise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are higher than all before are not in vain, though their gain is within noise."""
    judged, values = iter(verdicts), [0.5]
    started_from: list[str] = []

    def trained(ground: Any, step: str, rung: str, start: str) -> Step:
        started_from.append(start)
        values.append(max(values) + 0.01 * (rung in rise.split()))
        return step_of(rung, values[-1])

    monkeypatch.setattr(ladder, "_head", lambda *_: step_of("head"))
    monkeypatch.setattr(ladder, "_start_of", lambda _, step: step.facts["name"])
    monkeypatch.setattr(ladder, "make_plan", plan_of)
    monkeypatch.setattr(ladder, "trained", trained)
    monkeypatch.setattr(ladder, "_judge", lambda *_: (next(judged), ""))
    monkeypatch.setattr(ladder, "_nothing_to_show", lambda *_: "")
    monkeypatch.setattr(
        ladder, "_skipped", lambda _, name, why: {"name": name, "verdict": "skipped", "why": why}
    )
    ground: Any = SimpleNamespace(
        task=SimpleNamespace(convex=True),
        tell=lambda event: None,
        reads_words=False,
    )
    climbed = climb(ground, rung_names("ladder", 9))
    assert [entry["verdict"] for entry in climbed.entries] == verdicts
    assert climbed.best.facts["name"] == best
    assert set(started_from) == {"head"}, "each rung starts from the head"
    if "skipped" in verdicts:
        assert "brought no gain" in climbed.entries[-1]["why"]


@pytest.mark.parametrize(("wrong", "shows"), [(0, False), (2, False), (5, False), (6, True)])
@pytest.mark.parametrize("balanced", [False, True])
def test_where_no_gain_could_be_shown_no_deeper_rung_is_tried(
    wrong: int, shows: bool, balanced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few mistakes on few samples: even a rung without any would be ahead within noise."""
    count, names = 40, ["head", "last:1"]
    task = Classification("image-classification", ("a", "b"), balanced=balanced)
    target_nc = np.eye(2, dtype=np.float32)[np.arange(count) % 2]
    answers_nc = target_nc.copy()
    answers_nc[:wrong] = 1 - answers_nc[:wrong]
    weights_rn = measure.bootstrap_weights([""] * count, 0)
    monkeypatch.setattr(ladder, "_head", lambda *_: step_of("head", logits=answers_nc))
    monkeypatch.setattr(ladder, "make_plan", plan_of)
    monkeypatch.setattr(ladder, "trained", lambda *_: step_of("last:1", logits=target_nc))
    monkeypatch.setattr(
        ladder, "_skipped", lambda _, name, why: {"name": name, "verdict": "skipped", "why": why}
    )
    ground: Any = SimpleNamespace(
        validation=HeldOut(task, (), target_nc, weights_rn),
        task=SimpleNamespace(convex=True, metric_name=task.metric_name),
        tell=lambda event: None,
        reads_words=False,
        backbone=SimpleNamespace(recipe=Recipe("", "")),
    )
    _, asked = climb(ground, names, stops=False).entries
    _, entry = climb(ground, names).entries
    assert asked["verdict"] == ("kept" if shows else "no gain"), "what would have come of it"
    assert entry["verdict"] == ("kept" if shows else "skipped")
    if not shows:
        name = "balanced accuracy" if balanced else "accuracy"
        says = f"head has 100 % {name}" if wrong == 0 else f"even 100 % {name}"
        assert entry["why"].startswith(says)
