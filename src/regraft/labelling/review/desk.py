"""What a reviewer can see, decide and take back, in plain values; HTTP is elsewhere.

Decisions:

- A decision names its sample by id, not by its place in the list: what a page could not send
  before the server died still fits after a new start, when the list is another. It says which
  content was looked at: a table may have been sorted in between.
- Whoever asks chooses the key of a decision. The same key again is the same decision, whatever
  else the question says, so asking again is always safe.
- Names and classes are compared, never interpreted; a class has to be one of the data's.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, final

from regraft.dataset import guard
from regraft.dataset.reader import class_name
from regraft.labelling.journal import ACTIONS, Action, Decision, Journal, decisions_in
from regraft.labelling.matching import about, content_key
from regraft.labelling.review.items import KINDS, ONE_OF_KIND, Item, Queue
from regraft.labelling.review.pictures import LARGE_PX, SMALL_PX, Picture, picture_of, text_of
from regraft.labelling.verdicts import names_of
from regraft.store import digest

LONGEST_NAME = 60
_KEY = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)
_DECODING = 2
"""Pictures that are decoded at the same time: each may take hundreds of megabytes."""

Fact = dict[str, Any]


@final
class Unfit(Exception):
    """What was asked makes no sense; the text says why."""


@final
class NotThere(Exception):
    """There is no such sample."""


def reviewer_name(text: object) -> str:
    """A reviewer's name as it is written down.

    Raises:
        Unfit: it is none.
    """
    name = unicodedata.normalize("NFC", text.strip()) if isinstance(text, str) else ""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Unfit(f"A reviewer's name has 1 to {LONGEST_NAME} printable characters.")
    return name


@final
@dataclass(frozen=True)
class Desk:
    """One review.

    Attributes:
        queue: what there is to look at.
        journal: where decisions go.
        reviewer: who is asked first; the page may name others.
    """

    queue: Queue
    journal: Journal
    reviewer: str

    _decoding: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_DECODING)
    )

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {sample.id: n for n, sample in reversed(list(enumerate(self.queue.samples)))}

    def opening(self) -> Fact:
        """What a page needs once."""
        data = self.queue.dataset
        return {
            "name": guard.shown(data.path.resolve().name),
            "path": guard.shown(data.path.resolve()),
            "journal": guard.shown(self.journal.path),
            "id": digest(str(self.journal.path.resolve()))[:16],
            "task": data.task,
            "classes": list(data.classes),
            "multilabel": data.multilabel,
            "open": self.is_open,
            "kinds": {**KINDS},
            "one_of_kind": {**ONE_OF_KIND},
            "reviewer": self.reviewer,
            "items": [_item(self.queue, item) for item in self.queue.items],
            "examples": [list(rows) for rows in self.queue.examples_c],
        }

    def events(self, since: int) -> Fact:
        """Lines of the journal from the one with this number on; all if the journal is shorter.

        Each decision has "samples" besides: those that it is about now, see `matching.about`.
        """
        lines = self.journal.lines()
        begin = since if since <= len(lines) else 0
        asked = decisions_in(lines[begin:])
        places: dict[str, list[str]] = {one.key: [] for one in asked}
        for one in about(asked, self.queue.samples)[0] if asked else ():
            places[one.key].append(one.sample)
        events = [
            line if "undo" in line else line | {"samples": places[str(line["key"])]}
            for line in lines[begin:]
        ]
        return {"from": begin, "events": events}

    def decide(self, asked: Mapping[str, Any]) -> Fact:
        """Write a decision down: key, sample, reviewer, action, labels; content, if it is known.

        What is there already may be about a sample that this review has not.

        Raises:
            Unfit: something of this is wrong.
            NotThere: there is no such sample, or it has another content than the one that was seen.
            StoreError: the disk does not take it.
        """
        # Pages of older versions, and what these keep, have no content.
        wanted = {"key", "sample", "reviewer", "action", "labels"}
        _check_fields(asked, wanted | ({"content"} & set(asked)))
        key = _key(asked["key"])
        if self.journal.holds(key):
            return {"written": False}
        row = self._row(asked["sample"])
        sample, data = self.queue.samples[row], self.queue.dataset
        content = content_key(sample)
        _check_content(asked.get("content", ""), content)
        given = names_of(data, sample)
        labels = self._labels(asked["labels"])
        action: Action | None = next((a for a in ACTIONS if a == asked["action"]), None)
        if action is None:
            raise Unfit("The action is none of " + ", ".join(ACTIONS) + ".")
        if action != "change" and labels:
            raise Unfit("Only a change names classes.")
        if action == "change" and not data.multilabel and len(labels) != 1:
            raise Unfit("A change names one class.")
        if action == "keep" and given is None:
            raise Unfit("This sample has no label to keep.")
        if action == "change" and labels == given:
            action, labels = "keep", ()
        decision = Decision(
            key=key,
            sample=sample.id,
            reviewer=reviewer_name(asked["reviewer"]),
            action=action,
            labels=labels,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            content=content,
            kept=given if action == "keep" else None,
        )
        return {"written": self.journal.decide(decision)}

    def undo(self, asked: Mapping[str, Any]) -> Fact:
        """Take a decision back: key (of this), of (the decision's), reviewer.

        Raises:
            Unfit: something of this is wrong.
            StoreError: the disk does not take it.
        """
        _check_fields(asked, {"key", "of", "reviewer"})
        reviewer, key, of = reviewer_name(asked["reviewer"]), _key(asked["key"]), _key(asked["of"])
        undone = self.journal.undo(reviewer, key, of)
        return {"undone": None if undone is None else undone.sample}

    def picture(self, row: int, *, small: bool = False) -> Picture:
        """One sample's picture.

        Raises:
            NotThere: there is no such picture.
            UnreadableSample: it cannot be read any more.
        """
        if row >= len(self.queue.samples):
            raise NotThere("There is no such sample.")
        sample = self.queue.samples[row]
        if not isinstance(sample.source, Path):
            raise NotThere("This sample is no picture.")
        with self._decoding:
            return picture_of(sample, self.queue.roots, SMALL_PX if small else LARGE_PX)

    def text(self, row: int) -> Fact:
        """One sample's text.

        Raises:
            NotThere: there is no such text.
        """
        if row >= len(self.queue.samples):
            raise NotThere("There is no such sample.")
        sample = self.queue.samples[row]
        if isinstance(sample.source, Path):
            raise NotThere("This sample is no text.")
        text, is_cut = text_of(sample)
        return {"text": text, "cut": is_cut}

    @property
    def is_open(self) -> bool:
        """Nothing was labelled before, so that reviewers name the classes."""
        data = self.queue.dataset
        return not any(sample.target is not None for sample in data)

    def _labels(self, asked: object) -> tuple[str, ...]:
        if not isinstance(asked, list):
            raise Unfit("The labels are no list.")
        names: list[Any] = asked
        classes = self.queue.dataset.classes
        if self.is_open:
            if not all(
                isinstance(name, str) and name and name == _new_class(name) for name in names
            ):
                raise Unfit(f"A class's name has 1 to {LONGEST_NAME} printable characters.")
            return tuple(sorted(set(names)))
        if any(name not in classes for name in names):
            raise Unfit("The data have no such class.")
        return tuple(name for name in classes if name in names)

    def _row(self, sample: object) -> int:
        if not isinstance(sample, str):
            raise Unfit("The sample is no id.")
        if sample not in self._rows:
            raise NotThere("There is no such sample.")
        return self._rows[sample]


def _item(queue: Queue, item: Item) -> Fact:
    sample = queue.samples[item.row]
    return {
        "row": item.row,
        "sample": sample.id,
        "content": content_key(sample),
        "kind": item.kind,
        "given": None if item.given is None else list(item.given),
        "suggested": None if item.suggested is None else list(item.suggested),
        "score": item.score,
        "reason": item.reason,
        "chances": [list(pair) for pair in item.chances],
        "is_text": isinstance(sample.source, str),
        "size": list(sample.size),
    }


def _new_class(name: str) -> str:
    """A class's name as readers of data would have it; "" where it is too long or has a bar."""
    return "" if len(name) > LONGEST_NAME or "|" in name or ";" in name else class_name(name)


def _check_fields(asked: Mapping[str, Any], names: set[str]) -> None:
    if set(asked) != names:
        raise Unfit("These fields are wanted: " + ", ".join(sorted(names)) + ".")


def _check_content(seen: object, content: str) -> None:
    if not isinstance(seen, str):
        raise Unfit("The content is no text.")
    if "" not in (seen, content) and seen != content:
        raise NotThere("What is called so now has another content.")


def _key(text: object) -> str:
    if not isinstance(text, str) or not _KEY.fullmatch(text):
        raise Unfit("A key has 8 to 64 letters, digits and hyphens.")
    return text
