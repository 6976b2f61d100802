"""Which columns hold votes, and whose, told by their names."""

from __future__ import annotations

import pytest
from voted import as_rows, votes_file

from regraft.labelling.votes_columns import layout_of
from regraft.labelling.votes_table import is_votes, read_votes


@pytest.mark.parametrize(
    "header",
    [
        "path,annotator,label",
        "path,annotator_id,label",
        "Path,Annotator_ID,Label",
        "path,rater,label",
        "path,Rater_id,label",
        "path,worker,label",
        "path,WORKER_ID,label",
        "path,WorkerId,label",
    ],
)
def test_who_voted_may_stand_in_a_column_of_another_name(tmp_path, header):
    votes = read_votes(votes_file(tmp_path, f"{header}\na.jpg,ann,cat\na.jpg,ben,dog\n"))
    assert as_rows(votes) == [("a.jpg", "ann", ("cat",)), ("a.jpg", "ben", ("dog",))]


@pytest.mark.parametrize(
    "table",
    [
        "text,label,vote_count\nfine,good,3\n",
        "text,label,votes\nfine,good,3\n",
        "path,label,rater_confidence\na.jpg,cat,0.9\n",
        "path,label,annotator_age,annotator_name\na.jpg,cat,9,ann\n",
        "path,label_cat,label_dog,votes\na.jpg,1,0,3\n",
        "path,kind,annotator_anna\na.jpg,cat,dog\n",
        "path,kind,annotator_id,rater_id\na.jpg,cat,3,4\n",
        "path,kind,vote_count\na.jpg,cat,3\n",
    ],
)
def test_columns_about_the_voting_are_no_votes(tmp_path, table):
    assert not is_votes(votes_file(tmp_path, table))


def test_many_columns_of_people_are_named_in_part():
    said = layout_of(["path", *(f"annotator_{n}" for n in range(7))]).said()
    assert said.endswith("annotator_4 and 2 more are read as votes, one person each.")


def test_means_of_all_people_are_no_people(tmp_path):
    text = "id,rater_1,rater_2,rater_mean,rater_STD\n1,-1,2,0.5,1.5\n2,2,2,2,0\n"
    votes = read_votes(votes_file(tmp_path, text))
    assert (votes.annotators, votes.classes) == (("1", "2"), ("-1", "2"))
    told = layout_of(("id", "rater_1", "rater_2", "rater_mean")).said()
    assert "Of rater_mean nothing is read" in told


@pytest.mark.parametrize(
    "header",
    [
        "item,coder,rating",
        "task,worker,label",
        "filename,annotator,label",
        "text,rater,vote",
        "text,annotator,choice",
    ],
)
def test_long_tables_have_several_names_for_their_columns(tmp_path, header):
    votes = read_votes(votes_file(tmp_path, f"{header}\na,ann,x\na,ben,y\nb,ann,x\n"))
    assert votes.annotators == ("ann", "ben") and votes.per_sample().tolist() == [2, 1]


@pytest.mark.parametrize("columns", ["rater1,rater2", "worker 1,worker 2", "coder-1,coder-2"])
def test_people_are_numbered_in_several_ways(tmp_path, columns):
    assert read_votes(votes_file(tmp_path, f"id,{columns}\na,x,y\n")).annotators == ("1", "2")


def test_a_column_of_ratings_beside_classes_is_no_vote():
    assert layout_of(("text", "ratings")).kind == "listed"
    assert layout_of(("text", "ratings", "category")) is None


@pytest.mark.parametrize(
    "header",
    [
        "text,category,worker_age,worker_country",
        "text,target,rater_age,rater_sex",
        "text,sentiment,coder_notes,coder_time",
        "text,category,votes,vote_1",
    ],
)
def test_classes_beside_columns_about_people_are_labels(header):
    assert layout_of(header.split(",")) is None


def test_a_class_is_what_was_voted_rather_than_a_choice_beside_it():
    assert layout_of(("text", "annotator", "choice", "category")).columns == ("category",)


@pytest.mark.parametrize(
    "column",
    [
        "rater_comment",
        "rater_comment_1",
        "Rater Notes",
        "annotator_timestamp",
        "rater_time_s",
        "rater_duration",
    ],
)
def test_what_stands_beside_votes_is_no_person(column):
    layout = layout_of(("id", "rater_a", "rater_b", column))
    assert (layout.columns, layout.figures) == (("rater_a", "rater_b"), (column,))
    assert f"Of {column} nothing is read" in layout.said()


def test_what_is_said_of_all_people_is_no_person_and_initials_are_one():
    figures = ("majority", "mean_score", "agreement_pct", "gold", "consensus_label", "final")
    header = ("id", "rater_a", "rater_b", "rater_sd", *(f"rater_{name}" for name in figures))
    assert layout_of(header).columns == ("rater_a", "rater_b")
    initials = layout_of(("id", "rater_a", "rater_sd", "rater_var", "rater_majority"))
    assert initials.columns == ("rater_a", "rater_sd", "rater_var")
