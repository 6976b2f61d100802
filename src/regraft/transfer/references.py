"""What stands beside the ladder: the same network from scratch; for texts, no network at all.

Each is a step of the run, measured on the same validation samples as the rungs and compared with
the chosen one. (`untouched.py` has what a detector finds as it is.)
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace

from regraft.store import Outcome
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.transfer import twin
from regraft.transfer.engine import Preparation
from regraft.transfer.ladder import (
    Climbed,
    Facts,
    Ground,
    Step,
    announce,
    batch_of,
    bytes_a_view,
    fine_tune,
    inputs_of,
    points,
    seconds_a_picture,
    seconds_spent,
    tail_of,
)
from regraft.transfer.meter import PeakMemory

SCRATCH_LEAST_S = 40.0


def scratch(ground: Ground, climbed: Climbed) -> tuple[Facts, Step]:
    """The twin: the same network from random weights, on the time that the climb took.

    It is given at least `SCRATCH_LEAST_S`, which is in its favour; see `twin.py` for the rest.

    Returns:
        its entry in report.json, and its answers. It stands on `twin_ground`.
    """
    valid = ground.dataset.split("valid")
    targets, weights_rn = ground.task.targets(valid), ground.weights(valid)
    allowed_s = max(SCRATCH_LEAST_S, ground.budget_s or 0.0, seconds_spent(climbed.entries))
    plan = _plan_twin(ground, allowed_s)
    own = twin_ground(ground, plan["size_px"])
    count = len(ground.dataset.split("train"))
    rung = twin.rung_of(count, plan["steps"], batch_of(ground, 0), plan["rate"])
    if count * rung.views * bytes_a_view(own, 0) > ground.cached_bytes:
        rung = replace(rung, features="live")
    inputs = inputs_of(own, {"rung": asdict(rung), "size_px": plan["size_px"]})

    def compute() -> Outcome:
        return fine_tune(own, "scratch", rung, {}, inputs, targets, weights_rn)

    step = Step.of(ground.run.step("scratch", inputs, compute))
    announce(ground, step)
    best_score = ground.task.score(climbed.best.answers, targets)
    gap = measure.compare(best_score, ground.task.score(step.answers, targets), weights_rn)
    facts: Facts = step.facts | {
        "gap": gap.value,
        "p": gap.p,
        "passes": rung.steps * rung.batch / count,
        "size_px": plan["size_px"],
    }
    return facts | {"text": twin.text(facts, gap, climbed.best.facts["name"])}, step


def twin_ground(ground: Ground, size_px: int) -> Ground:
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

        own = twin_ground(ground, size_px)
        tail = tail_of(own, 0, {}, ground.seed)
        rate = twin.rate_of(tail.network)
        rung = twin.rung_of(len(train), 1, batch, rate)
        train_s = seconds_a_step(rung, tail, ground.task, train[: rung.batch])
        return train_s, rung.batch * seconds_a_picture(own, 0), rate

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


def tfidf(ground: Ground, climbed: Climbed) -> tuple[Facts, Step]:
    """The twin of texts: what is done without a pre-trained model; see `tasks/tfidf.py`.

    Returns:
        its entry in report.json, and its answers.
    """
    train, valid = ground.dataset.split("train"), ground.dataset.split("valid")
    target_nc, weights_rn = ground.task.targets(valid), ground.weights(valid)

    def compute() -> Outcome:
        from regraft.tasks.tfidf import fit_tfidf

        assert isinstance(ground.task, Classification)
        memory, began = PeakMemory.since_now(), time.perf_counter()
        texts = [str(sample.source) for sample in train]
        groups = [sample.group for sample in train]
        model = fit_tfidf(texts, ground.task.targets(train), groups, ground.task.balanced)
        answers = {"logits": model.logits([str(sample.source) for sample in valid])}
        score = ground.task.score(answers, target_nc)
        metric = measure.estimate(ground.task.metric_name, score, weights_rn)
        seconds = time.perf_counter() - began
        facts: Facts = {
            "name": "tf-idf",
            "frozen_stages": 0,
            "trainable_parameters": model.parameters,
            "metric": metric.to_json(),
            "seconds": {"features": 0.0, "train": seconds, "total": seconds},
            "peak_memory_bytes": memory.bytes(),
            "steps": 0,
            "penalty": 1 / model.inverse_penalty,
        }
        return Step.outcome(facts, {}, answers)

    step = Step.of(ground.run.step("tf-idf", inputs_of(ground, {"rung": "tf-idf"}), compute))
    announce(ground, step)
    gap = measure.compare(
        ground.task.score(climbed.best.answers, target_nc),
        ground.task.score(step.answers, target_nc),
        weights_rn,
    )
    name = "TF-IDF and logistic regression, which need no pre-trained network"
    if gap.p >= measure.NOISE:
        text = (
            f"{name}, cannot be told from the chosen rung: {points(gap)} for the rung, "
            f"p = {gap.p:.3f}, on {len(valid):,} validation texts."
        )
    elif gap.value > 0:
        text = f"The chosen rung is {points(gap)} ahead of {name}."
    else:
        text = f"{name}, win: {points(gap)} for the chosen rung. Use them for these texts."
    return step.facts | {"text": text, "gap": gap.value, "p": gap.p}, step
