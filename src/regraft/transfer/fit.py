"""The one training loop, a generator of events.

It trains what lies right of a cut: the last stages of a network and a head. It does not know
where its inputs come from (cached activations, live pictures), what the task is, or who listens.
Between two events everything is in a state that can be kept: a caller that stops listening closes
the generator, which saves that state, and the next call goes on from it to the same bits.

Shapes: b samples in a batch, n samples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import nn

from regraft.backbones.network import Network
from regraft.dataset import Sample, View
from regraft.errors import RegraftError
from regraft.events import Event, Saved, Stepped
from regraft.seeds import generator, seed_of
from regraft.store import Checkpoint, Outcome
from regraft.tasks.task import Answers, Criterion, Outputs, Task
from regraft.transfer.cut import Cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAVE_EVERY_S = 10.0
WARM_UP = 0.1
WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the climb.

    Attributes:
        name: "head", "last:2", "all", "scratch".
        frozen: number of leading stages that stay as they are.
        steps: optimiser steps.
        batch: samples a step.
        learning_rate: of the head, at its highest.
        decay: each stage towards the input learns this many times slower than the next.
        views: different views of each sample that training sees in turn; the first is the plain
            one.
        features: whether activations at the cut are computed once or for every step.
        pretrained: false for the twin from random weights: its norm layers then learn their
            statistics too, and all stages learn alike.
    """

    name: str
    frozen: int
    steps: int
    batch: int
    learning_rate: float = 1e-3
    decay: float = 0.7
    views: int = 1
    features: Literal["cached", "live"] = "cached"
    pretrained: bool = True


class Rows(Protocol):
    """Activations at a cut, by sample and view."""

    def rows(self, sample_index: NDArray[np.int64], view_index: int = 0) -> tuple[np.ndarray, ...]:
        """One array of b rows for each tensor that crosses the cut."""
        ...


class Tail(nn.Module):
    """What a rung trains: the stages right of a cut, and the head."""

    def __init__(self, network: Network, cut: Cut, head: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.cut = cut
        self.head = head

    def values(self, rows: tuple[np.ndarray, ...]) -> tuple[torch.Tensor, ...]:
        """What the backbone gives the head for these activations."""
        device = next(self.head.parameters()).device
        values = tuple(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in rows)
        if self.cut.frozen == 0:
            values = (self.network.entry(values[0]),)
        return self.network.run(values, self.cut.frozen, len(self.network.stages))

    def forward(self, rows: tuple[np.ndarray, ...]) -> Outputs:
        """What the head gives."""
        return self.head(*self.values(rows))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that training may change, by the names of the weights file and "head."."""
        named = self.network.tensors()
        stages = self.cut.backbone.stages[self.cut.frozen :]
        mine = {name: named[name] for stage in stages for name in stage.tensors}
        return mine | {f"head.{name}": t for name, t in self.head.state_dict().items()}

    def snapshot(self) -> dict[str, np.ndarray]:
        """A copy of `tensors` as arrays."""
        return {name: t.detach().cpu().numpy().copy() for name, t in self.tensors().items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Overwrite with arrays of these names; names left of the cut must not be among them."""
        mine = self.tensors()
        with torch.no_grad():
            for name, array in arrays.items():
                mine[name].copy_(torch.from_numpy(array))


def train(
    rung: Rung,
    tail: Tail,
    criterion: Criterion,
    rows: Rows,
    count: int,
    seed: int,
    checkpoint: Checkpoint,
) -> Generator[Event, None, None]:
    """Train `tail` in place on `count` samples. Goes on from `checkpoint` if it holds anything.

    AdamW (Loshchilov & Hutter 2019), linear warm-up, cosine to zero, learning rates that fall
    towards the input (Howard & Ruder 2018). Norm layers of a pre-trained network keep their
    statistics: few labels would only blur them.

    Raises:
        RegraftError: the loss is not finite; the last good state is kept.
    """
    optimiser = torch.optim.AdamW(_groups(rung, tail), weight_decay=WEIGHT_DECAY)
    first = _resume(checkpoint, tail, optimiser)
    tail.train()
    if rung.pretrained:
        _keep_statistics(tail)
    step, saved_at = first, time.monotonic()
    try:
        for step in range(first, rung.steps):
            index_b, view = _batch(rung, count, seed, step)
            _set_rates(optimiser, step, rung.steps)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(seed, "noise", rung.name, step))
                outputs = tail(rows.rows(index_b, view))
            loss = criterion(outputs, index_b, view)
            if not math.isfinite(loss.item()):
                raise RegraftError(
                    f"the loss is {loss.item()} at step {step + 1} of {rung.steps}",
                    where=f"rung {rung.name}, samples {index_b[:8].tolist()}…",
                    mend="the state before this step is kept; look at these samples",
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(_trained(tail), GRADIENT_NORM)
            optimiser.step()
            step += 1
            yield Stepped(rung.name, step, rung.steps, float(loss.item()))
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                checkpoint.save(_state(step, tail, optimiser))
                saved_at = time.monotonic()
                yield Saved(f"{rung.name}, step {step}")
    except GeneratorExit:
        checkpoint.save(_state(step, tail, optimiser))
        raise
    tail.eval()


def answers(
    tail: Tail, task: Task[Any], rows: Rows, samples: Sequence[Sample], batch: int = 64
) -> tuple[np.ndarray, Answers]:
    """Vectors_nd (see `pooled`) and answers of the plain views of the samples that rows are of."""
    tail.eval()
    vectors: list[np.ndarray] = []
    found: list[Answers] = []
    with torch.inference_mode():
        for start in range(0, len(samples), batch):
            some = samples[start : start + batch]
            values = tail.values(rows.rows(np.arange(start, start + len(some))))
            vectors.append(pooled([value.float().cpu().numpy() for value in values]))
            found.append(task.answers(tail.head(*values), some))
    return np.concatenate(vectors), joined(found)


def pooled(values: Sequence[np.ndarray]) -> np.ndarray:
    """One vector for each sample, vector_bd: vectors as they are, maps by their mean, in a row."""
    return np.concatenate(
        [x if x.ndim == 2 else x.reshape(*x.shape[:2], -1).mean(axis=2) for x in values], axis=1
    )


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers of several batches as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def seconds_a_step(rung: Rung, tail: Tail, task: Task[Any], samples: Sequence[Sample]) -> float:
    """Measured time of one training step on rows of zeros.

    The tail is left as it was, but for the statistics of the twin's norm layers.

    Args:
        rung: as `train` takes it.
        tail: what is trained.
        task: gives the loss.
        samples: as many as a batch has; their targets are taken.
    """
    rows, index_b = tail.cut.blank(len(samples)), np.arange(len(samples))
    criterion = task.criterion(task.targets(samples), [View()])
    tail.train()
    if rung.pretrained:
        _keep_statistics(tail)
    timings: list[float] = []
    for _ in range(2):
        start = time.perf_counter()
        criterion(tail(rows), index_b, 0).backward()
        timings.append(time.perf_counter() - start)
        tail.zero_grad(set_to_none=True)
    return min(timings)


def _groups(rung: Rung, tail: Tail) -> list[dict[str, object]]:
    """One parameter group for the head and one for each trained stage, with its learning rate."""
    groups: list[dict[str, object]] = []
    parts = [*tail.network.stages[rung.frozen :], tail.head]
    for distance, part in enumerate(reversed(parts)):
        rate = rung.learning_rate * (rung.decay**distance if rung.pretrained else 1.0)
        parameters = [p for p in part.parameters() if p.requires_grad]
        if parameters:
            groups.append({"params": parameters, "lr": rate, "highest": rate})
    return groups


def _trained(tail: Tail) -> list[nn.Parameter]:
    return [p for p in tail.parameters() if p.requires_grad]


def _keep_statistics(tail: Tail) -> None:
    """Norm layers with running statistics go on using those of the pre-training."""
    for module in tail.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):  # pyright: ignore[reportPrivateUsage]
            module.eval()


