"""Votes as people write them down: long, wide, anonymous; nominal, ordinal, several classes."""

from __future__ import annotations

import pytest

from regraft.errors import DataError, UsageError
from regraft.labelling.votes import is_votes, read_votes


def _table(tmp_path, text: str, name: str = "votes.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def _as_rows(votes):
    return sorted(
        (votes.samples[u], votes.annotators[a] if a >= 0 else "", votes.values[k])
        for u, a, k in zip(votes.sample_v, votes.annotator_v, votes.value_v, strict=True)
    )


def test_long_and_wide_tables_say_the_same(tmp_path):
    long = _table(tmp_path, "sample,annotator,label\n1,ann,cat\n1,ben,dog\n2,ben,dog\n2,ann,\n")
    wide = _table(tmp_path, "id,annotator_ann,annotator_ben\n1,cat,dog\n2,,dog\n", "wide.csv")
    assert _as_rows(read_votes(long)) == _as_rows(read_votes(wide))
    assert read_votes(long).per_sample().tolist() == [2, 1]
    assert read_votes(long).scale == "nominal"


@pytest.mark.parametrize(
    "text",
    [
        "path,votes\na.jpg,cat|cat|dog\nb.jpg,dog\n",
        'path;votes\na.jpg;"[""cat"", ""cat"", ""dog""]"\nb.jpg;"[""dog""]"\n',
        "path,vote_1,vote_2,vote_3\na.jpg,cat,cat,dog\nb.jpg,,dog,\n",
        "path,annotator,label\na.jpg,,cat\na.jpg,,cat\na.jpg,,dog\nb.jpg,,dog\n",
    ],
)
def test_anonymous_votes(tmp_path, text):
    votes = read_votes(_table(tmp_path, text))
    assert votes.anonymous
    assert votes.tally().tolist() == [[2, 1], [0, 1]]


def test_steps_of_a_scale_are_known_by_a_negative_one_and_keep_their_order(tmp_path):
    votes = read_votes(_table(tmp_path, 'id,votes\n1,"[-2, 10, 9]"\n2,"[-1, 0]"\n'))
    assert votes.scale == "ordinal"
    assert votes.classes == ("-2", "-1", "0", "9", "10")
    positive = _table(tmp_path, 'id,votes\n1,"[2, 10]"\n', "positive.csv")
    assert read_votes(positive).scale == "nominal"
    assert read_votes(positive, scale="ordinal").classes == ("2", "10")


def test_votes_for_several_classes_or_none(tmp_path):
    votes = read_votes(_table(tmp_path, "id,annotator,label\n1,a,cat|dog\n1,b,[]\n2,a,cat\n"))
    assert votes.scale == "multilabel"
    assert votes.classes == ("cat", "dog")
    assert votes.tally().tolist() == [[1, 1], [1, 0]]
    lists = _table(tmp_path, 'id,votes\n1,"[[""cat"",""dog""],[]]"\n', "lists.csv")
    assert read_votes(lists).values == ((), ("cat", "dog"))


def test_the_later_vote_of_one_person_counts(tmp_path):
    votes = read_votes(_table(tmp_path, "id,annotator,label\n1,a,cat\n1,a,dog\n"))
    assert _as_rows(votes) == [("1", "a", ("dog",))]


def test_names_like_markup_are_names(tmp_path):
    votes = read_votes(_table(tmp_path, "id,annotator,label\n1,a,<script>\n"))
    assert votes.classes == ("<script>",)


def test_what_is_no_table_of_votes(tmp_path):
    plain = _table(tmp_path, "path,label\na.jpg,cat\n")
    assert not is_votes(plain)
    assert not is_votes(tmp_path)
    with pytest.raises(DataError, match="holds no votes"):
        read_votes(plain)
    with pytest.raises(DataError, match="line 2"):
        read_votes(_table(tmp_path, "id,votes\n1,[1\n", "torn.csv"))
    with pytest.raises(DataError, match="no vote"):
        read_votes(_table(tmp_path, "id,votes\n1,\n", "empty.csv"))
    with pytest.raises(UsageError, match="no steps"):
        read_votes(_table(tmp_path, "id,votes\n1,cat|dog\n", "words.csv"), scale="ordinal")


def test_texts_are_samples_too_called_by_their_first_line(tmp_path):
    rows = ["text,annotator,label", "good,ann,yes", "bad,ann,no", "good,ben,no"]
    votes = read_votes(_table(tmp_path, "\n".join(rows) + "\n"))
    assert votes.samples == ("line 2", "line 3")
    assert votes.per_sample().tolist() == [2, 1]
    wide = _table(tmp_path, "id,text,annotator_ann\na,good,yes\n", "wide.csv")
    assert read_votes(wide).samples == ("a",)
