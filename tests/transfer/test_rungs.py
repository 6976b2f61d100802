"""The rungs that are asked for, and how each would be trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from regraft.backbones.backbone import (
    Backbone,
    Preprocessing,
    Recipe,
    Stage,
    TextPreprocessing,
)
from regraft.dataset import Sample, View
from regraft.errors import UsageError
from regraft.store import Run
from regraft.tasks.task import Pace
from regraft.transfer import rungs
from regraft.transfer.cut import Cut
from regraft.transfer.fit import Rung
from regraft.transfer.rungs import rung_names


@pytest.mark.parametrize(
    ("train", "names"),
    [
        ("head", ["head"]),
        ("ladder", ["head", "last:1", "last:2", "last:4", "last:8", "all"]),
        ("last:3", ["head", "last:3"]),
        ("all", ["head", "all"]),
    ],
)
def test_rungs_in_order(train: str, names: list[str]) -> None:
    assert rung_names(train, 9) == names


def test_more_stages_than_there_are_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(UsageError, match="9 stages"):
        rung_names("last:50", 9)


@pytest.mark.parametrize(
    ("frames", "frozen", "count", "batch"),
    [(0, 0, 500, 32), (0, 0, 5, 5), (8, 0, 500, 4), (8, 5, 500, 32), (8, 0, 3, 3)],
)
def test_fewer_clips_are_in_a_step_where_all_their_frames_are(
    frames: int, frozen: int, count: int, batch: int
) -> None:
    ground: Any = SimpleNamespace(
        backbone=SimpleNamespace(frames=frames, stages=range(6), preprocessing=None),
        task=SimpleNamespace(pace=SimpleNamespace(batch=32)),
        dataset=SimpleNamespace(split=lambda name: range(count)),
    )
    assert rungs.batch_of(ground, frozen) == batch


@pytest.mark.parametrize(("cached_bytes", "features"), [(20 * 4 * 30, "cached"), (2399, "live")])
def test_what_the_cache_may_not_hold_is_trained_live(cached_bytes: int, features: str) -> None:
    ground: Any = SimpleNamespace(
        backbone=SimpleNamespace(
            frames=0, stages=range(6), modality="image", is_transformer=False, preprocessing=None
        ),
        task=SimpleNamespace(
            pace=SimpleNamespace(batch=10, rate=1e-3, decay=0.5, steps=lambda count, batch: 8)
        ),
        dataset=SimpleNamespace(split=lambda name: range(20)),
        cut=lambda frozen: SimpleNamespace(shapes=((5, 3, 2),)),
        cached_bytes=cached_bytes,
    )
    rung = rungs.make_rung(ground, "last:2")
    assert (rung.features, rung.views) == (features, 4)


@pytest.mark.parametrize(
    ("name", "seen", "count", "views"),
    [("head", 200, 30, 7), ("head", 200, 67, 3), ("head", 200, 900, 2), ("head", None, 900, 4),
     ("last:1", 200, 900, 4), ("last:1", 200, 30, 12), ("last:1", 200, 3, 12)],
)  # fmt: skip
def test_the_fewer_pictures_the_more_views_of_each(
    name: str, seen: int | None, count: int, views: int
) -> None:
    assert _views(Pace(head_seen=seen), name, count) == views


def test_views_are_no_more_than_help_nor_than_the_cache_holds() -> None:
    pace = Pace(least_steps=600)
    assert _views(pace, "last:1", 30) == rungs.MOST_VIEWS
    assert _views(pace, "last:1", 30, cached_bytes=30 * 30 * 9) == 9
    assert _views(pace, "last:1", 30, cached_bytes=30 * 30) == 600, "live, one for each pass"


def _views(pace: Pace, name: str, count: int, cached_bytes: int = 10**9) -> int:
    """Of each of so many pictures, whose activations are 30 bytes."""
    ground: Any = SimpleNamespace(
        backbone=SimpleNamespace(
            frames=0, stages=range(6), modality="image", is_transformer=False, preprocessing=None
        ),
        task=SimpleNamespace(pace=pace),
        dataset=SimpleNamespace(split=lambda name: range(count)),
        cut=lambda frozen: SimpleNamespace(shapes=((5, 3, 2),)),
        cached_bytes=cached_bytes,
    )
    return rungs.make_rung(ground, name).views


def test_a_run_that_goes_on_keeps_to_the_limit_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "3 MB")
    with Run.open(tmp_path / "run", {}) as run:
        assert rungs.cached_bytes(run) == 3_000_000
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "1 GB")
    with Run.open(tmp_path / "run", {}) as run:
        assert rungs.cached_bytes(run) == 3_000_000


@pytest.mark.parametrize(
    ("tokens", "frozen", "batch"),
    [(40, 0, 32), (256, 0, 32), (300, 0, 27), (600, 0, 13), (6000, 0, 4), (600, 6, 32)],
)
def test_fewer_texts_are_in_a_step_where_each_is_several_windows(
    tokens: float, frozen: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rungs, "mean_tokens", lambda *_: tokens)
    ground: Any = SimpleNamespace(
        backbone=SimpleNamespace(
            frames=0, stages=range(6), preprocessing=TextPreprocessing(256, "", 4), modality="text"
        ),
        task=SimpleNamespace(pace=Pace()),
        dataset=SimpleNamespace(split=lambda name: [SimpleNamespace(source="")] * 500),
    )
    assert rungs.batch_of(ground, frozen) == batch


@pytest.mark.parametrize(("features", "pictures"), [("live", 8), ("cached", 1)])
def test_a_rung_is_tried_on_samples_as_it_takes_them(
    features: Any, pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live ones in any order; what is kept is computed one tile of a picture after the other."""
    tiles = [Sample(f"{n}", Path(f"{n // 24}.jpg"), 0) for n in range(8 * 24)]
    ground: Any = SimpleNamespace(
        dataset=SimpleNamespace(split=lambda name: tiles), seed=0, task=None,
        cut=lambda frozen: None, engine=lambda frozen: None, missing=lambda *_: 10,
        views=lambda count: [View()] * count,
        activations=lambda some, *_: SimpleNamespace(samples=some, computed=0),
    )  # fmt: skip
    tried: list[Any] = []
    monkeypatch.setattr(rungs, "LiveFeatures", lambda some, *_: SimpleNamespace(samples=some))
    monkeypatch.setattr(rungs, "seconds_a_picture", lambda ground, frozen, some: len(some))
    monkeypatch.setattr(rungs, "tail_of", lambda *_: None)
    monkeypatch.setattr(
        "regraft.transfer.fit.seconds_a_step",
        lambda rung, tail, task, some, rows: tried.append((some, rows.samples)) or 1.0,
    )
    rung = Rung("last:1", 3, 5, 32, features=features)
    assert rungs._seconds_of(ground, rung, {}) > 5
    ((some, of_rows),) = tried
    assert some == of_rows and len(set(some)) == 32
    assert len({sample.source for sample in some[:24]}) == pictures


