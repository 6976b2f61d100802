"""Contrastive pre-training on Fashion-MNIST without labels, judged with 100 labels.

python -m bench.pretraining [--budget 20m] [--pictures 10000]

A ResNet-10-t with random weights, tiles of 32 px. Before, after and from scratch are measured on
the same 2,000 test pictures and the same draws of labels; the training pictures of the draws may be
in the pool (without their labels), the test pictures are not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench import data
from regraft.backbones import build, open_backbone
from regraft.cli import seconds_of
from regraft.pretraining import Settings, pretrain
from regraft.pretraining.augment import DRAWS, Ranges, augmented
from regraft.tasks.probe import fit_probe

SIZE_PX, TESTED = 32, 2000


def pixels(pictures_nhw: np.ndarray) -> torch.Tensor:
    """28×28 grey to 32×32 RGB, as the backbone's own preparation has it."""
    sized = [Image.fromarray(p).convert("RGB").resize((SIZE_PX, SIZE_PX), 3) for p in pictures_nhw]
    return torch.from_numpy(np.stack([np.asarray(p) for p in sized]))


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


def from_scratch(backbone, x, y, held, held_y, seed: int, steps: int = 400) -> float:
    """The same network on the labels alone: AdamW, cosine, mild crops and mirrors."""
    network = build(backbone, random_seed=seed)
    head = torch.nn.Linear(backbone.width, 10)
    parts = torch.nn.ModuleList([network, head])
    optimiser = torch.optim.AdamW(parts.parameters(), lr=1e-3, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rng = np.random.default_rng(seed)
    parts.train()
    for _ in range(steps):
        some = rng.permutation(len(y))[:64]
        tiles = augmented(x[some], rng.random((len(some), DRAWS)), SIZE_PX,
                          Ranges(area=0.6, coloured=0, grey=0, blur=0))  # fmt: skip
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


def spread(values: list[float]) -> dict[str, float]:
    """Mean and 95 % interval (Student's t) over draws."""
    from scipy.stats import t

    reach = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return {"mean": float(np.mean(values)), "plus_minus": reach}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=5)
    asked = parser.parse_args()
    fashion = data.fashion_mnist()
    with tempfile.TemporaryDirectory() as scratch:
        pool = Path(scratch) / "pool"
        pool.mkdir()
        for i in range(asked.pictures):
            Image.fromarray(fashion.train_pictures[i]).save(pool / f"{i:05}.png")
        run = Path(scratch) / "run"
        done = pretrain(pool, run, backbone="random:resnet10t", budget=seconds_of(asked.budget),
                        settings=Settings(size_px=SIZE_PX))  # fmt: skip
        backbone = open_backbone(str(run))
        after, before = build(backbone), build(backbone, random_seed=0)
        held, held_y = pixels(fashion.test_pictures[:TESTED]), fashion.test_labels[:TESTED]
        looked = [features(network, held) for network in (before, after)]
        found: dict[str, list[float]] = {"before": [], "after": [], "scratch": []}
        for draw in range(asked.draws):
            rows = data._first_of_each(fashion.train_labels, 10, seed=draw)
            x, y = pixels(fashion.train_pictures[rows]), fashion.train_labels[rows]
            for name, network, seen in zip(("before", "after"), (before, after), looked,
                                           strict=True):  # fmt: skip
                found[name].append(probed(features(network, x), y, seen, held_y))
            found["scratch"].append(from_scratch(backbone, x, y, held, held_y, draw))
        print(json.dumps({
            "steps": done.report["steps"],
            "throughput": done.report["throughput"],
            "quality": done.report["curves"][-1],
            **{name: spread(values) for name, values in found.items()},
        }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
