"""The contract of detection, as code: any family's head, loss and decoding."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.backbones.backbone import Backbone, Preprocessing, Recipe, Stage
from regraft.dataset.rows import Box, Sample
from regraft.dataset.views import View
from regraft.seeds import generator
from regraft.tasks.boxes import BoxAnswers, BoxTargets
from regraft.tasks.detection import Detection
from regraft.tasks.promise import promise

if TYPE_CHECKING:
    import torch
    from torch import nn

_COUNT = 6
_EMPTY = 2
"""The sample without boxes."""
_WIDTH = 16
_LESSONS, _RATE = 100, 0.03


def check_detection(task: Detection, backbone: Backbone | None) -> None:
    """See `check.check_task`."""
    backbone = backbone or made_up(task)
    samples = _samples(task)
    targets = task.targets(samples)
    promise(len(targets) == _COUNT, "targets() has a length, that of the samples")
    _check_score(task, targets)
    _check_head(task, backbone)
    _check_order(task, backbone, targets)
    head, values = _taught(task, backbone, targets)
    _check_answers(task, head, values, samples)


def made_up(task: Detection) -> Backbone:
    """What a dense detector's head could go on; others need a backbone of their own.

    Raises:
        ContractBroken: the task is of another family, whose last stage nobody but a backbone knows.
    """
    detector = task.detector
    promise(bool(detector.strides_px), "a detector without maps is checked on its backbone")
    sides = [math.ceil(task.size_px / stride) for stride in detector.strides_px]
    shapes = tuple((_WIDTH, side, side) for side in sides)
    prepared = Preprocessing(task.size_px, 1.0, whole=True)
    return Backbone(
        "made up", "image", "", "", "", (Stage("last", 0, (), shapes),), prepared,
        Recipe("none", "none"), Path("made up"), detector=detector,
    )  # fmt: skip


def _check_score(task: Detection, targets: BoxTargets) -> None:
    from regraft.tasks.box_metrics import steps_of

    ones_1n = np.ones((1, _COUNT))

    def score(answers: BoxAnswers) -> float:
        return float(task.score(answers.arrays(), targets)(ones_1n)[0])

    sure_k = np.full(len(targets.labels_k), 0.9, np.float32)
    right = BoxAnswers(targets.count_n, targets.boxes_k4, targets.labels_k, sure_k)
    away = replace(right, boxes_k4=targets.boxes_k4 + 2 * task.size_px)
    other = replace(right, labels_k=(targets.labels_k + 1) % len(task.classes))
    nothing = BoxAnswers.from_pictures([_nothing()] * _COUNT)
    promise(abs(score(right) - 1) < 1e-9, "score() of right answers is 1")
    promise(score(away) < 0.5, "boxes at the wrong place score less")
    if len(task.classes) > 1:
        promise(score(other) < 1, "boxes of the wrong category score less")
    promise(score(nothing) == 0, "score() of no answers is 0")
    calibrated = task.calibrate(right.arrays(), targets)
    json.dumps(calibrated)
    sure = [calibrated["threshold"], *chain(*steps_of(calibrated))]
    promise(all(0 <= value <= 1 for value in sure), "confidences lie between 0 and 1")


def _nothing() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)


def _check_head(task: Detection, backbone: Backbone) -> None:
    from regraft.tasks import restored

    head, again = (_head(task, backbone) for _ in range(2))
    same = all(a.equal(b) for a, b in zip(_tensors(head), _tensors(again), strict=True))
    promise(same, "head() of one seed is twice the same")
    count = sum(parameter.numel() for parameter in head.parameters())
    promise(count == task.head_parameters(backbone), "head_parameters() counts head()")
    facts = json.loads(json.dumps(task.facts()))
    made = restored(facts, task.detector)
    same = isinstance(made, Detection) and asdict(made) == asdict(task)
    promise(same, "facts() make the same task again")


def _check_answers(
    task: Detection, head: nn.Module, values: list[torch.Tensor], samples: list[Sample]
) -> None:
    """What a head has learnt is found again where it is, in batches of any size."""
    import torch

    with torch.inference_mode():
        together = task.answers(head(*values), samples)
        parts = [
            task.answers(head(*(x[some] for x in values)), samples[some])
            for some in (slice(0, 2), slice(2, _COUNT))
        ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in together}
    same = all(np.allclose(joined[name], found, atol=1e-3) for name, found in together.items())
    promise(same, "answers() of batches, joined, are the answers of all")
    found = BoxAnswers.from_arrays(together)
    promise(len(found) == _COUNT, "answers() has an entry for each sample")
    for boxes_k4, labels_k, scores_k in found:
        promise(bool((np.diff(scores_k) <= 0).all()), "the surest box of a sample comes first")
        named = (labels_k >= 0) & (labels_k < len(task.classes))
        promise(bool(named.all()), "labels are classes")
        inside = (boxes_k4 >= 0) & (boxes_k4 <= task.size_px)
        promise(bool(inside.all()), "boxes lie in the picture")
    score = task.score(together, task.targets(samples))(np.ones((1, _COUNT)))
    promise(score[0] > 0.5, "what the loss has taught is what answers() tells")


def _taught(
    task: Detection, backbone: Backbone, targets: BoxTargets
) -> tuple[nn.Module, list[torch.Tensor]]:
    """A head that has learnt the samples, and what flows into it, moved as a tail moves it."""
    import torch

    head, values = _head(task, backbone), [x.requires_grad_() for x in _values(backbone)]
    loss_of, index_b = task.criterion(targets, [View()]), np.arange(_COUNT)
    moved = [*head.parameters(), *values]
    optimiser = torch.optim.Adam(moved, lr=_RATE)
    losses: list[float] = []
    for _ in range(_LESSONS):
        optimiser.zero_grad()
        loss = loss_of(head(*values), index_b, 0)
        promise(loss.ndim == 0, "the loss is one number")
        loss.backward()
        finite = all(x.grad is None or bool(x.grad.isfinite().all()) for x in moved)
        promise(finite, "the loss has a finite gradient")
        optimiser.step()
        losses.append(loss.item())
    promise(losses[-1] < 0.5 * losses[0], "following its gradient makes the loss less")
    return head.eval(), [x.detach() for x in values]


def _check_order(task: Detection, backbone: Backbone, targets: BoxTargets) -> None:
    """A batch's loss depends on what is in it, not on the order; one without boxes has one too."""
    import torch

    head, values = _head(task, backbone).eval(), _values(backbone)
    loss_of = task.criterion(targets, [View(), task.augmented])
    with torch.inference_mode():
        for view in range(2):
            index_b = np.array([4, 1, 3])
            one, other = (
                loss_of(head(*(x[order] for x in values)), order, view).item()
                for order in (index_b, index_b[::-1].copy())
            )
            near = abs(one - other) <= 1e-4 * max(1.0, abs(one))
            promise(near, "the loss of a batch does not depend on its order")
        index_b = np.array([_EMPTY])
        empty = loss_of(head(*(x[index_b] for x in values)), index_b, 0)
    promise(bool(empty.isfinite()), "a picture without boxes has a loss")


