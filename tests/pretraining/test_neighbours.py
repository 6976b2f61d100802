"""What is shown of embeddings: neighbours by label, and a map of all classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regraft.dataset import Sample
from regraft.pretraining import neighbours, quality


def samples(name: str, count: int) -> list[Sample]:
    return [Sample(f"{name}-{i}", f"text {name} {i}", None) for i in range(count)]


def around(label_n: np.ndarray, noise: float) -> np.ndarray:
    rng = np.random.default_rng(len(label_n))
    return np.eye(4)[label_n] + rng.normal(0, noise, (len(label_n), 4))


def test_the_map_shows_all_classes_of_many_samples_and_neighbours_know_their_labels() -> None:
    held, train = np.repeat(np.arange(4), 300), np.repeat(np.arange(4), 10)
    found = neighbours.facts(
        neighbours.NeighbourMap(
            samples("held", 1200),
            samples("train", 40),
            {"before": around(held, 9.0), "after": around(held, 0.01)},
            {"before": around(train, 9.0), "after": around(train, 0.01)},
            ("a", "b", "c", "d"),
            held,
            train,
        ),  # fmt: skip
        Path("labelled"),
    )
    chart = found["map"]
    assert len(chart["after"]) == len(chart["labels"]) == neighbours.MAPPED
    assert np.bincount(chart["labels"]).min() > 100
    assert found["alike"]["after"] == 1.0
    assert found["alike"]["before"] < 0.5
    assert {tuple(row["same"]["after"]) for row in found["neighbours"]} == {(True,) * 5}
    last = found["neighbours"][-1]
    assert last["sample"] == "held-1199"
    assert all(30 <= int(name.split("-")[1]) < 40 for name in last["after"])
    assert found["excerpts"]["held-1199"] == "text held 1199"


def test_without_labels_the_first_samples_are_looked_for_among_the_others() -> None:
    kind = np.arange(40) % 4
    x = {"before": around(kind, 9.0), "after": around(kind, 0.01)}
    found = neighbours.facts(neighbours.of_pool(samples("pool", 40), x), Path("pool"))
    assert found["alike"] is None
    assert len(found["map"]["after"]) == 40
    assert len(found["neighbours"]) == neighbours.SHOWN
    for at, row in enumerate(found["neighbours"]):
        assert "same" not in row
        assert all(int(name.split("-")[1]) % 4 == at % 4 for name in row["after"])


def test_neighbours_of_many_samples_are_looked_for_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    x_nd, query_md = rng.normal(size=(30, 4)), rng.normal(size=(101, 4))
    whole = quality.nearest(x_nd, query_md, 5)
    seen: list[int] = []
    monkeypatch.setattr(quality, "AT_ONCE", 300)
    argsort = np.argsort
    monkeypatch.setattr(
        quality.np, "argsort", lambda x, **given: seen.append(len(x)) or argsort(x, **given)
    )
    parts = quality.nearest(x_nd, query_md, 5)
    assert seen == [10] * 10 + [1]
    assert np.array_equal(parts[0], whole[0])
    assert np.allclose(parts[1], whole[1])
