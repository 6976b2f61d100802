"""What is in a data set, counted, for tests."""

from __future__ import annotations

from collections import Counter

from regraft.dataset import Dataset
from regraft.dataset.rows import DROPPED


def splits(dataset: Dataset) -> dict[str, int]:
    return dict(Counter(sample.split for sample in dataset))


def kinds(dataset: Dataset) -> dict[str, int]:
    return dict(Counter(problem.kind for problem in dataset.problems))


def accounted(dataset: Dataset) -> bool:
    dropped = sum(problem.done in DROPPED for problem in dataset.problems)
    return dataset.found == len(dataset) + dropped
