"""Crowds are told from objects: what has nothing else is not learnt, and that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regraft import dataset
from regraft.errors import DataError


def made(folder: Path, crowds: set[str], crowded: tuple[str, ...] = ("train", "valid")) -> Path:
    """Pictures with a tree and a car each; those of the categories in `crowds` are crowds."""
    lines = ["path,category,left,top,right,bottom,crowd,split"]
    for number, split in enumerate(["train"] * 4 + ["valid"] * 2 + ["test"] * 2):
        noise = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
        for left, name in ((2, "car"), (20, "tree")):
            crowd = int(name in crowds and split in crowded)
            lines.append(f"{number}.png,{name},{left},4,{left + 10},20,{crowd},{split}")
    (folder / "boxes.csv").write_text("\n".join(lines))
    return folder


def test_crowds_are_counted_apart(tmp_path: Path) -> None:
    rows = dataset.read(made(tmp_path, {"tree"}, ("train",)))
    counts = dataset.describe(rows)["boxes"]
    assert (counts["used"], counts["crowds"]) == (16, 4)


def test_a_category_of_crowds_alone_is_a_problem(tmp_path: Path) -> None:
    rows = dataset.read(made(tmp_path, {"tree"}, ("train",)))
    (said,) = [problem for problem in rows.problems if problem.kind == "only-crowds"]
    assert (said.where, said.done) == ("tree", "category not learnt")
    assert said.what == "All boxes of the category tree to train on are crowds."
    plain = dataset.read(made(tmp_path, {"tree"}, ("valid",)))
    assert "only-crowds" not in {problem.kind for problem in plain.problems}


@pytest.mark.parametrize(("split", "use"), [("train", "learn from"), ("valid", "validate with")])
def test_crowds_alone_are_nothing_to_learn_from(tmp_path: Path, split: str, use: str) -> None:
    path = made(tmp_path, {"tree", "car"}, (split,))
    with pytest.raises(DataError, match=f"no object to {use}"):
        dataset.read(path)
    problems = dataset.read_to_inspect(path).problems
    (stops,) = [problem for problem in problems if problem.done == "fit stops"]
    assert use in stops.what


def test_a_split_without_any_box_is_not_said_to_be_of_crowds(tmp_path: Path) -> None:
    path = made(tmp_path, set())
    lines = (path / "boxes.csv").read_text().splitlines()
    emptied = [f"{line.split(',')[0]},,,,,,,valid" for line in lines if line.endswith("valid")]
    rest = [line for line in lines if not line.endswith("valid")]
    (path / "boxes.csv").write_text("\n".join([*rest, *emptied]))
    with pytest.raises(DataError, match="no picture of the valid split has a box") as caught:
        dataset.read(path)
    assert "crowd" not in str(caught.value)
