"""Detectors that answer with a set of queries, each an object or none: head, loss and decoding.

Matching and losses are transformers' own, each family's as its authors have it, on the last
layer's answers. What they use besides, to train from random weights, is left out: losses of the
earlier layers and of the proposals, denoising queries, groups of queries. So the scores by which
proposals are chosen learn nothing: they stay the source's.

Nothing is said about crowds, and a query on one counts as wrong: these losses cannot leave out a
place.

Shapes: b pictures, q queries, d width, c categories (YOLOS has one more, for none), g true boxes,
k found boxes; boxes are centre, width and height in shares of the input (4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regraft.backbones.backbone import Detector
from regraft.backbones.query_stages import DFineBoxes, inverse_sigmoid
from regraft.dataset.views import View
from regraft.seeds import seed_of
from regraft.tasks.boxes import BoxTargets, in_view
from regraft.tasks.family import FAINTEST, KEPT, MOST_PRIOR, Start, log_odds, prior
from regraft.tasks.task import Criterion, Pace

PACE = Pace(batch=8, epochs=20, least_steps=200, most_steps=1200, head_rate=1e-3, rate=1e-4)

Labels = list[dict[str, Tensor]]
"""For each picture "class_labels" (g) and "boxes" (g, 4), as transformers' losses take them."""
Losses = tuple[nn.Module, dict[str, float]]
"""Transformers' module, and weights that it does not apply itself."""
_JUDGED = ["labels", "boxes"]


class Perceptron(nn.Module):
    """Three layers, (…, d) to (…, outputs); tensors are named as transformers names them."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        sizes = (width, width, outputs)
        self.layers = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        *before, last = self.layers
        for layer in before:
            x = layer(x).relu()
        return last(x)


class YolosHead(nn.Module):
    """Scores and boxes from queries alone."""

    def __init__(self, width: int, categories: int) -> None:
        super().__init__()
        self.scores = Perceptron(width, categories + 1)
        self.boxes = Perceptron(width, 4)

    def forward(self, queries_bqd: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of a softmax whose last is "none", and boxes."""
        return self.scores(queries_bqd), self.boxes(queries_bqd).sigmoid()


