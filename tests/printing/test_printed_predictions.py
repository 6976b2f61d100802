"""What is said of samples that were predicted."""

from __future__ import annotations

from pathlib import Path

from consoles import printed

from regraft import printing


def test_predictions_are_aligned_and_say_what_is_unlike_the_training_data() -> None:
    rows = [
        {"sample": "a.jpg", "label": "cat", "probability": 0.97, "unlike_training": False},
        {"sample": "long/b.jpg", "label": "tiger", "probability": 0.5, "unlike_training": True},
        {"sample": "c.jpg", "problem": "truncated"},
        {"sample": "d", "labels": ["x", "y"], "probability": 0.9, "unlike_training": False},
        {"sample": "e", "labels": [], "probability": 0.4, "unlike_training": False},
    ]
    assert printed(80, printing.print_predictions, rows).splitlines() == [
        "a.jpg       cat    0.970",
        "long/b.jpg  tiger  0.500  unlike the training data",
        "c.jpg       not read: truncated",
        "d           x, y   0.900",
        "e           none   0.400",
        "4 done, 1 not read",
    ]


def test_the_last_line_says_how_much_was_done_and_where_it_is_written() -> None:
    labelled = {"sample": "a.jpg", "label": "cat", "probability": 0.97, "unlike_training": False}
    unread = {"sample": "c.jpg", "problem": "truncated"}
    ignored = {"sample": "notes.txt", "problem": "This is no picture.", "ignored": True}
    assert printing.outcome([labelled]) == ""
    assert printing.outcome([labelled], Path("out")) == "written to out"
    assert printing.outcome([labelled, unread, ignored]) == "1 done, 1 not read, 1 ignored"
    assert printing.outcome([unread] * 1200, Path("out")) == (
        "0 done, 1,200 not read; written to out"
    )


def test_a_stretch_of_a_video_says_that_it_is_unlike_the_training_data() -> None:
    seen = [("cat", 0.9, False), ("cat", 0.8, True), ("cat", 0.6, True), ("dog", 0.7, True)]
    parts = [
        {"label": label, "probability": chance, "unlike_training": is_unlike,
         "start_s": 3.0 * n, "stop_s": 3.0 * n + 6}
        for n, (label, chance, is_unlike) in enumerate(seen)
    ]  # fmt: skip
    whole = {"sample": "a.mp4", **parts[0], "timeline": parts}
    assert printed(80, printing.print_predictions, [whole]).splitlines() == [
        "a.mp4  cat  0.900",
        "  0.0 to 4.5 s        cat  up to 0.900",
        "  4.5 to 10.5 s       cat  up to 0.800  unlike the training data",
        "  10.5 to 15.0 s      dog  up to 0.700  unlike the training data",
    ]


def test_names_cannot_move_the_cursor_or_hide() -> None:
    name = "a\nb\x1b[2J\u202egpj.\udcff [bold]ü"
    row = {"sample": name, "label": name, "probability": 1.0, "unlike_training": False}
    page = printed(200, printing.print_predictions, [row])
    assert page.count("\n") == 1
    assert page.startswith("a\\nb\\x1b[2J\\u202egpj.\\udcff [bold]ü  ")
