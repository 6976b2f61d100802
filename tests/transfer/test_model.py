"""Which training samples a model keeps to tell what is unlike them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from regraft.dataset import Dataset, Sample
from regraft.transfer import model


def ground(count: int, classes: int) -> Any:
    """Samples in the order of their classes, as a folder of classes gives them."""
    train = tuple(
        Sample(f"{i:05}", Path("a"), i * classes // count, split="train") for i in range(count)
    )
    return SimpleNamespace(dataset=Dataset(Path("a"), "", ("c",) * classes, train), seed=3)


def test_all_are_kept_where_they_are_few() -> None:
    few = ground(40, 4)
    assert model.reference_samples(few) == list(few.dataset.samples)


def test_of_many_some_of_each_class_are_kept() -> None:
    many = ground(4 * model.REFERENCES, 10)
    kept = model.reference_samples(many)
    assert len(kept) == model.REFERENCES
    assert {sample.target for sample in kept} == set(range(10))
    assert kept == model.reference_samples(many)
    assert kept == sorted(kept, key=lambda sample: sample.id)
