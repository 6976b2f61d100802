"""What few labels give: the head on many small draws, and a last fit on all where there are few.

Decisions:

- With enough labels, `LABELS` a class are drawn from the training samples `DRAWS` times, the head
  is fitted on each draw and measured on the validation samples. With fewer, all labelled samples
  but the test's are cross-validated `DRAWS` times, each time with other folds. There are as many
  folds as the class of fewest groups has, if these are fewer than `FEW_GROUPS`: then a fold holds
  one of them, and a head learns from all others.
- The interval holds 95 % of what one such draw gives, the luck of the draw and that of the
  validation samples together. It is not the interval of the mean: a user has one draw.
- With at most `FEW` labels in a class the chosen head is fitted once more, on training and
  validation samples together: held-out samples are too dear there to be measured with only.

Shapes: n samples, d features, c classes, r bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from regraft.dataset import Sample
from regraft.events import Advanced
from regraft.seeds import generator, seed_of
from regraft.store import Outcome
from regraft.tasks.classification import Classification
from regraft.transfer.ground import Facts, Ground, head_facts, inputs_of
from regraft.transfer.lexicon import Words
from regraft.transfer.step import Step
from regraft.wording import class_in_words, interval, metric_name, plural, some_of

LABELS = 8
DRAWS = 10
FEW = 32
FEW_GROUPS = 8
"""A class of fewer groups is not known beyond them."""
_FOLDS = 5
_NAMED = 3
_TRIES = 5


def few_labels(ground: Ground, task: Classification) -> Facts | None:
    """How well the head, and for texts TF-IDF, do with few labels.

    Returns:
        "labels_a_class", "how" ("drawn" or "cross-validated"), "draws", "metric", for texts
        "tfidf" (a metric) and "ahead" (mean of the paired differences, and what 95 % of the draws
        give), "text", "few_groups" (in words, the classes of few groups; empty where there are
        none); None where a class has too few samples even for folds, or a sample may have
        several classes, where a number of labels a class means little.
    """
    if task.multilabel:
        return None
    samples = [*ground.dataset.split("train"), *ground.dataset.split("valid")]
    count = len(ground.dataset.split("train"))
    target_nc = task.targets(samples)
    draws = _drawn(ground, samples, target_nc[:count]) or _folds(ground, samples, target_nc)
    if not draws:
        return None
    is_drawn = len(draws[0]) == 1
    held = samples[count:] if is_drawn else samples
    held_nc = target_nc[count:] if is_drawn else target_nc

    def compute() -> Outcome:
        x_nd = ground.vectors(samples)
        groups = np.array([sample.group for sample in samples])
        weights_rn = ground.held_out(held).weights_rn
        found: dict[str, list[np.ndarray]] = {"head": [], "tfidf": []}
        for k, parts in enumerate(draws):
            logits = {name: np.zeros(held_nc.shape, np.float32) for name in _rivals(task)}
            for learn, out in parts:
                clusters = groups[learn].tolist()
                x_bd, out_bd = _rows(ground, samples, x_nd, learn, out)
                head = task.fit_head(x_bd, target_nc[learn], clusters, ground.seed)
                place = out - count if is_drawn else out
                logits["head"][place] = head.logits(out_bd)
                if "tfidf" in logits:
                    logits["tfidf"][place] = _lexical(task, samples, target_nc, learn, out)
            mine_rn = np.concatenate([np.ones((1, len(held))), weights_rn[k :: len(draws)]])
            for name, logits_nc in logits.items():
                found[name].append(task.score({"logits": logits_nc}, held_nc)(mine_rn))
            ground.tell(Advanced("few labels", k + 1, len(draws)))
        return Outcome(_summed_up(task, found), {})

    asked: Facts = head_facts(ground) | {"few": [LABELS, DRAWS]}
    asked["how"] = "drawn" if is_drawn else "cross-validated"
    if not is_drawn:
        asked["folds"] = len(draws[0])
    facts = ground.run.step("few-labels", inputs_of(ground, asked), compute).facts
    labels = LABELS if is_drawn else int(target_nc.sum(axis=0).min())
    known: Facts = {"labels_a_class": labels, "how": asked["how"], "draws": len(draws), **facts}
    return known | {"text": _text(known), "few_groups": _few_groups(task, samples, target_nc)}


def refitted(ground: Ground, task: Classification, best: Step) -> Step:
    """The chosen head fitted on training and validation samples, where labels are few.

    What was measured on the validation samples stays as it was measured: before this.
    """
    samples = [*ground.dataset.split("train"), *ground.dataset.split("valid")]
    target_nc = task.targets(samples)
    if best.facts["name"] != "head" or target_nc.sum(axis=0).min() > FEW or ground.soft:
        return best

    def compute() -> Outcome:
        x_nd = ground.vectors(samples)
        words = Words(samples, x_nd) if ground.reads_words else None
        if words is not None:
            x_nd = words.beside(x_nd, samples)
        clusters = [sample.group for sample in samples]
        head = task.fit_head(x_nd, target_nc, clusters, ground.seed, ground.penalty)
        weights = ground.head_weights(head, words)
        return Outcome({"penalty": head.penalty, "labels": len(samples)}, weights)

    asked: Facts = head_facts(ground) | {"rung": "refit"}
    done = ground.run.step("refit", inputs_of(ground, asked), compute)
    return replace(
        best,
        facts=best.facts | {"refitted_on": done.facts["labels"]},
        weights={name: np.asarray(array) for name, array in done.tensors.items()},
    )


Draw = list[tuple[np.ndarray, np.ndarray]]
"""Samples to learn from and samples to answer for; several parts where folds take turns."""


def _drawn(ground: Ground, samples: Sequence[Sample], target_nc: np.ndarray) -> list[Draw]:
    """`LABELS` a class, each of another group as far as there are so many; or nothing."""
    if target_nc.sum(axis=0).min() <= LABELS:
        return []
    held = np.arange(len(target_nc), len(samples))
    groups = _groups(samples)
    draws: list[Draw] = []
    for k in range(DRAWS):
        order = generator(ground.seed, "few labels", k).permutation(len(target_nc))
        chosen: set[int] = set()
        for members in ([i for i in order if target_nc[i, c]] for c in range(target_nc.shape[1])):
            seen: set[str] = set()
            again: list[int] = []
            first: list[int] = []
            for i in members:
                group = groups[i]
                (again if group in seen else first).append(int(i))
                seen.add(group)
            chosen |= set([*first, *again][:LABELS])
        draws.append([(np.array(sorted(chosen)), held)])
    return draws


def _folds(ground: Ground, samples: Sequence[Sample], target_nc: np.ndarray) -> list[Draw]:
    """All samples answered for by heads that have not seen them, with other folds each time."""
    from sklearn.model_selection import StratifiedGroupKFold

    label_n = target_nc.argmax(axis=1)
    group_n = np.array(_groups(samples))
    least = min(len(set(group_n[label_n == c])) for c in range(target_nc.shape[1]))
    if least < 2:
        return []
    count = least if least < FEW_GROUPS else _FOLDS
    draws: list[Draw] = []
    for k in range(_TRIES * DRAWS):  # with few groups a fold may leave a class without samples
        shuffle = seed_of(ground.seed, "few labels", k) % 2**32
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=shuffle)
        parts: Draw = list(folds.split(label_n, label_n, group_n))
        classes = target_nc.shape[1]
        if all(len(set(label_n[learn])) == classes for learn, _ in parts):
            draws.append(parts)
        if len(draws) == DRAWS:
            break
    return draws


def _groups(samples: Sequence[Sample]) -> list[str]:
    """The group of each sample; one without is its own."""
    return [sample.group or sample.sha256 for sample in samples]


def _few_groups(task: Classification, samples: Sequence[Sample], target_nc: np.ndarray) -> str:
    """In words, classes whose labels are of few groups; nothing where each is a group's own."""
    group_n = np.array(_groups(samples))
    found: list[tuple[int, int, str]] = []
    for c, name in enumerate(task.classes):
        some = group_n[target_nc[:, c] > 0]
        groups = len(set(some.tolist()))
        if groups < min(FEW_GROUPS, len(some)):
            found.append((groups, len(some), name))
    if not found:
        return ""
    named = [
        f"{class_in_words(name)} ({labels} labels of {plural(groups, 'group')})"
        for groups, labels, name in sorted(found)
    ]
    return (
        "There are few groups (threads, or texts nearly alike) to learn from: "
        f"{some_of(named, _NAMED)}. Texts of others may be answered better or worse than this."
    )


