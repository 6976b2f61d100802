"""How what crosses a cut becomes bytes, one row for each sample and view.

Decisions:

- "float32" keeps what the engine gives. "bfloat16" rounds to nearest even: 2 bytes a number,
  relative error 0.17 %. "uint8" is affine for each channel of each sample: on the maps of
  EfficientNet-Lite0 0.3 to 0.8 %, where one scale for the whole tensor would give 1.0 to 1.3 %.
  (The engine's own bf16 arithmetic differs by 4 % from float32.) Boxes, (many, 4), stay float32:
  a step would be two pixels of 640.
- A row depends on its sample alone: scales are the sample's own, so adding a sample changes no
  other row.
- At cut 0 the pixels or the token ids themselves are kept, as they are.
- Rows of pictures have one length. Rows of texts have as many tokens as the text: -1 in a shape
  stands for that number, and no padding is kept. What is read for a batch is filled up.

Legend: b rows, r bytes of a row, g channels (groups of numbers with one scale), m numbers in one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

Storage = Literal["float32", "bfloat16", "uint8", "pixels", "tokens"]
Shape = tuple[int, ...]
_EDGES = 4
_NEAR_NUMBERS = 2**18
"""Of float32, 1 MB: what the cache of a core holds. Sixteen rows of a detector's maps are packed in
8 ms so, all at once in 12, and unpacked from bfloat16 in 1.6 ms instead of 3.1."""


@final
@dataclass(frozen=True)
class Packing:
    """The layout of a row.

    Attributes:
        shapes: of the tensors of one sample; -1 where its own number of tokens stands.
        storage: see above.
    """

    shapes: tuple[Shape, ...]
    storage: Storage

    @property
    def is_ragged(self) -> bool:
        """Whether rows differ in length."""
        return any(-1 in shape for shape in self.shapes)

    def at(self, tokens: int) -> Packing:
        """The layout of rows with so many tokens."""
        return Packing(
            tuple(tuple(tokens if n == -1 else n for n in shape) for shape in self.shapes),
            self.storage,
        )

    def pack_rows(self, rows: Sequence[tuple[np.ndarray, ...]]) -> Sequence[np.ndarray]:
        """Tensors of each sample to its bytes, uint8."""
        if not self.is_ragged:
            packed = np.empty((len(rows), self.row_bytes), dtype=np.uint8)
            for piece in _pieces(len(rows), self.shapes):
                packed[piece] = self.pack(
                    [np.stack(parts) for parts in zip(*rows[piece], strict=True)]
                )
            return [*packed]
        return [self.at(_tokens(row, self.shapes)).pack([x[None] for x in row])[0] for row in rows]

    def unpack_rows(self, rows: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, ...]:
        """The bytes of some samples to arrays (b, *shape), ragged ones filled up; see `stacked`."""
        if not self.is_ragged:
            return self.unpack(np.asarray(rows))
        empty = self.at(0).row_bytes
        step = self.at(1).row_bytes - empty
        parts = [self.at((len(row) - empty) // step).unpack(row[None]) for row in rows]
        return tuple(stacked([x[0] for x in tensors]) for tensors in zip(*parts, strict=True))

    @property
    def row_bytes(self) -> int:
        """Length of a row, where all have one."""
        return sum(self._bytes(shape) for shape in self.shapes)

    def pack(self, tensors: Sequence[np.ndarray]) -> np.ndarray:
        """Arrays (b, *shape) to rows_br, uint8."""
        parts = [
            _PACK[self._of(shape)](tensor, shape).reshape(len(tensor), -1)
            for tensor, shape in zip(tensors, self.shapes, strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def unpack(self, rows_br: np.ndarray) -> tuple[np.ndarray, ...]:
        """rows_br to arrays (b, *shape): float32, or uint8 where pixels are kept."""
        found: list[np.ndarray] = []
        start = 0
        for shape in self.shapes:
            stop = start + self._bytes(shape)
            found.append(_UNPACK[self._of(shape)](rows_br[:, start:stop], shape))
            start = stop
        return tuple(found)

    def _bytes(self, shape: Shape) -> int:
        count = math.prod(shape)
        storage = self._of(shape)
        if storage == "uint8":
            return count + 8 * _channels(shape)
        return count * {"float32": 4, "bfloat16": 2, "pixels": 1, "tokens": 4}[storage]

    def _of(self, shape: Shape) -> Storage:
        """How one tensor is kept."""
        is_boxes = len(shape) == 2 and shape[-1] == _EDGES
        return "float32" if is_boxes and self.storage in ("bfloat16", "uint8") else self.storage


def _pieces(count: int, shapes: Sequence[Shape]) -> Iterator[slice]:
    """Some rows at a time, few enough for several passes over them to stay near the processor."""
    step = max(1, _NEAR_NUMBERS // max(1, sum(map(math.prod, shapes))))
    for start in range(0, count, step):
        yield slice(start, start + step)


def _tokens(row: Sequence[np.ndarray], shapes: Sequence[Shape]) -> int:
    """What -1 stands for in this row."""
    (count, *_) = (
        x.shape[shape.index(-1)] for x, shape in zip(row, shapes, strict=True) if -1 in shape
    )
    return count


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of some samples as one, (b, …); what is shorter is filled up, ids with -1, else 0."""
    longest = max((len(x) for x in rows if x.ndim), default=0)
    if all(x.ndim == 0 or len(x) == longest for x in rows):
        return np.stack(rows)
    empty = -1 if rows[0].dtype == np.int32 else 0
    filled = np.full((len(rows), longest, *rows[0].shape[1:]), empty, dtype=rows[0].dtype)
    for whole, x in zip(filled, rows, strict=True):
        whole[: len(x)] = x
    return filled


