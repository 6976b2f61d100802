"""Which pictures are copies of each other: recompressed, rescaled, slightly cropped.

Every picture is kept as a grey thumbnail of 32 × 32. Two steps find the copies:

1. Candidates. The signs of the 63 lowest cosine coefficients are a 64-bit hash (the "pHash" of
   Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010). Pairs
   within a few bits are found by sorting the hashes in several rotations and comparing only
   neighbours (Manku, Jain and Das Sarma, "Detecting near-duplicates for web crawling", 2007), so
   that the time grows as n log n, also where thousands of hashes are equal. For slightly cropped
   copies each picture is also hashed through 15 windows that leave out up to 5 % of a side.
2. Confirmation. The gradients of the two thumbnails are correlated. Unlike grey values, gradients
   of *different* low-detail pictures (digits, shirts on white) agree little enough to be told from
   copies: above 0.98 is the same frame.

For cropped copies the gradients are compared at 16 × 16 through the window, where copies reach
0.8 and different photos at most 0.55. Pictures that all show the same kind of outline (digits,
specimens on white) come as high without being copies. So only pictures that are unlike most
others of the same data are looked at for crops: photos of scenes are, such pictures are not.
Tiny pictures (under 64 px) are never looked at for crops, and flat ones never for anything but
equal bytes.

Legend: n pictures, h w rows and columns of a thumbnail, k windows, p pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import final

import numpy as np
import numpy.typing as npt

from regraft.dataset.images import THUMBNAIL_PX
from regraft.seeds import generator

Thumbnails = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_SAME_BITS, _SAME_LIKENESS = 8, 0.98
_CROP_BITS, _CROP_LIKENESS, _CROP_PX = 10, 0.8, 16
_CROP_LIKENESS_OF_FEW, _FEW = 0.9, 24
_LIKEST, _RANK, _CHANCE, _REFERENCES = 0.25, 8, 0.9, 64
_MIN_SIDE_PX, _MIN_GRADIENT = 64, 1.0
_ROTATIONS = tuple(range(0, 63, 9))
_NEIGHBOURS, _CROP_NEIGHBOURS = 32, 4
_REACH = 16
_BLOCK = 512
_SIDES = ((0.0, 1.0), (0.0, 0.95), (0.025, 0.975), (0.05, 1.0))
_WINDOWS = tuple((rows, columns) for rows in _SIDES for columns in _SIDES)
"""The first is the whole picture."""


def near_pairs(thumbnails_nhw: Thumbnails, sides_px: Indices) -> list[tuple[int, int]]:
    """Pairs of pictures of which one is a copy of the other.

    Not every pair is listed where there are more than two copies, but enough to connect them.

    Args:
        thumbnails_nhw: see `images.thumbnail`; shape (n, 32, 32).
        sides_px: the shorter side of each picture, shape (n,).

    Returns:
        Sorted pairs (i, j) with i < j.
    """
    detailed = np.flatnonzero(_gradient_strength(thumbnails_nhw) >= _MIN_GRADIENT)
    thumbnails_nhw, sides_px = thumbnails_nhw[detailed], sides_px[detailed]
    if len(detailed) < 2:
        return []
    hashes_nk = _hashes(thumbnails_nhw)
    forest = Forest(len(detailed))
    pairs = _same_frame(thumbnails_nhw, hashes_nk[:, 0], forest)
    pairs += _crops(thumbnails_nhw, hashes_nk, sides_px, forest)
    return sorted((int(detailed[i]), int(detailed[j])) for i, j in pairs)


@final
class Forest:
    """Which of `count` items belong together (union-find); a group is known by its first item."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, item: int) -> int:
        """The first item of the group that this one is in."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, first: int, second: int) -> bool:
        """Make two groups one; whether they were two."""
        low, high = sorted((self.root(first), self.root(second)))
        self._parent[high] = low
        return low != high


# Hashes ------------------------------------------------------------------------------------------


def _hashes(thumbnails_nhw: Thumbnails) -> Hashes:
    """One hash per picture and window, shape (n, 16)."""
    side, low = THUMBNAIL_PX, 8
    cells = np.arange(side) * 2 + 1
    waves = np.cos(np.pi * np.outer(np.arange(low), cells) / (2 * side))
    seen = np.concatenate([waves @ _window(*sides, side) for sides in _SIDES]).astype(np.float32)
    rows = np.repeat(np.arange(len(_SIDES)), len(_SIDES))
    columns = np.tile(np.arange(len(_SIDES)), len(_SIDES))
    hashes_nk = np.empty((len(thumbnails_nhw), len(_WINDOWS)), np.uint64)
    for block in _blocks(len(thumbnails_nhw)):
        grey = thumbnails_nhw[block].astype(np.float32)
        waves_nab = (seen @ grey @ seen.T).reshape(-1, len(_SIDES), low, len(_SIDES), low)
        bits = waves_nab.transpose(0, 1, 3, 2, 4)[:, rows, columns].reshape(len(grey), -1, 64) > 0
        bits[..., 0] = False  # the mean grey: always positive, says nothing
        hashes_nk[block] = np.packbits(bits, axis=2).view(">u8")[..., 0]
    return hashes_nk


@cache
def _window(begin: float, end: float, cells: int) -> Floats:
    """Area averages over a part of a side of the thumbnail, shape (cells, 32)."""
    edges = np.linspace(begin, end, cells + 1) * THUMBNAIL_PX
    pixels = np.arange(THUMBNAIL_PX)
    low = np.maximum(edges[:-1, None], pixels[None])
    high = np.minimum(edges[1:, None], pixels[None] + 1)
    weights = np.maximum(high - low, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _rotated(hashes: Hashes, bits: int) -> Hashes:
    """The lower 63 bits, turned."""
    mask = np.uint64(2**63 - 1)
    return ((hashes << np.uint64(bits)) & mask) | (hashes >> np.uint64(63 - bits))


def _differ(first: Hashes, second: Hashes) -> npt.NDArray[np.uint8]:
    return np.bitwise_count(first ^ second)


def _close(hashes: Hashes, bits: int) -> Indices:
    """Pairs of equal or close hashes, shape (p, 2); see the head of this file."""
    count, found = len(hashes), [np.empty(0, np.int64)]
    for rotation in _ROTATIONS:
        order = np.argsort(_rotated(hashes, rotation), kind="stable")
        ordered = hashes[order]
        for step in range(1, min(_NEIGHBOURS, count - 1) + 1):
            hits = np.flatnonzero(_differ(ordered[:-step], ordered[step:]) <= bits)
            found.append(order[hits] * count + order[hits + step])
        found = [np.unique(np.concatenate(found))]
    return np.stack(np.divmod(found[0], count), axis=1)


def _close_through_windows(hashes_nk: Hashes, bits: int) -> Indices:
    """Triples (i, j, window) where i through the window is close to the whole j, (p, 3)."""
    count, windows = len(hashes_nk), len(_WINDOWS)
    whole, seen = hashes_nk[:, 0], hashes_nk[:, 1:].ravel()
    found = [np.empty(0, np.int64)]
    for rotation in _ROTATIONS:
        keys = _rotated(whole, rotation)
        order = np.argsort(keys, kind="stable")
        place = np.searchsorted(keys[order], _rotated(seen, rotation))
        for step in range(-_CROP_NEIGHBOURS, _CROP_NEIGHBOURS):
            near = order[np.clip(place + step, 0, count - 1)]
            hits = np.flatnonzero(_differ(seen, whole[near]) <= bits)
            first, window = np.divmod(hits, windows - 1)
            found.append((first * count + near[hits])[first != near[hits]] * windows
                         + window[first != near[hits]] + 1)  # fmt: skip
        found = [np.unique(np.concatenate(found))]
    pair, window = np.divmod(found[0], windows)
    return np.stack([*np.divmod(pair, count), window], axis=1)


# Confirmation ------------------------------------------------------------------------------------


def _blocks(count: int) -> Iterator[slice]:
    return (slice(begin, begin + _BLOCK) for begin in range(0, count, _BLOCK))


def _gradients(grey_nhw: Floats) -> Floats:
    """Differences downward and to the right, one row per picture."""
    down = np.diff(grey_nhw, axis=1)[:, :, :-1]
    right = np.diff(grey_nhw, axis=2)[:, :-1]
    flat = (len(grey_nhw), math.prod(down.shape[1:]))
    return np.concatenate([down.reshape(flat), right.reshape(flat)], axis=1)


def _directions(grey_nhw: Floats) -> Floats:
    gradients = _gradients(grey_nhw)
    return gradients / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-6)


def _gradient_strength(thumbnails_nhw: Thumbnails) -> Floats:
    strength = np.zeros(len(thumbnails_nhw), np.float32)
    for block in _blocks(len(thumbnails_nhw)):
        gradients = _gradients(thumbnails_nhw[block].astype(np.float32))
        strength[block] = np.sqrt((gradients**2).mean(axis=1))
    return strength


def _seen(thumbnails_nhw: Thumbnails, window: int) -> Floats:
    """Directions of the gradients at 16 × 16, through a window."""
    rows, columns = (_window(*sides, _CROP_PX) for sides in _WINDOWS[window])
    grey = rows @ thumbnails_nhw.astype(np.float32) @ columns.T
    return _directions(np.asarray(grey, np.float32))


def _same_likeness(thumbnails_nhw: Thumbnails, pairs_p2: Indices) -> Floats:
    """How alike two pictures are as they stand, in -1…1."""
    first, second = (_directions(thumbnails_nhw[side].astype(np.float32)) for side in pairs_p2.T)
    return np.einsum("pd,pd->p", first, second)


def _crop_likeness(thumbnails_nhw: Thumbnails, window: int, pairs_p2: Indices) -> Floats:
    """How alike the first through the window is to the whole second, in -1…1."""
    part = _seen(thumbnails_nhw[pairs_p2[:, 0]], window)
    return np.einsum("pd,pd->p", part, _seen(thumbnails_nhw[pairs_p2[:, 1]], 0))


def _confirmed(
    pairs_p2: Indices, likeness: Callable[[Indices], Floats], needed: float, forest: Forest
) -> list[tuple[int, int]]:
    """The pairs that are copies and not connected by earlier ones."""
    kept: list[tuple[int, int]] = []
    for block in _blocks(len(pairs_p2)):
        pairs = pairs_p2[block]
        pairs = pairs[[forest.root(i) != forest.root(j) for i, j in pairs.tolist()]]
        copies = np.sort(pairs[likeness(pairs) >= needed], axis=1)
        kept += [(i, j) for i, j in copies.tolist() if forest.join(i, j)]
    return kept


def _same_frame(
    thumbnails_nhw: Thumbnails, hashes: Hashes, forest: Forest
) -> list[tuple[int, int]]:
    likeness = partial(_same_likeness, thumbnails_nhw)
    return _confirmed(_close(hashes, _SAME_BITS), likeness, _SAME_LIKENESS, forest)


def _crops(
    thumbnails_nhw: Thumbnails, hashes_nk: Hashes, sides_px: Indices, forest: Forest
) -> list[tuple[int, int]]:
    large = np.flatnonzero(sides_px >= _MIN_SIDE_PX)
    needed = _CROP_LIKENESS_OF_FEW
    if len(large) >= _FEW:
        needed = _CROP_LIKENESS
        large = large[_is_distinct(thumbnails_nhw[large], hashes_nk[large, 0])]
    triples_p3 = _close_through_windows(hashes_nk[large], _CROP_BITS)
    kept: list[tuple[int, int]] = []
    for window in range(1, len(_WINDOWS)):
        pairs_p2 = large[triples_p3[triples_p3[:, 2] == window, :2]]
        likeness = partial(_crop_likeness, thumbnails_nhw, window)
        kept += _confirmed(pairs_p2, likeness, needed, forest)
    return kept


def _is_distinct(thumbnails_nhw: Thumbnails, hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Which pictures are unlike most others: those chosen by chance, and the likest.

    Chance: six robust standard deviations above the median stay below `_CHANCE`. The likest: of
    the neighbours in the order of hashes, the eighth in rank stays below `_LIKEST`; the first
    seven may be copies.
    """
    count = len(hashes)
    order = np.argsort(hashes, kind="stable")
    references = _seen(
        thumbnails_nhw[generator(0, "references").permutation(count)[:_REFERENCES]], 0
    )
    is_distinct = np.empty(count, bool)
    for block in _blocks(count):
        places = np.arange(count)[block]
        around = np.arange(places[0] - _REACH, places[-1] + 1 + _REACH)
        seen = _seen(thumbnails_nhw[order[around % count]], 0)
        windows = np.lib.stride_tricks.sliding_window_view(seen, 2 * _REACH + 1, axis=0)
        here = seen[_REACH : len(seen) - _REACH]
        likest = np.sort(np.einsum("nd,ndr->nr", here, windows), axis=1)[:, -1 - _RANK]
        chance = here @ references.T
        median = np.median(chance, axis=1)
        spread = 1.4826 * np.median(np.abs(chance - median[:, None]), axis=1)
        is_distinct[order[places]] = (likest < _LIKEST) & (median + 6 * spread < _CHANCE)
    return is_distinct
