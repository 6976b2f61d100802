"""Levels: described without torch as the network is, carried through every cut, found useful."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from text_models import save_model

from regraft.backbones import Backbone, build, check_backbone, open_backbone
from regraft.backbones.levels import DIFFERENCES, LENGTH, joined, summed_up, with_levels
from regraft.backbones.network import describe
from regraft.tasks.probe import fit_probe
from regraft.transfer.pictures import pixels_of

NETWORK = """
from torch import nn
from regraft import Preprocessing

def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU())

def tiny():
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    blocks = [block(3, 8), block(8, 16), block(16, 12), block(12, 10), block(10, 24)]
    return [*zip("abcde", blocks), ("end", end)], Preprocessing(size_px=64)

def flat():
    class Tokens(nn.Module):
        def forward(self, x):
            return x.flatten(2).transpose(1, 2)
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(1)
    embed = nn.Sequential(nn.Conv2d(3, 8, 16, 16), Tokens())
    return [("embed", embed), ("norm", nn.LayerNorm(8)), ("end", Mean())], Preprocessing(size_px=64)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.py"
    path.write_text(NETWORK)
    return path


@pytest.fixture(scope="module")
def plain(file: Path) -> Backbone:
    return open_backbone(f"local:{file}:tiny")


def test_coarse_maps_but_the_last_are_levels(plain: Backbone) -> None:
    """Sides of 32, 16, 8, 4 and 2 of 64 pixels: 4 is coarse, 2 is what the vector is made of."""
    backbone = with_levels(plain)
    assert backbone.recipe.levels == (3,)
    assert backbone.width == 24 + 4 * 10
    assert [stage.shapes for stage in backbone.stages[3:]] == [
        ((10, 4, 4), (40,)), ((24, 2, 2), (40,)), ((64,),),
    ]  # fmt: skip
    assert with_levels(backbone) is backbone


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("random:resnet18", ["layer3"]),  # layer4 makes a map of its own
        ("random:resnet10t", ["layer3"]),  # 11 of 176 pixels: a side that is no whole part
        ("random:convnext_atto", ["stages.2"]),
        ("efficientnet-lite0", ["blocks.3", "blocks.4", "blocks.5"]),
        ("random:mobilenetv3_small_100", ["blocks.2", "blocks.3"]),
    ],
)
def test_the_map_that_the_vector_is_made_of_is_no_level(name: str, levels: list[str]) -> None:
    backbone = with_levels(open_backbone(name))
    assert [backbone.stages[i].name for i in backbone.recipe.levels] == levels


@pytest.mark.parametrize("name", ["plain", "efficientnet-lite0", "random:resnet10t"])
def test_what_is_described_is_what_is_built(plain: Backbone, name: str) -> None:
    backbone = with_levels(plain if name == "plain" else open_backbone(name))
    assert backbone.recipe.levels
    assert describe(build(backbone), backbone.preprocessing) == backbone.stages


def test_it_keeps_the_contract(plain: Backbone) -> None:
    check_backbone(with_levels(plain))


def test_networks_without_such_maps_stay_as_they_are(file: Path, plain: Backbone) -> None:
    for name in (f"local:{file}:flat", f"video:2:local:{file}:tiny"):
        backbone = open_backbone(name)
        assert with_levels(backbone) is backbone
    two = tuple(replace(s, shapes=s.shapes * 2) if s.name == "d" else s for s in plain.stages)
    backbone = replace(plain, stages=two)  # a second tensor would be taken for a level
    assert with_levels(backbone) is backbone


def test_it_is_written_and_read(plain: Backbone) -> None:
    backbone = with_levels(plain)
    values = backbone.to_json()
    assert Backbone.from_json(values, backbone.weights) == backbone
    older = plain.to_json()
    del older["recipe"]["levels"]  # as written before there were levels
    assert Backbone.from_json(older, plain.weights) == plain


def test_a_map_is_its_mean_and_three_differences() -> None:
    x = torch.zeros(1, 1, 4, 4)
    x[..., :2, 2:] = 4.0  # above right
    a, b = 2.0, 2.0 * DIFFERENCES
    wanted = torch.tensor([a, -b, b, -b])
    wanted = (wanted - wanted.mean()) / wanted.std(correction=0)
    torch.testing.assert_close(summed_up((x,))[0], wanted, atol=1e-4, rtol=0)


def test_levels_weigh_alike_however_wide() -> None:
    x, level = torch.randn(5, 24), summed_up((torch.randn(5, 100, 7, 7),))
    whole = joined(x, (level,), LENGTH)
    assert whole.shape == (5, 424)
    lengths = whole[:, :24].norm(dim=1), whole[:, 24:].norm(dim=1)
    torch.testing.assert_close(*lengths, rtol=1e-3, atol=0)
    torch.testing.assert_close(whole.norm(dim=1), torch.full((5,), LENGTH), rtol=1e-3, atol=0)


def test_a_map_that_says_nothing_is_no_harm() -> None:
    assert summed_up((torch.zeros(2, 8, 4, 4),)).isfinite().all()


