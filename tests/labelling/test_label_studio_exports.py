"""To Label Studio and back, by hand-made exports in its own formats."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import defusedxml.ElementTree as xml
import pytest

from regraft.dataset import Dataset, Sample
from regraft.errors import DataError, UsageError
from regraft.labelling.journal import Journal
from regraft.labelling.label_studio_exports import is_export, read_export, take_in, votes_in
from regraft.labelling.label_studio_tasks import interface_of, write_tasks
from regraft.labelling.review.items import Item, Queue
from regraft.labelling.verdicts import reviewed, verdicts
from regraft.labelling.votes_table import is_votes, read_votes

EVIL = "<script>\"&'</script>"
CLASSES = (EVIL, "cat", "dog")


def _pictures(folder: Path) -> Dataset:
    root = folder / "my photos"
    samples = tuple(
        Sample(name, root / name, n % 3)
        for n, name in enumerate(["a/ü 1.png", "b/2.png", "c/3.png"])
    )
    (folder / "my photos").mkdir(exist_ok=True)
    return Dataset(root, "image-classification", CLASSES, samples)


def _queue(data: Dataset, *, pool: Dataset | None = None) -> Queue:
    names = data.classes
    items = [
        Item(n, "error", (names[n % 3],), (names[(n + 1) % 3],), 0.9, "Odd.", ((names[0], 0.25),))
        for n in range(len(data))
    ]
    roots = tuple(one.path.resolve() for one in (data, pool) if one)
    samples = (*data, *(pool or ()))
    items += [Item(n, "next", None, None, None, "New.") for n in range(len(data), len(samples))]
    return Queue(data, samples, tuple(items), ((),) * 3, roots, pool)


def _annotated(tasks, choices, person: object = 1, **more):
    """What Label Studio exports as JSON after a person has chosen."""
    return [
        {
            "id": number,
            "data": task["data"],
            "predictions": task.get("predictions", []),
            "annotations": [
                {
                    "id": 100 + number,
                    "completed_by": person,
                    "was_cancelled": chosen is None,
                    "updated_at": "2026-01-02T03:04:05.000000Z",
                    "result": []
                    if chosen is None
                    else [
                        {
                            "id": "x",
                            "type": "choices",
                            "from_name": "label",
                            "to_name": "image",
                            "origin": "manual",
                            "value": {"choices": list(chosen)},
                        }
                    ],
                    **more,
                }
            ],
        }
        for number, (task, chosen) in enumerate(zip(tasks, choices, strict=True), 1)
    ]


def _export(folder: Path, tasks) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def test_there_and_back(tmp_path):
    data = _pictures(tmp_path)
    written = write_tasks(_queue(data), tmp_path / "tasks.json")
    tasks = json.loads(written.tasks.read_text())
    assert written.count == 3 and written.root == tmp_path
    address = tasks[0]["data"]["image"]
    assert address == "/data/local-files/?d=my%20photos/a/%C3%BC%201.png"
    assert (written.root / unquote(address.partition("=")[2])) == data.samples[0].source
    (result,) = tasks[0]["predictions"][0]["result"]
    assert (result["type"], result["value"]) == ("choices", {"choices": ["cat"]})
    assert tasks[2]["predictions"][0]["score"] == 0.25

    journal = Journal(tmp_path / "my photos.decisions.jsonl")
    path = _export(tmp_path, _annotated(tasks, [[EVIL], ["dog"], None], {"email": "ann@x.org"}))
    taken = take_in(path, data, None, journal)
    assert (taken["written"], taken["known"], taken["unmatched"]["count"]) == (3, 0, 0)
    said = [(d.sample, d.action, d.labels, d.reviewer) for d in journal.standing()]
    assert said == [
        ("a/ü 1.png", "keep", (), "ann@x.org"),
        ("b/2.png", "change", ("dog",), "ann@x.org"),
        ("c/3.png", "skip", (), "ann@x.org"),
    ]
    dataset, _ = reviewed(data, journal)
    assert [sample.target for sample in dataset] == [0, 2, 2]


def test_the_same_export_again_adds_nothing_and_a_later_one_only_what_is_new(tmp_path):
    data = _pictures(tmp_path)
    tasks = json.loads(write_tasks(_queue(data), tmp_path / "tasks.json").tasks.read_text())
    journal = Journal(tmp_path / "decisions.jsonl")
    first = _annotated(tasks, [["cat"], ["cat"], ["cat"]])
    for known in (0, 3):
        assert take_in(_export(tmp_path, first), data, None, journal)["known"] == known
    later = _annotated(tasks, [["cat"], ["dog"], ["cat"]], updated_at="2026-02-01T00:00:00Z")
    second = [first[0], later[1], first[2]]
    taken = take_in(_export(tmp_path, second), data, None, journal)
    assert (taken["written"], taken["known"]) == (1, 2)
    assert verdicts(journal.standing())["b/2.png"].labels == ("dog",)


def test_the_same_export_again_adds_nothing_after_the_table_was_sorted(tmp_path):
    samples = tuple(Sample(f"line {n}", f"text {n}", 1, f"{n}" * 64) for n in (2, 3))
    data = Dataset(tmp_path / "mails.csv", "text-classification", CLASSES, samples)
    data = data.with_samples([*samples, Sample("line 4", "text 4", 1, "4" * 64)])
    tasks = [{"data": {"sample": one.id, "checksum": one.sha256[:16]}} for one in data]
    export = _export(tmp_path, _annotated(tasks, [["dog"], ["cat"], None]))
    journal = Journal(tmp_path / "decisions.jsonl")
    assert take_in(export, data, None, journal)["written"] == 3
    journal.undo("annotator 1", "label-studio-undo", journal.standing()[0].key)
    turned = [replace(one, id=f"line {n}") for n, one in enumerate(reversed(data.samples), 2)]
    taken = take_in(export, data.with_samples(turned), None, journal)
    assert (taken["written"], taken["known"]) == (0, 3)


def test_what_an_older_version_took_in_about_a_pool_is_known(tmp_path):
    data = _pictures(tmp_path)
    (tmp_path / "pool").mkdir()
    new = Sample("b/9.png", tmp_path / "pool" / "b" / "9.png", None)
    pool = Dataset(tmp_path / "pool", "image-classification", (), (new,))
    task = {"data": {"sample": str(new.source), "image": "/data/local-files/?d=pool/b/9.png"}}
    export = _export(tmp_path, _annotated([task], [["cat"]]))
    take_in(export, data, pool, now := Journal(tmp_path / "now.jsonl"))
    (decision,) = now.standing()
    old = replace(decision, key="label-studio-old", sample=str(new.source), content="")
    journal = Journal(tmp_path / "decisions.jsonl")
    journal.decide(old)
    assert take_in(export, data, pool, journal)["known"] == 1
    journal.decide(replace(old, key="decided-on-the-page", at="2026-01-03T00:00:00Z"))
    later = _annotated([task], [["cat"]], updated_at="2026-01-03T00:00:00Z")
    assert take_in(_export(tmp_path, later), data, pool, journal)["written"] == 1


@pytest.mark.parametrize(
    ("image", "sample"),
    [
        ("/data/local-files/?d=my%20photos/b/2.png", "b/2.png"),
        ("/data/local-files/?d=elsewhere/b/2.png", "b/2.png"),
        ("/data/upload/7/0a1b2c3d-2.png", "b/2.png"),
        ("http://pictures.example/c/3.png?size=1", "c/3.png"),
        ("s3://bucket/c/3.png", "c/3.png"),
        ("/data/upload/7/0a1b2c3d-4.png", None),
        ("http://[", None),
        ("", None),
    ],
)
def test_tasks_that_were_made_elsewhere_find_their_sample(tmp_path, image, sample):
    data = _pictures(tmp_path)
    journal = Journal(tmp_path / "decisions.jsonl")
    path = _export(tmp_path, _annotated([{"data": {"image": image}}], [["cat"]]))
    taken = take_in(path, data, None, journal)
    assert [decision.sample for decision in journal.standing()] == ([sample] if sample else [])
    assert taken["unmatched"]["count"] == (0 if sample else 1)


def test_a_name_that_fits_two_samples_fits_none(tmp_path):
    data = _pictures(tmp_path)
    twice = data.with_samples([*data, Sample("z/2.png", data.path / "z" / "2.png", 0)])
    path = _export(tmp_path, _annotated([{"data": {"image": "/data/upload/7/2.png"}}], [["cat"]]))
    assert take_in(path, twice, None, Journal(tmp_path / "d.jsonl"))["unmatched"]["count"] == 1


def test_samples_of_a_pool_go_there_and_back_under_their_own_names(tmp_path):
    from regraft.labelling.pool import name_of

    data = _pictures(tmp_path)
    (tmp_path / "pool").mkdir()
    new = Sample("b/2.png", tmp_path / "pool" / "b" / "2.png", None)
    pool = Dataset(tmp_path / "pool", "image-classification", (), (new,))
    named = pool.with_samples([Sample(name_of(data.path, pool, new), new.source, None)])
    queue = _queue(data, pool=named)
    tasks = json.loads(write_tasks(queue, tmp_path / "t.json").tasks.read_text())
    assert tasks[3]["data"]["image"] == "/data/local-files/?d=pool/b/2.png"
    assert "predictions" not in tasks[3]
    journal = Journal(tmp_path / "decisions.jsonl")
    take_in(_export(tmp_path, _annotated(tasks[3:], [["cat"]])), data, pool, journal)
    assert [d.sample for d in journal.standing()] == ["./pool/b/2.png"]


def test_clips_are_played_and_come_back(tmp_path):
    root = tmp_path / "clips"
    root.mkdir()
    parts = [("a.mp4", (0.0, 4.0)), ("b.mp4@2.00-4.00s", (2.0, 4.0))]
    samples = tuple(Sample(id_, root / id_[:5], 1, span_s=span_s) for id_, span_s in parts)
    data = Dataset(root, "video-classification", CLASSES, samples)
    written = write_tasks(_queue(data), tmp_path / "tasks.json")
    interface = xml.fromstring(written.interface.read_text())
    assert interface.find("Video").attrib == {"name": "video", "value": "$video"}
    assert interface.find("Choices").attrib["toName"] == "video" and interface.find("Image") is None
    tasks = json.loads(written.tasks.read_text())
    assert [task["data"]["video"] for task in tasks] == [
        "/data/local-files/?d=clips/a.mp4",
        "/data/local-files/?d=clips/b.mp4",
    ]
    assert [task["data"]["reason"] for task in tasks] == ["Odd.", "From 2.00 s to 4.00 s. Odd."]
    assert {task["predictions"][0]["result"][0]["to_name"] for task in tasks} == {"video"}
    journal = Journal(tmp_path / "decisions.jsonl")
    bare = {"data": {"video": "/data/upload/7/0a1b2c3d-a.mp4"}}
    path = _export(tmp_path, _annotated([bare, tasks[1]], [["dog"], ["cat"]]))
    take_in(path, data, None, journal)
    assert [(d.sample, d.labels) for d in journal.standing()] == [
        ("a.mp4", ("dog",)),
        ("b.mp4@2.00-4.00s", ()),
    ]


def test_a_task_is_about_what_its_sample_held_whatever_is_called_so_now(tmp_path):
    samples = tuple(Sample(f"line {n}", f"text {n}", 1, f"{n}" * 64) for n in (2, 3))
    data = Dataset(tmp_path / "mails.csv", "text-classification", CLASSES, samples)
    items = tuple(Item(n, "error", ("cat",), ("dog",), 0.9, "?") for n in (0, 1))
    written = write_tasks(Queue(data, samples, items, ((),) * 3, ()), tmp_path / "tasks.json")
    tasks = json.loads(written.tasks.read_text())
    assert [task["data"]["checksum"] for task in tasks] == ["2" * 16, "3" * 16]
    edited = data.with_samples(
        [replace(samples[0], sha256="9" * 64), replace(samples[1], id="line 4")]
    )
    journal = Journal(tmp_path / "decisions.jsonl")
    path = _export(tmp_path, _annotated(tasks, [["dog"], ["cat"]]))
    taken = take_in(path, edited, None, journal)
    assert taken["unmatched"] == {"count": 1, "examples": ["line 2"]}
    (decision,) = journal.standing()
    assert (decision.sample, decision.content, decision.kept) == ("line 4", "3" * 16, ("cat",))


def test_the_short_export_and_texts(tmp_path):
    samples = (Sample("line 2", "a <b>\ntext", 1), Sample("line 3", "other", 1))
    data = Dataset(tmp_path / "mails.csv", "text-classification", CLASSES, samples)
    queue = Queue(data, samples, (Item(0, "error", ("cat",), ("dog",), 0.9, "?"),), ((),) * 3, ())
    written = write_tasks(queue, tmp_path / "tasks.json")
    (task,) = json.loads(written.tasks.read_text())
    assert task["data"]["text"] == "a <b>\ntext" and written.root is None
    short = [
        {**task["data"], "id": 1, "annotator": 4, "annotation_id": 9, "label": "dog"},
        {"text": "other", "id": 2, "annotator": "b@x", "annotation_id": 3, "choice": "cat"},
    ]
    journal = Journal(tmp_path / "decisions.jsonl")
    assert take_in(_export(tmp_path, short), data, None, journal)["written"] == 2
    assert [(d.sample, d.action, d.reviewer) for d in journal.standing()] == [
        ("line 2", "change", "annotator 4"),
        ("line 3", "keep", "b@x"),
    ]


def test_several_classes(tmp_path):
    samples = (Sample("line 2", "a", (1,)), Sample("line 3", "b", ()))
    data = Dataset(tmp_path / "m.csv", "text-classification", CLASSES, samples, (), True)
    tasks = [{"data": {"sample": sample.id}} for sample in samples]
    journal = Journal(tmp_path / "decisions.jsonl")
    take_in(_export(tmp_path, _annotated(tasks, [["dog", "cat"], []])), data, None, journal)
    assert [(d.action, d.labels) for d in journal.standing()] == [
        ("change", ("cat", "dog")),
        ("keep", ()),
    ]
    assert 'choice="multiple"' in interface_of(data)


def test_what_is_no_class_is_left_out_and_said(tmp_path):
    data = _pictures(tmp_path)
    tasks = [{"data": {"sample": sample.id}} for sample in data]
    journal = Journal(tmp_path / "decisions.jsonl")
    path = _export(tmp_path, _annotated(tasks, [["wolf"], ["cat", "dog"], []]))
    taken = take_in(path, data, None, journal)
    assert taken["unknown_classes"] == {"wolf": 1, "cat, dog": 1}
    assert [decision.action for decision in journal.standing()] == ["skip"]


@pytest.mark.parametrize(
    "content", [b"", b"mine", b"[1]", b'[{"data": {"sample": "a"}}]', b'[{"id": 1, "data": {}}]']
)
def test_what_tasks_would_be_written_over_is_left_alone(tmp_path, content):
    queue, path = _queue(_pictures(tmp_path)), tmp_path / "tasks.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not from an earlier call"):
        write_tasks(queue, path)
    assert path.read_bytes() == content and not path.with_suffix(".xml").exists()
    path.unlink()
    path.with_suffix(".xml").write_text("<View/>")
    with pytest.raises(UsageError, match="not from an earlier call"):
        write_tasks(queue, path)
    assert path.with_suffix(".xml").read_text() == "<View/>" and not path.exists()
    path.with_suffix(".xml").unlink()
    assert write_tasks(queue, path) == write_tasks(queue, path)  # its own are replaced
    exported = [{**task, "annotations": []} for task in json.loads(path.read_text())]
    path.write_text(json.dumps(exported))
    with pytest.raises(UsageError, match="not from an earlier call"):
        write_tasks(queue, path)
    with pytest.raises(UsageError, match="The tasks are JSON"):
        write_tasks(queue, tmp_path / "tasks.xml")


def test_the_interface_holds_every_class_to_the_letter(tmp_path):
    root = xml.fromstring(interface_of(_pictures(tmp_path)))
    assert tuple(choice.get("value") for choice in root.iter("Choice")) == CLASSES
    assert root.find("Image").get("value") == "$image"
    assert root.find("Choices").attrib["toName"] == "image"


def test_an_export_is_a_table_of_votes(tmp_path):
    tasks = [{"data": {"sample": f"{n}.png"}} for n in range(4)]
    both = _annotated(tasks, [["cat"], ["dog"], ["cat"], None], 1)
    other = _annotated(tasks, [["cat"], ["cat"], ["cat"], ["dog"]], {"id": 2})
    for task, more in zip(both, other, strict=True):
        task["annotations"] += more["annotations"]
    found = read_votes(_export(tmp_path, both))
    assert is_votes(tmp_path / "export.json")
    assert (len(found), found.annotators) == (7, ("annotator 1", "annotator 2"))
    assert found.samples == ("0.png", "1.png", "2.png", "3.png")


def test_tasks_that_begin_alike_are_several_samples(tmp_path):
    template = "Dear customer, " * 30
    tasks = [{"data": {"source": "forum", "text": f"{template}{n}"}} for n in range(3)]
    both = _annotated(tasks, [["cat"], ["dog"], ["cat"]], 1)
    for task, more in zip(both, _annotated(tasks, [["cat"]] * 3, 2), strict=True):
        task["annotations"] += more["annotations"]
    found = read_votes(_export(tmp_path, both))
    assert len(found) == 6 and found.per_sample().tolist() == [2, 2, 2]
    assert found.samples[0].startswith("Dear customer") and "(task 3)" in found.samples[2]


def test_the_short_export_has_choices_of_any_name(tmp_path):
    rows = [
        {"text": f"t{n}", "id": n, "mood": mood, "annotator": who, "annotation_id": 10 * n + who}
        for n, mood in ((1, "good"), (2, {"choices": ["bad"]}))
        for who in (1, 2)
    ]
    found = read_votes(_export(tmp_path, rows))
    assert (found.samples, found.classes, len(found)) == (("t1", "t2"), ("bad", "good"), 4)


@pytest.mark.parametrize("shape", ["full", "short"])
def test_answers_to_several_questions_are_not_mixed(tmp_path, shape):
    if shape == "full":
        tasks = _annotated([{"data": {"text": "t"}}], [["news"]])
        (result,) = tasks[0]["annotations"][0]["result"]
        mood = {**result, "from_name": "mood", "value": {"choices": ["good"]}}
        tasks[0]["annotations"][0]["result"] = [{**result, "from_name": "topic"}, mood]
    else:
        row = {"text": "t", "id": 1, "topic": "news", "mood": "good", "annotator": 1}
        tasks = [{**row, "annotation_id": 5}]
    path = _export(tmp_path, tasks)
    assert is_export(path)
    with pytest.raises(DataError, match="several questions: mood, topic"):
        read_votes(path)


def test_an_annotation_without_a_class_is_no_vote_where_samples_have_one(tmp_path):
    tasks = [{"data": {"sample": f"{n}.png"}} for n in range(3)]
    found = read_votes(_export(tmp_path, _annotated(tasks, [["cat"], [], ["dog"]])))
    assert (found.scale, found.samples) == ("nominal", ("0.png", "2.png"))
    several = _export(tmp_path, _annotated(tasks, [["cat", "dog"], [], ["dog"]]))
    assert read_votes(several).values == ((), ("cat", "dog"), ("dog",))
    one = _export(tmp_path, _annotated(tasks, [["cat"], [], ["dog"]]))
    assert read_votes(one, scale="multilabel").values == ((), ("cat",), ("dog",))


def test_one_class_has_to_be_chosen_and_of_several_none_may(tmp_path):
    data = _pictures(tmp_path)
    for several, required in ((False, "true"), (True, None)):
        root = xml.fromstring(interface_of(replace(data, multilabel=several)))
        assert root.find("Choices").get("required") == required


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[",
        "[1]",
        "[[]]",
        "[" * 100_000,
        '"text"',
        "\x00",
        '[{"annotations": [1], "data": {}}]',
        '[{"annotations": [{}], "data": {}}]',
        '[{"annotations": [{"result": []}]}]',
        '[{"annotations": [{"result": [1]}], "data": {}}]',
        '[{"annotations": [{"result": [{"type": "choices"}]}], "data": {}}]',
        json.dumps(_annotated([{"data": {}}], [[3]])),
        json.dumps(_annotated([{"data": {}}], [[""]])),
        '[{"annotation_id": 1, "label": {"choices": 3}}]',
    ],
)
def test_what_is_no_export_is_refused(tmp_path, content):
    path = tmp_path / "export.json"
    path.write_text(content)
    assert not is_export(path)
    with pytest.raises(DataError):
        read_export(path)
    assert not is_export(tmp_path / "nothing.json")


def _short_rows(*rows):
    """Rows of "JSON-MIN" whose fields stand in the order in which they are given."""
    return [
        {**row, "annotator": n, "annotation_id": n, "created_at": "2026-01-02T03:04:05Z"}
        for n, row in enumerate(rows)
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"id": 1, "text": "t", "sentiment": "good"},
        {"id": 1, "text": "t"},
        {"id": 1, "text": "t", "label": "old", "mood": "good"},
    ],
)
def test_what_was_asked_is_not_taken_for_an_answer(tmp_path, row):
    path = _export(tmp_path, _short_rows(row, row))
    assert is_export(path)
    with pytest.raises(DataError, match=r"(?s)field `id` of their own.*export as JSON"):
        read_export(path)


def test_an_answer_stands_behind_the_number_of_its_task(tmp_path):
    rows = [{"text": "text", "label": "old", "id": 1, "mood": mood} for mood in ("good", "bad")]
    found = read_votes(_export(tmp_path, _short_rows(*rows)))
    assert (found.samples, found.classes, len(found)) == (("text",), ("bad", "good"), 2)
    last = [{"id": 1, "text": "t", "label": "a"}, {"id": 2, "text": "u"}]
    found = read_votes(_export(tmp_path, _short_rows(*last)))
    assert (found.samples, found.classes) == (("t",), ("a",))


@pytest.mark.parametrize("shape", ["full", "short"])
def test_where_anybody_answers_label_other_questions_do_not_count(tmp_path, shape):
    if shape == "full":
        tasks = _annotated([{"data": {"text": "t"}}] * 2, [["news"], ["poor"]])
        (label,) = tasks[0]["annotations"][0]["result"]
        quality = {**label, "from_name": "quality", "value": {"choices": ["fine"]}}
        tasks[0]["annotations"][0]["result"].append(quality)
        tasks[1]["annotations"][0]["result"] = [quality]
    else:
        answers = [{"label": "news", "quality": "fine"}, {"quality": "poor"}]
        tasks = _short_rows(*({"text": "t", "id": 1, **said} for said in answers))
    found = read_votes(_export(tmp_path, tasks))
    assert (found.samples, found.classes, len(found)) == (("t",), ("news",), 1)


def test_answers_to_other_questions_do_not_tell_samples_apart(tmp_path):
    rows = [{"text": "t", "id": 1, "label": "news", "quality": q} for q in ("fine", "poor")]
    found = read_votes(_export(tmp_path, _short_rows(*rows)))
    assert found.samples == ("t",) and len(found) == 2


def test_many_tasks_are_named_fast(tmp_path):
    tasks = [{"data": {"text": f"text {n}"}} for n in range(30_000)]
    path = _export(tmp_path, _annotated(tasks, [["cat"]] * len(tasks)))
    began = time.process_time()
    assert len(votes_in(path)) == len(tasks)
    assert time.process_time() - began < 4
