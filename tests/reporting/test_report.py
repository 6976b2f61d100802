"""report.json: what its schema accepts and refuses, and that it comes back as it was written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from regraft.errors import StoreError
from regraft.reporting import load, render, validate, write

Report = dict[str, Any]
SCHEMA = json.loads((Path(render.__code__.co_filename).parent / "schema.json").read_text())
FITTED = SCHEMA["$defs"]["fitted"]
REQUIRED = [*SCHEMA["required"], *FITTED["required"]]
MAY_BE_LEFT_OUT = {"untouched", "detection", "labels", "people", "budget_s"}
"""Parts that only some data have, or runs of this version."""


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_a_full_report_follows_the_schema(report: Report) -> None:
    validate(report)
    Draft202012Validator(SCHEMA).validate(report)


def test_every_name_of_the_sample_is_described(report: Report) -> None:
    described = {*SCHEMA["properties"], *FITTED["properties"]}
    assert set(report) == set(REQUIRED) == described - MAY_BE_LEFT_OUT


@pytest.mark.parametrize("name", REQUIRED)
def test_no_part_may_be_missing(report: Report, name: str) -> None:
    del report[name]
    with pytest.raises(StoreError, match=name):
        validate(report)


def test_names_may_be_added(report: Report) -> None:
    report["rungs"][0]["penalty"] = 0.1
    report["later"] = {"more": []}
    validate(report)


def set_rung(**facts: Any) -> Callable[[Report], None]:
    return lambda report: report["rungs"][1].update(facts)


WRONG: dict[str, tuple[Callable[[Report], None], str]] = {
    "a share over one": (lambda r: r["test"].update(value=91.2), r"test"),
    "not a number": (lambda r: r["test"].update(value=math.nan), r"JSON compliant"),
    "a word for a number": (lambda r: r.update(seed="seven"), r"seed"),
    "an unknown verdict": (set_rung(verdict="great"), r"rungs\[1\]\.verdict"),
    "features neither cached nor live": (set_rung(features="warm"), r"rungs\[1\]\.features"),
    "seconds without a metric": (set_rung(metric=None), r"metric"),
    "more frozen stages than stages": (set_rung(frozen_stages=99), r"frozen stages"),
    "two rungs of one name": (set_rung(name="head"), r"same name"),
    "no rungs": (lambda r: r.update(rungs=[]), r"rungs"),
    "a chosen rung that is none": (lambda r: r.update(best="last:3"), r"best"),
    "a chosen rung not measured": (lambda r: r.update(best="all"), r"best"),
    "a short matrix": (lambda r: r["confusion"]["matrix"].pop(), r"confusion"),
    "a ragged matrix": (lambda r: r["confusion"]["matrix"][2].pop(), r"confusion"),
    "a negative count": (lambda r: r["confusion"]["matrix"][2].__setitem__(0, -1), r"confusion"),
    "counts of fewer classes": (lambda r: r["data"]["counts"]["valid"].pop(), r"counts"),
    "a short checksum": (lambda r: r["backbone"].update(sha256="abc"), r"sha256"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(report: Report, case: str) -> None:
    spoil, named = WRONG[case]
    spoil(report)
    with pytest.raises(StoreError, match=named):
        validate(report)


@pytest.mark.parametrize("thing", [None, [], "report", 3])
def test_what_is_no_report_is_refused(thing: object) -> None:
    with pytest.raises(StoreError):
        validate(thing)


def test_written_is_loaded_and_shows_what_is_there_of_the_data(
    report: Report, tmp_path: Path
) -> None:
    name, run = report["most_wrong"][0]["sample"], tmp_path / "run"
    run.mkdir()
    (tmp_path / name).parent.mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / name)
    report["data"]["path"] = str(tmp_path)
    write(run, report)
    assert load(run) == report
    assert {path.name for path in run.iterdir()} == {"report.json", "report.html"}
    page = (run / "report.html").read_text("utf-8")
    assert page.count("data:image/jpeg") == 1 + render(report, {}).count("data:image/jpeg")


def test_a_wrong_report_leaves_the_old_one(report: Report, tmp_path: Path) -> None:
    write(tmp_path, report)
    with pytest.raises(StoreError):
        write(tmp_path, report | {"best": "none"})
    assert load(tmp_path) == report


def test_json_is_for_people_too(report: Report, tmp_path: Path) -> None:
    report["data"]["classes"][0] = "Süßkirsche"
    write(tmp_path, report)
    text = (tmp_path / "report.json").read_text("utf-8")
    assert '"Süßkirsche"' in text
    assert re.search(r"\n      \[25, 0, 0, 0, 0, 0, 0, 0\],\n", text)
    assert max(map(len, text.splitlines())) < 220


def test_names_that_are_no_text_come_back(report: Report, tmp_path: Path) -> None:
    report["most_wrong"][0]["sample"] = "caf\udce9.jpg"
    write(tmp_path, report)
    assert load(tmp_path) == report
    assert "caf\\udce9.jpg" in (tmp_path / "report.html").read_text("utf-8")


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no report") as caught:
        load(tmp_path)
    assert caught.value.where == str(tmp_path / "report.json")
    assert "regraft fit" in caught.value.mend


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b'{"task": NaN}'],
    ids=["empty", "torn", "no text", "deep", "null", "NaN"],
)
def test_a_damaged_report_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "report.json").write_bytes(damage)
    with pytest.raises(StoreError) as caught:
        load(tmp_path)
    assert caught.value.where == str(tmp_path / "report.json")


def test_a_thousand_classes_are_checked_in_time(report: Report) -> None:
    report["data"]["classes"] = [f"c{k}" for k in range(1000)]
    report["data"]["counts"] = {split: [1] * 1000 for split in ("train", "valid", "test")}
    report["confusion"]["matrix"] = [[1] * 1000 for _ in range(1000)]
    validate(report)
    report["confusion"]["matrix"][999][999] = 1.5
    report["confusion"]["matrix"] = report["confusion"]["matrix"][-3:]
    with pytest.raises(StoreError, match="confusion"):
        validate(report)
