"""Folders as others lay them out."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path
from typing import Any

import pandas
import pytest
from made import coco, picture, row, table, thing, voc, yolo

from regraft import dataset
from regraft.dataset.boxes import read_boxes
from regraft.dataset.boxes.collector import Collector
from regraft.dataset.boxes.elsewhere import found_elsewhere
from regraft.dataset.boxes.predicted import list_place
from regraft.errors import DataError

COLUMNS = "path,left,top,right,bottom,category"


def _places(path: Path) -> list[tuple[str, str, int]]:
    data = read_boxes(path)
    return [(p.id, p.split, len(p.boxes)) for p in data.pictures]


def test_voc_s_own_folder_with_several_years(tmp_path: Path):
    for year, lists in (("VOC2007", {"test": "a"}), ("VOC2012", {"train": "a", "val": "b"})):
        inner = voc(tmp_path / year, [thing()])
        picture(inner / "JPEGImages" / "b.png", level=int(year[3:]) % 200)
        (inner / "Annotations" / "b.xml").write_text(
            f"<annotation><folder>{year}</folder><filename>b.png</filename></annotation>"
        )
        (inner / "ImageSets" / "Main").mkdir(parents=True)
        for name, stem in lists.items():
            (inner / "ImageSets" / "Main" / f"{name}.txt").write_text(f"{stem}\n")
    assert _places(tmp_path) == [
        ("VOC2007/JPEGImages/a.png", "test", 1),
        ("VOC2007/JPEGImages/b.png", "train", 0),  # in no list
        ("VOC2012/JPEGImages/a.png", "train", 1),
        ("VOC2012/JPEGImages/b.png", "valid", 0),
    ]


@pytest.mark.parametrize(
    "first", [b"", "<annotation/>".encode("utf-16"), b"<svg/>"], ids=["empty", "utf-16", "other"]
)
def test_the_first_xml_does_not_decide_alone(tmp_path: Path, first: bytes):
    (voc(tmp_path, [thing()]) / "Annotations" / "0.xml").write_bytes(first)
    assert _places(tmp_path) == [("JPEGImages/a.png", "", 1)]


@pytest.mark.parametrize("code", ["utf-16", "utf-8-sig"])
def test_xml_with_a_mark(tmp_path: Path, code: str):
    file = voc(tmp_path, [thing(name="Bäume")]) / "Annotations" / "a.xml"
    file.write_bytes(file.read_text().encode(code))
    assert read_boxes(tmp_path).categories == ("Bäume",)


@pytest.mark.parametrize("code", ["cp1252", "utf-16", "utf-8-sig"])
def test_a_table_as_spreadsheets_save_it(tmp_path: Path, code: str):
    file = table(tmp_path, ["a.png;10;10;30;30;Bäume"], head=COLUMNS.replace(",", ";"))
    file.write_bytes(file.read_text().encode(code))
    found = read_boxes(tmp_path)
    assert found.categories == ("Bäume",)
    guesses = [(p.kind, p.where, p.done) for p in found.problems]
    assert guesses == [("encoding", "boxes.csv", "read as Windows-1252")] * (code == "cp1252")


def test_a_table_in_an_encoding_that_cannot_be_told_is_refused(tmp_path: Path):
    file = table(tmp_path, ["a.png,10,10,30,30,樹木の冠"])
    file.write_bytes(file.read_text().encode("shift-jis"))
    with pytest.raises(DataError, match="UTF-8"):
        read_boxes(tmp_path)


def test_voc_s_lists_of_one_class_have_a_second_column(tmp_path: Path):
    root = voc(tmp_path, [thing()])
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("b  1\n")
    (root / "ImageSets" / "Main" / "val.txt").write_text("a -1\n")
    assert _places(tmp_path) == [("JPEGImages/a.png", "valid", 1)]


def test_a_picture_that_voc_names_is_meant_though_another_has_the_usual_ending(tmp_path: Path):
    root = voc(tmp_path, [thing()], filename="a.tif")  # a.png is its preview
    picture(root / "JPEGImages" / "a.tif", level=7)
    data = read_boxes(tmp_path)
    assert [(p.source.name, len(p.boxes)) for p in data.pictures] == [("a.tif", 1)]


def test_voc_in_folders_takes_the_picture_of_the_same_folder(tmp_path: Path):
    root = voc(tmp_path, [thing()])
    picture(root / "JPEGImages" / "sub" / "a.png", level=7)
    (root / "Annotations" / "sub").mkdir()
    text = (root / "Annotations" / "a.xml").read_text()
    (root / "Annotations" / "sub" / "a.xml").write_text(text)
    assert _places(tmp_path) == [("JPEGImages/a.png", "", 1), ("JPEGImages/sub/a.png", "", 1)]


def test_a_name_too_long_for_a_file_is_no_file(tmp_path: Path):
    root = voc(tmp_path, [thing()])
    text = f"<annotation><filename>{'b' * 3000}.png</filename>{thing()}</annotation>"
    (root / "Annotations" / "b.xml").write_text(text)
    data = read_boxes(tmp_path)
    assert (data.found, data.used, data.refused) == (2, 1, 1)


def _in_splits(folder: Path, files: dict[str, str]) -> None:
    """Annotation files, each of a picture of the same name in the folder that it is given."""
    for number, (file, place) in enumerate(files.items()):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        coco(folder, [row()]).rename(folder / file)
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / "a.png").unlink()
        picture(folder / place / "a.png", level=number)


@pytest.mark.parametrize(
    "files",
    [
        {
            "annotations/instances_train2017.json": "train2017",
            "annotations/instances_val2017.json": "val2017",
        },
        {"train.json": "train", "val.json": "valid"},
        {"annotations/train.json": "images/train", "annotations/val.json": "images/val"},
        {"train/_annotations.coco.json": "train", "valid/_annotations.coco.json": "valid"},
        {"birds_train.json": "images/birds_train", "birds_val.json": "images/birds_val"},
    ],
    ids=["official", "beside", "images", "in the folders", "called alike"],
)
def test_coco_with_bare_names(tmp_path: Path, files: dict[str, str]):
    _in_splits(tmp_path, files)
    found = [(f"{place}/a.png", 1) for place in files.values()]
    places = _places(tmp_path)
    assert [(id_, boxes) for id_, _, boxes in places] == found
    assert [split for _, split, _ in places] == ["train", "valid"]
    first = next(iter(files))
    (only,) = read_boxes(str(tmp_path / first)).pictures  # one file alone
    assert only.source == tmp_path / files[first] / "a.png"


def test_coco_s_captions_and_keypoints_are_not_read(tmp_path: Path):
    inner = tmp_path / "annotations"
    _in_splits(tmp_path, {"annotations/instances_val2017.json": "val2017"})
    (inner / "captions_val2017.json").write_text('{"images": [], "annotations": []}')
    data = read_boxes(tmp_path)
    assert (data.used, data.refused) == (1, 0)
    assert [p.where for p in data.problems if p.kind == "other-json"] == [
        "annotations/captions_val2017.json"
    ]


def test_coco_s_own_files_are_not_read_beside_others_of_boxes(tmp_path: Path):
    """Keypoints have the boxes of people once more, captions have no categories."""
    inner = tmp_path / "annotations"
    _in_splits(tmp_path, {"annotations/train.json": "train", "annotations/val.json": "val"})
    content = (inner / "train.json").read_text()
    (inner / "person_keypoints_train.json").write_text(content.replace("tree", "person"))
    (inner / "captions_val.json").write_text('{"images": [], "annotations": []}')
    data = read_boxes(tmp_path)
    assert (data.used, data.refused, data.categories) == (2, 0, ("tree",))
    assert [p.where for p in data.problems if p.kind == "other-json"] == [
        "annotations/captions_val.json, annotations/person_keypoints_train.json"
    ]
    for file in ("train.json", "val.json"):
        (inner / file).unlink()
    data = read_boxes(tmp_path)  # without others, the boxes of people are read
    assert (data.used, data.categories) == (1, ("person",))
    assert [p.where for p in data.problems if p.kind == "other-json"] == [
        "annotations/captions_val.json"
    ]


def test_json_that_is_not_read_is_named(tmp_path: Path):
    files = {"annotations/Instances_Train.JSON": "train", "annotations/instances_val.json": "val"}
    _in_splits(tmp_path, files)
    inner = tmp_path / "annotations"
    (inner / "instances_test.json").write_text('{"images": [')
    (tmp_path / "train" / "_annotations.coco.json").write_text(
        (inner / "instances_val.json").read_text()
    )
    data = read_boxes(tmp_path)
    assert [p.split for p in data.pictures] == ["train", "valid"]
    problems = sorted(
        (p for p in data.problems if p.kind == "other-json"), key=lambda problem: problem.where
    )
    assert [(p.where, p.done) for p in problems] == [
        ("annotations/instances_test.json", "not read"),
        ("train/_annotations.coco.json", "not read"),
    ]
    assert problems[0].what == "JSON without the lists images and annotations."
    assert "in annotations/Instances_Train.JSON, annotations/inst" in problems[1].what


def test_json_that_may_not_be_read_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Wherever it lies: it may have the boxes that are missed."""
    _in_splits(tmp_path, {"annotations/train.json": "train"})
    (tmp_path / "val.json").write_text("{" + " " * 2000 + "}")
    (tmp_path / "annotations" / "test.json").write_text("{}")
    opened = Path.open

    def closed(self: Path, *args: Any, **more: Any) -> Any:
        if self.name == "test.json":  # root may read everything
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(self, *args, **more)

    monkeypatch.setattr(Path, "open", closed)
    monkeypatch.setattr("regraft.dataset.guard.MAX_BYTES", 2000)
    problems = [p for p in read_boxes(tmp_path).problems if p.kind == "other-json"]
    assert [(p.where, p.what) for p in problems] == [
        ("val.json", "JSON larger than 512 MiB."),
        ("annotations/test.json", "JSON that cannot be read."),
    ]


