"""What is said of an evaluation."""

from __future__ import annotations

from consoles import printed

from regraft import printing


def test_an_evaluation_on_one_picture_has_no_interval() -> None:
    whole = {"count": 1, "shown": 2, "threshold": 0.5, "right": 1, "objects": 3,
             "precision": 0.5, "recall": 0.333}  # fmt: skip
    evaluation = {
        "metric": {"name": "AP50", "value": 0.255, "low": 0.0, "high": 1.0},
        "count": 1, "whole": whole, "seen": 0, "problems": [],
        "coco": {"categories": [], "ap50": 0.255, "ap": 0.1, "ar": 0.1},
    }  # fmt: skip
    page = printed(120, printing.print_evaluation, evaluation)
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
            {"kind": "truncated", "where": "C:\\\\a\n.jpg", "what": "Cut.", "done": "set aside"}
        ],
    }
    assert [
        line.rstrip() for line in printed(80, printing.print_evaluation, evaluation).splitlines()
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
        "  C:\\a\\n.jpg: Cut. (set aside)",
    ]


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
    said = printed(200, printing.print_evaluation, evaluation)
    for words in ("on 1 picture\n", "shows 1 box (", "of 1 object (", "It was used to fit"):
        assert words in said
