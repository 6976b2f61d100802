"""The verbs: what the command line and `import regraft` offer, with the same names and arguments.

`fit` is the main path: start the backbone's compilation, read the data meanwhile, climb, measure
once on the test split, write the model and the report. Everything long is a memoised step of the
run, so repeating the same call goes on where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft import dataset as data_sets
from regraft import reporting
from regraft.dataset import Dataset, Problem, Sample, boxes
from regraft.errors import DataError, UnreadableSample, UsageError
from regraft.events import Advanced, Said, Tell, silent
from regraft.labelling.votes import Scale
from regraft.store import Outcome, Run
from regraft.tasks import measure
from regraft.tasks.classification import IMBALANCED, Classification
from regraft.transfer import ladder
from regraft.transfer.engine import Engine, Preparation, prepare
from regraft.transfer.model import Model, load, save, split_labels

DEFAULT_BACKBONES = {
    "image-classification": "efficientnet-lite0",
    "text-classification": "minilm-l6",
}
TABLES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson")
CUT_SAMPLES = 500
"""Texts that are looked at to say how many are longer than the network reads."""
PARITY_SAMPLES = 64
EXCERPT = 160
"""Characters of a text that the report shows."""
SHOWN = 12
"""Samples in each gallery of the report."""


@dataclass(frozen=True)
class Fitted:
    """What `fit` gives back.

    Attributes:
        folder: the run: report.html, report.json, model/.
        report: the content of report.json.
    """

    folder: Path
    report: dict[str, Any]


def fit(
    data: str | Path,
    out: str | Path | None = None,
    *,
    task: str | None = None,
    backbone: str | None = None,
    train: str = "ladder",
    valid: str | Path | None = None,
    test: str | Path | None = None,
    budget: float | None = None,
    compare: str | None = None,
    seed: int = 0,
    max_bad: float = 0.01,
    tell: Tell = silent,
) -> Fitted:
    """Fit a model to labelled data, climbing only as far as it pays, and measure every step.

    Args:
        data: a folder of classes (pictures or text files), or a table with `path` or `text`, and
            `label[,split,group]`.
        out: the run's folder; "<data>-regraft" beside the working folder by default.
        task: inferred from the data by default.
        backbone: a name that `regraft backbones list` shows, "timm:…", or a file.
        train: "ladder", "head", "last:K" (the last K stages) or "all".
        valid: a folder or table to validate on; else it is split off.
        test: likewise for the final test.
        budget: seconds for all rungs together.
        compare: "scratch" trains the same network from random weights too.
        seed: of every random choice.
        max_bad: share of unreadable files that are set aside before it is an error.
        tell: listens to events.

    Raises:
        UsageError: an option is wrong, or `out` holds another run.
        DataError: the data cannot be used as it is.
        BackboneError: the backbone cannot be opened.
    """
    data = Path(data)
    _check_options(train, compare, budget)
    kind = data_sets.guess_task(data, task)
    name = backbone or _usual_backbone(kind)
    folder = Path(out) if out is not None else Path(f"{data.resolve().stem}-regraft")
    question: dict[str, Any] = {
        "data": str(data.resolve()),
        "task": task,
        "backbone": name,
        "train": train,
        "valid": str(Path(valid).resolve()) if valid else None,
        "test": str(Path(test).resolve()) if test else None,
        "budget": budget,
        "compare": compare,
        "seed": seed,
        "max_bad": max_bad,
    }
    with Run.open(folder, question, tell=tell) as run, prepare(name, tell=tell) as preparation:
        rows = data_sets.read(
            data, task=task, valid=valid, test=test, max_bad=max_bad, seed=seed, tell=tell
        )
        ground = _ground(run, rows, preparation, seed, budget, tell)
        _check_modality(ground)
        names = ladder.rung_names(train, len(ground.backbone.stages))
        climbed = ladder.climb(ground, names)
        report = _finish(ground, climbed, compare, question)
        _write(ground, report)
    return Fitted(folder, report)


def predict(
    run: str | Path, inputs: Sequence[str | Path], *, tell: Tell = silent
) -> list[dict[str, Any]]:
    """Label pictures or texts with the model of a run.

    Args:
        run: the folder that `fit` wrote, or the `model` folder in it.
        inputs: pictures, folders of pictures, or patterns such as "*.jpg"; for a model of texts
            text files, folders and patterns of them, tables (each row of their column of texts),
            or "-" for the lines of stdin.
        tell: listens to events.

    Returns:
        for each picture "sample", "label", "probability", "probabilities", "unlike_training" and
        "distance"; or "sample" and "problem" where it cannot be read.
    """
    model = load(run)
    if model.backbone.modality == "text":
        return _label_texts(model, inputs, tell)
    paths = list(_pictures(inputs))
    if not paths:
        raise DataError(
            "no pictures found", where=", ".join(map(str, inputs)), mend="name files or folders"
        )
    with prepare(model.backbone, tell=tell) as preparation:
        return _label(model, preparation, paths, tell)


def evaluate(run: str | Path, data: str | Path, *, tell: Tell = silent) -> dict[str, Any]:
    """Measure the model of a run on labelled data that it has not seen.

    Returns:
        "metric" with its interval, "count", "confusion", "calibration_error", "problems".

    Raises:
        DataError: the data has classes that the model does not know.
    """
    model = load(run)
    rows = data_sets.read_all(Path(data), task=model.task.name, tell=tell)
    samples = _relabelled(model, rows)
    with prepare(model.backbone, tell=tell) as preparation:
        x_nd = _vectors(model, preparation, samples, tell)
    logits_nc = model.logits(x_nd)
    target_nc = model.task.targets(samples)
    weights_rn = measure.bootstrap_weights([sample.group for sample in samples], 0)
    score = model.task.score(logits_nc, target_nc)
    metric = measure.estimate(model.task.metric_name, score, weights_rn)
    sure_n, right_n = model.task.confidences(logits_nc, target_nc, model.temperature)
    return {
        "data": str(data),
        "count": len(samples),
        "metric": metric.to_json(),
        "calibration_error": measure.calibration_error(sure_n, right_n),
        "classes": list(model.task.classes),
        "confusion": _confusion(model.task, logits_nc, target_nc)["matrix"],
        "problems": [_problem(problem) for problem in rows.problems],
    }


def inspect(data: str | Path, *, task: str | None = None, tell: Tell = silent) -> dict[str, Any]:
    """What is in a data set, and what is wrong with it. Nothing is trained."""
    return data_sets.describe(data_sets.read(Path(data), task=task, max_bad=0.999, tell=tell))


def convert(data: str | Path, out: str | Path, to: str = "coco") -> dict[str, Any]:
    """Write pictures with boxes in another format.

    Args:
        data: a COCO JSON file or a folder of them, a YOLO folder, a folder of Pascal VOC XML, or a
            CSV of boxes.
        out: a new folder; the pictures are copied into it.
        to: "coco", "yolo", "voc" or "csv".

    Returns:
        what was found, used, mended and refused; see `dataset.boxes.describe_boxes`.

    Raises:
        DataError: the boxes cannot be read.
        UsageError: `out` is not empty, or there is no such format.
    """
    return boxes.describe_boxes(boxes.convert_boxes(Path(data), Path(out), to))


def labels(
    data: str | Path,
    *,
    backbone: str | None = None,
    scale: Scale | None = None,
    seed: int = 0,
    max_bad: float = 0.01,
    tell: Tell = silent,
) -> dict[str, Any]:
    """How good the labels of a data set are: agreement, consensus, likely errors.

    Args:
        data: labelled data as for `fit`, or a table of votes.
        backbone: as for `fit`; its vectors are what samples are compared by.
        scale: how votes differ: "nominal", "ordinal" or "multilabel"; told from them if None.
        seed: of folds and intervals.
        max_bad: as for `fit`.
        tell: listens to events.

    Returns:
        "agreement" and "consensus" (None without votes), "likely_errors" (ranked), "share" of
        wrong labels, "outliers", "same_classes", "reviewed".

    Raises:
        DataError: the data cannot be used as they are.
        MissingExtra: a package that this needs is not installed.
    """
    from regraft.labelling.survey import survey

    name = backbone or _usual_backbone(data_sets.guess_task(Path(data), None))
    return survey(Path(data), name, scale=scale, seed=seed, max_bad=max_bad, tell=tell)


def report(run: str | Path) -> Path:
    """Draw `report.html` again from `report.json`.

    Returns:
        the page.
    """
    folder = Path(run)
    content = reporting.load(folder)
    reporting.write(folder, content, _thumbnails(Path(content["data"]["path"]), content))
    return folder / "report.html"


def demo(out: str | Path | None = None, *, tell: Tell = silent) -> Fitted:
    """Fit scikit-learn's handwritten digits, written out as pictures, 20 labels a class.

    The ladder, its twin from random weights and the label curve, in a few minutes.
    """
    folder = Path(out) if out is not None else Path("regraft-demo")
    pictures = folder / "digits"
    _write_digits(pictures)
    return fit(pictures, folder / "run", budget=40.0, compare="scratch", tell=tell)


def _check_options(train: str, compare: str | None, budget: float | None) -> None:
    depth = train.removeprefix("last:")
    if train not in ("ladder", "head", "all") and not (
        train.startswith("last:") and depth.isdecimal() and int(depth) > 0
    ):
        raise UsageError(
            f"unknown way to train: {train!r}", where="--train", mend="ladder, head, last:K or all"
        )
    if compare not in (None, "scratch"):
        raise UsageError(f"nothing to compare with: {compare!r}", where="--compare", mend="scratch")
    if budget is not None and not budget > 0:
        raise UsageError("the budget is not positive", where="--budget", mend="for example 10m")


def _check_modality(ground: ladder.Ground) -> None:
    wanted = ground.dataset.task.partition("-")[0]
    if ground.backbone.modality != wanted:
        raise UsageError(
            f"{ground.backbone.name} is for {ground.backbone.modality}s, the data are {wanted}s",
            where="--backbone",
            mend="take one of that modality from `regraft backbones list`",
        )


def _ground(
    run: Run,
    rows: Dataset,
    preparation: Preparation,
    seed: int,
    budget_s: float | None,
    tell: Tell,
) -> ladder.Ground:
    """Task, backbone and engines for these data."""
    counts = _counts(rows, "train")
    ratio = max(counts) / max(1, min(counts))
    task = Classification(
        rows.task, rows.classes, rows.multilabel, not rows.multilabel and ratio >= IMBALANCED
    )
    some = rows.split("train")[:: max(1, len(rows.split("train")) // PARITY_SAMPLES)]
    engines: dict[int, Engine] = {}

    def engine(frozen: int) -> Engine:
        if frozen not in engines:
            engines[frozen] = preparation.engine(frozen, some[:PARITY_SAMPLES])
        return engines[frozen]

    return ladder.Ground(run, rows, preparation.backbone(), task, engine, seed, budget_s, tell)


def _finish(
    ground: ladder.Ground,
    climbed: ladder.Climbed,
    compare: str | None,
    question: dict[str, Any],
) -> dict[str, Any]:
    """Calibrate, test once, save the model, and put the report together."""
    best, task = climbed.best, ground.task
    valid, test = ground.dataset.split("valid"), ground.dataset.split("test")
    target_nc = task.targets(valid)
    temperature = task.fit_temperature(best.valid_logits_nc, target_nc)
    tested = _test(ground, best) if test else None
    penalty = climbed.steps[0].facts["penalty"]
    curve = ladder.label_curve(ground, penalty)
    twin = None
    if task.name == "text-classification":
        twin = ladder.tfidf(ground, climbed)
    elif compare == "scratch":
        twin = ladder.scratch(ground, climbed)
    judged = (test, tested.tensors["logits"]) if tested else (valid, best.valid_logits_nc)
    report: dict[str, Any] = {
        "task": task.name,
        "data": _data(ground.dataset) | _cut_texts(ground),
        "backbone": _provenance(ground),
        "rungs": list(climbed.entries),
        "best": best.facts["name"],
        "test": tested.facts["metric"] if tested else None,
        "scratch": twin[0] if twin else None,
        "label_curve": curve,
        "forecast": ladder.forecast(curve),
        "savings": _savings(climbed, twin[0] if twin else None, curve),
        "calibration": _calibration(task, temperature, *judged, "test" if tested else "valid"),
        "confusion": {"split": "valid", **_confusion(task, best.valid_logits_nc, target_nc)},
        "imbalance": _imbalance(ground),
        "plan": list(climbed.plan),
        "engine": ground.engine(best.frozen).to_json(),
        "environment": _environment(),
        "reproduce": _command(question, ground.run.folder),
        "seed": ground.seed,
        "seconds": sum(e["seconds"]["total"] for e in climbed.entries if e["seconds"]),
    }
    report |= _galleries(task, valid, best.valid_logits_nc, target_nc, temperature)
    report["verdict"] = _verdict(report)
    facts = {"metric": best.facts["metric"], "rung": best.facts["name"], "test": report["test"]}
    save(ground, best, temperature, facts)
    return report


def _test(ground: ladder.Ground, best: ladder.Step) -> Outcome:
    """The chosen rung on the test split, once."""
    test = ground.dataset.split("test")

    def compute() -> Outcome:
        _, logits_nc = ladder.final_answers(ground, best, test)
        score = ground.task.score(logits_nc, ground.task.targets(test))
        metric = measure.estimate(ground.task.metric_name, score, ground.weights(test))
        return Outcome({"metric": metric.to_json()}, {"logits": logits_nc.astype(np.float32)})

    inputs: dict[str, Any] = {
        "data": ground.dataset.fingerprint(),
        "backbone": ground.backbone.sha256,
        "rung": {key: best.facts[key] for key in ("name", "frozen_stages")},
        "seed": ground.seed,
    }
    return ground.run.step("test", inputs, compute)


def _data(rows: Dataset) -> dict[str, Any]:
    return {
        "path": str(rows.path),
        "fingerprint": rows.fingerprint(),
        "classes": list(rows.classes),
        "multilabel": rows.multilabel,
        "splits": {name: len(rows.split(name)) for name in data_sets.SPLITS},
        "counts": {name: _counts(rows, name) for name in data_sets.SPLITS},
        "problems": [_problem(problem) for problem in rows.problems],
    }


def _cut_texts(ground: ladder.Ground) -> dict[str, Any]:
    """The share of texts that are longer than what the network reads; nothing for pictures."""
    from regraft.backbones import TextPreprocessing

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
                f"{_percent(share)} of the texts are longer than {preprocessing.max_tokens} "
                "tokens; the network reads their beginning"
            )
        )
    return {"truncated": {"max_tokens": preprocessing.max_tokens, "share": share, "of": len(some)}}


def _problem(problem: Problem) -> dict[str, str]:
    return {
        "kind": problem.kind,
        "where": problem.where,
        "what": problem.what,
        "done": problem.done,
    }


def _counts(rows: Dataset, split: data_sets.Split) -> list[int]:
    """Samples of each class in a split."""
    counts = [0] * len(rows.classes)
    for sample in rows.split(split):
        for target in sample.target if isinstance(sample.target, tuple) else (sample.target,):
            if target is not None:
                counts[target] += 1
    return counts


def _provenance(ground: ladder.Ground) -> dict[str, Any]:
    backbone = ground.backbone
    return {
        "name": backbone.name,
        "source": backbone.source,
        "sha256": backbone.sha256,
        "licence": backbone.licence,
        "parameters": backbone.parameters,
        "stages": [stage.name for stage in backbone.stages],
    }


def _savings(
    climbed: ladder.Climbed, twin: dict[str, Any] | None, curve: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the transfer saved against training from scratch, in labels, seconds, parameters."""
    if twin is None:
        text = "Not measured; add --compare scratch."
        return {"labels": None, "seconds": None, "trained_parameters": None, "text": text}
    best = climbed.best.facts
    reached = [p["labels"] for p in curve if p["value"] >= twin["metric"]["value"]]
    labels = curve[-1]["labels"] - reached[0] if reached else None
    spent = sum(e["seconds"]["total"] for e in climbed.entries if e["seconds"])
    seconds = twin["seconds"]["total"] - spent
    parameters = twin["trainable_parameters"] - best["trainable_parameters"]
    if twin["name"] == "tf-idf":
        text = twin["text"]
    elif twin["passes"] < ladder.PASSES_TO_COMPARE:
        labels = None
        text = (
            f"The network from scratch saw each photo only {twin['passes']:.1f} times in its time, "
            "too few to say how many labels were saved; a longer --budget gives it more."
        )
    elif labels is None:
        text = "The new head alone does not reach the network from scratch."
    else:
        text = (
            f"The new head reaches what training from scratch reaches with {curve[-1]['labels']} "
            f"labels with {reached[0]}; the whole climb took {spent:.0f} s against "
            f"{twin['seconds']['total']:.0f} s."
        )
    return {"labels": labels, "seconds": seconds, "trained_parameters": parameters, "text": text}


