"""What a task is to the ladder and the loop, which look into neither its targets nor its answers.

- *Targets* are what is right, for some samples in order: whatever the task likes, with a length.
- *Answers* are what a model said about some samples in order: arrays by name, so that they can
  be kept as a memoised step.

Classification: targets are target_nc, answers {"logits": logits_nc}.

Object detection: targets are a `tasks.boxes.BoxTargets`, answers what `tasks.boxes.BoxAnswers`
has as `arrays()`: for each sample, boxes in pixels of the picture (or of the sample's window).

Shapes: n samples, b samples of a batch, r bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from regraft.backbones.backbone import Backbone
from regraft.dataset.rows import Sample
from regraft.dataset.views import View
from regraft.tasks.measure import Score
from regraft.tasks.probe import Probe

if TYPE_CHECKING:
    import torch
    from torch import nn

Answers = dict[str, np.ndarray]
Outputs = Any
"""What a head gives: a tensor, or a tuple of tensors, samples first."""

Criterion = Callable[[Outputs, np.ndarray, int], "torch.Tensor"]
"""(outputs of a head, index_b of the samples, view) -> the loss, one number."""

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """How long and how fast the loop trains.

    Attributes:
        batch: samples a step.
        epochs: passes over the samples.
        least_steps: however few samples there are.
        most_steps: however many there are, unless two passes take more.
        head_rate: learning rate at its highest where the head alone is trained.
        rate: of the head where more is.
        head_seen: so many views of pictures, in all, teach a head alone what views can; where there
            are more pictures, it sees fewer views of each that are cached. None if not known.
        decay: each stage towards the input learns this many times slower than the next.
        transformer_rate: of the last stage of a transformer; of other networks it is `decay` times
            that of the head.
        transformer_decay: instead of `decay`.
    """

    batch: int = 32
    epochs: int = 10
    least_steps: int = 60
    most_steps: int = 600
    head_rate: float = 1e-3
    rate: float = 1e-3
    head_seen: int | None = None
    decay: float = 0.7
    transformer_rate: float = 5e-5
    transformer_decay: float = 0.9

    def steps(self, count: int, batch: int) -> int:
        """For so many samples, in batches of this size."""
        epoch = max(1, count // batch)
        return min(max(self.epochs * epoch, self.least_steps), max(self.most_steps, 2 * epoch))


class Task(Protocol[T]):
    """The contract; T are its targets. `check_task` checks it."""

    @property
    def name(self) -> str:
        """As `--task` has it."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """What is told apart."""
        ...

    @property
    def metric_name(self) -> str:
        """The one number that rungs are compared by."""
        ...

    @property
    def convex(self) -> bool:
        """Whether a head on frozen features is found by `fit_head`; else the loop trains it."""
        ...

    @property
    def augmented(self) -> View:
        """What random views may do."""
        ...

    @property
    def pace(self) -> Pace:
        """How its rungs are trained."""
        ...

    def facts(self) -> dict[str, Any]:
        """JSON values that `tasks.restored` makes the same task of."""
        ...

    def learning_from(self, samples: Sequence[Sample]) -> Task[T]:
        """The same task where these are all the training samples there are."""
        ...

    def targets(self, samples: Sequence[Sample]) -> T:
        """What is right for these samples."""
        ...

    def answers(self, outputs: Outputs, samples: Sequence[Sample]) -> Answers:
        """What a head's outputs on plain views of these samples mean.

        The answers of several batches, joined array by array along the first axis, are the
        answers of all their samples.
        """
        ...

    def score(self, answers: Answers, targets: T) -> Score:
        """The metric of these answers, as a function of weights_rn on the samples."""
        ...

    def calibrate(self, answers: Answers, targets: T) -> Mapping[str, Any]:
        """What is set once on held-out answers and kept with the model."""
        ...

    def fit_head(
        self,
        x_nd: np.ndarray,
        targets: T,
        clusters: Sequence[str],
        seed: int,
        penalty: float | None = None,
    ) -> Probe:
        """The head of a convex task."""
        ...

    def head(self, backbone: Backbone, seed: int, *, pretrained: bool = True) -> nn.Module:
        """The head as a module: takes what the last stage gives.

        Args:
            backbone: what it goes on.
            seed: of what starts at random.
            pretrained: whether rows of the source's own head may be kept.
        """
        ...

    def head_parameters(self, backbone: Backbone) -> int:
        """How many numbers `head` can learn."""
        ...

    def criterion(self, targets: T, views: Sequence[View]) -> Criterion:
        """The loss on batches of the samples with these targets, each in one of these views."""
        ...
