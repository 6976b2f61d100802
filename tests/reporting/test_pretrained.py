"""The report of a pre-training: its schema, and what its page says of verdict and map."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_page import Page, luminance

from regraft.errors import StoreError
from regraft.reporting import load, pretrained, validate, write

SCHEMA = json.loads((Path(pretrained.__file__).parent / "schema.json").read_text())
VARIANT = SCHEMA["$defs"]["pretrained"]


def report(classes: int = 2) -> dict[str, Any]:
    """A judged contrastive pre-training."""
    metric = {"name": "accuracy", "value": 0.8, "low": 0.7, "high": 0.9}
    found = {
        "answer": "helped", "before": metric, "after": metric, "p": 0.01, "split": "test",
        "difference": {"value": 0.1, "low": 0.05, "high": 0.15},
    }  # fmt: skip
    places = [[0.1 * k, -0.1 * k] for k in range(8)]
    return {
        "task": "image-classification",
        "objective": "contrastive",
        "data": {
            "path": "photos", "things": "pictures", "fingerprint": "5e" * 32, "samples": 8,
            "classes": [], "splits": {"train": 8, "valid": 0, "test": 0}, "problems": [],
        },
        "judge": {
            "path": "labelled", "fingerprint": "6f" * 32,
            "splits": {"train": 8, "valid": 4, "test": 4}, "problems": [],
        },
        "backbone": {
            "name": "tiny", "source": "here", "sha256": "c0" * 32, "licence": "MIT",
            "parameters": 10, "stages": ["a", "b"], "frozen_stages": 0, "frozen_intact": True,
        },
        "settings": {"keep_duplicates": False, "negatives": "batch", "budget_s": None},
        "steps": 4, "stopped": "all steps taken", "seconds": 1.0,
        "throughput": {"unit": "pictures", "per_second": 8.0, "seen": 32},
        "curves": [{"step": 0, "loss": None}, {"step": 4, "loss": 1.0}],
        "losses": [3.0, 2.0, 1.5, 1.0],
        "before": {"bf16": False}, "after": {"bf16": False},
        "rungs": [], "best": None, "test": metric, "label_curve": [],
        "verdict": {**found, "fine_tuned": found, "text": "It helped."},
        "control": None, "scratch": None, "alike": {"before": 0.5, "after": 0.6}, "excerpts": {},
        "files": {}, "environment": {"cores": 2, "packages": {"torch": "2.15"}},
        "neighbours": [
            {
                "sample": "a", "before": ["b"], "after": ["c"],
                "same": {"before": [True], "after": [False]},
            }
        ],
        "map": {
            "classes": [f"kind {k}" for k in range(classes)],
            "labels": [k % max(1, classes) for k in range(8)],
            "before": places, "after": places,
        },
    }  # fmt: skip


def test_every_name_of_it_is_described() -> None:
    validate(report())
    described = {*SCHEMA["properties"], *VARIANT["properties"]}
    assert set(report()) == {*SCHEMA["required"], *VARIANT["required"]} == described


@pytest.mark.parametrize(
    "name", sorted({*SCHEMA["required"], *VARIANT["required"]} - {"objective"})
)
def test_no_part_may_be_missing(name: str) -> None:
    found = report()
    del found[name]
    with pytest.raises(StoreError, match=name) as caught:
        validate(found)
    assert "regraft pretrain" in caught.value.mend


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "an unknown answer": (lambda r: r["verdict"].update(answer="great"), r"verdict\.answer"),
    "a verdict in words alone": (lambda r: r.update(verdict="It helped."), r"verdict"),
    "not judged, with a p": (lambda r: r["verdict"].update(answer="not judged"), r"verdict"),
    "a rung": (lambda r: r.update(rungs=[{}]), r"rungs"),
    "a curve of words": (lambda r: r["curves"][1].update(probe="high"), r"curves\[1\]"),
    "a map of fewer labels": (lambda r: r["map"]["labels"].pop(), r"map"),
    "a pool without a checksum": (lambda r: r["data"].pop("fingerprint"), r"fingerprint"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str) -> None:
    spoil, named = WRONG[case]
    found = report()
    spoil(found)
    with pytest.raises(StoreError, match=named):
        validate(found)


def test_written_is_loaded_and_a_wrong_one_leaves_the_old(tmp_path: Path) -> None:
    write(tmp_path, report())
    assert load(tmp_path) == report()
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page == pretrained.render(report(), {})
    with pytest.raises(StoreError):
        write(tmp_path, report() | {"best": "head"})
    assert load(tmp_path) == report()


def test_an_older_report_is_named_with_what_to_repeat(tmp_path: Path) -> None:
    old = report()
    del old["environment"], old["files"]
    (tmp_path / "report.json").write_text(json.dumps(old))
    with pytest.raises(StoreError, match="schema") as caught:
        load(tmp_path)
    assert "regraft pretrain" in caught.value.mend


def test_one_step_is_one_step() -> None:
    found = report() | {"steps": 1, "after": {}}
    found["verdict"] = found["verdict"] | {"answer": "not judged"}
    said = "1 step of pre-training; whether that helps was not judged."
    assert pretrained.headline(found) == said


def test_a_picture_that_is_gone_is_left_out_of_the_page(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "there.png")
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    found = report()
    found["judge"]["path"] = str(tmp_path)
    found["files"] = {f"{name} by id": f"{name}.png" for name in ("there", "gone", "damaged")}
    assert set(pretrained.thumbnails(found)) == {"there by id"}
    clips = found | {"task": "video-classification", "files": {"gone": "gone.mp4"}}
    assert pretrained.thumbnails(clips) == {}


@pytest.mark.parametrize(
    ("split", "keep", "said", "unsaid"),
    [
        ("test", False, "No copies of them were found", "no test split"),
        ("valid", False, "its probe was measured on", "No copies of them"),
        ("valid", True, "No copies of them were found", "may hold copies"),
    ],
)
def test_what_speaks_against_a_verdict_is_said(
    split: str, keep: bool, said: str, unsaid: str
) -> None:
    judged = report()
    judged["verdict"]["split"] = split
    judged["settings"]["keep_duplicates"] = keep
    text = Page(pretrained.render(judged, {})).text
    assert said in text
    assert unsaid not in text


def test_what_is_wrong_with_the_judges_data_stands_on_the_page() -> None:
    judged = report()
    text = Page(pretrained.render(judged, {})).text
    assert text.count("No problems were found.") == 2
    problem = {"kind": "unreadable", "where": "test/a/7.png", "what": "It is empty.", "done": ""}
    judged["judge"]["problems"] = [problem]
    text = Page(pretrained.render(judged, {})).text
    assert text.count("No problems were found.") == 1
    assert "test/a/7.png" in text
    assert "It is empty." in text
    judged["judge"] = None
    assert "test/a/7.png" not in Page(pretrained.render(judged, {})).text


@pytest.mark.parametrize("done", ["left out", "kept"])
def test_copies_that_were_left_out_or_kept_are_counted(done: str) -> None:
    judged = report()
    judged["settings"]["keep_duplicates"] = done == "kept"
    leak = {"kind": "leak", "where": "a.png", "what": "A copy of b.png.", "done": done}
    other = leak | {"kind": "near-duplicate"}
    judged["data"]["problems"] = [leak, other, leak]
    text = Page(pretrained.render(judged, {})).text
    assert f"2 of the pool that are or hold copies of the judge's were {done}" in text
    assert "No copies of them" not in text


def test_others_are_counted_without_those_that_they_are_near() -> None:
    plain = report(0)
    plain["alike"] = None
    del plain["neighbours"][0]["same"]
    assert "which of 7 others lie nearest" in Page(pretrained.render(plain, {})).text


def test_that_labels_share_colours_is_said() -> None:
    said = "more labels than colours"
    assert said not in Page(pretrained.render(report(10), {})).text
    assert said in Page(pretrained.render(report(11), {})).text


@pytest.mark.parametrize(
    ("per_second", "said"), [(0.31, "0.31"), (2.44, "2.4"), (12.6, "13"), (25_071.3, "25,071")]
)
def test_a_slow_training_is_not_said_to_stand_still(per_second: float, said: str) -> None:
    slow = report()
    slow["throughput"]["per_second"] = per_second
    assert f"pictures a second {said} 4 steps" in Page(pretrained.render(slow, {})).text


@pytest.mark.parametrize("raised", ["#f5f5f1", "#1b1f23"])
def test_every_colour_of_the_map_can_be_seen(raised: str) -> None:
    """By day and by night: three to one is what WCAG asks of graphics; dots are many, 2.2 do."""
    for colour in pretrained._COLOURS:
        light, dark = sorted((luminance(colour), luminance(raised)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 2.2, colour


def test_a_result_that_is_not_below_its_references_is_said_to_be() -> None:
    def scored(loss: float) -> dict[str, Any]:
        return {"held_out": {"loss": loss}, "general": None}

    report = {
        "before": scored(7.5),
        "after": scored(7.16) | {"unigram": {"loss": 6.16}},
        "scratch": {"after": scored(6.162)},
    }
    assert pretrained.beside_references(report) == (
        "Loss on hidden words of held-out texts: 7.16 nats (unigram 6.16, start 7.50, "
        "random weights 6.16); not below unigram and random weights."
    )
    assert pretrained.beside_references(report | {"after": {}}) == ""
