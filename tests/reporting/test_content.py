"""The facts that report.json holds of a run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from regraft.dataset import Sample
from regraft.reporting import content
from regraft.tasks.classification import Classification


def test_of_several_classes_the_most_wrong_answer_is_as_sure_as_it_was_of_what_is_wrong() -> None:
    task = Classification("image-classification", ("a", "b", "c"), multilabel=True)
    chance_nc = np.array([[0.99, 0.9, 0.51], [0.9, 0.1, 0.4], [0.1, 0.8, 0.1]])
    logits_nc = np.log(chance_nc / (1 - chance_nc))
    target_nc = np.array([[0, 1, 1], [1, 0, 0], [0, 1, 1]], float)
    samples = [Sample(name, f"text {name}", (0,)) for name in ("sure", "right", "missed")]
    found = content.galleries(task, samples, logits_nc, target_nc, 1.0, Path("texts.csv"))
    wrong = [(row["sample"], round(row["probability"], 3)) for row in found["most_wrong"]]
    assert wrong == [("sure", 0.99), ("missed", 0.9)]
    unsure = [(row["sample"], round(row["probability"], 3)) for row in found["least_certain"]]
    assert unsure == [("right", 0.6)], "what stands among the most wrong is not shown twice"


def test_the_report_says_how_many_cores_could_be_used() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert content.environment()["cores"] == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_of_near_copies_one_stands_among_the_least_certain() -> None:
    task = Classification("text-classification", ("a", "b"))
    samples = [
        Sample(name, "text", 0, copies=copies)
        for name, copies in (("one", "set"), ("alone", ""), ("other", "set"), ("only", ""))
    ]
    logits_nc = np.array([[0.4, 0], [0.3, 0], [0.2, 0], [0.1, 0]])
    found = content.galleries(task, samples, logits_nc, np.eye(2)[[0] * 4], 1.0, Path("t.csv"))
    assert [row["sample"] for row in found["least_certain"]] == ["only", "other", "alone"]