def test_json_of_other_programs_beside_coco_s_folder_is_no_problem(tmp_path: Path):
    """Such as a file of LabelMe's for each picture; in the folder that is read, it is one."""
    _in_splits(tmp_path, {"annotations/instances_train.json": "train"})
    for place in (tmp_path, tmp_path / "annotations"):
        for number in range(5):
            (place / f"{number}.json").write_text('{"shapes": []}')
    (only,) = (p for p in read_boxes(tmp_path).problems if p.kind == "other-json")
    assert only.where == "annotations/0.json, annotations/1.json, annotations/2.json and 2 more"


def test_a_name_that_begins_like_one_of_coco_s_own_is_another(tmp_path: Path):
    _in_splits(tmp_path, {"stuffed_animals_train.json": "train", "toys_val.json": "val"})
    data = read_boxes(tmp_path)
    assert [p.split for p in data.pictures] == ["train", "valid"]
    assert "other-json" not in {p.kind for p in data.problems}


def test_the_split_of_a_file_that_is_called_for_one_counts(tmp_path: Path):
    """Whatever a file of all pictures is called; COCO has instances_trainval…json, too."""
    _in_splits(tmp_path, {"all_boxes.json": "train", "b_train.json": "train", "c_val.json": "val"})
    one, other = (json.loads((tmp_path / f).read_text()) for f in ("b_train.json", "c_val.json"))
    for image in other["images"]:
        image["id"] += 1
    for annotation in other["annotations"]:
        annotation["image_id"] += 1
    whole = {part: one[part] + other[part] for part in ("images", "annotations")}
    whole["images"][1]["file_name"], whole["images"][0]["file_name"] = "val/a.png", "train/a.png"
    (tmp_path / "all_boxes.json").write_text(json.dumps(whole | {"categories": one["categories"]}))
    data = read_boxes(tmp_path)
    assert [(p.id, p.split) for p in data.pictures] == [
        ("train/a.png", "train"),
        ("val/a.png", "valid"),
    ]
    assert "two-splits" not in {p.kind for p in data.problems}


