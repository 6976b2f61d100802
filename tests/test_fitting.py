"""What `fit` says of the data before it learns from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from regraft import fitting
from regraft.backbones.backbone import Detector
from regraft.dataset.rows import Box, Dataset, Sample
from regraft.events import Said
from regraft.tasks import Detection


def test_boxes_too_small_to_be_learnt_are_said_by_category() -> None:
    boxes = (Box(0, 0, 0, 9, 9), Box(1, 0, 0, 90, 90), Box(1, 9, 9, 19, 19))
    samples = tuple(
        Sample(split, Path(split), (0, 1), split=split, size=(640, 640), boxes=boxes)
        for split in ("train", "valid")
    )
    rows = Dataset(Path(), "object-detection", ("bird", "cat"), samples)
    task = Detection(rows.classes, Detector("dense", (), (8, 16), 6), 64, (1.0, 1.0))
    told: list[Any] = []
    said = fitting._say_too_small(rows, task, told.append)
    assert [(p.kind, p.where, p.what) for p in said.problems] == [
        (
            "too-small",
            "bird",
            "Its only box to train on is below 3 px in the network's input of 64 px.",
        ),
        (
            "too-small",
            "cat",
            "1 of its 2 boxes to train on is below 3 px in the network's input of 64 px.",
        ),
    ]
    (event,) = told
    assert isinstance(event, Said) and "at most: 2. Cut the pictures" in event.text
    assert said.fingerprint() == rows.fingerprint()
    large = Detection(rows.classes, task.detector, 640, (1.0, 1.0))
    assert fitting._say_too_small(rows, large, told.append) is rows


def test_a_test_split_without_objects_is_not_measured_on() -> None:
    task = Detection(("bird",), Detector("dense", (), (8, 16), 6), 64, (1.0,))
    boxes = (Box(0, 0, 0, 9, 9),)
    told: list[Any] = []
    for there, testable in (((), False), ((replace(boxes[0], crowd=True),), False), (boxes, True)):
        sample = Sample("a", Path("a"), (), split="test", size=(64, 64), boxes=there)
        rows = Dataset(Path(), "object-detection", ("bird",), (sample,))
        ground: Any = SimpleNamespace(dataset=rows, task=task, tell=told.append)
        assert fitting._is_testable(ground) is testable
    assert [event.text for event in told] == [
        "there is no object on the test split, so nothing is measured on it"
    ] * 2
    ground.dataset = rows.with_samples([])
    assert not fitting._is_testable(ground) and len(told) == 2
