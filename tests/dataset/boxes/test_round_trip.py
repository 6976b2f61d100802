"""Between the formats nothing is lost: pictures, splits, categories, boxes to the last bit."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made import (
    coco,
    label_studio,
    picture,
    rectangle,
    row,
    table,
    task,
    thing,
    voc,
    yolo,
)
from PIL import Image

from regraft.dataset.boxes import FORMATS, check_box_format, convert_boxes, read_boxes
from regraft.dataset.boxes.check import same_boxes
from regraft.dataset.boxes.samples import rows_of
from regraft.dataset.boxes.tiles import seen
from regraft.errors import ContractBroken, DataError, UsageError
from regraft.tasks.boxes import BoxTargets

NAMES = [form.name for form in FORMATS]
GOOD = "0 0.25 0.25 0.25 0.25"
EXAMPLES = int(os.environ.get("REGRAFT_EXAMPLES", "20"))
"""As many data sets are made up; more find more."""
SIZES = [(40, 30), (7, 5), (1333, 800)]
PLACES = [
    # Those that formats use themselves, and others; all in folders; folders called as splits are.
    ("images/train/a.png", "b c.png", "JPEGImages/ü.jpg"),
    ("deep/er/a.png", "deep/a.png", "other/a.jpg"),
    ("train/a.png", "val/a.png", "Annotations/x/b.png"),
    ("images/a.png", "a.png", "x/images/c.png"),
    ("=1/a.png", "-a.png", "@/c.png"),
]

edge = st.one_of(st.floats(-2, 1400), st.integers(-2, 1400), st.floats(0, 1))
box = st.tuples(
    st.sampled_from([0, 1, 2]),
    edge,
    edge,
    edge,
    edge,
    st.sampled_from(
        ["tree", "Bäume & <b>", "car, red", "yes", "3", 'a "b"', "a\\b", " x: y ", "=1", "'-a"]
    ),
    st.booleans(),
)
splits = st.tuples(*[st.sampled_from(["", "train", "valid", "test"])] * 3)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(boxes=st.lists(box, min_size=1, max_size=12), split=splits, places=st.sampled_from(PLACES))
def test_through_all_formats_and_back(
    tmp_path_factory: pytest.TempPathFactory, boxes, split, places
):
    place = tmp_path_factory.mktemp("boxes")
    folder = place / "data"
    folder.mkdir()
    with (folder / "boxes.csv").open("w", newline="") as file:
        import csv

        rows = csv.writer(file)
        rows.writerow("path,left,top,right,bottom,category,crowd,split".split(","))
        for number, size in enumerate(SIZES):
            name = places[number]
            picture(folder / name, size, 60 * number)
            rows.writerow([name, "", "", "", "", "", "", split[number]])
            for at, *edges, category, crowd in boxes:
                if at == number:
                    rows.writerow([name, *edges, category, int(crowd), split[number]])
    try:
        first = read_boxes(folder)
    except DataError as fault:
        assert "no box that can be used" in str(fault)
        return
    assert first.found == len(boxes) == first.used + first.refused
    here = folder
    for number, name in enumerate([*NAMES, *reversed(NAMES)]):
        there = place / f"{number}-{name}"
        convert_boxes(here, there, name)
        back = read_boxes(there)
        assert same_boxes(first, back), name
        assert (back.found, back.mended, back.refused) == (first.used, 0, 0)
        here = there


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(NAMES, 2)))
def test_every_pair_with_splits_negatives_and_crowds(tmp_path: Path, one: str, other: str):
    lines = ["a.png,1.25,2,11.3,12,tree,1,train", "sub/a.png,3,4,30,29.1,car,0,valid"]
    lines += ["b.png,,,,,,,test", "sub/c.png,,,,,,,train"]
    for number, name in enumerate(("sub/a.png", "b.png", "sub/c.png")):
        picture(tmp_path / "data" / name, level=50 * number)
    path = table(tmp_path / "data", lines, "path,left,top,right,bottom,category,crowd,split")
    data = convert_boxes(path, tmp_path / "one", one)
    convert_boxes(tmp_path / "one", tmp_path / "other", other)
    back = read_boxes(tmp_path / "other")
    assert back.format == other
    assert same_boxes(data, back)
    assert sorted(p.split for p in back.pictures) == ["test", "train", "train", "valid"]
    assert sum(not p.boxes for p in back.pictures) == 2
    assert [b.crowd for p in back.pictures for b in p.boxes].count(True) == 1


@pytest.mark.parametrize("name", ["coco", "yolo"])
def test_a_category_that_nobody_drew_is_kept_where_categories_are_listed(tmp_path: Path, name: str):
    coco(tmp_path / "data", [row()])
    for data in (
        convert_boxes(tmp_path / "data", tmp_path / "out", name),
        read_boxes(tmp_path / "out"),
    ):
        assert (data.categories, data.unused) == (("tree",), ("car",))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "pictures", [("a.bmp", "a.png"), (" a.png", "b.png"), (" a.bmp", "a.bmp")], ids=str
)
def test_names_that_differ_little(tmp_path: Path, name: str, pictures: tuple[str, str]):
    if name == "yolo" and "a.bmp" == pictures[0]:
        pytest.skip("YOLO has one label file for both, and says so")
    for number, file in enumerate(pictures):
        picture(tmp_path / "data" / file, level=50 * number)
    size = {"width": 40, "height": 30}
    images = [{"id": i, "file_name": file, **size} for i, file in enumerate(pictures)]
    boxes = [row((1 + i, 2, 10, 10), i, image_id=i) for i in range(2)]
    data = convert_boxes(coco(tmp_path / "data", boxes, images), tmp_path / "out", name)
    back = read_boxes(tmp_path / "out")
    assert same_boxes(data, back)
    assert len({picture.source for picture in back.pictures}) == 2


@pytest.mark.parametrize("name", NAMES)
def test_names_that_end_in_a_number_stay_on_their_side_of_the_split(tmp_path: Path, name: str):
    lines = []
    for number, (picture_, split) in enumerate(
        [("photo.png", "train"), ("photo 1.png", "valid"), ("photo -1.png", "test")]
    ):
        picture(tmp_path / "data" / picture_, level=50 * number)
        lines.append(f"{picture_},1,2,11,12,tree,{split}")
    table(tmp_path / "data", lines, "path,left,top,right,bottom,category,split")
    (tmp_path / "data" / "a.png").unlink()
    data = convert_boxes(tmp_path / "data", tmp_path / "out", name)
    assert same_boxes(data, read_boxes(tmp_path / "out"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("splits", [("train", "valid"), ("", "")])
def test_pictures_that_all_lie_in_folders(tmp_path: Path, name: str, splits: tuple[str, str]):
    rows = list(zip(("train/deep/a.png", "valid/a.png"), splits, strict=True))
    for number, (path, _) in enumerate(rows):
        picture(tmp_path / "data" / path, level=50 * number)
    lines = [f"{path},1,2,11,12,tree,{split}" for path, split in rows]
    table(tmp_path / "data", lines, "path,left,top,right,bottom,category,split")
    (tmp_path / "data" / "a.png").unlink()
    data = convert_boxes(tmp_path / "data", tmp_path / "out", name)
    back = read_boxes(tmp_path / "out")
    assert same_boxes(data, back)
    assert [p.split for p in back.pictures] == list(splits)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_one_name_in_two_splits(tmp_path: Path, name: str):
    data = yolo(tmp_path / "data", [GOOD], "train: images/train\nval: images/valid\nnames: [tree]")
    for split in ("train", "valid"):
        picture(data / "images" / split / "a.png", level=len(split))
    (data / "images" / "a.png").unlink()
    (data / "labels" / "train").mkdir()
    (data / "labels" / "a.txt").rename(data / "labels" / "train" / "a.txt")
    first = convert_boxes(data, tmp_path / "out", name)
    assert same_boxes(first, read_boxes(tmp_path / "out"))
    assert [p.split for p in first.pictures] == ["train", "valid"]


@pytest.mark.parametrize(
    ("form", "plant"),
    [
        ("coco", lambda folder: coco(folder, [row(), row((30, 2, 20, 5), 5), 7]).parent),
        ("yolo", lambda folder: yolo(folder, [GOOD, "1 1 0.5 0.2 0.2", "0 1", "0 20 15 10 8"])),
        ("voc", lambda folder: voc(folder, [thing(), thing(20, 3, 11, 12), thing("x")])),
        ("csv", lambda folder: table(folder, ["a.png,1,2,3,4,tree", "a.png,1", "b.png,1,2,3,4,x"])),
        ("label-studio", lambda folder: label_studio(folder, [task(rectangle(), {"type": "x"})])),
    ],
)
def test_every_format_keeps_the_contract(tmp_path: Path, form: str, plant):
    format_ = FORMATS[NAMES.index(form)]
    check_box_format(format_, plant(tmp_path))
    picture(tmp_path / "nobody.png")
    check_box_format(format_, plant(tmp_path))


def test_the_check_sees_a_format_that_loses_a_box(tmp_path: Path):
    from dataclasses import replace

    from regraft.dataset.boxes.table import TableReader

    class Loses:
        name = "csv"
        recognises = TableReader().recognises
        place = TableReader().place
        write = TableReader().write

        def read(self, path: Path):
            data = TableReader().read(path)
            return replace(data, pictures=(replace(data.pictures[0], boxes=()),))

    with pytest.raises(ContractBroken, match="found is used and refused"):
        check_box_format(Loses(), table(tmp_path, ["a.png,1,2,11,12,tree"]))


def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path, monkeypatch):
    path = table(tmp_path / "data", ["a.png,1,2,11,12,tree"])
    monkeypatch.setattr("shutil.copyfile", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert_boxes(path, tmp_path / "out", "voc")
    assert [file.name for file in tmp_path.iterdir()] == ["data"]


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path):
    picture(tmp_path / "data" / "a.jpg")
    path = table(tmp_path / "data", ["a.png,1,2,11,12,tree", "a.jpg,1,2,11,12,tree"])
    with pytest.raises(DataError, match="would share labels/a.txt"):
        convert_boxes(path, tmp_path / "yolo", "yolo")
    assert same_boxes(convert_boxes(path, tmp_path / "voc", "voc"), read_boxes(tmp_path / "voc"))
    Image.new("RGB", (40, 30)).save(tmp_path / "data" / "a\\b.png")
    path = table(tmp_path / "data", ["a\\b.png,1,2,11,12,tree"])
    with pytest.raises(DataError, match="no plain text"):
        convert_boxes(path, tmp_path / "csv", "csv")


def test_convert_refuses_a_full_folder_and_an_unknown_format(tmp_path: Path):
    file = coco(tmp_path, [row()])
    with pytest.raises(UsageError, match="not empty"):
        convert_boxes(file, tmp_path, "csv")
    with pytest.raises(UsageError, match="no format"):
        convert_boxes(file, tmp_path / "new", "xls")


def test_convert_writes_nothing_into_a_folder_that_it_reads(tmp_path: Path):
    file = coco(tmp_path / "data", [row()])
    (tmp_path / "link").symlink_to(file.parent, target_is_directory=True)
    (file.parent / "empty").mkdir()
    for out in ("data/new", "data/new/deep", "data/empty", "link/new"):
        with pytest.raises(UsageError, match="inside of the data"):
            convert_boxes(file.parent, tmp_path / out, "csv")
    assert sorted(path.name for path in file.parent.iterdir()) == ["a.png", "boxes.json", "empty"]
    convert_boxes(file, file.parent / "new", "csv")  # what is read is the file


def test_yolo_folders_as_others_write_them(tmp_path: Path):
    """Roboflow's: train/images beside train/labels, and a data.yaml that says ../train/images."""
    for split in ("train", "valid"):
        picture(tmp_path / split / "images" / "a.jpg", level=len(split))
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n0 0 0 1 0 1 1\n")
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['b', 'a']\n"
    )
    data = read_boxes(tmp_path)
    assert [(p.id, p.split, len(p.boxes)) for p in data.pictures] == [
        ("train/images/a.jpg", "train", 2),
        ("valid/images/a.jpg", "valid", 2),
    ]
    assert data.categories == ("a", "b")
    assert data.pictures[0].boxes[0].left == 10  # category 1 of the YAML is "a", the first here


