"""From texts to a model and back: fit, predict and evaluate with a small encoder."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from text_models import save_model, save_pooling

import regraft
from regraft import backbones, fitting
from regraft.dataset import Sample
from regraft.errors import DataError, StoreError, TooManyBadSamples, UsageError
from regraft.store import canonical, digest, file_sha256
from regraft.transfer import fine_tuning
from regraft.transfer import model as regraft_model
from regraft.transfer import words as words_of
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
from regraft.transfer.features import features
from regraft.transfer.ground import Ground
from regraft.transfer.step import Step


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(autouse=True)
def own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(place / "cache"))


def words(i: int, label: int) -> str:
    """Texts of different lengths; which half of the words they use is the class."""
    rng = np.random.default_rng(i)
    return " ".join(f"w{2 * n + label}" for n in rng.integers(0, 48, 3 + i % 17))


def write_table(path: Path, start: int, count: int) -> Path:
    with path.open("w", newline="") as file:
        lines = [(words(i, i % 2), "ab"[i % 2]) for i in range(start, start + count)]
        csv.writer(file).writerows([("text", "label"), *lines])
    return path


@pytest.fixture(scope="module")
def fitted(place: Path) -> regraft.Fitted:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(place / "cache"))
        save_model("bert", place / "model")
        table = write_table(place / "texts.csv", 0, 60)
        return regraft.fit(
            table, place / "run", backbone=f"text:{place / 'model'}", train="last:1", seed=1
        )


def test_the_report_says_what_was_done(fitted: regraft.Fitted) -> None:
    report = fitted.report
    assert report["task"] == "text-classification"
    assert [rung["name"] for rung in report["rungs"]] == ["head", "last:1"]
    assert all(rung["frozen_intact"] for rung in report["rungs"])
    assert report["rungs"][1]["views"] == 1
    assert report["scratch"]["name"] == "tf-idf"
    words = report["rungs"][0]["words"]
    assert report["rungs"][0]["trainable_parameters"] > 2 * words > 48
    page = (fitted.folder / "report.html").read_text()
    assert f"{words:,} words and pairs of words" in page.replace("\u00a0", " ")
    assert report["scratch"]["text"] in report["verdict"]
    assert report["data"]["truncated"]["share"] == 0
    assert "excerpt" in report["least_certain"][0]
    assert (fitted.folder / "report.html").is_file()


def test_repeating_it_gives_the_same_bits_and_computes_nothing(
    fitted: regraft.Fitted, place: Path
) -> None:
    again = regraft.fit(
        place / "texts.csv", place / "run-2", backbone=f"text:{place / 'model'}",
        train="last:1", seed=1,
    )  # fmt: skip
    assert again.report["rungs"][0]["computed"] == 0
    files = [run / "model" / "model.safetensors" for run in (fitted.folder, again.folder)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_model_folder_alone_predicts(
    fitted: regraft.Fitted, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On another machine: no cache, no folder of the encoder; the tokenizer is in the weights."""
    (fitted.folder / "model").rename(tmp_path / "moved")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "empty-cache"))
    (place / "model").rename(tmp_path / "gone")
    try:
        text_file = tmp_path / "one.txt"
        text_file.write_text(words(100, 0))
        (tmp_path / "none.txt").write_text(" ")
        table = write_table(tmp_path / "more.csv", 100, 3)
        monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BytesIO(words(100, 0).encode() + b"\n\n \n"))
        )
        inputs = [text_file, tmp_path / "none.txt", table, "-"]
        answers = regraft.predict(tmp_path / "moved", inputs)
    finally:
        (tmp_path / "gone").rename(place / "model")
        (tmp_path / "moved").rename(fitted.folder / "model")
    assert [answer["sample"].split("/")[-1] for answer in answers] == [
        "one.txt", "none.txt", "more.csv, line 2", "more.csv, line 3", "more.csv, line 4", "line 1",
    ]  # fmt: skip
    assert "no text" in answers[1]["problem"]
    assert answers[0]["probabilities"] == answers[2]["probabilities"]
    assert answers[0]["probabilities"] == answers[5]["probabilities"]


def test_evaluate_measures_other_texts(fitted: regraft.Fitted, place: Path) -> None:
    evaluation = regraft.evaluate(fitted.folder, write_table(place / "other.csv", 200, 20))
    assert evaluation["count"] == 20
    assert evaluation["seen"] == 0
    assert evaluation["metric"]["value"] > 0.6


