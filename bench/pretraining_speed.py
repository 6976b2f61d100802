"""Pictures per second of contrastive pre-training, against lightly's SimCLR recipe.

python -m bench.pretraining_speed [--size 64] [--batch 128] [--turns 3]

Theirs is their example for PyTorch (examples/pytorch/simclr.py): `SimCLRTransform` in a DataLoader
that shuffles and leaves out the rest, a forward pass for each view, `NTXentLoss`, SGD, float32.
The example has eight workers; here there are as many as cores, and none, and the quicker counts.
Both have the same network (ResNet-18, random weights, a projection to 128), tile, batch and
photographs (800 JPEGs of 500×375), and the same epochs. Theirs is given our network in
channels-last, which is quicker on a CPU than the example's.

Ours is `pretrain`'s own step, once in float32 and once as it comes, with products in bfloat16 where
the processor is faster so. All that it does before the first step (decoding the pool) is counted;
it is done once, so the rate of later epochs is given beside. All of them take turns. What of a step
is not the network's, copying decoded pictures and augmentation, is given in processor seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from contextlib import closing
from dataclasses import replace

import torch

from bench import data, harness
from bench.harness import Figure
from regraft.backbones import open_backbone
from regraft.dataset import read_unlabelled
from regraft.events import silent
from regraft.pretraining import Job, Settings
from regraft.pretraining.augment import DRAWS
from regraft.pretraining.contrastive import make_model
from regraft.pretraining.pictures import ContrastivePictures
from regraft.transfer import loop
from regraft.transfer.heap import memory_kept

EPOCHS = 2
Rates = tuple[float, float]
"""Pictures a second: of all epochs, everything counted, and of those after the first."""


def main() -> None:
    """Write results/pretraining_speed.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    photos = data.photos_1000() / "train"
    samples = read_unlabelled(photos).samples
    objective = ContrastivePictures(Settings(size_px=asked.size))
    backbone = objective.sized(open_backbone("random:resnet18"))
    rates: dict[str, list[Rates]] = {}
    for _ in range(asked.turns):
        for workers in (len(os.sched_getaffinity(0)), 0):
            found = lightly(photos, backbone, asked, workers)
            rates.setdefault(f"lightly, {workers} workers", []).append(found)
        for name, bf16 in (("regraft, float32", False), ("regraft", None)):
            rates.setdefault(name, []).append(ours(samples, backbone, asked, bf16))
        print({name: found[-1] for name, found in rates.items()}, flush=True)
    settings = Settings(batch=asked.batch, piece=asked.batch)
    spent = shares(ContrastivePictures(settings), job(samples, backbone))
    harness.save("pretraining_speed", figures(rates, spent), {"rates": rates, "shares": spent})


def figures(rates: dict[str, list[Rates]], spent: dict[str, float]) -> list[Figure]:
    """What is said of them."""
    middle = {
        name: tuple(statistics.median(one[k] for one in found) for k in (0, 1))
        for name, found in rates.items()
    }
    peer = max((name for name in middle if name.startswith("lightly")), key=middle.__getitem__)
    said = ", ".join(f"{name}: {all_:.0f}, {later:.0f}" for name, (all_, later) in middle.items())
    found = []
    for name, target in (("regraft", "≥ 1.5"), ("regraft, float32", "≥ 1.5")):
        for k, when in ((0, f"{EPOCHS} epochs, all counted"), (1, "later epochs")):
            ratios = [us[k] / them[k] for us, them in zip(rates[name], rates[peer], strict=True)]
            note = f"{min(ratios):.2f} to {max(ratios):.2f} against {peer}"
            value = statistics.median(ratios)
            found.append(Figure(f"{name}, pictures/s, {when}", value, "×", target, note))
    found[0] = replace(found[0], note=f"{found[0].note}; pictures/s, all and later: {said}")
    share = 100 * (spent["copying"] + spent["augmentation"])
    note = (
        f"augmentation {100 * spent['augmentation']:.1f} %, of a step of {spent['step_s']:.2f} "
        "processor seconds; pictures are decoded before the first step"
    )
    found.append(Figure("copying and augmentation", share, "% of a step", "≤ 30", note))
    return found


def job(samples, backbone) -> Job:
    """What the verb would hand to the objective."""
    return Job(backbone, 0, tuple(samples), 0, lambda _, work: work(), None, False, silent)


def ours(samples, backbone, asked, bf16: bool | None) -> Rates:
    """`pretrain`'s own steps."""
    settings = Settings(batch=asked.batch, piece=asked.batch, bf16=bf16)
    marks = [time.perf_counter()]
    learner_of = ContrastivePictures(settings).open
    with closing(learner_of(job(samples, backbone))) as learner, memory_kept():
        optimiser = loop.make_optimiser(learner)
        steps = learner.steps_an_epoch
        for step in range(EPOCHS * steps):
            loop.take(learner, optimiser, step, EPOCHS * steps)
            if (step + 1) % steps == 0:
                marks.append(time.perf_counter())
    return rated(marks, steps * asked.batch)


def rated(marks: list[float], pictures: int) -> Rates:
    """From the moments at which epochs ended, so many pictures each."""
    epochs = len(marks) - 1
    later = (epochs - 1) * pictures / (marks[-1] - marks[1])
    return epochs * pictures / (marks[-1] - marks[0]), later


def shares(objective, opened: Job) -> dict[str, float]:
    """What of a step's processor seconds goes into copying decoded rows, and into augmentation.

    Rows are decoded before the first step; that is not in here.
    """
    spent = {"copying": 0.0, "augmentation": 0.0}
    with closing(objective.open(opened)) as learner:
        assert learner._footage._decoded._kept is not None, "the pool is held in memory"
        learner.backward(0)
        began, steps = time.process_time(), 6
        for step in range(1, 1 + steps):
            learner.backward(step)
        total_s = time.process_time() - began
        for step in range(steps):
            index = learner._order(step)
            at = [time.process_time()]
            rows = learner._footage.rows(index)
            at.append(time.process_time())
            draws = torch.rand(2, len(rows), DRAWS).numpy()
            for half in (0, 1):
                objective.views(learner.model, rows, draws, half)
            at.append(time.process_time())
            spent["copying"] += (at[1] - at[0]) / total_s
            spent["augmentation"] += (at[2] - at[1]) / total_s
        return {**spent, "step_s": total_s / steps, "steps_an_epoch": learner.steps_an_epoch}


def lightly(photos, backbone, asked, workers: int) -> Rates:
    """The recipe."""
    from lightly.loss import NTXentLoss
    from lightly.transforms import SimCLRTransform
    from torchvision.datasets import ImageFolder

    model = make_model(job((), backbone))
    model.train()
    optimiser, criterion = torch.optim.SGD(model.parameters(), lr=0.06), NTXentLoss()
    marks = [time.perf_counter()]
    loader = torch.utils.data.DataLoader(
        ImageFolder(str(photos), SimCLRTransform(input_size=asked.size)), asked.batch,
        shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0,
    )  # fmt: skip
    for _ in range(EPOCHS):
        for (a, b), _ in loader:
            loss = criterion(model(a), model(b))
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        assert torch.isfinite(loss)
        marks.append(time.perf_counter())
    return rated(marks, len(loader) * asked.batch)


if __name__ == "__main__":
    main()
