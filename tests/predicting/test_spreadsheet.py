"""Answers as a table."""

from __future__ import annotations

import csv
import io

import pytest

from regraft.errors import UsageError
from regraft.predicting import as_csv


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


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


def test_boxes_have_a_table_of_their_own() -> None:
    with pytest.raises(UsageError, match="--to csv"):
        as_csv([{"sample": "a.jpg", "objects": []}])
