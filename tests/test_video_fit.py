"""`fit`, `predict`, `evaluate`, `inspect` on videos, from the command line down."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent / "dataset"))
from made_videos import moving, write

import regraft
from regraft.backbones import Backbone, build
from regraft.cli import main
from regraft.dataset import View, read_all
from regraft.errors import UsageError
from regraft.events import Advanced
from regraft.predicting.videos import windows
from regraft.store import file_sha256
from regraft.transfer import features as module
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
from regraft.transfer.features import features, missing
from regraft.transfer.model import load
from regraft.transfer.pictures import look

NETWORK = """
import torch
from torch import nn
from regraft import Preprocessing

def tiny():
    def block(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        end = nn.Sequential(block(16, 24), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        return [("a", block(3, 8)), ("b", block(8, 16)), ("c", end)], Preprocessing(size_px=32)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright clips and dark ones, two classes."""
    root = tmp_path_factory.mktemp("videos")
    for i in range(14):
        for kind, name in enumerate(("bright", "dark")):
            pixels = moving(16, seed=20 * kind + i)
            pixels = pixels // 3 if kind else pixels // 2 + 120
            suffix = (".mp4", ".mkv", ".avi")[i % 3]
            write(root / "clips" / name / f"{i}{suffix}", pixels, rate=8)
    (root / "net.py").write_text(NETWORK)
    return root


@pytest.fixture(scope="module")
def fitted(place: Path) -> regraft.Fitted:
    return regraft.fit(
        place / "clips", place / "run", backbone=f"local:{place / 'net.py'}:tiny",
        clip=1.0, frames=4, train="last:2",
    )  # fmt: skip


def test_the_ladder_climbs_clips(fitted: regraft.Fitted) -> None:
    report = fitted.report
    assert report["task"] == "video-classification"
    assert report["backbone"]["stages"] == ["a", "b", "c", "temporal"]
    assert report["data"]["splits"]["train"] + report["data"]["splits"]["valid"] + (
        report["data"]["splits"]["test"]
    ) == 2 * 14 * 2  # fmt: skip
    assert report["data"]["clip_s"] == 1.0
    assert [rung["frozen_stages"] for rung in report["rungs"]] == [4, 2]
    assert all(rung["frozen_intact"] for rung in report["rungs"])
    assert report["test"]["value"] > 0.9
    page = (fitted.folder / "report.html").read_text()
    assert 'class="shots strips"' in page
    assert page.count("data:image/jpeg") > 3
    assert "--clip 1.0s" in report["reproduce"]


def test_a_head_may_learn_from_several_views_of_each_clip(place: Path) -> None:
    fitted = regraft.fit(
        place / "clips", place / "views", backbone=f"local:{place / 'net.py'}:tiny",
        clip=1.0, frames=4, train="head", views=2,
    )  # fmt: skip
    (head,) = fitted.report["rungs"]
    assert head["views"] == 2
    assert head["computed"] == fitted.report["data"]["splits"]["train"]  # the plain ones were there
    assert "--views 2" in fitted.report["reproduce"]


def test_repeating_computes_nothing(fitted: regraft.Fitted, place: Path) -> None:
    before = (fitted.folder / "model" / "model.safetensors").read_bytes()
    again = regraft.fit(
        place / "clips", place / "run", backbone=f"local:{place / 'net.py'}:tiny",
        clip=1.0, frames=4, train="last:2",
    )  # fmt: skip
    assert (again.folder / "model" / "model.safetensors").read_bytes() == before


def test_frames_are_encoded_once_for_all_that_stands_on_pooled_frames(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    plain, encoded = module._compute, list[tuple[int, int]]()

    def counted(job, shards, serving, missing):
        encoded.append((job.cut.frozen, len(missing)))
        return plain(job, shards, serving, missing)

    monkeypatch.setattr(module, "_compute", counted)
    fitted = regraft.fit(
        place / "clips", tmp_path / "run", backbone=f"local:{place / 'net.py'}:tiny",
        clip=1.0, frames=4, train="last:1",
    )  # fmt: skip
    head, last = fitted.report["rungs"]
    assert (head["frozen_stages"], last["frozen_stages"]) == (4, 3)
    splits = fitted.report["data"]["splits"]
    assert {frozen for frozen, _ in encoded} == {3}
    assert sum(rows for _, rows in encoded) == (
        splits["train"] * last["views"] + splits["valid"] + splits["test"]
    )
    assert head["computed"] == splits["train"] + splits["valid"]
    encoded.clear()
    regraft.evaluate(fitted.folder, place / "clips")
    assert not encoded, "what was fitted has the same encoder"


def with_order(backbone: Backbone, weights: Path) -> Backbone:
    """The same network with a temporal stage that gives more than the mean."""
    tensors = load_file(backbone.weights)
    up = np.random.default_rng(0).normal(0, 0.1, tensors["temporal.up.weight"].shape)
    save_file(tensors | {"temporal.up.weight": up.astype(np.float32)}, weights)
    return replace(backbone, weights=weights, sha256=file_sha256(weights))


def test_vectors_of_clips_are_those_of_the_network(
    fitted: regraft.Fitted, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = with_order(load(fitted.folder).backbone, tmp_path / "order.safetensors")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))  # nobody named the network there
    samples = read_all(place / "clips", clip_s=1.0).samples
    cut, views = Cut(backbone, 4), [View(), View(1, crop=0.6, mirror=True)]
    assert [Cut(backbone, frozen).kept.frozen for frozen in range(5)] == [0, 1, 2, 3, 3]
    whole = replace(backbone, stages=backbone.stages[-1:])
    assert [Cut(whole, frozen).kept.frozen for frozen in range(2)] == [0, 1], (
        "pixels are no vectors"
    )
    network = build(backbone)
    with prepare(backbone) as preparation:
        engine = preparation.engine(3, samples)
        features(samples[:9], cut, engine, views[:1], storage="float32")  # and then it was killed
        table = features(samples, cut, engine, views, storage="float32")
        assert table.computed == 2 * len(samples) - 9
        assert missing(samples, Cut(backbone, 3), engine, views, storage="uint8") == 0
        for k, view in enumerate(views):
            pixels = np.stack([look(sample, [view], backbone)[0] for sample in samples])
            with torch.inference_mode():
                frames = tuple(map(torch.from_numpy, engine.run(pixels)))
                (expected,) = (x.numpy() for x in network.run(frames, 3, 4))
                (mean,) = (x.mean(dim=1).numpy() for x in frames)
            (found,) = table.rows(np.arange(len(samples)), k)
            assert found.shape == expected.shape and found.dtype == np.float32
            bfloat16 = 2.0**-8 * np.abs(expected).max()
            assert np.abs(found - expected).max() < bfloat16
            assert np.abs(mean - expected).max() > 2 * bfloat16, "order counts"
            (alone,) = table.rows(np.array([7]), k)
            assert (alone[0] == found[7]).all()


def test_predict_gives_a_timeline(
    fitted: regraft.Fitted, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dark, bright = moving(24, seed=77) // 3, moving(24, seed=78) // 2 + 120
    both = write(place / "both.mp4", np.concatenate([dark, bright]), rate=8)
    broken = place / "broken.mp4"
    broken.write_bytes(both.read_bytes()[:100])
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(fitted.folder), str(both), str(broken), "--json"])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.out, said.err
    whole, problem = json.loads(said.out)
    assert "problem" in problem
    labels = [part["label"] for part in whole["timeline"]]
    assert labels[0] == "dark" and labels[-1] == "bright"
    assert whole["timeline"][0]["start_s"] == 0.0
    assert whole["timeline"][-1]["stop_s"] == pytest.approx(6.0)
    with pytest.raises(SystemExit):
        main(["predict", str(fitted.folder), str(both)])
    said = capsys.readouterr().out
    assert "0.0 to" in said and "dark" in said


def test_predict_tells_how_far_it_is_within_a_long_video(
    fitted: regraft.Fitted, place: Path
) -> None:
    told = list[Advanced]()
    long = write(place / "long.mp4", moving(24), rate=2, repeat=2)
    regraft.predict(
        fitted.folder, [long], tell=lambda e: told.append(e) if isinstance(e, Advanced) else None
    )
    heard: dict[str, list[tuple[int, int]]] = {}
    for event in told:
        heard.setdefault(event.what, []).append((event.done, event.total))
    assert heard["reading long.mp4, in seconds"] == [(10, 24), (20, 24), (24, 24)]
    parts = heard["predicting long.mp4, in parts"]
    assert parts == [(min(8 * k, 47), 47) for k in range(1, 7)]
    assert heard["predicting"] == [(1, 1)]


def test_predict_says_which_stretch_is_unlike_the_training_data(
    fitted: regraft.Fitted, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dark, stripes = moving(24, seed=80) // 3, np.zeros((24, 48, 64, 3), np.uint8)
    stripes[:, :, ::4] = (255, 0, 255)
    odd = write(place / "odd.mp4", np.concatenate([dark, stripes]), rate=8)
    (whole,) = regraft.predict(fitted.folder, [odd])
    unlike = [part["unlike_training"] for part in whole["timeline"]]
    assert not unlike[0] and unlike[-1]
    with pytest.raises(SystemExit):
        main(["predict", str(fitted.folder), str(odd)])
    stretches = [line for line in capsys.readouterr().out.splitlines() if " to " in line]
    assert [line.endswith("  unlike the training data") for line in stretches] == [False, True]


def test_predict_says_that_a_video_is_shorter_than_it_should_be(
    fitted: regraft.Fitted, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write(place / "whole.mkv", moving(24, seed=79) // 3, rate=8)
    cut = place / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    found, other = regraft.predict(fitted.folder, [cut, whole])
    (what,) = found["damage"]
    assert what.startswith("The video ends after") and what.endswith("of 3.00 s.")
    assert "damage" not in other
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(fitted.folder), str(cut)])
    assert not ended.value.code
    assert what in capsys.readouterr().out


def test_evaluate_and_inspect(
    fitted: regraft.Fitted, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = regraft.evaluate(fitted.folder, place / "clips")
    assert found["metric"]["value"] > 0.9
    assert found["count"] == sum(fitted.report["data"]["splits"].values()), "cut as for fit"
    with pytest.raises(SystemExit):
        main(["inspect", str(place / "clips")])
    said = capsys.readouterr().out
    assert "video-classification" in said
    assert "2.0 to 2.0 s" in said
    with pytest.raises(SystemExit):
        main(["inspect", str(place / "clips"), "--clip", "0.9s"])
    said = capsys.readouterr().out
    assert "0.9 to 0.9 s" in said and "less than half a clip" in said


def test_labels_of_videos_are_judged(place: Path) -> None:
    pytest.importorskip("cleanlab")
    found = regraft.labels(place / "clips", backbone=f"local:{place / 'net.py'}:tiny")
    assert found["data"]["task"] == "video-classification"
    assert found["share"] is not None and found["not_judged"] == ""


def test_videos_without_labels_are_a_pool(place: Path) -> None:
    pytest.importorskip("cleanlab")
    network, pool = f"local:{place / 'net.py'}:tiny", place / "clips"
    found = regraft.labels(pool, pool=pool, backbone=network, batch=3)
    assert found["data"]["task"] == "video-classification"
    assert len(found["next"]) == 3


def test_clips_of_a_pool_are_trained_on_once_their_table_is_filled_in(
    place: Path, tmp_path: Path
) -> None:
    pytest.importorskip("cleanlab")
    network, pool, table = f"local:{place / 'net.py'}:tiny", tmp_path / "pool", tmp_path / "out"
    for i in range(4):
        write(pool / f"{i}.mp4", moving(16, seed=70 + i, step=-3), rate=8)
    regraft.labels(place / "clips", pool=pool, out=table, batch=4, backbone=network)
    rows = (table / "next.csv").read_text().splitlines()
    filled = [row.replace(",,", ",dark,", 1) for row in rows[1:4]]
    (table / "next.csv").write_text("\n".join([rows[0], *filled, *rows[4:]]))
    report = regraft.fit(
        place / "clips", tmp_path / "run", more=table / "next.csv", backbone=network,
        frames=4, train="head",
    ).report  # fmt: skip
    assert sum(report["data"]["splits"].values()) == 2 * 14 + 3
    assert [p["what"] for p in report["data"]["problems"] if p["where"] == "more:next.csv"] == [
        "1 row has no label yet."
    ]


def test_a_pool_may_be_a_table_of_parts_and_is_cut_as_the_run_was(
    fitted: regraft.Fitted, place: Path, tmp_path: Path
) -> None:
    pytest.importorskip("cleanlab")
    write(tmp_path / "long.mp4", moving(64, seed=90, step=-3), rate=8)
    (tmp_path / "pool.csv").write_text("path,start,stop\nlong.mp4,0.5,2.5\nlong.mp4,5,\n")
    found = regraft.labels(
        place / "clips", pool=tmp_path / "pool.csv", out=tmp_path / "out", run=fitted.folder
    )
    spans = ("0.50-1.50s", "1.50-2.50s", "5.00-6.00s", "6.00-7.00s", "7.00-8.00s")
    assert {row["sample"] for row in found["next"]} == {f"long.mp4@{span}" for span in spans}
    rows = (tmp_path / "out" / "next.csv").read_text().splitlines()
    assert rows[0].startswith("sample,path,start,stop,label,")
    (row,) = (row for row in rows if "@1.50" in row)
    assert row.split(",")[1:4] == ["../long.mp4", "1.5", "2.5"]
    (tmp_path / "out" / "next.csv").write_text(
        "\n".join([rows[0], *(row.replace(",,", ",dark,", 1) for row in rows[1:])])
    )
    report = regraft.fit(
        place / "clips", tmp_path / "run", more=tmp_path / "out" / "next.csv", clip=1.0,
        backbone=f"local:{place / 'net.py'}:tiny", frames=4, train="head",
    ).report  # fmt: skip
    assert sum(report["data"]["splits"].values()) == 2 * 2 * 14 + 5


def test_report_is_drawn_again(fitted: regraft.Fitted) -> None:
    page = fitted.folder / "report.html"
    before = page.read_text().count("data:image/jpeg")
    page.unlink()
    regraft.report(fitted.folder)
    assert page.read_text().count("data:image/jpeg") == before


def test_a_clip_of_one_frame_is_refused(place: Path) -> None:
    for frames in (0, 1):
        with pytest.raises(UsageError, match=f"a clip of {frames} frames"):
            regraft.fit(place / "clips", place / "wrong", frames=frames)
    (place / "photos").mkdir()
    with pytest.raises(UsageError, match="only videos"):
        regraft.fit(place / "photos", place / "wrong", frames=4)


def test_windows_cover_a_video() -> None:
    assert windows(1.0, 2.0) == [(0.0, 1.0)]
    spans = windows(10.0, 2.0)
    assert spans[0][0] == 0.0 and spans[-1][1] == pytest.approx(10.0)
    assert all(stop - start == pytest.approx(2.0) for start, stop in spans)
    assert all(b[0] <= a[1] for a, b in zip(spans, spans[1:], strict=False))
