"""Numbers in a model's config.json, checked as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)

_MOST = 2**31
"""No size or count of an encoder comes near."""
_SHOWN = 40
FEWEST_TOKENS = 8
"""That an encoder must have positions for."""


def number(
    config: Mapping[str, Any], key: str, least: Number, usual: Number | None = None
) -> Number:
    """What a config says for a key.

    Args:
        config: of the model, or a part of it.
        key: what is asked for.
        least: that it may be; a whole number where this is one.
        usual: where the config says nothing; None if it has to.

    Raises:
        ValueError: it says nothing, or what is no such number; says which.
    """
    value = config.get(key)
    if value is None:
        value = usual
    wanted = int if isinstance(least, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted) or not least <= value <= _MOST:
        kind = "a whole number" if isinstance(least, int) else "a number"
        raise ValueError(f"{key}: {repr(value)[:_SHOWN]}, where {kind} of {least} or more belongs")
    return type(least)(value)


def heads(config: Mapping[str, Any], key: str, width: int, *, even: bool = False) -> int:
    """How many heads of attention a config says for a key.

    Args:
        config: of the model.
        key: what is asked for.
        width: of a hidden state, which they share.
        even: whether each must have an even part of it.

    Raises:
        ValueError: it is no number, or the width cannot be shared so.
    """
    count = number(config, key, 1)
    if width % count or (even and width // count % 2):
        raise ValueError(f"{key}: {count}, which cannot share a width of {width}")
    return count