SHAPES = {
    "layers": ((-1, 384), ()),
    "patches": ((197, 192),),
    "maps": ((64, 28, 28),),
    "frames": ((8, 1280),),
}


@pytest.mark.parametrize(
    ("kind", "modality", "frames", "expected"),
    [
        ("layers", "text", 0, True),
        ("patches", "image", 0, True),
        ("maps", "image", 0, False),
        ("frames", "video", 8, False),
    ],
)
def test_transformers_have_rates_of_their_own(
    kind: str, modality: str, frames: int, expected: bool
) -> None:
    stages = (Stage("one", 1, (), SHAPES[kind]), Stage("two", 1, (), ((192,),)))
    preprocessing: Any = Preprocessing(frames=frames)
    if modality == "text":
        preprocessing = TextPreprocessing(256, "")
    backbone = Backbone(
        "made up", modality, "", "", "", stages, preprocessing, Recipe("", ""), Path()
    )
    assert backbone.is_transformer == expected
    pace = Pace(rate=2e-3, decay=0.5, transformer_rate=4e-5, transformer_decay=0.8)
    ground: Any = SimpleNamespace(
        backbone=backbone,
        cut=lambda frozen: Cut(backbone, frozen),
        task=SimpleNamespace(pace=pace),
        dataset=SimpleNamespace(split=lambda name: [SimpleNamespace(source="")] * 50),
        cached_bytes=10**9,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rungs, "mean_tokens", lambda *_: 10)
        rung = rungs.make_rung(ground, "all")
    assert rung.learning_rate == 2e-3
    assert (rung.stage_rate, rung.decay) == ((4e-5, 0.8) if expected else (None, 0.5))
