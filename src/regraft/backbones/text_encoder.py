"""BERT-family encoders in plain torch, as stages: embeddings, then one stage a layer.

Decisions:

- The architecture is written out (Devlin et al. 2019, arXiv:1810.04805), because BERT, MiniLM,
  RoBERTa, XLM-RoBERTa and DistilBERT differ in names and constants only. No model library is
  imported, no code that comes with weights is run, and the modules trace for any length.
- What flows is the hidden states and how many of them are text: padding never changes a result.
- The tokenizer is a tensor of the first stage, its file's bytes. Whatever moves, hashes or
  certifies weights then moves, hashes and certifies the tokenizer too.
- A text's vector is the mean over its tokens, or its first token's where its authors learnt that
  one; it is part of the last stage.
- There is no dropout: few labels are met by few steps, not by noise.

B: batch, L: tokens, D: width, H: heads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regraft.backbones.network import Part
from regraft.backbones.text_config import FEWEST_TOKENS, heads, number
from regraft.errors import BackboneError

TOKENIZER = "tokenizer_json"
HEAD = "mlm_head."
"""Before the names of a head for hidden words, which may lie among the weights."""
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert")
MEAN, CLS = "mean", "cls"
ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


@dataclass(frozen=True)
class Shape:
    """The constants of an encoder.

    Attributes:
        vocabulary: how many tokens it knows.
        width: of a hidden state.
        layers: how many.
        heads: of attention, in each layer.
        inner: width inside a layer's feed-forward part.
        positions: rows of the position table.
        first_position: the row of a text's first token.
        types: rows of the segment table; 0 for none.
        epsilon: of the layer norms.
        approximate: of GELU: "none" or "tanh".
        tokenizer_bytes: length of the tokenizer's file.
        pooling: how a text's vector is made of its hidden states; one of `POOLINGS`.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    first_position: int
    types: int
    epsilon: float
    approximate: str
    tokenizer_bytes: int
    pooling: str = MEAN

    def options(self) -> tuple[tuple[str, object], ...]:
        """As a recipe keeps them."""
        return tuple(asdict(self).items())

    @property
    def longest(self) -> int:
        """Tokens that it has positions for."""
        return self.positions - self.first_position


def shape_of(config: Mapping[str, Any], tokenizer_bytes: int, where: Path) -> Shape:
    """The constants in a model's config.json.

    Raises:
        BackboneError: it is not an encoder of these families.
        ValueError: a number is missing, or is none that can be.
    """
    family = config.get("model_type")
    activation = config.get("hidden_act", config.get("activation", "gelu"))
    places = config.get("position_embedding_type") or "absolute"
    is_known = family in FAMILIES and activation in ACTIVATIONS and places == "absolute"
    if config.get("is_decoder") or not is_known:
        raise BackboneError(
            f"this is no encoder that is known here: {family!r} with {activation!r} and positions "
            f"that are {places!r}",
            where=where,
            mend=f"take one of the families {', '.join(FAMILIES)}, with absolute positions",
        )
    distil, shifted = family == "distilbert", family in ("roberta", "xlm-roberta", "camembert")
    width = number(config, "dim" if distil else "hidden_size", 1)
    first = number(config, "pad_token_id", 0, 1) + 1 if shifted else 0
    return Shape(
        number(config, "vocab_size", 1),
        width,
        number(config, "n_layers" if distil else "num_hidden_layers", 1),
        heads(config, "n_heads" if distil else "num_attention_heads", width),
        number(config, "hidden_dim" if distil else "intermediate_size", 1),
        number(config, "max_position_embeddings", first + FEWEST_TOKENS),
        first,
        0 if distil else number(config, "type_vocab_size", 0, 2),
        1e-12 if distil else number(config, "layer_norm_eps", 0.0),
        ACTIVATIONS[activation],
        tokenizer_bytes,
    )


