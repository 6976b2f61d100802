"""The contrastive objective on videos: the views are the two halves of one clip.

Decisions:

- A clip is cut in the middle. Some frames of each half, evenly spaced, are a view; what is drawn
  for a view (crop, mirror, colours, blur) is the same for all of its frames, and another for the
  other half. What the halves share is what lasts in the scene, and what moves in it.
- The control, `pairs="same-moment"`, takes both views from the same frames of one half, so they
  differ by what was drawn alone. It sees each half of a clip equally often.
- Of each half twice as many frames are kept as the network looks at; a view takes every other one,
  beginning with the first or the second.
- The middle squares of the frames come from the cache of frames (`transfer/clips.py`).

Legend: b clips in a batch, t frames of a view, s side in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from regraft.backbones import Backbone
from regraft.backbones.addresses import for_clips
from regraft.backbones.catalogue import DEFAULT
from regraft.dataset import Dataset, Sample, read_unlabelled
from regraft.dataset.clips import holds_videos
from regraft.errors import DataError
from regraft.events import Tell
from regraft.pretraining.augment import DRAWS, augmented
from regraft.pretraining.contrastive import Contrast, Footage, Model, Rows
from regraft.pretraining.decoded import Decoded
from regraft.pretraining.objective import Control, Job, Learner
from regraft.pretraining.pictures import FEWEST, canvas_side_px, resized
from regraft.pretraining.settings import Settings
from regraft.transfer.clips import canvas

DENSITY = 2
"""Frames that are kept for each one that a view takes."""


@final
@dataclass(frozen=True)
class ContrastiveClips:
    """The two halves of one clip must find each other; see `contrastive.py`."""

    settings: Settings = field(default_factory=Settings)
    name: str = "contrastive"
    modality: str = "video"
    unit: str = "clips"
    watched: str = "probe"

    @property
    def clip_s(self) -> float | None:
        """See `Objective`."""
        return self.settings.clip_s

    def recognises(self, path: Path) -> bool:
        """A folder with more videos in it than pictures."""
        return path.is_dir() and holds_videos(path)

    def starting_from(self, backbone: str | None) -> str:
        """See `Objective`: the network of clips around one of pictures."""
        return for_clips(backbone or DEFAULT, self.settings.frames)

    def read(self, path: Path, apart_from: Sequence[Sample], max_bad: float, tell: Tell) -> Dataset:
        """See `Objective`."""
        pool = read_unlabelled(
            path, apart_from=apart_from, keep_leaks=self.settings.keep_duplicates, max_bad=max_bad,
            clip_s=self.clip_s, tell=tell,
        )  # fmt: skip
        if len(pool) < FEWEST:
            raise DataError(
                f"there are too few clips to tell apart: {len(pool)}",
                where=path,
                mend=f"give {FEWEST} or more, or cut long ones into several: --clip 6s",
            )
        return pool

    def sized(self, backbone: Backbone) -> Backbone:
        """The same weights for frames of another size."""
        return resized(backbone, self.settings.size_px)

    def open(self, job: Job) -> Learner:
        """See `Objective`."""
        return Contrast(self, job)

    def control(self) -> Control | None:
        """See `Objective`: views of the same moment."""
        if self.settings.pairs == "same-moment":
            return None
        other = replace(self, settings=replace(self.settings, pairs="same-moment"))
        return Control(other, "show the same moment", "halves")

    def footage(self, job: Job) -> Footage:
        """See `Contrastive`."""
        return Halves(job.samples, job.backbone, job.tell)

    def copies(self, samples: Sequence[Sample]) -> np.ndarray:
        """See `Contrastive`: none. A group is mostly clips of one file, which are told apart."""
        return np.arange(len(samples))

    def views(self, model: Model, rows: Rows, draws_2bk: np.ndarray, half: int) -> Tensor:
        """See `Contrastive`."""
        frames = model.cut.backbone.frames
        chosen = half_of(
            rows.pixels(), draws_2bk, half, frames, self.settings.pairs == "same-moment"
        )
        size_px = model.cut.backbone.pictures.size_px
        x = augmented(chosen, draws_2bk[half], size_px)
        x = (x - model.network.mean_c11) / model.network.std_c11
        x = x.contiguous(memory_format=torch.channels_last)
        return x.unflatten(0, (-1, frames))


def half_of(
    rows: Tensor, draws_2bk: np.ndarray, half: int, frames: int, same_moment: bool
) -> Tensor:
    """The frames of one view of each clip, uint8 (b, t, s, s, 3).

    Args:
        rows: uint8 (b, 2 * DENSITY * t, s, s, 3).
        draws_2bk: for both views; the last draw decides which frames.
        half: 0 or 1.
        frames: t.
        same_moment: take the frames of one moment for both views.
    """
    where_b = draws_2bk[0 if same_moment else half, :, DRAWS - 1]
    if same_moment:
        side_b = (where_b * 2).astype(int)
        phase_b = (where_b * 2 * DENSITY).astype(int) % DENSITY
    else:
        side_b = np.full(len(where_b), half)
        phase_b = (where_b * DENSITY).astype(int)
    first_b = side_b * DENSITY * frames + phase_b
    index_bt = torch.from_numpy(first_b[:, None] + DENSITY * np.arange(frames)[None])
    return rows[torch.arange(len(rows))[:, None], index_bt]


@final
class Halves:
    """The frames of the pool's clips, first half first: uint8 (b, 2 * DENSITY * t, s, s, 3)."""

    def __init__(self, samples: Sequence[Sample], backbone: Backbone, tell: Tell) -> None:
        self._side_px = canvas_side_px(backbone)
        self._count = 2 * DENSITY * backbone.frames
        self._samples = samples
        shape = (len(samples), self._count, self._side_px, self._side_px, 3)
        # The first pass fills the cache of frames.
        self._decoded = Decoded(self._one, shape, tell, always=True)

    def rows(self, index_b: np.ndarray) -> Rows:
        """Some of them."""
        return Rows(self._decoded.rows(index_b), np.ones(len(index_b)))

    def close(self) -> None:
        """End the threads."""
        self._decoded.close()

    def _one(self, at: int) -> np.ndarray:
        return canvas(self._samples[at], self._count, self._side_px)
