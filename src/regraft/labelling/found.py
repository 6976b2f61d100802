"""What is found about labels, as `regraft labels --json` prints it and `--out` keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

from regraft.dataset import guard
from regraft.dataset.table import columns_of

FILE = "labels.json"
CONSENSUS_OF_BOXES = (
    "path", "category", "left", "top", "right", "bottom", "crowd", "sample", "chance", "tied",
    "votes", "sha256",
)  # fmt: skip
"""Its columns where people drew boxes: a table of boxes. Of one with a "probability" the readers of
boxes say that a model found them."""
_OWN = frozenset({"chance", "tied", "votes"})
"""Those that no person's boxes have."""
Facts = dict[str, Any]


class Found(TypedDict):
    """The whole of it, in this order.

    Attributes:
        agreement: how far people agree, by class, person and pair, and what divides them; None
            without votes, as all that is made of them.
        consensus: the label that the votes come to, of every sample; see `consensus.summary` and,
            of boxes, `box_consensus.settled`. Where a table of votes has a "split" or a "group",
            so have its "labels".
        ceiling: how often one annotator agrees with the majority of the others.
        beside_people: how a new head agrees with them, on samples that it never saw.
        reviewed: on how many samples reviewers had an opinion.
        likely_errors: labels that are likely wrong, the likeliest first; see `Finding.facts`.
        scores: every label that was judged and that no reviewer confirmed, the likeliest wrong
            first; "suspect" says which are among the likely errors.
        next: what to label next, what teaches most first; see `asking.ask_next`.
        share: the estimated share of wrong labels, with its interval; None where it cannot be
            told, and "value" is where the interval alone can.
        outliers: samples unlike all others.
        same_classes: classes that cannot be told apart.
        worth: what the next labels would bring; None where it cannot be told.
        pool: {"path", "samples": without labels, "left_out"}; None without one.
        data: {"path", "task", "samples", "classes", "left_out"}; None where no files are named.
            "left_out" are files and rows that are not among the samples; see `left_out`. Of
            classes it has "reviews", too: which labels reviewers changed, and decisions that fit no
            sample; of boxes "notes": whose boxes were refused or mended, where and why.
        caution: what to bear in mind about all this, or "".
        from_label_studio: what an export brought; see `label_studio_exports.take_in`.
        to_label_studio: what was written; see `label_studio_tasks.write_survey`.
        not_judged: why labels were not judged, or "".
    """

    agreement: Facts | None
    consensus: Facts | None
    ceiling: Facts | None
    beside_people: Facts | None
    reviewed: int
    likely_errors: list[Facts]
    scores: list[Facts]
    next: list[Facts]
    share: Facts | None
    outliers: list[Facts]
    same_classes: list[Facts]
    worth: Facts | None
    pool: Facts | None
    data: Facts | None
    caution: str
    from_label_studio: Facts | None
    to_label_studio: Facts | None
    not_judged: str


def holds_found(path: Path) -> bool:
    """Whether a file holds what is found about labels, as that of an earlier call does."""
    try:
        found: object = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"likely_errors", "next"} <= found.keys()


def is_ours(path: Path) -> bool:
    """Whether a file among people's boxes is what an earlier call left, as it is or saved again."""
    if path.name == FILE:
        return holds_found(path)
    return path.suffix.lower() in guard.TABLE_SUFFIXES and {*columns_of(path)} >= _OWN


def nothing() -> Found:
    """What is found before anything is looked at."""
    return Found(
        agreement=None,
        consensus=None,
        ceiling=None,
        beside_people=None,
        reviewed=0,
        likely_errors=[],
        scores=[],
        next=[],
        share=None,
        outliers=[],
        same_classes=[],
        worth=None,
        pool=None,
        data=None,
        caution="",
        from_label_studio=None,
        to_label_studio=None,
        not_judged="",
    )
