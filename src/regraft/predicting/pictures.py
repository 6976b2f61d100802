"""Classes of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft.errors import UnreadableSample
from regraft.events import Advanced, Tell
from regraft.transfer.engine import TRIAL_SAMPLES, Preparation
from regraft.transfer.model import Model


def label_pictures(
    model: Model, preparation: Preparation, paths: Sequence[Path], tell: Tell
) -> list[dict[str, Any]]:
    """Answers for files, in batches, so that memory does not grow with their number."""
    answers: list[dict[str, Any]] = []
    engine = None
    for start in range(0, len(paths), TRIAL_SAMPLES):
        some = paths[start : start + TRIAL_SAMPLES]
        pixels: dict[Path, np.ndarray] = {}
        problems: dict[Path, str] = {}
        for path in some:
            try:
                pixels[path] = preparation.pixels(path)
            except UnreadableSample as problem:
                problems[path] = problem.what
        labelled: dict[Path, dict[str, Any]] = {}
        if pixels:
            batch = np.stack(list(pixels.values()))
            engine = engine or preparation.engine_for_pixels(len(model.backbone.stages), batch)
            (x_nd,) = engine.run(batch)
            labelled = dict(zip(pixels, model.answers(x_nd), strict=True))
        for path in some:
            answer = labelled.get(path) or {"problem": problems[path]}
            answers.append({"sample": str(path), **answer})
        tell(Advanced("predicting", len(answers), len(paths)))
    return answers
