"""Answers as a table that a spreadsheet opens."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from regraft.dataset.boxes.predicted import csv_of
from regraft.dataset.cells import encoded, to_cell
from regraft.dataset.guard import shown

_COLUMNS = ("sample", "label", "probability", "unlike_training", "problem")
_SPAN = ("start_s", "stop_s")


def as_csv(answers: Sequence[Mapping[str, Any]]) -> bytes:
    """What `predict` says, a row for each sample and, below it, one for each part of a video.

    Several labels are separated by "|", as in tables of labels. Parts have "start_s" and "stop_s".
    Before what a spreadsheet would take for a formula stands an apostrophe; see `dataset/cells.py`.

    Of objects there is a row for each box, as in the files that `predict` writes; but paths lead
    from where one stands, as in all that is printed.

    Args:
        answers: what `predict` gave.

    Returns:
        UTF-8; see `dataset/cells.py`.
    """
    if any("objects" in answer for answer in answers):
        return encoded(csv_of(answers))
    rows = [row for answer in answers for row in _rows(answer)]
    has_parts = any("start_s" in row for row in rows)
    out = io.StringIO(newline="")
    columns = (_COLUMNS[0], *(_SPAN if has_parts else ()), *_COLUMNS[1:])
    table: csv.DictWriter[str]
    table = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    return encoded(out.getvalue())


def _rows(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    name = {"sample": to_cell(shown(answer["sample"]))}
    yield {**answer, **name, **_words(answer)}
    for part in answer.get("timeline", ()):
        yield {**part, **name, **_words(part)}


def _words(answer: Mapping[str, Any]) -> dict[str, str]:
    """What comes from outside, so that no spreadsheet takes it for a formula."""
    labels = answer.get("labels", [answer["label"]] if "label" in answer else [])
    return {
        "label": to_cell("|".join(labels)),
        "problem": to_cell(shown(answer.get("problem", ""))),
    }
