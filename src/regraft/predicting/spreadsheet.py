"""Classes of samples as a table that a spreadsheet opens."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from regraft.dataset.guard import shown
from regraft.errors import UsageError

_COLUMNS = ("sample", "label", "probability", "unlike_training", "problem")
_SPAN = ("start_s", "stop_s")


def as_csv(answers: Sequence[Mapping[str, Any]]) -> str:
    """What `predict` says, a row for each sample and, below it, one for each part of a video.

    Several labels are separated by "|", as in tables of labels. Parts have "start_s" and "stop_s".

    Args:
        answers: what `predict` gave.

    Raises:
        UsageError: they are of objects.
    """
    if any("objects" in answer for answer in answers):
        raise UsageError(
            "a table of boxes is written to a folder", where="--csv", mend="take --out DIR --to csv"
        )
    rows = [row for answer in answers for row in _rows(answer)]
    has_parts = any("start_s" in row for row in rows)
    out = io.StringIO(newline="")
    columns = (_COLUMNS[0], *(_SPAN if has_parts else ()), *_COLUMNS[1:])
    table = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()


def _rows(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    name = {"sample": shown(answer["sample"])}
    yield {**answer, **name, **_labelled(answer)}
    for part in answer.get("timeline", ()):
        yield {**part, **name, **_labelled(part)}


def _labelled(answer: Mapping[str, Any]) -> dict[str, str]:
    labels = answer.get("labels", [answer["label"]] if "label" in answer else [])
    return {"label": "|".join(labels)}
