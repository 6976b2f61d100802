"""What is said about labels: ranked, with a reason for each.

Legend: n samples, c classes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.dataset.duplicates import Forest
from regraft.dataset.rows import Dataset, Sample, labels_of
from regraft.dataset.texts import excerpt
from regraft.labelling.likely_errors import Judged, rows_judged
from regraft.wording import class_in_words

ONE_CLASS = 0.65
"""Two classes whose samples are told apart less often than this may be one."""
LEAST_TO_COMPARE = 10
FAR = 3.5
"""Robust standard deviations from the median distance (Iglewicz & Hoaglin 1993)."""
SHOWN = 50
_SURE = 0.5
"""Probes do not doubt a label that they find as likely as this."""


@dataclass(frozen=True)
class Finding:
    """One label that is likely wrong.

    Attributes:
        row: position in the samples.
        suggested: class names, or one.
        score: 0…1; 1 is surely wrong.
        reason: a sentence.
        classes: of the suggestion, one by one; none where nothing applies.
    """

    row: int
    suggested: str
    score: float
    reason: str
    classes: tuple[int, ...]

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """It as JSON, in the data set that it is about."""
        sample = dataset.samples[self.row]
        return {
            "sample": sample.id,
            "given": given(dataset, sample),
            "suggested": self.suggested,
            "score": self.score,
            "reason": self.reason,
        }


def given(dataset: Dataset, sample: Sample) -> str:
    """A sample's label as people read it."""
    return "|".join(dataset.classes[c] for c in labels_of(sample.target)) or "none"


def likely_errors(
    dataset: Dataset,
    judged: Judged,
    settled: frozenset[str] = frozenset(),
    looked_at: frozenset[str] = frozenset(),
) -> list[Finding]:
    """Suspects of confident learning and copies that contradict each other, the worst first.

    Of copies with different labels one label is taken to be right: a person's, else the one that
    fits best. The others are named; of near copies, which may be of two classes, only where probes
    doubt them, too. Where that label is suspect itself, a suspect copy keeps what probes suggest.

    Args:
        dataset: the samples.
        judged: what probes say of them.
        settled: ids of samples whose labels people have confirmed; nothing is said against them.
        looked_at: ids of those among them that are named all the same.
    """
    found = {int(n): _suspect(dataset, judged, int(n)) for n in np.flatnonzero(judged.suspect_n)}
    for copies in conflicts(dataset.samples):
        fit = {n: (dataset.samples[n].id in settled, float(judged.quality_n[n])) for n in copies}
        best = max(copies, key=lambda n: fit[n])
        is_doubted = judged.suspect_n[best] and not fit[best][0]
        other = dataset.samples[best]
        label = given(dataset, other)
        called = "|".join(class_in_words(dataset.classes[c]) for c in labels_of(other.target))
        for n in copies:
            if dataset.samples[n].target == other.target or (is_doubted and n in found):
                continue
            score = max(1 - float(judged.quality_n[n]), 0.5)
            alike = dataset.samples[n].sha256 == other.sha256
            if not alike and judged.quality_n[n] >= _SURE:
                continue
            said = "The same content as" if alike else "Nearly the same content as"
            reason = f"{said} {other.id}, which is labelled {called or 'none'}."
            found[n] = Finding(n, label, score, reason, labels_of(other.target))
    kept = [one for n, one in found.items() if dataset.samples[n].id not in settled - looked_at]
    return sorted(kept, key=lambda one: (-one.score, dataset.samples[one.row].id))


def scores(
    dataset: Dataset,
    judged: Judged,
    errors: Sequence[Finding],
    settled: frozenset[str] = frozenset(),
) -> list[dict[str, Any]]:
    """Every label that was judged and is open, the likeliest wrong first, suspected or not.

    Args:
        dataset: the samples.
        judged: what probes say of them.
        errors: those of them that are likely wrong; `likely_errors` names them.
        settled: ids of samples whose labels people have confirmed; they are left out.
    """
    suspects = {one.row: one for one in errors}
    rows: list[dict[str, Any]] = []
    for n in map(int, rows_judged(dataset)):
        if dataset.samples[n].id in settled:
            continue
        fit = suspects.get(n) or _suspect(dataset, judged, n)
        facts = fit.facts(dataset)
        del facts["reason"]
        rows.append({**facts, "suspect": n in suspects})
    return sorted(rows, key=lambda row: (-row["score"], row["sample"]))


def contradicted(samples: Sequence[Sample], decided: frozenset[str] = frozenset()) -> int:
    """How many labels are wrong, whichever is right: of equal contents all but the commonest.

    Near copies are left out: what looks alike may be of two classes.

    Args:
        samples: with their labels.
        decided: ids of those whose labels are known to be right; others of the same content are
            wrong where they have another.
    """
    given: dict[str, Counter[Any]] = defaultdict(Counter)
    right: dict[str, set[Any]] = defaultdict(set)
    for sample in samples:
        if sample.id in decided:
            right[sample.view_key].add(sample.target)
        else:
            given[sample.view_key][sample.target] += 1
    return sum(
        labels.total()
        - (sum(labels[one] for one in right[key]) if right[key] else max(labels.values()))
        for key, labels in given.items()
    )


