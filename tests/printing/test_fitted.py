"""What is said of a fit and of a pre-training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from consoles import printed

from regraft import printing


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


@pytest.mark.parametrize("width", [50, 80, 120, 200])
def test_a_fit_is_told_at_any_width(width: int) -> None:
    page = printed(width, printing.print_fit, REPORT, Path("runs/my photos"))
    words = " ".join(page.split())
    for part in ("12,810", "4.0 s", "no gain", "Training the head is enough.", "400 labels"):
        assert part in words
    assert "within noise" in words
    assert "From scratch it takes 5 times the labels." in words
    assert "90.0 %" in words
    assert "2 problems found in the data; list them with: regraft inspect 'my photos'" in words
    assert "regraft predict 'runs/my photos' PHOTO" in words
    cut = REPORT | {"data": REPORT["data"] | {"cut_s": 1.5}}
    words = " ".join(printed(width, printing.print_fit, cut, Path("r")).split())
    assert "list them with: regraft inspect 'my photos' --clip 1.5s" in words
    named = REPORT | {"data": REPORT["data"] | {"columns": "label=my kind"}}
    words = " ".join(printed(width, printing.print_fit, named, Path("r")).split())
    assert "regraft inspect 'my photos' --columns 'label=my kind'" in words
    both = REPORT | {"data": cut["data"] | named["data"]}
    words = " ".join(printed(width, printing.print_fit, both, Path("r")).split())
    assert "regraft inspect 'my photos' --clip 1.5s --columns 'label=my kind'" in words
    assert "\x1b" not in page


def test_how_labels_were_read_and_corrected_is_no_problem_of_the_data() -> None:
    other = [("votes", "nothing"), ("likely-error", "left out"), ("review", "relabelled")]
    problems = [{"kind": kind, "where": "a", "what": "It is so.", "done": d} for kind, d in other]
    data = REPORT["data"] | {"problems": problems}
    page = printed(200, printing.print_fit, REPORT | {"data": data}, Path("run"))
    assert "found in the data" not in page
    data["problems"] = [*problems, {**problems[-1], "done": "nothing"}]
    page = printed(200, printing.print_fit, REPORT | {"data": data}, Path("run"))
    assert "1 problem found in the data" in page


def test_a_guessed_encoding_is_said_and_is_no_problem_of_the_data() -> None:
    said = {"kind": "encoding", "what": "It is not in UTF-8.", "done": "read as Windows-1252"}
    data = REPORT["data"] | {"problems": [said | {"where": name} for name in ("a.txt", "b.txt")]}
    page = printed(200, printing.print_fit, REPORT | {"data": data}, Path("run"))
    assert "a.txt, b.txt: It is not in UTF-8. Read as Windows-1252.\n" in page
    assert "found in the data" not in page


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
        {"kind": "likely-error", "where": "more:c.png", "what": "It is 5.", "done": "left out"},
    ]
    data = {"path": "photos", "thing": "picture", "problems": problems, "given": {"more": 10}}
    page = printed(200, printing.print_fit, REPORT | {"data": data}, Path("run"))
    assert "3 problems found in the data; they are listed in run/report.html" in page
    not_learnt = "1 likely error set aside; 1 left out; 15 rows have no label yet"
    assert f"--more: 10 pictures are learnt from; {not_learnt}\n" in page
    assert "regraft inspect" not in page
    data |= {"given": {"valid": 1}}
    page = printed(200, printing.print_fit, REPORT | {"data": data}, Path("run"))
    assert "run/report.html" in page and "--more" not in page and "regraft inspect" not in page


def test_tables_keep_within_the_width() -> None:
    table = printed(60, printing.print_fit, REPORT, Path("r")).split("\n\n")[0]
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
    assert printed(80, printing.print_pretrained, report, Path("my run")).splitlines() == [
        "1 step, 0.31 clips/s; the budget is spent",
        "It\\x07 helped.",
        "From scratch it is worse.",
        "The report: my run/report.html",
        "The backbone: --backbone 'my run'",
    ]
    shorter = report | {"scratch": None, "steps": 1200}
    assert printed(80, printing.print_pretrained, shorter, Path("r")).startswith("1,200 steps, ")


def test_what_is_not_quite_all_is_not_said_to_be() -> None:
    metric = {"name": "accuracy", "value": 0.9997, "low": 0.9996, "high": 1.0}
    report = REPORT | {"rungs": [REPORT["rungs"][0] | {"metric": metric}]}
    assert "> 99.9 % (99.9 to 100.0)" in printed(120, printing.print_fit, report, Path("r"))