def test_a_picture_that_is_missing_is_told_where_it_was_looked_for(tmp_path: Path):
    _in_splits(tmp_path, {"annotations/instances_train2017.json": "train2017"})
    (tmp_path / "train2017" / "a.png").rename(tmp_path / "train2017" / "A.png")
    with pytest.raises(DataError) as caught:
        read_boxes(tmp_path)
    assert "looked for in annotations/, train2017/, the data's folder." in caught.value.what
    assert "There is A.png: upper and lower case differ." in caught.value.what
    assert "upper and lower case count" in caught.value.mend


@pytest.mark.parametrize(
    ("name", "hint"), [("C:\\x\\b.png", "has backslashes"), ("b.png", "There is no such file.")]
)
def test_why_a_picture_may_be_missing(tmp_path: Path, name: str, hint: str):
    file = coco(tmp_path, [row()], images=[{"id": 1, "file_name": name}])
    with pytest.raises(DataError, match=hint):
        read_boxes(file)


def test_what_helps_where_no_box_can_be_used(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        read_boxes(coco(tmp_path, [row((1, 2, 0, 3))] * 5))
    assert caught.value.mend.startswith("mend these boxes")
    assert "And " in caught.value.what
    with pytest.raises(DataError) as caught:
        read_boxes(coco(tmp_path, []))
    assert caught.value.mend == "draw a box around at least one object"

    with pytest.raises(DataError) as caught:
        read_boxes(yolo(tmp_path / "yolo", [LINE], "train: nowhere\nnames: [tree]\n"))
    assert "train and val" in caught.value.mend


@pytest.mark.parametrize("place", [".", "labels"])
def test_yolo_without_data_yaml_has_its_names_in_classes_txt(tmp_path: Path, place: str):
    """As Label Studio and LabelImg write it."""
    yolo(tmp_path, ["0 0.5 0.5 0.2 0.2", "1 0.2 0.2 0.1 0.1"])
    (tmp_path / "data.yaml").unlink()
    (tmp_path / place / "classes.txt").write_text("tree\ncar\n\n")
    data = read_boxes(tmp_path)
    assert (data.format, data.categories, data.used) == ("yolo", ("car", "tree"), 2)
    assert [picture.split for picture in data.pictures] == [""]
    assert not data.problems


def test_yolo_without_data_yaml_may_be_split(tmp_path: Path):
    for level, split in enumerate(("train", "val")):
        picture(tmp_path / "images" / split / f"{split}.png", level=40 + 40 * level)
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / f"{split}.txt").write_text("0 0.5 0.5 0.2 0.2")
    (tmp_path / "classes.txt").write_text("tree")
    assert [p.split for p in read_boxes(tmp_path).pictures] == ["train", "valid"]


