"""ModernBERT (Warner et al. 2024, arXiv:2412.13663), as stages: embeddings, then one a layer.

Positions are turns of queries and keys (Su et al. 2021, arXiv:2104.09864), so there is no table of
them; norms come before what they serve; most layers see near tokens only. The last stage ends in
the final norm and what makes a text's vector of its tokens.

B: batch, L: tokens, D: width, H: heads, E: width of a head.
"""

from __future__ import annotations

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
    """The constants of an encoder.

    Attributes:
        vocabulary: how many tokens it knows.
        width: of a hidden state.
        layers: how many.
        heads: of attention, in each layer.
        inner: width inside a layer's feed-forward part.
        positions: of the longest text that it was trained on.
        epsilon: of the norms.
        approximate: of GELU: "none" or "tanh".
        reach: tokens to either side that a layer sees; 0 for all, one entry a layer.
        turns: base of the turns, one entry a layer.
        has_bias: of the attention's projections, the feed-forward part's, and the norms.
        tokenizer_bytes: length of the tokenizer's file.
        pooling: how a text's vector is made of its hidden states; one of `POOLINGS`.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    epsilon: float
    approximate: str
    reach: tuple[int, ...]
    turns: tuple[float, ...]
    has_bias: tuple[bool, bool, bool]
    tokenizer_bytes: int
    pooling: str = MEAN

    def options(self) -> tuple[tuple[str, object], ...]:
        """As a recipe keeps them."""
        return tuple(asdict(self).items())

    @property
    def longest(self) -> int:
        """Tokens of the longest text that it was trained on."""
        return self.positions


def shape_of(config: Mapping[str, Any], tokenizer_bytes: int, where: Path) -> Shape:
    """The constants in a model's config.json, as older and newer versions write them.

    Raises:
        BackboneError: it is of a kind that is not known here.
        ValueError: a number is missing, or is none that can be.
    """
    activation = config.get("hidden_activation", "gelu")
    ropes: Mapping[str, Any] = config.get("rope_parameters") or {}
    kinds = {(rope or {}).get("rope_type", "default") for rope in ropes.values()}
    if activation not in ACTIVATIONS or config.get("rope_scaling") or kinds - {"default"}:
        raise BackboneError(
            f"this ModernBERT is of a kind that is not known here: {activation!r}, {sorted(kinds)}",
            where=where,
            mend="take one with GELU and without scaled positions",
        )
    layers = number(config, "num_hidden_layers", 1)
    every = number(config, "global_attn_every_n_layers", 1, 3)
    types = config.get("layer_types") or [
        "sliding_attention" if i % every else "full_attention" for i in range(layers)
    ]
    if len(types) != layers:
        raise ValueError(f"layer_types: {len(types)} of them, where there are {layers} layers")
    usual = {
        "full_attention": number(config, "global_rope_theta", 1.0, 160_000.0),
        "sliding_attention": number(config, "local_rope_theta", 1.0, 10_000.0),
    }
    bases = {
        name: number(ropes.get(name) or {}, "rope_theta", 1.0, base) for name, base in usual.items()
    }
    near = number(config, "local_attention", 2, 128) // 2
    width = number(config, "hidden_size", 1)
    return Shape(
        number(config, "vocab_size", 1),
        width,
        layers,
        heads(config, "num_attention_heads", width, even=True),
        number(config, "intermediate_size", 1),
        number(config, "max_position_embeddings", FEWEST_TOKENS),
        number(config, "norm_eps", 0.0, 1e-5),
        ACTIVATIONS[activation],
        tuple(near if kind == "sliding_attention" else 0 for kind in types),
        tuple(float(bases[kind]) for kind in types),
        (
            bool(config.get("attention_bias", False)),
            bool(config.get("mlp_bias", False)),
            bool(config.get("norm_bias", False)),
        ),
        tokenizer_bytes,
    )


class Embeddings(nn.Module):
    """Token ids (B, L), -1 for padding, to hidden states (B, L, D) and lengths (B,)."""

    tokenizer_json: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.word = nn.Embedding(shape.vocabulary, shape.width)
        self.norm = _norm(shape)
        self.register_buffer(TOKENIZER, torch.zeros(shape.tokenizer_bytes, dtype=torch.uint8))

    def forward(self, ids_bl: Tensor, place_bl: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the class; places do not matter, the layers know distances only."""
        x_bld = self.norm(self.word(ids_bl.clamp(min=0)))
        return x_bld, (ids_bl >= 0).sum(dim=1).to(x_bld.dtype)


