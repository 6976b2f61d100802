"""The contract of a task, as code: what every task of yours must keep, too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from regraft.backbones.backbone import Backbone, Preprocessing, Recipe, Stage
from regraft.dataset.rows import Sample
from regraft.seeds import generator
from regraft.tasks.check_boxes import check_detection
from regraft.tasks.classification import Classification
from regraft.tasks.detection import Detection
from regraft.tasks.promise import promise

_COUNT = 60
_WIDTH = 8
MADE_UP = Backbone(
    "made up",
    "image",
    "",
    "",
    "",
    (Stage("last", 0, (), ((_WIDTH,),)),),
    Preprocessing(),
    Recipe("none", "none"),
    Path("made up"),
)


def check_task(task: Classification | Detection, backbone: Backbone | None = None) -> None:
    """Check what the ladder relies on, on made-up samples.

    Args:
        task: what is checked.
        backbone: what a detector's head goes on; one that gives maps is made up where it is left
            out.

    Raises:
        ContractBroken: says which promise is not kept.
    """
    if isinstance(task, Detection):
        check_detection(task, backbone)
    else:
        _check_classification(task)


def _check_classification(task: Classification) -> None:
    samples = _samples(task)
    target_nc = task.targets(samples)
    right_nc = np.where(target_nc > 0, 4.0, -4.0).astype(np.float32)
    wrong_nc = np.roll(right_nc, 1, axis=1)
    promise(target_nc.shape == (_COUNT, len(task.classes)), "targets() gives a row a sample")
    weight_n = task.sample_weights(target_nc)
    promise(abs(weight_n.mean() - 1) < 1e-6, "sample_weights() have mean 1")
    ones_1n = np.ones((1, _COUNT))
    best = float(task.score({"logits": right_nc}, target_nc)(ones_1n)[0])
    promise(abs(best - 1) < 1e-9, "score() of right answers is 1")
    promise(
        float(task.score({"logits": wrong_nc}, target_nc)(ones_1n)[0]) < best,
        "wrong ones score less",
    )
    chance_nc = task.probabilities(right_nc)
    promise(bool(((chance_nc >= 0) & (chance_nc <= 1)).all()), "probabilities() lie in 0…1")
    answer = task.decode(chance_nc[0])
    promise(answer["label"] in task.classes, "decode() names a class")
    json.dumps(answer)
    _check_head(task, target_nc)
    _check_loss(task, right_nc, wrong_nc, target_nc)


def _check_head(task: Classification, target_nc: np.ndarray) -> None:
    noise_nd = generator(0, "check").normal(size=(_COUNT, _WIDTH)) * 0.1
    x_nd = (noise_nd + target_nc @ np.eye(len(task.classes), _WIDTH) * 3).astype(np.float32)
    probe = task.fit_head(x_nd, target_nc, [""] * _COUNT, 0)
    right = task.correct(probe.logits(x_nd), target_nc).mean()
    promise(right > 0.9, "fit_head() learns what is linear")
    again = task.fit_head(x_nd, target_nc, [""] * _COUNT, 0)
    promise(again.weight_cd.tobytes() == probe.weight_cd.tobytes(), "and twice the same")
    head = task.head(MADE_UP, 0)
    count = sum(parameter.numel() for parameter in head.parameters())
    promise(count == task.head_parameters(MADE_UP), "head_parameters() counts head()")
    promise(head.weight.shape == probe.weight_cd.shape, "head() takes what fit_head() finds")


def _check_loss(
    task: Classification, right_nc: np.ndarray, wrong_nc: np.ndarray, target_nc: np.ndarray
) -> None:
    import torch

    target, weight = torch.from_numpy(target_nc), torch.ones(_COUNT)
    logits = torch.from_numpy(right_nc).requires_grad_()
    low = task.loss(logits, target, weight)
    low.backward()
    finite = logits.grad is not None and bool(torch.isfinite(logits.grad).all())
    promise(finite, "loss() has a finite gradient")
    high = task.loss(torch.from_numpy(wrong_nc), target, weight)
    promise(low.item() < high.item(), "loss() of right answers is less than of wrong ones")


def _samples(task: Classification) -> list[Sample]:
    """Samples whose labels go round the classes."""
    base = Sample("made up", Path("made up"), 0, "0" * 64)
    labels = [i % len(task.classes) for i in range(_COUNT)]
    return [replace(base, target=(at,) if task.multilabel else at) for at in labels]
