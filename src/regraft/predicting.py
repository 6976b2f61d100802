"""The inside of `predict` and `evaluate`: what a model says of pictures and texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regraft import dataset as data_sets
from regraft.dataset import Dataset, Sample, View
from regraft.dataset.boxes.predicted import FILES, below, common_folder, write_predictions
from regraft.dataset.boxes.tiles import Found, stitch, windows
from regraft.dataset.frames import frames
from regraft.dataset.rows import renumbered
from regraft.errors import DataError, UnreadableSample, UsageError
from regraft.events import Advanced, Tell
from regraft.reporting.drawing import Mark, drawn, jpeg
from regraft.store import commit
from regraft.tasks.boxes import BoxAnswers
from regraft.transfer.cut import Cut
from regraft.transfer.engine import TRIAL_SAMPLES, Preparation, prepare
from regraft.transfer.features import Features, features
from regraft.transfer.model import Model, split_labels
from regraft.transfer.packing import Storage
from regraft.transfer.pictures import pixels_of

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


@dataclass(frozen=True)
class Wanted:
    """What is to become of the objects that are found, beside the answer.

    Attributes:
        out: a folder for files; None writes none.
        to: format of the file; see `dataset.boxes.predicted.FILES`.
        draw: whether pictures with the boxes on them are written too.
        every_s: of a video, one frame in so many seconds is looked at.
    """

    out: Path | None = None
    to: str = "json"
    draw: bool = False
    every_s: float = 1.0


def check_wanted(wanted: Wanted) -> None:
    """Refuse before anything is computed.

    Raises:
        UsageError: an option is wrong.
    """
    if wanted.to not in FILES:
        raise UsageError(
            f"there is no format {wanted.to!r}", where="--to", mend=f"use one of {', '.join(FILES)}"
        )
    if not wanted.every_s > 0:
        raise UsageError("the time is not positive", where="--every", mend="for example 1s")
    if wanted.out is None and (wanted.draw or wanted.to != "json"):
        raise UsageError("there is no folder to write to", where="--out", mend="name one")


def find_objects(
    model: Model, preparation: Preparation, paths: Sequence[Path], wanted: Wanted, tell: Tell
) -> list[dict[str, Any]]:
    """Objects in files, one picture after the other; large ones are looked at tile by tile.

    Args:
        model: finds objects.
        preparation: of its backbone.
        paths: pictures and videos.
        wanted: files to write, too.
        tell: listens to events.

    Returns:
        for each picture "sample", "width", "height" and "objects", the surest first, each with
        "label", "probability" and "box" (left, top, right, bottom in pixels); or "problem".
    """
    answers: list[dict[str, Any]] = []
    common = common_folder(paths)
    preprocessing = model.backbone.pictures
    engine = None
    for name, picture in frames(paths, wanted.every_s):
        if isinstance(picture, UnreadableSample):
            answers.append({"sample": name, "problem": picture.what})
            continue
        parts = windows(*picture.size, model.facts["tile_px"])
        batch = np.stack([pixels_of(picture.crop(window), preprocessing) for window in parts])
        engine = engine or preparation.engine_for_pixels(len(model.backbone.stages), batch)
        values = engine.run(batch)
        sizes = [(bottom - top, right - left) for left, top, right, bottom in parts]
        tiles = [Found(*one) for one in model.find(values, sizes)]
        whole = stitch(list(zip(parts, tiles, strict=True))) if len(parts) > 1 else tiles[0]
        answers.append({"sample": name, **_objects(model, whole, picture.size)})
        if wanted.draw and wanted.out is not None:
            _draw(picture, answers[-1], wanted.out / "drawn" / f"{below(name, common)}.jpg")
        tell(Advanced("predicting", len(answers), max(len(answers), len(paths))))
    if wanted.out is not None:
        write_predictions(answers, model.task.classes, wanted.out, wanted.to)
    return answers


def _draw(picture: Image.Image, answer: dict[str, Any], file: Path) -> None:
    """The picture with its boxes and what they are."""
    marks = [
        Mark(tuple(thing["box"]), f"{thing['label']} {thing['probability']:.2f}")
        for thing in answer["objects"]
    ]
    commit(file, jpeg(drawn(picture, marks), 90))


def _objects(model: Model, found: Found, size: tuple[int, int]) -> dict[str, Any]:
    sure_k = found.scores_k >= model.calibrated["threshold"]
    rows = zip(found.boxes_k4[sure_k], found.labels_k[sure_k], found.scores_k[sure_k], strict=True)
    return {
        "width": size[0],
        "height": size[1],
        "objects": [
            {
                "label": model.task.classes[label],
                "probability": round(float(score), 4),
                "box": [round(float(edge), 1) for edge in box],
            }
            for box, label, score in rows
        ],
    }


def found_in(
    model: Model, preparation: Preparation, samples: Sequence[Sample], tell: Tell
) -> BoxAnswers:
    """Objects in samples, through the cache."""
    table = _values(model, preparation, samples, "uint8", tell)
    parts: list[BoxAnswers] = []
    for start in range(0, len(samples), TRIAL_SAMPLES):
        some = samples[start : start + TRIAL_SAMPLES]
        values = table.rows(np.arange(start, start + len(some)))
        parts.append(model.find(values, [sample.size for sample in some]))
    arrays = [part.arrays() for part in parts]
    return BoxAnswers.from_arrays(
        {name: np.concatenate([one[name] for one in arrays]) for name in arrays[0]}
    )


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
        return renumbered(sample, dict(enumerate(place)), isinstance(sample.target, tuple))

    return [mapped(sample) for sample in rows if sample.target is not None]


def vectors(
    model: Model, preparation: Preparation, samples: Sequence[Sample], tell: Tell
) -> np.ndarray:
    """Vectors_nd of samples, through the cache."""
    table = _values(model, preparation, samples, "float32", tell)
    return table.rows(np.arange(len(samples)))[0]


def _values(
    model: Model,
    preparation: Preparation,
    samples: Sequence[Sample],
    storage: Storage,
    tell: Tell,
) -> Features:
    """What the head takes, through the cache."""
    frozen = len(model.backbone.stages)
    engine = preparation.engine(frozen, samples[:TRIAL_SAMPLES])
    cut = Cut(model.backbone, frozen)
    return features(samples, cut, engine, [View()], storage=storage, tell=tell)
