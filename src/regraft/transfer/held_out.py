"""Samples that nothing is learnt from: models are measured on them, and compared with each other.

Shapes: n samples, r bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from regraft.dataset import Sample
from regraft.tasks import measure
from regraft.tasks.task import Answers, Task


@final
@dataclass(frozen=True)
class HeldOut:
    """Samples with what is right for them; see `of`.

    Attributes:
        task: whose answers these are.
        samples: themselves.
        targets: what `Task.targets` gives for them.
        weights_rn: how often each is drawn; groups are drawn together.
    """

    task: Task[Any]
    samples: Sequence[Sample]
    targets: Any
    weights_rn: np.ndarray

    @classmethod
    def of(cls, task: Task[Any], samples: Sequence[Sample], seed: int) -> HeldOut:
        """Samples by the labels that they have; those of a group are drawn together."""
        weights_rn = measure.bootstrap_weights([sample.group for sample in samples], seed)
        return cls(task, samples, task.targets(samples), weights_rn)

    @property
    def groups(self) -> int:
        """How many groups the samples are of; one that stands alone is its own."""
        names = [sample.group for sample in self.samples]
        return len(set(names) - {""}) + names.count("")

    def score(self, answers: Answers) -> measure.Score:
        """The task's metric of answers on these samples, as a function of their weights."""
        return self.task.score(answers, self.targets)

    def measured(self, answers: Answers) -> measure.Estimate:
        """The metric of answers on these samples, with its interval."""
        return self.estimate(self.score(answers))

    def estimate(self, score: measure.Score) -> measure.Estimate:
        """A score on these samples as a number with its interval."""
        return measure.estimate(self.task.metric_name, score, self.weights_rn)

    def compare(self, new: Answers, old: Answers) -> measure.Difference:
        """The paired test of one model's answers on these samples against another's."""
        return measure.compare(self.score(new), self.score(old), self.weights_rn)
