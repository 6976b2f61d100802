"""Small networks that behave like large ones in one respect each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regraft.backbones import Preprocessing

SIZE_PX = 32


class Residual(nn.Module):
    """As in a ResNet: batch norms, a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Fork(nn.Module):
    """Gives two tensors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.nn.functional.max_pool2d(x, 2)


class Join(nn.Module):
    """Takes two tensors, gives a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.linear(torch.cat([x.mean((2, 3)), y.mean((2, 3))], dim=1))


class Offset(nn.Module):
    """What differs between pictures is small beside what they share: bf16 loses it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.relu(x / 10 + 1000))


class Spread(nn.Module):
    """How much each channel varies within the picture."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean((2, 3), keepdim=True)).square().mean((2, 3)).sqrt()


class Exotic(nn.Module):
    """Uses an operation that OpenVINO does not know."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(x.mean(1))


Made = tuple[list[tuple[str, nn.Module]], Preprocessing]


def _stem(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def _made(*stages: tuple[str, nn.Module]) -> Made:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _, stage in stages:
            for module in stage.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    module.reset_parameters()
    return list(stages), Preprocessing(size_px=SIZE_PX)


def residual() -> Made:
    return _made(
        ("stem", _stem(8)),
        ("block", Residual(8)),
        ("fork", Fork()),
        ("join", Join()),
    )


def offset() -> Made:
    return _made(
        ("stem", _stem(8)),
        ("body", nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())),
        ("offset", Offset()),
        ("spread", Spread()),
    )


def straddling() -> Made:
    """OpenVINO has no kernels where the exact residual block meets bf16."""
    return _made(
        ("stem", _stem(8)),
        ("block", Residual(8)),
        ("offset", Offset()),
        ("spread", Spread()),
    )


def exotic() -> Made:
    return _made(("stem", _stem(8)), ("spectrum", Exotic()))
