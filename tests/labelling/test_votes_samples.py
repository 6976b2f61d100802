"""What the samples of a table of votes are called."""

from __future__ import annotations

import pytest
from voted import votes_file

from regraft.labelling.reader import VotesReader
from regraft.labelling.votes_table import read_votes


def test_texts_are_samples_too_called_by_their_first_line(tmp_path):
    rows = ["text,annotator,label", "good,ann,yes", "bad,ann,no", "good,ben,no"]
    votes = read_votes(votes_file(tmp_path, "\n".join(rows) + "\n"))
    assert votes.samples == ("line 2", "line 3")
    assert votes.per_sample().tolist() == [2, 1]
    wide = votes_file(tmp_path, "id,text,annotator_ann,annotator_ben\na,good,yes,\n", "wide.csv")
    assert read_votes(wide).samples == ("a",)


@pytest.mark.parametrize("column", ["task", "item", "id", "sample"])
def test_a_column_that_calls_several_texts_alike_names_none_of_them(tmp_path, column):
    rows = ["good film,sentiment,a,pos", "bad film,sentiment,b,neg", "good film,sentiment,b,pos"]
    path = votes_file(tmp_path, "\n".join([f"text,{column},annotator,label", *rows]))
    votes = read_votes(path)
    assert votes.samples == ("line 2", "line 3")
    said = f"The column {column} has one name for several texts, so it names no samples."
    assert said in votes.notes
    dataset = VotesReader().read(path)
    assert [sample.source for sample in dataset] == ["good film", "bad film"]
    assert said in [problem.what for problem in dataset.problems]


def test_a_name_has_one_text_where_it_stands_in_one_row_alone(tmp_path):
    text = "id,text,annotator,label\n7,good,a,x\n7,,b,y\n8,bad,a,y\n8,bad ,b,y\n"
    votes = read_votes(votes_file(tmp_path, text))
    assert (votes.samples, votes.notes) == (("7", "8"), ())


def test_a_sample_without_a_name_is_called_by_its_line(tmp_path):
    text = "id,text,annotator,label\n,good,a,x\n,bad,a,y\n7,odd,a,y\n"
    assert read_votes(votes_file(tmp_path, text)).samples == ("7", "line 2", "line 3")
    wide = votes_file(tmp_path, "id,rater_1,rater_2\n,x,y\n,y,y\n", "wide.csv")
    assert read_votes(wide).samples == ("line 2", "line 3")


def test_samples_whose_rows_are_of_several_splits_or_groups_are_named(tmp_path):
    rows = ["a,good,x,yes,train,p", "a,good,y,yes,test,p", "b,bad,x,no,train,p", "b,bad,y,no,,q"]
    text = "\n".join(["id,text,annotator,label,split,group", *rows]) + "\n"
    votes = read_votes(votes_file(tmp_path, text))
    said = "1 sample has several {}, and that of the first row counts: {}."
    assert said.format("splits", "a") in votes.notes and said.format("groups", "b") in votes.notes
