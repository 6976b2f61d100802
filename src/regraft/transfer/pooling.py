"""Vectors of clips, from what is kept of their frames.

Decisions:

- The last stage of a network of clips puts frames together; it costs next to nothing beside the
  others, which look at each frame. Rows are kept before it (`Cut.kept`): the head on pooled
  frames, the rung that trains this stage and what either learnt share them.
- Batches have one size, filled up with zeros, so that a clip's vector does not depend on how many
  others are asked for (see `runners.Torch`).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np

from regraft.backbones import Backbone
from regraft.transfer.runners import Tensors

if TYPE_CHECKING:
    from torch import nn

AT_ONCE = 64
"""Clips of a batch."""


@final
class Pooling:
    """The last stage of a network of clips, with its weights."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    @cached_property
    def _stage(self) -> nn.Module:
        from regraft.backbones import build

        return build(self._backbone).stages[-1]

    def __call__(self, rows: Tensors) -> Tensors:
        """What the stage gives for at most `AT_ONCE` clips.

        Args:
            rows: float32 arrays (B, T, …), as they cross the cut before it.

        Returns:
            float32 arrays (B, …), as the network ends.
        """
        import torch

        count = len(rows[0])
        assert count <= AT_ONCE, count
        with torch.inference_mode():
            given = self._stage(*(torch.from_numpy(_filled(x)) for x in rows))
        values = given if isinstance(given, tuple) else (given,)
        return tuple(value[:count].numpy() for value in values)


def _filled(x: np.ndarray) -> np.ndarray:
    filled = np.zeros((AT_ONCE, *x.shape[1:]), np.float32)
    filled[: len(x)] = x
    return filled
