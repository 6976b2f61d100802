"""One pre-training from its first step to its last: plan, curves, when to stop.

Decisions:

- How many steps a budget buys is measured once and journalled; nothing else looks at a clock. What
  opening the learner takes (decoding, a first head) is part of the budget.
- About twenty times in a training the learner is measured, and the judge's probe with it. A point
  is in the state that is kept, so a resumed run has the curves of an undisturbed one.
- A run that was stopped while it was being measured takes that point first when it goes on.
- A training that stands beside another has its plan and ends where that ended: rates that have
  fallen to zero are not compared with rates that stopped half-way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.events import Event, Said, Stepped
from regraft.pretraining.objective import Job, Learner, Objective, Point, as_facts
from regraft.pretraining.settings import FEW_STEPS
from regraft.store import Outcome, Run
from regraft.transfer import loop
from regraft.wording import duration, metric_name, percent, plural

if TYPE_CHECKING:
    from regraft.backbones import Network

ROUNDS = 20
MEASURING_SHARE = 0.2
"""Of a budget; where measuring takes longer, it is done less often."""
STEPPING_SHARE = 0.95
"""Of what is left of a budget then; the rest is for what was measured too low."""
PATIENCE = 5
"""Rounds over which the watched curve must rise, or training stops."""
LEAST_GAIN = 0.002
EXTRA = "extra."

Probe = Callable[["Network"], dict[str, float]]
"""Measures a network on labelled samples: {"probe": …, "neighbours": …}."""


ALL, BESIDE = "all steps taken", "the training that it stands beside ended here"
"""Why a training stopped, besides that its watched curve had flattened."""
SHARES = ("probe", "neighbours", "held_accuracy")
"""Curves that are shares; the others are numbers of their own kind."""


@dataclass(frozen=True)
class Course:
    """How one training is run, besides what it learns.

    Attributes:
        run: where it is memoised.
        name: of its step in the run.
        inputs: everything that the outcome depends on.
        probe: what the judge says, or None.
        steps: that rates are planned for; None is up to the epochs or the budget.
        stop: ends after so many of them; None takes all.
        rounds: how often it is measured, where steps are planned for it.
    """

    run: Run
    name: str
    inputs: dict[str, Any]
    probe: Probe | None
    steps: int | None = None
    stop: int | None = None
    rounds: int = ROUNDS

    @classmethod
    def beside(cls, run: Run, name: str, inputs: dict[str, Any], other: dict[str, Any]) -> Course:
        """One with the plan and the length of another training; by the facts of that."""
        planned, stop, rounds = other["planned"], other["steps"], other["rounds"]
        asked = {**inputs, "planned": planned, "stop": stop, "rounds": rounds}
        return cls(run, name, asked, None, planned, stop, rounds)


def learn(objective: Objective, job: Job, course: Course) -> Outcome:
    """Pre-train, from a checkpoint if there is one.

    Returns:
        facts: "steps", "planned", "rounds", "curves", "losses", "stopped", "seconds",
            "throughput", "before", "after", "frozen_intact"; tensors: the network's and, after
            "extra.", the learner's extras.

    Raises:
        TrainingFailed: the loss or a gradient is not finite, or it is of no use to go on.
    """
    began = time.perf_counter()  # opening decodes: hours of footage take their share of a budget
    with closing(objective.open(job)) as learner:
        steps, rounds = course.steps or 0, course.rounds
        if course.steps is None:
            steps, rounds = _planned(objective, job, course, learner, began)
        before = learner.cut.certify(learner.network)
        checkpoint = course.run.checkpoint(course.name, course.inputs)
        begun = loop.begin(learner, course.name, steps, checkpoint)
        with closing(_train(objective, course, learner, begun, rounds)) as events:
            for event in events:
                job.tell(event)
        facts = begun.facts
        step = facts["steps"] = facts.pop("step")
        facts["planned"], facts["rounds"] = steps, rounds
        seen = sum(learner.amount(i) for i in range(step))
        facts["throughput"] = {
            "unit": objective.unit,
            "per_second": seen / max(facts["seconds"], 1e-9),
            "seen": seen,
        }
        learner.network.eval()
        facts["after"] = learner.findings()
        facts["frozen_intact"] = learner.cut.certify(learner.network) == before
        tensors = {n: loop.array(t) for n, t in learner.network.tensors().items()}
        tensors |= {EXTRA + n: loop.array(t) for n, t in learner.extras().items()}
    return Outcome(facts, tensors)


def parted(
    tensors: dict[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Tensors that `learn` gave: the network's, and the learner's extras."""
    own = {name: some for name, some in tensors.items() if not name.startswith(EXTRA)}
    extra = {n.removeprefix(EXTRA): some for n, some in tensors.items() if n.startswith(EXTRA)}
    return own, extra