def _calibration(
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


def _confusion(
    task: Classification, logits_nc: np.ndarray, target_nc: np.ndarray
) -> dict[str, Any]:
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


def _imbalance(ground: ladder.Ground) -> dict[str, Any]:
    counts = _counts(ground.dataset, "train")
    ratio = max(counts) / max(1, min(counts))
    if ground.task.balanced:
        text = "Classes are unequal: each counts the same in the loss and in the metric."
    else:
        text = "Classes are near enough to equal; samples count alike."
    return {"ratio": ratio, "text": text}


def _galleries(
    task: Classification,
    samples: Sequence[Sample],
    logits_nc: np.ndarray,
    target_nc: np.ndarray,
    temperature: float,
) -> dict[str, list[dict[str, Any]]]:
    """The most wrong answers (sure and wrong) and the least certain ones, of the validation."""
    chance_nc = task.probabilities(logits_nc, temperature)
    correct_n = task.correct(logits_nc, target_nc)
    if task.multilabel:
        chance_n = np.abs(chance_nc - 0.5).min(axis=1) + 0.5
        wrongness_n = np.abs(chance_nc - target_nc).max(axis=1)
    else:
        chance_n = chance_nc.max(axis=1)
        wrongness_n = chance_n

    def entry(i: int) -> dict[str, Any]:
        given = [task.classes[c] for c in np.flatnonzero(target_nc[i])]
        if task.multilabel:
            said = [task.classes[c] for c in np.flatnonzero(chance_nc[i] > 0.5)]
        else:
            said = [task.classes[int(chance_nc[i].argmax())]]
        return {
            "sample": samples[i].id,
            "given": ", ".join(given),
            "predicted": ", ".join(said),
            "probability": float(chance_n[i]),
            **_excerpt(samples[i]),
        }

    wrong = [i for i in np.argsort(-wrongness_n, kind="stable") if not correct_n[i]]
    return {
        "most_wrong": [entry(int(i)) for i in wrong[:SHOWN]],
        "least_certain": [entry(int(i)) for i in np.argsort(chance_n, kind="stable")[:SHOWN]],
    }


def _excerpt(sample: Sample) -> dict[str, str]:
    """How a text begins; nothing for pictures."""
    if not isinstance(sample.source, str):
        return {}
    words = " ".join(sample.source[: 4 * EXCERPT].split())
    return {"excerpt": words if len(words) <= EXCERPT else words[:EXCERPT] + "…"}


def _verdict(report: dict[str, Any]) -> str:
    """The outcome in plain words."""
    entries = {entry["name"]: entry for entry in report["rungs"]}
    best = entries[report["best"]]
    metric = report["test"] or best["metric"]
    where = "on the test split" if report["test"] else "on the validation split"
    what = "The new head alone" if report["best"] == "head" else f"Training {_depth(report)}"
    name = metric["name"].replace("_", " ")
    text = (
        f"{what} reaches {_percent(metric['value'])} {name} {where} "
        f"({_percent(metric['low'])} to {_percent(metric['high'])})."
    )
    tried = [e for e in report["rungs"] if e["verdict"] in ("no gain", "worse")]
    if tried:
        text += f" Training more of the network ({tried[-1]['name']}) did not help."
    if report["scratch"] and report["task"] == "text-classification":
        text += f" {report['scratch']['text']}"
    elif report["scratch"]:
        scratch = report["scratch"]["metric"]
        text += (
            f" From random weights, in the time it was given ({_passes(report['scratch'])}), the "
            f"same network reaches {_percent(scratch['value'])}."
        )
    return text


def _passes(twin: dict[str, Any]) -> str:
    """How much training the twin had; few passes say what the time buys, not what it could be."""
    passes = twin["passes"]
    shown = f"{passes:.0f}" if passes >= 10 else f"{passes:.1f}"
    return f"{twin['steps']} steps, {shown} passes over the photos"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _depth(report: dict[str, Any]) -> str:
    if report["best"] == "all":
        return "the whole network"
    count = int(report["best"].removeprefix("last:"))
    return "the last stage" if count == 1 else f"the last {count} stages"


def _environment() -> dict[str, Any]:
    import os
    import platform
    from importlib.metadata import version

    packages = ("regraft", "numpy", "openvino", "pillow", "scipy", "torch")
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in packages},
    }


