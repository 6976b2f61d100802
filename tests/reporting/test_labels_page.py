"""The page and the tables on labels: everything is text, and nothing is fetched."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image
from report_samples import full_report

import regraft
from regraft.errors import UsageError
from regraft.labelling import consensus
from regraft.labelling.votes import Value, votes_of
from regraft.reporting import labels_page, page, render

_BAD = "<script>alert(1)</script>"


def _found() -> dict:
    alpha = {"value": 0.5, "low": 0.4, "high": 0.6, "samples": 2}
    error = {"sample": _BAD, "given": _BAD, "suggested": _BAD, "score": 0.9, "reason": _BAD}
    people = {
        "model": 0.7, "person": 0.8, "gap": -0.1, "low": -0.2, "high": 0.1, "p": 0.2,
        "samples": 3, "text": "The model is within noise of one annotator.",
    }  # fmt: skip
    gain = {"value": 0.004, "low": 0.001, "high": 0.01}
    return {
        "agreement": {
            "scale": "nominal", "votes": 4, "samples": 2, "annotators": 2, "alpha": alpha,
            "fleiss": None, "classes": [{"class": _BAD, "share": 0.5, "alpha": alpha}],
            "people": [{"annotator": _BAD, "votes": 2, "shared": 2, "agreement": 0.5}],
            "pairs": [{"annotators": [_BAD, "b"], "samples": 2, "same": 0.5, "kappa": None}],
            "divided": [{"sample": _BAD, "disagreement": 1.0, "votes": {_BAD: 1, "b": 1}}],
            "place": None,
        },
        "consensus": {
            "method": "majority", "why": _BAD, "samples": 2, "ties": 0,
            "doubtful": {"below": 0.8, "samples": 0}, "labels": [],
        },
        "ceiling": {
            "value": 0.8, "low": 0.7, "high": 0.9, "samples": 2, "mean_absolute_error": None,
        },  # fmt: skip
        "beside_people": people,
        "reviewed": 0,
        "likely_errors": [error],
        "scores": [
            {**error, "suspect": True},
            {**error, "sample": "b.png", "given": "=1+1", "score": 0.1, "suspect": False},
        ],
        "next": [{**error, "probability": 0.5, "excerpt": _BAD}, {**error, "sample": "=1+1"}],
        "share": {"value": 0.1, "low": 0.0, "high": 0.2},
        "outliers": [{"sample": _BAD, "given": _BAD, "distance": 3.0, "reason": _BAD}],
        "same_classes": [{"classes": [_BAD, "b"], "apart": 0.6}],
        "worth": {
            "metric": "balanced_accuracy",
            "labels": 100, "batch": 100, "accuracy": gain, "noise": 0.02, "new": gain,
            "double": gain, "second_opinions": gain, "ahead": gain, "stop": True,
            "curve": [{"labels": 10, "value": 0.5}, {"labels": 80, "value": 0.7}],
            "expected": {"labels": 200, "value": 0.75},
            "text": "The next 100 labels are worth 0.4 points. This is a place to stop.",
        },
        "pool": {"path": "pool", "samples": 10, "left_out": []},
        "data": {
            "path": _BAD, "task": "image-classification", "samples": 2, "classes": [_BAD, "b"],
            "left_out": [],
        },
        "caution": _BAD,
        "not_judged": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.0, 0.0, 0.01, "Hardly any label seems wrong (up to 1.0 % may be)."),
        (0.0, 0.0, 0.18, "Perhaps no label is wrong, perhaps up to 18.0 % are."),
        (0.01, 0.0, 0.04, "Up to 4.0 % of the labels may be wrong; likeliest 1.0 %."),
        (0.1, 0.0, 0.18, "About 10.0 % of the labels may be wrong (0.0 % to 18.0 %)."),
        (0.1, 0.02, 0.18, "About 10.0 % of the labels are wrong (2.0 % to 18.0 %)."),
    ],
)
def test_the_share_of_wrong_labels_is_said(value: float, low: float, high: float, said: str):
    assert page.share_wrong({"value": value, "low": low, "high": high}) == said


def test_of_a_share_that_can_hardly_be_told_the_interval_is_said() -> None:
    share = {"value": None, "low": 0.0, "high": 0.81}
    said = "How many labels are wrong can hardly be told (0.0 % to 81.0 %)."
    assert page.share_wrong(share) == said
    assert said in labels_page.render(_found() | {"share": share}, {}).replace("\u00a0", " ")


def test_whatever_is_named_like_markup_is_text_and_nothing_is_fetched() -> None:
    page = labels_page.render(_found(), {_BAD: b"jpeg"})
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 10
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_what_the_next_labels_bring_is_said_as_at_a_terminal() -> None:
    found = _found()
    page = labels_page.render(found, {})
    assert found["worth"]["text"] in page and ">balanced accuracy, held out<" in page
    assert page.count("place to stop") == 1
    assert "75\u00a0% expected at 200" in page
    assert "learning from 80 of the 100 labels" in page


def test_what_stands_between_backticks_is_code() -> None:
    found = _found() | {"not_judged": f"There is no column (`text`) {_BAD}.", "caution": "`a`"}
    page = labels_page.render(found, {})
    assert 'no column <span class="nowrap">(<code>text</code>)</span> &lt;script&gt;' in page
    assert "<code>a</code>" in page and "`" not in page
    found["caution"] = "x `a (b` c) and (d `e) f` and (`g`, (h))."
    halves = "x <code>a (b</code> c) and (d <code>e) f</code> and (<code>g</code>, "
    assert f'{halves}<span class="nowrap">(h)</span>).' in labels_page.render(found, {})
    lone = found | dict.fromkeys(("agreement", "share", "beside_people", "next"))
    page = labels_page.render(lone | {"consensus": None}, {})
    assert "<title>There is no column (text)" in page


def test_classes_that_are_numbers_and_may_be_one_are_in_quotes() -> None:
    found = _found() | {"same_classes": [{"classes": ["3", "8"], "apart": 0.6}]}
    assert "&#34;3&#34; and &#34;8&#34;" in labels_page.render(found, {})


def test_votes_for_numbers_are_told_from_how_many_there_are() -> None:
    found = _found()
    found["agreement"]["divided"][0]["votes"] = {"-4": 1, "-1": 2}
    assert "-4 ×1, -1 ×2" in labels_page.render(found, {}).replace("&nbsp;", " ")


def test_the_doubtful_labels_of_the_consensus_are_listed() -> None:
    rows: list[tuple[str, str, Value]] = [("a", "", (name,)) for name in ("-4", "-1")]
    rows += [(f"s{n:02d}", "", (name,)) for n in range(14) for name in ("-4", "-4", "-1")]
    rows += [("sure", "", ("-1",))] * 5
    votes = votes_of(rows)
    found = _found() | {"consensus": consensus.summary(consensus.consensus(votes), votes)}
    page = labels_page.render(found, {}).replace("&nbsp;", " ").replace("\u00a0", " ")
    assert "Of 16 samples 1 is a tie; 15 are doubtful (a tie, or a chance of the label" in page
    table = page[page.index("doubtful</th>") :].partition("</table>")[0]
    cells = [re.sub(r"<[^>]+>", "|", row) for row in table.split("<tr>")[1:]]
    assert [re.sub(r"\|+", "|", row).strip("|\n ") for row in cells] == [
        "a|-4 |tie|50.0 %|-4 ×1, -1 ×1",
        *(f"s{n:02d}|-4|66.7 %|-4 ×2, -1 ×1" for n in range(11)),
    ]
    assert page.count("3 more are listed in consensus.csv.") == page.count("more are listed") == 1


def test_lists_that_are_cut_say_how_much_more_there_is() -> None:
    found = _found()
    agreement = found["agreement"]
    agreement["classes"] *= 42
    agreement["people"] *= 43
    agreement["pairs"] *= 24
    agreement["divided"] *= 29
    found["outliers"] *= 30
    lost = {"kind": "labelled", "where": "a.png", "what": "why", "done": "left out"}
    found["pool"]["left_out"] = [lost] * 61
    page = labels_page.render(found, {})
    for said in ("1 more is", *(f"{n} more are" for n in (2, 3, 4, 5, 6))):
        assert page.count(f">{said} listed in labels.json.<") == 1


def test_the_headline_has_two_sentences_at_most() -> None:
    found = _found()
    assert labels_page.headline(found) == (
        "Krippendorff's alpha is 0.50. About 10.0 % of the labels may be wrong (0.0 % to 20.0 %)."
    )
    found |= {"share": None, "beside_people": None, "next": [], "not_judged": "Too few."}
    found["agreement"]["alpha"] = {"value": None}
    assert labels_page.headline(found) == "No sample has two votes."


def test_every_part_may_be_missing() -> None:
    found = _found()
    for name in ("agreement", "consensus", "ceiling", "beside_people", "share", "worth"):
        found[name] = None
    for name in ("likely_errors", "next", "outliers", "same_classes"):
        found[name] = []
    found |= {"pool": None, "data": None, "caution": "", "not_judged": "Too few."}
    assert "Too few." in labels_page.render(found, {})


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"report.html": "of another tool"}, "A file of this name[^/]*where: .*report.html"),
        ({"labels.json": '{"0": "cat"}'}, "A file of this name[^/]*where: .*labels.json"),
        ({"labels.json": "[1", "report.html": ""}, "A file of this name[^/]*where: .*labels.json"),
        (
            {"labels.json": '{"next": [], "likely_errors": []}', "report.html": "of another tool"},
            "A file of this name[^/]*where: .*report.html",
        ),
        (
            {"run.json": "{}", "report.html": '<meta name="generator" content="regraft">'},
            "A file of this name[^/]*where: .*report.html",
        ),
        ({"run.json": "{}", "journal.jsonl": ""}, "This is the folder of a run"),
    ],
)
def test_a_page_that_is_not_of_an_earlier_call_stays(
    files: dict[str, str], said: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for begin in (
        lambda: labels_page.write(tmp_path, _found()),
        lambda: regraft.labels(tmp_path / "not looked at", out=tmp_path),
    ):
        with pytest.raises(UsageError, match=said):
            begin()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_either_file_of_an_earlier_call_is_known_without_the_other(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")  # as other programs call their files, too
    for name in ("labels.json", "report.html"):
        labels_page.write(tmp_path, _found())
        (tmp_path / name).unlink()
    labels_page.write(tmp_path, _found())
    assert (tmp_path / "labels.json").is_file() and (tmp_path / "report.html").is_file()


def test_each_list_names_the_file_that_its_samples_are_of() -> None:
    found = _found()
    found["data"]["path"], found["pool"]["path"] = "a/mails.csv", "a/pool.csv"
    page = labels_page.render(found, {})
    assert "What to label next of pool.csv</h2>" in page
    assert "Labels that are likely wrong in mails.csv</h2>" in page
    assert "no two are near copies of each other" in page


def test_a_labelled_picture_is_not_taken_for_one_of_the_same_name_in_the_pool(
    tmp_path: Path,
) -> None:
    found = _found() | {"outliers": [], "agreement": None, "consensus": None}
    for part, colour in (("data", "red"), ("pool", "blue")):
        folder = tmp_path / part
        folder.mkdir()
        Image.new("RGB", (40, 40), colour).save(folder / "1.png")
        found[part]["path"] = str(folder)
    for part in ("likely_errors", "next"):
        found[part] = [found[part][0] | {"sample": "1.png"}]
    labels_page.write(tmp_path / "out", found)
    page = (tmp_path / "out" / "report.html").read_text()
    shown = [
        Image.open(io.BytesIO(base64.b64decode(part))).convert("RGB").getpixel((5, 5))
        for part in re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    ]
    assert [max("rgb", key=lambda c: pixel["rgb".index(c)]) for pixel in shown] == ["b", "r"]


def test_clips_are_film_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "dataset"))
    from made_videos import moving, write

    write(tmp_path / "clips" / "a.mp4", moving(24))
    found = _found() | {"outliers": [], "pool": None, "next": []}
    found["data"] |= {"path": str(tmp_path / "clips"), "task": "video-classification"}
    rows = [found["agreement"]["divided"][0], found["likely_errors"][0]]
    found["agreement"]["divided"] = [rows[0] | {"sample": "a.mp4"}]
    found["likely_errors"] = [rows[1] | {"sample": "a.mp4@0.50-1.50s"}]
    labels_page.write(tmp_path / "out", found)
    page = (tmp_path / "out" / "report.html").read_text()
    shown = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(part))).size for part in shown]
    assert sizes == [(5 * 128 + 8, 128)] * 2 and shown[0] != shown[1]
    assert "no picture" not in page and page.count('class="shots strips"') == 2


def test_samples_without_files_are_lines_and_not_empty_tiles() -> None:
    found = _found() | {"data": None, "pool": None}
    for name in ("likely_errors", "next", "outliers"):
        found[name] = []
    page = labels_page.render(found, {})
    assert "no picture" not in page and 'class="shots' not in page
    assert "<li><b>&lt;script&gt;alert(1)&lt;/script&gt;</b>" in page


@pytest.mark.parametrize("part", ["people", "labels"])
def test_a_report_of_a_fit_shows_people_and_lessons(part: str) -> None:
    lessons = {"mode": "soft", "reviewed": 2, "text": f"It helped {_BAD}."}
    report = full_report() | {part: {"people": _found()["beside_people"], "labels": lessons}[part]}
    page = render(report, {})
    wanted = {"people": "Beside people", "labels": "What was learnt from"}[part]
    assert wanted in page and wanted not in render(full_report(), {})
    assert "<script>" not in page
