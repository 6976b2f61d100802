"""Contrastive pre-training on Fashion-MNIST without labels, judged with 100 labels.

python -m bench.pretraining [--backbone random:resnet10t] [--budget 20m] [--pictures 10000]

The pool is the first 10,000 training pictures, without labels. Five times 100 labels (ten of each
class) are drawn from the first 50,000; the start, the result and the same network trained from
random weights on those 100 labels alone are measured on the same 2,000 test pictures; start and
result by their last stage, and with the levels that the head of `fit` reads. Intervals
are Student's, over the draws; gaps are between answers to the same draw.

The network from random weights is given the best of four ways to train it (two rates, with and
without crops and mirrors), chosen by its accuracy on the test pictures after the first draw, which
is in its favour.

`pretrain` itself judges with the first draw; `--folder` keeps the page with its verdict.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench import data, harness
from bench.harness import Figure
from regraft.backbones import Backbone, build, open_backbone
from regraft.backbones.levels import with_levels
from regraft.cli import seconds_of
from regraft.pretraining import Settings, pretrain
from regraft.pretraining.augment import DRAWS, Ranges, augmented
from regraft.pretraining.pictures import resized
from regraft.tasks.probe import fit_probe
from regraft.transfer.pictures import pixels_of

TESTED, VALIDATED, DRAWN_FROM = 2000, 50, 50_000
SCRATCH_STEPS = 250
MILD = Ranges(area=0.6, coloured=0, grey=0, blur=0)
PLAIN = Ranges(area=1, aspect=1, mirror=0, coloured=0, grey=0, blur=0)


def pixels(pictures_nhw: np.ndarray, backbone: Backbone) -> torch.Tensor:
    """As the backbone's own preparation has it: uint8 (n, side, side, 3)."""
    shown = (Image.fromarray(picture).convert("RGB") for picture in pictures_nhw)
    return torch.from_numpy(np.stack([pixels_of(one, backbone.pictures) for one in shown]))


def features(network: torch.nn.Module, x: torch.Tensor) -> np.ndarray:
    """Vectors in eval mode."""
    network.eval()
    with torch.inference_mode():
        return np.concatenate([network(part).numpy() for part in x.split(256)])


def probed(x: np.ndarray, y: np.ndarray, held: np.ndarray, held_y: np.ndarray) -> float:
    """Accuracy of a linear probe."""
    probe = fit_probe(
        x, np.eye(10, dtype=np.float32)[y], exclusive=True, weight_n=np.ones(len(y)),
        clusters=[""] * len(y), seed=0,
    )  # fmt: skip
    return float((probe.logits(held).argmax(1) == held_y).mean())


def from_scratch(backbone, x, y, held, held_y, seed: int, rate: float, ranges: Ranges) -> float:
    """The same network on the labels alone: AdamW, warm-up, cosine."""
    network = build(backbone, random_seed=seed)
    head = torch.nn.Linear(backbone.width, 10)
    parts = torch.nn.ModuleList([network, head]).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(parts.parameters(), lr=rate, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, SCRATCH_STEPS, pct_start=0.1)
    rng = np.random.default_rng(seed)
    size_px = backbone.pictures.size_px
    parts.train()
    for _ in range(SCRATCH_STEPS):
        some = rng.permutation(len(y))[:64]
        tiles = augmented(x[some], rng.random((len(some), DRAWS)), size_px, ranges)
        values = (tiles - network.mean_c11) / network.std_c11
        logits = head(network.run((values,), 0, len(network.stages))[0])
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y[some]).long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
    parts.eval()
    with torch.inference_mode():
        said = torch.cat([head(network(part)).argmax(1) for part in held.split(256)])
    return float((said.numpy() == held_y).mean())


def best_from_scratch(backbone, drawn, held, held_y) -> tuple[list[float], str]:
    """Accuracies on each draw of the best of four ways to train; and which it is.

    The way is chosen on the first draw.
    """
    ways = {
        f"{name}, rate {rate}": (rate, ranges)
        for rate, (name, ranges) in product((1e-3, 3e-3), (("plain", PLAIN), ("crops", MILD)))
    }

    def accuracy(draw: int, way: str) -> float:
        return from_scratch(backbone, *drawn[draw], held, held_y, draw, *ways[way])

    first = {way: accuracy(0, way) for way in ways}
    best = max(first, key=first.__getitem__)
    return [first[best], *(accuracy(draw, best) for draw in range(1, len(drawn)))], best


def spread(values) -> tuple[float, float]:
    """Mean and half of the 95 % interval (Student's t) over draws."""
    from scipy.stats import t

    if len(values) < 2:
        return float(np.mean(values)), float("nan")
    reach = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return float(np.mean(values)), reach


