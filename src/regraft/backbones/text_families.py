"""Which file describes a family of text encoders, and how each is read and built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

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
    """The authors' tensors under our names."""
    if isinstance(shape, deberta.Shape):
        return deberta.renamed(published, shape, tokenizer)
    if isinstance(shape, modern_bert.Shape):
        return modern_bert.renamed(published, shape, tokenizer)
    return text_encoder.renamed(published, family, shape, tokenizer)
