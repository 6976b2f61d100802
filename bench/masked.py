"""Masked-language pre-training on German manual pages, beside its references.

python -m bench.masked [--budget 20m] [--out RUN]

MiniLM-L6 learns to fill in words of 1,100 manual pages; the same network from random weights does
as many steps. Held-out loss and accuracy of both, of the start and of the unigram model.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench import harness, manual_pages
from bench.harness import Figure
from regraft import terminal
from regraft.cli import seconds_of
from regraft.pretraining import MaskedSettings, pretrain


def main() -> None:
    """Write results/masked.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--out", default="")
    parser.add_argument("--rate", type=float, default=MaskedSettings().learning_rate)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, terminal.telling() as tell:
        done = pretrain(
            manual_pages.folder(), asked.out or Path(scratch) / "run",
            objective="masked-language", backbone="minilm-l6", compare="scratch",
            budget=seconds_of(asked.budget), settings=MaskedSettings(learning_rate=asked.rate),
            tell=tell,
        )  # fmt: skip
    report = done.report
    result, start = report["after"]["held_out"], report["before"]["held_out"]
    unigram, random = report["after"]["unigram"], report["scratch"]["after"]["held_out"]
    words = f"{report['steps']} steps in {asked.budget}, {report['after']['tokens']['pool']} tokens"
    others = ", ".join(
        f"{name} {100 * one['accuracy']:.1f}"
        for name, one in (("start", start), ("unigram", unigram), ("random weights", random))
    )
    figures = [
        Figure("held-out loss, result", result["loss"], "nats", note=words),
        Figure("unigram less result", unigram["loss"] - result["loss"], "nats", "≥ 1"),
        Figure("start less result", start["loss"] - result["loss"], "nats", "≥ 0.1"),
        Figure("random weights less result", random["loss"] - result["loss"], "nats", "≥ 0.5"),
        Figure("hidden words guessed right", 100 * result["accuracy"], "%", note=others),
        Figure("speed", report["throughput"]["per_second"], "tokens/s"),
    ]  # fmt: skip
    kept = ("steps", "seconds", "curves", "before", "after", "scratch", "throughput")
    harness.save("masked", figures, {key: report[key] for key in kept})


if __name__ == "__main__":
    main()
