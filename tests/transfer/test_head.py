"""What the head learns from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regraft.dataset import Sample
from regraft.tasks import Classification
from regraft.transfer.head import HeadData

SAMPLES = tuple(Sample(f"{n}.png", Path(f"{n}.png"), n % 2, group="g" * (n > 3)) for n in range(6))
TARGETS = np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0, 1]]


class Overheard:
    """A task that keeps what its head is fitted on."""

    def fit_head(self, *given: Any) -> Any:
        self.given = given


def data(views: int) -> HeadData:
    rng = np.random.default_rng(0)
    return HeadData(rng.normal(size=(views, 6, 3)), TARGETS, SAMPLES)


def test_views_of_a_sample_teach_the_same_and_stay_in_one_fold() -> None:
    task, three = Overheard(), replace(data(3), penalty=0.1)
    three.fit(task, 7, np.array([5, 1]))
    x_nd, target_nc, clusters, seed, penalty = task.given
    assert np.array_equal(x_nd, np.concatenate([x_nd[[5, 1]] for x_nd in three.x_knd]))
    assert np.array_equal(target_nc, np.tile(TARGETS[[5, 1]], (3, 1)))
    assert clusters == ["g", "1.png"] * 3
    assert (seed, penalty) == (7, 0.1)


def test_of_many_pictures_no_copy_is_made() -> None:
    task, three = Overheard(), data(3)
    three.fit(task, 0)
    assert np.shares_memory(task.given[0], three.x_knd)


def test_of_a_single_view_nothing_is_grouped_that_was_not() -> None:
    task = Overheard()
    data(1).fit(task, 0)
    assert task.given[2] == ["", "", "", "", "g", "g"]


def test_views_that_say_more_make_a_better_head() -> None:
    """The plain view shows a shade of the class alone, the other the class itself."""
    rng = np.random.default_rng(1)
    label_n = np.arange(200) % 2
    samples = tuple(Sample(str(n), Path(str(n)), int(c)) for n, c in enumerate(label_n))
    target_nc = np.eye(2, dtype=np.float32)[label_n]
    clear = rng.normal(size=(200, 8)) + 3 * target_nc[:, [1] * 8]
    dull = rng.normal(size=(200, 8))
    task = Classification("image-classification", ("a", "b"))
    one = HeadData(dull[None], target_nc, samples).fit(task, 0)
    two = HeadData(np.stack([dull, clear]), target_nc, samples).fit(task, 0)
    assert (one.logits(clear).argmax(axis=1) == label_n).mean() < 0.8
    assert (two.logits(clear).argmax(axis=1) == label_n).mean() > 0.95
