"""The verb from a table of votes to text and JSON."""

from __future__ import annotations

import json

import pytest

from regraft import cli, verbs
from regraft.errors import DataError

pytest.importorskip("cleanlab")


def _votes(tmp_path):
    rows = [f"{u},{p},{'cat' if u % 2 else '<script>'}" for u in range(8) for p in ("a", "b")]
    path = tmp_path / "votes.csv"
    path.write_text("sample,annotator,label\n" + "\n".join(rows) + "\n8,a,cat\n8,b,<script>\n")
    return path


def test_votes_alone_give_agreement_and_consensus(tmp_path):
    found = verbs.labels(_votes(tmp_path))
    assert 0.5 < found["agreement"]["alpha"]["value"] < 1
    assert found["agreement"]["divided"][0]["sample"] == "8"
    assert found["consensus"]["method"] == "majority"
    assert found["ceiling"]["value"] == pytest.approx(16 / 18)
    assert found["likely_errors"] == [] and "names no files" in found["not_judged"]
    json.dumps(found, allow_nan=False)


def test_the_command_prints_text_or_json(tmp_path, capsys):
    for arguments, wanted in ((["--json"], '"agreement"'), ([], "Krippendorff's alpha")):
        with pytest.raises(SystemExit) as stop:
            cli.main(["labels", str(_votes(tmp_path)), *arguments])
        assert stop.value.code == 0
        assert wanted in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main(["labels", str(_votes(tmp_path)), "--scale", "cardinal"])
    assert stop.value.code == 2


@pytest.mark.parametrize("options", [["--review", "--json"], ["--port", "0"]])
def test_options_that_would_be_passed_over_are_refused(tmp_path, options):
    with pytest.raises(SystemExit) as stop:
        cli.main(["labels", str(_votes(tmp_path)), *options])
    assert stop.value.code == 2


def test_boxes_of_one_hand_are_not_judged(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    rows = ["path,left,top,right,bottom,label", "a.png,1,1,20,20,cat"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="one hand"):
        verbs.labels(tmp_path / "boxes.csv")


def test_pictures_with_votes_are_judged_and_set_beside_the_people(tmp_path):
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    from PIL import Image

    lines = ["path,annotator,label"]
    for n, (picture, label) in enumerate(zip(digits.images[:300], digits.target, strict=False)):
        grey = (255 - picture / 16 * 255).astype("uint8")
        Image.fromarray(grey).resize((64, 64)).save(tmp_path / f"{n}.png")
        told = (label + 1) % 10 if n in (7, 8) else label
        people = ("ann",) if n == 7 else ("ann", "ben", "cec")
        lines += [f"{n}.png,{person},d{told}" for person in people]
    path = tmp_path / "votes.csv"
    path.write_text("\n".join(lines))
    found = verbs.labels(path)
    suspected = [row["sample"] for row in found["likely_errors"]]
    assert "7.png" in suspected
    assert "8.png" not in suspected  # three people are as sure as a model
    assert found["beside_people"]["person"] == 1.0
    assert found["share"]["low"] <= 1 / 300 + 0.05
