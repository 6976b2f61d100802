"""What the report says of a detector: precision against recall, mistakes by kind, pictures of them.

`facts_of` makes the facts, of which `section` stands in report.json under "detection"; `pictures`
draws what they name, now or later, from the data; `boxes.html.j2` is the part of the page.

Shapes: n samples in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from regraft.dataset import Dataset, Sample, images
from regraft.dataset.summary import box_counts
from regraft.errors import UnreadableSample
from regraft.reporting import drawing, figures
from regraft.reporting.drawing import Mark, drawn, jpeg
from regraft.reporting.figures import Axis
from regraft.store import Outcome
from regraft.tasks import box_metrics
from regraft.tasks.box_errors import KINDS, Errors, errors_of, gains
from regraft.tasks.boxes import BoxAnswers, BoxTargets
from regraft.tasks.coco_table import coco_table
from regraft.tasks.detection import Detection
from regraft.transfer.ground import Ground
from regraft.transfer.step import Step

if TYPE_CHECKING:
    from PIL import Image

Facts = Mapping[str, Any]

SHOWN = 12
"""Crops in each gallery."""
SIDES = 6
"""Pictures whose truth and prediction stand side by side."""
_LINES = 6
"""Curves in one plot."""
_POINTS = 120
_BOXES = 300
_SIDE_PX = 640
_CROP_PX = 160
"""As it is shown; it has twice as many, for sharp screens."""
_MEANING = {
    "missed": "an object that nothing was found on",
    "background": "a box where there is nothing",
    "wrong place": "the right category, but it overlaps the object too little (10 to 50 %)",
    "wrong category": "a box well on an object of another category",
    "duplicate": "a second box on an object that is found already",
    "place and category": "a box that overlaps an object of another category too little",
}


# Facts --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A detector's answers on one split.

    Attributes:
        dataset: what was read.
        samples: n, of one split.
        split: its name.
        answers: n.
        targets: n.
        threshold: the confidence from which boxes are shown.
        weights_rn: how often each sample is drawn, for intervals.
    """

    dataset: Dataset
    samples: Sequence[Sample]
    split: str
    answers: BoxAnswers
    targets: BoxTargets
    threshold: float
    weights_rn: np.ndarray


def facts_of(
    ground: Ground,
    task: Detection,
    best: Step,
    threshold: float,
    tested: Outcome | None,
) -> dict[str, Any]:
    """The section on objects: of the test split where there is one."""
    split = "test" if tested else "valid"
    samples = ground.dataset.split(split)
    answers = BoxAnswers.from_arrays(tested.tensors if tested else best.answers)
    held = ground.held_out(samples)
    kept = [task.detector.categories[row] if row >= 0 else None for row in task.kept_rows]
    judged = Judged(
        ground.dataset, samples, split, answers, held.targets, threshold, held.weights_rn
    )
    return {
        "calibration": None,
        "confusion": None,
        "imbalance": None,
        "most_wrong": [],
        "least_certain": [],
        "detection": section(judged) | {"source_rows": dict(zip(task.classes, kept, strict=True))},
    }


def section(judged: Judged) -> dict[str, Any]:
    """The facts, JSON values only."""
    classes = judged.dataset.classes
    errors = errors_of(judged.answers, judged.targets, len(classes), judged.threshold)
    gained = gains(judged.answers, judged.targets, len(classes))
    counts = errors.counts()
    return {
        "split": judged.split,
        "shown": box_metrics.shown(errors.matches, judged.threshold),
        "coco": coco_table(judged.answers, judged.targets, classes, judged.weights_rn),
        "curves": _curves(errors, classes, judged.threshold),
        "errors": [
            {"kind": kind, "meaning": _MEANING[kind], "count": counts[kind], "gain": gained[kind]}
            for kind in KINDS
        ],
        "boxes": box_counts(judged.dataset),
        "pictures": _sides(judged, errors),
        "misses": _misses(judged, errors),
        "false_alarms": _false_alarms(judged, errors),
    }


