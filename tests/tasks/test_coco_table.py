"""COCO's table against faster-coco-eval, and its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from test_box_metrics import CLASSES, drawn, made

from regraft.tasks import box_metrics, measure
from regraft.tasks import coco_table as module
from regraft.tasks.boxes import BoxAnswers, BoxTargets
from regraft.tasks.coco_table import coco_table


def by_faster_coco_eval(
    answers: BoxAnswers, targets: BoxTargets, classes: Sequence[str]
) -> dict[str, Any]:
    """What `coco_table` gives, but for the intervals."""
    given, said = _as_coco(answers, targets, classes)
    truth = COCO(given, print_function=str)
    found = truth.loadRes(said) if said else COCO({**given, "annotations": []})
    judge = COCOeval_faster(truth, found, "bbox", print_function=str)
    judge.evaluate()
    judge.accumulate()
    # Shapes: IoU × recall × category × size × limit, and IoU × category × size × limit.
    precision, recall = judge.eval["precision"], judge.eval["recall"]
    sizes = {
        name: {"ap": _mean_of(precision[..., at, -1]), "ar": _mean_of(recall[..., at, -1])}
        for at, name in enumerate(judge.params.areaRngLbl)
        if name != "all"
    }
    counts_c = np.bincount(targets.labels_k[~targets.crowd_k], minlength=len(classes))
    categories = [
        {
            "name": name,
            "truths": int(counts_c[c]),
            "ap": _mean_of(precision[:, :, c, 0, -1]),
            "ap50": _mean_of(precision[0, :, c, 0, -1]),
            "ar": _mean_of(recall[:, c, 0, -1]),
        }
        for c, name in enumerate(classes)
    ]
    return {
        "ap": _mean_of(precision[..., 0, -1]),
        "ap50": _mean_of(precision[0, ..., 0, -1]),
        "ap75": _mean_of(precision[5, ..., 0, -1]),
        "ar": _mean_of(recall[..., 0, -1]),
        "sizes": sizes,
        "categories": categories,
    }


def _mean_of(values: np.ndarray) -> float | None:
    there = values[values > -1]
    return float(there.mean()) if there.size else None


def _as_coco(
    answers: BoxAnswers, targets: BoxTargets, classes: Sequence[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    annotations: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    pictures = [{"id": n + 1} for n in range(len(targets))]
    for n, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        (boxes_d4, labels_d, scores_d), (truth_k4, label_k, crowd_k) = answer, target
        for box, label, crowd in zip(truth_k4.astype(float), label_k, crowd_k, strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": n + 1,
                    "category_id": int(label) + 1,
                    "bbox": [float(side) for side in sides],
                    "area": float(targets.area_k[len(annotations)]),
                    "iscrowd": int(crowd),
                }
            )
        for box, label, score in zip(boxes_d4.astype(float), labels_d, scores_d, strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            said.append(
                {
                    "image_id": n + 1,
                    "category_id": int(label) + 1,
                    "bbox": [float(side) for side in sides],
                    "score": float(score),
                }
            )
    categories = [{"id": c + 1, "name": name} for c, name in enumerate(classes)]
    return {"images": pictures, "annotations": annotations, "categories": categories}, said


def plain(table: dict[str, Any]) -> dict[str, Any]:
    """The numbers alone, by their path."""
    found: dict[str, Any] = {}
    rows = [("", table), *table["sizes"].items(), *((r["name"], r) for r in table["categories"])]
    for where, row in rows:
        for name in ("ap", "ap50", "ap75", "ar", "truths"):
            if name in row:
                found[f"{where}.{name}"] = row[name]
    return found


def once_each(targets: BoxTargets) -> np.ndarray:
    return np.ones((1, len(targets)))


@pytest.mark.parametrize("seed", range(6))
def test_every_number_is_that_of_faster_coco_eval(seed: int) -> None:
    answers, targets = made(seed)
    if seed % 2:  # objects smaller than their boxes
        share_k = np.random.default_rng(seed).uniform(0.3, 1.0, len(targets.labels_k))
        targets = replace(targets, area_k=targets.area_k * share_k)
    theirs = plain(by_faster_coco_eval(answers, targets, CLASSES))
    own = plain(coco_table(answers, targets, CLASSES, once_each(targets)))
    assert own == pytest.approx(theirs, abs=1e-6)
    assert 0 < own[".ap"] < own[".ap50"] < 1


@pytest.mark.parametrize("seed", range(2))
def test_weights_are_pictures_that_were_drawn_several_times(seed: int) -> None:
    answers, targets = made(seed, steps=1_000_000)
    times_n = np.random.default_rng(seed).multinomial(len(targets), [1 / len(targets)] * 40)
    theirs = plain(by_faster_coco_eval(*drawn(answers, targets, times_n), CLASSES))
    matched = module._matched(answers, targets)
    ap_catr, ar_catr = module._areas(matched, times_n[None].astype(float), 3)
    for a, size in enumerate(module.SIZES):
        where = size if a else ""
        assert np.nanmean(ap_catr[:, a]) == pytest.approx(theirs[f"{where}.ap"], abs=1e-6)
        assert np.nanmean(ar_catr[:, a]) == pytest.approx(theirs[f"{where}.ar"], abs=1e-6)


def test_more_than_a_hundred_boxes_and_a_category_without_truth() -> None:
    rng = np.random.default_rng(0)
    corner_d2 = rng.uniform(0, 300, (400, 2))
    box_d4 = np.hstack([corner_d2, corner_d2 + 20])
    answers = BoxAnswers.from_pictures([(box_d4, np.repeat([0, 1], 200), rng.random(400))])
    targets = BoxTargets(
        np.array([60]), box_d4[:60].astype(np.float32), np.zeros(60, int), np.zeros(60, bool),
        np.array([[400, 400]]), ("",), np.full(60, 400.0),
    )  # fmt: skip
    table = coco_table(answers, targets, CLASSES, once_each(targets))
    assert plain(table) == pytest.approx(plain(by_faster_coco_eval(answers, targets, CLASSES)))
    assert table["categories"][1]["ap"] is None and table["sizes"]["large"]["ar"] is None
    assert table["categories"][1]["intervals"] == {"ap": None, "ap50": None, "ar": None}
    assert table["intervals"]["ap"] == [0, 1]  # of a single picture nothing is known


def test_no_answers_and_no_truths() -> None:
    nothing = BoxAnswers.from_pictures([(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))] * 40)
    _, targets = made(0)
    table = coco_table(nothing, targets, CLASSES, once_each(targets))
    assert (table["ap50"], table["ar"]) == (0, 0)


def test_each_number_has_an_interval_around_it() -> None:
    answers, targets = made(3, pictures=60)
    weights_rn = measure.bootstrap_weights([""] * 60, 0)
    table = coco_table(answers, targets, CLASSES, weights_rn)
    for row in (table, *table["sizes"].values(), *table["categories"]):
        for name, (low, high) in row["intervals"].items():
            assert low <= row[name] <= high and low < high
    score = box_metrics.average_precision(answers, targets, 3)
    ap50 = measure.estimate("AP50", score, weights_rn)
    assert table["intervals"]["ap50"] == pytest.approx([ap50.low, ap50.high], abs=0.02)


def found_all(size_n: np.ndarray, label_n: np.ndarray) -> tuple[BoxAnswers, BoxTargets]:
    """Pictures of one object each, of so many pixels each way, that is found."""
    count = len(size_n)
    box_n4 = np.stack([0 * size_n, 0 * size_n, size_n, size_n], axis=1).astype(np.float32)
    answers = BoxAnswers.from_pictures(
        [(box_n4[n : n + 1], label_n[n : n + 1], np.ones(1)) for n in range(count)]
    )
    targets = BoxTargets(
        np.ones(count, int), box_n4, label_n, np.zeros(count, bool),
        np.full((count, 2), 400), ("",) * count, size_n.astype(float) ** 2,
    )  # fmt: skip
    return answers, targets


def test_what_is_rare_is_known_from_the_pictures_that_have_it_alone() -> None:
    label_n, size_n = np.zeros(200, int), np.full(200, 50)
    label_n[:2] = 1
    size_n[3:7], size_n[7] = 20, 200
    answers, targets = found_all(size_n, label_n)
    table = coco_table(
        answers, targets, CLASSES[:2], measure.bootstrap_weights([""] * len(targets), 0)
    )
    rows = [*table["categories"], *table["sizes"].values(), table]
    for row, pictures in zip(rows, (198, 2, 4, 195, 1, 200), strict=True):
        low = 1 - measure.unseen(pictures) if pictures > 1 else 0
        assert row["intervals"]["ap"] == row["intervals"]["ar"] == pytest.approx([low, 1])
