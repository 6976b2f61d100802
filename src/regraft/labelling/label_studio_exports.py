"""Exports of Label Studio: annotations come back as votes, or as decisions in the journal.

Exports as "JSON" (every annotation) and "JSON-MIN" are read.

Decisions:

- An annotation becomes a decision of its annotator: "keep" if it says what was given, else
  "change"; a cancelled one is "skip". Its key is made from what it says, so reading the same export
  twice, or a longer one later, adds only what is new. Where its sample was called otherwise at that
  time, the journal knows by the content, the annotator, the time and the classes.
- Tasks that were not made here are matched too: by the file's path or by the text, if that fits
  one sample only.
- What cannot be matched, or names no class of the data, is left out and said.
- Answers to several questions are not mixed: where anybody answers the choices called `label` no
  others count, and where there are none of that name the export is refused.
- "JSON-MIN" writes its own `id` over one of the task, in its place: where it stands first, what was
  asked lies among the answers. Then only a `label` counts that is the last of them, and without
  one the export is refused.
- As votes, tasks are samples by all that they hold; they are called by the longest of it.

Format: https://labelstud.io/guide/export (Label Studio 1.x).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regraft.dataset import Dataset, Sample, guard
from regraft.dataset.boxes.label_studio import is_drawn
from regraft.dataset.label_studio import (
    Fact,
    annotator_name,
    damaged,
    is_withdrawn,
    objects_in,
    paths_in,
    said_at,
    tasks_in,
)
from regraft.dataset.reader import class_name
from regraft.errors import DataError
from regraft.labelling.journal import Decision, Journal, decisions_in
from regraft.labelling.matching import about, content_key
from regraft.labelling.pool import as_in_journal
from regraft.labelling.verdicts import names_of
from regraft.store import digest

CONTROL = "label"
"""The name of the choices in the interface."""
_USUAL = (CONTROL, "choice")
"""What "JSON-MIN" calls the answer where there is one question, now and in older versions."""
CONTENT = "checksum"
"""The field of a task that says what its sample holds, as the journal does."""
_BEFORE, _BEHIND = "id", "annotator"
"""What "JSON-MIN" puts around the answers."""
_OWN = (_BEFORE, _BEHIND, "annotation_id", "created_at", "updated_at", "lead_time")
"""What "JSON-MIN" adds to a task."""
_LONG = 200
"""Characters of a task that it is called by."""
_KEY = "label-studio-"
"""That the keys of its decisions begin with."""
_EXAMPLES = 5


@dataclass(frozen=True)
class Annotation:
    """What one person said about one task.

    Attributes:
        data: the task's.
        annotator: a name.
        labels: what was chosen; None where the task was skipped.
        at: when, or "".
        task: its number.
        questions: the names of the choices that it answers.
        is_mixed: what was asked lies among the answers, and cannot be told from them.
    """

    data: Mapping[str, object]
    annotator: str
    labels: tuple[str, ...] | None
    at: str
    task: str
    questions: frozenset[str] = frozenset()
    is_mixed: bool = False


def is_export(path: Path) -> bool:
    """Whether a file is an export of Label Studio with classes, by its content. Never raises."""
    if path.suffix.lower() != ".json" or not path.is_file() or is_drawn(path):
        return False
    try:
        return any(True for _ in _annotations(path))
    except DataError:
        return False


def read_export(path: Path) -> list[Annotation]:
    """The annotations of an export.

    Raises:
        DataError: it is none, is damaged, answers several questions, or what was asked cannot be
            told from the answers.
    """
    found = list(_annotations(path))
    if not found:
        raise DataError(
            "The export holds no annotation.",
            where=guard.shown(path),
            mend="annotate first, then export as JSON",
        )
    if len(_asked(found)) > 1 and any(CONTROL in one.questions for one in found):
        found = list(_annotations(path, only_usual=True))
    if any(one.is_mixed for one in found):
        raise DataError(
            "The tasks have a field `id` of their own; behind it what was asked cannot be told "
            "from what was answered.",
            where=guard.shown(path),
            mend="export as JSON instead of JSON-MIN",
        )
    questions = _asked(found)
    if len(questions) > 1:
        raise DataError(
            f"The export answers several questions: {', '.join(map(guard.shown, questions))}.",
            where=guard.shown(path),
            mend=f"call the choices that are meant `{CONTROL}` in the labelling interface, or "
            "export a project that asks one question",
        )
    return found


def _asked(found: Iterable[Annotation]) -> list[str]:
    """The names of the choices that are answered, the usual ones as one."""
    asked = {name for one in found for name in one.questions}
    return sorted({CONTROL if name in _USUAL else name for name in asked})


def votes_in(path: Path, *, several: bool = False) -> list[tuple[str, str, tuple[str, ...]]]:
    """An export as votes: sample, annotator, classes. Samples are called as tasks say.

    Args:
        path: the export.
        several: samples may have several classes, or none; told from the export if false. Where
            they have one, an annotation without a class is no vote.
    """
    found = [one for one in read_export(path) if one.labels is not None]
    several = several or any(len(one.labels or ()) > 1 for one in found)
    names: dict[bytes, str] = {}
    taken: set[str] = set()
    votes: list[tuple[str, str, tuple[str, ...]]] = []
    for one in found:
        held = json.dumps(one.data, sort_keys=True).encode()
        if held not in names:
            name = _called(one.data)
            names[held] = f"{name} (task {one.task})" if name in taken else name
            taken.add(names[held])
        if one.labels or (several and one.labels is not None):
            votes.append((names[held], one.annotator, one.labels))
    return votes


def take_in(path: Path, dataset: Dataset, pool: Dataset | None, journal: Journal) -> Fact:
    """Write the annotations of an export into the journal, each of them once.

    Args:
        path: the export.
        dataset: the data that the journal is about.
        pool: samples without labels that tasks may be about too.
        journal: where decisions go.

    Returns:
        {"annotations", "written", "known": there before, "unmatched": {"count", "examples"},
         "unknown_classes": {name: count}, several for one sample of one class among them}

    Raises:
        DataError: the export is none, or is damaged.
        StoreError: the journal cannot be written.
    """
    homes = _Homes.of(dataset, pool)
    annotations = read_export(path)
    found = [(one, homes.find(one.data)) for one in annotations]
    strangers = [_called(one.data) for one, sample in found if sample is None]
    matched = [(one, sample) for one, sample in found if sample is not None]
    unknown = Counter(name for one, _ in matched for name in _unusable(one, dataset))
    usable = [(one, sample) for one, sample in matched if not _unusable(one, dataset)]
    taken = _taken(journal, homes)
    written = sum(
        journal.decide(_decision(_as_opinion(one, dataset), sample, homes, taken))
        for one, sample in usable
    )
    return {
        "annotations": len(annotations),
        "written": written,
        "known": len(usable) - written,
        "unmatched": {"count": len(strangers), "examples": strangers[:_EXAMPLES]},
        "unknown_classes": dict(unknown),
    }


def _unusable(one: Annotation, dataset: Dataset) -> list[str]:
    """What was chosen and the data have no place for: classes, or several in one name."""
    labels = one.labels or ()
    strange = [name for name in labels if dataset.classes and name not in dataset.classes]
    several = len(labels) > 1 and not dataset.multilabel
    return strange or ([", ".join(labels)] if several else [])


def _as_opinion(one: Annotation, dataset: Dataset) -> Annotation:
    """The annotation; without an opinion where nothing was chosen of what has one class."""
    return replace(one, labels=None) if one.labels == () and not dataset.multilabel else one


_Taken = tuple[str, str, str, tuple[str, ...] | None]
"""A sample, an annotator, a time, and the classes as in `Annotation`."""


@dataclass(frozen=True)
class _Homes:
    """Samples by all that a task may call them.

    Attributes:
        samples: by id, those of a pool by their names in the journal.
        given: the labels of the data's samples.
        names: ids by other names, and by contents; None where several samples have one.
    """

    samples: Mapping[str, Sample]
    given: Mapping[str, tuple[str, ...] | None]
    names: Mapping[str, str | None]

    @staticmethod
    def of(dataset: Dataset, pool: Dataset | None) -> _Homes:
        labelled = {sample.id: names_of(dataset, sample) for sample in dataset}
        samples = {one.id: one for one in (*dataset, *as_in_journal(dataset.path, pool))}
        names: dict[str, str | None] = {}
        for sample in samples.values():
            for name in _callings(sample):
                names[name] = None if name in names else sample.id
        return _Homes(samples, labelled, names)

    def find(self, data: Mapping[str, object]) -> Sample | None:
        """The one sample that a task is about; None where there is none, or are several.

        A task that says what its sample holds is about nothing else, whatever that is called now.
        """
        named, content = (data.get(name) for name in ("sample", CONTENT))
        own = self.samples.get(named) if isinstance(named, str) else None
        if isinstance(named, str) and isinstance(content, str) and content:
            if own is not None and content_key(own) in ("", content):
                return own
            return self._by(f"content:{content}")
        if own is not None:
            return own
        for value in data.values():
            for name in _addressed(value) if isinstance(value, str) else ():
                if (sample := self._by(name)) is not None:
                    return sample
        return None

    def _by(self, name: str) -> Sample | None:
        id_ = self.names.get(name)
        return None if id_ is None else self.samples[id_]


def _callings(sample: Sample) -> Iterator[str]:
    """Its content; the text; or the file's name, with each of the folders above it."""
    yield f"content:{content_key(sample)}"
    if isinstance(sample.source, str):
        yield f"text:{sample.source.strip()}"
        return
    parts = sample.source.parts
    for begin in range(1, len(parts)):
        yield "file:" + "/".join(parts[begin:])


