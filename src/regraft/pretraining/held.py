"""Which texts of a pool are held out, to be measured on and never learnt from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from regraft.dataset import Sample
from regraft.errors import DataError
from regraft.seeds import generator

HELD_SHARE, HELD_TOKENS = 0.05, 32_768
HELD_BYTES = 5 * HELD_TOKENS
"""A token takes three to five; more than is measured would be neither measured nor learnt."""
HELD_LEAST = 2_000
"""Bytes of a small pool; in fewer than so many hardly any words would be hidden."""
_WORD_END = re.compile(r"\s+")
_FAR = 100
"""Characters within which a text that is cut should have a space."""


def held_out(samples: Sequence[Sample], seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Samples to learn from, and those that are held out.

    These are a twentieth of the pool at most, or `HELD_LEAST` of a small one, of which no group is
    drawn that is more than its half. Whole groups are held out, so that no near copy is learnt
    from. Where none is small enough, the end of the longest text is held out and its beginning
    learnt from; where that is short, the smallest group is, whatever its share.

    Raises:
        DataError: there is only one text, and a short one, or all are copies of one.
    """
    bytes_of = Counter[str]()
    texts_of = Counter(_group(sample) for sample in samples)
    for sample in samples:
        bytes_of[_group(sample)] += _bytes(sample)
    room = max(HELD_LEAST, min(HELD_BYTES, int(HELD_SHARE * bytes_of.total())))
    held = _drawn(bytes_of, room, seed)
    if not held:
        longest = max((s for s in samples if texts_of[_group(s)] == 1), key=_bytes, default=None)
        if longest is not None and _bytes(longest) >= 2 * room:
            begin, end = _divided(longest, room)
            return tuple(begin if s is longest else s for s in samples), (end,)
        if len(bytes_of) < 2:
            raise DataError(
                "There is only one text, so none can be held out.",
                mend="give several texts, or a longer one",
            )
        held = {min(bytes_of, key=lambda name: (bytes_of[name], name))}
    learn = tuple(sample for sample in samples if _group(sample) not in held)
    return learn, tuple(sample for sample in samples if _group(sample) in held)


def _drawn(bytes_of: Counter[str], room: int, seed: int) -> set[str]:
    """A twentieth of the groups, those that there is room for; none of only one."""
    names = sorted(bytes_of)
    if len(names) < 2:
        return set()
    room, drawn = min(room, bytes_of.total() // 2), set[str]()
    for i in generator(seed, "held out", len(names)).permutation(len(names)):
        if bytes_of[names[i]] <= room and len(drawn) < max(1, round(HELD_SHARE * len(names))):
            drawn.add(names[i])
            room -= bytes_of[names[i]]
    return drawn


def _divided(sample: Sample, end_bytes: int) -> tuple[Sample, Sample]:
    """The beginning of a text and its end of so many bytes, divided at a space if one is near."""
    text = str(sample.source)
    at = len(text) - end_bytes * len(text) // _bytes(sample)
    space = _WORD_END.search(text, at, at + _FAR)
    at = space.end() if space else at
    return replace(sample, source=text[:at]), replace(sample, source=text[at:])


def _group(sample: Sample) -> str:
    return sample.group or sample.id


def _bytes(sample: Sample) -> int:
    return len(str(sample.source).encode())