def test_a_backbone_of_pictures_is_refused(place: Path, fitted: regraft.Fitted) -> None:
    with pytest.raises(UsageError, match="is for images, the data are texts"):
        regraft.fit(place / "texts.csv", place / "run-3", backbone="efficientnet-lite0")


def test_rows_at_a_cut_hold_no_padding_and_come_back(place: Path, fitted: regraft.Fitted) -> None:
    texts = [words(i, 0) for i in range(6)]
    samples = [Sample(str(i), text, 0, sha256=digest(text)) for i, text in enumerate(texts)]
    with prepare(f"text:{place / 'model'}") as preparation:
        backbone = preparation.backbone()
        for frozen, storage in ((0, "float32"), (1, "float32"), (1, "uint8")):
            cut = Cut(backbone, frozen)
            engine = preparation.engine(frozen, samples)
            table = features(samples, cut, engine, storage=storage)
            together = table.rows(np.arange(6))
            for i, text in enumerate(texts):
                tokens = len(text.split()) + 2
                alone = table.rows(np.array([i]))
                assert alone[0].shape[1] == tokens
                np.testing.assert_array_equal(together[0][i, :tokens], alone[0][0])
                assert (together[0][i, tokens:] == (-1 if frozen == 0 else 0)).all()
                if frozen:
                    assert together[1][i] == tokens
            exact = engine.run(np.array([[2, 5, 9, 3, -1, -1]], dtype=np.int32))
            assert exact[0].shape[1] == 4


def test_the_report_says_what_few_labels_give(fitted: regraft.Fitted) -> None:
    few = fitted.report["few_labels"]
    assert (few["labels_a_class"], few["how"], few["draws"]) == (8, "drawn", 10)
    for metric in (few["metric"], few["tfidf"], few["ahead"]):
        assert metric["low"] <= metric["value"] <= metric["high"]
    gap = few["metric"]["value"] - few["tfidf"]["value"]
    assert few["ahead"]["value"] == pytest.approx(gap)
    assert "What few labels give" in (fitted.folder / "report.html").read_text()


def test_words_that_carry_an_answer_are_words_of_the_text(
    fitted: regraft.Fitted, place: Path
) -> None:
    with (place / "texts.csv").open(newline="") as file:
        texts = {f"line {n:02d}": row["text"] for n, row in enumerate(csv.DictReader(file), 2)}
    shown = [*fitted.report["most_wrong"], *fitted.report["least_certain"]]
    named = [(texts[entry["sample"]], part) for entry in shown for part in entry["words"]]
    assert named
    for text, part in named:
        assert part["words"] in text
        assert abs(part["weight"]) >= words_of.LEAST
    assert named[0][1]["words"] in (fitted.folder / "report.html").read_text()


def test_words_explain_the_answer_that_is_shown_where_the_head_was_fitted_again(
    fitted: regraft.Fitted, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Step] = []
    monkeypatch.setattr(
        fitting,
        "decisive_words",
        lambda ground, task, step, some: asked.append(step) or [[] for _ in some],
    )
    again = regraft.fit(
        place / "texts.csv", place / "run-words", backbone=f"text:{place / 'model'}",
        train="last:1", seed=1,
    )  # fmt: skip
    assert again.report["refitted_on"]
    assert "refitted_on" not in asked[0].facts


def test_a_weight_is_what_the_answer_loses_without_the_words(place: Path) -> None:
    """By the model itself, as `predict` loads it; so many texts that no head is fitted again."""
    save_model("bert", place / "model")
    table = write_table(place / "many.csv", 0, 160)
    fitted = regraft.fit(
        table, place / "run-many", backbone=f"text:{place / 'model'}", train="head", seed=1
    )
    assert fitted.report["refitted_on"] is None
    with table.open(newline="") as file:
        texts = {f"line {n:03d}": row["text"] for n, row in enumerate(csv.DictReader(file), 2)}
    entry = next(entry for entry in fitted.report["least_certain"] if entry["words"])
    part, text = entry["words"][0], texts[entry["sample"]]
    if text.split().count(part["words"]) > 1:
        pytest.skip("the words stand in the text twice")
    model = regraft_model.load(fitted.folder)
    odds = []
    for given in (text, " ".join(text.replace(part["words"], " ", 1).split())):
        (place / "one.txt").write_text(given)
        (answer,) = regraft.predict(fitted.folder, [place / "one.txt"])
        chance = answer["probabilities"][entry["predicted"]]
        odds.append(model.temperature * np.log(chance / (1 - chance)))
    assert odds[0] - odds[1] == pytest.approx(part["weight"], abs=0.1 + 0.1 * abs(part["weight"]))


