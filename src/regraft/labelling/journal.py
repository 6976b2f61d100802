"""The journal of a review: what people decided about labels, beside the data, never in them.

`photos/` has `photos.decisions.jsonl`, `votes.csv` has `votes.csv.decisions.jsonl`. Each decision
is one line with a checksum, written through to the disk before it is acknowledged. Undoing writes
another line. A line that was torn by a crash or altered is left out and counted, and what was
acknowledged is all there.

A decision carries a key made by the page; the same key again changes nothing, so a page that did
not hear the answer can safely ask again.

Lines of older versions have neither what a decision's sample holds nor what was kept.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final

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
        content: the sample's, see `matching.content_key`; "" if not known.
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
    def damaged(self) -> int:
        """How many whole lines cannot be read: torn by a crash, or altered since."""
        with self._reading:
            return self._look().damaged

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
    damaged: int = 0


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
    damaged = seen.damaged
    for line in filter(None, whole.split(b"\n")):
        mark, _, body = line.partition(b" ")
        if not body or mark != digest(body)[:16].encode():
            damaged += 1
            continue
        fact: Fact = json.loads(body)
        if fact["key"] not in seen.keys:
            seen.keys[fact["key"]] = fact
            seen.lines.append(fact)
    return replace(seen, size=seen.size + len(whole) + len(end), damaged=damaged)


def decisions_in(lines: Iterable[Fact]) -> list[Decision]:
    """The decisions among lines of a journal; the undos are left out, and undo nothing."""
    return [_decision(line) for line in lines if "undo" not in line]


def _decision(line: Fact) -> Decision:
    action: Action = next(known for known in ACTIONS if known == line["action"])
    labels, kept = tuple(map(str, line["labels"])), line.get("kept")
    key, sample, reviewer = (str(line[name]) for name in ("key", "sample", "reviewer"))
    at, content = (str(line.get(name, "")) for name in ("at", "content"))
    kept = None if kept is None else tuple(map(str, kept))
    return Decision(key, sample, reviewer, action, labels, at, content, kept)


def _standing(lines: Iterable[Fact]) -> list[Decision]:
    lines = list(lines)
    undone = {line["undo"] for line in lines if "undo" in line}
    return decisions_in(line for line in lines if line["key"] not in undone)
