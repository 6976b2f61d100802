"""The verbs: what the command line and `import regraft` offer, with the same names and arguments.

`fit` is the main path: start the backbone's compilation, read the data meanwhile, climb, measure
once on the test split, write the model and the report. Everything long is a memoised step of the
run, so repeating the same call goes on where the last one stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft import dataset as data_sets
from regraft import evaluating, fitting, predicting, reporting
from regraft.backbones import DEFAULT, DEFAULTS
from regraft.backbones.addresses import for_clips
from regraft.dataset import Reader, boxes
from regraft.dataset.classes import with_numbers_as
from regraft.dataset.table_rows import TableReader
from regraft.defaults import LABELS, MAX_BAD, TRAIN
from regraft.digits import write_digits
from regraft.errors import UsageError
from regraft.events import Said, Tell, silent
from regraft.labelling import lessons
from regraft.labelling.reader import AnyReader
from regraft.labelling.votes import scale_of
from regraft.labelling.votes_table import is_votes
from regraft.store import Run, folder_beside
from regraft.transfer.engine import prepare
from regraft.transfer.ladder import climb
from regraft.transfer.model import Model, load
from regraft.transfer.rungs import check_budget, check_train, rung_names
from regraft.transfer.twin import check_compare

if TYPE_CHECKING:
    from regraft.labelling.review.opening import Review
    from regraft.labelling.survey import Request

MOST_VIEWS = 16
"""Of a picture, that the head may learn from."""
_THINGS = {"image": "pictures", "text": "texts", "video": "videos"}
"""What a model of each modality looks at."""


@dataclass(frozen=True)
class Fitted:
    """What `fit` gives back.

    Attributes:
        folder: the run: report.html, report.json, model/.
        report: the content of report.json.
    """

    folder: Path
    report: dict[str, Any] = field(repr=False)


def fit(
    data: str | Path,
    out: str | Path | None = None,
    *,
    task: str | None = None,
    backbone: str | None = None,
    train: str = TRAIN,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    more: str | Path | None = None,
    budget: float | None = None,
    views: int = 1,
    compare: str | None = None,
    labels: str = LABELS,
    seed: int = 0,
    max_bad: float = MAX_BAD,
    clip: float | None = None,
    frames: int | None = None,
    columns: str | None = None,
    reader: Reader | None = None,
    tell: Tell = silent,
) -> Fitted:
    """Fit a model to labelled data, climbing only as far as it pays, and measure every step.

    Args:
        data: a folder of classes (pictures, videos or text files), a table with `path` or `text`,
            and `label[,split,group]` or votes; or pictures with boxes (COCO, YOLO, Pascal VOC, a
            table or an export of Label Studio).
        out: the run's folder; "<data>-regraft" in the working folder by default.
        task: inferred from the data by default.
        backbone: a name that `regraft backbones list` shows, another of docs/backbones.md such as
            "timm:…", or the folder of a pre-training.
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
    data_sets.check_columns(reads, data)
    data_sets.check_column_names(reads, data)
    kind = data_sets.guess_task(data, task or _task_of(reads), reader)
    if kind == "text-classification" and reads is None and not is_votes(data):
        data_sets.check_texts(data)
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
        names = rung_names(train, len(ground.backbone.stages))
        climbed = climb(ground, names, stops=train == "ladder")
        report = fitting.finish(ground, climbed, question, said)
        report["labels"] = fitting.label_facts(before, ground, climbed, said, mode, len(aside))
        reporting.write(folder, report)
    return Fitted(folder, report)


