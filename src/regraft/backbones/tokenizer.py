"""The one place where the library of tokenizers is imported; it comes with the extra `text`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regraft.errors import MissingExtra

_TENSOR = "embeddings.tokenizer_json"


def read_tokenizer(weights: Path) -> Any:
    """The `tokenizers.Tokenizer` that lies among the weights; it fills nothing up."""
    from safetensors import safe_open

    with safe_open(weights, framework="numpy") as file:
        tokenizer = open_tokenizer(file.get_tensor(_TENSOR).tobytes())
    tokenizer.no_padding()
    return tokenizer


def open_tokenizer(data: bytes) -> Any:
    """A `tokenizers.Tokenizer` from the bytes of a tokenizer.json.

    Raises:
        MissingExtra: the library is not installed.
        Exception: the library raises just this for what it cannot read.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as fault:
        raise MissingExtra(
            "texts need the package tokenizers", mend="pip install regraft[text]"
        ) from fault
    return Tokenizer.from_str(data.decode())
