"""Words filled in by a network, for people to read.

l: tokens of an example, m: masked tokens, v: words known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from regraft.backbones import Backbone
from regraft.pretraining.masking import Packed, Windows, chosen
from regraft.seeds import generator, seed_of
from regraft.transfer.tokens import whole_tokenizer

SHOWN, LENGTH = 6, 48
FEWEST = 12
"""Tokens that a window must have to be an example."""


@dataclass(frozen=True)
class Example:
    """The beginning of a window with whole words hidden.

    Attributes:
        id_l: the tokens, without marks.
        hidden_m: which of them are hidden.
        batch: as the network takes it.
    """

    id_l: np.ndarray
    hidden_m: np.ndarray
    batch: Packed


def examples(windows: Windows, seed: int) -> list[Example]:
    """Some windows, shortened, with whole words hidden; every hidden one behind the mask."""
    long = np.flatnonzero(windows.length_w >= FEWEST)
    order = generator(seed, "examples").permutation(len(long))
    some, seen = list[int](), set[int]()
    for at in long[order]:
        document = int(windows.document_w[at])
        if document not in seen:
            seen.add(document)
            some.append(int(at))
    short = replace(windows, length_w=np.minimum(windows.length_w, LENGTH))
    return [_example(short, at, seed) for at in some[:SHOWN]]


def _example(windows: Windows, at: int, seed: int) -> Example:
    id_l, starts_l = windows.part(at)
    picked_l, _ = chosen(starts_l, seed_of(seed, "examples"), 0, at, True)
    if not picked_l.any():
        picked_l = np.arange(len(id_l)) == len(id_l) // 2
    marks = windows.marks
    hidden_m = np.flatnonzero(picked_l)
    shown_l = [*marks.before, *np.where(picked_l, marks.mask, id_l), *marks.after]
    row = np.array([shown_l], np.int32)
    batch = Packed(
        row, np.arange(row.shape[1])[None], np.zeros_like(row), hidden_m + len(marks.before),
        id_l[hidden_m], row.shape[1],
    )  # fmt: skip
    return Example(id_l, hidden_m, batch)


def filled(example: Example, chance_mv: np.ndarray, backbone: Backbone) -> dict[str, Any]:
    """An example as report.json has it.

    Args:
        example: see there.
        chance_mv: what the network gives each word in each hidden place.
        backbone: whose tokenizer is used.

    Returns:
        "parts": in order, texts and {"truth", "guess", "sure"}.
    """
    guess_m, tokenizer = chance_mv.argmax(axis=1), whole_tokenizer(backbone)
    at_m = {int(at): m for m, at in enumerate(example.hidden_m)}
    parts: list[Any] = []
    for at, token in enumerate(example.id_l):
        truth = _piece(example.id_l, at, int(token), tokenizer)
        if at in at_m:
            m = at_m[at]
            guess = _piece(example.id_l, at, int(guess_m[m]), tokenizer)
            sure = round(float(chance_mv[m, guess_m[m]]), 3)
            parts.append({"truth": truth, "guess": guess, "sure": sure})
        elif parts and isinstance(parts[-1], str):
            parts[-1] += truth
        else:
            parts.append(truth)
    return {"parts": parts}


def _piece(id_l: np.ndarray, at: int, token: int, tokenizer: Any) -> str:
    """What a token adds to the text before it, spaces included."""
    before = tokenizer.decode(id_l[:at].tolist(), skip_special_tokens=False)
    whole = tokenizer.decode([*id_l[:at].tolist(), token], skip_special_tokens=False)
    return whole[len(before) :] if whole.startswith(before) else f" {tokenizer.id_to_token(token)}"
