"""Training what lies right of a cut: the last stages of a network and a head.

It does not know where its inputs come from (cached activations, live pictures), what the task is,
or who listens. The loop itself, with its states and its resuming, is `loop.py`, which pre-training
uses too.

Shapes: b samples in a batch, n samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, final

import numpy as np
import torch
from torch import nn

from regraft.backbones.network import Network
from regraft.dataset import Sample, View
from regraft.events import Event
from regraft.machine import has_bfloat16
from regraft.seeds import generator
from regraft.store import Checkpoint
from regraft.tasks.task import Answers, Criterion, Outputs, Task
from regraft.transfer import loop, norms
from regraft.transfer.ahead import Ahead
from regraft.transfer.cut import Cut
from regraft.transfer.loop import noise_of
from regraft.transfer.products import dense, rounded
from regraft.transfer.tokens import token_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHT_DECAY = 0.01
AT_ONCE, AT_ONCE_NUMBERS = 64, 4 * 2**20
"""Samples that are answered together, at most, and numbers at the cut."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the climb.

    Attributes:
        name: "head", "last:2", "all", "scratch".
        frozen: number of leading stages that stay as they are.
        steps: optimiser steps.
        batch: samples a step.
        learning_rate: of the head, at its highest.
        stage_rate: of the last stage; None for `decay` times that of the head.
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
    stage_rate: float | None = None


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
        trained = network.stages[cut.frozen :]
        if any(isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1 for m in trained.modules()):
            # Filters over places run faster so (last:4 of EfficientNet-Lite0: 0.50 s a step, else
            # 0.66), products at one place do not (last:1: 38 ms, else 28).
            trained.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        named = network.tensors()
        stages = cut.backbone.stages[cut.frozen :]
        # Taken now: folded norms have other names.
        self._mine = {name: named[name] for stage in stages for name in stage.tensors}

    def values(self, rows: tuple[np.ndarray, ...]) -> tuple[torch.Tensor, ...]:
        """What the backbone gives the head for these activations."""
        device = next(self.head.parameters()).device
        values = tuple(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in rows)
        if self.cut.frozen == 0:
            values = (self.network.entry(values[0]),)
        return self.network.finish(values, self.cut.frozen)

    def forward(self, rows: tuple[np.ndarray, ...]) -> Outputs:
        """What the head gives."""
        return self.head(*self.values(rows))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that training may change, by the names of the weights file and "head."."""
        head = {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        return self._mine | head

    def wake(self, pretrained: bool) -> None:
        """Train mode.

        Args:
            pretrained: whether norms keep their statistics; see `norms`.
        """
        if pretrained:
            self.eval()
            trained = self.network.stages[self.cut.frozen :]
            norms.fold(trained, lambda: self.values(self.cut.noise()))
        self.train()
        if pretrained:
            norms.keep_statistics(self)

    def quick(self) -> AbstractContextManager[None]:
        """Within, products are in bfloat16 where the processor is faster so: for training."""
        return rounded(self.network.stages[self.cut.frozen :], self.trained_in == "bf16")

    @property
    def trained_in(self) -> Literal["bf16", "f32"]:
        """What products are computed in; only a head, which stays in float32, has none of them."""
        trained = self.network.stages[self.cut.frozen :]
        return "bf16" if has_bfloat16() and dense(trained) else "f32"

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

    The loop is `loop.train`; here, learning rates fall towards the input (Howard & Ruder 2018), and
    norm layers of a pre-trained network keep their statistics: few labels would only blur them.

    Raises:
        RegraftError: the loss or a gradient is not finite; the last good state is kept.
    """
    with _batches(rung, rows, count, seed) as batches:
        work = _Fitting(rung, tail, criterion, batches, count, seed)
        training = loop.begin(work, rung.name, rung.steps, checkpoint)
        training.facts["trained_in"] = tail.trained_in
        tail.wake(rung.pretrained)
        with tail.quick():
            yield from loop.train(training)
    tail.eval()


Batches = Callable[[int], tuple["NDArray[np.int64]", int, tuple[np.ndarray, ...]]]
"""Gives a step's samples, the view they are seen in, and their rows."""


@contextmanager
def _batches(rung: Rung, rows: Rows, count: int, seed: int) -> Generator[Batches, None, None]:
    """Cached rows are read while the step before is computed.

    Live ones are computed themselves, on all cores: nothing is to be had by that.
    """

    def make(step: int) -> tuple[NDArray[np.int64], int, tuple[np.ndarray, ...]]:
        index_b, view = _batch(rung, count, seed, step)
        return index_b, view, rows.rows(index_b, view)

    if rung.features == "live":
        yield make
        return
    with closing(Ahead(make, rung.steps)) as ahead:
        yield ahead.of


