"""What classification outputs mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regraft.backbones.backbone import Stage
from regraft.dataset.rows import Dataset, Sample
from regraft.errors import ContractBroken
from regraft.seeds import generator
from regraft.tasks import Classification, check_task
from regraft.tasks.check import MADE_UP

ONE = Classification("image-classification", ("ant", "bee", "<i>"))
SEVERAL = Classification("image-classification", ("ant", "bee", "<i>"), multilabel=True)


def sample(target: int | tuple[int, ...]) -> Sample:
    return Sample("a.png", Path("a.png"), target, "0" * 64)


def test_targets() -> None:
    assert ONE.targets([sample(2), sample(0)]).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert SEVERAL.targets([sample((0, 2)), sample(())]).tolist() == [[1, 0, 1], [0, 0, 0]]


def test_balanced_weights_give_every_class_the_same_sum() -> None:
    target_nc = np.eye(2)[[0] * 9 + [1]]
    weight_n = Classification("t", ("a", "b"), balanced=True).sample_weights(target_nc)
    assert weight_n.mean() == pytest.approx(1)
    assert weight_n[:9].sum() == pytest.approx(weight_n[9:].sum())


@pytest.mark.parametrize("task", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("count", [10, 1000])
def test_few_right_answers_leave_doubt(task: Classification, count: int) -> None:
    """Without any mistake the likeliest temperature would be none at all."""
    classes = len(task.classes)
    target_nc = np.eye(classes, dtype=np.float32)[np.arange(count) % classes]
    logits_nc = np.where(target_nc > 0, 1.0, -1.0)
    chance_nc = task.probabilities(logits_nc, task.fit_temperature(logits_nc, target_nc))
    answers = count * classes if task.multilabel else count
    assert chance_nc[target_nc > 0] == pytest.approx((answers + 1) / (answers + 2), abs=1e-4)


@pytest.mark.parametrize("multilabel", [False, True])
def test_honest_answers_stay_as_they_are_where_classes_are_many(multilabel: bool) -> None:
    """To leave doubt must not mean to believe in each of many unlikely classes."""
    names = tuple(f"class {c}" for c in range(30))
    task = Classification("image-classification", names, multilabel=multilabel)
    found: list[float] = []
    for draw in range(8):
        rng = generator(draw, "honest")
        logits_nc = 3 * rng.normal(size=(40, 30))
        chance_nc = task.probabilities(logits_nc)
        if multilabel:
            target_nc = rng.random(chance_nc.shape) < chance_nc
        else:
            target_nc = np.eye(30)[[rng.choice(30, p=row) for row in chance_nc]]
        found.append(task.fit_temperature(logits_nc, target_nc.astype(np.float32)))
    assert np.median(found) == pytest.approx(1, abs=0.15)


def test_temperature_undoes_overconfidence() -> None:
    rng = generator(0, "temperature")
    honest_nc = rng.normal(size=(4000, 3)) * 1.5
    chance_nc = ONE.probabilities(honest_nc)
    drawn_n = (chance_nc.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
    assert ONE.fit_temperature(honest_nc * 3, np.eye(3)[drawn_n]) == pytest.approx(3, rel=0.1)


def test_loss_and_probabilities_agree_between_numpy_and_torch() -> None:
    import torch

    logits_nc = generator(0, "logits").normal(size=(5, 3)).astype(np.float32)
    for task, target_nc in (
        (ONE, np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]),
        (SEVERAL, np.array([[1, 0, 1]] * 5, dtype=np.float32)),
    ):
        chance_nc = task.probabilities(logits_nc)
        hit_nc = np.where(target_nc > 0, chance_nc, 1 - chance_nc)
        expected = -np.log(hit_nc[target_nc > 0] if task is ONE else hit_nc).sum() / 5
        loss = task.loss(torch.tensor(logits_nc), torch.tensor(target_nc), torch.ones(5))
        assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_answers_for_people() -> None:
    answer = ONE.decode(np.array([0.1, 0.2, 0.7]))
    assert (answer["label"], answer["probability"]) == ("<i>", 0.7)
    assert "labels" not in answer
    several = SEVERAL.decode(np.array([0.9, 0.2, 0.7]))
    assert (several["label"], several["labels"]) == ("ant", ["ant", "<i>"])
    none = SEVERAL.decode(np.array([0.3, 0.2, 0.1]))
    assert (none["label"], none["labels"], none["probability"]) == (None, [], 0.3)


def test_the_head_starts_the_same_for_the_same_seed() -> None:
    import torch

    backbone = replace(MADE_UP, stages=(Stage("last", 0, (), ((8,),)),))
    assert torch.equal(ONE.head(backbone, 1).weight, ONE.head(backbone, 1).weight)
    assert not torch.equal(ONE.head(backbone, 1).weight, ONE.head(backbone, 2).weight)


@pytest.mark.parametrize(
    "task", [ONE, SEVERAL, Classification("video-classification", ("a", "b"), balanced=True)]
)
def test_contract(task: Classification) -> None:
    check_task(task)


def test_contract_is_not_kept_by_a_loss_that_rewards_errors() -> None:
    class Upside(Classification):
        def loss(self, logits_nc, target_nc, weight_n):  # type: ignore[no-untyped-def]
            return -super().loss(logits_nc, target_nc, weight_n)

    with pytest.raises(ContractBroken, match="less than of wrong"):
        check_task(Upside("image-classification", ("ant", "bee")))


@pytest.mark.parametrize(("rare", "balanced"), [(4, False), (2, True)])
def test_classes_count_alike_where_one_is_rare_in_training(rare: int, balanced: bool) -> None:
    splits = [("train", 0)] * 8 + [("train", 1)] * rare + [("valid", 1)] * 20
    samples = tuple(Sample(str(i), "", target, split=s) for i, (s, target) in enumerate(splits))
    rows = Dataset(Path(), "text-classification", ("a", "b"), samples)
    assert Classification.of(rows).balanced is balanced
    several = replace(
        rows, multilabel=True, samples=tuple(replace(s, target=(s.target,)) for s in samples)
    )
    assert not Classification.of(several).balanced
