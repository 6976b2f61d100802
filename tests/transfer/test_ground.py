"""What rungs stand on: what a ground that is made of another shares with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.backbones import Backbone, Preprocessing, Recipe
from regraft.dataset import Dataset, Sample
from regraft.events import silent
from regraft.transfer.ground import Ground, head_facts, inputs_of


def test_what_the_same_weights_read_otherwise_is_another_step() -> None:
    unused: Any = None
    rows = Dataset(Path("a"), "image-classification", ("a", "b"), ())
    recipe = Recipe("timm", "resnet18")
    small = Backbone("r", "image", "", "5ad", "", (), Preprocessing(64), recipe, Path())
    ground = Ground(unused, rows, small, unused, unused, 0, None, silent)
    for other in (Preprocessing(96), Preprocessing(64, mean=(0, 0, 0))):
        ground_of_other = replace(ground, backbone=replace(small, preprocessing=other))
        assert inputs_of(ground_of_other, {}) != inputs_of(ground, {})
    assert inputs_of(replace(ground, backbone=replace(small)), {}) == inputs_of(ground, {})


def test_heads_with_other_penalties_are_other_steps() -> None:
    unused: Any = None
    ground = Ground(*[unused] * 5, 0, None, silent)
    facts = [head_facts(replace(ground, penalty=penalty)) for penalty in (None, 0.1, 0.2)]
    assert facts[0] != facts[1] != facts[2] != facts[0]


def test_words_are_shared_where_data_and_network_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Words stand as long as the vectors they are beside, so those of one network fit no other."""
    texts = [Sample(str(n), f"word{n} and word{n + 1}", n % 2, split="train") for n in range(20)]
    length = {"short": 1.0, "long": 10.0}

    def vectors(ground: Ground, samples: Sequence[Sample]) -> np.ndarray:
        x_nd = np.random.default_rng(0).normal(size=(len(samples), 4))
        return (length[ground.backbone.sha256] * x_nd).astype(np.float32)

    monkeypatch.setattr(Ground, "vectors", vectors)
    unused: Any = None
    backbone: Any = SimpleNamespace(sha256="short")
    rows = Dataset(Path("a"), "text-classification", ("a", "b"), tuple(texts))
    ground = Ground(unused, rows, backbone, unused, unused, 0, None, silent, reads_words=True)
    other: Any = SimpleNamespace(sha256="long")
    assert replace(ground, seed=1).words() is ground.words()
    none = np.empty((len(texts), 0), np.float32)
    short, long = (
        one.words().beside(none, texts) for one in (ground, replace(ground, backbone=other))
    )
    assert np.linalg.norm(long) == pytest.approx(10 * np.linalg.norm(short), rel=1e-4)
