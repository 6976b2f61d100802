"""Is memory flat in the number of photos? Peak resident memory of `fit`, its helpers included."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import data, harness
from bench.harness import Figure


def peak_bytes(pictures: Path) -> tuple[int, float]:
    """Peak resident memory and seconds of a cold fit of the head."""
    with harness.fresh_cache() as root:
        command = harness.regraft("fit", pictures, "--out", root / "run", "--train", "head")
        done = harness.run(command, watch_memory=True)
    return done.peak_rss_bytes, done.seconds


def main() -> None:
    """Measure, and write results/memory.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=20_000)
    args = parser.parse_args()

    figures, raw = [], {}
    for count in (args.few, args.many):
        valid = count // 5
        pictures = data.photo_set(train=count - valid, valid=valid, size_px=(160, 120))
        peak, seconds = peak_bytes(pictures)
        raw[str(count)] = {"peak_rss_bytes": peak, "seconds": seconds}
        figures.append(Figure(f"peak memory, {count:,} photos", peak / 1e6, "MB"))
    more = figures[1].value - figures[0].value
    figures.append(Figure(f"more for {args.many:,} than for {args.few:,}", more, "MB", "≤ 300"))
    harness.save("memory", figures, raw)


if __name__ == "__main__":
    main()
