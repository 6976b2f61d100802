"""Answers as a table."""

from __future__ import annotations

import codecs
import csv
import io

from regraft.predicting import as_csv


def _rows(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))


def test_a_row_for_each_sample_and_what_could_not_be_read() -> None:
    answers = [
        {"sample": "a, b.jpg", "label": "cat", "probability": 0.75, "probabilities": {"cat": 0.75},
         "unlike_training": False, "distance": 0.1},
        {"sample": "bad\n.jpg", "problem": "This is no picture."},
    ]  # fmt: skip
    assert _rows(as_csv(answers)) == [
        {"sample": "a, b.jpg", "label": "cat", "probability": "0.75", "unlike_training": "False",
         "problem": ""},
        {"sample": "bad\\n.jpg", "label": "", "probability": "", "unlike_training": "",
         "problem": "This is no picture."},
    ]  # fmt: skip


def test_several_labels_and_parts_of_a_video() -> None:
    said = {"label": "cat", "labels": ["cat", "owl"], "probability": 0.75, "unlike_training": False}
    part = {**said, "label": None, "labels": [], "start_s": 0.5, "stop_s": 1.5}
    whole, below = _rows(as_csv([{"sample": "a.mp4", **said, "timeline": [part]}]))
    assert (whole["label"], whole["start_s"]) == ("cat|owl", "")
    assert (below["sample"], below["label"], below["stop_s"]) == ("a.mp4", "", "1.5")


def test_of_objects_there_is_a_row_for_each_box() -> None:
    thing = {"label": "cat", "probability": 0.5, "box": [1.0, 2.0, 3.0, 4.5]}
    objects = [{"sample": "a.jpg", "objects": [thing]}, {"sample": "b.jpg", "objects": []}]
    cat, none = _rows(as_csv(objects))
    assert (cat["category"], cat["bottom"], none["category"]) == ("cat", "4.5", "")


def test_what_a_spreadsheet_would_compute_is_text() -> None:
    (row,) = _rows(as_csv([{"sample": "=1+1.jpg", "label": "-cat", "probability": 0.5}]))
    assert (row["sample"], row["label"]) == ("'=1+1.jpg", "'-cat")
    thing = {"label": "=cat", "probability": 0.5, "box": [1.0, 2.0, 3.0, 4.5]}
    box, none = _rows(
        as_csv([{"sample": "@a.jpg", "objects": [thing]}, {"sample": "-b.jpg", "objects": []}])
    )
    assert (box["path"], box["category"], none["path"]) == ("./@a.jpg", "'=cat", "./-b.jpg")


def test_a_spreadsheet_is_told_the_encoding_where_it_matters() -> None:
    said = {"probability": 0.5, "unlike_training": False}
    assert as_csv([{"sample": "a.jpg", "label": "cat", **said}]).startswith(b"sample,")
    marked = as_csv([{"sample": "a.jpg", "label": "Käfer", **said}])
    assert marked.startswith(codecs.BOM_UTF8)
    assert _rows(marked)[0]["label"] == "Käfer"
    thing = {"label": "猫", "probability": 0.5, "box": [1.0, 2.0, 3.0, 4.5]}
    assert as_csv([{"sample": "a.jpg", "objects": [thing]}]).startswith(codecs.BOM_UTF8)
