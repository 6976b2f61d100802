"""Detectors that look at every place of some maps: head, loss and decoding.

At each place there is a score for each category and, for each of the four edges, a distribution
over its distance in strides. The losses are those of Generalized Focal Loss (Li et al. 2020,
arXiv:2006.04388) with GIoU (Rezatofighi et al. 2019, arXiv:1902.09630); which places learn which
box is decided as in ATSS (Zhang et al. 2020, arXiv:1912.02424), by geometry alone, so it is
decided once for each picture and view.

Shapes: b pictures, p places of all maps, c categories, e = bins + 1 distances, g true boxes,
k places that learn a box.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regraft.backbones.backbone import Detector
from regraft.dataset.views import View
from regraft.seeds import seed_of
from regraft.tasks.boxes import BoxTargets, in_view
from regraft.tasks.family import FAINTEST, KEPT, Start, log_odds, prior
from regraft.tasks.task import Criterion, Pace

CANDIDATES = 9
"""Places of each map, nearest to the middle of a box, that may learn it."""
ANCHOR_STRIDES = 5
"""A place stands for a square so many strides wide when it is compared with a box."""
FOCUS = 2.0
BOX_WEIGHT, DISTANCE_WEIGHT = 2.0, 0.25
PLACES_A_BOX = 5
"""About so many places learn a box; for the prior."""

AT_MOST = 1000
"""Boxes of a picture that are told apart."""
SAME = 0.6
"""Of two boxes of a category that overlap by more (intersection over union), one stays."""

PACE = Pace(
    batch=16, epochs=20, least_steps=200, most_steps=1200, head_rate=5e-3, head_seen=200
)  # fmt: skip
"""AP50 of the head alone on the composed set, 1 · 2 · 4 views of each picture, mean of three seeds:
of 30 pictures 63 · 71 · 77 %, of 100 and of 200 75 to 77 % whichever."""


class DenseHead(nn.Module):
    """A 1×1 convolution for each map: (b, width, h, w) to (b, c + 4 e, h, w).

    Args:
        detector: whose maps these are.
        width: channels of each map.
        categories: c.
    """

    def __init__(self, detector: Detector, width: int, categories: int) -> None:
        super().__init__()
        self.categories = categories
        outputs = categories + 4 * (detector.bins + 1)
        self.convs = nn.ModuleList(nn.Conv2d(width, outputs, 1) for _ in detector.strides_px)

    def forward(self, *maps: Tensor) -> tuple[Tensor, Tensor | Edges]:
        """Logits_bpc and distances_bp4e, before the softmax; the finest map's places first.

        While it is trained the distances are `Edges`.
        """
        if self.training:
            weights, biases = zip(*map(parameters_of, self.convs), strict=True)
            split = self.categories
            # As products of matrices: a convolution to so few channels takes six times as long.
            logits = [
                torch.baddbmm(
                    b[None, :split, None],
                    w[None, :split].flatten(2).expand(len(x), -1, -1),
                    x.flatten(2),
                )
                for x, w, b in zip(maps, weights, biases, strict=True)
            ]
            logits_bcp = torch.cat(logits, dim=2)
            edges = Edges(maps, [w[split:] for w in weights], [b[split:] for b in biases])
            return logits_bcp.transpose(1, 2), edges
        both = [conv(x).flatten(2) for conv, x in zip(self.convs, maps, strict=True)]
        both_bpn = torch.cat(both, dim=2).transpose(1, 2)
        edges_bp4e = both_bpn[:, :, self.categories :].unflatten(2, (4, -1))
        return both_bpn[:, :, : self.categories], edges_bp4e


@final
@dataclass(frozen=True)
class Edges:
    """Distances of the edges, worked out where they are asked for.

    A loss asks for them at the few places that learn a box. All of them would be most of what a
    head computes: 44 numbers a place beside one for each category.

    Attributes:
        maps: (b, width, h, w) each.
        weights: (4 e, width, 1, 1) each.
        biases: (4 e,) each.
    """

    maps: Sequence[Tensor]
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]

    def at(self, row_k: Tensor, place_k: Tensor) -> Tensor:
        """Distances_k4e of these pictures and places."""
        found: list[Tensor] = []
        order: list[Tensor] = []
        start = 0
        for x, weight, bias in zip(self.maps, self.weights, self.biases, strict=True):
            stop = start + x.shape[2] * x.shape[3]
            (here,) = ((place_k >= start) & (place_k < stop)).nonzero(as_tuple=True)
            x_md = x.flatten(2)[row_k[here], :, place_k[here] - start]
            found.append(F.linear(x_md, weight.flatten(1), bias))
            order.append(here)
            start = stop
        back = torch.cat(order).argsort()
        return torch.cat(found)[back].unflatten(1, (4, -1))


def parameters_of(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that has both."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    return conv.weight, conv.bias


def fresh(make: Callable[[], nn.Module], seed: int) -> Any:
    """A head whose convolutions say next to nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "head"))
        head = make()
        for conv in head.modules():
            if isinstance(conv, nn.Conv2d):
                weight, bias = parameters_of(conv)
                nn.init.normal_(weight, std=0.01)
                nn.init.zeros_(bias)
    return head


