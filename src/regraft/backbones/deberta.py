"""DeBERTa, second and third version (He et al. 2021, arXiv:2006.03654, 2111.09543), as stages.

Decisions:

- Attention sees what tokens mean and how far apart they are in separate terms. The table of
  distances, which the authors share between layers, is each layer's own here: a stage owns its
  parameters. What comes out is the same; fine-tuning may move one layer's table alone.
- The table is kept as the layers see it, after its norm.
- Distances become rows of the table through integers that are worked out once, in float32: an
  engine in bfloat16 would round them to other rows.

B: batch, L: tokens, D: width, H: heads, R: rows of the table of distances.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regraft.backbones.network import Part
from regraft.backbones.text_config import FEWEST_TOKENS, heads, number
from regraft.backbones.text_encoder import (
    ACTIVATIONS,
    MEAN,
    POOLINGS,
    TOKENIZER,
    initialise,
    may_see,
)
from regraft.errors import BackboneError


@dataclass(frozen=True)
class Shape:
    """The constants of an encoder; `distances` and on describe its relative attention.

    Attributes:
        vocabulary: how many tokens it knows.
        width: of a hidden state.
        layers: how many.
        heads: of attention, in each layer.
        inner: width inside a layer's feed-forward part.
        positions: of the longest text.
        is_placed: whether there is a table of positions at the input.
        types: rows of the segment table; 0 for none.
        epsilon: of the layer norms.
        approximate: of GELU: "none" or "tanh".
        distances: half the rows of the table of distances; 0 for none.
        buckets: distances that are told apart; 0 for all.
        farthest: distances from here on are one.
        terms: "c2p", "p2c", both or none.
        is_shared: whether distances go through the projections of the content.
        is_normed: whether the published table goes through a norm.
        tokenizer_bytes: length of the tokenizer's file.
        pooling: how a text's vector is made of its hidden states; one of `POOLINGS`.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    is_placed: bool
    types: int
    epsilon: float
    approximate: str
    distances: int
    buckets: int
    farthest: int
    terms: tuple[str, ...]
    is_shared: bool
    is_normed: bool
    tokenizer_bytes: int
    pooling: str = MEAN

    def options(self) -> tuple[tuple[str, object], ...]:
        """As a recipe keeps them."""
        return tuple(asdict(self).items())

    @property
    def longest(self) -> int:
        """Tokens that it has positions for."""
        return self.positions


def shape_of(config: Mapping[str, Any], tokenizer_bytes: int, where: Path) -> Shape:
    """The constants in a model's config.json.

    Raises:
        BackboneError: it is of a kind that is not known here.
        ValueError: a number is missing, or is none that can be.
    """
    activation = config.get("hidden_act", "gelu")
    width = number(config, "hidden_size", 1)
    positions = number(config, "max_position_embeddings", FEWEST_TOKENS)
    odd = {
        f"hidden_act {activation!r}": activation not in ACTIVATIONS,
        "conv_kernel_size": (config.get("conv_kernel_size") or 0) > 0,
        "embedding_size": config.get("embedding_size", width) != width,
        "attention_head_size": "attention_head_size" in config,
    }
    found = ", ".join(name for name in odd if odd[name])
    if found:
        raise BackboneError(
            f"this DeBERTa is of a kind that is not known here: {found}",
            where=where,
            mend="take one of the third version: small, base or large",
        )
    is_relative = bool(config.get("relative_attention", False))
    farthest = number(config, "max_relative_positions", -1, -1)
    farthest = positions if farthest < 1 else farthest
    buckets = max(0, number(config, "position_buckets", -1, -1))
    terms = config.get("pos_att_type") or ()
    if isinstance(terms, str):
        terms = terms.lower().split("|")
    return Shape(
        number(config, "vocab_size", 1),
        width,
        number(config, "num_hidden_layers", 1),
        heads(config, "num_attention_heads", width),
        number(config, "intermediate_size", 1),
        positions,
        bool(config.get("position_biased_input", True)),
        number(config, "type_vocab_size", 0, 0),
        number(config, "layer_norm_eps", 0.0, 1e-7),
        ACTIVATIONS[activation],
        (buckets or farthest) if is_relative else 0,
        buckets if is_relative else 0,
        farthest,
        tuple(term for term in ("c2p", "p2c") if term in terms),
        bool(config.get("share_att_key", False)),
        "layer_norm" in str(config.get("norm_rel_ebd", "none")).lower(),
        tokenizer_bytes,
    )


