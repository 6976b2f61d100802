"""The verbs: what the command line and `import regraft` offer, with the same names and arguments.

`fit` is the main path: start the backbone's compilation, read the data meanwhile, climb, measure
once on the test split, write the model and the report. Everything long is a memoised step of the
run, so repeating the same call goes on where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft import dataset as data_sets
from regraft import fitting, predicting, reporting
from regraft.backbones import DEFAULT, DEFAULTS, Backbone
from regraft.backbones.addresses import for_clips
from regraft.dataset import Dataset, Reader, Sample, boxes
from regraft.dataset.boxes.tiles import tiled
from regraft.dataset.table import TableReader
from regraft.errors import UsageError
from regraft.events import Said, Tell, silent
from regraft.labelling import lessons
from regraft.labelling.consensus import beside_people
from regraft.labelling.reader import AnyReader
from regraft.labelling.votes import Scale, Votes, is_votes
from regraft.reporting import content, detected
from regraft.store import Run, folder_beside
from regraft.tasks import Detection, measure
from regraft.transfer import ladder
from regraft.transfer.engine import prepare
from regraft.transfer.model import Model, load

if TYPE_CHECKING:
    from regraft.labelling.review.opening import Review
    from regraft.labelling.survey import Request

MOST_VIEWS = 16
"""Of a picture, that the head may learn from."""


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
    more: str | Path | None = None,
    budget: float | None = None,
    views: int = 1,
    compare: str | None = None,
    labels: str = "given",
    seed: int = 0,
    max_bad: float = 0.01,
    clip: float | None = None,
    frames: int | None = None,
    columns: str | None = None,
    reader: Reader | None = None,
    tell: Tell = silent,
) -> Fitted:
    """Fit a model to labelled data, climbing only as far as it pays, and measure every step.

    Args:
        data: a folder of classes (pictures, videos or text files), or a table with `path` or
            `text`, and `label[,split,group]` or votes.
        out: the run's folder; "<data>-regraft" beside the working folder by default.
        task: inferred from the data by default.
        backbone: a name that `regraft backbones list` shows, "timm:…", or a file.
        train: "ladder", "head", "last:K" (the last K stages) or "all".
        valid: a folder or table to validate on; else it is split off.
        test: likewise for the final test.
        more: a folder or table to train on besides, such as what was labelled of a pool.
        budget: seconds for all rungs together.
        views: of each training picture or clip that the head learns from, 1 to 16: itself, and
            random crops, perhaps mirrored, in slightly other colours. Not for texts and boxes.
        compare: "scratch" trains the same network from random weights too.
        labels: what is learnt from: "given" labels, "soft" ones (as the votes divide), or "clean"
            (likely errors set aside while learning).
        seed: of every random choice.
        max_bad: share of unreadable files that are set aside before it is an error.
        clip: seconds; longer videos are cut into clips of this length.
        frames: how many frames of a clip the network looks at; 8 by default.
        columns: of a table, where their names do not tell: "text=body,label=kind".
        reader: your own, for data in a format that is not known here; `valid`, `test` and `more`
            are read by it, too.
        tell: listens to events.

    Raises:
        UsageError: an option is wrong or not for this task, or `out` holds another run.
        DataError: the data cannot be used as it is.
        BackboneError: the backbone cannot be opened.
    """
    data = Path(data)
    _check_options(train, compare, budget)
    reads = _reading(columns, reader)
    has_texts = isinstance(reads, TableReader) and reads.text
    said_task = task or ("text-classification" if has_texts else None)
    data_sets.check_columns(reads, data)
    kind = data_sets.guess_task(data, said_task, reader)
    mode = lessons.check_mode(labels, data, kind)
    name = _starting_from(kind, backbone, frames)
    _check_views(views, kind)
    if data.exists() and task is None:  # else it is not the backbone that is at fault
        fitting.check_named(name, kind)
    folder = Path(out) if out is not None else folder_beside(data, "regraft")
    question: dict[str, Any] = {
        "data": str(data.resolve()),
        "task": task,
        "backbone": name,
        "train": train,
        "valid": str(Path(valid).resolve()) if valid else None,
        "test": str(Path(test).resolve()) if test else None,
        **({"more": str(Path(more).resolve())} if more else {}),
        "budget": budget,
        **({"views": views} if views != 1 else {}),
        "compare": compare,
        "labels": labels,
        "seed": seed,
        "max_bad": max_bad,
        "clip": clip,
        **({"columns": columns} if columns else {}),
        **({"reader": reader.name} if reader is not None else {}),
    }
    with Run.open(folder, question, tell=tell) as run, prepare(name, tell=tell) as preparation:
        rows = data_sets.read(
            data, task=task, valid=valid, test=test, more=more, max_bad=max_bad, seed=seed,
            clip_s=clip, tell=tell, reader=reads or AnyReader(task=task),
        )  # fmt: skip
        if compare == "scratch" and rows.modality == "text":
            tell(Said("texts are always compared with TF-IDF; --compare scratch adds nothing"))
        said = lessons.spoken(rows, data, *(Path(p) if p else None for p in (valid, test, more)))
        fitting.say_changed(run, said.dataset, tell)
        before = fitting.make_ground(run, said.dataset, preparation, seed, budget, tell, views)
        ground, aside = fitting.taught(before, said, mode)
        names = ladder.rung_names(train, len(ground.backbone.stages))
        climbed = ladder.climb(ground, names, stops=train == "ladder")
        report = fitting.finish(ground, climbed, compare, question, said)
        report["labels"] = fitting.label_facts(before, ground, climbed, said, mode, len(aside))
        fitting.write(ground, report)
    return Fitted(folder, report)


def predict(
    run: str | Path,
    inputs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    to: str = "json",
    draw: bool = False,
    every: float = 1.0,
    precision: float | None = None,
    columns: str | None = None,
    tell: Tell = silent,
) -> list[dict[str, Any]]:
    """Label pictures, videos or texts, or find objects, with the model of a run.

    Args:
        run: the folder that `fit` wrote, or the `model` folder in it.
        inputs: pictures, folders of pictures, or patterns such as "*.jpg"; for a model of texts
            text files, folders and patterns of them, tables (each row of their column of texts),
            or "-" for the lines of stdin; for a model that finds objects videos, too. A file that
            is named more than once is looked at once.
        out: a folder to write what was found to; for models that find objects.
        to: "json", "csv", "coco", "yolo" or "label-studio": the format of that file.
        draw: whether the pictures with boxes on them are written there, too.
        every: of a video, one frame in so many seconds is looked at.
        precision: the share of boxes that should be right, one of `box_metrics.PRECISIONS`; those
            with the best F1 on the validation split are shown if it is None.
        columns: of tables of texts, as for `fit`: "text=body"; those that the model was fitted on
            if None.
        tell: listens to events.

    Returns:
        for each picture "sample", "label", "probability", "probabilities", "unlike_training" and
        "distance"; of a model that finds objects "sample", "width", "height" and "objects", each
        with "label", "probability" and "box" (left, top, right, bottom in pixels); or "sample" and
        "problem" where it cannot be read, and "ignored" where it only lay in a folder and claims to
        be nothing of the kind. A video has a "timeline" besides: the answers for parts
        of it, each with "start_s" and "stop_s"; and "damage", sentences, where some of it is
        missing or cannot be decoded (on its last frame where objects are found).

    Raises:
        UsageError: there is no such format, the model finds no objects to write, or it reads no
            texts and columns are named.
        DataError: there is nothing to look at, or a table has no such column.
    """
    wanted = predicting.Wanted(Path(out) if out is not None else None, to, draw, every, precision)
    model = load(run)
    finds = model.backbone.modality != "text" and model.backbone.detector is not None
    predicting.check_wanted(wanted, finds)
    if model.backbone.modality == "text":
        column = data_sets.reader_of(columns).text if columns else ""
        if columns and not column:
            raise UsageError(
                "no column of texts is named", where="--columns", mend="for example text=body"
            )
        return predicting.label_texts(model, inputs, column, tell)
    if columns:
        raise UsageError(
            "this model reads no texts; only tables of texts have columns",
            where="--columns",
            mend="leave it out",
        )
    paths = list(predicting.files_of(inputs))
    if not paths:
        clips = model.backbone.modality == "video"
        things = "pictures or videos" if finds else "videos" if clips else "pictures"
        raise predicting.nothing_found(inputs, things)
    with prepare(model.backbone, tell=tell) as preparation:
        if finds:
            answers = predicting.find_objects(model, preparation, paths, wanted, tell)
        elif model.backbone.modality == "video":
            answers = predicting.label_videos(model, preparation, paths, tell)
        else:
            answers = predicting.label_pictures(model, preparation, paths, tell)
    # A detector looks at videos, too.
    modality = "video" if finds else model.backbone.modality
    told = predicting.not_meant(answers, inputs, modality)
    return [*told, *predicting.not_entered(inputs)]


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    max_bad: float = 0.01,
    columns: str | None = None,
    reader: Reader | None = None,
    tell: Tell = silent,
) -> dict[str, Any]:
    """Measure the model of a run on labelled data that it has not seen.

    What reviewers decided about the labels of these data (the journal beside them) counts.

    Args:
        run: a folder that `fit` wrote.
        data: as for `fit`.
        max_bad: as for `fit`.
        columns: as for `fit`; those that the model was fitted on if None.
        reader: as for `fit`.
        tell: listens to events.

    Returns:
        "metric" with its interval, "count", "confusion", "calibration_error", "problems",
        "absent" (classes of the model that these data have no sample of), "reviewed" (on how many
        samples reviewers had an opinion), "seen" (how many of the samples the model was fitted or
        chosen by: with them the metric says too much; None for a model of an older version);
        "people" where the data are votes on samples that it was not. Of objects "coco" and "whole"
        (see `reporting.detected.measured`) in place of what is of classes alone.

    Raises:
        DataError: the data has classes that the model does not know, or several a sample where the
            model gives one.
        UsageError: there are both columns and a reader.
    """
    reads = _reading(columns, reader)
    model = load(run)
    if reads is None:
        reads = _reading(_columns_of(model, data), None)
    rows = data_sets.read_all(
        Path(data), task=model.task.name, max_bad=max_bad, clip_s=model.facts.get("cut_s"),
        tell=tell, reader=reads or AnyReader(task=model.task.name),
    )  # fmt: skip
    said = lessons.spoken(rows, Path(data))
    if isinstance(model.task, Detection):
        return _evaluate_boxes(model, model.task, said.dataset, tell) | {"data": str(data)}
    samples = predicting.relabelled(model, said.dataset)
    problems = [content.problem_facts(problem) for problem in said.dataset.problems]
    with prepare(model.backbone, tell=tell) as preparation:
        x_nd = predicting.vectors(model, preparation, samples, tell)
    is_text = model.backbone.modality == "text"
    texts = [str(sample.source) for sample in samples] if is_text else []
    task, logits_nc = model.classifier, model.logits(x_nd, texts)
    target_nc = task.targets(samples)
    weights_rn = measure.bootstrap_weights([sample.group for sample in samples], 0)
    score = task.score({"logits": logits_nc}, target_nc)
    metric = measure.estimate(task.metric_name, score, weights_rn)
    sure_n, right_n = task.confidences(logits_nc, target_nc, model.temperature)
    return {
        "data": str(data),
        "count": len(samples),
        "metric": metric.to_json(),
        "calibration_error": measure.calibration_error(sure_n, right_n),
        "classes": list(task.classes),
        "absent": [task.classes[c] for c in np.flatnonzero(target_nc.sum(axis=0) == 0)],
        "confusion": content.confusion(task, logits_nc, target_nc)["matrix"],
        "people": _beside_people(model, said.votes, samples, logits_nc),
        "reviewed": said.reviewed,
        "seen": model.has_seen(samples),
        "problems": problems,
    }


def _evaluate_boxes(model: Model, task: Detection, pictures: Dataset, tell: Tell) -> dict[str, Any]:
    """On tiles, as the model was fitted, and on whole pictures, as `predict` shows them."""
    tile_px = model.facts.get("tile_px", 0)
    whole = predicting.relabelled(model, pictures)
    rows = tiled(pictures.with_samples(whole), tile_px)
    tiles = rows.samples
    with prepare(model.backbone, tell=tell) as preparation:
        found = predicting.found_in(model, preparation, tiles, tell)
    threshold = model.calibrated["threshold"]
    stitched, shown = (
        predicting.put_together(whole, tile_px, tiles, found, least) for least in (0.0, threshold)
    )
    return detected.measured(task, tiles, found, threshold, (whole, stitched, shown)) | {
        "seen": model.has_seen(tiles),
        "reviewed": 0,  # opinions are about labels, never about boxes
        "problems": [content.problem_facts(problem) for problem in rows.problems],
    }


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


def _columns_of(model: Model, data: str | Path) -> str | None:
    """The columns that a model was fitted on, where the data are a table that has them."""
    columns, path = model.facts.get("columns"), Path(data)
    if not columns or not TableReader().recognises(path):
        return None
    reader = data_sets.reader_of(columns)
    named = {reader.text, reader.label} - {""}
    return columns if named <= set(data_sets.columns_of(path)) and not is_votes(path) else None


def _reading(columns: str | None, reader: Reader | None) -> Reader | None:
    """The reader that was named, by its columns or itself; None takes what suits the data."""
    if not columns:
        return reader
    if reader is not None:
        raise UsageError(
            "a reader of your own takes no columns",
            where="columns",
            mend="leave out columns or reader",
        )
    return data_sets.reader_of(columns)


def inspect(
    data: str | Path,
    *,
    task: str | None = None,
    columns: str | None = None,
    clip: float | None = None,
    reader: Reader | None = None,
    tell: Tell = silent,
) -> dict[str, Any]:
    """What is in a data set, and what is wrong with it. Nothing is trained.

    It is looked at as `fit` would read it: votes by their consensus, labels as reviewers left them.
    What `fit` would stop at is among the "problems".

    Args:
        data: as for `fit`.
        task: as for `fit`.
        columns: as for `fit`.
        clip: as for `fit`.
        reader: as for `fit`.
        tell: listens to events.

    Raises:
        DataError: nothing can be read.
        UsageError: an option is wrong.
    """
    reads = _reading(columns, reader) or AnyReader(task=task)
    rows = data_sets.read_to_inspect(Path(data), task=task, clip_s=clip, tell=tell, reader=reads)
    return data_sets.describe(lessons.spoken(rows, Path(data)).dataset)


def convert(data: str | Path, out: str | Path, to: str = "coco") -> dict[str, Any]:
    """Write pictures with boxes in another format.

    Args:
        data: a COCO JSON file or a folder of them, a YOLO folder, a folder of Pascal VOC XML, a
            CSV of boxes, or an export of Label Studio with rectangles.
        out: a new folder; the pictures are copied into it.
        to: "coco", "yolo", "voc", "csv" or "label-studio".

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
    run: str | Path | None = None,
    pool: str | Path | None = None,
    batch: int = 100,
    out: str | Path | None = None,
    backbone: str | None = None,
    scale: Scale | None = None,
    seed: int = 0,
    max_bad: float = 0.01,
    columns: str | None = None,
    reader: Reader | None = None,
    to_label_studio: str | Path | None = None,
    from_label_studio: str | Path | None = None,
    tell: Tell = silent,
) -> dict[str, Any]:
    """How good the labels of a data set are, and which to ask for next.

    Args:
        data: labelled data as for `fit`, or a table of votes; the pool itself where nothing is
            labelled yet.
        run: a folder that `fit` wrote; its network compares the samples.
        pool: samples without labels, of which a batch to label next is chosen.
        batch: how many.
        out: a folder to write labels.json, next.csv, likely_errors.csv and report.html into.
        backbone: as for `fit`; its vectors are what samples are compared by.
        scale: how votes differ: "nominal", "ordinal" or "multilabel"; told from them if None.
        seed: of folds, intervals and choices.
        max_bad: as for `fit`.
        columns: as for `fit`; those that the run was fitted on if None.
        reader: your own, for labelled data in a format that is not known here.
        to_label_studio: a file to write what to look at into, as tasks for Label Studio.
        from_label_studio: an export whose annotations become decisions first.
        tell: listens to events.

    Returns:
        "agreement" and "consensus" (None without votes), "likely_errors" and "next" (ranked),
        "share" of wrong labels, "worth" of the next labels, "outliers", "same_classes", "reviewed".

    Raises:
        DataError: the data cannot be used as they are.
        MissingExtra: a package that this needs is not installed.
        UsageError: options contradict each other.
    """
    from regraft.labelling.survey import surveyed

    request = _about_labels(data, run, pool, batch, backbone, scale, seed, max_bad, columns, reader)
    if from_label_studio is not None:
        request = replace(request, label_studio=Path(from_label_studio))
    seen = surveyed(request, tell=tell)
    found = seen.facts
    if to_label_studio is not None:
        from regraft.labelling.label_studio import write_survey

        found["to_label_studio"] = write_survey(seen, Path(to_label_studio))
    if out is not None:
        from regraft.reporting import labels_page

        labels_page.write(Path(out), found)
    return found