def test_labels_of_yolo_beside_another_format_do_not_hide_it(tmp_path: Path):
    yolo(tmp_path, ["0 0.5 0.5 0.2 0.2"])
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "Annotations").mkdir()
    text = f"<annotation><filename>a.png</filename>{thing()}</annotation>"
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    picture(tmp_path / "JPEGImages" / "a.png")
    assert read_boxes(tmp_path).format == "voc"


def test_yolo_without_data_yaml_takes_nothing_halfway(tmp_path: Path):
    yolo(tmp_path, ["0 0.5 0.5 0.2 0.2"])
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("tree\n\ncar\n")
    with pytest.raises(DataError, match="no name") as raised:
        read_boxes(tmp_path)
    assert raised.value.where == "classes.txt:2"
    (tmp_path / "classes.txt").write_text("tree")
    picture(tmp_path / "images" / "train" / "b.png")
    with pytest.raises(DataError, match=r"a\.png lies beside the folders of the splits"):
        read_boxes(tmp_path)


def test_yolo_without_names_says_what_is_missing(tmp_path: Path):
    yolo(tmp_path, ["0 0.5 0.5 0.2 0.2"])
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DataError, match="neither a data.yaml nor a classes.txt"):
        read_boxes(tmp_path)
    (tmp_path / "classes.txt").write_text("\n")
    with pytest.raises(DataError, match="classes.txt names no categories"):
        read_boxes(tmp_path)


LINE = "0 0.5 0.5 0.2 0.2"


def _beside(folder: Path, *names: str) -> None:
    """Pictures, each with a label file beside it."""
    for level, name in enumerate(names):
        picture(folder / name, level=40 * level + 10)
        (folder / name).with_suffix(".txt").write_text(LINE)


