"""The one place where the library of tokenizers is imported; it comes with the extra `text`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regraft.errors import BackboneError, MissingExtra, RegraftError

_TENSOR = "embeddings.tokenizer_json"
_PROBES = ("", "a", "\u200b", "\U00012000")
"""Nothing, a letter, what is often taken out, and what hardly any vocabulary has."""


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


@contextmanager
def reading(where: Path) -> Generator[None]:
    """Whatever the library raises inside of this is a damaged tokenizer of the model there.

    Raises:
        BackboneError: the library raised Exception itself, or panicked.
    """
    try:
        yield
    except RegraftError:
        raise
    except BaseException as fault:
        # What its Rust code panics with is no Exception, and its class cannot be imported.
        if not isinstance(fault, Exception) and type(fault).__name__ != "PanicException":
            raise
        raise BackboneError(
            f"the tokenizer cannot be used: {fault}"[:500],
            where=where,
            mend="put the tokenizer.json there that these weights were trained with",
        ) from fault


def highest_id(tokenizer: Any) -> int:
    """The highest id that a tokenizer gives: to its words, and around texts and for what it lacks.

    Raises:
        Exception: it cannot read a text at all; see `reading`.
    """
    known = tokenizer.get_vocab(with_added_tokens=True).values()
    given = [i for text in _PROBES for i in tokenizer.encode(text).ids]
    return max([*known, *given], default=-1)