def review(
    data: str | Path,
    *,
    run: str | Path | None = None,
    pool: str | Path | None = None,
    batch: int = 100,
    backbone: str | None = None,
    scale: Scale | None = None,
    seed: int = 0,
    max_bad: float = 0.01,
    columns: str | None = None,
    reader: Reader | None = None,
    port: int | None = None,
    reviewer: str | None = None,
    tell: Tell = silent,
) -> Review:
    """A page to go through what `labels` finds, by keyboard; `labels --review` serves it.

    Args:
        data: as for `labels`; its labels are never changed.
        run: as for `labels`.
        pool: as for `labels`; what to label next is on the page too.
        batch: as for `labels`.
        backbone: as for `labels`.
        scale: as for `labels`.
        seed: as for `labels`.
        max_bad: as for `labels`.
        columns: as for `labels`.
        reader: as for `labels`.
        port: of the loopback interface; the same for the same data if None.
        reviewer: under which name decisions are written down; the user's own if None.
        tell: listens to events.

    Returns:
        what waits at `address`; `serve` answers, `close` ends it.

    Raises:
        DataError: the data cannot be used, or there is nothing to review.
        MissingExtra: a package that this needs is not installed.
        UsageError: the port is taken.
    """
    from regraft.labelling.review.opening import open_review
    from regraft.labelling.survey import surveyed

    request = _about_labels(data, run, pool, batch, backbone, scale, seed, max_bad, columns, reader)
    found = surveyed(request, tell=tell)
    return open_review(Path(data), found, reviewer=reviewer, port=port, tell=tell)


