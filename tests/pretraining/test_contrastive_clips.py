"""Contrastive pre-training on clips: halves, the control, the judge, kills and faults."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset"))
from made_videos import moving, write
from PIL import Image
from running import killed, start, steps_of, weights

import regraft
from regraft.backbones import open_backbone
from regraft.dataset import read_unlabelled
from regraft.errors import DataError, RegraftError, UsageError
from regraft.events import Event, Said, silent
from regraft.pretraining import Settings, check_objective, pretrain, verb
from regraft.pretraining.augment import DRAWS, augmented
from regraft.pretraining.clips import DENSITY, ContrastiveClips, half_of
from regraft.pretraining.objective import Job

NETWORK = """
import torch
from torch import nn
from regraft import Preprocessing

def tiny():
    def block(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        end = nn.Sequential(block(16, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return [("a", block(3, 8)), ("b", block(8, 16)), ("c", end)], Preprocessing(size_px=32)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, opened_once: None) -> None:
    monkeypatch.setattr("regraft.pretraining.judge_tuned.MOST_STEPS", 20)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    for i in range(4):
        write(tmp_path / "pool" / "deep" / f"{i}.mp4", moving(32, seed=i), rate=8)
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path


def settings(**changes) -> Settings:
    plain = {"batch": 8, "epochs": 4, "clip_s": 1.0, "frames": 2, "bf16": False}
    return Settings(**(plain | changes))


def test_halves_and_the_same_moment() -> None:
    frames, count = 3, 5
    rows = torch.arange(2 * DENSITY * frames, dtype=torch.uint8)
    rows = rows[None, :, None, None, None].expand(count, -1, 2, 2, 3)
    draws = np.random.default_rng(0).random((2, count, DRAWS))
    middle = DENSITY * frames
    halves = [half_of(rows, draws, half, frames, False)[..., 0, 0, 0] for half in (0, 1)]
    assert (halves[0] < middle).all() and (halves[1] >= middle).all()
    assert all((view.diff(dim=1) == DENSITY).all() for view in halves)
    same = [half_of(rows, draws, half, frames, True)[..., 0, 0, 0] for half in (0, 1)]
    assert torch.equal(same[0], same[1])
    many = np.random.default_rng(1).random((2, 400, DRAWS))
    rows = rows[:1].expand(400, -1, -1, -1, -1)
    first = half_of(rows, many, 0, frames, True)[:, 0, 0, 0, 0]
    assert set(first.tolist()) == {0, 1, middle, middle + 1}, "each half, each phase"
    assert 0.4 < (first < middle).float().mean() < 0.6


def test_what_is_drawn_holds_for_all_frames_of_a_view() -> None:
    rng = np.random.default_rng(0)
    still = torch.from_numpy(rng.integers(0, 256, (2, 1, 40, 40, 3), dtype=np.uint8))
    draws = rng.random((2, DRAWS))
    views = augmented(still.expand(-1, 4, -1, -1, -1), draws, 32).unflatten(0, (2, 4))
    assert torch.allclose(views[:, :1].expand_as(views), views, atol=1e-6)
    assert not torch.allclose(views[0, 0], views[1, 0])


def test_it_keeps_the_contract_of_an_objective(place: Path) -> None:
    backbone = open_backbone(f"video:2:{start(place)}")
    pool = read_unlabelled(place / "pool", clip_s=1.0)
    for pairs in ("halves", "same-moment"):
        check_objective(ContrastiveClips(settings(pairs=pairs)), backbone, pool.samples)


def test_a_piece_of_one_clip_gives_the_gradients_of_the_whole_batch(place: Path) -> None:
    """Where no batch norm ties clips together in the network; the projection's sees all."""
    (place / "net.py").write_text(NETWORK.replace("BatchNorm2d(o)", "GroupNorm(2, o)"))
    backbone = open_backbone(f"video:2:{start(place)}")
    samples = read_unlabelled(place / "pool", clip_s=1.0).samples
    found = list[list[torch.Tensor]]()
    for piece in (16, 2):
        job = Job(backbone, 0, samples, 0, lambda _, work: work(), None, False, lambda _: None)
        with closing(ContrastiveClips(settings(piece=piece)).open(job)) as learner:
            learner.backward(0)
            trained = [p for group in learner.groups() for p in group["params"]]
            found.append([p.grad for p in trained])
    largest = max(float(grad.abs().max()) for grad in found[0])
    assert largest > 0.01
    for whole, parts in zip(*found, strict=True):  # the network's weights are random
        assert torch.allclose(whole, parts, atol=1e-5 * max(1.0, largest))


def test_from_videos_to_a_backbone_with_verdict_and_control(place: Path) -> None:
    for kind, name in enumerate(("bright", "dark")):
        for i in range(10):
            pixels = moving(8, seed=50 + 20 * kind + i)
            write(place / "judge" / name / f"{i}.mp4", pixels // 3 if kind else pixels // 2 + 120)
    done = pretrain(
        place / "pool", place / "run", backbone=start(place), judge=place / "judge",
        settings=settings(epochs=40), control=True,
    )  # fmt: skip
    report = json.loads((done.folder / "report.json").read_text())
    assert report["data"]["things"] == "clips"
    leaks = sum(problem["kind"] == "leak" for problem in report["data"]["problems"])
    assert report["data"]["samples"] == 16 - leaks >= 12
    assert report["backbone"]["preprocessing"]["frames"] == 2
    assert report["verdict"]["answer"] in ("helped", "no difference", "hurt")
    assert "same moment" in report["control"]["text"]
    assert report["control"]["after"] == report["verdict"]["after"]
    assert len(report["control"]["curves"]) >= 2
    assert report["verdict"]["fine_tuned"]["answer"] in ("helped", "no difference", "hurt")
    page = (done.folder / "report.html").read_text()
    assert page.count("data:image/jpeg") > 3
    assert "same moment" in page
    assert regraft.report(done.folder).read_text() == page
    backbone = open_backbone(str(done.folder))
    assert (backbone.modality, backbone.frames) == ("video", 2)
    fitted = regraft.fit(place / "judge", place / "fit", backbone=str(done.folder), train="head")
    assert fitted.report["backbone"]["sha256"] == backbone.sha256


def test_killed_and_resumed_gives_the_same_bits(place: Path) -> None:
    asked = settings(epochs=20)
    killed(place, "cut", asked)
    rest, all_steps = (steps_of(place, out, asked) for out in ("cut", "whole"))
    assert all_steps == list(range(1, 41))
    assert 10 <= len(rest) < 31
    assert rest == all_steps[-len(rest) :]
    assert weights(place / "cut") == weights(place / "whole")


def test_a_loss_that_is_no_number_names_the_batch_and_keeps_the_last_good_state(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regraft.pretraining import contrastive

    plain, seen = contrastive.nt_xent, []

    def broken(*given):
        seen.append(1)
        return plain(*given) * (float("nan") if len(seen) == 3 else 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(contrastive, "nt_xent", broken)
        patch.setattr("regraft.transfer.loop.SAVE_EVERY_S", 0.0)
        patch.setattr("regraft.transfer.loop.SAVING_SHARE", 1e9)
        with pytest.raises(RegraftError, match="step 3 of") as fault:
            steps_of(place, "run", settings())
    assert "s, deep/" in fault.value.where
    assert len(seen) == 3
    assert steps_of(place, "run", settings()) == list(range(3, 9))
    steps_of(place, "whole", settings())
    assert weights(place / "run") == weights(place / "whole")


def test_what_cannot_be(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--judge|compare by"):
        pretrain(place / "pool", place / "a", backbone=start(place), control=True)
    with pytest.raises(UsageError, match="has no control"):  # it is the control
        pretrain(
            place / "pool", place / "a", backbone=start(place), control=True,
            judge=place / "judge", settings=settings(pairs="same-moment"),
        )  # fmt: skip
    with pytest.raises(DataError, match="This is a file; a pool is a folder"):
        pretrain(next((place / "pool").rglob("*.mp4")), place / "a", backbone=start(place))
    for path in list((place / "pool").rglob("*.mp4"))[:2]:
        path.unlink()
    with pytest.raises(DataError, match="too few clips to tell apart: 2"):
        pretrain(place / "pool", place / "b", backbone=start(place), settings=settings(clip_s=None))
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "pictures" / "a.png")
    with pytest.raises(UsageError, match="more videos than pictures"):
        pretrain(tmp_path / "pictures", place / "c", settings=Settings(clip_s=2.0))
    for name in ("red", "blue"):
        (tmp_path / "judge" / name).mkdir(parents=True)
        for i in range(4):
            noise = np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "judge" / name / f"{name}{i}.png")
    with pytest.raises(UsageError, match="the judge is data for image") as refused:
        question = {"max_bad": 0.01, "seed": 0}
        verb._judge(tmp_path / "judge", ContrastiveClips(settings()), question, None, silent)
    assert refused.value.where == "--judge"
    for chosen in (Settings(clip_s=2.0), None):
        with pytest.raises(DataError, match="no such file or folder"):
            pretrain(tmp_path / "nowhere", place / "d", settings=chosen)


def test_posters_beside_videos_do_not_make_them_pictures(place: Path) -> None:
    for i in range(3):
        Image.new("RGB", (40, 40), (80 * i, 0, 0)).save(place / "pool" / f"{i}.jpg")
    told: list[Event] = []
    done = pretrain(
        place / "pool", place / "run", backbone=start(place), settings=settings(epochs=1),
        tell=told.append,
    )  # fmt: skip
    assert done.report["data"]["things"] == "clips"
    assert done.report["data"]["samples"] == 16
    assert Said("3 pictures are not read: most files here are videos") in told
