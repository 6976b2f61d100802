"""From a text to token ids, with the tokenizer that lies among the backbone's weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from regraft.backbones import Backbone, TextPreprocessing
from regraft.backbones.tokenizer import open_tokenizer

_TENSOR = "embeddings.tokenizer_json"


def token_ids(text: str, backbone: Backbone) -> np.ndarray:
    """A text as int32 (tokens,), marks of beginning and end included; the end is cut off."""
    return np.array(_tokenizer(backbone).encode(text).ids, dtype=np.int32)


def is_cut(text: str, backbone: Backbone) -> bool:
    """Whether the network does not see all of a text."""
    return bool(_tokenizer(backbone).encode(text).overflowing)


def whole_tokenizer(backbone: Backbone) -> Any:
    """The `tokenizers.Tokenizer` of a backbone, which cuts nothing off and fills nothing up."""
    tokenizer = _read(backbone.weights)
    tokenizer.no_truncation()
    return tokenizer


def read_to(text: str, backbone: Backbone) -> int:
    """Where in a text the network's reading ends: the place behind the last letter."""
    return max((stop for _, stop in _tokenizer(backbone).encode(text).offsets), default=0)


def _tokenizer(backbone: Backbone) -> Any:
    preprocessing = backbone.preprocessing
    assert isinstance(preprocessing, TextPreprocessing), backbone.name
    return _opened(backbone.weights, preprocessing)


@lru_cache(maxsize=4)
def _opened(weights: Path, preprocessing: TextPreprocessing) -> Any:
    """The tokenizer of a weights file; named by its checksum, so that the cache cannot be stale."""
    tokenizer = _read(weights)
    tokenizer.enable_truncation(preprocessing.max_tokens)
    return tokenizer


def _read(weights: Path) -> Any:
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as file:
        tokenizer = open_tokenizer(file.get_tensor(_TENSOR).tobytes())
    tokenizer.no_padding()
    return tokenizer
