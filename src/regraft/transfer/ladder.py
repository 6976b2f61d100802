"""The climb: head first, then more and more of the network, each step measured.

Every rung starts from the head (one that reads words gives way to one on the vectors alone), is
measured on the same validation samples, and is compared with the best so far by a paired test. A
rung that started from one before would begin where the training samples are known by heart: of 18
tiles of forest `all` reaches 39 % AP50 from the head, 31 % from rung after rung. The climb stops
after two rungs that bring no gain outside the noise and are no higher than those before, when even
a perfect rung could bring none, or when the next would exceed the budget. The test split is touched
once, by the chosen rung.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from regraft.events import Said
from regraft.store import Outcome
from regraft.tasks import measure
from regraft.transfer.fine_tuning import trained
from regraft.transfer.ground import HEAD_BYTES, Facts, Ground, head_facts, inputs_of
from regraft.transfer.lexicon import reads_words
from regraft.transfer.meter import PeakMemory
from regraft.transfer.rungs import make_plan, make_rung
from regraft.transfer.step import Cost, Step, announce, rung_entry
from regraft.wording import metric_name

PATIENCE = 2
"""The climb stops after so many rungs without a gain that are no higher than all before. One alone
says little, and of those that rise within noise a deeper one may show it: of 30 composed pictures
`last:1` · `last:2` · `last:4` of a detector reach 84.5 · 85.4 · 85.9 % AP50, `all` 90.8 %."""

_FITTED = ("head.weight", "head.bias", "words.weight")
"""Tensors of a convex head whose numbers were fitted."""


@dataclass(frozen=True)
class Climbed:
    """All rungs, the chosen one, and why others were not climbed."""

    steps: tuple[Step, ...]
    best: Step
    entries: tuple[Facts, ...]
    plan: tuple[Facts, ...] = ()


def climb(ground: Ground, names: Sequence[str], *, stops: bool = True) -> Climbed:
    """Climb the named rungs while it pays and the budget lasts.

    Args:
        ground: what is shared.
        names: of the rungs, see `rung_names`.
        stops: after `PATIENCE` rungs in vain, and where none could be shown. What was asked for by
            name is tried all the same.
    """
    steps: list[Step] = []
    entries: list[Facts] = []
    plans: list[Facts] = []
    best: Step | None = None
    start: dict[str, np.ndarray] | None = None
    vain: list[str] = []
    highest = -math.inf
    why_not = ""
    for name in names:
        if why_not:
            entries.append(_skipped(ground, name, why_not))
            continue
        if best is None and ground.task.convex:
            step = _head(ground)
        elif best is None:
            step = trained(ground, name, make_rung(ground, name), {})
        else:
            start = start or _start_of(ground, steps[0])
            plan = make_plan(ground, name, start, seconds_spent(entries))
            plans.append(plan.to_json())
            if plan.over_budget:
                why_not = plan.why
                entries.append(_skipped(ground, name, why_not))
                continue
            step = trained(ground, f"rung-{name}", plan.rung, start)
        announce(ground, step)
        verdict, why = _judge(ground, step, best)
        entries.append(step.facts | {"verdict": verdict, "why": why})
        steps.append(step)
        ground.tell(Said(f"{name}: {verdict}. {why}"))
        value: Any = step.facts["metric"]["value"]
        if value <= highest:
            vain.append(name)
        highest = max(highest, value)
        if verdict == "kept":
            best, vain = step, []
            why_not = _nothing_to_show(ground, best) if stops else ""
        elif len(vain) >= PATIENCE and stops:
            why_not = f"the climb stopped: {' and '.join(vain)} brought no gain"
    assert best is not None
    return Climbed(tuple(steps), best, tuple(entries), tuple(plans))


def _head(ground: Ground) -> Step:
    """The first rung: a probe on cached vectors, and of texts on their words. It needs no torch."""
    frozen = len(ground.backbone.stages)
    train, valid = ground.dataset.split("train"), ground.validation

    def compute() -> Outcome:
        memory, start = PeakMemory.since_now(), time.perf_counter()
        cut = ground.cut(frozen)
        before = cut.fingerprint()
        data, held_nd, computed = ground.head_data(train, valid.samples)
        features_s = time.perf_counter() - start
        probe = data.fit(ground.task, ground.seed)
        answers = {"logits": probe.logits(held_nd).astype(np.float32)}
        metric = valid.measured(answers)
        total_s = time.perf_counter() - start
        weights = ground.head_weights(probe)
        fitted = [weights[name].size for name in _FITTED if name in weights]
        cost = Cost(features_s, total_s, memory.bytes())
        facts = rung_entry("head", frozen, sum(fitted), metric, cost) | {
            "features": "cached",
            "frozen_intact": cut.fingerprint() == before,
            "views": len(data.x_knd),
            "computed": computed,
            "penalty": probe.penalty,
        }
        if ground.reads_words:
            facts["words"] = weights["words.weight"].shape[1]
        return Step.outcome(facts, weights, answers)

    count, asked = len(train), ground.head_views
    if (views := ground.views_of_head(count)) < asked:
        ground.tell(
            Said(
                f"the head learns from {views} of {asked} views: the vectors of more, of "
                f"{count:,} samples, exceed {HEAD_BYTES // 10**6:,} MB"
            )
        )
    return Step.of(ground.run.step("head", inputs_of(ground, head_facts(ground)), compute))


def _start_of(ground: Ground, head: Step) -> dict[str, np.ndarray]:
    """What deeper rungs begin with: for a head that reads words, one on the vectors alone."""
    if not reads_words(head.weights):
        return head.weights
    plain, train = replace(ground, reads_words=False), ground.dataset.split("train")

    def compute() -> Outcome:
        data, _, _ = plain.head_data(train, ())
        return Outcome({}, plain.head_weights(data.fit(ground.task, ground.seed)))

    tensors = ground.run.step(
        "head-on-vectors", inputs_of(plain, head_facts(plain)), compute
    ).tensors
    return {name: np.asarray(array) for name, array in tensors.items()}


def _judge(ground: Ground, step: Step, best: Step | None) -> tuple[str, str]:
    """The verdict on a rung against the best before it, and why."""
    if best is None:
        return "kept", f"the first rung{_also_read(ground)}"
    gap = ground.validation.compare(step.answers, best.answers)
    why = f"{gap.points} against {best.facts['name']} (p = {gap.p:.3f})"
    if gap.p >= measure.NOISE:
        return "no gain", f"{why}: within noise"
    return ("kept", why) if gap.value > 0 else ("worse", why)


def _also_read(ground: Ground) -> str:
    """What the head reads besides the vector of the last stage."""
    levels = ["earlier stages"] if ground.backbone.recipe.levels else []
    words = ["words"] if ground.reads_words else []
    also = " and ".join(levels + words)
    return f"; it reads {also}, too" if also else ""


def _nothing_to_show(ground: Ground, best: Step) -> str:
    """Why no rung can be kept after this one, whatever it answers; empty where one can."""
    name, metric = best.facts["name"], metric_name(ground.task.metric_name)
    valid = ground.validation
    gap = measure.compare(_faultless, valid.score(best.answers), valid.weights_rn)
    if gap.p < measure.NOISE:
        return ""
    if gap.value == 0:
        return f"{name} has 100 % {metric} on the validation split"
    return (
        f"even 100 % {metric} on the validation split would be {gap.points} ahead of {name}, "
        f"within noise (p = {gap.p:.3f})"
    )


def _faultless(weights_rn: np.ndarray) -> np.ndarray:
    """The score of right answers, which is 1 whatever the metric."""
    return np.ones(len(weights_rn))


def _skipped(ground: Ground, name: str, why: str) -> Facts:
    rung = make_rung(ground, name)
    parameters = sum(stage.parameters for stage in ground.backbone.stages[rung.frozen :])
    parameters += ground.task.head_parameters(ground.backbone)
    return rung_entry(name, rung.frozen, parameters) | {
        "features": rung.features,
        "frozen_intact": None,
        "verdict": "skipped",
        "why": why,
    }


def seconds_spent(entries: Sequence[Facts]) -> float:
    """What the rungs that were climbed took together."""
    return sum(e["seconds"]["total"] for e in entries if e["seconds"])
