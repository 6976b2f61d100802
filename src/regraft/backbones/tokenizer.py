"""The one place where the library of tokenizers is imported; it comes with the extra `text`."""

from __future__ import annotations

from typing import Any

from regraft.errors import MissingExtra


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
