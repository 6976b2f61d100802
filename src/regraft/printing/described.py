"""What `inspect` found in data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.text import Text

from regraft.printing.lines import CLASSES, Facts, done_about, print_lines, print_table, table_of
from regraft.terminal import plainly, shown
from regraft.wording import class_in_words, plural


def print_description(console: Console, description: Facts) -> None:
    """What is in a data set: classes in each split, sizes, leaks, problems.

    Args:
        console: where to.
        description: what `inspect` gave.
    """
    classes: list[Facts] = description["classes"]
    number = plural(len(classes), "class", "classes")
    print_lines(
        console,
        f"{shown(description['path'])}: {plural(description['samples'], 'sample')} of {number}, "
        f"{shown(description['task'])}{_several(description)}",
        "; ".join(filter(None, (_formats(description["formats"]), _sizes(description["sizes"])))),
        "",
    )
    if "boxes" in description:
        print_lines(console, *_boxes(description["boxes"]), "")
    splits = ("train", "valid", "test", "total")
    table = table_of("class", *splits, right=splits)
    for row in classes[:CLASSES]:
        table.add_row(Text(shown(row["name"])), *(f"{row[split]:,}" for split in splits))
    if len(classes) > CLASSES:
        table.add_row(f"and {len(classes) - CLASSES:,} more")
    counts = (*(description["splits"][name] for name in splits[:-1]), description["samples"])
    table.add_row("all", *(f"{number:,}" for number in counts), style="bold")
    print_table(console, table)
    print_lines(console, "", shown(description["imbalance"]["text"]), _in_two_splits(description))
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
    negatives = plural(boxes["negatives"], "tile" if boxes["tile_px"] else "picture")
    if boxes["tile_px"]:
        yield (
            f"large pictures are cut into tiles of {boxes['tile_px']:,} px, which overlap; "
            "all that follows is counted on the tiles, objects as far as they lie on them"
        )
    sides = boxes["sides"]
    yield (
        f"objects {sides['min']:g} to {sides['max']:g} px across (median {sides['median']:g}); "
        f"{negatives} without any"
    )
    counted = boxes["categories"].items()
    yield ", ".join(f"{shown(class_in_words(name))} {count:,}" for name, count in counted)


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


def _print_kind(console: Console, kind: Facts) -> None:
    """A kind of problem: how often, what was done, and examples."""
    print_lines(console, "", f"{shown(kind['kind'])}: {kind['count']:,}{done_about(kind['done'])}")
    for example in kind["examples"]:
        where, what = (shown(plainly(example[part])) for part in ("where", "what"))
        print_lines(console, f"  {where}: {what}")
    if kind["count"] > len(kind["examples"]):
        print_lines(console, f"  and {kind['count'] - len(kind['examples']):,} more")
