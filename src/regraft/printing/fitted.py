"""What came of `fit` and `pretrain`, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from regraft.printing.lines import WIDE, Facts, print_lines, print_table, table_of
from regraft.terminal import shown
from regraft.wording import NOTHING, count, duration, interval, metric_name, plural, rate


def print_fit(console: Console, report: Facts, folder: Path) -> None:
    """The rungs as a table, the verdict, and what to do next.

    Args:
        console: where to.
        report: what report.json holds.
        folder: the run.
    """
    from regraft.reporting import page  # takes longer to import than `--help` may take

    rungs: list[Facts] = report["rungs"]
    metric = metric_name(next(rung["metric"]["name"] for rung in rungs if rung["metric"]))
    reasons_inside = console.width >= WIDE
    right = ("trained", "time")
    headings = ("rung", "trained", f"valid {shown(metric)} (95 %)", "time", "verdict")
    table = table_of(*headings, *(("why",) if reasons_inside else ()), right=right)
    reasons = [shown(why) for why in page.reasons(rungs)]
    for rung, why in zip(rungs, reasons, strict=True):
        best = rung["name"] == report["best"]
        cells = (
            shown(rung["name"]),
            count(rung["trainable_parameters"]),
            interval(rung["metric"]),
            duration(rung["seconds"]["total"]) if rung["seconds"] else NOTHING,
            shown(rung["verdict"]),
            *((why,) if reasons_inside else ()),
        )
        table.add_row(*(Text(cell) for cell in cells), style="bold" if best else None)
    print_table(console, table)
    if not reasons_inside:
        lines = (f"{shown(r['name'])}: {why}" for r, why in zip(rungs, reasons, strict=True))
        print_lines(console, "", *lines)
    print_lines(console, "", *_findings(report, folder), "", *_what_next(folder, report["task"]))


def _findings(report: Facts, folder: Path) -> Iterator[str]:
    yield shown(report["verdict"])
    if report["scratch"] and report["savings"]["text"]:
        yield shown(report["savings"]["text"])
    for part in ("labels", "forecast", "imbalance"):
        if report.get(part):
            yield shown(report[part]["text"])
    data: Facts = report["data"]
    yield from _learnt_besides(data)
    yield from _guessed(data)
    problems = [problem for problem in data["problems"] if _is_of_data(problem)]
    many = plural(len(problems), "problem")
    if problems and "given" in data:  # which `inspect` does not look at
        listed = "it is listed" if len(problems) == 1 else "they are listed"
        yield f"{many} found in the data; {listed} in {shown(folder / 'report.html')}"
    elif problems:
        path = shlex.quote(str(data["path"]))
        read = f" --clip {data['cut_s']:g}s" if "cut_s" in data else ""
        read += f" --columns {shlex.quote(shown(data['columns']))}" if "columns" in data else ""
        yield f"{many} found in the data; list them with: regraft inspect {shown(path)}{read}"


def _is_of_data(problem: Facts) -> bool:
    """Whether something is wrong with the data; else it says how they were read or corrected."""
    said = ("likely-error", "votes", "encoding")
    return problem["kind"] not in said and problem["done"] != "relabelled"


def _guessed(data: Facts) -> Iterator[str]:
    """Which encodings were guessed, and of what; as a rule rightly, so that it is no problem."""
    from regraft.dataset.encoding import ENCODING, said_of_encodings
    from regraft.dataset.rows import Problem

    guesses = (Problem(**p) for p in data["problems"] if p["kind"] == ENCODING)
    yield from map(shown, said_of_encodings(guesses))


def _learnt_besides(data: Facts) -> Iterator[str]:
    """How much of what was given with `--more` is learnt from, and what is not."""
    if "more" not in data.get("given", {}):
        return
    from regraft.dataset.rows import DROPPED

    number = data["given"]["more"]
    are = "is" if number == 1 else "are"
    problems = [p for p in data["problems"] if p["where"].startswith("more:")]
    aside = sum(problem["kind"] == "likely-error" for problem in problems)
    dropped = sum(problem["done"] in DROPPED for problem in problems) - aside
    form = ("no-label", "passed over")
    waiting = [p["what"].rstrip(".") for p in problems if (p["kind"], p["done"]) == form]
    parts = [
        f"{plural(number, data['thing'])} {are} learnt from",
        *([f"{plural(aside, 'likely error')} set aside"] if aside else []),
        *([f"{dropped:,} left out"] if dropped else []),
        *map(shown, waiting),
    ]
    yield f"--more: {'; '.join(parts)}"


def _what_next(folder: Path, task: str) -> Iterator[str]:
    run = shown(shlex.quote(str(folder)))
    yield f"report  {shown(folder / 'report.html')}"
    yield f"model   {shown(folder / 'model')}"
    what = {
        "text-classification": "TEXTFILE...|TABLE|-",
        "video-classification": "VIDEO...",
    }.get(task, "PHOTO...")
    yield f"next    regraft predict {run} {what}"


def print_pretrained(console: Console, report: Facts, folder: Path) -> None:
    """How far it was trained, what that brought, and how to go on from it.

    Args:
        console: where to.
        report: what report.json holds.
        folder: the run, which is a backbone.
    """
    speed = report["throughput"]
    pace = f"{rate(speed['per_second'])} {speed['unit']}/s"
    print_lines(console, f"{plural(report['steps'], 'step')}, {pace}; {report['stopped']}")
    twin = report["scratch"] or {}
    for part in (report["verdict"], twin.get("judged"), report["control"]):
        if part:
            print_lines(console, shown(part["text"]))
    print_lines(console, f"The report: {shown(folder / 'report.html')}")
    print_lines(console, f"The backbone: --backbone {shown(shlex.quote(str(folder)))}")
