"""Opens every file once: its checksum, its size, whether it decodes, and its thumbnail.

A text is read whole and kept; what is needed to find copies of it is the text. Of e-mails the
thread is kept, too, as their header lines are not.

All cores work at it, and no decoded picture outlives its turn, so memory grows by one thumbnail
(1 KB) per picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from regraft.dataset import guard, images, mails, texts
from regraft.dataset.duplicates import Thumbnails
from regraft.dataset.rows import Problem, Sample
from regraft.dataset.video import claims_video, passed_over
from regraft.events import Advanced, Tell
from regraft.machine import cores

_BATCH = 256
_NEVER_MEANT = frozenset({"not-an-image", "empty", "too-large"})


@dataclass(frozen=True)
class Verified:
    """What can be used, and what not.

    Attributes:
        samples: with checksum, size and format.
        thumbnails_nhw: one for each, shape (n, 32, 32).
        problems: one for each sample that cannot be used.
    """

    samples: tuple[Sample, ...]
    thumbnails_nhw: Thumbnails
    problems: tuple[Problem, ...]


def verify(samples: Sequence[Sample], tell: Tell) -> Verified:
    """Open every file of a data set.

    Args:
        samples: whose `source` is a file.
        tell: hears `Advanced("reading", …)`; may raise to stop.

    Raises:
        UsageError: the program has told Pillow to accept truncated pictures.
    """
    good: list[Sample] = []
    problems: list[Problem] = []
    thumbnails_nhw = np.empty((len(samples), images.THUMBNAIL_PX, images.THUMBNAIL_PX), np.uint8)
    with ThreadPoolExecutor(cores()) as pool:
        for begin in range(0, len(samples), _BATCH):
            batch = samples[begin : begin + _BATCH]
            for offset, result in enumerate(pool.map(_opened, batch)):
                if isinstance(result, Problem):
                    problems.append(result)
                else:
                    sample, small = result
                    thumbnails_nhw[len(good)] = small
                    good.append(sample)
                if offset % 16 == 15 or offset == len(batch) - 1:
                    tell(Advanced("reading", begin + offset + 1, len(samples)))
    return Verified(tuple(good), thumbnails_nhw[: len(good)], tuple(problems))


def verify_texts(samples: Sequence[Sample], tell: Tell) -> Verified:
    """Read every text of a data set; afterwards `source` is the text itself.

    Args:
        samples: whose `source` is a file or a text.
        tell: as for `verify`.
    """
    good: list[Sample] = []
    ids: list[tuple[str, ...]] = []
    of_mails: list[str] = []
    problems: list[Problem] = []
    for number, sample in enumerate(samples, 1):
        try:
            content = _content(sample)
        except guard.Refused as fault:
            problems.append(Problem(fault.kind, sample.id, fault.what, "set aside"))
        else:
            sha256 = hashlib.sha256(content.text.encode()).hexdigest()
            good.append(replace(sample, source=content.text, sha256=sha256, format="text"))
            ids.append(content.ids)
            of_mails += [sample.id] * content.is_mail
            problems += texts.doubts(content, sample.id)
        if number % _BATCH == 0 or number == len(samples):
            tell(Advanced("reading", number, len(samples)))
    problems += _read_as_mails(of_mails, len(good))
    threads = zip(good, mails.threads(ids), strict=True)
    grouped = (replace(sample, group=sample.group or thread) for sample, thread in threads)
    return Verified(tuple(grouped), np.empty((0, 0, 0), np.uint8), tuple(problems))


def _read_as_mails(ids: Sequence[str], total: int) -> list[Problem]:
    """What is said once of texts that are e-mails.

    Args:
        ids: what they are called.
        total: how many texts there are in all.
    """
    if not ids:
        return []
    count = f"All {total:,}" if len(ids) == total else f"{len(ids):,} of {total:,}"
    what = (
        f"{count} texts have the header lines of e-mails, from this on; other header lines than "
        "the subject, tags of HTML and attachments are not read."
    )
    return [Problem("e-mail", ids[0], what, "read as subject and text")]


def _content(sample: Sample) -> texts.Content:
    if isinstance(sample.source, str):
        return texts.read_cell(sample.source, sample.id)
    return texts.read_bytes(guard.read_file(sample.source), sample.id)


def _opened(sample: Sample) -> tuple[Sample, Thumbnails] | Problem:
    path = Path(sample.source)
    try:
        data = guard.read_file(path)
        name, size, thumbnail = images.examine(data, sample.id, path.suffix)
    except guard.Refused as fault:
        meant = guard.claims_picture(path) or fault.kind not in _NEVER_MEANT
        is_video = fault.kind == "not-an-image" and claims_video(path)
        what = passed_over(path, "picture") if is_video else fault.what
        return Problem(fault.kind, sample.id, what, "set aside" if meant else "ignored")
    sha256 = hashlib.sha256(data).hexdigest()
    return replace(sample, sha256=sha256, size=size, format=name), thumbnail
