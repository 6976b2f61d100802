"""Trainings that stand beside the main one, as long as it was: from random weights, the control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.errors import TrainingFailed
from regraft.events import Said
from regraft.pretraining import judge as judging
from regraft.pretraining.judge import Evaluator, ProbeResult
from regraft.pretraining.objective import Control
from regraft.pretraining.setup import Setup
from regraft.store import Outcome
from regraft.wording import percent

if TYPE_CHECKING:
    from regraft.backbones import Network


def to_its_end(
    setup: Setup, what: str, vain: list[str], train: Callable[[], dict[str, Any]]
) -> dict[str, Any] | None:
    """What a training beside the main one gives; None, and a sentence in `vain`, if it failed.

    Nothing that the main one has given is lost by that.
    """
    try:
        return train()
    except TrainingFailed as fault:
        reason = "; ".join(filter(None, (fault.what, fault.mend)))
        vain.append(f"{what} did not learn to the end, so nothing is said of it: {reason}.")
        setup.tell(Said(vain[-1]))
        return None


def control(
    setup: Setup, asked: Control, evaluator: Evaluator, main: dict[str, Any], after: ProbeResult
) -> dict[str, Any]:
    """As many steps of the control; what the objective adds to that.

    Args:
        setup: of both trainings.
        asked: what is trained.
        evaluator: the judge's.
        main: what `learn` gave of the training with the objective itself.
        after: what the judge saw after that.
    """
    learnt = _beside(replace(setup, objective=asked.objective), "control", main)
    found = _against(setup, evaluator, learnt, after)
    text = (
        f"The control, whose views {asked.which}, has {percent(found['before']['value'])} "
        f"after as many steps; {asked.adds} add {judging.gap(found)}."
    )
    return {**found, "text": text, "curves": learnt.facts["curves"]}


def scratch(setup: Setup, main: dict[str, Any], after: ProbeResult | None) -> dict[str, Any]:
    """The same network, objective and steps from random weights; what the start adds to that.

    Args:
        setup: of both trainings.
        main: what `learn` gave of the training that began with the backbone's weights.
        after: what the judge saw after that; None without a judge.
    """
    learnt = _beside(setup, "scratch", main, from_scratch=True)
    facts: dict[str, Any] = learnt.facts
    kept = {key: facts[key] for key in ("steps", "seconds", "curves", "before", "after")}
    if setup.evaluator is None or after is None:
        return {**kept, "judged": None}
    found = _against(setup, setup.evaluator, learnt, after)
    text = (
        f"Pre-trained likewise from random weights, the network has "
        f"{percent(found['before']['value'])} after as many steps; the weights it began with add "
        f"{judging.gap(found)}."
    )
    return {**kept, "judged": {**found, "text": text}}


def _beside(
    setup: Setup, name: str, main: dict[str, Any], *, from_scratch: bool = False
) -> Outcome:
    """A training with the plan and the length of another; `main` is what `learn` gave of that."""
    from regraft.pretraining import learning

    course = learning.Course.beside(setup.run, name, setup.inputs, main)
    job = setup.job(from_scratch=from_scratch)
    return setup.run.step(name, course.inputs, lambda: learning.learn(setup.objective, job, course))


def _against(
    setup: Setup, evaluator: Evaluator, learnt: Outcome, after: ProbeResult
) -> dict[str, Any]:
    """The training that stood beside ("before") and the result ("after"), by the paired test."""
    from regraft.backbones import build
    from regraft.pretraining import learning

    network = build(setup.start)
    fill_in(network, learning.parted(learnt.tensors)[0])
    return judging.compared(evaluator, evaluator.evaluate(network).logits_nc, after.logits_nc)


def fill_in(network: Network, arrays: dict[str, np.ndarray]) -> None:
    """Give a network the tensors that a training ended with."""
    import torch

    from regraft.backbones.network import fill

    fill(network, {n: torch.from_numpy(a.copy()) for n, a in arrays.items()}, "pretrain")
