"""`fit`, `predict` and `evaluate` of a small detector, from the first byte to the last."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from curves import trained_curve
from PIL import Image, ImageDraw

import regraft
from regraft import dataset
from regraft.backbones.backbone import Detector
from regraft.errors import UsageError
from regraft.seeds import generator
from regraft.store import read_sealed
from regraft.tasks import Detection
from regraft.tasks.task import Pace

NETWORK = """
import torch
from torch import nn

from regraft.backbones import Preprocessing
from regraft.backbones.backbone import Detector


class Down(nn.Module):
    def __init__(self, inside, outside, handed_on=0):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, stride=2, padding=1)
        self.handed_on = handed_on

    def forward(self, *maps):
        x = torch.relu(self.conv(maps[-1]))
        return (*maps[len(maps) - self.handed_on:], x)


def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stages = [
            ("stem", Down(3, 16)),
            ("two", Down(16, 24)),
            ("three", Down(24, 32)),
            ("four", Down(32, 32, handed_on=1)),
        ]
    prepared = Preprocessing(size_px=64, crop=1.0, interpolation="bilinear", whole=True)
    return stages, prepared, Detector("dense", (), (8, 16), 6)
"""
KILLS = int(os.environ.get("REGRAFT_KILLS", "4")) // 2
COUNTS = {"train": 24, "valid": 10, "test": 6}


def write_shapes(folder: Path) -> Path:
    """Red squares and blue discs on grey; every sixth picture is empty."""
    rng = generator(0, "shapes")
    for split, count in COUNTS.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        (folder / split).mkdir(parents=True)
        for number in range(1, count + 1):
            noise = rng.integers(90, 160, (96, 128, 3), dtype=np.uint8)
            picture = Image.fromarray(noise)
            draw = ImageDraw.Draw(picture)
            for half in range(0 if number % 6 == 0 else 2):
                kind = int(rng.integers(2))
                side = int(rng.integers(20, 50))
                x, y = int(rng.integers(0, 63 - side)) + 64 * half, int(rng.integers(0, 95 - side))
                box = (x, y, x + side, y + side)
                paint = draw.rectangle if kind == 0 else draw.ellipse
                paint(box, fill=(220, 30, 30) if kind == 0 else (30, 30, 220))
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": kind + 1,
                        "bbox": [x, y, side, side],
                        "iscrowd": 0,
                    }
                )
            name = f"{split}/{number}.png"
            picture.save(folder / name)
            images.append({"id": number, "file_name": name, "width": 128, "height": 96})
        if split == "train":
            # One box without area is refused, one that reaches over the edge is mended.
            faulty = ([10, 10, 0, 20], [100, 70, 60, 60])
            annotations += [
                {"id": 900 + k, "image_id": 6, "category_id": 1, "bbox": box, "iscrowd": 0}
                for k, box in enumerate(faulty)
            ]
        categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(content))
    return folder


PACE = Pace(
    batch=8, epochs=20, least_steps=80, most_steps=80, head_rate=1e-2, rate=5e-3, head_seen=60
)
"""Short, because the network is small and knows nothing."""


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regraft.tasks.dense.PACE", PACE)
        yield


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> regraft.Fitted:
    folder = tmp_path_factory.mktemp("detection")
    (folder / "network.py").write_text(NETWORK)
    data = write_shapes(folder / "shapes")
    network = f"local:{folder / 'network.py'}:small"
    return regraft.fit(data, folder / "run", backbone=network, train="last:2")


def test_the_rungs_learn_and_what_is_frozen_stays(fitted: regraft.Fitted) -> None:
    head, deeper = fitted.report["rungs"]
    assert (head["name"], deeper["name"]) == ("head", "last:2")
    assert head["metric"]["name"] == "AP50"
    assert head["frozen_intact"] and deeper["frozen_intact"]
    assert head["features"] == "cached"
    assert deeper["metric"]["value"] > head["metric"]["value"]
    assert deeper["metric"]["value"] > 0.25
    counts = fitted.report["detection"]["boxes"]
    assert (counts["refused"], counts["mended"], counts["left_out"]) == (1, 1, 0)
    assert counts["found"] == counts["used"] + 1
    (problem,) = (p for p in fitted.report["data"]["problems"] if "900" in p["where"] + p["what"])
    assert "train.json" in problem["where"]
    assert fitted.report["untouched"] is None
    assert len(fitted.report["label_curve"]) == 3


def test_a_point_of_the_curve_has_no_more_views_than_the_head(fitted: regraft.Fitted) -> None:
    heads = [*fitted.folder.glob("steps/head-*.json"), *fitted.folder.glob("steps/curve-*.json")]
    assert len(heads) == 3
    assert {json.loads(read_sealed(path))["facts"]["views"] for path in heads} == {3}


def test_repeating_the_command_changes_nothing(fitted: regraft.Fitted) -> None:
    weights = fitted.folder / "model" / "model.safetensors"
    before = weights.read_bytes()
    again = regraft.fit(
        fitted.report["data"]["path"],
        fitted.folder,
        backbone=_backbone(fitted),
        train="last:2",
    )
    assert weights.read_bytes() == before
    assert again.report["rungs"] == fitted.report["rungs"]


def _backbone(fitted: regraft.Fitted) -> str:
    return f"local:{fitted.folder.parent / 'network.py'}:small"


def test_predicting_finds_the_shapes_where_they_are(fitted: regraft.Fitted) -> None:
    data = Path(fitted.report["data"]["path"])
    content = json.loads((data / "test.json").read_text())
    answers = regraft.predict(fitted.folder, [data / "test"])
    assert len(answers) == COUNTS["test"]
    names = {row["id"]: Path(row["file_name"]).name for row in content["images"]}
    found = 0
    for row in content["annotations"]:
        (answer,) = (a for a in answers if Path(a["sample"]).name == names[row["image_id"]])
        x, y, width, height = row["bbox"]
        label = ("square", "disc")[row["category_id"] - 1]
        found += any(
            thing["label"] == label
            and abs(thing["box"][0] - x) < 12
            and abs(thing["box"][1] - y) < 12
            and abs(thing["box"][2] - x - width) < 12
            and abs(thing["box"][3] - y - height) < 12
            for thing in answer["objects"]
        )
    assert found >= 0.3 * len(content["annotations"])


def test_torch_does_not_take_the_cores_from_the_engine_while_it_predicts(
    fitted: regraft.Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, plain = torch.get_num_threads(), Detection.found
    threads: set[int] = set()

    def found(task: Detection, outputs: Any, sizes: Any) -> Any:
        threads.add(torch.get_num_threads())
        return plain(task, outputs, sizes)

    monkeypatch.setattr(Detection, "found", found)
    torch.set_num_threads(2)
    try:
        regraft.predict(fitted.folder, [Path(fitted.report["data"]["path"]) / "test"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == {1}


def test_evaluating_the_test_split_gives_the_reports_number(fitted: regraft.Fitted) -> None:
    data = Path(fitted.report["data"]["path"])
    measured = regraft.evaluate(fitted.folder, data / "test.json")
    assert measured["metric"]["value"] == pytest.approx(fitted.report["test"]["value"], abs=0.05)
    whole = measured["whole"]
    assert (whole["count"], whole["ap50"]) == (measured["count"], measured["metric"]["value"])


def test_evaluate_counts_the_boxes_that_predict_shows(fitted: regraft.Fitted) -> None:
    data = Path(fitted.report["data"]["path"])
    whole = regraft.evaluate(fitted.folder, data / "test.json")["whole"]
    answers = regraft.predict(fitted.folder, [data / "test"])
    assert whole["shown"] == sum(len(answer["objects"]) for answer in answers) > 0
    truth = json.loads((data / "test.json").read_text())["annotations"]
    assert whole["objects"] == len(truth)


def test_a_backbone_that_finds_nothing_is_refused_for_boxes(
    fitted: regraft.Fitted, tmp_path: Path
) -> None:
    data = fitted.report["data"]["path"]
    with pytest.raises(UsageError, match="does not find objects"):
        regraft.fit(data, tmp_path / "run", backbone="efficientnet-lite0", train="head")


HASTY = """
from regraft.cli import main
from regraft.tasks import dense
from regraft.tasks.task import Pace
from regraft.transfer import features, loop

