"""Whole processes: `regraft fit --train head` against loops that people write.

Everyone gets the same folders, the same network and the same two cores. regraft is measured in
three states: nothing on this machine (`cold`), the backbone compiled before by a fit on other
pictures (`compiled`), and the same pictures again with another seed (`warm`). The runs take turns,
so that a machine that slows down slows everyone down.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median

from bench import data, harness
from bench.harness import Figure, Finished

MEASURED = ("cold", "compiled", "warm", "plain_loop", "fastai_loop")


def fit(pictures: Path, out: Path, seed: int) -> tuple[Finished, dict]:
    """`regraft fit --train head` as a process, and its report."""
    command = harness.regraft("fit", pictures, "--out", out, "--train", "head", "--seed", str(seed))
    return harness.run(command), harness.report_of(out)


def regraft_round(pictures: Path, others: Path, seed: int) -> dict[str, dict[str, float]]:
    """One measurement in each state."""
    found: dict[str, dict[str, float]] = {}

    def note(state: str, done: Finished, report: dict) -> None:
        rung = report["rungs"][0]
        found[state] = {
            "seconds": done.seconds,
            "cpu_seconds": done.cpu_seconds,
            "features": rung["seconds"]["features"],
            "train": rung["seconds"]["train"],
            "accuracy": rung["metric"]["value"],
        }

    with harness.fresh_cache() as root:
        note("cold", *fit(pictures, root / "run", seed))
    with harness.fresh_cache() as root:
        fit(others, root / "others", seed)
        note("compiled", *fit(pictures, root / "run", seed))
        note("warm", *fit(pictures, root / "again", seed + 1))
    return found


def peer(name: str, pictures: Path, seed: int, epochs: int) -> dict[str, float]:
    """One run of a loop, and what it says of itself."""
    arguments = [pictures, "--seed", str(seed), "--epochs", str(epochs)]
    done = harness.run(harness.module(name, *arguments))
    said = json.loads(done.stdout.splitlines()[-1])
    found = {"seconds": done.seconds, "cpu_seconds": done.cpu_seconds}
    return found | {key: said[key] for key in ("accuracy", "best_accuracy")}


def warm_up(others: Path) -> None:
    """Everyone runs once on a few pictures, so that nobody is the first to load from disk."""
    with harness.fresh_cache() as root:
        fit(others, root / "run", 0)
    for name in ("plain_loop", "fastai_loop"):
        peer(name, others, 0, 1)


def figures_of(raw: dict[str, list[dict[str, float]]], help_s: list[float]) -> list[Figure]:
    """What the measurements say."""

    def column(state: str, key: str = "seconds") -> list[float]:
        return [row[key] for row in raw[state]]

    figures = [
        Figure("`regraft --help`", median(help_s), "s", "≤ 0.5", harness.spread(help_s)),
        *(
            Figure(f"fit, {state}", median(column(state)), "s", "", harness.spread(column(state)))
            for state in ("cold", "compiled", "warm")
        ),
    ]
    ours = median(column("cold", "accuracy"))
    for name, words in (("plain_loop", "a plain PyTorch loop"), ("fastai_loop", "fastai, frozen")):
        if not raw[name]:
            continue
        slow = column(name)
        cpu = {state: column(state, "cpu_seconds") for state in ("cold", "compiled", name)}
        figures += [
            harness.ratio(f"{words} / fit, cold", slow, column("cold"), "≥ 40"),
            harness.ratio(f"{words} / fit, compiled", slow, column("compiled"), "≥ 60"),
            harness.ratio(f"{words} / fit, cold: processor time", cpu[name], cpu["cold"]),
            harness.ratio(f"{words} / fit, compiled: processor time", cpu[name], cpu["compiled"]),
            Figure(
                f"accuracy of fit less that of {words}",
                100 * (ours - median(column(name, "accuracy"))),
                "points",
                "≥ 0",
                f"{ours:.1%} against {harness.spread(column(name, 'accuracy'))}",
            ),
        ]
    # Against the compiled state: waiting for the compiler is no computing of features.
    share = 100 * median(column("warm", "features")) / median(column("compiled", "features"))
    figures.append(Figure("features, warm cache / cold cache", share, "%", "≤ 5"))
    return figures


def main() -> None:
    """Measure, and write results/speed.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of regraft")
    parser.add_argument("--plain", type=int, default=3, help="runs of the plain loop")
    parser.add_argument("--fastai", type=int, default=1, help="runs of fastai")
    parser.add_argument("--epochs", type=int, default=10, help="of the loops")
    args = parser.parse_args()

    pictures = data.photos_1000()
    others = data.photo_set(train=96, valid=48, size_px=(500, 375))
    raw: dict[str, list] = {name: [] for name in MEASURED}
    warm_up(others)
    for number in range(max(args.rounds, args.plain, args.fastai)):
        if number < args.rounds:
            for state, row in regraft_round(pictures, others, number).items():
                raw[state].append(row)
        for name, runs in (("plain_loop", args.plain), ("fastai_loop", args.fastai)):
            if number < runs:
                raw[name].append(peer(name, pictures, number, args.epochs))
    help_s = [harness.run(harness.regraft("--help")).seconds for _ in range(7)]
    harness.save("speed", figures_of(raw, help_s), raw | {"help": help_s, "epochs": args.epochs})


if __name__ == "__main__":
    main()