class StepHead(nn.Module):
    """Scores from queries, boxes as a step from those before.

    Args:
        width: d.
        categories: c.
        moved: boxes before and steps to boxes.
    """

    def __init__(
        self, width: int, categories: int, moved: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.scores = nn.Linear(width, categories)
        self.boxes = Perceptron(width, 4)
        self.moved = moved

    def forward(self, queries_bqd: Tensor, boxes_bq4: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of sigmoids, and boxes."""
        return self.scores(queries_bqd), self.moved(boxes_bq4, self.boxes(queries_bqd))


def in_logits(boxes_bq4: Tensor, step_bq4: Tensor) -> Tensor:
    """As RT-DETR moves boxes: a sum, before the sigmoid."""
    return (step_bq4 + inverse_sigmoid(boxes_bq4)).sigmoid()


def in_sides(boxes_bq4: Tensor, step_bq4: Tensor) -> Tensor:
    """As RF-DETR moves boxes: by shares of their sides, which are scaled."""
    middle_bq2 = step_bq4[..., :2] * boxes_bq4[..., 2:] + boxes_bq4[..., :2]
    sides_bq2 = step_bq4[..., 2:].exp() * boxes_bq4[..., 2:]
    return torch.cat((middle_bq2, sides_bq2), dim=-1)


class DFineHead(nn.Module):
    """Scores from queries and from how sure the edges are; a distribution for each edge."""

    def __init__(self, width: int, categories: int, settings: dict[str, Any]) -> None:
        from transformers.models.d_fine.modeling_d_fine import DFineLQE

        super().__init__()
        bins = settings["max_num_bins"]
        self.scores = nn.Linear(width, categories)
        self.boxes = Perceptron(width, 4 * (bins + 1))
        config: Any = SimpleNamespace(**settings)
        self.quality = DFineLQE(config)
        self.place = DFineBoxes(bins, settings["up"], settings["reg_scale"])

    def forward(
        self, queries_bqd: Tensor, both_bqd: Tensor, edges_bqe: Tensor, first_bq4: Tensor
    ) -> tuple[Tensor, ...]:
        """Logits of sigmoids, boxes, and what they come from: edges and the first guess."""
        edges_bqe = self.boxes(both_bqd) + edges_bqe
        logits_bqc = self.quality(self.scores(queries_bqd), edges_bqe)
        return logits_bqc, self.place(first_bq4, edges_bqe), edges_bqe, first_bq4


def make_head(start: Start) -> nn.Module:
    """See `family.Family`; a new category is at first as likely as it is frequent, in any query."""
    settings, kind = start.detector.setting, _kind(start.detector)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(start.seed, "head"))
        head = kind.head(start.width, len(start.frequency), settings)
        rows: Any = head.get_submodule(kind.rows)
        nn.init.normal_(rows.weight, std=0.01)
        nn.init.zeros_(rows.bias)
        if not kind.has_none:  # so have its authors
            nn.init.zeros_(head.boxes.layers[-1].weight)
            nn.init.zeros_(head.boxes.layers[-1].bias)
    own = {f"{kind.rows}.weight", f"{kind.rows}.bias"}
    if start.source:
        found = head.state_dict() | {n: t for n, t in start.source.items() if n not in own}
        head.load_state_dict(found)
    priors = [prior(n / settings["queries"]) for n in start.frequency]
    theirs = None
    if start.source:
        theirs = start.source[f"{kind.rows}.weight"], start.source[f"{kind.rows}.bias"]
    _set_rows(rows, theirs, start.kept, priors)
    return head


@torch.no_grad()
def _set_rows(
    rows: nn.Linear,
    theirs: tuple[Tensor, Tensor] | None,
    kept: Sequence[int],
    priors: Sequence[float],
) -> None:
    """Rows of known categories; the others, and "none" where there is a row for it.

    Beside a row for "none" a new category's is that row, and a bias that makes the two as likely
    as they are frequent, whatever the query: a softmax knows only differences.
    """
    has_none = len(rows.bias) > len(kept)
    if theirs is not None and has_none:
        rows.weight[-1], rows.bias[-1] = theirs[0][-1], theirs[1][-1]
    left = max(1 - sum(priors), MOST_PRIOR) if has_none else 0.0
    for c, (row, chance) in enumerate(zip(kept, priors, strict=True)):
        if theirs is not None and row >= 0:
            rows.weight[c], rows.bias[c] = theirs[0][row], theirs[1][row]
        elif has_none:
            rows.weight[c] += rows.weight[-1]
            rows.bias[c] = rows.bias[-1] + math.log(chance / left)
        else:
            rows.bias[c] = log_odds(chance)


def head_parameters(detector: Detector, width: int, categories: int) -> int:
    """See `family.Family`."""
    with torch.device("meta"):
        head = _kind(detector).head(width, categories, detector.setting)
    return sum(parameter.numel() for parameter in head.parameters())


# Loss ------------------------------------------------------------------------------------------


def criterion(
    detector: Detector, size_px: int, targets: BoxTargets, views: Sequence[View]
) -> Criterion:
    """See `family.Family`."""
    settings, kind = detector.setting, _kind(detector)
    judge = cache(lambda categories: _judge(kind.losses(settings, categories)))

    @cache
    def taught(n: int, view: int) -> tuple[Tensor, Tensor]:
        seen = in_view(targets, n, views[view], size_px)
        low_g2, high_g2 = seen.boxes_g4[:, :2], seen.boxes_g4[:, 2:]
        boxes_g4 = np.concatenate(((low_g2 + high_g2) / 2, high_g2 - low_g2), axis=1) / size_px
        return torch.from_numpy(seen.labels_g), torch.from_numpy(boxes_g4.astype(np.float32))

    def loss(outputs: tuple[Tensor, ...], index_b: np.ndarray, view: int) -> Tensor:
        logits_bqc, boxes_bq4, *more = outputs
        if not (logits_bqc.isfinite().all() and boxes_bq4.isfinite().all()):
            return logits_bqc.sum() + boxes_bq4.sum()  # no number; matching would stop at it
        given = {"logits": logits_bqc, "pred_boxes": boxes_bq4}
        if more:
            edges_bqe, first_bq4 = more
            given["pred_boxes"] = boxes_bq4.clamp(0, 1)
            given |= {"pred_corners": edges_bqe, "teacher_corners": edges_bqe}
            given["ref_points"] = first_bq4
        labels: Labels = []
        for n in index_b:
            label_g, boxes_g4 = taught(int(n), view)
            device = logits_bqc.device
            labels.append({"class_labels": label_g.to(device), "boxes": boxes_g4.to(device)})
        categories = logits_bqc.shape[-1] - kind.has_none
        return judge(categories)(given, labels)

    return loss


def _judge(judged: Losses) -> Callable[[dict[str, Tensor], Labels], Tensor]:
    """The loss of a family, in all: what is matched by transformers, weighted as in the config."""
    losses, weights = judged
    losses.eval()

    def total(outputs: dict[str, Tensor], labels: Labels) -> Tensor:
        found: dict[str, Tensor] = losses.to(outputs["logits"].device)(outputs, labels)
        parts = [weights.get(name, 1.0) * value for name, value in found.items()]
        return torch.stack([part.reshape(()) for part in parts]).sum()

    return total


# Kinds of detectors ----------------------------------------------------------------------------


def _rt_detr_losses(settings: dict[str, Any], categories: int) -> Losses:
    from transformers.loss.loss_rt_detr import RTDetrLoss

    config: Any = SimpleNamespace(**settings, num_labels=categories)
    return RTDetrLoss(config), {}


def _d_fine_losses(settings: dict[str, Any], categories: int) -> Losses:
    from transformers.loss.loss_d_fine import DFineLoss

    config: Any = SimpleNamespace(**settings, num_labels=categories)
    return DFineLoss(config), {}


def _yolos_losses(settings: dict[str, Any], categories: int) -> Losses:
    from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

    eos: float = settings["eos_coefficient"]
    matcher = HungarianMatcher(**_costs(settings))
    return ImageLoss(matcher, categories, eos, _JUDGED), _weights(settings)


def _rf_detr_losses(settings: dict[str, Any], categories: int) -> Losses:
    from transformers.loss.loss_lw_detr import LwDetrHungarianMatcher, LwDetrImageLoss

    alpha: float = settings["focal_alpha"]
    matcher = LwDetrHungarianMatcher(**_costs(settings))
    return LwDetrImageLoss(matcher, categories, alpha, _JUDGED, 1), _weights(settings)


def _costs(settings: dict[str, Any]) -> dict[str, float]:
    return {name: settings[name] for name in ("class_cost", "bbox_cost", "giou_cost")}


def _weights(settings: dict[str, Any]) -> dict[str, float]:
    return {
        "loss_ce": settings.get("class_loss_coefficient", 1.0),
        "loss_bbox": settings["bbox_loss_coefficient"],
        "loss_giou": settings["giou_loss_coefficient"],
    }


@dataclass(frozen=True)
class _Kind:
    """In what a family differs.

    Attributes:
        head: of a width, for so many categories, with the detector's settings.
        rows: the layer of the head that has a row for each category.
        losses: of the detector's settings and so many categories.
        has_none: whether scores are a softmax with a row for "none"; else each is a sigmoid.
    """

    head: Callable[[int, int, dict[str, Any]], Any]
    losses: Callable[[dict[str, Any], int], Losses]
    rows: str = "scores"
    has_none: bool = False


_KINDS = {
    "yolos": _Kind(
        lambda width, count, _: YolosHead(width, count), _yolos_losses, "scores.layers.2", True
    ),
    "rt_detr_v2": _Kind(lambda width, count, _: StepHead(width, count, in_logits), _rt_detr_losses),
    "d_fine": _Kind(DFineHead, _d_fine_losses),
    "rf_detr": _Kind(lambda width, count, _: StepHead(width, count, in_sides), _rf_detr_losses),
}


def _kind(detector: Detector) -> _Kind:
    return _KINDS[detector.setting["model"]]


# Decoding --------------------------------------------------------------------------------------


def decode(
    outputs: tuple[Tensor, ...], detector: Detector, size_px: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """See `family.Family`: as many of the surest scores as queries, as transformers has it."""
    has_none = _kind(detector).has_none
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for logits_qc, boxes_q4 in zip(outputs[0].float(), outputs[1].float(), strict=True):
        if has_none:
            score_k, label_k = logits_qc.softmax(dim=-1)[:, :-1].max(dim=-1)
            score_k, at_k = score_k.sort(descending=True, stable=True)
            label_k = label_k[at_k]
        else:
            most = min(len(logits_qc), logits_qc.numel())
            score_k, at_k = logits_qc.sigmoid().flatten().sort(descending=True, stable=True)
            score_k, at_k = score_k[:most], at_k[:most]
            label_k = at_k % logits_qc.shape[1]
            at_k = torch.div(at_k, logits_qc.shape[1], rounding_mode="floor")
        count = min(KEPT, int((score_k > FAINTEST).sum()))
        middle_k2, half_k2 = boxes_q4[at_k, :2], boxes_q4[at_k, 2:] / 2
        box_k4 = torch.cat((middle_k2 - half_k2, middle_k2 + half_k2), dim=1) * size_px
        box_k4, label_k, score_k = (x[:count].cpu().numpy() for x in (box_k4, label_k, score_k))
        found.append((box_k4, label_k, score_k))
    return found
