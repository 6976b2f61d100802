"""What to label next, with labels filled in: which rows are read, and which files they may name."""

import csv
from pathlib import Path

import pytest
from made_pictures import noise, saved

from regraft.dataset import Dataset
from regraft.dataset.cells import to_cell
from regraft.dataset.choosing import list_rows
from regraft.dataset.form import COLUMNS, FormReader
from regraft.dataset.reading import read
from regraft.dataset.table_rows import TableReader
from regraft.errors import DataError
from regraft.labelling.reader import AnyReader
from regraft.store import file_sha256

READER = FormReader()


def form(folder: Path, rows: list[dict[str, str]], content: str = "path") -> Path:
    path = folder / "next.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ("sample", content, *COLUMNS, "sha256"), restval="")
        table.writeheader()
        table.writerows({"sample": row[content], **row} for row in rows)
    return path


def kinds(dataset: Dataset) -> list[tuple[str, str]]:
    return [(problem.where, problem.kind) for problem in dataset.problems]


def test_a_path_leads_out_of_the_folder_to_what_was_to_be_labelled(tmp_path: Path) -> None:
    known, other = (saved(noise(n), tmp_path / f"pool/{n}.png") for n in (8, 9))
    right, wrong = file_sha256(known), file_sha256(other)
    rows = [
        {"path": "../pool/8.png", "sha256": right.upper()},
        {"path": str(other), "sha256": right},
        {"path": "../pool/9.png", "sha256": ""},
        {"path": "../pool/7.png", "sha256": wrong},
    ]
    path = form(tmp_path / "out", [row | {"label": "cat"} for row in rows])
    dataset = READER.read(path)
    assert [(s.id, s.source) for s in dataset] == [("../pool/8.png", known.resolve())]
    assert [kind for _, kind in kinds(dataset)] == ["changed", "outside", "changed"]
    # Anywhere else it is a table like any other.
    assert [p.kind for p in TableReader().read(path).problems] == ["outside"] * 4


def test_what_was_labelled_first_of_a_pool_is_data(tmp_path: Path) -> None:
    files = [saved(noise(n), tmp_path / f"pool/{n}.png") for n in range(5)]
    rows = [
        {
            "path": f"../pool/{n}.png",
            "sha256": file_sha256(file),
            "label": ("cat", "dog", "")[n % 3],
        }
        for n, file in enumerate(files)
    ]
    path = form(tmp_path / "out", rows)
    found = [list_rows(path, None, task) for task in (None, "image-classification")]
    for dataset in (*found, AnyReader().read(path)):
        assert [sample.source for sample in dataset] == [files[n].resolve() for n in (0, 1, 3, 4)]
        assert (dataset.task, dataset.classes) == ("image-classification", ("cat", "dog"))
        assert kinds(dataset) == [("next.csv", "no-label")]


def test_nothing_else_is_reached(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    (tmp_path / "folder.png").mkdir()
    rows = [
        {"path": name, "sha256": sha256, "label": "cat"}
        for name, sha256 in (
            ("../secret.txt", file_sha256(secret)),
            ("../folder.png", file_sha256(secret)),
            ("/proc/version", file_sha256(Path("/proc/version"))),
            ("/dev/zero", file_sha256(secret)),
        )
    ]
    dataset = READER.read(form(tmp_path / "out", rows))
    assert not dataset.samples
    assert {kind for _, kind in kinds(dataset)} == {"changed"}


def test_rows_that_wait_for_a_label_are_passed_over(tmp_path: Path) -> None:
    rows = [{"path": f"{n}.png", "label": label} for n, label in enumerate(["cat", " ", "", "|"])]
    for n in range(4):
        saved(noise(n), tmp_path / f"{n}.png")
    dataset = READER.read(form(tmp_path, rows[:3]))
    assert [s.id for s in dataset] == ["0.png"]
    assert [(p.kind, p.what, p.done) for p in dataset.problems] == [
        ("no-label", "2 rows have no label yet.", "passed over")
    ]
    assert [s.target for s in READER.read(form(tmp_path, rows))] == [(0,), ()]  # "|": none applies
    assert READER.read(form(tmp_path, rows[:1])).problems == ()
    with pytest.raises(DataError, match="No label is filled in yet"):
        READER.read(form(tmp_path, rows[1:2]))


def test_it_is_a_form_only_where_more_is_asked_for(tmp_path: Path) -> None:
    texts = {"@home again": "out", "- a point": "out", "'=1": "in", "waits": ""}
    rows = [{"text": to_cell(text), "label": label} for text, label in texts.items()]
    more = form(tmp_path / "out", rows, "text")
    main = tmp_path / "main.csv"
    lines = [f"text number {n} of {name},{name}" for n in range(20) for name in ("in", "out")]
    main.write_text("text,label\n" + "\n".join(lines) + "\n")
    dataset = read(main, more=more)
    added = [str(s.source) for s in dataset if s.id.startswith("more:")]
    assert sorted(added) == sorted(text for text, label in texts.items() if label)
    assert [p.kind for p in TableReader().read(more).problems if "label" in p.what] == ["no-label"]
