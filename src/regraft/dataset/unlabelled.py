"""Pools: samples without labels. Pictures or videos in a folder of any shape or a table, or texts.

Decisions:

- Of equal contents one is kept. What is a copy of labelled data, nearly or in part, is left out as
  a leak.
- Videos are cut first, so that a clip which the labelled data hold goes without the rest of its
  file. Of the many pairs of short cuts one that is alike by chance costs one clip here; among
  labelled videos it would join two files (see `reading.py`).
- In a table of texts each row of the column of texts is a sample, labels are not looked at; in a
  folder each text file is. One plain text file is divided at its blank lines, a paragraph of more
  than four thousand characters at its lines (some files have one text a line), such a line between
  words, and what is short is put together until it has a thousand characters.
- Which files are texts, what is read of them, and what counts as a copy is as for labelled texts
  (`texts.py`, `near_texts.py`). A text that *holds* a labelled one, or is a part of it, is a leak,
  too (`holders.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from regraft.dataset import guard
from regraft.dataset.clips import cut, holds_videos, verify_clips
from regraft.dataset.copies import content_of, settle_apart
from regraft.dataset.holders import holders
from regraft.dataset.rows import KEPT, Dataset, Problem, Sample
from regraft.dataset.table_columns import lines_of
from regraft.dataset.table_rows import TableReader, unlabelled_of
from regraft.dataset.texts import doubts, is_text_file, read_bytes
from regraft.dataset.usable import VERIFY, check_max_bad, say_ignored, usable
from regraft.dataset.video import passed_over
from regraft.defaults import MAX_BAD
from regraft.errors import DataError
from regraft.events import Tell, silent

BLOCK = 1000
"""Characters that paragraphs of one file are put together to."""
LONG = 4 * BLOCK
"""Characters of a paragraph that is divided at its lines, and of a line that is between words."""
_PART = re.compile(rf".{{1,{BLOCK}}}\S{{0,100}}\s?")


def read_unlabelled(
    path: str | Path,
    *,
    apart_from: Iterable[Sample] = (),
    keep_leaks: bool = False,
    max_bad: float = MAX_BAD,
    clip_s: float | None = None,
    tell: Tell = silent,
) -> Dataset:
    """Read a pool of pictures or videos without labels.

    Of equal files one is kept.

    Args:
        path: a folder; folders inside of it mean nothing. Or a table that names files, or parts of
            videos, whatever labels it has.
        apart_from: samples of labelled data; copies of them, near ones too, are left out as leaks.
        keep_leaks: report them, but let them stay.
        max_bad: as for `read`.
        clip_s: as for `read`.
        tell: as for `read`.

    Raises:
        DataError: there is no picture and no video. Where all are copies, the pool is empty.
        TooManyBadSamples: as for `read`.
        UsageError: as for `read`.
    """
    check_max_bad(max_bad)
    root = Path(path)
    pool, thumbnails_nhw = usable(_listed_files(root), max_bad, tell)
    say_ignored(pool, tell)
    if clip_s is not None:
        pool = cut(pool, clip_s)
        thumbnails_nhw = verify_clips(pool.samples, silent).thumbnails_nhw
    if not pool.samples:
        raise DataError(
            f"No {pool.thing} can be used.", where=guard.shown(root), mend="check the folder"
        )
    beside = VERIFY[pool.task](list(apart_from), silent)
    both_nhw = np.concatenate([thumbnails_nhw, beside.thumbnails_nhw])
    settled = settle_apart(pool, beside.samples, both_nhw, keep_leaks=keep_leaks)
    return _once(settled, {}, keep_leaks)


def read_unlabelled_texts(
    path: str | Path,
    *,
    column: str = "",
    apart_from: Iterable[Sample] = (),
    keep_leaks: bool = False,
    max_bad: float = MAX_BAD,
    tell: Tell = silent,
) -> Dataset:
    """Read a pool of texts; of equal ones one is kept. `source` is the text, `split` "train".

    Args:
        path: a table, a folder or a text file.
        column: of a table, the one with the texts; found if "".
        apart_from: samples of labelled data, with their texts; what is a copy of one of them,
            nearly or in part, is left out as a leak.
        keep_leaks: report it, but let it stay.
        max_bad: share of files that may be set aside; one always may, unless this is 0.
        tell: hears `Advanced("reading", …)` and `Advanced("leaks", …)`, and which files of another
            kind are not read; may raise to stop.

    Raises:
        DataError: there is no text. Where all are copies, the pool is empty.
        TooManyBadSamples: more files are bad than `max_bad` allows.
        UsageError: `max_bad` is no share.
    """
    check_max_bad(max_bad)
    root = Path(path)
    pool, thumbnails_nhw = usable(_listed_texts(root, column), max_bad, tell)
    say_ignored(pool, tell)
    if not pool.samples:
        raise DataError(
            "No text can be used.", where=guard.shown(root), mend="check what lies there"
        )
    others = list(apart_from)
    settled = settle_apart(pool, others, thumbnails_nhw, keep_leaks=keep_leaks)
    return _once(settled, holders(settled.samples, others, tell), keep_leaks)


def recognises_texts(path: Path) -> bool:
    """Whether there are texts at a path: a table of them, a text file, a folder with some.

    Other files in a folder are no matter: they are left out when it is read.
    """
    if path.is_dir():
        return guard.holds(path, is_text_file)
    return guard.is_file(path) and (TableReader().recognises(path) or is_text_file(path))


def _once(pool: Dataset, held: Mapping[str, str], keep_leaks: bool) -> Dataset:
    """The pool with one sample for each content, without those that hold another, by id."""
    kept: dict[str, Sample] = {}
    told = {problem.where for problem in pool.problems if problem.kind == "leak"}
    problems: list[Problem] = []
    for sample in pool:
        if sample.id in held and sample.id not in told:
            what = f"It holds {held[sample.id]} of the labelled data, or a large part of it."
            done = KEPT if keep_leaks else "left out"
            problems.append(Problem("leak", sample.id, what, done))
            if not keep_leaks:
                continue
        if sample.sha256 in kept:
            what = f"The same {content_of(sample)} as {kept[sample.sha256].id}."
            problems.append(Problem("repeated", sample.id, what, "left out"))
        else:
            kept[sample.sha256] = sample
    return pool.with_samples(kept.values()).with_problems(problems)


# What lies there ---------------------------------------------------------------------------------


def _listed_files(root: Path) -> Dataset:
    """The files of a folder or a table, before they are opened."""
    if TableReader().recognises(root):
        return unlabelled_of(root)
    if root.is_file():
        raise DataError(
            "This is a file; a pool is a folder or a table.",
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
    return Dataset(root, task, (), tuple(samples), tuple(problems), found=found)


def _listed_texts(root: Path, column: str = "") -> Dataset:
    """What lies at a path, before it is read."""
    if not root.exists():
        raise guard.nothing_at(root)
    problems: list[Problem] = []
    notes: Sequence[Problem] = ()
    if root.is_dir():
        samples, problems = _folder(root.resolve())
    elif TableReader().recognises(root):
        lines, notes = lines_of(root, column)
        samples = [Sample(line, text, None, split="train") for line, text in lines]
    else:
        content = read_bytes(guard.read_file(root), guard.shown(root))
        samples, notes = _numbered(list(_blocks(content.text))), doubts(content, guard.shown(root))
    found, told = len(samples) + len(problems), (*problems, *notes)
    return Dataset(root, "text-classification", (), tuple(samples), told, found=found)


def _folder(root: Path) -> tuple[list[Sample], list[Problem]]:
    samples: list[Sample] = []
    problems: list[Problem] = []
    for file, problem in guard.files(root):
        name = guard.shown(file.relative_to(root).as_posix())
        if problem is not None:
            problems.append(problem)
        elif is_text_file(file):
            samples.append(Sample(name, file, None, split="train"))
        else:
            problems.append(Problem("not-a-text", name, passed_over(file, "text"), "ignored"))
    return samples, problems


def _numbered(found: Sequence[str]) -> list[Sample]:
    digits = len(str(len(found)))
    return [
        Sample(f"block {number:0{digits}d}", text, None, split="train")
        for number, text in enumerate(found, 1)
    ]


def _blocks(text: str) -> Iterator[str]:
    paragraphs = [part.strip("\n") for part in re.split(r"\n\s*\n", text) if part.strip()]
    for is_long, some in groupby(paragraphs, lambda part: len(part) > LONG):
        if is_long:
            for paragraph in some:
                lines = paragraph.split("\n")
                yield from _joined((part for line in lines for part in _parts(line)), "\n")
        else:
            yield from _joined(some, "\n\n")


def _parts(line: str) -> list[str]:
    """A long line in parts that end where a word does, if that is soon; else as it is."""
    return _PART.findall(line) if len(line) > LONG else [line]


def _joined(parts: Iterable[str], between: str) -> Iterator[str]:
    """Parts put together, in order, until they have so many characters."""
    held, count = list[str](), 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count >= BLOCK:
            yield between.join(held)
            held, count = [], 0
    if held:
        yield between.join(held)
