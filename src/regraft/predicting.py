"""The inside of `predict` and `evaluate`: what a model says of pictures and texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft import dataset as data_sets
from regraft.dataset import Dataset, Sample
from regraft.errors import DataError, UnreadableSample
from regraft.events import Advanced, Tell
from regraft.transfer.clips import canvas_px, moments, squares
from regraft.transfer.engine import TRIAL_SAMPLES, Engine, Preparation, prepare
from regraft.transfer.model import Model, split_labels

WINDOWS = 8
"""Parts of a video that are looked at together."""
TABLES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson")


def pictures(inputs: Sequence[str | Path]) -> Iterable[Path]:
    """Files behind names, folders and patterns, in order."""
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file() and p.name[0] != ".")
        elif path.exists() or not set("*?[") & set(str(given)):
            yield path
        else:
            root = Path(path.anchor)
            yield from sorted(root.glob(str(path.relative_to(root))))


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


def label_videos(
    model: Model, preparation: Preparation, paths: Sequence[Path], tell: Tell
) -> list[dict[str, Any]]:
    """Answers for videos, part by part: parts as long as what was learnt from, half overlapping.

    A video's answer is that of the mean of its parts' logits. Memory does not grow with its length.
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
    length_s = data_sets.video.examine(path, str(path)).seconds
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
    return {**timeline[0], **whole, "start_s": 0.0, "stop_s": length_s, "timeline": timeline}


def windows(length_s: float, clip_s: float) -> list[tuple[float, float]]:
    """Spans of the wanted length that cover a video, each half over the one before."""
    if length_s <= 1.25 * clip_s:
        return [(0.0, length_s)]
    count = 1 + math.ceil((length_s - clip_s) / (clip_s / 2) - 1e-6)
    step_s = (length_s - clip_s) / (count - 1)
    return [(k * step_s, k * step_s + clip_s) for k in range(count)]


def label_texts(model: Model, inputs: Sequence[str | Path], tell: Tell) -> list[dict[str, Any]]:
    """Answers for texts, in batches."""
    from regraft.transfer.packing import stacked
    from regraft.transfer.tokens import token_ids

    named = list(_texts(inputs))
    if not named:
        raise DataError(
            "no texts found", where=", ".join(map(str, inputs)), mend="name files or tables"
        )
    answers: list[dict[str, Any]] = []
    engine = None
    with prepare(model.backbone, tell=tell) as preparation:
        for start in range(0, len(named), TRIAL_SAMPLES):
            some = named[start : start + TRIAL_SAMPLES]
            texts = [text for _, text in some if isinstance(text, str)]
            labelled = iter(())
            if texts:
                ids = stacked([token_ids(text, model.backbone) for text in texts])
                engine = engine or preparation.engine_for_pixels(len(model.backbone.stages), ids)
                labelled = iter(model.answers(engine.run(ids)[0]))
            for name, text in some:
                answer = next(labelled) if isinstance(text, str) else {"problem": text.what}
                answers.append({"sample": name, **answer})
            tell(Advanced("predicting", len(answers), len(named)))
    return answers


def _texts(inputs: Sequence[str | Path]) -> Iterable[tuple[str, str | UnreadableSample]]:
    """Names and texts behind files, folders, patterns, tables and "-", in order."""
    import sys

    for given in inputs:
        if str(given) == "-":
            for number, line in enumerate(sys.stdin, 1):
                yield f"line {number}", _checked(line.rstrip("\n"), f"line {number}")
            continue
        for path in pictures([given]):
            if path.suffix.lower() in TABLES and path.is_file():
                for number, text in enumerate(data_sets.texts_of(path), 1):
                    name = f"{path}, row {number}"
                    yield name, _checked(text, name)
            else:
                yield str(path), _read_text(path)


def _checked(text: str, where: str) -> str | UnreadableSample:
    try:
        return data_sets.texts.checked(text, where)
    except UnreadableSample as fault:
        return fault


def _read_text(path: Path) -> str | UnreadableSample:
    try:
        return data_sets.texts.decode(data_sets.guard.read_file(path), str(path))[0]
    except UnreadableSample as fault:
        return fault


def relabelled(model: Model, rows: Dataset) -> list[Sample]:
    """The labelled samples with targets in the model's order of classes."""
    place = split_labels(model, rows.classes)
    unknown = [name for name, at in zip(rows.classes, place, strict=True) if at < 0]
    if unknown:
        raise DataError(
            f"the model does not know the class {unknown[0]!r}",
            where=rows.path,
            mend=f"it knows: {', '.join(model.task.classes)}",
        )

    def mapped(sample: Sample) -> Sample:
        if isinstance(sample.target, tuple):
            return replace(sample, target=tuple(sorted(place[t] for t in sample.target)))
        return replace(sample, target=None if sample.target is None else place[sample.target])

    return [mapped(sample) for sample in rows if sample.target is not None]


def vectors(
    model: Model, preparation: Preparation, samples: Sequence[Sample], tell: Tell
) -> np.ndarray:
    """Vectors_nd of samples, through the cache."""
    from regraft.dataset import View
    from regraft.transfer.cut import Cut
    from regraft.transfer.features import features

    frozen = len(model.backbone.stages)
    engine = preparation.engine(frozen, samples[:TRIAL_SAMPLES])
    cut = Cut(model.backbone, frozen)
    table = features(samples, cut, engine, [View()], storage="float32", tell=tell)
    return table.rows(np.arange(len(samples)))[0]
