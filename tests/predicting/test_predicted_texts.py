"""Texts behind what `predict` is given."""

from __future__ import annotations

from pathlib import Path

from regraft.errors import UnreadableSample
from regraft.events import Event, Said
from regraft.predicting.named import not_meant
from regraft.predicting.texts import texts_of

MAIL = "From: a@b\nDate: today\nSubject: lunch\n\nAt noon?\n"


def test_mails_are_read_in_files_of_any_name_and_in_tables(tmp_path: Path) -> None:
    (tmp_path / "00001.7c53336b").write_text(MAIL)
    (tmp_path / "t.csv").write_text(f'text,label\n"{MAIL}",a\n')
    found = dict(texts_of([tmp_path]))
    assert found == dict.fromkeys(
        [str(tmp_path / "00001.7c53336b"), f"{tmp_path / 't.csv'}, line 2"], "lunch\n\nAt noon?"
    )


def test_other_files_in_a_folder_are_ignored_and_what_is_named_is_read(tmp_path: Path) -> None:
    file = tmp_path / "about.json"
    file.write_text('{"about": "it"}')
    assert dict(texts_of([file])) == {str(file): '{"about": "it"}'}
    ((name, fault),) = texts_of([tmp_path])
    assert isinstance(fault, UnreadableSample)
    (answer,) = not_meant([{"sample": name, "problem": fault.what}], [tmp_path], "text")
    assert answer == {"sample": str(file), "problem": "This is no text.", "ignored": True}


def test_which_encodings_were_guessed_is_said_once(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / f"{name}.txt").write_bytes("Grüße".encode("cp1252"))
    (tmp_path / "t.csv").write_bytes("text\nGrüße\nÄpfel\n".encode("cp1252"))
    heard: list[Event] = []
    texts = list(texts_of([tmp_path], tell=heard.append))
    assert [text for _, text in texts] == ["Grüße"] * 6 + ["Äpfel"]
    files = ", ".join(str(tmp_path / f"{name}.txt") for name in "abc")
    assert heard == [
        Said(f"{files} and 2 more: It is not in UTF-8. Read as Windows-1252."),
        Said(
            "t.csv: The table is not in UTF-8 (line 2 is the first that shows it). "
            "Read as Windows-1252."
        ),
    ]


def test_a_named_file_that_is_no_text_is_told_what_the_model_reads(tmp_path: Path) -> None:
    for name in ("a.png", "b.mp4", "c.bin", "d.txt"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "e.png").write_text("a text, whatever its name")
    found = dict(texts_of(sorted(tmp_path.iterdir())))
    told = {Path(name).name: getattr(text, "what", text) for name, text in found.items()}
    assert told == {
        "a.png": "This is a picture, by its name; this model reads texts.",
        "b.mp4": "This is a video, by its name; this model reads texts.",
        "c.bin": "This is no text; this model reads texts.",
        "d.txt": "It is no text: it holds a NUL, as binary files do.",
        "e.png": "a text, whatever its name",
    }
