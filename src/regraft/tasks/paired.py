"""Detectors with two maps at each stride, one for scores and one for edges: the head.

All the rest is that of one map for both (`dense.py`): which place learns which box, the losses, the
decoding. So YOLO networks are not trained by the losses of their authors here.

Shapes: b pictures, p places of all maps, c categories, e = bins + 1 distances (1 is the distance
itself).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regraft.backbones.backbone import Detector
from regraft.tasks.dense import (
    PACE,
    Edges,
    biases_of,
    criterion,
    decode,
    fresh,
    parameters_of,
)
from regraft.tasks.family import Start

__all__ = ["PACE", "criterion", "decode", "head_parameters", "make_head"]


class PairedHead(nn.Module):
    """Two 1×1 convolutions for each stride.

    Args:
        detector: whose maps these are.
        categories: c.
    """

    def __init__(self, detector: Detector, categories: int) -> None:
        super().__init__()
        wide, narrow = _widths(detector)
        edges = 4 * (detector.bins + 1)
        levels = detector.strides_px
        self.scores = nn.ModuleList(nn.Conv2d(wide, categories, 1) for _ in levels)
        self.edges = nn.ModuleList(nn.Conv2d(narrow, edges, 1) for _ in levels)

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor | Edges]:
        """Logits_bpc and distances_bp4e; maps are for scores and for edges in turn.

        While it is trained it computes what `DenseHead` does, as it does.
        """
        if self.training:
            own, theirs = (list(map(parameters_of, part)) for part in (self.scores, self.edges))
            logits = [
                F.linear(x.flatten(2).transpose(1, 2), weight.flatten(1), bias)
                for x, (weight, bias) in zip(maps[::2], own, strict=True)
            ]
            edges = Edges(maps[1::2], [w for w, _ in theirs], [b for _, b in theirs])
            return torch.cat(logits, dim=1), edges
        scores = [conv(x).flatten(2) for conv, x in zip(self.scores, maps[::2], strict=True)]
        parts = [conv(x).flatten(2) for conv, x in zip(self.edges, maps[1::2], strict=True)]
        edges_bpn = torch.cat(parts, dim=2).transpose(1, 2)
        return torch.cat(scores, dim=2).transpose(1, 2), edges_bpn.unflatten(2, (4, -1))


def _widths(detector: Detector) -> tuple[int, int]:
    """Channels of the maps for scores and of those for edges."""
    return detector.setting["score_width"], detector.setting["edge_width"]


@torch.no_grad()
def make_head(start: Start) -> PairedHead:
    """See `family.Family`.

    The edges are the source's, too. Tensors of the source are "{level}.scores.weight",
    "{level}.edges.weight", and the biases.
    """
    detector, source, count = start.detector, start.source, len(start.frequency)
    head: PairedHead = fresh(lambda: PairedHead(detector, count), start.seed)
    for level, (scores, edges) in enumerate(zip(head.scores, head.edges, strict=True)):
        state, own = scores.state_dict(), edges.state_dict()  # the parameters themselves
        state["bias"].copy_(torch.tensor(biases_of(start)))
        if not source and not detector.bins:
            own["bias"].fill_(1.0)  # a stride, rather than boxes of no size
        for name in ("weight", "bias") if source else ():
            own[name].copy_(source[f"{level}.edges.{name}"])
            for c, row in enumerate(start.kept):
                if row >= 0:
                    state[name][c] = source[f"{level}.scores.{name}"][row]
    return head


def head_parameters(detector: Detector, width: int, categories: int) -> int:
    """See `family.Family`."""
    wide, narrow = _widths(detector)
    level = (wide + 1) * categories + (narrow + 1) * 4 * (detector.bins + 1)
    return len(detector.strides_px) * level
