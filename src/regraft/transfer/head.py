"""What the head learns from: vectors of each sample, in one view or several; of texts words, too.

Legend: n samples, k views, d width of what the head reads: of the backbone's vector, and of words,
c classes.
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
class HeadData:
    """Samples as the head is fitted on them.

    Attributes:
        x_knd: float32 vectors of each view, with words where the head reads them; the plain one is
            first.
        target_nc: what is to be said of each, whatever the view.
        samples: themselves.
        penalty: of the head; chosen by cross-validation if None.
    """

    x_knd: np.ndarray
    target_nc: np.ndarray
    samples: Sequence[Sample]
    penalty: float | None = None

    def fit(self, task: Task[Any], seed: int, some: np.ndarray | None = None) -> Any:
        """The head that `Task.fit_head` finds on all of them, or on some, positions (b,).

        Views of a sample stay in one fold where the penalty is chosen.
        """
        x_knd, target_nc, samples = self.x_knd, self.target_nc, self.samples
        if some is not None:
            x_knd, target_nc = x_knd[:, some], target_nc[some]
            samples = [samples[int(i)] for i in some]
        count = len(x_knd)
        names = [s.group or (s.id if count > 1 else "") for s in samples] * count
        x_nd = x_knd.reshape(-1, x_knd.shape[-1])  # no copy is made: there may be many pictures
        return task.fit_head(x_nd, np.tile(target_nc, (count, 1)), names, seed, self.penalty)
