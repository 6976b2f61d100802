"""Votes as people write them down: long, wide, anonymous; nominal, ordinal, several classes."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regraft.dataset import check_reader
from regraft.errors import DataError, UsageError
from regraft.labelling.reader import AnyReader, VotesReader
from regraft.labelling.votes import is_votes, layout_of, read_votes


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


def test_an_empty_cell_of_somebody_is_the_vote_that_nothing_applies(tmp_path):
    rows = ["x,ann,cat|dog", "x,ben,", "y,ann,cat", "y,ben,", "z,ann,", "z,,"]
    text = "\n".join(["id,annotator,label", *rows, ""])
    votes = read_votes(_table(tmp_path, text))
    barred = read_votes(_table(tmp_path, text.replace(",ben,\n", ",ben,|\n"), "bar.csv"))
    assert votes.listed() == barred.listed()
    assert votes.listed()[2] == {"none": 1}
    assert "3 empty cells of people are read as the vote that no class applies" in votes.notes[0]
    assert "1 empty cell is read as missing" in votes.notes[1]
    # Of one class each, or of nobody, it is a missing vote.
    one = read_votes(_table(tmp_path, "id,annotator,label\nx,ann,cat\nx,ben,\n", "one.csv"))
    assert (len(one), one.notes) == (1, ())
    asked = _table(tmp_path, "id,annotator,label\nx,ann,cat\nx,ben,\n", "asked.csv")
    assert read_votes(asked, scale="multilabel").listed() == [{"cat": 1, "none": 1}]


def test_empty_cells_of_a_wide_table_are_missing_votes_and_counted(tmp_path):
    text = "id,annotator_ann,annotator_ben\nx,cat|dog,\ny,cat,|\nz,,\n"
    votes = read_votes(_table(tmp_path, text))
    assert votes.listed() == [{"cat, dog": 1}, {"cat": 1, "none": 1}]
    (note,) = votes.notes
    assert note == "3 empty cells are read as missing votes. | alone says that no class applies."


def test_what_empty_cells_are_taken_for_is_said_of_the_data(tmp_path):
    rows = ["first text,ann,cat|dog", "second text,ann,", "third text,ann,dog"]
    path = _table(tmp_path, "\n".join(["text,annotator,label", *rows, ""]))
    dataset = VotesReader().read(path)
    assert len(dataset) == 3
    assert [p.kind for p in dataset.problems] == ["votes", "votes"]
    assert "1 empty cell of somebody is read as" in dataset.problems[1].what


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
        path = _table(tmp_path, "\n".join(map(json.dumps, lines)), f"{name}.jsonl")
        pq.write_table(pa.Table.from_pylist(lines), tmp_path / f"{name}.parquet")
        for table in (path, tmp_path / f"{name}.parquet"):
            votes = read_votes(table)
            assert (votes.scale, votes.values) == ("multilabel", ((), ("cat",), ("cat", "dog")))
            assert votes.per_sample().tolist() == [2, 1]
    one = [{"id": "1", "annotator": "a", "labels": []}, {"id": "2", "annotator": "a", "labels": []}]
    votes = read_votes(_table(tmp_path, "\n".join(map(json.dumps, one)), "none.jsonl"))
    assert (votes.samples, votes.values) == (("1", "2"), ((),))


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
    wide = _table(tmp_path, "id,text,annotator_ann,annotator_ben\na,good,yes,\n", "wide.csv")
    assert read_votes(wide).samples == ("a",)


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
    ],
)
def test_who_voted_may_stand_in_a_column_of_another_name(tmp_path, header):
    votes = read_votes(_table(tmp_path, f"{header}\na.jpg,ann,cat\na.jpg,ben,dog\n"))
    assert _as_rows(votes) == [("a.jpg", "ann", ("cat",)), ("a.jpg", "ben", ("dog",))]


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
    assert not is_votes(_table(tmp_path, table))


def test_labels_stand_beside_columns_about_the_voting(tmp_path):
    table = _table(tmp_path, "text,label,votes\nfine,good,3\nugly,bad,12\n")
    assert AnyReader().read(table).classes == ("bad", "good")


def test_lines_of_json_hold_votes_too_and_what_is_read_as_votes_is_said(tmp_path):
    rows = [("fine", "ann", "good"), ("fine", "ben", "good"), ("ugly", "ann", "bad")]
    lines = [json.dumps(dict(zip(("text", "annotator", "label"), r, strict=True))) for r in rows]
    table = _table(tmp_path, "\n".join(lines), "votes.jsonl")
    dataset = AnyReader().read(table)
    assert [sample.source for sample in dataset] == ["fine", "ugly"]
    said = "The columns annotator, label are read as votes."
    assert [p.what for p in dataset.problems if p.kind == "votes"] == [said]
    lists = _table(tmp_path, '{"text": "fine", "votes": ["good", "good", "bad"]}', "lists.jsonl")
    assert read_votes(lists).tally().tolist() == [[1, 2]]
    nested = _table(tmp_path, '{"text": "fine", "votes": [["good", "bad"], []]}', "nested.jsonl")
    with pytest.raises(DataError, match="a list itself"):
        read_votes(nested)


def test_many_columns_of_people_are_named_in_part():
    said = layout_of(["path", *(f"annotator_{n}" for n in range(7))]).said()
    assert said.endswith("annotator_4 and 2 more are read as votes, one person each.")


def _pictures(folder, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_however_a_path_is_written_votes_and_samples_are_called_alike(tmp_path):
    _pictures(tmp_path, "img/1.jpg", "img/2.jpg")
    spelt = ["img/1.jpg", "./img/1.jpg", "img//1.jpg", "img\\1.jpg", str(tmp_path / "img/1.jpg")]
    rows = [f"{path},person {n},cat" for n, path in enumerate(spelt)]
    rows += ["img\\2.jpg,ann,dog", "gone\\3.jpg,ann,dog"]
    table = _table(tmp_path, "\n".join(["path,annotator,label", *rows]))
    votes = read_votes(table)
    assert votes.samples == ("gone\\\\3.jpg", "img/1.jpg", "img/2.jpg")
    assert votes.per_sample().tolist() == [1, 5, 1]
    assert [sample.id for sample in AnyReader().read(table)] == ["img/1.jpg", "img/2.jpg"]


def test_texts_beside_paths_are_called_as_their_voters_called_them(tmp_path):
    rows = ["mails/1.eml,fine,ann,good", "mails/1.eml,fine,ben,good", "mails/2.eml,ugly,ann,bad"]
    table = _table(tmp_path, "\n".join(["path,text,annotator,label", *rows]))
    dataset = AnyReader().read(table)
    assert dataset.task == "text-classification"
    assert (
        tuple(s.id for s in dataset) == read_votes(table).samples == ("mails/1.eml", "mails/2.eml")
    )


def test_votes_on_parts_of_a_video_are_votes_on_clips(tmp_path):
    _pictures(tmp_path, "a.mp4", "b.mp4")
    rows = ["a.mp4,0,6,ann,calm", "./a.mp4,0,6,ben,calm", "a.mp4,6,12,ann,busy", "b.mp4,,,ann,busy"]
    table = _table(tmp_path, "\n".join(["path,start,stop,annotator,label", *rows]))
    dataset = AnyReader().read(table)
    assert [(sample.id, sample.span_s, sample.target) for sample in dataset] == [
        ("a.mp4@0.00-6.00s", (0.0, 6.0), 1),
        ("a.mp4@6.00-12.00s", (6.0, 12.0), 0),
        ("b.mp4", None, 0),
    ]
    assert read_votes(table).samples == tuple(sample.id for sample in dataset)


def test_samples_that_nobody_voted_on_are_left_out_and_said(tmp_path):
    _pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    rows = ["a.jpg,cat,dog", "b.jpg,,", "c.jpg,,dog"]
    table = _table(tmp_path, "\n".join(["path,annotator_ann,annotator_ben", *rows]))
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
    table = _table(tmp_path, text)
    votes, dataset = read_votes(table), AnyReader().read(table)
    assert votes.scale == "multilabel" and dataset.multilabel
    assert votes.classes == dataset.classes == ("cat", "dog")
    assert [sample.target for sample in dataset] == [(0, 1), (1,)]


def test_votes_in_one_cell_are_separated_either_way(tmp_path):
    table = _table(tmp_path, "path,votes\na.jpg,cat;cat;dog\nb.jpg,dog|cat|dog\n")
    assert read_votes(table).tally().tolist() == [[2, 1], [1, 2]]


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
    votes = read_votes(_table(tmp_path, "id,votes\n1,\u22122|+1|1.50|1.5\n"))
    assert (votes.scale, votes.classes) == ("ordinal", ("-2", "1", "1.5"))
    assert read_votes(_table(tmp_path, "id,votes\n1,007|7|7.0\n")).classes == ("007", "7", "7.0")
    kinds = read_votes(_table(tmp_path, "id,votes\n1,none|few|none\n"))
    assert kinds.classes == ("few", "none")


@pytest.mark.parametrize("cell", ["3, nan, -2", "3 NaN -2", "(3, -2)", "[3. -2. nan]", "[3, -2.0]"])
def test_numbers_in_one_cell_are_several_votes(tmp_path, cell):
    votes = read_votes(_table(tmp_path, f'id,votes\n1,"{cell}"\n'))
    assert sorted(votes.classes) == ["-2", "3"] and len(votes) == 2


def test_names_with_commas_between_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"(?s)several votes.*line 3"):
        read_votes(_table(tmp_path, 'id,votes\n1,cat|dog\n2,"cat, dog"\n'))
    assert read_votes(_table(tmp_path, 'id,votes\n2,"[""cat, dog""]"\n')).classes == ("cat, dog",)


def test_means_of_all_people_are_no_people(tmp_path):
    text = "id,rater_1,rater_2,rater_mean,rater_STD\n1,-1,2,0.5,1.5\n2,2,2,2,0\n"
    votes = read_votes(_table(tmp_path, text))
    assert (votes.annotators, votes.classes) == (("1", "2"), ("-1", "2"))
    told = layout_of(("id", "rater_1", "rater_2", "rater_mean")).said()
    assert "Of rater_mean nothing is read" in told


@pytest.mark.parametrize(
    "header",
    ["item,coder,rating", "task,worker,label", "filename,annotator,label", "text,rater,vote"],
)
def test_long_tables_have_several_names_for_their_columns(tmp_path, header):
    votes = read_votes(_table(tmp_path, f"{header}\na,ann,x\na,ben,y\nb,ann,x\n"))
    assert votes.annotators == ("ann", "ben") and votes.per_sample().tolist() == [2, 1]


@pytest.mark.parametrize("columns", ["rater1,rater2", "worker 1,worker 2", "coder-1,coder-2"])
def test_people_are_numbered_in_several_ways(tmp_path, columns):
    assert read_votes(_table(tmp_path, f"id,{columns}\na,x,y\n")).annotators == ("1", "2")


def test_votes_on_files_may_name_them_in_another_column(tmp_path):
    rows = [f"img/{n}.jpg,{who},cat" for n in range(4) for who in "ab"]
    path = _table(tmp_path, "\n".join(["image,annotator,label", *rows]))
    assert is_votes(path) and not VotesReader().recognises(path)
    _pictures(tmp_path, *(f"img/{n}.jpg" for n in range(4)))
    data = VotesReader().read(path)
    assert VotesReader().recognises(path) and len(data) == 4
    assert "read as path" in [problem.done for problem in data.problems]


def test_a_column_of_ratings_beside_classes_is_no_vote():
    assert layout_of(("text", "ratings")).kind == "anonymous"
    assert layout_of(("text", "ratings", "category")) is None


@pytest.mark.parametrize("column", ["task", "item", "id", "sample"])
def test_a_column_that_calls_several_texts_alike_names_none_of_them(tmp_path, column):
    rows = ["good film,sentiment,a,pos", "bad film,sentiment,b,neg", "good film,sentiment,b,pos"]
    path = _table(tmp_path, "\n".join([f"text,{column},annotator,label", *rows]))
    votes = read_votes(path)
    assert votes.samples == ("line 2", "line 3")
    said = f"The column {column} has one name for several texts, so it names no samples."
    assert said in votes.notes
    dataset = VotesReader().read(path)
    assert [sample.source for sample in dataset] == ["good film", "bad film"]
    assert said in [problem.what for problem in dataset.problems]


def test_a_name_has_one_text_where_it_stands_in_one_row_alone(tmp_path):
    text = "id,text,annotator,label\n7,good,a,x\n7,,b,y\n8,bad,a,y\n8,bad ,b,y\n"
    votes = read_votes(_table(tmp_path, text))
    assert (votes.samples, votes.notes) == (("7", "8"), ())


def test_a_sample_without_a_name_is_called_by_its_line(tmp_path):
    text = "id,text,annotator,label\n,good,a,x\n,bad,a,y\n7,odd,a,y\n"
    assert read_votes(_table(tmp_path, text)).samples == ("7", "line 2", "line 3")
    wide = _table(tmp_path, "id,rater_1,rater_2\n,x,y\n,y,y\n", "wide.csv")
    assert read_votes(wide).samples == ("line 2", "line 3")


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


@pytest.mark.parametrize(
    "text",
    [
        "text,annotator,label\nfine,a,\"['cat', 'dog']\"\nfine,b,cat|dog\nugly,a,\"['dog']\"\n",
        "text,rater_1,rater_2\nfine,\"['cat', 'dog']\",cat|dog\nugly,\"['dog']\",\n",
        "text,vote_1,vote_2\nfine,\"['cat', 'dog']\",cat|dog\nugly,,\"['dog']\"\n",
    ],
)
def test_a_list_that_was_written_out_is_a_list_in_votes_too(tmp_path, text):
    path = _table(tmp_path, text)
    votes, dataset = read_votes(path), VotesReader().read(path)
    assert votes.classes == dataset.classes == ("cat", "dog") and dataset.multilabel
    assert "has a list written out" in votes.notes[0]


def test_clips_keep_times_of_other_names(tmp_path):
    _pictures(tmp_path, "a.mp4")
    rows = ['a.mp4,0,"6,5",ann,3', 'a.mp4,0,"6,5",ben,3', "a.mp4,7,12,ann,4"]
    table = _table(tmp_path, "\n".join(["path,start_time,end_time,annotator,label", *rows]))
    dataset = AnyReader().read(table)
    assert [sample.span_s for sample in dataset] == [(0.0, 6.5), (7.0, 12.0)]
    assert [sample.id for sample in dataset] == list(read_votes(table).samples)
    assert len(set(dataset.problems)) == len(dataset.problems)


def test_long_numbers_and_codes_stay_apart(tmp_path):
    long = ("12345678901234567890", "12345678901234567891")
    votes = read_votes(_table(tmp_path, f"id,votes\n1,{long[0]}|{long[1]}.0|-0|0.00|+1.50\n"))
    assert votes.classes == ("0", "1.5", *long)


@pytest.mark.parametrize("word", ["none", "NA", "n/a"])
def test_a_class_that_is_a_word_for_nothing_stays_beside_numbers(tmp_path, word):
    votes = read_votes(_table(tmp_path, f"id,rater_1,rater_2\n1,3,{word}\n2,2,3\n"))
    assert votes.classes == ("2", "3", word)


def test_numbers_that_are_none_are_counted(tmp_path):
    votes = read_votes(_table(tmp_path, 'id,votes\n1,"3, NaN"\n2,"[nan, nan]"\n3,"-1, 3"\n'))
    assert len(votes) == 3
    assert votes.notes == (
        "3 votes of NaN or null are read as missing, because all others are numbers.",
    )


@pytest.mark.parametrize("cell", ["nan, nan", "[nan, nan]", "[nan]", "(NaN,)"])
def test_cells_of_missing_votes_alone_hold_none(tmp_path, cell):
    votes = read_votes(_table(tmp_path, f'id,votes\n1,"{cell}"\n2,"(3,)"\n3,"[4.]"\n'))
    assert (votes.samples, votes.classes) == (("2", "3"), ("3", "4"))


@pytest.mark.parametrize("label", ["new\u00a0york", "a\\b", "tab\tbed", "\\\\xa0 \\q"])
def test_classes_are_called_alike_in_votes_and_in_their_data(tmp_path, label):
    path = tmp_path / "votes.jsonl"
    rows = [{"text": "fine", "annotator": "a", "label": label}]
    rows += [{"text": "ugly", "annotator": "a", "label": "other"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert VotesReader().read(path).classes == read_votes(path).classes


def test_what_is_said_of_all_people_is_no_person_and_initials_are_one():
    figures = ("majority", "mean_score", "agreement_pct", "gold", "consensus_label", "final")
    header = ("id", "rater_a", "rater_b", "rater_sd", *(f"rater_{name}" for name in figures))
    assert layout_of(header).columns == ("rater_a", "rater_b")
    initials = layout_of(("id", "rater_a", "rater_sd", "rater_var", "rater_majority"))
    assert initials.columns == ("rater_a", "rater_sd", "rater_var")


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
        read_votes(_table(tmp_path, f"{header}\nx,1,2,3\n"))


def test_a_damaged_table_of_votes_is_recognised_and_refused_where_it_is_read(tmp_path):
    path = _table(tmp_path, "image,annotator_a,annotator_b\n1.jpg,cat\n")
    assert VotesReader().recognises(path)
    with pytest.raises(DataError, match="2 cells"):
        VotesReader().read(path)