def _command(question: dict[str, Any], folder: Path) -> str:
    import shlex

    options = {
        "task": None,
        "train": "ladder",
        "valid": None,
        "test": None,
        "budget": None,
        "compare": None,
        "seed": 0,
        "max_bad": 0.01,
    }
    words = ["regraft", "fit", str(question["data"]), "--out", str(folder)]
    if question["backbone"] not in DEFAULT_BACKBONES.values():
        words += ["--backbone", question["backbone"]]
    for name, usual in options.items():
        value = question[name]
        if value != usual and value is not None:
            unit = "s" if name == "budget" else ""
            words += [f"--{name.replace('_', '-')}", f"{value}{unit}"]
    return shlex.join(words)


def _write(ground: ladder.Ground, content: dict[str, Any]) -> None:
    reporting.write(ground.run.folder, content, _thumbnails(ground.dataset.path, content))


def _thumbnails(root: Path, content: dict[str, Any], size_px: int = 128) -> dict[str, bytes]:
    """Small JPEGs of the samples that the report shows; those that are gone are left out."""
    import io

    found: dict[str, bytes] = {}
    if content["task"] != "image-classification":
        return found
    for entry in (*content["most_wrong"], *content["least_certain"]):
        path = (root if root.is_dir() else root.parent) / entry["sample"]
        try:
            picture = data_sets.images.decode(path)
        except (UnreadableSample, OSError):
            continue
        picture.thumbnail((size_px, size_px))
        held = io.BytesIO()
        picture.save(held, "JPEG", quality=80)
        found[entry["sample"]] = held.getvalue()
    return found


