from __future__ import annotations

import math
from pathlib import Path

import pytest
from made_videos import moving, write

from regraft.dataset import read_all
from regraft.dataset.table import Table, read_table
from regraft.dataset.times import Span, parts, with_times
from regraft.errors import DataError


def table(folder: Path, header: str, *rows: str) -> Table:
    (folder / "t.csv").write_text("\n".join([header, *rows]))
    return read_table(folder / "t.csv")


@pytest.mark.parametrize(
    ("start", "stop", "span_s"),
    [
        ("0", "3", (0, 3)),
        ("0.5", "3.25", (0.5, 3.25)),
        ("0,5", "3,25", (0.5, 3.25)),
        ("00:00:10", "00:00:13.5", (10, 13.5)),
        ("1:30", "1:01:30", (90, 3690)),
        ("5 s", "7s", (5, 7)),
        ("1e1", "2e1", (10, 20)),
        ("", "3", (0, 3)),
        ("76", " ", (76, math.inf)),
        ("", "", None),
    ],
)
def test_times(start: str, stop: str, span_s: Span | None, tmp_path: Path) -> None:
    one = table(tmp_path, "path;start;stop", f"a.mp4;{start};{stop}")
    assert parts(one) == [span_s]


@pytest.mark.parametrize(
    ("start", "stop"),
    [("10", "8"), ("3", "3"), ("-1", "2"), ("nan", "inf"), ("x", "2"), ("1", "?")],
)
def test_no_times(start: str, stop: str, tmp_path: Path) -> None:
    one = table(tmp_path, "path,start,stop", f"a.mp4,{start},{stop}")
    assert parts(one) == [f"A clip cannot go from '{start}' to '{stop}'"]


@pytest.mark.parametrize("stop", ["9" * 5000 + ":30", "9" * 400 + ":30", "9" * 400])
def test_numbers_that_are_too_long_are_no_times(stop: str, tmp_path: Path) -> None:
    (part,) = parts(table(tmp_path, "path,start,stop", f"a.mp4,0,{stop}"))
    assert isinstance(part, str) and "cannot go from '0' to '999" in part


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path,start,stop", []),
        ("path,start,end", ["There is no column `stop`; end holds times."]),
        (
            "path,Start_Time,END_TIME",
            [
                "There is no column `start`; Start_Time holds times.",
                "There is no column `stop`; END_TIME holds times.",
            ],
        ),
    ],
)
def test_columns_that_are_usually_called_so(header: str, said: list[str], tmp_path: Path) -> None:
    named = with_times(table(tmp_path, header, "a.mp4,0,1", "a.mp4,0:01,", "a.mp4,?,2"))
    assert [part for part in parts(named) if not isinstance(part, str)] == [(0, 1), (1, math.inf)]
    assert [problem.what for problem in named.notes] == said
    assert named.listed == header.replace(",", ", ")


def test_other_columns_are_no_times(tmp_path: Path) -> None:
    named = with_times(table(tmp_path, "path,from,to", "a.mp4,Ann,Bob", "a.mp4,Ann,2"))
    assert parts(named) == [None, None]
    assert named.notes == ()
    named = with_times(table(tmp_path, "path,first,last", "a.mp4,0,30", "a.mp4,40,80"))
    assert [problem.what for problem in named.notes] == [
        "Several rows name one file, and first, last are not read. Which part of a file is meant "
        "is read, in seconds, from columns `start` and `stop`."
    ]


def test_a_column_of_stops_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of stops; it has path, start, duration"):
        with_times(table(tmp_path, "path,start,duration", "a.mp4,0,2"))


def test_rows_with_bad_times_are_set_aside_and_the_others_read(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.mp4", moving(48, seed=ord(name)), rate=8)
    spans = [f"{k},{k + 1}" for k in range(4)]
    rows = [f"{name}.mp4,{name},{span}" for name in "ab" for span in (*spans, "4.5,")]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,begin,end", *rows, "a.mp4,a,3,2"]))
    dataset = read_all(tmp_path / "t.csv", max_bad=0.1)
    assert [(p.kind, p.where, p.what) for p in dataset.problems if p.done == "set aside"] == [
        ("bad-time", "a.mp4", "A clip cannot go from '3' to '2' (line 12).")
    ]
    assert len(dataset) == 10
    assert [s.span_s for s in dataset if s.id == "a.mp4@4.50-end"] == [(4.5, 6.0)]
