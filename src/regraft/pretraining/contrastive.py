"""The contrastive objective on pictures: two tiles of one picture must find each other.

Decisions:

- Pictures are decoded once to a canvas of at most twice the tile's side, the middle square. Pools
  that fit into `POOL_BYTES` stay in memory, larger ones are decoded again for each batch, ahead of
  the network.
- Order, tiles and colours are pure functions of (seed, step): a resumed run is the same run.
- How many steps a budget buys is measured once and journalled; nothing else looks at a clock.
- The projection head (two layers, batch norm between, 128 numbers; SimCLR) is thrown away.

Legend: b pictures in a batch, n in the pool.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from regraft.backbones import Backbone, Network, build
from regraft.dataset import Sample, View
from regraft.errors import RegraftError
from regraft.events import Advanced, Event, Said, Saved, Stepped, Tell
from regraft.pretraining.augment import DRAWS, augmented
from regraft.pretraining.losses import backward_in_pieces, enqueued, nt_xent
from regraft.pretraining.quality import Quality, quality
from regraft.pretraining.settings import Settings
from regraft.seeds import generator, seed_of
from regraft.store import Checkpoint, Outcome, Run
from regraft.transfer.cut import Cut
from regraft.transfer.pictures import cores, look

POOL_BYTES = 2 * 2**30
SAVE_EVERY_S = 10.0
ROUNDS = 20
PATIENCE = 5
"""Rounds in which the probe may fail to improve before training stops."""
LEAST_GAIN = 0.002
WARM_UP = 0.1
WEIGHT_DECAY = 1e-4
PROJECTED = 128
LOOKED_AT = 512
"""Pictures on which embeddings are measured."""

Probe = Callable[[Network], dict[str, float]]
"""Measures a network on labelled samples: {"probe": …, "neighbours": …}."""


@dataclass(frozen=True)
class Job:
    """What is trained on what.

    Attributes:
        run: where it is memoised.
        backbone: to start from, at the size of the tiles.
        frozen: leading stages that stay as they are.
        samples: the pool.
        settings: see there.
        seed: of every random choice.
        budget_s: seconds, or None.
        probe: what the judge says, or None.
        inputs: everything that the outcome depends on.
        tell: who listens.
    """

    run: Run
    backbone: Backbone
    frozen: int
    samples: tuple[Sample, ...]
    settings: Settings
    seed: int
    budget_s: float | None
    probe: Probe | None
    inputs: dict[str, Any]
    tell: Tell

    @property
    def batch(self) -> int:
        """Pictures in a batch: no more than there are."""
        return min(self.settings.batch, len(self.samples))

    @property
    def size_px(self) -> int:
        """Side of a tile."""
        return self.backbone.pictures.size_px


@final
class Model(nn.Module):
    """The backbone and the head that is thrown away."""

    def __init__(self, network: Network, cut: Cut, seed: int) -> None:
        super().__init__()
        self.network = network
        self.cut = cut
        width = cut.backbone.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, "projection"))
            self.projection = nn.Sequential(
                nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(),
                nn.Linear(width, PROJECTED),
            )  # fmt: skip

    def forward(self, x_bchw: Tensor) -> Tensor:
        """Embedding_bd of views in 0…1."""
        x = (x_bchw - self.network.mean_c11) / self.network.std_c11
        values = (x.contiguous(memory_format=torch.channels_last),)
        stages = len(self.network.stages)
        with torch.no_grad() if self.cut.frozen else nullcontext():
            values = self.network.run(values, 0, self.cut.frozen)
        return self.projection(self.network.run(values, self.cut.frozen, stages)[0])


@final
class Canvases:
    """The pool's pictures as squares of one size, uint8 (n, canvas_px, canvas_px, 3)."""

    def __init__(self, samples: Sequence[Sample], backbone: Backbone, tell: Tell) -> None:
        size_px = backbone.pictures.size_px
        side = max(size_px, min(2 * size_px, 256))
        self._samples = samples
        canvas = replace(backbone.pictures, size_px=side, crop=1.0)
        self._look = replace(backbone, preprocessing=canvas)
        self._pool = ThreadPoolExecutor(cores())
        self._kept: np.ndarray | None = None
        if len(samples) * side * side * 3 <= POOL_BYTES:
            kept = np.empty((len(samples), side, side, 3), np.uint8)
            for i, pixels in enumerate(self._pool.map(self._one, range(len(samples)))):
                kept[i] = pixels
                if i % 64 == 63:
                    tell(Advanced("decoding", i + 1, len(samples)))
            self._kept = kept

    def rows(self, index_b: np.ndarray) -> np.ndarray:
        """Some of them."""
        if self._kept is not None:
            return self._kept[index_b]
        return np.stack(list(self._pool.map(self._one, index_b.tolist())))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _one(self, at: int) -> np.ndarray:
        return look(self._samples[at], [View()], self._look)[0]