def _rows(
    ground: Ground,
    samples: Sequence[Sample],
    x_nd: np.ndarray,
    learn: np.ndarray,
    out: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """What the head reads of some samples, and of others, where it knows the words of the first."""
    if not ground.reads_words:
        return x_nd[learn], x_nd[out]
    some, others = ([samples[int(i)] for i in rows] for rows in (learn, out))
    words = Words(some, x_nd[learn])
    return words.beside(x_nd[learn], some), words.beside(x_nd[out], others)


def _rivals(task: Classification) -> tuple[str, ...]:
    return ("head", "tfidf") if task.name == "text-classification" else ("head",)


def _lexical(
    task: Classification,
    samples: Sequence[Sample],
    target_nc: np.ndarray,
    learn: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    from regraft.tasks.tfidf import fit_tfidf

    texts = [str(sample.source) for sample in samples]
    clusters = [samples[i].group for i in learn]
    some = [texts[i] for i in learn]
    model = fit_tfidf(some, target_nc[learn], clusters, task.balanced)
    return model.logits([texts[i] for i in out])


def _summed_up(task: Classification, found: dict[str, list[np.ndarray]]) -> Facts:
    """Means over draws, and what 95 % of them give."""

    def metric(rows: Sequence[np.ndarray]) -> Facts:
        value = float(np.mean([row[0] for row in rows]))
        low, high = np.quantile(np.concatenate([row[1:] for row in rows]), (0.025, 0.975))
        name = task.metric_name
        return {"name": name, "value": value, "low": float(low), "high": float(high)}

    facts: dict[str, Any] = {"metric": metric(found["head"])}
    if found["tfidf"]:
        gaps = [a - b for a, b in zip(found["head"], found["tfidf"], strict=True)]
        facts |= {"tfidf": metric(found["tfidf"]), "ahead": metric(gaps)}
    return facts


def _text(facts: Facts) -> str:
    """In words."""
    many, draws = facts["labels_a_class"], facts["draws"]
    name = metric_name(facts["metric"]["name"])
    if facts["how"] == "drawn":
        text = f"With {many} labels a class, drawn {draws} times, the head reaches "
    else:
        text = f"Cross-validated {draws} times on all labels but the test's, the head reaches "
    text += f"{interval(facts['metric'])} {name}"
    if "tfidf" in facts:
        text += f", TF-IDF {interval(facts['tfidf'])}"
    return f"{text}. In brackets: where 95 % of such draws lie."
