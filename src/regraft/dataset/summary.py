"""`describe`: what is in a data set, and what is wrong with it, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from regraft.dataset.rows import NEW_CLASS, SPLITS, Dataset, Problem, Sample, labels_of
from regraft.wording import class_in_words, some_of

_EXAMPLES = 10
_IMBALANCED = 3.0
"""From this ratio of the largest to the smallest class on, each counts the same, however rare."""


def describe(dataset: Dataset) -> dict[str, Any]:
    """What `regraft inspect --json` prints.

    Returns:
        JSON values only:

        {"path", "task", "multilabel", "fingerprint", "found", "samples",
         "classes": [{"name", "train", "valid", "test", "total"}],
         "splits": {"train", "valid", "test"},
         "sizes": {"height"|"width"|"shorter_side": {"min", "median", "max"}} in pixels;
            of texts {"characters": …}, of videos "seconds" besides,
         "formats": {"JPEG": count}, "groups": how many groups hold two samples or more,
         "duplicates": {"exact", "near"} in sets of copies, "leaks": count,
         "divided_groups": how many given groups stand in several given splits,
         "imbalance": {"ratio", "text"}: largest to smallest class of train,
         "problems": [{"kind", "count", "done": [str], "examples": [{"where", "what"}]}]}

        Where boxes are learnt, classes count pictures, and "boxes" holds
        {"found", "used", "crowds": how many of the used ones are neither learnt nor counted,
         "mended", "refused", "left_out",
         "negatives": pictures without boxes, "tile_px": 0 where nothing is cut,
         "categories": {name: boxes}, "sides": {"min", "median", "max"}, √area in pixels}.
        Where large pictures are cut, tiles are counted in their place, and all from "negatives" on
        but "tile_px" is of what lies on the tiles: an object that two show is there twice.
    """
    kinds = Counter(problem.kind for problem in dataset.problems)
    groups = Counter(sample.group for sample in dataset if sample.group)
    boxes = {"boxes": _boxes(dataset)} if dataset.box_counts else {}
    return boxes | {
        "path": str(dataset.path),
        "task": dataset.task,
        "multilabel": dataset.multilabel,
        "fingerprint": dataset.fingerprint(),
        "found": dataset.found,
        "samples": len(dataset),
        "classes": _classes(dataset),
        "splits": {name: len(dataset.split(name)) for name in SPLITS},
        "sizes": _sizes(dataset.samples),
        "formats": dict(sorted(Counter(sample.format for sample in dataset).items())),
        "groups": sum(count > 1 for count in groups.values()),
        "duplicates": {"exact": kinds["duplicate"], "near": kinds["near-duplicate"]},
        "leaks": kinds["leak"],
        "divided_groups": kinds["group-across-splits"],
        "imbalance": _imbalance(dataset),
        "problems": [_kind(kind, dataset.problems) for kind in sorted(kinds)],
    }


def training_ratio(dataset: Dataset) -> float:
    """How many times as many training samples the largest class has as the smallest.

    A class that `--more` alone has does not count: nothing is measured on it, and it may be a slip.
    """
    sizes = _training_sizes(dataset).values()
    return max(sizes, default=0) / max(1, min(sizes, default=0))


def is_imbalanced(dataset: Dataset) -> bool:
    """Whether training classes differ so much in size that each is to count the same."""
    return training_ratio(dataset) >= _IMBALANCED


def _training_sizes(dataset: Dataset) -> dict[str, int]:
    """How many training samples each class has; of all samples where none is to train on."""
    samples = dataset.split("train") or dataset.samples
    counts = Counter(c for s in samples for c in labels_of(s.target))
    new = {problem.where for problem in dataset.problems if problem.kind == NEW_CLASS}
    return {name: counts[c] for c, name in enumerate(dataset.classes) if name not in new}


def _classes(dataset: Dataset) -> list[dict[str, Any]]:
    counts = Counter((c, s.split) for s in dataset for c in labels_of(s.target))
    rows = [
        {
            "name": name,
            **{split: counts[number, split] for split in SPLITS},
            "total": sum(counts[number, split] for split in SPLITS),
        }
        for number, name in enumerate(dataset.classes)
    ]
    try:
        return sorted(rows, key=lambda row: float(row["name"]))  # steps of a scale in their order
    except ValueError:
        return rows


def _sizes(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    spans_s = [sample.span_s for sample in samples if sample.span_s is not None]
    lengths = [len(sample.source) for sample in samples if isinstance(sample.source, str)]
    measures: dict[str, Sequence[float]] = (
        {"characters": lengths}
        if lengths
        else {
            "height": [sample.size[0] for sample in samples],
            "width": [sample.size[1] for sample in samples],
            "shorter_side": [min(sample.size) for sample in samples],
        }
    )
    if spans_s:
        measures["seconds"] = [round(stop_s - start_s, 3) for start_s, stop_s in spans_s]
    return {
        name: {"min": min(values), "median": median(values), "max": max(values)}
        for name, values in measures.items()
    }


def box_counts(dataset: Dataset) -> dict[str, int]:
    """What became of the boxes: found is used, refused and left out together."""
    counts = dataset.box_counts
    assert counts is not None, "boxes are learnt"
    return {
        "found": counts.found,
        "used": counts.used,
        "crowds": counts.crowds,
        "mended": counts.mended,
        "refused": counts.refused,
        "left_out": counts.left_out,
    }


def _boxes(dataset: Dataset) -> dict[str, Any]:
    boxes = [box for sample in dataset for box in sample.boxes]
    counts = Counter(box.category for box in boxes)
    sides = sorted(((b.right - b.left) * (b.bottom - b.top)) ** 0.5 for b in boxes) or [0.0]
    return box_counts(dataset) | {
        "negatives": sum(not sample.boxes for sample in dataset),
        "tile_px": dataset.tile_px,
        "categories": {name: counts[number] for number, name in enumerate(dataset.classes)},
        "sides": {
            "min": round(sides[0], 1),
            "median": round(median(sides), 1),
            "max": round(sides[-1], 1),
        },
    }


def _imbalance(dataset: Dataset) -> dict[str, Any]:
    counted = Counter(_training_sizes(dataset)).most_common()
    sizes = [(class_in_words(name), size) for name, size in counted]
    filled = [(name, size) for name, size in sizes if size]
    if not filled:
        return {"ratio": 0.0, "text": "No training sample has a class."}
    (largest, most), (smallest, least) = filled[0], filled[-1]
    lacking = [name for name, size in sizes if not size]
    text = f"No training sample is of {some_of(lacking, _EXAMPLES)}." if lacking else ""
    if len(sizes) == 1:
        text = f"There is one class, {largest}."
    elif len(filled) == 1:
        text = f"No training sample is of another class than {largest}."
    elif most >= _IMBALANCED * least:
        many = f"{round(most / least, 2):g} times as many"
        text = f"{text} {largest} has {many} training samples as {smallest}.".lstrip()
    elif not lacking:
        text = "Classes are near enough to equal."
    return {"ratio": round(training_ratio(dataset), 2), "text": text}


def _kind(kind: str, problems: Sequence[Problem]) -> dict[str, Any]:
    same = [problem for problem in problems if problem.kind == kind]
    return {
        "kind": kind,
        "count": len(same),
        "done": sorted({problem.done for problem in same}),
        "examples": [{"where": p.where, "what": p.what} for p in same[:_EXAMPLES]],
    }
