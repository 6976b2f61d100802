"""Clips: which files are videos, which parts of them are samples, and which are copies.

Decisions:

- A folder of pictures and videos is of whichever there are more; the others are ignored, and said
  to be.
- A clip is a file and a span of seconds in it. Its checksum is over the file's and the span, so
  that two cuts of one file are two contents.
- Every file is decoded once when it is first read, because only that tells how far it goes. What
  was found is kept in the cache under the file's checksum.
- A long file is cut into clips of the wanted length. What is left over at the end is a clip too if
  it is at least half as long. All clips of a file are one group, whether they were cut here or a
  table says which parts are meant: no split that is made divides them, and what is learnt from one
  minute of a scene is not tested on the next.
- Copies of clips are found by motion, not by looks: two minutes of a camera that stands still look
  alike without being copies. Four differences of reduced frames, spread over the clip, are
  correlated. (On cuts of five real videos, copies at half the size in another codec correlate
  at 0.87 and more, different cuts of one scene at 0.32 and less. Of pans of one kind over one
  scene, two seconds each at 78 moments, the motion of the camera is most of what moves: 14 in a
  hundred pairs correlate at 0.7 and more, 2 in a thousand at 0.85.) A clip in which nothing moves
  is a copy only of an equal file.

Legend: n clips, h w rows and columns of a reduced frame, p pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from regraft import store
from regraft.dataset import guard, video
from regraft.dataset.duplicates import Thumbnails
from regraft.dataset.folder import FolderReader
from regraft.dataset.images import THUMBNAIL_PX
from regraft.dataset.rows import Dataset, Problem, Sample
from regraft.dataset.verify import Verified
from regraft.errors import Damaged, StoreError, UsageError
from regraft.events import Advanced, Tell
from regraft.machine import cores

FORMAT = 5
"""Of what is kept about a file; another number forgets what was kept before."""
_MOMENTS = 5
_GAIN = 2.0
_LEAST_MOTION = 1.0
_ALIKE = 0.85
_BLOCK = 1024


@final
@dataclass(frozen=True)
class VideoFolderReader:
    """Reads a folder of classes that hold videos, laid out as for pictures."""

    name: str = "folder of classes"

    def recognises(self, path: Path) -> bool:
        """A folder with more videos in it than pictures."""
        return path.is_dir() and holds_videos(path)

    def read(self, path: Path) -> Dataset:
        """The rows of a folder; see `Reader`.

        Raises:
            DataError: no video lies in a class folder, or splits and classes are mixed.
        """
        return FolderReader(task="video-classification").read(path)


def holds_videos(folder: Path) -> bool:
    """Whether there are more videos than pictures in a folder, by their names.

    All files count where both are among the first few hundred; else these are enough.
    """
    videos = pictures = 0
    for number, (file, _) in enumerate(guard.files(folder.resolve()), 1):
        videos += video.claims_video(file)
        pictures += guard.claims_picture(file)
        if number >= guard.SNIFFED and 0 in (videos, pictures):
            break
    return videos > pictures


def content(file_sha256: str, span_s: tuple[float, float]) -> str:
    """The checksum of a clip."""
    return store.digest(file_sha256, f"{span_s[0]:.3f} {span_s[1]:.3f}")


def named_part(sample: Sample) -> tuple[float, float] | None:
    """Which part of its file a sample is by its name, as exactly as it is known; None for all.

    It may reach beyond the end of the file, and does not end where it ends with it.
    """
    part = video.parted(sample.id)[1]
    if part is None or sample.span_s is None:
        return part
    is_same = video.clip_id("", part) == video.clip_id("", sample.span_s)
    return sample.span_s if is_same else part


# Opening -----------------------------------------------------------------------------------------


def verify_clips(samples: Sequence[Sample], tell: Tell) -> Verified:
    """Open every video of a data set; afterwards each sample has a span and its file's checksum.

    Args:
        samples: whose `source` is a file; `span_s` where only a part of it is meant.
        tell: hears `Advanced("reading", …)`; may raise to stop.

    Raises:
        MissingExtra: the package av is not installed.
    """
    video.import_av()
    files: dict[Path, list[Sample]] = {}
    for sample in samples:
        files.setdefault(Path(sample.source), []).append(sample)
    good: list[Sample] = []
    small: list[np.ndarray] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(cores()) as pool:
        for number, found in enumerate(pool.map(_opened, files.values()), 1):
            for sample, thumbnail_hw in found.clips:
                good.append(sample)
                small.append(thumbnail_hw)
            problems += found.problems
            tell(Advanced("reading", number, len(files)))
    order = sorted(range(len(good)), key=lambda i: good[i].id)
    thumbnails_nhw = np.zeros((len(good), THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    for place, i in enumerate(order):
        thumbnails_nhw[place] = small[i]
    return Verified(tuple(good[i] for i in order), thumbnails_nhw, tuple(problems))


@final
@dataclass(frozen=True)
class _File:
    clips: list[tuple[Sample, np.ndarray]]
    problems: list[Problem]


def _opened(samples: Sequence[Sample]) -> _File:
    """The clips of one file."""
    path = Path(samples[0].source)
    where = video.parted(samples[0].id)[0]
    try:
        sha256, found = examined(path, where)
    except guard.Refused as fault:
        return _File([], [_refused(sample.id, path, fault) for sample in samples])
    problems = complaints(where, found)
    clips: list[tuple[Sample, np.ndarray]] = []
    for sample in samples:
        start_s, stop_s = sample.span_s or (0.0, found.seconds)
        if start_s >= found.seconds:
            what = f"It would begin at {start_s:.1f} s; the file has {found.seconds:.1f} s."
            problems.append(Problem("beyond-the-end", sample.id, what, "set aside"))
            continue
        if found.seconds + 0.05 < stop_s < math.inf:
            what = f"It should end at {stop_s:.1f} s; the file has {found.seconds:.1f} s."
            problems.append(Problem("shortened", sample.id, what, "used as far as it goes"))
        span_s = (start_s, min(stop_s, found.seconds))
        clip = replace(
            sample,
            sha256=content(sha256, span_s),
            size=found.size,
            format=found.format,
            span_s=span_s,
            file_sha256=sha256,
        )
        clips.append((clip, motion(found, span_s)))
    return _File(clips, problems)


def _refused(id_: str, path: Path, fault: guard.Refused) -> Problem:
    if guard.claims_picture(path):
        return Problem("not-a-video", id_, video.passed_over(path, "video"), "ignored")
    meant = video.claims_video(path) or fault.kind not in ("damaged", "not-a-video", "empty")
    return Problem(fault.kind, id_, fault.what, "set aside" if meant else "ignored")


def complaints(where: str, found: video.Examined) -> list[Problem]:
    """What a video lacks that can be decoded for the rest.

    Args:
        where: what messages call it.
        found: what is in it.
    """
    problems: list[Problem] = []
    if found.lost_s > 0 and found.declared_s is not None:
        what = f"The video ends after {found.seconds:.2f} s of {found.declared_s:.2f} s."
        problems.append(Problem("shortened", where, what, "used as far as it goes"))
    if found.failed:
        what = f"{found.failed} of its frames or packets cannot be decoded."
        problems.append(Problem("damaged-frames", where, what, "passed over"))
    if found.untimely:
        what = f"{found.untimely} of its frames have times that run backwards or leap."
        problems.append(Problem("damaged-times", where, what, "passed over"))
    return problems


def examined(path: Path, where: str) -> tuple[str, video.Examined]:
    """The file's checksum, and what is in it: as kept from an earlier time, or found now.

    Raises:
        UnreadableSample: see `video.examine`.
    """
    if not path.is_file():
        raise guard.Refused("missing", "There is no such file.", where=where, mend="check the name")
    try:
        sha256 = store.remembered_sha256(path)
    except StoreError as fault:
        what = f"{fault.what[:1].upper()}{fault.what[1:]}."
        raise guard.Refused("unreadable", what, where=where) from fault
    key = store.digest(str(FORMAT), sha256, str(video.import_av().__version__))
    kept = store.cache_folder() / "clips" / f"{key[:32]}.json"
    try:
        return sha256, _recalled(store.read_sealed(kept))
    except FileNotFoundError:
        pass
    except Damaged:
        store.quarantine(kept)
    found = video.examine(path, where)
    store.commit_sealed(kept, _written(found))
    return sha256, found


def _written(found: video.Examined) -> bytes:
    facts: dict[str, Any] = {
        "seconds": found.seconds,
        "declared_s": found.declared_s,
        "frames": found.frames,
        "failed": found.failed,
        "untimely": found.untimely,
        "size": list(found.size),
        "format": found.format,
        "times_s": [float(t) for t in found.times_s],
    }
    return store.canonical(facts) + b"\n" + found.reduced_nhw.tobytes()


def _recalled(data: bytes) -> video.Examined:
    head, _, rest = data.partition(b"\n")
    facts = json.loads(head)
    times_s = np.array(facts["times_s"])
    reduced = np.frombuffer(rest, np.uint8).reshape(len(times_s), video.REDUCED_PX, -1)
    return video.Examined(
        facts["seconds"], facts["declared_s"], facts["frames"], facts["failed"],
        facts["untimely"], tuple(facts["size"]), facts["format"], times_s, reduced,
    )  # fmt: skip


def motion(found: video.Examined, span_s: tuple[float, float]) -> np.ndarray:
    """What changes between five moments of a clip, as one grey picture, uint8 (32, 32)."""
    moments_s = video.moments(span_s, _MOMENTS)
    at = np.clip(np.searchsorted(found.times_s, moments_s, "right") - 1, 0, None)
    steps_nhw = np.diff(found.reduced_nhw[at].astype(np.float32), axis=0)
    rows = [np.concatenate(list(pair), axis=1) for pair in (steps_nhw[:2], steps_nhw[2:])]
    mosaic_hw = np.concatenate(rows, axis=0)
    return np.clip(128 + _GAIN * mosaic_hw, 0, 255).astype(np.uint8)


def near_pairs(motion_nhw: Thumbnails) -> list[tuple[int, int]]:
    """Pairs of clips of which one is a copy of the other, by what `motion` gave."""
    x_nd = motion_nhw.reshape(len(motion_nhw), -1).astype(np.float32) - 128
    strength_n = np.sqrt((x_nd**2).mean(axis=1))
    moving = np.flatnonzero(strength_n > _LEAST_MOTION)
    unit_nd = x_nd[moving] / np.linalg.norm(x_nd[moving], axis=1, keepdims=True)
    pairs: list[tuple[int, int]] = []
    for begin in range(0, len(moving), _BLOCK):
        alike_bn = unit_nd[begin : begin + _BLOCK] @ unit_nd.T
        first_p, second_p = np.nonzero(alike_bn >= _ALIKE)
        pairs += [
            (int(moving[j]), int(moving[begin + i]))
            for i, j in zip(first_p, second_p, strict=True)
            if j < begin + i
        ]
    return pairs


# Cutting -----------------------------------------------------------------------------------------


def cut(dataset: Dataset, clip_s: float | None) -> Dataset:
    """The data set with long clips cut into several, which stay together.

    Args:
        dataset: verified; grouped, if it is to be.
        clip_s: the wanted length; None cuts nothing.

    Raises:
        UsageError: it is no length, or these are no videos.
    """
    if clip_s is None:
        return dataset
    if not clip_s > 0 or dataset.task != "video-classification":
        raise UsageError(
            "Only videos are cut into clips, of a length above 0.",
            where="--clip",
            mend="leave it out, or give for example 6s",
        )
    samples: list[Sample] = []
    problems: list[Problem] = []
    for sample in dataset:
        spans = _spans(sample, clip_s)
        if len(spans) == 1 and spans[0] == sample.span_s:
            samples.append(sample)
            continue
        assert sample.span_s is not None, sample
        last_s = spans[-1][1]
        if sample.span_s[1] - last_s > 0.05:
            what = f"The last {sample.span_s[1] - last_s:.1f} s are less than half a clip."
            problems.append(Problem("rest", sample.id, what, "not used"))
        for span_s in spans:
            samples.append(
                replace(
                    sample,
                    id=video.clip_id(video.parted(sample.id)[0], span_s),
                    span_s=span_s,
                    group=sample.group or sample.sha256,
                    sha256=content(sample.file_sha256, span_s),
                    copies="",  # of equal files equal parts are, which their checksums tell
                )
            )
    found = dataset.found + len(samples) - len(dataset)
    samples.sort(key=lambda sample: sample.id)
    return replace(dataset, samples=tuple(samples), found=found).with_problems(problems)


def _spans(sample: Sample, clip_s: float) -> list[tuple[float, float]]:
    assert sample.span_s is not None, sample
    start_s, stop_s = sample.span_s
    length_s = stop_s - start_s
    if length_s <= clip_s + 0.05:
        return [sample.span_s]
    whole = int((length_s + 0.05) / clip_s)
    spans = [(start_s + k * clip_s, start_s + (k + 1) * clip_s) for k in range(whole)]
    if stop_s - spans[-1][1] >= clip_s / 2:
        spans.append((spans[-1][1], stop_s))
    return [(round(a, 3), round(b, 3)) for a, b in spans]
