"""The contrastive objective: two views of one sample must find each other.

Pictures and clips share the loss, the model, the queue and the measures, which are here; what is
read, and how a view is cut from it, is in `pictures.py` (and a file of its own for each further
kind of footage).

Decisions:

- Order, views and noise are pure functions of (seed, step): a resumed run is the same run.
- Copies in the pool are no negatives of each other: a tile must not be driven from what shows the
  same.
- With a queue, partners and negatives are keys of a momentum encoder; see `momentum.py`.
- The projection head (two layers, batch norm between, 128 numbers; SimCLR) is thrown away. It and
  the loss see the whole batch at once, however small the pieces are that the network sees: what is
  cached between its two passes are the network's vectors.
- A piece's rows are read when its turn comes, in each pass anew: memory holds two pieces, this one
  and the next, whatever the batch is.

Legend: b samples in a batch or a piece of it, n in the pool, w the network's width, d numbers of an
embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Protocol, final

import numpy as np
import torch
from torch import Tensor, nn

from regraft.backbones import Network, build
from regraft.dataset import Sample
from regraft.errors import TrainingFailed
from regraft.pretraining.augment import DRAWS
from regraft.pretraining.losses import (
    backward_in_pieces,
    kept_for_gradients,
    nt_xent,
    statistics_kept,
)
from regraft.pretraining.momentum import Momentum, Pair
from regraft.pretraining.objective import Job, Learner, Objective, Point
from regraft.pretraining.quality import Quality, quality
from regraft.pretraining.settings import Settings
from regraft.seeds import generator, seed_of
from regraft.store import Outcome
from regraft.transfer.ahead import Ahead
from regraft.transfer.cut import Cut
from regraft.transfer.loop import noise_of
from regraft.transfer.products import rounded, throughout

PIECE, PIECE_BYTES = 256, 4 * 10**9
"""The network sees at once what keeps so many bytes for the way back, and no more samples."""
WARM_UP = 0.1
"""Share of the steps in which embeddings may still look collapsed."""
WEIGHT_DECAY = 1e-4
PROJECTED = 128
LOOKED_AT = 512
"""Samples on which embeddings are measured."""


@final
@dataclass(frozen=True)
class Rows:
    """Some samples of the pool, as views are cut from them.

    Attributes:
        pixels_b: uint8 (b, …, height, width, 3), squares.
        aspect_b: width over height of what each shows; it is squeezed where that is not 1.
    """

    pixels_b: np.ndarray
    aspect_b: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels_b)

    def pixels(self) -> Tensor:
        """`pixels_b` as a tensor."""
        return torch.from_numpy(self.pixels_b)


class Footage(Protocol):
    """What views are cut from."""

    def rows(self, index_b: np.ndarray) -> Rows:
        """Some samples of the pool; called from another thread, ahead of use."""
        ...

    def close(self) -> None:
        """End what it began."""
        ...


class Contrastive(Objective, Protocol):
    """The objective for any footage."""

    def footage(self, job: Job) -> Footage:
        """The pool as rows."""
        ...

    def copies(self, samples: Sequence[Sample]) -> np.ndarray:
        """Number_n of samples: copies, which are no negatives of each other, have the same."""
        ...

    def views(self, model: Model, rows: Rows, draws_2bk: np.ndarray, half: int) -> Tensor:
        """One of the two random views of each row, as stage 0 of the network takes it.

        Args:
            model: which it is for.
            rows: as `footage` gives them.
            draws_2bk: in 0…1, shape (2, b, DRAWS); views are a pure function of row and draws.
            half: which view: 0 or 1.
        """
        ...


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

    def forward(self, x: Tensor) -> Tensor:
        """Embedding_bd of views as stage 0 takes them."""
        return self.projection(self.vectors(x))

    def projected(self, a_bw: Tensor, b_bw: Tensor) -> Pair:
        """Embeddings of two views by their vectors; batch norm looks at both together."""
        a_bd, b_bd = self.projection(torch.cat([a_bw, b_bw])).chunk(2)
        return a_bd, b_bd

    def vectors(self, x: Tensor) -> Tensor:
        """Vector_bw of views as stage 0 takes them."""
        values = (x,)
        stages = len(self.network.stages)
        with torch.no_grad() if self.cut.frozen else nullcontext():
            values = self.network.run(values, 0, self.cut.frozen)
        return self.network.run(values, self.cut.frozen, stages)[0]


@final
class Contrast(Learner):
    """One contrastive training."""

    def __init__(self, objective: Contrastive, job: Job) -> None:
        settings = objective.settings
        assert isinstance(settings, Settings), settings
        self.settings = settings
        self._objective, self._job = objective, job
        self._footage = objective.footage(job)
        self._number_n = torch.from_numpy(objective.copies(job.samples))
        self._permuted = lru_cache(maxsize=2)(self._permutation)
        self.model = make_model(job)
        self._momentum: Momentum[Model] | None = None
        if settings.queue is not None and settings.momentum is not None:
            self._momentum = Momentum(self.model, settings.momentum, settings.queue, PROJECTED)
        self._keys: Pair | None = None
        self._bf16 = job.in_bfloat16(settings.bf16)
        piece = self._fitting_piece() if settings.piece is None else self._frames(settings.piece)
        count = min(self.size, math.ceil(self.size / piece))
        self._pieces = np.array_split(np.arange(self.size), count)
        passes = 2 if self._momentum is None else 3
        self._reads = 1 if count == 1 else count * passes
        self._ahead = Ahead(self._read)

    @property
    def network(self) -> Network:
        """See `Learner`."""
        return self.model.network

    @property
    def cut(self) -> Cut:
        """See `Learner`."""
        return self.model.cut

    @property
    def size(self) -> int:
        """Samples in a batch: no more than there are."""
        return min(self.settings.batch, len(self._job.samples))

    @property
    def steps_an_epoch(self) -> int:
        """See `Learner`."""
        return max(1, len(self._job.samples) // self.size)

    def groups(self) -> list[dict[str, Any]]:
        """See `Learner`."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        rate = self.settings.learning_rate
        return [{"params": trained, "lr": rate, "weight_decay": WEIGHT_DECAY}]

    def backward(self, step: int) -> float:
        """See `Learner`."""
        self.model.train()
        draws = generator(self._job.seed, "tiles", step).random((2, self.size, DRAWS))
        reads = iter(range(step * self._reads, (step + 1) * self._reads))

        @lru_cache(maxsize=1)  # both networks see the same views of a batch in one piece
        def views(piece: int) -> Tensor:
            rows, some = self._ahead.of(next(reads)), self._pieces[piece]
            pair = [
                self._objective.views(self.model, rows, draws[:, some], half) for half in (0, 1)
            ]
            return torch.cat(pair)

        def vectors(piece: int, by: Model = self.model) -> Pair:
            return self._vectors(by, views(piece), (step, int(self._pieces[piece][0])))

        temperature, momentum = self.settings.temperature, self._momentum
        pieces, number_b = range(len(self._pieces)), self._numbers(step)
        if momentum is None:

            def loss_of(a_bw: Tensor, b_bw: Tensor) -> Tensor:
                return nt_xent(*self._projected(self.model, a_bw, b_bw), temperature, number_b)

        else:
            with torch.no_grad():
                made = [vectors(piece, momentum.model) for piece in pieces]
                a_bw, b_bw = (torch.cat(some) for some in zip(*made, strict=True))
                keys = self._keys = self._projected(momentum.model, a_bw, b_bw)

            def loss_of(a_bw: Tensor, b_bw: Tensor) -> Tensor:
                queries = self._projected(self.model, a_bw, b_bw)
                return momentum.loss(queries, keys, number_b, temperature)

        return backward_in_pieces(self.model, vectors, pieces, loss_of).item()

    def _vectors(self, by: Model, views: Tensor, place: tuple[int, int]) -> Pair:
        """The network's vectors of both views of some samples; its noise is that of a place."""
        with noise_of(self._job.seed, "noise", *place), throughout(by.network, self._bf16):
            a_bw, b_bw = by.vectors(views).float().chunk(2)
        return a_bw, b_bw

    def _projected(self, by: Model, a_bw: Tensor, b_bw: Tensor) -> Pair:
        with rounded(by.projection, self._bf16):
            return by.projected(a_bw, b_bw)

    def stepped(self, step: int) -> None:
        """See `Learner`."""
        if self._momentum is not None and self._keys is not None:
            self._momentum.follow(self.model, self._keys, self._numbers(step))

    def named(self, step: int) -> str:
        """See `Learner`."""
        some = [self._job.samples[i].id for i in self._order(step)[:5]]
        return f"the batch that begins with {', '.join(some)}"

    def amount(self, step: int) -> int:
        """See `Learner`."""
        return self.size

    def state(self) -> dict[str, Tensor]:
        """See `Learner`."""
        model = self.model.state_dict(keep_vars=True)
        return {**model, **(self._momentum.state() if self._momentum is not None else {})}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See `Learner`."""
        if self._momentum is not None:
            self._momentum.restore(tensors)
        with torch.no_grad():
            for name, tensor in self.model.state_dict(keep_vars=True).items():
                tensor.copy_(tensors[name])

    def measure(self) -> Point:
        """Quality of the projections of some samples, with batch norm as it is in training.

        In training mode, because the running statistics are not yet true in early steps; they are
        left as they were.
        """
        some = generator(self._job.seed, "looked at").permutation(len(self._job.samples))
        index_n = np.sort(some[:LOOKED_AT])
        parts: list[list[Tensor]] = [[], []]
        self.model.train()
        size, start = max(8, 128 // max(1, self._job.backbone.frames)), 0
        with (
            torch.no_grad(),
            statistics_kept(self.model),
            noise_of(self._job.seed, "noise", "look"),
        ):
            # Parts of about one size: batch norm cannot do with a last part of a single sample.
            for some_n in np.array_split(index_n, math.ceil(len(index_n) / size)):
                rows = self._footage.rows(some_n)
                draws = generator(self._job.seed, "look", start).random((2, len(rows), DRAWS))
                start += len(rows)
                for half in (0, 1):
                    view = self._objective.views(self.model, rows, draws, half)
                    parts[half].append(self.model.vectors(view))
            a_nd, b_nd = self.model.projected(*(torch.cat(some) for some in parts))
        return quality(a_nd.numpy(), b_nd.numpy()).to_json()

    def check(self, points: Sequence[Point], share: float) -> None:
        """Raise if the embeddings have collapsed."""
        if share <= WARM_UP or len(points) <= 2:
            return
        last = [Quality(**{f.name: p[f.name] for f in fields(Quality)}) for p in points[-2:]]
        if all(q.collapsed for q in last):
            raise TrainingFailed(
                "the embeddings have collapsed: all samples look alike to the network "
                f"(spread {last[-1].spread:.3f}, effective rank {last[-1].effective_rank:.1f})",
                where=f"step {points[-1]['step']}",
                mend="begin anew with a lower learning rate or a larger --batch; check that the "
                "samples differ",
            )

    def findings(self) -> dict[str, Any]:
        """See `Learner`: what it computes in."""
        return {"bf16": self._bf16}

    def extras(self) -> dict[str, Tensor]:
        """See `Learner`; the projection is thrown away."""
        return {}

    def close(self) -> None:
        """See `Learner`."""
        self._ahead.close()
        self._footage.close()

    def _frames(self, piece: int) -> float:
        """Samples in a piece; of clips it counts the frames."""
        return piece / max(1, self._job.backbone.frames)

    def _fitting_piece(self) -> float:
        """Samples that the network sees at once, by what one of them keeps for the way back.

        Remembered, because batch norm looks at a piece: a run that goes on goes on with the same.
        """

        def compute() -> Outcome:
            most = max(1.0, PIECE_BYTES // self._kept_a_sample())
            return Outcome({"piece": min(self._frames(PIECE), most)})

        facts: Any = self._job.memo("piece", compute).facts
        return facts["piece"]

    def _kept_a_sample(self) -> int:
        """Bytes; of one sample, whose two views are enough for batch norm."""
        rows = self._footage.rows(np.arange(1))
        draws = generator(self._job.seed, "piece").random((2, 1, DRAWS))
        self.model.train()
        with statistics_kept(self.model), kept_for_gradients(self.model) as kept:
            views = [self._objective.views(self.model, rows, draws, half) for half in (0, 1)]
            graph = self._vectors(self.model, torch.cat(views), (0, 0))
        del graph  # until here, so that no memory is used twice and counted once
        return max(1, kept.bytes)

    def _read(self, read: int) -> Rows:
        """The rows of a piece; they are read in the order in which a step's passes want them."""
        step, nth = divmod(read, self._reads)
        return self._footage.rows(self._order(step)[self._pieces[nth % len(self._pieces)]])

    def _order(self, step: int) -> np.ndarray:
        """Which samples a step sees: each epoch a new order."""
        epoch, place = divmod(step, self.steps_an_epoch)
        return self._permuted(epoch)[place * self.size : (place + 1) * self.size]

    def _numbers(self, step: int) -> Tensor:
        """Number_b of a step's samples; see `Contrastive.copies`."""
        return self._number_n[torch.from_numpy(self._order(step))]

    def _permutation(self, epoch: int) -> np.ndarray:
        samples = len(self._job.samples)
        return generator(self._job.seed, "order", "pretrain", epoch).permutation(samples)


def make_model(job: Job) -> Model:
    """The network to train, frozen left of the cut, in channels-last."""
    network = build(job.backbone, random_seed=job.seed if job.from_scratch else None)
    cut = Cut(job.backbone, job.frozen)
    model = Model(network, cut, job.seed)
    cut.freeze(network)
    return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
