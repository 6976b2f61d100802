"""Which file describes a family of text encoders, and how each is read and built."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from regraft.backbones import deberta, modern_bert, text_encoder
from regraft.backbones.network import Part
from regraft.errors import BackboneError

Shape: TypeAlias = text_encoder.Shape | deberta.Shape | modern_bert.Shape

FAMILIES = (*text_encoder.FAMILIES, "deberta-v2", "modernbert")
"""What a config.json calls them; the third version of DeBERTa calls itself deberta-v2 too."""


def shape_of(config: Mapping[str, Any], tokenizer_bytes: int, where: Path) -> Shape:
    """The constants in a model's config.json.

    Raises:
        BackboneError: it is not an encoder of these families, or lacks something.
    """
    family = config.get("model_type")
    try:
        if family == "deberta-v2":
            return deberta.shape_of(config, tokenizer_bytes, where)
        if family == "modernbert":
            return modern_bert.shape_of(config, tokenizer_bytes, where)
        if family in text_encoder.FAMILIES:
            return text_encoder.shape_of(config, tokenizer_bytes, where)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as fault:
        raise BackboneError(
            f"config.json lacks or confuses {fault}",
            where=where,
            mend="fetch the folder again, or save it with transformers' save_pretrained",
        ) from fault
    raise BackboneError(
        f"this is no encoder that is known here: {family!r}",
        where=where,
        mend=f"take one of the families {', '.join(FAMILIES)}",
    )


def parts(family: str, options: Mapping[str, Any]) -> list[Part]:
    """The stages of an encoder, freshly initialised."""
    if family == "deberta-v2":
        return deberta.parts(options)
    return modern_bert.parts(options) if family == "modernbert" else text_encoder.parts(options)


def renamed(
    published: Mapping[str, Tensor], family: str, shape: Shape, tokenizer: bytes
) -> dict[str, Tensor]:
    """The authors' tensors under our names, with the head for hidden words if there is one.

    The first BERTs call what a norm multiplies by gamma and what it adds beta, as TensorFlow does.
    """
    published = {
        _OF_NORM.sub(lambda said: f"LayerNorm.{_NORM[said[1]]}", name): tensor
        for name, tensor in published.items()
    }
    if isinstance(shape, deberta.Shape):
        found = deberta.renamed(published, shape, tokenizer)
    elif isinstance(shape, modern_bert.Shape):
        found = modern_bert.renamed(published, shape, tokenizer)
    else:
        found = text_encoder.renamed(published, family, shape, tokenizer)
    return found | text_encoder.word_head(published)


def token_states(
    stages: Iterable[nn.Module], ids_bl: Tensor, place_bl: Tensor, text_bl: Tensor, frozen: int = 0
) -> Tensor:
    """Hidden states (B, L, D) of all tokens after the last layer, before they are pooled.

    Args:
        stages: of an encoder, as `parts` makes them.
        ids_bl: token ids, -1 for padding; several texts may share a row.
        place_bl: position of each token in its own text.
        text_bl: which text of its row a token is of; a token sees its own text only.
        frozen: leading stages that no gradient reaches.
    """
    embeddings, *layers, last = stages
    assert isinstance(last, _LAST), type(last)
    with torch.set_grad_enabled(torch.is_grad_enabled() and frozen == 0):
        x_bld, _ = embeddings(ids_bl, place_bl)
    for index, layer in enumerate(layers, 1):
        with torch.set_grad_enabled(torch.is_grad_enabled() and index >= frozen):
            x_bld, _ = layer(x_bld, text_bl)
    with torch.set_grad_enabled(torch.is_grad_enabled() and len(layers) + 1 >= frozen):
        return last.states(x_bld, text_bl)


def word_table(embeddings: nn.Module) -> Tensor:
    """The word vectors (V, D) of an encoder's first stage: the parameter itself."""
    assert isinstance(embeddings, _FIRST), type(embeddings)
    return embeddings.word.weight


_OF_NORM = re.compile(r"LayerNorm\.(gamma|beta)$")
_NORM = {"gamma": "weight", "beta": "bias"}
_LAST = (text_encoder.LastLayer, deberta.LastLayer, modern_bert.LastLayer)
_FIRST = (text_encoder.Embeddings, deberta.Embeddings, modern_bert.Embeddings)
