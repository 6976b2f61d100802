"""Photographs with garments set into them: a small detection set whose boxes are exact.

Trousers and bags of Fashion-MNIST, tinted, at random size and place, in crops of real photographs.
It is composed, and whoever quotes a number from it says so. No photograph, and no garment, is in
two splits.

    python -m bench.composed FOLDER [--train 300] [--valid 100] [--test 100] [--seed 0]

Writes train.json, valid.json and test.json (COCO) and the pictures into a new folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import data

CATEGORIES = {"trousers": 1, "bag": 8}
"""Names, and their labels in Fashion-MNIST."""
LONGER_PX, SHORTER_PX = 480, 360
SMALLEST_PX, LARGEST_PX = 28, 220
MOST_OBJECTS = 5
MOST_COVERED = 0.3
"""Share of an object that another may hide."""
SEEN = 40
"""Grey value from which a pixel of a garment hides what is behind it."""


def compose(folder: Path, *, train: int, valid: int, test: int, seed: int = 0) -> Path:
    """Make the set, unless the folder is there."""
    if folder.is_dir():
        return folder
    photos = [*data.imagenet_photos(), *data.scikit_learn_photos()]
    garments = data.fashion_mnist()
    aside = folder.with_name(folder.name + ".part")
    aside.mkdir(parents=True)
    splits = (("train", train, photos[::2]), ("valid", valid, photos[1::4]))
    for name, count, behind in (*splits, ("test", test, photos[3::4])):
        rng = np.random.default_rng([seed, len(name), ord(name[1])])
        first = name == "train"
        pictures = garments.train_pictures if first else garments.test_pictures
        labels = garments.train_labels if first else garments.test_labels
        half = slice(None) if first else slice(name == "test", None, 2)
        _write(aside, name, count, behind, (pictures[half], labels[half]), rng)
    aside.rename(folder)
    return folder


def _write(
    folder: Path,
    split: str,
    count: int,
    behind: list[Path],
    garments: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> None:
    """One split. A picture depends on those before it alone: smaller sets begin larger ones."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    scenes = [Image.open(path).convert("RGB") for path in behind]
    (folder / split).mkdir()
    for number in range(1, count + 1):
        canvas, boxes = _picture(scenes, garments, rng)
        name = f"{split}/{number:04d}.jpg"
        canvas.save(folder / name, quality=90)
        width, height = canvas.size
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for category, (left, top, right, bottom) in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(content))


Box = tuple[int, int, int, int]


def _picture(
    scenes: list[Image.Image],
    garments: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> tuple[Image.Image, list[tuple[int, Box]]]:
    size = (LONGER_PX, SHORTER_PX) if rng.random() < 0.5 else (SHORTER_PX, LONGER_PX)
    canvas = _background(scenes[rng.integers(len(scenes))], size, rng)
    boxes: list[tuple[int, Box]] = []
    for _ in range(rng.integers(0, MOST_OBJECTS + 1)):
        category = int(rng.integers(len(CATEGORIES)))
        label = list(CATEGORIES.values())[category]
        (of_it,) = np.nonzero(garments[1] == label)
        grey = garments[0][rng.choice(of_it)]
        side = round(float(np.exp(rng.uniform(np.log(SMALLEST_PX), np.log(LARGEST_PX)))))
        left, top = (int(rng.integers(0, length - side)) for length in size)
        garment, mask = _garment(grey, side, rng)
        seen = mask.getbbox()
        if seen is None:
            continue
        box = (left + seen[0], top + seen[1], left + seen[2], top + seen[3])
        if any(_covered(box, other) > MOST_COVERED for _, other in boxes):
            continue
        canvas.paste(garment, (left, top), mask)
        boxes.append((category + 1, box))
    return canvas, boxes


def _background(scene: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    share = rng.uniform(0.5, 1.0) * min(scene.width / size[0], scene.height / size[1])
    width, height = size[0] * share, size[1] * share
    left, top = rng.uniform(0, scene.width - width), rng.uniform(0, scene.height - height)
    box = (left, top, left + width, top + height)
    part = scene.resize(size, Image.Resampling.BICUBIC, box=box)
    mirror = Image.Transpose.FLIP_LEFT_RIGHT
    return part.transpose(mirror) if rng.random() < 0.5 else part


def _garment(
    grey: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """The garment in a colour, and where it is (0 or 255)."""
    large = Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        large = large.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    tint = rng.uniform(0.35, 1.0, 3)
    values = np.asarray(large, dtype=np.float64)[:, :, None] * tint
    mask = (np.asarray(large) > SEEN).astype(np.uint8) * 255
    return Image.fromarray(values.astype(np.uint8)), Image.fromarray(mask)


def _covered(one: Box, other: Box) -> float:
    """Intersection over the smaller of the two."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return max(0, width) * max(0, height) / min(areas)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name, usual in (("train", 300), ("valid", 100), ("test", 100), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    arguments = vars(parser.parse_args())
    print(compose(arguments.pop("folder"), **arguments))


if __name__ == "__main__":
    main()
