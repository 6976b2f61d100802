"""Random weights that leave nothing at zero, so that a mistake anywhere is seen in the output."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn


def stirred(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """The state of a network with noise added: libraries start some layers at zero."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        value = tensor.detach().clone().contiguous()
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            value = value * (1 + 0.1 * noise.tanh()) + (0.0 if "var" in name else 0.02) * noise
        state[name] = value
    return state


def timm_checkpoint(folder: Path, architecture: str) -> str:
    """A file of random weights of a timm network; gives the backbone's name."""
    import timm

    file = folder / f"{architecture}.safetensors"
    torch.manual_seed(0)
    save_file(stirred(timm.create_model(architecture, num_classes=7)), file)
    return f"timm:{architecture}@{file}"