def test_levels_right_of_a_cut_learn_with_their_stages(plain: Backbone) -> None:
    network = build(with_levels(plain))
    pixels = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        whole = network(pixels)
    for cut in range(7):
        with torch.no_grad():
            crossing = network.run((network.entry(pixels),), 0, cut)
        (x_bd,) = network.finish(crossing, cut)
        assert torch.equal(x_bd, whole)
    with torch.no_grad():
        crossing = network.run((network.entry(pixels),), 0, 3)
    (x_bd,) = network.finish(crossing, 3)
    (slope,) = torch.autograd.grad(x_bd[:, 24:].square().mul(torch.rand(40)).sum(),
                                   [network.stages[3][0].weight])  # fmt: skip
    assert slope.abs().max() > 0


def test_the_same_network_is_read_at_levels_and_without(plain: Backbone) -> None:
    network = build(plain)
    levels = with_levels(plain)
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        seen = network.read_at(levels.recipe.levels)(pixels)
        assert torch.equal(seen, build(levels)(pixels))
        assert network(pixels).shape == (2, 24)


def test_digits_are_told_apart_by_what_the_last_stage_has_lost() -> None:
    data = load_digits()
    some = np.random.default_rng(0).permutation(len(data.target))[:260]
    target_nc, learnt = np.eye(10, dtype=np.float32)[data.target[some]], 100
    backbone = with_levels(open_backbone("efficientnet-lite0"))
    shown = [Image.fromarray((15 * data.images[i]).astype(np.uint8)).convert("RGB") for i in some]
    x_nhwc = torch.from_numpy(np.stack([pixels_of(one, backbone.pictures) for one in shown]))
    with torch.inference_mode():
        x_nd = torch.cat([build(backbone)(part) for part in x_nhwc.split(52)]).numpy()
    accuracy: list[float] = []
    for width in (1280, backbone.width):  # the last stage comes first
        probe = fit_probe(
            x_nd[:learnt, :width], target_nc[:learnt], exclusive=True, weight_n=np.ones(learnt),
            clusters=[""] * learnt, seed=0,
        )  # fmt: skip
        said_n = probe.logits(x_nd[learnt:, :width]).argmax(axis=1)
        accuracy.append(float((said_n == target_nc[learnt:].argmax(axis=1)).mean()))
    assert accuracy[1] > accuracy[0] + 0.05, accuracy


# Texts --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """Five layers, windows of 16 tokens."""
    folder = tmp_path_factory.mktemp("encoder")
    save_model("bert", folder, num_hidden_layers=5)
    backbone = open_backbone(f"windows:4:text:{folder}")
    return replace(backbone, preprocessing=replace(backbone.texts, max_tokens=16))


def test_layers_before_the_last_are_levels_of_an_encoder(encoder: Backbone) -> None:
    backbone = with_levels(encoder)
    assert backbone.recipe.levels == (2, 3, 4)
    assert backbone.width == 4 * 32
    assert backbone.stages[3].shapes == ((-1, 32), (), (32,), (32,))
    assert describe(build(backbone), backbone.preprocessing) == backbone.stages
    check_backbone(backbone)


@pytest.mark.parametrize("family", ["distilbert", "roberta", "deberta-v2", "modernbert"])
def test_all_families_have_levels(family: str, tmp_path: Path) -> None:
    save_model(family, tmp_path)
    backbone = with_levels(open_backbone(f"text:{tmp_path}"))
    assert backbone.recipe.levels == (1,), "the first of two layers"
    assert describe(build(backbone), backbone.preprocessing) == backbone.stages


def test_padding_is_no_part_of_a_level(encoder: Backbone) -> None:
    network = build(with_levels(encoder))
    ids = torch.randint(4, 100, (1, 9), dtype=torch.int32)
    filled = torch.cat([ids, torch.full((1, 5), -1, dtype=torch.int32)], dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(network(ids), network(filled))


def test_a_long_text_has_the_mean_of_its_windows_at_every_cut(encoder: Backbone) -> None:
    """What the engine keeps at a cut: hidden states in a row, lengths added, levels averaged."""
    network = build(with_levels(encoder))
    ids = torch.randint(4, 100, (1, 40), dtype=torch.int32)
    with torch.inference_mode():
        whole = network(ids)
        windows = [network.entry(ids[:, at : at + 16]) for at in (0, 16, 32)]
        share = torch.tensor([16.0, 16.0, 8.0])[:, None] / 40
        by_hand = sum(s * network(w.int()) for s, w in zip(share, windows, strict=True))
        torch.testing.assert_close(whole, by_hand)
        for cut in range(1, 6):
            parts = [network.run((one,), 0, cut) for one in windows]
            x_bld, length_b, *levels = zip(*parts, strict=True)
            beside = [(torch.cat(level) * share).sum(dim=0, keepdim=True) for level in levels]
            row = (torch.cat(x_bld, dim=1), torch.stack(length_b).sum(dim=0), *beside)
            torch.testing.assert_close(network.finish(row, cut)[0], whole)
