"""Negatives of past batches: a momentum encoder, and the queue of the keys it made.

Decisions:

- He et al., "Momentum contrast for unsupervised visual representation learning", 2020. The copy
  follows the trained model slowly, so that keys of different steps may be compared.
- What an earlier step made of a sample is no negative for the sample itself, nor for copies of it:
  of a small pool the queue holds every sample several times. Samples go by numbers, which copies
  share.
- Norm layers see a batch, queries and keys alike: nothing is shuffled, as that source does between
  devices, because a process has one. Statistics that a copy would keep are never used.

Legend: b samples in a batch, d numbers of an embedding, q keys in the queue.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Generic, TypeVar, final

import torch
from torch import Tensor, nn

from regraft.pretraining.losses import enqueued, momentum_contrast

Trained = TypeVar("Trained", bound=nn.Module)
Pair = tuple[Tensor, Tensor]
"""Embeddings of the two views of each sample, each float (b, d)."""


@final
class Momentum(Generic[Trained]):
    """A slow copy of a model, and the queue.

    Args:
        model: what is trained.
        share: of itself that the copy keeps in each step, from 0 to below 1.
        most: keys in the queue.
        width: d.
    """

    def __init__(self, model: Trained, share: float, most: int, width: int) -> None:
        self.model = deepcopy(model).requires_grad_(False).train()
        self._share, self._most = share, most
        self._queue = torch.empty(0, width)
        self._queued = torch.empty(0, dtype=torch.int64)

    def loss(self, queries: Pair, keys: Pair, number_b: Tensor, temperature: float) -> Tensor:
        """What `momentum_contrast` gives for these samples and the queue as it is."""
        return momentum_contrast(queries, keys, temperature, self._queue, number_b, self._queued)

    def follow(self, model: Trained, keys: Pair, number_b: Tensor) -> None:
        """Take a step towards `model`, and queue these samples' keys of the second view."""
        with torch.no_grad():
            pairs = zip(self.model.parameters(), model.parameters(), strict=True)
            for mine, theirs in pairs:
                if theirs.requires_grad:
                    mine.lerp_(theirs, 1 - self._share)
        self._queue = enqueued(self._queue, keys[1], self._most)
        self._queued = torch.cat([number_b, self._queued])[: self._most]

    def state(self) -> dict[str, Tensor]:
        """All that changes, by name; themselves, not copies."""
        weights = {f"slow.{name}": one for name, one in self.model.named_parameters()}
        return {**weights, "queue": self._queue, "queued": self._queued}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self._queue, self._queued = tensors["queue"], tensors["queued"]
        with torch.no_grad():
            for name, one in self.model.named_parameters():
                one.copy_(tensors[f"slow.{name}"])