@final
@dataclass(frozen=True)
class _Fitting:
    """A tail, as the loop sees it; see `Work`."""

    rung: Rung
    tail: Tail
    criterion: Criterion
    batches: Batches
    count: int
    seed: int

    def groups(self) -> list[dict[str, Any]]:
        """One group for the head and one for each trained stage, with its learning rate."""
        rung, groups = self.rung, list[dict[str, Any]]()
        parts = [*self.tail.network.stages[rung.frozen :], self.tail.head]
        for distance, part in enumerate(reversed(parts)):
            rate = _rate(rung, distance)
            parameters = [p for p in part.parameters() if p.requires_grad]
            if parameters:
                groups.append({"params": parameters, "lr": rate, "weight_decay": WEIGHT_DECAY})
        return groups

    def backward(self, step: int) -> float:
        index_b, view, rows = self.batches(step)
        with noise_of(self.seed, "noise", self.rung.name, step):
            outputs = self.tail(rows)
        loss = self.criterion(outputs, index_b, view)
        if torch.isfinite(loss):
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
        return float(loss.item())

    def stepped(self, step: int) -> None:
        """Nothing moves without gradients but norm layers, by themselves."""

    def named(self, step: int) -> str:
        index_b, _ = _batch(self.rung, self.count, self.seed, step)
        return f"rung {self.rung.name}, samples {index_b[:8].tolist()}…"

    def state(self) -> dict[str, torch.Tensor]:
        return self.tail.tensors()

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        self.tail.restore({name: tensor.cpu().numpy() for name, tensor in tensors.items()})


def _rate(rung: Rung, distance: int) -> float:
    """The highest learning rate so many stages before the head, which is at 0."""
    if not rung.pretrained:
        return rung.learning_rate
    if rung.stage_rate is None or distance == 0:
        return rung.learning_rate * rung.decay**distance
    return rung.stage_rate * rung.decay ** (distance - 1)


def answers(tail: Tail, task: Task[Any], rows: Rows, samples: Sequence[Sample]) -> Answers:
    """What is said about the plain views of the samples that rows are of."""
    with torch.inference_mode():
        return joined([
            task.answers(tail.head(*values), samples[start : start + len(values[0])])
            for start, values in _values(tail, rows, len(samples))
        ])  # fmt: skip


def vectors(tail: Tail, rows: Rows, count: int) -> np.ndarray:
    """Vectors_nd of the plain views of the first so many samples that rows are of; see `pooled`."""
    with torch.inference_mode():
        return np.concatenate([
            pooled([value.float().cpu().numpy() for value in values])
            for _, values in _values(tail, rows, count)
        ])  # fmt: skip


def _values(
    tail: Tail, rows: Rows, count: int
) -> Generator[tuple[int, tuple[torch.Tensor, ...]], None, None]:
    """What the backbone gives the head for some plain views at a time, and the first one's place.

    They are so few that large maps do not run out of the processor's cache: of 64 pictures of a
    detector the head takes twice as long as of 8 times 8.
    """
    tail.eval()
    longest = tail.cut.backbone.preprocessing.longest
    numbers = sum(math.prod(longest if n < 0 else n for n in shape) for shape in tail.cut.shapes)
    batch = max(1, min(AT_ONCE, AT_ONCE_NUMBERS // numbers))
    for start in range(0, count, batch):
        index_b = np.arange(start, min(start + batch, count))
        yield start, tail.values(rows.rows(index_b))


def pooled(values: Sequence[np.ndarray]) -> np.ndarray:
    """One vector for each sample, vector_bd: vectors as they are, maps by their mean, in a row.

    Of queries, (b, q, d), it is the mean over the queries.
    """

    def mean(x: np.ndarray) -> np.ndarray:
        if x.ndim == 3:
            return x.mean(axis=1)
        return x if x.ndim == 2 else x.reshape(*x.shape[:2], -1).mean(axis=2)

    return np.concatenate([mean(x) for x in values], axis=1)


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers of several batches as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def seconds_a_step(
    rung: Rung, tail: Tail, task: Task[Any], samples: Sequence[Sample], rows: Rows | None = None
) -> float:
    """Measured time of one training step: rows, loss, gradients, optimiser.

    Its weights are left as they were; it is awake afterwards.

    Args:
        rung: as `train` takes it.
        tail: what is trained.
        task: gives the loss.
        samples: as many as a batch has; their targets are taken.
        rows: of these samples; None takes zeros, which cost nothing to read.
    """
    rows = rows or _Blank(tail.cut, _tokens(samples, tail))
    criterion = task.criterion(task.targets(samples), [View()])
    one = replace(rung, batch=len(samples), views=1)
    tail.wake(rung.pretrained)
    with tail.quick(), _batches(one, rows, len(samples), 0) as batches:
        return loop.seconds_a_step(_Fitting(one, tail, criterion, batches, len(samples), 0))


@final
@dataclass(frozen=True)
class _Blank:
    """Zeros at a cut, for texts of so many tokens."""

    cut: Cut
    tokens_n: Sequence[int]

    def rows(self, sample_index: NDArray[np.int64], view_index: int = 0) -> tuple[np.ndarray, ...]:
        """See `Rows`."""
        return self.cut.blank([self.tokens_n[i] for i in sample_index])


def _tokens(samples: Sequence[Sample], tail: Tail) -> list[int]:
    """Of each text; 1 for what is none."""
    if not tail.network.takes_text:
        return [1] * len(samples)
    return [len(token_ids(str(sample.source), tail.cut.backbone)) for sample in samples]


def _batch(rung: Rung, n: int, seed: int, step: int) -> tuple[NDArray[np.int64], int]:
    """Which samples and which view a step sees: each epoch a new order and the next view."""
    a_epoch = max(1, n // rung.batch)
    epoch, place = divmod(step, a_epoch)
    order_n = generator(seed, "order", rung.name, epoch).permutation(n)
    start = place * rung.batch
    return order_n[start : start + rung.batch], epoch % rung.views
