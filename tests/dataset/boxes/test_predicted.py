"""Files of predictions: each holds every box with its confidence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from made import picture

from regraft.dataset.boxes import read_boxes
from regraft.dataset.boxes.predicted import below, common_folder, write_predictions
from regraft.errors import DataError, UsageError

CLASSES = ("car", "tree")


@pytest.fixture
def rows(tmp_path: Path) -> list[dict]:
    for name in ("in/a.png", "in/sub/b.png", "in/sub/b.jpg"):
        picture(tmp_path / name)
    found = [
        {"label": "tree", "probability": 0.9, "box": [1.0, 2.0, 11.5, 12.0]},
        {"label": "car", "probability": 0.25, "box": [20.0, 5.0, 39.0, 30.0]},
    ]
    size = {"width": 40, "height": 30}
    return [
        {"sample": str(tmp_path / "in/a.png"), **size, "objects": found},
        {"sample": str(tmp_path / "in/sub/b.png"), **size, "objects": []},
        {"sample": str(tmp_path / "in/sub/b.jpg"), **size, "objects": found[:1]},
        {"sample": str(tmp_path / "in/no.png"), "problem": "There is no such file."},
    ]


def test_json_is_what_predict_said(rows, tmp_path: Path):
    (file,) = write_predictions(rows, CLASSES, tmp_path / "out", "json")
    assert json.loads(file.read_text()) == rows


def test_csv_has_a_line_a_box_and_one_for_an_empty_picture(rows, tmp_path: Path):
    (file,) = write_predictions(rows, CLASSES, tmp_path / "out", "csv")
    with file.open(newline="") as opened:
        lines = list(csv.DictReader(opened))
    assert [(Path(line["path"]).name, line["category"], line["score"]) for line in lines] == [
        ("a.png", "tree", "0.9"),
        ("a.png", "car", "0.25"),
        ("b.png", "", ""),
        ("b.jpg", "tree", "0.9"),
    ]
    assert lines[0]["right"] == "11.5"


def test_csv_is_read_again_as_boxes(rows, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names begin in the pictures' own folder, wherever one stands
    rows[0]["sample"] = "in/a.png"
    picture(tmp_path / "in/=1+1.png")
    thing = {"label": "=Käfer", "probability": 0.5, "box": [1.0, 2.0, 11.5, 12.0]}
    rows.append({"sample": "in/=1+1.png", "width": 40, "height": 30, "objects": [thing]})
    (file,) = write_predictions(rows, (*CLASSES, "=Käfer"), tmp_path / "in", "csv")
    text = file.read_bytes().decode("utf-8")
    assert text.startswith("\ufeffpath,category,") and "\n./=1+1.png,'=Käfer,1,2," in text
    data = read_boxes(file)
    assert not data.problems
    assert [p.id for p in data.pictures] == ["=1+1.png", "a.png", "sub/b.jpg", "sub/b.png"]
    assert (data.used, data.categories) == (4, ("=Käfer", *CLASSES))
    (elsewhere,) = write_predictions(rows, (*CLASSES, "=Käfer"), tmp_path / "out", "csv")
    with pytest.raises(DataError) as fault:
        read_boxes(elsewhere)
    assert fault.value.mend.startswith("put the file where its paths lead to the pictures, or ")


def test_coco_is_read_again_as_boxes(rows, tmp_path: Path):
    (file,) = write_predictions(rows, CLASSES, tmp_path / "in", "coco")
    content = json.loads(file.read_text())
    assert [row["score"] for row in content["annotations"]] == [0.9, 0.25, 0.9]
    data = read_boxes(file)
    assert [p.id for p in data.pictures] == ["a.png", "sub/b.jpg", "sub/b.png"]
    assert (data.used, data.mended, data.categories) == (3, 0, CLASSES)
    assert data.pictures[0].boxes[1].right == 11.5


def test_yolo_has_a_file_a_picture(rows, tmp_path: Path):
    write_predictions(rows, CLASSES, tmp_path / "out", "yolo")
    folder = tmp_path / "out" / "labels"
    assert (folder / "a.txt").read_text().splitlines() == [
        "1 0.15625 0.23333333 0.2625 0.33333333 0.9",
        "0 0.7375 0.58333333 0.475 0.83333333 0.25",
    ]
    assert (folder / "sub" / "b.txt").read_text() == ""
    assert len((folder / "sub" / "b.jpg.txt").read_text().splitlines()) == 1
    assert (tmp_path / "out" / "classes.txt").read_text() == "car\ntree\n"


def test_names_leave_out_what_all_have_in_common(rows):
    folder = common_folder(row["sample"] for row in rows)
    names = [below(row["sample"], folder) for row in rows]
    assert names == ["a.png", "sub/b.png", "sub/b.jpg", "no.png"]
    assert common_folder(["x/a.png"]) == Path.cwd() / "x"
    assert common_folder([]) == Path.cwd()


def test_an_unknown_format_is_refused(rows, tmp_path: Path):
    with pytest.raises(UsageError, match="no format"):
        write_predictions(rows, CLASSES, tmp_path / "out", "xls")
