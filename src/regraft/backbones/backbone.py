"""What a pre-trained network is to regraft: an ordered list of stages, described on paper.

A `Backbone` is a description. It names the stages, what flows out of each, how pictures are
prepared, where the weights came from and under which licence. It holds no tensors and needs no
torch, because the frozen part of a network is served by a compiled graph; `build` (in
`backbones/network.py`) makes the torch modules when something is to be trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input.

    The shorter side is resized to `size_px / crop`, the middle `size_px` square is kept, and the
    uint8 values x in 0…255 become (x / 255 - mean) / std, channel by channel (RGB).
    """

    size_px: int = 224
    crop: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Stage:
    """One step of a network.

    Attributes:
        name: as the library names the part, for example "blocks.3".
        parameters: how many numbers training could change in it.
        tensors: names of its parameters and buffers in the weights file, sorted.
        shapes: shapes of the tensors that flow out for one sample, batch axis left out.
    """

    name: str
    parameters: int
    tensors: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Recipe:
    """How to build the network again: which adapter, which architecture, with what.

    Attributes:
        adapter: "efficientnet-lite", "timm", "local", …
        architecture: the adapter's name for it, for example "tf_efficientnet_lite0".
        options: arguments of the architecture, JSON values only.
    """

    adapter: str
    architecture: str
    options: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network, described.

    Attributes:
        name: what the user calls it.
        modality: "image", "text", …
        source: where the weights came from.
        sha256: of the weights file.
        licence: SPDX name, or "unknown".
        stages: in order; the last one ends in the vector that a head takes.
        preprocessing: see there.
        recipe: see there.
        weights: the safetensors file; its names are the network's own.
    """

    name: str
    modality: str
    source: str
    sha256: str
    licence: str
    stages: tuple[Stage, ...]
    preprocessing: Preprocessing
    recipe: Recipe
    weights: Path

    @property
    def parameters(self) -> int:
        """Number of parameters in all stages."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def width(self) -> int:
        """Length of the vector that the last stage gives."""
        return self.stages[-1].shapes[0][-1]