def test_pascal_voc_beside_the_pictures(tmp_path: Path):
    """As LabelImg writes it: the XML next to its picture, `path` on somebody else's computer."""
    picture(tmp_path / "train" / "a.png")
    (tmp_path / "train" / "a.xml").write_text(
        "<annotation><folder>train</folder><filename>a.png</filename>"
        f"<path>/home/x/a.png</path>{thing(extra='<pose>Unspecified</pose>')}</annotation>"
    )
    (only,) = read_boxes(tmp_path).pictures
    assert (only.id, only.split) == ("train/a.png", "train")
    assert (only.boxes[0].left, only.boxes[0].right) == (1, 11)


def test_the_area_that_coco_gives_of_an_object_is_kept(tmp_path: Path):
    """Of a polygon it is less than that of the box around it, and sizes are told by it."""
    picture(tmp_path / "a.png")
    areas = (120.5, None, 0, "much", float("nan"))
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "categories": [{"id": 1, "name": "tree"}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1, "bbox": [k, 2, 20, 10], "area": area}
            for k, area in enumerate(areas)
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    (there,) = read_boxes(tmp_path / "boxes.json").pictures
    assert [box.area for box in there.boxes] == [120.5, None, None, None, None]
    rows = rows_of(read_boxes(tmp_path / "boxes.json"))
    (sample,) = rows
    assert BoxTargets.from_samples([sample]).area_k.tolist() == [120.5, 200, 200, 200, 200]
    bare = replace(sample, boxes=tuple(replace(box, area=None) for box in sample.boxes))
    assert rows.with_samples([bare]).fingerprint() == rows.fingerprint()
    half = seen(sample.boxes[0], (0, 2, 10, 12))
    assert half is not None and half.area == 60.25
    convert_boxes(tmp_path / "boxes.json", tmp_path / "out", "coco")
    (again,) = read_boxes(tmp_path / "out").pictures
    assert [box.area for box in again.boxes] == [120.5, 200, 200, 200, 200]
