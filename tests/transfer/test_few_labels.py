"""What is learnt from and answered for where labels are few, and of few groups."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.dataset import Sample
from regraft.tasks.classification import Classification
from regraft.transfer import few_labels as module
from regraft.transfer.step import Step

TASK = Classification("text-classification", ("ham", "spam"))


def of_groups(*groups: tuple[int, str, int]) -> list[Sample]:
    """Training samples: class, group and how many of it."""
    return [
        Sample(f"{group}{n}", "text", label, f"{group}{n}", "train", group=group)
        for label, group, count in groups
        for n in range(count)
    ]


def folds_of(samples: list[Sample]) -> list[module.Draw]:
    ground: Any = SimpleNamespace(seed=3)
    return module._folds(ground, samples, TASK.targets(samples))


def test_of_a_class_of_few_groups_all_but_one_are_learnt_from() -> None:
    ham = [(0, f"ham{g}", many) for g, many in enumerate((4, 1, 3, 2, 2, 1, 1))]
    samples = of_groups(*ham, *((1, f"spam{g}", 1) for g in range(12)))
    draws = folds_of(samples)
    assert len(draws) == module.DRAWS
    for parts in draws:
        assert len(parts) == 7
        assert sorted(np.concatenate([out for _, out in parts])) == list(range(len(samples)))
        for learn, out in parts:
            assert len({samples[i].group for i in learn if samples[i].target == 0}) == 6
            assert not {samples[i].group for i in learn} & {samples[i].group for i in out}
    firsts = {tuple(parts[0][1]) for parts in draws}
    assert len(firsts) > 5


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([4, 1, 3], "to learn from: ham (8 labels of 3 groups). Texts of others"),
        ([8], "ham (8 labels of 1 group). "),
        ([1, 1, 1], ""),
        ([2] * 8, ""),
    ],
)
def test_labels_of_few_groups_are_called_so(groups: list[int], said: str) -> None:
    ham = [(0, f"ham{g}", many) for g, many in enumerate(groups)]
    samples = of_groups(*ham, *((1, f"spam{g}", 1) for g in range(12)))
    found = module._few_groups(TASK, samples, TASK.targets(samples))
    assert said in found and bool(found) == bool(said)


@pytest.mark.parametrize("penalty", [0.3, 3.0])
def test_a_head_fitted_again_has_the_penalty_that_is_set(penalty: float) -> None:
    samples = of_groups(*((n % 2, f"g{n}", 2) for n in range(12)))
    x_nd = np.random.default_rng(0).normal(size=(len(samples), 3)).astype(np.float32)
    ground: Any = SimpleNamespace(
        dataset=SimpleNamespace(fingerprint=str, split={"train": samples, "valid": []}.get),
        backbone=SimpleNamespace(sha256="", recipe="", preprocessing=None),
        run=SimpleNamespace(step=lambda name, inputs, compute: compute()),
        vectors=lambda _: x_nd, head_weights=lambda head, _: {"penalty": np.array(head.penalty)},
        head_views=1, penalty=penalty, reads_words=False, seed=0, soft={},
    )  # fmt: skip
    head = Step({"name": "head"}, {}, {})
    assert module.refitted(ground, TASK, head).weights["penalty"] == penalty
