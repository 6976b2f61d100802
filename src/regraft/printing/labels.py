"""What `labels` found: agreement, likely errors, what to label next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from regraft.printing.lines import Facts, print_lines, print_table, table_of
from regraft.terminal import plainly, shown
from regraft.wording import NOTHING, class_in_words, interval, plural, some_of

_RANKED = 15
_NAMED = 5
_BEGIN = 60
"""Characters of a text in a ranked list."""


def print_labels(console: Console, found: Facts, out: Path | None = None) -> None:
    """What is known about the labels of a data set, and what to label next.

    Args:
        console: where to.
        found: what `labels` gave.
        out: the folder it was written to, if any.
    """
    from regraft.reporting import page  # takes longer to import than `--help` may take

    print_lines(console, *_agreement(found))
    if found["beside_people"]:
        print_lines(console, found["beside_people"]["text"])
    if found["share"]:
        print_lines(console, page.share_wrong(found["share"]))
    for key in ("not_judged", "caution"):
        if found[key]:
            print_lines(console, shown(plainly(found[key])))
    if found["worth"]:
        print_lines(console, shown(found["worth"]["text"]))
    rest = "--json lists all" if out is None else "the tables list all"
    if found["likely_errors"]:
        print_lines(console, "", "Labels that are likely wrong, by score, which is 1 at most.")
        _print_ranked(console, found["likely_errors"], ("sample", "given", "suggested"))
        print_lines(console, f"{plural(len(found['likely_errors']), 'label')} to look at; {rest}.")
    print_lines(console, *_doubtful(found))
    if found["next"]:
        print_lines(console, "", _order_of_next(found["next"]))
        _print_ranked(console, found["next"], ("sample", "suggested"))
        print_lines(console, f"{plural(len(found['next']), 'sample')} to label next; {rest}.")
    if found["pool"] and not found["pool"]["samples"]:
        print_lines(console, "All of the pool is labelled already: nothing is left to label next.")
    if found["pool"] and found["pool"]["left_out"]:
        print_lines(console, _left_out(found["pool"]["left_out"], out))
    _print_label_studio(console, found)
    if out is not None:
        print_lines(console, "", f"report  {shown(out / 'report.html')}")
        if found["consensus"]:
            print_lines(console, f"labels  {shown(out / 'consensus.csv')}")
        if found["next"]:
            print_lines(console, f"next    {shown(out / 'next.csv')}")


_WHY_LEFT_OUT = {"labelled": "copies of what is labelled", "repeated": "copies of others in it"}


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
        yield f"One annotator agrees with the others on {interval(ceiling)}{span}."


def _doubtful(found: Facts) -> Iterator[str]:
    """Classes and samples in doubt, each kind on one line; nothing where there are none."""
    pairs = [
        f"{shown(' and '.join(map(class_in_words, row['classes'])))} ({100 * row['apart']:.0f} %)"
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
        decisions = plural(taken["written"], "decision")
        print_lines(console, f"{decisions} from Label Studio{known}.")
        lost = taken["unmatched"]
        if lost["count"]:
            examples = ", ".join(map(shown, lost["examples"]))
            fit = plural(lost["count"], "annotation fits", "annotations fit")
            print_lines(console, f"{fit} no sample here: {examples}")
        if taken.get("labelled"):
            print_lines(console, f"labelled   {shown(taken['labelled'])}")
        for name, count in taken["unknown_classes"].items():
            say = plural(count, "annotation says", "annotations say")
            called = shown(class_in_words(name))
            print_lines(console, f"{say} {called}, which is no class here.")
    if written:
        print_lines(console, "", f"tasks      {shown(written['tasks'])} ({written['count']:,})")
        print_lines(console, f"interface  {shown(written['interface'])}")
        if written["root"]:
            root = shlex.quote(shown(written["root"]))
            print_lines(console, f"files      LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}")


def _print_ranked(console: Console, rows: Sequence[Facts], names: Sequence[str]) -> None:
    """The first rows of a ranked list; texts are called by their lines, and begin beside them."""
    table = table_of(*names, "score", "reason", right=("score",))
    for row in rows[:_RANKED]:
        begin = f"  {shown(row['excerpt'][:_BEGIN])}" if row.get("excerpt") else ""
        cells = (Text(shown(row[key] or NOTHING) + begin * (key == "sample")) for key in names)
        table.add_row(*cells, f"{row['score']:.3f}", Text(shown(row["reason"])))
    print_table(console, table)


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
