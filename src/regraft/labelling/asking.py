"""What to label next: a batch of the pool, ranked, each with a reason and a first guess.

Legend: n samples of the pool, m labelled samples, d features, c classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.dataset import Dataset, Sample
from regraft.dataset.texts import excerpt
from regraft.labelling import choose
from regraft.labelling.likely_errors import MOST_TO_LEARN, PIECE, Rows
from regraft.seeds import generator
from regraft.tasks.classification import Classification
from regraft.tasks.probe import Probe
from regraft.wording import class_in_words

BATCH = 100
FEW_A_CLASS = 2
"""With fewer labels a class on average, nothing that was learnt from them is asked."""
CHANCES = 10
"""Classes that are named with their chances: as many as there are digits to press on the page."""
_KNOWN = 4000
"""Labelled samples that count as covering their surroundings, at most."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """Samples and what a network sees in them.

    Attributes:
        dataset: the samples.
        rows: their features by index, float32 (b, d).
    """

    dataset: Dataset
    rows: Rows


def ask_next(
    pool: Seen, known: Seen, *, batch: int = BATCH, penalty: float | None = None, seed: int = 0
) -> list[Facts]:
    """Samples of the pool that teach most, the first ones first.

    Args:
        pool: without labels.
        known: with labels; may be empty.
        batch: how many.
        penalty: of the probe; chosen if None.
        seed: of every draw.

    Returns:
        for each "sample", "score" (0…1), "suggested" and "probability" (None in a cold start),
        "chances" of the likeliest classes (pairs with the name; none in a cold start), and
        "reason".
    """
    classes = known.dataset.classes
    if len(classes) < 2 or len(known.dataset) < FEW_A_CLASS * len(classes):
        return _ask_cold(pool, known, batch, seed)
    chance_nc = _chances(pool, known, penalty, seed)
    doubt_n = _open(chance_nc) if known.dataset.multilabel else choose.doubt(chance_nc)
    some = choose.thinned(len(pool.dataset), doubt_n, seed)
    u_nd, known_md = _directions(pool.rows(some), known)
    copies = [pool.dataset.samples[n].copies for n in some]
    picks = choose.herded(u_nd, doubt_n[some], known_md, batch, copies, seed)
    chosen = [(int(some[pick.row]), pick) for pick in picks]
    return [
        _warm(pool.dataset.samples[n], known.dataset, pick, chance_nc[n], float(doubt_n[n]))
        for n, pick in chosen
    ]


def _ask_cold(pool: Seen, known: Seen, batch: int, seed: int) -> list[Facts]:
    some = choose.thinned(len(pool.dataset), None, seed)
    u_nd, known_md = _directions(pool.rows(some), known)
    copies = [pool.dataset.samples[n].copies for n in some]
    picks = choose.typical(u_nd, known_md, batch, copies, seed)
    return [_cold(pool.dataset.samples[some[pick.row]], pick) for pick in picks]


def _directions(x_nd: np.ndarray, known: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Directions of samples of the pool and of what is labelled, float32."""
    middle_d = x_nd.mean(axis=0)
    labelled = generator(0, "known").permutation(len(known.dataset))[:_KNOWN]
    known_md = np.empty((0, x_nd.shape[1]), dtype=np.float32)
    if len(labelled):
        known_md = choose.directions(known.rows(np.sort(labelled)), middle_d)
    return choose.directions(x_nd, middle_d), known_md


def _chances(pool: Seen, known: Seen, penalty: float | None, seed: int) -> np.ndarray:
    """Chance_nc of the pool, by a probe on what is labelled."""
    task = Classification(known.dataset.task, known.dataset.classes, known.dataset.multilabel)
    some = generator(seed, "ask").permutation(len(known.dataset))[:MOST_TO_LEARN]
    samples = [known.dataset.samples[m] for m in some]
    groups = [sample.group for sample in samples]
    probe: Probe = task.fit_head(known.rows(some), task.targets(samples), groups, seed, penalty)
    count = len(pool.dataset)
    pieces = [
        task.probabilities(probe.logits(pool.rows(np.arange(begin, min(begin + PIECE, count)))))
        for begin in range(0, count, PIECE)
    ]
    return np.concatenate(pieces).astype(np.float32)


def _open(chance_nc: np.ndarray) -> np.ndarray:
    """Doubt_n for several classes: of the class that is least sure either way."""
    return 1 - 2 * np.abs(chance_nc - 0.5).min(axis=1)


def _cold(sample: Sample, pick: choose.Pick) -> Facts:
    return {
        "sample": sample.id,
        "suggested": None,
        "probability": None,
        "chances": [],
        "score": pick.stands_for,
        "reason": f"Typical of {_percent(pick.stands_for)} of the pool, where nothing is "
        "labelled yet.",
        **excerpt(sample),
    }


def _warm(
    sample: Sample, known: Dataset, pick: choose.Pick, chance_c: np.ndarray, doubt: float
) -> Facts:
    order = [int(c) for c in np.argsort(-chance_c, kind="stable")]
    first, second = order[:2]
    names = known.classes
    if known.multilabel:
        said = "|".join(name for name, p in zip(names, chance_c, strict=True) if p > 0.5)
        unsure = int(np.abs(chance_c - 0.5).argmin())
        reason = f"{class_in_words(names[unsure])} {_percent(chance_c[unsure])}"
    else:
        said = names[first]
        reason = " or ".join(
            f"{class_in_words(names[c])} {_percent(chance_c[c])}" for c in (first, second)
        )
    return {
        "sample": sample.id,
        "suggested": said,
        "probability": round(float(chance_c[first]), 6),
        "chances": [[names[c], round(float(chance_c[c]), 6)] for c in order[:CHANCES]],
        "score": doubt,
        "reason": f"{reason}; stands for {_percent(pick.stands_for)} of what is in doubt.",
        **excerpt(sample),
    }


def _percent(share: float) -> str:
    return f"{100 * float(share):.1f} %" if share < 0.1 else f"{100 * float(share):.0f} %"
