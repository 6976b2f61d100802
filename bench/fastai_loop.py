"""fastai's frozen `vision_learner` on the same network and pictures, as its tutorials write it.

fastai makes its own head (two layers, 512 wide) and trains the batch-norm weights of the frozen
body along, which is its default; nothing is taken out of it here.

    python -m bench.fastai_loop bench/data/photos-1000-500x375
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from fastai.vision.all import (
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)
from torch import nn

from bench.plain_loop import BATCH, MEAN, STD, lite0


def arch(pretrained: bool = True) -> nn.Module:
    """What `vision_learner` calls for the backbone; it cuts it at its pooling layer."""
    assert pretrained
    return lite0()


def main() -> None:
    """Train, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    start = time.perf_counter()
    set_seed(args.seed)
    batches = ImageDataLoaders.from_folder(
        args.data,
        train="train",
        valid="valid",
        item_tfms=Resize(256),
        batch_tfms=[*aug_transforms(size=224), Normalize.from_stats(MEAN, STD, cuda=False)],
        bs=BATCH,
        num_workers=2,
    )
    learner = vision_learner(batches, arch, normalize=False, metrics=accuracy)
    learner.freeze()
    with learner.no_bar():
        learner.fit_one_cycle(args.epochs)
    values = [float(row[2]) for row in learner.recorder.values]
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "accuracy": values[-1],
                "best_accuracy": max(values),
                "epochs": [{"accuracy": value} for value in values],
            }
        )
    )


if __name__ == "__main__":
    main()
