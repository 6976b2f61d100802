"""The page of a pre-training: what it says of the verdict and of the map."""

from __future__ import annotations

from typing import Any

import pytest
from test_page import Page, luminance

from regraft.reporting import pretrained


def report(classes: int = 2) -> dict[str, Any]:
    """A judged contrastive pre-training."""
    metric = {"name": "accuracy", "value": 0.8, "low": 0.7, "high": 0.9}
    found = {
        "answer": "helped", "before": metric, "after": metric, "p": 0.01, "split": "test",
        "difference": {"value": 0.1, "low": 0.05, "high": 0.15},
    }  # fmt: skip
    places = [[0.1 * k, -0.1 * k] for k in range(8)]
    return {
        "objective": "contrastive",
        "data": {
            "path": "photos", "things": "pictures", "fingerprint": "5e" * 32, "samples": 8,
            "problems": [],
        },
        "backbone": {
            "name": "tiny", "source": "here", "sha256": "c0" * 32, "licence": "MIT",
            "parameters": 10, "stages": ["a", "b"], "frozen_stages": 0, "frozen_intact": True,
        },
        "settings": {"keep_duplicates": False, "negatives": "batch", "budget_s": None},
        "steps": 4, "stopped": "all steps taken", "seconds": 1.0,
        "throughput": {"unit": "pictures", "per_second": 8.0, "seen": 32},
        "curves": [{"step": 0, "loss": None}, {"step": 4, "loss": 1.0}],
        "before": {"bf16": False}, "after": {"bf16": False},
        "verdict": {**found, "fine_tuned": found, "text": "It helped."},
        "control": None, "scratch": None, "alike": {"before": 0.5, "after": 0.6}, "excerpts": {},
        "neighbours": [
            {
                "sample": "a", "before": ["b"], "after": ["c"],
                "same": {"before": [True], "after": [False]},
            }
        ],
        "map": {
            "classes": [f"kind {k}" for k in range(classes)],
            "labels": [k % max(1, classes) for k in range(8)],
            "before": places, "after": places,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("split", "keep", "said", "unsaid"),
    [
        ("test", False, "Neither has seen them.", "no test split"),
        ("valid", False, "its probe was measured on", "Neither has seen"),
        ("test", True, "The pool may hold copies of them", "Neither has seen"),
    ],
)
def test_what_speaks_against_a_verdict_is_said(
    split: str, keep: bool, said: str, unsaid: str
) -> None:
    judged = report()
    judged["verdict"]["split"] = split
    judged["settings"]["keep_duplicates"] = keep
    text = Page(pretrained.render(judged, {})).text
    assert said in text
    assert unsaid not in text


def test_others_are_counted_without_those_that_they_are_near() -> None:
    plain = report(0)
    plain["alike"] = None
    del plain["neighbours"][0]["same"]
    assert "which of 7 others lie nearest" in Page(pretrained.render(plain, {})).text


def test_that_labels_share_colours_is_said() -> None:
    said = "more labels than colours"
    assert said not in Page(pretrained.render(report(10), {})).text
    assert said in Page(pretrained.render(report(11), {})).text


@pytest.mark.parametrize(
    ("per_second", "said"), [(0.31, "0.31"), (2.44, "2.4"), (12.6, "13"), (25_071.3, "25,071")]
)
def test_a_slow_training_is_not_said_to_stand_still(per_second: float, said: str) -> None:
    slow = report()
    slow["throughput"]["per_second"] = per_second
    assert f"pictures a second {said} 4 steps" in Page(pretrained.render(slow, {})).text


@pytest.mark.parametrize("raised", ["#f5f5f1", "#1b1f23"])
def test_every_colour_of_the_map_can_be_seen(raised: str) -> None:
    """By day and by night: three to one is what WCAG asks of graphics; dots are many, 2.2 do."""
    for colour in pretrained._COLOURS:
        light, dark = sorted((luminance(colour), luminance(raised)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 2.2, colour


def test_a_result_that_is_not_below_its_references_is_said_to_be() -> None:
    def scored(loss: float) -> dict[str, Any]:
        return {"held_out": {"loss": loss}, "general": None}

    report = {
        "before": scored(7.5),
        "after": scored(7.16) | {"unigram": {"loss": 6.16}},
        "scratch": {"after": scored(6.162)},
    }
    assert pretrained.beside_references(report) == (
        "Loss on hidden words of held-out texts: 7.16 nats (unigram 6.16, start 7.50, "
        "random weights 6.16); not below unigram and random weights."
    )
    assert pretrained.beside_references(report | {"after": {}}) == ""
