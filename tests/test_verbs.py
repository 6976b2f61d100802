"""What the verbs refuse before they begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft.errors import DataError, RegraftError, UsageError
from regraft.events import Event

NETWORK = """
from torch import nn
from regraft import Preprocessing

def tiny():
    end = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return [("a", nn.Conv2d(3, 8, 3, 2, 1)), ("b", end)], Preprocessing(size_px=32)
"""


class PairsReader:
    """A reader of one's own: a text file with a picture and its class in each line."""

    def __init__(self, name: str = "pairs", task: str = "image-classification") -> None:
        self.name = name
        self.task = task

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".pairs" and path.is_file()

    def read(self, path: Path) -> regraft.Dataset:
        root = path.resolve().parent
        rows = sorted(line.split() for line in path.read_text().splitlines())
        classes = tuple(sorted({label for _, label in rows}))
        samples = tuple(
            regraft.Sample(file, root / file, classes.index(label)) for file, label in rows
        )
        return regraft.Dataset(path, self.task, classes, samples, found=len(rows))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines: list[str] = []
    for number in range(24):
        pixels = np.random.default_rng(number).normal(80 + 90 * (number % 2), 20, (40, 40, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png {'ab'[number % 2]}")
    (tmp_path / "mine.pairs").write_text("\n".join(lines))
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path / "mine.pairs"


def test_no_network_is_prepared_where_the_samples_would_be_names_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regraft.verbs.prepare", None)
    table = tmp_path / "labels.csv"
    table.write_text("picture,label\nimg/1.png,a\nimg/2.png,b\n")
    with pytest.raises(DataError, match="were looked for in"):
        regraft.fit(table, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_column_that_is_not_there_is_said_before_what_depends_on_it(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("text,label\nsome,a\nmore,b\n")
    with pytest.raises(RegraftError, match="no column Foo; there are text, label") as caught:
        regraft.fit(table, tmp_path, columns="text=Foo", backbone="efficientnet-lite0", views=2)
    assert caught.value.where == str(table)


@pytest.mark.parametrize(
    ("options", "what", "where"),
    [
        ({"backbone": "minilm-l6"}, "minilm-l6 is for texts, the data are images", "--backbone"),
        ({"backbone": "nanodet-g"}, "nanodet-g finds objects, the data are for", "--backbone"),
        ({"backbone": "nanodet"}, "there is no backbone 'nanodet'", "nanodet"),
        ({"columns": "label=foo"}, "Only tables have columns; .*photos is none", "--columns"),
        ({"columns": "text=a"}, "Only tables have columns; .*photos is none", "--columns"),
        ({"task": "image-clasification"}, "no task 'image-clasification'", "--task"),
        ({"train": "last:0"}, "'last:0' does not say which stages to train", "--train"),
        (
            {"train": "last:99999999999999999999"},
            "'last:99999999999999999999' does not say which stages to train",
            "--train",
        ),
        ({"train": "some"}, "'some' does not say which stages to train", "--train"),
        ({"compare": "nothing"}, "nothing to compare with: 'nothing'", "--compare"),
        ({"views": 0}, "0 views of a picture were asked for", "--views"),
        ({"views": 17}, "17 views of a picture were asked for", "--views"),
        ({"views": 2, "task": "object-detection"}, "the task is object-detection", "--views"),
    ],
)
def test_a_wrong_option_of_fit_is_refused_before_anything_is_prepared(
    tmp_path: Path, options: dict[str, Any], what: str, where: str
) -> None:
    said: list[Event] = []
    photos = tmp_path / "photos"
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(photos / name / "1.png")
    with pytest.raises(RegraftError, match=what) as caught:
        regraft.fit(photos, tmp_path / "run", tell=said.append, **options)
    assert caught.value.where == where
    assert not said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", [regraft.labels, regraft.review])
def test_a_batch_of_none_is_refused_before_a_run_is_opened(tmp_path: Path, verb: Any) -> None:
    with pytest.raises(UsageError, match="the batch is not positive"):
        verb(tmp_path, run=tmp_path / "no run", batch=0)


def test_data_that_are_not_there_are_the_fault_whatever_the_backbone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        regraft.fit(tmp_path / "none", tmp_path / "run", backbone="minilm-l6")


def test_what_a_reader_of_ones_own_reads_is_fitted_measured_and_inspected(pairs: Path) -> None:
    run, backbone = pairs.parent / "run", f"local:{pairs.parent / 'net.py'}:tiny"
    given: dict[str, Any] = {"train": "head", "backbone": backbone}
    fitted = regraft.fit(pairs, run, reader=PairsReader(), **given)
    assert sum(fitted.report["data"]["splits"].values()) == 24
    assert fitted.report["reproduce"].endswith(", train='head', reader=...)  # pairs")
    assert regraft.evaluate(run, pairs, reader=PairsReader())["count"] == 24
    assert regraft.inspect(pairs, reader=PairsReader())["samples"] == 24
    (pairs.parent / "new").mkdir()
    (pairs.parent / "new" / "0.png").symlink_to(pairs.parent / "0.png")
    (pairs.parent / "new" / "more").symlink_to(pairs.parent)
    picture, folder = regraft.predict(run, [pairs.parent / "new"])
    assert picture["label"] == "a"
    assert folder["sample"].endswith("new/more") and "This link leaves" in folder["problem"]
    judged = regraft.labels(pairs, reader=PairsReader(), backbone=backbone)
    assert judged["data"]["samples"] == 24
    assert judged["share"] is not None
    pool = pairs.parent / "mine.pairs"
    with pytest.raises(UsageError, match="the pool is all there is"):
        regraft.labels(pool, pool=pool, reader=PairsReader(), backbone=backbone)
    for other in (PairsReader("others"), None):
        with pytest.raises(UsageError, match="other settings: .*reader"):
            regraft.fit(pairs, run, reader=other, **given)


def test_a_model_is_measured_on_as_many_labels_as_it_gives(pairs: Path) -> None:
    place = pairs.parent
    given: dict[str, Any] = {"train": "head", "backbone": f"local:{place / 'net.py'}:tiny"}
    rows = [line.split() for line in pairs.read_text().splitlines()]

    def table(name: str, column: str, labels: list[str]) -> Path:
        lines = [f"{file},{label}" for (file, _), label in zip(rows, labels, strict=True)]
        (place / name).write_text("\n".join([f"path,{column}", *lines]))
        return place / name

    one = [label for _, label in rows]
    single, as_lists = table("one.csv", "label", one), table("lists.csv", "labels", one)
    several = table("several.csv", "labels", ["a|b", "", *one[2:]])
    fitted = regraft.fit(single, place / "one", **given).folder
    assert (
        regraft.evaluate(fitted, as_lists)["metric"] == regraft.evaluate(fitted, single)["metric"]
    )
    several_numbers = table("numbers.csv", "label", ["01"["ab".index(label)] for label in one])
    written = table("floats.csv", "label", [f"{'ab'.index(label)}.0" for label in one])
    by_number = regraft.fit(several_numbers, place / "numbers", **given).folder
    assert regraft.evaluate(by_number, written)["classes"] == ["0", "1"]
    found = regraft.evaluate(fitted, single)
    matrix = np.array(found["confusion"])
    assert found["accuracy"] == np.trace(matrix) / matrix.sum()
    assert [row["recall"] for row in found["per_class"]] == list(matrix.diagonal() / matrix.sum(1))
    for picture in (place / "3.png", str(place / "3.png")):
        assert [row["sample"] for row in regraft.predict(fitted, picture)] == [str(place / "3.png")]
    with pytest.raises(UsageError, match="a run of fit, not of pretrain"):
        regraft.fit(single, place / "other", backbone=str(fitted))
    first, lacking = min([row[0] for row in rows[:2]]), table("none.csv", "labels", ["", *one[1:]])
    with pytest.raises(
        DataError, match="labels, and the model gives each sample exactly"
    ) as caught:
        regraft.evaluate(fitted, several)
    assert caught.value.where == first
    with pytest.raises(DataError, match="it has no labels"):
        regraft.evaluate(fitted, lacking)
    fitted = regraft.fit(several, place / "several", **given).folder
    measured = [regraft.evaluate(fitted, data) for data in (single, as_lists)]
    assert measured[0]["metric"] == measured[1]["metric"]
    assert measured[0]["metric"]["name"] == "mean_average_precision"
    assert measured[0]["confusion"] == measured[1]["confusion"]
    assert {row["name"] for row in measured[0]["per_class"] if row["count"] == 12} == {"a", "b"}


def test_a_head_may_learn_from_several_views_of_each_picture(pairs: Path) -> None:
    backbone = f"local:{pairs.parent / 'net.py'}:tiny"
    given: dict[str, Any] = {"train": "head", "backbone": backbone, "reader": PairsReader()}
    several = regraft.fit(pairs, pairs.parent / "several", views=3, **given)
    one = regraft.fit(pairs, pairs.parent / "one", **given)
    (head,), (plain,) = several.report["rungs"], one.report["rungs"]
    count = several.report["data"]["splits"]["train"]
    held = several.report["data"]["splits"]["valid"]
    assert (head["views"], head["computed"]) == (3, 3 * count + held)
    assert (plain["views"], plain["computed"]) == (1, 0)
    assert ", views=3, " in several.report["reproduce"]
    assert "views" not in one.report["reproduce"]
    assert weights_of(several) != weights_of(one)
    with pytest.raises(UsageError, match="other settings: .*views"):
        regraft.fit(pairs, pairs.parent / "several", views=2, **given)


def test_views_whose_vectors_do_not_stay_in_memory_are_left_out(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = f"local:{pairs.parent / 'net.py'}:tiny"
    given: dict[str, Any] = {"train": "head", "backbone": backbone, "reader": PairsReader()}
    count = regraft.fit(pairs, pairs.parent / "one", **given).report["data"]["splits"]["train"]
    monkeypatch.setattr("regraft.transfer.ground.HEAD_BYTES", 2 * 4 * 32 * count)  # 32 numbers each
    said: list[Event] = []
    fitted = regraft.fit(pairs, pairs.parent / "few", views=5, tell=said.append, **given)
    assert fitted.report["rungs"][0]["views"] == 2
    assert any("learns from 2 of 5 views" in str(event) for event in said)


def weights_of(fitted: regraft.Fitted) -> bytes:
    return (fitted.folder / "model" / "model.safetensors").read_bytes()


def test_the_task_is_that_of_what_a_reader_of_ones_own_reads(pairs: Path) -> None:
    reader = PairsReader(task="object-detection")
    with pytest.raises(UsageError, match="the data are for object-detection"):
        regraft.fit(pairs, pairs.parent / "run", reader=reader, backbone="efficientnet-lite0")
    with pytest.raises(DataError, match="This is not a pairs"):
        regraft.fit(pairs.parent / "net.py", pairs.parent / "run", reader=PairsReader())


def test_a_reader_of_ones_own_takes_no_columns(pairs: Path) -> None:
    both: dict[str, Any] = {"reader": PairsReader(), "columns": "label=kind"}
    for refused in (
        lambda: regraft.fit(pairs, pairs.parent / "run", **both),
        lambda: regraft.evaluate(pairs.parent / "run", pairs, **both),
        lambda: regraft.inspect(pairs, **both),
        lambda: regraft.labels(pairs, **both),
    ):
        with pytest.raises(UsageError, match="takes no columns"):
            refused()
