"""What every export of Label Studio has, whatever was annotated in it: tasks, people, times, files.

Classes are read by `labelling/label_studio_exports.py` and written by `label_studio_tasks.py`
beside it, boxes by `boxes/label_studio.py`.

Format: https://labelstud.io/guide/export (Label Studio 1.x).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from regraft.dataset import guard
from regraft.dataset.encoding import read_utf8
from regraft.dataset.reader import class_name
from regraft.errors import DataError

Fact = dict[str, Any]

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)", re.ASCII)


def tasks_in(file: Path) -> list[Fact]:
    """The tasks of an export as "JSON" or "JSON-MIN".

    Raises:
        DataError: it is none, or is damaged.
    """
    where, value = guard.shown(file), None
    try:
        value = json.loads(read_utf8(file))
    except DataError:
        raise
    except (ValueError, RecursionError):
        pass  # said below
    if not isinstance(value, list):
        raise DataError(
            "This is no export of Label Studio.", where=where, mend="export as JSON or JSON-MIN"
        )
    return objects_in(value, where)


def objects_in(value: object, where: str) -> list[Fact]:
    """A list of JSON objects.

    Raises:
        DataError: it is none.
    """
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise damaged(where, "there is no list of objects")
    return list(value)


def damaged(where: str, what: str) -> DataError:
    """What to raise where an export is not as Label Studio writes it."""
    return DataError(
        f"The export of Label Studio is damaged: {what}.", where=where, mend="export again as JSON"
    )


def is_withdrawn(annotation: Mapping[str, Any]) -> bool:
    """Whether its author skipped the task, or took the annotation back."""
    return bool(annotation.get("was_cancelled") or annotation.get("skipped"))


def said_at(annotation: Mapping[str, Any]) -> str:
    """When, or ""."""
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def annotator_name(given: object) -> str:
    """A name in one line: an e-mail address, else a number."""
    if isinstance(given, dict):
        parts = (given.get("email"), given.get("username"), given.get("id"))
        given = next((part for part in parts if part not in (None, "")), "")
    text = class_name(str(given if given is not None else ""))[:60]
    return f"annotator {text}" if text.isdigit() else text or "annotator"


def paths_in(address: str) -> Iterator[str]:
    """What a value of a task may call a file: the whole path, then less and less of it.

    Label Studio puts eight hexadecimal digits before the names of uploaded files.
    """
    try:
        split = urlsplit(address)
        wanted = parse_qs(split.query).get("d", [split.path])[0]
    except ValueError:
        return
    parts = [part for part in wanted.split("/") if part not in ("", ".", "..")]
    for begin in range(len(parts)):
        yield "/".join(parts[begin:])
    uploaded = _UPLOADED.fullmatch(parts[-1]) if parts else None
    if uploaded:
        yield uploaded[1]
