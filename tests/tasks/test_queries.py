"""Detectors that answer with queries: losses as transformers has them, the start, the seams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detector_models import FAMILIES, NAMES, SIZE_PX, save_detector

from regraft.backbones import convert
from regraft.backbones.network import build
from regraft.dataset.rows import Box, Sample
from regraft.dataset.views import View
from regraft.events import Stepped
from regraft.seeds import generator
from regraft.store import Run
from regraft.tasks import Detection, check_task
from regraft.transfer.cut import Cut
from regraft.transfer.fit import Rung, Tail, train

EMPTY = 2
"""The picture without boxes."""


def samples() -> list[Sample]:
    rng = generator(0, "boxes")
    found: list[Sample] = []
    for n in range(4):
        boxes: list[Box] = []
        for _ in range(0 if n == EMPTY else 1 + n):
            left, top = (float(edge) for edge in rng.uniform(0, 40, 2))
            width, height = (float(side) for side in rng.uniform(8, 24, 2))
            box = Box(int(rng.integers(3)), left, top, left + width, top + height, False)
            boxes.append(box)
        sample = Sample(f"{n}", f"{n}", None, f"{n:064d}", size=(SIZE_PX,) * 2, boxes=tuple(boxes))
        found.append(sample)
    return found


def labels_of(rows: list[Sample]) -> list[dict[str, torch.Tensor]]:
    """As transformers wants them: middle and sides in shares of the picture."""
    found: list[dict[str, torch.Tensor]] = []
    for sample in rows:
        edges = torch.tensor([(b.left, b.top, b.right, b.bottom) for b in sample.boxes])
        edges = edges.reshape(-1, 4) / SIZE_PX
        middle, sides = (edges[:, :2] + edges[:, 2:]) / 2, edges[:, 2:] - edges[:, :2]
        classes = torch.tensor([b.category for b in sample.boxes], dtype=torch.int64)
        found.append({"class_labels": classes, "boxes": torch.cat((middle, sides), dim=1)})
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_one_of_transformers(family: str, tmp_path: Path) -> None:
    """That of the last layer, weighted as there; D-FINE's of edge distributions is ours to add."""
    # Groups of queries are a thing of training; the library's loss looks for them anyway.
    more = {"d_fine": {"weight_loss_fgl": 0.0}, "rf_detr": {"group_detr": 1}}.get(family, {})
    model = save_detector(family, tmp_path, **more)
    backbone = convert(f"transformers:{tmp_path}")
    task = Detection(NAMES, _detector(backbone), SIZE_PX, (0.5,) * 3)
    network, head, rows = build(backbone), task.head(backbone, 0).eval(), samples()
    noise = generator(0, "pictures").integers(0, 256, (4, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    with torch.no_grad():
        x_bchw = network.entry(torch.from_numpy(noise))
        outputs = head(*network.run((x_bchw,), 0, len(network.stages)))
        ours = task.criterion(task.targets(rows), [View()])(outputs, np.arange(4), 0)
        parts = model(x_bchw, labels=labels_of(rows)).loss_dict
    weights = {"loss_ce": 1.0, "loss_bbox": 5.0, "loss_giou": 2.0}
    if family in ("rt_detr_v2", "d_fine"):  # these weigh their parts themselves
        weights = {"loss_vfl": 1.0, "loss_bbox": 1.0, "loss_giou": 1.0}
    theirs = sum(weight * float(parts[name]) for name, weight in weights.items())
    assert ours.item() == pytest.approx(theirs, rel=1e-4)


def _detector(backbone: Any) -> Any:
    assert backbone.detector is not None
    return backbone.detector


@pytest.mark.parametrize("family", FAMILIES)
def test_the_task_keeps_the_contract(family: str, tmp_path: Path) -> None:
    save_detector(family, tmp_path)
    backbone = convert(f"transformers:{tmp_path}")
    check_task(Detection(NAMES, _detector(backbone), SIZE_PX, (0.5,) * 3), backbone)


class Noise:
    """What crosses the cut, of pictures of noise."""

    def __init__(self, tail: Tail) -> None:
        noise = generator(0, "pictures").integers(0, 256, (4, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
        with torch.no_grad():
            first = (tail.network.entry(torch.from_numpy(noise)),)
            self.values = tail.network.run(first, 0, tail.cut.frozen)

    def rows(self, sample_index: np.ndarray, view_index: int = 0) -> tuple[np.ndarray, ...]:
        return tuple(value[sample_index].numpy() for value in self.values)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rung_learns_right_of_its_cut_alone(family: str, tmp_path: Path) -> None:
    save_detector(family, tmp_path / "source")
    backbone = convert(f"transformers:{tmp_path / 'source'}")
    task = Detection(NAMES, _detector(backbone), SIZE_PX, (0.5,) * 3)
    cut = Cut(backbone, len(backbone.stages) - 2)

    def make() -> Tail:
        network = build(backbone)
        tail = Tail(network, cut, task.head(backbone, 0))
        cut.freeze(network)
        return tail

    tail = make()
    before = tail.snapshot()
    rung = Rung("last:2", frozen=cut.frozen, steps=30, batch=4, learning_rate=5e-3)
    kept = Run.open(tmp_path / "run", {}).checkpoint("rung", {})
    pictures = Noise(tail)
    loss_of = task.criterion(task.targets(samples()), [View()] * rung.views)
    events = train(rung, tail, loss_of, pictures, 4, 0, kept)
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    assert losses[-1] < 0.8 * losses[0]
    assert cut.certify(tail.network) == cut.fingerprint()
    after = tail.snapshot()
    still = {name for name, array in before.items() if np.array_equal(array, after[name])}
    assert all(name.endswith("points_scale") for name in still)  # nothing is learnt in these
    again = make()
    again.restore(after)
    with torch.no_grad():
        both = [one.eval()(pictures.rows(np.arange(4))) for one in (tail, again)]
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))
