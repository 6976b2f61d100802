"""Steps of an optimiser, as a generator of events: what may be interrupted, saved and gone on with.

The loop does not know what is trained. It sets the rate, asks for the gradients of a step, refuses
a loss or gradients that are no numbers, steps, and keeps the state now and then. Everything random
is a function of the step, so that a run that goes on from a state ends in the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regraft.errors import TrainingFailed
from regraft.events import Event, Saved, Stepped
from regraft.seeds import seed_of
from regraft.store import Checkpoint, Outcome
from regraft.transfer.heap import memory_kept
from regraft.transfer.work import Work

SAVE_EVERY_S = 10.0
LONG_S = 10.0
"""So long a trial of steps has lasted long enough."""
SAVING_SHARE = 0.05
"""No more of the time than this goes into keeping states."""
WARM_UP = 0.1
GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Training:
    """A training that is under way; made by `begin`.

    Attributes:
        work: what is trained.
        name: in events.
        steps: of the optimiser, in all.
        checkpoint: where states are kept.
        facts: JSON values that are kept with a state. The loop itself keeps "step", "losses" and
            "seconds" (of steps alone) in it; what the caller adds is kept too.
        optimiser: of the work's parameters.
    """

    work: Work
    name: str
    steps: int
    checkpoint: Checkpoint
    facts: dict[str, Any]
    optimiser: torch.optim.Optimizer


def begin(work: Work, name: str, steps: int, checkpoint: Checkpoint) -> Training:
    """A training at its beginning, or where `checkpoint` has it."""
    optimiser = make_optimiser(work)
    facts: dict[str, Any] = {"step": 0, "losses": [], "seconds": 0.0}
    facts |= _resume(checkpoint, work, optimiser)
    return Training(work, name, steps, checkpoint, facts, optimiser)


def train(training: Training) -> Generator[Event, None, None]:
    """Train in place, to the end.

    AdamW (Loshchilov & Hutter 2019), linear warm-up, cosine to zero, gradients of norm 1 at most.
    Whoever stops listening closes the generator; the state is then kept.

    Raises:
        TrainingFailed: the loss or a gradient is not finite; the last good state is kept.
    """
    with memory_kept():
        yield from _train(training)


def _train(training: Training) -> Generator[Event, None, None]:
    work, facts, optimiser = training.work, training.facts, training.optimiser
    saved_at, saving_s = time.monotonic(), 0.0
    try:
        while facts["step"] < training.steps:
            step, began = facts["step"], time.monotonic()
            loss, norm = take(work, optimiser, step, training.steps)
            for what, value in (("loss", loss), ("norm of the gradients", norm)):
                if not math.isfinite(value):
                    # Not kept: norm layers have seen this batch. What was kept last is good.
                    raise TrainingFailed(
                        f"the {what} is {value} at step {step + 1} of {training.steps}",
                        where=work.named(step),
                        mend="the last good state is kept; look at these samples, "
                        "or begin anew with a lower learning rate",
                    )
            facts["step"] = step + 1
            facts["losses"].append(round(loss, 5))
            facts["seconds"] += time.monotonic() - began
            yield Stepped(training.name, step + 1, training.steps, loss)
            if time.monotonic() - saved_at > max(SAVE_EVERY_S, saving_s / SAVING_SHARE):
                saved_at = time.monotonic()
                training.checkpoint.save(_state(training))
                saving_s = time.monotonic() - saved_at
                yield Saved(f"{training.name}, step {step + 1}")
    except GeneratorExit:
        training.checkpoint.save(_state(training))
        raise


def make_optimiser(work: Work) -> torch.optim.Optimizer:
    """AdamW over the work's groups; each remembers its highest rate.

    Fused: on a CPU a step of MiniLM takes 29 ms so, else 123.
    """
    groups = [{**group, "highest": group["lr"]} for group in work.groups()]
    return torch.optim.AdamW(groups, fused=True)


def take(
    work: Work, optimiser: torch.optim.Optimizer, step: int, steps: int
) -> tuple[float, float]:
    """One step of the optimiser; none where the loss or a gradient is not finite.

    Returns:
        the loss, and the norm of the gradients as they were before clipping.
    """
    set_rates(optimiser, step, steps)
    optimiser.zero_grad(set_to_none=True)
    loss, norm = work.backward(step), math.nan
    if math.isfinite(loss):
        norm = nn.utils.clip_grad_norm_(_ordered(optimiser), GRADIENT_NORM).item()
    if math.isfinite(norm):
        optimiser.step()
        work.stepped(step)
    return loss, norm


@contextmanager
def noise_of(seed: int, *place: str | int) -> Generator[None]:
    """Within, what is random in a network (dropout) is a function of a seed and a place.

    Of the CPU alone: `torch.manual_seed` keeps a traceback for each device there could be.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(seed, *place))
        yield


def seconds_a_step(work: Work, steps: int = 3) -> float:
    """Measured time of a step, the middle of some; the work is left as it was.

    Where steps are long, fewer are measured.
    """
    kept = {name: tensor.detach().clone() for name, tensor in work.state().items()}
    optimiser, timings = make_optimiser(work), list[float]()
    with memory_kept():
        for step in range(steps):
            began = time.perf_counter()
            take(work, optimiser, step, 100 * steps)
            timings.append(time.perf_counter() - began)
            if sum(timings) > LONG_S:
                break
    optimiser.zero_grad(set_to_none=True)
    work.restore(kept)
    return float(np.median(timings))


def set_rates(optimiser: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Warm up over a tenth, then a cosine to zero."""
    warm = max(1, round(WARM_UP * steps))
    share = (step + 1) / warm
    if step >= warm:
        share = 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * share


def array(tensor: Tensor) -> np.ndarray:
    """A copy on the CPU."""
    return tensor.detach().cpu().contiguous().numpy().copy()


def _state(training: Training) -> Outcome:
    tensors = {f"work.{name}": array(t) for name, t in training.work.state().items()}
    for i, parameter in enumerate(_ordered(training.optimiser)):
        for key, value in training.optimiser.state[parameter].items():
            tensors[f"optimiser.{i}.{key}"] = array(value)
    return Outcome(dict(training.facts), tensors)


def _resume(checkpoint: Checkpoint, work: Work, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Put back what `_state` kept; the facts of it."""
    kept = checkpoint.load()
    if kept is None:
        return {}
    arrays = {name: torch.from_numpy(some.copy()) for name, some in kept.tensors.items()}
    work.restore({n.removeprefix("work."): t for n, t in arrays.items() if n.startswith("work.")})
    for i, parameter in enumerate(_ordered(optimiser)):
        prefix = f"optimiser.{i}."
        for name in [n for n in arrays if n.startswith(prefix)]:
            value = arrays[name]
            if value.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
                value = value.contiguous(memory_format=torch.channels_last)
            optimiser.state[parameter][name.removeprefix(prefix)] = value.to(parameter.device)
    return dict(kept.facts)


def _ordered(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimiser.param_groups for p in group["params"]]
