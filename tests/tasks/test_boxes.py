"""Which boxes a network can learn."""

from __future__ import annotations

from pathlib import Path

from regraft.dataset.rows import Box, Sample
from regraft.dataset.views import View
from regraft.tasks.boxes import BoxTargets, in_view, too_small


def test_a_box_is_too_small_where_the_plain_view_does_not_teach_it() -> None:
    # 1,000 px become 100: boxes of 29 × 100, 31 × 31 and 20 × 20 px, and a crowd.
    boxes = (
        Box(0, 0, 0, 29, 100),
        Box(1, 0, 0, 31, 31),
        Box(1, 500, 0, 520, 20),
        Box(0, 0, 0, 5, 5, True),
    )
    large = Sample("a", Path("a"), (0, 1), size=(500, 1000), boxes=boxes)
    small = Sample("b", Path("b"), (0,), size=(100, 50), boxes=(Box(0, 1, 1, 4, 4),))
    targets = BoxTargets.from_samples([large, small])
    assert too_small(targets, 100).tolist() == [True, False, True, False, False]
    learnt = [len(in_view(targets, n, View(), 100).boxes_g4) for n in range(2)]
    assert learnt == [1, 1]