def _addressed(value: str) -> Iterator[str]:
    """What a value of a task may call a sample, the surest first."""
    yield f"text:{value.strip()}"
    yield from (f"file:{path}" for path in paths_in(value))


def _decision(
    one: Annotation, sample: Sample, homes: _Homes, taken: Mapping[_Taken, str]
) -> Decision:
    """What an annotation decides, by the key that it was taken in with before, if it was."""
    given, kept = homes.given.get(sample.id), None
    if one.labels is None:
        action, labels = "skip", ()
    elif given == one.labels:
        action, labels, kept = "keep", (), given
    else:
        action, labels = "change", one.labels
    made = digest("label studio", sample.id, one.annotator, one.at, action, *labels)[:32]
    key = taken.get((sample.id, one.annotator, one.at, one.labels), f"{_KEY}{made}")
    return Decision(
        key, sample.id, one.annotator, action, labels, one.at, content_key(sample), kept
    )  # fmt: skip


def _taken(journal: Journal, homes: _Homes) -> dict[_Taken, str]:
    """The keys of what was taken in before, and perhaps taken back; samples by their ids of now."""
    made = decisions_in(journal.lines())
    ours = (one for one in made if one.key.startswith(_KEY))
    found, _ = about(ours, homes.samples.values())
    taken: dict[_Taken, str] = {}
    for one in found:
        labels = one.labels if one.action == "change" else None
        if one.action == "keep":
            labels = homes.given.get(one.sample) if one.kept is None else one.kept
        taken[one.sample, one.reviewer, one.at, labels] = one.key
    return taken


