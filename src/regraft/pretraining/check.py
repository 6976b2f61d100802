"""What pre-training relies on in an objective, as code that anybody can run on their own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from regraft.backbones import Backbone
from regraft.dataset import Sample
from regraft.errors import ContractBroken
from regraft.events import silent
from regraft.pretraining.objective import Job, Learner, Objective
from regraft.store import Outcome

if TYPE_CHECKING:
    from torch import Tensor

_STEPS = 3


def check_objective(
    objective: Objective, backbone: Backbone, samples: Sequence[Sample]
) -> tuple[str, ...]:
    """Hold an objective to its contract; gives what was found true, for people to read.

    Args:
        objective: yours.
        backbone: one that it can train, of two stages or more; small, or it takes long.
        samples: as `objective.read` gives them.

    Raises:
        ContractBroken: a promise is not kept.
    """
    kind: Any = type(objective)
    same = kind(objective.settings).settings == objective.settings
    _require(same and kind().name == objective.name, "its class is not made of settings", objective)
    _require(bool(objective.starting_from(None)), "it has no usual backbone", objective)
    sized = objective.sized(backbone)
    frozen = 1 if len(sized.stages) > 1 else 0
    known: dict[str, Outcome] = {}

    def memo(name: str, compute: Callable[[], Outcome]) -> Outcome:
        if name not in known:
            known[name] = compute()
        return known[name]

    job = Job(sized, frozen, tuple(samples), 0, memo, None, False, silent)
    with closing(objective.open(job)) as learner:
        start = _copied(learner)
        _check_steps(objective, learner)
        whole = _copied(learner)
        _check_measures(objective, learner)
        learner.restore(start)
        _require(_same(_copied(learner), start), "`restore` does not put back `state`", objective)
        _take(learner, 0)
        half = _copied(learner)
    with closing(objective.open(job)) as learner:
        _require(_same(_copied(learner), start), "the same seed gave another start", objective)
        learner.restore(half)
        for step in range(1, _STEPS):
            _take(learner, step)
        _require(
            _same(_copied(learner), whole),
            "going on from a state did not end in the same bits",
            objective,
        )
    return (
        "its class is called with settings, or with none for the usual ones",
        "every trained parameter gets a finite gradient, nothing left of the cut does",
        "what is frozen stays as it is",
        "measuring changes nothing and gives numbers",
        "state and restore are inverse",
        "the same seed gives the same start, the same steps and the same bits after a resume",
    )


def _require(kept: bool, what: str, objective: Objective) -> None:
    if not kept:
        raise ContractBroken(
            f"The objective {objective.name!r} breaks its contract: {what}.",
            where=type(objective).__name__,
            mend="see the docstrings of regraft.pretraining.objective",
        )


def _check_steps(objective: Objective, learner: Learner) -> None:
    """Take the steps; gradients are looked at on the first."""
    before = learner.cut.certify(learner.network)
    for step in range(_STEPS):
        loss = _take(learner, step)
        _require(math.isfinite(loss), f"the loss of step {step} is {loss}", objective)
        _require(learner.amount(step) > 0, f"step {step} sees nothing", objective)
        _require(bool(learner.named(step)), f"step {step} has no name", objective)
    trained = [p for group in learner.groups() for p in group["params"]]
    _require(bool(trained), "nothing is trained", objective)
    _require(
        all(p.grad is not None and bool(p.grad.isfinite().all()) for p in trained),
        "a trained parameter got no gradient, or one that is no number",
        objective,
    )
    frozen = [
        p for stage in learner.network.stages[: learner.cut.frozen] for p in stage.parameters()
    ]
    _require(all(p.grad is None for p in frozen), "a gradient went left of the cut", objective)
    after = learner.cut.certify(learner.network)
    _require(after == before, "what is frozen has changed", objective)
    _require(learner.steps_an_epoch > 0, "an epoch has no steps", objective)


def _check_measures(objective: Objective, learner: Learner) -> None:
    before = _copied(learner)
    points = [learner.measure(), learner.measure()]
    _require(points[0] == points[1], "measuring twice gave two answers", objective)
    numbers = all(isinstance(v, int | float) and math.isfinite(v) for v in points[0].values())
    _require(numbers, f"a measure is no finite number: {points[0]}", objective)
    json.dumps(learner.findings(), allow_nan=False)
    _require(_same(_copied(learner), before), "measuring changed the state", objective)


def _take(learner: Learner, step: int) -> float:
    """A plain step of gradient descent."""
    import torch

    trained = [p for group in learner.groups() for p in group["params"]]
    for parameter in trained:
        parameter.grad = None
    loss = learner.backward(step)
    with torch.no_grad():
        for parameter in trained:
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=1e-3)
    learner.stepped(step)
    return loss


def _copied(learner: Learner) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.state().items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