def _about_labels(
    data: str | Path,
    run: str | Path | None,
    pool: str | Path | None,
    batch: int,
    backbone: str | None,
    scale: Scale | None,
    seed: int,
    max_bad: float,
    columns: str | None,
    reader: Reader | None,
) -> Request:
    """What the arguments of `labels` ask for."""
    from regraft.labelling.survey import Request, caution_about

    reads = _reading(columns, reader)
    if batch < 1:
        raise UsageError("the batch is not positive", where="--batch", mend="for example 100")
    if run is not None and backbone is not None:
        raise UsageError(
            "a run has a backbone already", where="--run", mend="leave --backbone or --run out"
        )
    model = None if run is None else load(run)
    if model is not None:
        caution = caution_about(model)
        columns = columns or (None if reader is not None else _columns_of(model, data))
        eyes: str | Backbone = model.backbone
    else:
        caution = ""
        has_texts = isinstance(reads, TableReader) and reads.text
        said = "text-classification" if has_texts else None
        kind = data_sets.guess_task(Path(data), said, reader)
        eyes = _starting_from(kind, backbone)
    pool = Path(pool) if pool is not None else None
    return Request(
        Path(data), eyes, pool, batch, scale, seed, max_bad, caution, columns=columns, reader=reader
    )


def report(run: str | Path) -> Path:
    """Draw `report.html` again from `report.json`.

    Returns:
        the page.
    """
    folder = Path(run)
    facts = reporting.load(folder)
    reporting.write(folder, facts, reporting.thumbnails(facts))
    return folder / "report.html"


