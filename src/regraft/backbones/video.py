"""Any picture network as a network of clips: its stages frame by frame, then a temporal stage.

Decisions:

- The frames of a clip are put into the batch, so every stage of the picture network is used as it
  is, keeps the names of its tensors, and is frozen, compiled and cached like any other. What
  crosses a cut before the temporal stage is what each frame gives.
- The temporal stage gives the mean over the frames, plus what a small transformer (Vaswani et al.
  2017; one layer, 128 wide) makes of their order. Its last matrix starts at zero: before training
  it is the mean exactly, so the head on pooled frames and the rung that trains this stage are one
  network at two cuts.

B: clips, T: frames, D: width of a frame's vector, K: width inside the temporal stage, H: heads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regraft.backbones.adapters import Converted, Library, adapter
from regraft.backbones.adapters import parts as parts_of
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import Preprocessing, Recipe
from regraft.backbones.network import Part, assemble, read_safetensors
from regraft.errors import BackboneError

ADAPTER = "video"
INNER, HEADS = 128, 4


class TemporalPool(nn.Module):
    """Vectors of frames (B, T, D) to the vector of the clip (B, D).

    Args:
        frames: T.
        width: D.
    """

    def __init__(self, frames: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, INNER)
        self.place = nn.Embedding(frames, INNER)
        self.attention_norm = nn.LayerNorm(INNER)
        self.query = nn.Linear(INNER, INNER)
        self.key = nn.Linear(INNER, INNER)
        self.value = nn.Linear(INNER, INNER)
        self.mix = nn.Linear(INNER, INNER)
        self.inner_norm = nn.LayerNorm(INNER)
        self.wide = nn.Linear(INNER, 2 * INNER)
        self.narrow = nn.Linear(2 * INNER, INNER)
        self.last_norm = nn.LayerNorm(INNER)
        self.up = nn.Linear(INNER, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x_btd: Tensor) -> Tensor:
        """See the class."""
        h_btk = self.down(self.norm(x_btd)) + self.place.weight
        h_btk = h_btk + self._attended(self.attention_norm(h_btk))
        h_btk = h_btk + self.narrow(F.gelu(self.wide(self.inner_norm(h_btk))))
        return x_btd.mean(dim=1) + self.up(self.last_norm(h_btk.mean(dim=1)))

    def _attended(self, h_btk: Tensor) -> Tensor:
        split = (h_btk.shape[0], h_btk.shape[1], HEADS, INNER // HEADS)
        query, key, value = (
            part(h_btk).view(split).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(query, key, value)
        return self.mix(seen.transpose(1, 2).flatten(2))


def recipe(inner: Recipe, frames: int, width: int) -> Recipe:
    """The recipe of the clip network around a picture network.

    Args:
        inner: of the picture network.
        frames: T.
        width: D.
    """
    options: tuple[tuple[str, object], ...] = (
        ("adapter", inner.adapter),
        ("options", json.dumps(inner.options)),
        ("frames", frames),
        ("width", width),
    )
    return Recipe(ADAPTER, inner.architecture, options)


def parts(outer: Recipe, preprocessing: Preprocessing) -> tuple[list[Part], str]:
    """The stages: those of the picture network, and the temporal one, freshly initialised."""
    frame, note = parts_of(outer.inner, preprocessing)
    options: dict[str, Any] = dict(outer.options)
    pool = TemporalPool(options["frames"], options["width"])
    return [*frame, Part("temporal", pool, "temporal.")], note


def fresh(outer: Recipe) -> dict[str, Tensor]:
    """Tensors of a new temporal stage, by their names in the weights file."""
    options: dict[str, Any] = dict(outer.options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pool = TemporalPool(options["frames"], options["width"])
    return {f"temporal.{name}": tensor.detach() for name, tensor in pool.state_dict().items()}


def initialise(outer: Recipe, stages: Sequence[nn.Module], seed: int) -> None:
    """Start the stages of the picture network afresh, as its own adapter does."""
    afresh = adapter(outer.inner.adapter).load().initialise
    if afresh is not None:
        afresh(outer.inner, stages[:-1], seed)


def convert(wanted: Address) -> Converted:
    """The clip network around a network of pictures that is converted first.

    Raises:
        BackboneError: that cannot be converted, reads texts, or finds objects.
    """
    from regraft.backbones.conversion import convert as convert_inner

    count, _, name = wanted.architecture.partition(":")
    inner = convert_inner(name)
    if inner.modality != "image":
        raise BackboneError(
            f"{name} is for {inner.modality}s; clips are looked at with a network of pictures",
            where=wanted.name,
            mend="take one of the modality image from `regraft backbones list`",
        )
    if inner.detector is not None:
        raise BackboneError(
            f"{name} finds objects; clips are looked at with a network that gives one vector",
            where=wanted.name,
            mend="take another of the modality image from `regraft backbones list`",
        )
    preprocessing = replace(inner.pictures, frames=int(count))
    made = recipe(inner.recipe, int(count), inner.width)
    outer = replace(
        inner, name=wanted.name, modality="video", preprocessing=preprocessing, recipe=made
    )
    tensors = read_safetensors(inner.weights) | fresh(made)
    return Converted(outer, assemble(made, preprocessing), tensors, wanted.file)


LIBRARY = Library(convert, parts, initialise=initialise)
