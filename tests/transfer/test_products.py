"""What is computed in bfloat16 while a network learns, and what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regraft.backbones import build, open_backbone
from regraft.dataset import View
from regraft.store import Run
from regraft.transfer import fit
from regraft.transfer.cut import Cut
from regraft.transfer.fit import Rung, Tail
from regraft.transfer.products import rounded, throughout


class Uneven(nn.Conv2d):
    """Pads in a way of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(input, (0, 1, 0, 1)))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Uneven(3, 8, 2), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1), nn.Flatten(),
        nn.Linear(4 * 7 * 7, 5),
    )  # fmt: skip


def example() -> Tensor:
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def test_dense_layers_round_and_give_float32_with_gradients_in_float32() -> None:
    one, other = network(), network()
    plain = one(example())
    with rounded(other):
        quick = other(example())
        with rounded(other):  # twice is once
            assert torch.equal(other(example()), quick)
    assert quick.dtype == torch.float32
    assert not torch.equal(quick, plain)
    torch.testing.assert_close(quick, plain, rtol=0.05, atol=0.02)
    plain.square().sum().backward()
    quick.square().sum().backward()
    for before, after in zip(one.parameters(), other.parameters(), strict=True):
        assert before.grad is not None and after.grad is not None
        assert after.grad.dtype == torch.float32
        error = (after.grad - before.grad).norm() / before.grad.norm()
        assert error < 0.05


class Scaled(nn.Linear):
    """Takes more than one argument."""

    def forward(self, input: Tensor, scale: float = 1.0) -> Tensor:
        return scale * super().forward(input)


def test_layers_may_be_called_as_they_like() -> None:
    layer = Scaled(4, 3)
    x_bd = torch.randn(2, 4)
    with rounded(layer):
        torch.testing.assert_close(layer(input=x_bd, scale=2.0), 2 * layer(x_bd))


def test_single_channel_filters_and_names_stay_as_they_are() -> None:
    whole = network()
    names = list(whole.state_dict())
    x_bchw = torch.randn(2, 8, 9, 9)
    with rounded(whole):
        assert torch.equal(whole[1](x_bchw), network()[1](x_bchw))
        assert list(whole.state_dict()) == names


def test_it_ends_with_the_training_also_where_that_breaks_off() -> None:
    whole = network()
    plain = whole(example())
    with pytest.raises(ZeroDivisionError), rounded(whole):
        raise ZeroDivisionError
    assert torch.equal(whole(example()), plain)
    with rounded(whole, where=False):
        assert torch.equal(whole(example()), plain)


class _Noise:
    """Some rows at a cut."""

    def __init__(self, cut: Cut, count: int) -> None:
        random = np.random.default_rng(0)
        self.parts = [random.normal(size=(count, *s)).astype(np.float32) for s in cut.shapes]

    def rows(self, sample_index: np.ndarray, view_index: int = 0) -> tuple[np.ndarray, ...]:
        return tuple(part[sample_index] for part in self.parts)


@pytest.mark.parametrize("has", [False, True])
def test_a_rung_learns_in_it_where_the_processor_has_it_and_answers_in_float32(
    has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What enters the pooling is rounded to no more than 8 bits of mantissa, or is not."""
    monkeypatch.setattr(fit, "has_bfloat16", lambda: has)
    backbone = open_backbone("efficientnet-lite0")
    cut = Cut(backbone, len(backbone.stages) - 1)
    net = build(backbone)
    torch.manual_seed(0)
    tail = Tail(net, cut, nn.Linear(backbone.width, 2))
    cut.freeze(net)
    rounds: list[bool] = []

    def look(_: nn.Module, __: object, y: Tensor) -> None:
        rounds.append(torch.equal(y, y.bfloat16().float()))

    net.stages[-1].conv_head.register_forward_hook(look)

    def loss(outputs: Tensor, index_b: np.ndarray, view: View) -> Tensor:
        return nn.functional.cross_entropy(outputs, torch.from_numpy(index_b % 2))

    rung = Rung("last:1", cut.frozen, steps=3, batch=4)
    with Run.open(tmp_path / "run", {}) as run:
        for _ in fit.train(rung, tail, loss, _Noise(cut, 8), 8, 0, run.checkpoint("rung", {})):
            pass
    assert rounds[-3:] == [has] * 3
    assert tail.trained_in == ("bf16" if has else "f32")
    whole = Tail(build(backbone), Cut(backbone, len(backbone.stages)), nn.Linear(1, 2))
    assert whole.trained_in == "f32"  # a head alone
    tail(_Noise(cut, 2).rows(np.arange(2)))
    assert rounds[-1] is False


def test_a_network_of_dense_convolutions_stays_in_bfloat16_between_them() -> None:
    def seen(net: nn.Module) -> tuple[list[torch.dtype], Tensor]:
        kinds: list[torch.dtype] = []
        hooks = [
            part.register_forward_hook(lambda *one: kinds.append(one[-1].dtype))
            for part in net.modules()
            if isinstance(part, nn.BatchNorm2d)
        ]
        with throughout(net):
            out = net(example())
        for hook in hooks:
            hook.remove()
        return kinds, out

    def made(groups: int, norm: nn.Module | None = None) -> nn.Sequential:
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=groups)]
        return nn.Sequential(*layers, nn.BatchNorm2d(8), *([norm] if norm else []))

    half, single = torch.bfloat16, torch.float32
    dense, out = seen(made(1))
    assert (dense, out.dtype) == ([half, half], half)
    other = made(1)
    plain = other(example())
    torch.testing.assert_close(out.float(), plain, rtol=0.05, atol=0.05)
    out.float().square().sum().backward()
    assert seen(made(8))[0] == seen(made(1, nn.LayerNorm(5)))[0] == [single, single]
    with throughout(other, False):
        assert other(example()).dtype == single
