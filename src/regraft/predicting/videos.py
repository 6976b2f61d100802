"""Classes of videos, and of their parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft import dataset as data_sets
from regraft.dataset.video import moments
from regraft.errors import UnreadableSample
from regraft.events import Advanced, Tell
from regraft.transfer.clips import canvas_px, squares
from regraft.transfer.engine import Engine, Preparation
from regraft.transfer.model import Model

WINDOWS = 8
"""Parts of a video that are looked at together."""


def label_videos(
    model: Model, preparation: Preparation, paths: Sequence[Path], tell: Tell
) -> list[dict[str, Any]]:
    """Answers for videos, part by part: parts as long as what was learnt from, half overlapping.

    A video's answer is that of the mean of its parts' logits; "damage" says what it lacks, where it
    is not whole. Memory does not grow with its length.
    """
    answers: list[dict[str, Any]] = []
    engines: list[Engine] = []
    for path in paths:
        try:
            answers.append({"sample": str(path), **_video(model, preparation, path, engines)})
        except UnreadableSample as problem:
            answers.append({"sample": str(path), "problem": problem.what})
        tell(Advanced("predicting", len(answers), len(paths)))
    return answers


def _video(
    model: Model, preparation: Preparation, path: Path, engines: list[Engine]
) -> dict[str, Any]:
    p = model.backbone.pictures
    side_px = canvas_px(p)
    margin = (side_px - p.size_px) // 2
    middle = slice(margin, margin + p.size_px)
    examined = data_sets.video.examine(path, str(path))
    length_s = examined.seconds
    spans = windows(length_s, float(model.facts["clip_s"]))
    found: list[np.ndarray] = []
    for start in range(0, len(spans), WINDOWS):
        some = spans[start : start + WINDOWS]
        parts = [
            squares(path, str(path), moments(span_s, p.frames), side_px)[:, middle, middle]
            for span_s in some
        ]
        pixels_bthwc = np.ascontiguousarray(np.stack(parts))
        if not engines:
            stages = len(model.backbone.stages)
            engines.append(preparation.engine_for_pixels(stages, pixels_bthwc))
        found.append(engines[0].run(pixels_bthwc)[0])
    x_nd = np.concatenate(found)
    timeline = [
        {"start_s": round(start_s, 3), "stop_s": round(stop_s, 3), **answer}
        for (start_s, stop_s), answer in zip(spans, model.answers(x_nd), strict=True)
    ]
    # The head is linear, so the mean vector gives the mean of the logits.
    whole = model.answers(x_nd.mean(axis=0, keepdims=True))[0] if len(spans) > 1 else {}
    answer = {**timeline[0], **whole, "start_s": 0.0, "stop_s": length_s, "timeline": timeline}
    damage = [problem.what for problem in data_sets.clips.complaints(path.name, examined)]
    return {**answer, "damage": damage} if damage else answer


def windows(length_s: float, clip_s: float) -> list[tuple[float, float]]:
    """Spans of the wanted length that cover a video, each half over the one before."""
    if length_s <= 1.25 * clip_s:
        return [(0.0, length_s)]
    count = 1 + math.ceil((length_s - clip_s) / (clip_s / 2) - 1e-6)
    step_s = (length_s - clip_s) / (count - 1)
    return [(k * step_s, k * step_s + clip_s) for k in range(count)]
