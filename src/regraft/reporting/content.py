"""What report.json says of a run, fact by fact; `fitting.py` puts them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regraft import dataset as data_sets
from regraft.backbones import DEFAULTS, TextPreprocessing
from regraft.dataset import Dataset, Problem, Sample
from regraft.dataset.summary import IMBALANCED
from regraft.errors import UnreadableSample
from regraft.events import Said
from regraft.reporting import detection, page
from regraft.reporting.drawing import file_of, jpeg
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.transfer import ladder
from regraft.transfer.twin import PASSES_TO_COMPARE

CUT_SAMPLES = 500
"""Texts that are looked at to say how many are longer than the network reads."""
STRIP = 5
"""Frames in a film strip."""
_PACKAGES = (
    "av", "numpy", "openvino", "pillow", "regraft", "scikit-learn", "scipy", "timm", "tokenizers",
    "torch", "torchvision", "transformers",
)  # fmt: skip
"""Whose versions numbers may depend on."""
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
        "problems": [problem_facts(problem) for problem in rows.problems],
    }


def clip_length(rows: Dataset) -> dict[str, Any]:
    """How long the clips are that were learnt from; nothing for pictures and texts."""
    spans = [s.span_s for s in rows.split("train") if s.span_s is not None]
    if not spans:
        return {}
    return {"clip_s": round(float(np.median([stop - start for start, stop in spans])), 3)}


def truncated(ground: ladder.Ground) -> dict[str, Any]:
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
                f"{_percent(share)} of the texts are longer than {_read(preprocessing)}; "
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


def problem_facts(problem: Problem) -> dict[str, str]:
    """A problem as JSON."""
    return {
        "kind": problem.kind,
        "where": problem.where,
        "what": problem.what,
        "done": problem.done,
    }


def counts(rows: Dataset, split: data_sets.Split) -> list[int]:
    """Samples of each class in a split."""
    counts = [0] * len(rows.classes)
    for sample in rows.split(split):
        for target in sample.target if isinstance(sample.target, tuple) else (sample.target,):
            if target is not None:
                counts[target] += 1
    return counts


def provenance(ground: ladder.Ground) -> dict[str, Any]:
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


NEXT_TO_NOTHING = 0.01
"""A twin below says nothing about what labels are worth."""


def savings(
    climbed: ladder.Climbed,
    twin: dict[str, Any] | None,
    curve: list[dict[str, Any]],
    things: str = "labels",
) -> dict[str, Any]:
    """What the transfer saved against training from scratch, in labels, seconds, parameters.

    Labels are only counted where the chosen rung is ahead outside the noise. Seconds are those that
    the twin was given, which a longer budget makes more, less those of the climb.
    """
    if twin is None:
        text = "Not measured; add --compare scratch."
        return {"labels": None, "seconds": None, "trained_parameters": None, "text": text}
    best = climbed.best.facts
    reached = [p["labels"] for p in curve if p["value"] >= twin["metric"]["value"]]
    labels = curve[-1]["labels"] - reached[0] if reached else None
    spent = sum(e["seconds"]["total"] for e in climbed.entries if e["seconds"])
    seconds = twin["seconds"]["total"] - spent
    parameters = twin["trainable_parameters"] - best["trainable_parameters"]
    nothing = twin["metric"]["value"] < NEXT_TO_NOTHING
    if twin["p"] >= measure.NOISE or twin["gap"] < 0 or nothing:
        labels = None
    if twin["p"] < measure.NOISE and twin["gap"] < 0:
        parameters = None  # nothing is saved by what is worse
    times = f"The climb took {spent:.0f} s, training from scratch {twin['seconds']['total']:.0f} s."
    if twin["name"] == "tf-idf":
        text = ""  # the verdict says it
    elif twin["passes"] < PASSES_TO_COMPARE:
        labels = None
        text = (
            f"The network from scratch saw each sample only {twin['passes']:.1f} times in its "
            f"time, too few to say how many {things} were saved; a longer --budget gives it more."
        )
    elif nothing:
        text = (
            f"The network from scratch had learnt next to nothing, so no {things} are said to be "
            f"saved. {times}"
        )
    elif twin["p"] >= measure.NOISE:
        text = f"Within noise, so no {things} are said to be saved. {times}"
    elif labels is None:
        text = f"The new head alone does not reach the network from scratch. {times}"
    elif labels == 0:
        text = (
            f"To be where the network from scratch is, the new head needs all "
            f"{curve[-1]['labels']:,} {things}. {times}"
        )
    else:
        text = (
            f"With {reached[0]:,} {things} the new head is where the network from scratch is with "
            f"all {curve[-1]['labels']:,}. {times}"
        )
    return {"labels": labels, "seconds": seconds, "trained_parameters": parameters, "text": text}


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


def imbalance(rows: Dataset, task: Classification) -> dict[str, Any]:
    """How unequal the classes are, and what is done about it."""
    sizes = counts(rows, "train")
    ratio = max(sizes) / max(1, min(sizes))
    if task.balanced:
        text = "Classes are unequal: each counts the same in the loss and in the metric."
    elif task.multilabel and ratio >= IMBALANCED:
        text = "Classes are unequal: each counts the same in the metric, however rare it is."
    else:
        text = "Classes are near enough to equal; samples count alike."
    return {"ratio": ratio, "text": text}


def galleries(
    task: Classification,
    samples: Sequence[Sample],
    logits_nc: np.ndarray,
    target_nc: np.ndarray,
    temperature: float,
    data: Path,
) -> dict[str, list[dict[str, Any]]]:
    """The most wrong answers (sure and wrong) and the least certain of the others, in validation.

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
    return {
        "most_wrong": [entry(int(i), wrongness_n) for i in wrong[:SHOWN]],
        "least_certain": [entry(int(i), chance_n) for i in unsure[:SHOWN]],
    }