def _pictures(inputs: Sequence[str | Path]) -> Iterable[Path]:
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


def _label(
    model: Model, preparation: Preparation, paths: Sequence[Path], tell: Tell
) -> list[dict[str, Any]]:
    """Answers for files, in batches, so that memory does not grow with their number."""
    answers: list[dict[str, Any]] = []
    engine = None
    for start in range(0, len(paths), PARITY_SAMPLES):
        some = paths[start : start + PARITY_SAMPLES]
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


def _label_texts(model: Model, inputs: Sequence[str | Path], tell: Tell) -> list[dict[str, Any]]:
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
        for start in range(0, len(named), PARITY_SAMPLES):
            some = named[start : start + PARITY_SAMPLES]
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
        for path in _pictures([given]):
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


def _relabelled(model: Model, rows: Dataset) -> list[Sample]:
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


def _vectors(
    model: Model, preparation: Preparation, samples: Sequence[Sample], tell: Tell
) -> np.ndarray:
    """Vectors_nd of samples, through the cache."""
    from regraft.dataset import View
    from regraft.transfer.cut import Cut
    from regraft.transfer.features import features

    frozen = len(model.backbone.stages)
    engine = preparation.engine(frozen, samples[:PARITY_SAMPLES])
    cut = Cut(model.backbone, frozen)
    table = features(samples, cut, engine, [View()], storage="float32", tell=tell)
    return table.rows(np.arange(len(samples)))[0]


def _write_digits(folder: Path) -> None:
    """scikit-learn's digits as PNG files: 20 a class to learn, 40 to validate, 40 to test."""
    from PIL import Image
    from sklearn.datasets import load_digits

    if folder.is_dir():
        return
    bunch: Any = load_digits()
    aside = folder.with_name(folder.name + ".part")
    seen = [0] * 10
    for i, (image, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        seen[label] += 1
        if seen[label] > 100:
            continue
        split = "train" if seen[label] <= 20 else "valid" if seen[label] <= 60 else "test"
        place = aside / split / str(label)
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((255 - image / 16 * 255).astype(np.uint8))
        picture.resize((64, 64), Image.Resampling.BICUBIC).save(place / f"{i:04d}.png")
    aside.rename(folder)


def _usual_backbone(task: str) -> str:
    return DEFAULT_BACKBONES.get(task, DEFAULT_BACKBONES["image-classification"])
