"""The data set: rows of samples, what they are called, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

Split = Literal["train", "valid", "test", ""]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

Target = int | tuple[int, ...] | None
"""A class index; for multi-label data the sorted class indices that apply; None when unlabelled."""

DROPPED = ("set aside", "left out", "ignored")
"""Values of `Problem.done` that say that one file or row is not among the samples."""
KEPT = "kept"
"""Of a leak in a pool that was asked to hold such: it is among the samples."""
NEW_CLASS = "new-class"
"""The kind of problem of a class that `--more` alone has; it is where."""
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Box:
    """One object.

    Attributes:
        category: counts from 0 in the data's order of names.
        left: in pixels of the picture as it is shown (EXIF applied), as the other edges.
        top: see there.
        right: see there.
        bottom: see there.
        crowd: many objects of the category that were not drawn one by one, or one that is too hard
            to judge: neither learnt nor counted as missed.
        area: square pixels of the object itself, where more than its box is known: COCO's sizes are
            by it. It says nothing of what is learnt, so boxes that differ in it alone are equal.
    """

    category: int
    left: float
    top: float
    right: float
    bottom: float
    crowd: bool = False
    area: float | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """One row.

    Attributes:
        id: the name it is reported under: the path relative to the data, or the row's id, as
            `guard.shown` prints it.
        source: the file that holds it, or its text.
        target: see `Target`.
        sha256: of the content (the file's bytes, or the text's); "" until the content was read.
        split: "" until splits are made.
        group: samples of one group stay on one side of a split; "" when it stands alone.
        size: height and width in pixels of a picture, as it is shown (EXIF applied).
        format: what the file really is, for example "JPEG"; "" for text.
        boxes: the objects, where boxes are learnt; `target` then holds their categories, each
            once. Pixels count from the upper left corner of the picture, or of `window`.
        window: the sample is this part of the picture: left, top, right, bottom in pixels; None
            is all of it. `size` is that of the part, `sha256` that of the whole file.
        span_s: of a clip, where it begins and ends in its file, in seconds; None for the rest.
        file_sha256: of a clip, the checksum of the whole file; "" for the rest.
        copies: names the set of samples that are copies of each other, near ones too; "" where
            there is no other. Unlike a group it says that they show the same.
    """

    id: str
    source: Path | str
    target: Target
    sha256: str = ""
    split: Split = ""
    group: str = ""
    size: tuple[int, int] = (0, 0)
    format: str = ""
    boxes: tuple[Box, ...] = ()
    window: tuple[int, int, int, int] | None = None
    span_s: tuple[float, float] | None = None
    file_sha256: str = ""
    copies: str = ""

    @property
    def view_key(self) -> str:
        """Names what is seen of it: its content, and its part where it is not the whole."""
        return self.sha256 if self.window is None else f"{self.sha256} {self.window}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something found in the data.

    Attributes:
        kind: a stable name, for example "truncated", "duplicate", "leak", "empty-class".
        where: the file or class.
        what: one sentence.
        done: what was done about it. Three answers drop the file or row named in `where`:
            "set aside" (it is bad, and counts towards the share of bad files that is allowed),
            "left out" (nothing is wrong with it, but using it would be),
            "ignored" (it never claimed to be a sample).
    """

    kind: str
    where: str
    what: str
    done: str = "nothing"


@dataclass(frozen=True, slots=True)
class BoxCounts:
    """What became of the boxes that a reader came across: found = used + refused + left out.

    Attributes:
        found: all of them.
        mended: how many of those that are not refused were changed.
        refused: how many cannot be used; each has a problem.
        used: how many are on the pictures of the data set, counted before these are cut to tiles;
            those are not among them of which no tile shows half.
        crowds: how many of the used ones are crowds, which are neither learnt nor counted.
    """

    found: int
    mended: int
    refused: int
    used: int
    crowds: int = 0

    @property
    def left_out(self) -> int:
        """How many went with a picture that is left out or set aside, or are too large to cut."""
        return self.found - self.refused - self.used


@dataclass(frozen=True)
class Dataset:
    """Samples of one task, in a fixed order (sorted by id).

    Attributes:
        path: what was read.
        task: "image-classification", …
        classes: names, sorted; a target counts from 0 in this order.
        samples: what can be used.
        problems: what was found.
        multilabel: a sample may have several classes, or none.
        found: files or rows that were come across; each is a sample or has a problem that says
            why not (see `DROPPED`).
        box_counts: where boxes are learnt.
        tile_px: side of the tiles that large pictures are cut into; 0 where none is.
    """

    path: Path
    task: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...] = field(default=())
    multilabel: bool = False
    found: int = 0
    box_counts: BoxCounts | None = None
    tile_px: int = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def modality(self) -> str:
        """What its samples are: "image", "text" or "video"."""
        return modality_of(self.task)

    @property
    def thing(self) -> str:
        """What messages call one of its samples: "picture", "text" or "clip"."""
        return {"image": "picture", "video": "clip"}.get(self.modality, "text")

    def split(self, name: Split) -> tuple[Sample, ...]:
        """The samples of one split, in order."""
        return tuple(sample for sample in self.samples if sample.split == name)

    def with_samples(self, samples: Iterable[Sample]) -> Dataset:
        """The same data set with other rows."""
        return replace(self, samples=tuple(samples))

    def with_problems(self, problems: Iterable[Problem]) -> Dataset:
        """The same data set with these problems added."""
        return replace(self, problems=self.problems + tuple(problems))

    def fingerprint(self) -> str:
        """sha256 over everything that training sees: contents, targets, splits, classes."""
        digest = hashlib.sha256(repr((self.task, self.multilabel, self.classes)).encode())
        for sample in self.samples:
            row = (sample.id, sample.sha256, sample.target, sample.split, sample.group)
            digest.update(repr(row).encode())
            if self.task == "object-detection":
                digest.update(repr((sample.boxes, sample.window)).encode())
        return digest.hexdigest()


def listing(problems: Sequence[Problem]) -> str:
    """The first ten problems below a message, a line each, and how many more there are."""
    lines = [f"\n  {problem.where}: {problem.what}" for problem in problems[:_LISTED]]
    rest = len(problems) - _LISTED
    return "".join(lines) + (f"\n  and {rest} more" if rest > 0 else "")


def losses(dataset: Dataset) -> str:
    """What speaks against files and rows of a data set, below a message that too few are left."""
    kept = ("grouped", "nothing")
    return listing([problem for problem in dataset.problems if problem.done not in kept])


def modality_of(task: str) -> str:
    """What the samples of a task are: "image", "text" or "video"."""
    return task.partition("-")[0].replace("object", "image")


def renumbered(sample: Sample, place: Mapping[int, int], several: bool) -> Sample:
    """The sample with its labels counted in another order.

    Args:
        sample: whose labels are all in `place`.
        place: old index to new index; two may become one.
        several: whether samples may have several labels.
    """
    labels = tuple(sorted({place[label] for label in labels_of(sample.target)}))
    boxes = tuple(replace(box, category=place[box.category]) for box in sample.boxes)
    return replace(sample, target=labels if several else labels[0], boxes=boxes)


def labels_of(target: Target) -> tuple[int, ...]:
    """The class indices of a target, one or several or none."""
    if target is None:
        return ()
    return (target,) if isinstance(target, int) else target
