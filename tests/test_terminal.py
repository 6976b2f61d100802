"""What a person sees: words, progress, tables."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from regraft import terminal
from regraft.events import Advanced, Measured, Said, Saved, Stepped
from regraft.labelling.found import nothing


def rung(name: str, value: float | None, verdict: str, why: str) -> dict[str, Any]:
    metric = {"name": "accuracy", "value": value, "low": 0.8, "high": 0.95}
    return {
        "name": name,
        "trainable_parameters": 12_810,
        "metric": metric if value is not None else None,
        "seconds": {"features": 3.0, "train": 1.0, "total": 4.04},
        "verdict": verdict,
        "why": why,
    }


REPORT = {
    "task": "image-classification",
    "data": {"path": "my photos", "problems": [{"kind": "not-an-image", "done": "left out"}] * 2},
    "rungs": [
        rung("head", 0.9, "kept", "the first rung"),
        rung("last:1", 0.91, "no gain", "0.010 more, within noise (p = 0.4)"),
        rung("last:2", None, "skipped", "the rung before brought nothing") | {"seconds": None},
    ],
    "best": "head",
    "verdict": "Training the head is enough.",
    "scratch": {"text": ""},
    "savings": {"labels": None, "text": "From scratch it takes 5 times the labels."},
    "forecast": {"target": 0.95, "labels": 400, "text": "About 400 labels give 0.95."},
    "imbalance": None,
}


def printed(width: int, print_it: Any, *arguments: Any) -> str:
    page = io.StringIO()
    print_it(Console(file=page, width=width, highlight=False), *arguments)
    return page.getvalue()


def test_backbones_are_listed_with_size_and_checksum() -> None:
    row = {"parameters": 3_371_008, "bytes": 13_484_032, "licence": "MIT", "purpose": "small"}
    rows = [
        row | {"name": "a", "here": True, "sha256": "579344248a93"},
        row | {"name": "b", "here": False, "sha256": ""},
    ]
    lines = printed(120, terminal.print_backbones, rows).splitlines()
    assert lines[1].split() == "a 3.4 M 13.5 MB MIT yes 57934424 small".split()
    assert lines[2].split() == "b 3.4 M 13.5 MB MIT no – small".split()
    assert "57934424" not in printed(80, terminal.print_backbones, rows)
    assert [line for line in lines if line != line.rstrip()] == []
    unknown = {"name": "b", "sha256": "", "ready": False, "mend": "pull it"}
    assert "not known until it is pulled" in printed(80, terminal.print_backbone, unknown)


@pytest.mark.parametrize("width", [50, 80, 120, 200])
def test_a_fit_is_told_at_any_width(width: int) -> None:
    page = printed(width, terminal.print_fit, REPORT, Path("runs/my photos"))
    words = " ".join(page.split())
    for part in ("12,810", "4.0 s", "no gain", "Training the head is enough.", "400 labels"):
        assert part in words
    assert "within noise" in words
    assert "From scratch it takes 5 times the labels." in words
    assert "90.0 %" in words
    assert "2 problems found in the data; list them with: regraft inspect 'my photos'" in words
    assert "regraft predict 'runs/my photos' PHOTO" in words
    cut = REPORT | {"data": REPORT["data"] | {"cut_s": 1.5}}
    words = " ".join(printed(width, terminal.print_fit, cut, Path("r")).split())
    assert "list them with: regraft inspect 'my photos' --clip 1.5s" in words
    assert "\x1b" not in page


def test_how_labels_were_read_and_corrected_is_no_problem_of_the_data() -> None:
    other = [("votes", "nothing"), ("likely-error", "left out"), ("review", "relabelled")]
    problems = [{"kind": kind, "where": "a", "what": "It is so.", "done": d} for kind, d in other]
    data = REPORT["data"] | {"problems": problems}
    page = printed(200, terminal.print_fit, REPORT | {"data": data}, Path("run"))
    assert "found in the data" not in page
    data["problems"] = [*problems, {**problems[-1], "done": "nothing"}]
    page = printed(200, terminal.print_fit, REPORT | {"data": data}, Path("run"))
    assert "1 problem found in the data" in page


def test_problems_of_data_that_are_given_besides_are_listed_in_the_report() -> None:
    problems = [
        {
            "kind": "no-label",
            "where": "more:next.csv",
            "what": "15 rows have no label yet.",
            "done": "passed over",
        },
        {"kind": "not-an-image", "where": "more:a.png", "what": "It is none.", "done": "set aside"},
        {"kind": "not-an-image", "where": "b.png", "what": "It is none.", "done": "set aside"},
    ]
    data = {"path": "photos", "thing": "picture", "problems": problems, "given": {"more": 10}}
    page = printed(200, terminal.print_fit, REPORT | {"data": data}, Path("run"))
    assert "3 problems found in the data; they are listed in run/report.html" in page
    assert "--more: 10 pictures are learnt from; 1 left out; 15 rows have no label yet\n" in page
    assert "regraft inspect" not in page
    data |= {"given": {"valid": 1}}
    page = printed(200, terminal.print_fit, REPORT | {"data": data}, Path("run"))
    assert "run/report.html" in page and "--more" not in page and "regraft inspect" not in page


def test_tables_keep_within_the_width() -> None:
    table = printed(60, terminal.print_fit, REPORT, Path("r")).split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 60


def test_the_end_of_a_pre_training_says_what_came_of_it_and_how_to_go_on() -> None:
    report = {
        "throughput": {"per_second": 0.31, "unit": "clips"},
        "steps": 1,
        "stopped": "the budget is spent",
        "verdict": {"text": "It\x07 helped."},
        "scratch": {"judged": {"text": "From scratch it is worse."}},
        "control": None,
    }
    assert printed(80, terminal.print_pretrained, report, Path("my run")).splitlines() == [
        "1 step, 0.31 clips/s; the budget is spent",
        "It\\x07 helped.",
        "From scratch it is worse.",
        "The report: my run/report.html",
        "The backbone: --backbone 'my run'",
    ]
    shorter = report | {"scratch": None, "steps": 1200}
    assert printed(80, terminal.print_pretrained, shorter, Path("r")).startswith("1,200 steps, ")


def test_what_is_not_quite_all_is_not_said_to_be() -> None:
    metric = {"name": "accuracy", "value": 0.9997, "low": 0.9996, "high": 1.0}
    report = REPORT | {"rungs": [REPORT["rungs"][0] | {"metric": metric}]}
    assert "> 99.9 % (99.9 to 100.0)" in printed(120, terminal.print_fit, report, Path("r"))


def test_predictions_are_aligned_and_say_what_is_unlike_the_training_data() -> None:
    rows = [
        {"sample": "a.jpg", "label": "cat", "probability": 0.97, "unlike_training": False},
        {"sample": "long/b.jpg", "label": "tiger", "probability": 0.5, "unlike_training": True},
        {"sample": "c.jpg", "problem": "truncated"},
        {"sample": "d", "labels": ["x", "y"], "probability": 0.9, "unlike_training": False},
        {"sample": "e", "labels": [], "probability": 0.4, "unlike_training": False},
    ]
    assert printed(80, terminal.print_predictions, rows).splitlines() == [
        "a.jpg       cat    0.970",
        "long/b.jpg  tiger  0.500  unlike the training data",
        "c.jpg       not read: truncated",
        "d           x, y   0.900",
        "e           none   0.400",
    ]


def test_a_stretch_of_a_video_says_that_it_is_unlike_the_training_data() -> None:
    seen = [("cat", 0.9, False), ("cat", 0.8, True), ("cat", 0.6, True), ("dog", 0.7, True)]
    parts = [
        {"label": label, "probability": chance, "unlike_training": is_unlike,
         "start_s": 3.0 * n, "stop_s": 3.0 * n + 6}
        for n, (label, chance, is_unlike) in enumerate(seen)
    ]  # fmt: skip
    whole = {"sample": "a.mp4", **parts[0], "timeline": parts}
    assert printed(80, terminal.print_predictions, [whole]).splitlines() == [
        "a.mp4  cat  0.900",
        "  0.0 to 4.5 s        cat  up to 0.900",
        "  4.5 to 10.5 s       cat  up to 0.800  unlike the training data",
        "  10.5 to 15.0 s      dog  up to 0.700  unlike the training data",
    ]


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.5, "and not what they are ordered by."), (None, "is the share of the pool")],
)
def test_lists_of_labels_say_what_they_are_ordered_by(probability: float | None, said: str) -> None:
    row = {"sample": "a.png", "given": "cat", "suggested": "dog", "score": 0.5, "reason": "why",
           "probability": probability}  # fmt: skip
    text = row | {"sample": "line 3", "excerpt": "how the text begins"}
    found = nothing() | {"likely_errors": [row, text], "next": [row, row]}
    lines = printed(200, terminal.print_labels, found).splitlines()
    assert any("line 3  how the text begins" in line for line in lines)
    errors = lines.index("Labels that are likely wrong, by score: 1 is surely wrong.")
    assert lines[errors + 1].split() == ["sample", "given", "suggested", "score", "reason"]
    after = next(n for n, line in enumerate(lines) if line.startswith("What to label next"))
    assert said in lines[after]
    assert lines[after + 1].split() == ["sample", "suggested", "score", "reason"]
    assert lines[after - 1] == ""


def test_what_was_left_out_of_a_pool_is_counted() -> None:
    rows = [{"kind": kind, "where": "a.png", "what": "why"} for kind in ("leak", "leak", "bad\n")]
    found = nothing() | {"pool": {"path": "pool", "samples": 3, "left_out": rows}}
    text = printed(200, terminal.print_labels, found).strip()
    assert text == (
        "3 of the pool left out (2 copies of what is labelled, 1 bad\\n); --json lists them."
    )
    assert "left out" not in printed(
        200, terminal.print_labels, found | {"pool": found["pool"] | {"left_out": []}}
    )


def test_classes_and_samples_in_doubt_are_named_on_a_line_each() -> None:
    found = nothing() | {
        "same_classes": [{"classes": ["crow", "raven"], "apart": 0.551}],
        "outliers": [{"sample": f"{n}\n.png"} for n in range(7)],
        "agreement": {
            "alpha": {"value": None}, "place": None, "are_steps": False,
            "divided": [{"sample": "a.png"}, {"sample": "b.png"}],
        },
        "consensus": {"why": "Few votes."},
    }  # fmt: skip
    lines = printed(200, terminal.print_labels, found).splitlines()
    assert lines[-3:] == [
        "Classes that are hardly told apart, and may be one: crow and raven (55 %)",
        "Unlike all others: 0\\n.png, 1\\n.png, 2\\n.png, 3\\n.png, 4\\n.png and 2 more",
        "What divides people most: a.png, b.png",
    ]
    assert printed(200, terminal.print_labels, nothing()).strip() == ""


def test_an_evaluation_on_one_picture_has_no_interval() -> None:
    whole = {"count": 1, "shown": 2, "threshold": 0.5, "right": 1, "objects": 3,
             "precision": 0.5, "recall": 0.333}  # fmt: skip
    evaluation = {
        "metric": {"name": "AP50", "value": 0.255, "low": 0.0, "high": 1.0},
        "count": 1, "whole": whole, "seen": 0, "problems": [],
        "coco": {"categories": [], "ap50": 0.255, "ap": 0.1, "ar": 0.1},
    }  # fmt: skip
    page = printed(120, terminal.print_evaluation, evaluation)
    assert page.startswith("AP50 25.5 % (no interval: too few samples) on 1 picture\n")


def test_an_evaluation_names_the_metric_and_the_classes_confused_most() -> None:
    evaluation = {
        "metric": {"name": "balanced_accuracy", "value": 0.9, "low": 0.8, "high": 0.95},
        "count": 1234,
        "accuracy": 0.556,
        "per_class": [
            {"name": "cat", "count": 6, "recall": 5 / 6, "precision": 5 / 12},
            {"name": "dog", "count": 12, "recall": 5 / 12, "precision": 5 / 6},
            {"name": "elk", "count": 0, "recall": None, "precision": None},
        ],
        "calibration_error": 0.02,
        "reviewed": 0,
        "seen": 0,
        "classes": ["cat", "dog", "elk", "<ox>"],
        "absent": ["elk", "<ox>"],
        "confusion": [[5, 1, 0, 0], [7, 5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        "problems": [
            {"kind": "truncated", "where": "a\n.jpg", "what": "Cut.", "done": "set aside"}
        ],
    }
    assert [
        line.rstrip() for line in printed(80, terminal.print_evaluation, evaluation).splitlines()
    ] == [
        "balanced accuracy 90.0 % (80.0 to 95.0) on 1,234 samples",
        "accuracy 55.6 %, with all samples alike",
        "calibration error 0.020",
        "nothing is said of elk, <ox>: these data have no such sample",
        "",
        "class  samples  recall  precision",
        "dog         12  41.7 %     83.3 %",
        "cat          6  83.3 %     41.7 %",
        "",
        "given  taken for  times",
        "dog    cat            7",
        "cat    dog            1",
        "",
        "problems",
        "  a\\n.jpg: Cut. (set aside)",
    ]


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
        "imbalance": {"ratio": 1.0, "text": "The classes are about equally large."},
        "problems": [
            {
                "kind": "truncated",
                "count": 12,
                "done": ["set aside"],
                "examples": [{"where": "cat/cut.jpg", "what": "The file ends too early."}],
            }
        ],
    }
    page = printed(100, terminal.print_description, description)
    assert page.splitlines() == [
        "photos: 61 samples of 2 classes, image-classification",
        "60 JPEG, 1 PNG; height 200 to 1,200 px (median 250), width 300 to 300 px (median 300)",
        "",
        "class   train  valid  test  total",
        "cat        15      3     3     21",
        "d\\x07g  1,400      3     3  1,406",
        "all     1,415      6     6     61",
        "",
        "The classes are about equally large.",
        "2 leaks between splits.",
        "",
        "truncated: 12 (set aside)",
        "  cat/cut.jpg: The file ends too early.",
        "  and 11 more",
    ]
    several = printed(100, terminal.print_description, description | {"multilabel": True})
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
    description = {
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
    lines = printed(100, terminal.print_description, description).splitlines()
    assert lines[-1].rstrip() == said


def test_one_of_a_thing_is_no_plural() -> None:
    evaluation = {
        "metric": {"name": "AP50", "value": 0.5, "low": 0.4, "high": 0.6},
        "count": 1,
        "coco": {"categories": [], "ap50": 0.5, "ap": 0.25, "ar": None},
        "whole": {
            "count": 1, "ap50": 0.4, "threshold": 0.3, "shown": 1, "right": 1, "objects": 1,
            "precision": 1.0, "recall": 1.0,
        },
        "problems": [],
        "seen": 1,
    }  # fmt: skip
    said = printed(200, terminal.print_evaluation, evaluation)
    for words in ("on 1 picture\n", "shows 1 box (", "of 1 object (", "It was used to fit"):
        assert words in said


@pytest.mark.parametrize("tile_px", [0, 400])
def test_boxes_on_tiles_are_said_to_be_on_tiles(tile_px: int) -> None:
    boxes = {
        "found": 9, "used": 7, "mended": 1, "refused": 0, "left_out": 2, "negatives": 3,
        "tile_px": tile_px, "categories": {"tree": 12}, "crowds": 2 * bool(tile_px),
        "sides": {"min": 4.0, "median": 30.0, "max": 41.5},
    }  # fmt: skip
    first, *tiles, sides, names = terminal._boxes(boxes)
    things = "tiles" if tile_px else "pictures"
    assert sides == f"objects 4 to 41.5 px across (median 30); 3 {things} without any"
    assert names == "tree 12"
    assert ("; 2 crowds, neither learnt nor counted)" in first) == bool(tile_px)
    if tile_px:
        (said,) = tiles
        assert "tiles of 400 px" in said and "all that follows is counted on the tiles" in said
    assert first.endswith("too large for the tiles") == bool(tile_px)
    assert len(tiles) == bool(tile_px)


def test_the_cache_shows_what_is_in_it_and_how_much() -> None:
    entries = [
        {"kind": "features", "about": "backbone b", "bytes": 3_200_000, "used_s": 1.7e9},
        {"kind": "compiled", "about": "", "bytes": 500, "used_s": 0.0},
    ]
    lines = printed(100, terminal.print_cache, Path("/cache"), entries, 20 * 10**9).splitlines()
    assert lines[1].split()[:3] == ["features", "3.2", "MB"]
    assert lines[1].rstrip().endswith("backbone b")
    assert lines[2].split() == ["compiled", "500", "B", "–"]
    assert lines[-1].startswith("3.2 MB in /cache; features may take 20 GB")


def test_names_cannot_move_the_cursor_or_hide() -> None:
    name = "a\nb\x1b[2J\u202egpj.\udcff [bold]ü"
    row = {"sample": name, "label": name, "probability": 1.0, "unlike_training": False}
    page = printed(200, terminal.print_predictions, [row])
    assert page.count("\n") == 1
    assert page.startswith("a\\nb\\x1b[2J\\u202egpj.\\udcff [bold]ü  ")


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
    ]


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
