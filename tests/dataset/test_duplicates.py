from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from made_pictures import jpeg, photo, scenes
from PIL import Image, ImageEnhance

from regraft.dataset import images
from regraft.dataset.duplicates import Forest, near_pairs


def pairs(pictures: list[Image.Image], side_px: int = 0) -> list[tuple[int, int]]:
    grey = [picture.convert("L") for picture in pictures]
    sides = np.array([side_px or min(picture.size) for picture in grey])
    return near_pairs(np.stack([images.thumbnail(picture) for picture in grey]), sides)


def largest_group(count: int, found: list[tuple[int, int]]) -> int:
    forest = Forest(count)
    for i, j in found:
        forest.join(i, j)
    return max(Counter(forest.root(i) for i in range(count)).values())


def cropped(image: Image.Image, share: float, seed: int) -> Image.Image:
    """Without this share of each side, taken off where chance says."""
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    draw = random.Random(seed)
    left, top = draw.randint(0, image.width - width), draw.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


COPIES = {
    "recompressed": lambda image: jpeg(image, 30),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "a third, recompressed": lambda image: jpeg(
        image.resize((image.width // 3, image.height // 3)), 75
    ),
    "twice the size": lambda image: image.resize((image.width * 2, image.height * 2)),
    "squeezed": lambda image: image.resize((image.width, image.height * 3 // 4)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "grey": lambda image: image.convert("L"),
    "cropped by 2 %": lambda image: cropped(image, 0.02, 0),
    "cropped by 5 %, smaller": lambda image: jpeg(cropped(image, 0.05, 1).resize((200, 140)), 80),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_nothing_else(kind: str) -> None:
    originals = scenes()
    count = len(originals)
    found = pairs(originals + [COPIES[kind](image) for image in originals])
    assert found == [(i, i + count) for i in range(count)]


def test_different_scenes_are_not_copies() -> None:
    assert pairs(scenes()) == []


def test_flat_pictures_are_copies_of_nothing() -> None:
    flat = [Image.new("L", (100, 100), value) for value in (0, 0, 128, 255)]
    speckled = [
        Image.fromarray(np.random.default_rng(i).integers(250, 256, (300, 300), dtype=np.uint8))
        for i in range(4)
    ]
    assert pairs(flat + speckled) == []


@pytest.mark.parametrize("size", [(640, 427), (500, 375), (333, 200), (97, 61)])
def test_a_reduced_jpeg_gives_the_thumbnail_of_the_whole(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "a.jpg"
    photo("china").resize(size).save(path, quality=90)
    _, _, thumbnail = images.examine(path.read_bytes(), "here")
    whole = np.asarray(images.thumbnail(images.decode(path))).astype(int)
    assert np.abs(thumbnail - whole).mean() < 1


def test_handwritten_digits_are_not_copies() -> None:
    from sklearn.datasets import load_digits

    digits = (load_digits().images * (255 / 16)).astype(np.uint8)
    pictures = [Image.fromarray(digit) for digit in digits]
    assert len(pairs(pictures)) <= 1
    enlarged = [picture.resize((64, 64), Image.Resampling.BICUBIC) for picture in pictures]
    assert len(pairs(enlarged)) <= 2


def timed(thumbnails_nhw: np.ndarray) -> tuple[float, list[tuple[int, int]]]:
    """Seconds of the processor that it takes to find the pairs, and they."""
    begin = time.process_time()
    found = near_pairs(thumbnails_nhw, np.full(len(thumbnails_nhw), 400))
    return time.process_time() - begin, found


def test_many_copies_of_one_picture_are_connected_in_time() -> None:
    picture = np.asarray(images.thumbnail(photo("china")))
    noise = np.random.default_rng(0).integers(0, 2, (4000, 32, 32), dtype=np.uint8)
    copies = np.minimum(picture, 254) + noise
    few_s, _ = timed(copies[:500])
    many_s, found = timed(copies)
    assert many_s < 24 * few_s  # of eight times as many; all pairs would take 64 times as long
    assert len(found) == 3999
    assert largest_group(4000, found) == 4000


def test_time_grows_with_the_number_of_pictures_and_not_with_its_square() -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (10_000, 12, 12), dtype=np.uint8)
    pictures = [Image.fromarray(picture) for picture in coarse]
    thumbnails = np.stack([p.resize((32, 32), Image.Resampling.BICUBIC) for p in pictures])
    thumbnails[9_999] = thumbnails[7]
    few_s, _ = timed(thumbnails[:1_250])
    many_s, found = timed(thumbnails)
    assert found == [(7, 9_999)]
    assert many_s < 24 * few_s


def test_nothing_and_one() -> None:
    assert pairs([photo("china")]) == []
    assert near_pairs(np.empty((0, 32, 32), np.uint8), np.empty(0, np.int64)) == []


@pytest.fixture(scope="module")
def bench_data() -> object:
    return pytest.importorskip("bench.data")


@pytest.mark.real
def test_on_imagenet_photos(bench_data: object) -> None:
    try:
        paths = bench_data.imagenet_photos()
    except bench_data.Unavailable as reason:
        pytest.skip(str(reason))
    photos = [images.decode(path) for path in paths]
    assert pairs(photos) == []
    for kind, change in COPIES.items():
        found = pairs(photos + [change(image) for image in photos])
        assert found == [(i, i + 20) for i in range(20)], kind


@pytest.mark.real
def test_on_fashion_mnist(bench_data: object) -> None:
    try:
        pictures = bench_data.fashion_mnist().train_pictures[:2000]
    except bench_data.Unavailable as reason:
        pytest.skip(str(reason))
    small = [Image.fromarray(picture) for picture in pictures]
    assert len(pairs(small)) <= 1
    # As if somebody had enlarged them: outlines on black, all alike. A few are taken for copies.
    found = pairs(small, side_px=224)
    assert largest_group(len(small), found) <= len(small) // 100