def test_data_that_changed_are_said_to_have(place: Path) -> None:
    save_model("bert", place / "model")
    said: list[str] = []

    def fit(count: int) -> None:
        said.clear()
        regraft.fit(
            write_table(place / "growing.csv", 0, count), place / "run-growing",
            backbone=f"text:{place / 'model'}", train="head",
            tell=lambda event: said.append(getattr(event, "text", "")),
        )  # fmt: skip

    for count, changed in ((24, False), (24, False), (30, True), (30, False)):
        fit(count)
        assert any("not those that this run was last given" in text for text in said) == changed


def test_few_texts_are_cross_validated_and_all_put_to_use(place: Path) -> None:
    save_model("bert", place / "model")
    table = write_table(place / "few.csv", 0, 16)
    fit = partial(
        regraft.fit, table, place / "run-few",
        backbone=f"text:{place / 'model'}", train="head", seed=2, budget=600.0,
    )  # fmt: skip
    done = fit()
    assert done.report["budget_s"] == 600
    few = done.report["few_labels"]
    assert (few["how"], few["draws"]) == ("cross-validated", 10)
    splits = done.report["data"]["splits"]
    assert done.report["refitted_on"] == splits["train"] + splits["valid"]
    assert "because they are few" in done.report["verdict"]
    again = fit()
    assert again.report["few_labels"] == few


def test_how_tokens_are_pooled_stays_with_the_model(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model of a run whose encoder pools by the first token, where its folder is gone."""
    save_model("bert", tmp_path / "model")
    save_pooling(tmp_path / "model", {"pooling_mode": "cls"})
    done = regraft.fit(
        write_table(tmp_path / "texts.csv", 0, 60), tmp_path / "run",
        backbone=f"text:{tmp_path / 'model'}", train="last:1", seed=1,
    )  # fmt: skip
    assert done.report["rungs"][1]["frozen_intact"]
    shutil.rmtree(tmp_path / "model")
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "empty-cache"))
    backbone = regraft_model.load(done.folder).backbone
    network = backbones.build(backbone).read_at(())
    ids_bl = torch.tensor([[2, *range(4, 24), 3]])
    with torch.no_grad():
        states_bld, length_b = network.run((network.entry(ids_bl),), 0, 2)
        last_bld = network.stages[2].states(states_bld, length_b)  # pyright: ignore
        torch.testing.assert_close(network(ids_bl), last_bld[:, 0])
    report = regraft.evaluate(done.folder, write_table(tmp_path / "more.csv", 100, 40))
    assert report["metric"]["value"] > 0.6


def test_several_labels_a_text(place: Path) -> None:
    save_model("bert", place / "model")
    path = place / "several.csv"
    with path.open("w", newline="") as file:
        rows = [(words(i, i % 2), "|".join("ab"[: 1 + i % 2]) if i % 5 else "") for i in range(60)]
        csv.writer(file).writerows([("text", "labels"), *rows])
    done = regraft.fit(
        path, place / "run-several", backbone=f"text:{place / 'model'}", train="head"
    )
    assert done.report["data"]["multilabel"]
    assert done.report["rungs"][0]["metric"]["name"] == "mean_average_precision"
    assert done.report["scratch"]["name"] == "tf-idf"
    (place / "one.txt").write_text(words(100, 1))
    (answer,) = regraft.predict(done.folder, [place / "one.txt"])
    assert set(answer["probabilities"]) == {"a", "b"}
    assert isinstance(answer["labels"], list)


def test_named_columns_are_remembered(place: Path) -> None:
    save_model("bert", place / "model")
    path = place / "odd.csv"
    with path.open("w", newline="") as file:
        rows = [(words(i, i % 2), "not meant", "ab"[i % 2]) for i in range(40)]
        csv.writer(file).writerows([("Notiz", "text", "Sorte"), *rows])
    done = regraft.fit(
        path, place / "run-odd", backbone=f"text:{place / 'model'}", train="head",
        columns="text=Notiz,label=Sorte",
    )  # fmt: skip
    assert done.report["data"]["classes"] == ["a", "b"]
    assert "--columns text=Notiz,label=Sorte" in done.report["reproduce"]
    assert len({a["distance"] for a in regraft.predict(done.folder, [path])}) > 1
    assert regraft.evaluate(done.folder, path)["count"] == 40
    for i in range(4):
        file = place / "odd" / "ab"[i % 2] / f"{i}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(words(i, i % 2))
    assert regraft.evaluate(done.folder, place / "odd")["count"] == 4
    with pytest.raises(UsageError, match="no columns"):
        regraft.inspect(path, columns="body")


def test_what_long_texts_say_at_their_end_is_read_in_windows(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first window says nothing of the class; the same texts by `windows:1` show that."""
    save_model("bert", place / "model")
    path = place / "long.csv"

    def long(i: int) -> str:
        letters = np.random.default_rng(1000 + i).integers(0, 26, (150, 6))
        unknown = ["".join(chr(97 + n) for n in word) for word in letters]
        known = [w for k in range(9 * i, 9 * i + 9) for w in words(k, i % 2).split()]
        last = [word for pair in zip(unknown[70:], known, strict=False) for word in pair]
        return " ".join(unknown[:70] + last)

    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("text", "label"), *((long(i), "ab"[i % 2]) for i in range(60))]
        )
    name = f"text:{place / 'model'}"
    first = regraft.fit(
        path, tmp_path / "first", backbone=f"windows:1:{name}", train="last:1", seed=1
    )
    whole = regraft.fit(path, tmp_path / "whole", backbone=name, train="last:1", seed=1)
    assert first.report["data"]["truncated"] == {
        "max_tokens": 66, "windows": 1, "overlap": 8, "share": 1.0, "of": 60,
    }  # fmt: skip
    assert whole.report["data"]["truncated"]["windows"] == 4
    assert whole.report["data"]["truncated"]["share"] < 1
    # The head reads the words of all of a text; a deeper rung has what the network reads.
    values = [done.report["rungs"][1]["metric"]["value"] for done in (first, whole)]
    assert values[1] > values[0] + 0.2
    assert first.report["rungs"][0]["metric"]["value"] > values[0] + 0.2
    assert whole.report["rungs"][1]["frozen_intact"]
    named = [entry["words"] for entry in whole.report["least_certain"]]
    assert any(part["words"].split()[0] for words in named for part in words)
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "empty-cache"))
    evaluated = regraft.evaluate(whole.folder, path)
    assert evaluated["metric"]["value"] > 0.8
    answers = regraft.predict(whole.folder, [path])
    right = [answer["label"] == "ab"[i % 2] for i, answer in enumerate(answers)]
    assert np.mean(right) == pytest.approx(evaluated["metric"]["value"])