class Embeddings(nn.Module):
    """Token ids (B, L), -1 for padding, to hidden states (B, L, D) and lengths (B,)."""

    tokenizer_json: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.word = nn.Embedding(shape.vocabulary, shape.width)
        self.position = nn.Embedding(shape.positions, shape.width) if shape.is_placed else None
        self.segment = nn.Parameter(torch.zeros(shape.width)) if shape.types else None
        self.norm = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.register_buffer(TOKENIZER, torch.zeros(shape.tokenizer_bytes, dtype=torch.uint8))

    def forward(self, ids_bl: Tensor, place_bl: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the class; where several texts share a row, `place_bl` counts in each its own."""
        x_bld = self.word(ids_bl.clamp(min=0))
        if place_bl is None:
            place_bl = torch.arange(ids_bl.shape[1], device=ids_bl.device)
        if self.position is not None:
            x_bld = x_bld + self.position(place_bl)
        if self.segment is not None:
            x_bld = x_bld + self.segment
        return self.norm(x_bld), (ids_bl >= 0).sum(dim=1).to(x_bld.dtype)


class Layer(nn.Module):
    """One layer; hidden states (B, L, D) and lengths (B,) in and out."""

    row: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, rows = shape.width, 2 * shape.distances
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.mix = nn.Linear(width, width)
        self.mix_norm = nn.LayerNorm(width, eps=shape.epsilon)
        self.wide = nn.Linear(width, shape.inner)
        self.narrow = nn.Linear(shape.inner, width)
        self.norm = nn.LayerNorm(width, eps=shape.epsilon)
        self.distance = nn.Parameter(torch.empty(rows, width).normal_(0, 0.02)) if rows else None
        apart = rows and not shape.is_shared
        self.distance_key = nn.Linear(width, width) if apart and "c2p" in shape.terms else None
        self.distance_query = nn.Linear(width, width) if apart and "p2c" in shape.terms else None
        self.register_buffer("row", rows_of(shape), persistent=False)
        self.shape = shape

    def forward(self, x_bld: Tensor, length_b: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        query, key, value = (self._by_head(p(x_bld)) for p in (self.query, self.key, self.value))
        scale = 1 / math.sqrt(query.shape[-1] * (1 + len(self.shape.terms)))
        score_bhll = query @ key.transpose(-1, -2)
        if self.distance is not None:
            score_bhll = score_bhll + self._by_distance(query, key)
        hidden = ~may_see(x_bld, length_b)
        score_bhll = score_bhll * scale + hidden.to(x_bld.dtype) * -1e9
        seen = score_bhll.softmax(dim=-1) @ value
        x_bld = self.mix_norm(x_bld + self.mix(seen.transpose(1, 2).flatten(2)))
        inner = F.gelu(self.wide(x_bld), approximate=self.shape.approximate)
        return self.norm(x_bld + self.narrow(inner)), length_b

    def _by_head(self, x_bld: Tensor) -> Tensor:
        return x_bld.unflatten(2, (self.shape.heads, -1)).transpose(1, 2)

    def _by_distance(self, query: Tensor, key: Tensor) -> Tensor:
        """What distances add to the scores (B, H, L, L) of queries and keys."""
        assert self.distance is not None
        table_1rd = self.distance[None]
        place_l = torch.arange(query.shape[2], device=query.device)
        apart_ll = place_l[:, None] - place_l[None, :]
        row_bhll = self.row[apart_ll + self.shape.positions - 1].expand(
            query.shape[0], query.shape[1], -1, -1
        )
        added = torch.zeros((), dtype=query.dtype, device=query.device)
        if "c2p" in self.shape.terms:
            rows = self._by_head((self.distance_key or self.key)(table_1rd))
            added = added + (query @ rows.transpose(-1, -2)).gather(3, row_bhll)
        if "p2c" in self.shape.terms:
            rows = self._by_head((self.distance_query or self.query)(table_1rd))
            back_bhll = row_bhll.transpose(-1, -2)
            added = added + (key @ rows.transpose(-1, -2)).gather(3, back_bhll).transpose(-1, -2)
        return added


def rows_of(shape: Shape) -> Tensor:
    """Which row of the table stands for each distance from 1 - positions to positions - 1."""
    apart = torch.arange(1 - shape.positions, shape.positions)
    if shape.buckets:
        middle = shape.buckets // 2
        far = torch.where((apart < middle) & (apart > -middle), middle - 1, apart.abs())
        step = torch.log(torch.tensor((shape.farthest - 1) / middle))
        log = torch.ceil(torch.log(far / middle) / step * (middle - 1)) + middle
        apart = torch.where(far <= middle, apart.to(log.dtype), log * apart.sign()).long()
    return (apart + shape.distances).clamp(0, max(0, 2 * shape.distances - 1))


class LastLayer(nn.Module):
    """A layer, and the text's vector: (B, L, D) and (B,) to (B, D)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layer = Layer(shape)
        self.pool = POOLINGS[shape.pooling]

    def forward(self, x_bld: Tensor, length_b: Tensor) -> Tensor:
        """See the class."""
        return self.pool(self.states(x_bld, length_b), length_b)

    def states(self, x_bld: Tensor, length_b: Tensor) -> Tensor:
        """The hidden states that the vector is made of."""
        return self.layer(x_bld, length_b)[0]


def parts(options: Mapping[str, Any]) -> list[Part]:
    """The stages, freshly initialised."""
    terms: dict[str, Any] = {"terms": tuple(options["terms"])}
    shape = Shape(**{**options, **terms})
    last = shape.layers - 1
    found = [Part("embeddings", Embeddings(shape), "embeddings.")]
    found += [Part(f"layer.{i}", Layer(shape), f"layer.{i}.") for i in range(last)]
    found.append(Part(f"layer.{last}", LastLayer(shape), f"layer.{last}."))
    for part in found:
        part.module.apply(initialise)
    return found


_LAYER = {
    "query": "attention.self.query_proj",
    "key": "attention.self.key_proj",
    "value": "attention.self.value_proj",
    "mix": "attention.output.dense",
    "mix_norm": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
    "distance_key": "attention.self.pos_key_proj",
    "distance_query": "attention.self.pos_query_proj",
}


def renamed(published: Mapping[str, Tensor], shape: Shape, tokenizer: bytes) -> dict[str, Tensor]:
    """The authors' tensors under our names; what is missing is found where they are loaded."""
    start = "deberta." if "deberta.embeddings.word_embeddings.weight" in published else ""
    names = {
        "embeddings.word.weight": "embeddings.word_embeddings.weight",
        "embeddings.position.weight": "embeddings.position_embeddings.weight",
        "embeddings.norm.weight": "embeddings.LayerNorm.weight",
        "embeddings.norm.bias": "embeddings.LayerNorm.bias",
    }
    for i in range(shape.layers):
        for mine, theirs in _LAYER.items():
            for kind in ("weight", "bias"):
                names[f"{_ours(i, shape)}{mine}.{kind}"] = f"encoder.layer.{i}.{theirs}.{kind}"
    found = {
        mine: published[start + theirs].float()
        for mine, theirs in names.items()
        if start + theirs in published
    }
    if not shape.is_placed:
        found.pop("embeddings.position.weight", None)
    segments = published.get(f"{start}embeddings.token_type_embeddings.weight")
    if segments is not None:
        found["embeddings.segment"] = segments[0].float()
    table = _table(published, f"{start}encoder.", shape)
    if table is not None:
        found |= {f"{_ours(i, shape)}distance": table for i in range(shape.layers)}
    found[f"embeddings.{TOKENIZER}"] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    return found


def _ours(layer: int, shape: Shape) -> str:
    return f"layer.{layer}." + ("layer." if layer == shape.layers - 1 else "")


def _table(published: Mapping[str, Tensor], start: str, shape: Shape) -> Tensor | None:
    """The table of distances as the layers see it."""
    table = published.get(f"{start}rel_embeddings.weight")
    norm = [published.get(f"{start}LayerNorm.{kind}") for kind in ("weight", "bias")]
    if table is None or (shape.is_normed and None in norm):
        return None
    table = table.float()[: 2 * shape.distances]
    if not shape.is_normed:
        return table
    weight, bias = (None if part is None else part.float() for part in norm)
    return F.layer_norm(table, (shape.width,), weight, bias, shape.epsilon)