def _curves(errors: Errors, classes: Sequence[str], threshold: float) -> list[dict[str, Any]]:
    """Recall, precision and confidence along each category's curve, thinned out."""
    rows: list[dict[str, Any]] = []
    for c, name in enumerate(classes):
        truths = int(errors.matches.truths_nc[:, c].sum())
        points = box_metrics.precision_recall(box_metrics.curve_of(errors.matches, c))
        if not truths or not points:
            continue
        some = np.unique(np.linspace(0, len(points) - 1, _POINTS).astype(int))
        at = max((p for p in points if p[2] >= threshold), default=None)
        rows.append(
            {
                "name": name,
                "truths": truths,
                "points": [[round(v, 5) for v in points[i]] for i in some],
                "at": None if at is None else [round(v, 5) for v in at],
            }
        )
    return sorted(rows, key=lambda row: -row["truths"])


def _entry(judged: Judged, n: int) -> dict[str, Any]:
    """Where the picture of a sample lies, relative to the data."""
    sample = judged.samples[n]
    return {
        "sample": sample.id,
        "file": drawing.file_of(sample, judged.dataset.path),
        "window": list(sample.window) if sample.window else None,
    }


def _sides(judged: Judged, errors: Errors) -> list[dict[str, Any]]:
    """Pictures from the one with the most mistakes to the one with the fewest."""
    matches, targets = errors.matches, judged.targets
    picture_k = np.repeat(np.arange(len(targets)), targets.count_n)
    wrong_n = np.bincount(matches.picture_d[errors.kind_d >= 0], minlength=len(targets))
    wrong_n = wrong_n + np.bincount(picture_k[errors.missed_k], minlength=len(targets))
    shown_d = matches.score_d >= judged.threshold
    busy_n = np.bincount(matches.picture_d[shown_d], minlength=len(targets)) + targets.count_n
    order = [n for n in np.argsort(-wrong_n, kind="stable") if busy_n[n]]
    picked = np.unique(np.linspace(0, len(order) - 1, SIDES).astype(int)) if order else []
    found_k = np.zeros(len(targets.labels_k), dtype=bool)
    found_k[matches.truth_d[matches.hit_d & shown_d]] = True
    classes = judged.dataset.classes
    sides: list[dict[str, Any]] = []
    for n in (int(order[i]) for i in picked):
        (truths,), (rows,) = (
            np.nonzero(picture_k == n),
            np.nonzero(shown_d & (matches.picture_d == n)),
        )
        sides.append(
            {
                **_entry(judged, n),
                "mistakes": int(wrong_n[n]),
                "truths": [
                    {
                        "box": _box(targets.boxes_k4[k]),
                        "label": classes[targets.labels_k[k]],
                        "found": bool(found_k[k] or targets.crowd_k[k]),
                    }
                    for k in truths[:_BOXES]
                ],
                "said": [
                    {
                        "box": _box(judged.answers.boxes_k4[matches.rank_d[d]]),
                        "label": classes[matches.label_d[d]],
                        "score": round(float(matches.score_d[d]), 4),
                        "right": bool(errors.kind_d[d] < 0),
                    }
                    for d in rows[:_BOXES]
                ],
            }
        )
    return sides


def _box(edges: np.ndarray) -> list[float]:
    return [round(float(edge), 2) for edge in edges]


def _misses(judged: Judged, errors: Errors) -> list[dict[str, Any]]:
    """The largest objects that nothing was found on."""
    targets = judged.targets
    picture_k = np.repeat(np.arange(len(targets)), targets.count_n)
    side_k2 = targets.boxes_k4[:, 2:] - targets.boxes_k4[:, :2]
    area_k = side_k2.prod(axis=1)
    (lost,) = np.nonzero(errors.missed_k)
    return [
        {
            **_entry(judged, int(picture_k[k])),
            "box": _box(targets.boxes_k4[k]),
            "label": judged.dataset.classes[targets.labels_k[k]],
        }
        for k in lost[np.argsort(-area_k[lost], kind="stable")][:SHOWN]
    ]


