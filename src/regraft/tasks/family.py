"""What a family of detectors is to the task: head, loss and decoding, each family a file.

Which one it is says the detector's description. A new family is a module with these names, and a
line in `family_of`.

Shapes: k boxes of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from regraft.backbones.backbone import Detector
from regraft.dataset.views import View
from regraft.errors import BackboneError
from regraft.tasks.boxes import BoxTargets
from regraft.tasks.task import Criterion, Pace

if TYPE_CHECKING:
    from torch import Tensor, nn

KEPT = 300
"""Boxes of a picture that are told."""
FAINTEST = 0.02
"""What is less likely is not told."""
LEAST_PRIOR, MOST_PRIOR = 1e-4, 0.1


@dataclass(frozen=True)
class Start:
    """What a head is made from.

    Attributes:
        detector: what the head goes on.
        size_px: side of its input.
        width: of what its last stage gives.
        frequency: boxes of each category a picture; new ones start from it.
        kept: for each category its row in the source, or -1.
        source: tensors of the source's own head; {} starts everything afresh.
        seed: of the start.
    """

    detector: Detector
    size_px: int
    width: int
    frequency: Sequence[float]
    kept: Sequence[int]
    source: dict[str, Tensor]
    seed: int


def prior(chance: float) -> float:
    """A chance as a head may begin with it: neither hopeless nor sure."""
    return max(LEAST_PRIOR, min(MOST_PRIOR, chance))


def log_odds(chance: float) -> float:
    """The bias that gives a chance."""
    return math.log(chance / (1 - chance))


class Family(Protocol):
    """The contract."""

    PACE: Pace

    def make_head(self, start: Start) -> nn.Module:
        """A head in which all but new categories is the source's."""
        ...

    def head_parameters(self, detector: Detector, width: int, categories: int) -> int:
        """How many numbers such a head can learn."""
        ...

    def criterion(
        self, detector: Detector, size_px: int, targets: BoxTargets, views: Sequence[View]
    ) -> Criterion:
        """The loss on batches; what a view teaches is worked out once."""
        ...

    def decode(
        self, outputs: Any, detector: Detector, size_px: int
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each picture boxes_k4 in pixels of the input, labels_k, scores_k, surest first."""
        ...


def family_of(detector: Detector) -> Family:
    """The module of a detector's family.

    Raises:
        BackboneError: there is none.
    """
    if detector.family == "dense":
        from regraft.tasks import dense

        return dense
    if detector.family == "paired":
        from regraft.tasks import paired

        return paired
    if detector.family == "queries":
        from regraft.tasks import queries

        return queries
    raise BackboneError(
        f"there is no family of detectors {detector.family!r}", mend="use dense, paired or queries"
    )
