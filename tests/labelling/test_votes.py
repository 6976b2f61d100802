"""What votes are: their scale, numbers in several spellings, and who voted twice."""

from __future__ import annotations

import pandas as pd
import pytest
from voted import as_rows, votes_file

from regraft.labelling.votes import votes_of
from regraft.labelling.votes_table import read_votes


def test_steps_of_a_scale_are_known_by_a_negative_one_and_keep_their_order(tmp_path):
    votes = read_votes(votes_file(tmp_path, 'id,votes\n1,"[-2, 10, 9]"\n2,"[-1, 0]"\n'))
    assert votes.scale == "ordinal"
    assert votes.classes == ("-2", "-1", "0", "9", "10")
    positive = votes_file(tmp_path, 'id,votes\n1,"[2, 10]"\n', "positive.csv")
    assert read_votes(positive).scale == "nominal"
    assert read_votes(positive, scale="ordinal").classes == ("2", "10")


def test_the_later_vote_of_one_person_counts(tmp_path):
    rows = "id,annotator,label\n1,a,cat\n1,a,dog\n2,a,cat\n2,a,cat\n"
    votes = read_votes(votes_file(tmp_path, rows))
    assert as_rows(votes) == [("1", "a", ("dog",)), ("2", "a", ("cat",))]
    (note,) = votes.notes
    assert note.startswith("1 vote is followed by another of the same person")
    assert note.endswith("of a on 1, first cat, then dog.")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_whole_numbers_are_one_step_however_pandas_writes_them(tmp_path, kind):
    frame = pd.DataFrame(
        {"id": ["a", "b", "c"], "rater_1": [3, -1, 2], "rater_2": [3, None, 2], "rater_3": 0}
    )
    path = tmp_path / f"votes.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False, na_rep="NaN")
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    votes = read_votes(path)
    assert (votes.scale, votes.classes) == ("ordinal", ("-1", "0", "2", "3"))
    assert votes.per_sample().tolist() == [3, 2, 3]


def test_a_minus_may_be_typographic_and_a_code_stays_as_it_is_written(tmp_path):
    votes = read_votes(votes_file(tmp_path, "id,votes\n1,\u22122|+1|1.50|1.5\n"))
    assert (votes.scale, votes.classes) == ("ordinal", ("-2", "1", "1.5"))
    assert read_votes(votes_file(tmp_path, "id,votes\n1,007|7|7.0\n")).classes == (
        "007",
        "7",
        "7.0",
    )
    kinds = read_votes(votes_file(tmp_path, "id,votes\n1,none|few|none\n"))
    assert kinds.classes == ("few", "none")


def test_long_numbers_and_codes_stay_apart(tmp_path):
    long = ("12345678901234567890", "12345678901234567891")
    votes = read_votes(votes_file(tmp_path, f"id,votes\n1,{long[0]}|{long[1]}.0|-0|0.00|+1.50\n"))
    assert votes.classes == ("0", "1.5", *long)


@pytest.mark.parametrize("word", ["none", "NA", "n/a"])
def test_a_class_that_is_a_word_for_nothing_stays_beside_numbers(tmp_path, word):
    votes = read_votes(votes_file(tmp_path, f"id,rater_1,rater_2\n1,3,{word}\n2,2,3\n"))
    assert votes.classes == ("2", "3", word)


def test_numbers_that_are_none_are_counted(tmp_path):
    votes = read_votes(votes_file(tmp_path, 'id,votes\n1,"3, NaN"\n2,"[nan, nan]"\n3,"-1, 3"\n'))
    assert len(votes) == 3
    assert votes.notes == (
        "3 votes of NaN or null are read as missing, because all others are numbers.",
    )


def test_classes_that_differ_in_capitals_alone_are_named():
    said = ("cat", "Cat", "dog", "CAT")
    (note,) = votes_of([("1", f"p{n}", (name,)) for n, name in enumerate(said)]).notes
    assert note.startswith("CAT and Cat, CAT and cat differ in upper and lower case alone")
