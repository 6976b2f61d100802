"""Opens every file once: its checksum, its size, whether it decodes, and its thumbnail.

All cores work at it, and no decoded picture outlives its turn, so memory grows by one thumbnail
(1 KB) per picture.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from regraft.dataset import guard, images
from regraft.dataset.duplicates import Thumbnails
from regraft.dataset.rows import Problem, Sample
from regraft.events import Advanced, Tell

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
    with ThreadPoolExecutor(_cores()) as pool:
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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _opened(sample: Sample) -> tuple[Sample, Thumbnails] | Problem:
    path = Path(sample.source)
    try:
        data = guard.read_file(path)
        name, size, thumbnail = images.examine(data, sample.id, path.suffix)
    except guard.Refused as fault:
        meant = guard.claims_picture(path) or fault.kind not in _NEVER_MEANT
        return Problem(fault.kind, sample.id, fault.what, "set aside" if meant else "ignored")
    sha256 = hashlib.sha256(data).hexdigest()
    return replace(sample, sha256=sha256, size=size, format=name), thumbnail
