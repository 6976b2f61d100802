import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from regraft.dataset.boxes import convert_boxes, read_boxes
from regraft.errors import DataError, UsageError


def coco(folder, annotations, images=None):
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    content = {
        "images": images or [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "tree"}, {"id": 9, "name": "car"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder / "boxes.json"


def row(bbox=(1, 2, 10, 10), id_=1, **more):
    return {"id": id_, "image_id": 1, "category_id": 7, "bbox": list(bbox), **more}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (row((1, 2, 0, 5), 5), "zero-area"),
        (row((1, 2, -3, 5), 5), "zero-area"),
        (row((50, 2, 5, 5), 5), "box-outside"),
        (row((30, 2, 20, 5), 5), "box-over-edge"),
        (row((float("nan"), 2, 5, 5), 5), "not-finite"),
        (row(("x", 2, 5, 5), 5), "not-a-number"),
        (row((1, 2, 5), 5), "not-a-number"),
        (row(id_=5), "duplicate-box"),
        (row((3, 3, 5, 5), 1), "duplicate-id"),
        (row((3, 3, 5, 5), 5, image_id=4), "unknown-picture"),
        (row((), 5, segmentation=[[1, 1, 9, 1, 9, 8]]), "no-bbox"),
        (7, "not-an-object"),
    ],
)
def test_a_planted_fault_is_reported_where_it_is(tmp_path, fault, kind):
    data = read_boxes(coco(tmp_path, [row(), fault]))
    found = [p for p in data.problems if p.kind == kind]
    assert len(found) == 1
    assert found[0].where.startswith("boxes.json: annotation")
    assert data.found == data.used + data.refused == 2


def test_a_category_out_of_range_is_an_error_that_names_the_annotation(tmp_path):
    with pytest.raises(DataError, match="annotation 5: category_id 80"):
        read_boxes(coco(tmp_path, [row(), row(id_=5, category_id=80)]))


def test_deep_and_broken_json_are_refused(tmp_path):
    file = tmp_path / "deep.json"
    file.write_text("[" * 200_000)
    with pytest.raises(DataError):
        read_boxes(file)
    file.write_text('{"images":\n[}')
    with pytest.raises(DataError, match="deep.json:2"):
        read_boxes(file)


def test_a_missing_picture_and_one_outside_are_set_aside_with_their_boxes(tmp_path):
    inside = tmp_path / "data"
    inside.mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "out.png")
    images = [{"id": i, "file_name": n} for i, n in ((1, "a.png"), (2, "b.png"), (3, "../out.png"))]
    rows = [row(), row(id_=2, image_id=2), row(id_=3, image_id=3)]
    data = read_boxes(coco(inside, rows, images))
    assert [p.kind for p in data.problems if p.done == "set aside"] == ["missing", "outside"]
    assert (data.found, data.used, data.refused) == (3, 1, 2)


def test_csv_faults_name_the_line(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    file = tmp_path / "boxes.csv"
    lines = ["image_path,xmin,ymin,xmax,ymax,label", "a.png,1,1,9,9,tree", "a.png,9,1,3,9,tree"]
    lines += ["a.png,1,,9,9,tree", "a.png,1,1", "a.png,1,1,5,5,"]
    file.write_text("\n".join(lines))
    data = read_boxes(file)
    assert [(p.kind, p.where) for p in data.problems] == [
        ("swapped", "boxes.csv:3"),
        ("not-a-number", "boxes.csv:4"),
        ("wrong-columns", "boxes.csv:5"),
        ("no-category", "boxes.csv:6"),
    ]
    assert (data.found, data.used, data.mended, data.refused) == (5, 2, 1, 3)


edges = st.tuples(st.floats(0, 19), st.floats(0, 14), st.floats(0.5, 20), st.floats(0.5, 15))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(given=st.lists(st.tuples(edges, st.sampled_from([7, 9]), st.booleans()), min_size=1))
def test_round_trip_between_formats_loses_nothing(tmp_path_factory, given):
    folder = tmp_path_factory.mktemp("boxes")
    Image.new("RGB", (8, 8)).save(folder / "none.png")
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "none.png"}]
    rows = [row(b, i, category_id=c, iscrowd=int(crowd)) for i, (b, c, crowd) in enumerate(given)]
    data = convert_boxes(coco(folder, rows, images), folder / "csv", "csv")
    table = convert_boxes(folder / "csv" / "boxes.csv", folder / "coco", "coco")
    back = read_boxes(folder / "coco" / "boxes.json")
    assert table.categories == back.categories == data.categories
    for one, two, three in zip(data.pictures, table.pictures, back.pictures, strict=True):
        assert one.id == two.id == three.id
        assert one.boxes == two.boxes
        assert len(one.boxes) == len(three.boxes)
        for a, b in zip(one.boxes, three.boxes, strict=True):
            assert abs(a.right - b.right) < 1e-9
            assert abs(a.bottom - b.bottom) < 1e-9


def test_convert_refuses_a_full_folder_and_an_unknown_format(tmp_path):
    file = coco(tmp_path, [row()])
    with pytest.raises(UsageError, match="not empty"):
        convert_boxes(file, tmp_path, "csv")
    with pytest.raises(UsageError, match="no format"):
        convert_boxes(file, tmp_path / "new", "xls")