def biases_of(start: Start) -> list[float]:
    """For each category what makes as many places likely as its boxes are learnt by."""
    places = len(grid(start.size_px, start.detector.strides_px).centre_p2)
    return [log_odds(prior(often * PLACES_A_BOX / places)) for often in start.frequency]


@torch.no_grad()
def make_head(start: Start) -> DenseHead:
    """See `family.Family`.

    The edges are the source's, too. Tensors of the source are "{map}.weight" and "{map}.bias".
    """
    detector, source, count = start.detector, start.source, len(start.frequency)
    head: DenseHead = fresh(lambda: DenseHead(detector, start.width, count), start.seed)
    for level, conv in enumerate(head.convs):
        weight, bias = parameters_of(conv)
        bias[:count] = torch.tensor(biases_of(start))
        if not source:
            continue
        for own, theirs in ((weight, source[f"{level}.weight"]), (bias, source[f"{level}.bias"])):
            own[count:] = theirs[len(detector.categories) :]
            for c, row in enumerate(start.kept):
                if row >= 0:
                    own[c] = theirs[row]
    return head


def head_parameters(detector: Detector, width: int, categories: int) -> int:
    """See `family.Family`."""
    return len(detector.strides_px) * (width + 1) * (categories + 4 * (detector.bins + 1))


@dataclass(frozen=True)
class Grid:
    """The places of all maps, the finest first.

    Attributes:
        centre_p2: x and y in pixels of the input.
        stride_p: of the place's map.
        sizes: places of each map.
    """

    centre_p2: Tensor
    stride_p: Tensor
    sizes: tuple[int, ...]


@cache
def grid(size_px: int, strides_px: tuple[int, ...]) -> Grid:
    """Of a square input."""
    centres: list[Tensor] = []
    strides: list[Tensor] = []
    for stride in strides_px:
        along = (torch.arange(math.ceil(size_px / stride)) + 0.5) * stride
        y, x = torch.meshgrid(along, along, indexing="ij")
        centres.append(torch.stack((x.flatten(), y.flatten()), dim=1))
        strides.append(torch.full((len(centres[-1]),), float(stride)))
    return Grid(torch.cat(centres), torch.cat(strides), tuple(map(len, centres)))


# Which place learns which box ------------------------------------------------------------------


def assign(places: Grid, boxes_g4: Tensor) -> tuple[Tensor, Tensor]:
    """The places that learn a box, and which, by ATSS: place_k and box_k, int64.

    Of the places nearest to a box's middle those learn it whose squares overlap it by more than
    the mean and a standard deviation of them all, and that lie in it.
    """
    from torchvision.ops import box_iou

    if not len(boxes_g4):
        empty = torch.zeros(0, dtype=torch.int64)
        return empty, empty
    half_p1 = (places.stride_p * (ANCHOR_STRIDES / 2))[:, None]
    anchor_p4 = torch.cat((places.centre_p2 - half_p1, places.centre_p2 + half_p1), dim=1)
    overlap_gp = box_iou(boxes_g4, anchor_p4)
    middle_g2 = (boxes_g4[:, :2] + boxes_g4[:, 2:]) / 2
    distance_gp = torch.cdist(middle_g2, places.centre_p2)
    nearest: list[Tensor] = []
    start = 0
    for size in places.sizes:
        some_gp = distance_gp[:, start : start + size]
        nearest.append(some_gp.topk(min(CANDIDATES, size), largest=False).indices + start)
        start += size
    nearest_gn = torch.cat(nearest, dim=1)
    near_gn = overlap_gp.gather(1, nearest_gn)
    least_g1 = near_gn.mean(dim=1, keepdim=True) + near_gn.std(dim=1, keepdim=True)
    centre_gn2 = places.centre_p2[nearest_gn]
    inside_gn = ((centre_gn2 > boxes_g4[:, None, :2]) & (centre_gn2 < boxes_g4[:, None, 2:])).all(
        dim=2
    )
    chosen_gn = (near_gn >= least_g1) & inside_gn
    # A box too small to hold any place is learnt by the place that its middle is nearest to.
    lost_g = ~chosen_gn.any(dim=1)
    chosen_gn[lost_g, 0] = True
    claim_gp = torch.full_like(overlap_gp, -1.0)
    claim_gp.scatter_(1, nearest_gn, torch.where(chosen_gn, near_gn, -1.0))
    best_p, box_p = claim_gp.max(dim=0)
    place_k = (best_p >= 0).nonzero().flatten()
    return place_k, box_p[place_k]


