"""The contrastive objective on pictures: the views are tiles of one picture.

Decisions:

- Pictures are decoded to a canvas of at most twice the tile's side: all of the picture, squeezed
  into a square so that a batch is one array. The warp that cuts a tile undoes that.

Legend: b pictures in a batch, n in the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from regraft.backbones import Backbone
from regraft.backbones.catalogue import DEFAULT
from regraft.dataset import Dataset, Sample, guard, read_unlabelled
from regraft.errors import DataError, UsageError
from regraft.events import Tell
from regraft.pretraining.augment import augmented
from regraft.pretraining.contrastive import Contrast, Footage, Model, Rows
from regraft.pretraining.decoded import Decoded
from regraft.pretraining.objective import Control, Job, Learner
from regraft.pretraining.settings import Settings
from regraft.tasks.clusters import numbered
from regraft.transfer.pictures import squeezed

FEWEST = 4


@final
@dataclass(frozen=True)
class ContrastivePictures:
    """Two tiles of one picture must find each other; see `contrastive.py`."""

    settings: Settings = field(default_factory=Settings)
    name: str = "contrastive"
    modality: str = "image"
    unit: str = "pictures"
    watched: str = "probe"
    clip_s: float | None = None

    def __post_init__(self) -> None:
        if self.settings.is_for_clips:
            raise UsageError(
                "--clip, --frames and --pairs are for a folder of more videos than pictures",
                where="pretrain",
                mend="leave them out, or give such a folder",
            )

    def recognises(self, path: Path) -> bool:
        """A folder with pictures in it, as far as is looked."""
        return path.is_dir() and guard.holds(path, guard.claims_picture)

    def starting_from(self, backbone: str | None) -> str:
        """See `Objective`."""
        return backbone or DEFAULT

    def read(self, path: Path, apart_from: Sequence[Sample], max_bad: float, tell: Tell) -> Dataset:
        """See `Objective`."""
        pool = read_unlabelled(
            path, apart_from=apart_from, keep_leaks=self.settings.keep_duplicates, max_bad=max_bad,
            tell=tell,
        )  # fmt: skip
        count = len(np.unique(self.copies(pool.samples)))
        if count < FEWEST:
            copies = " (copies count once)" if count < len(pool) else ""
            what = f"there are too few pictures to tell apart: {count}{copies}"
            raise DataError(what, where=path, mend=f"give {FEWEST} or more")
        return pool

    def sized(self, backbone: Backbone) -> Backbone:
        """The same weights for pictures of another size."""
        return resized(backbone, self.settings.size_px)

    def open(self, job: Job) -> Learner:
        """See `Objective`."""
        return Contrast(self, job)

    def control(self) -> Control | None:
        """See `Objective`."""
        return None

    def footage(self, job: Job) -> Footage:
        """See `Contrastive`."""
        return Canvases(job.samples, job.backbone, job.tell)

    def copies(self, samples: Sequence[Sample]) -> np.ndarray:
        """See `Contrastive`: near ones; of equal ones a pool has one."""
        return numbered([sample.group for sample in samples])

    def views(self, model: Model, rows: Rows, draws_2bk: np.ndarray, half: int) -> Tensor:
        """See `Contrastive`."""
        size_px = model.cut.backbone.pictures.size_px
        x_bchw = augmented(rows.pixels(), draws_2bk[half], size_px, aspect_b=rows.aspect_b)
        x_bchw = (x_bchw - model.network.mean_c11) / model.network.std_c11
        return x_bchw.contiguous(memory_format=torch.channels_last)


def resized(backbone: Backbone, size_px: int | None) -> Backbone:
    """The same weights for pictures, or frames, of another size; None is its own.

    Raises:
        UsageError: the network is built for one size alone.
    """
    if size_px is None or size_px == backbone.pictures.size_px:
        return backbone
    from regraft.backbones import network

    other = network.resized(backbone, size_px)
    if other is None:
        raise UsageError(
            f"{backbone.name} is built for {backbone.pictures.size_px} px, not for {size_px} px",
            where="--size",
            mend="leave it out, or take a convolutional network",
        )
    return other


def canvas_side_px(backbone: Backbone) -> int:
    """Side of the squares that views are cut from: of a large network no more than it takes."""
    size_px = backbone.pictures.size_px
    return max(size_px, min(2 * size_px, 256))


@final
class Canvases:
    """The pool's pictures as squares of one size, uint8 (n, side_px, side_px, 3)."""

    def __init__(self, samples: Sequence[Sample], backbone: Backbone, tell: Tell) -> None:
        self._side_px = side = canvas_side_px(backbone)
        self._samples = samples
        self._interpolation = backbone.pictures.interpolation
        self._aspect_n = np.array([width / height for height, width in (s.size for s in samples)])
        shape = (len(samples), side, side, 3)
        self._decoded = Decoded(self._one, shape, tell)

    def rows(self, index_b: np.ndarray) -> Rows:
        """Some of them."""
        return Rows(self._decoded.rows(index_b), self._aspect_n[index_b])

    def close(self) -> None:
        """End the threads."""
        self._decoded.close()

    def _one(self, at: int) -> np.ndarray:
        return squeezed(self._samples[at], self._side_px, self._interpolation)
