"""What decisions mean for the data: the label of each sample as its reviewers want it.

Several people may review the same data, at the same time too. The last decision of each counts;
a label is changed when more of them say so than say anything else.

A decision says what was kept if the label was kept: it may have been corrected after the review.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from regraft.dataset import Dataset, Problem, Sample, guard
from regraft.dataset.rows import DROPPED, Target, labels_of
from regraft.labelling.journal import Action, Decision, Journal
from regraft.labelling.matching import about
from regraft.wording import plural, some_of

_NAMED = 5
"""Samples that a message names."""


@dataclass(frozen=True)
class Verdict:
    """What the reviewers together say about one sample.

    Attributes:
        action: "keep" or "change"; "divided" where as many say one thing as another.
        labels: after a change.
    """

    action: Literal["keep", "change", "divided"]
    labels: tuple[str, ...]


def names_of(dataset: Dataset, sample: Sample) -> tuple[str, ...] | None:
    """A sample's classes as they were given; None where it has no label."""
    if sample.target is None:
        return None
    return tuple(dataset.classes[c] for c in labels_of(sample.target))


def heard(
    decisions: Iterable[Decision], dataset: Dataset, samples: Iterable[Sample] | None = None
) -> dict[str, Verdict]:
    """The verdicts on some samples, by id.

    Args:
        decisions: in the order in which they were made.
        dataset: whose classes the samples' targets count.
        samples: those of the data set if None.
    """
    samples = list(dataset if samples is None else samples)
    return verdicts(about(decisions, samples)[0], {s.id: names_of(dataset, s) for s in samples})


def verdicts(
    decisions: Iterable[Decision], given: Mapping[str, tuple[str, ...] | None] | None = None
) -> dict[str, Verdict]:
    """The verdict on each sample that someone had an opinion on.

    Args:
        decisions: by the ids of the samples, in the order in which they were made.
        given: the label that each sample has now. Whoever kept another wants that one, and whoever
            changed it to this one wants it kept.
    """
    last: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        last[decision.sample, decision.reviewer] = decision
    opinions: dict[str, Counter[tuple[Action, tuple[str, ...]]]] = {}
    for (sample, _), decision in last.items():
        if decision.action != "skip":
            counter = opinions.setdefault(sample, Counter())
            counter[_opinion(decision, (given or {}).get(sample))] += 1
    found: dict[str, Verdict] = {}
    for sample, counter in opinions.items():
        ranked = counter.most_common(2)
        (action, labels), most = ranked[0]
        divided = len(ranked) > 1 and ranked[1][1] == most
        if divided or action == "skip":
            found[sample] = Verdict("divided", ())
        else:
            found[sample] = Verdict(action, labels)
    return found


def _opinion(one: Decision, given: tuple[str, ...] | None) -> tuple[Action, tuple[str, ...]]:
    said = one.kept if one.action == "keep" else one.labels
    if given is None or said is None:
        return one.action, one.labels
    return ("keep", ()) if said == given else ("change", said)


def settled(found: Mapping[str, Verdict]) -> frozenset[str]:
    """The samples about which reviewers are not divided."""
    return frozenset(name for name, verdict in found.items() if verdict.action != "divided")


def reviewed(
    dataset: Dataset, journal: Journal, prefix: str = ""
) -> tuple[Dataset, dict[str, Verdict]]:
    """The data set with labels as its reviewers changed them, and the verdicts on its samples.

    A change to a class that the data do not have is reported and is no verdict; nor are decisions
    that fit no sample, or that are damaged.

    Args:
        dataset: as it was read.
        journal: beside the data.
        prefix: that the data set puts before the journal's sample ids.
    """
    standing = [replace(one, sample=prefix + one.sample) for one in journal.standing()]
    problems = _damaged(journal)
    if not standing or dataset.task == "object-detection":  # whose targets are one class a box
        return dataset.with_problems(problems), {}
    own = [sample for sample in dataset if sample.id.startswith(prefix)]
    known, lost = about(standing, own)
    given = {sample.id: names_of(dataset, sample) for sample in own}
    found = verdicts(known, given)
    kept = {(one.sample, one.kept) for one in known if one.action == "keep"}
    problems += _lost(lost, dataset, journal, prefix)
    samples: list[Sample] = []
    for sample in dataset:
        verdict = found.get(sample.id)
        if verdict is None or verdict.action != "change":
            samples.append(sample)
            continue
        said, target = ", ".join(verdict.labels) or "none", _target(dataset, verdict.labels)
        if target is None:
            del found[sample.id]
            what = f"A reviewer chose {said if verdict.labels else 'nothing'}, which is no class."
            problems.append(Problem("review", sample.id, what))
        elif (sample.id, verdict.labels) in kept:
            old = ", ".join(given[sample.id] or ()) or "none"
            what = f"A reviewer kept the label {said}, which has become {old} since."
            problems.append(Problem("review", sample.id, what, "relabelled"))
        else:
            what = f"A reviewer changed the label to {said}."
            problems.append(Problem("review", sample.id, what, "relabelled"))
        samples.append(sample if target is None else replace(sample, target=target))
    return dataset.with_samples(samples).with_problems(problems), found


def _target(dataset: Dataset, labels: tuple[str, ...]) -> Target:
    """These classes as a target; None where they are none of the data's, or too many or too few."""
    if not set(labels) <= set(dataset.classes) or (not dataset.multilabel and len(labels) != 1):
        return None
    target = tuple(sorted(map(dataset.classes.index, labels)))
    return target if dataset.multilabel else target[0]


def _damaged(journal: Journal) -> list[Problem]:
    """What is to be said of lines that cannot be read."""
    if not journal.damaged:
        return []
    lines = plural(
        journal.damaged, "line cannot be read and does not", "lines cannot be read and do not"
    )
    what = (
        f"{lines} count: torn before the decision was acknowledged, or altered since. If decisions "
        "are missing, take them from a copy of the file, or make them again."
    )
    return [Problem("lost-review", guard.shown(journal.path.name), what)]


def _lost(
    lost: Iterable[Decision], dataset: Dataset, journal: Journal, prefix: str
) -> list[Problem]:
    """What is to be said of opinions about samples that are not there, or have another content."""
    dropped = {problem.where for problem in dataset.problems if problem.done in DROPPED}
    names = sorted({one.sample for one in lost if one.action != "skip"} - dropped)
    names = [name for name in names if not _is_of_pool(name.removeprefix(prefix))]
    if not names:
        return []
    what = (
        f"Reviewers decided on {some_of(names, _NAMED)}, and no sample fits: it was changed or "
        "taken away, or an older version did not note what it holds."
    )
    return [Problem("lost-review", guard.shown(journal.path.name), what)]


def _is_of_pool(name: str) -> bool:
    """Whether a name in the journal is that of a sample of a pool; see `pool.name_of`."""
    return name.startswith(("./", "../", "/"))
