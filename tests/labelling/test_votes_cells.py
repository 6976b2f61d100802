"""What is written in the cells of a table of votes: one vote, or all on a sample."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from voted import votes_file

from regraft.errors import DataError
from regraft.labelling.votes_table import read_votes


def test_votes_for_several_classes_or_none(tmp_path):
    votes = read_votes(votes_file(tmp_path, "id,annotator,label\n1,a,cat|dog\n1,b,[]\n2,a,cat\n"))
    assert votes.scale == "multilabel"
    assert votes.classes == ("cat", "dog")
    assert votes.tally().tolist() == [[1, 1], [1, 0]]
    lists = votes_file(tmp_path, 'id,votes\n1,"[[""cat"",""dog""],[]]"\n', "lists.csv")
    assert read_votes(lists).values == ((), ("cat", "dog"))


def test_an_empty_list_is_the_vote_that_nothing_applies(tmp_path):
    rows = [("1", "a", ["cat", "dog"]), ("1", "b", []), ("2", "a", ["cat"]), ("2", "b", None)]
    wide = {n: {f"annotator_{a}": said for m, a, said in rows if m == n} for n in "12"}
    numbered = {n: dict(zip(("vote_1", "vote_2"), wide[n].values(), strict=True)) for n in "12"}
    tables = {
        "long": [{"id": n, "annotator": a, "labels": said} for n, a, said in rows],
        "wide": [{"id": n, **wide[n]} for n in "12"],
        "numbered": [{"id": n, **numbered[n]} for n in "12"],
    }
    for name, lines in tables.items():
        path = votes_file(tmp_path, "\n".join(map(json.dumps, lines)), f"{name}.jsonl")
        pq.write_table(pa.Table.from_pylist(lines), tmp_path / f"{name}.parquet")
        for table in (path, tmp_path / f"{name}.parquet"):
            votes = read_votes(table)
            assert (votes.scale, votes.values) == ("multilabel", ((), ("cat",), ("cat", "dog")))
            assert votes.per_sample().tolist() == [2, 1]
    one = [{"id": "1", "annotator": "a", "labels": []}, {"id": "2", "annotator": "a", "labels": []}]
    votes = read_votes(votes_file(tmp_path, "\n".join(map(json.dumps, one)), "none.jsonl"))
    assert (votes.samples, votes.values) == (("1", "2"), ((),))


def test_names_like_markup_are_names(tmp_path):
    votes = read_votes(votes_file(tmp_path, "id,annotator,label\n1,a,<script>\n"))
    assert votes.classes == ("<script>",)


def test_votes_in_one_cell_are_separated_either_way(tmp_path):
    table = votes_file(tmp_path, "path,votes\na.jpg,cat;cat;dog\nb.jpg,dog|cat|dog\n")
    assert read_votes(table).tally().tolist() == [[2, 1], [1, 2]]
    table = votes_file(tmp_path, """path,votes\na.jpg,"['cat', 'cat', 'dog']"\nb.jpg,['dog']\n""")
    assert read_votes(table).tally().tolist() == [[2, 1], [0, 1]]


@pytest.mark.parametrize("cell", ["3, nan, -2", "3 NaN -2", "(3, -2)", "[3. -2. nan]", "[3, -2.0]"])
def test_numbers_in_one_cell_are_several_votes(tmp_path, cell):
    votes = read_votes(votes_file(tmp_path, f'id,votes\n1,"{cell}"\n'))
    assert sorted(votes.classes) == ["-2", "3"] and len(votes) == 2


def test_names_with_commas_between_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"(?s)several votes.*line 3"):
        read_votes(votes_file(tmp_path, 'id,votes\n1,cat|dog\n2,"cat, dog"\n'))
    assert read_votes(votes_file(tmp_path, 'id,votes\n2,"[""cat, dog""]"\n')).classes == (
        "cat, dog",
    )


@pytest.mark.parametrize("cell", ["nan, nan", "[nan, nan]", "[nan]", "(NaN,)"])
def test_cells_of_missing_votes_alone_hold_none(tmp_path, cell):
    votes = read_votes(votes_file(tmp_path, f'id,votes\n1,"{cell}"\n2,"(3,)"\n3,"[4.]"\n'))
    assert (votes.samples, votes.classes) == (("2", "3"), ("3", "4"))


def test_all_votes_on_a_sample_may_be_a_list_of_lines_of_json_and_none_inside_of_it(tmp_path):
    lists = votes_file(
        tmp_path, '{"text": "fine", "votes": ["good", "good", "bad"]}', "lists.jsonl"
    )
    assert read_votes(lists).tally().tolist() == [[1, 2]]
    nested = votes_file(
        tmp_path, '{"text": "fine", "votes": [["good", "bad"], []]}', "nested.jsonl"
    )
    with pytest.raises(DataError, match="a list itself"):
        read_votes(nested)