def _place(sample: Sample, data: Path) -> dict[str, str]:
    """Where its file lies, as "file"; nothing for texts."""
    return {"file": file_of(sample, data)} if isinstance(sample.source, Path) else {}


def verdict(report: dict[str, Any]) -> str:
    """The outcome in plain words."""
    entries = {entry["name"]: entry for entry in report["rungs"]}
    best = entries[report["best"]]
    metric = report["test"] or best["metric"]
    split = "test" if report["test"] else "valid"
    count = report["data"]["splits"][split]
    thing = report["data"]["thing"] + ("" if count == 1 else "s")
    where = f"on the {'test' if report['test'] else 'validation'} split of {count:,} {thing}"
    what = "The new head alone" if report["best"] == "head" else f"Training {_depth(report)}"
    name = page.metric_name(metric["name"])
    text = (
        f"{what} reaches {_percent(metric['value'])} {name} {where} "
        f"({_percent(metric['low'])} to {_percent(metric['high'])})."
    )
    text += _guessed(report, metric, split)
    few = report.get("few_labels")
    if few and few["how"] == "cross-validated":  # it rests on all labels, the split on a few
        text = f"{few['text']} {text}"
    text = " ".join([text, *_chose(report), *doubts(report["data"]["problems"])])
    if report.get("refitted_on"):
        text += (
            f" It was fitted once more on all {report['refitted_on']} labels for training and "
            "validation, because they are few."
        )
    deeper = report["rungs"][list(entries).index(report["best"]) + 1 :]
    tried = [e for e in deeper if e["verdict"] in ("no gain", "worse")]
    if tried:
        text += f" Training more of the network ({tried[-1]['name']}) did not help."
    elif deeper:
        text += f" Training more of the network was not tried: {deeper[0]['why']}."
    scratch = report["scratch"]
    if scratch and report["task"] == "text-classification":
        text += f" {scratch['text']}"
    elif scratch:
        text += f" {_beside_scratch(scratch, best)}"
    if report.get("untouched"):
        as_it_is = report["untouched"]["metric"]["value"]
        text += f" The detector as it is, untrained, reaches {_percent(as_it_is)} (validation)."
    if report.get("people"):
        text += f" {report['people']['text']}"
    return text


def _guessed(report: dict[str, Any], metric: dict[str, Any], split: str) -> str:
    """A sentence where the score cannot be told from that of whoever looks at nothing."""
    counts = report["data"]["counts"][split]
    if metric["name"] == "accuracy":
        chance, how = max(counts) / max(1, sum(counts)), "always saying the most frequent class"
    elif metric["name"] == "balanced_accuracy":
        chance, how = 1 / max(1, sum(count > 0 for count in counts)), "guessing"
    else:
        return ""
    if metric["low"] > chance:
        return ""
    return f" That cannot be told from {how}, which gives {_percent(chance)}."


def _chose(report: dict[str, Any]) -> Iterator[str]:
    """A sentence where the split that is measured on chose the rung."""
    if not report["test"] and sum(rung["verdict"] != "skipped" for rung in report["rungs"]) > 1:
        yield "There is no test split: this one chose the rung as well, which flatters the score."


