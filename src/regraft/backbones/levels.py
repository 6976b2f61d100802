"""A picture's vector with what earlier stages saw beside what the last one says.

The last stage of a network tells the classes apart that it was trained on. What tells other classes
apart, a stroke's bend or a weave, is often seen half-way and gone at the end, so a linear head
finds more in several levels than in the last (Head2Toe, Evci et al. 2022). They cost nothing: the
picture passes them anyway.

Decisions:

- A level is the map of a stage, where it is coarse (at most a sixteenth of the picture's side) and
  not the last one, which the vector is made of. Its places are summed up by quarters: the mean,
  and three differences (left to right, top to bottom, across), which weigh less. Where things lie
  tells digits apart, and misleads on photos.
- Every level, and the vector itself, is brought to mean 0 and variance 1 within the picture, and
  all weigh alike, however wide they are. Nothing is learnt, so there are no tensors of them. What
  comes out is as long as EfficientNet-Lite0's own vectors, which the ladder's rates are made for.
- What has been summed up flows on beside the map, through every cut, to the last stage, which puts
  all of it in one vector. So a rung trains from cached maps and cached levels, and levels right
  of its cut are trained with their stages.
- Transformers have no maps, and stay as they are; so do networks of clips and detectors.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING

from regraft.backbones.backbone import Backbone, Stage

if TYPE_CHECKING:
    from torch import Tensor

COARSE = 16
"""A level's side is at most this part of the picture's."""
DIFFERENCES = sqrt(0.5)
"""Weight of the differences between quarters, where the mean's is 1."""
QUARTERS = 4
LENGTH = 16.0
"""Of the vector with all levels."""


def with_levels(backbone: Backbone) -> Backbone:
    """The same network, whose vector has several levels; itself where there are none to be had."""
    if backbone.modality != "image" or backbone.detector is not None or backbone.recipe.levels:
        return backbone
    most = backbone.pictures.size_px / COARSE
    maps = [i for i, stage in enumerate(backbone.stages[:-1]) if _side(stage)]
    levels = tuple(i for i in maps[:-1] if 1 < _side(backbone.stages[i]) <= most)
    # Between the first level and the end nothing but one map may flow, beside what was summed up.
    if not levels or any(len(stage.shapes) > 1 for stage in backbone.stages[levels[0] : -1]):
        return backbone
    stages: list[Stage] = []
    beside: tuple[tuple[int, ...], ...] = ()
    for index, stage in enumerate(backbone.stages):
        if index in levels:
            beside += ((QUARTERS * stage.shapes[0][0],),)
        stages.append(replace(stage, shapes=stage.shapes + beside))
    width = sum(shape[0] for shape in stages[-1].shapes)
    stages[-1] = replace(stages[-1], shapes=((width,),))
    recipe = replace(backbone.recipe, levels=levels)
    return replace(backbone, stages=tuple(stages), recipe=recipe)


def _side(stage: Stage) -> int:
    """Of the square map that alone flows out of a stage, channels first; 0 where none does."""
    shape = stage.shapes[0]
    is_map = len(stage.shapes) == 1 and len(shape) == 3 and shape[1] == shape[2]
    return shape[1] if is_map else 0


def summed_up(x_bchw: Tensor) -> Tensor:
    """A map (B, C, H, W) by quarters, (B, 4 C), each row of mean 0 and variance 1."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, layer_norm

    quarter_bcq = adaptive_avg_pool2d(x_bchw, 2).flatten(2)
    a, b = 0.5, 0.5 * DIFFERENCES
    basis_qk = torch.tensor([[a, b, b, b], [a, -b, b, -b], [a, b, -b, -b], [a, -b, -b, b]])
    flat_bd = (quarter_bcq @ basis_qk.to(x_bchw)).flatten(1)
    return layer_norm(flat_bd, flat_bd.shape[1:])


def joined(x_bd: Tensor, levels: tuple[Tensor, ...]) -> Tensor:
    """The last stage's vector and the levels, all of one length, beside each other."""
    import torch
    from torch.nn.functional import layer_norm

    parts = (layer_norm(x_bd, x_bd.shape[1:]), *levels)
    return torch.cat([x * (LENGTH / sqrt(len(parts) * x.shape[1])) for x in parts], dim=1)
