"""What rungs stand on: what a ground that is made of another shares with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.dataset import Dataset, Sample
from regraft.events import silent
from regraft.transfer.ground import Ground


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