def doubts(problems: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """What in the data speaks against the score."""
    yield from (p["what"] for p in problems if p["kind"] in ("many-classes", "one-group"))
    divided = sum(p["kind"] == "group-across-splits" for p in problems)
    if divided:
        many = "1 group stands" if divided == 1 else f"{divided:,} groups stand"
        yield f"{many} in several of the given splits: the score may be earned by memory."


def _beside_scratch(scratch: dict[str, Any], best: dict[str, Any]) -> str:
    """Both on the validation split; the interval and the p-value stand further down the page."""
    if scratch["p"] >= measure.NOISE:
        outcome = "no difference outside the noise"
    elif scratch["gap"] > 0:
        outcome = "pre-training pays"
    else:
        outcome = "for these samples pre-training does not pay"
    passes = scratch.get("passes", PASSES_TO_COMPARE)
    seen = f"{passes:.1f} passes, " if passes < PASSES_TO_COMPARE else ""
    return (
        "On the validation split the same network from random weights reaches "
        f"{_percent(scratch['metric']['value'])} in {scratch['seconds']['total']:.0f} s ({seen}"
        f"{scratch['steps']:,} steps), the chosen rung {_percent(best['metric']['value'])}: "
        f"{outcome}{' in so little time' if seen else ''}."
    )


def _percent(share: float) -> str:
    return page.percent(share).replace("\u00a0", " ")


def _depth(report: dict[str, Any]) -> str:
    if report["best"] == "all":
        return "the whole network"
    count = int(report["best"].removeprefix("last:"))
    return "the last stage" if count == 1 else f"the last {count} stages"


def environment() -> dict[str, Any]:
    """Machine and versions."""
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "packages": found,
    }


def command(question: dict[str, Any], folder: Path) -> str:
    """The command line that does the same again; the call, where a reader of one's own reads."""
    import shlex

    options = {
        "task": None,
        "train": "ladder",
        "valid": None,
        "test": None,
        "more": None,
        "budget": None,
        "views": None,
        "compare": None,
        "labels": "given",
        "seed": 0,
        "max_bad": 0.01,
        "clip": None,
        "columns": None,
    }
    chosen = {name: question.get(name) for name in options}
    chosen = {n: value for n, value in chosen.items() if value not in (None, options[n])}
    if question["backbone"] not in DEFAULTS.values():
        chosen = {"backbone": question["backbone"], **chosen}
    data, out = str(question["data"]), str(folder)
    if "reader" in question:
        given = "".join(f", {name}={value!r}" for name, value in chosen.items())
        return f"regraft.fit({data!r}, {out!r}{given}, reader=...)  # {question['reader']}"
    words = ["regraft", "fit", data, "--out", out]
    for name, value in chosen.items():
        unit = "s" if name in ("budget", "clip") else ""
        words += [f"--{name.replace('_', '-')}", f"{value}{unit}"]
    return shlex.join(words)


def thumbnails(root: Path, content: dict[str, Any], size_px: int = 128) -> dict[str, bytes]:
    """Small JPEGs of the samples that the report shows; those that are gone are left out."""
    if "detection" in content:
        return detection.pictures(root if root.is_dir() else root.parent, content["detection"])
    entries = (*content["most_wrong"], *content["least_certain"])
    return small(root, content["task"], entries, size_px)


def small(
    root: Path,
    task: str,
    entries: Iterable[Mapping[str, Any]],
    size_px: int = 128,
    frames: int = STRIP,
) -> dict[str, bytes]:
    """Small JPEGs of pictures, film strips of clips, nothing of texts; by "sample" of the entries.

    Those that are gone are left out.

    Args:
        root: the data.
        task: a name such as "image-classification".
        entries: with "sample" and, where that is not its place below the data, "file".
        size_px: the longer side of a picture, the side of a frame.
        frames: in a film strip.
    """
    found: dict[str, bytes] = {}
    if task not in _SHOW:
        return found
    folder = root if root.is_dir() else root.parent
    for entry in entries:
        try:
            picture = _SHOW[task](folder, entry, size_px, frames)
        except (UnreadableSample, OSError):
            continue
        found[entry["sample"]] = jpeg(picture, 80)
    return found


def _show_picture(folder: Path, entry: Mapping[str, Any], size_px: int, frames: int) -> Image.Image:
    picture = data_sets.images.decode(folder / entry.get("file", entry["sample"]))
    picture.thumbnail((size_px, size_px))
    return picture


def _show_clip(folder: Path, entry: Mapping[str, Any], size_px: int, frames: int) -> Image.Image:
    name, span_s = data_sets.video.parted(entry["sample"])
    return film_strip(folder / entry.get("file", name), span_s, size_px, frames)


def film_strip(
    path: Path, span_s: tuple[float, float] | None, size_px: int, count: int = STRIP
) -> Image.Image:
    """Some frames of a clip side by side, each in a square.

    Raises:
        UnreadableSample: the file cannot be decoded.
    """
    if span_s is None:
        span_s = (0.0, data_sets.clips.examined(path, path.name)[1].seconds)
    strip = Image.new("RGB", (count * size_px + (count - 1) * 2, size_px), "white")
    times_s = data_sets.video.moments(span_s, count)
    for place, frame in enumerate(data_sets.video.stills(path, path.name, times_s)):
        square = data_sets.views.square(frame, size_px, 1.0, "bilinear", data_sets.View(), "")
        strip.paste(Image.fromarray(square), (place * (size_px + 2), 0))
    return strip


_SHOW = {"image-classification": _show_picture, "video-classification": _show_clip}
