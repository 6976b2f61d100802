"""What the short cuts cost and the transfer brings, in accuracy, on real pictures.

- Fashion-MNIST with 10, 100 and 1,000 labels in all: the ladder against its twin from random
  weights, both measured on the same test pictures that neither has seen.
- A fixed view, fresh augmentation in every epoch, and K cached views, on 2,000 crops of the
  photographs' other parts; K views on Fashion-MNIST.
- How deep the crops of views go.
- The head on the last stage's vector alone, and on all levels.
- Activations stored as float32, bfloat16 or uint8 at the cut of `last:2`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from bench import data, harness
from bench.harness import Figure
from bench.phases import standing
from regraft.backbones import open_backbone
from regraft.events import silent
from regraft.tasks import classification
from regraft.tasks.probe import fit_probe
from regraft.transfer import references
from regraft.transfer.features import features
from regraft.transfer.fit import answers, train
from regraft.transfer.ground import Ground, tail_of
from regraft.transfer.ladder import climb
from regraft.transfer.rungs import make_rung, rung_names
from regraft.transfer.step import Step, final_answers

PARTS = ("fashion", "views", "levels", "crops", "storage")
VIEWS = (1, 2, 4, 8)
CROPS = (0.6, 0.35)
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
        climbed = climb(ground, rung_names("head" if single else "ladder", stages))
        twin = references.trained_twin(ground, climbed)
        held = ground.held_out(ground.dataset.split("valid" if single else "test"))
        said = [
            final_answers(own, step, held.samples)
            for own, step in ((ground, climbed.best), (twin.ground, twin.step))
        ]
        ours, theirs = (held.measured(one) for one in said)
        gap = held.compare(*said)
        return {
            "labels": labels,
            "draw": draw,
            "best": climbed.best.facts["name"],
            "ladder": ours.to_json(),
            "scratch": theirs.to_json(),
            "rungs": list(climbed.entries),
            "twin": references.scratch(ground, climbed),
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


def views(pictures: Path, counts: tuple[int, ...], **unseen: Path) -> dict[int, float]:
    """Accuracy of the head on K cached views of each training sample."""
    found = {}
    with (
        harness.fresh_cache() as root,
        standing(pictures, root / "run", **unseen) as ground,
    ):
        for count in counts:
            step = climb(replace(ground, head_views=count), ["head"]).best
            found[count] = _accuracy(ground, step)
    return found


def levels(pictures: Path, counts: Sequence[int], **unseen: Path) -> dict[int, dict[str, float]]:
    """Accuracy of a probe on the last stage alone and on all levels, by the number of labels.

    The mean over five draws of so many training pictures; of all of them there is one.
    """
    found: dict[int, dict[str, float]] = {}
    with (
        harness.fresh_cache() as root,
        standing(pictures, root / "run", **unseen) as ground,
    ):
        cut = ground.cut(len(ground.backbone.stages))
        learnt = ground.dataset.split("train")
        tested = ground.dataset.split("test") or ground.dataset.split("valid")
        x_nd, held_nd = (
            features(some, cut, ground.engine(cut.frozen)).rows(np.arange(len(some)))[0]
            for some in (learnt, tested)
        )
        target_nc, held_nc = ground.task.targets(learnt), ground.task.targets(tested)
        last = open_backbone(ground.backbone.name).width  # levels stand behind it
        for count in counts:
            scores: dict[str, list[float]] = {"last stage": [], "levels": []}
            for draw in range(5 if count < len(learnt) else 1):
                some_n = np.random.default_rng(draw).permutation(len(learnt))[:count]
                for name, width in (("last stage", last), ("levels", x_nd.shape[1])):
                    probe = fit_probe(
                        x_nd[some_n, :width], target_nc[some_n], exclusive=True,
                        weight_n=np.ones(len(some_n)), clusters=[""] * len(some_n), seed=draw,
                    )  # fmt: skip
                    said_n = probe.logits(held_nd[:, :width]).argmax(axis=1)
                    scores[name].append(float((said_n == held_nc.argmax(axis=1)).mean()))
            found[count] = {name: mean(values) for name, values in scores.items()}
    return found


def _accuracy(ground: Ground, step: Step) -> float:
    """On the test samples, or on those for validation where there are no others."""
    held = ground.held_out(ground.dataset.split("test") or ground.dataset.split("valid"))
    return held.measured(final_answers(ground, step, held.samples)).value


def crops(pictures: Path, **unseen: Path) -> dict[str, dict[str, float]]:
    """Accuracy of the rungs where crops keep 60 % of a picture at least, and 35 %."""
    found: dict[str, dict[str, float]] = {}
    kept = classification.AUGMENTED
    try:
        for least in CROPS:
            classification.AUGMENTED = replace(kept, crop=least)
            with (
                harness.fresh_cache() as root,
                standing(pictures, root / "run", **unseen) as ground,
            ):
                climbed = climb(ground, ["head", "last:1", "last:2"], stops=False)
                found[str(least)] = {
                    step.facts["name"]: _accuracy(ground, step) for step in climbed.steps
                }
    finally:
        classification.AUGMENTED = kept
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
        head = climb(ground, ["head"]).best
        base = make_rung(ground, "last:2")
        learn, held = ground.dataset.split("train"), ground.validation
        target_nc = ground.task.targets(learn)
        cut, engine = ground.cut(base.frozen), ground.engine(base.frozen)
        rung = replace(base, steps=epochs * (len(learn) // base.batch))
        seen = ground.views(rung.views)
        for kind in STORAGES:
            rows = features(learn, cut, engine, seen, storage=kind, tell=silent)
            plain = features(held.samples, cut, engine, seen[:1], storage=kind, tell=silent)
            (some,) = rows.rows(np.arange(64))
            exact = some if exact is None else exact
            tail = tail_of(ground, rung.frozen, head.weights)
            checkpoint = ground.run.checkpoint(f"storage-{kind}", {})
            criterion = ground.task.criterion(target_nc, seen)
            with closing(
                train(rung, tail, criterion, rows, len(learn), ground.seed, checkpoint)
            ) as events:
                for _ in events:
                    pass
            estimate = held.measured(answers(tail, ground.task, plain, held.samples))
            found[kind] = {
                "error": float(np.linalg.norm(some - exact) / np.linalg.norm(exact)),
                "accuracy": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
            }
    return found


def main() -> None:
    """Measure, and write results/accuracy-PART.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--labels", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--test", type=int, default=2000, help="pictures to measure on")
    parser.add_argument("--epochs", type=int, default=10, help="of the loops and the tails")
    parser.add_argument("--budget", type=float, default=120, help="seconds, of either side")
    parser.add_argument("--loops", type=int, default=1, help="seeds of the plain loop")
    args = parser.parse_args()

    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    parts = {
        "fashion": _fashion, "views": _views, "levels": _levels, "crops": _crops,
        "storage": _storage,
    }  # fmt: skip
    for name in args.parts or PARTS:
        harness.save(f"accuracy-{name}", *parts[name](args))


