"""From a text to token ids, with the tokenizer that lies among the backbone's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regraft.backbones import Backbone
from regraft.backbones.tokenizer import read_tokenizer

ASKED = 64
"""Texts whose lengths stand for all."""


def token_ids(text: str, backbone: Backbone) -> np.ndarray:
    """A text as int32 (tokens,): its windows one after the other; see `TextPreprocessing`."""
    return np.concatenate([np.array(w.ids, dtype=np.int32) for w in _windows(text, backbone)])


def is_cut(text: str, backbone: Backbone) -> bool:
    """Whether the network does not see all of a text."""
    whole = backbone.tokenizer.encode(text)
    return len(whole.overflowing) >= backbone.texts.windows


def whole_tokenizer(backbone: Backbone) -> Any:
    """The `tokenizers.Tokenizer` of a backbone, which cuts nothing off and fills nothing up."""
    tokenizer = read_tokenizer(backbone.weights)
    tokenizer.no_truncation()
    return tokenizer


def read_to(text: str, backbone: Backbone) -> int:
    """Where in a text the network's reading ends: the place behind the last letter."""
    ends = (stop for w in _windows(text, backbone) for _, stop in w.offsets)
    return max(ends, default=0)


def mean_tokens(texts: Sequence[str], backbone: Backbone) -> float:
    """How many tokens a text has, of those that are read: the mean over some of the texts."""
    some = texts[:: max(1, len(texts) // ASKED)]
    return float(np.mean([len(token_ids(text, backbone)) for text in some]))


def _windows(text: str, backbone: Backbone) -> list[Any]:
    """What a text is read as: `tokenizers.Encoding`s, all full but the last."""
    whole = backbone.tokenizer.encode(text)
    p = backbone.texts
    windows = [whole, *whole.overflowing[: p.windows - 1]]
    assert all(len(w.ids) == p.max_tokens for w in windows[:-1]), "windows are full"
    return windows