def _kinds(path: Path) -> list[str]:
    kinds = [problem.kind for problem in read_boxes(path).problems]
    return [kind for kind in kinds if kind != "empty-category"]


def test_yolo_1_1_of_cvat_is_read(tmp_path: Path):
    _beside(tmp_path, "obj_Train_data/a.png", "obj_Validation_data/a.png")
    (tmp_path / "obj.names").write_text("tree\n")
    (tmp_path / "obj.data").write_text("classes = 1\nTrain = data/Train.txt\nbackup = backup/\n")
    for name in ("Train", "Validation"):
        (tmp_path / f"{name}.txt").write_text(f"data/obj_{name}_data/a.png\n")
    assert dataset.guess_task(tmp_path) == "object-detection"
    assert _places(tmp_path) == [
        ("obj_Train_data/a.png", "train", 1),
        ("obj_Validation_data/a.png", "valid", 1),
    ]
    assert _kinds(tmp_path) == ["other-place"] * 2
    (tmp_path / "obj.names").unlink()
    with pytest.raises(DataError, match=r"no obj\.names"):
        read_boxes(tmp_path)


def test_labels_beside_pictures_are_boxes_and_need_names(tmp_path: Path):
    """As LabelImg writes them; two folders would be taken for classes."""
    _beside(tmp_path, "one/a.png", "images/b.png")
    assert dataset.guess_task(tmp_path) == "object-detection"
    with pytest.raises(DataError, match="nothing names the categories"):
        dataset.read(tmp_path)
    (tmp_path / "images").rename(tmp_path / "two")
    (tmp_path / "classes.txt").write_text("tree\n")
    assert _places(tmp_path) == [("one/a.png", "", 1), ("two/b.png", "", 1)]
    assert not _kinds(tmp_path)


def test_captions_beside_pictures_are_no_boxes(tmp_path: Path):
    for name in ("a", "b"):
        picture(tmp_path / name / "1.png")
        (tmp_path / name / "1.txt").write_text("A photo of a tree.\n")
    assert dataset.guess_task(tmp_path) == "image-classification"


def test_splits_above_images_and_labels_without_data_yaml(tmp_path: Path):
    """As Roboflow and Ultralytics have it, the data.yaml lost."""
    for level, split in enumerate(("train", "valid")):
        picture(tmp_path / split / "Images" / f"{split}.png", level=40 + 40 * level)
        (tmp_path / split / "Labels").mkdir()
        (tmp_path / split / "Labels" / f"{split}.txt").write_text(LINE)
    assert dataset.guess_task(tmp_path) == "object-detection"
    with pytest.raises(DataError, match="nothing names the categories"):
        dataset.read(tmp_path)
    (tmp_path / "classes.txt").write_text("tree\n")
    assert _places(tmp_path) == [
        ("train/Images/train.png", "train", 1),
        ("valid/Images/valid.png", "valid", 1),
    ]


@pytest.mark.parametrize(
    ("train", "kinds"),
    [
        ("images", []),
        ("/kaggle/input/set/images", ["other-place"]),
        ("list.txt", ["other-place"]),
    ],
)
def test_paths_of_another_computer_in_yolo(tmp_path: Path, train: str, kinds: list[str]):
    yolo(tmp_path, [LINE], f'Train: {train}\nnames: {{"0": tree}}\n')
    (tmp_path / "list.txt").write_text("/home/anna/set/images/a.png\n")
    assert _places(tmp_path) == [("images/a.png", "train", 1)]
    assert _kinds(tmp_path) == kinds


@pytest.mark.parametrize(
    "name",
    ["..\\..\\label-studio\\upload\\4\\a.png", "images/1/a.png", "/home/anna/a.png", "x/a.png"],
)
def test_pictures_of_coco_none_of_which_is_in_its_place(tmp_path: Path, name: str):
    file = coco(tmp_path, [row()], images=[{"id": 1, "file_name": name}])
    (tmp_path / "data").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "data" / "a.png")
    assert _places(file) == [("data/a.png", "", 1)]
    assert _kinds(file) == ["other-place"]


