"""What the page says of a detector: facts, drawings, words."""

from __future__ import annotations

import io
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from report_samples import full_report
from test_page import EVIL, shown

from regraft import dataset
from regraft.reporting import detection, drawing
from regraft.tasks.boxes import BoxAnswers, BoxTargets

SIZE = (320, 240)


def made(folder: Path) -> tuple[dataset.Dataset, BoxAnswers]:
    """Pictures of red and blue tiles; most are found, one is missed, one alarm is false."""
    rng = np.random.default_rng(1)
    lines = ["path,category,left,top,right,bottom,split"]
    for number in range(12):
        picture = Image.fromarray(rng.integers(90, 130, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
        brush = ImageDraw.Draw(picture)
        split = "train" if number < 6 else "valid"
        for k in range(number % 4):
            left, top = 20 + 95 * k, int(rng.integers(10, 150))
            colour, name = (("crimson", "red"), ("navy", EVIL))[(number + k) % 2]
            brush.rectangle((left, top, left + 60, top + 70), fill=colour)
            name = f'"{name.replace(chr(34), chr(34) * 2)}"'
            lines.append(f"{number}.png,{name},{left},{top},{left + 60},{top + 70},{split}")
        if not number % 4:
            lines.append(f"{number}.png,,,,,,{split}")
        picture.save(folder / f"{number}.png")
    lines.append("0.png,red,500,500,600,600,train")
    (folder / "boxes.csv").write_text("\n".join(lines))
    rows = dataset.read(folder / "boxes.csv")
    said = []
    for number, sample in enumerate(rows.split("valid")):
        boxes = [(b.left + 3, b.top, b.right, b.bottom) for b in sample.boxes]
        labels = [b.category for b in sample.boxes]
        scores = [0.9 - 0.1 * k for k in range(len(boxes))]
        if number == 3:
            boxes, labels, scores = boxes[1:], labels[1:], scores[1:]
        if number == 4:
            boxes, labels, scores = [*boxes, (200, 180, 260, 230)], [*labels, 0], [*scores, 0.95]
        said.append(
            (np.array(boxes, float).reshape(-1, 4), np.array(labels, int), np.array(scores))
        )
    return rows, BoxAnswers.from_pictures(said)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("boxes")
    rows, answers = made(folder)
    valid = rows.split("valid")
    targets = BoxTargets.from_samples(valid)
    judged = detection.Judged(rows, valid, "valid", answers, targets, 0.5, np.ones((3, len(valid))))
    return folder, detection.section(judged)


def as_report(found: dict[str, Any]) -> dict[str, Any]:
    report = full_report()
    report["task"], report["detection"] = "object-detection", found
    report |= {"confusion": None, "calibration": None, "imbalance": None}
    report |= {"most_wrong": [], "least_certain": []}
    report["data"] |= {"classes": ["red", "blue"], "multilabel": True}
    report["data"]["counts"] = {split: [3, 4] for split in ("train", "valid", "test")}
    for rung in report["rungs"]:
        if rung["metric"]:
            rung["metric"]["name"] = "AP50"
    return report


def test_the_facts_are_counted(facts) -> None:
    _, found = facts
    assert json.loads(json.dumps(found)) == found
    errors = {row["kind"]: row["count"] for row in found["errors"]}
    assert errors["missed"] == 1
    assert errors["background"] == 1
    assert sum(errors.values()) == 2
    at = found["shown"]
    assert (at["shown"], at["right"], at["objects"]) == (11, 10, 11)
    assert at["precision"] == pytest.approx(10 / 11)
    counts = {"found": 19, "used": 16, "crowds": 0, "mended": 0, "refused": 1, "left_out": 2}
    assert found["boxes"] == counts
    assert [miss["sample"] for miss in found["misses"]] == ["7.png"]
    (alarm,) = found["false_alarms"]
    assert (alarm["kind"], alarm["score"]) == ("background", 0.95)
    mistakes = [side["mistakes"] for side in found["pictures"]]
    assert mistakes == sorted(mistakes, reverse=True)
    assert sum(mistakes) == 2


def test_everything_that_is_named_is_drawn_and_shown(facts) -> None:
    folder, found = facts
    pictures = detection.pictures(folder, found)
    sides = {
        f"side-{i}-{which}" for i in range(len(found["pictures"])) for which in ("truth", "said")
    }
    assert set(pictures) == {*sides, "misses-0", "false_alarms-0"}
    page = shown(as_report(found), pictures)
    assert len([src for src in page.all("src") if src.startswith("data:image/jpeg")]) == len(
        pictures
    )
    for words in (
        "confidence of 0.50 on",
        "90.9 % of the 11 boxes shown are right",
        "90.9 % of the 11 objects are found",
        "19 boxes were found. 16 are used",
        "1 was refused, 2 went with a picture that is left out",
        "95.0 % sure background",
        "Missed, the largest first",
        "an object that nothing was found on",
    ):
        assert words in page.text
    assert EVIL in page.text


def test_crowds_are_told_from_what_is_learnt(facts) -> None:
    folder, found = facts
    found = found | {"boxes": found["boxes"] | {"crowds": 5}}
    page = shown(as_report(found), detection.pictures(folder, found))
    assert "16 are used, of which 5 are crowds, which are neither learnt nor counted" in page.text


def test_one_box_is_said_to_be_one(facts) -> None:
    folder, found = facts
    ones = {name: 1 for name in ("found", "used", "crowds", "mended", "refused")}
    found = found | {"boxes": ones | {"left_out": 0}}
    found["shown"] = found["shown"] | {"shown": 1, "objects": 1}
    page = shown(as_report(found), detection.pictures(folder, found))
    for words in (
        "of the 1 box shown is right",
        "of the 1 object is found",
        "1 box was found. 1 is used, of which 1 is a crowd, which is neither",
        "1 of the usable ones was mended, 1 was refused.",
    ):
        assert words in page.text


def test_the_detector_as_it_is_has_a_row_of_its_own(facts) -> None:
    _, found = facts
    report = as_report(found)
    report["untouched"] = {
        "name": "untouched",
        "metric": {"name": "AP50", "value": 0.123, "low": 0.1, "high": 0.2},
        "reading": {"red": "stop sign", "blue": None},
        "known": [],
        "gap": 0.5,
        "p": 0.001,
        "text": f"Red is what it calls stop sign {EVIL}.",
    }
    page = shown(report)
    assert "as it is" in page.text
    assert "12.3 % 10.0–20.0" in page.text
    assert f"Red is what it calls stop sign {EVIL}." in page.text
    report["untouched"] = None
    assert "as it is" not in shown(report).text


def test_pictures_that_are_gone_are_left_out(facts, tmp_path: Path) -> None:
    _, found = facts
    assert detection.pictures(tmp_path, found) == {}
    assert "no picture" in shown(as_report(found), {}).text


def test_nothing_found_and_nothing_there(facts) -> None:
    folder, _ = facts
    rows = dataset.read(folder / "boxes.csv")
    negatives = [sample for sample in rows if not sample.boxes][:2]
    nothing = BoxAnswers.from_pictures([(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))] * 2)
    targets = BoxTargets.from_samples(negatives)
    found = detection.section(
        detection.Judged(
            rows, negatives, "test", nothing, targets, 0.5, np.ones((3, len(negatives)))
        )
    )
    assert found["coco"]["ap50"] is None
    page = shown(as_report(found))
    assert "There is no object on the test split." in page.text


def test_right_and_wrong_boxes_differ_in_more_than_colour() -> None:
    plain = Image.new("RGB", (200, 100), "gray")
    edges = (10.0, 30.0, 180.0, 90.0)
    right = drawing.drawn(plain, [drawing.Mark(edges, "tree 0.9")])
    wrong = drawing.drawn(plain, [drawing.Mark(edges, "tree 0.9", wrong=True)])
    painted = [(np.asarray(p) != np.asarray(plain)).any(axis=2) for p in (right, wrong)]
    blue = (np.asarray(right)[:, 12] == drawing.RIGHT).all(axis=1)
    dashes = (np.asarray(wrong)[90] == drawing.WRONG).all(axis=1)
    assert painted[0].any()
    assert 0 < dashes.sum() < 160
    assert np.diff(dashes.astype(int)).tolist().count(1) > 3
    assert blue.sum() < 100
    small = drawing.drawn(plain, [], longest_px=50)
    assert small.size == (50, 25)
    with Image.open(io.BytesIO(drawing.jpeg(small))) as back:
        assert back.format == "JPEG"


def lit(picture: Image.Image) -> int:
    """Pixels of white letters above a box whose upper edge is at 40."""
    return int((np.asarray(picture)[20:36] > 150).all(axis=2).sum())


def test_boxes_of_one_object_are_shown_together() -> None:
    marks = [drawing.Mark((10, 20, 30, 40)), drawing.Mark((20, 20, 40, 40), "", True)]
    shown = detection.around(Image.new("RGB", (100, 80)), marks)
    assert shown.size == (320, 320)  # a square of 60, from x = 0 and y = 0 on
    for x, colour in ((10, drawing.RIGHT), (40, drawing.WRONG)):
        column = [shown.getpixel((round(x * 320 / 60), y)) for y in range(107, 213)]
        assert colour in column


def test_who_drew_a_box_stands_at_it_and_hides_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[drawing.Edges] = []
    write = drawing._write
    monkeypatch.setattr(drawing, "_write", lambda *given: said.append(write(*given)) or said[-1])
    plain = Image.new("RGB", (200, 200))
    shown = detection.around(plain, [drawing.Mark((60, 60, 140, 140), str(n)) for n in range(9)])
    assert len(said) == 9
    assert not any(drawing._meet(one, other) for one, other in combinations(said, 2))
    for left, top, right, bottom in said:
        letters = np.asarray(shown.crop((round(left), round(top), round(right), round(bottom))))
        assert 20 < (letters > 200).all(axis=2).sum() < 200


def test_what_a_box_is_can_be_read_at_the_edge_of_a_picture() -> None:
    plain = Image.new("RGB", (300, 100))
    middle, edge = (
        drawing.drawn(plain, [drawing.Mark((left, 40, left + 20, 60), "hornbeam 0.99")])
        for left in (100, 279)
    )
    assert lit(edge) > 0.9 * lit(middle) > 50
    name = drawing.drawn(plain, [drawing.Mark((5, 40, 25, 60), "hornbeam " * 40 + "0.99")])
    row = (np.asarray(name)[30] == drawing.RIGHT).all(axis=1)
    assert row[:-1].sum() > 150
    assert lit(drawing.drawn(plain, [drawing.Mark((5, 40, 25, 60), "two\nlines 0.99")])) > 0
    assert drawing._cut("hornbeam 0.99", 8) == "horn…0.99"


def test_strokes_do_not_hide_small_things_in_a_large_picture() -> None:
    """Of a picture of 2,500 px a thing of 30 px keeps most of what is around it."""
    plain = Image.new("RGB", (2500, 2500))
    few = drawing.drawn(plain, [drawing.Mark((1000, 1000, 1030, 1030), "tree 0.9")])
    large = drawing.drawn(plain, [drawing.Mark((1000, 1000, 2000, 2000), "tree 0.9")])
    for picture, least, most in ((few, 100, 3000), (large, 20_000, 200_000)):
        assert least < np.count_nonzero(np.asarray(picture).any(axis=2)) < most


def test_each_category_has_a_colour_and_names_stand_beside_each_other() -> None:
    plain = Image.new("RGB", (200, 200), (90, 90, 90))
    edges = (20.0, 60.0, 120.0, 120.0)
    marks = [drawing.Mark(edges, f"tree {k}", category=k) for k in range(3)]
    pixels = np.asarray(drawing.drawn(plain, marks)).reshape(-1, 3)
    for mark in marks:
        assert (pixels == drawing.COLOURS[mark.category]).all(axis=1).sum() > 100
    assert len(set(drawing.COLOURS)) == 8 and drawing.WRONG not in drawing.COLOURS
    once = drawing.drawn(plain, [drawing.Mark((20, 60, 120, 120), "tree", category=8)])
    assert (np.asarray(once) == drawing.RIGHT).all(axis=2).any()