def test_the_model_of_a_head_reads_words_as_the_report_does(place: Path, tmp_path: Path) -> None:
    save_model("bert", place / "model")
    table = write_table(tmp_path / "texts.csv", 0, 160)
    test = write_table(tmp_path / "test.csv", 2000, 40)
    done = regraft.fit(
        table, tmp_path / "run", backbone=f"text:{place / 'model'}", train="head", test=test
    )
    model = regraft_model.load(done.folder)
    assert model.lexicon is not None and model.facts["format"] == 4
    assert regraft.evaluate(done.folder, test)["metric"]["value"] == pytest.approx(
        done.report["test"]["value"]
    )
    only = tmp_path / "only.csv"
    only.write_text("text,label\nw1 w3 w5,b\nw7 w9,b\n")
    assert regraft.evaluate(done.folder, only)["absent"] == ["a"]
    assert regraft.evaluate(done.folder, test)["absent"] == []
    answers = regraft.predict(done.folder, [test])
    right = [answer["label"] == "ab"[i % 2] for i, answer in enumerate(answers)]
    assert np.mean(right) == pytest.approx(done.report["test"]["value"])
    # What is known of words decides: the same vectors without them answer otherwise.
    x_nd = np.zeros((2, model.backbone.width), np.float32)
    said = model.logits(x_nd, ["w1 w3 w5", "w0 w2 w4"])
    assert not np.allclose(said[0], said[1])