def _false_alarms(judged: Judged, errors: Errors) -> list[dict[str, Any]]:
    """The surest boxes that are wrong."""
    matches = errors.matches
    (rows,) = np.nonzero(errors.kind_d >= 0)
    return [
        {
            **_entry(judged, int(matches.picture_d[d])),
            "box": _box(judged.answers.boxes_k4[matches.rank_d[d]]),
            "label": judged.dataset.classes[matches.label_d[d]],
            "score": round(float(matches.score_d[d]), 4),
            "kind": KINDS[errors.kind_d[d]],
        }
        for d in rows[np.argsort(-matches.score_d[rows], kind="stable")][:SHOWN]
    ]


# Pictures -----------------------------------------------------------------------------------------


def pictures(root: Path, facts: Facts) -> dict[str, bytes]:
    """JPEGs by the names that the page calls them; those whose file is gone are left out.

    Args:
        root: the data's folder.
        facts: what `section` gave.
    """
    found: dict[str, bytes] = {}
    rows = sorted(_to_draw(facts), key=_file)
    for file, some in groupby(rows, _file):  # tiles of one picture are cut from one decoding
        try:
            whole = images.decode(root / file)
        except (UnreadableSample, OSError):
            continue
        for name, entry, marks in some:
            picture = whole.crop(tuple(entry["window"])) if entry["window"] else whole
            if name.startswith("side"):
                found[f"{name}-truth"] = jpeg(drawn(picture, marks[0], _SIDE_PX))
                found[f"{name}-said"] = jpeg(drawn(picture, marks[1], _SIDE_PX))
            else:
                found[name] = jpeg(around(picture, marks[0]))
    return found


def _file(row: tuple[str, Facts, list[list[Mark]]]) -> str:
    return row[1]["file"]


def _to_draw(facts: Facts) -> Iterator[tuple[str, Facts, list[list[Mark]]]]:
    several = len(facts["curves"]) > 1  # where there is one category, its name would say nothing
    for number, entry in enumerate(facts["pictures"]):
        truths = [
            Mark(tuple(t["box"]), t["label"] if several else "", not t["found"])
            for t in entry["truths"]
        ]
        said = [
            Mark(tuple(s["box"]), s["label"] if several else "", not s["right"])
            for s in entry["said"]
        ]
        yield f"side-{number}", entry, [truths, said]
    for gallery in ("misses", "false_alarms"):
        for number, entry in enumerate(facts[gallery]):
            yield f"{gallery}-{number}", entry, [[Mark(tuple(entry["box"]), "", True)]]


def around(picture: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """A square around boxes, with as much again around them as they are wide or high.

    Args:
        picture: mode RGB.
        marks: at least one; their texts should be short.
    """
    edges_4n = list(zip(*(mark.edges for mark in marks), strict=True))
    (left, top), (right, bottom) = map(min, edges_4n[:2]), map(max, edges_4n[2:])
    side = min(max(right - left, bottom - top, 16.0) * 2, *picture.size)
    x = min(max(0.0, (left + right - side) / 2), picture.width - side)
    y = min(max(0.0, (top + bottom - side) / 2), picture.height - side)
    whole = (round(x), round(y), round(x + side), round(y + side))
    part = picture.crop(whole).resize((2 * _CROP_PX, 2 * _CROP_PX))
    scale = 2 * _CROP_PX / max(1, whole[2] - whole[0])
    moved: list[Mark] = []
    for mark in marks:
        e = [(edge - whole[i % 2]) * scale for i, edge in enumerate(mark.edges)]
        moved.append(replace(mark, edges=(e[0], e[1], e[2], e[3])))
    return drawn(part, moved, letters_px=_CROP_PX // 7)


def curves(facts: Facts) -> Markup | None:
    """Precision against recall of the categories with the most objects."""
    rows = facts["curves"][:_LINES]
    if not rows:
        return None
    lines = [
        figures.Line(
            row["name"] if len(facts["curves"]) > 1 else "",
            [(0.0, row["points"][0][1]), *((p[0], p[1]) for p in row["points"])],
            (row["at"][0], row["at"][1]) if row["at"] else None,
        )
        for row in rows
    ]
    x = Axis("recall: share of objects found", figures.whole_percent)
    y = Axis("precision", figures.whole_percent)
    return figures.lines("precision-recall", "precision against recall", lines, x, y)
