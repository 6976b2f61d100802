"""The rungs that are asked for, and when the climb stops."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.backbones.backbone import (
    Backbone,
    Preprocessing,
    Recipe,
    Stage,
    TextPreprocessing,
)
from regraft.errors import UsageError
from regraft.store import Run
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.tasks.task import Pace
from regraft.transfer import ladder
from regraft.transfer.cut import Cut
from regraft.transfer.ladder import Step, climb, rung_names


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
    ("verdicts", "best"),
    [
        (["kept", "no gain", "no gain", "skipped", "skipped", "skipped"], "head"),
        (["kept", "no gain", "worse", "skipped", "skipped", "skipped"], "head"),
        (["kept", "no gain", "kept", "no gain", "no gain", "skipped"], "last:2"),
        (["kept", "no gain", "kept", "no gain", "kept", "no gain"], "last:8"),
        (["kept", "kept", "kept", "kept", "kept", "kept"], "all"),
    ],
)
def test_two_rungs_in_vain_end_the_climb(
    verdicts: list[str], best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = iter(verdicts)
    started_from: list[str] = []

    def deeper(ground: Any, name: str, plan: Any, start: Step, *rest: Any) -> Step:
        started_from.append(start.facts["name"])
        return Step({"name": name}, {}, np.zeros(0))

    monkeypatch.setattr(ladder, "_head", lambda *_: Step({"name": "head"}, {}, np.zeros(0)))
    monkeypatch.setattr(ladder, "_plan", lambda *_: {"over_budget": False})
    monkeypatch.setattr(ladder, "_deeper", deeper)
    monkeypatch.setattr(ladder, "_judge", lambda *_: (next(judged), ""))
    monkeypatch.setattr(ladder, "_nothing_to_show", lambda *_: "")
    monkeypatch.setattr(
        ladder, "_skipped", lambda _, name, why: {"name": name, "verdict": "skipped", "why": why}
    )
    ground: Any = SimpleNamespace(
        dataset=SimpleNamespace(split=lambda name: ()),
        task=SimpleNamespace(targets=lambda samples: None, convex=True),
        weights=lambda samples: None,
        tell=lambda event: None,
        reads_words=False,
    )
    climbed = climb(ground, rung_names("ladder", 9))
    assert [entry["verdict"] for entry in climbed.entries] == verdicts
    assert climbed.best.facts["name"] == best
    kept = "head"
    for name, verdict, start in zip(
        rung_names("ladder", 9)[1:], verdicts[1:], started_from, strict=False
    ):
        assert start == kept, "a rung starts from the best before it"
        kept = name if verdict == "kept" else kept
    if "skipped" in verdicts:
        assert "brought no gain" in climbed.entries[-1]["why"]


@pytest.mark.parametrize(("wrong", "shows"), [(0, False), (2, False), (5, False), (6, True)])
@pytest.mark.parametrize("balanced", [False, True])
def test_where_no_gain_could_be_shown_no_deeper_rung_is_tried(
    wrong: int, shows: bool, balanced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few mistakes on few samples: even a rung without any would be ahead within noise."""
    count, names = 40, ["head", "last:1"]
    task = Classification("image-classification", ("a", "b"), balanced=balanced)
    target_nc = np.eye(2, dtype=np.float32)[np.arange(count) % 2]
    answers_nc = target_nc.copy()
    answers_nc[:wrong] = 1 - answers_nc[:wrong]
    weights_rn = measure.bootstrap_weights([""] * count, 0)
    head = Step({"name": "head"}, {}, {"logits": answers_nc})
    right = Step({"name": "last:1"}, {}, {"logits": target_nc})
    monkeypatch.setattr(ladder, "_head", lambda *_: head)
    monkeypatch.setattr(ladder, "_plan", lambda *_: {"over_budget": False})
    monkeypatch.setattr(ladder, "_deeper", lambda *_: right)
    monkeypatch.setattr(
        ladder, "_skipped", lambda _, name, why: {"name": name, "verdict": "skipped", "why": why}
    )
    ground: Any = SimpleNamespace(
        dataset=SimpleNamespace(split=lambda name: range(count)),
        task=SimpleNamespace(
            targets=lambda samples: target_nc,
            convex=True,
            score=task.score,
            metric_name=task.metric_name,
        ),
        weights=lambda samples: weights_rn,
        tell=lambda event: None,
        reads_words=False,
        backbone=SimpleNamespace(recipe=Recipe("", "")),
    )
    _, asked = climb(ground, names, stops=False).entries
    _, entry = climb(ground, names).entries
    assert asked["verdict"] == ("kept" if shows else "no gain"), "what would have come of it"
    assert entry["verdict"] == ("kept" if shows else "skipped")
    if not shows:
        name = "balanced accuracy" if balanced else "accuracy"
        says = f"head has 100 % {name}" if wrong == 0 else f"even 100 % {name}"
        assert entry["why"].startswith(says)


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
    assert ladder.batch_of(ground, frozen) == batch


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
    rung = ladder.make_rung(ground, "last:2")
    assert (rung.features, rung.views) == (features, 4)


@pytest.mark.parametrize(
    ("name", "seen", "count", "views"),
    [("head", 200, 30, 4), ("head", 200, 67, 3), ("head", 200, 900, 2), ("head", None, 900, 4),
     ("last:1", 200, 900, 4)],
)  # fmt: skip
def test_of_many_pictures_a_head_sees_fewer_views(
    name: str, seen: int | None, count: int, views: int
) -> None:
    ground: Any = SimpleNamespace(
        backbone=SimpleNamespace(
            frames=0, stages=range(6), modality="image", is_transformer=False, preprocessing=None
        ),
        task=SimpleNamespace(pace=Pace(head_seen=seen)),
        dataset=SimpleNamespace(split=lambda name: range(count)),
        cut=lambda frozen: SimpleNamespace(shapes=((5, 3, 2),)),
        cached_bytes=10**9,
    )
    assert ladder.make_rung(ground, name).views == views


def test_a_run_that_goes_on_keeps_to_the_limit_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "3 MB")
    with Run.open(tmp_path / "run", {}) as run:
        assert ladder.cached_bytes(run) == 3_000_000
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "1 GB")
    with Run.open(tmp_path / "run", {}) as run:
        assert ladder.cached_bytes(run) == 3_000_000


@pytest.mark.parametrize(
    ("tokens", "frozen", "batch"),
    [(40, 0, 32), (256, 0, 32), (300, 0, 27), (600, 0, 13), (6000, 0, 4), (600, 6, 32)],
)
def test_fewer_texts_are_in_a_step_where_each_is_several_windows(
    tokens: float, frozen: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "mean_tokens", lambda *_: tokens)
    ground: Any = SimpleNamespace(
        backbone=SimpleNamespace(
            frames=0, stages=range(6), preprocessing=TextPreprocessing(256, "", 4), modality="text"
        ),
        task=SimpleNamespace(pace=Pace()),
        dataset=SimpleNamespace(split=lambda name: [SimpleNamespace(source="")] * 500),
    )
    assert ladder.batch_of(ground, frozen) == batch


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
        patch.setattr(ladder, "mean_tokens", lambda *_: 10)
        rung = ladder.make_rung(ground, "all")
    assert rung.learning_rate == 2e-3
    assert (rung.stage_rate, rung.decay) == ((4e-5, 0.8) if expected else (None, 0.5))