@dataclass(frozen=True)
class Lesson:
    """What one view of one picture teaches.

    Attributes:
        place_k: places that learn a box.
        label_k: its category.
        box_k4: in pixels of the input.
        silent_p: places where nothing is said about scores (crowds), or None.
    """

    place_k: Tensor
    label_k: Tensor
    box_k4: Tensor
    silent_p: Tensor | None


def lesson(places: Grid, targets: BoxTargets, n: int, view: View, size_px: int) -> Lesson:
    """Of sample n in a view."""
    seen = in_view(targets, n, view, size_px)
    box_g4 = torch.from_numpy(seen.boxes_g4)
    place_k, which_k = assign(places, box_g4)
    unclear_k4 = torch.from_numpy(seen.unclear_k4)
    return Lesson(
        place_k,
        torch.from_numpy(seen.labels_g)[which_k],
        box_g4[which_k],
        _within(places, unclear_k4) if len(unclear_k4) else None,
    )


def _within(places: Grid, boxes_g4: Tensor) -> Tensor:
    """Bool_p: whether a place lies in one of the boxes."""
    x_p1, y_p1 = places.centre_p2[:, :1], places.centre_p2[:, 1:]
    inside_pg = (x_p1 > boxes_g4[:, 0]) & (x_p1 < boxes_g4[:, 2])
    return (inside_pg & (y_p1 > boxes_g4[:, 1]) & (y_p1 < boxes_g4[:, 3])).any(dim=1)


# Loss --------------------------------------------------------------------------------------------


def criterion(
    detector: Detector, size_px: int, targets: BoxTargets, views: Sequence[View]
) -> Criterion:
    """See `family.Family`."""
    places = grid(size_px, detector.strides_px)

    @cache
    def taught(n: int, view: int) -> Lesson:
        return lesson(places, targets, n, views[view], size_px)

    def loss(outputs: tuple[Tensor, Tensor | Edges], index_b: np.ndarray, view: int) -> Tensor:
        return dense_loss(outputs, [taught(int(n), view) for n in index_b], places)

    return loss


def dense_loss(
    outputs: tuple[Tensor, Tensor | Edges], lessons: Sequence[Lesson], places: Grid
) -> Tensor:
    """Quality focal loss of all places, GIoU and distribution focal loss of those with a box."""
    from torchvision.ops import generalized_box_iou_loss

    logits_bpc, distances = outputs
    device = logits_bpc.device
    row_k = torch.cat([torch.full_like(one.place_k, b) for b, one in enumerate(lessons)])
    place_k = torch.cat([one.place_k for one in lessons])
    label_k = torch.cat([one.label_k for one in lessons]).to(device)
    box_k4 = torch.cat([one.box_k4 for one in lessons]).to(device)
    centre_k2, stride_k1 = places.centre_p2[place_k].to(device), places.stride_p[place_k, None]
    stride_k1 = stride_k1.to(device)
    row_k, place_k = row_k.to(device), place_k.to(device)
    whole = isinstance(distances, Tensor)
    distances_k4e = distances[row_k, place_k] if whole else distances.at(row_k, place_k)
    found_k4 = boxes_of(distances_k4e, centre_k2, stride_k1)
    quality_bpc = torch.zeros_like(logits_bpc)
    quality_bpc[row_k, place_k, label_k] = _overlap(found_k4.detach(), box_k4)
    score_loss = quality_focal_loss(logits_bpc, quality_bpc)
    silent = [one.silent_p for one in lessons]
    if any(part is not None for part in silent):
        heard_bp = torch.ones_like(logits_bpc[:, :, 0])
        for b, part in enumerate(silent):
            if part is not None:
                heard_bp[b, part.to(device)] = 0
        heard_bp[row_k, place_k] = 1
        score_loss = score_loss * heard_bp[:, :, None]
    loss = score_loss.sum() / max(1, len(place_k))
    if not len(place_k):
        return loss
    sure_k = logits_bpc[row_k, place_k].detach().sigmoid().amax(dim=1)
    giou_k = generalized_box_iou_loss(found_k4 / stride_k1, box_k4 / stride_k1)
    edge_k4 = torch.cat((centre_k2 - box_k4[:, :2], box_k4[:, 2:] - centre_k2), dim=1) / stride_k1
    spread_k = distribution_focal_loss(distances_k4e, edge_k4).mean(dim=1)
    weighted = (BOX_WEIGHT * giou_k + 4 * DISTANCE_WEIGHT * spread_k) * sure_k
    return loss + weighted.sum() / sure_k.sum().clamp(min=1e-6)


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """|quality - score|^2 times the cross-entropy with it; of any shape, not summed."""
    entropy = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return entropy * (quality - logits.sigmoid()).abs() ** FOCUS


