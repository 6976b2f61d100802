from __future__ import annotations

import numpy as np
import pytest
from nearness import relative_error

from regraft.transfer.packing import Packing, Shape, Storage

SHAPES: list[tuple[Shape, ...]] = [
    ((17,),),
    ((6, 7, 5),),
    ((7, 7, 12),),
    ((11, 9),),
    ((4, 3, 3), (5,)),
]


def activations(shapes: tuple[Shape, ...], count: int = 6) -> tuple[np.ndarray, ...]:
    """Channels of very different size, as networks have them."""
    random = np.random.default_rng(0)
    found: list[np.ndarray] = []
    for shape in shapes:
        x = random.normal(0.3, 1.0, (count, *shape)).astype(np.float32)
        if len(shape) > 1:
            axis = 1 if len(shape) == 3 and shape[0] != shape[1] else len(shape)
            sizes = 10.0 ** random.uniform(-2, 2, x.shape[axis])
            x *= np.moveaxis(sizes.reshape(-1, *[1] * (x.ndim - 1)), 0, axis)
        found.append(x.astype(np.float32))
    return tuple(found)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("storage", "error"), [("float32", 0.0), ("bfloat16", 0.0025), ("uint8", 0.01)]
)
def test_round_trip(shapes: tuple[Shape, ...], storage: Storage, error: float) -> None:
    packing, x = Packing(shapes, storage), activations(shapes)
    rows_br = packing.pack(x)
    assert rows_br.shape == (6, packing.row_bytes) and rows_br.dtype == np.uint8
    kept = packing.unpack(rows_br)
    assert [k.shape for k in kept] == [a.shape for a in x]
    assert all(k.dtype == np.float32 for k in kept)
    assert max(relative_error(a, k) for a, k in zip(x, kept, strict=True)) <= error


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "uint8"])
def test_boxes_beside_queries_are_kept_as_they_are(storage: Storage) -> None:
    """A step of 255 would be two pixels of 640."""
    shapes: tuple[Shape, ...] = ((12, 32), (12, 4))
    packing, (queries_nqd, boxes_nq4) = Packing(shapes, storage), activations(shapes)
    _, kept = packing.unpack(packing.pack((queries_nqd, boxes_nq4)))
    assert np.array_equal(kept, boxes_nq4)


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "uint8"])
def test_a_row_depends_on_its_sample_alone(storage: Storage) -> None:
    packing, (x,) = Packing(((6, 7, 5),), storage), activations(((6, 7, 5),))
    assert (packing.pack([x[2:3]])[0] == packing.pack([x])[2]).all()


@pytest.mark.parametrize("shapes", [*SHAPES, ((2, 6, 7, 5),)], ids=str)
@pytest.mark.parametrize("storage", ["float32", "bfloat16", "uint8"])
def test_pieces_change_no_bit(
    shapes: tuple[Shape, ...], storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many rows are worked on some at a time."""
    packing, x = Packing(shapes, storage), activations(shapes)
    rows_br = packing.pack(x)
    kept = packing.unpack(rows_br)
    for numbers in (1, 2 * sum(a[0].size for a in x), 5 * sum(a[0].size for a in x)):
        monkeypatch.setattr("regraft.transfer.packing._NEAR_NUMBERS", numbers)
        each = [tuple(a[i] for a in x) for i in range(6)]
        assert (np.stack(packing.pack_rows(each)) == rows_br).all()
        for whole, again in zip(kept, packing.unpack(rows_br), strict=True):
            assert np.array_equal(whole, again)


def test_every_channel_has_its_own_scale() -> None:
    packing, (x,) = Packing(((6, 7, 5),), "uint8"), activations(((6, 7, 5),))
    (kept,) = packing.unpack(packing.pack([x]))
    for channel in range(6):
        assert relative_error(x[:, channel], kept[:, channel]) < 0.01


def test_constant_and_exact_values_survive() -> None:
    packing = Packing(((3, 2, 2),), "uint8")
    x = np.zeros((2, 3, 2, 2), dtype=np.float32)
    x[1, 1] = 7.25
    x[1, 2, 0, 0] = 6.0
    (kept,) = packing.unpack(packing.pack([x]))
    assert (kept == x).all()


def test_bfloat16_rounds_to_nearest_even_and_keeps_what_is_no_number() -> None:
    packing = Packing(((6,),), "bfloat16")
    x = np.array([[1.0, 1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-7), np.inf, np.nan]], dtype=np.float32)
    (kept,) = packing.unpack(packing.pack([x]))
    assert kept[0, :5].tolist() == [1.0, 1.0, 1 + 2**-6, -(1 + 2**-7), np.inf]
    assert np.isnan(kept[0, 5])


def test_pixels_stay_as_they_are() -> None:
    packing = Packing(((4, 4, 3),), "pixels")
    x = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    (kept,) = packing.unpack(packing.pack([x]))
    assert kept.dtype == np.uint8 and (kept == x).all()
    assert packing.row_bytes == 48


def test_bytes_of_a_view() -> None:
    maps = ((320, 7, 7),)
    sizes = [Packing(maps, s).row_bytes for s in ("float32", "bfloat16", "uint8")]
    assert sizes == [62720, 31360, 18240]