def test_a_picture_that_predict_drew_on_is_not_taken_for_the_one_it_shows(tmp_path: Path):
    file = coco(tmp_path, [row()])
    (tmp_path / "drawn" / "photos").mkdir(parents=True)
    (tmp_path / "a.png").rename(tmp_path / "drawn" / "photos" / "a.png")
    assert _places(file) == [("drawn/photos/a.png", "", 1)], "a folder of somebody's"
    list_place(tmp_path, "coco", draw=True)
    with pytest.raises(DataError, match="no box"):
        read_boxes(file)


def test_a_missing_picture_is_not_taken_for_another_of_its_name(tmp_path: Path):
    images = [{"id": 1, "file_name": "one/a.png"}, {"id": 2, "file_name": "two/a.png"}]
    file = coco(tmp_path, [row(), row(id_=2, image_id=2)], images=images)
    (tmp_path / "one").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "one" / "a.png")
    data = read_boxes(file)
    assert (data.found, data.used, data.refused) == (2, 1, 1)
    assert _kinds(file) == ["missing", "no-picture"]
    (tmp_path / "one").rename(tmp_path / "three")  # may be either
    with pytest.raises(DataError, match="no box"):
        read_boxes(file)


def test_many_folders_with_a_picture_of_one_name_are_told_apart_at_once(tmp_path: Path):
    for at in range(1500):
        (tmp_path / f"s{at}").mkdir()
        (tmp_path / f"s{at}" / "rgb.png").touch()
    names = [f"C:\\set\\s{at}\\rgb.png" for at in range(1500)]
    begun_s = time.process_time()
    into = Collector(tmp_path, tmp_path, "csv")
    found = found_elsewhere(into, tmp_path, names, "boxes.csv")
    assert time.process_time() - begun_s < 2
    assert found == {name: tmp_path / f"s{at}" / "rgb.png" for at, name in enumerate(names)}


def test_cvat_s_own_xml_is_told_what_to_export(tmp_path: Path):
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "annotations.xml").write_text("<annotations><version>1.1</version></annotations>")
    for path in (tmp_path, tmp_path / "annotations.xml"):
        assert dataset.guess_task(path) == "object-detection"
        with pytest.raises(DataError, match="CVAT's own XML") as raised:
            read_boxes(path)
        assert "Pascal VOC 1.1" in raised.value.mend


def test_one_file_of_voc_leads_to_its_folder(tmp_path: Path):
    with pytest.raises(DataError, match="annotation of one picture") as raised:
        dataset.read(voc(tmp_path, [thing()]) / "Annotations" / "a.xml")
    assert "give the folder" in raised.value.mend


def test_via_s_own_json_is_told_what_to_export(tmp_path: Path):
    file = tmp_path / "via.json"
    file.write_text('{"a.png77": {"filename": "a.png", "size": 77, "regions": []}}')
    with pytest.raises(DataError, match="VGG Image Annotator") as raised:
        read_boxes(file)
    assert "COCO" in raised.value.mend


def test_a_path_that_is_no_boxes_is_shown_on_one_line(tmp_path: Path):
    with pytest.raises(DataError, match="no such file") as raised:
        read_boxes(tmp_path / "a\x1b\nb")
    assert raised.value.where == f"{tmp_path}/a\\x1b\\nb"


