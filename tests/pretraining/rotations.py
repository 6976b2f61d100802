"""A third objective, in one file: which way up is a picture? (Gidaris et al. 2018)

It is written as docs/add-an-objective.md says, and nothing else in the package knows of it.

Legend: n pictures of the pool, b in a batch, c channels of a network's vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from regraft.backbones import DEFAULT, Backbone, build
from regraft.dataset import Dataset, Sample, View, read_unlabelled
from regraft.events import Tell
from regraft.pretraining import Control, Job, Learner
from regraft.pretraining.objective import Point
from regraft.seeds import generator, seed_of
from regraft.transfer.cut import Cut
from regraft.transfer.pictures import look

TURNS = 4


@dataclass(frozen=True)
class RotationSettings:
    batch: int = 16
    epochs: int = 10
    keep_duplicates: bool = False


@final
@dataclass(frozen=True)
class Rotations:
    settings: RotationSettings = field(default_factory=RotationSettings)
    name: str = "rotations"
    modality: str = "image"
    unit: str = "pictures"
    watched: str = ""
    clip_s: float | None = None

    def recognises(self, path: Path) -> bool:
        return path.is_dir()

    def starting_from(self, backbone: str | None) -> str:
        return backbone or DEFAULT

    def read(self, path: Path, apart_from: Sequence[Sample], max_bad: float, tell: Tell) -> Dataset:
        return read_unlabelled(
            path, apart_from=apart_from, keep_leaks=self.settings.keep_duplicates, max_bad=max_bad,
            tell=tell,
        )  # fmt: skip

    def sized(self, backbone: Backbone) -> Backbone:
        return backbone

    def open(self, job: Job) -> Learner:
        return Turning(self.settings, job)

    def control(self) -> Control | None:
        return None


@final
class Turning(Learner):
    def __init__(self, settings: RotationSettings, job: Job) -> None:
        self._job, self._size = job, min(settings.batch, len(job.samples))
        self._pixels_nhwc = np.stack([look(s, [View()], job.backbone)[0] for s in job.samples])
        self._network = build(job.backbone, random_seed=job.seed if job.from_scratch else None)
        self._cut = Cut(job.backbone, job.frozen)
        self._cut.freeze(self._network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(job.seed, "head"))
            self._head = nn.Linear(job.backbone.width, TURNS)

    @property
    def network(self):
        return self._network

    @property
    def cut(self) -> Cut:
        return self._cut

    @property
    def steps_an_epoch(self) -> int:
        return len(self._job.samples) // self._size

    def groups(self) -> list[dict[str, Any]]:
        every = (*self._network.parameters(), *self._head.parameters())
        return [{"params": [p for p in every if p.requires_grad], "lr": 1e-2}]

    def backward(self, step: int) -> float:
        self._network.train()
        said_bt, turn_b = self._answers(self._batch(step), step)
        loss = nn.functional.cross_entropy(said_bt, turn_b)
        loss.backward()
        return loss.item()

    def stepped(self, step: int) -> None:
        pass

    def named(self, step: int) -> str:
        return f"the batch that begins with {self._job.samples[self._batch(step)[0]].id}"

    def amount(self, step: int) -> int:
        return self._size

    def state(self) -> dict[str, Tensor]:
        return self._network.tensors() | {f"head.{n}": p for n, p in self._head.named_parameters()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self.state().items():
                tensor.copy_(tensors[name])

    def measure(self) -> Point:
        self._network.eval()
        with torch.no_grad():
            said_nt, turn_n = self._answers(np.arange(len(self._job.samples)), -1)
        return {"turns_right": float((said_nt.argmax(1) == turn_n).float().mean())}

    def check(self, points: Sequence[Point], share: float) -> None:
        pass

    def findings(self) -> dict[str, Any]:
        return {"turns": TURNS}

    def extras(self) -> dict[str, Tensor]:
        return {}

    def close(self) -> None:
        pass

    def _batch(self, step: int) -> np.ndarray:
        order_n = generator(self._job.seed, "order", step).permutation(len(self._job.samples))
        return order_n[: self._size]

    def _answers(self, index_b: np.ndarray, step: int) -> tuple[Tensor, Tensor]:
        """Logits_bt of pictures, each turned, and how often by a quarter."""
        turn_b = generator(self._job.seed, "turns", step + 1).integers(0, TURNS, len(index_b))
        turned = [np.rot90(self._pixels_nhwc[i], k) for i, k in zip(index_b, turn_b, strict=True)]
        vector_bc = self._network(torch.from_numpy(np.stack(turned)))
        return self._head(vector_bc), torch.from_numpy(turn_b)
