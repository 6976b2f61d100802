"""What freezing is, and the proof that what was frozen is untouched.

Decisions:

- A cut counts stages. Left of it everything is frozen: parameters get no gradient, and every
  module, not only the norm layers, stays in eval mode whatever `train()` is called on. (Without
  the second half, one forward pass in train mode changes the statistics of every batch norm.)
- The proof is a sha256 over every tensor left of the cut, parameters and buffers alike. It is
  the same number whether it is taken from the weights file or from the live network.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regraft.backbones.backbone import Backbone, Stage
from regraft.errors import BackboneError, UsageError
from regraft.seeds import generator

if TYPE_CHECKING:
    import torch
    from torch import nn

    from regraft.backbones.network import Network

_DTYPES = {
    "torch.bool": "BOOL",
    "torch.uint8": "U8",
    "torch.int8": "I8",
    "torch.int16": "I16",
    "torch.int32": "I32",
    "torch.int64": "I64",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.float32": "F32",
    "torch.float64": "F64",
}
"""What safetensors calls a type."""

_Tensor = tuple[str, str, tuple[int, ...], bytes]
"""Name, type as safetensors calls it, shape, bytes."""


_LAST = re.compile(r"last:0*([1-9][0-9]{0,5})")
"""No network has stages whose number takes more digits."""


def trained_stages(train: str, others: str = "") -> int | None:
    """How many stages, counted from the head, `--train` asks for; None is all.

    Args:
        train: "head", "last:K" (the last K stages are trained) or "all".
        others: what else may be said there, for a message: "ladder, head, ".

    Raises:
        UsageError: it is none of these.
    """
    if train in ("head", "all"):
        return 0 if train == "head" else None
    last = _LAST.fullmatch(train)
    if last is None:
        raise UsageError(
            f"{train!r} does not say which stages to train",
            where="--train",
            mend=f"use {others}last:K (K stages counted from the head) or all",
        )
    return int(last[1])


def frozen_stages(train: str, stages: int, others: str = "") -> int:
    """How many leading stages of `stages` stay frozen under `--train`.

    Args:
        train: see `trained_stages`.
        stages: how many the backbone has.
        others: see `trained_stages`.

    Raises:
        UsageError: it says nothing that is known, or the backbone has fewer than K stages.
    """
    trained = trained_stages(train, others)
    if trained is None:
        return 0
    if trained > stages:
        raise UsageError(
            f"the backbone has {stages} stages, so the last {trained} cannot be trained",
            where="--train",
            mend=f"use last:1 to last:{stages}",
        )
    return stages - trained


@dataclass(frozen=True)
class Cut:
    """A place between two stages: the first `frozen` stages are frozen, the others are trained.

    Attributes:
        backbone: the network.
        frozen: from 0 (nothing is frozen) to the number of stages (a head on a frozen network).
    """

    backbone: Backbone
    frozen: int

    def __post_init__(self) -> None:
        assert 0 <= self.frozen <= len(self.backbone.stages), self.frozen

    @property
    def left(self) -> tuple[Stage, ...]:
        """The frozen stages."""
        return self.backbone.stages[: self.frozen]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of what crosses the cut, for one sample; at cut 0 the picture or the token ids."""
        if self.frozen == 0:
            return (self.backbone.preprocessing.input_shape,)
        return self.left[-1].shapes

    @property
    def is_before_pooling(self) -> bool:
        """Whether vectors of frames cross, which the one stage that follows makes a clip's."""
        return self.backbone.frames > 0 and 0 < self.frozen == len(self.backbone.stages) - 1

    @property
    def kept(self) -> Cut:
        """The cut at which rows for this one are kept: of clips the one before frames are pooled.

        See `pooling.py`.
        """
        earlier = Cut(self.backbone, max(0, self.frozen - 1))
        is_last = self.frozen == len(self.backbone.stages)
        return earlier if is_last and earlier.is_before_pooling else self

    def blank(self, tokens: Sequence[int]) -> tuple[np.ndarray, ...]:
        """What could cross the cut.

        Args:
            tokens: of each sample, if they are texts; else as many numbers as there are samples.
        """
        count, longest = len(tokens), max(tokens)
        shapes = [[longest if n == -1 else n for n in shape] for shape in self.shapes]
        if self.frozen == 0 and -1 not in self.shapes[0]:
            return (np.zeros((count, *shapes[0]), dtype=np.uint8),)
        tokens_b = np.array(tokens)
        if self.frozen == 0:
            return (np.where(np.arange(longest) < tokens_b[:, None], 0, -1).astype(np.int32),)
        return tuple(
            np.zeros((count, *shape), dtype=np.float32) if shape else tokens_b.astype(np.float32)
            for shape in shapes
        )

    def noise(self) -> tuple[np.ndarray, ...]:
        """What could cross the cut, of one picture in which every channel says something."""
        random = generator(0, "noise")
        if self.frozen == 0:
            return (random.integers(0, 256, (1, *self.shapes[0]), dtype=np.uint8),)
        return tuple(
            random.standard_normal((1, *shape)).astype(np.float32) for shape in self.shapes
        )

    def fingerprint(self) -> str:
        """sha256 over every parameter and buffer left of the cut, read from the weights file.

        Raises:
            BackboneError: the file lacks one of them.
        """
        return _digest(_from_file(self.backbone.weights, self._names()))

    def certify(self, network: Network) -> str:
        """The same sha256, over what the live network holds now."""
        return _digest(_from_network(network.tensors(), self._names()))

    def freeze(self, network: Network) -> None:
        """Freeze what is left of the cut, for as long as the network lives, and wake the rest.

        Calling it again with another cut moves the cut.
        """
        # A tensor that both sides use is frozen: left comes last.
        for stage in network.stages[self.frozen :]:
            stage.requires_grad_(True)
            for module in stage.modules():
                module.__dict__.pop("train", None)
        for stage in network.stages[: self.frozen]:
            stage.eval()
            stage.requires_grad_(False)
            for module in stage.modules():
                module.train = partial(_stay_asleep, module)

    def _names(self) -> list[str]:
        return sorted({name for stage in self.left for name in stage.tensors})


def _stay_asleep(module: nn.Module, mode: bool = True) -> nn.Module:
    """What `train()` of a frozen module does: nothing."""
    return module


def _digest(tensors: Iterable[_Tensor]) -> str:
    sha256 = hashlib.sha256()
    for name, dtype, shape, data in tensors:
        head = json.dumps([name, dtype, list(shape), len(data)])
        sha256.update(len(head).to_bytes(8, "big"))
        sha256.update(head.encode())
        sha256.update(data)
    return sha256.hexdigest()


def _from_file(path: Path, names: list[str]) -> Iterator[_Tensor]:
    """Tensors of a safetensors file, read one at a time.

    The file's own library would need torch for types that NumPy does not know.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name in names:
            if name not in header:
                raise BackboneError(
                    f"the weights lack the tensor {name}",
                    where=path,
                    mend="pull the backbone again",
                )
            begin, end = header[name]["data_offsets"]
            file.seek(8 + length + begin)
            data = file.read(end - begin)
            yield name, header[name]["dtype"], tuple(header[name]["shape"]), data


def _from_network(tensors: Mapping[str, torch.Tensor], names: list[str]) -> Iterator[_Tensor]:
    import torch

    for name in names:
        tensor = tensors[name].detach().cpu().contiguous()
        data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        yield name, _DTYPES[str(tensor.dtype)], tuple(tensor.shape), data
