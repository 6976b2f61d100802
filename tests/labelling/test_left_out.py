"""What of some data is not looked at."""

from __future__ import annotations

from regraft.dataset import Problem
from regraft.labelling.left_out import left_out, said_of


def test_what_is_no_sample_is_counted_by_why_and_the_first_are_named() -> None:
    problems = [
        *(
            Problem("truncated", f"{n}.png", "The file ends too early.", "set aside")
            for n in "abcd"
        ),
        Problem("duplicate", "e.png", "The same file as f.png.", "grouped"),
        Problem("leak", "g.png", "A copy of h.png.", "left out"),
        Problem("hidden", ".png", "A hidden file.", "ignored"),
    ]
    rows = left_out(problems)
    assert [row["where"] for row in rows] == ["a.png", "b.png", "c.png", "d.png", "g.png"]
    assert said_of(rows, "picture") == (
        "4 pictures were set aside on reading (truncated): a.png, b.png, c.png and 1 more. "
        "1 picture was left out on reading (leak): g.png."
    )
    assert said_of([], "picture") == ""