def _suspect(dataset: Dataset, judged: Judged, n: int) -> Finding:
    sample, chance_c = dataset.samples[n], judged.chance_nc[n]
    if dataset.multilabel:
        applies = np.zeros(len(chance_c), dtype=bool)
        applies[list(labels_of(sample.target))] = True
        worst = int(np.abs(chance_c - applies).argmax())
        name = class_in_words(dataset.classes[worst])
        percent = f"{100 * float(chance_c[worst]):.0f} %"
        reason = f"Models that never saw it give {name} {percent}, and it is "
        reason += "given." if applies[worst] else "not given."
        applies[worst] = not applies[worst]
        classes = tuple(map(int, np.flatnonzero(applies)))
        said = "|".join(dataset.classes[c] for c in classes) or "none"
    else:
        (label,) = labels_of(sample.target)
        best = int(np.where(np.arange(len(chance_c)) == label, -1, chance_c).argmax())
        classes, said = (best,), dataset.classes[best]
        chances = (
            f"{class_in_words(dataset.classes[c])} {100 * float(chance_c[c]):.0f} %"
            for c in (best, label)
        )
        reason = f"Models that never saw it give {' and '.join(chances)}."
    return Finding(n, said, 1 - float(judged.quality_n[n]), reason, classes)


def conflicts(samples: Sequence[Sample]) -> list[list[int]]:
    """Sets of copies, near ones too, that do not all have the same label."""
    forest = Forest(len(samples))
    first: dict[tuple[str, str], int] = {}
    for n, sample in enumerate(samples):
        for key in (("copies", sample.copies), ("view", sample.view_key)):
            if key[1]:
                forest.join(first.setdefault(key, n), n)
    members: dict[int, list[int]] = defaultdict(list)
    for n in range(len(samples)):
        members[forest.root(n)].append(n)
    return [rows for rows in members.values() if len({samples[n].target for n in rows}) > 1]


def outliers(dataset: Dataset, judged: Judged) -> list[dict[str, Any]]:
    """Samples unlike all others: no class may be right for them; the farthest first.

    Probes saw no other of their group (a file's clips, a burst), so of each the farthest is named.
    """
    log_n = np.log(np.maximum(judged.distance_n, 1e-6))
    middle = float(np.median(log_n))
    spread = 1.4826 * float(np.median(np.abs(log_n - middle))) or 1.0
    order = np.argsort(-log_n, kind="stable")
    far = [int(n) for n in order if (log_n[n] - middle) / spread > FAR]
    named: dict[str, int] = {}
    for n in far:
        named.setdefault(dataset.samples[n].group or dataset.samples[n].id, n)
    return [
        {
            "sample": dataset.samples[n].id,
            "given": given(dataset, dataset.samples[n]),
            "distance": float(judged.distance_n[n]),
            "reason": f"{judged.distance_n[n]:.1f} times as far from its nearest as usual.",
            **excerpt(dataset.samples[n]),
        }
        for n in list(named.values())[:SHOWN]
    ]


def same_classes(dataset: Dataset, judged: Judged) -> list[dict[str, Any]]:
    """Pairs of classes that cannot be told apart, the least apart first; not for several classes.

    "apart" is the chance that of two samples, one of each class, the right one looks more like
    its class (the area under the ROC curve; 0.5 is a guess).
    """
    if dataset.multilabel:
        return []
    given_n = np.array([labels_of(sample.target)[0] for sample in dataset.samples])
    named_nc = np.eye(len(dataset.classes))[given_n]
    mixed_cc = named_nc.T @ judged.chance_nc / np.maximum(named_nc.sum(axis=0), 1)[:, None]
    mixed_cc = np.minimum(mixed_cc, mixed_cc.T)
    rows: list[dict[str, Any]] = []
    for a, b in np.argwhere(np.triu(mixed_cc > 0.05, 1)):
        first, second = (judged.chance_nc[given_n == c][:, [a, b]] for c in (a, b))
        if min(len(first), len(second)) < LEAST_TO_COMPARE:
            continue
        apart = _apart(first[:, 0] / first.sum(axis=1), second[:, 0] / second.sum(axis=1))
        if apart < ONE_CLASS:
            names = [dataset.classes[a], dataset.classes[b]]
            rows.append({"classes": names, "apart": apart})
    return sorted(rows, key=lambda row: row["apart"])


def _apart(high_n: np.ndarray, low_n: np.ndarray) -> float:
    """The chance that a value of the first is above one of the second; ties count half."""
    ordered = np.sort(low_n)
    below = np.searchsorted(ordered, high_n, "left") + np.searchsorted(ordered, high_n, "right")
    return float(below.mean()) / (2 * len(ordered))
