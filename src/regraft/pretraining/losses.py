"""The contrastive loss, and how one batch may be larger than memory.

Decisions:

- NT-Xent (Chen et al., "A simple framework for contrastive learning", 2020) over both directions:
  each of the 2b tiles must find its partner among all others. The loss is always computed in
  float32, whatever the network computes in.
- The alternative (MoCo; He et al., "Momentum contrast for unsupervised visual representation
  learning", 2020): what is trained gives queries, a slow copy of it gives keys, and a tile must
  find its partner's key among the keys of this batch and a queue of those of past ones.
- Gradient caching (Gao et al., "Scaling deep contrastive learning batch size under memory limited
  setup", 2021): the loss needs the vectors of all samples at once, the network does not. Vectors
  are computed without a graph, the loss gives each its gradient, and the network then sees the
  pieces again, one at a time. The price is a second forward pass; memory no longer grows with the
  batch. A small head between network and loss is part of the loss: it sees the whole batch.

Legend: b pairs in a batch, d dimensions, q keys in a queue.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Piece = TypeVar("Piece")


def nt_xent(
    a_bd: Tensor, b_bd: Tensor, temperature: float = 0.1, number_b: Tensor | None = None
) -> Tensor:
    """The normalised, temperature-scaled cross-entropy of pairs, symmetric.

    Args:
        a_bd: embeddings of one view, of any length.
        b_bd: embeddings of the other; row i belongs with row i of `a_bd`.
        temperature: what cosines are divided by.
        number_b: samples with the same number are copies, and no negatives of each other; None is
            none.

    Returns:
        the mean over the 2b rows.
    """
    rows = torch.cat([functional.normalize(x.float(), dim=1) for x in (a_bd, b_bd)])
    logits = rows @ rows.T / temperature
    index_b = torch.arange(len(a_bd), device=a_bd.device)
    partner = torch.cat([index_b + len(a_bd), index_b])
    number = (index_b if number_b is None else number_b).repeat(2)
    own = number[:, None] == number
    own = own.scatter(1, partner[:, None], False)  # itself, and copies
    return functional.cross_entropy(logits.masked_fill(own, float("-inf")), partner)


def momentum_contrast(
    queries: tuple[Tensor, Tensor],
    keys: tuple[Tensor, Tensor],
    temperature: float,
    queue_qd: Tensor,
    number_b: Tensor,
    number_q: Tensor,
) -> Tensor:
    """The cross-entropy of queries among keys, symmetric: each view must find the other's key.

    Args:
        queries: embeddings of the two views by what is trained, each (b, d).
        keys: of the same views in the same order, by the momentum encoder; no gradient goes there.
        temperature: what cosines are divided by.
        queue_qd: keys of past batches, normalised; may be empty.
        number_b: samples with the same number are one, or copies: no negatives of each other.
        number_q: of the samples that keys in the queue come from.

    Returns:
        the mean over the 2b rows.
    """
    losses = list[Tensor]()
    partner = torch.arange(len(number_b), device=number_b.device)
    own = number_b[:, None] == torch.cat([number_b, number_q])
    own = own.scatter(1, partner[:, None], False)
    a_key_bd, b_key_bd = keys
    for query_bd, key_bd in zip(queries, (b_key_bd, a_key_bd), strict=True):
        query_bd = functional.normalize(query_bd.float(), dim=1)
        key_bd = functional.normalize(key_bd.detach().float(), dim=1)
        logits = torch.cat([query_bd @ key_bd.T, query_bd @ queue_qd.T], dim=1) / temperature
        losses.append(functional.cross_entropy(logits.masked_fill(own, float("-inf")), partner))
    return torch.stack(losses).mean()


def enqueued(queue_qd: Tensor, key_bd: Tensor, most: int) -> Tensor:
    """The queue with new keys (normalised) at its front, and the oldest left out."""
    fresh_bd = functional.normalize(key_bd.detach().float(), dim=1)
    return torch.cat([fresh_bd, queue_qd])[:most]


# Batches larger than memory -----------------------------------------------------------------------


def backward_in_pieces(
    network: nn.Module,
    embed: Callable[[Piece], tuple[Tensor, ...]],
    pieces: Sequence[Piece],
    loss_of: Callable[..., Tensor],
) -> Tensor:
    """Loss and gradients of a whole batch, with the graph of one piece at a time.

    Gradients equal those of one pass over all pieces, where the network treats samples one by
    one. Batch norm does not: its statistics are those of a piece, as in any training with small
    batches. Its running statistics move once for each piece, in the second pass.

    Args:
        network: what `embed` runs; gradients are added to its parameters.
        embed: a piece to vectors, one tensor (b, d) for each view; must give the same each time it
            is called for a piece.
        pieces: of the batch.
        loss_of: takes the vectors of all pieces, one tensor for each view. Gradients are added to
            what parameters it has, and it is called once: its norms see the batch as a whole.

    Returns:
        the loss, without a graph. If it is not finite, no gradients are made.
    """
    if len(pieces) == 1:
        loss = loss_of(*embed(pieces[0]))
        if torch.isfinite(loss):
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
        return loss.detach()
    with torch.no_grad(), statistics_kept(network):
        parts = [embed(piece) for piece in pieces]
    views = [torch.cat(list(some)).requires_grad_() for some in zip(*parts, strict=True)]
    loss = loss_of(*views)
    if not torch.isfinite(loss):
        return loss.detach()
    loss.backward()  # pyright: ignore[reportUnknownMemberType]
    start = 0
    for piece in pieces:
        again = embed(piece)
        stop = start + len(again[0])
        grads = [view.grad[start:stop] for view in views if view.grad is not None]
        if again[0].requires_grad:  # else nothing before the loss is trained
            torch.autograd.backward(again, grads)
        start = stop
    return loss.detach()


@dataclass
class Kept:
    """What a forward pass keeps for the way back, without the parameters.

    Attributes:
        bytes: counted so far.
    """

    bytes: int = 0


@contextmanager
def kept_for_gradients(network: nn.Module) -> Generator[Kept]:
    """Count what `network` keeps for its gradients while the block runs."""
    seen = {p.untyped_storage().data_ptr() for p in (*network.parameters(), *network.buffers())}
    kept = Kept()

    def count(x: Tensor) -> Tensor:
        memory = x.untyped_storage()
        if memory.data_ptr() not in seen:
            seen.add(memory.data_ptr())
            kept.bytes += memory.nbytes()
        return x.detach()  # itself would be a circle through what made it, never freed

    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        yield kept


@contextmanager
def statistics_kept(network: nn.Module) -> Generator[None]:
    """While the block runs, norm layers use a batch's statistics and do not remember them."""
    layers = [
        (m, m.momentum)
        for m in network.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]
    ]
    counts = [None if m.num_batches_tracked is None else m.num_batches_tracked.clone()
              for m, _ in layers]  # fmt: skip
    for layer, _ in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for (layer, momentum), count in zip(layers, counts, strict=True):
            layer.momentum = momentum
            if count is not None and layer.num_batches_tracked is not None:
                layer.num_batches_tracked.copy_(count)
