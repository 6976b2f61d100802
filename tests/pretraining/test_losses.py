import gc
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from regraft.pretraining import losses


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def by_definition(
    a: torch.Tensor, b: torch.Tensor, temperature: float, numbers: Sequence[int]
) -> float:
    rows = nn.functional.normalize(torch.cat([a, b]).double(), dim=1)
    alike = (rows @ rows.T / temperature).exp()
    count, total = len(a), 0.0
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = sum(
            alike[i, j]
            for j in range(2 * count)
            if j == partner or numbers[j % count] != numbers[i % count]
        )
        total -= float((alike[i, partner] / others).log())
    return total / (2 * count)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_nt_xent_is_its_definition(temperature: float) -> None:
    a, b = vectors(7, 5), vectors(7, 5, seed=1)
    assert losses.nt_xent(a, b, temperature).item() == pytest.approx(
        by_definition(a, b, temperature, range(7)), rel=1e-6
    )


def test_copies_are_no_negatives_of_each_other() -> None:
    a, b = vectors(7, 5), vectors(7, 5, seed=1)
    numbers = [4, 9, 4, 0, 4, 0, 7]
    wanted = by_definition(a, b, 0.2, numbers)
    loss = losses.nt_xent(a.requires_grad_(), b, 0.2, torch.tensor(numbers))
    assert loss.item() == pytest.approx(wanted, rel=1e-6)
    all_copies = losses.nt_xent(a, b, 0.2, torch.zeros(7, dtype=torch.int64))
    assert all_copies.item() == 0
    (loss + all_copies).backward()
    assert torch.isfinite(a.grad).all()


def test_nt_xent_is_lightlys() -> None:
    theirs = pytest.importorskip("lightly.loss").NTXentLoss(temperature=0.2)
    a, b = vectors(32, 16), vectors(32, 16, seed=1)
    mine_a, their_a = a.clone().requires_grad_(), a.clone().requires_grad_()
    ours, other = losses.nt_xent(mine_a, b, 0.2), theirs(their_a, b)
    assert ours.item() == pytest.approx(other.item(), abs=1e-6)
    ours.backward()
    other.backward()
    assert torch.allclose(mine_a.grad, their_a.grad, atol=1e-6)


def momentum_by_definition(
    queries: tuple[torch.Tensor, ...],
    keys: tuple[torch.Tensor, ...],
    queue: torch.Tensor,
    numbers: torch.Tensor,
    queued: torch.Tensor,
) -> float:
    """Row by row: the partner's key among the keys of the other view and of what is queued."""
    cosine, total = nn.functional.cosine_similarity, 0.0
    for query, key in ((queries[0], keys[1]), (queries[1], keys[0])):
        for i, row in enumerate(query.double()):
            known = zip([*key, *queue], [*numbers, *queued], strict=True)
            others = [k for k, number in known if number != numbers[i]]
            cosines = [cosine(row, k.double(), dim=0) for k in [key[i], *others]]
            total -= (torch.stack(cosines) / 0.2).log_softmax(dim=0)[0].item()
    return total / (2 * len(numbers))


def test_momentum_contrast_is_its_definition_and_only_queries_learn() -> None:
    queries = tuple(vectors(6, 4, seed=s).requires_grad_() for s in (0, 1))
    keys = tuple(vectors(6, 4, seed=s).requires_grad_() for s in (2, 3))
    queue = nn.functional.normalize(vectors(9, 4, seed=4))
    numbers = torch.tensor([0, 1, 2, 3, 3, 5])  # the fourth and the fifth are copies
    queued = torch.tensor([2, 2, 2, 8, 3, 8, 9, 10, 5])
    loss = losses.momentum_contrast(queries, keys, 0.2, queue, numbers, queued)
    wanted = momentum_by_definition(queries, keys, queue, numbers, queued)
    assert loss.item() == pytest.approx(wanted, rel=1e-6)
    none = queue[:0], numbers, queued[:0]
    alone = losses.momentum_contrast(queries, keys, 0.2, *none)
    assert alone.item() == pytest.approx(momentum_by_definition(queries, keys, *none), rel=1e-6)
    loss.backward()
    assert all(query.grad is not None for query in queries)
    assert all(key.grad is None for key in keys)


def test_momentum_contrast_is_lightlys_where_negatives_are_the_queue_alone() -> None:
    """One pair a batch has no other keys, as in lightly's memory bank."""
    theirs = pytest.importorskip("lightly.loss").NTXentLoss(0.2, memory_bank_size=(9, 4))
    queries = tuple(vectors(1, 4, seed=s) for s in (0, 1))
    keys = tuple(vectors(1, 4, seed=s) for s in (2, 3))
    queue = nn.functional.normalize(vectors(9, 4, seed=4))
    wanted = []
    for query, key in ((queries[0], keys[1]), (queries[1], keys[0])):
        theirs.memory_bank.bank = queue.clone()
        theirs.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
        wanted.append(theirs(query, key).item())
    numbers = torch.zeros(1, dtype=torch.int64), torch.arange(1, 10)
    loss = losses.momentum_contrast(queries, keys, 0.2, queue, *numbers)
    assert loss.item() == pytest.approx(sum(wanted) / 2, abs=1e-6)


def test_the_queue_keeps_the_newest_keys() -> None:
    queue = losses.enqueued(vectors(0, 8), vectors(12, 8), 16)
    queue = losses.enqueued(queue, vectors(6, 8, seed=1), 16)
    assert len(queue) == 16
    assert torch.allclose(queue[:6], nn.functional.normalize(vectors(6, 8, seed=1)))


def network(norm: bool) -> nn.Sequential:
    torch.manual_seed(0)
    middle: nn.Module = nn.BatchNorm1d(8) if norm else nn.LayerNorm(8)
    return nn.Sequential(nn.Linear(6, 8), middle, nn.GELU(), nn.Linear(8, 4))


def test_gradients_in_pieces_are_those_of_the_whole_batch() -> None:
    net, a, b = network(norm=False), vectors(48, 6), vectors(48, 6, seed=1)
    loss = losses.nt_xent(net(a), net(b))
    loss.backward()
    whole = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    pieces = list(zip(a.split(7), b.split(7), strict=True))
    cached = losses.backward_in_pieces(
        net, lambda piece: (net(piece[0]), net(piece[1])), pieces, losses.nt_xent
    )
    assert cached.item() == pytest.approx(loss.item(), abs=1e-6)
    for mine, plain in zip((p.grad for p in net.parameters()), whole, strict=True):
        assert torch.allclose(mine, plain, atol=1e-5), (mine - plain).abs().max()


def test_with_batch_norm_pieces_have_their_own_statistics_and_are_remembered_once() -> None:
    net, other, x = network(norm=True), network(norm=True), vectors(16, 6)
    pieces = x.split(8)
    losses.backward_in_pieces(
        net, lambda piece: (net(piece), net(piece * 1.1)), pieces, losses.nt_xent
    )
    plain = [(other(p), other(p * 1.1)) for p in pieces]
    losses.nt_xent(*(torch.cat(v) for v in zip(*plain, strict=True))).backward()
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-5)
    for mine, theirs in zip(net.buffers(), other.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_what_is_kept_for_gradients_is_counted_and_let_go() -> None:
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU())
    with losses.kept_for_gradients(network) as kept:
        y_bd = network(torch.zeros(10, 64))
    # The input, and what the ReLU gave: parameters are there anyway.
    assert kept.bytes == 4 * 10 * (64 + 256)
    alive = weakref.ref(y_bd)
    del y_bd
    gc.collect()
    assert alive() is None