def _batch(rung: Rung, n: int, seed: int, step: int) -> tuple[NDArray[np.int64], int]:
    """Which samples and which view a step sees: each epoch a new order and the next view."""
    a_epoch = max(1, n // rung.batch)
    epoch, place = divmod(step, a_epoch)
    order_n = generator(seed, "order", rung.name, epoch).permutation(n)
    start = place * rung.batch
    return order_n[start : start + rung.batch], epoch % rung.views


def _set_rates(optimiser: torch.optim.Optimizer, step: int, steps: int) -> None:
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        share = (step + 1) / warm
    else:
        share = 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * share


def _state(step: int, tail: Tail, optimiser: torch.optim.Optimizer) -> Outcome:
    """Weights and the optimiser's moments, by name."""
    tensors = {f"tail.{name}": array for name, array in tail.snapshot().items()}
    for i, parameter in enumerate(_ordered(optimiser)):
        for key, value in optimiser.state[parameter].items():
            tensors[f"optimiser.{i}.{key}"] = value.detach().cpu().numpy().copy()
    return Outcome({"step": step}, tensors)


def _resume(checkpoint: Checkpoint, tail: Tail, optimiser: torch.optim.Optimizer) -> int:
    """Put back what `_state` kept; the number of steps already taken."""
    kept = checkpoint.load()
    if kept is None:
        return 0
    tail.restore(
        {n.removeprefix("tail."): a for n, a in kept.tensors.items() if n.startswith("tail.")}
    )
    for i, parameter in enumerate(_ordered(optimiser)):
        prefix = f"optimiser.{i}."
        for name, array in kept.tensors.items():
            if name.startswith(prefix):
                value = torch.from_numpy(array.copy())
                optimiser.state[parameter][name.removeprefix(prefix)] = value
    step = kept.facts["step"]
    assert isinstance(step, int)
    return step


def _ordered(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimiser.param_groups for p in group["params"]]
