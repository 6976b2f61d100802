"""A sample's vector with what earlier stages saw beside what the last one says.

The last stage of a network tells apart what it was trained to. What tells other classes apart, a
stroke's bend, a weave, a manner of writing, is often seen half-way and gone at the end, so a linear
head finds more in several levels than in the last (Head2Toe, Evci et al. 2022). They cost nothing:
the sample passes them anyway.

Decisions:

- Of a picture network a level is the map of a stage, where it is coarse (at most a sixteenth of the
  picture's side) and not the one that the vector is made of: EfficientNet's last stage sums up the
  map before it, ResNet's makes one of its own, half as wide, so there the map before is a level.
  Its places are summed up by quarters: the mean, and three differences (left to right, top to
  bottom, across), which weigh less. Where things lie tells digits apart, and misleads on photos.
- Of a text encoder the mean over the tokens, whatever its vector is made of, after `LAYERS` layers
  before the last.
- Every level, and the vector itself, is brought to mean 0 and variance 1 within the sample, and
  all weigh alike, however wide they are. Nothing is learnt, so there are no tensors of them. What
  comes out is as long as the default networks' own vectors, which the ladder's rates are made for.
- What has been summed up flows on beside the map, or the hidden states, through every cut to the
  last stage, which puts all of it in one vector. So a rung trains from cached activations and
  cached levels, and levels right of its cut are trained with their stages.
- Transformers of pictures stay as they are; so do networks of clips and detectors.

B: samples, C: channels, L: tokens, D: width.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, sqrt
from typing import TYPE_CHECKING

from regraft.backbones.backbone import Backbone, Stage

if TYPE_CHECKING:
    from torch import Tensor

COARSE = 16
"""The side of a map is at most this part of the picture's."""
COARSEST = 32
"""The side of the map that a vector is made of is this part of the picture's, as a rule."""
DIFFERENCES = sqrt(0.5)
"""Weight of the differences between quarters, where the mean's is 1."""
QUARTERS = 4
LAYERS = 3
"""Of a text encoder, before the last."""
LENGTH, TEXT_LENGTH = 16.0, 4.0
"""Of the vector with all levels."""


def with_levels(backbone: Backbone) -> Backbone:
    """The same network, whose vector has several levels; itself where there are none to be had."""
    if backbone.recipe.levels or backbone.detector is not None:
        return backbone
    find = {"image": _of_maps, "text": _of_layers}.get(backbone.modality)
    widths = find(backbone) if find else {}
    if not widths:
        return backbone
    stages: list[Stage] = []
    beside: tuple[tuple[int, ...], ...] = ()
    for index, stage in enumerate(backbone.stages):
        if index in widths:
            beside += ((widths[index],),)
        stages.append(replace(stage, shapes=stage.shapes + beside))
    width = sum(shape[0] for shape in stages[-1].shapes)
    stages[-1] = replace(stages[-1], shapes=((width,),))
    recipe = replace(backbone.recipe, levels=tuple(widths))
    return replace(backbone, stages=tuple(stages), recipe=recipe)


def _of_maps(backbone: Backbone) -> dict[int, int]:
    """Widths of a picture network's levels, by stage."""
    size_px = backbone.pictures.size_px
    maps = [i for i, stage in enumerate(backbone.stages[:-1]) if _side(stage)]
    if maps and _side(backbone.stages[maps[-1]]) <= ceil(size_px / COARSEST):
        del maps[-1]
    levels = [i for i in maps if 1 < _side(backbone.stages[i]) <= ceil(size_px / COARSE)]
    # Between the first level and the end nothing but one map may flow, beside what was summed up.
    if not levels or any(len(stage.shapes) > 1 for stage in backbone.stages[levels[0] : -1]):
        return {}
    return {i: QUARTERS * backbone.stages[i].shapes[0][0] for i in levels}


def _side(stage: Stage) -> int:
    """Of the square map that alone flows out of a stage, channels first; 0 where none does."""
    shape = stage.shapes[0]
    is_map = len(stage.shapes) == 1 and len(shape) == 3 and shape[1] == shape[2]
    return shape[1] if is_map else 0


def _of_layers(backbone: Backbone) -> dict[int, int]:
    """Widths of a text encoder's levels, by stage: hidden states and lengths flow out of each."""
    before = len(backbone.stages) - 1
    layers = range(max(1, before - LAYERS), before)  # the first stage embeds
    if any(len(backbone.stages[i].shapes) != 2 for i in layers):
        return {}
    return {i: backbone.stages[i].shapes[0][1] for i in layers}


def summed_up(values: tuple[Tensor, ...]) -> Tensor:
    """What flows out of a stage as a level: each row of mean 0 and variance 1.

    Args:
        values: a map (B, C, H, W); or hidden states (B, L, D) and lengths (B,).

    Returns:
        (B, 4 C); or (B, D).
    """
    from torch.nn.functional import layer_norm

    flat_bd = _by_quarters(*values) if len(values) == 1 else _over_tokens(*values)
    return layer_norm(flat_bd, flat_bd.shape[1:])


def _by_quarters(x_bchw: Tensor) -> Tensor:
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    quarter_bcq = adaptive_avg_pool2d(x_bchw, 2).flatten(2)
    a, b = 0.5, 0.5 * DIFFERENCES
    basis_qk = torch.tensor([[a, b, b, b], [a, -b, b, -b], [a, b, -b, -b], [a, -b, -b, b]])
    return (quarter_bcq @ basis_qk.to(x_bchw)).flatten(1)


def _over_tokens(x_bld: Tensor, length_b: Tensor) -> Tensor:
    from regraft.backbones.text_encoder import mean

    return mean(x_bld, length_b)


def joined(x_bd: Tensor, levels: tuple[Tensor, ...], length: float) -> Tensor:
    """The last stage's vector and the levels, all of one length, beside each other."""
    import torch
    from torch.nn.functional import layer_norm

    parts = (layer_norm(x_bd, x_bd.shape[1:]), *levels)
    return torch.cat([x * (length / sqrt(len(parts) * x.shape[1])) for x in parts], dim=1)