def _head(task: Detection, backbone: Backbone) -> nn.Module:
    return task.head(backbone, 0, pretrained=False)


def _tensors(head: nn.Module) -> list[torch.Tensor]:
    return list(head.state_dict().values())


def _values(backbone: Backbone) -> list[torch.Tensor]:
    """What could flow out of the last stage; boxes, which alone are (many, 4), lie in 0…1."""
    import torch

    found: list[torch.Tensor] = []
    for n, shape in enumerate(backbone.stages[-1].shapes):
        rng: Any = generator(0, "check", n)
        is_boxes = len(shape) == 2 and shape[-1] == 4
        draw = (
            rng.uniform(0.2, 0.6, (_COUNT, *shape))
            if is_boxes
            else rng.normal(size=(_COUNT, *shape))
        )
        found.append(torch.from_numpy(draw.astype(np.float32)))
    return found


def _samples(task: Detection) -> list[Sample]:
    """Of the network's own size; their categories go round the classes, one has no boxes."""
    found: list[Sample] = []
    side, category = task.size_px / 4, 0
    for n in range(_COUNT):
        boxes: list[Box] = []
        for k in range(0 if n == _EMPTY else 1 + n % 3):
            left, top = side * k, side * ((n + k) % 3)
            boxes.append(Box(category % len(task.classes), left, top, left + side, top + side))
            category += 1
        base = Sample(f"made up {n}", f"made up {n}", None, f"{n:064d}")
        found.append(replace(base, size=(task.size_px, task.size_px), boxes=tuple(boxes)))
    return found
