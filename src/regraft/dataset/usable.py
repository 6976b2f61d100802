"""What can be used of what was listed: every file is opened once, and bad ones are set aside.

Bad files: up to `max_bad` of all files may be set aside, and always one (a person with fifty photos
is not stopped by one broken file), unless `max_bad` is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from regraft.dataset import guard
from regraft.dataset.clips import verify_clips
from regraft.dataset.duplicates import Thumbnails
from regraft.dataset.rows import Dataset, Problem, Sample, listing
from regraft.dataset.verify import Verified, verify, verify_texts
from regraft.dataset.video import claims_video
from regraft.errors import TooManyBadSamples, UsageError
from regraft.events import Said, Tell

VERIFY: Mapping[str, Callable[[Sequence[Sample], Tell], Verified]] = {
    "image-classification": verify,
    "object-detection": verify,
    "text-classification": verify_texts,
    "video-classification": verify_clips,
}
"""How the files of each task are opened."""
TASKS = tuple(VERIFY)
_LINKS = ("link", "hidden")
"""Problems of links to folders, which are no files, whatever their names say."""


def usable(listed: Dataset, max_bad: float, tell: Tell) -> tuple[Dataset, Thumbnails]:
    """The data set with what can be used of it, and a thumbnail of each sample.

    Args:
        listed: as a reader gave it.
        max_bad: share of files that may be set aside.
        tell: hears `Advanced("reading", …)`; may raise to stop.

    Raises:
        TooManyBadSamples: more are bad.
    """
    verified = VERIFY[listed.task](listed.samples, tell)
    dataset = listed.with_samples(verified.samples).with_problems(verified.problems)
    refuse_too_many_bad(dataset, max_bad)
    return dataset, verified.thumbnails_nhw


def check_max_bad(max_bad: float) -> None:
    """Refuse what is no share.

    Raises:
        UsageError: it is not from 0 to below 1.
    """
    if not 0 <= max_bad < 1:
        raise UsageError(
            f"The share of bad files cannot be {max_bad}.",
            where="--max-bad",
            mend="give a number from 0 to below 1, for example 0.01 for 1 %",
        )


def say_ignored(dataset: Dataset, tell: Tell) -> None:
    """Tell how many pictures lie among videos or texts that are read, and likewise of others."""
    most = {"image": "pictures", "video": "videos", "text": "texts"}[dataset.modality]
    ignored = [
        Path(p.where) for p in dataset.problems if p.done == "ignored" and p.kind not in _LINKS
    ]
    pictures, videos = sum(map(guard.claims_picture, ignored)), sum(map(claims_video, ignored))
    counts = {"picture": pictures, "video": videos}
    if dataset.modality == "text":
        counts["other file"] = len(ignored) - pictures - videos
    for other, count in counts.items():
        if count and most != f"{other}s":
            are = " is" if count == 1 else "s are"
            tell(Said(f"{count:,} {other}{are} not read: most files here are {most}"))


def refuse_too_many_bad(dataset: Dataset, max_bad: float) -> None:
    """Stop where more files were set aside than allowed.

    Args:
        dataset: with the problems of reading it.
        max_bad: share of files that may be set aside.

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
    if any(problem.kind == "conflict" for problem in bad):
        mend = (
            "where several people labelled them, add a column `annotator` that says who (empty "
            f"where nobody knows), and rows are read as votes; else {mend}"
        )
    raise TooManyBadSamples(
        f"{head}.{listing(bad)}",
        where=guard.shown(dataset.path),
        mend=mend if len(bad) < meant else _none_usable(dataset, bad),
    )


def _none_usable(dataset: Dataset, bad: Sequence[Problem]) -> str:
    """How to mend data of which nothing can be used."""
    if dataset.path.is_file() and all(problem.kind == "missing" for problem in bad):
        folder = guard.shown(dataset.path.resolve().parent)
        mend = f"paths in a table begin at its folder, {folder}: move it, or write them anew"
        if any(problem.kind == "votes" for problem in dataset.problems):
            mend += "; or call the column `id`, and `regraft labels` looks at the votes alone"
        return mend
    return "mend them; not one of them can be used"


def _share_above(bad: int, meant: int) -> float:
    """The smallest share, in thousandths, that allows so many; below 1."""
    return min(0.999, (bad * 1000 // meant + 1) / 1000)
