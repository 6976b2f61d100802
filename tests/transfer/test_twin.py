"""What the twin from random weights is given: a fair chance within its time."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from regraft.backbones import Backbone, build, nanodet, open_backbone
from regraft.dataset import Sample
from regraft.tasks.measure import Difference
from regraft.transfer import twin


def of_size(height: int, width: int) -> list[Sample]:
    return [Sample("a", Path("a.png"), 0, size=(height, width))]


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return open_backbone("efficientnet-lite0")


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        ((375, 500), [224, 192, 160, 128, 96, 64]),
        ((150, 3000), [160, 128, 96, 64]),
        ((64, 64), [64]),
        ((28, 28), [64]),
    ],
)
def test_pictures_are_never_larger_than_they_are_but_large_enough(
    size: tuple[int, int], sizes: list[int], lite0: Backbone
) -> None:
    assert twin.sizes_px(of_size(*size), lite0) == sizes


def test_it_is_the_same_network_for_other_pictures(lite0: Backbone) -> None:
    small = twin.at_size(lite0, 64)
    assert small.parameters == lite0.parameters
    assert [stage.tensors for stage in small.stages] == [stage.tensors for stage in lite0.stages]
    assert small.stages[0].shapes == ((32, 32, 32),)
    one, again, other = (build(small, random_seed=seed).tensors() for seed in (1, 1, 2))
    name = "conv_stem.weight"
    assert (one[name] == again[name]).all()
    assert (one[name] != other[name]).any()


def test_a_network_for_one_size_alone_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "network.py"
    path.write_text(
        "from torch import nn\n"
        "from regraft.backbones import Preprocessing\n"
        "def flat():\n"
        "    layers = nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(4 * 64 * 64, 8)\n"
        "    return [('all', nn.Sequential(*layers))], Preprocessing(size_px=128)\n"
    )
    flat = open_backbone(f"local:{path}:flat")
    assert twin.at_size(flat, 64) is flat
    assert twin.sizes_px(of_size(64, 64), flat) == [128]


def test_the_largest_size_that_leaves_time_for_many_passes() -> None:
    sizes = [224, 128, 64]
    a_step_s = 0.5
    assert twin.fitting_px(sizes, a_step_s, 0.0, most_s=7.0) == 224
    assert twin.fitting_px(sizes, a_step_s, 0.0, most_s=2.1) == 128
    assert twin.fitting_px(sizes, a_step_s, 0.2, most_s=2.1) == 64
    assert twin.fitting_px(sizes, a_step_s, 0.0, most_s=0.1) == 64
    most_s = twin.most_s(count=320, allowed_s=40.0, batch=32)
    assert most_s == pytest.approx(40.0 / (twin.PASSES * 10))


def test_steps_fill_the_time_up_to_a_bound() -> None:
    assert twin.steps_in(40.0, 0.5, count=320, batch=32) == 80
    assert twin.steps_in(0.1, 0.5, count=320, batch=32) == 1
    assert twin.steps_in(1e9, 0.5, count=320, batch=32) == 10 * 5 * twin.PASSES


def test_a_network_without_norms_is_trained_slowly() -> None:
    """NanoDet-g's batch norms are folded into its convolutions."""
    normed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    layered = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    assert twin.rate_of(normed) == twin.rate_of(layered) == twin.LEARNING_RATE
    assert twin.rate_of(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())) == twin.WITHOUT_NORMS
    folded = nn.ModuleList(part.module for part in nanodet.stages())
    assert twin.rate_of(folded) == twin.WITHOUT_NORMS


def test_its_rung_is_that_of_an_untrained_network() -> None:
    rung = twin.rung_of(count=320, steps=80, batch=32, rate=0.1)
    assert rung.learning_rate == 0.1
    assert (rung.frozen, rung.pretrained, rung.decay, rung.views) == (0, False, 1.0, 8)
    assert twin.rung_of(count=320, steps=4000, batch=32, rate=0.1).views == twin.VIEWS


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (Difference(0.12, 0.05, 0.19, 0.001), "last:1 is 12.0 points ahead of it (+5.0 to +19.0"),
        (
            Difference(-0.12, -0.19, -0.05, 0.001),
            "it is 12.0 points ahead of last:1 (+5.0 to +19.0",
        ),
        (
            Difference(0.01, -0.05, 0.07, 0.6),
            "cannot be told from last:1: +1.0 points (-5.0 to +7.0) for last:1",
        ),
    ],
)
def test_the_outcome_is_said_whoever_wins(gap: Difference, said: str) -> None:
    facts = {"size_px": 64, "steps": 80, "passes": 12.0, "seconds": {"total": 40.0}}
    text = twin.text(facts, gap, "last:1")
    assert said in text
    assert "at 64 px, 80 steps (12 passes), as many as this machine makes in 40 s" in text
    assert "So few passes" not in text
    assert "So few passes" in twin.text(facts | {"passes": 3.0}, gap, "last:1")
