"""The verb from a table of votes to text and JSON."""

from __future__ import annotations

import csv
import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from voted import votes_file

from regraft import cli, verbs
from regraft.backbones import Backbone, Preprocessing
from regraft.backbones.backbone import Detector, Recipe
from regraft.dataset import Dataset, Sample, read_all
from regraft.dataset.rows import labels_of
from regraft.dataset.video import clip_id
from regraft.errors import DataError, UsageError
from regraft.events import silent
from regraft.labelling import judgement, seeing, survey
from regraft.labelling.journal import Decision, Journal, journal_of
from regraft.labelling.likely_errors import Judged, rows_judged
from regraft.labelling.matching import content_key
from regraft.labelling.reader import AnyReader
from regraft.labelling.share import Share
from regraft.reporting import labels_page

pytest.importorskip("cleanlab")


def _votes(tmp_path):
    rows = [f"{u},{p},{'cat' if u % 2 else '<script>'}" for u in range(8) for p in ("a", "b")]
    path = tmp_path / "votes.csv"
    path.write_text("sample,annotator,label\n" + "\n".join(rows) + "\n8,a,cat\n8,b,<script>\n")
    return path


def test_votes_alone_give_agreement_and_consensus(tmp_path):
    found = verbs.labels(_votes(tmp_path))
    assert 0.5 < found["agreement"]["alpha"]["value"] < 1
    assert found["agreement"]["divided"][0]["sample"] == "8"
    assert found["consensus"]["method"] == "majority"
    assert found["ceiling"]["value"] == pytest.approx(16 / 18)
    assert found["likely_errors"] == [] and "no files that are there" in found["not_judged"]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("said", "written", "learnt", "votes"),
    [
        (["=1+1", "b\\n"], ["'=1+1", "b\\n"], [{"=1+1"}, {"b\\\\n"}], ["=1+1: 2", "b\\\\n: 2"]),
        (["=1|b", "|"], ["'=1|b", "|"], [{"=1", "b"}, set()], ["=1|b: 2", "none: 2"]),
    ],
)
def test_a_consensus_on_files_is_read_where_it_was_written(tmp_path, said, written, learnt, votes):
    place = tmp_path / "votes" / "pics"
    place.mkdir(parents=True)
    rows = ["path,annotator,label"]
    for n, label in enumerate(said):
        Image.new("RGB", (20, 20), (90 * n, 9, 9)).save(place / f"={n}.png")
        rows += [f"pics/={n}.png,{person},{label}" for person in ("ann", "ben")]
    table = place.parent / "votes.csv"
    table.write_text("\n".join(rows))
    for out in (tmp_path / "far" / "out", table.parent):
        for _ in range(2):  # the first is known to be of an earlier call
            verbs.labels(table, out=out)
        with (out / "consensus.csv").open(newline="") as file:
            found = sorted(csv.DictReader(file), key=lambda row: row["sample"])
        assert [row["label"] for row in found] == written
        assert [row["votes"].removeprefix("'") for row in found] == votes
        data = read_all(out / "consensus.csv", reader=AnyReader())
        assert [sample.source for sample in data] == sorted(place.resolve().iterdir())
        assert [{data.classes[c] for c in labels_of(sample.target)} for sample in data] == learnt
    Image.new("RGB", (20, 20)).save(place / "=1.png")
    with pytest.raises(DataError, match="no longer the same"):
        read_all(tmp_path / "far" / "out" / "consensus.csv", max_bad=0)


