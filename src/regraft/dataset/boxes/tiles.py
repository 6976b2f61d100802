"""Large pictures cut into tiles for training, and what is found on tiles put together again.

Decisions:

- Pictures are cut where the longer side of one has 2,000 px or more and objects are small beside
  it: a tile is ten times as wide as the median object, and that picture at least two tiles wide.
- Then smaller ones are cut, too, from one and a half tiles on: what a network learnt on tiles, it
  finds at that scale, and a picture that is seen whole is shrunk to the size of a tile.
- Tiles overlap by a fifth, so that an object of up to a fifth of a tile is whole on one of them.
- Tiles of one picture are one group: no split divides them.
- A box of which less than half is on a tile is neither learnt nor counted there (crowd). Where a
  fifth of it or less is there, nobody could tell, and the tile does without it.
- A box of which no tile shows half is a crowd on every tile that shows any of it: what lies within
  a large object is no place where nothing is. Such a box is not used, and that is said.
- Two boxes of one category from different tiles are one object when they share half of the
  smaller one (intersection over the smaller, as in SAHI, Akyon et al. 2022), and the one that stays
  takes up half of what its tile shows of the other: what is found within a large object is not it.
- The surer one stays; one that a tile's edge cuts off counts half as sure, for one that is whole
  has the better edges. A faint one must not take the place of a sure one, whatever its edges.

Shapes: k boxes, t tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from regraft.dataset.rows import Box, Dataset, Problem, Sample

TILED_FROM_PX, TILED_FROM_TILES = 2000, 2
CUT_FROM_TILES = 1.5
OVERLAP = 0.2
LEAST_TILE_PX = 320
LARGER = 2
"""A picture so many times as large as those learnt from shows its objects much smaller."""
_OBJECTS_ACROSS = 10
_LEARNT_SHARE = 0.5
_SEEN_SHARE = 0.2
_SAME_SHARE = 0.5
_CUT_OFF_WEIGHT = 0.5
_EDGE_PX = 2.0

Window = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Found:
    """Boxes that were found on one picture or tile.

    Attributes:
        boxes_k4: left, top, right, bottom in its pixels.
        labels_k: int.
        scores_k: 0…1.
    """

    boxes_k4: np.ndarray
    labels_k: np.ndarray
    scores_k: np.ndarray


def tile_size(objects: Iterable[Box]) -> int:
    """The side of a tile in pixels that suits these objects."""
    sides = [((b.right - b.left) * (b.bottom - b.top)) ** 0.5 for b in objects if not b.crowd]
    return max(LEAST_TILE_PX, round(_OBJECTS_ACROSS * median(sides))) if sides else 0


def windows(width_px: int, height_px: int, tile_px: int) -> list[Window]:
    """The tiles of a picture, row by row; one as large as the picture when it is not cut.

    Args:
        width_px: of the picture.
        height_px: of the picture.
        tile_px: side of the data set's tiles; 0 where nothing is cut.
    """
    if not tile_px or max(width_px, height_px) < CUT_FROM_TILES * tile_px:
        return [(0, 0, width_px, height_px)]
    return [
        (left, top, min(left + tile_px, width_px), min(top + tile_px, height_px))
        for top in _starts(height_px, tile_px)
        for left in _starts(width_px, tile_px)
    ]


def _starts(length_px: int, tile_px: int) -> list[int]:
    """Evenly spread, the last one ending at the edge."""
    if length_px <= tile_px:
        return [0]
    step = max(1, round(tile_px * (1 - OVERLAP)))
    count = 1 + -(-(length_px - tile_px) // step)
    return [round(i * (length_px - tile_px) / (count - 1)) for i in range(count)]


def longer_side_px(samples: Sequence[Sample]) -> float:
    """The median of the longer sides of pictures, or tiles, that are learnt from."""
    return float(median(max(sample.size) for sample in samples))


def times_larger(width_px: int, height_px: int, facts: Mapping[str, Any]) -> float | None:
    """How many times as large a picture is as those that a model learnt from.

    Args:
        width_px: of the picture.
        height_px: of the picture.
        facts: of the model: "tile_px" and "longer_side_px".

    Returns:
        None where it is less than `LARGER`, the picture is cut, or the model is too old to know.
    """
    learnt_px = facts.get("longer_side_px")
    if learnt_px is None or len(windows(width_px, height_px, facts.get("tile_px", 0))) > 1:
        return None
    times = max(width_px, height_px) / learnt_px
    return round(times, 1) if times >= LARGER else None


def tiled(dataset: Dataset, tile_px: int | None = None) -> Dataset:
    """The data set with large pictures cut into tiles.

    Args:
        dataset: whole pictures, whose sizes are known.
        tile_px: side of the tiles, 0 where nothing is cut; None takes what suits the objects of
            the training pictures.
    """
    learnt = [s for s in dataset if s.split in ("", "train")] or list(dataset)
    if tile_px is None:
        tile_px = tile_size(box for sample in learnt for box in sample.boxes)
        longest = max((max(sample.size) for sample in dataset), default=0)
        if longest < max(TILED_FROM_PX, TILED_FROM_TILES * tile_px):
            tile_px = 0
    samples: list[Sample] = []
    problems: list[Problem] = []
    unclear: list[tuple[str, Box]] = []
    for sample in dataset:
        parts = cut(sample, tile_px)
        samples += parts
        if len(parts) > 1:
            what = f"It has {sample.size[1]} × {sample.size[0]} pixels."
            problems.append(Problem("tiled", sample.id, what, f"cut into {len(parts)} tiles"))
            unclear += [(sample.id, box) for box in _unclear(sample, tile_px)]
    tiles = dataset.with_samples(sorted(samples, key=lambda sample: sample.id))
    counts = dataset.box_counts
    if counts is not None:
        boxes = [box for sample in dataset for box in sample.boxes]
        crowds = sum(box.crowd for box in boxes)
        counts = replace(counts, used=len(boxes) - len(unclear), crowds=crowds)
    tiles = replace(tiles, tile_px=tile_px if problems else 0, box_counts=counts)
    problems += [_not_used(id_, box, tile_px) for id_, box in unclear]
    return tiles.with_problems(problems)


def cut(sample: Sample, tile_px: int) -> list[Sample]:
    """The tiles of a sample; itself when it is not cut."""
    height_px, width_px = sample.size
    parts = windows(width_px, height_px, tile_px)
    if len(parts) == 1:
        return [sample]
    unclear = set(_unclear(sample, tile_px))
    boxes = (replace(box, crowd=True) if box in unclear else box for box in sample.boxes)
    sample = replace(sample, boxes=tuple(boxes))
    return [_tile(sample, window) for window in parts]


def _unclear(sample: Sample, tile_px: int) -> list[Box]:
    """Its objects of which no tile shows enough to learn them."""
    height_px, width_px = sample.size
    parts = np.array(windows(width_px, height_px, tile_px), dtype=float)
    edges = [(box.left, box.top, box.right, box.bottom) for box in sample.boxes]
    boxes_k4 = np.array(edges, dtype=float).reshape(-1, 4)
    most_k = np.max([_area_within(boxes_k4, window) for window in parts], axis=0)
    clear_k = most_k >= _LEARNT_SHARE * (boxes_k4[:, 2:] - boxes_k4[:, :2]).prod(axis=1)
    pairs = zip(sample.boxes, clear_k, strict=True)
    return [box for box, is_clear in pairs if not is_clear and not box.crowd]


def _not_used(id_: str, box: Box, tile_px: int) -> Problem:
    edges = ", ".join(f"{edge:g}" for edge in (box.left, box.top, box.right, box.bottom))
    what = f"No tile of {tile_px:,} px shows half of the box {edges}."
    return Problem("too-large-for-tiles", id_, what, "neither learnt nor counted")


def _tile(sample: Sample, window: Window) -> Sample:
    left, top, right, bottom = window
    boxes = tuple(part for box in sample.boxes if (part := seen(box, window)) is not None)
    return replace(
        sample,
        id=f"{sample.id}#{left:05},{top:05}",
        window=window,
        size=(bottom - top, right - left),
        group=sample.group or sample.sha256,
        boxes=boxes,
        target=tuple(sorted({box.category for box in boxes})),
    )


def seen(box: Box, window: Window) -> Box | None:
    """A box as a tile shows it, or None."""
    left, top = max(box.left, window[0]), max(box.top, window[1])
    right, bottom = min(box.right, window[2]), min(box.bottom, window[3])
    if right <= left or bottom <= top:
        return None
    whole = (box.right - box.left) * (box.bottom - box.top)
    share = (right - left) * (bottom - top) / whole
    if share <= _SEEN_SHARE and not box.crowd:
        return None
    return Box(
        box.category,
        left - window[0],
        top - window[1],
        right - window[0],
        bottom - window[1],
        box.crowd or share < _LEARNT_SHARE,
        None if box.area is None else box.area * share,
    )


def stitch(parts: Sequence[tuple[Window, Found]]) -> Found:
    """What was found on a picture, from what was found on its tiles; the surest first."""
    assert parts, "a picture has a tile"
    boxes_k4 = np.concatenate(
        [found.boxes_k4.reshape(-1, 4) + np.array([w[0], w[1]] * 2) for w, found in parts]
    )
    labels_k = np.concatenate([found.labels_k for _, found in parts])
    scores_k = np.concatenate([found.scores_k for _, found in parts])
    tile_k = np.repeat(np.arange(len(parts)), [len(found.labels_k) for _, found in parts])
    window_t4 = np.array([w for w, _ in parts])
    off_k = _cut_off(boxes_k4, window_t4, tile_k)
    order_k = np.argsort(-scores_k * np.where(off_k, _CUT_OFF_WEIGHT, 1.0), kind="stable")
    kept_k = order_k[_kept(boxes_k4[order_k], labels_k[order_k], tile_k[order_k], window_t4)]
    kept_k = kept_k[np.argsort(-scores_k[kept_k], kind="stable")]
    return Found(boxes_k4[kept_k], labels_k[kept_k], scores_k[kept_k])


def _cut_off(boxes_k4: np.ndarray, window_t4: np.ndarray, tile_k: np.ndarray) -> np.ndarray:
    """Bool_k: whether a box ends at an edge of its tile that is none of the picture's."""
    inner_t4 = window_t4 != np.array([0, 0, *window_t4[:, 2:].max(axis=0)])
    return ((np.abs(boxes_k4 - window_t4[tile_k]) <= _EDGE_PX) & inner_t4[tile_k]).any(axis=1)


