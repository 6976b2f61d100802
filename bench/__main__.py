"""All figures, or some: `python -m bench [NAME...]`; the table lands in bench/results/table.md.

`--quick` only shows that everything runs: few pictures, few epochs, one round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

from bench import harness

QUICK = {
    "speed": ["--rounds", "1", "--plain", "1", "--fastai", "1", "--epochs", "1"],
    "phases": ["--repeats", "1", "--epochs", "1"],
    "memory": ["--few", "200", "--many", "1000"],
    "accuracy": ["--draws", "1", "--labels", "100", "--test", "200", "--epochs", "1"]
    + ["--budget", "20"],
    "labels": ["--samples", "120", "--shares", "0.1", "--folds", "2", "--rung", "last:1"]
    + ["--loop-folds", "1", "--epochs", "1"]
    + ["--seeds", "2", "--learn", "100", "--pool", "300", "--rounds", "2", "--many", "500", "1000"],
    "overlooked": ["share", "--draws", "1"],
    "boxes": ["speed", "predict", "--train", "32", "--rounds", "1", "--epochs", "1"],
    "texts": ["--mails", "200", "--rounds", "1", "--epochs", "1", "--labels", "8"]
    + ["--seeds", "1", "--setfit-seeds", "1", "--steps", "5", "--test", "60"],
    "pretraining_speed": ["--turns", "1"],
    "pretraining": ["--budget", "60s", "--pictures", "1000", "--draws", "2"],
    "video": ["--quick", "--epochs", "2"],
}


def write_table() -> Path:
    """One table of all results there are."""
    parts = []
    for path in sorted(harness.RESULTS.glob("*.json")):
        content = json.loads(path.read_text())
        keys = ("what", "value", "unit", "target", "note")
        figures = [harness.Figure(*(row[key] for key in keys)) for row in content["figures"]]
        where = content["environment"]
        parts.append(f"## {path.stem}\n\n{harness.table(figures)}\n")
        parts.append(f"{where['cpu']}, {where['cores']} cores, {where['packages']}\n")
    target = harness.RESULTS / "table.md"
    target.write_text("\n".join(parts))
    return target


def main() -> None:
    """Run them one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(QUICK))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    unknown = set(args.names) - set(QUICK)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(QUICK)}")
    for name in args.names or QUICK:
        command = harness.module(name, *(QUICK[name] if args.quick else []))
        subprocess.run(list(map(str, command)), check=True)
    print(write_table())


if __name__ == "__main__":
    main()
