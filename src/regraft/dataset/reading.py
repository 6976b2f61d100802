"""`read`: from a path to a data set that can be trained on.

Read the names, open every file, set bad ones aside, group copies, drop what cannot be learned,
make the splits that are missing. Everything that is dropped or changed on the way is a problem of
the data set, with the file's name.

Decisions:

- Bad files: up to `max_bad` of all files may be set aside, and always one (a person with fifty
  photos is not stopped by one broken file), unless `max_bad` is 0.
- Copies among labelled videos are looked for before these are cut. Cuts overlap only where the
  wholes do, and of the many pairs of short cuts one that is alike by chance would join two files.
  A pool is cut first: there such a pair costs one clip.
- Classes are what train has. What valid or test has beyond that cannot be learned, and is left
  out.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from regraft.dataset import guard
from regraft.dataset.boxes.samples import BoxReader
from regraft.dataset.boxes.tiles import tiled
from regraft.dataset.clips import VideoFolderReader, cut, holds_videos, verify_clips
from regraft.dataset.copies import content_of, settle, settle_apart
from regraft.dataset.folder import FolderReader, reader_asked_for
from regraft.dataset.reader import LAYOUT, LAYOUT_OF_CLASSES, Reader, alike
from regraft.dataset.rows import (
    DROPPED,
    BoxCounts,
    Dataset,
    Problem,
    Sample,
    Split,
    labels_of,
    listing,
    losses,
    renumbered,
)
from regraft.dataset.splits import refuse_without_valid, with_splits
from regraft.dataset.table import TableReader, columns_of, task_of
from regraft.dataset.texts import TextFolderReader
from regraft.dataset.verify import Verified, verify, verify_texts
from regraft.dataset.video import claims_video
from regraft.defaults import MAX_BAD
from regraft.errors import DataError, TooManyBadSamples, UsageError
from regraft.events import Said, Tell, silent

_SHEETS = (".xlsx", ".xlsm", ".xls", ".ods")

READERS: tuple[Reader, ...] = (
    BoxReader(),
    TextFolderReader(),
    VideoFolderReader(),
    FolderReader(),
    TableReader(),
)
_VERIFY: Mapping[str, Callable[[Sequence[Sample], Tell], Verified]] = {
    "image-classification": verify,
    "object-detection": verify,
    "text-classification": verify_texts,
    "video-classification": verify_clips,
}


def read(
    path: str | Path,
    *,
    task: str | None = None,
    valid: str | Path | None = None,
    test: str | Path | None = None,
    more: str | Path | None = None,
    max_bad: float = MAX_BAD,
    seed: int = 0,
    clip_s: float | None = None,
    tell: Tell = silent,
    reader: Reader | None = None,
) -> Dataset:
    """Read, check, group and split a data set.

    Args:
        path: a folder of classes, with or without train/, valid/ and test/ above them; or a
            table (CSV, TSV, Parquet) with the columns path and label; or boxes in a format of
            `dataset.boxes.FORMATS`.
        task: "image-classification", "object-detection", "text-classification" or
            "video-classification"; None takes what the data look like.
        valid: data for validation, in place of what `path` has for it.
        test: data for the test, likewise.
        more: data to train on besides, such as what was labelled of a pool; never measured on.
        max_bad: share of files that may be set aside; one file always may, unless this is 0.
        seed: another one makes other splits.
        clip_s: videos that are longer are cut into clips of this length.
        tell: hears `Advanced("reading", …)`; may raise to stop.
        reader: your own, for a format that is not known here; see `regraft.dataset.reader`.

    Raises:
        DataError: there is nothing to learn from; the message says what is missing.
        TooManyBadSamples: more files are bad than `max_bad` allows.
        UsageError: an argument is wrong.
    """
    _check_arguments(task, max_bad)
    listed = _listed(Path(path), reader, task, "leave --task out, or ")
    if valid is not None:
        listed = _with_given(listed, "valid", _listed(Path(valid), reader, listed.task))
    if test is not None:
        listed = _with_given(listed, "test", _listed(Path(test), reader, listed.task))
    listed = _named_splits(listed)
    if more is not None:
        others = _listed(Path(more), reader_for(Path(more), reader), listed.task)
        listed = _with_more(listed, others)
    dataset = _opened(listed, max_bad, tell)
    dataset = with_splits(_learnable(_cut(dataset, clip_s)), seed)
    refuse_without_valid(dataset)
    return _tiled(dataset)


def read_to_inspect(
    path: str | Path,
    *,
    task: str | None = None,
    clip_s: float | None = None,
    tell: Tell = silent,
    reader: Reader | None = None,
) -> Dataset:
    """Read a data set as `read` does; what `read` would stop at is a problem of it.

    Args:
        path: as for `read`.
        task: as for `read`.
        clip_s: as for `read`.
        tell: as for `read`.
        reader: as for `read`.

    Raises:
        DataError: there is nothing that can be read.
        UsageError: as for `read`.
    """
    _check_task(task)
    listed = _named_splits(_listed(Path(path), reader, task, "leave --task out, or "))
    dataset, faults = _cut(_opened(listed, 0.999, tell), clip_s), list[DataError]()
    try:
        dataset = _learnable(dataset)
    except DataError as fault:
        if not dataset.samples:
            raise
        faults.append(fault)
    dataset = with_splits(dataset, 0)
    try:
        refuse_without_valid(dataset)
    except DataError as fault:
        faults.append(fault)
    return _tiled(dataset).with_problems(map(_stopping, faults))


def _stopping(fault: DataError) -> Problem:
    """What `read` would stop at; the lines after its first one list problems that are known."""
    return Problem("no-fit", fault.where, fault.what.splitlines()[0], "fit stops")


def read_all(
    path: str | Path,
    *,
    task: str | None = None,
    max_bad: float = MAX_BAD,
    clip_s: float | None = None,
    tell: Tell = silent,
    reader: Reader | None = None,
) -> Dataset:
    """Read and check a data set to measure a model on: grouped, but not split.

    Splits that are given are forgotten; one class, or one sample, is enough. Large pictures with
    boxes are whole (see `boxes.tiles.tiled`).

    Args:
        path: as for `read`.
        task: as for `read`.
        max_bad: as for `read`.
        clip_s: as for `read`.
        tell: as for `read`.
        reader: as for `read`.

    Raises:
        DataError: there is nothing at all.
        TooManyBadSamples: as for `read`.
        UsageError: as for `read`.
    """
    _check_arguments(task, max_bad)
    listed = _listed(Path(path), reader, task)
    whole = listed.with_samples(replace(sample, split="") for sample in listed)
    dataset = _cut(_opened(whole, max_bad, tell), clip_s)
    if not dataset.samples:
        raise DataError("No sample can be used.", where=guard.shown(dataset.path), mend=LAYOUT)
    return dataset


def read_unlabelled(
    path: str | Path,
    *,
    apart_from: Iterable[Sample] = (),
    max_bad: float = MAX_BAD,
    clip_s: float | None = None,
    tell: Tell = silent,
) -> Dataset:
    """Read a pool of pictures or videos without labels, in a folder of any shape.

    Of equal files one is kept.

    Args:
        path: a folder; folders inside of it mean nothing.
        apart_from: samples of labelled data; copies of them, near ones too, are left out as leaks.
        max_bad: as for `read`.
        clip_s: as for `read`.
        tell: as for `read`.

    Raises:
        DataError: there is no picture and no video. Where all are copies, the pool is empty.
        TooManyBadSamples: as for `read`.
        UsageError: as for `read`.
    """
    _check_arguments(None, max_bad)
    root = Path(path)
    if root.is_file():
        raise DataError(
            "This is a file; a pool is a folder.",
            where=guard.shown(root),
            mend="give the folder that it lies in, or one with it alone",
        )
    if not root.is_dir():
        raise DataError("There is no such folder.", where=guard.shown(root), mend="check the path")
    samples: list[Sample] = []
    problems: list[Problem] = []
    for file, problem in guard.files(root.resolve()):
        name = guard.shown(file.relative_to(root.resolve()).as_posix())
        if problem is None:
            samples.append(Sample(name, file, None, split="train"))
        else:
            problems.append(problem)
    found = len(samples) + len(problems)
    task = "video-classification" if holds_videos(root) else "image-classification"
    listed = Dataset(root, task, (), tuple(samples), tuple(problems), found=found)
    verified = _VERIFY[task](listed.samples, tell)
    pool = listed.with_samples(verified.samples).with_problems(verified.problems)
    refuse_too_many_bad(pool, max_bad)
    _say_ignored(pool, tell)
    if clip_s is not None:
        # Cut first, so that a clip which the other data hold goes without the rest of its file.
        pool = _cut(pool, clip_s)
        verified = verify_clips(pool.samples, silent)
    beside = _VERIFY[task](list(apart_from), silent)
    thumbnails_nhw = np.concatenate([verified.thumbnails_nhw, beside.thumbnails_nhw])
    settled = settle_apart(pool, beside.samples, thumbnails_nhw)
    kept: dict[str, Sample] = {}
    again: list[Problem] = []
    for sample in settled.samples:
        if sample.sha256 in kept:
            what = f"The same {content_of(sample)} as {kept[sample.sha256].id}."
            again.append(Problem("repeated", sample.id, what, "left out"))
        else:
            kept[sample.sha256] = sample
    if not verified.samples:
        raise DataError(
            f"No {pool.thing} can be used.", where=guard.shown(root), mend="check the folder"
        )
    return settled.with_samples(kept.values()).with_problems(again)


def _tiled(dataset: Dataset) -> Dataset:
    return tiled(dataset) if dataset.task == "object-detection" else dataset


def _cut(dataset: Dataset, clip_s: float | None) -> Dataset:
    if clip_s is None:
        return dataset
    if not clip_s > 0 or dataset.task != "video-classification":
        raise UsageError(
            "Only videos are cut into clips, of a length above 0.",
            where="--clip",
            mend="leave it out, or give for example 6s",
        )
    return cut(dataset, clip_s)


def _opened(listed: Dataset, max_bad: float, tell: Tell) -> Dataset:
    """The data set with every file opened, bad ones set aside, copies grouped."""
    verified = _VERIFY[listed.task](listed.samples, tell)
    dataset = listed.with_samples(verified.samples).with_problems(verified.problems)
    refuse_too_many_bad(dataset, max_bad)
    _say_ignored(dataset, tell)
    return _with_alike(settle(dataset, verified.thumbnails_nhw))


def _say_ignored(dataset: Dataset, tell: Tell) -> None:
    """Tell how many pictures lie among videos or texts that are read, and likewise of videos."""
    most = {"image": "pictures", "video": "videos", "text": "texts"}[dataset.modality]
    ignored = [Path(p.where) for p in dataset.problems if p.done == "ignored"]
    for other, claims in (("picture", guard.claims_picture), ("video", claims_video)):
        count = 0 if most == f"{other}s" else sum(map(claims, ignored))
        if count:
            are = " is" if count == 1 else "s are"
            tell(Said(f"{count:,} {other}{are} not read: most files here are {most}"))


def _with_alike(dataset: Dataset) -> Dataset:
    """Say which classes may be one, by their names; of boxes their reader says it."""
    if dataset.task == "object-detection":
        return dataset
    what = "The classes {} and {} differ in upper and lower case alone."
    return dataset.with_problems(
        Problem("alike-classes", other, what.format(one, other), "both kept")
        for one, other in alike(dataset.classes)
    )


def _check_arguments(task: str | None, max_bad: float) -> None:
    _check_task(task)
    if not 0 <= max_bad < 1:
        raise UsageError(
            f"The share of bad files cannot be {max_bad}.",
            where="--max-bad",
            mend="give a number from 0 to below 1, for example 0.01 for 1 %",
        )


def _check_task(task: str | None) -> None:
    if task not in (None, *_VERIFY):
        near = difflib.get_close_matches(task, _VERIFY, n=1)
        use = f"did you mean {near[0]}? Use" if near else "use"
        raise UsageError(
            f"There is no task {task!r}.",
            where="--task",
            mend=f"{use} {' or '.join(_VERIFY)}",
        )


def reader_for(path: Path, reader: Reader | None) -> Reader | None:
    """The reader for further data; its columns count where the data have them."""
    if isinstance(reader, TableReader) and not {reader.text, reader.label} - {""} <= set(
        columns_of(path)
    ):
        return None
    return reader


def check_columns(reader: Reader | None, path: Path) -> None:
    """Refuse columns that were named for what is no table.

    Raises:
        UsageError: they were.
    """
    if isinstance(reader, TableReader) and (reader.text or reader.label):
        if path.exists() and not reader.recognises(path):
            raise UsageError(
                f"Only tables have columns; {guard.shown(path)} is none.",
                where="--columns",
                mend="leave it out, or give a table (CSV, TSV, Parquet or JSON lines)",
            )


def refuse_run(path: Path) -> None:
    """Refuse what an earlier command wrote where data are meant.

    Raises:
        UsageError: the folder is a run.
    """
    if not guard.is_run(path):
        return
    run = shlex.quote(guard.shown(path))
    if (path / "backbone" / "backbone.json").is_file():
        mend = f"give data to start from it with: --backbone {run}"
    elif (path / "model" / "model.json").is_file():
        mend = f"give data, or use the run: regraft predict {run} INPUT..., regraft report {run}"
    else:
        mend = "repeat the command that began it; what is done is kept"
    raise UsageError("this is a run of regraft, no data", where=guard.shown(path), mend=mend)


def guess_task(path: Path, task: str | None = None, reader: Reader | None = None) -> str:
    """What the data at a path look like, unless the user says what they are.

    Args:
        path: the data.
        task: what the user says.
        reader: the user's own, which knows the task of what it reads.

    Raises:
        DataError: there is a table that cannot be read, or the reader cannot read what is there.
        UsageError: there is no such task, or the path is a run.
    """
    refuse_run(path)
    if task is not None:
        _check_task(task)
        return task
    if reader is not None:
        return _rows_of(path, reader).task
    if BoxReader().recognises(path):
        return "object-detection"
    if TextFolderReader().recognises(path):
        return "text-classification"
    if VideoFolderReader().recognises(path):
        return "video-classification"
    return task_of(path) if TableReader().recognises(path) else "image-classification"


def asked_for(task: str | None, path: Path) -> Reader | None:
    """The reader of the files that a task is for, where a folder may hold several kinds."""
    reader = None if task is None else reader_asked_for(task, path)
    return None if reader is None or BoxReader().recognises(path) else reader


def _listed(path: Path, reader: Reader | None, task: str | None, mend: str = "") -> Dataset:
    """The rows of whatever lies at a path; `mend` is what else helps where the task is wrong."""
    listed = _rows_of(path, reader or asked_for(task, path))
    if task not in (None, listed.task):
        if listed.modality == "text" and TableReader().recognises(path):
            mend += "call the column with the names of the files `path`, or "
        raise DataError(
            f"This looks like data for {listed.task}, not for {task}.",
            where=guard.shown(path),
            mend=f"{mend}give data for {task}",
        )
    return listed


def _rows_of(path: Path, reader: Reader | None) -> Dataset:
    if not path.exists():
        raise DataError(
            "There is no such file or folder.", where=guard.shown(path), mend="check the path"
        )
    refuse_run(path)
    check_columns(reader, path)
    for candidate in READERS if reader is None else (reader,):
        if candidate.recognises(path):
            return _labelled(candidate.read(path))
    names = (
        " or a ".join(dict.fromkeys(known.name for known in READERS))
        if reader is None
        else reader.name
    )
    if path.suffix.lower() in _SHEETS:
        raise DataError(
            "This is a spreadsheet.", where=guard.shown(path), mend="save it as CSV, in UTF-8"
        )
    raise DataError(f"This is not a {names}.", where=guard.shown(path), mend=LAYOUT)


def _labelled(dataset: Dataset) -> Dataset:
    problems = [
        Problem("no-label", sample.id, "It has no label.", "left out")
        for sample in dataset
        if sample.target is None
    ]
    kept = (sample for sample in dataset if sample.target is not None)
    return dataset.with_samples(kept).with_problems(problems)


# Splits given by the user ------------------------------------------------------------------------


def _with_given(main: Dataset, name: Split, other: Dataset) -> Dataset:
    """The data set with another one as its valid or test split."""
    if any(sample.split for sample in other):
        raise DataError(
            f"The data given for {name} has splits of its own.",
            where=guard.shown(other.path),
            mend="name the folder of one of them, or take the column split out",
        )
    training, main = _training(main), _without(main, other)
    if training and not _training(main):
        raise DataError(
            f"All {main.thing}s to train on were given for {name} as well; "
            "what is measured on is not learnt from.",
            where=guard.shown(other.path),
            mend=f"give other {main.thing}s with --{name}, or leave it out",
        )
    replaced = [sample for sample in main if sample.split == name]
    text = f"{name} is taken from {guard.shown(other.path)} instead."
    problems = [Problem("replaced", sample.id, text, "left out") for sample in replaced]
    kept = [
        replace(sample, split=sample.split or "train") for sample in main if sample.split != name
    ]
    merged = _with_classes(main, kept, _used(main, kept), other.multilabel)
    return _together(merged, other, name, name).with_problems(problems)


def _with_more(main: Dataset, other: Dataset) -> Dataset:
    """The data set with another one to train on besides, whatever splits that has.

    What the data set's own validation split is still to be taken from has no split then, so that
    nothing else is.

    Raises:
        DataError: all of the data set lies in the other one.
    """
    before, main = len(main), _without(main, other)
    if before and not len(main):
        raise DataError(
            f"All {main.thing}s were given with --more as well, so none are left to measure on.",
            where=guard.shown(other.path),
            mend="give other data with --more, or leave it out",
        )
    if not main.split("valid"):
        main = main.with_samples(
            replace(sample, split="") if sample.split == "train" else sample for sample in main
        )
    names = _used(main, main.samples) | _used(other, other.samples)
    merged = _with_classes(main, main.samples, names, other.multilabel)
    return _together(merged, other, "more", "train")


def _together(main: Dataset, other: Dataset, prefix: str, split: Split) -> Dataset:
    """One data set of two; what is no class of the first is left out of the second."""
    known = {label: index for index, label in enumerate(main.classes)}
    added: list[Sample] = []
    problems: list[Problem] = []
    for sample in other:
        names = [other.classes[label] for label in labels_of(sample.target)]
        id_ = f"{prefix}:{sample.id}"
        unknown = [label for label in names if label not in known]
        if unknown:
            problems.append(_unknown_class(main, id_, unknown[0]))
            continue
        place = {other.classes.index(label): known[label] for label in names}
        added.append(replace(renumbered(sample, place, main.multilabel), id=id_, split=split))
    problems += [replace(problem, where=f"{prefix}:{problem.where}") for problem in other.problems]
    samples = sorted([*main.samples, *added], key=lambda sample: sample.id)
    return replace(
        main,
        samples=tuple(samples),
        found=main.found + other.found,
        box_counts=_counted_together(main.box_counts, other.box_counts),
    ).with_problems(problems)


def _counted_together(one: BoxCounts | None, other: BoxCounts | None) -> BoxCounts | None:
    if one is None or other is None:
        return None
    return BoxCounts(
        one.found + other.found,
        one.mended + other.mended,
        one.refused + other.refused,
        one.used + other.used,
    )


def _without(main: Dataset, other: Dataset) -> Dataset:
    """The data set without the files of another that lies inside it.

    Texts of a table are no files: where both have the same one, it is a leak and said to be.
    """
    sources = {sample.source for sample in other if isinstance(sample.source, Path)}
    samples = tuple(sample for sample in main if sample.source not in sources)
    problems = main.problems
    root, inner = main.path.resolve(), other.path.resolve()
    if inner.is_dir() and inner.is_relative_to(root) and inner != root:
        begin = guard.shown(inner.relative_to(root)) + "/"
        problems = tuple(p for p in problems if not p.where.startswith(begin))
    fewer = len(main) - len(samples) + _dropped(main.problems) - _dropped(problems)
    return replace(main, samples=samples, problems=problems, found=main.found - fewer)


def _dropped(problems: Iterable[Problem]) -> int:
    return sum(problem.done in DROPPED for problem in problems)


def _unknown_class(dataset: Dataset, id_: str, label: str) -> Problem:
    what = f"No {dataset.thing} of the class {label} is there to train on."
    return Problem("unknown-class", id_, what, "left out")


def _named_splits(dataset: Dataset) -> Dataset:
    """Where some samples have a split, the others train."""
    if not any(sample.split for sample in dataset) or all(sample.split for sample in dataset):
        return dataset
    problems = [
        Problem("no-split", sample.id, "It has no split where others have.", "put into train")
        for sample in dataset
        if not sample.split
    ]
    samples = (replace(sample, split=sample.split or "train") for sample in dataset)
    return dataset.with_samples(samples).with_problems(problems)


# Bad files and classes ---------------------------------------------------------------------------


def refuse_too_many_bad(dataset: Dataset, max_bad: float) -> None:
    """Stop where more files were set aside than allowed.

    Raises:
        TooManyBadSamples: names them.
    """
    bad = [problem for problem in dataset.problems if problem.done == "set aside"]
    meant = dataset.found - sum(problem.done == "ignored" for problem in dataset.problems)
    allowed = max(1, int(max_bad * meant)) if max_bad > 0 else 0
    if len(bad) <= allowed:
        return
    head = (
        f"{len(bad)} of {meant} {dataset.thing}s cannot be used; at most {allowed} may be set aside"
    )
    mend = f"mend or remove them, or allow more: --max-bad {_share_above(len(bad), meant)}"
    raise TooManyBadSamples(
        f"{head}.{listing(bad)}",
        where=guard.shown(dataset.path),
        mend=mend if len(bad) < meant else "mend them; not one of them can be used",
    )


def _share_above(bad: int, meant: int) -> float:
    """The smallest share, in thousandths, that allows so many; below 1."""
    return min(0.999, (bad * 1000 // meant + 1) / 1000)


def _used(dataset: Dataset, samples: Iterable[Sample]) -> set[str]:
    return {dataset.classes[label] for sample in samples for label in labels_of(sample.target)}


def _with_classes(
    dataset: Dataset, samples: Iterable[Sample], names: set[str], multilabel: bool
) -> Dataset:
    """The data set with these samples, whose labels are all in `names`, counted anew."""
    classes = tuple(sorted(names))
    index = {name: number for number, name in enumerate(classes)}
    place = {old: index[name] for old, name in enumerate(dataset.classes) if name in index}
    several = dataset.multilabel or multilabel
    samples = tuple(renumbered(sample, place, several) for sample in samples)
    return replace(dataset, classes=classes, samples=samples, multilabel=several)


def _training(dataset: Dataset) -> list[Sample]:
    return [sample for sample in dataset if sample.split in ("", "train")]


def _learnable(dataset: Dataset) -> Dataset:
    """The data set with the classes that train has.

    Raises:
        DataError: fewer than two classes are left (one, where samples may have several).
    """
    names, thing = _used(dataset, _training(dataset)), dataset.thing
    leaks = [problem for problem in dataset.problems if problem.kind == "leak"]
    if leaks and not _training(dataset):
        raise DataError(
            f"All {thing}s to train on are copies of {thing}s to validate or test with, and were "
            f"set aside. {leaks[0].where}: {leaks[0].what}",
            where=guard.shown(dataset.path),
            mend=f"give other {thing}s to validate and test with, or none: they are then split off",
        )
    problems = [
        Problem("empty-class", name, f"The class {name} has no {thing} left.", "class left out")
        for name in sorted(set(dataset.classes) - _used(dataset, dataset.samples))
    ]
    kept: list[Sample] = []
    for sample in dataset:
        labels = [dataset.classes[label] for label in labels_of(sample.target)]
        unknown = [label for label in labels if label not in names]
        if unknown:
            problems.append(_unknown_class(dataset, sample.id, unknown[0]))
        else:
            kept.append(sample)
    dataset = dataset.with_problems(problems)
    if len(names) < (1 if dataset.multilabel else 2):
        raise _too_few_classes(dataset, names)
    return _with_classes(dataset, kept, names, dataset.multilabel)


def _too_few_classes(dataset: Dataset, names: set[str]) -> DataError:
    found = f"only the class {min(names)}" if names else "no class"
    others = f"add {dataset.thing}s of other classes"
    return DataError(
        f"There is {found} to train on, and telling apart takes two.{losses(dataset)}",
        where=guard.shown(dataset.path),
        mend=LAYOUT_OF_CLASSES if dataset.thing == "picture" else others,
    )
