"""What a person at a terminal sees: progress on stderr, results on stdout.

Progress is drawn in place where stderr is a terminal, and said in a line every few seconds where
it is not. Names of files and classes come from outside, so whatever could move the cursor, ring
or hide is shown escaped.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from regraft.errors import RegraftError
from regraft.events import Advanced, Event, Measured, Said, Saved, Stepped, Tell
from regraft.wording import (
    NOTHING,
    count,
    duration,
    interval,
    metric_name,
    percent,
    plural,
    rate,
    size,
    some_of,
)

Facts = Mapping[str, Any]
"""A JSON object that a verb gave: a report, a description, a prediction."""

_LINE_EVERY_S = 3.0
_WIDE = 100
_PIPE = 240
_PAIRS = 10
_CLASSES = 50
_RANKED = 15
_NAMED = 5
_BEGIN = 60
"""Characters of a text in a ranked list."""
_UNLIKE = "  unlike the training data"


# Words --------------------------------------------------------------------------------------------


def shown(value: object) -> str:
    """The text of `value` on one line, with all that is not printable escaped."""
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape", "surrogatepass").decode()
        for mark in str(value)
    )


# Progress -----------------------------------------------------------------------------------------


@contextmanager
def telling() -> Generator[Tell]:
    """Progress on stderr for as long as the block runs."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True, highlight=False)
        with Progress(*columns, console=console, refresh_per_second=4, transient=True) as bars:
            yield LiveProgress(bars)
    else:
        yield PlainProgress(say)


def say(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr, flush=True)


def show_cursor() -> None:
    """Undo what a bar drawn in place hides, for an end without clean-up."""
    if sys.stderr.isatty():
        Console(stderr=True).show_cursor()


def say_fault(fault: RegraftError) -> None:
    """What is wrong, where, and how to mend it, on stderr."""
    told = RegraftError(
        _lines_shown(fault.what), where=shown(fault.where), mend=_lines_shown(fault.mend)
    )
    say(f"regraft: {told}")


def _lines_shown(text: str) -> str:
    return "\n".join(map(shown, text.split("\n")))


def _piece_of_work(event: Advanced | Stepped) -> tuple[str, int, int]:
    if isinstance(event, Advanced):
        return shown(event.what), event.done, event.total
    return f"training {shown(event.rung)}, loss {event.loss:.3f}", event.step, event.steps


def _line(event: Measured | Said) -> str:
    if isinstance(event, Said):
        return shown(event.text)
    measured = {"value": event.value, "low": event.low, "high": event.high}
    return f"{shown(event.rung)}: {shown(metric_name(event.metric))} {interval(measured)}"


@final
class LiveProgress:
    """Bars with the time left, redrawn in place; lines scroll above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        match event:
            case Advanced() | Stepped():
                text, done, total = _piece_of_work(event)
                name = event.what if isinstance(event, Advanced) else event.rung
                if name not in self._tasks:
                    self._tasks[name] = self._bars.add_task(text, total=total)
                self._bars.update(self._tasks[name], description=text, completed=done, total=total)
                if done >= total:
                    self._bars.remove_task(self._tasks.pop(name))
            case Measured() | Said():
                self._bars.console.print(Text(_line(event)), soft_wrap=True)
            case Saved():
                pass


@final
class PlainProgress:
    """A line every few seconds, for logs and pipes.

    Args:
        say: takes one line.
        clock_s: the time now, in seconds.
    """

    def __init__(
        self, say: Callable[[str], None], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock_s = clock_s
        self._said_s = clock_s()
        self._began: dict[str, tuple[float, int]] = {}

    def __call__(self, event: Event) -> None:
        """Say one event, or keep quiet about it."""
        match event:
            case Advanced() | Stepped():
                self._advance(event)
            case Measured() | Said():
                self._say(_line(event))
            case Saved():
                pass

    def _advance(self, event: Advanced | Stepped) -> None:
        text, done, total = _piece_of_work(event)
        name = event.what if isinstance(event, Advanced) else event.rung
        now_s = self._clock_s()
        began_s, done_before = self._began.setdefault(name, (now_s, done))
        if done >= total:
            del self._began[name]
        if now_s - self._said_s < _LINE_EVERY_S:
            return
        self._said_s = now_s
        line = f"{text}: {done:,} of {total:,}"
        if done_before < done < total:
            left_s = (now_s - began_s) * (total - done) / (done - done_before)
            line += f", about {duration(left_s)} left"
        self._say(line)


# Results ------------------------------------------------------------------------------------------


def output() -> Console:
    """Where results go: stdout, without colours or cursor movements unless it is a terminal."""
    width = None if sys.stdout.isatty() else _PIPE
    return Console(highlight=False, markup=False, emoji=False, width=width)


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _print(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _print_table(console: Console, table: Table) -> None:
    """A table; where no terminal hides them, without the blanks that its last column ends in."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as held:
        console.print(table)
    _print(console, *(line.rstrip() for line in held.get().removesuffix("\n").split("\n")))


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
    reasons_inside = console.width >= _WIDE
    right = ("trained", "time")
    headings = ("rung", "trained", f"valid {shown(metric)} (95 %)", "time", "verdict")
    table = _table(*headings, *(("why",) if reasons_inside else ()), right=right)
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
    _print_table(console, table)
    if not reasons_inside:
        lines = (f"{shown(r['name'])}: {why}" for r, why in zip(rungs, reasons, strict=True))
        _print(console, "", *lines)
    _print(console, "", *_findings(report, folder), "", *_what_next(folder, report["task"]))


