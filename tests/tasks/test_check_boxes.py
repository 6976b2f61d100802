"""`check_task` of detection: what keeps the contract passes, and every planted fault is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from regraft.backbones.backbone import Backbone, Detector
from regraft.errors import ContractBroken
from regraft.tasks import Detection, check_task
from regraft.tasks.measure import Score

DENSE = Detector("dense", ("cat", "dog"), (8, 16), 6)
WHAT: dict[str, Any] = {
    "classes": ("cat", "dog"), "detector": DENSE, "size_px": 64, "frequency": (0.5, 0.5),
}  # fmt: skip


def test_detection_keeps_the_contract() -> None:
    check_task(Detection(**WHAT))


@dataclass(frozen=True)
class Drawn(Detection):
    """Its head is another each time."""

    def head(self, backbone: Backbone, seed: int, *, pretrained: bool = True) -> Any:
        return super().head(backbone, int(torch.randint(1 << 30, ())), pretrained=pretrained)


@dataclass(frozen=True)
class Miscounted(Detection):
    """It counts its head wrong."""

    def head_parameters(self, backbone: Backbone) -> int:
        return super().head_parameters(backbone) + 1


@dataclass(frozen=True)
class Forgetful(Detection):
    """Its facts do not make it again."""

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"frequency": [1.0, 1.0]}


@dataclass(frozen=True)
class Blind(Detection):
    """Any answer is as good as another."""

    def score(self, answers: Any, targets: Any) -> Score:
        return lambda weights_rn: np.ones(len(weights_rn))


@dataclass(frozen=True)
class Climbing(Detection):
    """Its loss leads the wrong way."""

    def criterion(self, targets: Any, views: Any) -> Any:
        loss = super().criterion(targets, views)
        return lambda outputs, index_b, view: -loss(outputs, index_b, view)


@dataclass(frozen=True)
class Ordered(Detection):
    """Its loss depends on where in the batch a sample is."""

    def criterion(self, targets: Any, views: Any) -> Any:
        loss = super().criterion(targets, views)
        return lambda outputs, index_b, view: loss(outputs, index_b, view) * (1 + index_b[0])


@dataclass(frozen=True)
class Elsewhere(Detection):
    """Its boxes are not in the picture's pixels."""

    def answers(self, outputs: Any, samples: Any) -> Any:
        found = super().answers(outputs, samples)
        return found | {"boxes": found["boxes"] * 100}


@dataclass(frozen=True)
class Unsorted(Detection):
    """Its surest box comes anywhere."""

    def answers(self, outputs: Any, samples: Any) -> Any:
        found = super().answers(outputs, samples)
        return found | {"scores": 1 - found["scores"]}


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Drawn, "twice the same"),
        (Miscounted, "counts head"),
        (Forgetful, "the same task again"),
        (Blind, "score less"),
        (Climbing, "what answers\\(\\) tells"),
        (Ordered, "does not depend on its order"),
        (Elsewhere, "in the picture"),
        (Unsorted, "comes first"),
    ],
)
def test_a_broken_promise_is_named(broken: type[Detection], promise: str) -> None:
    with pytest.raises(ContractBroken, match=promise):
        check_task(broken(**WHAT))


def test_queries_need_their_backbone() -> None:
    task = Detection(("cat",), Detector("queries", ("cat",)), 64, (0.5,))
    with pytest.raises(ContractBroken, match="on its backbone"):
        check_task(task)
