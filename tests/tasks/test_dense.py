"""Detectors with a score at every place: assignment, losses, decoding, the head's start."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from regraft.backbones.backbone import Detector
from regraft.dataset.rows import Box, Sample
from regraft.dataset.views import View
from regraft.seeds import generator
from regraft.tasks.boxes import BoxTargets
from regraft.tasks.dense import (
    ANCHOR_STRIDES,
    CANDIDATES,
    DenseHead,
    assign,
    boxes_of,
    criterion,
    decode,
    distribution_focal_loss,
    grid,
    lesson,
    make_head,
    quality_focal_loss,
)
from regraft.tasks.family import Start

SIZE_PX = 128
DETECTOR = Detector("dense", ("cat", "dog", "tree"), (8, 16, 32), 10)
PLACES = grid(SIZE_PX, DETECTOR.strides_px)


def boxes(count: int, seed: int = 0) -> np.ndarray:
    rng = generator(seed, "boxes")
    low = rng.uniform(0, 90, (count, 2))
    return np.hstack([low, low + rng.uniform(6, 38, (count, 2))]).astype(np.float32)


def sample(edges_k4: np.ndarray, crowd: bool = False) -> Sample:
    found = tuple(
        Box(k % 2, *(float(edge) for edge in edges), crowd) for k, edges in enumerate(edges_k4)
    )
    return Sample("a.png", "a.png", (0, 1), "0" * 64, size=(SIZE_PX, SIZE_PX), boxes=found)


def test_places_lie_in_the_middle_of_their_cells() -> None:
    assert PLACES.sizes == (256, 64, 16)
    assert PLACES.centre_p2[0].tolist() == [4, 4]
    assert PLACES.centre_p2[17].tolist() == [12, 12]
    assert PLACES.centre_p2[-1].tolist() == [112, 112]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    areas = sum(float(np.prod(box[2:] - box[:2])) for box in (one, other))
    return common / (areas - common)


def plain_atss(edges_g4: np.ndarray) -> dict[int, int]:
    """Zhang et al. 2020, algorithm 1, one box and one place after the other."""
    centre_p2, stride_p = PLACES.centre_p2.numpy(), PLACES.stride_p.numpy()
    bounds = np.cumsum([0, *PLACES.sizes])
    best: dict[int, tuple[float, int]] = {}
    for g, box in enumerate(edges_g4):
        middle = (box[:2] + box[2:]) / 2
        candidates: list[int] = []
        for low, high in pairwise(bounds):
            distance = np.linalg.norm(centre_p2[low:high] - middle, axis=1)
            candidates += list(low + np.argsort(distance, kind="stable")[:CANDIDATES])
        overlap = []
        for p in candidates:
            half = stride_p[p] * ANCHOR_STRIDES / 2
            overlap.append(iou(box, np.concatenate([centre_p2[p] - half, centre_p2[p] + half])))
        least = np.mean(overlap) + np.std(overlap, ddof=1)
        for p, value in zip(candidates, overlap, strict=True):
            x, y = centre_p2[p]
            inside = box[0] < x < box[2] and box[1] < y < box[3]
            if value >= least and inside and value > best.get(p, (-1.0, 0))[0]:
                best[p] = (value, g)
    return {p: g for p, (_, g) in best.items()}


@pytest.mark.parametrize("seed", range(5))
def test_boxes_are_assigned_as_the_paper_says(seed: int) -> None:
    edges_g4 = boxes(6, seed) + np.float32(0.137)  # no two places at one distance
    place_k, box_k = assign(PLACES, torch.from_numpy(edges_g4))
    ours = dict(zip(place_k.tolist(), box_k.tolist(), strict=True))
    theirs = plain_atss(edges_g4)
    lost = set(range(6)) - set(theirs.values())
    assert {p: g for p, g in ours.items() if g not in lost} == theirs
    assert set(ours.values()) == set(range(6))


def test_a_picture_without_objects_teaches_that_nothing_is_there() -> None:
    targets = BoxTargets.from_samples([sample(np.zeros((0, 4)))])
    head = make_head(Start(DETECTOR, SIZE_PX, 4, (1.0, 1.0), (-1, -1), {}, 0))
    outputs = head(*(torch.randn(1, 4, n, n) for n in (16, 8, 4)))
    loss = criterion(DETECTOR, SIZE_PX, targets, [View()])(outputs, np.array([0]), 0)
    loss.backward()
    assert loss.item() > 0
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_a_mirrored_view_teaches_mirrored_boxes() -> None:
    targets = BoxTargets.from_samples([sample(boxes(3))])
    plain = lesson(PLACES, targets, 0, View(), SIZE_PX)
    views = [View(index=i, crop=1.0, mirror=True) for i in range(1, 20)]
    shown = [lesson(PLACES, targets, 0, view, SIZE_PX).box_k4 for view in views]
    flipped = plain.box_k4[:, [2, 1, 0, 3]].clone()
    flipped[:, [0, 2]] = SIZE_PX - flipped[:, [0, 2]]
    known = {tuple(np.round(row, 3)) for row in plain.box_k4.tolist()}
    mirrored = {tuple(np.round(row, 3)) for row in flipped.tolist()}
    found = [{tuple(np.round(row, 3)) for row in part.tolist()} for part in shown]
    assert known in found
    assert mirrored in found
    assert all(part in (known, mirrored) for part in found)


def test_where_a_crowd_is_nothing_is_said_about_scores() -> None:
    edges = np.array([[20, 20, 100, 100]], np.float32)
    targets = BoxTargets.from_samples([sample(edges, crowd=True)])
    loss = criterion(DETECTOR, SIZE_PX, targets, [View()])
    logits = torch.full((1, 336, 2), -4.0)
    edges_bp4e = torch.zeros(1, 336, 4, 11)
    quiet = loss((logits, edges_bp4e), np.array([0]), 0)
    loud = logits.clone()
    inside_p = ((PLACES.centre_p2 > 20) & (PLACES.centre_p2 < 100)).all(dim=1)
    loud[:, inside_p] = 5.0
    assert loss((loud, edges_bp4e), np.array([0]), 0) == quiet
    loud[:, ~inside_p] = 5.0
    assert loss((loud, edges_bp4e), np.array([0]), 0) > quiet


def test_quality_focal_loss_is_the_papers() -> None:
    score, quality = torch.tensor([0.7, 0.2, 0.9]), torch.tensor([0.4, 0.0, 0.9])
    given = quality_focal_loss(score.logit(), quality)
    cross = -((1 - quality) * torch.log(1 - score) + quality * torch.log(score))
    assert torch.allclose(given, (quality - score) ** 2 * cross, atol=1e-6)


def test_distribution_focal_loss_is_least_where_the_mean_is_right() -> None:
    true = torch.tensor([[2.3, 0.0, 9.5, 4.0]])
    right = torch.full((1, 4, 11), -30.0)
    for edge, value in enumerate(true[0].tolist()):
        low = int(value)
        right[0, edge, low] = math.log(1 - (value - low) + 1e-9)
        right[0, edge, low + 1] = math.log(value - low + 1e-9)
    found = boxes_of(right, torch.tensor([[50.0, 50.0]]), torch.tensor([[8.0]]))
    expected = torch.tensor([[50 - 8 * 2.3, 50.0, 50 + 8 * 9.5, 50 + 8 * 4.0]])
    assert torch.allclose(found, expected, atol=1e-3)
    least = distribution_focal_loss(right, true)
    shares = torch.tensor([0.3, 0.0, 0.5, 0.0])
    entropy = -(torch.xlogy(shares, shares) + torch.xlogy(1 - shares, 1 - shares))
    assert torch.allclose(least[0], entropy, atol=1e-4)
    for shift in (-0.5, 0.5):
        assert (distribution_focal_loss(right, (true + shift).clamp(0, 10)) >= least - 1e-4).all()


def test_what_was_taught_is_what_is_decoded() -> None:
    """Outputs that say exactly what the lesson says give the boxes back, each once."""
    edges_k4 = np.array([[10, 12, 50, 60], [70, 20, 110, 52], [30, 80, 52, 100]], np.float32)
    targets = BoxTargets.from_samples([sample(edges_k4)])
    taught = lesson(PLACES, targets, 0, View(), SIZE_PX)
    logits = torch.full((1, 336, 2), -8.0)
    edges_bp4e = torch.full((1, 336, 4, 11), -30.0)
    for place, label, box in zip(taught.place_k, taught.label_k, taught.box_k4, strict=True):
        logits[0, place, label] = 3.0
        x, y = PLACES.centre_p2[place]
        edges = torch.tensor([x - box[0], y - box[1], box[2] - x, box[3] - y])
        for edge, value in enumerate((edges / PLACES.stride_p[place]).tolist()):
            low = min(int(value), 9)
            edges_bp4e[0, place, edge, low] = math.log(max(1 - (value - low), 1e-9))
            edges_bp4e[0, place, edge, low + 1] = math.log(max(value - low, 1e-9))
    ((found_k4, labels_k, scores_k),) = decode((logits, edges_bp4e), DETECTOR, SIZE_PX)
    order = np.argsort(found_k4[:, 0])
    assert found_k4[order] == pytest.approx(edges_k4[np.argsort(edges_k4[:, 0])], abs=0.01)
    assert labels_k[order].tolist() == [0, 0, 1]
    assert scores_k == pytest.approx(1 / (1 + math.exp(-3.0)))
    loss = criterion(DETECTOR, SIZE_PX, targets, [View()])
    right = loss((logits, edges_bp4e), np.array([0]), 0)
    assert right < 0.5 * loss((-logits, edges_bp4e), np.array([0]), 0)
    assert right < loss((logits, torch.zeros_like(edges_bp4e)), np.array([0]), 0)


def test_known_categories_and_edges_keep_their_rows() -> None:
    source = {}
    for level in range(3):
        source[f"{level}.weight"] = torch.randn(3 + 44, 4, 1, 1)
        source[f"{level}.bias"] = torch.randn(3 + 44)
    head = make_head(Start(DETECTOR, SIZE_PX, 4, (0.5, 2.0), (-1, 1), source, 0))
    for level, conv in enumerate(head.convs):
        weight, bias = conv.weight.detach(), conv.bias.detach()
        assert torch.equal(weight[2:], source[f"{level}.weight"][3:])
        assert torch.equal(bias[2:], source[f"{level}.bias"][3:])
        assert torch.equal(weight[1], source[f"{level}.weight"][1])
        assert bias[1] == source[f"{level}.bias"][1]
        assert not torch.equal(weight[0], source[f"{level}.weight"][0])
        assert bias[0].sigmoid().item() == pytest.approx(0.5 * 5 / 336, rel=1e-4)


def test_the_head_starts_the_same_for_the_same_seed() -> None:
    one, again, other = (
        make_head(Start(DETECTOR, SIZE_PX, 4, (1.0,), (-1,), {}, s)) for s in (1, 1, 2)
    )
    assert torch.equal(one.convs[0].weight, again.convs[0].weight)
    assert not torch.equal(one.convs[0].weight, other.convs[0].weight)


def test_distances_worked_out_where_they_are_asked_for_are_those_of_all_places() -> None:
    torch.manual_seed(0)
    detector = Detector("dense", (), (8, 16), 6)
    head = DenseHead(detector, 12, 3)
    maps = (torch.randn(2, 12, 8, 8), torch.randn(2, 12, 4, 4))
    logits, distances = head.eval()(*maps)
    some_logits, some = head.train()(*maps)
    row_k, place_k = torch.tensor([1, 0, 1, 0]), torch.tensor([70, 3, 63, 79])
    torch.testing.assert_close(some_logits, logits)
    torch.testing.assert_close(some.at(row_k, place_k), distances[row_k, place_k])
    none = torch.zeros(0, dtype=torch.int64)
    assert some.at(none, none).shape == (0, 4, 7)
