"""`predict` of a model that finds objects: pictures, videos and tiles in, files out."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from regraft import evaluating, predicting, printing
from regraft.backbones import Preprocessing
from regraft.backbones.backbone import Detector
from regraft.dataset import Dataset, Sample
from regraft.dataset.boxes.tiles import cut
from regraft.dataset.rows import Box
from regraft.errors import DataError, UsageError
from regraft.events import Said, silent
from regraft.predicting import Wanted, find_objects, put_together
from regraft.reporting.drawing import COLOURS
from regraft.tasks import Detection
from regraft.tasks.boxes import BoxAnswers

PREPROCESSING = Preprocessing(64, 1.0, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), whole=True)
NOTHING_MORE = Wanted()
TASK = Detection(("tree",), Detector("dense", (), (8, 16), 6), 64, (1.0,))


class Finder:
    """Stands in for a network: finds the red squares in what it is shown, sure of each by 0.8."""

    backbone = SimpleNamespace(pictures=PREPROCESSING, stages=())
    task = SimpleNamespace(classes=("blue", "red"))
    calibrated = {"threshold": 0.5, "steps": [[0.91, 0.05]]}

    def __init__(self, tile_px: int = 0) -> None:
        self.facts = {"tile_px": tile_px}

    def find(self, values: Any, sizes: Any) -> BoxAnswers:
        (batch,) = values
        found = []
        for pixels, (height, width) in zip(batch, sizes, strict=True):
            scale = max(height, width) / PREPROCESSING.size_px
            red = (pixels[..., 0] > 150) & (pixels[..., 1] < 120)
            ys, xs = np.nonzero(red)
            boxes = [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]] if len(xs) else []
            box_k4 = np.array(boxes, float).reshape(-1, 4) * scale
            unsure = np.array([[0.0, 0.0, 9.0, 9.0]])
            scores = np.array([0.8] * len(boxes) + [0.1])
            found.append((np.vstack([box_k4, unsure]), np.ones(len(scores), int), scores))
        return BoxAnswers.from_pictures(found)


PREPARATION: Any = SimpleNamespace(
    engine_for_pixels=lambda stages, batch: SimpleNamespace(
        stream=lambda pictures: ((pixels,) for pixels in pictures)
    )
)


def photo(path: Path, at: tuple[int, int] | None, size: tuple[int, int] = (128, 128)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", size, (40, 160, 60))
    if at:
        picture.paste((230, 10, 10), (*at, at[0] + 32, at[1] + 32))
    picture.save(path)
    return path


def find(
    paths: list[Path], wanted: Wanted = NOTHING_MORE, tile_px: int = 0
) -> list[dict[str, Any]]:
    finder: Any = Finder(tile_px)
    return find_objects(finder, PREPARATION, paths, wanted, silent)


def test_objects_are_in_pixels_of_the_picture(tmp_path: Path) -> None:
    one, two = photo(tmp_path / "a.png", (32, 64)), photo(tmp_path / "b.png", None)
    three = tmp_path / "no.png"
    found = find([one, two, three])
    assert found[0] == {
        "sample": str(one),
        "width": 128,
        "height": 128,
        "objects": [{"label": "red", "probability": 0.8, "box": [32.0, 64.0, 64.0, 96.0]}],
    }
    assert found[1]["objects"] == []
    assert found[2] == {"sample": str(three), "problem": "There is no such file."}


def test_the_confidence_is_the_one_for_the_wanted_precision(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", (32, 64))
    assert len(find([path])[0]["objects"]) == 1
    assert len(find([path], Wanted(precision=0.85))[0]["objects"]) == 2
    assert len(find([path], Wanted(precision=0))[0]["objects"]) == 2
    with pytest.raises(UsageError, match=r"reached 0\.91 at most"):
        find([path], Wanted(precision=0.99))


def test_all_boxes_can_be_measured_by_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faster_coco_eval import COCO, COCOeval_faster

    paths = [photo(tmp_path / f"in/{n}.png", (8 * n, 30)) for n in range(5)]
    find(paths, Wanted(tmp_path / "found", "coco", precision=0))
    truth = {
        "images": [{"id": 90 + n, "file_name": f"{n}.png"} for n in range(5)],
        "categories": [{"id": 7, "name": "red"}, {"id": 8, "name": "blue"}],
        "annotations": [
            {"id": n + 1, "image_id": 90 + n, "category_id": 7, "bbox": [8 * n, 30, 32, 32],
             "area": 1024, "iscrowd": 0}
            for n in range(5)
        ],
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    docs = (Path(__file__).parents[1] / "docs" / "boxes.md").read_text()
    code = docs.partition("```python\nimport json\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    exec("import json\n" + code, {})  # noqa: S102
    said = COCO("truth.json", print_function=str)
    judge = COCOeval_faster(said, said.loadRes("results.json"), "bbox", print_function=str)
    judge.evaluate()
    judge.accumulate()
    assert len(said.loadRes("results.json").anns) == 10
    assert judge.eval["precision"][0, :, 0, 0, -1].mean() == pytest.approx(1)


def test_where_as_many_are_found_as_are_told_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("regraft.predicting.objects.KEPT", 2)
    path = photo(tmp_path / "a.png", (32, 64))
    assert "at_most" not in find([path])[0]
    found = find([path], Wanted(precision=0.9))
    assert found[0]["at_most"] == 2
    printing.print_predictions(Console(width=200), found)
    assert "2 red  and perhaps more: 2 on a picture or tile are told" in capsys.readouterr().out


def test_it_is_said_that_a_picture_is_much_larger_than_those_learnt_from(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{px}.png", (32, 64), (px, 128)) for px in (128, 255, 256, 640)]
    paths.append(tmp_path / "no.png")
    for tile_px, times in ((0, [2.0, 5.0]), (320, [2.0])):  # the last one is cut
        finder: Any = Finder(tile_px)
        finder.facts["longer_side_px"] = 128.0
        told: list[Any] = []
        found = find_objects(finder, PREPARATION, paths, NOTHING_MORE, told.append)
        assert [row["times_larger"] for row in found if "times_larger" in row] == times
        (said,) = [event.text for event in told if isinstance(event, Said)]
        assert f"128 px wide or high), {paths[2 if tile_px else 3]} {times[-1]:g} times" in said
    assert not any("times_larger" in row for row in find(paths))  # an older model


def test_a_large_picture_is_looked_at_tile_by_tile(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", (1500, 900), size=(2000, 1200))
    (whole,) = find([path], tile_px=400)
    (thing,) = whole["objects"]
    assert thing["box"] == pytest.approx([1500, 900, 1532, 932], abs=7)
    # The whole picture in 64 px shows a square of one pixel: tiles see it better.
    (blind,) = find([path], tile_px=0)
    error = np.abs(np.array(thing["box"]) - [1500, 900, 1532, 932]).max()
    assert (
        not blind["objects"]
        or error <= np.abs(np.array(blind["objects"][0]["box"]) - [1500, 900, 1532, 932]).max()
    )


def test_an_object_that_two_tiles_show_is_one_of_the_whole_picture() -> None:
    truth = Box(0, 330, 10, 380, 60)  # both upper tiles show all of it
    picture = Sample("a.png", Path("a.png"), (0,), sha256="a", size=(720, 2000), boxes=(truth,))
    small = Sample("b.png", Path("b.png"), (), sha256="b", size=(100, 100), boxes=())
    tiles = [*cut(picture, 400), small]
    found = BoxAnswers.from_pictures(
        [
            (
                np.array([(b.left, b.top, b.right, b.bottom) for b in tile.boxes]).reshape(-1, 4),
                np.zeros(len(tile.boxes), int),
                np.full(len(tile.boxes), 0.8),
            )
            for tile in tiles
        ]
    )
    assert found.count_n.sum() == 2
    whole = put_together([small, picture], 400, tiles, found)
    assert whole.count_n.tolist() == [0, 1]
    assert whole.boxes_k4.tolist() == [[330, 10, 380, 60]]
    measured = evaluating.measured(TASK, tiles, found, 0.5, ([small, picture], whole, whole))
    assert measured["coco"]["categories"][0]["truths"] == 2
    seen = measured["whole"]
    assert (seen["count"], seen["objects"], seen["shown"], seen["right"]) == (2, 1, 1, 1)


def test_evaluate_cuts_as_the_model_was_fitted_and_counts_objects_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The data have one of the model's two categories, by another number."""
    task = Detection(("bush", "tree"), TASK.detector, 64, (1.0, 1.0))
    model: Any = SimpleNamespace(
        task=task, backbone=None, facts={"tile_px": 400}, calibrated={"threshold": 0.5},
        has_seen=lambda samples: 0,
    )  # fmt: skip
    truth = Box(0, 330, 10, 380, 60)  # both upper tiles show all of it
    sample = Sample("a.png", Path("a.png"), (0,), sha256="a", size=(720, 2000), boxes=(truth,))
    pictures = Dataset(Path(), "object-detection", ("tree",), (sample,))

    def found_in(model: Any, preparation: Any, tiles: Any, tell: Any) -> BoxAnswers:
        assert {box.category for tile in tiles for box in tile.boxes} == {1}
        boxes = [[(b.left, b.top, b.right, b.bottom) for b in tile.boxes] for tile in tiles]
        return BoxAnswers.from_pictures(
            [
                (np.array(some).reshape(-1, 4), np.ones(len(some), int), np.full(len(some), 0.8))
                for some in boxes
            ]
        )

    monkeypatch.setattr(evaluating, "_found_in", found_in)
    monkeypatch.setattr(evaluating, "prepare", lambda *_, **__: nullcontext())
    measured = evaluating._of_boxes(model, task, pictures, silent)
    counted = {row["name"]: row["truths"] for row in measured["coco"]["categories"]}
    assert measured["count"] == len(cut(sample, 400)) and counted == {"bush": 0, "tree": 2}
    whole = measured["whole"]
    assert (whole["count"], whole["objects"], whole["shown"], whole["right"]) == (1, 1, 1, 1)
    assert [problem["kind"] for problem in measured["problems"]] == ["tiled"]
    model.facts = {"tile_px": 0, "longer_side_px": 400.0}
    (larger,) = evaluating._of_boxes(model, task, pictures, silent)["problems"]
    assert (larger["kind"], larger["where"]) == ("much-larger", "a.png")
    assert "5 times as large" in larger["what"]


