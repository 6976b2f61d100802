"""Handwritten digits as a folder of pictures, for `demo`: they come with scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def write_digits(folder: Path) -> None:
    """scikit-learn's digits as PNG files: 20 a class to learn, 40 to validate, 40 to test.

    Args:
        folder: left as it is where it exists.
    """
    from sklearn.datasets import load_digits  # slow to import

    if folder.is_dir():
        return
    bunch: Any = load_digits()
    aside = folder.with_name(folder.name + ".part")
    seen = [0] * 10
    for i, (image, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        seen[label] += 1
        if seen[label] > 100:
            continue
        split = "train" if seen[label] <= 20 else "valid" if seen[label] <= 60 else "test"
        place = aside / split / str(label)
        place.mkdir(parents=True, exist_ok=True)
        write_digit(image, place / f"{i:04d}.png")
    aside.rename(folder)


def write_digit(image: np.ndarray, path: Path) -> None:
    """One of them, 8 by 8 numbers of 0 to 16, as a PNG file of 64 by 64 pixels, dark on white."""
    from PIL import Image  # slow to import

    picture = Image.fromarray((255 - image / 16 * 255).astype(np.uint8))
    picture.resize((64, 64), Image.Resampling.BICUBIC).save(path)