def _findings(report: Facts, folder: Path) -> Iterator[str]:
    yield shown(report["verdict"])
    if report["scratch"] and report["savings"]["text"]:
        yield shown(report["savings"]["text"])
    for part in ("labels", "forecast", "imbalance"):
        if report.get(part):
            yield shown(report[part]["text"])
    data: Facts = report["data"]
    yield from _learnt_besides(data)
    problems = [problem for problem in data["problems"] if _is_of_data(problem)]
    many = plural(len(problems), "problem")
    if problems and "given" in data:  # which `inspect` does not look at
        listed = "it is listed" if len(problems) == 1 else "they are listed"
        yield f"{many} found in the data; {listed} in {shown(folder / 'report.html')}"
    elif problems:
        path = shlex.quote(str(data["path"]))
        cut = f" --clip {data['cut_s']:g}s" if "cut_s" in data else ""
        yield f"{many} found in the data; list them with: regraft inspect {shown(path)}{cut}"


def _is_of_data(problem: Facts) -> bool:
    """Whether something is wrong with the data; else it says how they were read or corrected."""
    return problem["kind"] not in ("likely-error", "votes") and problem["done"] != "relabelled"


def _learnt_besides(data: Facts) -> Iterator[str]:
    """How much of what was given with `--more` is learnt from, and what is not."""
    if "more" not in data.get("given", {}):
        return
    from regraft.dataset.rows import DROPPED

    number = data["given"]["more"]
    are = "is" if number == 1 else "are"
    problems = [p for p in data["problems"] if p["where"].startswith("more:")]
    dropped = sum(problem["done"] in DROPPED for problem in problems)
    form = ("no-label", "passed over")
    waiting = [p["what"].rstrip(".") for p in problems if (p["kind"], p["done"]) == form]
    parts = [
        f"{plural(number, data['thing'])} {are} learnt from",
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
    _print(console, f"{plural(report['steps'], 'step')}, {pace}; {report['stopped']}")
    twin = report["scratch"] or {}
    for part in (report["verdict"], twin.get("judged"), report["control"]):
        if part:
            _print(console, shown(part["text"]))
    _print(console, f"The report: {shown(folder / 'report.html')}")
    _print(console, f"The backbone: --backbone {shown(shlex.quote(str(folder)))}")


def print_predictions(
    console: Console, predictions: Sequence[Facts], out: Path | None = None
) -> None:
    """A line a sample: its label, the probability, and whether it is unlike the training data.

    Args:
        console: where to.
        predictions: what `predict` gave.
        out: the folder it was written to, if any.
    """
    if any("objects" in row for row in predictions):
        return _print_objects(console, predictions, out)
    names = [shown(row["sample"]) for row in predictions]
    labels = [_label(row) for row in predictions]
    name_width = max(map(len, names), default=0)
    label_width = max(map(len, labels), default=0)
    for name, label, row in zip(names, labels, predictions, strict=True):
        if "problem" in row:
            rest = _not_read(row)
        else:
            rest = f"{label:<{label_width}}  {row['probability']:.3f}"
            rest += _UNLIKE * row["unlike_training"] + _damage(row)
        _print(console, f"{name:<{name_width}}  {rest}")
        if len(row.get("timeline", ())) > 1:
            _print(console, *_timeline(row["timeline"]))


def _not_read(row: Facts) -> str:
    return f"{'ignored' if 'ignored' in row else 'not read'}: {shown(row['problem'])}"


def _damage(row: Facts) -> str:
    """What a video lacks, behind what is said of it."""
    return "".join(f"  {shown(what)}" for what in row.get("damage", ()))


def _more(row: Facts) -> str:
    """That there may be more objects than are told."""
    told = row.get("at_most")
    return f"  and perhaps more: {told:,} on a picture or tile are told" if told else ""


def _timeline(parts: Sequence[Facts]) -> Iterator[str]:
    """A line for each stretch of a video with one label, like the training data or unlike them.

    Parts overlap; one stretch ends and the next begins in the middle of what both cover.
    """
    stretches = [
        (kind, list(some))
        for kind, some in groupby(parts, lambda part: (_label(part), part["unlike_training"]))
    ]
    between_s = [
        (before[-1]["stop_s"] + after[0]["start_s"]) / 2
        for (_, before), (_, after) in pairwise(stretches)
    ]
    ends_s = [parts[0]["start_s"], *between_s, parts[-1]["stop_s"]]
    for ((label, is_unlike), some), span_s in zip(stretches, pairwise(ends_s), strict=True):
        chance = max(part["probability"] for part in some)
        span = f"{span_s[0]:.1f} to {span_s[1]:.1f} s"
        yield f"  {span:<18}  {label}  up to {chance:.3f}{_UNLIKE * is_unlike}"


def _print_objects(console: Console, predictions: Sequence[Facts], out: Path | None) -> None:
    """A line a picture: how many objects of each category, the most frequent first."""
    width = max(len(shown(row["sample"])) for row in predictions)
    total: Counter[str] = Counter()
    for row in predictions:
        if "problem" in row:
            rest = _not_read(row)
        else:
            counts = Counter(thing["label"] for thing in row["objects"])
            total.update(counts)
            rest = (_counted(counts) or "nothing") + _more(row) + _damage(row)
        _print(console, f"{shown(row['sample']):<{width}}  {rest}")
    if len(predictions) > 1:
        _print(console, "", f"{_counted(total) or 'nothing'} in all")
    if out is not None:
        _print(console, f"written to {shown(out)}")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {shown(name)}" for name, number in counts.most_common())


def print_evaluation(console: Console, evaluation: Facts) -> None:
    """The metric with its interval, and which classes are taken for which.

    Args:
        console: where to.
        evaluation: what `evaluate` gave.
    """
    if "coco" in evaluation:
        return _print_measured(console, evaluation)
    metric = evaluation["metric"]
    reviewed = evaluation["reviewed"]
    by_people = f", {reviewed:,} of them reviewed" if reviewed else ""
    _print(
        console,
        f"{_measured(metric)} on {plural(evaluation['count'], 'sample')}{by_people}",
        *_plain_accuracy(evaluation),
        f"calibration error {evaluation['calibration_error']:.3f}",
        *_absent(evaluation["absent"]),
        *_seen(evaluation),
        *([evaluation["people"]["text"]] if evaluation.get("people") else []),
    )
    _print(console, "")
    _print_table(console, _by_class(evaluation["per_class"]))
    confused = _confused(evaluation["classes"], evaluation["confusion"] or [])
    if confused:
        table = _table("given", "taken for", "times", right=("times",))
        for given, said, times in confused[:_PAIRS]:
            table.add_row(Text(shown(given)), Text(shown(said)), f"{times:,}")
        _print(console, "")
        _print_table(console, table)
    _print_problems(console, evaluation["problems"])


def _plain_accuracy(evaluation: Facts) -> Iterator[str]:
    """The share of right answers, where the metric is another."""
    if evaluation["accuracy"] is not None and evaluation["metric"]["name"] != "accuracy":
        yield f"accuracy {percent(evaluation['accuracy'])}, with all samples alike"


def _by_class(rows: Sequence[Facts]) -> Table:
    """Recall and precision, the class that is found least first."""
    figures = ("samples", "recall", "precision")
    table = _table("class", *figures, right=figures)
    there = [row for row in rows if row["count"]]
    for row in sorted(there, key=lambda row: row["recall"])[:_CLASSES]:
        shares = (percent(row[name]) for name in ("recall", "precision"))
        table.add_row(Text(shown(row["name"])), f"{row['count']:,}", *shares)
    if len(there) > _CLASSES:
        table.add_row(f"and {len(there) - _CLASSES:,} more")
    return table


def _measured(metric: Facts) -> str:
    return f"{metric_name(shown(metric['name']))} {interval(metric)}"


def _absent(classes: Sequence[str]) -> Iterator[str]:
    if classes:
        names = some_of([shown(name) for name in classes], _CLASSES)
        yield f"nothing is said of {names}: these data have no such sample"


def _print_measured(console: Console, evaluation: Facts) -> None:
    """What COCO's measures say of a model that finds objects."""
    metric, coco = evaluation["metric"], evaluation["coco"]
    whole = evaluation["whole"]
    is_cut = whole["count"] != evaluation["count"]
    things = ("tile of pictures", "tiles of pictures") if is_cut else ("picture",)
    measured = f"{_measured(metric)} on {plural(evaluation['count'], *things)}"
    _print(console, measured, *_on_whole(whole, is_cut), *_seen(evaluation), "")
    columns = ("objects", "AP50", "AP", "AR")
    table = _table("category", *columns, right=columns)
    for row in coco["categories"]:
        shares = (percent(row[name]) for name in ("ap50", "ap", "ar"))
        table.add_row(Text(shown(row["name"])), f"{row['truths']:,}", *shares)
    total = sum(row["truths"] for row in coco["categories"])
    means = (percent(coco[name]) for name in ("ap50", "ap", "ar"))
    table.add_row("mean", f"{total:,}", *means, style="bold")
    _print_table(console, table)
    _print_problems(console, evaluation["problems"])


def _on_whole(whole: Facts, is_cut: bool) -> Iterator[str]:
    """What `predict` shows on whole pictures, and how much of it is right."""
    if is_cut:
        many = plural(whole["count"], "picture")
        their = "its" if whole["count"] == 1 else "their"
        yield f"on the {many}, put together from {their} tiles: AP50 {percent(whole['ap50'])}"
    yield (
        f"predict shows {plural(whole['shown'], 'box', 'boxes')} "
        f"(confidence {whole['threshold']:.2f} or more): "
        f"{whole['right']:,} right (precision {percent(whole['precision'])}), of "
        f"{plural(whole['objects'], 'object')} (recall {percent(whole['recall'])})"
    )


def _seen(evaluation: Facts) -> Iterator[str]:
    seen, count = evaluation["seen"], evaluation["count"]
    if seen:
        were = f"{seen:,} of the {count:,} {'was' if seen == 1 else 'were'}"
        yield (
            f"{'It was' if count == 1 else were} used to fit or to choose this model: "
            "this says too much. Take data that it has not seen."
        )


def print_description(console: Console, description: Facts) -> None:
    """What is in a data set: classes in each split, sizes, leaks, problems.

    Args:
        console: where to.
        description: what `inspect` gave.
    """
    classes: list[Facts] = description["classes"]
    number = plural(len(classes), "class", "classes")
    _print(
        console,
        f"{shown(description['path'])}: {plural(description['samples'], 'sample')} of {number}, "
        f"{shown(description['task'])}{_several(description)}",
        "; ".join(filter(None, (_formats(description["formats"]), _sizes(description["sizes"])))),
        "",
    )
    if "boxes" in description:
        _print(console, *_boxes(description["boxes"]), "")
    splits = ("train", "valid", "test", "total")
    table = _table("class", *splits, right=splits)
    for row in classes[:_CLASSES]:
        table.add_row(Text(shown(row["name"])), *(f"{row[split]:,}" for split in splits))
    if len(classes) > _CLASSES:
        table.add_row(f"and {len(classes) - _CLASSES:,} more")
    counts = (*(description["splits"][name] for name in splits[:-1]), description["samples"])
    table.add_row("all", *(f"{number:,}" for number in counts), style="bold")
    _print_table(console, table)
    _print(console, "", shown(description["imbalance"]["text"]), _in_two_splits(description))
    for kind in description["problems"]:
        _print_kind(console, kind)


def _several(description: Facts) -> str:
    several = description["multilabel"] and "boxes" not in description
    return ", several labels a sample" if several else ""


def _in_two_splits(description: Facts) -> str:
    """What stands on both sides of a split: copies, and given groups."""
    leaks, groups = description["leaks"], description["divided_groups"]
    found = [
        *([f"{leaks:,} leaks between splits."] if leaks else []),
        *([f"{groups:,} of the given groups stand in several splits."] if groups else []),
    ]
    return " ".join(found) or "Nothing is in two splits."


def _boxes(boxes: Facts) -> Iterator[str]:
    """What is known about the boxes of a data set; the table after it counts pictures, or tiles."""
    why = " or as too large for the tiles" if boxes["tile_px"] else ""
    crowds = plural(boxes["crowds"], "crowd") if boxes["crowds"] else ""
    crowds = crowds and f"; {crowds}, neither learnt nor counted"
    yield (
        f"{plural(boxes['found'], 'box', 'boxes')}: {boxes['used']:,} used "
        f"({boxes['mended']:,} mended{crowds}), {boxes['refused']:,} refused, "
        f"{boxes['left_out']:,} left out with their picture{why}"
    )
    things = "tiles" if boxes["tile_px"] else "pictures"
    if boxes["tile_px"]:
        yield (
            f"large pictures are cut into tiles of {boxes['tile_px']:,} px, which overlap; "
            "all that follows is counted on the tiles, objects as far as they lie on them"
        )
    sides = boxes["sides"]
    yield (
        f"objects {sides['min']:g} to {sides['max']:g} px across (median {sides['median']:g}); "
        f"{boxes['negatives']:,} {things} without any"
    )
    yield ", ".join(f"{shown(name)} {count:,}" for name, count in boxes["categories"].items())


def print_labels(console: Console, found: Facts, out: Path | None = None) -> None:
    """What is known about the labels of a data set, and what to label next.

    Args:
        console: where to.
        found: what `labels` gave.
        out: the folder it was written to, if any.
    """
    from regraft.reporting import page  # takes longer to import than `--help` may take

    _print(console, *_agreement(found))
    if found["beside_people"]:
        _print(console, found["beside_people"]["text"])
    if found["share"]:
        _print(console, page.share_wrong(found["share"]))
    for key in ("not_judged", "caution"):
        if found[key]:
            _print(console, shown(found[key]))
    if found["worth"]:
        _print(console, shown(found["worth"]["text"]))
    rest = "--json lists all" if out is None else "the tables list all"
    if found["likely_errors"]:
        _print(console, "", "Labels that are likely wrong, by score: 1 is surely wrong.")
        _print_ranked(console, found["likely_errors"], ("sample", "given", "suggested"))
        _print(console, f"{plural(len(found['likely_errors']), 'label')} to look at; {rest}.")
    _print(console, *_doubtful(found))
    if found["next"]:
        _print(console, "", _order_of_next(found["next"]))
        _print_ranked(console, found["next"], ("sample", "suggested"))
        _print(console, f"{plural(len(found['next']), 'sample')} to label next; {rest}.")
    if found["pool"] and not found["pool"]["samples"]:
        _print(console, "All of the pool is labelled already: nothing is left to label next.")
    if found["pool"] and found["pool"]["left_out"]:
        _print(console, _left_out(found["pool"]["left_out"], out))
    _print_label_studio(console, found)
    if out is not None:
        _print(console, "", f"report  {shown(out / 'report.html')}")
        if found["consensus"]:
            _print(console, f"labels  {shown(out / 'consensus.csv')}")
        if found["next"]:
            _print(console, f"next    {shown(out / 'next.csv')}")


_WHY_LEFT_OUT = {"leak": "copies of what is labelled", "repeated": "copies of others in it"}


def _left_out(problems: Sequence[Facts], out: Path | None) -> str:
    """How many samples of a pool were left out, by why."""
    kinds = Counter(problem["kind"] for problem in problems)
    why = (f"{count:,} {shown(_WHY_LEFT_OUT.get(kind, kind))}" for kind, count in kinds.items())
    rest = "--json lists them" if out is None else "labels.json lists them"
    return f"{len(problems):,} of the pool left out ({', '.join(why)}); {rest}."


def _agreement(found: Facts) -> Iterator[str]:
    """How far people agree; nothing where there are no votes."""
    agreement, ceiling = found["agreement"], found["ceiling"]
    if agreement:
        alpha, place = agreement["alpha"], agreement["place"]
        if alpha["value"] is None:
            yield "No sample has two votes: there is no agreement to measure."
        else:
            span = f"({alpha['low']:.3f} to {alpha['high']:.3f})"
            kind = agreement["scale"]
            if place:
                pictures = plural(found["data"]["samples"], "picture")
                kind = f"{plural(agreement['samples'], 'object')} on {pictures}"
            yield f"Krippendorff's alpha {alpha['value']:.3f} {span}, {kind}"
        if agreement["are_steps"]:
            yield (
                "The classes are numbers, taken for names. If they are steps of a scale, --scale "
                "ordinal counts how far they are apart."
            )
        yield shown(found["consensus"]["why"])
        if place:
            yield (
                f"Boxes of the same object overlap by {interval(place['iou'])}; an edge is "
                f"{place['edges_px']:.1f} px off in the median."
            )
    if ceiling:
        off = ceiling["mean_absolute_error"]
        span = "" if off is None else f", and is {off:.2f} from their median on average"
        yield f"One person agrees with the others on {interval(ceiling)}{span}."


def _doubtful(found: Facts) -> Iterator[str]:
    """Classes and samples in doubt, each kind on one line; nothing where there are none."""
    pairs = [
        f"{shown(' and '.join(row['classes']))} ({100 * row['apart']:.0f} %)"
        for row in found["same_classes"]
    ]
    if pairs:
        yield f"Classes that are hardly told apart, and may be one: {some_of(pairs, _NAMED)}"
    for rows, what in (
        (found["outliers"], "Unlike all others"),
        ((found["agreement"] or {}).get("divided", ()), "What divides people most"),
    ):
        if rows:
            yield f"{what}: {some_of([shown(row['sample']) for row in rows], _NAMED)}"


def _print_label_studio(console: Console, found: Facts) -> None:
    """What went to Label Studio and what came back, with what was left out."""
    taken, written = found["from_label_studio"], found["to_label_studio"]
    if taken:
        known = f", {taken['known']:,} known before" if taken["known"] else ""
        _print(console, f"{taken['written']:,} decisions from Label Studio{known}.")
        lost = taken["unmatched"]
        if lost["count"]:
            examples = ", ".join(map(shown, lost["examples"]))
            _print(console, f"{lost['count']:,} annotations fit no sample here: {examples}")
        if taken.get("labelled"):
            _print(console, f"labelled   {shown(taken['labelled'])}")
        for name, count in taken["unknown_classes"].items():
            _print(console, f"{count:,} annotations say {shown(name)}, which is no class here.")
    if written:
        _print(console, "", f"tasks      {shown(written['tasks'])} ({written['count']:,})")
        _print(console, f"interface  {shown(written['interface'])}")
        if written["root"]:
            root = shlex.quote(shown(written["root"]))
            _print(console, f"files      LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}")


def _print_ranked(console: Console, rows: Sequence[Facts], names: Sequence[str]) -> None:
    """The first rows of a ranked list; texts are called by their lines, and begin beside them."""
    table = _table(*names, "score", "reason", right=("score",))
    for row in rows[:_RANKED]:
        begin = f"  {shown(row['excerpt'][:_BEGIN])}" if row.get("excerpt") else ""
        cells = (Text(shown(row[key] or NOTHING) + begin * (key == "sample")) for key in names)
        table.add_row(*cells, f"{row['score']:.3f}", Text(shown(row["reason"])))
    _print_table(console, table)


def _order_of_next(rows: Sequence[Facts]) -> str:
    """What the list of what to label next is ordered by, and what the scores in it are."""
    if rows[0]["probability"] is None:
        return (
            "What to label next: parts of the pool without a label first, the largest of them "
            "before others. The score is the share of the pool that a sample stands for."
        )
    return (
        "What to label next: first what covers most doubt that those above it leave. The score is "
        "how much a sample is in doubt itself, and not what they are ordered by."
    )


def _formats(formats: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {shown(name)}" for name, number in formats.items())


def _sizes(sizes: Facts) -> str:
    parts = (
        f"{name} {size['min']:,} to {size['max']:,} px (median {size['median']:,.0f})"
        for name, size in sizes.items()
        if name in ("height", "width")
    )
    lengths = sizes.get("seconds")
    length = f"{lengths['min']:.1f} to {lengths['max']:.1f} s" if lengths else ""
    return ", ".join([*parts, *([length] if length else [])])


def _done(what: Sequence[str]) -> str:
    """What was done about a problem, behind what is said of it."""
    done = ", ".join(shown(one) for one in what if one != "nothing")
    return f" ({done})" if done else ""


def _print_kind(console: Console, kind: Facts) -> None:
    """A kind of problem: how often, what was done, and examples."""
    _print(console, "", f"{shown(kind['kind'])}: {kind['count']:,}{_done(kind['done'])}")
    for example in kind["examples"]:
        _print(console, f"  {shown(example['where'])}: {shown(example['what'])}")
    if kind["count"] > len(kind["examples"]):
        _print(console, f"  and {kind['count'] - len(kind['examples']):,} more")


def print_backbones(console: Console, rows: Sequence[Facts]) -> None:
    """The catalogue: a row a network.

    Args:
        console: where to.
        rows: what `backbones.listing` gave.
    """
    wide = console.width >= _WIDE
    more = ("checksum", "for") if wide else ()
    headings = ("name", "parameters", "size", "licence", "here", *more)
    table = _table(*headings, right=("parameters", "size"))
    for row in rows:
        cells = (
            shown(row["name"]),
            count(row["parameters"]),
            size(row["bytes"]),
            shown(row["licence"]),
            "yes" if row["here"] else "no",
            *((row["sha256"][:8] or NOTHING, shown(row["purpose"])) if wide else ()),
        )
        table.add_row(*map(Text, cells))
    _print_table(console, table)
    _print(console, "", "fetch one with: regraft backbones pull NAME")


def print_backbone(console: Console, facts: Facts) -> None:
    """All that is known about one network, and its stages where it is on this machine.

    Args:
        console: where to.
        facts: what `backbones.show` gave.
    """
    for key in ("name", "purpose", "source", "sha256", "licence", "note", "weights"):
        if facts.get(key):
            _print(console, f"{key:<10}  {shown(facts[key])}")
    if not facts["sha256"]:
        _print(console, f"{'sha256':<10}  not known until it is pulled")
    for key in ("parameters", "size_px", "width"):
        if facts.get(key):
            _print(console, f"{key:<10}  {facts[key]:,}")
    if not facts["ready"]:
        _print(console, f"{'here':<10}  no; {shown(facts['mend'])}")
        return
    table = _table("stage", "parameters", "gives, for one sample", right=("parameters",))
    for stage in facts["stages"]:
        shapes = ", ".join(" × ".join(map(str, shape)) for shape in stage["shapes"])
        table.add_row(Text(shown(stage["name"])), count(stage["parameters"]), shapes)
    _print(console, "")
    _print_table(console, table)


def print_cache(console: Console, folder: Path, entries: Sequence[Facts], limit_bytes: int) -> None:
    """What the cache holds, the last used first.

    Args:
        console: where to.
        folder: where it lies.
        entries: each with "kind", "about", "bytes" and "used_s", seconds since 1970.
        limit_bytes: how much the features may take.
    """
    table = _table("kind", "size", "last used", "what", right=("size",))
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["used_s"]))
        table.add_row(
            shown(entry["kind"]),
            size(entry["bytes"]),
            used if entry["used_s"] else NOTHING,
            Text(shown(entry["about"])),
        )
    if entries:
        _print_table(console, table)
        _print(console, "")
    total = sum(entry["bytes"] for entry in entries)
    limit = f"features may take {size(limit_bytes)} (REGRAFT_CACHE_LIMIT)"
    _print(console, f"{size(total)} in {shown(folder)}; {limit}")


def _confused(
    classes: Sequence[str], matrix: Sequence[Sequence[int]]
) -> list[tuple[str, str, int]]:
    pairs = [
        (classes[given], classes[said], times)
        for given, row in enumerate(matrix)
        for said, times in enumerate(row)
        if given != said and times
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def _print_problems(console: Console, problems: Sequence[Facts]) -> None:
    if not problems:
        return
    _print(console, "", "problems")
    for problem in problems:
        place = f"{shown(problem['where'])}: " if problem["where"] else ""
        _print(console, f"  {place}{shown(problem['what'])}{_done([problem['done']])}")


def _label(row: Facts) -> str:
    if "problem" in row:
        return ""
    if "labels" in row:
        return ", ".join(map(shown, row["labels"])) or "none"
    return shown(row["label"])