def demo(out: str | Path | None = None, *, tell: Tell = silent) -> Fitted:
    """Fit scikit-learn's handwritten digits, written out as pictures, 20 labels a class.

    The ladder, its twin from random weights and the label curve, in a few minutes.
    """
    folder = Path(out) if out is not None else Path("regraft-demo")
    pictures = folder / "digits"
    _write_digits(pictures)
    return fit(pictures, folder / "run", budget=40.0, compare="scratch", tell=tell)


def _check_views(views: int, kind: str) -> None:
    if not 1 <= views <= MOST_VIEWS:
        raise UsageError(
            f"{views} views of a picture were asked for",
            where="--views",
            mend=f"give 1 (the picture as it is) to {MOST_VIEWS}",
        )
    if views > 1 and kind not in ("image-classification", "video-classification"):
        raise UsageError(
            f"the head learns from several views of pictures and clips, the task is {kind}",
            where="--views",
            mend="leave it out"
            + ("; a detector's head learns from several anyway" if "detection" in kind else ""),
        )


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
    ladder.check_budget(budget)


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


def _starting_from(task: str, backbone: str | None, frames: int | None = None) -> str:
    """The name of the network; for clips, of the one around a network of pictures."""
    if task == "video-classification":
        return for_clips(backbone or DEFAULT, frames)
    if frames is not None:
        raise UsageError("only videos have frames", where="--frames", mend="leave it out")
    return backbone or DEFAULTS.get(task, DEFAULT)
