"""Boxes to Label Studio as pre-annotations, and back from its export; percent, people, odd ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made import label_studio, picture, rectangle, task

from regraft.dataset.boxes import read_boxes
from regraft.dataset.boxes.label_studio import LabelStudioReader, annotators_of
from regraft.dataset.boxes.predicted import write_predictions
from regraft.dataset.choosing import guess_task
from regraft.errors import DataError
from regraft.labelling.votes_table import is_votes


def _boxes(path: Path) -> list[tuple]:
    data = read_boxes(path)
    return [
        (p.source.name, data.categories[b.category], b.left, b.top, b.right, b.bottom)
        for p in data.pictures
        for b in p.boxes
    ]


def test_percent_become_pixels_of_the_picture(tmp_path: Path) -> None:
    path = label_studio(tmp_path, [task(rectangle()), task(picture="b.png")])
    assert _boxes(path) == [("a.png", "tree", 1.0, 3.0, 11.0, 12.0)]
    assert len(read_boxes(path).pictures) == 2  # nothing was drawn on the second: nothing is there
    assert guess_task(path) == "object-detection"
    assert not is_votes(path)


def test_what_a_model_found_goes_there_is_mended_and_comes_back(tmp_path: Path) -> None:
    for name in ("a.png", "sub/b c.png"):
        picture(tmp_path / "photos" / name)
    thing = {"label": "<b>tree", "probability": 0.75, "box": [4.0, 3.0, 20.0, 18.0]}
    sure = {"label": "car", "probability": 0.25, "box": [0.0, 0.0, 10.0, 3.0]}
    size = {"width": 40, "height": 30}
    rows = [
        {"sample": str(tmp_path / "photos/a.png"), **size, "objects": [thing, sure]},
        {"sample": str(tmp_path / "photos/sub/b c.png"), **size, "objects": []},
        {"sample": str(tmp_path / "photos/no.png"), "problem": "damaged"},
        {"sample": str(tmp_path / "walk.mp4 at 1.0 s"), **size, "objects": [sure]},
    ]
    files = write_predictions(rows, ["<b>tree", "car"], tmp_path / "out", "label-studio")
    tasks = json.loads(files[0].read_text())
    assert [one["data"]["image"] for one in tasks] == [
        "/data/local-files/?d=photos/a.png",
        "/data/local-files/?d=photos/sub/b%20c.png",
    ]
    (guess,) = tasks[0]["predictions"]
    assert guess["score"] == 0.5
    value = {"x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0}
    assert guess["result"][0]["value"] == value | {"rectanglelabels": ["<b>tree"]}
    assert guess["result"][0]["score"] == 0.75
    assert '<Label value="&lt;b&gt;tree"/>' in files[1].read_text()
    # Somebody takes the first box over, throws the second away, and draws one that was missed.
    drawn = {"type": "rectanglelabels", "value": {**value, "x": 50, "rectanglelabels": ["car"]}}
    for one, results in zip(tasks, ([guess["result"][0]], [drawn]), strict=True):
        one["annotations"] = [{"completed_by": 1, "result": results}]
    export = tmp_path / "export.json"
    export.write_text(json.dumps(tasks))
    assert _boxes(export) == [
        ("a.png", "<b>tree", 4.0, 3.0, 20.0, 18.0),
        ("b c.png", "car", 20.0, 3.0, 36.0, 18.0),
    ]


def test_of_several_people_the_latest_counts_and_each_can_be_read(tmp_path: Path) -> None:
    ann, ben = {"email": "ann@x.org"}, {"email": "ben@x.org"}
    one = task(rectangle(), completed_by=ann, updated_at="2026-02-01")
    one["annotations"] += [
        {"completed_by": ben, "updated_at": "2026-01-01", "result": [rectangle(x=50)]},
        {"completed_by": ben, "was_cancelled": True, "result": []},
    ]
    path = label_studio(tmp_path, [one])
    assert annotators_of(path) == ["ann@x.org", "ben@x.org"]
    assert _boxes(path) == [("a.png", "tree", 1.0, 3.0, 11.0, 12.0)]
    assert [p.kind for p in read_boxes(path).problems] == ["drawn-twice"]
    (theirs,) = LabelStudioReader("ben@x.org").read(path).pictures
    assert [box.left for box in theirs.boxes] == [20.0]


def test_the_short_export_and_uploaded_names(tmp_path: Path) -> None:
    region = rectangle()["value"] | {"original_width": 40, "original_height": 30}
    row = {"image": "/data/upload/7/1a2b3c4d-a.png", "id": 1, "annotation_id": 5, "label": [region]}
    path = label_studio(tmp_path, [row])
    picture(tmp_path / "a.png")
    assert _boxes(path) == [("a.png", "tree", 1.0, 3.0, 11.0, 12.0)]


@pytest.mark.parametrize(
    ("odd", "kind", "boxes"),
    [
        (task(rectangle(rotation=90)), "turned", 1),
        (task(rectangle(), {"type": "polygonlabels"}), "no-rectangle", 1),
        (task(rectangle(), rectangle(width="wide")), "not-a-number", 1),
        (task(rectangle(), rectangle(width=float("nan"))), "not-finite", 1),
        (task(rectangle(), rectangle(width=-5)), "zero-area", 1),
        (task(rectangle(), rectangle(rotation=1e999)), "not-finite", 1),
        (task(rectangle(), rectangle(x=95)), "box-over-edge", 2),
        (task(rectangle(), rectangle(name="")), "no-category", 1),
        (task(rectangle(original_width=80)), "wrong-size", 1),
        ({"data": {"text": "no picture"}, "annotations": [{"result": []}]}, "bad-picture", 1),
        (task(picture="gone.png"), "missing", 1),
        (task(picture="../../../../etc/passwd.png"), "missing", 1),
        ({"data": {"image": "some/where/b.png"}}, "not-annotated", 1),
    ],
)
def test_what_is_odd_is_said_and_the_rest_is_used(tmp_path: Path, odd, kind, boxes) -> None:
    more = [] if len(odd.get("annotations", [{}])[0].get("result", [])) else [task(rectangle())]
    data = read_boxes(label_studio(tmp_path, [odd, *more]))
    assert kind in {problem.kind for problem in data.problems}
    assert data.used == boxes
    assert data.found == data.used + data.refused


def test_a_polygon_becomes_the_rectangle_around_it(tmp_path: Path) -> None:
    points = {"points": [[2.5, 20], [27.5, 10], [20, 40]], "polygonlabels": ["tree"]}
    polygon = {"type": "polygonlabels", "value": points}
    path = label_studio(tmp_path, [task(polygon)])
    assert _boxes(path) == [("a.png", "tree", 1.0, 3.0, 11.0, 12.0)]
    assert [p.kind for p in read_boxes(path).problems] == ["no-bbox"]
    short = {"image": "a.png", "annotation_id": 5, "label": [points | {"original_width": 40}]}
    picture(tmp_path / "a.png")
    assert _boxes(label_studio(tmp_path, [short])) == [("a.png", "tree", 1.0, 3.0, 11.0, 12.0)]


ELLIPSE = {"x": 50, "y": 50, "radiusX": 5, "radiusY": 5, "ellipselabels": ["tree"]}
UNNAMED = {"x": 50, "y": 50, "width": 5, "height": 5}


@pytest.mark.parametrize(("kind", "value"), [("ellipselabels", ELLIPSE), ("rectangle", UNNAMED)])
@pytest.mark.parametrize("is_short", [False, True])
def test_a_picture_with_what_cannot_be_read_alone_is_no_negative(
    tmp_path: Path, kind: str, value: dict, is_short: bool
) -> None:
    size = {"original_width": 40, "original_height": 30}
    other = task({"type": kind, "value": value, **size}, picture="b.png")
    if is_short:
        other = {"image": "where/b.png", "annotation_id": 5, "label": [value | size]}
    data = read_boxes(label_studio(tmp_path, [task(rectangle()), other]))
    assert [p.source.name for p in data.pictures] == ["a.png"]
    assert [p.kind for p in data.problems] == ["no-rectangle", "no-box-left"]
    assert (data.found, data.used, data.refused) == (2, 1, 1)


def test_what_is_said_of_a_picture_is_no_box(tmp_path: Path) -> None:
    choice = {"type": "choices", "value": {"choices": ["sharp"]}, "original_width": 40}
    path = label_studio(tmp_path, [task(rectangle()), task(choice, picture="b.png")])
    data = read_boxes(path)
    assert (len(data.pictures), data.found, data.problems) == (2, 1, ())


def test_a_task_whose_annotations_were_all_withdrawn_is_not_annotated(tmp_path: Path) -> None:
    withdrawn = task(rectangle(), picture="b.png", was_cancelled=True)
    data = read_boxes(label_studio(tmp_path, [task(rectangle()), withdrawn]))
    assert [p.source.name for p in data.pictures] == ["a.png"]
    assert [p.kind for p in data.problems] == ["not-annotated"]


def test_a_turned_rectangle_becomes_the_one_around_it(tmp_path: Path) -> None:
    # 10 × 9 px at 20, 3; a quarter clockwise around its upper left corner.
    path = label_studio(tmp_path, [task(rectangle(x=50, rotation=90))])
    assert _boxes(path) == [("a.png", "tree", 11.0, 3.0, 20.0, 13.0)]


@pytest.mark.parametrize(
    "content",
    ['[{"rectanglelabels"', '["rectanglelabels"]', '[{"annotations": ["rectanglelabels"]}]'],
)
def test_a_damaged_export_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(DataError, match="damaged"):
        read_boxes(tmp_path / "export.json")
