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
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final

from regraft.dataset import Dataset, Problem, Sample
from regraft.dataset.rows import Target, labels_of
from regraft.store import Fact, append_line, canonical, digest, flush, lock

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
        at: when, in UTC, ISO 8601; "" if not known.
    """

    key: str
    sample: str
    reviewer: str
    action: Action
    labels: tuple[str, ...] = ()
    at: str = ""


def journal_of(data: Path) -> Path:
    """Where decisions about some data are kept."""
    data = data.resolve()
    return data.with_name(f"{data.name}.decisions.jsonl")


@final
class Journal:
    """Decisions on disk; safe to use from several threads and processes.

    Only what was added since the last look is read.

    Args:
        path: the file; made with the first decision.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading = threading.Lock()
        self._seen = _Seen()

    def decide(self, decision: Decision) -> bool:
        """Write a decision down; False if its key is there already. The disk has it then.

        Raises:
            StoreError: the disk is full, or the file cannot be written.
        """
        line = {
            "key": decision.key,
            "sample": decision.sample,
            "reviewer": decision.reviewer,
            "action": decision.action,
            "labels": list(decision.labels),
            "at": decision.at,
        }
        with self._reading, lock(self._lock):
            if decision.key in self._look().keys:
                flush(self.path)  # whoever wrote it may have died before the disk had it
                return False
            self._write(line)
            return True

    def undo(self, reviewer: str, key: str, of: str | None = None) -> Decision | None:
        """Take back one of the reviewer's decisions that stand; what it was.

        Args:
            reviewer: whose.
            key: of this act; a second one with the same key takes back nothing more.
            of: the key of the decision; the reviewer's last one if None.
        """
        with self._reading, lock(self._lock):
            seen = self._look()
            done = seen.keys.get(key)
            if done is not None:
                flush(self.path)
                undone = seen.keys.get(str(done.get("undo")))
                return None if undone is None else _decision(undone)
            mine = [
                decision
                for decision in _standing(seen.lines)
                if decision.reviewer == reviewer and of in (None, decision.key)
            ]
            if not mine:
                return None
            self._write({"key": key, "undo": mine[-1].key, "reviewer": reviewer})
            return mine[-1]

    def standing(self) -> list[Decision]:
        """Decisions that were not undone, oldest first."""
        return _standing(self.lines())

    def lines(self) -> list[Fact]:
        """All that was ever written, oldest first: decisions, and undos as {"key", "undo", …}."""
        with self._reading:
            return list(self._look().lines)

    @property
    def _lock(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _look(self) -> _Seen:
        self._seen = _read_on(self.path, self._seen)
        return self._seen

    def _write(self, line: Mapping[str, object]) -> None:
        body = canonical(dict(line))  # pyright: ignore[reportArgumentType] (plain JSON)
        append_line(self.path, digest(body)[:16].encode() + b" " + body)


@dataclass(frozen=True)
class _Seen:
    """What was read so far of one file."""

    file: tuple[int, int] = (0, 0)
    size: int = 0
    lines: list[Fact] = field(default_factory=list[Fact])
    keys: dict[str, Fact] = field(default_factory=dict[str, Fact])


def _read_on(path: Path, seen: _Seen) -> _Seen:
    """Whole lines from where the last look ended; torn, damaged and repeated ones are left out."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) != seen.file or status.st_size < seen.size:
                seen = _Seen((status.st_dev, status.st_ino))
            file.seek(seen.size)
            whole, end, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        return _Seen()
    for line in whole.split(b"\n"):
        mark, _, body = line.partition(b" ")
        if body and mark == digest(body)[:16].encode():
            fact: Fact = json.loads(body)
            if fact["key"] not in seen.keys:
                seen.keys[fact["key"]] = fact
                seen.lines.append(fact)
    return replace(seen, size=seen.size + len(whole) + len(end))


def _decision(line: Fact) -> Decision:
    action: Action = next(known for known in ACTIONS if known == line["action"])
    labels = tuple(map(str, line["labels"]))
    key, sample, reviewer = (str(line[name]) for name in ("key", "sample", "reviewer"))
    return Decision(key, sample, reviewer, action, labels, str(line.get("at", "")))


def _standing(lines: Iterable[Fact]) -> list[Decision]:
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
    """

    action: Literal["keep", "change", "divided"]
    labels: tuple[str, ...]


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
        if divided or action == "skip":
            found[sample] = Verdict("divided", ())
        else:
            found[sample] = Verdict(action, labels)
    return found


def settled(found: Mapping[str, Verdict]) -> frozenset[str]:
    """The samples about which reviewers are not divided."""
    return frozenset(name for name, verdict in found.items() if verdict.action != "divided")


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
    if not found or dataset.task == "object-detection":  # whose targets are one class a box
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


def names_of(dataset: Dataset, sample: Sample) -> tuple[str, ...] | None:
    """A sample's classes as they were given; None where it has no label."""
    if sample.target is None:
        return None
    return tuple(dataset.classes[c] for c in labels_of(sample.target))
