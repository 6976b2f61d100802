"""Tables of votes as people write them down: long, wide, listed."""

from __future__ import annotations

import pytest
from voted import as_rows, votes_file

from regraft.errors import DataError, UsageError
from regraft.labelling.reader import VotesReader
from regraft.labelling.votes_table import is_votes, read_votes


def test_long_and_wide_tables_say_the_same(tmp_path):
    long = votes_file(tmp_path, "sample,annotator,label\n1,ann,cat\n1,ben,dog\n2,ben,dog\n2,ann,\n")
    wide = votes_file(tmp_path, "id,annotator_ann,annotator_ben\n1,cat,dog\n2,,dog\n", "wide.csv")
    assert as_rows(read_votes(long)) == as_rows(read_votes(wide))
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
    votes = read_votes(votes_file(tmp_path, text))
    assert votes.anonymous
    assert votes.tally().tolist() == [[2, 1], [0, 1]]


def test_an_empty_cell_of_somebody_is_the_vote_that_nothing_applies(tmp_path):
    rows = ["x,ann,cat|dog", "x,ben,", "y,ann,cat", "y,ben,", "z,ann,", "z,,"]
    text = "\n".join(["id,annotator,label", *rows, ""])
    votes = read_votes(votes_file(tmp_path, text))
    barred = read_votes(votes_file(tmp_path, text.replace(",ben,\n", ",ben,|\n"), "bar.csv"))
    assert votes.listed() == barred.listed()
    assert votes.listed()[2] == {"none": 1}
    assert "3 empty cells of people are read as the vote that no class applies" in votes.notes[0]
    assert "1 empty cell is read as missing" in votes.notes[1]
    # Of one class each, or of nobody, it is a missing vote.
    one = read_votes(votes_file(tmp_path, "id,annotator,label\nx,ann,cat\nx,ben,\n", "one.csv"))
    assert (len(one), one.notes) == (1, ())
    asked = votes_file(tmp_path, "id,annotator,label\nx,ann,cat\nx,ben,\n", "asked.csv")
    assert read_votes(asked, scale="multilabel").listed() == [{"cat": 1, "none": 1}]


def test_empty_cells_of_a_wide_table_are_missing_votes_and_counted(tmp_path):
    text = "id,annotator_ann,annotator_ben\nx,cat|dog,\ny,cat,|\nz,,\n"
    votes = read_votes(votes_file(tmp_path, text))
    assert votes.listed() == [{"cat|dog": 1}, {"cat": 1, "none": 1}]
    (note,) = votes.notes
    assert note == "3 empty cells are read as missing votes. | alone says that no class applies."


def test_what_is_no_table_of_votes(tmp_path):
    plain = votes_file(tmp_path, "path,label\na.jpg,cat\n")
    assert not is_votes(plain)
    assert not is_votes(tmp_path)
    with pytest.raises(DataError, match="holds no votes"):
        read_votes(plain)
    with pytest.raises(DataError, match="line 2"):
        read_votes(votes_file(tmp_path, "id,votes\n1,[1\n", "torn.csv"))
    with pytest.raises(DataError, match="no vote"):
        read_votes(votes_file(tmp_path, "id,votes\n1,\n", "empty.csv"))
    with pytest.raises(UsageError, match="no steps"):
        read_votes(votes_file(tmp_path, "id,votes\n1,cat|dog\n", "words.csv"), scale="ordinal")


@pytest.mark.parametrize(
    "text",
    [
        "text,annotator,label\nfine,a,\"['cat', 'dog']\"\nfine,b,cat|dog\nugly,a,\"['dog']\"\n",
        "text,rater_1,rater_2\nfine,\"['cat', 'dog']\",cat|dog\nugly,\"['dog']\",\n",
        "text,vote_1,vote_2\nfine,\"['cat', 'dog']\",cat|dog\nugly,,\"['dog']\"\n",
    ],
)
def test_a_list_that_was_written_out_is_a_list_in_votes_too(tmp_path, text):
    path = votes_file(tmp_path, text)
    votes, dataset = read_votes(path), VotesReader().read(path)
    assert votes.classes == dataset.classes == ("cat", "dog") and dataset.multilabel
    assert "has a list written out" in votes.notes[0]


