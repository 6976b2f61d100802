"""The journal of a review: what people decided about labels, beside the data, never in them.

`photos/` has `photos.decisions.jsonl`, `votes.csv` has `votes.csv.decisions.jsonl`. Each decision
is one line with a checksum, written through to the disk before it is acknowledged. Undoing writes
another line. A line that was torn by a crash is left out, and what was acknowledged is all there.

A decision carries a key made by the page; the same key again changes nothing, so a page that did
not hear the answer can safely ask again.

A decision names its sample and the sample's content (a part of its checksum), and what was kept if
the label was kept: a table may be sorted, a file renamed, a label corrected after the review. Lines
of older versions have neither.

Several people may review the same data, at the same time too. The last decision of each counts;
a label is changed when more of them say so than say anything else.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final

from regraft.dataset import Dataset, Problem, Sample, guard
from regraft.dataset.rows import DROPPED, Target, labels_of
from regraft.dataset.video import clip_id, parted
from regraft.labelling.named import spoken_of
from regraft.store import Fact, append_line, canonical, digest, flush, lock
from regraft.wording import some_of

Action = Literal["keep", "change", "skip"]
ACTIONS: tuple[Action, ...] = ("keep", "change", "skip")
_OUTSIDE = re.compile(r"^(?:\.{1,2}/)+")
_NAMED = 5
"""Samples that a message names."""


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
        content: the sample's, see `content_key`; "" if not known.
        kept: the classes that were kept; None after other actions, or if not known.
    """

    key: str
    sample: str
    reviewer: str
    action: Action
    labels: tuple[str, ...] = ()
    at: str = ""
    content: str = ""
    kept: tuple[str, ...] | None = None


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
            "content": decision.content,
            "kept": None if decision.kept is None else list(decision.kept),
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
                return None if undone is None else decision_of(undone)
            mine = [
                decision
                for decision in _standing(seen.lines)
                if decision.reviewer == reviewer and of in (None, decision.key)
            ]
            if not mine:
                return None
            self._write({"key": key, "undo": mine[-1].key, "reviewer": reviewer})
            return mine[-1]

    def holds(self, key: str) -> bool:
        """Whether a decision or an undo with this key is there; the disk has it then.

        Raises:
            StoreError: the disk does not take it.
        """
        with self._reading:
            if key not in self._look().keys:
                return False
            flush(self.path)  # whoever wrote it may have died before the disk had it
            return True

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


def decision_of(line: Fact) -> Decision:
    """The decision in a line of the journal that is no undo."""
    action: Action = next(known for known in ACTIONS if known == line["action"])
    labels, kept = tuple(map(str, line["labels"])), line.get("kept")
    key, sample, reviewer = (str(line[name]) for name in ("key", "sample", "reviewer"))
    at, content = (str(line.get(name, "")) for name in ("at", "content"))
    kept = None if kept is None else tuple(map(str, kept))
    return Decision(key, sample, reviewer, action, labels, at, content, kept)


def _standing(lines: Iterable[Fact]) -> list[Decision]:
    lines = list(lines)
    undone = {line["undo"] for line in lines if "undo" in line}
    return [decision_of(line) for line in lines if "undo" not in line and line["key"] not in undone]


# Which samples decisions are about ----------------------------------------------------------------


def content_key(sample: Sample) -> str:
    """What names a sample's content in the journal; "" where it was not read.

    16 hex digits of its checksum; of a clip those of its file, and which part of it is meant.
    """
    if not sample.file_sha256:
        return sample.sha256[:16]
    span_s, file = parted(sample.id)[1], sample.file_sha256[:16]
    return file if span_s is None else clip_id(file, span_s)


def about(
    decisions: Iterable[Decision], samples: Iterable[Sample]
) -> tuple[list[Decision], list[Decision]]:
    """Decisions by the ids of the samples that they are about, and those that are about none.

    A decision is about the content that it was made on. If the sample of its name has another, it
    is about those that have this one; about a clip, if it was about the clip's file. Without a
    content, as older versions wrote it, it is about the sample of its name.

    Args:
        decisions: in the order in which they were made.
        samples: that they may be about.

    Returns:
        decisions, as often as there are samples that they are about; and the rest. Those that fit
        name and content are the last: of equal files one may be left out, and what was said of it
        is not the last word on the other.
    """
    decisions = list(decisions)
    contents = {sample.id: content_key(sample) for sample in samples}
    found: list[tuple[int, str]] = []
    own: list[tuple[int, str]] = []
    named: dict[str, list[int]] = {}
    like: dict[str, list[int]] = {}
    for n, one in enumerate(decisions):
        content = contents.get(one.sample)
        if content and content == one.content:
            own.append((n, one.sample))
        elif content is not None and "" in (content, one.content):
            found.append((n, one.sample))
        elif one.content:
            like.setdefault(one.content, []).append(n)
        else:
            for name in _ends(one.sample):
                named.setdefault(name, []).append(n)
    # Pools in several places, whose names end alike, are not told apart by these.
    named = {k: rows for k, rows in named.items() if len({decisions[n].sample for n in rows}) == 1}
    name_of, content_of = spoken_of(named), spoken_of(like)
    for id_, content in contents.items() if named or like else ():
        name, alike = name_of(_OUTSIDE.sub("/", id_)), content_of(content)
        rows = set[int]() if name is None else set(named[name])
        rows |= set[int]() if alike is None else set(like[alike])
        found += [(n, id_) for n in rows]
    found = sorted(found) + own
    matched = {n for n, _ in found}
    lost = [one for n, one in enumerate(decisions) if n not in matched]
    return [replace(decisions[n], sample=id_) for n, id_ in found], lost


def _ends(name: str) -> Iterator[str]:
    """The name; of an absolute path, which another machine does not have, each of its ends."""
    yield name
    if name.startswith("/"):
        parts = name.split("/")
        yield from ("/" + "/".join(parts[begin:]) for begin in range(2, len(parts)))


def is_of_pool(name: str) -> bool:
    """Whether a name in the journal is that of a sample of a pool; see `pool.name_of`."""
    return name.startswith(("./", "../", "/"))


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
    that fit no sample.

    Args:
        dataset: as it was read.
        journal: beside the data.
        prefix: that the data set puts before the journal's sample ids.
    """
    standing = [replace(one, sample=prefix + one.sample) for one in journal.standing()]
    if not standing or dataset.task == "object-detection":  # whose targets are one class a box
        return dataset, {}
    own = [sample for sample in dataset if sample.id.startswith(prefix)]
    known, lost = about(standing, own)
    given = {sample.id: names_of(dataset, sample) for sample in own}
    found = verdicts(known, given)
    kept = {(one.sample, one.kept) for one in known if one.action == "keep"}
    problems = _lost(lost, dataset, journal, prefix)
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


def _lost(
    lost: Iterable[Decision], dataset: Dataset, journal: Journal, prefix: str
) -> list[Problem]:
    """What is to be said of opinions about samples that are not there, or have another content."""
    dropped = {problem.where for problem in dataset.problems if problem.done in DROPPED}
    names = sorted({one.sample for one in lost if one.action != "skip"} - dropped)
    names = [name for name in names if not is_of_pool(name.removeprefix(prefix))]
    if not names:
        return []
    what = (
        f"Reviewers decided on {some_of(names, _NAMED)}, and no sample fits: it was changed or "
        "taken away, or an older version did not note what it holds."
    )
    return [Problem("lost-review", guard.shown(journal.path.name), what)]
