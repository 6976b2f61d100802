"""What `evaluate` measured, of classes and of objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from regraft.printing.lines import CLASSES, Facts, done_about, print_lines, print_table, table_of
from regraft.terminal import plainly, shown
from regraft.wording import interval, metric_name, percent, plural, some_of

_PAIRS = 10
"""Classes that are taken for others."""


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
    print_lines(
        console,
        f"{_measured(metric)} on {plural(evaluation['count'], 'sample')}{by_people}",
        *_plain_accuracy(evaluation),
        f"calibration error {evaluation['calibration_error']:.3f}",
        *_absent(evaluation["absent"]),
        *_seen(evaluation),
        *([evaluation["people"]["text"]] if evaluation.get("people") else []),
    )
    print_lines(console, "")
    print_table(console, _by_class(evaluation["per_class"]))
    confused = _confused(evaluation["classes"], evaluation["confusion"] or [])
    if confused:
        table = table_of("given", "taken for", "times", right=("times",))
        for given, said, times in confused[:_PAIRS]:
            table.add_row(Text(shown(given)), Text(shown(said)), f"{times:,}")
        print_lines(console, "")
        print_table(console, table)
    _print_problems(console, evaluation["problems"])


def _plain_accuracy(evaluation: Facts) -> Iterator[str]:
    """The share of right answers, where the metric is another."""
    if evaluation["accuracy"] is not None and evaluation["metric"]["name"] != "accuracy":
        yield f"accuracy {percent(evaluation['accuracy'])}, with all samples alike"


def _by_class(rows: Sequence[Facts]) -> Table:
    """Recall and precision, the class that is found least first."""
    figures = ("samples", "recall", "precision")
    table = table_of("class", *figures, right=figures)
    there = [row for row in rows if row["count"]]
    for row in sorted(there, key=lambda row: row["recall"])[:CLASSES]:
        shares = (percent(row[name]) for name in ("recall", "precision"))
        table.add_row(Text(shown(row["name"])), f"{row['count']:,}", *shares)
    if len(there) > CLASSES:
        table.add_row(f"and {len(there) - CLASSES:,} more")
    return table


def _measured(metric: Facts) -> str:
    return f"{metric_name(shown(metric['name']))} {interval(metric)}"


def _absent(classes: Sequence[str]) -> Iterator[str]:
    if classes:
        names = some_of([shown(name) for name in classes], CLASSES)
        yield f"nothing is said of {names}: these data have no such sample"


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


def _print_measured(console: Console, evaluation: Facts) -> None:
    """What COCO's measures say of a model that finds objects."""
    metric, coco = evaluation["metric"], evaluation["coco"]
    whole = evaluation["whole"]
    is_cut = whole["count"] != evaluation["count"]
    things = ("tile of pictures", "tiles of pictures") if is_cut else ("picture",)
    measured = f"{_measured(metric)} on {plural(evaluation['count'], *things)}"
    print_lines(console, measured, *_on_whole(whole, is_cut), *_seen(evaluation), "")
    columns = ("objects", "AP50", "AP", "AR")
    table = table_of("category", *columns, right=columns)
    for row in coco["categories"]:
        shares = (percent(row[name]) for name in ("ap50", "ap", "ar"))
        table.add_row(Text(shown(row["name"])), f"{row['truths']:,}", *shares)
    total = sum(row["truths"] for row in coco["categories"])
    means = (percent(coco[name]) for name in ("ap50", "ap", "ar"))
    table.add_row("mean", f"{total:,}", *means, style="bold")
    print_table(console, table)
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


def _print_problems(console: Console, problems: Sequence[Facts]) -> None:
    if not problems:
        return
    print_lines(console, "", "problems")
    for problem in problems:
        where, what = (shown(plainly(problem[part])) for part in ("where", "what"))
        place = f"{where}: " if where else ""
        print_lines(console, f"  {place}{what}{done_about([problem['done']])}")