def test_a_deeper_rung_begins_with_a_head_on_the_vectors_alone(
    fitted: regraft.Fitted, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    def begin(ground: Ground, step: str, rung: object, start: dict, *rest: object) -> None:
        train = ground.dataset.split("train")
        groups = [sample.group for sample in train]
        x_nd, target_nc = ground.vectors(train), ground.task.targets(train)
        alone = ground.task.fit_head(x_nd, target_nc, groups, ground.seed)
        assert set(start) == {"head.weight", "head.bias"}
        assert np.allclose(start["head.weight"], alone.weight_cd)
        raise Enough

    monkeypatch.setattr(fine_tuning, "fine_tune", begin)
    with pytest.raises(Enough):
        regraft.fit(
            place / "texts.csv", tmp_path / "run", backbone=f"text:{place / 'model'}",
            train="last:1", seed=1,
        )  # fmt: skip


def test_a_model_of_the_format_before_is_read(fitted: regraft.Fitted, tmp_path: Path) -> None:
    shutil.copytree(fitted.folder / "model", tmp_path / "model")
    path, weights = (tmp_path / "model" / f"model.{end}" for end in ("json", "safetensors"))
    tensors = load_file(weights)
    save_file({n: a for n, a in tensors.items() if not n.startswith("words.")}, weights)
    content = json.loads(path.read_text()) | {"format": 2, "sha256": file_sha256(weights)}
    content.pop("checksum")
    path.write_text(json.dumps(content | {"checksum": digest(canonical(content))}))
    assert regraft_model.load(tmp_path).lexicon is None
    said = {9: "format 9, this regraft reads 2 and 4", 3: "would miss some now"}
    for content["format"], what in said.items():
        path.write_text(json.dumps(content | {"checksum": digest(canonical(content))}))
        with pytest.raises(StoreError, match=what):
            regraft_model.load(tmp_path)


def test_predict_reads_the_column_that_is_named(fitted: regraft.Fitted, place: Path) -> None:
    table = write_table(place / "two-texts.csv", 900, 4)
    lines = table.read_text().splitlines()
    odd = [f"{line},{n} other words entirely" for n, line in enumerate(lines[1:])]
    table.write_text("\n".join([f"{lines[0]},remark", *odd]))
    chances = [
        [answer["probabilities"] for answer in regraft.predict(fitted.folder, [table], **options)]
        for options in ({}, {"columns": "text=text"}, {"columns": "text=remark"})
    ]
    assert chances[0] == chances[1] != chances[2]
    with pytest.raises(DataError, match="There is no column subject; there are text, label, rem"):
        regraft.predict(fitted.folder, [table], columns="text=subject")


def test_columns_and_bad_files_are_for_evaluate_and_labels_too(
    fitted: regraft.Fitted, place: Path
) -> None:
    pytest.importorskip("cleanlab")
    pytest.importorskip("crowdkit")
    table = write_table(place / "other-names.csv", 300, 40)
    table.write_text(table.read_text().replace("text,label", "body,kind", 1))
    named = "text=body,label=kind"
    assert regraft.evaluate(fitted.folder, table, columns=named)["count"] == 40
    pool = write_table(place / "pool.csv", 700, 30)
    pool.write_text(pool.read_text().replace("text,label", "body,kind", 1))
    found = regraft.labels(
        table, columns=named, pool=pool, batch=3, backbone=f"text:{place / 'model'}"
    )
    assert found["data"]["samples"] == 40 and found["pool"]["samples"]  # digits do not tell texts
    assert all(row["sample"].startswith("line") for row in found["next"])
    with pytest.raises(DataError, match="neither a table nor a folder"):
        (place / "plain.txt").write_text("some words\n\nmore words")
        regraft.labels(table, columns=named, pool=place / "plain.txt")
    run = regraft.fit(
        table, place / "run-named", columns=named, backbone=f"text:{place / 'model'}", train="head"
    ).folder
    assert regraft.evaluate(run, table)["count"] == 40
    other = write_table(place / "usual-names.csv", 800, 20)
    assert regraft.evaluate(run, other)["count"] == 20, "its columns are found, as ever"
    for i in range(20):
        file = place / "files" / "ab"[i % 2] / f"{i}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(words(i + 400, i % 2))
    for bad in ("a/bad.txt", "b/bad.txt"):
        (place / "files" / bad).write_bytes(b"\x00\x01\x02" * 50)
    with pytest.raises(TooManyBadSamples, match="--max-bad"):
        regraft.evaluate(fitted.folder, place / "files")
    assert regraft.evaluate(fitted.folder, place / "files", max_bad=0.2)["count"] == 20
    found = regraft.labels(place / "files", max_bad=0.2, backbone=f"text:{place / 'model'}")
    assert found["data"]["samples"] == 20
