"""Object detection: boxes and their categories in pictures.

The numbers that decide (metric, threshold) are in `box_metrics.py`; head, loss and decoding are
those of the detector's family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.backbones.backbone import SOURCE_HEAD, Backbone, Detector
from regraft.dataset.rows import Dataset, Sample
from regraft.dataset.views import View, placement
from regraft.tasks.boxes import BoxAnswers, BoxTargets, too_small
from regraft.tasks.family import Start, family_of
from regraft.tasks.measure import Score
from regraft.tasks.probe import Probe
from regraft.tasks.task import Answers, Criterion, Outputs, Pace

if TYPE_CHECKING:
    from torch import nn

SYNONYMS = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""Pascal VOC's names, and what COCO calls the same."""
AUGMENTED = View(index=0, crop=0.6, mirror=True, colour=0.15)


@dataclass(frozen=True)
class Detection:
    """What is learnt.

    Attributes:
        classes: categories, in the order of the scores.
        detector: what finds them.
        size_px: side of the network's input.
        frequency: boxes of each category a training picture.
    """

    classes: tuple[str, ...]
    detector: Detector
    size_px: int
    frequency: tuple[float, ...]

    @staticmethod
    def of(rows: Dataset, backbone: Backbone) -> Detection:
        """For a data set with splits, on a detector."""
        assert backbone.detector is not None, backbone.name
        task = Detection(
            rows.classes, backbone.detector, backbone.pictures.size_px, (0.0,) * len(rows.classes)
        )
        return task.learning_from(rows.split("train"))

    def learning_from(self, samples: Sequence[Sample]) -> Detection:
        """See `Task`: how often a category occurs is counted on these alone."""
        counts = np.zeros(len(self.classes))
        for sample in samples:
            for box in sample.boxes:
                counts[box.category] += not box.crowd
        often = counts / max(1, len(samples))
        return replace(self, frequency=tuple(float(count) for count in often))

    @property
    def name(self) -> str:
        """See `Task`."""
        return "object-detection"

    @property
    def metric_name(self) -> str:
        """AP at an overlap of 0.5: what people who count objects look at."""
        return "AP50"

    @property
    def convex(self) -> bool:
        """See `Task`."""
        return False

    @property
    def augmented(self) -> View:
        """See `Task`."""
        return AUGMENTED

    @property
    def kept_rows(self) -> tuple[int, ...]:
        """For each category its row in the source's head, by its name; -1 where it has none.

        `_` and `-` are spaces, and Pascal VOC's names are understood.
        """
        known = {_plain(name): row for row, name in enumerate(self.detector.categories)}
        names = (_plain(name) for name in self.classes)
        return tuple(known.get(name, known.get(SYNONYMS.get(name, ""), -1)) for name in names)

    def mapping(self) -> str:
        """What becomes of the source's own categories, in a sentence."""
        rows = list(zip(self.classes, self.kept_rows, strict=True))
        theirs = self.detector.categories
        known = [
            name if name.lower() == theirs[row].lower() else f"{name} (its {theirs[row]})"
            for name, row in rows
            if row >= 0
        ]
        new = [name for name, row in rows if row < 0]
        parts: list[str] = []
        if known:
            parts.append(f"known to the source and kept: {', '.join(known)}")
        if new:
            parts.append(f"new: {', '.join(new)}")
        return f"categories: {'; '.join(parts)}"

    @property
    def pace(self) -> Pace:
        """See `Task`."""
        return family_of(self.detector).PACE

    def too_small(self, samples: Sequence[Sample]) -> dict[str, tuple[int, int]]:
        """By category how many boxes are too small to be learnt, where any is; and of how many."""
        targets = self.targets(samples)
        tiny_c, whole_c = (
            np.bincount(targets.labels_k[some_k], minlength=len(self.classes))
            for some_k in (too_small(targets, self.size_px), ~targets.crowd_k)
        )
        rows = zip(self.classes, tiny_c.tolist(), whole_c.tolist(), strict=True)
        return {name: (tiny, whole) for name, tiny, whole in rows if tiny}

    def facts(self) -> dict[str, Any]:
        """See `Task`."""
        return {
            "task": self.name,
            "classes": list(self.classes),
            "size_px": self.size_px,
            "frequency": list(self.frequency),
        }

    def targets(self, samples: Sequence[Sample]) -> BoxTargets:
        """See `Task`."""
        return BoxTargets.from_samples(samples)

    def answers(self, outputs: Outputs, samples: Sequence[Sample]) -> Answers:
        """See `Task`; boxes are in pixels of the samples."""
        return self.found(outputs, [sample.size for sample in samples]).arrays()

    def found(self, outputs: Outputs, sizes: Sequence[tuple[int, int]]) -> BoxAnswers:
        """Boxes in pixels of pictures of these heights and widths."""
        pictures: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        decoded = family_of(self.detector).decode(outputs, self.detector, self.size_px)
        for (boxes_k4, labels_k, scores_k), (height, width) in zip(decoded, sizes, strict=True):
            seen = placement((width, height), View(), "")
            boxes_k4 = seen.back(boxes_k4, self.size_px).clip(0, [width, height, width, height])
            real_k = (boxes_k4[:, 2:] > boxes_k4[:, :2]).all(axis=1)
            pictures.append((boxes_k4[real_k], labels_k[real_k], scores_k[real_k]))
        return BoxAnswers.from_pictures(pictures)

    def score(self, answers: Answers, targets: BoxTargets) -> Score:
        """See `Task`."""
        from regraft.tasks.box_metrics import average_precision

        return average_precision(BoxAnswers.from_arrays(answers), targets, len(self.classes))

    def calibrate(self, answers: Answers, targets: BoxTargets) -> dict[str, Any]:
        """Confidences from which a box is reported; see `box_metrics.confidences`."""
        from regraft.tasks.box_metrics import confidences, match

        return confidences(match(BoxAnswers.from_arrays(answers), targets, len(self.classes)))

    def fit_head(
        self,
        x_nd: np.ndarray,
        targets: BoxTargets,
        clusters: Sequence[str],
        seed: int,
        penalty: float | None = None,
    ) -> Probe:
        """There is no convex problem here."""
        raise AssertionError("a detector's head is trained by the loop")

    def head(self, backbone: Backbone, seed: int, *, pretrained: bool = True) -> nn.Module:
        """See `Task`."""
        from regraft.backbones.network import read_safetensors

        source = {}
        if pretrained:
            tensors = read_safetensors(backbone.weights)
            source = {
                name.removeprefix(SOURCE_HEAD): tensor
                for name, tensor in tensors.items()
                if name.startswith(SOURCE_HEAD)
            }
        start = Start(
            self.detector, self.size_px, backbone.width, self.frequency, self.kept_rows, source,
            seed,
        )  # fmt: skip
        return family_of(self.detector).make_head(start)

    def head_parameters(self, backbone: Backbone) -> int:
        """See `Task`."""
        count = family_of(self.detector).head_parameters
        return count(self.detector, backbone.width, len(self.classes))

    def criterion(self, targets: BoxTargets, views: Sequence[View]) -> Criterion:
        """See `Task`."""
        return family_of(self.detector).criterion(self.detector, self.size_px, targets, views)


def _plain(name: str) -> str:
    """A category's name as it is compared."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())
