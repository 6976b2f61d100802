from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_pictures import classes, jpeg, saved, scenes

from regraft.dataset import Dataset, Sample, describe, read
from regraft.tasks.classification import Classification


def test_describe(tmp_path: Path) -> None:
    classes(tmp_path, cat=60, dog=12)
    saved(scenes()[0], tmp_path / "cat/scene.png")
    jpeg(scenes()[0], 50).save(tmp_path / "cat/scene.jpg")
    shutil.copy(tmp_path / "dog/000.png", tmp_path / "dog/copy.png")
    (tmp_path / "dog/notes.txt").write_text("x")
    dataset = read(tmp_path)
    told = describe(dataset)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["found"] == 76
    assert told["samples"] == 75
    assert sum(told["splits"].values()) == 75
    assert [entry["name"] for entry in told["classes"]] == ["cat", "dog"]
    for entry in told["classes"]:
        assert entry["total"] == entry["train"] + entry["valid"] + entry["test"]
    assert told["sizes"]["height"] == {"min": 40, "median": 40, "max": 213}
    assert told["sizes"]["shorter_side"]["max"] == 213
    assert told["formats"] == {"JPEG": 1, "PNG": 74}
    assert told["duplicates"] == {"exact": 1, "near": 1}
    assert told["groups"] == 2
    assert told["leaks"] == 0
    assert told["imbalance"]["ratio"] > 4
    assert "cat has" in told["imbalance"]["text"]
    assert [(p["kind"], p["count"], p["done"]) for p in told["problems"]] == [
        ("duplicate", 1, ["grouped"]),
        ("near-duplicate", 1, ["grouped"]),
        ("not-an-image", 1, ["ignored"]),
    ]
    assert told["problems"][2]["examples"][0]["where"] == "dog/notes.txt"
    assert told["fingerprint"] == dataset.fingerprint()


def test_classes_that_are_numbers_stand_in_their_order() -> None:
    names = ("-1", "-4", "0", "10", "2")
    samples = tuple(Sample(f"{n}", "text", n, split="train") for n in range(5))
    told = describe(Dataset(Path("a.csv"), "text-classification", names, samples))
    assert [row["name"] for row in told["classes"]] == ["-4", "-1", "0", "2", "10"]
    assert all(row["total"] == 1 for row in told["classes"])


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([4, 4], "Classes are near enough to equal."),
        ([11, 4], "Classes are near enough to equal."),
        ([12, 4], "a has 3 times as many training samples as b."),
        ([4, 0], "No training sample is of another class than a."),
        ([12, 6, 0], "No training sample is of c."),
        ([40, 4, 0], "No training sample is of c. a has 10 times as many training samples as b."),
        ([4], "There is one class, a."),
    ],
)
def test_classes_are_called_equal_where_they_are_learnt_so(sizes: list[int], said: str) -> None:
    samples = [
        Sample(f"{label}{n}", "text", label, split="train")
        for label, size in enumerate(sizes)
        for n in range(size)
    ]
    rows = Dataset(Path(), "text-classification", ("a", "b", "c")[: len(sizes)], tuple(samples))
    assert describe(rows)["imbalance"]["text"] == said
    if min(sizes) and sizes[1:]:
        assert Classification.of(rows).balanced == ("times as many" in said)


def test_classes_that_are_numbers_are_told_from_how_many_there_are() -> None:
    samples = tuple(Sample(f"{n}", "text", int(n > 11), split="train") for n in range(16))
    rows = Dataset(Path(), "text-classification", ("3", "8"), samples)
    text = '"3" has 3 times as many training samples as "8".'
    assert describe(rows)["imbalance"]["text"] == text


def test_reading_photos_imports_nothing_slow(tmp_path: Path) -> None:
    classes(tmp_path, cat=5, dog=5)
    code = (
        "import sys; from regraft import dataset; dataset.describe(dataset.read(sys.argv[1]));"
        "slow = {'torch', 'torchvision', 'timm', 'sklearn', 'scipy', 'pyarrow', 'openvino'};"
        "sys.exit(str(slow & set(sys.modules)) if slow & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
