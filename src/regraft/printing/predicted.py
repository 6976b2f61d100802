"""What `predict` says of each sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path

from rich.console import Console

from regraft.printing.lines import Facts, print_lines
from regraft.terminal import shown
from regraft.wording import class_in_words

_UNLIKE = "  unlike the training data"


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
        _print_objects(console, predictions)
    else:
        _print_labels(console, predictions)
    if ending := outcome(predictions, out):
        print_lines(console, ending)


def outcome(predictions: Sequence[Facts], out: Path | None = None) -> str:
    """How many samples were done and how many not, where some were not, and where it is written.

    Args:
        predictions: what `predict` gave.
        out: the folder it was written to, if any.

    Returns:
        one line, "" where there is nothing to say.
    """
    unread = [row for row in predictions if "problem" in row]
    ignored = sum("ignored" in row for row in unread)
    failed, done = len(unread) - ignored, len(predictions) - len(unread)
    things = " pictures or frames" if any("objects" in row for row in predictions) else ""
    said = [f"{done:,}{things} done"] if unread else []
    said += [f"{failed:,} not read"] if failed else []
    said += [f"{ignored:,} ignored"] if ignored else []
    where = [f"written to {shown(out)}"] if out is not None else []
    return "; ".join(filter(None, [", ".join(said), *where]))


def _print_labels(console: Console, predictions: Sequence[Facts]) -> None:
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
        print_lines(console, f"{name:<{name_width}}  {rest}")
        if len(row.get("timeline", ())) > 1:
            print_lines(console, *_timeline(row["timeline"]))


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


def _label(row: Facts) -> str:
    if "problem" in row:
        return ""
    if "labels" in row:
        return ", ".join(map(shown, row["labels"])) or "none"
    return shown(row["label"])


def _print_objects(console: Console, predictions: Sequence[Facts]) -> None:
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
        print_lines(console, f"{shown(row['sample']):<{width}}  {rest}")
    if len(predictions) > 1:
        print_lines(console, "", f"{_counted(total) or 'nothing'} in all")


def _counted(counts: Counter[str]) -> str:
    names = ((shown(class_in_words(name)), number) for name, number in counts.most_common())
    return ", ".join(f"{number:,} {name}" for name, number in names)
