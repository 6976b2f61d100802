"""Tree crowns: two aerial photographs of forest with a box around every crown, cut into tiles.

The photographs and their boxes (Pascal VOC XML) come with deepforest (Weinstein et al. 2019, MIT):
OSBS_029, 400×400 px with 61 crowns in Florida, and a piece of Yellowstone, 2299×2472 px with 574. A
photograph is wholly on one side of the split: one trains, the other is measured on. Two photographs
from two forests say more of the change of forest than of trees, so there is a third way, "parts":
the western half of Yellowstone trains, its eastern third is measured on, and what lies between (a
column of tiles, 383 px) is in neither; that is one forest, one day, one camera. Tiles do not
overlap, so that every crown counts once; what a tile's edge cuts off is a crowd where less than
half of it is there, and the other part counts.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image

from bench.data import AERIAL, DATA, DEEPFOREST, made, unpacked

SMALL, LARGE = (Path(name).stem for name in AERIAL)
"""OSBS_029, and the piece of Yellowstone."""


def tree_crowns(
    folder: Path = DATA, *, train: Literal["small", "large", "parts"] = "large", tile_px: int = 400
) -> Path:
    """A folder with tiles and boxes.csv, whose column `split` says "train" or "valid".

    Args:
        folder: where the set is made, under a name of its own.
        train: which photograph trains, the other one is "valid"; or "parts" of the large one.
        tile_px: about the side of a tile; the small photograph is cut into four, so that there are
            several pictures to draw from.
    """
    path = folder / f"crowns-{train}-{tile_px}"
    if not path.exists():
        with made(path) as root:
            _write(root, unpacked(DEEPFOREST, folder), train, tile_px)
    return path


def _write(root: Path, source: Path, train: str, tile_px: int) -> None:
    from regraft.dataset.boxes import read_boxes
    from regraft.dataset.boxes.tiles import seen

    with tempfile.TemporaryDirectory() as scratch:
        for stem in (SMALL, LARGE):
            for suffix in (".png", ".xml"):
                shutil.copy(source / f"{stem}{suffix}", scratch)
        data = read_boxes(Path(scratch))
        lines: list[list[object]] = []
        for picture in data.pictures:
            is_small = picture.id.startswith(SMALL)
            if is_small and train == "parts":
                continue
            photo = Image.open(picture.source).convert("RGB")
            for window in _grid(*photo.size, tile_px // 2 if is_small else tile_px):
                split = "train" if is_small == (train == "small") else "valid"
                if train == "parts":
                    split = _part(window, photo.width)
                    if not split:
                        continue
                name = f"{picture.id.removesuffix('.png')}-{window[0]}-{window[1]}.png"
                photo.crop(window).save(root / name)
                parts = [part for box in picture.boxes if (part := seen(box, window))]
                lines += [
                    [name, "tree", p.left, p.top, p.right, p.bottom, int(p.crowd), split]
                    for p in parts
                ]
                if not parts:
                    lines.append([name, *[""] * 6, split])
    with (root / "boxes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow("path,category,left,top,right,bottom,crowd,split".split(","))
        table.writerows(lines)


def _part(window: tuple[int, int, int, int], width_px: int) -> str:
    """West, east, or "" between them."""
    if window[2] <= width_px / 2 + 1:
        return "train"
    return "valid" if window[0] >= 2 * width_px / 3 - 1 else ""


def _grid(width_px: int, height_px: int, tile_px: int) -> list[tuple[int, int, int, int]]:
    """Equal tiles, as near to the wanted side as they can be."""
    columns, rows = max(1, round(width_px / tile_px)), max(1, round(height_px / tile_px))
    xs = [round(i * width_px / columns) for i in range(columns + 1)]
    ys = [round(i * height_px / rows) for i in range(rows + 1)]
    return [
        (x, y, xs[i + 1], ys[j + 1]) for j, y in enumerate(ys[:-1]) for i, x in enumerate(xs[:-1])
    ]
