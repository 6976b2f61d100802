"""What a person sees on stderr: progress, faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from regraft import terminal
from regraft.dataset import guard
from regraft.errors import DataError
from regraft.events import Advanced, Measured, Said, Saved, Stepped


def test_plain_progress_says_a_line_every_few_seconds() -> None:
    lines: list[str] = []
    now_s = 0.0
    progress = terminal.PlainProgress(lines.append, lambda: now_s)
    for done in range(0, 1001, 10):
        progress(Advanced("features", done, 1000))
        now_s += 0.125
    assert lines == [
        "features: 240 of 1,000, about 9.5 s left",
        "features: 480 of 1,000, about 6.5 s left",
        "features: 720 of 1,000, about 3.5 s left",
        "features: 960 of 1,000, about 0.5 s left",
        "features: 1,000 of 1,000",
    ]
    for done in range(3):
        progress(Advanced("judging labels", done, 2))
    assert len(lines) == 5  # of what is over at once nothing is said


def test_plain_progress_passes_on_what_is_said_and_measured() -> None:
    lines: list[str] = []
    progress = terminal.PlainProgress(lines.append)
    progress(Said("two files\x07 set aside"))
    progress(Measured("head", "balanced_accuracy", 0.9, 0.85, 0.95))
    progress(Saved("head"))
    progress(Stepped("last:1", 1, 100, 0.5))
    assert lines == ["two files\\x07 set aside", "head: balanced accuracy 90.0 % (85.0 to 95.0)"]


def test_work_that_begins_again_is_timed_from_its_new_beginning() -> None:
    lines: list[str] = []
    now_s = 0.0
    progress = terminal.PlainProgress(lines.append, lambda: now_s)
    progress(Advanced("features", 10, 10))
    now_s = 100.0
    progress(Advanced("features", 0, 10))
    now_s = 104.0
    progress(Advanced("features", 4, 10))
    assert lines[-1] == "features: 4 of 10, about 6.0 s left"


def test_nothing_moves_the_cursor_where_stderr_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with terminal.telling() as tell:
        tell(Said("one"))
        tell(Advanced("features", 1, 2))
    assert capsys.readouterr() == ("", "one\n")


@pytest.mark.parametrize("path", [r"C:\Users\ann\new.png", r"\\nas\new\a.png"])
def test_a_fault_names_paths_of_windows_as_they_are(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = guard.nothing_at(Path(path))
    fault = DataError(f"{guard.shown(path)} is bad\n  {path!r}", where=missing.where, mend=path)
    terminal.say_fault(fault)
    told = f"{path} is bad\n  '{path}'\n  where: {path}\n  mend:  {path}"
    assert capsys.readouterr().err == f"regraft: {told}\n"
