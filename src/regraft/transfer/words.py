"""The words that carry an answer: what happens to it when they are taken out.

Occlusion (Zeiler & Fergus 2014; Li et al. 2016, arXiv:1612.08220): the text is read again without
each run of words, and the fall of the answer's log-odds is that run's weight. It asks the model
itself, through the engine that serves it. What it cannot see is words that stand for each other:
where two say the same, taking out one changes little.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from regraft.dataset import Sample, View
from regraft.events import Advanced
from regraft.store import Outcome, digest
from regraft.tasks.classification import Classification
from regraft.transfer.features import LiveFeatures
from regraft.transfer.ladder import Facts, Ground, Step, answerer, digest_of, inputs_of
from regraft.transfer.lexicon import reads_words
from regraft.transfer.tokens import read_to

PARTS = 40
"""Runs of words that are taken out of a text, one at a time."""
AT_ONCE = 256
"""Texts between two reports of progress."""
NAMED = 6
LEAST = 0.05
"""Log-odds that are worth naming."""
_WORD = re.compile(r"\S+")


def decisive_words(
    ground: Ground, task: Classification, best: Step, samples: Sequence[Sample]
) -> list[list[Facts]]:
    """For each text the runs of words that its answer hangs on most, the weightiest first.

    Returns:
        lists of {"words", "weight"}: by how much the log-odds of the answer fall without them;
        below zero, words that speak against it.
    """
    texts = [str(sample.source) for sample in samples]

    def compute() -> Outcome:
        parts = [_parts(text[: _read_to(ground, best, text)]) for text in texts]
        shorter = [
            [text[:start] + " " + text[stop:] for start, stop in spans]
            for text, spans in zip(texts, parts, strict=True)
        ]
        variants = [*texts, *chain.from_iterable(shorter)]
        logits_nc = _answers(ground, best, variants)
        at, found = len(texts), list[list[Facts]]()
        for k, (text, spans) in enumerate(zip(texts, parts, strict=True)):
            odds_n = _log_odds(task, logits_nc, int(logits_nc[k].argmax()))
            found.append(_named(text, spans, odds_n[k] - odds_n[at : at + len(spans)]))
            at += len(spans)
        words: Any = found
        return Outcome({"words": words}, {})

    asked: Facts = {
        "rung": best.facts["name"],
        "weights": digest_of(best.weights),
        "texts": digest(*texts),
        "parts": PARTS,
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


def _parts(text: str) -> list[tuple[int, int]]:
    """Where runs of words begin and end, `PARTS` at most; none where taking out leaves nothing."""
    words = [match.span() for match in _WORD.finditer(text)]
    if len(words) < 2:
        return []
    many = -(-len(words) // PARTS)
    runs = [words[start : start + many] for start in range(0, len(words), many)]
    return [(run[0][0], run[-1][1]) for run in runs] if len(runs) > 1 else []


def _answers(ground: Ground, best: Step, texts: Sequence[str]) -> np.ndarray:
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
