"""What is said of the references beside the ladder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regraft.dataset import Sample
from regraft.tasks.measure import Difference
from regraft.transfer import references, twin
from regraft.transfer.references import beside_tfidf


def test_the_twin_is_tried_on_samples_as_a_step_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that follow each other are decoded once for all; of those a step sees few are."""
    tiles = [Sample(f"{n}", Path(f"{n // 24}.jpg"), 0) for n in range(8 * 24)]
    ground: Any = SimpleNamespace(
        dataset=SimpleNamespace(split=lambda name: tiles), seed=0, task=None, backbone=None,
        run=SimpleNamespace(step=lambda name, inputs, compute: compute()),
    )  # fmt: skip
    tried: list[Any] = []
    for name, fake in {
        "batch_of": lambda *_: 16,
        "inputs_of": lambda *_: {},
        "_twin_ground": lambda ground, size_px: ground,
        "tail_of": lambda *_: SimpleNamespace(network=None),
        "seconds_a_picture": lambda ground, frozen, some: tried.append(some) or 0.5,
    }.items():
        monkeypatch.setattr(references, name, fake)
    monkeypatch.setattr(twin, "sizes_px", lambda *_: [64])
    monkeypatch.setattr(twin, "rate_of", lambda _: 1e-3)
    monkeypatch.setattr(
        "regraft.transfer.fit.seconds_a_step",
        lambda rung, tail, task, some: tried.append(some) or 2.0,
    )
    assert references._plan_twin(ground, 1000.0)["steps"] == 100
    for some in tried:
        assert len(set(some)) == 16
        assert len({sample.source for sample in some}) > 4


@pytest.mark.parametrize(
    ("value", "p", "said"),
    [
        (0.02, 0.051, "TF-IDF and logistic regression, which need no pre-trained network, cannot "
         "be told from the chosen rung: {} for the rung, p = 0.051, on 1,200 validation texts."),
        (-0.02, 0.2, "cannot be told from the chosen rung: {} for the rung, p = 0.200"),
        (0.02, 0.01, "The chosen rung is {} ahead of TF-IDF and logistic regression"),
        (-0.02, 0.01, "network, win: {} for the chosen rung. Use them for these texts."),
    ],
)  # fmt: skip
def test_tfidf_wins_loses_or_cannot_be_told_apart(value: float, p: float, said: str) -> None:
    gap = Difference(value, value - 0.01, value + 0.01, p)
    assert said.format(gap.points) in beside_tfidf(gap, 1200)
