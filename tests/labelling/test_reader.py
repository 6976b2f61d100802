"""Tables of votes as data sets, labelled by consensus."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from voted import empty_files, votes_file

from regraft.dataset import check_reader, read_all
from regraft.errors import DataError
from regraft.labelling.reader import AnyReader, VotesReader
from regraft.labelling.votes_table import is_votes, read_votes


def test_what_empty_cells_are_taken_for_is_said_of_the_data(tmp_path):
    rows = ["first text,ann,cat|dog", "second text,ann,", "third text,ann,dog"]
    path = votes_file(tmp_path, "\n".join(["text,annotator,label", *rows, ""]))
    dataset = VotesReader().read(path)
    assert len(dataset) == 3
    assert [p.kind for p in dataset.problems] == ["votes", "votes"]
    assert "1 empty cell of somebody is read as" in dataset.problems[1].what


def test_labels_stand_beside_columns_about_the_voting(tmp_path):
    table = votes_file(tmp_path, "text,label,votes\nfine,good,3\nugly,bad,12\n")
    assert AnyReader().read(table).classes == ("bad", "good")


def test_classes_that_may_be_one_are_said_of_the_data_once(tmp_path):
    rows = ["text,annotator,label", "a text,a,Spam", "a text,b,Spam", "another,a,spam"]
    path = votes_file(tmp_path, "\n".join(rows))
    said = [p for p in read_all(path, reader=AnyReader()).problems if "upper and lower" in p.what]
    assert [p.kind for p in said] == ["alike-classes"]
    # A class that never has the most votes is none of the data, so the votes alone can tell.
    path = votes_file(tmp_path, "\n".join([*rows, "a text,c,SPAM"]))
    said = [p.what for p in VotesReader().read(path).problems if "upper and lower" in p.what]
    assert len(said) == 1 and said[0].startswith("SPAM and Spam, SPAM and spam differ")


def test_lines_of_json_hold_votes_too_and_what_is_read_as_votes_is_said(tmp_path):
    rows = [("fine", "ann", "good"), ("fine", "ben", "good"), ("ugly", "ann", "bad")]
    lines = [json.dumps(dict(zip(("text", "annotator", "label"), r, strict=True))) for r in rows]
    table = votes_file(tmp_path, "\n".join(lines), "votes.jsonl")
    dataset = AnyReader().read(table)
    assert [sample.source for sample in dataset] == ["fine", "ugly"]
    said = "The columns annotator, label are read as votes."
    assert [p.what for p in dataset.problems if p.kind == "votes"] == [said]


def test_files_that_are_not_there_are_said_to_be_looked_for_and_what_votes_do_without(tmp_path):
    rows = [f"{n}.png,{person},cat" for n in range(3) for person in ("ann", "ben")]
    table = votes_file(tmp_path, "\n".join(["path,annotator,label", *rows]))
    with pytest.raises(DataError) as fault:
        read_all(table, reader=AnyReader())
    assert f"at its folder, {tmp_path}:" in fault.value.mend
    assert "call the column `id`" in fault.value.mend
    read_votes(votes_file(tmp_path, "\n".join(["id,annotator,label", *rows])))


def test_votes_that_nobody_is_named_for_are_told_how_to_be_votes(tmp_path):
    empty_files(tmp_path, "1.png", "2.png", "3.png")
    rows = ["1.png,cat", "1.png,dog", "2.png,cat", "2.png,dog", "3.png,cat"]
    with pytest.raises(DataError) as fault:
        read_all(votes_file(tmp_path, "\n".join(["path,label", *rows])), reader=AnyReader())
    assert "add a column `annotator` that says who (empty" in fault.value.mend
    named = [row.replace(",", ",,") for row in rows]
    table = votes_file(tmp_path, "\n".join(["path,annotator,label", *named]))
    assert read_votes(table).per_sample().tolist() == [2, 2, 1]


def test_however_a_path_is_written_votes_and_samples_are_called_alike(tmp_path):
    empty_files(tmp_path, "img/1.jpg", "img/2.jpg")
    spelt = ["img/1.jpg", "./img/1.jpg", "img//1.jpg", "img\\1.jpg", str(tmp_path / "img/1.jpg")]
    rows = [f"{path},person {n},cat" for n, path in enumerate(spelt)]
    rows += ["img\\2.jpg,ann,dog", "gone\\3.jpg,ann,dog"]
    table = votes_file(tmp_path, "\n".join(["path,annotator,label", *rows]))
    votes = read_votes(table)
    assert votes.samples == ("gone\\\\3.jpg", "img/1.jpg", "img/2.jpg")
    assert votes.per_sample().tolist() == [1, 5, 1]
    assert [sample.id for sample in AnyReader().read(table)] == ["img/1.jpg", "img/2.jpg"]


def test_texts_beside_paths_are_called_as_their_voters_called_them(tmp_path):
    rows = ["mails/1.eml,fine,ann,good", "mails/1.eml,fine,ben,good", "mails/2.eml,ugly,ann,bad"]
    table = votes_file(tmp_path, "\n".join(["path,text,annotator,label", *rows]))
    dataset = AnyReader().read(table)
    assert dataset.task == "text-classification"
    assert (
        tuple(s.id for s in dataset) == read_votes(table).samples == ("mails/1.eml", "mails/2.eml")
    )


def test_votes_on_parts_of_a_video_are_votes_on_clips(tmp_path):
    empty_files(tmp_path, "a.mp4", "b.mp4")
    rows = ["a.mp4,0,6,ann,calm", "./a.mp4,0,6,ben,calm", "a.mp4,6,12,ann,busy", "b.mp4,,,ann,busy"]
    table = votes_file(tmp_path, "\n".join(["path,start,stop,annotator,label", *rows]))
    dataset = AnyReader().read(table)
    assert [(sample.id, sample.span_s, sample.target) for sample in dataset] == [
        ("a.mp4@0.00-6.00s", (0.0, 6.0), 1),
        ("a.mp4@6.00-12.00s", (6.0, 12.0), 0),
        ("b.mp4", None, 0),
    ]
    assert read_votes(table).samples == tuple(sample.id for sample in dataset)


def test_samples_that_nobody_voted_on_are_left_out_and_said(tmp_path):
    empty_files(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = ["a.jpg,cat,dog", "b.jpg,,", "c.jpg,,dog"]
    table = votes_file(tmp_path, "\n".join(["path,annotator_ann,annotator_ben", *rows]))
    dataset = AnyReader().read(table)
    assert [sample.id for sample in dataset] == ["a.jpg", "c.jpg"] and dataset.found == 3
    lost = [p for p in dataset.problems if p.done == "left out"]
    assert [(p.kind, p.where) for p in lost] == [("no-label", "b.jpg")]
    check_reader(VotesReader(), table)


@pytest.mark.parametrize(
    "text",
    [
        "text,annotator,label\nfine,ann,cat;dog\nfine,ben,cat|dog\nugly,ann,dog\n",
        "text,annotator_ann,annotator_ben\nfine,cat;dog,cat;dog\nugly,dog,\n",
        "text,vote_1,vote_2\nfine,cat;dog,dog|cat\nugly,dog,\n",
        'text,votes\nfine,"[""cat;dog"", [""cat"", ""dog""]]"\nugly,"[""dog""]"\n',
    ],
)
def test_classes_are_separated_as_in_tables_of_labels(tmp_path, text):
    table = votes_file(tmp_path, text)
    votes, dataset = read_votes(table), AnyReader().read(table)
    assert votes.scale == "multilabel" and dataset.multilabel
    assert votes.classes == dataset.classes == ("cat", "dog")
    assert [sample.target for sample in dataset] == [(0, 1), (1,)]


def test_votes_on_files_may_name_them_in_another_column(tmp_path):
    rows = [f"img/{n}.jpg,{who},cat" for n in range(4) for who in "ab"]
    path = votes_file(tmp_path, "\n".join(["image,annotator,label", *rows]))
    assert is_votes(path) and not VotesReader().recognises(path)
    empty_files(tmp_path, *(f"img/{n}.jpg" for n in range(4)))
    data = VotesReader().read(path)
    assert VotesReader().recognises(path) and len(data) == 4
    assert "read as path" in [problem.done for problem in data.problems]


def test_clips_keep_times_of_other_names(tmp_path):
    empty_files(tmp_path, "a.mp4")
    rows = ['a.mp4,0,"6,5",ann,3', 'a.mp4,0,"6,5",ben,3', "a.mp4,7,12,ann,4"]
    table = votes_file(tmp_path, "\n".join(["path,start_time,end_time,annotator,label", *rows]))
    dataset = AnyReader().read(table)
    assert [sample.span_s for sample in dataset] == [(0.0, 6.5), (7.0, 12.0)]
    assert [sample.id for sample in dataset] == list(read_votes(table).samples)
    assert len(set(dataset.problems)) == len(dataset.problems)


@pytest.mark.parametrize("label", ["new\u00a0york", "a\\b", "tab\tbed", "\\\\xa0 \\q"])
def test_classes_are_called_alike_in_votes_and_in_their_data(tmp_path, label):
    path = tmp_path / "votes.jsonl"
    rows = [{"text": "fine", "annotator": "a", "label": label}]
    rows += [{"text": "ugly", "annotator": "a", "label": "other"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert VotesReader().read(path).classes == read_votes(path).classes


def test_a_damaged_table_of_votes_is_recognised_and_refused_where_it_is_read(tmp_path):
    path = votes_file(tmp_path, "image,annotator_a,annotator_b\n1.jpg,cat\n")
    assert VotesReader().recognises(path)
    with pytest.raises(DataError, match="2 cells"):
        VotesReader().read(path)


@pytest.mark.parametrize(
    "table",
    [
        "id,rater_ann,rater_ben\nx,good,bad\ny,bad,bad\n",
        "id,Bemerkung,annotator,label\nx,so schoen war es noch nie,ann,good\n",
        "image,worker,label\nhttps://a.org/1.jpg,ann,good\n",
        "filename,annotator,label\ngone/1.jpg,ann,good\ngone/1.jpg,ben,bad\n",
        "id,votes\nx,good|bad\n",
    ],
)
def test_votes_without_what_they_are_on_are_refused_as_data_and_not_read_as_labels(tmp_path, table):
    path = votes_file(tmp_path, table)
    assert is_votes(path)
    with pytest.raises(DataError, match="without the texts or the files") as caught:
        AnyReader().read(path)
    assert caught.value.where == str(path)
    assert "call the column with the texts `text`" in caught.value.mend
    assert "let it lead to the files from the table's folder" in caught.value.mend
    assert "regraft labels" in caught.value.mend


@pytest.mark.parametrize("task", [None, "object-detection"])
@pytest.mark.parametrize(
    ("header", "folder"),
    [
        ("filename,label,xmin,ymin,xmax,ymax,annotator", ""),
        ("image_path,class,xmin,ymin,xmax,ymax,labeler", ""),
        ("path,category,left,top,right,bottom,annotator", "images/"),
    ],
)
def test_boxes_that_say_who_drew_them_are_boxes_and_no_votes(tmp_path, header, folder, task):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (60, 60)).save(tmp_path / "images" / "1.jpg")
    rows = [f"{folder}1.jpg,cat,1,2,30,40,ann", f"{folder}1.jpg,dog,20,2,50,40,ben"]
    table = votes_file(tmp_path, "\n".join([header, *rows]), "boxes.csv")
    assert not is_votes(table)
    dataset = AnyReader(task=task).read(table)
    assert (dataset.task, dataset.classes) == ("object-detection", ("cat", "dog"))
    assert len(dataset.samples[0].boxes) == 2
    tabs = votes_file(tmp_path, table.read_text().replace(",", "\t"), "tabs.tsv")
    assert not is_votes(tabs) and AnyReader(task=task).read(tabs).samples == dataset.samples


def test_the_votes_of_an_export_are_no_data_to_learn_from(tmp_path):
    result = [{"from_name": "label", "type": "choices", "value": {"choices": ["good"]}}]
    task = {"id": 1, "data": {"text": "fine"}, "annotations": [{"id": 1, "result": result}]}
    with pytest.raises(DataError, match="without the texts or the files") as caught:
        AnyReader().read(votes_file(tmp_path, json.dumps([task]), "export.json"))
    assert "text,annotator,label" in caught.value.mend


@pytest.mark.parametrize(
    "header",
    ["text,Ann,Ben", "id,Ann,Ben", "Bemerkung,rater_a,rater_b", "text,label_ann,label_ben"],
)
def test_where_no_column_is_known_as_a_persons_it_is_said_what_these_are_called(tmp_path, header):
    rows = ["so it was as it is,good,bad", "so it is as it was,bad,bad"]
    with pytest.raises(DataError) as caught:
        AnyReader().read(votes_file(tmp_path, "\n".join([header, *rows])))
    assert "text,annotator,label with one vote a row" in caught.value.mend
    assert "text,rater_anna,rater_ben,…" in caught.value.mend
