"""Samples that models are measured on and compared by."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.dataset import Sample
from regraft.tasks import Classification, measure
from regraft.transfer.held_out import HeldOut

TARGETS = np.eye(2, dtype=np.float32)[np.arange(40) % 2]


def held(balanced: bool = False) -> HeldOut:
    task = Classification("image-classification", ("a", "b"), balanced=balanced)
    return HeldOut(task, (), TARGETS, measure.bootstrap_weights([""] * len(TARGETS), 0))


def answers(wrong: int) -> dict[str, np.ndarray]:
    logits_nc = TARGETS.copy()
    logits_nc[:wrong] = 1 - logits_nc[:wrong]
    return {"logits": logits_nc}


@pytest.mark.parametrize("balanced", [False, True])
def test_answers_are_measured_by_the_tasks_own_metric(balanced: bool) -> None:
    found = held(balanced).measured(answers(10))
    assert (found.name, found.value) == (held(balanced).task.metric_name, 0.75)
    assert found.low < 0.75 < found.high


def test_what_is_compared_is_the_first_less_the_second() -> None:
    gap = held().compare(answers(0), answers(20))
    assert gap.value == 0.5 and gap.p < measure.NOISE
    assert gap.points.startswith("+50.0 points (+")
    assert held().compare(answers(20), answers(0)).points.startswith("-50.0 points (-")


def test_the_same_answers_show_no_difference() -> None:
    assert held().compare(answers(3), answers(3)).points == "no difference"


def test_a_sample_that_stands_alone_is_a_group_of_its_own() -> None:
    samples = [Sample(str(n), "text", 0, group=group) for n, group in enumerate(("", "a", "", "a"))]
    task = Classification("text-classification", ("a", "b"))
    assert HeldOut(task, samples, TARGETS[:4], np.ones((1, 4))).groups == 3
