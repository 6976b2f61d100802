"""A pool of texts without labels: a table, a folder of any shape, or one plain text file.

Decisions:

- In a table each row of the column of texts is a sample, labels are not looked at; in a folder
  each text file is. One plain text file is divided at its blank lines, a paragraph of more than
  four thousand characters at its lines (some files have one text a line), and what is short is put
  together until it has a thousand characters.
- What is read, in which encoding, and what counts as a copy is as for labelled texts (`texts.py`).
- A pool's text can also *hold* a labelled one, among others. If half of the runs of eight words of
  a labelled text stand in one text of the pool, that text is a leak (cf. Brown et al., "Language
  models are few-shot learners", 2020, appendix C, who look for runs of 13 words). Case, digits and
  marks do not count.
- Runs that more than five texts have which are no copies of each other (footers of mailing lists,
  disclaimers) do not count. Of a labelled text that is left with fewer than eight of its runs it
  cannot be told whether it is held.

Legend: o labelled texts, m runs of these, u the same runs each once, k runs of one text.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from regraft.dataset import guard, texts
from regraft.dataset.copies import settle_apart
from regraft.dataset.rows import Dataset, Problem, Sample
from regraft.dataset.table import TableReader, lines_of
from regraft.dataset.verify import verify_texts
from regraft.defaults import MAX_BAD
from regraft.errors import DataError
from regraft.events import Advanced, Tell, silent

TASK = "text-classification"
BLOCK = 1000
"""Characters that paragraphs of one file are put together to."""
LONG = 4 * BLOCK
"""Characters of a paragraph that is divided at its lines."""
RUN = 8
"""Words in a row that are looked for."""
HELD = 0.5
"""Share of a labelled text's runs that make a text of the pool a leak."""
COMMON = 5
"""Texts that may have a run before it counts as nobody's own."""
FEWEST = RUN
"""Runs that must be left of a labelled text once the common ones are out."""
_WORD = re.compile(r"[^\W\d_]+")


def recognises_texts(path: Path) -> bool:
    """Whether there are texts at a path: a table of them, a text file, a folder with some.

    Other files in a folder are no matter: they are left out when it is read.
    """
    if path.is_dir():
        return guard.holds(path, guard.claims_text)
    return guard.claims_text(path) or TableReader().recognises(path)


def read_unlabelled_texts(
    path: str | Path,
    *,
    column: str = "",
    apart_from: Iterable[Sample] = (),
    max_bad: float = MAX_BAD,
    tell: Tell = silent,
) -> Dataset:
    """Read a pool of texts; of equal ones one is kept. `source` is the text, `split` "train".

    Args:
        path: a table, a folder or a text file.
        column: of a table, the one with the texts; found if "".
        apart_from: samples of labelled data, with their texts; what is a copy of one of them,
            nearly or in part, is left out as a leak.
        max_bad: share of files that may be set aside; one always may, unless this is 0.
        tell: hears `Advanced("reading", …)` and `Advanced("leaks", …)`; may raise to stop.

    Raises:
        DataError: there is no text. Where all are copies, the pool is empty.
        TooManyBadSamples: more files are bad than `max_bad` allows.
    """
    from regraft.dataset.reading import refuse_too_many_bad

    root = Path(path)
    listed = _listed(root, column)
    verified = verify_texts(listed.samples, tell)
    pool = listed.with_samples(verified.samples).with_problems(verified.problems)
    refuse_too_many_bad(pool, max_bad)
    others = list(apart_from)
    settled = settle_apart(pool, others, verified.thumbnails_nhw)
    kept: dict[str, Sample] = {}
    problems: list[Problem] = []
    holders = _holders(settled.samples, others, tell)
    for sample in settled.samples:
        if sample.id in holders:
            what = f"It holds {holders[sample.id]} of the labelled data, or most of it."
            problems.append(Problem("leak", sample.id, what, "left out"))
        elif sample.sha256 in kept:
            what = f"The same text as {kept[sample.sha256].id}."
            problems.append(Problem("repeated", sample.id, what, "left out"))
        else:
            kept[sample.sha256] = sample
    if not pool.samples:
        raise DataError(
            "No text can be used.", where=guard.shown(root), mend="check what lies there"
        )
    return settled.with_samples(kept.values()).with_problems(problems)


def _listed(root: Path, column: str = "") -> Dataset:
    """What lies at a path, before it is read."""
    if not root.exists():
        raise DataError("There is no such file.", where=guard.shown(root), mend="check the path")
    problems: list[Problem] = []
    if root.is_dir():
        samples, problems = _folder(root.resolve())
    elif TableReader().recognises(root):
        samples = [Sample(line, text, None, split="train") for line, text in lines_of(root, column)]
    else:
        text, _ = texts.decode(guard.read_file(root), guard.shown(root))
        samples = _numbered(list(_blocks(text)))
    found = len(samples) + len(problems)
    return Dataset(root, TASK, (), tuple(samples), tuple(problems), found=found)