def _called(data: Mapping[str, object]) -> str:
    """A task's sample, in one line."""
    own = data.get("sample")
    if not isinstance(own, str):
        own = max((text for text in data.values() if isinstance(text, str)), key=len, default="")
    return guard.shown(own[:_LONG]) if own else "a task without data"


def _annotations(path: Path, *, only_usual: bool = False) -> Iterator[Annotation]:
    """The annotations, with the answers to all questions or to that of the usual name."""
    for number, task in enumerate(tasks_in(path), 1):
        where = f"{guard.shown(path)}, task {number}"
        listed = task.get("annotations", task.get("completions"))
        if isinstance(listed, list):
            data = task.get("data")
            if not isinstance(data, dict):
                raise damaged(where, "it has no data")
            for one in objects_in(listed, where):
                yield _full(data, one, str(task.get("id", number)), where, only_usual)
        elif "annotation_id" in task:
            yield _short(task, str(task.get("id", number)), where, only_usual)


def _full(
    data: Mapping[str, object], one: Fact, task: str, where: str, only_usual: bool
) -> Annotation:
    """An annotation of "JSON"."""
    at = said_at(one)
    annotator = annotator_name(one.get("completed_by"))
    results = one.get("result")
    if is_withdrawn(one):
        return Annotation(data, annotator, None, at, task)
    if not isinstance(results, list):
        raise damaged(where, "an annotation has no result")
    chosen = [result for result in objects_in(results, where) if result.get("type") == "choices"]
    ours = [result for result in chosen if result.get("from_name") == CONTROL]
    ours = ours if ours or only_usual else chosen
    labels: set[str] = set()
    for result in ours:
        value = result.get("value")
        labels |= _names(value.get("choices") if isinstance(value, dict) else None, where)
    questions = frozenset(str(result.get("from_name")) for result in ours)
    return Annotation(data, annotator, tuple(sorted(labels)), at, task, questions)


def _short(row: Fact, task: str, where: str, only_usual: bool) -> Annotation:
    """A row of "JSON-MIN": the data and the choices lie side by side."""
    answers = _answers(row)
    usual = [name for name in _USUAL if name in answers][:1]
    questions = usual if usual or only_usual else answers
    labels: set[str] = set()
    for question in questions:
        said = row[question]
        if isinstance(said, dict):
            said = said.get("choices")
        labels |= _names([] if said is None else said, where)
    holds_data = next(iter(row)) == _BEFORE
    is_mixed = holds_data and bool(questions) and usual != answers[-1:]
    others = questions if holds_data else answers
    data = {name: value for name, value in row.items() if name not in (*others, *_OWN)}
    person = annotator_name(row.get(_BEHIND))
    return Annotation(
        data, person, tuple(sorted(labels)), said_at(row), task, frozenset(questions), is_mixed
    )  # fmt: skip


def _answers(row: Fact) -> list[str]:
    """The fields of a row that may be answers; those before its own `id` are the task's."""
    names = list(row)
    if not {_BEFORE, _BEHIND} <= row.keys():
        return [name for name in _USUAL if name in row]
    begin, end = names.index(_BEFORE), names.index(_BEHIND)
    asked = names[:begin] if begin < end else []
    return [
        name
        for place, name in enumerate(names)
        if begin < place < end or (name in _USUAL and name not in asked)
    ]


def _names(value: object, where: str) -> set[str]:
    names: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and class_name(name) for name in names):
        raise damaged(where, "the choices are no names")
    return {class_name(name) for name in names}
