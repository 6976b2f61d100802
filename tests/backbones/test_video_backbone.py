"""Clip networks: frames in the batch, the mean at the start, a contract like any other's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from regraft.backbones import Backbone, build, check_backbone, open_backbone
from regraft.backbones.addresses import address, for_clips
from regraft.errors import BackboneError, UsageError

NETWORK = """
from torch import nn
from regraft import Preprocessing

def tiny():
    def block(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
    end = nn.Sequential(block(16, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return [("a", block(3, 8)), ("b", block(8, 16)), ("c", end)], Preprocessing(size_px=32)
"""


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("net") / "net.py"
    path.write_text(NETWORK)
    return f"local:{path}:tiny"


@pytest.fixture(scope="module")
def clips(name: str) -> Backbone:
    return open_backbone(f"video:4:{name}")


def test_it_keeps_the_contract(clips: Backbone) -> None:
    check_backbone(clips)
    assert (clips.modality, clips.frames, clips.width) == ("video", 4, 24)
    assert [stage.name for stage in clips.stages] == ["a", "b", "c", "temporal"]
    assert clips.stages[1].shapes == ((4, 16, 8, 8),)
    assert clips.stages[2].shapes == ((4, 24),)


def test_a_network_that_finds_objects_sees_no_clips(tmp_path: Path) -> None:
    text = NETWORK.replace(", nn.AdaptiveAvgPool2d(1), nn.Flatten()", "")
    text = text.replace("size_px=32)", 'size_px=32, whole=True), Detector("dense", (), (8,), 6)')
    path = tmp_path / "finder.py"
    path.write_text("from regraft.backbones.backbone import Detector\n" + text)
    with pytest.raises(BackboneError, match="finds objects"):
        open_backbone(f"video:4:local:{path}:tiny")


def test_before_training_it_is_the_mean_over_the_frames(clips: Backbone, name: str) -> None:
    frames = build(open_backbone(name))
    whole = build(clips)
    pixels = torch.randint(0, 256, (3, 4, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        each = frames(pixels.flatten(0, 1)).unflatten(0, (3, 4))
        assert torch.allclose(whole(pixels), each.mean(dim=1), atol=1e-6)
        (by_frame,) = whole.run((whole.entry(pixels),), 0, 3)
        assert torch.equal(by_frame, each)
    assert {n for n in whole.tensors() if not n.startswith("temporal.")} == set(frames.tensors())


def test_the_order_of_frames_can_be_learnt(clips: Backbone) -> None:
    """Forward against backward, on features that have the same mean."""
    network = build(clips)
    pool = network.stages[-1]
    rng = np.random.default_rng(0)
    start, step = rng.normal(size=(2, 64, 1, 24)).astype(np.float32)
    forward = start + np.abs(step) * np.linspace(-1, 1, 4, dtype=np.float32)[None, :, None]
    x = torch.from_numpy(np.concatenate([forward, forward[:, ::-1]]).copy())
    y = torch.cat([torch.zeros(64), torch.ones(64)])
    head = torch.nn.Linear(24, 1)
    trained = [*pool.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(trained, lr=3e-3)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(head(pool(x))[:, 0], y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert ((head(pool(x))[:, 0] > 0) == (y > 0)).float().mean() > 0.95
    assert torch.allclose(x[:64].mean(1), x[64:].mean(1), atol=1e-5)


def test_a_fresh_start_is_a_function_of_the_seed(clips: Backbone) -> None:
    one, again, other = (build(clips, random_seed=seed).tensors() for seed in (1, 1, 2))
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert not torch.equal(one["a.0.weight"], other["a.0.weight"])


def test_names(name: str, tmp_path: Path) -> None:
    assert address("video:efficientnet-lite0").name == "video:8:efficientnet-lite0"
    assert for_clips("efficientnet-lite0", 16) == "video:16:efficientnet-lite0"
    assert for_clips("video:4:efficientnet-lite0") == "video:4:efficientnet-lite0"
    for wrong in ("video:1:efficientnet-lite0", "video:999:efficientnet-lite0"):
        with pytest.raises(UsageError):
            address(wrong)
    with pytest.raises(UsageError):
        for_clips("video:4:efficientnet-lite0", 8)
    for wrong in ("video:minilm-l6", "video:video:efficientnet-lite0"):
        with pytest.raises(UsageError, match="no network of pictures") as refused:
            address(wrong)
        assert refused.value.where == wrong.removeprefix("video:")
    with pytest.raises(UsageError, match="a clip of 1 frames") as refused:
        for_clips("efficientnet-lite0", 1)
    assert refused.value.where == "--frames"