class Embeddings(nn.Module):
    """Token ids (B, L), -1 for padding, to hidden states (B, L, D) and lengths (B,)."""

    tokenizer_json: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.word = nn.Embedding(shape.vocabulary, shape.width)
        self.position = nn.Embedding(shape.positions, shape.width)
        self.segment = nn.Parameter(torch.zeros(shape.width)) if shape.types else None
        self.norm = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.first_position = shape.first_position
        self.register_buffer(TOKENIZER, torch.zeros(shape.tokenizer_bytes, dtype=torch.uint8))

    def forward(self, ids_bl: Tensor, place_bl: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the class; where several texts share a row, `place_bl` counts in each its own."""
        if place_bl is None:
            place_bl = torch.arange(ids_bl.shape[1], device=ids_bl.device)
        x_bld = self.word(ids_bl.clamp(min=0)) + self.position(place_bl + self.first_position)
        if self.segment is not None:
            x_bld = x_bld + self.segment
        return self.norm(x_bld), (ids_bl >= 0).sum(dim=1).to(x_bld.dtype)


class Layer(nn.Module):
    """One layer; hidden states (B, L, D) and lengths (B,) in and out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.query = nn.Linear(shape.width, shape.width)
        self.key = nn.Linear(shape.width, shape.width)
        self.value = nn.Linear(shape.width, shape.width)
        self.mix = nn.Linear(shape.width, shape.width)
        self.mix_norm = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.wide = nn.Linear(shape.width, shape.inner)
        self.narrow = nn.Linear(shape.inner, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.heads = shape.heads
        self.approximate = shape.approximate

    def forward(self, x_bld: Tensor, length_b: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        split = (x_bld.shape[0], x_bld.shape[1], self.heads, -1)
        query, key, value = (
            part(x_bld).view(split).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(query, key, value, may_see(x_bld, length_b))
        x_bld = self.mix_norm(x_bld + self.mix(seen.transpose(1, 2).flatten(2)))
        inner = F.gelu(self.wide(x_bld), approximate=self.approximate)
        return self.norm(x_bld + self.narrow(inner)), length_b


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


def mean(x_bld: Tensor, length_b: Tensor) -> Tensor:
    """The mean over the text's own hidden states: (B, D)."""
    kept_bld = x_bld * text_mask(x_bld, length_b)[:, :, None]
    return kept_bld.sum(dim=1) / length_b[:, None]


def first(x_bld: Tensor, length_b: Tensor) -> Tensor:
    """The hidden state of the text's first token, which stands for all of it: (B, D)."""
    return x_bld[:, 0]


POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {MEAN: mean, CLS: first}


def text_mask(x_bld: Tensor, length_b: Tensor) -> Tensor:
    """Which hidden states are text and not padding: bool (B, L)."""
    return torch.arange(x_bld.shape[1], device=x_bld.device) < length_b[:, None]


def may_see(x_bld: Tensor, length_b: Tensor) -> Tensor:
    """Which tokens a token attends to: bool, (B, 1, 1, L), or (B, 1, L, L) where texts share rows.

    Args:
        x_bld: hidden states.
        length_b: how many tokens of each row are text; or (B, L), for each token which text of its
            row it is of.
    """
    if length_b.ndim == 2:
        return length_b[:, None, :, None] == length_b[:, None, None, :]
    return text_mask(x_bld, length_b)[:, None, None, :]


def parts(options: Mapping[str, Any]) -> list[Part]:
    """The stages, freshly initialised as BERT's authors do."""
    shape = Shape(**options)
    last = shape.layers - 1
    found = [Part("embeddings", Embeddings(shape), "embeddings.")]
    found += [Part(f"layer.{i}", Layer(shape), f"layer.{i}.") for i in range(last)]
    found.append(Part(f"layer.{last}", LastLayer(shape), f"layer.{last}."))
    for part in found:
        part.module.apply(initialise)
    return found


def initialise(module: nn.Module) -> None:
    """Weights as BERT's authors draw them."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(module.bias)


# Names --------------------------------------------------------------------------------------------

_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mix": "attention.output.dense",
    "mix_norm": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}
_DISTILBERT = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "mix": "attention.out_lin",
    "mix_norm": "sa_layer_norm",
    "wide": "ffn.lin1",
    "narrow": "ffn.lin2",
    "norm": "output_layer_norm",
}


def renamed(
    published: Mapping[str, Tensor], family: str, shape: Shape, tokenizer: bytes
) -> dict[str, Tensor]:
    """A library's tensors under our names; what is missing is found where they are loaded."""
    start = next((f"{p}." for p in ("bert", "roberta", "distilbert") if _has(published, p)), "")
    distil = family == "distilbert"
    names = {
        "embeddings.word.weight": "embeddings.word_embeddings.weight",
        "embeddings.position.weight": "embeddings.position_embeddings.weight",
        "embeddings.norm.weight": "embeddings.LayerNorm.weight",
        "embeddings.norm.bias": "embeddings.LayerNorm.bias",
    }
    for i in range(shape.layers):
        ours = f"layer.{i}." + ("layer." if i == shape.layers - 1 else "")
        theirs = f"transformer.layer.{i}." if distil else f"encoder.layer.{i}."
        for mine, their in (_DISTILBERT if distil else _BERT).items():
            for kind in ("weight", "bias"):
                names[f"{ours}{mine}.{kind}"] = f"{theirs}{their}.{kind}"
    found = {
        mine: published[start + their].float()
        for mine, their in names.items()
        if start + their in published
    }
    segments = published.get(f"{start}embeddings.token_type_embeddings.weight")
    if segments is not None:
        found["embeddings.segment"] = segments[0].float()
    found[f"embeddings.{TOKENIZER}"] = torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8)
    return found


def word_head(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The head for hidden words among a library's tensors, under our names; nothing without one."""
    for head in _HEADS:
        found = {m: published[their].float() for m, their in head.items() if their in published}
        if set(head) - set(found) <= _MAY_LACK:
            width = len(found["dense.weight"])
            found |= {mine: torch.zeros(width) for mine in set(head) - set(found)}
            return {HEAD + mine: tensor for mine, tensor in found.items()}
    return {}


_HEADS = (
    {
        "dense.weight": "cls.predictions.transform.dense.weight",
        "dense.bias": "cls.predictions.transform.dense.bias",
        "norm.weight": "cls.predictions.transform.LayerNorm.weight",
        "norm.bias": "cls.predictions.transform.LayerNorm.bias",
        "bias": "cls.predictions.bias",
    },
    {
        "dense.weight": "lm_head.dense.weight",
        "dense.bias": "lm_head.dense.bias",
        "norm.weight": "lm_head.layer_norm.weight",
        "norm.bias": "lm_head.layer_norm.bias",
        "bias": "lm_head.bias",
    },
    {
        "dense.weight": "vocab_transform.weight",
        "dense.bias": "vocab_transform.bias",
        "norm.weight": "vocab_layer_norm.weight",
        "norm.bias": "vocab_layer_norm.bias",
        "bias": "vocab_projector.bias",
    },
    {
        "dense.weight": "head.dense.weight",
        "dense.bias": "head.dense.bias",
        "norm.weight": "head.norm.weight",
        "norm.bias": "head.norm.bias",
        "bias": "decoder.bias",
    },
)
"""Heads for hidden words as BERT (and DeBERTa), RoBERTa, DistilBERT and ModernBERT publish them."""
_MAY_LACK = {"dense.bias", "norm.bias"}
"""What ModernBERT leaves out where it is configured without; zeros are the same."""


def _has(published: Mapping[str, Tensor], prefix: str) -> bool:
    return f"{prefix}.embeddings.word_embeddings.weight" in published
