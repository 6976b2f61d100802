"""Boxes of several people: matched, counted, and set beside each other."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pandas
import pytest
from PIL import Image

import regraft
from regraft.dataset.boxes import Box, read_boxes
from regraft.errors import DataError, UsageError
from regraft.labelling import agreement, box_agreement, ceiling
from regraft.labelling.box_agreement import NOTHING, overlap
from regraft.labelling.found import CONSENSUS_OF_BOXES
from regraft.printing.labels import _agreement
from regraft.reporting.labels_page import refuse_worked_on

pytest.importorskip("cleanlab")


def _write(folder, name, boxes):
    """A CSV of boxes: (picture, category, left, top, right, bottom)."""
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "category", "left", "top", "right", "bottom"])
        writer.writerows(boxes)


@pytest.fixture
def folder(tmp_path):
    for n in range(12):
        noise = np.random.default_rng(n).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{n}.png")
    base = [(f"{n}.png", "cat", 10, 10, 40, 40) for n in range(12)]
    base += [(f"{n}.png", "dog", 45, 10, 75, 50) for n in range(12)]
    moved = [(p, c, le + 2, t + 2, r + 2, b + 2) for p, c, le, t, r, b in base]
    other = [("<script>" if p == "0.png" and c == "dog" else c) for p, c, *_ in moved]
    named = [(p, c, *rest) for (p, _, *rest), c in zip(moved, other, strict=True)]
    _write(tmp_path, "ann", base)
    _write(tmp_path, "ben", named)
    _write(tmp_path, "cec", [row for row in base if row[:2] != ("3.png", "cat")])
    return tmp_path


def test_the_same_objects_are_found_and_differences_are_votes(folder):
    drawn = box_agreement.annotators_in(folder)
    assert set(drawn) == {"ann", "ben", "cec"}
    found, categories = box_agreement.objects(drawn)
    assert len(found) == 24
    votes = box_agreement.votes_on_objects(found, categories)
    assert len(votes) == 72 and NOTHING in votes.classes
    said = {
        name: sorted(votes.values[k][0] for k in votes.value_v[votes.sample_v == u])
        for u, name in enumerate(votes.samples)
    }
    divided = [values for values in said.values() if len(set(values)) > 1]
    assert sorted(divided) == [[NOTHING, "cat", "cat"], ["<script>", "dog", "dog"]]
    where = box_agreement.place(found)
    square = overlap(np.array([[10.0, 10, 40, 40]]), np.array([[12.0, 12, 42, 42]]))[0, 0]
    assert square == pytest.approx(28**2 / (2 * 30**2 - 28**2))
    assert where["pairs"][-1]["annotators"] == ["ann", "cec"]
    assert where["pairs"][-1]["iou"] == pytest.approx(1.0)
    assert where["iou"]["low"] < where["iou"]["value"] < where["iou"]["high"] < 1


def test_one_box_belongs_to_one_object_and_the_best_matching_is_taken():
    # Greedy by the first pair would leave the second pair unmatched.
    first = [Box(0, 0, 0, 10, 10), Box(0, 4, 0, 14, 10)]
    second = [Box(0, 3, 0, 13, 10), Box(0, 7, 0, 17, 10)]
    groups = list(box_agreement._matched({"a": first, "b": second}))
    assert [set(group) for group in groups] == [{"a", "b"}, {"a", "b"}]


def test_boxes_far_apart_are_two_objects_that_one_person_each_saw():
    groups = list(box_agreement._matched({"a": [Box(0, 0, 0, 9, 9)], "b": [Box(0, 20, 0, 29, 9)]}))
    assert [set(group) for group in groups] == [{"a"}, {"b"}]


def test_the_verb_says_how_far_people_agree_on_boxes(folder, tmp_path):
    found = regraft.labels(folder, out=tmp_path / "out")
    agreement = found["agreement"]
    assert agreement["scale"] == "boxes" and agreement["annotators"] == 3
    assert 0.7 < agreement["alpha"]["value"] < 1
    assert agreement["alpha"]["low"] <= agreement["alpha"]["value"] <= agreement["alpha"]["high"]
    assert agreement["place"]["edges_px"] == pytest.approx(2.0)
    assert found["ceiling"]["value"] > 0.9
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Where boxes lie" in page and "<script>" not in page
    assert "votes on 24 objects, by 3 people; Fleiss" in page
    (first, *_) = _agreement(found)
    assert first.endswith(", 24 objects on 12 pictures")
    rows = agreement["divided"]
    assert sorted((row["picture"], len(row["boxes"])) for row in rows) == [
        ("0.png", 3),
        ("3.png", 2),
    ]
    assert {"annotator": "ann", "category": "dog", "edges": [45.0, 10.0, 75.0, 50.0]} in [
        box for row in rows for box in row["boxes"]
    ]
    assert page.count("<img") == 2 and "no picture" not in page
    for drew in ("<b>1</b> ann: dog", "<b>3</b> cec: dog", "<b>2</b> ben: cat"):
        assert page.count(drew) == 1
    assert page.count("<b>3</b> cec: nothing") == 1
    json.dumps(found, allow_nan=False)


def test_what_was_written_beside_the_boxes_is_nobody_s(folder):
    before = regraft.labels(folder, out=folder)
    assert (folder / "labels.json").is_file()
    assert regraft.labels(folder)["agreement"] == before["agreement"]


def test_the_consensus_is_a_table_of_boxes_to_go_on_from(folder):
    for name in ("bare", "=crowded"):
        shutil.copy(folder / "0.png", folder / f"{name}.png")
    for person in ("ann", "ben"):
        path = folder / f"{person}.csv"
        path.write_text(path.read_text().replace("dog", "=dög") + "bare.png,,,,,\r\n")
    header, *rows = (folder / "cec.csv").read_text().replace("dog", "=dög").splitlines()
    rows = [f"{header},crowd", *(f"{row}," for row in rows), "=crowded.png,cat,1,1,9,9,1"]
    (folder / "cec.csv").write_text("\n".join(rows))

    before = regraft.labels(folder, out=folder)
    table = folder / "consensus.csv"
    read = read_boxes(table)
    assert not read.problems and (read.used, read.mended) == (25, 0)
    assert read.categories == ("=dög", "cat")
    drawn = {picture.id: picture.boxes for picture in read.pictures}
    assert len(drawn) == 14 and drawn["bare.png"] == ()
    assert [box.crowd for box in drawn["=crowded.png"]] == [True]
    dog = {box.category: box for box in drawn["5.png"]}[0]  # two drew the same, one 2 px off
    assert [dog.left, dog.top, dog.right, dog.bottom] == [45.67, 10.67, 75.67, 50.67]
    assert regraft.inspect(table)["task"] == "object-detection"

    assert regraft.labels(folder, out=folder) == before  # it is nobody's


def test_boxes_that_were_refused_or_mended_on_reading_are_said_with_whose_they_are(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    header, good = "path,category,left,top,right,bottom", "0.png,x,1,1,20,20"
    for person, rows in {
        "ann": [good],
        "ben": [good, "0.png,x,30,1,20,40", "0.png,x,5,5,5,9"],
    }.items():
        (tmp_path / f"{person}.csv").write_text("\n".join([header, *rows]))
    found = regraft.labels(tmp_path, out=tmp_path / "out")
    assert found["caution"].startswith(
        "Boxes were refused on reading: 1 of ben. Boxes were mended on reading: 1 of ben. "
        "Who drew a box that was refused counts as having drawn nothing there; where no other is "
        "left on the picture, as not having looked."
    )
    listed = [
        tuple(one[key] for key in ("annotator", "where", "done")) for one in found["data"]["notes"]
    ]
    assert listed == [("ben", "ben.csv:3", "corners swapped"), ("ben", "ben.csv:4", "box refused")]
    assert "ben.csv:4" in (tmp_path / "out" / "report.html").read_text()


def test_a_consensus_that_was_saved_again_or_copied_is_nobody_s(folder):
    header = ",".join(CONSENSUS_OF_BOXES)
    row = '0.png,cat,1,1,9,9,0,"0.png [1, 1, 9, 9]",0.9,False,cat: 3,'
    (folder / "mended.csv").write_text(f"{header}\n{row}\n")
    again = f"{header}\n{row.replace(', ', ' ')}\n".replace(",", ";")
    (folder / "consensus.csv").write_text(again, encoding="utf-8-sig")
    assert set(box_agreement.annotators_in(folder)) == {"ann", "ben", "cec"}
    with pytest.raises(UsageError, match="not from an earlier call"):
        refuse_worked_on(folder)


def test_a_consensus_in_another_table_than_csv_is_nobody_s(folder):
    row = ("0.png", "cat", 1, 1, 9, 9, 0, "0.png [1, 1, 9, 9]", 0.9, False, "cat: 3", "")
    table = pandas.DataFrame([row], columns=list(CONSENSUS_OF_BOXES))
    table.to_csv(folder / "again.tsv", sep="\t", index=False)
    table.to_parquet(folder / "consensus.parquet")
    table.to_json(folder / "lines.jsonl", orient="records", lines=True)
    assert set(box_agreement.annotators_in(folder)) == {"ann", "ben", "cec"}


def test_two_files_of_one_person_are_refused_and_named(folder):
    pandas.read_csv(folder / "ann.csv").to_parquet(folder / "ann.parquet")
    with pytest.raises(
        DataError, match=r"2 files of boxes are called ann \(ann.csv, ann.parquet\)"
    ):
        regraft.labels(folder)


def test_a_category_called_as_what_stands_for_no_box_is_refused(folder):
    path = folder / "ben.csv"
    path.write_text(path.read_text().replace("dog", NOTHING))
    with pytest.raises(DataError, match=r"A category is called \(nothing\)") as told:
        regraft.labels(folder)
    assert told.value.where == str(path)


def test_what_nobody_else_saw_is_no_box_of_the_consensus(tmp_path):
    Image.new("RGB", (80, 60)).save(tmp_path / "0.png")
    edges = {"ann": (10, 10, 40, 40), "ben": (10, 10, 40, 40), "cec": (10, 10, 40, 40)}
    for person, four in edges.items():
        rows = [("0.png", "cat", *four)]
        _write(tmp_path, person, rows + [("0.png", "dog", 50, 5, 79, 50)] * (person == "cec"))
    regraft.labels(tmp_path, out=tmp_path / "out")
    with (tmp_path / "out" / "consensus.csv").open(newline="") as file:
        rows = {row["votes"]: row for row in csv.DictReader(file)}
    assert rows["cat: 3"]["category"] == "cat" and rows["cat: 3"]["left"] == "10.0"
    alone = rows["(nothing): 2, dog: 1"]
    assert (alone["path"], alone["category"], alone["left"]) == ("../0.png", "", "")
    assert alone["sample"].startswith("0.png [50, 5, 79, 50]")


def test_of_three_who_say_three_things_two_that_drew_it_say_that_it_is_there(tmp_path):
    """Most objects are seen by one person alone, so nothing has the most votes of all."""
    for n in range(5):
        Image.new("RGB", (80, 60)).save(tmp_path / f"{n}.png")
    edges = (10, 10, 40, 40)
    drawn = {
        "ann": {0: "cat", 1: "cat", 2: "cat"},
        "ben": {0: "dog", 3: "cat"},
        "cec": {4: "cat"},
    }
    for person, saw in drawn.items():
        rows = [(f"{n}.png", saw[n], *edges) if n in saw else (f"{n}.png", *[""] * 5)
                for n in range(5)]  # fmt: skip
        _write(tmp_path, person, rows)
    rows = regraft.labels(tmp_path)["consensus"]["labels"]
    label = {row["sample"][:5]: (row["label"], row["tied"]) for row in rows}
    assert label["0.png"] in (("cat", True), ("dog", True))
    assert [label[f"{n}.png"] for n in range(1, 5)] == [(NOTHING, False)] * 4


def test_people_in_one_export_of_label_studio_are_compared(tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")

    def drawn(person, *lefts):
        sizes = {"y": 10, "width": 20, "height": 40, "rotation": 0, "rectanglelabels": ["tree"]}
        results = [{"type": "rectanglelabels", "value": {"x": x, **sizes}} for x in lefts]
        return {"completed_by": {"email": person}, "result": results}

    task = {"data": {"image": "/data/local-files/?d=photos/a.png"}}
    task["annotations"] = [drawn("ann", 0, 50), drawn("ben", 1)]
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    found = regraft.labels(path)
    assert found["agreement"]["annotators"] == 2
    assert found["agreement"]["place"]["iou"]["value"] == pytest.approx(19 / 21)
    assert found["data"]["samples"] == 1


def test_people_s_boxes_may_be_in_other_tables_than_csv(folder):
    before = box_agreement.objects(box_agreement.annotators_in(folder))
    ben, cec = (pandas.read_csv(folder / f"{name}.csv") for name in ("ben", "cec"))
    ben.to_csv(folder / "ben.tsv", sep="\t", index=False)
    cec.to_parquet(folder / "cec.parquet")
    for name in ("ben", "cec"):
        (folder / f"{name}.csv").unlink()
    assert box_agreement.objects(box_agreement.annotators_in(folder)) == before


def test_pictures_that_one_person_alone_lists_are_counted(folder):
    drawn = box_agreement.annotators_in(folder)
    assert box_agreement.caution(drawn) == ""
    (folder / "cec.csv").unlink()
    _write(folder, "ben", [(f"{n}.png", "cat", 10, 10, 40, 40) for n in range(5)])
    told = box_agreement.caution(box_agreement.annotators_in(folder))
    assert told.startswith("Of 12 pictures 7 are in one person's file alone")
    looked = "".join(f"{n}.png,,,,,\r\n" for n in range(5, 12))
    (folder / "ben.csv").write_text((folder / "ben.csv").read_text() + looked)
    assert box_agreement.caution(box_agreement.annotators_in(folder)) == ""


def test_encodings_that_were_guessed_are_said(folder):
    path = folder / "ben.csv"
    path.write_bytes(path.read_text().replace("dog", "Käfer").encode("cp1252"))
    told = box_agreement.caution(box_agreement.annotators_in(folder))
    assert told.startswith("ben.csv: The table is not in UTF-8 (line 15 is the first")
    assert told.endswith("Read as Windows-1252.")


def test_pictures_that_nobody_drew_on_are_counted(folder):
    shutil.copy(folder / "0.png", folder / "bare.png")
    for person in ("ann", "ben", "cec"):
        path = folder / f"{person}.csv"
        path.write_text(path.read_text() + "bare.png,,,,,\r\n")
    drawn = box_agreement.annotators_in(folder)
    told = box_agreement.caution(drawn)
    assert told.startswith("Of 13 pictures 1 has no box of anybody: agreement")
    assert box_agreement.pictures(drawn) == 13


def test_parts_of_one_data_set_are_no_annotators(folder):
    (folder / "ben.csv").unlink()
    (folder / "cec.csv").unlink()
    assert box_agreement.annotators_in(folder) is None
    _write(folder, "ann", [("0.png", "cat", 1, 1, 9, 9)])
    _write(folder, "more", [("1.png", "cat", 1, 1, 9, 9)])
    assert box_agreement.annotators_in(folder) is None


def test_every_interval_on_boxes_draws_pictures_whole(folder, monkeypatch):
    asked = []

    def spy(kind, of):
        def told(*arguments, **options):
            clusters = options["clusters"] if "clusters" in options else arguments[2]
            asked.append((kind, len(set(clusters))))
            return of(*arguments, **options)

        return told

    for module, name in ((agreement, "alpha"), (agreement, "per_class"), (ceiling, "ceiling")):
        monkeypatch.setattr(module, name, spy(name, getattr(module, name)))
    regraft.labels(folder)
    assert {kind for kind, _ in asked} == {"alpha", "per_class", "ceiling"}
    assert {pictures for _, pictures in asked} == {12}