def test_a_table_that_is_damaged_is_said_to_be_so(tmp_path: Path):
    (tmp_path / "boxes.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="The table cannot be read"):
        read_boxes(tmp_path / "boxes.parquet")


def test_folders_of_classes_may_be_called_images_and_labels(tmp_path: Path):
    """Pictures of stickers, say."""
    for name in ("images", "labels"):
        picture(tmp_path / name / "a.png")
    assert dataset.guess_task(tmp_path) == "image-classification"


def test_an_array_of_texts_is_told_how_to_become_lines(tmp_path: Path):
    file = tmp_path / "texts.json"
    file.write_text('[{"text": "hello", "label": "a"}]')
    with pytest.raises(DataError) as raised:
        dataset.read(file)
    assert "jq -c" in raised.value.mend


@pytest.mark.parametrize(
    ("head", "edges"),
    [
        ("image_path,class,x1,y1,x2,y2", "5,6,15,26"),
        ("filename,label,x_min,y_min,x_max,y_max", "5,6,15,26"),
        ("image,label,bbox_x1,bbox_y1,bbox_x2,bbox_y2", "5,6,15,26"),
        ("path,category,x0,y0,x1,y1", "5,6,15,26"),
        ("path,category,xtl,ytl,xbr,ybr", "5,6,15,26"),
        ("path,category,minx,miny,maxx,maxy", "5,6,15,26"),
        ("path,category,left,top,width,height", "5,6,10,20"),
        ("path,category,bbox_left,bbox_top,w,h", "5,6,10,20"),
        ("path,category,x1,y1,x2,y2,xbox_1", "5,6,15,26,7"),
    ],
)
def test_edges_in_a_table_have_several_names(tmp_path: Path, head: str, edges: str):
    lines = [f"a.png,tree,{edges}", "a.png" + "," * head.count(",")]
    found = read_boxes(table(tmp_path, lines, head))
    ((box,),) = [picture.boxes for picture in found.pictures]
    assert (box.left, box.top, box.right, box.bottom) == (5, 6, 15, 26)


def test_a_middle_is_not_taken_for_a_corner(tmp_path: Path):
    path = table(tmp_path, ["a.png,tree,5,6,10,20"], "path,label,bbox_x,bbox_y,bbox_w,bbox_h")
    with pytest.raises(DataError, match="call them left and top"):
        dataset.read(path)


@pytest.mark.parametrize(
    ("head", "line", "message"),
    [
        ("image_path,geometry,label", 'a.png,"POLYGON ((1 2, 9 2, 1 2))",tree', "in one column"),
        ("image_id,width,height,bbox", 'a.png,40,30,"[1.0, 2, 9, 8]"', "in one column, 'bbox'"),
        ("filename,region_shape_attributes", "a.png,{}", "VIA"),
        ("image,label,x_center,y_center,width,height", "a.png,tree,5,6,10,20", "no columns 'left'"),
        (
            "path,class_name,class,x1,y1,x2,y2",
            "a.png,tree,0,5,6,15,26",
            "Several columns are read as 'category': class_name, class",
        ),
        (
            "path,label,left,top,bbox_width,bbox_height,width,height",
            "a.png,tree,5,6,10,20,40,30",
            "read as 'width': bbox_width, width",
        ),
        (f"path,label,left,top,right,bottom,{'x' * 140_000}", "", "This is no CSV"),
    ],
)
def test_tables_of_boxes_in_other_forms_are_refused_as_such(tmp_path, head, line, message):
    path = table(tmp_path, [line], head)
    assert dataset.guess_task(path) == "object-detection"
    with pytest.raises(DataError, match=message):
        dataset.read(path)


def test_a_folder_may_have_a_table_of_boxes_of_another_name(tmp_path: Path):
    table(tmp_path, ["a.png,1,2,11,12,tree"]).rename(tmp_path / "annotations.csv")
    scored = "path,category,left,top,right,bottom,score\na.png,tree,1,2,11,12,0.5\n"
    (tmp_path / "predictions.csv").write_text(scored)
    assert _places(tmp_path) == [("a.png", "", 1)]
    table(tmp_path, []).rename(tmp_path / "more.csv")
    assert dataset.guess_task(tmp_path) == "object-detection"
    with pytest.raises(DataError, match="several tables of boxes: annotations.csv, more.csv"):
        dataset.read(tmp_path)


@pytest.mark.parametrize("kind", ["tsv", "parquet", "jsonl"])
def test_a_table_of_boxes_may_be_written_in_other_formats(tmp_path: Path, kind: str):
    lines = ["a.png,1,2,11,12.5,tree", "b.png,,,,,", "a.png,30,2,12,12,car"]
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    wanted = read_boxes(table(tmp_path, lines))
    frame = pandas.read_csv(tmp_path / "boxes.csv")
    (tmp_path / "boxes.csv").unlink()
    path = tmp_path / f"all.{kind}"
    if kind == "tsv":
        frame.to_csv(path, sep="\t", index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    for place in (path, tmp_path):
        found = read_boxes(place)
        assert (found.pictures, found.categories) == (wanted.pictures, wanted.categories)
        assert (found.used, found.mended) == (wanted.used, wanted.mended) == (2, 1)
        assert [p.what for p in found.problems] == [p.what for p in wanted.problems]


_BOX = {"path": "a.png", "category": "tree", "left": 1, "top": 2, "right": 11, "bottom": 12}


def _json_lines(folder: Path, *rows: dict[str, object]) -> Path:
    for name in "ab":
        picture(folder / f"{name}.png")
    path = folder / "all.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(text.encode("latin-1"))
    return path


def test_the_first_of_json_lines_may_be_a_picture_without_boxes(tmp_path: Path):
    path = _json_lines(tmp_path, {"path": "b.png"}, _BOX)
    assert dataset.guess_task(path) == dataset.guess_task(tmp_path) == "object-detection"
    assert _places(path) == [("a.png", "", 1), ("b.png", "", 0)]


def test_a_guessed_encoding_of_json_lines_is_said(tmp_path: Path):
    data = read_boxes(_json_lines(tmp_path, _BOX | {"category": "café"}))
    assert data.categories == ("café",)
    said = [(p.kind, p.where, p.done) for p in data.problems]
    assert said == [("encoding", "all.jsonl", "read as Windows-1252")]


@pytest.mark.parametrize(
    ("column", "value"), [("category", {"name": "cat"}), ("category", ["cat", "dog"]), ("top", [2])]
)
def test_a_list_or_an_object_is_no_value_of_a_box(tmp_path: Path, column: str, value: object):
    data = read_boxes(_json_lines(tmp_path, _BOX, _BOX | {column: value, "path": "b.png"}))
    assert (data.categories, data.used, data.refused) == (("tree",), 1, 1)
    said = [(p.kind, p.where) for p in data.problems]
    assert said == [("not-one-value", "all.jsonl:2"), ("no-box-left", "b.png")]
    assert f"in {column!r}" in data.problems[0].what


def test_a_list_or_an_object_names_no_picture(tmp_path: Path):
    data = read_boxes(_json_lines(tmp_path, _BOX, _BOX | {"path": ["a.png"]}, _BOX | {"more": [1]}))
    said = [(p.kind, p.where) for p in data.problems]
    assert said == [("no-picture", "all.jsonl:2"), ("duplicate-box", "all.jsonl:3")]


def test_a_column_of_boxes_that_parquet_has_as_bytes_is_refused_as_such(tmp_path: Path):
    picture(tmp_path / "a.png")
    frame = pandas.DataFrame([_BOX | {"category": b"tree"}])
    frame.rename(columns={"category": "label"}).to_parquet(tmp_path / "all.parquet")
    with pytest.raises(DataError, match="Column label is of type binary, no text"):
        read_boxes(tmp_path)
    frame["label"] = "tree"
    frame.to_parquet(tmp_path / "all.parquet")
    assert read_boxes(tmp_path).categories == ("tree",)


def test_each_split_may_have_a_table(tmp_path: Path):
    """As Roboflow's export for TensorFlow has it."""
    for level, split in enumerate(("train", "valid")):
        folder = tmp_path / split
        table(folder.parent, ["a.png,1,2,11,12,tree"])
        folder.mkdir()
        picture(folder / "a.png", level=30 + 60 * level)
        (tmp_path / "boxes.csv").rename(folder / "_annotations.csv")
    (tmp_path / "a.png").unlink()
    assert _places(tmp_path) == [("train/a.png", "train", 1), ("valid/a.png", "valid", 1)]


def test_files_of_coco_about_the_same_pictures_may_be_several_people_s(tmp_path: Path):
    for person, left in (("ann", 1), ("ben", 20)):
        coco(tmp_path, [row((left, 2, 10, 10))]).rename(tmp_path / f"{person}.json")
    data = read_boxes(tmp_path)
    (found,) = [one for one in data.problems if one.kind == "same-pictures"]
    assert found.where == "ann.json, ben.json" and "1 picture is in several" in found.what
    assert "`regraft labels`" in found.what and len(data.pictures[0].boxes) == 2
    (tmp_path / "ben.json").unlink()
    assert "same-pictures" not in [one.kind for one in read_boxes(tmp_path).problems]
