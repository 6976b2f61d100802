"""The journal of a review: what people decided about labels, beside the data, never in them.

`photos/` has `photos.decisions.jsonl`, `votes.csv` has `votes.csv.decisions.jsonl`. Each decision
is one line with a checksum, written through to the disk before it is acknowledged. Undoing writes
another line. A line that was torn by a crash is left out, and what was acknowledged is all there.

A decision carries a key made by the page; the same key again changes nothing, so a page that did
not hear the answer can safely ask again.

Several people may review the same data, at the same time too. The last decision of each counts;
a label is changed when more of them say so than say anything else.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

from regraft.dataset import Dataset, Problem
from regraft.dataset.rows import Target
from regraft.errors import StoreError
from regraft.store import canonical, digest, lock

Action = Literal["keep", "change", "skip"]
ACTIONS: tuple[Action, ...] = ("keep", "change", "skip")


@dataclass(frozen=True)
class Decision:
    """What one person decided about one sample.

    Attributes:
        key: made by whoever asks; names the decision for ever.
        sample: its id.
        reviewer: a name.
        action: "keep" the given label, "change" it, or "skip" without an opinion.
        labels: the classes after a change; empty otherwise.
    """

    key: str
    sample: str
    reviewer: str
    action: Action
    labels: tuple[str, ...] = ()


def journal_of(data: Path) -> Path:
    """Where decisions about some data are kept."""
    data = data.resolve()
    return data.with_name(f"{data.name}.decisions.jsonl")


@final
class Journal:
    """Decisions on disk; safe to use from several threads and processes.

    Args:
        path: the file; made with the first decision.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def decide(self, decision: Decision) -> bool:
        """Write a decision down; False if its key is there already.

        Raises:
            StoreError: the disk is full, or the file cannot be written.
        """
        line = {
            "key": decision.key,
            "sample": decision.sample,
            "reviewer": decision.reviewer,
            "action": decision.action,
            "labels": list(decision.labels),
        }
        return self._append(line)

    def undo(self, reviewer: str, key: str) -> Decision | None:
        """Take back the reviewer's last decision that stands; what it was.

        Args:
            reviewer: whose.
            key: of this act; a second one with the same key takes back nothing more.
        """
        with lock(self.path.with_name(self.path.name + ".lock")):
            lines = _lines(self.path)
            done = next((line for line in lines if line["key"] == key), None)
            if done is not None:
                return next((_decision(x) for x in lines if x["key"] == done["undo"]), None)
            mine = [d for d in _standing(lines) if d.reviewer == reviewer]
            if not mine:
                return None
            self._write({"key": key, "undo": mine[-1].key, "reviewer": reviewer})
            return mine[-1]

    def standing(self) -> list[Decision]:
        """Decisions that were not undone, oldest first."""
        return _standing(_lines(self.path))

    def _append(self, line: Mapping[str, object]) -> bool:
        with lock(self.path.with_name(self.path.name + ".lock")):
            if any(other["key"] == line["key"] for other in _lines(self.path)):
                return False
            self._write(line)
            return True

    def _write(self, line: Mapping[str, object]) -> None:
        body = canonical(dict(line))  # pyright: ignore[reportArgumentType] (plain JSON)
        data = digest(body)[:16].encode() + b" " + body + b"\n"
        try:
            torn = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                rest = (b"\n" if torn else b"") + data
                while rest:
                    rest = rest[os.write(handle, rest) :]
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as fault:
            raise StoreError(
                f"The decision cannot be kept: {fault.strerror}.",
                where=self.path,
                mend="make room on the disk, or let this folder be written to",
            ) from fault


def _lines(path: Path) -> list[dict[str, object]]:
    """What the journal says; torn and damaged lines are left out."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    found: list[dict[str, object]] = []
    for line in raw.split(b"\n"):
        mark, _, body = line.partition(b" ")
        if body and mark == digest(body)[:16].encode():
            found.append(json.loads(body))
    return found


def _decision(line: Mapping[str, object]) -> Decision:
    labels = line["labels"]
    assert isinstance(labels, list)
    action: Action = next(known for known in ACTIONS if known == line["action"])
    return Decision(
        str(line["key"]),
        str(line["sample"]),
        str(line["reviewer"]),
        action,
        tuple(map(str, labels)),
    )


def _standing(lines: Iterable[Mapping[str, object]]) -> list[Decision]:
    lines = list(lines)
    undone = {line["undo"] for line in lines if "undo" in line}
    return [_decision(line) for line in lines if "undo" not in line and line["key"] not in undone]


# What decisions mean for the data -----------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What the reviewers together say about one sample.

    Attributes:
        action: "keep" or "change"; "divided" where as many say one thing as another.
        labels: after a change.
        reviewers: how many had an opinion.
    """

    action: Literal["keep", "change", "divided"]
    labels: tuple[str, ...]
    reviewers: int


def verdicts(decisions: Iterable[Decision]) -> dict[str, Verdict]:
    """The verdict on each sample that someone had an opinion on."""
    last: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        last[decision.sample, decision.reviewer] = decision
    opinions: dict[str, Counter[tuple[Action, tuple[str, ...]]]] = {}
    for (sample, _), decision in last.items():
        if decision.action != "skip":
            counter = opinions.setdefault(sample, Counter())
            counter[decision.action, decision.labels] += 1
    found: dict[str, Verdict] = {}
    for sample, counter in opinions.items():
        ranked = counter.most_common(2)
        (action, labels), most = ranked[0]
        divided = len(ranked) > 1 and ranked[1][1] == most
        voices = sum(counter.values())
        if divided or action == "skip":
            found[sample] = Verdict("divided", (), voices)
        else:
            found[sample] = Verdict(action, labels, voices)
    return found


def reviewed(
    dataset: Dataset, journal: Journal, prefix: str = ""
) -> tuple[Dataset, dict[str, Verdict]]:
    """The data set with labels as its reviewers changed them, and all verdicts.

    A change to a class that the data do not have is reported and left alone.

    Args:
        dataset: as it was read.
        journal: beside the data.
        prefix: that the data set puts before the journal's sample ids.
    """
    found = {prefix + name: one for name, one in verdicts(journal.standing()).items()}
    if not found:
        return dataset, {}
    place = {name: c for c, name in enumerate(dataset.classes)}
    problems: list[Problem] = []

    def target(sample_id: str, old: Target) -> Target:
        verdict = found.get(sample_id)
        if verdict is None or verdict.action != "change":
            return old
        unknown = [name for name in verdict.labels if name not in place]
        if unknown or (not dataset.multilabel and len(verdict.labels) != 1):
            what = f"A reviewer chose {', '.join(verdict.labels) or 'nothing'}, which is no class."
            problems.append(Problem("review", sample_id, what))
            return old
        labels = tuple(sorted(place[name] for name in verdict.labels))
        new: Target = labels if dataset.multilabel else labels[0]
        if new != old:
            what = f"A reviewer changed the label to {', '.join(verdict.labels) or 'none'}."
            problems.append(Problem("review", sample_id, what, "relabelled"))
        return new

    samples = [replace(sample, target=target(sample.id, sample.target)) for sample in dataset]
    return dataset.with_samples(samples).with_problems(problems), found
