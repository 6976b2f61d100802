"""Pictures per second of contrastive steps: ours against lightly's SimCLR recipe.

python -m bench.pretraining_speed   (needs lightly: pip install --no-deps lightly lightly-utils)

Same network (ResNet-18, random weights), same tile and batch, float32 on both sides, the same
1,000 photographs on disk. Theirs: `SimCLRTransform` in a DataLoader with as many workers as cores,
decoding from disk each epoch, as their example does. Ours: `pretrain`'s own step; what is
decoded once is counted in full. Two epochs each; the two take turns, three times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

import numpy as np
import torch

from bench import data
from regraft.backbones import open_backbone
from regraft.dataset import read_unlabelled
from regraft.events import silent
from regraft.pretraining import Job, Settings
from regraft.pretraining.contrastive import make_model
from regraft.pretraining.pictures import ContrastivePictures
from regraft.transfer import loop

EPOCHS = 2


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    photos = data.photos_1000() / "train"
    pool = read_unlabelled(photos)
    objective = ContrastivePictures(Settings(size_px=asked.size))
    backbone = objective.sized(open_backbone("random:resnet18"))
    steps = EPOCHS * (len(pool) // asked.batch)
    rates: dict[str, list[float]] = {"lightly": [], "regraft": [], "regraft bf16": []}
    for _ in range(asked.turns):
        rates["lightly"].append(steps * asked.batch / lightly(photos, backbone, asked))
        for name, bf16 in (("regraft", False), ("regraft bf16", True)):
            took = ours(pool.samples, backbone, asked, bf16, steps)
            rates[name].append(steps * asked.batch / took)
    median = {name: statistics.median(values) for name, values in rates.items()}
    ratios = [b / a for a, b in zip(rates["lightly"], rates["regraft"], strict=True)]
    print(json.dumps({"images_per_second": median, "ratios": ratios}))


def job(samples, backbone):
    """What the verb would hand to the objective."""
    return Job(backbone, 0, tuple(samples), 0, lambda _, work: work(), None, False, silent)


def ours(samples, backbone, asked, bf16: bool, steps: int) -> float:
    """Seconds of one epoch, decoding included."""
    settings = Settings(batch=asked.batch, piece=asked.batch, bf16=bf16)
    start = time.perf_counter()
    learner = ContrastivePictures(settings).open(job(samples, backbone))
    optimiser = loop.make_optimiser(learner)
    for step in range(steps):
        loop.take(learner, optimiser, step, steps)
    took = time.perf_counter() - start
    learner.close()
    return took


def lightly(photos, backbone, asked) -> float:
    """Seconds of one epoch of the recipe."""
    from lightly.loss import NTXentLoss
    from lightly.transforms import SimCLRTransform
    from torchvision.datasets import ImageFolder

    model = make_model(job((), backbone))
    model.train()
    mean, std = model.network.mean_c11, model.network.std_c11
    optimiser, criterion = torch.optim.AdamW(model.parameters()), NTXentLoss()
    transform = SimCLRTransform(input_size=asked.size, normalize=None)
    loader = torch.utils.data.DataLoader(
        ImageFolder(str(photos), transform), asked.batch, shuffle=True, drop_last=True,
        num_workers=len(os.sched_getaffinity(0)), persistent_workers=True,
    )  # fmt: skip
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for (a, b), _ in loader:
            optimiser.zero_grad()
            loss = criterion(model((a - mean) / std), model((b - mean) / std))
            loss.backward()
            optimiser.step()
            assert np.isfinite(loss.item())
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
