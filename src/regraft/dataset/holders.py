"""Texts inside of texts: which texts of a pool hold one of the labelled data, among others.

- If half of the runs of eight words of a labelled text stand in one text of the pool, that text
  holds it (cf. Brown et al., "Language models are few-shot learners", 2020, appendix C, who look
  for runs of 13 words). Case, digits and marks do not count.
- If half of the runs of a text of the pool stand in one labelled text, it is a part of that: a long
  text which was cut into blocks.
- A labelled text of four to seven words is held where all of them stand in a row. Fewer words stand
  side by side by chance: of such a text it cannot be told.
- Runs that more than five texts have which are no copies of each other (footers of mailing lists,
  disclaimers) do not count. Of a labelled text that is left with fewer than eight of its runs it
  cannot be told whether it is held.

Legend: o labelled texts, m runs of these, u the same runs each once, k runs of one text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from regraft.dataset.near_texts import word_runs
from regraft.dataset.rows import Sample
from regraft.dataset.words import words_of
from regraft.events import Advanced, Tell

RUN = 8
"""Words in a row that are looked for."""
HELD = 0.5
"""Share of a labelled text's runs that make a text of the pool a leak."""
COMMON = 5
"""Texts that may have a run before it counts as nobody's own."""
FEWEST = RUN
"""Runs that must be left of a text once the common ones are out."""
SHORTEST = 4
"""Words of a labelled text that is looked for."""


def holders(pool: Sequence[Sample], others: Sequence[Sample], tell: Tell) -> dict[str, str]:
    """Which texts of a pool hold another sample or are a part of it, by id; and that sample's id.

    Args:
        pool: samples whose source is their text.
        others: likewise.
        tell: hears `Advanced("leaks", …)`; may raise to stop.
    """
    words = [words_of(str(other.source)) for other in others]
    lengths = {RUN, *(len(some) for some in words if SHORTEST <= len(some) < RUN)}
    own = [word_runs(some, min(RUN, max(SHORTEST, len(some)))) for some in words]
    owner_m = np.repeat(np.arange(len(others)), [len(run) for run in own])
    hash_u, at_m = np.unique(np.concatenate([np.empty(0, np.uint64), *own]), return_inverse=True)
    if not len(hash_u):
        return {}
    found, sizes = _read(pool, lengths, hash_u, tell)
    mine = np.split(at_m, np.cumsum([len(run) for run in own])[:-1])
    is_common_u = _spread([*pool, *others], [*found, *mine], len(hash_u)) > COMMON
    judged_m = _judged(owner_m, is_common_u[at_m])
    order_m = np.argsort(at_m[judged_m], kind="stable")
    at_m, owner_m = at_m[judged_m][order_m], owner_m[judged_m][order_m]
    count_o = np.maximum(np.bincount(owner_m, minlength=len(others)), 1)
    first_u = np.searchsorted(at_m, np.arange(len(hash_u) + 1))
    held: dict[str, str] = {}
    for sample, at, size in zip(pool, found, sizes, strict=True):
        owners = [owner_m[first_u[i] : first_u[i + 1]] for i in at]
        if not owners:
            continue
        some_o, hits_o = np.unique(np.concatenate(owners), return_counts=True)
        own_left = size - int(is_common_u[at].sum())
        whole_o = count_o[some_o] if own_left < FEWEST else np.minimum(count_o[some_o], own_left)
        share_o = hits_o / whole_o
        if len(share_o) and share_o.max() >= HELD:
            held[sample.id] = others[int(some_o[share_o.argmax()])].id
    return held


def _read(
    pool: Sequence[Sample], lengths: Collection[int], hash_u: np.ndarray, tell: Tell
) -> tuple[list[np.ndarray], list[int]]:
    """Of each text of a pool the places in `hash_u` of its runs, and how many of `RUN` it has.

    `RUN` is one of `lengths`.
    """
    found: list[np.ndarray] = []
    sizes: list[int] = []
    for number, sample in enumerate(pool, 1):
        words = words_of(str(sample.source))
        runs = {length: word_runs(words, length) for length in lengths}
        found.append(_known(np.unique(np.concatenate(list(runs.values()))), hash_u))
        sizes.append(len(runs[RUN]))
        if number % 256 == 0 or number == len(pool):
            tell(Advanced("leaks", number, len(pool)))
    return found, sizes


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