def learn(job: Job) -> Outcome:
    """Pre-train, from a checkpoint if there is one.

    Returns:
        facts: "steps", "curves", "stopped", "images_per_second", "seconds"; tensors: the
        network's, by name.

    Raises:
        RegraftError: the loss is not finite, or the embeddings have collapsed.
    """
    with closing(Canvases(job.samples, job.backbone, job.tell)) as canvases:
        steps = planned_steps(job, canvases)
        checkpoint = job.run.checkpoint("pretrain", job.inputs)
        model, facts = make_model(job), dict[str, Any]()
        with closing(train(job, model, canvases, steps, checkpoint, facts)) as events:
            for event in events:
                job.tell(event)
    facts["frozen_intact"] = model.cut.certify(model.network) == model.cut.fingerprint()
    tensors = {n: _array(t) for n, t in model.network.tensors().items()}
    return Outcome(facts, tensors)


def make_model(job: Job) -> Model:
    """The network to train, frozen left of the cut, in channels-last."""
    network = build(job.backbone)
    cut = Cut(job.backbone, job.frozen)
    model = Model(network, cut, job.seed)
    cut.freeze(network)
    return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def planned_steps(job: Job, canvases: Canvases) -> int:
    """How many steps to take: those of the epochs, or those that the budget buys."""
    if job.budget_s is None:
        return max(1, len(job.samples) // job.batch) * job.settings.epochs
    budget_s = job.budget_s

    def compute() -> Outcome:
        model, timings = make_model(job), list[float]()
        model.train()
        for step in range(3):
            start = time.perf_counter()
            index_b = _order(job, step)
            _backward(job, model, canvases.rows(index_b), step, torch.empty(0, PROJECTED))
            timings.append(time.perf_counter() - start)
        seconds = float(np.median(timings))
        return Outcome({"steps": max(1, int(0.9 * budget_s / seconds)), "seconds_a_step": seconds})

    steps: Any = job.run.step("plan", job.inputs, compute).facts["steps"]
    return steps


def train(
    job: Job, model: Model, canvases: Canvases, steps: int, checkpoint: Checkpoint,
    facts: dict[str, Any],
) -> Generator[Event]:  # fmt: skip
    """Train `model` in place; `facts` gets what the report needs."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=job.settings.learning_rate, weight_decay=WEIGHT_DECAY)
    queue, facts_there = torch.empty(0, PROJECTED), checkpoint.load()
    facts |= {"steps": 0, "curves": [], "losses": [], "seconds": 0.0, "stopped": "all steps taken"}
    if facts_there is not None:
        queue = _restored(facts_there, model, optimiser)
        facts |= facts_there.facts
    every = max(1, steps // ROUNDS)
    saved_at = began = time.monotonic()
    step = facts["steps"]
    if not facts["curves"]:
        facts["curves"].append(_point(job, model, canvases, 0, None))
    with ThreadPoolExecutor(1) as ahead:
        coming: Future[np.ndarray] = ahead.submit(canvases.rows, _order(job, step))
        try:
            while step < steps:
                pixels = coming.result()
                coming = ahead.submit(canvases.rows, _order(job, step + 1))
                model.train()
                _set_rate(optimiser, job.settings.learning_rate, step, steps)
                optimiser.zero_grad(set_to_none=True)
                loss, keys = _backward(job, model, pixels, step, queue)
                if not math.isfinite(loss):
                    checkpoint.save(_state(facts, model, optimiser, queue))
                    some = [job.samples[i].id for i in _order(job, step)[:5]]
                    raise RegraftError(
                        f"the loss is {loss} at step {step + 1} of {steps}",
                        where=f"the batch that begins with {', '.join(some)}",
                        mend="the state before this step is kept; look at these pictures, "
                        "or begin anew with a lower learning rate",
                    )
                nn.utils.clip_grad_norm_(trained, 1.0)
                optimiser.step()
                if job.settings.negatives == "queue":
                    queue = enqueued(queue, keys, job.settings.queue)
                step += 1
                facts["steps"] = step
                facts["losses"].append(round(loss, 5))
                if step % every == 0 or step == steps:
                    facts["curves"].append(_point(job, model, canvases, step, loss))
                yield Stepped("pretrain", step, steps, loss)
                if step % every == 0 and _at_an_end(facts, job, step, steps):
                    break
                if time.monotonic() - saved_at > SAVE_EVERY_S:
                    facts["seconds"] += time.monotonic() - began
                    began = time.monotonic()
                    checkpoint.save(_state(facts, model, optimiser, queue))
                    saved_at = time.monotonic()
                    yield Saved(f"pretrain, step {step}")
        except GeneratorExit:
            checkpoint.save(_state(facts, model, optimiser, queue))
            raise
    facts["seconds"] += time.monotonic() - began
    facts["images_per_second"] = step * job.batch / max(facts["seconds"], 1e-9)
    model.eval()


def _backward(
    job: Job, model: Model, pixels: np.ndarray, step: int, queue: Tensor
) -> tuple[float, Tensor]:
    """Gradients of one batch: its loss, and its keys for the queue."""
    draws = generator(job.seed, "tiles", step).random((2, len(pixels), DRAWS))
    keys = torch.empty(0, PROJECTED)
    count = math.ceil(len(pixels) / job.settings.piece)
    pieces = np.array_split(np.arange(len(pixels)), count)

    def embed(some: np.ndarray) -> tuple[Tensor, ...]:
        batch = torch.from_numpy(pixels[some])
        tiles = torch.cat([augmented(batch, half[some], job.size_px) for half in draws])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(job.seed, "noise", step, int(some[0])))
            with torch.autocast("cpu", torch.bfloat16, enabled=job.settings.bf16):
                return model(tiles).float().chunk(2)

    def loss_of(a_bd: Tensor, b_bd: Tensor) -> Tensor:
        nonlocal keys
        keys = b_bd.detach()
        return nt_xent(a_bd, b_bd, job.settings.temperature, queue if len(queue) else None)

    return backward_in_pieces(model, embed, pieces, loss_of).item(), keys


def _order(job: Job, step: int) -> np.ndarray:
    """Which pictures a step sees: each epoch a new order."""
    epoch, place = divmod(step, max(1, len(job.samples) // job.batch))
    order_n = generator(job.seed, "order", "pretrain", epoch).permutation(len(job.samples))
    return order_n[place * job.batch : (place + 1) * job.batch]


def _point(job: Job, model: Model, canvases: Canvases, step: int, loss: float | None) -> Any:
    """One point of the curves."""
    some = generator(job.seed, "looked at").permutation(len(job.samples))[:LOOKED_AT]
    point: dict[str, Any] = {"step": step, "loss": loss}
    point |= embeddings_quality(job, model, canvases, np.sort(some)).to_json()
    if job.probe is not None:
        point |= job.probe(model.network.eval())
    return point


def embeddings_quality(job: Job, model: Model, canvases: Canvases, index_n: np.ndarray) -> Quality:
    """Of the projections of some pictures, with batch norm as it is in training.

    In training mode, because the running statistics are not yet true in early steps; they are
    left as they were.
    """
    from regraft.pretraining.losses import statistics_kept

    views: list[list[np.ndarray]] = [[], []]
    model.train()
    with torch.no_grad(), statistics_kept(model):
        for start in range(0, len(index_n), 128):
            some = index_n[start : start + 128]
            pixels = torch.from_numpy(canvases.rows(some))
            draws = generator(job.seed, "look", start).random((2, len(some), DRAWS))
            for half in (0, 1):
                views[half].append(model(augmented(pixels, draws[half], job.size_px)).numpy())
    return quality(*(np.concatenate(parts) for parts in views))


def _at_an_end(facts: dict[str, Any], job: Job, step: int, steps: int) -> bool:
    """Whether the probe has flattened; raises if the embeddings have collapsed."""
    points = facts["curves"]
    if step > WARM_UP * steps and len(points) > 2:
        last = [Quality(**{f.name: p[f.name] for f in fields(Quality)}) for p in points[-2:]]
        if all(q.collapsed for q in last):
            raise RegraftError(
                "the embeddings have collapsed: all pictures look alike to the network "
                f"(spread {last[-1].spread:.3f}, effective rank {last[-1].effective_rank:.1f})",
                where=f"step {step} of {steps}",
                mend="begin anew with a lower learning rate or a larger --batch; check that the "
                "pictures differ",
            )
    if job.probe is None or len(points) <= PATIENCE + 1:
        return False
    before = max(p["probe"] for p in points[:-PATIENCE])
    if max(p["probe"] for p in points[-PATIENCE:]) > before + LEAST_GAIN:
        return False
    facts["stopped"] = f"the probe has not improved in {PATIENCE} rounds"
    job.tell(Said(facts["stopped"]))
    return True


def _set_rate(optimiser: torch.optim.Optimizer, highest: float, step: int, steps: int) -> None:
    warm = max(1, round(WARM_UP * steps))
    share = (step + 1) / warm
    if step >= warm:
        share = 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    for group in optimiser.param_groups:
        group["lr"] = highest * share


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy().copy()


def _state(
    facts: dict[str, Any], model: Model, optimiser: torch.optim.Optimizer, queue: Tensor
) -> Outcome:
    tensors = {f"model.{name}": _array(t) for name, t in model.state_dict().items()}
    for i, parameter in enumerate(optimiser.param_groups[0]["params"]):
        for key, value in optimiser.state[parameter].items():
            tensors[f"optimiser.{i}.{key}"] = _array(value)
    return Outcome(facts, tensors | {"queue": _array(queue)})


def _restored(kept: Outcome, model: Model, optimiser: torch.optim.Optimizer) -> Tensor:
    """Put back what `_state` kept; gives the queue."""
    arrays = {name: torch.from_numpy(array.copy()) for name, array in kept.tensors.items()}
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            tensor.copy_(arrays[f"model.{name}"])
    for i, parameter in enumerate(optimiser.param_groups[0]["params"]):
        prefix = f"optimiser.{i}."
        for name in [n for n in arrays if n.startswith(prefix)]:
            value = arrays[name]
            if value.ndim == 4:
                value = value.contiguous(memory_format=torch.channels_last)
            optimiser.state[parameter][name.removeprefix(prefix)] = value
    return arrays["queue"]