def alone(row: np.ndarray) -> np.ndarray:
    """One sample's input out of a batch: ids without what `stacked` filled up; pictures as is."""
    return row[row >= 0] if row.dtype == np.int32 else row


def _pack_pixels(x: np.ndarray, shape: Shape) -> np.ndarray:
    assert x.dtype == np.uint8, x.dtype
    return np.ascontiguousarray(x)


def _unpack_pixels(part_br: np.ndarray, shape: Shape) -> np.ndarray:
    return np.ascontiguousarray(part_br).reshape(-1, *shape)


def _pack_tokens(x: np.ndarray, shape: Shape) -> np.ndarray:
    return np.ascontiguousarray(x, dtype="<i4").reshape(len(x), -1).view(np.uint8)


def _unpack_tokens(part_br: np.ndarray, shape: Shape) -> np.ndarray:
    return np.ascontiguousarray(part_br).view("<i4").reshape(-1, *shape)


def _pack_float32(x: np.ndarray, shape: Shape) -> np.ndarray:
    return np.ascontiguousarray(x, dtype="<f4").reshape(len(x), -1).view(np.uint8)


def _unpack_float32(part_br: np.ndarray, shape: Shape) -> np.ndarray:
    return np.ascontiguousarray(part_br).view("<f4").reshape(-1, *shape)


def _pack_bfloat16(x: np.ndarray, shape: Shape) -> np.ndarray:
    bits = np.ascontiguousarray(x, dtype="<f4").reshape(len(x), -1).view("<u4")
    # Adding just under half a unit, and the last kept bit, rounds halves to even; what is no
    # number must stay none.
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    rounded = np.where(np.isnan(bits.view("<f4")), 0x7FC0, rounded)
    return rounded.astype("<u2").view(np.uint8)


