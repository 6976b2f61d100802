"""The tables on labels: whose they are, what they hold, and what a spreadsheet makes of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from test_labels_page import _BAD, _found

import regraft
from regraft.dataset import Sample
from regraft.errors import UsageError
from regraft.labelling import consensus
from regraft.labelling.votes import votes_of
from regraft.reporting import labels_page


def test_the_tables_hold_what_was_found_and_no_formula(tmp_path: Path) -> None:
    labels_page.write(tmp_path / "out", _found())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "next.csv").read_text())))
    assert [row["sample"] for row in rows] == [_BAD, "'=1+1"]
    assert [row["label"] for row in rows] == ["", ""]
    errors = list(csv.DictReader(io.StringIO((tmp_path / "out" / "likely_errors.csv").read_text())))
    assert errors[0]["suggested"] == _BAD
    scores = list(csv.DictReader(io.StringIO((tmp_path / "out" / "scores.csv").read_text())))
    assert [row["sample"] for row in scores] == [_BAD, "b.png"]
    assert [row["suspect"] for row in scores] == ["True", "False"]
    assert scores[1]["given"] == "'=1+1" and scores[1]["score"] == "0.1"


@pytest.mark.parametrize("name", ["scores", "likely_errors", "consensus"])
@pytest.mark.parametrize("columns", ["sample,score", "sample,given,suggested,score,note", ""])
def test_a_table_of_the_users_own_is_neither_written_over_nor_taken_away(
    tmp_path: Path, name: str, columns: str
) -> None:
    path = tmp_path / f"{name}.csv"
    path.write_text(f"{columns}\na,1\n")
    with pytest.raises(UsageError, match=f"{name}.csv"):
        labels_page.write(tmp_path, _found())
    assert path.read_text() == f"{columns}\na,1\n" and not (tmp_path / "labels.json").exists()


def test_tables_of_an_earlier_call_are_replaced_with_texts_and_without(tmp_path: Path) -> None:
    texts = [Sample(name, f"text of {name}", 0) for name in (_BAD, "b.png")]
    labels_page.write(tmp_path, _found(), labelled=texts)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "scores.csv").read_text())))
    assert [row["text"] for row in rows] == [sample.source for sample in texts]
    labels_page.write(tmp_path, _found())
    assert "text" not in (tmp_path / "scores.csv").read_text().splitlines()[0].split(",")
    labels_page.write(tmp_path, _found() | {"likely_errors": [], "scores": []})
    assert not list(tmp_path.glob("scores.csv")) + list(tmp_path.glob("likely_errors.csv"))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("a.png,,,", "a.png,,cat,"),
        lambda text: text.replace("a.png,,,", "a.png,,cat,").replace(",", ";"),
        lambda text: text.replace("a.png,,,", 'a.png,,"cat,'),
        lambda text: text.replace("label", "kind", 1),
    ],
    ids=["a label", "as a spreadsheet writes it", "damaged", "another column"],
)
def test_what_a_person_wrote_is_not_written_over(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    found = _found()
    found["next"] = [
        row | {"sample": name} for row, name in zip(found["next"], ("a.png", "b.png"), strict=True)
    ]
    labels_page.write(tmp_path, found)
    labels_page.write(tmp_path, found)  # nobody wrote into it
    path = tmp_path / "next.csv"
    written = change(path.read_text())
    path.write_text(written)
    for again in (
        lambda: labels_page.write(tmp_path, found),
        lambda: regraft.labels(tmp_path / "not looked at", out=tmp_path),
    ):
        with pytest.raises(UsageError, match="would be lost") as fault:
            again()
        assert fault.value.where == str(path) and "--more" in fault.value.mend
    assert path.read_text() == written


def test_tables_tell_spreadsheets_their_encoding(tmp_path: Path) -> None:
    found = _found()
    found["likely_errors"] = [{**found["likely_errors"][0], "given": "猫"}]
    found["scores"] = [{**found["scores"][1], "sample": "b.png"}]
    found["next"] = [{**found["next"][1], "sample": "Käfer.png"}]
    for _ in range(2):  # they are still its own, so they are written again
        labels_page.write(tmp_path, found)
    heads = {path.stem: path.read_bytes()[:9] for path in tmp_path.glob("*.csv")}
    marked = b"\xef\xbb\xbfsample"
    assert heads == {"likely_errors": marked, "scores": b"sample,gi", "next": marked}


def test_a_table_of_nothing_is_not_written_and_an_old_one_is_taken_away(tmp_path: Path) -> None:
    for following in ([], [], _found()["next"]):
        labels_page.write(tmp_path, _found() | {"next": following})
    assert len((tmp_path / "next.csv").read_text().splitlines()) == 3
    (tmp_path / "next.csv").write_text("sample,path,label\n")  # as older versions wrote it
    lists = dict.fromkeys(("next", "likely_errors", "scores"), [])
    nothing = lists | {"agreement": None, "consensus": None}
    labels_page.write(tmp_path, _found() | nothing)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.json", "report.html"]


def test_the_consensus_is_a_table_too(tmp_path: Path) -> None:
    votes = votes_of([("line 2", p, (v,)) for p, v in zip("abc", ("-4", "-1", "-1"), strict=True)])
    found = _found() | {"consensus": consensus.summary(consensus.consensus(votes), votes)}
    labels_page.write(tmp_path, found, labelled=[Sample("line 2", "=1+1 as she wrote", 0)])
    (row,) = csv.DictReader(io.StringIO((tmp_path / "consensus.csv").read_text()))
    assert row == {
        "sample": "line 2", "text": "'=1+1 as she wrote", "label": "-1",
        "probability": "0.666667", "tied": "False", "votes": "'-4: 1, -1: 2",
    }  # fmt: skip


def test_likely_errors_of_texts_stand_beside_their_text(tmp_path: Path) -> None:
    found = _found()
    found["likely_errors"] = [found["likely_errors"][0] | {"sample": "line 2"}]
    labels_page.write(tmp_path, found, labelled=[Sample("line 2", "=1+1 as she wrote", 0)])
    (error,) = csv.DictReader(io.StringIO((tmp_path / "likely_errors.csv").read_text()))
    assert list(error)[:3] == ["sample", "text", "given"]
    assert error["text"] == "'=1+1 as she wrote"


@pytest.mark.parametrize("label", ["-4", "+1.5", "-2,5"])
def test_a_rating_below_zero_is_no_formula(label: str, tmp_path: Path) -> None:
    found = _found()
    found["likely_errors"] = [{**found["likely_errors"][0], "given": label}]
    labels_page.write(tmp_path / "out", found)
    errors = list(csv.DictReader(io.StringIO((tmp_path / "out" / "likely_errors.csv").read_text())))
    assert errors[0]["given"] == label
