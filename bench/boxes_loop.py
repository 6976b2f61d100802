"""The loop that people write for a detector: the frozen network and a new head in PyTorch.

The same pictures, network, head, loss, optimiser, rates and number of steps as `regraft fit --train
head`. It is written well: the frozen part runs under `no_grad` in channels-last, two workers
decode, validation comes once, at the end. What it does not do is what regraft does: it decodes and
computes the frozen part again in every epoch. So its views can be new in each epoch, too.

    python -m bench.boxes_loop FOLDER [--epochs 20]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from regraft import dataset
from regraft.backbones import build, open_backbone
from regraft.backbones.backbone import Backbone
from regraft.dataset import Sample, View
from regraft.tasks import Detection, measure
from regraft.transfer.fit import WEIGHT_DECAY, joined
from regraft.transfer.loop import GRADIENT_NORM, set_rates
from regraft.transfer.pictures import look


class Pictures(Dataset[tuple[Tensor, int]]):
    """Views of pictures as the network takes them, with their numbers."""

    def __init__(self, samples: Sequence[Sample], backbone: Backbone, view: View) -> None:
        self.samples, self.backbone, self.view = samples, backbone, view

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        (pixels,) = look(self.samples[at], [self.view], self.backbone)
        return torch.from_numpy(pixels), at


def main() -> None:
    """Train, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--answers", type=Path, help="keep the boxes that it found there (.npz)")
    args = parser.parse_args()

    start = time.perf_counter()
    torch.manual_seed(args.seed)
    rows, backbone = dataset.read(args.data), open_backbone("nanodet-g")
    task, train, valid = Detection.of(rows, backbone), rows.split("train"), rows.split("valid")
    network = build(backbone).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    head = task.head(backbone, args.seed)
    views = [replace(task.augmented, index=k) for k in range(args.epochs)]
    criterion = task.criterion(task.targets(train), views)
    batch = min(len(train), task.pace.batch)
    steps = args.epochs * (len(train) // batch)
    group = {"params": head.parameters(), "highest": task.pace.head_rate}
    adam = torch.optim.AdamW([group], weight_decay=WEIGHT_DECAY, fused=True)

    def maps(pixels: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            x_bchw = network.entry(pixels).contiguous(memory_format=torch.channels_last)
            return network.run((x_bchw,), 0, len(network.stages))

    step = 0
    for epoch, view in enumerate(views):
        pictures = Pictures(train, backbone, view)
        for pixels, at in DataLoader(pictures, batch, shuffle=True, num_workers=2, drop_last=True):
            set_rates(adam, step, steps)
            loss = criterion(head(*maps(pixels)), at.numpy(), epoch)
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), GRADIENT_NORM)
            adam.step()
            step += 1
    trained = time.perf_counter()
    found = []
    with torch.no_grad():
        for pixels, at in DataLoader(Pictures(valid, backbone, View()), 32, num_workers=2):
            found.append(task.answers(head.eval()(*maps(pixels)), [valid[int(i)] for i in at]))
    answers = joined(found)
    score = task.score(answers, task.targets(valid))
    weights_rn = measure.bootstrap_weights([sample.group for sample in valid], 0)
    metric = measure.estimate(task.metric_name, score, weights_rn)
    if args.answers:
        np.savez(args.answers, **answers)
    said = {
        "steps": step,
        "train_seconds": trained - start,
        "seconds": time.perf_counter() - start,
        "metric": metric.to_json(),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