def _planned(
    objective: Objective, job: Job, course: Course, learner: Learner, began: float
) -> tuple[int, int]:
    """Steps and rounds: those of the epochs, or those that the budget buys."""
    if job.budget_s is None:
        return learner.steps_an_epoch * objective.settings.epochs, ROUNDS
    budget_s = job.budget_s

    def compute() -> Outcome:
        job.tell(Said("measuring how many steps the budget pays for"))
        start = time.perf_counter()
        _point(course, learner, {"step": 0, "losses": []})
        measure_s = time.perf_counter() - start
        step_s = loop.seconds_a_step(learner)
        begun_s = time.perf_counter() - began
        left_s = budget_s - begun_s
        rounds = max(2, min(ROUNDS, int(MEASURING_SHARE * budget_s / max(measure_s, 1e-9))))
        steps = max(1, int(STEPPING_SHARE * (left_s - rounds * measure_s) / step_s))
        return Outcome(
            {
                "steps": steps,
                "rounds": rounds,
                "seconds_before": begun_s,
                "seconds_a_round": measure_s,
                "seconds_a_step": step_s,
            }
        )

    facts: Any = course.run.step("plan", course.inputs, compute).facts
    if facts["steps"] < FEW_STEPS:
        job.tell(Said(_too_few(facts, budget_s)))
    return facts["steps"], facts["rounds"]


def _too_few(facts: dict[str, Any], budget_s: float) -> str:
    """What a budget goes into that pays for few steps, and what to do."""
    steps, step_s = facts["steps"], facts["seconds_a_step"]
    before_s, round_s = facts["seconds_before"], facts["seconds_a_round"]
    stepping_s = FEW_STEPS * step_s / STEPPING_SHARE
    # Measuring takes its share of a budget, and two rounds of it at least.
    needed_s = max(
        (before_s + stepping_s) / (1 - MEASURING_SHARE), before_s + 2 * round_s + stepping_s
    )
    smaller = ", or a smaller --batch" if 2 * stepping_s > needed_s else ""
    enough = f"{math.ceil(needed_s / 60)}m" if needed_s > 120 else f"{math.ceil(needed_s)}s"
    return (
        f"the budget of {duration(budget_s)} pays for few steps: {duration(before_s)} went into "
        f"preparing, measuring will take {duration(facts['rounds'] * round_s)}; that leaves "
        f"{plural(steps, 'step')} of about {duration(step_s)}, too few to learn from; "
        f"give --budget {enough} or more{smaller}"
    )


def _train(
    objective: Objective, course: Course, learner: Learner, begun: loop.Training, rounds: int
) -> Generator[Event]:
    """The loop's events, with a point of the curves every so many steps."""
    facts = begun.facts
    if "curves" not in facts:
        facts |= {"curves": [_point(course, learner, facts)], "stopped": ALL}
        facts["before"] = learner.findings()
    yield from _look(objective, course, learner, begun, rounds)
    if facts["stopped"] != ALL:
        return
    with closing(loop.train(begun)) as events:
        for event in events:
            if isinstance(event, Stepped):
                yield from _look(objective, course, learner, begun, rounds)
            yield event
            if facts["stopped"] != ALL:
                yield Said(facts["stopped"])
                return


def _look(
    objective: Objective, course: Course, learner: Learner, begun: loop.Training, rounds: int
) -> Generator[Event]:
    """Take the point of the curves that is due after this step, and decide whether to go on.

    A function of the state: if it is called again it decides the same, and takes no point twice.
    """
    facts, curves = begun.facts, begun.facts["curves"]
    # Rounded up: what a round costs was set aside from the budget for so many, and no more.
    step, every, last = facts["step"], -(-begun.steps // rounds), course.stop or begun.steps
    is_new = curves[-1]["step"] < step
    if is_new and (step % every == 0 or step == last):
        curves.append(_point(course, learner, facts))
    # What made it of no use to go on is in the state too: repeating the command must not pass it.
    learner.check(curves, curves[-1]["step"] / begun.steps)
    if curves[-1]["step"] != step:
        return
    if course.stop is None and step < begun.steps and _has_flattened(curves, objective.watched):
        facts["stopped"] = f"the {objective.watched} has not risen over {PATIENCE} rounds"
    elif last <= step < begun.steps:
        facts["stopped"] = BESIDE
    if is_new:  # last: whoever stops listening here finds all that was decided in the state
        yield Said(_told(curves[-1]))


def _point(course: Course, learner: Learner, facts: dict[str, Any]) -> Point:
    """One point of the curves, after the steps that the facts tell of."""
    loss = facts["losses"][-1] if facts["losses"] else None
    point: Point = {"step": facts["step"], "loss": loss, **learner.measure()}
    if course.probe is not None:
        point |= course.probe(learner.network.eval())
    return as_facts(point)


def _told(point: Point) -> str:
    """A point of the curves, for people."""
    said = [
        f"{metric_name(name)} {percent(value) if name in SHARES else f'{value:.3g}'}"
        for name, value in point.items()
        if name not in ("step", "loss")
    ]
    return f"step {point['step']}: {', '.join(said)}"


def _has_flattened(points: list[Point], name: str) -> bool:
    """Whether the mean of a curve (more is better) over the last rounds is where it was before.

    Means, because a probe on few labels swings: the best of many rounds is luck, and to fail to
    top it says little.
    """
    values = [point[name] for point in points if name in point]
    if len(values) <= 2 * PATIENCE:
        return False
    before, last = values[-2 * PATIENCE : -PATIENCE], values[-PATIENCE:]
    return float(np.mean(last)) <= float(np.mean(before)) + LEAST_GAIN
