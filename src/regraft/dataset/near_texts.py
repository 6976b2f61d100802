"""Which texts are nearly the same.

Decisions:

- Near copies are found by MinHash (Broder, "On the resemblance and containment of documents",
  1997) of word triples in 16 bands of 4; those of which 3 in 4 hashes agree are copies: newsletters
  of one template, answers that quote the whole mail. Case, digits and marks do not count.
- Texts of fewer than eight words are copies only if they are equal.
- What a word is says `words.py`; in Chinese it is a character.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from regraft.dataset.words import plain, words_of
from regraft.seeds import generator

_FEWEST_WORDS = 8
_HASHES, _BAND = 64, 4
_COMPARED = 10_000
_AT_ONCE = 4096
_ALIKE = 0.75


def near_pairs(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of texts of which one is nearly the other; enough of them to connect all copies.

    Texts of few words are copies where they differ in capitals and punctuation alone.
    """
    judged_m, signature_mh = _signatures(texts)
    pairs: set[tuple[int, int]] = set()
    first: dict[str, int] = {}
    for i in sorted(set(range(len(texts))) - set(judged_m.tolist())):
        bare = plain(texts[i])
        if bare and first.setdefault(bare, i) != i:
            pairs.add((first[bare], i))
    for band_mh in np.split(signature_mh, _HASHES // _BAND, axis=1):
        for one_p, other_p in _in_one_bucket(band_mh):
            alike_p = (signature_mh[one_p] == signature_mh[other_p]).mean(axis=1) >= _ALIKE
            found = judged_m[one_p[alike_p]].tolist(), judged_m[other_p[alike_p]].tolist()
            pairs.update(zip(*found, strict=True))
    return sorted(pairs)


def _signatures(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which texts are long enough to judge, and their least hashes, uint32 `[m, hashes]`."""
    rng = generator(0, "minhash")
    factor_h = rng.integers(1, 2**63, _HASHES, dtype=np.uint64) | np.uint64(1)
    shift_h = rng.integers(0, 2**63, _HASHES, dtype=np.uint64)
    signature_nh = np.zeros((len(texts), _HASHES), np.uint32)
    judged: list[int] = []
    for i, text in enumerate(texts):
        triples_s = _triples(text)
        if triples_s is not None:
            least_h = np.full(_HASHES, 2**32 - 1, np.uint64)
            for at in range(0, len(triples_s), _AT_ONCE):  # a long text has millions
                hashes_hs = factor_h[:, None] * triples_s[at : at + _AT_ONCE] + shift_h[:, None]
                least_h = np.minimum(least_h, (hashes_hs >> np.uint64(32)).min(axis=1))
            signature_nh[len(judged)] = least_h
            judged.append(i)
    return np.array(judged, np.int64), signature_nh[: len(judged)]


def _in_one_bucket(band_mh: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows with equal hashes, each beside the one before it and beside the first of them.

    The dictionary that the method is usually written with takes kilobytes a text; sorting takes
    bytes. Rows that only share a key by chance are told apart by whoever compares them.
    """
    key_m = np.zeros(len(band_mh), np.uint64)
    for hash_m in band_mh.T:
        key_m = (key_m ^ hash_m) * np.uint64(0x9E3779B97F4A7C15)
    row_m = np.argsort(key_m, kind="stable")
    is_next_m = np.diff(key_m[row_m], prepend=key_m[row_m[:1]] + np.uint64(1)) == 0
    first_m = np.maximum.accumulate(np.where(is_next_m, 0, np.arange(len(row_m))))
    (place_p,) = is_next_m.nonzero()
    for at in range(0, len(place_p), _COMPARED):
        some_p = place_p[at : at + _COMPARED]
        yield row_m[some_p - 1], row_m[some_p]
        yield row_m[first_m[some_p]], row_m[some_p]


def _triples(text: str) -> np.ndarray | None:
    """A number for each three words in a row, uint64; None for texts too short to judge."""
    words = words_of(text)
    return None if len(words) < _FEWEST_WORDS else word_runs(words, 3)


def word_runs(words: Sequence[str], length: int) -> np.ndarray:
    """A number for each run of so many words, distinct and sorted, uint64."""
    if len(words) < length:
        return np.empty(0, np.uint64)
    word_w = np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint64)
    prime = np.uint64(0x9E3779B97F4A7C15)
    count = len(word_w) - length + 1
    mixed = word_w[:count].copy()
    for shift in range(1, length):
        mixed = mixed * prime + word_w[shift : count + shift]
    return np.unique(mixed ^ (mixed >> np.uint64(29)))
