"""What is worth a reviewer's look: likely errors, divided people, outliers, what to label next.

Legend: n samples, c classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regraft.dataset import Dataset, Sample
from regraft.dataset.rows import labels_of
from regraft.errors import DataError
from regraft.labelling import findings
from regraft.labelling.asking import CHANCES
from regraft.labelling.journal import Decision
from regraft.labelling.likely_errors import Judged
from regraft.labelling.matching import about
from regraft.labelling.pool import as_in_journal
from regraft.labelling.survey import Surveyed
from regraft.labelling.verdicts import heard, names_of, settled
from regraft.wording import class_in_words

Kind = Literal["error", "divided", "outlier", "next", "decided"]
KINDS: dict[Kind, str] = {
    "error": "likely errors",
    "divided": "people disagree",
    "outlier": "unlike the rest",
    "next": "to label next",
    "decided": "decided before",
}
"""In the order in which they are looked at, and what they are called."""
ONE_OF_KIND: dict[Kind, str] = {**KINDS, "error": "likely error"}
"""What one of them is called."""

_EXAMPLES = 6


@dataclass(frozen=True)
class Item:
    """One sample to look at.

    Attributes:
        row: its place in `Queue.samples`.
        kind: why it is here.
        given: the classes it came with; None where it has no label.
        suggested: the classes that it may have instead; None without a suggestion.
        score: 0…1, higher is more urgent; None where there is no such number.
        reason: a sentence.
        chances: the likeliest classes with their probabilities, the likeliest first.
    """

    row: int
    kind: Kind
    given: tuple[str, ...] | None
    suggested: tuple[str, ...] | None
    score: float | None
    reason: str
    chances: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Queue:
    """Everything that a review is about.

    Attributes:
        dataset: with labels as they were given.
        samples: all that may be shown or decided on, the data's first, then those of a pool.
        items: in the order of `KINDS`, the most urgent first.
        examples_c: for each class, rows of samples that look most like it and are so labelled.
        roots: the folders that files are shown from.
        pool: samples without labels that some of the items are of, or None.
    """

    dataset: Dataset
    samples: tuple[Sample, ...]
    items: tuple[Item, ...]
    examples_c: tuple[tuple[int, ...], ...]
    roots: tuple[Path, ...]
    pool: Dataset | None = None


def queue_of(found: Surveyed, decisions: Iterable[Decision] = ()) -> Queue:
    """What a survey found, as a list to go through; a sample is in it once.

    Args:
        found: the survey; it names files or texts.
        decisions: those made before; their samples stay in the list.
    """
    given, dataset, pool = found.given, found.dataset, found.pool
    assert given is not None and dataset is not None
    asked = as_in_journal(given.path, pool)
    samples = (*given.samples, *asked)
    row = {sample.id: n for n, sample in enumerate(samples)}
    place = {one.id: row[sample.id] for one, sample in zip(pool or (), asked, strict=True)}
    items: dict[int, Item] = {}
    decisions = tuple(decisions)
    decided = settled(heard(decisions, given, samples))
    for item in (
        *_errors(given, dataset, found, decided),
        *_divided(given, found, row),
        *_outliers(given, found, row),
        *_next(found.facts["next"], place, given),
        *_decided(samples, given, about(decisions, samples)[0], row),
    ):
        items.setdefault(item.row, item)
    examples_c = _examples(dataset, found.judged)
    roots = tuple(_root(data.path.resolve()) for data in (given, pool) if data is not None)
    return Queue(given, samples, tuple(items.values()), examples_c, roots, pool)


def _root(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def nothing_to_show(found: Surveyed, where: object = "") -> DataError:
    """What is said where a survey was of votes or boxes alone, so that there is no queue."""
    if found.facts["data"] is not None:
        return DataError(
            "Boxes of several people are not reviewed one by one.",
            where=where,
            mend="give a folder with --out: report.html in it shows the objects that divide them, "
            "and a copy of consensus.csv can be mended and learnt from",
        )
    return DataError(
        f"There is nothing to show. {found.facts['not_judged']}",
        where=where,
        mend="give a table of votes with the texts in a column `text`, or with a column `path` "
        "that leads to the files; or review the samples where they are",
    )


def _errors(
    given: Dataset, dataset: Dataset, found: Surveyed, decided: frozenset[str]
) -> Iterable[Item]:
    judged = found.judged
    if judged is None:
        return
    for one in findings.likely_errors(dataset, judged, decided | found.agreed, decided):
        names = names_of(given, given.samples[one.row])
        suggested = tuple(dataset.classes[c] for c in one.classes)
        chances = _chances(dataset, judged.chance_nc[one.row])
        other = suggested if suggested != names else None
        yield Item(one.row, "error", names, other, one.score, one.reason, chances)


def _divided(given: Dataset, found: Surveyed, row: Mapping[str, int]) -> Iterable[Item]:
    for fact in (found.facts["agreement"] or {}).get("divided", ()):
        if fact["sample"] not in row:
            continue
        n = row[fact["sample"]]
        votes = sorted(fact["votes"].items(), key=lambda vote: (-vote[1], vote[0]))
        said = ", ".join(f"{number} for {class_in_words(name)}" for name, number in votes)
        yield _plain(given, n, "divided", fact["disagreement"], f"People voted: {said}.", found)


def _outliers(given: Dataset, found: Surveyed, row: Mapping[str, int]) -> Iterable[Item]:
    for fact in found.facts["outliers"]:
        yield _plain(given, row[fact["sample"]], "outlier", None, fact["reason"], found)


def _plain(
    given: Dataset, n: int, kind: Kind, score: float | None, reason: str, found: Surveyed
) -> Item:
    """An item that nobody has a suggestion for; the network's opinion stands beside it."""
    chances = () if found.judged is None else _chances(given, found.judged.chance_nc[n])
    return Item(n, kind, names_of(given, given.samples[n]), None, score, reason, chances)


def _next(
    rows: Iterable[Mapping[str, Any]], place: Mapping[str, int], given: Dataset
) -> Iterable[Item]:
    for fact in rows:
        said = str(fact["suggested"] or "").split("|") if given.multilabel else [fact["suggested"]]
        suggested = tuple(name for name in given.classes if name in said) or None
        chances = tuple((str(name), float(chance)) for name, chance in fact["chances"])
        row, reason = place[fact["sample"]], str(fact["reason"])
        yield Item(row, "next", None, suggested, None, reason, chances)


def _decided(
    samples: Sequence[Sample], given: Dataset, decisions: Iterable[Decision], row: Mapping[str, int]
) -> Iterable[Item]:
    for n in sorted({row[one.sample] for one in decisions if one.sample in row}):
        why = "A reviewer has decided on it before."
        yield Item(n, "decided", names_of(given, samples[n]), None, None, why)


def _chances(dataset: Dataset, chance_c: np.ndarray) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-chance_c, kind="stable")[:CHANCES]
    return tuple((dataset.classes[c], float(chance_c[c])) for c in order)


def _examples(dataset: Dataset, judged: Judged | None) -> tuple[tuple[int, ...], ...]:
    rows_c: list[list[int]] = [[] for _ in dataset.classes]
    if judged is not None:
        for n in np.argsort(-judged.quality_n, kind="stable"):
            for c in labels_of(dataset.samples[n].target):
                if len(rows_c[c]) < _EXAMPLES and not judged.suspect_n[n]:
                    rows_c[c].append(int(n))
    return tuple(map(tuple, rows_c))