def test_evaluate_says_so_where_all_boxes_are_crowds() -> None:
    model: Any = SimpleNamespace(task=TASK, facts={})
    crowd = Box(0, 30, 10, 80, 60, crowd=True)
    sample = Sample("a.png", Path("a.png"), (0,), sha256="a", size=(72, 200), boxes=(crowd,))
    pictures = Dataset(Path("x"), "object-detection", ("tree",), (sample,))
    with pytest.raises(DataError, match="no object to measure with: all boxes are crowds"):
        evaluating._of_boxes(model, TASK, pictures, silent)
    empty = pictures.with_samples([replace(sample, target=(), boxes=())])
    with pytest.raises(DataError, match="no picture has a box"):
        evaluating._of_boxes(model, TASK, empty, silent)


def test_evaluate_names_all_categories_that_the_model_does_not_know() -> None:
    model: Any = SimpleNamespace(task=TASK, facts={}, classes=TASK.classes)
    pictures = Dataset(Path("x"), "object-detection", ("Trousers", "handbag"), ())
    with pytest.raises(DataError, match="the classes 'Trousers', 'handbag'") as caught:
        evaluating._of_boxes(model, TASK, pictures, silent)
    assert caught.value.mend.startswith("rename in the data")


def test_what_is_not_shown_takes_the_place_of_nothing_that_is() -> None:
    picture = Sample("a.png", Path("a.png"), (), sha256="a", size=(720, 2000), boxes=())
    tiles = cut(picture, 400)
    none = (np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    found = [none] * len(tiles)
    # The first tile cuts an object off; the second shows all of it, and is less sure.
    found[0] = (np.array([[360.0, 10, 400, 60]]), np.zeros(1, int), np.array([0.6]))
    found[1] = (np.array([[40.0, 10, 120, 60]]), np.zeros(1, int), np.array([0.4]))
    answers = BoxAnswers.from_pictures(found)
    assert put_together([picture], 400, tiles, answers).scores_k.tolist() == pytest.approx([0.4])
    shown = put_together([picture], 400, tiles, answers, 0.5)
    assert shown.boxes_k4.tolist() == [[360, 10, 400, 60]]


def test_a_whole_picture_may_have_more_objects_than_coco_counts() -> None:
    boxes = tuple(Box(0, 10.0 * k, 0, 10.0 * k + 8, 8) for k in range(150))
    picture = Sample("a.png", Path("a.png"), (0,), sha256="a", size=(720, 2000), boxes=boxes)
    tiles = cut(picture, 400)
    box_k4 = np.array([(b.left, b.top, b.right, b.bottom) for b in boxes])
    whole = BoxAnswers.from_pictures([(box_k4, np.zeros(150, int), np.full(150, 0.8))])
    nothing = BoxAnswers.from_pictures([(box_k4[:0], np.zeros(0, int), np.zeros(0))] * len(tiles))
    seen = evaluating.measured(TASK, tiles, nothing, 0.5, ([picture], whole, whole))["whole"]
    assert (seen["ap50"], seen["recall"], seen["precision"]) == (1, 1, 1)


@pytest.mark.parametrize("to", ["json", "csv", "coco", "yolo", "label-studio"])
def test_files_and_drawings_are_written(tmp_path: Path, to: str) -> None:
    paths = [photo(tmp_path / "in/a.png", (32, 64)), photo(tmp_path / "in/sub/a.png", None)]
    wanted = Wanted(tmp_path / "out", to, draw=True)
    found = find(paths, wanted)
    again = find(paths, wanted)
    assert found == again
    drawings = sorted((tmp_path / "out/drawn").rglob("*.jpg"))
    assert [d.relative_to(tmp_path / "out/drawn").as_posix() for d in drawings] == [
        "a.png.jpg",
        "sub/a.png.jpg",
    ]
    with Image.open(drawings[0]) as drawn:
        left, middle = drawn.getpixel((32, 80)), drawn.getpixel((48, 80))
    # The edge where the square begins has the colour of the second category.
    assert np.abs(np.array(left) - COLOURS[1]).max() < 60
    assert middle[0] > 180
    written = {p.name for p in (tmp_path / "out").iterdir()} - {"drawn"}
    names = {"json": {"predictions.json"}, "csv": {"predictions.csv"}}
    names |= {"coco": {"coco.json"}, "yolo": {"classes.txt", "labels"}}
    names["label-studio"] = {"label-studio.json", "label-studio.xml"}
    assert written == names[to] | {".regraft-predict"}
    if to == "json":
        assert json.loads((tmp_path / "out/predictions.json").read_text()) == found


def test_files_of_an_earlier_call_are_said_to_be_there(tmp_path: Path) -> None:
    out, told = tmp_path / "out", list[Any]()
    paths = [photo(tmp_path / f"in/{name}.png", (32, 64)) for name in "abc"]
    for some in (paths, paths, paths[:1]):
        wanted = Wanted(out, "yolo", draw=True)
        find_objects(Finder(), PREPARATION, some, wanted, told.append)
    find_objects(Finder(), PREPARATION, paths[:1], Wanted(out), told.append)
    (out / "mine.txt").write_text("mine")
    first, second = (e.text for e in told if isinstance(e, Said) and "did not write" in e.text)
    assert first.startswith(f"4 files lie in {out} that this call did not write: ")
    assert "drawn/b.png.jpg, drawn/c.png.jpg, labels/b.txt and 1 more" in first
    assert second.startswith("7 files lie in ")
    assert (out / "labels/b.txt").is_file()


def test_names_that_no_font_has_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regraft.predicting.objects.respelt", list)  # a machine without fonts
    finder: Any = Finder()
    finder.task = SimpleNamespace(classes=("狗", "猫"))
    paths, told = [photo(tmp_path / "a.png", (32, 64))], list[Any]()
    for draw in (False, True):
        find_objects(finder, PREPARATION, paths, Wanted(tmp_path / "out", draw=draw), told.append)
    (said,) = (event.text for event in told if isinstance(event, Said))
    assert said.startswith("None of the fonts of this machine that regraft knows has all ")
    assert " characters of 猫: " in said


def walk(path: Path) -> Path:
    """Three seconds of a red square that goes to the right."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv420p"
        for number in range(30):
            picture = Image.new("RGB", (128, 128), (40, 160, 60))
            picture.paste((230, 10, 10), (2 * number, 40, 2 * number + 40, 80))
            for packet in stream.encode(av.VideoFrame.from_image(picture)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_a_video_is_looked_at_now_and_then(tmp_path: Path) -> None:
    path = walk(tmp_path / "walk.mp4")
    found = find([path, tmp_path / "no.mp4"], Wanted(tmp_path / "out", "yolo", True, every_s=1.0))
    names = [Path(row["sample"]).name for row in found]
    assert names == ["walk.mp4@0.00s", "walk.mp4@1.00s", "walk.mp4@2.00s", "no.mp4"]
    lefts = [row["objects"][0]["box"][0] for row in found[:3]]
    assert lefts == pytest.approx([0, 20, 40], abs=5)
    assert "problem" in found[3]
    assert (tmp_path / "out/labels/walk.mp4@1.00s.txt").exists()
    assert (tmp_path / "out/drawn/walk.mp4@2.00s.jpg").exists()
    assert not any("damage" in row for row in found)


def test_frames_are_no_files_for_label_studio(tmp_path: Path) -> None:
    path = walk(tmp_path / "walk.mp4")
    with pytest.raises(UsageError, match="no files that Label Studio could show"):
        find([path], Wanted(tmp_path / "out", "label-studio"))
    assert not (tmp_path / "out").exists()


def test_a_video_that_ends_before_it_says_so_is_said_to_on_its_last_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = walk(tmp_path / "cut.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found = find([path], Wanted(every_s=1.0))
    assert ["damage" in row for row in found] == [False, False, True]
    (what,) = found[-1]["damage"]
    assert what.startswith("The video ends after") and what.endswith("of 3.00 s.")
    printing.print_predictions(Console(width=200), found)
    assert f"1 red  {what}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ("labels/a.txt", Wanted(to="yolo")),
        ("classes.txt", Wanted(to="yolo")),
        ("predictions.json", Wanted()),
        ("coco.json", Wanted(to="coco")),
        ("predictions.csv", Wanted(to="csv")),
        ("label-studio.xml", Wanted(to="label-studio")),
        ("drawn/a.png.jpg", Wanted(draw=True)),
    ],
)
def test_what_predict_did_not_write_is_not_replaced(
    own: str, wanted: Wanted, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    wanted = replace(wanted, out=out)
    predicting.check_wanted(wanted, finds=True)
    file = out / own
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(UsageError, match="did not write") as refused:
        predicting.check_wanted(wanted, finds=True)
    assert refused.value.where == str(out)


def test_what_predict_wrote_is_replaced(tmp_path: Path) -> None:
    path, out = photo(tmp_path / "a.png", (32, 64)), tmp_path / "out"
    (out / "labels").mkdir(parents=True)  # an empty folder holds nothing to lose
    find([path], Wanted(out, "yolo"))
    predicting.check_wanted(Wanted(out, "yolo"), finds=True)
    find([path], Wanted(out, "json", draw=True))
    for wanted in (Wanted(out, "yolo", draw=True), Wanted(out, "coco")):
        predicting.check_wanted(wanted, finds=True)
    (out / "predictions.csv").write_text("mine")
    predicting.check_wanted(Wanted(out), finds=True)
    with pytest.raises(UsageError, match=r"predictions\.csv"):
        predicting.check_wanted(Wanted(out, "csv"), finds=True)


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        predicting.check_wanted(Wanted(photo(tmp_path / "a.png", None)), finds=True)


@pytest.mark.parametrize(
    ("wanted", "where"),
    [
        (Wanted(Path("x"), "xls"), "--to"),
        (Wanted(Path("x"), every_s=0.0), "--every"),
        (Wanted(None, draw=True), "--out"),
        (Wanted(None, "coco"), "--out"),
        (Wanted(precision=1.2), "--precision"),
    ],
)
def test_options_that_make_no_sense_are_refused_first(wanted: Wanted, where: str) -> None:
    with pytest.raises(UsageError) as refused:
        predicting.check_wanted(wanted, finds=True)
    assert refused.value.where == where


@pytest.mark.parametrize(
    ("wanted", "where"),
    [
        (Wanted(draw=True), "--draw"),
        (Wanted(every_s=2.0), "--every"),
        (Wanted(precision=0.9), "--precision"),
        (Wanted(Path("x"), "csv"), "--out, --to"),
    ],
)
def test_options_of_boxes_are_refused_where_no_objects_are_found(
    wanted: Wanted, where: str
) -> None:
    predicting.check_wanted(Wanted(), finds=False)
    with pytest.raises(UsageError, match="finds no objects") as refused:
        predicting.check_wanted(wanted, finds=False)
    assert refused.value.where == where


def test_what_the_terminal_says(capsys: pytest.CaptureFixture[str]) -> None:
    thing = {"label": "red", "probability": 0.8, "box": [0, 0, 1, 1]}
    rows = [
        {
            "sample": "a.png",
            "width": 9,
            "height": 9,
            "objects": [thing, {**thing, "label": "blue"}, thing],
        },
        {"sample": "long.png", "width": 9, "height": 9, "objects": []},
        {"sample": "no.png", "problem": "There is no such file."},
    ]
    printing.print_predictions(Console(width=80), rows, Path("out"))
    assert capsys.readouterr().out.splitlines() == [
        "a.png     2 red, 1 blue",
        "long.png  nothing",
        "no.png    not read: There is no such file.",
        "",
        "2 red, 1 blue in all",
        "2 pictures or frames done, 1 not read; written to out",
    ]


def test_what_evaluate_says(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"name": "red", "truths": 7, "ap50": 0.5, "ap": 0.25, "ar": None}
    evaluation = {
        "metric": {"name": "AP50", "value": 0.5, "low": 0.4, "high": 0.6},
        "count": 12,
        "coco": {"categories": [row], "ap50": 0.5, "ap": 0.25, "ar": None},
        "whole": {
            "count": 2, "ap50": 0.4, "threshold": 0.3, "shown": 9, "right": 6, "objects": 5,
            "precision": 2 / 3, "recall": 1.0,
        },
        "problems": [],
        "seen": 3,
    }  # fmt: skip
    printing.print_evaluation(Console(width=80), evaluation)
    said = capsys.readouterr().out
    assert "AP50 50.0 % (40.0 to 60.0) on 12 tiles of pictures" in said
    assert "on the 2 pictures, put together from their tiles: AP50 40.0 %" in said
    assert "9 boxes (confidence 0.30 or more): 6 right (precision 66.7 %), of 5 objects" in said
    assert "25.0 %" in said and "–" in said
    assert "3 of the 12 were used to fit or to choose this model" in said