def _folder(root: Path) -> tuple[list[Sample], list[Problem]]:
    samples: list[Sample] = []
    problems: list[Problem] = []
    for file, problem in guard.files(root):
        name = guard.shown(file.relative_to(root).as_posix())
        if problem is not None:
            problems.append(problem)
        elif guard.claims_text(file):
            samples.append(Sample(name, file, None, split="train"))
        else:
            what = f"No text file, by its name ({', '.join(sorted(guard.TEXT_SUFFIXES))})."
            problems.append(Problem("not-a-text", name, what, "ignored"))
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
                yield from _joined(paragraph.split("\n"), "\n")
        else:
            yield from _joined(some, "\n\n")


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


# Texts inside of texts ----------------------------------------------------------------------------


def _holders(pool: Sequence[Sample], others: Sequence[Sample], tell: Tell) -> dict[str, str]:
    """Which texts of the pool hold another sample, by id, and that sample's id."""
    runs = [_runs(str(other.source)) for other in others]
    owner_m = np.repeat(np.arange(len(others)), [len(run) for run in runs])
    hash_u, at_m = np.unique(np.concatenate([np.empty(0, np.uint64), *runs]), return_inverse=True)
    if not len(hash_u):
        return {}
    found = [_known(_runs(str(sample.source)), hash_u) for sample in _told(pool, tell)]
    mine = np.split(at_m, np.cumsum([len(run) for run in runs])[:-1])
    is_common_u = _spread([*pool, *others], [*found, *mine], len(hash_u)) > COMMON
    judged_m = _judged(owner_m, is_common_u[at_m])
    order_m = np.argsort(at_m[judged_m], kind="stable")
    at_m, owner_m = at_m[judged_m][order_m], owner_m[judged_m][order_m]
    count_o = np.maximum(np.bincount(owner_m, minlength=len(others)), 1)
    first_u = np.searchsorted(at_m, np.arange(len(hash_u) + 1))
    held: dict[str, str] = {}
    for sample, at in zip(pool, found, strict=True):
        owners = [owner_m[first_u[i] : first_u[i + 1]] for i in at]
        if not owners:
            continue
        some_o, hits_o = np.unique(np.concatenate(owners), return_counts=True)
        share_o = hits_o / count_o[some_o]
        if len(share_o) and share_o.max() >= HELD:
            held[sample.id] = others[int(some_o[share_o.argmax()])].id
    return held


def _told(pool: Sequence[Sample], tell: Tell) -> Iterator[Sample]:
    for number, sample in enumerate(pool, 1):
        yield sample
        if number % 256 == 0 or number == len(pool):
            tell(Advanced("leaks", number, len(pool)))


def _known(run_k: np.ndarray, hash_u: np.ndarray) -> np.ndarray:
    """Places in `hash_u`, which is sorted, of the runs that are among them."""
    at_k = np.minimum(np.searchsorted(hash_u, run_k), len(hash_u) - 1)
    return at_k[hash_u[at_k] == run_k].astype(np.int32)


def _spread(samples: Sequence[Sample], found: Sequence[np.ndarray], runs: int) -> np.ndarray:
    """In how many texts each run is; copies of each other count as one."""
    groups: dict[str, list[np.ndarray]] = defaultdict(list)
    for sample, at in zip(samples, found, strict=True):
        groups[sample.group or sample.sha256 or sample.id].append(at)
    count_u = np.zeros(runs, np.int64)
    for parts in groups.values():
        count_u[np.unique(np.concatenate(parts))] += 1
    return count_u


def _judged(owner_m: np.ndarray, is_common_m: np.ndarray) -> np.ndarray:
    """Which runs count: none that is common, nor those of a text of which too few others are left.

    A few runs are left of any text that is a greeting above a footer: those that lie on the border.
    """
    common_o = np.bincount(owner_m, weights=is_common_m)
    left_o = np.bincount(owner_m) - common_o
    return ~is_common_m & ((common_o == 0) | (left_o >= FEWEST))[owner_m]


def _runs(text: str) -> np.ndarray:
    """A number for each run of words, distinct and sorted, uint64."""
    words = _WORD.findall(text.lower())
    if len(words) < RUN:
        return np.empty(0, np.uint64)
    word_w = np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint64)
    prime = np.uint64(0x9E3779B97F4A7C15)
    mixed = word_w[: len(word_w) - RUN + 1].copy()
    for shift in range(1, RUN):
        mixed = mixed * prime + word_w[shift : len(word_w) - RUN + 1 + shift]
    return np.unique(mixed ^ (mixed >> np.uint64(29)))
