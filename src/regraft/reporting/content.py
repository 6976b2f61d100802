"""What report.json says of a run, fact by fact; `fitting.py` puts them together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from regraft import dataset as data_sets
from regraft.backbones import DEFAULTS, TextPreprocessing
from regraft.dataset import Dataset, Sample
from regraft.dataset.rows import labels_of
from regraft.dataset.summary import is_imbalanced, training_ratio
from regraft.defaults import LABELS, MAX_BAD, TRAIN
from regraft.events import Said
from regraft.machine import cores
from regraft.reporting.drawing import file_of
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.transfer.ground import Ground
from regraft.wording import percent

CUT_SAMPLES = 500
"""Texts that are looked at to say how many are longer than the network reads."""
_PACKAGES = (
    "av", "numpy", "openvino", "pillow", "regraft", "scikit-learn", "scipy", "timm", "tokenizers",
    "torch", "torchvision", "transformers",
)  # fmt: skip
"""Whose versions numbers may depend on."""
_OPTIONS = (
    "task", "train", "valid", "test", "more", "budget", "views", "compare", "labels", "seed",
    "max_bad", "clip", "columns",
)  # fmt: skip
"""Of `fit`, in the order of the command that does the same again."""
SHOWN = 12
"""Samples in each gallery of the report."""


def data_facts(rows: Dataset) -> dict[str, Any]:
    """What was read: classes, sizes, problems."""
    return {
        "path": str(rows.path),
        "fingerprint": rows.fingerprint(),
        "thing": "tile" if rows.tile_px else rows.thing,
        "classes": list(rows.classes),
        "multilabel": rows.multilabel,
        "splits": {name: len(rows.split(name)) for name in data_sets.SPLITS},
        "counts": {name: counts(rows, name) for name in data_sets.SPLITS},
        "problems": [asdict(problem) for problem in rows.problems],
    }


def clip_length(rows: Dataset) -> dict[str, Any]:
    """How long the clips are that were learnt from; nothing for pictures and texts."""
    spans = [s.span_s for s in rows.split("train") if s.span_s is not None]
    if not spans:
        return {}
    return {"clip_s": round(float(np.median([stop - start for start, stop in spans])), 3)}


def truncated(ground: Ground) -> dict[str, Any]:
    """The share of texts that are longer than what the network reads; nothing for pictures."""
    preprocessing = ground.backbone.preprocessing
    if not isinstance(preprocessing, TextPreprocessing):
        return {}
    from regraft.transfer.tokens import is_cut

    samples = ground.dataset.samples
    some = samples[:: max(1, len(samples) // CUT_SAMPLES)]
    share = sum(is_cut(str(sample.source), ground.backbone) for sample in some) / len(some)
    if share:
        ground.tell(
            Said(
                f"{percent(share)} of the texts are longer than {_read(preprocessing)}; "
                "the network reads their beginning"
            )
        )
    return {
        "truncated": {
            "max_tokens": preprocessing.max_tokens,
            "windows": preprocessing.windows,
            "overlap": preprocessing.overlap,
            "share": share,
            "of": len(some),
        }
    }


def _read(preprocessing: TextPreprocessing) -> str:
    """How much of a text is read, in words."""
    tokens = f"{preprocessing.max_tokens} tokens"
    return tokens if preprocessing.windows == 1 else f"{preprocessing.windows} windows of {tokens}"


def counts(rows: Dataset, split: data_sets.Split) -> list[int]:
    """Samples of each class in a split."""
    counts = [0] * len(rows.classes)
    for sample in rows.split(split):
        for label in labels_of(sample.target):
            counts[label] += 1
    return counts


def provenance(ground: Ground) -> dict[str, Any]:
    """Where the backbone came from, and what it is."""
    backbone = ground.backbone
    return {
        "name": backbone.name,
        "source": backbone.source,
        "sha256": backbone.sha256,
        "licence": backbone.licence,
        "parameters": backbone.parameters,
        "stages": [stage.name for stage in backbone.stages],
        "levels": [backbone.stages[index].name for index in backbone.recipe.levels],
    }


def calibration(
    task: Classification,
    temperature: float,
    samples: Sequence[Sample],
    logits_nc: np.ndarray,
    split: str,
) -> dict[str, Any]:
    """How far probabilities are from frequencies, before and after the temperature."""
    target_nc = task.targets(samples)
    before = task.confidences(logits_nc, target_nc, 1.0)
    after = task.confidences(logits_nc, target_nc, temperature)
    return {
        "split": split,
        "temperature": temperature,
        "ece_before": measure.calibration_error(*before),
        "ece_after": measure.calibration_error(*after),
        "bins": measure.reliability(*after),
        "bins_before": measure.reliability(*before),
    }


def confusion(task: Classification, logits_nc: np.ndarray, target_nc: np.ndarray) -> dict[str, Any]:
    """Counts of given against predicted.

    Returns:
        "matrix": rows are given classes, columns predicted ones; for multi-label data None, and
        "per_class": [[neither, predicted only], [given only, both]] for each class.
    """
    if task.multilabel:
        said_nc, given_nc = logits_nc > 0, target_nc > 0
        tables = [
            [
                [int(((given == g) & (said == p)).sum()) for p in (False, True)]
                for g in (False, True)
            ]
            for given, said in zip(given_nc.T, said_nc.T, strict=True)
        ]
        return {"matrix": None, "per_class": tables}
    matrix = np.zeros((len(task.classes), len(task.classes)), dtype=int)
    np.add.at(matrix, (target_nc.argmax(axis=1), logits_nc.argmax(axis=1)), 1)
    return {"matrix": matrix.tolist()}


def tallies(counts: dict[str, Any] | None, classes: int) -> list[tuple[int, int, int]]:
    """Of each class: rightly predicted, predicted, given.

    Args:
        counts: what `confusion` gave; None where there is none.
        classes: how many.
    """
    if counts and counts["matrix"] is not None:
        matrix: list[list[int]] = counts["matrix"]
        given = [sum(row) for row in matrix]
        predicted = [sum(column) for column in zip(*matrix, strict=True)]
        return [(matrix[k][k], predicted[k], given[k]) for k in range(classes)]
    if counts and "per_class" in counts:
        tables: list[tuple[tuple[int, int], tuple[int, int]]] = counts["per_class"]
        return [(both, extra + both, missed + both) for (_, extra), (missed, both) in tables]
    return [(0, 0, 0)] * classes


def imbalance(rows: Dataset, task: Classification) -> dict[str, Any]:
    """How unequal the classes are, and what is done about it."""
    if task.balanced:
        text = "Classes are unequal: each counts the same in the loss and in the metric."
    elif task.multilabel and is_imbalanced(rows):
        text = "Classes are unequal: each counts the same in the metric, however rare it is."
    else:
        text = "Classes are near enough to equal; samples count alike."
    return {"ratio": training_ratio(rows), "text": text}


def galleries(
    task: Classification,
    samples: Sequence[Sample],
    logits_nc: np.ndarray,
    target_nc: np.ndarray,
    temperature: float,
    data: Path,
) -> dict[str, list[dict[str, Any]]]:
    """The most wrong answers (sure and wrong) and the least certain of the others, in validation.

    Of near copies one stands among the least certain.

    Where several classes may apply, "probability" is how sure the answer is about the class that
    it is most wrong about, or least certain of.
    """
    chance_nc = task.probabilities(logits_nc, temperature)
    correct_n = task.correct(logits_nc, target_nc)
    if task.multilabel:
        chance_n = np.abs(chance_nc - 0.5).min(axis=1) + 0.5
        wrongness_n = np.abs(chance_nc - target_nc).max(axis=1)
    else:
        chance_n = chance_nc.max(axis=1)
        wrongness_n = chance_n

    def entry(i: int, sure_n: np.ndarray) -> dict[str, Any]:
        given = [task.classes[c] for c in np.flatnonzero(target_nc[i])]
        if task.multilabel:
            said = [task.classes[c] for c in np.flatnonzero(chance_nc[i] > 0.5)]
        else:
            said = [task.classes[int(chance_nc[i].argmax())]]
        return {
            "sample": samples[i].id,
            "given": ", ".join(given),
            "predicted": ", ".join(said),
            "probability": float(sure_n[i]),
            **_place(samples[i], data),
            **data_sets.texts.excerpt(samples[i]),
        }

    wrong = [i for i in np.argsort(-wrongness_n, kind="stable") if not correct_n[i]]
    shown = {*wrong[:SHOWN]}
    unsure = [i for i in np.argsort(chance_n, kind="stable") if i not in shown]
    unsure = _one_of_copies(unsure, samples)
    return {
        "most_wrong": [entry(int(i), wrongness_n) for i in wrong[:SHOWN]],
        "least_certain": [entry(int(i), chance_n) for i in unsure[:SHOWN]],
    }


def _one_of_copies(rows: Sequence[int], samples: Sequence[Sample]) -> list[int]:
    """The rows without those that show the same as one before."""
    seen: set[str] = set()
    kept: list[int] = []
    for i in rows:
        if samples[i].copies not in seen:
            kept.append(i)
            seen |= {samples[i].copies} - {""}
    return kept


def _place(sample: Sample, data: Path) -> dict[str, str]:
    """Where its file lies, as "file"; nothing for texts."""
    return {"file": file_of(sample, data)} if isinstance(sample.source, Path) else {}


def environment() -> dict[str, Any]:
    """Machine and versions."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": cores(),
        "packages": found,
    }


def command(question: dict[str, Any], folder: Path) -> str:
    """The command line that does the same again; the call, where a reader of one's own reads."""
    import shlex

    usual = {"train": TRAIN, "labels": LABELS, "seed": 0, "max_bad": MAX_BAD}
    given = {name: question[name] for name in _OPTIONS if question.get(name) is not None}
    chosen = {name: value for name, value in given.items() if value != usual.get(name)}
    if question["backbone"] not in DEFAULTS.values():
        chosen = {"backbone": question["backbone"], **chosen}
    data, out = str(question["data"]), str(folder)
    if "reader" in question:
        also = "".join(f", {name}={value!r}" for name, value in chosen.items())
        return f"regraft.fit({data!r}, {out!r}{also}, reader=...)  # {question['reader']}"
    words = ["regraft", "fit", data, "--out", out]
    for name, value in chosen.items():
        unit = "s" if name in ("budget", "clip") else ""
        words += [f"--{name.replace('_', '-')}", f"{value}{unit}"]
    return shlex.join(words)
