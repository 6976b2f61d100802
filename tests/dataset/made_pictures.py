"""Pictures for tests: crops of the two photographs that come with scikit-learn, and noise."""

from __future__ import annotations

import importlib.util
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

QUARTER_PX = (256, 192)


@cache
def photo(name: str) -> Image.Image:
    """china or flower, 640 × 427."""
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "images" / f"{name}.jpg"
    with Image.open(path) as image:
        return image.convert("RGB")


def scenes() -> list[Image.Image]:
    """Eight pictures that show different things: the quarters of both photographs."""
    width, height = 320, 213
    corners = [(x, y) for x in (0, width) for y in (0, height)]
    return [
        photo(name).crop((x, y, x + width, y + height)) for name in ("china", "flower")
        for x, y in corners
    ]  # fmt: skip


def noise(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture like no other, smooth enough to survive JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """What is left of a picture after compression."""
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def classes(root: Path, **counts: int) -> Path:
    """A folder of classes with so many different pictures each."""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            saved(noise(1000 * number + index), root / name / f"{index:03d}.png")
    return root


def broken(root: Path, count: int) -> None:
    """Cut so many pictures of cats short."""
    for index in range(count):
        path = root / "cat" / f"{index:03d}.png"
        path.write_bytes(path.read_bytes()[:-200])
