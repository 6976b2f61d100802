"""What a reader is, and the check that one keeps its promises.

A reader turns a path into rows: which samples there are, what they are called, which classes and
splits were given. It opens no picture; `dataset.read` does that afterwards, the same way for
every format. To add a format, write a class like `Reader` and hand it to `dataset.read`:

    dataset.read("birds.json", reader=BirdReader())
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from regraft.dataset import guard
from regraft.dataset.rows import DROPPED, SPLITS, Dataset, Sample, Split, Target
from regraft.errors import ContractBroken

LAYOUT_OF_CLASSES = """make one folder for each class and put its pictures in:
  photos/cat/1.jpg
  photos/cat/2.jpg
  photos/dog/1.jpg
or write a table (CSV, TSV or Parquet) with the columns path and label,
beside the pictures, and give the table"""
LAYOUT = f"""{LAYOUT_OF_CLASSES};
or give boxes: COCO JSON, YOLO, Pascal VOC or a table of them"""
LAYOUT_OF_VIDEOS = """make one folder for each class and put its videos in:
  clips/walking/1.mp4
  clips/walking/2.mp4
  clips/running/1.mp4
or write a table (CSV, TSV or Parquet) with the columns path and label, and start and stop,
in seconds, where parts of files are meant; put it beside the videos, and give the table"""
LAYOUT_OF_TEXTS = """make one folder for each class and put its texts in:
  mails/spam/1.txt
  mails/spam/2.txt
  mails/wanted/1.txt
or write a table (CSV, TSV, JSON lines or Parquet) with the columns text and label"""

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
"""What data sets call the splits, in lower case."""


class Reader(Protocol):
    """The contract of a reader; `check_reader` checks it."""

    @property
    def name(self) -> str:
        """What messages call the format."""
        ...

    def recognises(self, path: Path) -> bool:
        """Whether this reader reads what lies there. Never raises; opens no picture."""
        ...

    def read(self, path: Path) -> Dataset:
        """The rows, before any picture is opened.

        Samples are sorted by id; `sha256`, `size` and `format` are left empty; `split` and
        `group` are as given in the data, "" where nothing is given; `source` is an absolute path
        inside the data's folder. What was found and is no sample has a problem (see
        `rows.DROPPED`), so that `found` is the number of both together.

        Raises:
            DataError: the data as a whole cannot be read.
        """
        ...


def class_name(text: str) -> str:
    """A class's name, printable; the same name is the same however its accents are coded."""
    return guard.shown(unicodedata.normalize("NFC", text.strip()))


def alike(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names that differ in upper and lower case alone, each with the first such."""
    first: dict[str, str] = {}
    for name in names:
        known = first.setdefault(name.casefold(), name)
        if known != name:
            yield known, name


def check_reader(reader: Reader, folder: Path) -> None:
    """Check that a reader keeps the contract on some data that it is for.

    Args:
        reader: yours.
        folder: data in its format, a folder or a file; the more problems are in it, the better.

    Raises:
        ContractBroken: names the promise that is not kept.
    """
    if not reader.name:
        raise _broken(reader, "`name` is empty", folder)
    if not reader.recognises(folder):
        raise _broken(reader, "`recognises` says no to data it is for", folder)
    nowhere = folder / "there is no such file"
    if reader.recognises(nowhere):
        raise _broken(reader, "`recognises` says yes to what is not there", nowhere)
    dataset = reader.read(folder)
    if reader.read(folder) != dataset:
        raise _broken(reader, "reading twice gives two different data sets", folder)
    _check_names(reader, dataset)
    for sample in dataset.samples:
        _check_sample(reader, dataset, sample)
    _check_nothing_dropped(reader, dataset, folder)


def _check_names(reader: Reader, dataset: Dataset) -> None:
    classes, ids = dataset.classes, [sample.id for sample in dataset]
    if list(classes) != sorted(set(classes)) or not all(classes):
        raise _broken(reader, "`classes` are not sorted, unique and named", classes)
    if ids != sorted(ids):
        raise _broken(reader, "samples are not sorted by id", ids[:3])
    repeated = [id_ for id_, count in Counter(ids).items() if count > 1]
    if repeated:
        raise _broken(reader, "two samples have one id", repeated[0])
    unprintable = [name for name in (*classes, *ids) if not name.isprintable() or not name]
    if unprintable:
        raise _broken(reader, "a name is empty or not one printable line", repr(unprintable[0]))
    for problem in dataset.problems:
        if not (problem.kind and problem.where and problem.what and problem.done):
            raise _broken(reader, "a problem does not say all it should", problem)


def _check_sample(reader: Reader, dataset: Dataset, sample: Sample) -> None:
    if not _target_fits(sample.target, len(dataset.classes), dataset.multilabel):
        raise _broken(reader, f"target {sample.target!r} does not fit the classes", sample.id)
    if sample.split not in ("", *SPLITS):
        raise _broken(reader, f"there is no split {sample.split!r}", sample.id)
    if isinstance(sample.source, Path):
        root = dataset.path.resolve()
        root = root if root.is_dir() else root.parent
        if not sample.source.resolve().is_relative_to(root):
            raise _broken(reader, "a sample's file lies outside the data", sample.source)


def _target_fits(target: Target, classes: int, multilabel: bool) -> bool:
    if target is None:
        return True
    if multilabel != isinstance(target, tuple):
        return False
    labels = target if isinstance(target, tuple) else (target,)
    return list(labels) == sorted(set(labels)) and all(0 <= label < classes for label in labels)


def _check_nothing_dropped(reader: Reader, dataset: Dataset, folder: Path) -> None:
    dropped = [problem.where for problem in dataset.problems if problem.done in DROPPED]
    if dataset.found != len(dataset) + len(dropped):
        text = f"{dataset.found} found, but {len(dataset)} samples and {len(dropped)} dropped"
        raise _broken(reader, text, folder)
    if not folder.is_dir():
        return
    root = folder.resolve()
    named = {sample.source for sample in dataset} | set(dropped)
    for path, _ in guard.files(root):
        if guard.claims_picture(path) and not {path, guard.shown(path.relative_to(root))} & named:
            raise _broken(reader, "a picture is neither a sample nor a problem", path)


def _broken(reader: Reader, what: str, where: object) -> ContractBroken:
    return ContractBroken(
        f"The reader {reader.name!r} breaks its contract: {what}.",
        where=where,
        mend="see the docstring of regraft.dataset.reader.Reader",
    )
