"""Where the time goes inside: the feature phase against its limit, cached tails against live ones.

The limit of the feature phase is decoding alone plus the compiled forward pass alone, each on all
cores. The network is compiled and its engine judged before anything is timed, so that none of the
three pays for that, or runs beside it. The tails of `last:1` and `last:2` are trained twice by the
same loop on the same samples: from activations cached at the cut, and live, where every step
decodes its pictures and runs them through the same compiled frozen part, which is the best live
loop there is here.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from bench import data, harness
from bench.harness import Figure
from regraft import dataset as data_sets
from regraft.backbones import DEFAULT
from regraft.dataset import Sample, View, images
from regraft.dataset.views import square
from regraft.events import silent
from regraft.machine import cores
from regraft.store import Run
from regraft.tasks.classification import Classification
from regraft.transfer.engine import TRIAL_SAMPLES, prepare
from regraft.transfer.fine_tuning import fine_tune
from regraft.transfer.ground import Ground
from regraft.transfer.ladder import climb
from regraft.transfer.rungs import make_rung


@contextmanager
def standing(
    pictures: Path,
    run: Path,
    *,
    valid: Path | None = None,
    test: Path | None = None,
    seed: int = 0,
    budget_s: float | None = None,
) -> Iterator[Ground]:
    """What `regraft.fit` makes before it climbs."""
    with Run.open(run, {}) as opened, prepare(DEFAULT, tell=silent) as preparation:
        rows = data_sets.read(pictures, valid=valid, test=test, seed=seed)
        task = Classification(rows.task, rows.classes)
        engine = functools.cache(
            lambda frozen: preparation.engine(frozen, rows.split("train")[:TRIAL_SAMPLES])
        )
        backbone = preparation.backbone()
        yield Ground(opened, rows, backbone, task, engine, seed, budget_s, silent)


def decoded(samples: Sequence[Sample], ground: Ground) -> np.ndarray:
    """All pictures as the network takes them, uint8 (N, H, W, 3), on all cores."""
    how = ground.backbone.preprocessing

    def one(sample: Sample) -> np.ndarray:
        image = images.decode(Path(sample.source))
        return square(image, how.size_px, how.crop, how.interpolation, View(), sample.sha256)

    with ThreadPoolExecutor(cores()) as pool:
        return np.stack(list(pool.map(one, samples)))


def feature_phase(pictures: Path) -> dict[str, float]:
    """Seconds of the phase, no features being cached, and of its two parts alone."""
    with harness.fresh_cache() as root, standing(pictures, root / "run") as ground:
        frozen = len(ground.backbone.stages)
        samples, engine = ground.dataset.samples, ground.engine(frozen)
        x_bhwc = decoded(samples, ground)
        engine.run(x_bhwc[:8])
        return {
            "decode": harness.timed(lambda: decoded(samples, ground)),
            "forward": harness.timed(lambda: engine.run(x_bhwc)),
            "phase": harness.timed(lambda: ground.activations(samples, frozen)),
        }


def tail_epochs(pictures: Path, name: str, epochs: int) -> dict[str, dict[str, float]]:
    """Seconds an epoch and accuracy of one rung, trained from the cache and live."""
    found = {}
    for features in ("cached", "live"):
        with harness.fresh_cache() as root, standing(pictures, root / "run") as ground:
            head = climb(ground, ["head"]).best
            rung = make_rung(ground, name)
            a_epoch = len(ground.dataset.split("train")) // rung.batch
            rung = replace(rung, features=features, steps=epochs * a_epoch)
            if features == "live":
                rung = replace(rung, views=epochs)
            outcome = fine_tune(ground, "phases", rung, head.weights, {})
            seconds, metric = outcome.facts["seconds"], outcome.facts["metric"]
            found[features] = {
                "features": seconds["features"],
                "epoch": seconds["train"] / epochs,
                "accuracy": metric["value"],
                "low": metric["low"],
                "high": metric["high"],
                "views": rung.views,
            }
    return found


def main() -> None:
    """Measure, and write results/phases.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10, help="of the tails")
    args = parser.parse_args()

    pictures = data.photos_1000()
    rounds = [feature_phase(pictures) for _ in range(args.repeats)]
    phase = {part: [seconds[part] for seconds in rounds] for part in rounds[0]}
    limit = [seconds["decode"] + seconds["forward"] for seconds in rounds]
    figures = [
        Figure(
            "feature phase, share of decode alone + forward alone",
            100 * median(limit) / median(phase["phase"]),
            "%",
            "≥ 85",
            f"{harness.spread(phase['phase'])} s; decode {harness.spread(phase['decode'])} s, "
            f"forward {harness.spread(phase['forward'])} s",
        )
    ]
    tails = {name: tail_epochs(pictures, name, args.epochs) for name in ("last:1", "last:2")}
    for name, found in tails.items():
        cached, live = found["cached"], found["live"]
        what = f"{name}: an epoch live / from the cache"
        figures.append(harness.ratio(what, [live["epoch"]], [cached["epoch"]], "≥ 4"))
        gap = 100 * (cached["accuracy"] - live["accuracy"])
        note = f"{cached['accuracy']:.1%} from {cached['views']} cached views; live "
        note += f"{live['accuracy']:.1%} ({live['low']:.1%} to {live['high']:.1%})"
        figures.append(
            Figure(f"{name}: accuracy from the cache less live", gap, "points", "", note)
        )
    harness.save("phases", figures, {"feature_phase": phase, "tails": tails})


if __name__ == "__main__":
    main()