Part = tuple[list[Figure], dict[str, Any]]


def _fashion(args: argparse.Namespace) -> Part:
    test = data.fashion_test(pictures=args.test)
    rows = [
        fashion(labels, draw, test, args.budget)
        for draw in range(args.draws)
        for labels in args.labels
    ]
    return fashion_figures(rows), {"fashion": rows}


def _photos(args: argparse.Namespace) -> Path:
    """800 crops to learn from, and many of the unseen quadrants."""
    return data.photo_set(train=800, valid=args.test, size_px=(500, 375))


def _views(args: argparse.Namespace) -> Part:
    pictures, test = _photos(args), data.fashion_test(pictures=args.test)
    looped = loops(pictures, args.epochs, args.loops)
    named = {f"plain loop, {name}": mean(values) for name, values in looped.items()}
    sets = {"photographs": views(pictures, VIEWS)} | {
        f"Fashion-MNIST, {n:,} labels": views(
            data.fashion_folder(labels=n, draw=0), VIEWS, test=test
        )
        for n in args.labels
        if n > len(data.FASHION_CLASSES)
    }
    named |= {
        f"{name}, head on {count} cached views": value
        for name, found in sets.items()
        for count, value in found.items()
    }
    figures = [Figure(f"{name}: accuracy", 100 * value, "%") for name, value in named.items()]
    return figures, {"loops": looped, "views": sets}


def _levels(args: argparse.Namespace) -> Part:
    fashion_set = data.fashion_folder(labels=1000, draw=0)
    sets = {
        "photographs": levels(_photos(args), (120, 240, 800)),
        "digits": levels(data.digits_folder(), (50, 100, 200)),
        "Fashion-MNIST": levels(
            fashion_set, (50, 100, 300, 1000), valid=data.fashion_test(pictures=args.test)
        ),
    }
    figures = [
        Figure(f"{name}, {count} labels, {what}: accuracy", 100 * value, "%")
        for name, found in sets.items()
        for count, values in found.items()
        for what, value in values.items()
    ]
    return figures, {"levels": sets}


def _crops(args: argparse.Namespace) -> Part:
    test = data.fashion_test(pictures=args.test)
    sets = {"photographs": crops(_photos(args))} | {
        f"Fashion-MNIST, 300 labels, draw {draw}": crops(
            data.fashion_folder(labels=300, draw=draw), test=test
        )
        for draw in range(min(2, args.draws))
    }
    figures = [
        Figure(f"{name}, crops from {least} of the area, {rung}: accuracy", 100 * value, "%")
        for name, found in sets.items()
        for least, rungs in found.items()
        for rung, value in rungs.items()
    ]
    return figures, {"crops": sets}


def _storage(args: argparse.Namespace) -> Part:
    kept = storage(data.photos_1000(), args.epochs)
    figures = []
    for kind, found in kept.items():
        note = f"{found['low']:.1%} to {found['high']:.1%}; error at the cut {found['error']:.2%}"
        what = f"last:2 from {kind}: accuracy"
        figures.append(Figure(what, 100 * found["accuracy"], "%", "", note))
    return figures, {"storage": kept}


if __name__ == "__main__":
    main()
