"""Classes of videos, and of their parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft import dataset as data_sets
from regraft.backbones import Preprocessing
from regraft.dataset.video import moments
from regraft.errors import UnreadableSample
from regraft.events import Advanced, Tell
from regraft.transfer.clips import canvas_px, squares
from regraft.transfer.engine import Preparation
from regraft.transfer.model import Model

Span = tuple[float, float]
"""Where a part of a video begins and ends, in seconds."""
WINDOWS = 8
"""Parts of a video that are looked at together."""


def label_videos(
    model: Model, preparation: Preparation, paths: Sequence[Path], tell: Tell
) -> list[dict[str, Any]]:
    """Answers for videos, part by part: parts as long as what was learnt from, half overlapping.

    A video's answer is that of the mean of its parts' logits; "damage" says what it lacks, where it
    is not whole. Memory does not grow with its length. Of a long one it is told how far it is read
    and how many of its parts are looked at.
    """
    answers: list[dict[str, Any]] = []
    engine = None
    for path in paths:
        try:
            whole = data_sets.video.examine(path, str(path), tell)
            spans = windows(whole.seconds, float(model.facts["clip_s"]))
            found: list[np.ndarray] = []
            for pixels_bthwc in _parts(path, spans, model.backbone.pictures):
                frozen = len(model.backbone.stages)
                engine = engine or preparation.engine_for_pixels(frozen, pixels_bthwc)
                found.append(engine.run(pixels_bthwc)[0])
                if len(spans) > WINDOWS:
                    done = sum(map(len, found))
                    what = f"predicting {data_sets.guard.shown(path.name)}, in parts"
                    tell(Advanced(what, done, len(spans)))
            answer = _answer(model, whole.seconds, spans, np.concatenate(found))
            if damage := data_sets.clips.complaints(path.name, whole):
                answer["damage"] = [problem.what for problem in damage]
        except UnreadableSample as problem:
            answer = {"problem": problem.what}
        answers.append({"sample": str(path), **answer})
        tell(Advanced("predicting", len(answers), len(paths)))
    return answers


def _parts(path: Path, spans: Sequence[Span], p: Preprocessing) -> Iterator[np.ndarray]:
    """Frames of the parts of a video, some parts at a time: uint8 (B, T, H, W, 3)."""
    side_px = canvas_px(p)
    margin = (side_px - p.size_px) // 2
    middle = slice(margin, margin + p.size_px)
    for start in range(0, len(spans), WINDOWS):
        parts = [
            squares(path, str(path), moments(span_s, p.frames), side_px)[:, middle, middle]
            for span_s in spans[start : start + WINDOWS]
        ]
        yield np.ascontiguousarray(np.stack(parts))


def _answer(
    model: Model, length_s: float, spans: Sequence[Span], x_nd: np.ndarray
) -> dict[str, Any]:
    """What is said of a video and of its n parts, by their vectors."""
    timeline = [
        {"start_s": round(start_s, 3), "stop_s": round(stop_s, 3), **answer}
        for (start_s, stop_s), answer in zip(spans, model.answers(x_nd), strict=True)
    ]
    # The head is linear, so the mean vector gives the mean of the logits.
    whole = model.answers(x_nd.mean(axis=0, keepdims=True))[0] if len(spans) > 1 else {}
    return {**timeline[0], **whole, "start_s": 0.0, "stop_s": length_s, "timeline": timeline}


def windows(length_s: float, clip_s: float) -> list[Span]:
    """Spans of the wanted length that cover a video, each half over the one before."""
    if length_s <= 1.25 * clip_s:
        return [(0.0, length_s)]
    count = 1 + math.ceil((length_s - clip_s) / (clip_s / 2) - 1e-6)
    step_s = (length_s - clip_s) / (count - 1)
    return [(k * step_s, k * step_s + clip_s) for k in range(count)]
