"""Tasks for Label Studio: what to look at goes out with pre-annotations.

Two files: tasks (JSON, for "Import") and a labelling interface (XML, for "Labeling Interface"). A
task says which sample it is about (`data.sample`), so that an export finds home whatever else
happens to it (`label_studio_exports.py`).

Format: https://labelstud.io/guide/predictions (Label Studio 1.x).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import escape

from regraft.dataset import Dataset, Sample, guard
from regraft.dataset.label_studio import Fact, tasks_in
from regraft.dataset.video import parted
from regraft.errors import DataError, UsageError
from regraft.labelling.journal import Journal, journal_of
from regraft.labelling.label_studio_exports import CONTENT, CONTROL
from regraft.labelling.matching import content_key
from regraft.labelling.review.items import ONE_OF_KIND, Item, Queue, nothing_to_show, queue_of
from regraft.labelling.survey import Surveyed
from regraft.labelling.verdicts import heard, settled
from regraft.store import commit

_INTERFACE = ".xml"
_SHOWN = {"image": "Image", "text": "Text", "video": "Video"}
"""What Label Studio calls each modality; its name is that of the task's field too."""


@dataclass(frozen=True)
class Written:
    """What to give to Label Studio.

    Attributes:
        tasks: the file to import.
        interface: the labelling interface.
        count: of tasks.
        root: the folder that Label Studio has to serve files from; None for texts.
    """

    tasks: Path
    interface: Path
    count: int
    root: Path | None


def refuse_taken(path: Path) -> None:
    """Refuse a file for tasks that is not one of an earlier call.

    Raises:
        UsageError: something else is there, or its name is that of an interface.
    """
    if path.suffix.lower() == _INTERFACE:
        raise UsageError(
            "The tasks are JSON, and the interface beside them is called so.",
            where=guard.shown(path),
            mend=f"call the tasks {guard.shown(path.with_suffix('.json').name)}",
        )
    if os.path.lexists(path) and not _are_tasks(path):
        raise _taken(path)


def _are_tasks(path: Path) -> bool:
    """Whether a file holds tasks as they are written here, without an answer."""
    try:
        tasks = tasks_in(path) if guard.is_file(path) else None
    except (DataError, OSError):
        return False
    return tasks is not None and all(
        task.keys() <= {"data", "predictions"}
        and isinstance(task.get("data"), dict)
        and {"sample", CONTENT} <= task["data"].keys()
        for task in tasks
    )


def _taken(path: Path) -> UsageError:
    return UsageError(
        "Something is there that is not from an earlier call, and would be lost.",
        where=guard.shown(path),
        mend="name another file with --to-label-studio; or move it away",
    )


def write_tasks(queue: Queue, path: Path, settled: Collection[str] = ()) -> Written:
    """Write what is still to be looked at as tasks, and the interface beside them (`.xml`).

    Args:
        queue: what there is to look at.
        path: the file of tasks.
        settled: samples that reviewers have settled, by id; they are left out.

    Raises:
        DataError: there is nothing to look at.
        StoreError: the files cannot be written.
        UsageError: as `refuse_taken`, or the interface there is another one; nothing is written.
    """
    refuse_taken(path)
    items = [
        item
        for item in queue.items
        if item.kind != "decided" and queue.samples[item.row].id not in settled
    ]
    if not items:
        raise DataError("There is nothing to look at.", mend="give a --pool to label from")
    is_text = queue.dataset.modality == "text"
    root = None if is_text else Path(os.path.commonpath([root.parent for root in queue.roots]))
    tasks = [_task(queue, item, root) for item in items]
    interface, controls = path.with_suffix(_INTERFACE), interface_of(queue.dataset).encode()
    if os.path.lexists(interface) and not _holds(interface, controls):
        raise _taken(interface)
    commit(path, json.dumps(tasks, indent=1, ensure_ascii=False).encode())
    commit(interface, controls)
    return Written(path, interface, len(tasks), root)


def write_survey(found: Surveyed, path: Path) -> Fact:
    """`write_tasks` of what a survey found.

    Returns:
        {"tasks", "interface", "count", "root"}: files, and the folder to serve pictures from.

    Raises:
        DataError: there is nothing to look at, or nothing to show.
        StoreError: the files cannot be written.
        UsageError: something else is there.
    """
    if found.given is None:
        raise nothing_to_show(found)
    decisions = Journal(journal_of(found.given.path)).standing()
    queue = queue_of(found, decisions)
    done = write_tasks(queue, path, settled(heard(decisions, queue.dataset, queue.samples)))
    root = None if done.root is None else str(done.root)
    return {
        "tasks": str(done.tasks),
        "interface": str(done.interface),
        "count": done.count,
        "root": root,
    }


def _holds(path: Path, content: bytes) -> bool:
    return guard.is_file(path) and path.read_bytes() == content


def interface_of(dataset: Dataset) -> str:
    """The labelling interface for a classification."""
    name = dataset.modality
    # Where several classes may apply, none may.
    choice = 'choice="multiple"' if dataset.multilabel else 'choice="single" required="true"'
    lines = [
        "<View>",
        f'  <{_SHOWN[name]} name="{name}" value="${name}"/>',
        f'  <Choices name="{CONTROL}" toName="{name}" {choice} showInLine="true">',
        *(f'    <Choice value="{escape(label)}"/>' for label in dataset.classes),
        "  </Choices>",
        '  <Header size="6" value="$reason"/>',
        "</View>",
    ]
    return "\n".join(lines) + "\n"


def _task(queue: Queue, item: Item, root: Path | None) -> Fact:
    sample = queue.samples[item.row]
    name = queue.dataset.modality
    data: Fact = {
        name: sample.source if isinstance(sample.source, str) else _address(sample.source, root),
        "sample": sample.id,
        CONTENT: content_key(sample),
        "given": "|".join(item.given or ()),
        "reason": _part(sample) + item.reason,
        "why": ONE_OF_KIND[item.kind],
    }
    if item.suggested is None:
        return {"data": data}
    result = {
        "id": "suggestion",
        "type": "choices",
        "from_name": CONTROL,
        "to_name": name,
        "value": {"choices": list(item.suggested)},
    }
    prediction: Fact = {"model_version": "regraft", "result": [result]}
    chance = dict(item.chances).get(item.suggested[0]) if len(item.suggested) == 1 else None
    if chance is not None:
        prediction["score"] = round(chance, 6)
    return {"data": data, "predictions": [prediction]}


def _part(sample: Sample) -> str:
    """Which part of its file a clip is, as Label Studio plays all of it; "" where it is all."""
    span_s = sample.span_s if parted(sample.id)[1] else None
    return "" if span_s is None else f"From {span_s[0]:.2f} s to {span_s[1]:.2f} s. "


def _address(file: Path, root: Path | None) -> str:
    assert root is not None
    return "/data/local-files/?d=" + quote(file.relative_to(root).as_posix())
