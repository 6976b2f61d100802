"""The one training loop, a generator of events.

It trains what lies right of a cut: the last stages of a network and a head. It does not know
where its inputs come from (cached activations, live pictures), what the task is, or who listens.
Between two events everything is in a state that can be kept: a caller that stops listening closes
the generator, which saves that state, and the next call goes on from it to the same bits.

Shapes: b samples in a batch, n samples, c classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch
from torch import nn

from regraft.backbones.network import Network
from regraft.errors import RegraftError
from regraft.events import Event, Saved, Stepped
from regraft.seeds import generator, seed_of
from regraft.store import Checkpoint, Outcome
from regraft.tasks.classification import Classification
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

    def vectors(self, rows: tuple[np.ndarray, ...]) -> torch.Tensor:
        """What the backbone gives the head for these activations: vector_bd."""
        device = next(self.head.parameters()).device
        values = tuple(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in rows)
        if self.cut.frozen == 0:
            values = (self.network.entry(values[0]),)
        return self.network.run(values, self.cut.frozen, len(self.network.stages))[0]

    def forward(self, rows: tuple[np.ndarray, ...]) -> torch.Tensor:
        """Logits_bc."""
        return self.head(self.vectors(rows))

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
    task: Classification,
    rows: Rows,
    target_nc: np.ndarray,
    seed: int,
    checkpoint: Checkpoint,
) -> Generator[Event, None, None]:
    """Train `tail` in place. Goes on from `checkpoint` if it holds anything.

    AdamW (Loshchilov & Hutter 2019), linear warm-up, cosine to zero, learning rates that fall
    towards the input (Howard & Ruder 2018). Norm layers of a pre-trained network keep their
    statistics: few labels would only blur them.

    Raises:
        RegraftError: the loss is not finite; the last good state is kept.
    """
    optimiser = torch.optim.AdamW(_groups(rung, tail), weight_decay=WEIGHT_DECAY)
    first = _resume(checkpoint, tail, optimiser)
    target = torch.from_numpy(target_nc)
    weight = torch.from_numpy(task.sample_weights(target_nc).astype(np.float32))
    tail.train()
    if rung.pretrained:
        _keep_statistics(tail)
    step, saved_at = first, time.monotonic()
    try:
        for step in range(first, rung.steps):
            index_b, view = _batch(rung, len(target_nc), seed, step)
            _set_rates(optimiser, step, rung.steps)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(seed, "noise", rung.name, step))
                logits_bc = tail(rows.rows(index_b, view))
            loss = task.loss(
                logits_bc,
                target[index_b].to(logits_bc.device),
                weight[index_b].to(logits_bc.device),
            )
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


def answers(tail: Tail, rows: Rows, count: int, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Vectors_nd and logits_nc of the plain views of samples 0…count-1."""
    tail.eval()
    vectors: list[np.ndarray] = []
    logits: list[np.ndarray] = []
    with torch.inference_mode():
        for start in range(0, count, batch):
            index_b = np.arange(start, min(start + batch, count))
            vector_bd = tail.vectors(rows.rows(index_b))
            vectors.append(vector_bd.float().cpu().numpy())
            logits.append(tail.head(vector_bd).float().cpu().numpy())
    return np.concatenate(vectors), np.concatenate(logits)


def seconds_a_step(rung: Rung, tail: Tail, task: Classification) -> float:
    """Measured time of one training step on rows of zeros.

    The tail is left as it was, but for the statistics of the twin's norm layers.
    """
    rows = tail.cut.blank(rung.batch)
    target_bc = torch.zeros(rung.batch, len(task.classes))
    target_bc[:, 0] = 1
    tail.train()
    if rung.pretrained:
        _keep_statistics(tail)
    timings: list[float] = []
    for _ in range(2):
        start = time.perf_counter()
        task.loss(tail(rows), target_bc, torch.ones(rung.batch)).backward()
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