def predict(
    run: str | Path,
    inputs: str | Path | Sequence[str | Path],
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
        inputs: a picture, a folder of pictures, a pattern such as "*.jpg", or several of these; for
            a model of texts text files, folders and patterns of them, tables (each row of their
            column of texts), or "-" for the lines of stdin; for a model that finds objects videos,
            too. A file that is named more than once is looked at once.
        out: a folder to write what was found to; for models that find objects.
        to: "json", "csv", "coco", "yolo" or "label-studio": the format of that file.
        draw: whether the pictures with boxes on them are written there, too.
        every: of a video, one frame in so many seconds is looked at.
        precision: the share of boxes that should be right, as far as the validation split reached
            it; 0 shows all that are found, None those with the best F1 on that split.
        columns: of tables of texts, as for `fit`: "text=body"; those that the model was fitted on
            if None.
        tell: listens to events.

    Returns:
        for each picture "sample", "label", "probability", "probabilities", "unlike_training" and
        "distance"; where samples may have several, "labels", too, and "label" is the likeliest of
        them or None; of a model that finds objects "sample", "width", "height" and "objects", each
        with "label", "probability" and "box" (left, top, right, bottom in pixels); or "sample" and
        "problem" where it cannot be read, and "ignored" where it only lay in a folder and claims to
        be nothing of the kind. A video has a "timeline" besides: the answers for parts
        of it, each with "start_s" and "stop_s"; and "damage", sentences, where some of it is
        missing or cannot be decoded (on its last frame where objects are found).

    Raises:
        UsageError: there is no such format, the model finds no objects to write, files would be
            replaced that `predict` did not write, or it reads no texts and columns are named.
        DataError: there is nothing to look at, or a table has no such column.
    """
    inputs = [inputs] if isinstance(inputs, str | Path) else inputs
    wanted = predicting.Wanted(_path(out), to, draw, every, precision)
    model = load(run)
    modality = model.backbone.modality
    finds = modality != "text" and model.backbone.detector is not None
    predicting.check_wanted(wanted, finds)
    column, known = _column_of_texts(model, columns), model.facts.get("columns")
    own = data_sets.reader_of(known).text if known else ""
    is_text = modality == "text"
    things = "pictures or videos" if finds else _THINGS[modality]
    if not is_text:
        predicting.refuse_stdin(inputs, things)
    texts = list(predicting.texts_of(inputs, column, own, tell)) if is_text else []
    paths = [] if is_text else list(predicting.files_of(inputs))
    if not texts and not paths:
        raise predicting.nothing_found(inputs, things)
    with prepare(model.backbone, tell=tell) as preparation:
        if finds:
            answers = predicting.find_objects(model, preparation, paths, wanted, tell)
        elif is_text:
            answers = predicting.label_texts(model, preparation, texts, tell)
        elif modality == "video":
            answers = predicting.label_videos(model, preparation, paths, tell)
        else:
            answers = predicting.label_pictures(model, preparation, paths, tell)
    # A detector looks at videos, too.
    told = predicting.not_meant(answers, inputs, "video" if finds else modality)
    return [*told, *predicting.not_entered(inputs)]


def _column_of_texts(model: Model, columns: str | None) -> str:
    """The column that is named; "" where none is."""
    if not columns:
        return ""
    if model.backbone.modality != "text":
        raise UsageError(
            "this model reads no texts; only tables of texts have columns",
            where="--columns",
            mend="leave it out",
        )
    column = data_sets.reader_of(columns).text
    if not column:
        raise UsageError(
            "no column of texts is named", where="--columns", mend="for example text=body"
        )
    return column


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    max_bad: float = MAX_BAD,
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
        "metric" with its interval, "accuracy" (None where samples may have several labels),
        "per_class" (recall and precision), "count", "confusion", "calibration_error", "problems",
        "absent" (classes of the model that these data have no sample of), "reviewed" (on how many
        samples reviewers had an opinion), "seen" (how many of the samples the model was fitted or
        chosen by: with them the metric says too much; None for a model of an older version);
        "people" (the model beside the voters, where the data are votes, on samples that it was not
        fitted or chosen by). Of objects "coco" and "whole" (see `evaluating.measured`) in place of
        what is of classes alone.

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
    said = lessons.spoken(with_numbers_as(rows, model.task.classes), Path(data))
    return {"data": str(data)} | evaluating.evaluated(model, said, tell)


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


def _task_of(reads: Reader | None) -> str | None:
    """The task that columns tell; None where they tell none."""
    has_texts = isinstance(reads, TableReader) and reads.text
    return "text-classification" if has_texts else None


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
            table of boxes, or an export of Label Studio with rectangles.
        out: a new folder outside of `data`; the pictures are copied into it.
        to: "coco", "yolo", "voc", "csv" or "label-studio".

    Returns:
        what was found, used, mended and refused; see `dataset.boxes.describe_boxes`.

    Raises:
        DataError: the boxes cannot be read.
        UsageError: `out` is not empty or lies inside of `data`, or there is no such format.
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
    scale: str | None = None,
    seed: int = 0,
    max_bad: float = MAX_BAD,
    columns: str | None = None,
    reader: Reader | None = None,
    clip: float | None = None,
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
        out: a folder to write labels.json and report.html into, and what there is to say of
            next.csv, likely_errors.csv, scores.csv and consensus.csv.
        backbone: as for `fit`; its vectors are what samples are compared by.
        scale: how votes differ: "nominal", "ordinal" or "multilabel"; told from them if None.
        seed: of folds, intervals and choices.
        max_bad: as for `fit`.
        columns: as for `fit`; those that the run was fitted on if None.
        reader: your own, for labelled data in a format that is not known here.
        clip: seconds, as for `fit`; of the pool, too. That of the run if None.
        to_label_studio: a file to write what to look at into, as tasks for Label Studio.
        from_label_studio: an export whose annotations become decisions first.
        tell: listens to events.

    Returns:
        "agreement" and "consensus" (None without votes), "ceiling" (how often one annotator says
        what the others say) and "beside_people" (the network beside them); "likely_errors" and
        "next" (ranked), "scores" (every label that was judged and is open, likeliest wrong first),
        "share" of wrong labels, "worth" of the next labels, "outliers", "same_classes";
        "reviewed" (how many samples reviewers had an opinion on), "caution" (what to bear in mind)
        and "not_judged" (why no label was); "data" and "pool" (what was looked at); and
        "from_label_studio" and "to_label_studio" (what came and what was written).

    Raises:
        DataError: the data cannot be used as they are.
        MissingExtra: a package that this needs is not installed.
        UsageError: options contradict each other, one is wrong, or labels were written into
            next.csv in `out`, or another file there, or for Label Studio, is not one of an
            earlier call.
    """
    from regraft.labelling import label_studio_tasks
    from regraft.labelling.survey import Request, surveyed
    from regraft.reporting import labels_page

    if out is not None:
        labels_page.refuse_worked_on(Path(out))
    if to_label_studio is not None:
        label_studio_tasks.refuse_taken(Path(to_label_studio))
    request = Request(
        Path(data), _path(pool), batch=batch, scale=scale_of(scale), seed=seed, max_bad=max_bad,
        columns=columns, reader=reader, clip_s=clip, label_studio=_path(from_label_studio),
    )  # fmt: skip
    seen = surveyed(_with_eyes(request, run, backbone), tell=tell)
    found = seen.facts
    if to_label_studio is not None:
        written = label_studio_tasks.write_survey(seen, Path(to_label_studio))
        found["to_label_studio"] = written
    if out is not None:
        labels_page.write(Path(out), found, seen.pool or (), seen.dataset or ())
    return {**found}


def review(
    data: str | Path,
    *,
    run: str | Path | None = None,
    pool: str | Path | None = None,
    batch: int = 100,
    backbone: str | None = None,
    scale: str | None = None,
    seed: int = 0,
    max_bad: float = MAX_BAD,
    columns: str | None = None,
    reader: Reader | None = None,
    clip: float | None = None,
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
        clip: as for `labels`.
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
    from regraft.labelling.survey import Request, surveyed

    request = Request(
        Path(data), _path(pool), batch=batch, scale=scale_of(scale), seed=seed, max_bad=max_bad,
        columns=columns, reader=reader, clip_s=clip,
    )  # fmt: skip
    found = surveyed(_with_eyes(request, run, backbone), tell=tell)
    return open_review(Path(data), found, reviewer=reviewer, port=port, tell=tell)


def _with_eyes(request: Request, run: str | Path | None, backbone: str | None) -> Request:
    """A request with the network that looks at its samples, and how that does.

    The network of a run reads the columns, and looks at clips of the length, that it was fitted on,
    unless others are asked for.
    """
    from regraft.labelling.survey import caution_about

    reads = _reading(request.columns, request.reader)
    if run is None:
        kind = data_sets.guess_task(request.data, _task_of(reads), request.reader)
        return replace(request, backbone=_starting_from(kind, backbone))
    if backbone is not None:
        raise UsageError(
            "a run has a backbone already", where="--run", mend="leave --backbone or --run out"
        )
    model = load(run)
    return replace(
        request,
        backbone=model.backbone,
        caution=caution_about(model),
        columns=_columns_of(model, request.data) if reads is None else request.columns,
        clip_s=model.facts.get("cut_s") if request.clip_s is None else request.clip_s,
    )


def report(run: str | Path) -> Path:
    """Draw `report.html` again from `report.json`.

    Returns:
        the page.
    """
    folder = Path(run)
    reporting.write(folder, reporting.load(folder))
    return folder / "report.html"


def demo(out: str | Path | None = None, *, tell: Tell = silent) -> Fitted:
    """Fit scikit-learn's handwritten digits, written out as pictures, 20 labels a class.

    The ladder, its twin from random weights and the label curve, in a few minutes.
    """
    folder = Path(out) if out is not None else Path("regraft-demo")
    pictures = folder / "digits"
    write_digits(pictures)
    return fit(pictures, folder / "run", budget=40.0, compare="scratch", tell=tell)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


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
    check_train(train)
    check_compare(compare)
    check_budget(budget)


def _starting_from(task: str, backbone: str | None, frames: int | None = None) -> str:
    """The name of the network; for clips, of the one around a network of pictures."""
    if task == "video-classification":
        return for_clips(backbone or DEFAULT, frames)
    if frames is not None:
        raise UsageError("only videos have frames", where="--frames", mend="leave it out")
    return backbone or DEFAULTS.get(task, DEFAULT)
