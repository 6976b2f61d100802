"""What several people's boxes come to, where they hardly overlap."""

from __future__ import annotations

import csv

import pytest
from PIL import Image

import regraft
from regraft.dataset.boxes import Box, convert_boxes, read_boxes
from regraft.errors import DataError
from regraft.labelling import box_consensus
from regraft.labelling.box_agreement import NOTHING, Object, called
from regraft.reporting import labels_page

pytest.importorskip("cleanlab")


@pytest.fixture
def labelled(tmp_path):
    """Boxes of people on one picture, as (category, left, top), 30 px wide, given to `labels`.

    On another all draw the same, as nobody's file may be without a box.
    """

    def write(**people):
        for name in ("0.png", "agreed.png"):
            Image.new("RGB", (120, 80)).save(tmp_path / name)
        for person, boxes in people.items():
            with (tmp_path / f"{person}.csv").open("w", newline="") as file:
                table = csv.writer(file)
                table.writerow(["path", "category", "left", "top", "right", "bottom"])
                for category, left, top in boxes:
                    table.writerow(["0.png", category, left, top, left + 30, top + 30])
                if not boxes:
                    table.writerow(["0.png", *[""] * 5])
                table.writerow(["agreed.png", "bird", 10, 10, 40, 40])
        found = regraft.labels(tmp_path, out=tmp_path / "out")
        with (tmp_path / "out" / "consensus.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["path"] == "../0.png"]
        return found, [row for row in rows if row["category"]], rows

    return write


def test_an_object_that_two_people_placed_differently_is_in_the_table_once(labelled, tmp_path):
    found, there, rows = labelled(ann=[("cat", 10, 10)], ben=[("cat", 25, 20), ("dog", 80, 10)])
    cat, dog = sorted(there, key=lambda row: row["category"])
    assert [float(cat[edge]) for edge in ("left", "top", "right", "bottom")] == [17.5, 15, 47.5, 45]
    assert (cat["tied"], cat["chance"], cat["votes"]) == ("True", "1.0", "cat: 2")
    assert (dog["tied"], dog["left"]) == ("True", "80.0")
    (same,) = [row for row in found["consensus"]["labels"] if row["label"] == NOTHING]
    assert same["same_as"] == cat["sample"] and same["sample"] in [row["sample"] for row in rows]
    # It stays in doubt: they disagree, and it is said.
    assert found["consensus"]["ties"] == found["consensus"]["doubtful"]["samples"] == 3
    assert len(found["agreement"]["divided"]) == 3
    assert f"placed differently: {cat['sample']}." in found["caution"]
    assert "1 object is in the consensus though half of those who looked drew" in found["caution"]


def test_the_table_is_read_where_it_was_written_as_long_as_the_pictures_are_the_same(
    labelled, tmp_path
):
    labelled(ann=[("=cat", 10, 10)], ben=[("=cat", 10, 10)])
    table = tmp_path / "out" / "consensus.csv"
    read = read_boxes(table)
    assert (read.used, read.categories, read.problems) == (2, ("=cat", "bird"), ())
    assert [p.source for p in read.pictures] == [tmp_path / "0.png", tmp_path / "agreed.png"]
    convert_boxes(table, tmp_path / "coco", "coco")
    assert {"0.png", "agreed.png"} == {p.name for p in (tmp_path / "coco").rglob("*.png")}
    assert read_boxes(tmp_path / "coco").used == 2
    Image.new("RGB", (121, 80)).save(tmp_path / "0.png")
    read = read_boxes(table)
    assert [p.kind for p in read.problems] == ["changed", "no-picture"] and read.used == 1
    # Without the checksum it is a table like any other, which names nothing outside of its folder.
    table.write_text(table.read_text().replace("sha256", "else"))
    with pytest.raises(DataError, match="leaves the data's folder"):
        read_boxes(table)


def test_the_table_has_the_splits_of_the_pictures(tmp_path):
    header = "path,category,left,top,right,bottom,split"
    for n, name in enumerate(("a", "b", "c")):
        Image.new("RGB", (64, 48), (90 * n, 9, 9)).save(tmp_path / f"{name}.png")
    for person, split in (("ann", "test"), ("ben", "valid")):
        boxes = ("a.png,x,1,1,20,20,train", f"b.png,x,1,1,20,20,{split}", "c.png,,,,,,test")
        (tmp_path / f"{person}.csv").write_text("\n".join([header, *boxes]))
    for _ in range(2):  # the first is known to be of an earlier call
        found = regraft.labels(tmp_path, out=tmp_path / "out")
    read = read_boxes(tmp_path / "out" / "consensus.csv")
    assert [picture.split for picture in read.pictures] == ["train", "test", "test"]
    assert "1 picture is in another split with one person than with another" in found["caution"]
    assert found["caution"].endswith("the first one counts: b.png.")


def test_nothing_is_written_where_a_picture_is_gone(labelled, tmp_path):
    found, *_ = labelled(ann=[("cat", 10, 10)], ben=[("cat", 10, 10)])
    (tmp_path / "0.png").unlink()
    with pytest.raises(DataError, match="The picture was there, and is gone"):
        labels_page.write(tmp_path / "new", found)
    assert not (tmp_path / "new").exists()


def test_an_object_that_three_people_placed_differently_is_not_lost(labelled):
    found, (cat,), rows = labelled(
        ann=[("cat", 10, 10)], ben=[("cat", 25, 20)], cec=[("cat", 0, 22)]
    )
    assert len(rows) == 3 and float(cat["left"]) == pytest.approx(35 / 3, abs=0.01)
    assert (cat["chance"], cat["votes"]) == ("1.0", "cat: 3")
    assert found["consensus"]["doubtful"]["samples"] == 3


_PLACES = [(18, 18), (10, 10), (26, 10), (10, 26), (26, 26)]
"""Left and top of boxes of which each two overlap by a tenth or more, and none by half."""


@pytest.mark.parametrize(
    ("drew", "bare", "doubtful"),
    [
        ((1, 1), 2, 2),
        ((1, 1, 1), 2, 1),
        ((1, 1, 1, 1, 1), 5, 1),
        ((5, 4), 1, 2),
    ],
)
def test_what_people_placed_differently_is_in_doubt_with_the_votes_of_all(
    labelled, drew, bare, doubtful
):
    """`drew` people at each place, and `bare` who drew nothing."""
    at = [place for place, people in zip(_PLACES, drew, strict=False) for _ in range(people)]
    boxes = [[("cat", *place)] for place in at] + [[]] * bare
    people = {f"p{n}": drawn for n, drawn in enumerate(boxes)}
    found, (cat,), rows = labelled(**people)
    assert len(rows) == len(drew) and cat["tied"] == "True"
    assert float(cat["chance"]) == pytest.approx(len(at) / len(people), abs=1e-6)
    assert cat["votes"] == f"(nothing): {bare}, cat: {len(at)}"
    # It is counted among what is in doubt, and is above what is not.
    assert found["consensus"]["doubtful"]["samples"] == doubtful
    labels = found["consensus"]["labels"]
    assert cat["sample"] in [row["sample"] for row in labels[:doubtful]]
    assert found["consensus"]["ties"] == sum(row["tied"] for row in labels) > 0
    half = "1 object is in the consensus though half of those who looked drew nothing there"
    assert (half in found["caution"]) == (2 * len(at) == len(people))
    assert "placed differently" in found["caution"]


def test_what_is_taken_for_another_keeps_the_chance_that_a_model_gave_it():
    boxes = {name: Box(0, left, 10, left + 30, 40) for name, left in (("a", 10), ("b", 25))}
    found = [Object("0.png", {name: box}, ("a", "b", "c")) for name, box in boxes.items()]
    votes = {NOTHING: 2, "cat": 1}
    said = [(0.7, "cat"), (0.9, NOTHING)]
    rows = [
        {"sample": called(one, n), "label": label, "probability": p, "tied": False, "votes": votes}
        for n, (one, (p, label)) in enumerate(zip(found, said, strict=True))
    ]
    cat, other = box_consensus.settled({"labels": rows}, {}, found)["labels"]
    assert (cat["label"], cat["probability"], cat["votes"]) == (
        "cat",
        0.666667,
        {NOTHING: 1, "cat": 2},
    )
    assert (other["label"], other["probability"], other["same_as"]) == (NOTHING, 0.9, cat["sample"])


def test_a_row_of_objects_is_not_one_because_each_overlaps_the_next(labelled):
    _, (car,), _ = labelled(ann=[("car", 0, 10)], ben=[("car", 20, 10)], cec=[("car", 40, 10)])
    assert (car["left"], car["right"], car["votes"]) == ("10.0", "40.0", "(nothing): 1, car: 2")


def test_what_an_object_is_seen_as_is_asked_once_however_many_overlap(monkeypatch):
    asked = []
    monkeypatch.setattr(box_consensus, "_seen_as", lambda row: asked.append(row) or "cat")
    found = [Object("0.png", {"a": Box(0, n, 0, n + 300, 30)}, ("a", "b")) for n in range(50)]
    named = {called(one, n): one for n, one in enumerate(found)}
    assert list(box_consensus._drawn_apart(dict.fromkeys(named, {}), named)) == []
    assert len(asked) == len(found)


@pytest.mark.parametrize(
    ("ann", "ben"),
    [
        ([("cat", 10, 10)], [("dog", 25, 20)]),  # two things, or one: nobody knows which
        ([("cat", 10, 10), ("cat", 25, 20)], []),  # one person saw two
        ([("cat", 10, 10)], [("cat", 37, 10)]),  # side by side
    ],
)
def test_what_may_be_two_objects_is_in_the_table_twice(labelled, ann, ben):
    found, there, _ = labelled(ann=ann, ben=ben)
    assert len(there) == 2 and {row["tied"] for row in there} == {"True"}
    assert "2 objects are in the consensus though half" in found["caution"]
    assert "placed differently" not in found["caution"]


def test_what_one_of_five_drew_is_nothing_however_often(labelled):
    looked = dict.fromkeys(("cec", "dan", "eve"), ())
    found, there, rows = labelled(ann=[("cat", 10, 10)], ben=[("cat", 25, 20)], **looked)
    assert not there and len(rows) == 2 and not found["caution"]
