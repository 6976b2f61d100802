"""Clips are spoken of by their own names, or by those of what they were cut from."""

from __future__ import annotations

from regraft.labelling.named import spoken_of


def test_a_clip_is_spoken_of_by_its_file_or_a_part_that_holds_it():
    find = spoken_of(["a.mp4", "b.mp4@0.00-30.00s", "b.mp4@0.00-12.00s", "c.mp4@0.00-6.00s"])
    assert find("a.mp4") == "a.mp4"
    assert find("a.mp4@6.00-12.00s") == "a.mp4"
    assert find("b.mp4@6.00-12.00s") == "b.mp4@0.00-12.00s"
    assert find("b.mp4@12.00-18.00s") == "b.mp4@0.00-30.00s"
    assert find("b.mp4@27.00-33.00s") is None
    assert find("b.mp4") is None
    assert find("c.mp4@0.00-6.00s") == "c.mp4@0.00-6.00s"
    assert find("c.mp4@6.00-12.00s") is None
    assert find("d.mp4@6.00-12.00s") is None
