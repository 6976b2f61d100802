"""A rung trained by the loop, measured, and kept as a step of the run."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from regraft.store import Checkpoint, Outcome
from regraft.transfer.features import LiveFeatures
from regraft.transfer.ground import Facts, Ground, digest_of, inputs_of, tail_of
from regraft.transfer.meter import PeakMemory
from regraft.transfer.step import Cost, Step, rung_entry

if TYPE_CHECKING:
    import numpy as np

    from regraft.transfer.fit import Rung


def trained(
    ground: Ground,
    step: str,
    rung: Rung,
    start: dict[str, np.ndarray],
    more: Facts | None = None,
) -> Step:
    """A rung trained from `start`, as a step of the run.

    Args:
        ground: what is shared.
        step: its name in the run.
        rung: what is trained, and how.
        start: see `fine_tune`.
        more: what its outcome depends on besides.
    """
    begun = {"start": digest_of(start)} if start else {}
    inputs = inputs_of(ground, {"rung": asdict(rung), **begun, **(more or {})})

    def compute() -> Outcome:
        return fine_tune(ground, step, rung, start, inputs)

    return Step.of(ground.run.step(step, inputs, compute))


def fine_tune(
    ground: Ground,
    step: str,
    rung: Rung,
    start: dict[str, np.ndarray],
    inputs: Facts,
) -> Outcome:
    """Train one rung from `start` and measure it; the frozen part is hashed before and after.

    Args:
        ground: what is shared.
        step: of the run, which this is computed for with these `inputs`. The state of the training
            is kept under its name and goes with it, when the outcome is on disk.
        rung: what is trained, and how.
        start: tensors right of the cut and of the head; of a head alone that, or none.
        inputs: of the step.
    """
    # The first optimiser imports it, which takes a second: now, while another process may still be
    # preparing the network.
    import torch._dynamo  # noqa: F401  # pyright: ignore[reportUnusedImport]

    from regraft.transfer.fit import answers, train

    learn, valid = ground.dataset.split("train"), ground.validation
    memory, began = PeakMemory.since_now(), time.perf_counter()
    tail = tail_of(ground, rung.frozen, start, None if rung.pretrained else ground.seed)
    cut = ground.cut(rung.frozen)
    before = cut.certify(tail.network)
    views = ground.views(rung.views)
    if rung.features == "cached":
        rows = ground.activations(learn, rung.frozen, views)
    else:
        rows = LiveFeatures(learn, cut, ground.engine(rung.frozen), views)
    held = ground.activations(valid.samples, rung.frozen)
    features_s = time.perf_counter() - began
    checkpoint = ground.run.checkpoint(step, inputs)
    earlier_s = _seconds_before(checkpoint, tail.trained_in)
    criterion = ground.task.criterion(ground.training_targets(learn), views)
    loop = train(rung, tail, criterion, rows, len(learn), ground.seed, checkpoint)
    with closing(loop) as events:
        for event in events:
            ground.tell(event)
    found = answers(tail, ground.task, held, valid.samples)
    metric = valid.measured(found)
    # What steps took before this process began counts, too.
    total_s = time.perf_counter() - began + earlier_s
    parameters = sum(p.numel() for p in tail.parameters() if p.requires_grad)
    cost = Cost(features_s, total_s, memory.bytes())
    facts = rung_entry(rung.name, rung.frozen, parameters, metric, cost) | {
        "features": rung.features,
        "frozen_intact": cut.certify(tail.network) == before,
        "trained_in": tail.trained_in,
        "views": rung.views,
        "steps": rung.steps,
    }
    return Step.outcome(facts, tail.snapshot(), found)


def _seconds_before(checkpoint: Checkpoint, trained_in: str) -> float:
    """What steps took in processes that were interrupted, computing as this one does.

    On a processor that computes otherwise the training begins anew.
    """
    state = checkpoint.load()
    if state is not None and state.facts["trained_in"] != trained_in:
        checkpoint.clear()
        state = None
    seconds: Any = state.facts["seconds"] if state else 0.0
    return seconds
