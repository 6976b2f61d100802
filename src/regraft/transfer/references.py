"""What stands beside the ladder: the same network from scratch; for texts, no network at all.

Each is a step of the run, measured on the same validation samples as the rungs and compared with
the chosen one. (`untouched.py` has what a detector finds as it is.)
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

from regraft.store import Outcome
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.transfer import sources, twin
from regraft.transfer.engine import Preparation
from regraft.transfer.fine_tuning import trained
from regraft.transfer.ground import Facts, Ground, inputs_of, tail_of
from regraft.transfer.ladder import Climbed, seconds_spent
from regraft.transfer.meter import PeakMemory
from regraft.transfer.rungs import batch_of, bytes_a_view, seconds_a_picture, trial_samples
from regraft.transfer.step import Cost, Step, announce, rung_entry

if TYPE_CHECKING:
    from regraft.transfer.fit import Rung

SCRATCH_LEAST_S = 40.0


@final
@dataclass(frozen=True)
class Twin:
    """The same network, trained from random weights.

    Attributes:
        ground: what it stands on: see `_twin_ground`.
        rung: how it was trained.
        step: what came of it.
        size_px: of its pictures; 0 for what are none.
    """

    ground: Ground
    rung: Rung
    step: Step
    size_px: int


def trained_twin(ground: Ground, climbed: Climbed) -> Twin:
    """The twin on the time that the climb took, and at least on `SCRATCH_LEAST_S`.

    That is in its favour; see `twin.py` for the rest.
    """
    allowed_s = max(SCRATCH_LEAST_S, ground.budget_s or 0.0, seconds_spent(climbed.entries))
    plan = _plan_twin(ground, allowed_s)
    size_px = plan["size_px"]
    own = _twin_ground(ground, size_px)
    count = len(ground.dataset.split("train"))
    rung = twin.rung_of(count, plan["steps"], batch_of(ground, 0), plan["rate"])
    if count * rung.views * bytes_a_view(own, 0) > ground.cached_bytes:
        rung = replace(rung, features="live")
    return Twin(own, rung, trained(own, "scratch", rung, {}, {"size_px": size_px}), size_px)


def scratch(ground: Ground, climbed: Climbed) -> Facts:
    """The entry of the twin in report.json."""
    other = trained_twin(ground, climbed)
    announce(ground, other.step)
    gap = ground.validation.compare(climbed.best.answers, other.step.answers)
    facts: Facts = other.step.facts | {
        "gap": gap.value,
        "p": gap.p,
        "passes": other.rung.steps * other.rung.batch / len(ground.dataset.split("train")),
        "size_px": other.size_px,
    }
    return facts | {"text": twin.text(facts, gap, climbed.best.facts["name"])}


def _twin_ground(ground: Ground, size_px: int) -> Ground:
    """What the twin stands on: the same, with pictures of its own size."""
    backbone = twin.at_size(ground.backbone, size_px)
    pixels = Preparation(backbone, None).engine(0, ())
    return replace(ground, backbone=backbone, engine=lambda frozen: pixels)


def _plan_twin(ground: Ground, allowed_s: float) -> Facts:
    """The size of the twin's pictures, its rate and its number of steps, by a trial."""
    train, batch = ground.dataset.split("train"), batch_of(ground, 0)

    def timed(size_px: int) -> tuple[float, float, float]:
        """Seconds of a step and of reading its samples; and the learning rate."""
        from regraft.transfer.fit import seconds_a_step

        own = _twin_ground(ground, size_px)
        tail = tail_of(own, 0, {}, ground.seed)
        rate = twin.rate_of(tail.network)
        rung = twin.rung_of(len(train), 1, batch, rate)
        some = trial_samples(own, rung.batch)
        train_s = seconds_a_step(rung, tail, ground.task, some)
        return train_s, rung.batch * seconds_a_picture(own, 0, some), rate

    def trial() -> Outcome:
        sizes = twin.sizes_px(train, ground.backbone)
        size_px = sizes[-1]
        train_s, read_s, rate = timed(size_px)
        most_s = twin.most_s(len(train), allowed_s, batch)
        size_px = twin.fitting_px(sizes, train_s, read_s, most_s)
        if size_px != sizes[-1]:
            train_s, read_s, rate = timed(size_px)
        steps = twin.steps_in(allowed_s, train_s + read_s, len(train), batch)
        return Outcome({"size_px": size_px, "steps": steps, "rate": rate}, {})

    return ground.run.step("plan-scratch", inputs_of(ground, {"rung": "scratch"}), trial).facts


def tfidf(ground: Ground, climbed: Climbed) -> Facts:
    """The entry in report.json of what is done without a pre-trained model; see `tasks/tfidf.py`.

    It stands where that of the twin does, for texts.
    """
    train, valid = ground.dataset.split("train"), ground.validation

    def compute() -> Outcome:
        from regraft.tasks.tfidf import fit_tfidf

        assert isinstance(ground.task, Classification)
        memory, began = PeakMemory.since_now(), time.perf_counter()
        texts = [str(sample.source) for sample in train]
        groups = [sample.group for sample in train]
        model = fit_tfidf(texts, ground.task.targets(train), groups, ground.task.balanced)
        answers = {"logits": model.logits([str(sample.source) for sample in valid.samples])}
        metric = valid.measured(answers)
        cost = Cost(0.0, time.perf_counter() - began, memory.bytes())
        facts = rung_entry("tf-idf", 0, model.parameters, metric, cost)
        return Step.outcome(facts | {"steps": 0, "penalty": 1 / model.inverse_penalty}, {}, answers)

    inputs = inputs_of(ground, {"rung": "tf-idf", "words": sources.code(sources.WORDS)})
    step = Step.of(ground.run.step("tf-idf", inputs, compute))
    announce(ground, step)
    gap = valid.compare(climbed.best.answers, step.answers)
    text = beside_tfidf(gap, len(valid.samples))
    return step.facts | {"text": text, "gap": gap.value, "p": gap.p}


def beside_tfidf(gap: measure.Difference, texts: int) -> str:
    """The chosen rung beside what needs no network, for people.

    Args:
        gap: the rung's score less that of TF-IDF.
        texts: validation texts that both were measured on.
    """
    name = "TF-IDF and logistic regression, which need no pre-trained network"
    if gap.p >= measure.NOISE:
        return (
            f"{name}, cannot be told from the chosen rung: {gap.points} for the rung, "
            f"p = {gap.p:.3f}, on {texts:,} validation texts."
        )
    if gap.value > 0:
        return f"The chosen rung is {gap.points} ahead of {name}."
    return f"{name}, win: {gap.points} for the chosen rung. Use them for these texts."
