"""What several people's boxes come to, where they hardly overlap."""

from __future__ import annotations

import csv

import pytest
from PIL import Image

import regraft
from regraft.dataset.boxes import read_boxes
from regraft.labelling.box_agreement import NOTHING

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
            rows = [row for row in csv.DictReader(file) if row["path"] == "0.png"]
        return found, [row for row in rows if row["category"]], rows

    return write


def test_an_object_that_two_people_placed_differently_is_in_the_table_once(labelled, tmp_path):
    found, there, rows = labelled(ann=[("cat", 10, 10)], ben=[("cat", 25, 20), ("dog", 80, 10)])
    cat, dog = sorted(there, key=lambda row: row["category"])
    assert [float(cat[edge]) for edge in ("left", "top", "right", "bottom")] == [17.5, 15, 47.5, 45]
    assert (cat["tied"], cat["chance"], cat["votes"]) == ("True", "0.5", "(nothing): 1, cat: 1")
    assert (dog["tied"], dog["left"]) == ("True", "80.0")
    (same,) = [row for row in found["consensus"]["labels"] if row["label"] == NOTHING]
    assert same["same_as"] == cat["sample"] and same["sample"] in [row["sample"] for row in rows]
    # It stays in doubt: they disagree, and it is said.
    assert found["consensus"]["ties"] == found["consensus"]["doubtful"]["samples"] == 3
    assert len(found["agreement"]["divided"]) == 3
    assert f"placed differently: {cat['sample']}." in found["caution"]
    assert "1 object is in the consensus though half of those who looked drew" in found["caution"]
    table = (tmp_path / "out" / "consensus.csv").rename(tmp_path / "consensus.csv")
    assert read_boxes(table).used == 3


def test_an_object_that_three_people_placed_differently_is_not_lost(labelled):
    found, (cat,), rows = labelled(
        ann=[("cat", 10, 10)], ben=[("cat", 25, 20)], cec=[("cat", 0, 22)]
    )
    assert len(rows) == 3 and float(cat["left"]) == pytest.approx(35 / 3, abs=0.01)
    assert cat["chance"] == "0.333333" and found["consensus"]["doubtful"]["samples"] == 3


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
