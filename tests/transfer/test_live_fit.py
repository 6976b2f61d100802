"""A whole `fit` whose cache may hold the vectors of the head, and no activations before them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

import regraft
from regraft.backbones import Backbone
from regraft.errors import StoreError
from regraft.events import Event, Said, Stepped
from regraft.store import runs
from regraft.tasks import Classification
from regraft.transfer import loop


def write(folder: Path) -> Path:
    """Red and blue noise, 24 pictures a class."""
    rng = np.random.default_rng(0)
    for kind, name in enumerate(("red", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(24):
            pixels = rng.integers(0, 160, (40, 48, 3), dtype=np.uint8)
            pixels[..., 2 * kind] += 90
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def fitted(data: Path, out: Path) -> tuple[dict, list[str]]:
    told: list[Event] = []
    done = regraft.fit(
        data, out, backbone=tiny.address("residual"), train="last:1", tell=told.append
    )
    return done.report, [event.text for event in told if isinstance(event, Said)]


def test_a_rung_whose_activations_the_cache_may_not_hold_is_trained_live(
    compiled: Backbone, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(tmp_path / "data")
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "100 kB")
    report, said = fitted(data, tmp_path / "run")
    assert [rung["features"] for rung in report["rungs"]] == ["cached", "live"]
    assert report["rungs"][1]["frozen_intact"]
    (plan,) = report["plan"]
    assert plan["features"] == "live"
    assert "do not fit into 0.1 MB" in plan["why"]
    assert plan["why"] in (tmp_path / "run" / "report.html").read_text()
    assert not [line for line in said if "limit" in line], "only vectors went into the cache"
    kept = sum(path.stat().st_size for path in own_cache.glob("features/*/*.rows"))
    assert kept < 100_000

    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "1 GB")
    again, _ = fitted(data, tmp_path / "run")
    assert [rung["features"] for rung in again["rungs"]] == ["cached", "live"], "as it began"
    other, _ = fitted(data, tmp_path / "other")
    assert [rung["features"] for rung in other["rungs"]] == ["cached", "cached"]


def test_time_before_an_interruption_counts(
    compiled: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, plain, slow_s = write(tmp_path / "data"), loop.take, 0.3

    def slow(*given) -> float:
        time.sleep(slow_s)
        return plain(*given)

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.rung == "last:1" and event.step == 5:
            raise KeyboardInterrupt

    asked = {"backbone": tiny.address("residual"), "train": "last:1"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "take", slow)
        regraft.fit(data, tmp_path / "run", tell=stop, **asked)
    report = regraft.fit(data, tmp_path / "run", **asked).report
    assert report["rungs"][1]["seconds"]["train"] > 5 * slow_s


def test_a_rung_whose_outcome_cannot_be_written_is_gone_on_with(
    compiled: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk after hours of training: the state of it is still there, and goes afterwards."""
    data, asked = write(tmp_path / "data"), {"backbone": tiny.address("residual")}
    plain, states = runs._save, tmp_path / "run" / "checkpoints"

    def full(path: Path, outcome: runs.Outcome) -> str:
        if path.parent.name == "steps" and path.name.startswith("rung-"):
            raise StoreError("No space left on device", where=path)
        return plain(path, outcome)

    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(loop, "SAVING_SHARE", 1e9)
    with monkeypatch.context() as patch, pytest.raises(StoreError, match="No space"):
        patch.setattr(runs, "_save", full)
        regraft.fit(data, tmp_path / "run", train="last:1", **asked)
    assert [path.name[:11] for path in states.glob("*.json")] == ["rung-last:1"] * 2
    told: list[Event] = []
    regraft.fit(data, tmp_path / "run", train="last:1", tell=told.append, **asked)
    assert not [event for event in told if isinstance(event, Stepped)], "all was kept"
    assert not list(states.iterdir())


def test_a_rung_begins_anew_where_it_is_computed_otherwise(
    compiled: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, asked = write(tmp_path / "data"), {"backbone": tiny.address("residual")}

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.rung == "last:1" and event.step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("regraft.transfer.fit.Tail.trained_in", "f32")
    with pytest.raises(KeyboardInterrupt):
        regraft.fit(data, tmp_path / "run", train="last:1", tell=stop, **asked)
    told: list[Event] = []
    monkeypatch.setattr("regraft.transfer.fit.Tail.trained_in", "bf16")
    regraft.fit(data, tmp_path / "run", train="last:1", tell=told.append, **asked)
    assert next(event.step for event in told if isinstance(event, Stepped)) == 1


def test_frozen_weights_that_change_during_the_head_are_not_called_intact(
    compiled: Backbone, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Classification.fit_head
    meddled: list[Path] = []

    def meddling(self: Classification, *given, **more):
        for weights in own_cache.glob("backbones/*/weights.safetensors") if not meddled else ():
            meddled.append(weights)
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)
        return plain(self, *given, **more)

    monkeypatch.setattr(Classification, "fit_head", meddling)
    done = regraft.fit(
        write(tmp_path / "data"), tmp_path / "run", backbone=tiny.address("residual"), train="head"
    )
    assert meddled
    assert done.report["rungs"][0]["frozen_intact"] is False
    assert "changed" in (tmp_path / "run" / "report.html").read_text()
