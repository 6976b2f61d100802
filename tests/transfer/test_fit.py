"""The training loop: what it changes, what it leaves alone, and how it goes on."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from regraft.backbones.backbone import Backbone, Preprocessing, Recipe
from regraft.backbones.network import Network, Part, describe
from regraft.dataset import Sample, View
from regraft.errors import RegraftError
from regraft.events import Saved, Stepped
from regraft.seeds import generator
from regraft.store import Checkpoint, Run
from regraft.tasks.classification import Classification
from regraft.tasks.task import Criterion
from regraft.transfer import loop
from regraft.transfer.cut import Cut
from regraft.transfer.fit import Rung, Tail, _Fitting, answers, pooled, seconds_a_step, train

TASK = Classification("image-classification", ("dark", "light"))
RUNG = Rung("last:2", frozen=1, steps=24, batch=8, views=2)
COUNT = 32
SAMPLES = [Sample(str(i), Path("made up"), i % 2) for i in range(COUNT)]


class Pictures:
    """Activations at a cut, computed on the spot from made-up pictures."""

    def __init__(self, tail: Tail) -> None:
        rng = generator(0, "pictures")
        self.light_n = np.arange(COUNT) % 2
        noise = rng.integers(0, 80, (COUNT, 16, 16, 3))
        self.pixels_nhwc = (noise + 100 * self.light_n[:, None, None, None]).astype(np.uint8)
        self.tail = tail

    def rows(self, sample_index: np.ndarray, view_index: int = 0) -> tuple[np.ndarray, ...]:
        pixels_bhwc = self.pixels_nhwc[sample_index] + np.uint8(view_index)
        if self.tail.cut.frozen == 0:
            return (pixels_bhwc,)
        with torch.no_grad():
            first = (self.tail.network.entry(torch.from_numpy(pixels_bhwc)),)
            values = self.tail.network.run(first, 0, self.tail.cut.frozen)
        return tuple(value.numpy() for value in values)

    @property
    def target_nc(self) -> np.ndarray:
        return np.eye(2, dtype=np.float32)[self.light_n]

    @property
    def criterion(self) -> Criterion:
        return TASK.criterion(self.target_nc, [View()])


def make_tail(frozen: int = 1) -> Tail:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stages = [
            nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
            nn.Sequential(nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        ]
    preprocessing = Preprocessing(size_px=16)
    parts = [Part(str(i), stage, f"{i}.") for i, stage in enumerate(stages)]
    network = Network(parts, preprocessing).eval()
    backbone = Backbone(
        "tiny",
        "image",
        "made here",
        "0" * 64,
        "Apache-2.0",
        describe(network, Preprocessing(size_px=16)),
        preprocessing,
        Recipe("local", "tiny"),
        Path("nowhere"),
    )
    cut = Cut(backbone, frozen)
    tail = Tail(network, cut, TASK.head(backbone, 0))
    cut.freeze(network)
    return tail


def checkpoint(folder: Path) -> Checkpoint:
    return Run.open(folder, {}).checkpoint("rung", {})


def run(tail: Tail, rung: Rung, kept: Checkpoint, stop_after: int | None = None) -> list[float]:
    pictures = Pictures(tail)
    losses: list[float] = []
    with closing(train(rung, tail, pictures.criterion, pictures, COUNT, 0, kept)) as events:
        for event in events:
            if isinstance(event, Stepped):
                losses.append(event.loss)
            if len(losses) == stop_after:
                break
    return losses


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_it_learns_and_leaves_the_frozen_part_alone(tmp_path: Path) -> None:
    tail = make_tail()
    before, left = tail.snapshot(), tail.cut.certify(tail.network)
    losses = run(tail, replace(RUNG, steps=80, learning_rate=1e-2), checkpoint(tmp_path / "run"))
    assert np.mean(losses[-8:]) < 0.5 * np.mean(losses[:8])
    assert tail.cut.certify(tail.network) == left
    after = tail.snapshot()
    changed = {name for name in before if before[name].tobytes() != after[name].tobytes()}
    statistics = {name for name in before if "running" in name or "batches" in name}
    assert changed == set(before) - statistics
    pictures = Pictures(tail)
    found = answers(tail, TASK, pictures, SAMPLES)
    logits_nc = found["logits"]
    assert (logits_nc.argmax(axis=1) == pictures.light_n).mean() > 0.9


def test_the_twin_from_random_weights_learns_statistics_too(tmp_path: Path) -> None:
    tail = make_tail(0)
    before = tail.snapshot()
    run(tail, replace(RUNG, frozen=0, steps=2, pretrained=False), checkpoint(tmp_path / "run"))
    assert before["0.1.running_mean"].tobytes() != tail.snapshot()["0.1.running_mean"].tobytes()


def test_rows_are_read_while_the_step_before_is_computed(tmp_path: Path) -> None:
    """Cached ones alone: in turn, each batch once, none beyond the end; a fault in it arrives."""
    tail = make_tail()
    pictures = Pictures(tail)
    read: list[tuple[bytes, int, bool]] = []

    class Watched:
        def rows(self, sample_index: np.ndarray, view_index: int = 0) -> tuple[np.ndarray, ...]:
            is_main = threading.current_thread() is threading.main_thread()
            read.append((sample_index.tobytes(), view_index, is_main))
            if len(read) == broken_at:
                raise OSError("the disk")
            return pictures.rows(sample_index, view_index)

    def trained(rung: Rung, name: str) -> int:
        read.clear()
        rows, kept = Watched(), checkpoint(tmp_path / name)
        events = train(rung, make_tail(), pictures.criterion, rows, COUNT, 0, kept)
        return sum(isinstance(event, Stepped) for event in events)

    broken_at = 0
    assert trained(replace(RUNG, features="live"), "live") == RUNG.steps
    asked = [(index, view) for index, view, _ in read]
    assert len(asked) == RUNG.steps and all(is_main for *_, is_main in read)
    assert trained(RUNG, "cached") == RUNG.steps
    assert [(index, view) for index, view, _ in read] == asked
    assert not any(is_main for *_, is_main in read)
    broken_at = 9
    with pytest.raises(OSError, match="the disk"):
        trained(RUNG, "broken")


@pytest.mark.parametrize("stop_after", [1, 7, 23])
def test_stopped_anywhere_it_goes_on_to_the_same_bits(tmp_path: Path, stop_after: int) -> None:
    undisturbed = make_tail()
    losses = run(undisturbed, RUNG, checkpoint(tmp_path / "whole"))
    first, second = make_tail(), make_tail()
    kept = checkpoint(tmp_path / "parts")
    begun = run(first, RUNG, kept, stop_after)
    rest = run(second, RUNG, kept)
    assert begun + rest == losses
    assert same(second.snapshot(), undisturbed.snapshot())


def test_killed_without_a_word_it_goes_on_from_the_last_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regraft.transfer.loop.SAVE_EVERY_S", 0.0)
    monkeypatch.setattr("regraft.transfer.loop.SAVING_SHARE", 1e9)
    undisturbed = make_tail()
    run(undisturbed, RUNG, checkpoint(tmp_path / "whole"))
    kept, tail = checkpoint(tmp_path / "parts"), make_tail()
    pictures = Pictures(tail)
    saves = 0
    with closing(train(RUNG, tail, pictures.criterion, pictures, COUNT, 0, kept)) as events:
        for event in events:
            saves += isinstance(event, Saved)
            if saves == 5:
                shutil.copytree(tmp_path / "parts", tmp_path / "as a kill would leave it")
                break
    resumed = make_tail()
    rest = run(resumed, RUNG, checkpoint(tmp_path / "as a kill would leave it"))
    assert len(rest) == RUNG.steps - 5
    assert same(resumed.snapshot(), undisturbed.snapshot())


@pytest.mark.parametrize("what", ["loss", "norm of the gradients"])
def test_what_is_not_finite_stops_and_keeps_the_good_state(tmp_path: Path, what: str) -> None:
    tail = make_tail()
    kept = checkpoint(tmp_path / "run")
    run(tail, RUNG, kept, stop_after=3)
    good = tail.snapshot()
    broken = make_tail()
    pictures = Pictures(broken)

    def criterion(*given: Any) -> torch.Tensor:
        loss = pictures.criterion(*given)
        if what == "loss":
            return loss * float("nan")
        return loss + (loss - loss).sqrt()  # the root of 0 has a slope that is no number

    with pytest.raises(RegraftError, match=f"the {what} is nan at step 4 of 24") as fault:
        list(train(RUNG, broken, criterion, pictures, COUNT, 0, kept))
    assert "last:2" in fault.value.where
    state = kept.load()
    assert state is not None
    assert state.facts["step"] == 3
    assert all(state.tensors[f"work.{n}"].tobytes() == a.tobytes() for n, a in good.items())


@pytest.mark.parametrize(
    ("more", "rates"),
    [
        ({}, [1e-3, 1e-3 * 0.7**2, 1e-3 * 0.7**3]),
        ({"decay": 0.5}, [1e-3, 1e-3 / 4, 1e-3 / 8]),
        ({"stage_rate": 4e-5, "decay": 0.5}, [1e-3, 2e-5, 1e-5]),
        ({"stage_rate": 4e-5, "pretrained": False}, [1e-3, 1e-3, 1e-3]),
    ],
)
def test_rates_fall_towards_the_input(more: dict[str, Any], rates: list[float]) -> None:
    """The last stage has nothing to learn, but is a step towards the input like any other."""
    tail = make_tail(0)
    rung = replace(RUNG, frozen=0, **more)
    work = _Fitting(
        rung, tail, Pictures(tail).criterion, lambda step: (np.zeros(1, np.int64), 0, ()), 1, 0
    )
    head, *stages = work.groups()
    parts = (tail.head, tail.network.stages[1], tail.network.stages[0])
    for group, part in zip((head, *stages), parts, strict=True):
        assert all(a is b for a, b in zip(group["params"], part.parameters(), strict=True))
    assert [group["lr"] for group in (head, *stages)] == pytest.approx(rates)


def test_timing_a_step_changes_nothing() -> None:
    tail = make_tail()
    before = tail.snapshot()
    assert seconds_a_step(RUNG, tail, TASK, SAMPLES[:8]) > 0
    assert same(tail.snapshot(), before)
    assert all(p.grad is None for p in tail.parameters())


def test_of_long_steps_fewer_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = make_tail()
    pictures, read = Pictures(tail), list[int]()

    class Counted:
        def rows(self, sample_index: np.ndarray, view_index: int = 0) -> tuple[np.ndarray, ...]:
            read.append(len(sample_index))
            return pictures.rows(sample_index, view_index)

    for long_s, steps in ((1e9, 3), (0.0, 1)):
        monkeypatch.setattr(loop, "LONG_S", long_s)
        read.clear()
        seconds_a_step(RUNG, tail, TASK, SAMPLES[:8], Counted())
        assert read in ([8] * steps, [8] * (steps + 1))  # those of the next one, if it was quick


def test_timing_a_step_counts_what_reading_its_rows_takes() -> None:
    tail, slow_s = make_tail(), 0.05
    pictures = Pictures(tail)

    class Slow:
        def rows(self, sample_index: np.ndarray, view_index: int = 0) -> tuple[np.ndarray, ...]:
            time.sleep(slow_s)
            return pictures.rows(sample_index, view_index)

    live = replace(RUNG, features="live")
    assert seconds_a_step(live, tail, TASK, SAMPLES[:8], Slow()) > slow_s
    # Cached rows are read while the step before is computed, which takes a part of this off.
    assert seconds_a_step(RUNG, tail, TASK, SAMPLES[:8], Slow()) > slow_s / 2


def test_one_vector_stands_for_a_sample_whatever_its_head_takes() -> None:
    rng = generator(0, "pooled")
    vector, maps, queries = (rng.random(size) for size in ((2, 3), (2, 4, 5, 5), (2, 6, 7)))
    found = pooled([vector, maps, queries])
    expected = [vector, maps.mean(axis=(2, 3)), queries.mean(axis=1)]
    assert np.allclose(found, np.concatenate(expected, axis=1))
