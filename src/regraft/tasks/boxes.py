"""What is right about boxes and what a model said: plain arrays, one after the other.

Both are ragged: a picture has any number of boxes, also none. They lie one picture after the
other, with a count for each picture. Edges are pixels of the sample as it is (its window, if it
has one): left, top, right, bottom, from the upper left corner.

Shapes: n samples in order, k boxes of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from regraft.dataset.rows import Sample
from regraft.dataset.views import View, placement

VISIBLE = 0.4
"""A box of which a view shows a smaller share is not learnt from it."""
LEAST_PX = 3.0
"""Nor is one that is smaller than this in the network's input."""


def areas(boxes_k4: np.ndarray) -> np.ndarray:
    """Square pixels of each box, float64."""
    boxes_k4 = boxes_k4.astype(np.float64)
    return (boxes_k4[:, 2:] - boxes_k4[:, :2]).prod(axis=1)


@dataclass(frozen=True)
class BoxTargets:
    """The boxes that are there.

    Attributes:
        count_n: boxes of each sample, int64.
        boxes_k4: float32.
        labels_k: int64, into the task's classes.
        crowd_k: bool; see `Box.crowd`: neither learnt nor counted as missed.
        sizes_n2: height and width of each sample in pixels, int64.
        keys: names each sample in random draws of views: `Sample.view_key`.
        area_k: square pixels of each object, of its box where no more is known, float64.
    """

    count_n: np.ndarray
    boxes_k4: np.ndarray
    labels_k: np.ndarray
    crowd_k: np.ndarray
    sizes_n2: np.ndarray
    keys: tuple[str, ...]
    area_k: np.ndarray

    def __len__(self) -> int:
        return len(self.count_n)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Boxes_k4, labels_k and crowd_k of each sample."""
        return (self.of(n) for n in range(len(self)))

    def of(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes_k4, labels_k and crowd_k of one sample."""
        stop = int(self._stop_n[n])
        some = slice(stop - int(self.count_n[n]), stop)
        return self.boxes_k4[some], self.labels_k[some], self.crowd_k[some]

    @cached_property
    def _stop_n(self) -> np.ndarray:
        return self.count_n.cumsum()

    @staticmethod
    def from_samples(samples: Sequence[Sample]) -> BoxTargets:
        """Of samples as they were read."""
        boxes = [box for sample in samples for box in sample.boxes]
        edges = [(box.left, box.top, box.right, box.bottom) for box in boxes]
        boxes_k4 = np.array(edges, dtype=np.float32).reshape(-1, 4)
        given_k = np.array([box.area for box in boxes], dtype=np.float64)  # NaN for None
        return BoxTargets(
            np.array([len(sample.boxes) for sample in samples], dtype=np.int64),
            boxes_k4,
            np.array([box.category for box in boxes], dtype=np.int64),
            np.array([box.crowd for box in boxes], dtype=bool),
            np.array([sample.size for sample in samples], dtype=np.int64).reshape(-1, 2),
            tuple(sample.view_key for sample in samples),
            np.where(np.isnan(given_k), areas(boxes_k4), given_k),
        )


@dataclass(frozen=True)
class BoxAnswers:
    """The boxes that a model says are there, the surest of each sample first.

    Attributes:
        count_n: boxes of each sample, int64.
        boxes_k4: float32.
        labels_k: int64, into the task's classes.
        scores_k: float32 in 0…1.
    """

    count_n: np.ndarray
    boxes_k4: np.ndarray
    labels_k: np.ndarray
    scores_k: np.ndarray

    def __len__(self) -> int:
        return len(self.count_n)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Boxes_k4, labels_k and scores_k of each sample."""
        stop = 0
        for count in self.count_n:
            some, stop = slice(stop, stop + int(count)), stop + int(count)
            yield self.boxes_k4[some], self.labels_k[some], self.scores_k[some]

    def arrays(self) -> dict[str, np.ndarray]:
        """As `task.Answers`: "count", "boxes", "labels", "scores"."""
        return {
            "count": self.count_n,
            "boxes": self.boxes_k4,
            "labels": self.labels_k,
            "scores": self.scores_k,
        }

    @staticmethod
    def from_arrays(arrays: dict[str, np.ndarray]) -> BoxAnswers:
        """What `arrays` gave."""
        return BoxAnswers(arrays["count"], arrays["boxes"], arrays["labels"], arrays["scores"])

    @staticmethod
    def from_pictures(
        pictures: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    ) -> BoxAnswers:
        """Of boxes_k4, labels_k and scores_k of each sample."""
        empty = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
        boxes, labels, scores = zip(*pictures, empty, strict=True)
        return BoxAnswers(
            np.array([len(part) for part in labels[:-1]], dtype=np.int64),
            np.concatenate(boxes).astype(np.float32),
            np.concatenate(labels).astype(np.int64),
            np.concatenate(scores).astype(np.float32),
        )


@dataclass(frozen=True)
class InView:
    """What one view of a sample shows, in pixels of the network's input.

    Attributes:
        boxes_g4: to learn from, clipped to the input; float32.
        labels_g: their categories.
        unclear_k4: what is there, too, and is not to be learnt: crowds, what is cut off or tiny.
    """

    boxes_g4: np.ndarray
    labels_g: np.ndarray
    unclear_k4: np.ndarray


def in_view(targets: BoxTargets, n: int, view: View, size_px: int) -> InView:
    """Of sample n."""
    height, width = (int(length) for length in targets.sizes_n2[n])
    seen = placement((width, height), view, targets.keys[n])
    boxes_g4, label_g, crowd_g = targets.of(n)
    whole_g4 = seen.onto(boxes_g4, size_px)
    boxes_g4 = whole_g4.clip(0, size_px)
    sides_g2, whole_g2 = boxes_g4[:, 2:] - boxes_g4[:, :2], whole_g4[:, 2:] - whole_g4[:, :2]
    share_g = sides_g2.prod(axis=1) / np.maximum(whole_g2.prod(axis=1), 1e-6)
    visible_g = (sides_g2 >= 1).all(axis=1)
    clear_g = visible_g & (share_g >= VISIBLE) & (sides_g2 >= LEAST_PX).all(axis=1) & ~crowd_g
    return InView(boxes_g4[clear_g], label_g[clear_g], boxes_g4[visible_g & ~clear_g])


def too_small(targets: BoxTargets, size_px: int) -> np.ndarray:
    """Bool_k: objects that are too small to be learnt where all of a sample is in view."""
    scale_n = size_px / targets.sizes_n2.max(axis=1)
    sides_k2 = targets.boxes_k4[:, 2:] - targets.boxes_k4[:, :2]
    sides_k2 = sides_k2 * np.repeat(scale_n, targets.count_n)[:, None]
    return (sides_k2 < LEAST_PX).any(axis=1) & ~targets.crowd_k