def distribution_focal_loss(distances_k4e: Tensor, edge_k4: Tensor) -> Tensor:
    """Cross-entropy with the two whole distances beside each true one: (k, 4).

    Where there is no distribution, but the distance itself, it is the absolute difference.
    """
    most = distances_k4e.shape[-1] - 1
    if not most:
        return (distances_k4e[..., 0] - edge_k4).abs()
    edge_k4 = edge_k4.clamp(0, most - 0.01)
    low_k4 = edge_k4.long()
    high_share_k4 = edge_k4 - low_k4
    log_k4e = distances_k4e.log_softmax(dim=-1)
    low = log_k4e.gather(-1, low_k4[..., None])[..., 0]
    high = log_k4e.gather(-1, low_k4[..., None] + 1)[..., 0]
    return -(low * (1 - high_share_k4) + high * high_share_k4)


def boxes_of(distances_4e: Tensor, centre_2: Tensor, stride_1: Tensor) -> Tensor:
    """The boxes that distributions mean: any leading axes, left, top, right, bottom in pixels."""
    steps_e = torch.arange(distances_4e.shape[-1], device=distances_4e.device, dtype=torch.float32)
    edge_4 = distances_4e.softmax(dim=-1) @ steps_e if len(steps_e) > 1 else distances_4e[..., 0]
    edge_4 = edge_4 * stride_1
    return torch.cat((centre_2 - edge_4[..., :2], centre_2 + edge_4[..., 2:]), dim=-1)


def _overlap(one_k4: Tensor, other_k4: Tensor) -> Tensor:
    """Intersection over union of pairs."""
    low = torch.maximum(one_k4[:, :2], other_k4[:, :2])
    high = torch.minimum(one_k4[:, 2:], other_k4[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    areas = (one_k4[:, 2:] - one_k4[:, :2]).prod(dim=1)
    areas = areas + (other_k4[:, 2:] - other_k4[:, :2]).prod(dim=1)
    return common / (areas - common).clamp(min=1e-6)


# Decoding ----------------------------------------------------------------------------------------


def decode(
    outputs: tuple[Tensor, Tensor], detector: Detector, size_px: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """See `family.Family`."""
    from torchvision.ops import batched_nms

    places = grid(size_px, detector.strides_px)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for logits_pc, distances_p4e in zip(*outputs, strict=True):
        logit_q = logits_pc.float().flatten()
        (likely_m,) = torch.where(logit_q > log_odds(FAINTEST))  # few of 80 times 3,549
        score_m, order_m = logit_q[likely_m].sigmoid().topk(min(AT_MOST, len(likely_m)))
        at_m = likely_m[order_m]
        place_m = torch.div(at_m, logits_pc.shape[1], rounding_mode="floor")
        label_m = at_m % logits_pc.shape[1]
        device = logits_pc.device
        box_m4 = boxes_of(
            distances_p4e[place_m].float(),
            places.centre_p2.to(device)[place_m],
            places.stride_p.to(device)[place_m, None],
        )
        keep = batched_nms(box_m4, score_m, label_m, SAME)[:KEPT]
        found.append(tuple(part[keep].cpu().numpy() for part in (box_m4, label_m, score_m)))  # pyright: ignore[reportArgumentType]
    return found
