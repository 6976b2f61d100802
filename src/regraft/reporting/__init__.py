"""What a run leaves for people and programs: report.json, described by a schema, and report.html.

report.json is the truth; the page is drawn from it alone (and from thumbnails), so it can be drawn
again at any time. A report that names an objective is of a pre-training, any other of a fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regraft import store
from regraft.errors import StoreError
from regraft.reporting import page, pretrained, thumbnails

__all__ = ["JSON_NAME", "PAGE_NAME", "load", "render", "validate", "write"]

JSON_NAME = "report.json"
PAGE_NAME = "report.html"
_SCHEMA = Path(__file__).with_name("schema.json")


def write(folder: Path, report: Mapping[str, Any]) -> None:
    """Commit report.json and report.html, with what can be seen of the samples that it names.

    Args:
        folder: the run.
        report: follows schema.json.

    Raises:
        StoreError: the report does not follow the schema, or the disk is full.
    """
    validate(report)
    drawn = render(report, _thumbnails(report))
    # A name from a file system may hold bytes that are no text; the page escapes them, and what
    # "backslashreplace" makes of them is JSON's own way of writing them.
    text = "\n".join(_lines(report)) + "\n"
    store.commit(folder / JSON_NAME, text.encode("utf-8", "backslashreplace"))
    store.commit(folder / PAGE_NAME, drawn.encode("utf-8"))


def render(report: Mapping[str, Any], thumbnails: Mapping[str, bytes]) -> str:
    """The page of a report, of either kind.

    Args:
        report: follows schema.json.
        thumbnails: sample id to a small JPEG.
    """
    kind = pretrained if _is_of_pretraining(report) else page
    return kind.render(report, thumbnails)


def _thumbnails(report: Mapping[str, Any]) -> dict[str, bytes]:
    """Small JPEGs of the samples that a report shows, by id; those that are gone are left out."""
    if _is_of_pretraining(report):
        return pretrained.thumbnails(report)
    return thumbnails.of_fit(Path(report["data"]["path"]), report)


def load(folder: Path) -> dict[str, Any]:
    """The report of a run.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    path = folder / JSON_NAME
    try:
        report = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(
            "this folder holds no report",
            where=path,
            mend="name the folder of a finished `regraft fit` or `regraft pretrain`, or repeat "
            "that command to finish it",
        ) from None
    except (OSError, ValueError, RecursionError) as fault:
        raise StoreError(
            f"the report cannot be read: {fault}",
            where=path,
            mend="repeat the command that made it; finished steps are not computed again",
        ) from fault
    validate(report, where=path)
    return report


def validate(report: object, *, where: object = "") -> None:
    """Check a report against its schema.

    Args:
        report: what was read from report.json, or is to be written there.
        where: the file, for the message.

    Raises:
        StoreError: naming the first place that is wrong.
    """
    fault = next(_faults(report), None)
    verb = "pretrain" if _is_of_pretraining(report) else "fit"
    if fault:
        raise StoreError(
            f"the report does not follow its schema: {fault}",
            where=where,
            mend=f"repeat the `regraft {verb}` that made it with this version of regraft",
        )


def _is_of_pretraining(report: object) -> bool:
    return isinstance(report, Mapping) and "objective" in report


def _faults(report: object) -> Iterator[str]:
    # jsonschema takes a tenth of a second to import.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    try:
        json.dumps(report, allow_nan=False)
    except (TypeError, ValueError) as fault:
        yield str(fault)
        return
    schema = json.loads(_SCHEMA.read_bytes())
    worst = best_match(Draft202012Validator(schema).iter_errors(_lightened(report)))
    if worst:
        yield f"{worst.json_path.removeprefix('$.')}: {_brief(worst.message)}"
    else:
        yield from _contradictions(report)


def _lightened(report: Any) -> Any:
    """The report without a confusion matrix that holds counts: jsonschema takes 5 s for 1,000²."""
    try:
        matrix = report["confusion"]["matrix"]
        sound = all(type(n) is int and n >= 0 for row in matrix for n in row)
    except (KeyError, TypeError):
        return report
    return {**report, "confusion": {**report["confusion"], "matrix": []}} if sound else report


def _contradictions(report: Any) -> Iterator[str]:
    """What a JSON schema cannot say."""
    if _is_of_pretraining(report):
        drawn = report["map"] or {"labels": [], "before": [], "after": []}
        if not len(drawn["labels"]) == len(drawn["before"]) == len(drawn["after"]):
            yield "map: not a place before and after for each label"
        return
    classes = len(report["data"]["classes"])
    names = [rung["name"] for rung in report["rungs"]]
    if report["best"] not in names:
        yield "best: not the name of a rung"
    if len(set(names)) < len(names):
        yield "rungs: two have the same name"
    if any(bool(rung["metric"]) != bool(rung["seconds"]) for rung in report["rungs"]):
        yield "rungs: one has a metric without seconds, or seconds without a metric"
    if any(rung["name"] == report["best"] and not rung["metric"] for rung in report["rungs"]):
        yield "best: this rung was not measured"
    if any(rung["frozen_stages"] > len(report["backbone"]["stages"]) for rung in report["rungs"]):
        yield "rungs: more frozen stages than the backbone has"
    if any(len(counts) != classes for counts in report["data"]["counts"].values()):
        yield "data.counts: not one number for each class"
    confusion = report["confusion"] or {}
    matrix = confusion.get("matrix")
    tables = [table for table in (matrix, confusion.get("per_class")) if table is not None]
    if any(len(table) != classes for table in tables):
        yield "confusion: not one row for each class"
    if any(len(row) != classes for row in matrix or []):
        yield "confusion.matrix: not one column for each class"


def _brief(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:80]} … {message[-110:]}"


def _lines(value: Any, indent: str = "", head: str = "", tail: str = "") -> Iterator[str]:
    """JSON for people: indented, but what holds only plain values stays on a line."""
    if not isinstance(value, Mapping | list) or _is_plain(value):
        yield f"{indent}{head}{json.dumps(value, ensure_ascii=False, allow_nan=False)}{tail}"
        return
    named = isinstance(value, Mapping)
    yield f"{indent}{head}{'{' if named else '['}"
    heads = (
        [f"{json.dumps(key, ensure_ascii=False)}: " for key in value]
        if named
        else [""] * len(value)
    )
    items = list(value.values()) if named else value
    for position, (name, item) in enumerate(zip(heads, items, strict=True)):
        yield from _lines(item, indent + "  ", name, "," if position < len(items) - 1 else "")
    yield f"{indent}{'}' if named else ']'}{tail}"


def _is_plain(value: Mapping[str, Any] | list[Any]) -> bool:
    items = value.values() if isinstance(value, Mapping) else value
    short = isinstance(value, list) or len(value) <= 4
    return short and not any(isinstance(item, Mapping | list) for item in items)