@pytest.mark.parametrize(
    "header",
    [
        "id,rater_a,rater_a,rater_b",
        "id,rater_1,rater 1,rater_2",
        "id,vote_1,vote_1,vote_2",
        "id,rater_1,worker_1,rater_2",
    ],
)
def test_two_columns_of_one_person_are_refused(tmp_path, header):
    with pytest.raises(DataError, match="Two columns are"):
        read_votes(votes_file(tmp_path, f"{header}\nx,1,2,3\n"))


def test_columns_without_a_name_are_no_votes_and_stand_in_nobodys_way(tmp_path):
    votes = read_votes(votes_file(tmp_path, "id,rater_1,rater_2,,\nx,cat,dog,,\ny,cat,cat,,\n"))
    assert (votes.annotators, votes.per_sample().tolist()) == (("1", "2"), [2, 2])


def test_a_guessed_encoding_is_said_of_the_votes_and_once_of_the_data(tmp_path):
    path = tmp_path / "votes.csv"
    rows = ["text,annotator,label", "Grüße,ann,gut", "Grüße,ben,gut", "Äpfel,ann,schön"]
    path.write_bytes("\n".join(rows).encode("cp1252"))
    said = "The table is not in UTF-8 (line 2 is the first that shows it)."
    assert read_votes(path).notes == (f"votes.csv: {said} Read as Windows-1252.",)
    problems = VotesReader().read(path).problems
    assert [p.what for p in problems].count(said) == 1
    assert not any("Windows" in p.what for p in problems)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("id,rater_1,,rater_2,", "column 3, column 5 hold"),
        ("id,rater_1,Eva,rater_2,note", "Eva holds"),
        ("id,vote_1,,vote_2,", "column 3, column 5 hold"),
    ],
)
def test_a_column_that_holds_what_was_voted_and_is_not_read_is_named(tmp_path, header, said):
    rows = ["x,cat,cat,dog,dog", "y,cat,dog,dog,dog", "z,cat,cat,cat,cat"]
    if header.endswith("note"):
        rows = [f"{row.rpartition(',')[0]},unsure" for row in rows]
    (note,) = read_votes(votes_file(tmp_path, "\n".join([header, *rows, ""]))).notes
    assert note.startswith(f"{said} what was voted, too") and "rater_NAME" in note


def test_numbers_of_rows_and_what_all_people_say_are_no_votes_that_are_missed(tmp_path):
    text = ",id,rater_1,rater_2,rater_majority\n1,x,1,2,1\n2,y,2,2,2\n3,z,1,1,1\n"
    assert read_votes(votes_file(tmp_path, text)).notes == ()


def test_columns_with_a_meaning_of_their_own_are_no_votes_that_are_missed(tmp_path):
    text = "id,group,rater_a,rater_b\nw,1,1,2\nx,1,2,2\ny,2,1,1\nz,2,1,1\n"
    assert read_votes(votes_file(tmp_path, text)).notes == ()


@pytest.mark.parametrize(
    "columns", [f"{name},rater_ann,rater_ben" for name in ("text", "id", "sample")]
)
def test_rows_about_one_sample_are_said_where_each_sample_has_a_row(tmp_path, columns):
    name = "line 2" if columns.startswith("text") else "hello"
    text = f"{columns}\nhello,cat,cat\nhello,cat,cat\nother,dog,dog\n"
    votes = read_votes(votes_file(tmp_path, text))
    assert votes.samples == tuple(sorted((name, "line 4" if "text" in columns else "other")))
    (note,) = votes.notes
    assert note.startswith(f"Several rows are about one sample ({name}), and are read as one.")
    assert ("in a column called id" in note) == columns.startswith("text")
    listed = read_votes(votes_file(tmp_path, "text,votes\nhello,cat|cat\nhello,dog\n", "l.csv"))
    assert listed.listed() == [{"cat": 2, "dog": 1}] and len(listed.notes) == 1
    # With a row for each vote, or a name for each text, nothing is put together.
    long = votes_file(tmp_path, "text,rater,label\nhello,ann,cat\nhello,ben,cat\n", "long.csv")
    text = "id,text,rater_a,rater_b\n1,hello,cat,cat\n2,hello,cat,cat\n"
    ids = votes_file(tmp_path, text, "ids.csv")
    assert read_votes(long).notes == read_votes(ids).notes == ()
