"""The outcome in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from regraft.reporting import content

METRIC = {"name": "accuracy", "value": 0.8, "low": 0.7, "high": 0.9}


@pytest.mark.parametrize(
    ("verdicts", "best", "said"),
    [
        (["kept", "no gain", "worse"], "head", "(last:2) did not help"),
        (["kept", "no gain", "kept"], "last:2", ""),
        (["kept", "kept", "no gain"], "last:1", "(last:2) did not help"),
    ],
)
def test_only_deeper_rungs_are_said_not_to_have_helped(
    verdicts: list[str], best: str, said: str
) -> None:
    names = ("head", "last:1", "last:2")
    report: dict[str, Any] = {
        "task": "image-classification",
        "rungs": [
            {"name": name, "verdict": verdict, "metric": METRIC}
            for name, verdict in zip(names, verdicts, strict=True)
        ],
        "best": best,
        "test": None,
        "scratch": None,
    }
    text = content.verdict(report)
    assert said in text
    assert ("did not help" in text) == bool(said)


def test_a_metric_has_one_name_in_the_verdict_and_on_the_page() -> None:
    metric = METRIC | {"name": "macro_f1"}
    report: dict[str, Any] = {
        "task": "image-classification",
        "rungs": [{"name": "head", "verdict": "kept", "metric": metric}],
        "best": "head",
        "test": None,
        "scratch": None,
    }
    assert "80.0 % macro F1 on the validation split" in content.verdict(report)
