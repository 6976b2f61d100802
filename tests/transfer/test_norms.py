from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from regraft.backbones import build, open_backbone
from regraft.transfer.cut import Cut
from regraft.transfer.fit import Tail
from regraft.transfer.norms import Folded, fold, keep_statistics


class Uneven(nn.Conv2d):
    """Pads in a way of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(input, (0, 1, 0, 1)))


class ActiveNorm(nn.BatchNorm2d):
    """Has its activation within, as timm's."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU6()

    def forward(self, input: Tensor) -> Tensor:
        return self.act(super().forward(input))


class Branching(nn.Module):
    """What its convolution gives goes into the norm, and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + self.norm(x)


def taught(network: nn.Module, seed: int = 0) -> nn.Module:
    """Norms that have seen something, and do something."""
    torch.manual_seed(seed)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            if norm.running_mean is not None and norm.running_var is not None:
                nn.init.normal_(norm.running_mean)
                nn.init.uniform_(norm.running_var, 0.5, 2)
            if norm.affine:
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)
    return network.eval()


def example() -> Tensor:
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))


def gradients(network: nn.Module, names: list[nn.Parameter]) -> list[Tensor]:
    (network(example()) ** 3).mean().backward()
    found = [parameter.grad.clone() for parameter in names if parameter.grad is not None]
    assert len(found) == len(names)
    return found


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)],
        [nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6, eps=1e-2), nn.ReLU()],
        [nn.Conv2d(3, 6, 3, groups=3, dilation=2, padding_mode="circular"), ActiveNorm(6)],
        [Uneven(3, 6, 2), nn.BatchNorm2d(6, affine=False), nn.SiLU()],
    ],
)
def test_it_is_the_same_function_with_the_same_gradients(layers: list[nn.Module]) -> None:
    network = taught(nn.Sequential(*layers))
    plain = copy.deepcopy(network)
    mine, before = list(network.parameters()), network(example())
    assert fold(network, lambda: (network(example()),)) == 1
    assert any(isinstance(part, Folded) for part in network.modules())
    torch.testing.assert_close(network(example()), before)
    same = gradients(plain, list(plain.parameters()))
    for own, theirs in zip(gradients(network, mine), same, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh(), nn.BatchNorm2d(3)),
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
        nn.Sequential(conv := nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), conv),
        Branching(),
    ],
    ids=["activation between", "norm first", "no statistics", "passed twice", "used twice"],
)
def test_what_cannot_be_folded_is_left_as_it_was(network: nn.Module) -> None:
    network = taught(network)
    before, names = network(example()), list(network.state_dict())
    assert fold(network, lambda: (network(example()),)) == 0
    assert list(network.state_dict()) == names
    assert torch.equal(network(example()), before)


def test_norms_that_keep_their_statistics_do_so_in_train_mode() -> None:
    network = taught(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    keep_statistics(network)
    network(example())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_all_norms_of_the_default_backbone_are_folded_and_tensors_keep_their_names() -> None:
    backbone = open_backbone("efficientnet-lite0")
    network, cut = build(backbone), Cut(backbone, len(backbone.stages) - 2)
    tail = Tail(network, cut, nn.Linear(backbone.width, 2))
    cut.freeze(network)
    named, seal = tail.tensors(), cut.certify(network)
    before = tail.eval()(cut.noise())
    tail.wake(pretrained=True)
    trained = network.stages[cut.frozen :]
    norms = [part for part in trained.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == sum(isinstance(part, Folded) for part in trained.modules()) == 4
    assert not any(norm.training for norm in norms)
    assert tail.tensors().keys() == named.keys()
    assert all(
        tensor is named[name] for name, tensor in tail.tensors().items() if "head" not in name
    )
    assert cut.certify(network) == seal
    torch.testing.assert_close(tail.eval()(cut.noise()), before, rtol=1e-3, atol=1e-3)


def test_a_network_from_random_weights_learns_its_statistics() -> None:
    backbone = open_backbone("efficientnet-lite0")
    cut = Cut(backbone, len(backbone.stages) - 1)
    tail = Tail(build(backbone, random_seed=1), cut, nn.Linear(backbone.width, 2))
    tail.wake(pretrained=False)
    assert not any(isinstance(part, Folded) for part in tail.modules())
    assert all(m.training for m in tail.network.stages[-1].modules())
