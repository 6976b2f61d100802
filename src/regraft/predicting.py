"""The inside of `predict` and `evaluate`: what a model says of pictures and texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft import dataset as data_sets
from regraft.dataset import Dataset, Sample
from regraft.errors import DataError, UnreadableSample
from regraft.events import Advanced, Tell
from regraft.transfer.engine import TRIAL_SAMPLES, Preparation, prepare
from regraft.transfer.model import Model, split_labels

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
