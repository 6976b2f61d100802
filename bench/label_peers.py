"""Fine-tuned networks by whose out-of-sample predictions cleanlab ranks labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from regraft import fitting
from regraft.dataset import Dataset
from regraft.events import silent
from regraft.store import Run
from regraft.tasks.clusters import folds
from regraft.transfer.engine import prepare
from regraft.transfer.ladder import climb

BATCH = 32


def climbed_chances(given: Dataset, backbone: str, count: int, rung: str, root: Path) -> np.ndarray:
    """Out-of-sample chance_nc of a network fine-tuned by regraft's own ladder, cross-validated.

    All folds share what is cached of the frozen part, so this peer is much
    faster than `loop_chances`.
    """
    targets = np.array([s.target for s in given])
    classes = len(given.classes)
    fold_n = folds(np.eye(classes, dtype=np.float32)[targets], [""] * len(given), 0, count)
    chance_nc = np.zeros((len(given), classes))
    for fold in range(count):
        split = ["valid" if f == fold else "train" for f in fold_n]
        rows = given.with_samples(
            replace(s, split=one) for s, one in zip(given, split, strict=True)
        )
        with Run.open(root / f"fold-{fold}", {}) as run, prepare(backbone) as preparation:
            ground = fitting.make_ground(run, rows, preparation, 0, None, silent)
            ground = replace(ground, task=replace(ground.task, balanced=False))
            climbed = climb(ground, ["head", rung], stops=False)
            logits_nc = climbed.steps[-1].answers["logits"]
            chance_nc[fold_n == fold] = ground.task.probabilities(logits_nc)
    return chance_nc


def loop_chances(
    name: str, given: Dataset, count: int, some: int, epochs: int
) -> tuple[np.ndarray, np.ndarray]:
    """What people do as cleanlab's tutorials have it: cross-validate a fine-tuned network.

    All weights are trained, with AdamW, warm-up and a cosine; pictures are decoded and resized once
    and mirrored by chance; texts are as long as the longest of their batch, 256 tokens at most.

    Args:
        name: "fashion" or "mail".
        given: the samples with the labels that are to be judged.
        count: of folds.
        some: so many of the folds are fitted; each takes as long.
        epochs: over the samples of the other folds.

    Returns:
        chance_nc and the held-out samples that it is about, as a mask.
    """
    import torch
    from torch.nn import functional

    given_n = np.array([s.target for s in given])
    classes = len(given.classes)
    fold_n = folds(np.eye(classes, dtype=np.float32)[given_n], [""] * len(given_n), 0, count)
    make, batch_of = {"fashion": _picture_network, "mail": _text_network}[name](given)
    chance_nc = np.zeros((len(given_n), classes))
    for fold in range(some):
        torch.manual_seed(fold)
        encoder, width, rate = make()
        network = torch.nn.Sequential(encoder, torch.nn.Linear(width, classes))
        learn = np.flatnonzero(fold_n != fold)
        steps = epochs * -(-len(learn) // BATCH)
        adam = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.01)
        plan = torch.optim.lr_scheduler.OneCycleLR(adam, rate, total_steps=steps, pct_start=0.2)
        network.train()
        for _ in range(epochs):
            order = learn[torch.randperm(len(learn)).numpy()]
            for begin in range(0, len(order), BATCH):
                rows = order[begin : begin + BATCH]
                wanted_b = torch.from_numpy(given_n[rows].astype(np.int64))
                loss = functional.cross_entropy(network(batch_of(rows, True)), wanted_b)
                adam.zero_grad()
                loss.backward()
                adam.step()
                plan.step()
        network.eval()
        held = np.flatnonzero(fold_n == fold)
        with torch.inference_mode():
            for begin in range(0, len(held), BATCH):
                rows = held[begin : begin + BATCH]
                chance_nc[rows] = network(batch_of(rows, False)).softmax(dim=1).numpy()
    return chance_nc, fold_n < some


def _picture_network(given: Dataset) -> tuple[Callable, Callable]:
    """How to make EfficientNet-Lite0, and its batches: channels last, which is faster here."""
    import torch
    from torchvision.transforms import v2

    from bench.plain_loop import MEAN, STD, lite0

    shaped = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    shown = [shaped(Image.open(s.source).convert("RGB")) for s in given]
    pixels_nhwc = np.stack([np.asarray(one) for one in shown])
    mean_c, std_c = torch.tensor(MEAN), torch.tensor(STD)

    def make() -> tuple[torch.nn.Module, int, float]:
        encoder = lite0().to(memory_format=torch.channels_last)
        return encoder, encoder.num_features, 1e-3

    def batch_of(rows: np.ndarray, learning: bool) -> torch.Tensor:
        x_bhwc = torch.from_numpy(pixels_nhwc[rows]) / 255
        x_bchw = ((x_bhwc - mean_c) / std_c).permute(0, 3, 1, 2)
        if learning:
            mirrored_b = torch.rand(len(rows)) < 0.5
            x_bchw = torch.where(mirrored_b[:, None, None, None], x_bchw.flip(3), x_bchw)
        return x_bchw.contiguous(memory_format=torch.channels_last)

    return make, batch_of


def _text_network(given: Dataset) -> tuple[Callable, Callable]:
    """How to make MiniLM with the mean of its tokens, and its batches."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from regraft.backbones.text_models import minilm_folder

    folder = minilm_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [str(s.source) for s in given]

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(folder)

        def forward(self, tokens: dict) -> torch.Tensor:
            states = self.encoder(**tokens).last_hidden_state
            weight = tokens["attention_mask"][:, :, None].to(states.dtype)
            return (states * weight).sum(1) / weight.sum(1)

    def make() -> tuple[torch.nn.Module, int, float]:
        encoder = Encoder()
        return encoder, encoder.encoder.config.hidden_size, 1e-4

    def batch_of(rows: np.ndarray, learning: bool) -> object:
        some = [texts[n] for n in rows]
        return tokenizer(some, padding=True, truncation=True, max_length=256, return_tensors="pt")

    return make, batch_of