def folders(root: Path, fashion: data.FashionMnist, pictures: int) -> tuple[Path, Path]:
    """The pool, and the judge: 100 labels to learn from, 500 to validate, 2,000 to test."""
    pool, judge = root / "pool", root / "judge"
    if judge.exists():
        return pool, judge
    pool.mkdir(parents=True)
    for i in range(pictures):
        Image.fromarray(fashion.train_pictures[i]).save(pool / f"{i:05}.png")
    held = fashion.train_labels[DRAWN_FROM:]
    valid = [DRAWN_FROM + row for row in data._first_of_each(held, VALIDATED, seed=0)]
    for split, rows in (("train", drawn_rows(fashion, 0)), ("valid", valid)):
        data._write_fashion(judge / split, fashion.train_pictures, fashion.train_labels, rows)
    data._write_fashion(judge / "test", fashion.test_pictures, fashion.test_labels, range(TESTED))
    return pool, judge


def drawn_rows(fashion: data.FashionMnist, draw: int) -> list[int]:
    """Ten pictures of each class."""
    return data._first_of_each(fashion.train_labels[:DRAWN_FROM], 10, seed=draw)


def measured(fashion, start: Backbone, result: Backbone, draws: int) -> tuple[dict, str]:
    """Accuracies on each draw of start, result and from scratch; how the last was trained."""
    held, held_y = pixels(fashion.test_pictures[:TESTED], start), fashion.test_labels[:TESTED]
    found: dict[str, list[float]] = {}
    drawn = []
    for draw in range(draws):
        rows = drawn_rows(fashion, draw)
        drawn.append((pixels(fashion.train_pictures[rows], start), fashion.train_labels[rows]))
    read = {"before": start, "after": result}
    read |= {f"{name}, levels": with_levels(backbone) for name, backbone in read.items()}
    for name, backbone in read.items():
        network = build(backbone)
        seen = features(network, held)
        found[name] = [probed(features(network, x), y, seen, held_y) for x, y in drawn]
    found["scratch"], how = best_from_scratch(start, drawn, held, held_y)
    return found, how


def figures(found: dict[str, list[float]], report: dict, how: str) -> list[Figure]:
    """What is said of it."""
    speed, verdict = report["throughput"], report["verdict"]
    shown = []
    for name, what in (
        ("before", "start, frozen, last stage"), ("after", "result, frozen, last stage"),
        ("before, levels", "start, as fit reads it"), ("after, levels", "result, as fit reads it"),
        ("scratch", f"random weights on the labels alone ({how})"),
    ):  # fmt: skip
        mean, reach = spread(found[name])
        note = f"± {100 * reach:.1f} over {len(found[name])} draws of 100 labels"
        shown.append(Figure(what, 100 * mean, "%", note=note))
    for other in ("before", "scratch"):
        gaps = np.subtract(found["after"], found[other])
        mean, reach = spread(gaps)
        note = f"± {100 * reach:.1f}, paired; lower end {100 * (mean - reach):+.1f}"
        lower = 100 * (mean - (reach if np.isfinite(reach) else 0.0))
        shown.append(Figure(f"result minus {other}, lower end", lower, "points", "≥ 0", note))
    note = f"{report['steps']} steps, {speed['seen']:,} pictures, {report['stopped']}"
    shown.append(Figure("pre-training", speed["per_second"], "pictures/s", note=note))
    shown.append(Figure("verdict, p", verdict["p"], "", note=verdict["text"]))
    return shown


def main() -> None:
    """Write results/pretraining-NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="random:resnet10t")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--settings", default="{}", help="JSON, other settings of the objective")
    parser.add_argument("--folder", type=Path, help="keep the work there, and go on from it")
    asked = parser.parse_args()
    fashion = data.fashion_mnist()
    settings = Settings(size_px=asked.size, **json.loads(asked.settings))
    start = resized(open_backbone(asked.backbone), asked.size)
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.folder or Path(scratch)
        pool, judge = folders(root, fashion, asked.pictures)
        done = pretrain(
            pool, root / "run", backbone=asked.backbone, judge=judge,
            budget=seconds_of(asked.budget), settings=settings,
        )  # fmt: skip
        found, how = measured(fashion, start, open_backbone(str(done.folder)), asked.draws)
    report = done.report
    name = asked.backbone.rpartition(":")[2]
    raw = {"accuracies": found, "curves": report["curves"], "settings": report["settings"],
           "pool": report["data"]["samples"], "verdict": report["verdict"]}  # fmt: skip
    harness.save(f"pretraining-{name}", figures(found, report, how), raw)


if __name__ == "__main__":
    main()