def _kept(
    boxes_k4: np.ndarray, labels_k: np.ndarray, tile_k: np.ndarray, window_t4: np.ndarray
) -> np.ndarray:
    """Bool_k, of boxes of which earlier ones come first, and the tiles they were found on."""
    area_k = (boxes_k4[:, 2:] - boxes_k4[:, :2]).prod(axis=1)
    kept_k = np.ones(len(boxes_k4), dtype=bool)
    near_t = [np.flatnonzero(_beside(window_t4, t)[tile_k]) for t in range(len(window_t4))]
    for i in range(len(boxes_k4)):
        if not kept_k[i]:
            continue
        near_m = near_t[tile_k[i]]
        rest_m = near_m[np.searchsorted(near_m, i) :]  # none is of i's own tile
        rest_m = rest_m[labels_k[rest_m] == labels_k[i]]
        common_m = _area_within(boxes_k4[rest_m], boxes_k4[i])
        shown_m = _area_within(boxes_k4[rest_m], window_t4[tile_k[i]])
        least_m = np.maximum(np.minimum(area_k[rest_m], area_k[i]), shown_m)
        kept_k[rest_m[common_m >= _SAME_SHARE * least_m]] = False
    return kept_k


def _beside(window_t4: np.ndarray, t: int) -> np.ndarray:
    """Bool_t: which other tiles have a part in common with one; boxes of the rest cannot."""
    beside_t = _area_within(window_t4, window_t4[t]) > 0
    beside_t[t] = False
    return beside_t


def _area_within(boxes_k4: np.ndarray, other_4: np.ndarray) -> np.ndarray:
    """Area_k of the part of each box that lies in another one, in square pixels."""
    low_k2 = np.maximum(boxes_k4[:, :2], other_4[:2])
    high_k2 = np.minimum(boxes_k4[:, 2:], other_4[2:])
    return (high_k2 - low_k2).clip(min=0).prod(axis=1)