def _unpack_bfloat16(part_br: np.ndarray, shape: Shape) -> np.ndarray:
    bits_br = np.empty((len(part_br), part_br.shape[1] // 2), dtype="<u4")
    for piece in _pieces(len(part_br), [shape]):
        bits_br[piece] = np.ascontiguousarray(part_br[piece]).view("<u2")
        bits_br[piece] <<= 16
    return bits_br.view("<f4").reshape(-1, *shape)


def _pack_uint8(x: np.ndarray, shape: Shape) -> np.ndarray:
    x_bgm = _by_channel(np.asarray(x, dtype="<f4"), shape)
    low_bg = x_bgm.min(axis=2)
    step_bg = (x_bgm.max(axis=2) - low_bg) / np.float32(255)
    divisor_bg = np.where(step_bg > 0, step_bg, np.float32(1))
    levels_bgm = x_bgm - low_bg[..., None]
    levels_bgm /= divisor_bg[..., None]
    np.clip(np.rint(levels_bgm, out=levels_bgm), 0, 255, out=levels_bgm)
    affine_br = np.concatenate([low_bg, step_bg], axis=1).view(np.uint8)
    levels_br = levels_bgm.astype(np.uint8).reshape(len(x), -1)
    return np.concatenate([affine_br, levels_br], axis=1)


def _unpack_uint8(part_br: np.ndarray, shape: Shape) -> np.ndarray:
    count, channels = len(part_br), _channels(shape)
    affine = np.ascontiguousarray(part_br[:, : 8 * channels]).view("<f4")
    low_bg1, step_bg1 = affine[:, :channels, None], affine[:, channels:, None]
    x_bgm = np.empty((count, channels, math.prod(shape) // channels), dtype="<f4")
    for piece in _pieces(count, [shape]):
        x_bgm[piece] = part_br[piece, 8 * channels :].reshape(x_bgm[piece].shape)
        x_bgm[piece] *= step_bg1[piece]
        x_bgm[piece] += low_bg1[piece]
    return _from_channels(x_bgm, shape)


def _channel_axis(shape: Shape) -> int | None:
    """Which axis of (C, H, W), (H, W, C) or (tokens, C) holds the channels; None for a vector."""
    if len(shape) < 2:
        return None
    last = len(shape) == 2 or shape[0] == shape[1] != shape[2]
    return len(shape) - 1 if last else 0


def _channels(shape: Shape) -> int:
    if len(shape) == 4:  # frames first, each with channels of its own
        return shape[0] * _channels(shape[1:])
    axis = _channel_axis(shape)
    return 1 if axis is None else shape[axis]


def _by_channel(x: np.ndarray, shape: Shape) -> np.ndarray:
    if len(shape) == 4:
        x_bgm = _by_channel(x.reshape(-1, *shape[1:]), shape[1:])
        return x_bgm.reshape(len(x), _channels(shape), -1)
    axis = _channel_axis(shape)
    if axis is not None:
        x = np.moveaxis(x, axis + 1, 1)
    return x.reshape(len(x), _channels(shape), -1)


def _from_channels(x_bgm: np.ndarray, shape: Shape) -> np.ndarray:
    if len(shape) == 4:
        frames = x_bgm.reshape(-1, _channels(shape[1:]), x_bgm.shape[-1])
        return _from_channels(frames, shape[1:]).reshape(-1, *shape)
    axis = _channel_axis(shape)
    if axis is None:
        return x_bgm.reshape(-1, *shape)
    rest = [length for i, length in enumerate(shape) if i != axis]
    return np.moveaxis(x_bgm.reshape(len(x_bgm), shape[axis], *rest), 1, axis + 1)


_PACK = {
    "float32": _pack_float32,
    "bfloat16": _pack_bfloat16,
    "uint8": _pack_uint8,
    "pixels": _pack_pixels,
    "tokens": _pack_tokens,
}
_UNPACK = {
    "float32": _unpack_float32,
    "bfloat16": _unpack_bfloat16,
    "uint8": _unpack_uint8,
    "pixels": _unpack_pixels,
    "tokens": _unpack_tokens,
}
