"""What `fit` learns from: soft and clean labels, the journal, and the people beside the model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cleanlab")
pytest.importorskip("crowdkit")
pytest.importorskip("tokenizers")

from text_models import save_model

import regraft
from regraft import cli, fitting
from regraft import dataset as data_sets
from regraft.dataset import Dataset, Sample
from regraft.errors import DataError, UsageError
from regraft.labelling.ceiling import beside_people
from regraft.labelling.consensus import consensus, upheld
from regraft.labelling.journal import Decision, Journal, journal_of
from regraft.labelling.lessons import Spoken, soft_targets, spoken, vote_shares
from regraft.labelling.matching import content_key
from regraft.labelling.reader import AnyReader
from regraft.labelling.verdicts import Verdict
from regraft.labelling.votes import votes_of

_COUNT = 90
_WRONG = (7, 20, 33, 46)
"""Samples of which two people say what is not so, and nobody else."""


def _text(i: int) -> str:
    rng = np.random.default_rng(i)
    return " ".join(f"w{2 * n + i % 2}" for n in rng.integers(0, 48, 7))


def _votes(path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "annotator", "label"])
        for i in range(_COUNT):
            rng = np.random.default_rng(1000 + i)
            for person in ("ann", "ben", "cec")[: 2 if i in _WRONG else 3]:
                told = i % 2 if rng.random() < 0.85 else 1 - i % 2
                told = 1 - i % 2 if i in _WRONG else told
                writer.writerow([f"t{i:03d}", _text(i), person, ["<b>ham", "spam"][told]])
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lessons")
    save_model("bert", folder / "model")
    _votes(folder / "votes.csv")
    return folder


def _fit(place: Path, name: str, **options) -> regraft.Fitted:
    backbone = f"text:{place / 'model'}"
    return regraft.fit(
        place / "votes.csv", place / name, backbone=backbone, train="head", **options
    )


def _model_bytes(fitted: regraft.Fitted) -> bytes:
    return (fitted.folder / "model" / "model.safetensors").read_bytes()


def test_a_table_of_votes_is_fitted_and_set_beside_the_people(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = _fit(place, "given").report
    assert report["labels"] is None
    people = report["people"]
    assert 0 < people["samples"] <= _COUNT
    assert people["text"] in report["verdict"]
    assert "<b>ham" not in (place / "given" / "report.html").read_text()
    assert report["data"]["classes"] == ["<b>ham", "spam"]
    measured = regraft.evaluate(place / "given", place / "votes.csv")
    # What it was fitted or chosen by is no test of it.
    assert measured["people"]["samples"] == report["data"]["splits"]["test"]
    with pytest.raises(SystemExit, match="0"):
        cli.main(["evaluate", str(place / "given"), str(place / "votes.csv")])
    assert measured["people"]["text"] in capsys.readouterr().out


def test_soft_labels_are_learnt_from_and_measured_against_the_majority(place: Path) -> None:
    given, soft = _fit(place, "given"), _fit(place, "soft", labels="soft")
    assert _model_bytes(given) != _model_bytes(soft)
    found = soft.report["labels"]
    assert found["mode"] == "soft" and "majority" in found["text"]
    assert found["text"].startswith(f"{soft.report['data']['splits']['train']} of ")
    assert found["low"] <= found["gap"] <= found["high"]
    loss = found["log_loss"]
    assert found["text"].endswith(
        f"(log-loss, the lower the better): {loss['soft']:.3f} with soft labels, "
        f"{loss['given']:.3f} with those of the majority."
    )
    assert soft.report["data"]["splits"] == given.report["data"]["splits"]
    assert "--labels soft" in soft.report["reproduce"]
    assert _model_bytes(_fit(place, "soft-again", labels="soft")) == _model_bytes(soft)


def test_soft_labels_are_no_classes_of_texts_in_several_views(place: Path) -> None:
    with pytest.raises(UsageError, match="several views of pictures and clips"):
        _fit(place, "views", labels="soft", views=2)


def test_the_majority_is_what_soft_labels_are_measured_against_whatever_the_consensus_is() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    right = {"good": 0.98, "spam1": 0.2, "spam2": 0.2}  # who are right together, and mislead
    told = [
        (f"s{u:03d}", person, (str(truth[u] if rng.random() < chance else 1 - truth[u]),))
        for u in range(300)
        for person, chance in right.items()
    ]
    votes = votes_of(told)
    samples = tuple(Sample(f"s{u:03d}", f"text {u}", 0) for u in range(300))
    rows = Dataset(Path("votes"), "text-classification", ("0", "1"), samples)
    said = Spoken(rows, {}, votes, votes)
    soft, shares = soft_targets(said), vote_shares(said)
    assert consensus(votes).method == "dawid-skene"
    assert {round(float(share.max()), 3) for share in shares.values()} == {0.667, 1.0}
    assert any(soft[name].argmax() != shares[name].argmax() for name in soft)


def test_a_tie_of_two_goes_where_the_consensus_sends_it() -> None:
    told = [(f"s{u}", person, ("dog",)) for u in range(6) for person in ("ann", "ben")]
    told += [("tie", "ann", ("dog",)), ("tie", "ben", ("cat",))]
    votes = votes_of(told)
    samples = (Sample("tie", "a text", 0), Sample("s0", "another", 1), Sample("s1", "one more", 1))
    rows = Dataset(Path("votes"), "text-classification", ("cat", "dog"), samples)
    kept = {"s0": Verdict("keep", ())}
    shares = vote_shares(Spoken(rows, kept, votes, votes))
    assert (votes.samples[-1], consensus(votes).labels()[-1]) == ("tie", ("dog",))
    assert shares["tie"].argmax() == 1
    assert "s0" not in shares and "s1" in shares


def test_of_several_classes_each_has_its_share_and_a_model_is_set_beside_the_people() -> None:
    said_by = {"ann": ("cat", "dog"), "ben": ("cat",), "cec": ("cat", "dog"), "dan": ()}
    told = [("a", person, names) for person, names in said_by.items()]
    told += [("b", person, ("dog",)) for person in said_by]
    votes = votes_of(told)
    samples = (Sample("a", "a text", (0,)), Sample("b", "another", (1,)), Sample("c", "more", ()))
    classes = ("cat", "dog", "elk")
    rows = Dataset(Path("votes"), "text-classification", classes, samples, multilabel=True)
    soft = soft_targets(Spoken(rows, {}, votes, votes))
    assert set(soft) == {"a", "b"}
    assert soft["a"].tolist() == [0.75, 0.5, 0.0] and soft["b"].tolist() == [0.0, 1.0, 0.0]

    right_nc = np.array([[0.9, 0.8, 0.1], [0.1, 0.9, 0.1]], dtype=np.float32)
    wrong_nc = np.array([[0.1, 0.8, 0.1], [0.9, 0.1, 0.1]], dtype=np.float32)
    right, wrong = (
        beside_people(votes, ("a", "b"), classes, chance_nc) for chance_nc in (right_nc, wrong_nc)
    )
    assert right is not None and wrong is not None
    assert right["samples"] == wrong["samples"] == 2
    assert right["model"] > 0.8 > right["person"] > 0.2 > wrong["model"]
    assert beside_people(votes, ("c",), classes, right_nc[:1]) is None


def test_votes_on_a_file_are_about_the_clips_that_it_is_cut_into() -> None:
    told = [("a.mp4", person, ("dog",)) for person in ("ann", "ben", "cec")]
    told += [("b.mp4@0.00-12.00s", person, ("cat",)) for person in ("ann", "ben")]
    votes = votes_of(told)
    clips = ("a.mp4@0.00-6.00s", "a.mp4@6.00-12.00s", "b.mp4@6.00-12.00s", "b.mp4@12.00-18.00s")
    samples = tuple(Sample(name, Path(name[:5]), int(name < "b")) for name in clips)
    rows = Dataset(Path("votes.csv"), "video-classification", ("cat", "dog"), samples)
    soft = soft_targets(Spoken(rows, {}, votes, votes))
    assert {name: float(chance_c[1]) for name, chance_c in soft.items()} == {
        clips[0]: 1.0,
        clips[1]: 1.0,
        clips[2]: 0.0,
    }
    assert upheld(votes, rows) == frozenset(clips[:2])
    chance_nc = np.array([[0.4, 0.6], [0.8, 0.2], [0.9, 0.1], [0.1, 0.9]])
    beside = beside_people(votes, clips, rows.classes, chance_nc)
    # Of the file's clips the mean counts, which says cat: the model errs on a.mp4 alone.
    assert beside["samples"] == 2 and beside["model"] == pytest.approx(2 / 5)


def test_what_people_say_of_files_is_heard_where_these_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "dataset"))
    from made_videos import moving, write

    rows = ["path,annotator,label"]
    for n in range(8):
        write(tmp_path / "clips" / f"{n}.mp4", moving(24, seed=n), rate=8)
        rows += [f"clips\\{n}.mp4,{who},{'ab'[n % 2]}" for who in ("ann", "ben")]
    table = tmp_path / "votes.csv"
    table.write_text("\n".join(rows))
    (first, *_) = data_sets.read_all(table, reader=AnyReader()).samples
    Journal(journal_of(table)).decide(
        Decision("k", first.id, "ann", "change", ("b",), content=content_key(first))
    )
    cut = data_sets.read(table, clip_s=1.0, reader=AnyReader())
    said = spoken(cut, table)
    assert len(said.dataset) == 8 * 3 and said.reviewed == 3
    changed = {s.id for s in said.dataset if s.id.startswith(first.id)}
    assert {s.target for s in said.dataset if s.id in changed} == {1}
    assert set(soft_targets(said)) == {sample.id for sample in cut} - changed


def test_soft_labels_of_which_none_is_learnt_from_are_refused(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "soft_targets", lambda _: {})
    with pytest.raises(DataError, match="None of the votes"):
        regraft.fit(
            place / "votes.csv", tmp_path / "run", backbone=f"text:{place / 'model'}", labels="soft"
        )


def test_clean_sets_aside_training_samples_only_and_says_whether_it_helped(place: Path) -> None:
    given, clean = _fit(place, "given"), _fit(place, "clean", labels="clean")
    found = clean.report["labels"]
    aside = [p for p in clean.report["data"]["problems"] if p["kind"] == "likely-error"]
    before, after = (one.report["data"]["splits"] for one in (given, clean))
    assert 0 < found["set_aside"] == len(aside) == before["train"] - after["train"]
    assert (before["valid"], before["test"]) == (after["valid"], after["test"])
    assert "set aside" in found["text"]
    # What was set aside for its label is no sample to measure on.
    measured = regraft.evaluate(place / "clean", place / "votes.csv")
    assert measured["seen"] == before["train"] + before["valid"]
    assert _model_bytes(_fit(place, "clean-again", labels="clean")) == _model_bytes(clean)


def test_without_likely_errors_the_head_keeps_the_penalty_of_all_labels(place: Path) -> None:
    given, clean = _fit(place, "given").report, _fit(place, "clean", labels="clean").report
    assert clean["rungs"][0]["penalty"] == given["rungs"][0]["penalty"]


def test_what_reviewers_decided_is_learnt_and_the_table_is_left_alone(place: Path) -> None:
    table = (place / "votes.csv").read_bytes()
    journal = Journal(journal_of(place / "votes.csv"))
    before = _fit(place, "before")
    try:
        for i in _WRONG:
            label = ["<b>ham", "spam"][i % 2]
            journal.decide(Decision(f"k{i}", f"t{i:03d}", "ann", "change", (label,)))
        after = _fit(place, "after", labels="clean")
        assert after.report["labels"]["reviewed"] == len(_WRONG)
        told = [p for p in after.report["data"]["problems"] if p["kind"] == "review"]
        assert len(told) == len(_WRONG)
        settled = {f"t{i:03d}" for i in _WRONG}
        aside = {
            p["where"] for p in after.report["data"]["problems"] if p["kind"] == "likely-error"
        }
        assert not settled & aside
        assert before.report["data"]["fingerprint"] != after.report["data"]["fingerprint"]
    finally:
        journal.path.unlink()
    assert (place / "votes.csv").read_bytes() == table


def test_what_reviewers_decided_is_what_a_model_is_measured_by(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, table = _fit(place, "given").folder, place / "votes.csv"
    changed = _WRONG[:3]
    given = regraft.evaluate(run, table)
    assert given["reviewed"] == 0
    journal = Journal(journal_of(table))
    try:
        for i in changed:
            label = ["<b>ham", "spam"][i % 2]
            journal.decide(Decision(f"k{i}", f"t{i:03d}", "ann", "change", (label,)))
        journal.decide(Decision("kept", "t000", "ann", "keep"))
        after = regraft.evaluate(run, table)
        with pytest.raises(SystemExit, match="0"):
            cli.main(["evaluate", str(run), str(table)])
        assert f"{_COUNT} samples, {len(changed) + 1} of them reviewed" in capsys.readouterr().out
    finally:
        journal.path.unlink()
    assert after["reviewed"] == len(changed) + 1
    moved = np.array(after["confusion"]) - np.array(given["confusion"])
    said = np.array([sum(i % 2 == c for i in changed) for c in (0, 1)])
    assert moved.sum(axis=1).tolist() == (said - said[::-1]).tolist()  # labels went over
    assert not moved.sum(axis=0).any()  # the answers are the same
    told = [p["where"] for p in after["problems"] if p["kind"] == "review"]
    assert sorted(told) == [f"t{i:03d}" for i in changed]


def test_soft_labels_without_votes_are_refused(place: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_text("text,label\n" + "".join(f"{_text(i)},{i % 2}\n" for i in range(40)))
    with pytest.raises(UsageError, match="made of votes"):
        regraft.fit(plain, tmp_path / "run", labels="soft")
    with pytest.raises(UsageError, match="no labels 'hard'"):
        regraft.fit(plain, tmp_path / "run", labels="hard")


# What to label next -------------------------------------------------------------------------------


def _pool(place: Path) -> Path:
    pool = place / "pool.csv"
    with pool.open("w", newline="") as file:
        rows = [[_text(i)] for i in (*range(500, 560), 500, 3)]  # a repeated one, a labelled one
        csv.writer(file).writerows([["text"], *rows])
    return pool


def test_the_pool_is_asked_with_reasons_and_written_as_tables(place: Path, capsys) -> None:
    pool, out = _pool(place), place / "out"
    arguments = ["labels", place / "votes.csv", "--pool", pool, "--batch", 8, "--out", out]
    arguments += ["--backbone", f"text:{place / 'model'}", "--json"]
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    assert stop.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pool"]["samples"] == 60
    assert len({row["sample"] for row in found["next"]}) == 8
    assert all(row["suggested"] in ("<b>ham", "spam") for row in found["next"])
    assert all(row["chances"][0] == [row["suggested"], row["probability"]] for row in found["next"])
    assert found["worth"]["text"]
    assert found["agreement"]["divided"][0]["excerpt"].startswith("w")
    rows = list(csv.DictReader((out / "next.csv").read_text().splitlines()))
    assert [row["sample"] for row in rows] == [row["sample"] for row in found["next"]]
    assert all(row["label"] == "" for row in rows)
    assert json.loads((out / "labels.json").read_text()) == found
    page = (out / "report.html").read_text()
    assert "What to label next" in page and "&lt;b&gt;ham" in page and "<b>ham" not in page


def test_the_table_of_what_to_label_next_is_trained_on_once_it_is_filled_in(
    place: Path, tmp_path: Path
) -> None:
    pool, backbone = _pool(place), f"text:{place / 'model'}"
    regraft.labels(place / "votes.csv", pool=pool, batch=8, out=tmp_path, backbone=backbone)
    with (tmp_path / "next.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for n, row in enumerate(rows[:3]):
        row["label"] = ["<b>ham", "spam"][n % 2]
    with (tmp_path / "next.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    without = _fit(place, "given").report
    report = _fit(place, "with-next", more=tmp_path / "next.csv").report
    counts = [told["data"]["splits"]["train"] for told in (report, without)]
    assert counts[0] - counts[1] == 3
    assert report["data"]["given"] == {"more": 3} and "given" not in without["data"]
    problems = [p for p in report["data"]["problems"] if p["where"] == "more:next.csv"]
    assert [(p["what"], p["done"]) for p in problems] == [
        ("5 rows have no label yet.", "passed over")
    ]
    assert rows[0]["text"] in {_text(i) for i in range(500, 560)}


def test_what_is_asked_goes_to_label_studio_and_comes_back(place: Path, tmp_path: Path) -> None:
    pool, table = _pool(place), place / "votes.csv"

    def asked(**more):
        backbone = f"text:{place / 'model'}"
        return regraft.labels(table, pool=pool, batch=4, backbone=backbone, **more)

    def tasks_of(found) -> list[dict]:
        return json.loads(Path(found["to_label_studio"]["tasks"]).read_text())

    before = asked(to_label_studio=tmp_path / "tasks.json")
    tasks = [task for task in tasks_of(before) if task["data"]["why"] == "to label next"]
    assert len(tasks) == 4
    for task, row in zip(tasks, before["next"], strict=True):
        assert task["predictions"][0]["score"] == row["probability"]
        assert task["data"]["sample"] == f"./pool.csv: {row['sample']}"
        result = {"type": "choices", "from_name": "label", "value": {"choices": ["spam"]}}
        task["annotations"] = [{"completed_by": 1, "result": [result]}]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    # The pool has grown meanwhile, so that its lines are called otherwise.
    pool.write_text("text\n" + "\n".join(_text(i) for i in range(600, 700)) + pool.read_text()[4:])
    journal = Journal(journal_of(table))
    try:
        after = asked(from_label_studio=tmp_path / "export.json")
        taken = after["from_label_studio"]
        assert (taken["written"], taken["unmatched"]["count"]) == (4, 0)
        assert after["reviewed"] == 4 and after["pool"]["samples"] == 160 - 4
        labelled = list(csv.DictReader(Path(taken["labelled"]).read_text().splitlines()))
        assert {row["text"] for row in labelled} == {task["data"]["text"] for task in tasks}
        again = tasks_of(asked(to_label_studio=tmp_path / "again.json"))
        assert not {t["data"]["checksum"] for t in tasks} & {t["data"]["checksum"] for t in again}
    finally:
        journal.path.unlink()


def test_where_all_of_the_pool_is_labelled_nothing_is_asked(place: Path, capsys) -> None:
    pool, out = place / "pool.csv", place / "out"
    with pool.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([_text(i)] for i in (3, 4, 5))])
    arguments = ["labels", place / "votes.csv", "--pool", pool, "--out", out]
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in (*arguments, "--backbone", f"text:{place / 'model'}")])
    assert stop.value.code == 0
    assert "nothing is left to label next" in capsys.readouterr().out
    assert "All of the pool is labelled already" in (out / "report.html").read_text()
    found = json.loads((out / "labels.json").read_text())
    assert found["next"] == [] and found["share"]


def test_a_table_with_labels_is_no_pool_of_itself(place: Path) -> None:
    table = place / "labelled.csv"
    rows = [[_text(i), label] for i, label in enumerate(("ham", "", "spam"))]
    for labels, refused in ((rows, True), ([[text, ""] for text, _ in rows], False)):
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([["text", "label"], *labels])
        if refused:
            with pytest.raises(UsageError, match="not read of a pool"):
                regraft.labels(table, pool=table)
        else:
            found = regraft.labels(table, pool=table, backbone=f"text:{place / 'model'}")
            assert len(found["next"]) == 3


def test_without_labels_typical_samples_are_asked(place: Path) -> None:
    pool = _pool(place)
    found = regraft.labels(pool, pool=pool, batch=5, backbone=f"text:{place / 'model'}")
    assert len(found["next"]) == 5
    assert all(row["suggested"] is None and row["chances"] == [] for row in found["next"])
    assert found["likely_errors"] == [] and found["worth"] is None


def test_the_network_of_a_run_can_look_at_the_labels(place: Path) -> None:
    run = _fit(place, "given").folder
    found = regraft.labels(place / "votes.csv", run=run)
    assert found["caution"] == "" and found["share"]
    with pytest.raises(UsageError, match="has a backbone"):
        regraft.labels(place / "votes.csv", run=run, backbone="minilm-l6")


def test_where_nothing_is_set_aside_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "effect", lambda *_: {"text": "It helped."})
    unused: Any = None
    said = Spoken(Dataset(Path(), "text-classification", ("a",), ()), {}, None, None)
    texts = [fitting.label_facts(*[unused] * 3, said, "clean", n)["text"] for n in (0, 1, 2)]
    assert texts == [
        "No training label was set aside as a likely error.",
        "1 training label was set aside as a likely error. It helped.",
        "2 training labels were set aside as likely errors. It helped.",
    ]
