"""What the short cuts cost and the transfer brings, in accuracy, on real pictures.

- Fashion-MNIST with 10, 100 and 1,000 labels in all: the ladder against its twin from random
  weights, both measured on the same test pictures that neither has seen.
- A fixed view, fresh augmentation in every epoch, and K cached views, on 2,000 crops of the
  photographs' other parts.
- Activations stored as float32, bfloat16 or uint8 at the cut of `last:2`.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from bench import data, harness
from bench.harness import Figure
from bench.phases import standing
from regraft.backbones import build
from regraft.events import silent
from regraft.tasks import measure
from regraft.transfer import ladder, references
from regraft.transfer.features import features
from regraft.transfer.fit import Tail, answers, train

PARTS = ("fashion", "views", "storage")
STORAGES = ("float32", "bfloat16", "uint8")


def fashion(labels: int, draw: int, test: Path, budget_s: float) -> dict:
    """The ladder and its scratch twin on one draw of labels, compared on the test pictures.

    Both have the same time; the twin uses all of it. With one label a class there is nothing to
    validate with and so nothing to choose by: the ladder is the head alone then.
    """
    pictures = data.fashion_folder(labels=labels, draw=draw)
    single = labels == len(data.FASHION_CLASSES)
    unseen: dict[str, Path] = {"valid" if single else "test": test}
    with (
        harness.fresh_cache() as root,
        standing(pictures, root / "run", seed=draw, budget_s=budget_s, **unseen) as ground,
    ):
        stages = len(ground.backbone.stages)
        climbed = ladder.climb(ground, ladder.rung_names("head" if single else "ladder", stages))
        facts, twin = references.scratch(ground, climbed)
        twins = references.twin_ground(ground, facts["size_px"])
        samples = ground.dataset.split("valid" if single else "test")
        target_nc, weights_rn = ground.task.targets(samples), ground.weights(samples)
        scores = [
            ground.task.score(ladder.final_answers(own, step, samples), target_nc)
            for own, step in ((ground, climbed.best), (twins, twin))
        ]
        ours, theirs = (measure.estimate("accuracy", one, weights_rn) for one in scores)
        gap = measure.compare(*scores, weights_rn)
        return {
            "labels": labels,
            "draw": draw,
            "best": climbed.best.facts["name"],
            "ladder": ours.to_json(),
            "scratch": theirs.to_json(),
            "rungs": list(climbed.entries),
            "twin": facts,
            "gap": {"value": gap.value, "low": gap.low, "high": gap.high, "p": gap.p},
        }


def fashion_figures(rows: list[dict]) -> list[Figure]:
    """One figure for each number of labels: the smallest distance between the two intervals."""
    figures = []
    for labels in sorted({row["labels"] for row in rows}):
        some = [row for row in rows if row["labels"] == labels]
        apart = min(row["ladder"]["low"] - row["scratch"]["high"] for row in some)
        values = [mean(row[who]["value"] for row in some) for who in ("ladder", "scratch")]
        figures.append(
            Figure(
                f"Fashion-MNIST, {labels:,} labels: ladder's interval above scratch's",
                100 * apart,
                "points",
                "≥ 0",
                f"{values[0]:.1%} against {values[1]:.1%}, {_draws(len(some))}; "
                f"chosen: {', '.join(row['best'] for row in some)}; "
                f"scratch: {some[0]['twin']['passes']:.0f} passes at "
                f"{some[0]['twin']['size_px']} px",
            )
        )
    return figures


def _draws(count: int) -> str:
    return "one draw" if count == 1 else f"means of {count} draws, the least distance of all"


def views(pictures: Path, counts: tuple[int, ...]) -> dict[int, float]:
    """Validation accuracy of the head on K cached views of each training sample."""
    found = {}
    with harness.fresh_cache() as root, standing(pictures, root / "run") as ground:
        for count in counts:
            step = ladder.climb(replace(ground, head_views=count), ["head"]).best
            found[count] = step.facts["metric"]["value"]
    return found


def loops(pictures: Path, epochs: int, seeds: int) -> dict[str, list[float]]:
    """Accuracy of the plain loop, with the picture as it is and with fresh augmentation."""
    found: dict[str, list[float]] = {}
    for name, option in (("fixed view", ["--fixed-view"]), ("fresh augmentation", [])):
        for seed in range(seeds):
            said = harness.run(
                harness.module(
                    "plain_loop", pictures, "--epochs", str(epochs), "--seed", str(seed),
                    "--measure-last", *option,
                )
            )  # fmt: skip
            found.setdefault(name, []).append(json.loads(said.stdout.splitlines()[-1])["accuracy"])
    return found


def storage(pictures: Path, epochs: int) -> dict[str, dict[str, float]]:
    """`last:2` from activations kept in each type: relative error at the cut, and accuracy."""
    found: dict[str, dict[str, float]] = {}
    exact: np.ndarray | None = None
    with harness.fresh_cache() as root, standing(pictures, root / "run") as ground:
        head = ladder.climb(ground, ["head"]).best
        base = ladder.make_rung(ground, "last:2")
        learn, held = ground.dataset.split("train"), ground.dataset.split("valid")
        target_nc, held_nc = ground.task.targets(learn), ground.task.targets(held)
        cut, engine = ground.cut(base.frozen), ground.engine(base.frozen)
        rung = replace(base, steps=epochs * (len(learn) // base.batch))
        drawn = [replace(ground.task.augmented, index=k) for k in range(rung.views)]
        for kind in STORAGES:
            rows = features(learn, cut, engine, drawn, storage=kind, tell=silent)
            plain = features(held, cut, engine, drawn[:1], storage=kind, tell=silent)
            (some,) = rows.rows(np.arange(64))
            exact = some if exact is None else exact
            tail = _tail(ground, head, rung.frozen)
            checkpoint = ground.run.checkpoint(f"storage-{kind}", {})
            criterion = ground.task.criterion(target_nc, drawn)
            with closing(
                train(rung, tail, criterion, rows, len(learn), ground.seed, checkpoint)
            ) as events:
                for _ in events:
                    pass
            score = ground.task.score(answers(tail, ground.task, plain, held), held_nc)
            estimate = measure.estimate("accuracy", score, ground.weights(held))
            found[kind] = {
                "error": float(np.linalg.norm(some - exact) / np.linalg.norm(exact)),
                "accuracy": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
            }
    return found


def _tail(ground: ladder.Ground, head: ladder.Step, frozen: int) -> Tail:
    network, cut = build(ground.backbone), ground.cut(frozen)
    tail = Tail(network, cut, ground.task.head(ground.backbone, ground.seed))
    tail.restore(head.weights)
    cut.freeze(network)
    return tail


def main() -> None:
    """Measure, and write results/accuracy.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--labels", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--test", type=int, default=2000, help="test pictures, at most 10,000")
    parser.add_argument("--epochs", type=int, default=10, help="of the loops and the tails")
    parser.add_argument("--budget", type=float, default=120, help="seconds, of either side")
    parser.add_argument("--loops", type=int, default=1, help="seeds of the plain loop")
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    args = parser.parse_args()

    figures, raw = list[Figure](), dict[str, Any]()
    if "fashion" in args.parts:
        test = data.fashion_test(pictures=args.test)
        raw["fashion"] = [
            fashion(labels, draw, test, args.budget)
            for draw in range(args.draws)
            for labels in args.labels
        ]
        figures += fashion_figures(raw["fashion"])
    if "views" in args.parts:
        pictures = data.photo_set(train=800, valid=args.test, size_px=(500, 375))
        raw["loops"] = loops(pictures, args.epochs, args.loops)
        raw["views"] = views(pictures, (1, 2, 4, 8))
        named = {f"plain loop, {name}": mean(values) for name, values in raw["loops"].items()}
        named |= {f"head on {count} cached views": v for count, v in raw["views"].items()}
        figures += [Figure(f"{name}: accuracy", 100 * value, "%") for name, value in named.items()]
    if "storage" in args.parts:
        raw["storage"] = storage(data.photos_1000(), args.epochs)
        for kind, found in raw["storage"].items():
            note = (
                f"{found['low']:.1%} to {found['high']:.1%}; error at the cut {found['error']:.2%}"
            )
            figures.append(
                Figure(f"last:2 from {kind}: accuracy", 100 * found["accuracy"], "%", "", note)
            )
    harness.save("accuracy", figures, raw)


if __name__ == "__main__":
    main()
