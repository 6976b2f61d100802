"""Classes of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from regraft.errors import UnreadableSample
from regraft.events import Advanced, Tell
from regraft.transfer.ahead import ReadAhead
from regraft.transfer.engine import TRIAL_SAMPLES, Preparation
from regraft.transfer.model import Model


def label_pictures(
    model: Model, preparation: Preparation, paths: Sequence[Path], tell: Tell
) -> list[dict[str, Any]]:
    """Answers for files, in batches, so that memory does not grow with their number.

    The next batch is decoded, on all cores, while the network is at work on one.
    """
    answers: list[dict[str, Any]] = []
    engine = None
    with ReadAhead(_reader(preparation), paths, TRIAL_SAMPLES, TRIAL_SAMPLES) as ahead:
        looks = iter(ahead)
        while some := list(islice(looks, TRIAL_SAMPLES)):
            pixels = [look for look in some if isinstance(look, np.ndarray)]
            labelled: Iterator[dict[str, Any]] = iter(())
            if pixels:
                batch = np.stack(pixels)
                frozen = len(model.backbone.stages)
                engine = engine or preparation.engine_for_pixels(frozen, batch)
                (x_nd,) = engine.run(batch)
                labelled = iter(model.answers(x_nd))
            for look in some:
                answer = next(labelled) if isinstance(look, np.ndarray) else {"problem": look}
                answers.append({"sample": str(paths[len(answers)]), **answer})
            tell(Advanced("predicting", len(answers), len(paths)))
    return answers


def _reader(preparation: Preparation) -> Callable[[Path], np.ndarray | str]:
    """Gives the pixels of a file, or what speaks against it."""

    def read(path: Path) -> np.ndarray | str:
        try:
            return preparation.pixels(path)
        except UnreadableSample as problem:
            return problem.what

    return read
