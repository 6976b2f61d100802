"""Products in bfloat16 while a network is trained, on processors that multiply it.

Nearly all of a step's time goes into products: dense convolutions and linear layers, forward and
backward. These alone round what they are given to bfloat16, weights too, and add up in float32.
All else stays in float32: the weights that are kept and stepped, what is between layers, norms,
attention, losses, a ladder's head and every answer that is measured. So do filters of single
channels (depthwise), which processors are slower at in bfloat16: under torch's autocast, which
knows no difference, a step of EfficientNet-Lite0 takes 1.4 times as long as in float32, and so 0.75
times. Of its `last:2` it takes 0.6 times, of MiniLM 0.6, of NanoDet-g 0.65 (AMD EPYC with AVX-512
and bfloat16, two cores).

Which layers they are depends on the network and the processor alone, never on a clock, so the same
training ends in the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def rounded(module: nn.Module, where: bool = True) -> Generator[None]:
    """Within, dense layers compute in bfloat16; what they give is float32.

    Names and tensors stay as they are.

    Args:
        module: on the processor.
        where: false changes nothing.
    """
    layers = [layer for layer in dense(module) if where]
    layers = [layer for layer in layers if "forward" not in vars(layer)]  # else it is so already
    for layer in layers:
        layer.forward = _in_bfloat16(layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def throughout(module: nn.Module, where: bool = True) -> AbstractContextManager[Any]:
    """Within, a network of dense convolutions computes in bfloat16 from layer to layer.

    As `rounded`, and what is between its layers, norms too, which then takes half of the memory to
    read and write: a step of ResNet-18 at 64 px takes 0.8 times as long. Networks with filters of
    single channels, and those with norms over the channels (transformers, ConvNeXt), are `rounded`.
    What comes out may be bfloat16.

    Args:
        module: on the processor.
        where: false changes nothing.
    """
    filters = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    plain = bool(filters) and all(part.groups == 1 for part in filters)
    if where and plain and not any(isinstance(part, nn.LayerNorm) for part in module.modules()):
        return torch.autocast("cpu", torch.bfloat16)
    return rounded(module, where)


def dense(module: nn.Module) -> list[nn.Module]:
    """Layers of which every channel that comes out is made of all that go in."""
    return [
        part
        for part in module.modules()
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1)
    ]


def _in_bfloat16(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A layer's own forward, whatever it does besides (some pad in a way of theirs)."""

    def products(*args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return forward(*args, **kwargs).float()

    return products
