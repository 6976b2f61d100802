"""What is asked about: files behind names, and labelled samples in the model's terms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from regraft.dataset import Dataset, Sample, View
from regraft.dataset.rows import renumbered
from regraft.errors import DataError
from regraft.events import Tell
from regraft.transfer.cut import Cut
from regraft.transfer.engine import TRIAL_SAMPLES, Preparation
from regraft.transfer.features import Features, features
from regraft.transfer.model import Model, split_labels
from regraft.transfer.packing import Storage


def files_of(inputs: Sequence[str | Path]) -> Iterable[Path]:
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
    table = values(model, preparation, samples, "float32", tell)
    return table.rows(np.arange(len(samples)))[0]


def values(
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
