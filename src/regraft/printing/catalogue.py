"""The networks to start from, and what the cache holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from regraft.printing.lines import WIDE, Facts, print_lines, print_table, table_of
from regraft.terminal import shown
from regraft.wording import NOTHING, count, size


def print_backbones(console: Console, rows: Sequence[Facts]) -> None:
    """The catalogue: a row a network.

    Args:
        console: where to.
        rows: what `backbones.listing` gave.
    """
    wide = console.width >= WIDE
    more = ("checksum", "for") if wide else ()
    headings = ("name", "parameters", "size", "licence", "here", *more)
    table = table_of(*headings, right=("parameters", "size"))
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
    print_table(console, table)
    print_lines(console, "", "fetch one with: regraft backbones pull NAME")


def print_backbone(console: Console, facts: Facts) -> None:
    """All that is known about one network, and its stages where it is on this machine.

    Args:
        console: where to.
        facts: what `backbones.show` gave.
    """
    for key in ("name", "purpose", "source", "sha256", "licence", "note", "weights"):
        if facts.get(key):
            print_lines(console, f"{key:<10}  {shown(facts[key])}")
    if not facts["sha256"]:
        print_lines(console, f"{'sha256':<10}  not known until it is pulled")
    is_text = facts.get("modality") == "text"
    size_of = "tokens" if is_text else "size_px"
    for key, heading in (("parameters", "parameters"), ("size_px", size_of), ("width", "width")):
        if facts.get(key):
            print_lines(console, f"{heading:<10}  {facts[key]:,}")
    if not facts["ready"]:
        print_lines(console, f"{'here':<10}  no; {shown(facts['mend'])}")
        return
    table = table_of("stage", "parameters", "gives, for one sample", right=("parameters",))
    for stage in facts["stages"]:
        shapes = ", ".join(map(_spelt, stage["shapes"]))
        table.add_row(Text(shown(stage["name"])), count(stage["parameters"]), shapes)
    print_lines(console, "")
    print_table(console, table)


def _spelt(shape: Sequence[int]) -> str:
    """A stage's shape (see `Stage`); that of a single number, such as a text's length, is empty."""
    return " × ".join("tokens" if size == -1 else str(size) for size in shape) or "1"


def print_cache(console: Console, folder: Path, entries: Sequence[Facts], limit_bytes: int) -> None:
    """What the cache holds, the last used first.

    Args:
        console: where to.
        folder: where it lies.
        entries: each with "kind", "about", "bytes" and "used_s", seconds since 1970.
        limit_bytes: how much the features may take.
    """
    table = table_of("kind", "size", "last used", "what", right=("size",))
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["used_s"]))
        table.add_row(
            shown(entry["kind"]),
            size(entry["bytes"]),
            used if entry["used_s"] else NOTHING,
            Text(shown(entry["about"])),
        )
    if entries:
        print_table(console, table)
        print_lines(console, "")
    total = sum(entry["bytes"] for entry in entries)
    limit = f"features may take {size(limit_bytes)} (REGRAFT_CACHE_LIMIT)"
    print_lines(console, f"{size(total)} in {shown(folder)}; {limit}")
