from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_pictures import photo, scenes
from PIL import Image

from regraft.dataset import View, views


def test_plain_view_is_the_middle_after_resizing_the_shorter_side() -> None:
    image = photo("flower")
    got = views.square(image, 96, 0.75, "bicubic", View(), "key")
    resized = image.resize((round(640 * 128 / 427), 128), Image.Resampling.BICUBIC)
    left, top = (resized.width - 96) // 2, 16
    expected = np.asarray(resized.crop((left, top, left + 96, top + 96))).astype(int)
    assert got.shape == (96, 96, 3)
    assert got.dtype == np.uint8
    assert np.abs(got - expected).mean() < 3
    assert got.flags.writeable


def test_plain_view_does_not_depend_on_key_or_ranges() -> None:
    image = photo("china")
    plain = views.square(image, 64, 0.875, "bilinear", View(), "a")
    other = views.square(image, 64, 0.875, "bilinear", View(0, 0.3, True, 0.4), "b")
    assert np.array_equal(plain, other)


def test_random_views_are_functions_of_key_and_index() -> None:
    image, view = photo("china"), View(3, 0.3, True, 0.4)
    first = views.square(image, 64, 0.875, "bilinear", view, "key")
    assert np.array_equal(first, views.square(image, 64, 0.875, "bilinear", view, "key"))
    for other, key in ((View(4, 0.3, True, 0.4), "key"), (view, "other")):
        assert not np.array_equal(first, views.square(image, 64, 0.875, "bilinear", other, key))


def test_mirroring_alone_gives_the_plain_view_or_its_mirror_image() -> None:
    image = photo("china")
    plain = views.square(image, 64, 0.875, "bilinear", View(), "")
    mirrored = 0
    for key in map(str, range(40)):
        got = views.square(image, 64, 0.875, "bilinear", View(1, mirror=True), key)
        is_mirrored = np.array_equal(got, plain[:, ::-1])
        assert is_mirrored or np.array_equal(got, plain)
        mirrored += is_mirrored
    assert 8 < mirrored < 32


def test_random_crops_keep_at_least_their_share_and_reach_everywhere() -> None:
    # Red grows with x and green with y, so the crop can be read off the result.
    ramp = np.zeros((256, 256, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(256), np.arange(256)[:, None]
    image = Image.fromarray(ramp)
    shares, lefts = [], []
    for index in range(1, 200):
        got = views.square(image, 32, 1.0, "bilinear", View(index, crop=0.25), "k").astype(float)
        width = (got[..., 0].max() - got[..., 0].min()) * 32 / 31
        height = (got[..., 1].max() - got[..., 1].min()) * 32 / 31
        shares.append(width * height / 256**2)
        lefts.append(got[..., 0].min())
    assert 0.2 < min(shares) < 0.32
    assert 0.9 < max(shares) <= 1.05
    assert min(lefts) < 10
    assert max(lefts) > 90


def test_colour_changes_brightness_within_its_range() -> None:
    grey = Image.new("RGB", (64, 64), (100, 100, 100))
    means = [
        views.square(grey, 16, 1.0, "bilinear", View(i, colour=0.3), "k").mean()
        for i in range(1, 100)
    ]
    assert 70 - 1 <= min(means) < 80
    assert 120 < max(means) <= 130 + 1


def test_colour_on_a_known_picture() -> None:
    image = Image.fromarray(np.array([[[200, 0, 0], [0, 0, 200]]], np.uint8))
    same = views._coloured(image, np.array([1.0, 1.0, 1.0]))
    assert np.array_equal(same, image)
    grey = np.asarray(views._coloured(image, np.array([1.0, 1.0, 0.0]))).astype(int)
    assert np.ptp(grey, axis=2).max() <= 1
    flat = np.asarray(views._coloured(image, np.array([1.0, 0.0, 1.0]))).astype(int)
    assert np.ptp(flat) <= 1
    half = np.asarray(views._coloured(image, np.array([0.5, 1.0, 1.0])))
    assert half[0].tolist() == [[100, 0, 0], [0, 0, 100]]


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    index=st.integers(0, 5),
    crop=st.floats(0.01, 1.0),
)
def test_any_size_gives_a_square(width: int, height: int, index: int, crop: float) -> None:
    image = Image.new("RGB", (width, height), (10, 200, 30))
    view = View(index, crop, True, 0.0)
    got = views.square(image, 24, 0.875, "bicubic", view, "k")
    assert (got == np.array([10, 200, 30])).all()
    assert got.shape == (24, 24, 3)


@pytest.mark.parametrize(
    "interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
)
def test_interpolations(interpolation: str) -> None:
    assert views.square(scenes()[0], 32, 1.0, interpolation, View(), "").std() > 20
