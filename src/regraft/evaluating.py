"""The inside of `evaluate`: labelled samples in a model's terms, what it says of them, how right.

Shapes: n samples, d values of a vector, c classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from regraft.dataset import Dataset, Problem, Sample, View
from regraft.dataset.boxes.tiles import tiled, times_larger
from regraft.dataset.classes import has_objects
from regraft.dataset.rows import labels_of, renumbered
from regraft.errors import DataError
from regraft.events import Tell
from regraft.labelling.ceiling import beside_people
from regraft.labelling.lessons import Spoken
from regraft.labelling.votes import Votes
from regraft.predicting import put_together
from regraft.reporting import content
from regraft.tasks import Detection, box_metrics, measure
from regraft.tasks.boxes import BoxAnswers
from regraft.tasks.classification import Classification
from regraft.tasks.coco_table import coco_table
from regraft.transfer.cut import Cut
from regraft.transfer.engine import TRIAL_SAMPLES, Preparation, prepare
from regraft.transfer.features import Features, features
from regraft.transfer.held_out import HeldOut
from regraft.transfer.model import Model, split_labels
from regraft.transfer.packing import Storage
from regraft.wording import some_of

_LISTED = 10


def evaluated(model: Model, said: Spoken, tell: Tell) -> dict[str, Any]:
    """The answer of `evaluate`, but for what the data are called.

    Args:
        model: of a run.
        said: labelled data, and what people said of them.
        tell: listens to events.

    Raises:
        DataError: the data has classes that the model does not know, or several a sample where the
            model gives one.
    """
    if isinstance(model.task, Detection):
        return _of_boxes(model, model.task, said.dataset, tell)
    samples = _relabelled(model, said.dataset)
    with prepare(model.backbone, tell=tell) as preparation:
        table = _values(model, preparation, samples, "float32", tell)
        x_nd = table.rows(np.arange(len(samples)))[0]
    is_text = model.backbone.modality == "text"
    texts = [str(sample.source) for sample in samples] if is_text else []
    task, logits_nc = model.classifier, model.logits(x_nd, texts)
    held = HeldOut.of(task, samples, 0)
    target_nc = held.targets
    sure_n, right_n = task.confidences(logits_nc, target_nc, model.temperature)
    confusion = content.confusion(task, logits_nc, target_nc)
    return {
        "count": len(samples),
        "metric": held.measured({"logits": logits_nc}).to_json(),
        "accuracy": None if task.multilabel else float(right_n.mean()),
        "calibration_error": measure.calibration_error(sure_n, right_n),
        "classes": list(task.classes),
        "absent": [task.classes[c] for c in np.flatnonzero(target_nc.sum(axis=0) == 0)],
        "confusion": confusion["matrix"],
        "per_class": _per_class(task, confusion),
        "people": _beside_people(model, said.votes, samples, logits_nc),
        "reviewed": said.reviewed,
        "seen": model.has_seen(samples),
        "problems": [asdict(problem) for problem in said.dataset.problems],
    }


def _per_class(task: Classification, confusion: dict[str, Any]) -> list[dict[str, Any]]:
    """Recall and precision of each class; None where there is nothing to count."""
    tallies = content.tallies(confusion, len(task.classes))
    return [
        {
            "name": name,
            "count": given,
            "recall": right / given if given else None,
            "precision": right / said if said else None,
        }
        for name, (right, said, given) in zip(task.classes, tallies, strict=True)
    ]


def _beside_people(
    model: Model, votes: Votes | None, samples: Sequence[Sample], logits_nc: np.ndarray
) -> dict[str, Any] | None:
    """On samples that the model was not fitted or chosen by; None where there are none to tell."""
    if votes is None or model.seen_s is None:
        return None
    rows = np.flatnonzero(~model.seen(samples))
    chance_nc = model.classifier.probabilities(logits_nc[rows])
    names = [samples[int(n)].id for n in rows]
    return beside_people(votes, names, model.classifier.classes, chance_nc)


# Boxes --------------------------------------------------------------------------------------------


def _of_boxes(model: Model, task: Detection, pictures: Dataset, tell: Tell) -> dict[str, Any]:
    """On tiles, as the model was fitted, and on whole pictures, as `predict` shows them."""
    tile_px = model.facts.get("tile_px", 0)
    whole = _relabelled(model, pictures)
    if not has_objects(whole):
        boxes = any(sample.boxes for sample in whole)
        why = "all boxes are crowds, which are not counted" if boxes else "no picture has a box"
        raise DataError(
            f"There is no object to measure with: {why}.",
            where=pictures.path,
            mend="give pictures with objects that are drawn one by one",
        )
    rows = tiled(pictures.with_samples(whole), tile_px)
    tiles = rows.samples
    with prepare(model.backbone, tell=tell) as preparation:
        found = _found_in(model, preparation, tiles, tell)
    threshold = model.calibrated["threshold"]
    stitched, shown = (
        put_together(whole, tile_px, tiles, found, least) for least in (0.0, threshold)
    )
    return measured(task, tiles, found, threshold, (whole, stitched, shown)) | {
        "seen": model.has_seen(tiles),
        "reviewed": 0,  # opinions are about labels, never about boxes
        "problems": [asdict(problem) for problem in [*rows.problems, *_larger(model, whole)]],
    }


def _larger(model: Model, pictures: Sequence[Sample]) -> Iterator[Problem]:
    """Pictures whose objects are seen much smaller than those that were learnt."""
    for sample in pictures:
        height_px, width_px = sample.size
        if times := times_larger(width_px, height_px, model.facts):
            what = f"It is {times:g} times as large as those learnt from: its objects look smaller."
            yield Problem("much-larger", sample.id, what)


def measured(
    task: Detection,
    samples: Sequence[Sample],
    answers: BoxAnswers,
    threshold: float,
    whole: tuple[Sequence[Sample], BoxAnswers, BoxAnswers],
) -> dict[str, Any]:
    """How well objects were found.

    Args:
        task: the model's.
        samples: pictures, large ones as tiles.
        answers: on these.
        threshold: the confidence from which boxes are shown.
        whole: the pictures before they were cut, what was found on them, and what is shown of it.

    Returns:
        "metric" with its interval and "coco", both of the samples; "count" and "classes"; and
        "whole", what `predict` shows on whole pictures: "count", "ap50" and `box_metrics.shown`.
    """
    held, classes = HeldOut.of(task, samples, 0), len(task.classes)
    pictures, found, shown = whole
    # A large picture has more objects than COCO counts on one.
    given, most = task.targets(pictures), max(box_metrics.MOST, len(found.scores_k))
    ap50 = box_metrics.precision_of(box_metrics.match(found, given, classes, most=most))
    return {
        "count": len(samples),
        "metric": held.measured(answers.arrays()).to_json(),
        "classes": list(task.classes),
        "coco": coco_table(answers, held.targets, task.classes, held.weights_rn),
        "whole": {
            "count": len(pictures),
            "ap50": float(ap50(np.ones((1, len(pictures))))[0]),
            **box_metrics.shown(box_metrics.match(shown, given, classes, most=most), threshold),
        },
    }


# Samples ------------------------------------------------------------------------------------------


def _relabelled(model: Model, rows: Dataset) -> list[Sample]:
    """The labelled samples with targets in the model's order of classes, as many as it gives.

    Raises:
        DataError: the model does not know a class, or gives each sample one and the data do not.
    """
    place = split_labels(model, rows.classes)
    unknown = [name for name, at in zip(rows.classes, place, strict=True) if at < 0]
    if unknown:
        names = some_of([repr(name) for name in unknown], _LISTED)
        raise DataError(
            f"the model does not know the {'class' if len(unknown) == 1 else 'classes'} {names}",
            where=rows.path,
            mend=f"rename in the data what is another name for a class, or leave it out; "
            f"the model knows: {', '.join(model.task.classes)}",
        )
    several = not isinstance(model.task, Classification) or model.task.multilabel
    labelled = [sample for sample in rows if sample.target is not None]
    if not several:
        _refuse_several(labelled)
    return [renumbered(sample, dict(enumerate(place)), several) for sample in labelled]


def _refuse_several(samples: Sequence[Sample]) -> None:
    """Refuse samples that have not one label each."""
    for sample in samples:
        if (count := len(labels_of(sample.target))) != 1:
            raise DataError(
                f"it has {count or 'no'} labels, and the model gives each sample exactly one",
                where=sample.id,
                mend="give data with one label each, or fit a model on data with several",
            )


def _values(
    model: Model,
    preparation: Preparation,
    samples: Sequence[Sample],
    storage: Storage,
    tell: Tell,
) -> Features:
    """What the head takes, through the cache."""
    cut = Cut(model.backbone, len(model.backbone.stages))
    engine = preparation.engine(cut.kept.frozen, samples[:TRIAL_SAMPLES])
    return features(samples, cut, engine, [View()], storage=storage, tell=tell)


def _found_in(
    model: Model, preparation: Preparation, samples: Sequence[Sample], tell: Tell
) -> BoxAnswers:
    """Objects in samples, through the cache."""
    table = _values(model, preparation, samples, "uint8", tell)
    parts: list[BoxAnswers] = []
    for start in range(0, len(samples), TRIAL_SAMPLES):
        some = samples[start : start + TRIAL_SAMPLES]
        given = table.rows(np.arange(start, start + len(some)))
        parts.append(model.find(given, [sample.size for sample in some]))
    arrays = [part.arrays() for part in parts]
    return BoxAnswers.from_arrays(
        {name: np.concatenate([one[name] for one in arrays]) for name in arrays[0]}
    )
