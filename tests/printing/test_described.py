"""What is said of data."""

from __future__ import annotations

from typing import Any

import pytest
from consoles import printed

from regraft import printing
from regraft.printing.described import _boxes


def test_a_description_shows_classes_sizes_leaks_and_problems() -> None:
    description = {
        "path": "photos",
        "task": "image-classification",
        "multilabel": False,
        "samples": 61,
        "classes": [
            {"name": "cat", "train": 15, "valid": 3, "test": 3, "total": 21},
            {"name": "d\x07g", "train": 1400, "valid": 3, "test": 3, "total": 1406},
        ],
        "splits": {"train": 1415, "valid": 6, "test": 6},
        "sizes": {
            "height": {"min": 200, "median": 250.0, "max": 1200},
            "width": {"min": 300, "median": 300.0, "max": 300},
            "shorter_side": {"min": 200, "median": 200, "max": 200},
        },
        "formats": {"JPEG": 60, "PNG": 1},
        "leaks": 2,
        "divided_groups": 0,
        "imbalance": {"ratio": 1.0, "text": "Classes are near enough to equal."},
        "problems": [
            {
                "kind": "truncated",
                "count": 12,
                "done": ["set aside"],
                "examples": [{"where": "cat/cut.jpg", "what": "The file ends too early."}],
            }
        ],
    }
    page = printed(100, printing.print_description, description)
    assert page.splitlines() == [
        "photos: 61 samples of 2 classes, image-classification",
        "60 JPEG, 1 PNG; height 200 to 1,200 px (median 250), width 300 to 300 px (median 300)",
        "",
        "class   train  valid  test  total",
        "cat        15      3     3     21",
        "d\\x07g  1,400      3     3  1,406",
        "all     1,415      6     6     61",
        "",
        "Classes are near enough to equal.",
        "2 leaks between splits.",
        "",
        "truncated: 12 (set aside)",
        "  cat/cut.jpg: The file ends too early.",
        "  and 11 more",
    ]
    several = printed(100, printing.print_description, description | {"multilabel": True})
    first = "photos: 61 samples of 2 classes, image-classification, several labels a sample"
    assert several.splitlines()[0].rstrip() == first


@pytest.mark.parametrize(
    ("leaks", "groups", "said"),
    [
        (0, 0, "Nothing is in two splits."),
        (0, 3, "3 of the given groups stand in several splits."),
        (2, 3, "2 leaks between splits. 3 of the given groups stand in several splits."),
    ],
)
def test_a_description_says_what_is_in_two_splits(leaks: int, groups: int, said: str) -> None:
    description: dict[str, Any] = {
        "path": "t.csv",
        "task": "image-classification",
        "multilabel": False,
        "samples": 0,
        "classes": [],
        "splits": {"train": 0, "valid": 0, "test": 0},
        "sizes": {},
        "formats": {},
        "leaks": leaks,
        "divided_groups": groups,
        "imbalance": {"text": ""},
        "problems": [],
    }
    lines = printed(100, printing.print_description, description).splitlines()
    assert lines[-1].rstrip() == said
    missing = {"where": r"C:\\new\\a.png", "what": "There is no such file."}
    description["problems"] = [{"kind": "missing", "count": 1, "done": [], "examples": [missing]}]
    lines = printed(100, printing.print_description, description).splitlines()
    assert lines[-1].rstrip() == r"  C:\new\a.png: There is no such file."


@pytest.mark.parametrize("tile_px", [0, 400])
def test_boxes_on_tiles_are_said_to_be_on_tiles(tile_px: int) -> None:
    boxes = {
        "found": 9, "used": 7, "mended": 1, "refused": 0, "left_out": 2, "negatives": 3,
        "tile_px": tile_px, "categories": {"tree": 12}, "crowds": 2 * bool(tile_px),
        "sides": {"min": 4.0, "median": 30.0, "max": 41.5},
    }  # fmt: skip
    first, *tiles, sides, names = _boxes(boxes)
    things = "tiles" if tile_px else "pictures"
    assert sides == f"objects 4 to 41.5 px across (median 30); 3 {things} without any"
    assert names == "tree 12"
    assert ("; 2 crowds, neither learnt nor counted)" in first) == bool(tile_px)
    if tile_px:
        (said,) = tiles
        assert "tiles of 400 px" in said and "all that follows is counted on the tiles" in said
    assert first.endswith("too large for the tiles") == bool(tile_px)
    assert len(tiles) == bool(tile_px)
    *_, sides, _ = _boxes(boxes | {"negatives": 1})
    assert sides.endswith(f"; 1 {things.removesuffix('s')} without any")
