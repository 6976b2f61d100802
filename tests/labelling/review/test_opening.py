"""From what a survey found to a review, and what a review leaves behind."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from desks import ask, desk_of, picture_queue
from PIL import Image

from regraft import dataset as data_sets
from regraft.dataset import Dataset, Sample
from regraft.dataset.clips import content
from regraft.errors import DataError, UsageError
from regraft.labelling.journal import Decision, Journal, journal_of
from regraft.labelling.label_studio_tasks import write_tasks
from regraft.labelling.likely_errors import Judged
from regraft.labelling.matching import content_key
from regraft.labelling.pool import as_in_journal, name_of, settled_by, write_labelled
from regraft.labelling.review.items import queue_of
from regraft.labelling.review.opening import open_review
from regraft.labelling.survey import Surveyed
from regraft.labelling.verdicts import heard, verdicts
from regraft.store import file_sha256

NOTHING = {"agreement": None, "outliers": [], "next": [], "not_judged": ""}


def _data(folder: Path, names: list[str], target: int | None = 0) -> Dataset:
    folder.mkdir(exist_ok=True)
    samples = []
    for n, name in enumerate(names):
        Image.new("RGB", (8, 8), (n, 9, 9)).save(folder / name)
        samples.append(Sample(name, (folder / name).resolve(), target, f"{folder}{n}"))
    classes = () if target is None else ("cat", "dog")
    return Dataset(folder, "image-classification", classes, tuple(samples))


def _judged(count: int, suspects: list[int]) -> Judged:
    chance_nc = np.tile([0.9, 0.1], (count, 1)).astype(np.float32)
    chance_nc[suspects] = [0.2, 0.8]
    suspect_n = np.isin(np.arange(count), suspects)
    quality_n = np.where(suspect_n, 0.2, 0.9)
    return Judged(chance_nc, chance_nc, quality_n, suspect_n, np.ones(count), 1.0)


def test_a_sample_is_in_the_list_once_and_for_the_most_urgent_reason(tmp_path):
    data = _data(tmp_path / "photos", ["0.png", "1.png", "2.png", "3.png"])
    facts = {
        **NOTHING,
        "agreement": {
            "divided": [
                {"sample": "1.png", "disagreement": 0.5, "votes": {"cat": 1, "dog": 1}},
                {"sample": "2.png", "disagreement": 0.4, "votes": {"cat": 2, "dog": 1}},
                {"sample": "elsewhere", "disagreement": 0.4, "votes": {}},
            ]
        },
        "outliers": [{"sample": "2.png", "reason": "Far."}, {"sample": "3.png", "reason": "Far."}],
    }
    before = [Decision("k", "0.png", "ann", "keep"), Decision("l", "gone.png", "ann", "keep")]
    queue = queue_of(Surveyed(facts, data, data, _judged(4, [1])), before)
    assert [(item.kind, item.row) for item in queue.items] == [
        ("error", 1),
        ("divided", 2),
        ("outlier", 3),
        ("decided", 0),
    ]
    assert queue.items[0].suggested == ("dog",)
    assert queue.items[0].chances[0] == ("dog", pytest.approx(0.8))
    assert queue.items[1].reason == "People voted: 2 for cat, 1 for dog."
    assert queue.examples_c == ((0, 2, 3), ())


def test_a_sample_of_the_pool_is_not_mistaken_for_one_of_the_data(tmp_path):
    data = _data(tmp_path / "photos", ["0.png", "1.png"])
    pool = _data(tmp_path / "pool", ["0.png", "1.png"], None)
    journal = Journal(journal_of(data.path))
    chances = [["dog", 0.75], ["cat", 0.25]]
    asked = {"suggested": "dog", "reason": "In doubt.", "score": 0.5, "chances": chances}
    facts = {**NOTHING, "next": [{"sample": "0.png", **asked}, {"sample": "1.png", **asked}]}
    review = open_review(data.path, Surveyed(facts, data, data, None, pool), port=0)
    name = name_of(data.path, pool, pool.samples[0])
    desk = review.server.desk
    ids = [row["sample"] for row in desk.opening()["items"]]
    assert ids == [name, name_of(data.path, pool, pool.samples[1])]
    assert [row["chances"] for row in desk.opening()["items"]] == [chances, chances]
    tasks = write_tasks(desk.queue, tmp_path / "tasks.json").tasks
    (first, _) = json.loads(tasks.read_text())
    assert first["predictions"][0]["score"] == 0.75
    desk.decide(_change("k" * 8, name, "dog"))
    assert set(verdicts(journal.standing())) == {name}
    table = review.write_labelled()
    assert table == pool.path.resolve().with_name(f"{pool.path.name}.labelled.csv")
    assert table.read_text() == "path,label\npool/0.png,dog\n"
    assert data_sets.read_all(table).classes == ("dog",)
    desk.undo({"key": "u" * 8, "of": "k" * 8, "reviewer": "ann"})
    assert review.write_labelled() is None and not table.exists()
    review.server.server_close()


def _change(key: str, sample: str, label: str) -> dict[str, object]:
    said = {"key": key, "sample": sample, "reviewer": "ann", "action": "change"}
    return {**said, "labels": [label]}


def test_what_was_labelled_leaves_the_pool_and_joins_the_data(tmp_path):
    data = _data(tmp_path / "photos", ["0.png", "1.png"])
    pool = _data(tmp_path / "pool", ["0.png", "1.png", "2.png"], None)
    names = [name_of(data.path, pool, sample) for sample in pool]
    said = [
        Decision("1", names[0], "ann", "change", ("dog",)),
        Decision("2", names[1], "ann", "change", ("wolf",)),
        Decision("3", names[2], "ann", "skip"),
        Decision("4", "1.png", "ann", "change", ("dog",)),
    ]
    known, left = settled_by(data, pool, verdicts(said))
    assert [sample.id for sample in known] == ["0.png", "1.png", names[0]]
    assert [sample.id for sample in left] == ["1.png", "2.png"]
    fresh, _ = settled_by(Dataset(pool.path, data.task, (), ()), pool, verdicts(said))
    assert fresh.classes == ("dog", "wolf") and len(fresh) == 2


def test_a_table_that_this_journal_never_spoke_of_is_left_alone(tmp_path):
    data = _data(tmp_path / "photos", ["0.png"])
    pool = _data(tmp_path / "pool", ["0.png"], None)
    table = tmp_path / "pool.labelled.csv"
    table.write_text("of another review")
    assert write_labelled(data.path, pool.path, pool, Journal(journal_of(data.path))) is None
    assert table.read_text() == "of another review"
    for rows, answer in (("pool/0.png,dog\n", table), ("photos/0.png,dog\n", None)):
        table.write_text(f"path,label\n{rows}")
        journal = Journal(journal_of(data.path))
        assert write_labelled(data.path, pool.path, pool, journal) == answer
        assert table.read_text() == f"path,label\n{rows}"


def _mails(path: Path, *texts: str) -> Dataset:
    samples = tuple(
        Sample(f"line {n}", text, None, hashlib.sha256(text.encode()).hexdigest())
        for n, text in enumerate(texts, 2)
    )
    return Dataset(path, "text-classification", (), samples)


def test_what_left_the_pool_stays_in_the_table_until_its_label_is_taken_back(tmp_path):
    data, pool = tmp_path / "mails.csv", tmp_path / "pool.csv"
    journal = Journal(journal_of(data))

    def decide(sample: Sample, label: str) -> None:
        key, content = str(sample.source), content_key(sample)
        journal.decide(Decision(key, sample.id, "ann", "change", (label,), content=content))

    before = as_in_journal(data, _mails(pool, "a\n1", "b", "c"))
    for sample, label in zip(before, ("spam", "ham"), strict=False):
        decide(sample, label)
    table = write_labelled(data, pool, before, journal)
    rows = ['"a\n1",spam\n', "b,ham\n"]
    assert table.read_text() == "text,label\n" + "".join(rows)
    after = as_in_journal(data, _mails(pool, "c", "d"))
    for others in (after, ()):
        assert write_labelled(data, pool, others, journal) == table
        assert table.read_text() == "text,label\n" + "".join(rows)
    decide(after[1], "ham")
    assert write_labelled(data, pool, after, journal) == table
    assert table.read_text() == "text,label\nd,ham\n" + "".join(rows)
    journal.undo("ann", "u1", "a\n1")
    write_labelled(data, pool, after, journal)
    assert table.read_text() == "text,label\nd,ham\nb,ham\n"
    journal.decide(Decision("new", before[1].id, "ann", "change", ("spam",), content="0" * 16))
    later = replace(before[1], id="./elsewhere.csv: line 9")
    journal.decide(Decision("b2", later.id, "ann", "change", ("spam",), content=content_key(later)))
    write_labelled(data, pool, after, journal)
    assert table.read_text() == "text,label\nd,ham\nb,spam\n"
    for key in ("b", "b2", "d"):
        journal.undo("ann", f"u {key}", key)
    assert write_labelled(data, pool, after, journal) is None and not table.exists()


def test_parts_of_videos_stand_in_the_table_with_their_times(tmp_path):
    data, pool, file = tmp_path / "photos", tmp_path / "pool.csv", tmp_path / "a.mp4"
    file.write_bytes(b"a video")
    pool.write_text("path,start,stop\n")
    sha256, journal = file_sha256(file), Journal(journal_of(data))
    spans = {"0.00-1.33s": (0.0, 1.333), "1.33-2.67s": (1.333, 2.667), "8.00-end": (8.0, 9.5)}
    clips = [
        Sample(f"a.mp4@{name}", file, None, content(sha256, span_s), span_s=span_s,
               file_sha256=sha256)
        for name, span_s in spans.items()
    ]  # fmt: skip
    samples = as_in_journal(data, Dataset(pool, "video-classification", (), tuple(clips)))
    for one, label in zip(samples, ("cat", "dog", "cat"), strict=True):
        said = Decision(one.id, one.id, "ann", "change", (label,), content=content_key(one))
        journal.decide(said)
    table = write_labelled(data, pool, samples, journal)
    rows = ["a.mp4,0.0,1.333,cat\n", "a.mp4,1.333,2.667,dog\n", "a.mp4,8.0,,cat\n"]
    assert table.read_text() == "path,start,stop,label\n" + "".join(rows)
    write_labelled(data, pool, samples[:1], journal)
    assert table.read_text() == "path,start,stop,label\n" + "".join(rows)
    journal.undo("ann", "u", samples[1].id)
    write_labelled(data, pool, samples[:1], journal)
    assert table.read_text() == "path,start,stop,label\n" + rows[0] + rows[2]


def test_a_row_whose_file_has_another_content_or_is_gone_leaves_the_table(tmp_path):
    data = _data(tmp_path / "photos", ["0.png"])
    pool = _data(tmp_path / "pool", ["0.png", "1.png", "2.png"], None)
    pool = pool.with_samples(replace(one, sha256=file_sha256(one.source)) for one in pool)
    samples, journal = as_in_journal(data.path, pool), Journal(journal_of(data.path))
    for one in samples:
        said = Decision(one.id, one.id, "ann", "change", ("dog",), content=content_key(one))
        journal.decide(said)
    table = write_labelled(data.path, pool.path, samples, journal)
    Image.new("RGB", (9, 9)).save(samples[0].source)
    samples[1].source.unlink()
    assert write_labelled(data.path, pool.path, (), journal) == table
    assert table.read_text() == "path,label\npool/2.png,dog\n"


def test_decisions_on_a_pool_move_with_it_and_the_data(tmp_path):
    before = tmp_path / "before" / "project"
    before.mkdir(parents=True)
    data = _data(before / "photos", ["0.png"])
    pool = _data(before / "pool", ["0.png", "1.png", "2.png"], None)
    pool = pool.with_samples(replace(one, sha256=f"{n}" * 64) for n, one in enumerate(pool, 1))
    names = [name_of(data.path, pool, sample) for sample in pool]
    assert names == ["./pool/0.png", "./pool/1.png", "./pool/2.png"]
    said = [
        Decision("new", names[0], "ann", "change", ("dog",), content="1" * 16),
        Decision("old", f"{pool.path.resolve()}/1.png", "ann", "change", ("cat",)),
        Decision("gone", names[2], "ann", "change", ("cat",), content="9" * 16),
    ]
    after = tmp_path / "after"
    (tmp_path / "before").rename(after)
    data = replace(data, path=after / "project" / "photos")
    for place in ("pool", "unlabelled"):
        (after / "project" / "pool").rename(after / "project" / place)
        moved = replace(pool, path=after / "project" / place)
        verdicts_ = heard(said, data, as_in_journal(data.path, moved))
        known, left = settled_by(data, moved, verdicts_)
        own = [sample.id for sample in known if sample.id.startswith("./")]
        # What an older version wrote knows the pool by its name alone.
        wanted = ["./pool/0.png", "./pool/1.png"] if place == "pool" else ["./unlabelled/0.png"]
        assert own == wanted and len(left) == 3 - len(wanted)
    elsewhere = replace(pool, path=tmp_path / "pool")
    assert name_of(data.path, elsewhere, pool.samples[0]) == "../../pool: 0.png"


def test_the_page_is_told_where_the_sample_of_a_decision_is_now(tmp_path):
    queue = picture_queue(tmp_path)
    journal = Journal(journal_of(queue.dataset.path))
    first, second = (sample.sha256[:16] for sample in queue.samples[:2])
    journal.decide(Decision("moved", "renamed.png", "ann", "keep", content=first, kept=("cat",)))
    journal.decide(Decision("other", "000.png", "ann", "keep", content=second))
    journal.decide(Decision("gone", "002.png", "ann", "keep", content="0" * 16))
    journal.undo("ann", "u1", "gone")
    told = desk_of(queue).events(0)["events"]
    places = [line.get("samples") for line in told]
    assert places == [["000.png"], ["001.png"], [], None]
    shown = queue_of(Surveyed(NOTHING, queue.dataset, queue.dataset), journal.standing())
    assert [(item.kind, item.row) for item in shown.items] == [("decided", 0), ("decided", 1)]


def test_where_nothing_is_labelled_reviewers_name_the_classes(tmp_path):
    pool = _data(tmp_path / "pool", ["0.png"], None)
    asked = {"suggested": None, "reason": "Typical.", "chances": []}
    facts = {**NOTHING, "next": [{"sample": "0.png", **asked}]}
    nothing = Dataset(pool.path, pool.task, (), ())
    review = open_review(pool.path, Surveyed(facts, nothing, nothing, None, pool), port=0)
    desk, name = review.server.desk, name_of(pool.path, pool, pool.samples[0])
    assert desk.opening()["open"]
    for label in ("", " cat", "a|b", "a\nb", "x" * 61, 7):
        with pytest.raises(Exception, match="1 to 60 printable"):
            desk.decide(_change("k" * 8, name, label))
    desk.decide(_change("k" * 8, name, "<b>"))
    assert review.summary() == "1 decision by 1 reviewer: 1 label changed, 0 divided"
    review.server.server_close()


def test_the_summary_says_what_the_page_shows(tmp_path):
    data = _data(tmp_path / "photos", ["0.png", "1.png", "2.png"])
    journal = Journal(journal_of(data.path))
    same, other = content_key(data.samples[0]), content_key(data.samples[1])
    said = [
        Decision("1", "0.png", "ann", "change", ("cat",), content=same),
        Decision("2", "1.png", "ann", "keep", content=other, kept=("dog",)),
        Decision("3", "renamed.png", "ben", "keep", content=other, kept=("cat",)),
        Decision("4", "2.png", "ann", "change", ("dog",), content="0" * 16),
    ]
    for decision in said:
        journal.decide(decision)
    review = open_review(data.path, Surveyed(NOTHING, data, data), port=0)
    assert review.summary() == "4 decisions by 2 reviewers: 0 labels changed, 1 divided"
    review.server.server_close()


def test_the_port_is_the_datas_own_and_the_next_one_if_it_is_taken(tmp_path):
    queue = picture_queue(tmp_path)
    found = Surveyed(NOTHING, queue.dataset, queue.dataset, None)
    found = replace(found, facts={**NOTHING, "outliers": [{"sample": "000.png", "reason": "Far."}]})
    first = open_review(queue.dataset.path, found)
    heard = []
    second = open_review(queue.dataset.path, found, tell=lambda event: heard.append(event.text))
    assert second.server.server_port != first.server.server_port
    assert "is taken" in heard[0]
    assert first.server.token != second.server.token
    with pytest.raises(UsageError, match="cannot be used"):
        open_review(queue.dataset.path, found, port=first.server.server_port)
    port = first.server.server_port
    for review in (first, second):
        review.server.server_close()
    again = open_review(queue.dataset.path, found)
    assert again.server.server_port == port
    again.server.server_close()
    with pytest.raises(UsageError, match="printable"):
        open_review(queue.dataset.path, found, reviewer="a\nb")


def test_nothing_to_review_is_said(tmp_path):
    data = _data(tmp_path / "photos", ["0.png"])
    with pytest.raises(DataError, match="nothing to review"):
        open_review(data.path, Surveyed(NOTHING, data, data))
    facts = {**NOTHING, "data": None, "not_judged": "The table has no files."}
    with pytest.raises(DataError, match=r"nothing to show. The table has no files\.") as fault:
        open_review(data.path, Surveyed(facts))
    assert "a table of votes with the texts in a column `text`" in fault.value.mend
    assert "`path`" in fault.value.mend
    facts |= {"data": {"task": "object-detection"}}
    with pytest.raises(DataError, match="Boxes of several people are not reviewed") as fault:
        open_review(data.path, Surveyed(facts))
    assert fault.value.where == str(data.path) and "--out" in fault.value.mend


def test_ctrl_c_ends_a_review_in_peace(tmp_path):
    pytest.importorskip("cleanlab")
    pytest.importorskip("crowdkit")
    from test_browser import _two_colours

    _two_colours(tmp_path / "photos")
    regraft = Path(sys.executable).with_name("regraft")
    command = [str(regraft), "labels", "photos", "--review", "--port", "0", "--reviewer", "ann"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = re.fullmatch(r"Open (\S+)\n", process.stdout.readline())[1]
            sample = ask(address, "queue").value["items"][0]["sample"]
            body = {**_change("k" * 8, sample, "red"), "reviewer": "ann"}
            assert ask(address, "decide", body).value == {"written": True}
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert "1 decision by 1 reviewer" in rest and "photos.decisions.jsonl" in rest