class Layer(nn.Module):
    """One layer; hidden states (B, L, D) and lengths (B,) in and out."""

    frequency: Tensor

    def __init__(self, shape: Shape, index: int) -> None:
        super().__init__()
        attention, feed, _ = shape.has_bias
        self.before = _norm(shape) if index else None
        self.project = nn.Linear(shape.width, 3 * shape.width, bias=attention)
        self.mix = nn.Linear(shape.width, shape.width, bias=attention)
        self.between = _norm(shape)
        self.wide = nn.Linear(shape.width, 2 * shape.inner, bias=feed)
        self.narrow = nn.Linear(shape.inner, shape.width, bias=feed)
        head = shape.width // shape.heads
        exponent = torch.arange(0, head, 2, dtype=torch.float32) / head
        self.register_buffer("frequency", 1.0 / shape.turns[index] ** exponent, persistent=False)
        self.heads = shape.heads
        self.reach = shape.reach[index]
        self.approximate = shape.approximate

    def forward(self, x_bld: Tensor, length_b: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        given_bld = x_bld if self.before is None else self.before(x_bld)
        projected = self.project(given_bld).unflatten(2, (3, self.heads, -1)).transpose(1, 3)
        query, key, value = (part.squeeze(2) for part in projected.split(1, dim=2))
        place_l = torch.arange(x_bld.shape[1], device=x_bld.device)
        angle_le = (place_l[:, None] * self.frequency).repeat(1, 2)
        query, key = (_turned(part, angle_le) for part in (query, key))
        sees_b1ll = may_see(x_bld, length_b)
        if self.reach:
            sees_b1ll = sees_b1ll & ((place_l[:, None] - place_l[None, :]).abs() <= self.reach)
            # A row of padding would see nothing, which has no softmax.
            sees_b1ll = sees_b1ll | (place_l[:, None] == place_l[None, :])
        seen = F.scaled_dot_product_attention(query, key, value, sees_b1ll)
        x_bld = x_bld + self.mix(seen.transpose(1, 2).flatten(2))
        inner, gate = self.wide(self.between(x_bld)).chunk(2, dim=-1)
        return x_bld + self.narrow(F.gelu(inner, approximate=self.approximate) * gate), length_b


def _turned(x_bhle: Tensor, angle_le: Tensor) -> Tensor:
    """Queries or keys turned by the angles of their places."""
    first, second = x_bhle.chunk(2, dim=-1)
    return x_bhle * angle_le.cos() + torch.cat((-second, first), dim=-1) * angle_le.sin()


class LastLayer(nn.Module):
    """A layer, the final norm, and the text's vector: to (B, D)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layer = Layer(shape, shape.layers - 1)
        self.final = _norm(shape)
        self.pool = POOLINGS[shape.pooling]

    def forward(self, x_bld: Tensor, length_b: Tensor) -> Tensor:
        """See the class."""
        return self.pool(self.states(x_bld, length_b), length_b)

    def states(self, x_bld: Tensor, length_b: Tensor) -> Tensor:
        """The hidden states that the vector is made of."""
        return self.final(self.layer(x_bld, length_b)[0])


def _norm(shape: Shape) -> nn.LayerNorm:
    return nn.LayerNorm(shape.width, eps=shape.epsilon, bias=shape.has_bias[2])


def parts(options: Mapping[str, Any]) -> list[Part]:
    """The stages, freshly initialised."""
    tuples: dict[str, Any] = {n: tuple(options[n]) for n in ("reach", "turns", "has_bias")}
    shape = Shape(**{**options, **tuples})
    last = shape.layers - 1
    found = [Part("embeddings", Embeddings(shape), "embeddings.")]
    found += [Part(f"layer.{i}", Layer(shape, i), f"layer.{i}.") for i in range(last)]
    found.append(Part(f"layer.{last}", LastLayer(shape), f"layer.{last}."))
    for part in found:
        part.module.apply(initialise)
    return found


_LAYER = {
    "before": "attn_norm",
    "project": "attn.Wqkv",
    "mix": "attn.Wo",
    "between": "mlp_norm",
    "wide": "mlp.Wi",
    "narrow": "mlp.Wo",
}


def renamed(published: Mapping[str, Tensor], shape: Shape, tokenizer: bytes) -> dict[str, Tensor]:
    """The authors' tensors under our names; what is missing is found where they are loaded."""
    start = "model." if "model.embeddings.tok_embeddings.weight" in published else ""
    last = shape.layers - 1
    modules = {
        "embeddings.word": "embeddings.tok_embeddings",
        "embeddings.norm": "embeddings.norm",
        f"layer.{last}.final": "final_norm",
    }
    for i in range(shape.layers):
        ours = f"layer.{i}." + ("layer." if i == last else "")
        modules |= {f"{ours}{mine}": f"layers.{i}.{theirs}" for mine, theirs in _LAYER.items()}
    found = {
        f"{mine}.{kind}": published[f"{start}{theirs}.{kind}"].float()
        for mine, theirs in modules.items()
        for kind in ("weight", "bias")
        if f"{start}{theirs}.{kind}" in published
    }
    found[f"embeddings.{TOKENIZER}"] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    return found