dense.PACE = Pace(batch=8, epochs=4, least_steps=30, most_steps=30, head_rate=1e-2, rate=5e-3)

features.SHARD_ROWS = 16
loop.SAVE_EVERY_S, loop.SAVING_SHARE = 0.0, 1e9
main()
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(
    fitted: regraft.Fitted, tmp_path: Path
) -> None:
    """As the digits of tests/crash, of a detector: the head is trained by the loop here."""
    moments, kills = generator(0, "kills"), 0
    out = tmp_path / "run"
    words = ["fit", fitted.report["data"]["path"], "--out", str(out), "--train", "last:2"]
    words += ["--backbone", _backbone(fitted)]
    environment = {**os.environ, "REGRAFT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", HASTY, *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            patience = float(moments.uniform(2.0, 7.0)) if kills < KILLS else 240.0
            assert process.wait(patience) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    quiet = tmp_path / "quiet"
    words[3] = str(quiet)
    subprocess.run([sys.executable, "-c", HASTY, *words], env=environment, check=True)
    assert kills, "it ended before it could be killed"
    assert _learnt(out) == _learnt(quiet)


def _learnt(run: Path) -> dict[str, bytes]:
    """The model, and what every step learnt and said."""
    files = [run / "model" / "model.safetensors", *run.glob("steps/*.safetensors")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


def test_the_prior_of_a_curve_s_point_is_that_of_its_own_pictures(
    fitted: regraft.Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = dataset.read(Path(fitted.report["data"]["path"]))
    detector = Detector("dense", (), (8, 16), 6)
    task = Detection(rows.classes, detector, 64, (0.0, 0.0)).learning_from(rows.split("train"))
    points, seen = trained_curve(rows, task, monkeypatch)
    assert len(points) == 3
    assert len(seen) == 2
    for less in seen:
        some = less.dataset.split("train")
        counts = np.bincount([box.category for x in some for box in x.boxes], minlength=2)
        assert less.task.frequency == pytest.approx(tuple(counts / len(some)))
    assert len({*(less.task.frequency for less in seen), task.frequency}) == 3
