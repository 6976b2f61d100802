"""Start and result fine-tuned on the judge's labels, for as many steps, from one seed.

All stages are trained, from a linear head on the frozen vectors, by the ladder's own loop. How many
steps is decided once, from a trial of one step and the budget, and journalled. A start from random
weights is trained as the ladder's twin is, norms and head from nothing: kept statistics of nothing
made the loss rise.

n: samples, c: classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from regraft.backbones import RANDOM, Backbone
from regraft.backbones.levels import with_levels
from regraft.events import Said, Tell
from regraft.pretraining.judge import Evaluator
from regraft.seeds import generator
from regraft.store import Outcome, Run
from regraft.transfer import sources, twin
from regraft.transfer.engine import Preparation
from regraft.transfer.fine_tuning import fine_tune
from regraft.transfer.ground import Ground, tail_of
from regraft.transfer.rungs import cached_bytes, make_rung
from regraft.transfer.step import Step, final_answers

FORMAT = 2
"""Raised where a plan that an earlier rule made must not be kept to."""
MOST_SAMPLES, MOST_STEPS, FEWEST_STEPS = 1000, 100, 20
LEAST_S, BUDGET_SHARE = 60.0, 0.1
"""What one of the two may take: so many seconds, no more than the budget; or this share of it."""


@dataclass(frozen=True)
class Tuned:
    """Answers of both on the held samples.

    Attributes:
        before_nc: logits of the start, fine-tuned.
        after_nc: logits of the result, fine-tuned.
        facts: "steps" and "samples".
    """

    before_nc: np.ndarray
    after_nc: np.ndarray
    facts: dict[str, Any]


def fine_tuned(
    run: Run,
    evaluator: Evaluator,
    backbones: tuple[Backbone, Backbone],
    budget_s: float | None,
    tell: Tell,
) -> Tuned:
    """Fine-tune start and result on the judge's training samples.

    Args:
        run: where it is memoised.
        evaluator: the judge's.
        backbones: the start's and the result's.
        budget_s: of the pre-training, or None.
        tell: who listens.
    """
    grounds = [_ground(run, evaluator, with_levels(backbone), tell) for backbone in backbones]
    inputs: dict[str, Any] = {
        "code": sources.code(),
        "judge": evaluator.dataset.fingerprint(),
        "backbones": [backbone.sha256 for backbone in backbones],
        "options": [repr(backbone.recipe.options) for backbone in backbones],
        "preprocessing": [repr(backbone.preprocessing) for backbone in backbones],
        "levels": list(grounds[0].backbone.recipe.levels),
        "seed": evaluator.seed,
        "budget": budget_s,
    }
    planned = inputs | {"format": FORMAT}
    plan: Any = run.step("judge-plan", planned, lambda: _plan(grounds[0], budget_s)).facts
    steps = plan["steps"]
    inputs["steps"] = steps
    answers: list[np.ndarray] = []
    for name, ground in zip(("before", "after"), grounds, strict=True):
        compute = partial(_answered, ground, evaluator, name, plan, inputs)
        answers.append(run.step(f"judge-{name}", inputs, compute).tensors["logits"])
    train = len(grounds[0].dataset.split("train"))
    return Tuned(answers[0], answers[1], {"steps": steps, "samples": train})


def _ground(run: Run, evaluator: Evaluator, backbone: Backbone, tell: Tell) -> Ground:
    """What the ladder's loop stands on: few enough samples, the whole network trained."""
    engine = Preparation(backbone, None).engine(0, ())
    order_n = generator(evaluator.seed, "judge", len(evaluator.train)).permutation(
        len(evaluator.train)
    )
    some = {evaluator.train[i].id for i in order_n[:MOST_SAMPLES]}
    kept = [s for s in evaluator.dataset if s.split != "train" or s.id in some]
    return Ground(
        run, evaluator.dataset.with_samples(kept), backbone, evaluator.task, lambda _: engine,
        evaluator.seed, None, tell, cached_bytes=cached_bytes(run),
    )  # fmt: skip


def _plan(ground: Ground, budget_s: float | None) -> Outcome:
    """As many "steps" as the time allows; "step_s" is what one takes."""
    from regraft.transfer.fit import seconds_a_step

    rung = make_rung(ground, "all")
    some = ground.dataset.split("train")[: rung.batch]
    step_s = seconds_a_step(rung, tail_of(ground, rung.frozen, {}), ground.task, some)
    return Outcome({"steps": affordable(budget_s, step_s), "step_s": step_s})


def affordable(budget_s: float | None, step_s: float) -> int:
    """How many steps of so many seconds one of the two may take, by the budget of the training."""
    allowed_s = LEAST_S
    if budget_s is not None:
        allowed_s = max(min(LEAST_S, budget_s), BUDGET_SHARE * budget_s)
    return max(FEWEST_STEPS, min(MOST_STEPS, int(allowed_s / step_s)))


def _answered(
    ground: Ground, evaluator: Evaluator, name: str, plan: dict[str, Any], inputs: dict[str, Any]
) -> Outcome:
    from regraft.backbones import build
    from regraft.transfer.loop import array

    steps, which = plan["steps"], {"before": "start", "after": "result"}[name]
    ground.tell(
        Said(
            f"judging: the {which} is fine-tuned on the judge's labels, {steps} steps, "
            f"about {steps * plan['step_s']:.0f} s"
        )
    )
    train = ground.dataset.split("train")
    rung = replace(make_rung(ground, "all"), name=f"judge-{name}", steps=steps)
    network = build(ground.backbone)
    if ground.backbone.source == RANDOM:
        recipe = twin.rung_of(len(train), steps, rung.batch, twin.rate_of(network))
        rung = replace(recipe, name=rung.name, views=rung.views, features=rung.features)
        start = {name: array(tensor) for name, tensor in network.tensors().items()}
    else:
        head = evaluator.head(network, train)
        start = {"head.weight": head.weight_cd, "head.bias": head.bias_c}
    tuned = fine_tune(ground, rung.name, rung, start, inputs)
    answers = final_answers(ground, Step.of(tuned), evaluator.held)
    return Outcome({}, {"logits": answers["logits"].astype(np.float32)})
