"""What the head learns from: a vector of each sample, and those of further views of it.

Legend: n samples, d width of the backbone's vector, c classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from regraft.dataset import Sample
from regraft.tasks import Task


@final
@dataclass(frozen=True)
class HeadLessons:
    """Samples as the head is fitted on them.

    Attributes:
        views: vectors x_nd of each view; the plain one is first.
        target_nc: what is to be said of each, whatever the view.
        samples: themselves.
    """

    views: tuple[np.ndarray, ...]
    target_nc: np.ndarray
    samples: Sequence[Sample]

    def fit(
        self,
        task: Task[Any],
        seed: int,
        some: np.ndarray | None = None,
        penalty: float | None = None,
    ) -> Any:
        """The head on all of them, or on some; see `Task.fit_head`.

        Views of a sample stay in one fold where the penalty is chosen.
        """
        views, target_nc, samples = self.views, self.target_nc, self.samples
        if some is not None:
            views, target_nc = [view_nd[some] for view_nd in views], target_nc[some]
            samples = [samples[int(i)] for i in some]
        if len(views) == 1:  # of many pictures no copy is made
            return task.fit_head(views[0], target_nc, [s.group for s in samples], seed, penalty)
        count = len(views)
        names = [s.group or s.id for s in samples] * count
        return task.fit_head(
            np.concatenate(views), np.tile(target_nc, (count, 1)), names, seed, penalty
        )
