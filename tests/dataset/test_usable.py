"""Bad files, and how many of them are too many."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_pictures import broken, classes
from tallies import accounted, kinds

from regraft.dataset import (
    Problem,
    read,
)
from regraft.errors import TooManyBadSamples


def test_one_bad_file_in_fifty_is_set_aside(tmp_path: Path) -> None:
    broken(classes(tmp_path, cat=25, dog=25), 1)
    dataset = read(tmp_path)
    assert len(dataset) == 49
    assert dataset.problems == (
        Problem("truncated", "cat/000.png", "The file ends too early.", "set aside"),
    )
    with pytest.raises(TooManyBadSamples, match="1 of 50 pictures"):
        read(tmp_path, max_bad=0)


def test_two_percent_are_too_many(tmp_path: Path) -> None:
    broken(classes(tmp_path, cat=50, dog=50), 2)
    with pytest.raises(TooManyBadSamples) as fault:
        read(tmp_path)
    assert "2 of 100 pictures cannot be used; at most 1" in str(fault.value)
    assert "cat/001.png: The file ends too early." in str(fault.value)
    assert "--max-bad 0.021" in str(fault.value)
    assert len(read(tmp_path, max_bad=0.021)) == 98


def test_the_first_ten_of_many_are_listed(tmp_path: Path) -> None:
    broken(classes(tmp_path, cat=15, dog=5), 15)
    with pytest.raises(TooManyBadSamples) as fault:
        read(tmp_path)
    assert str(fault.value).count("ends too early") == 10
    assert "and 5 more" in str(fault.value)


def test_what_never_claimed_to_be_a_picture_is_not_bad(tmp_path: Path) -> None:
    classes(tmp_path, cat=5, dog=5)
    for index in range(5):
        (tmp_path / "cat" / f"notes {index}.txt").write_text("brown fur")
    shutil.move(tmp_path / "cat/004.png", tmp_path / "cat/no suffix")
    dataset = read(tmp_path, max_bad=0)
    assert len(dataset) == 10
    assert kinds(dataset) == {"not-an-image": 5}
    assert {p.done for p in dataset.problems} == {"ignored"}
    assert accounted(dataset)


def test_where_all_files_are_bad_no_share_would_help(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(4):
            path = tmp_path / label / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"no picture")
    with pytest.raises(TooManyBadSamples) as refused:
        read(tmp_path)
    assert "not one of them can be used" in str(refused.value.mend)
    (tmp_path / "table.csv").write_text("path,label\n" + "img/1.jpg,cat\nimg/2.jpg,dog\n" * 2)
    with pytest.raises(TooManyBadSamples) as refused:
        read(tmp_path / "table.csv")
    assert "paths in a table begin at its folder" in str(refused.value.mend)
