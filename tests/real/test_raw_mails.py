"""Raw e-mails as they were collected, with all header lines: spam-assassin."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

bench_mails = pytest.importorskip("bench.mails")
data = pytest.importorskip("bench.data")

EACH = 60
HEADER = re.compile(r"^(?:received|delivered-to|return-path|message-id|x-mailer):", re.I | re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mails of two classes in files that are called as spam-assassin calls them."""
    root = tmp_path_factory.mktemp("mails")
    try:
        every = bench_mails.raw_mails()
    except data.Unavailable as fault:
        pytest.skip(str(fault))
    for label in bench_mails.LABELS:
        (root / label).mkdir()
        of_class = [(name, raw) for name, kind, raw in every if kind == label]
        for name, raw in of_class[:: len(of_class) // EACH][:EACH]:
            (root / label / Path(name).stem).write_bytes(raw)
    return root


def test_raw_mails_are_read_as_people_read_them(folder: Path) -> None:
    from regraft import dataset

    found = dataset.read(folder)
    assert (found.task, found.classes) == ("text-classification", ("ham", "spam"))
    assert len(found) == found.found == 2 * EACH
    assert [p.what for p in found.problems if p.kind == "e-mail"] == [
        "All 120 texts have the header lines of e-mails, from this on; other header lines than the "
        "subject, tags of HTML and attachments are not read."
    ]
    written = [str(sample.source) for sample in found]
    assert sum(map(bool, map(HEADER.search, written))) <= 2, "some quote header lines"
    spam = [str(s.source) for s in found if found.classes[s.target] == "spam"]
    tags = [bool(re.search(r"<(?:font|td|br)\b|=3D", text, re.I)) for text in spam]
    assert sum(tags) <= 2, "some call their HTML plain text"


def test_a_table_and_a_pool_of_raw_mails_give_the_same_texts(folder: Path, tmp_path: Path) -> None:
    from regraft import dataset

    known = {str(sample.source) for sample in dataset.read_all(folder)}
    assert {str(sample.source) for sample in dataset.read_unlabelled_texts(folder)} == known
    table = tmp_path / "mails.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        files = [(f.read_bytes(), f.parent.name) for f in folder.glob("*/*")]
        rows = [(raw.decode(), label) for raw, label in files if raw.isascii()]
        csv.writer(file).writerows([("text", "label"), *rows])
    assert len(rows) > EACH
    assert {str(sample.source) for sample in dataset.read_all(table)} <= known