def test_a_consensus_on_a_whole_video_names_it_though_clips_were_cut_of_it(tmp_path):
    spans_s = [(0.0, 1.0), (1.0, 2.0)]
    named = [Sample(clip_id("a.mp4", span_s), tmp_path / "a.mp4", 0) for span_s in spans_s]
    films = [
        replace(film, file_sha256="f", span_s=s) for film, s in zip(named, spans_s, strict=True)
    ]
    found = verbs.labels(votes_file(tmp_path, "id,annotator,label\na.mp4,ann,x\na.mp4,ben,x\n"))
    labels_page.write(tmp_path / "out", found, labelled=films)
    with (tmp_path / "out" / "consensus.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["label"], row["sha256"]) == ("../a.mp4", "x", "f")


@pytest.mark.parametrize("kind", ["files", "texts"])
def test_a_consensus_has_the_splits_and_groups_of_the_votes(tmp_path, kind):
    votes, out = votes_file(tmp_path, ""), tmp_path / "out"
    rows = [f"{'path' if kind == 'files' else 'text'},annotator,label,split,group"]
    for n, split in enumerate(("train", "Train", "valid", "test")):
        Image.new("RGB", (20, 20), (60 * n, 9, 9)).save(tmp_path / f"{n}.png")
        named = f"{n}.png" if kind == "files" else f"what was said as number {n}"
        rows += [f"{named},{person},{'xy'[n % 2]},{split},=g{n // 2}" for person in ("ann", "ben")]
    votes.write_text("\n".join(rows))
    for _ in range(2):  # the first is known to be of an earlier call
        verbs.labels(votes, out=out)
    data = sorted(AnyReader().read(out / "consensus.csv"), key=lambda sample: str(sample.source))
    assert [sample.split for sample in data] == ["train", "train", "valid", "test"]
    assert [sample.group for sample in data] == ["=g0", "=g0", "=g1", "=g1"]


def test_a_consensus_of_one_class_each_says_that_there_may_be_several(tmp_path):
    said = {"one text": ("cat", "cat", "cat|dog"), "another": ("dog", "dog", "dog")}
    rows = [f"{text},{n},{vote}" for text, votes in said.items() for n, vote in enumerate(votes)]
    votes = votes_file(tmp_path, "\n".join(["text,annotator,label", *rows]))
    verbs.labels(votes, out=tmp_path / "out")
    for table in (votes, tmp_path / "out" / "consensus.csv"):
        data = AnyReader().read(table)
        assert data.multilabel and {one.target for one in data} == {(0,), (1,)}
        assert "several-labels" not in [problem.kind for problem in data.problems]


def test_a_consensus_on_a_part_of_a_video_names_it_though_shorter_clips_were_cut(tmp_path):
    samples = [
        Sample(clip_id("a.mp4", s), tmp_path / "a.mp4", 0, file_sha256="f", span_s=s)
        for s in ((0.0, 10.0), (10.0, 20.0), (20.0, 30.0))
    ]
    rows = ["id,annotator,label", *(f"a.mp4@0.00-20.00s,{person},x" for person in ("ann", "ben"))]
    found = verbs.labels(votes_file(tmp_path, "\n".join(rows)))
    labels_page.write(tmp_path / "out", found, labelled=samples)
    with (tmp_path / "out" / "consensus.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["start"], row["stop"]) == ("../a.mp4", "0.0", "20.0")
    assert (row["label"], row["sha256"]) == ("x", "f")


def test_a_consensus_on_a_file_that_cannot_be_read_is_in_labels_json_alone(tmp_path):
    for n in range(8):
        Image.new("RGB", (20, 20), (20 * n, 9, 9)).save(tmp_path / f"{n}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "2.png").unlink()
    rows = [f"{n}.png,{person},{'xy'[n % 2]}" for n in range(8) for person in ("ann", "ben")]
    votes = votes_file(tmp_path, "\n".join(["path,annotator,label", *rows]))
    found = verbs.labels(votes, out=tmp_path / "out", max_bad=0.5)
    assert {row["where"] for row in found["data"]["left_out"]} == {"1.png", "2.png"}
    assert len(found["consensus"]["labels"]) == 8
    assert len(read_all(tmp_path / "out" / "consensus.csv", max_bad=0)) == 6


def test_the_command_prints_text_or_json(tmp_path, capsys):
    for arguments, wanted in ((["--json"], '"agreement"'), ([], "Krippendorff's alpha")):
        with pytest.raises(SystemExit) as stop:
            cli.main(["labels", str(_votes(tmp_path)), *arguments])
        assert stop.value.code == 0
        assert wanted in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main(["labels", str(_votes(tmp_path)), "--scale", "cardinal"])
    with pytest.raises(UsageError, match="no scale interval"):
        verbs.labels(_votes(tmp_path), scale="interval")
    assert stop.value.code == 2


@pytest.mark.parametrize("options", [["--review", "--json"], ["--port", "0"]])
def test_options_that_would_be_passed_over_are_refused(tmp_path, options):
    with pytest.raises(SystemExit) as stop:
        cli.main(["labels", str(_votes(tmp_path)), *options])
    assert stop.value.code == 2


@pytest.mark.parametrize("finds", [False, True])
def test_a_run_that_cannot_compare_is_refused_as_what_it_is(monkeypatch, finds):
    net = Backbone(
        "net", "image" if finds else "text", "", "", "", (), Preprocessing(),
        Recipe("nanodet", "g"), Path("weights"), detector=Detector("dense", ()) if finds else None,
    )  # fmt: skip
    opened = nullcontext(SimpleNamespace(backbone=lambda: net))
    monkeypatch.setattr(seeing, "prepare", lambda *_, **__: opened)
    photos = Dataset(Path("photos"), "image-classification", ("a", "b"), ())
    for backbone, option in ((net, "--run"), ("net", "--backbone")):
        with pytest.raises(UsageError) as refused, seeing.eyes(backbone, photos, None, silent):
            pass
        assert refused.value.where == option


def test_boxes_of_one_hand_are_not_judged(tmp_path):

    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    rows = ["path,left,top,right,bottom,label", "a.png,1,1,20,20,cat"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match="one hand"):
        verbs.labels(tmp_path / "boxes.csv")


def test_damaged_json_is_said_to_be_damaged(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text('{"images": [')
    with pytest.raises(DataError, match="This is no JSON"):
        verbs.labels(path)


def test_pictures_with_votes_are_judged_and_set_beside_the_people(tmp_path):
    digits = pytest.importorskip("sklearn.datasets").load_digits()

    lines = ["path,annotator,label"]
    for n, (picture, label) in enumerate(zip(digits.images[:300], digits.target, strict=False)):
        grey = (255 - picture / 16 * 255).astype("uint8")
        Image.fromarray(grey).resize((64, 64)).save(tmp_path / f"{n}.png")
        told = (label + 1) % 10 if n in (7, 8) else label
        people = ("ann",) if n == 7 else ("ann", "ben", "cec")
        lines += [f"{n}.png,{person},d{told}" for person in people]
    path = tmp_path / "votes.csv"
    path.write_text("\n".join(lines))
    found = verbs.labels(path)
    suspected = [row["sample"] for row in found["likely_errors"]]
    assert "7.png" in suspected
    assert {row["sample"] for row in found["scores"]} == {f"{n}.png" for n in range(300)}
    assert [row["sample"] for row in found["scores"] if row["suspect"]] == suspected
    assert "8.png" not in suspected  # three people are as sure as a model
    assert found["beside_people"]["person"] == 1.0
    assert found["share"]["low"] <= 1 / 300 + 0.05
    journal = Journal(journal_of(path))
    for name in suspected:
        if name != "7.png":
            journal.decide(Decision(f"key {name}", name, "ann", "keep"))
    right = f"d{digits.target[7]}"
    journal.decide(Decision("key", "7.png", "ann", "change", (right,)))
    # One person's label stands alone; changed, nothing but what three people say is left.
    after = verbs.labels(path)
    assert not after["likely_errors"] and after["reviewed"] == len(suspected)
    (review,) = after["data"]["reviews"]
    assert (review["where"], review["what"]) == (
        "7.png",
        f"A reviewer changed the label to {right}.",
    )
    assert "1 label is as reviewers say; the data have not been changed." in after["caution"]
    assert after["share"]["value"] <= found["share"]["value"]
    looked = verbs.inspect(path)
    assert looked["classes"] and not [p for p in looked["problems"] if p["kind"] == "conflict"]


def test_pictures_of_a_pool_are_trained_on_once_their_table_is_filled_in(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(56):
        folder = ("cat", "dog")[n % 2] if n < 48 else "pool"
        path = tmp_path / ("photos" if n < 48 else ".") / folder / f"={n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(rng.normal([60, 160][n % 2], 40, (48, 48, 3)), 0, 255)
        Image.fromarray(pixels.astype("uint8")).save(path)
    photos, out = tmp_path / "photos", tmp_path / "out"
    shutil.copy(photos / "cat" / "=0.png", tmp_path / "pool" / "again.png")
    found = verbs.labels(photos, pool=tmp_path / "pool", batch=5, out=out)
    assert found["pool"]["samples"] == 8
    assert [(one["kind"], one["where"]) for one in found["pool"]["left_out"]] == [
        ("labelled", "again.png")
    ]
    assert "A copy of cat/=0.png in the labelled data." in (out / "report.html").read_text()
    rows = (out / "next.csv").read_text().splitlines()
    assert len(found["next"]) == len(rows) - 1 == 5
    filled = [row.replace(",,", ",dog,", 1) for row in rows[1:4]]
    (out / "next.csv").write_text("\n".join([rows[0], *filled, *rows[4:]]))
    data = verbs.fit(photos, tmp_path / "run", more=out / "next.csv", train="head").report["data"]
    assert sum(data["splits"].values()) == 48 + 3
    assert [(p["what"], p["done"]) for p in data["problems"] if p["where"] == "more:next.csv"] == [
        ("2 rows have no label yet.", "passed over")
    ]


def test_a_class_of_one_group_is_left_out_of_what_is_said():
    given = np.repeat([0, 1, 2], [40, 40, 80])
    wrong = np.arange(160) < 20
    rest = np.where(wrong, 1, given)  # nothing is said of the third class: its labels stand
    chance_nc = np.where(rest[:, None] == np.arange(3), 0.9, 0.05)
    judged = Judged(chance_nc, chance_nc, chance_nc[:, 0], wrong, chance_nc[:, 0], 1e-2)
    samples = tuple(
        Sample(f"{n}.mp4", Path(f"{n}.mp4"), int(c), f"{n:064x}", group="file" if c == 2 else "")
        for n, c in enumerate(given)
    )
    rows = Dataset(Path("data"), "video-classification", ("a", "b", "street"), samples)
    assert rows_judged(rows).tolist() == list(range(80))
    share = judgement.share_of_wrong(rows, judged, frozenset(), 0)
    assert share.low < 20 / 80 < share.high, "of the judged ones, not of all"
    said = judgement.about_lone_classes(rows)
    assert said.startswith("Labels of street are not judged")
    alone = rows.with_samples(replace(sample, group="") for sample in rows)
    assert judgement.about_lone_classes(alone) == ""


def test_what_people_kept_is_not_counted_as_wrong():
    share = Share(0.2, 0.1, 0.4)
    assert share.of_part(0.5) == Share(0.1, 0.05, 0.2)
    given = np.arange(200) % 2
    wrong = np.arange(200) < 40
    chance_nc = np.where((given ^ wrong)[:, None] == np.arange(2), 0.95, 0.05)
    judged = Judged(chance_nc, chance_nc, chance_nc[:, 0], wrong, chance_nc[:, 0], 1e-2)
    samples = tuple(
        Sample(f"{n}.png", Path(f"{n}.png"), int(c), f"{n:064x}") for n, c in enumerate(given)
    )
    rows = Dataset(Path("data"), "image-classification", ("a", "b"), samples)
    before = judgement.share_of_wrong(rows, judged, frozenset(), 0)
    after = judgement.share_of_wrong(rows, judged, frozenset(f"{n}.png" for n in range(40)), 0)
    assert before.low < 0.2 < before.high
    assert after.value < 0.03
    twins = rows.with_samples(
        replace(sample, sha256=f"{n // 2:064x}") for n, sample in enumerate(rows)
    )  # each a contradiction, so that half of the labels are wrong
    sure = frozenset(f"{n}.png" for n in range(0, 80, 2))
    assert judgement.share_of_wrong(twins, judged, frozenset(), 0).low == 0.5
    assert judgement.share_of_wrong(twins, judged, sure, 0).low == pytest.approx(0.5)
    lone = (
        Sample(f"{n}.mp4", Path(f"{n}.mp4"), 2 + n % 2, f"{n // 2:064x}", group=f"file {n % 2}")
        for n in range(400, 800)
    )  # contradictions of which nothing is judged
    more = replace(rows, classes=("a", "b", "c", "d")).with_samples((*rows, *lone))
    assert judgement.share_of_wrong(more, judged, frozenset(), 0) == before
    everything = frozenset(sample.id for sample in rows)
    assert judgement.share_of_wrong(rows, judged, everything, 0) is None


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--pool", {"pool": "pool"}),
        ("--batch", {"batch": 7}),
        ("--from-label-studio", {"from_label_studio": "export.json"}),
    ],
)
def test_options_about_samples_are_refused_where_there_are_none(tmp_path, option, given):
    votes = _votes(tmp_path)
    (tmp_path / "boxes").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "boxes" / "a.png")
    for person in ("ann", "ben"):
        rows = ["path,left,top,right,bottom,label", "a.png,1,1,20,20,cat"]
        (tmp_path / "boxes" / f"{person}.csv").write_text("\n".join(rows))
    for data in (votes, tmp_path / "boxes"):
        with pytest.raises(UsageError, match="no samples that this is about") as refused:
            verbs.labels(data, **given)
        assert refused.value.where == option


def test_of_an_export_it_is_said_that_its_texts_are_not_looked_at(tmp_path):
    said = [{"type": "choices", "from_name": "label", "value": {"choices": ["ham"]}}]
    tasks = [
        {"id": n, "data": {"text": text}, "annotations": [{"completed_by": 1, "result": said}]}
        for n, text in enumerate(("fine words", "other words"))
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    found = verbs.labels(path)
    assert found["agreement"]["votes"] == 2
    assert "the annotations alone are read" in found["not_judged"]
    with pytest.raises(UsageError, match="annotations alone are read"):
        verbs.labels(path, batch=5)


def test_a_scale_is_refused_where_there_are_no_votes(tmp_path):
    table = tmp_path / "mails.csv"
    table.write_text("text,label\nfine,ham\nugly,spam\n")
    with pytest.raises(UsageError, match="no votes here") as refused:
        verbs.labels(table, scale="ordinal")
    assert refused.value.where == "--scale"


def _all_kept(table: Path) -> Journal:
    """The journal beside a table, with a decision that keeps each label."""
    journal = Journal(journal_of(table))
    for sample in read_all(table):
        content = content_key(sample)
        journal.decide(Decision(sample.id, sample.id, "ann", "keep", content=content))
    return journal


def test_decisions_that_fit_no_sample_are_said_and_not_counted(tmp_path):
    table = tmp_path / "mails.csv"
    table.write_text("text,label\nfine,ham\nugly,spam\ngone,ham\n")
    _all_kept(table)
    table.write_text("text,label\nnew,ham\nfine,ham\nugly,spam\n")
    found = verbs.labels(table)
    assert found["reviewed"] == 2 and found["not_judged"]
    assert found["caution"].startswith("Reviewers decided on line 4, and no sample fits")
    problems = verbs.inspect(table)["problems"]
    assert [p["count"] for p in problems if p["kind"] == "lost-review"] == [1]


@pytest.mark.parametrize("many", [1, 2])
def test_lines_of_the_journal_that_were_altered_are_said(tmp_path, many):
    table = tmp_path / "mails.csv"
    table.write_text("text,label\nfine,ham\nugly,spam\nnew,ham\n")
    journal = _all_kept(table)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    altered = [line.replace(b"keep", b"skip") for line in lines[:many]]
    journal.path.write_bytes(b"".join([*altered, *lines[many:]]))
    found = verbs.labels(table)
    assert found["reviewed"] == 3 - many
    assert found["caution"].startswith(["", "1 line cannot", "2 lines cannot"][many])
    problems = verbs.inspect(table)["problems"]
    (lost,) = [p for p in problems if p["kind"] == "lost-review"]
    assert lost["examples"][0]["where"] == "mails.csv.decisions.jsonl"


def test_files_that_could_not_be_read_are_named(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for n in range(4):
        path = photos / ("cat", "dog")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (60 * n, 0, 0)).save(path)
    (photos / "cat" / "bad.png").write_bytes(b"no picture")
    found = verbs.labels(photos, out=out)
    said = "1 picture was set aside on reading (not-an-image): cat/bad.png."
    assert found["caution"] == said
    assert [(one["where"], one["done"]) for one in found["data"]["left_out"]] == [
        ("cat/bad.png", "set aside")
    ]
    page = (out / "report.html").read_text()
    assert f"<h2>What was left out of {photos.name}</h2>" in page
    assert page.count("cat/bad.png") == 2
    rows = ["path,left,top,right,bottom,label", "0.png,1,1,20,20,cat", "bad.png,1,1,20,20,cat"]
    for person in ("ann", "ben"):
        (photos / "cat" / f"{person}.csv").write_text("\n".join(rows))
    drawn = verbs.labels(photos / "cat")
    assert [one["where"] for one in drawn["data"]["left_out"]] == ["ann.csv:3", "ben.csv:3"]
    assert "2 entries were set aside on reading" in drawn["caution"]


@pytest.fixture
def blind(monkeypatch):
    """No network is opened, and nothing is chosen."""
    monkeypatch.setattr(survey, "eyes", lambda *_: nullcontext(lambda _: None))
    monkeypatch.setattr(survey, "_next", lambda *_: [])


def test_encodings_that_were_guessed_are_said_of_the_data_and_of_the_pool(tmp_path, blind):
    table, pool = tmp_path / "mails.csv", tmp_path / "pool"
    table.write_bytes("text,label\nGrüße,ham\nugly,spam\n".encode("cp1252"))
    pool.mkdir()
    for name, text in (("a", "Äpfel aus Köln"), ("b", "Birnen für Bonn")):
        (pool / f"{name}.txt").write_bytes(text.encode("cp1252"))
    assert verbs.labels(table, pool=pool)["caution"] == (
        "mails.csv: The table is not in UTF-8 (line 2 is the first that shows it). "
        "Read as Windows-1252. a.txt, b.txt: It is not in UTF-8. Read as Windows-1252."
    )
    votes = tmp_path / "votes.csv"
    rows = ["text,annotator,label", "Grüße,ann,ham", "ugly,ann,spam"]
    votes.write_bytes("\n".join(rows).encode("cp1252"))
    assert verbs.labels(votes)["caution"].count("Windows-1252") == 1


def test_files_of_a_pool_that_are_no_samples_are_not_counted_as_left_out(tmp_path, blind):
    table, pool = tmp_path / "mails.csv", tmp_path / "pool"
    table.write_text("text,label\nfine words,ham\nugly,spam\n")
    pool.mkdir()
    for name, text in {"a.txt": "fine words", "b.txt": "others", "about.json": "{}"}.items():
        (pool / name).write_text(text)
    found = verbs.labels(table, pool=pool)["pool"]
    assert found["samples"] == 1
    assert [(one["kind"], one["where"]) for one in found["left_out"]] == [("labelled", "a.txt")]
