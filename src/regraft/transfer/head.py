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
        index = np.arange(len(self.samples)) if some is None else some
        count = len(self.views)
        names = [self.samples[int(i)].group for i in index]
        if count > 1:
            ids = (self.samples[int(i)].id for i in index)
            names = [group or own for group, own in zip(names, ids, strict=True)]
        x_nd = np.concatenate([view_nd[index] for view_nd in self.views])
        target_nc = np.tile(self.target_nc[index], (count, 1))
        return task.fit_head(x_nd, target_nc, names * count, seed, penalty)
