"""Texts in: tables, folders, encodings, near copies."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import regraft
from regraft.dataset import (
    check_reader,
    describe,
    guess_task,
    read,
    read_all,
    read_unlabelled_texts,
    texts,
)
from regraft.dataset.folder import TextFolderReader
from regraft.dataset.table import columns_of
from regraft.dataset.table_columns import lines_of
from regraft.dataset.table_rows import TableReader
from regraft.dataset.unlabelled import recognises_texts
from regraft.errors import DataError, UnreadableSample
from regraft.events import Said

MAIL = (
    "dear customer we are glad to offer you a new loan at the best rate of the year "
    "please answer this mail with your name and the amount that you would like to have"
)
TALK = (
    "the patch applies to the current tree but the test of the driver still fails on my machine "
    "so could you please look at the log that i have put on the server of the project"
)


def rows(count: int = 12) -> list[tuple[str, str]]:
    return [(f"{'free money' if i % 2 else 'kernel patch'} {i}", "ab"[i % 2]) for i in range(count)]


def texts_in(path: Path, column: str = "") -> list[str]:
    lines, _ = lines_of(path, column)
    return [text for _, text in lines]


def write_csv(path: Path, header: list[str], lines: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *lines])
    return path


def test_a_table_of_texts_is_read_and_split(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "mails.csv", ["text", "label"], rows())
    dataset = read(path)
    assert dataset.task == guess_task(path) == "text-classification"
    assert dataset.classes == ("a", "b")
    assert len(dataset) == 12
    assert {sample.source for sample in dataset} == {text for text, _ in rows()}
    assert all(sample.sha256 and sample.split for sample in dataset)
    assert describe(dataset)["sizes"]["characters"]["max"] == 15


def test_texts_are_called_texts(tmp_path: Path) -> None:
    rows = [(f"{word} alone", label) for word, label in zip("uvwxyz", "aaabbc", strict=True)]
    path = write_csv(tmp_path / "t.csv", ["text", "label"], rows)
    told = " ".join(problem.what for problem in read(path).problems)
    assert "The class b has 2 texts" in told
    assert "The class c has 1 text " in told
    assert "no text of c" in told
    assert "picture" not in told
    path = write_csv(tmp_path / "one.csv", ["text", "label"], rows[:3])
    with pytest.raises(DataError, match="only the class a to train on") as caught:
        read(path)
    assert caught.value.mend == "add texts of other classes"


def test_json_lines_and_parquet_give_the_same_texts(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    objects = [{"body": text, "category": label} for text, label in rows()]
    lines = tmp_path / "mails.jsonl"
    lines.write_text("\n".join(map(json.dumps, objects)), encoding="utf-8-sig")
    table = tmp_path / "mails.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(objects), table)
    one, other = read(lines), read(table)
    assert [s.source for s in one] == [s.source for s in other]
    assert [s.target for s in one] == [s.target for s in other]
    check_reader(TableReader(), lines)


def test_a_long_column_is_found_whatever_it_is_called(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ["Nachricht", "label"], [(MAIL, "a"), (TALK, "b")])
    assert texts_in(path) == [MAIL, TALK]


def test_a_folder_of_text_files(tmp_path: Path) -> None:
    for i in range(6):
        for name in ("ham", "spam"):
            (tmp_path / "mails" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "mails" / name / f"{i}.txt").write_text(f"{name} says {i}\r\n")
    (tmp_path / "mails" / "ham" / "latin.txt").write_bytes(
        "Gr\xfc\xdfe aus K\xf6ln".encode("latin-1")
    )
    (tmp_path / "mails" / "ham" / "older.txt").write_bytes(b"Gr\xfc\xdfe \x81 aus Bonn")
    (tmp_path / "mails" / "spam" / "wide.txt").write_bytes("Grüße".encode("utf-16"))
    dataset = read(tmp_path / "mails")
    by_id = {sample.id: sample.source for sample in dataset}
    assert dataset.task == "text-classification"
    assert by_id["ham/latin.txt"] == "Grüße aus Köln"
    assert by_id["spam/wide.txt"] == "Grüße"
    assert by_id["ham/0.txt"] == "ham says 0\n"
    assert by_id["ham/older.txt"] == "Grüße \x81 aus Bonn"
    assert [(p.kind, p.where, p.done) for p in dataset.problems] == [
        ("encoding", "ham/latin.txt", "read as Windows-1252"),
        ("encoding", "ham/older.txt", "read as Latin-1"),
    ]
    check_reader(TextFolderReader(), tmp_path / "mails")


def test_pictures_are_not_texts(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.jpg").write_bytes(b"")
    (tmp_path / "cat" / "notes.txt").write_text("about the cat")
    assert guess_task(tmp_path) == "image-classification"


def mails_with_a_picture(root: Path) -> Path:
    for i in range(12):
        for name in ("ham", "spam"):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f"{i}.txt").write_text(f"{name} says {i}, {name} says it again")
    for name in ("logo.png", "ham/photo.png"):
        Image.new("RGB", (32, 32)).save(root / name)
    return root


def test_a_picture_among_mails_does_not_make_them_pictures(tmp_path: Path) -> None:
    told: list = []
    dataset = read(mails_with_a_picture(tmp_path), tell=told.append)
    assert (dataset.task, len(dataset)) == ("text-classification", 24)
    ignored = [(p.kind, p.where, p.what, p.done) for p in dataset.problems]
    what = "This is a picture, by its name."
    assert ignored == [("not-a-text", where, what, "ignored")
                       for where in ("ham/photo.png", "logo.png")]  # fmt: skip
    assert Said("2 pictures are not read: most files here are texts") in told
    (tmp_path / "stray.txt").write_text("a mail of no class")
    stray = [p for p in read(tmp_path).problems if p.where == "stray.txt"]
    assert [(p.kind, p.what, p.done) for p in stray] == [
        ("no-class", "The text lies in no class folder.", "set aside")
    ]


def test_the_task_that_was_named_chooses_the_files(tmp_path: Path) -> None:
    for i in range(12):
        for name in ("cat", "dog"):
            (tmp_path / name).mkdir(exist_ok=True)
            colour = (9 * i, 100 * (name == "dog"), 40)
            Image.new("RGB", (32, 32), colour).save(tmp_path / name / f"{i}.png")
            (tmp_path / name / f"{i}.txt").write_text(f"Here a {name} is seen by {chr(97 + i)}")
    assert read(tmp_path).task == "image-classification"
    dataset = read(tmp_path, task="text-classification")
    assert (dataset.task, len(dataset)) == ("text-classification", 24)
    assert regraft.inspect(tmp_path, task="text-classification")["task"] == "text-classification"
    with pytest.raises(DataError, match="image-classification, not for video-classification"):
        read(tmp_path, task="video-classification")


def test_texts_in_no_class_folders_are_called_texts(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text("some text")
    with pytest.raises(DataError, match="are 3 texts but no classes") as caught:
        read(tmp_path)
    assert "mails/spam/1.txt" in caught.value.mend


def test_a_text_longer_than_pythons_limit_is_read(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    long = "word " * 60_000
    path = write_csv(tmp_path / "t.csv", ["text", "label"], [(long, "a"), *rows()])
    assert max(len(str(sample.source)) for sample in read(path)) == len(long)
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"text,label\nhello there,a\nhello,b,c\n", "line 3"),
        (b'text,label\nx,a\n"never closed,a\nb,c\nd,e\n', "line 3.*is never closed"),
        (b'text,label\n"two\nlines"x,a\n', r"line 2.*expected after.*\(line 3\)"),
        (b'text,label\n"two\nlines",a,b\n', "line 2: The row has 3 cells, the header 2"),
        (b"text,text,label\na,b,c\n", "Two columns are called text"),
        (b"x,y\n1,2\n", "which column holds texts"),
        (b"text\nhello\n", "no column `label`"),
        (
            "text,label\nGrüße,a\nK".encode() + "öln,b\n".encode("latin-1"),
            "line 3: This is not UTF",
        ),
        (b"text,label\nx,a\ny \x81 z,b\n", "line 3: This is neither UTF-8 nor Windows-1252"),
        ("text,label\nGr\n".encode("utf-16") + b"\x00", "line 3: This is no UTF-16"),
        ("text,label\nGr\n".encode("utf-32"), "line 1: This is in UTF-32"),
        (b"text|label\nhello|a\n", r"line 1: The cells are separated by \|"),
        (b"hello there,ham\nbye,ham\n", "line 1: The first row seems to be data"),
        (b"sep=;\ntext;label\nx;a\ny\n", "line 4: The row has 1 cells, the header 2"),
        (b'sep=,\ntext,label\nx,a\n"y', "line 4.*is never closed"),
    ],
)
def test_faults_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert re.search(what, f"{caught.value.where}: {caught.value.what}", re.DOTALL)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_in_any_usual_encoding(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["text;label", *(f'"Grüße, Nr. {i}{end}aus Köln";{"äb"[i % 2]}' for i in range(8))]
    path = tmp_path / "t.csv"
    path.write_bytes(end.join(lines).encode(encoding))
    dataset = read(path)
    assert dataset.classes == ("b", "ä")
    assert sorted(str(s.source) for s in dataset) == [f"Grüße, Nr. {i}\naus Köln" for i in range(8)]
    assert min(s.id for s in dataset) == "line 02"
    told = [p for p in dataset.problems if p.kind == "encoding"]
    assert len(told) == (encoding in ("latin-1", "cp1252"))
    assert all("line 2 " in p.what and p.done == "read as Windows-1252" for p in told)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_columns_are_known_in_any_usual_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("E-Mail;Größe;Nachricht\na@b.c;5 €;Grüße aus Köln\n".encode(encoding))
    assert columns_of(path) == ("E-Mail", "Größe", "Nachricht")


def test_letters_side_by_side_in_windows_1252_are_no_second_encoding(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    cells = ["„Spaß“ muß sein", "« café »", "Grüße", "über Köln", "Äpfel"]
    lines = ["text;label", *(f"{cells[i % 5]} {i};{'ab'[i % 2]}" for i in range(10))]
    path.write_bytes("\n".join(lines).replace("café »", "café\xa0»").encode("cp1252"))
    assert any("Spaß“" in str(sample.source) for sample in read(path))
    path.write_bytes(path.read_bytes() + "\nschön und größer;a".encode())
    with pytest.raises(DataError, match="not UTF-8, though other lines are"):
        read(path)


def test_columns_that_are_named_are_taken(tmp_path: Path) -> None:
    lines = [(text, "a text that is not meant", "x", label) for text, label in rows()]
    path = write_csv(tmp_path / "t.csv", ["note", "text", "label", "Sort"], lines)
    reader = TableReader(text="note", label="Sort")
    dataset = read(path, reader=reader)
    assert dataset.classes == ("a", "b")
    assert {sample.source for sample in dataset} == {text for text, _ in rows()}
    assert texts_in(path, "note") == [text for text, _ in rows()]
    with pytest.raises(DataError, match="no column nope; there are note, text, label, Sort"):
        TableReader(text="nope").read(path)


def test_columns_that_are_called_otherwise_lead_to_the_option(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ["Nachricht", "Sorte"], [(MAIL, "a"), (TALK, "b")])
    for reader in (TableReader(), TableReader(text="Nachricht")):
        with pytest.raises(DataError, match="it has Nachricht, Sorte") as caught:
            reader.read(path)
        assert "--columns text=Nachricht,label=Sorte" in caught.value.mend
    path = write_csv(tmp_path / "t.csv", ["text", "label"], rows())
    with pytest.raises(DataError, match="it has text, label.*--columns takes text for the cl"):
        TableReader(label="text").read(path)


@pytest.mark.parametrize("line", ["sep=|", '"sep=|"', "SEP=|\r"])
def test_a_line_that_names_the_separator_is_obeyed(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join([line, "text|label|Sort", *(f"{t},;|{s}|x" for t, s in rows())]))
    dataset = read(path)
    assert {sample.source for sample in dataset} == {f"{text},;" for text, _ in rows()}
    assert min(sample.id for sample in dataset) == "line 03"
    assert columns_of(path) == ("text", "label", "Sort")


def test_a_message_never_shows_a_whole_letter(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [MAIL * 9, "a"], [(MAIL, "a"), (TALK, "b")])
    with pytest.raises(DataError, match="first row seems to be data") as caught:
        read(path)
    assert len(str(caught.value)) < 500
    with pytest.raises(DataError, match="There is no column x; there are dear customer") as caught:
        TableReader(text="x").read(path)
    assert len(str(caught.value)) < 500
    with pytest.raises(DataError, match="first row seems to be data"):
        lines_of(write_csv(tmp_path / "t.csv", [MAIL, TALK], [(MAIL, TALK), (TALK, MAIL)]))


def test_texts_that_are_bytes_are_refused_with_their_type(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    columns = {"body": [MAIL.encode(), TALK.encode()], "subject": [MAIL, TALK], "label": ["a", "b"]}
    parquet.write_table(pyarrow.table(columns), path)
    for reader in (TableReader(), TableReader(text="body")):
        with pytest.raises(DataError, match="Column body is of type binary, no text"):
            reader.read(path)
    assert len(TableReader(text="subject").read(path)) == 2


def test_columns_of_words_that_are_not_read_are_named(tmp_path: Path) -> None:
    lines = [("about money or patches", str(i), t, s) for i, (t, s) in enumerate(rows())]
    path = write_csv(tmp_path / "t.csv", ["subject", "id", "body", "kind"], lines)
    (told,) = [p for p in TableReader(label="kind").read(path).problems if p.kind == "columns"]
    assert told.where == "t.csv"
    assert told.what == (
        "The texts are in body; subject is not read. "
        "--columns text=subject,label=kind reads another."
    )
    for reader in (TableReader(text="body", label="kind"), TableReader(text="id", label="kind")):
        assert not reader.read(path).problems


def test_equal_rows_are_the_same_text_and_no_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ["text", "label"], [*rows(), rows()[0]])
    (told,) = [p.what for p in read(path).problems if p.kind == "duplicate"]
    assert told == "The same text as line 14."


@pytest.mark.parametrize(
    ("paths", "is_text"),
    [
        (["in/1.eml", "in/2.eml"], True),
        (["17", "18"], True),
        (["notes.txt", "17"], True),
        (["gone.jpg", "17"], False),
        (["picture", "17"], False),
    ],
)
def test_a_table_of_paths_and_texts(tmp_path: Path, paths: list[str], is_text: bool) -> None:
    (tmp_path / "notes.txt").write_text("some")
    (tmp_path / "picture").write_bytes(b"")
    lines = [(paths[0], MAIL, "a"), (paths[1], TALK, "b")]
    path = write_csv(tmp_path / "t.csv", ["path", "text", "label"], lines)
    assert guess_task(path) == ("text-classification" if is_text else "image-classification")
    if is_text:
        assert {sample.source for sample in TableReader().read(path)} == {MAIL, TALK}


def test_mails_whose_parts_were_undone_before_are_said(tmp_path: Path) -> None:
    head = "From: a\nDate: b\nSubject: c\nContent-Transfer-Encoding: base64\n\n"
    lines = [(head + text, label) for text, label in rows()]
    dataset = read(write_csv(tmp_path / "t.csv", ["text", "label"], lines))
    assert "c\n\nkernel patch 0" in {sample.source for sample in dataset}
    said = [(p.what, p.done) for p in dataset.problems if p.kind == "encoding"]
    what = "A part of it is not in the transfer encoding that it names."
    assert set(said) == {(what, "read as it stands")}


def test_half_a_character_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [{"text": text, "label": label} for text, label in rows()]
    path.write_text("\n".join(map(json.dumps, [*lines, {"text": "a \ud800", "label": "a"}])))
    dataset = read(path, max_bad=0.5)
    assert [(p.kind, p.where) for p in dataset.problems] == [("not-a-text", "line 13")]


def test_a_damaged_text_of_parquet_is_named(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    columns = {"text": [TALK, MAIL], "label": ["a", "b"]}
    parquet.write_table(pyarrow.table(columns), path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"loan", b"lo\xffn"))
    with pytest.raises(DataError, match="Column text holds bytes that are no UTF-8") as caught:
        read(path)
    assert caught.value.where == f"{path}, line 2"
    assert caught.value.mend


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_a_number_that_is_none_is_no_label(tmp_path: Path, name: str) -> None:
    import pyarrow
    from pyarrow import parquet

    objects = [{"text": text, "label": float(label == "a")} for text, label in rows()]
    objects.append({"text": MAIL, "label": float("nan")})
    path = tmp_path / name
    if name.endswith("l"):
        path.write_text("\n".join(map(json.dumps, objects)))
    else:
        parquet.write_table(pyarrow.Table.from_pylist(objects), path)
    dataset = read(path)
    assert dataset.classes == ("0.0", "1.0")
    assert [(p.kind, p.where) for p in dataset.problems] == [("no-label", "line 13")]


def test_the_word_nan_is_a_class_like_another(tmp_path: Path) -> None:
    lines = [(text, {"a": "NaN"}.get(label, label)) for text, label in rows()]
    assert read(write_csv(tmp_path / "t.csv", ["text", "label"], lines)).classes == ("NaN", "b")


def test_lists_and_objects_are_no_texts_and_numbers_are(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [{"text": text, "label": label} for text, label in rows()]
    odd = [{"text": odd, "label": "a"} for odd in ({"a": 1}, ["one", "two"], 123)]
    path.write_text("\n".join(map(json.dumps, [*lines, *odd])))
    dataset = read(path, max_bad=0.5)
    told = "It is a list or an object, no text."
    assert [(p.kind, p.where, p.what, p.done) for p in dataset.problems] == [
        ("not-a-text", "line 13", told, "set aside"),
        ("not-a-text", "line 14", told, "set aside"),
    ]
    assert "123" in {sample.source for sample in dataset}
    pool = read_unlabelled_texts(path, max_bad=0.5)
    assert [p.where for p in pool.problems] == ["line 13", "line 14"]


def test_a_json_array_leads_to_json_lines(tmp_path: Path) -> None:
    for indent in (None, 2):
        (tmp_path / "t.jsonl").write_text(json.dumps([{"text": "a"}], indent=indent))
        with pytest.raises(DataError, match="a JSON array") as caught:
            read(tmp_path / "t.jsonl")
        assert "one object a line" in caught.value.mend


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "a", "label": "b"}\n[1]\n')
    with pytest.raises(DataError, match=r"t\.jsonl, line 2"):
        read(tmp_path / "t.jsonl")


def test_the_task_that_was_named_has_to_fit(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", ["text", "label"], rows())
    with pytest.raises(DataError, match="text-classification, not for image-classification"):
        read(path, task="image-classification")


def test_empty_texts_and_nuls_are_set_aside(tmp_path: Path) -> None:
    more = [("  ", "a"), ("bin\0ary", "b")]
    path = write_csv(tmp_path / "t.csv", ["text", "label"], [*rows(), *more])
    dataset = read(path, max_bad=0.5)
    assert [p.kind for p in dataset.problems if p.done == "set aside"] == ["empty", "not-a-text"]
    assert dataset.found == len(dataset) + 2


def test_near_copies_stay_on_one_side(tmp_path: Path) -> None:
    lines = [(f"{MAIL} number {i}", "a") for i in range(10)] + [
        (f"{TALK} {i}", "b") for i in range(10)
    ]
    path = write_csv(tmp_path / "t.csv", ["text", "label"], [*lines, *rows(20)])
    dataset = read(path)
    for start in (MAIL, TALK):
        assert len({s.split for s in dataset if str(s.source).startswith(start)}) == 1


def test_texts_that_two_tables_share_are_a_leak_and_not_dropped(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "train.csv", ["text", "label"], list(rows(20)))
    other = write_csv(tmp_path / "valid.csv", ["text", "label"], list(rows(24))[17:])
    dataset = read(table, valid=other)
    shared = [problem for problem in dataset.problems if problem.kind == "leak"]
    assert len(shared) == 3
    assert dataset.found == 20 + 7


def mail(number: int, answers: str = "") -> str:
    head = f"From: a@b\nSubject: x\nMessage-ID: <{number}@host>"
    if answers:
        head += f"\nReferences: <0@host>\n\t{answers}"
    letter = chr(97 + number % 26)
    return f"{head}\n\n" + " ".join(letter * n for n in range(1, 40))


def test_mails_of_a_thread_are_one_group_and_no_copies(tmp_path: Path) -> None:
    lines = [(mail(i, f"<{i % 10}@host>"), "ab"[i % 2]) for i in range(10, 22)] + rows(20)
    dataset = read(write_csv(tmp_path / "t.csv", ["text", "label"], lines))
    thread = [s for s in dataset if str(s.source).startswith("x\n\n")]
    assert len(thread) == 12
    assert len({s.split for s in thread}) == len({s.group for s in thread}) == 1
    assert not [p for p in dataset.problems if p.kind in ("conflict", "near-duplicate")]


def raw(kind: str, number: int) -> bytes:
    word = f"{kind}{chr(97 + number)} " * 3
    head = f"Received: from {kind}.example\nMessage-ID: <{kind}{number}@h>\nDate: today\n"
    body = f"Content-Type: text/html; charset=iso-8859-1\n\n<p>Gr\xfc\xdfe {word}</p>"
    return (head + f"Subject: about {word}\n" + body).encode("latin-1")


@pytest.mark.parametrize("name", ["0{}.7c53336b37003a", "{}", "1.{}_1.host:2,S", "{}.eml", "{}."])
def test_raw_mails_are_read_whatever_their_names(tmp_path: Path, name: str) -> None:
    told: list = []
    for number in range(8):
        for kind in ("ham", "spam"):
            (tmp_path / kind).mkdir(exist_ok=True)
            file = tmp_path / kind / name.format(number)
            file.write_bytes(raw(kind, number))
            (tmp_path / kind / f"{number}.json").write_text('{"about": "it"}')
    assert guess_task(tmp_path) == "text-classification"
    dataset = read(tmp_path, tell=told.append)
    assert len(dataset) == 16
    assert "about hama hama hama\n\nGrüße hama hama hama" in {s.source for s in dataset}
    assert not any("example" in str(sample.source) for sample in dataset)
    (said,) = [p for p in dataset.problems if p.done not in ("ignored", "grouped")]
    assert (said.kind, said.done) == ("e-mail", "read as subject and text")
    assert said.what.startswith("All 16 texts have the header lines of e-mails")
    assert Said("16 other files are not read: most files here are texts") in told
    assert len(read(tmp_path, task="text-classification")) == 16
    assert recognises_texts(tmp_path)
    pool = read_unlabelled_texts(tmp_path)
    assert {s.source for s in pool} == {s.source for s in dataset}
    check_reader(TextFolderReader(), tmp_path)


def test_raw_mails_in_a_table_are_read_likewise(tmp_path: Path) -> None:
    lines = [(raw(k, i).decode("latin-1"), k) for k in ("ham", "spam") for i in range(8)]
    dataset = read(write_csv(tmp_path / "t.csv", ["text", "label"], [*lines, *rows()]))
    assert "about hama hama hama\n\nGrüße hama hama hama" in {s.source for s in dataset}
    (said,) = [p for p in dataset.problems if p.kind == "e-mail"]
    assert said.what.startswith("16 of 28 texts have the header lines")


def test_a_note_among_pictures_without_names_makes_no_texts(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for number in range(2):
            Image.new("RGB", (32, 32)).save(tmp_path / kind / str(number), "PNG")
    (tmp_path / "README").write_text("about them")
    assert guess_task(tmp_path) == "image-classification"


def test_a_mail_in_two_bytes_a_character_is_one() -> None:
    found = texts.read_bytes(raw("ham", 0).decode("latin-1").encode("utf-16"), "x")
    assert found.text == "about hama hama hama\n\nGrüße hama hama hama"


def test_which_files_are_texts(tmp_path: Path) -> None:
    some = {
        "notes.md": b"", "51060": b"a text", "a.b7": "Grüße".encode("latin-1"), "report.pdf": b"x",
        "wide": "text".encode("utf-16"), "no.json": b"{}", "no.csv": b"a,b", "no.png": b"text",
        "no.bin": b"a\0b", "no": b"", "no7": bytes(range(1, 32)) * 9, "no8": b"PK\x03\x04text",
        "unmarked": "a longer text".encode("utf-16-le"), "no9": bytes([7, 0, 20, 0]) * 9,
    }  # fmt: skip
    for name, data in some.items():
        (tmp_path / name).write_bytes(data)
    assert {n for n in some if texts.is_text_file(tmp_path / n)} == {
        name for name in some if not name.startswith("no")
    } | {"notes.md"}
    assert not texts.is_text_file(tmp_path / "nowhere")


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(UnreadableSample, match="NUL"):
        texts.read_bytes(b"a\0b", "x")
    with pytest.raises(UnreadableSample, match="no UTF-16"):
        texts.read_bytes(b"\xff\xfe\x00", "x")
    for data, said in ((b"%PDF-1.7\nplain", "a PDF"), (b"PK\x03\x04\0", "a Word file")):
        with pytest.raises(UnreadableSample, match=said):
            texts.read_bytes(data, "x")


CHARACTERS = st.characters(blacklist_categories=("Cs",))
CELLS = st.text(CHARACTERS | st.sampled_from('",;\t\n\r\0|äß '), max_size=40)
TABLES = settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@TABLES
@given(st.lists(st.tuples(CELLS, st.text(CHARACTERS, max_size=5)), min_size=1, max_size=6),
       st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.sampled_from(["\n", "\r\n", "\r"]),
       st.sampled_from(",;\t"))  # fmt: skip
def test_any_table_that_was_written_is_read_or_refused(
    tmp_path: Path, lines: list[tuple[str, str]], encoding: str, end: str, separator: str
) -> None:
    """What a CSV writer wrote comes back to the character, or has a problem; nothing else."""
    out = io.StringIO(newline="")
    # Of line ends Python's writer puts in quotes only those that it writes itself.
    quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL
    writer = csv.writer(out, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerows([("text", "label"), *lines])
    path = tmp_path / "t.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    dataset = TableReader().read(path)
    dropped = [p for p in dataset.problems if p.done in ("set aside", "left out", "ignored")]
    assert len(dataset) + len(dropped) == len(lines) == dataset.found
    written = [text for text, _ in lines]
    assert all(sample.source in written for sample in dataset)
    assert texts_in(path) == written


FAULT = re.compile(r"line \d+$")
WHOLE = ("The table has no rows", "no column", "Two columns are called")
PIECES = st.sampled_from([
    b"text,label\n", b"text;label\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b'"', b'""', b",", b"\n",
    b"\r", b"\0", b"\xe4", b"\xc3\xa4", b"\x81", b"hello", b"a,b\n", b'"a\nb",c\n', b"x,y,z\n",
])  # fmt: skip


@TABLES
@given(st.lists(PIECES | st.binary(max_size=6), max_size=14))
def test_any_bytes_are_read_or_refused_with_file_and_line(
    tmp_path: Path, pieces: list[bytes]
) -> None:
    """Damage of every kind: what is wrong in a place is named with it; nothing else is raised."""
    path = tmp_path / "t.csv"
    path.write_bytes(b"text,label\n" + b"".join(pieces))
    try:
        dataset = TableReader().read(path)
    except DataError as fault:
        assert str(path) in fault.where
        assert FAULT.search(fault.where) or any(what in fault.what for what in WHOLE), fault
    else:
        dropped = [p for p in dataset.problems if p.done in ("set aside", "left out", "ignored")]
        assert len(dataset) + len(dropped) == dataset.found


def test_what_a_pool_has_of_the_labelled_data_is_said_by_the_names_there(tmp_path: Path) -> None:
    asked = "Subject: lunch\n\nShall we meet at noon in the usual place by the river?"
    answered = "Subject: Re: lunch\n\nNo, my train is late today; tomorrow would suit me well."
    labelled = [(MAIL, "a"), (TALK, "b"), (asked, "a")]
    held = f"From the archive. {TALK} And more of other things, which go on and on. " * 2
    pool = [(MAIL,), (held,), (answered,), ("Nothing of the kind.",)]
    known = read_all(write_csv(tmp_path / "labelled.csv", ["text", "label"], labelled))
    left = read_unlabelled_texts(
        write_csv(tmp_path / "pool.csv", ["text"], pool), apart_from=known.samples
    )
    assert [(p.kind, p.where, p.what) for p in left.problems] == [
        ("leak", "line 2", "A copy of line 2 in the labelled data."),
        ("leak", "line 3", "It holds line 3 of the labelled data, or a large part of it."),
    ]
    assert len(left) == 2
