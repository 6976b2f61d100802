"""Which categories a source knows by name."""

from __future__ import annotations

from regraft.backbones.backbone import Detector
from regraft.tasks import Detection

THEIRS = ("traffic light", "tv", "couch", "cup-board", "sofa bed")


def test_names_are_the_same_whatever_joins_their_words_and_vocs_are_known() -> None:
    names = ("Traffic_Light", "tvmonitor", "couch", "cup board", "tree", "sofa")
    task = Detection(names, Detector("dense", THEIRS, (8, 16), 6), 64, (1.0,) * len(names))
    assert task.kept_rows == (0, 1, 2, 3, -1, 2)
    assert task.mapping() == (
        "categories: known to the source and kept: Traffic_Light (its traffic light), tvmonitor "
        "(its tv), couch, cup board (its cup-board), sofa (its couch); new: tree"
    )
