"""The words that carry an answer: what happens to it when they are taken out.

Occlusion (Zeiler & Fergus 2014; Li et al. 2016, arXiv:1612.08220): the text is read again without
a run of words, and the fall of the answer's log-odds is that run's weight; the weightiest runs of a
long text are then divided. It asks the model itself, through the engine that serves it. What it
cannot see is words that stand for each other: where two say the same, taking out one changes
little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import numpy as np

from regraft.dataset import Sample, View
from regraft.dataset.words import pieces_of
from regraft.events import Advanced
from regraft.store import Outcome, digest
from regraft.tasks.classification import Classification
from regraft.transfer.features import LiveFeatures
from regraft.transfer.ground import Facts, Ground, digest_of, inputs_of
from regraft.transfer.lexicon import reads_words
from regraft.transfer.step import Step, answerer
from regraft.transfer.tokens import read_to

FIRST, OPENED, SECOND = 10, 2, 5
"""Runs of words that a text is divided into; how many of them, the weightiest, are divided again;
and into how many. A text of no more words than runs there are then is divided into words."""
SHORT = FIRST + OPENED * SECOND
AT_ONCE = 256
"""Texts between two reports of progress."""
NAMED = 6
LEAST = 0.05
"""Log-odds that are worth naming."""
Run = Sequence[tuple[int, int]]
"""Words that stand side by side: where each begins and ends."""


def decisive_words(
    ground: Ground, task: Classification, best: Step, samples: Sequence[Sample]
) -> list[list[Facts]]:
    """For each text the runs of words that move its answer most, the weightiest first.

    Returns:
        lists of {"words", "weight"}: by how much the log-odds of the answer fall without them;
        below zero, words that speak against it.
    """
    texts = [str(sample.source) for sample in samples]

    def compute() -> Outcome:
        base_nc = _answers(ground, best, texts)
        labels = base_nc.argmax(axis=1)
        odds_n = np.array(
            [_log_odds(task, row[None], c)[0] for row, c in zip(base_nc, labels, strict=True)]
        )

        def falls(runs: Sequence[Sequence[Run]]) -> list[np.ndarray]:
            """Of each text and run, how far the log-odds of the answer fall without it."""
            shorter = [
                [text[: run[0][0]] + " " + text[run[-1][1] :] for run in some]
                for text, some in zip(texts, runs, strict=True)
            ]
            logits_nc = _answers(ground, best, list(chain.from_iterable(shorter)))
            parts = np.split(logits_nc, np.cumsum([len(some) for some in shorter])[:-1])
            return [
                odds - _log_odds(task, part, c)
                for odds, part, c in zip(odds_n, parts, labels, strict=True)
            ]

        words = [_words(text[: _read_to(ground, best, text)]) for text in texts]
        runs = [_divided(some, len(some) if len(some) <= SHORT else FIRST) for some in words]
        whole = falls(runs)
        opened = [_weightiest(some, fall) for some, fall in zip(runs, whole, strict=True)]
        finer = [
            [part for at in chosen for part in _divided(some[at], SECOND)]
            for some, chosen in zip(runs, opened, strict=True)
        ]
        found: Any = []
        for k, (text, fine) in enumerate(zip(texts, falls(finer), strict=True)):
            kept = [at for at in range(len(runs[k])) if at not in opened[k]]
            spans = [(run[0][0], run[-1][1]) for run in [*(runs[k][at] for at in kept), *finer[k]]]
            found.append(_named(text, spans, np.concatenate([whole[k][kept], fine])))
        return Outcome({"words": found}, {})

    asked: Facts = {
        "rung": best.facts["name"],
        "weights": digest_of(best.weights),
        "texts": digest(*texts),
        "parts": [FIRST, OPENED, SECOND],
    }
    facts: Facts = ground.run.step("words", inputs_of(ground, asked), compute).facts
    return facts["words"]


def _read_to(ground: Ground, best: Step, text: str) -> int:
    """The character at which reading ends; a head that reads words reads all of them."""
    return len(text) if reads_words(best.weights) else read_to(text, ground.backbone)


def _named(text: str, spans: Sequence[tuple[int, int]], weight_p: np.ndarray) -> list[Facts]:
    """The weightiest runs of words of a text."""
    ranked = sorted(range(len(spans)), key=lambda p: -abs(weight_p[p]))[:NAMED]
    return [
        {"words": " ".join(text[slice(*spans[p])].split()), "weight": float(weight_p[p])}
        for p in ranked
        if abs(weight_p[p]) >= LEAST
    ]


def _words(text: str) -> list[tuple[int, int]]:
    """Where words begin and end; none where taking one out would leave nothing."""
    words = pieces_of(text)
    return words if len(words) > 1 else []


def _divided(words: Run, most: int) -> list[Run]:
    """Words in runs of nearly one length, so many at most."""
    if not words:
        return []
    ends = np.linspace(0, len(words), min(most, len(words)) + 1).astype(int)
    return [words[start:stop] for start, stop in pairwise(ends.tolist())]


def _weightiest(runs: Sequence[Run], fall_p: np.ndarray) -> list[int]:
    """Of runs of several words those that are to be divided."""
    ranked = sorted(range(len(runs)), key=lambda at: -abs(fall_p[at]))
    return [at for at in ranked if len(runs[at]) > 1][:OPENED]


def _answers(ground: Ground, best: Step, texts: Sequence[str]) -> np.ndarray:
    if not texts:
        return np.empty((0, len(ground.task.classes)), np.float32)
    base = ground.dataset.samples[0]
    samples = [replace(base, id=str(i), source=text) for i, text in enumerate(texts)]
    cut, engine = ground.cut(best.frozen), ground.engine(best.frozen)
    answers, found = answerer(ground, best), list[np.ndarray]()
    for start in range(0, len(samples), AT_ONCE):
        some = samples[start : start + AT_ONCE]
        rows = LiveFeatures(some, cut, engine, [View()])
        found.append(answers(rows, some)["logits"])
        ground.tell(Advanced("words that decide", start + len(some), len(samples)))
    return np.concatenate(found)


def _log_odds(task: Classification, logits_nc: np.ndarray, label: int) -> np.ndarray:
    """Of one class, for each text."""
    if task.multilabel:
        return logits_nc[:, label].astype(np.float64)
    others_nc = np.delete(logits_nc, label, axis=1).astype(np.float64)
    return logits_nc[:, label] - np.logaddexp.reduce(others_nc, axis=1)
