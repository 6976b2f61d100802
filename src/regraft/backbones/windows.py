"""Texts that are longer than a network reads, as several windows side by side in the batch.

A text's row holds its windows one after the other, all but the last of them full, so where one ends
is known from the row's length alone. Before stages run, the windows of all texts become rows of
their own; windows of nothing, which short texts beside long ones have, are left out. Behind the
last stage each text has the mean of its windows' vectors, each counted by its tokens.

B: texts, L: tokens of the longest, W: windows of the longest, K: windows that are not empty,
S: tokens of a window, D: width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Divided:
    """Texts in windows; made by `divide`.

    Attributes:
        values: what flows into a stage, K rows each.
        length_bw: tokens of each window, 0 where a text has no such window.
    """

    values: tuple[Tensor, ...]
    length_bw: Tensor

    def joined(self, x_kd: Tensor) -> Tensor:
        """Vectors of windows, (K, D), to those of texts, (B, D): means by tokens."""
        length_bw = self.length_bw.to(x_kd.dtype)
        x_bwd = x_kd.new_zeros(*length_bw.shape, x_kd.shape[1])
        x_bwd[self.length_bw > 0] = x_kd
        return (x_bwd * length_bw[:, :, None]).sum(dim=1) / length_bw.sum(dim=1, keepdim=True)


def divide(values: tuple[Tensor, ...], size: int) -> Divided:
    """Divide what flows between stages into windows.

    Args:
        values: token ids (B, L), -1 for padding; or hidden states (B, L, D), lengths (B,), and
            vectors of texts (B, D), which all of a text's windows have.
        size: S.
    """
    first = values[0]
    windows = -(-first.shape[1] // size)
    more = windows * size - first.shape[1]
    if len(values) == 1:
        ids_bws = F.pad(first, (0, more), value=-1).unflatten(1, (windows, size))
        length_bw = (ids_bws >= 0).sum(dim=2)
        return Divided((ids_bws[length_bw > 0],), length_bw)
    x_bwsd = F.pad(first, (0, 0, 0, more)).unflatten(1, (windows, size))
    start_w = size * torch.arange(windows, device=first.device)
    length_bw = (values[1][:, None] - start_w).clamp(0, size)
    kept_bw = length_bw > 0
    count_b = kept_bw.sum(dim=1)
    beside = (x_bd.repeat_interleave(count_b, dim=0) for x_bd in values[2:])
    return Divided((x_bwsd[kept_bw], length_bw[kept_bw], *beside), length_bw)
