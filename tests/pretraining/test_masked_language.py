"""Masked-language pre-training: packing, masking, the head, the run as a whole."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from text_models import V3, save_model, tokenizer_json

import regraft
from regraft.backbones import build, check_backbone, open_backbone
from regraft.backbones.text_families import token_states
from regraft.dataset import Sample
from regraft.errors import DataError, UsageError
from regraft.events import silent
from regraft.pretraining import (
    MaskedSettings,
    Pretrained,
    check_objective,
    masked_language,
    pretrain,
)
from regraft.pretraining import masking as m
from regraft.pretraining.masked_language import MaskedLanguage
from regraft.transfer.cut import Cut


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(folder / "cache"))
        save_model("bert", folder / "model")
        (folder / "model" / "tokenizer.json").write_text(spelt(tokenizer_json()))
        (folder / "pool").mkdir()
        for i in range(60):
            (folder / "pool" / f"{i:02}.txt").write_text(words(i, 20 + 7 * (i % 13)))
        open_backbone(f"text:{folder / 'model'}")
    return folder


@pytest.fixture(autouse=True)
def own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(place / "cache"))


def spelt(text: str) -> str:
    """Numbers as letters: digits do not count where copies are looked for."""
    return re.sub(r"w(\d+)", lambda n: "w" + "".join("abcdefghij"[int(d)] for d in n[1]), text)


def words(i: int, count: int) -> str:
    """A text whose words follow each other in steps of 1 to 7, so that neighbours tell a word."""
    rng = np.random.default_rng(i)
    start, step = int(rng.integers(0, 90)), int(rng.integers(1, 8))
    return spelt(" ".join(f"w{(start + step * k) % 90}" for k in range(count)))


def settings(**changes) -> MaskedSettings:
    plain = {"batch": 512, "piece": 256, "epochs": 4, "bf16": False, "learning_rate": 3e-3}
    return MaskedSettings(**(plain | changes))


def backbone(place: Path):
    return open_backbone(f"text:{place / 'model'}")


def windows(place: Path, longest: int = 32) -> m.Windows:
    texts = [words(i, 5 + 9 * i) for i in range(12)]
    return m.windows_of(texts, backbone(place), longest, silent)


# Windows and masks --------------------------------------------------------------------------------


def test_windows_hold_every_token_once_and_never_two_documents(place: Path) -> None:
    found = windows(place)
    assert found.whole_w.max() == 32
    assert found.length_w.sum() == len(found.id_n) == sum(5 + 9 * i for i in range(12))
    assert (np.cumsum(found.length_w)[:-1] == found.begin_w[1:]).all()
    assert (np.bincount(found.document_w, found.length_w) == [5 + 9 * i for i in range(12)]).all()


def test_rows_hold_all_and_hardly_any_padding() -> None:
    lengths = np.random.default_rng(0).integers(4, 64, 300)
    rows = m.rows_of(lengths, 64)
    assert sorted(member for row in rows for member in row) == list(range(300))
    assert all(lengths[row].sum() <= 64 for row in rows)
    assert lengths.sum() / (64 * len(rows)) > 0.95


@pytest.mark.parametrize("whole_words", [False, True])
def test_masks_are_a_function_of_seed_step_and_window(place: Path, whole_words: bool) -> None:
    found = windows(place)
    alone = m.packed(found, np.array([3]), 32, 0, 7, whole_words)
    among = m.packed(found, np.array([9, 3, 1, 0]), 32, 0, 7, whole_words)
    where = np.argwhere(among.id_rl == found.part(3)[0][0])  # some row holds it; compare masked ids
    assert len(where)
    assert set(alone.truth_m) <= set(among.truth_m)
    again = m.packed(found, np.array([3]), 32, 0, 8, whole_words)
    assert not np.array_equal(alone.id_rl, again.id_rl)


def test_fifteen_in_a_hundred_are_guessed_and_eighty_of_these_hidden(place: Path) -> None:
    found = windows(place)
    shown, truth = [], []
    for step in range(60):
        batch = m.packed(found, np.arange(len(found)), 32, 0, step, False)
        shown.append(batch.id_rl.reshape(-1)[batch.masked_m])
        truth.append(batch.truth_m)
        assert batch.tokens == found.whole_w.sum() == (batch.id_rl >= 0).sum()
    shown_m, truth_m = np.concatenate(shown), np.concatenate(truth)
    assert len(truth_m) / (60 * found.length_w.sum()) == pytest.approx(0.15, abs=0.01)
    hidden = shown_m == found.marks.mask
    assert hidden.mean() == pytest.approx(0.8, abs=0.03)
    assert (shown_m == truth_m).mean() == pytest.approx(0.1, abs=0.02)


def test_whole_words_are_hidden_as_a_whole() -> None:
    starts = np.array([1, 0, 0, 1, 0, 1, 1, 0, 0, 0], bool)
    word = np.cumsum(starts) - 1
    hidden = np.zeros(word[-1] + 1)
    for step in range(200):
        picked, _ = m.chosen(starts, 0, step, 0, True)
        assert all(len(set(picked[word == w])) == 1 for w in range(word[-1] + 1))
        hidden += picked[starts]
    assert (hidden > 10).all() and (hidden < 60).all()  # each about 15 % of the time


def test_what_is_left_of_a_word_that_a_window_cuts_is_a_word_of_its_own() -> None:
    none, later = np.zeros(5, bool), np.array([0, 0, 1, 0, 1], bool)
    fates = set()
    for step in range(80):
        picked, _ = m.chosen(none, 0, step, 0, True)
        assert len(set(picked)) == 1
        picked, _ = m.chosen(later, 0, step, 0, True)
        assert picked[0] == picked[1] and picked[2] == picked[3]
        fates.add((bool(picked[0]), bool(picked[4])))
    assert {(True, False), (False, True)} <= fates


def test_a_text_in_a_shared_row_is_what_it_is_alone(place: Path) -> None:
    network = build(backbone(place))
    batch = m.packed(windows(place), np.arange(9), 32, 0, 0, False)
    together = states(network, batch)
    for r, row in enumerate(batch.window_rl):
        for k in range(row.max() + 1):
            some = np.flatnonzero(row == k)
            ids = torch.from_numpy(batch.id_rl[r : r + 1, some].astype(np.int64))
            alone = token_states(
                network.stages, ids, torch.arange(len(some))[None], torch.zeros_like(ids)
            )
            torch.testing.assert_close(together[r, some], alone[0], rtol=1e-4, atol=1e-5)
            pooled = network(ids)
            torch.testing.assert_close(pooled[0], alone[0].mean(dim=0), rtol=1e-4, atol=1e-5)


def states(network, batch: m.Packed) -> torch.Tensor:
    with torch.no_grad():
        return token_states(
            network.stages,
            *(
                torch.from_numpy(x.astype(np.int64))
                for x in (batch.id_rl, batch.place_rl, batch.window_rl)
            ),
        )


def test_pieces_hold_the_whole_batch(place: Path) -> None:
    batch = m.packed(windows(place), np.arange(20), 32, 0, 0, False)
    parts = m.pieces(batch, 64)
    assert len(parts) > 2
    assert sum(part.tokens for part in parts) == batch.tokens
    assert np.array_equal(np.concatenate([p.truth_m for p in parts]), batch.truth_m)
    for part in parts:
        assert part.id_rl.size <= 64
        assert (part.id_rl.reshape(-1)[part.masked_m] >= 0).all()


# The objective ------------------------------------------------------------------------------------


def pool(place: Path) -> tuple[Sample, ...]:
    found = MaskedLanguage(settings()).read(place / "pool", [], 0.01, silent)
    return found.samples


@pytest.mark.parametrize("changes", [{}, {"whole_words": True, "bf16": True}])
def test_the_objective_keeps_its_contract(place: Path, changes: dict) -> None:
    assert check_objective(MaskedLanguage(settings(**changes)), backbone(place), pool(place))


def test_gradients_in_pieces_are_those_of_the_whole_batch(place: Path) -> None:
    from regraft.pretraining import Job

    job = Job(backbone(place), 0, pool(place), 0, lambda _, f: f(), None, False, silent)
    grads = []
    for piece in (64, 4096):
        learner = MaskedLanguage(settings(piece=piece)).open(job)
        learner.backward(0)
        grads.append([p.grad.clone() for group in learner.groups() for p in group["params"]])
        learner.close()
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_an_encoder_of_pictures_and_windows_too_long_are_refused(place: Path) -> None:
    with pytest.raises(UsageError, match="is for images"):
        pretrain(place / "pool", place / "r1", objective="masked-language",
                 backbone="random:resnet10t")  # fmt: skip
    with pytest.raises(UsageError, match="look like texts"):
        pretrain(place / "pool", place / "r0")
    with pytest.raises(UsageError, match="at most"):
        pretrain(place / "pool", place / "r2", objective="masked-language",
                 backbone=f"text:{place / 'model'}", settings=settings(tokens=2000))  # fmt: skip
    with pytest.raises(UsageError, match="a batch of 24 tokens has no room for a text of 32"):
        pretrain(place / "pool", place / "r3", objective="masked-language",
                 backbone=f"text:{place / 'model'}",
                 settings=settings(tokens=32, batch=24))  # fmt: skip


def test_columns_that_are_named_are_those_of_pool_and_judge(place: Path, tmp_path: Path) -> None:
    def table(name: str, header: str, rows: list[str]) -> Path:
        path = tmp_path / name
        path.write_text("\n".join([header, *rows]))
        return path

    noise = "x" * 60
    pool = table("pool.csv", "Notiz,Nachricht", [f"{noise},{words(i, 40)}" for i in range(40)])
    rows = [f"{words(100 + i, 12)},{'ab'[i % 2]}" for i in range(40)]
    judge = table("judge.csv", "Nachricht,Sorte", rows)
    asked: dict = {
        "objective": "masked-language", "backbone": f"text:{place / 'model'}", "judge": judge,
        "settings": settings(epochs=1),
    }  # fmt: skip
    with pytest.raises(DataError, match="no column `label`"):
        pretrain(pool, tmp_path / "without", **asked)
    columns = "text=Nachricht,label=Sorte"
    done = pretrain(pool, tmp_path / "run", columns=columns, **asked)
    assert done.report["data"]["samples"] > 20  # some are copies; of the other column all are
    assert done.report["verdict"]["answer"] in ("helped", "no difference", "hurt")
    with pytest.raises(UsageError, match="reads no texts"):
        pretrain(pool, tmp_path / "other", columns=columns)


# The run as a whole -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(place: Path) -> Path:
    """Two classes, told apart by which words they use; two of its texts stand in the pool."""
    rows = [("text", "label", "split")]
    for i in range(60):
        drawn = 2 * np.random.default_rng(i).integers(0, 45, 12) + i % 2
        rows.append(
            (
                spelt(" ".join(f"w{n}" for n in drawn)),
                "ab"[i % 2],
                ("train", "valid", "test")[i // 2 % 3],
            )
        )
    with (place / "judge.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    inside = words(200, 30) + " . " + rows[3][0] + " . " + words(201, 30)
    (place / "pool" / "holds-one.txt").write_text(inside)
    (place / "pool" / "copy.txt").write_text(rows[5][0])
    return place / "judge.csv"


@pytest.fixture(scope="module")
def done(place: Path, judged: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(place / "cache"))
        return pretrain(
            place / "pool", place / "run", objective="masked-language", compare="scratch",
            backbone=f"text:{place / 'model'}", judge=judged, settings=settings(epochs=30),
        )  # fmt: skip


def test_the_loss_falls_below_its_references(done) -> None:
    report = done.report
    first, last = report["before"]["held_out"], report["after"]["held_out"]
    assert last["loss"] < first["loss"] - 0.2
    assert last["loss"] < report["after"]["unigram"]["loss"] - 0.2
    assert last["accuracy"] > report["after"]["unigram"]["accuracy"]
    said = report["verdict"]["text"]
    assert said.startswith(
        f"Loss on hidden words of held-out texts: {last['loss']:.2f} nats (unigram "
    )
    assert f"start {first['loss']:.2f}, random weights " in said
    assert report["scratch"]["steps"] == report["steps"]
    assert report["curves"][0]["held_loss"] == pytest.approx(first["loss"], abs=1e-5)
    assert report["curves"][-1]["held_loss"] == pytest.approx(last["loss"], abs=1e-5)
    assert report["before"]["general"] is report["after"]["general"] is None
    assert report["throughput"]["unit"] == "tokens"
    parts = report["after"]["examples"][0]["parts"]
    assert any(isinstance(part, dict) and part["truth"].strip() for part in parts)


def test_leaks_are_named_and_kept_out(done, place: Path, judged: Path) -> None:
    leaks = {p["where"]: p["what"] for p in done.report["data"]["problems"] if p["kind"] == "leak"}
    assert set(leaks) == {"holds-one.txt", "copy.txt"}
    judge = [s for s in regraft.load(judged) if s.split in ("valid", "test")]
    kept = MaskedLanguage(settings(keep_duplicates=True)).read(place / "pool", judge, 0.01, silent)
    assert {"holds-one.txt", "copy.txt"} <= {sample.id for sample in kept}
    found = {p.where: p.done for p in kept.problems if p.kind == "leak"}
    assert found == {"holds-one.txt": "kept", "copy.txt": "kept"}


def test_the_verdict_is_about_frozen_and_fine_tuned(done) -> None:
    verdict = done.report["verdict"]
    for one in (verdict, verdict["fine_tuned"]):
        assert one["answer"] in ("helped", "no difference", "hurt")
        assert 0 <= one["p"] <= 1
        assert one["split"] == "test"
    assert verdict["fine_tuned"]["steps"] >= 20
    assert "Fine-tuned" in verdict["text"]


def test_the_page_shows_references_and_words_filled_in(done) -> None:
    page = (done.folder / "report.html").read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    for said in ("unigram", "random weights", "not measured: the encoder came", "holds-one.txt"):
        assert said in page, said
    assert regraft.report(done.folder).read_text() == page


def test_the_result_is_a_backbone_with_its_head(done, place: Path, judged: Path) -> None:
    result = open_backbone(str(done.folder))
    check_backbone(result)
    fitted = regraft.fit(judged, place / "fit", backbone=str(done.folder), train="head")
    assert fitted.report["backbone"]["sha256"] == result.sha256
    again = pretrain(
        place / "pool", place / "again", objective="masked-language",
        backbone=str(done.folder), settings=settings(epochs=1),
    )  # fmt: skip
    before = again.report["before"]["held_out"]["loss"]
    assert before == pytest.approx(done.report["after"]["held_out"]["loss"], abs=0.3)
    assert not list((place / "again" / "steps").glob("head-*.json"))


@pytest.fixture(scope="module")
def headed(place: Path) -> str:
    """An encoder that comes with a head for words."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(place / "model", place / "headed")
    file, named = place / "headed" / "model.safetensors", "cls.predictions."
    head = {"transform.dense.weight": torch.eye(32), "transform.LayerNorm.weight": torch.ones(32),
            "bias": torch.zeros(101)}  # fmt: skip
    save_file(load_file(file) | {named + name: some for name, some in head.items()}, file)
    return f"text:{place / 'headed'}"


def trained(place: Path, out: str, start: str, **changes) -> Pretrained:
    return pretrain(
        place / "pool", place / out, objective="masked-language", backbone=start,
        settings=settings(epochs=1, **changes),
    )  # fmt: skip


def test_forgetting_is_measured_with_a_head_that_came_with_the_encoder_alone(
    place: Path, headed: str
) -> None:
    first, made = trained(place, "own", headed), trained(place, "made", f"text:{place / 'model'}")
    for done in (first, trained(place, "own2", str(first.folder))):
        for when in ("before", "after"):
            assert done.report[when]["general"]["source"] == "the Python language reference"
        assert "loss on general text" in (done.folder / "report.html").read_text()
    made2 = trained(place, "made2", str(made.folder))
    for done in (made, made2, trained(place, "made3", str(made2.folder))):
        assert not list((done.folder / "steps").glob("head-*.json")) or done is made
        assert done.report["before"]["general"] is done.report["after"]["general"] is None
    with pytest.raises(UsageError, match="without a head for words"):
        trained(place, "made4", str(made.folder), general=str(place / "pool"))


def test_other_general_texts_are_another_training(place: Path, headed: str, tmp_path: Path) -> None:
    general = tmp_path / "general.txt"

    def tokens() -> int:
        report = trained(place, "general", headed, general=str(general)).report
        return report["after"]["tokens"]["general"]

    general.write_text(words(1, 60))
    first = tokens()
    general.write_text(words(2, 90))
    assert tokens() > first
    general.unlink()
    with pytest.raises(DataError):
        tokens()


def test_what_is_frozen_stays(place: Path) -> None:
    run = pretrain(
        place / "pool", place / "frozen", objective="masked-language", train="last:1",
        backbone=f"text:{place / 'model'}", settings=settings(),
    )  # fmt: skip
    assert run.report["backbone"]["frozen_intact"] is True
    start, end = backbone(place), open_backbone(str(run.folder))
    for stage in range(3):
        same = Cut(start, stage).fingerprint() == Cut(end, stage).fingerprint()
        assert same, stage
    assert Cut(start, 3).fingerprint() != Cut(end, 3).fingerprint()


RUN = """
import sys
from regraft.pretraining import MaskedSettings, pretrain
from regraft.transfer import loop
loop.SAVE_EVERY_S, loop.SAVING_SHARE = 0.0, 1e9
pretrain("pool", sys.argv[1], objective="masked-language", backbone="text:model", settings=
    MaskedSettings(batch=512, epochs=12, bf16=True, whole_words=True))
"""


def test_killed_and_resumed_gives_the_same_bits(place: Path) -> None:
    (place / "run.py").write_text(RUN)

    def begin(out: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "run.py", out], cwd=place, env=dict(os.environ))

    assert begin("whole").wait() == 0
    process = begin("cut")
    while process.poll() is None and not list((place / "cut").glob("checkpoints/*0002?.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert begin("cut").wait() == 0
    weights = [place / run / "backbone" / "weights.safetensors" for run in ("whole", "cut")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_stopped_while_the_head_alone_is_trained_and_resumed_gives_the_same_bits(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(out: str) -> bytes:
        done = pretrain(
            place / "pool", place / out, objective="masked-language",
            backbone=f"text:{place / 'model'}", settings=settings(epochs=1),
        )  # fmt: skip
        return (done.folder / "backbone" / "weights.safetensors").read_bytes()

    plain = masked_language.fit

    def stopped(*given) -> None:
        plain(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(masked_language, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        once("head-cut")
    assert not list((place / "head-cut" / "steps").glob("head-[!p]*"))
    monkeypatch.setattr(masked_language, "fit", plain)
    assert once("head-cut") == once("head-whole")


def test_a_budget_decides_the_steps_once(place: Path) -> None:
    def once():
        return pretrain(
            place / "pool", place / "budget", objective="masked-language", budget=4.0,
            backbone=f"text:{place / 'model'}", settings=settings(bf16=None),
        ).report  # fmt: skip

    assert once()["steps"] == once()["steps"] > 0


HEADS: dict[str, tuple[str, dict]] = {
    "deberta-v3": ("deberta-v2", V3),
    **{
        family: (family, {})
        for family in ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "deberta-v2",
                       "modernbert")
    },
}  # fmt: skip


@pytest.mark.parametrize("family", HEADS)
def test_a_published_head_is_taken_over_and_guesses_as_its_library_does(
    family: str, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import save_file

    from regraft.pretraining import Job

    kind, more = HEADS[family]
    save_model(kind, tmp_path / "model", **more)
    (tmp_path / "model" / "tokenizer.json").write_text(spelt(tokenizer_json()))
    config = transformers.AutoConfig.from_pretrained(tmp_path / "model")
    torch.manual_seed(1)
    whole = transformers.AutoModelForMaskedLM.from_config(config).eval()
    torch.nn.init.normal_(whole.get_output_embeddings().bias)
    if family == "modernbert":  # its norm has a larger epsilon, which counts where states are tiny
        torch.nn.init.normal_(whole.head.dense.weight)
    tensors = {
        k: v.contiguous().clone()
        for k, v in whole.state_dict().items()
        if "decoder" not in k or k == "decoder.bias"
    }
    save_file(tensors, tmp_path / "model" / "model.safetensors")
    samples = tuple(Sample(str(i), words(i, 30), None, group=str(i)) for i in range(30))
    job = Job(
        open_backbone(f"text:{tmp_path / 'model'}"), 0, samples, 0, lambda _, f: f(), None, False,
        silent,
    )  # fmt: skip
    learner = MaskedLanguage(settings()).open(job)
    row = learner._texts.examples[0].batch
    with torch.no_grad():
        mine = learner._guess(row)[1]
        theirs = whole(torch.from_numpy(row.id_rl.astype(np.int64))).logits
    learner.close()
    torch.testing.assert_close(mine, theirs.flatten(0, 1)[row.masked_m], rtol=1e-3, atol=1e-4)


def test_the_head_that_debertas_authors_publish_is_not_taken(tmp_path: Path) -> None:
    """It guesses from what a decoder of its own makes of the states."""
    from safetensors.torch import load_file, save_file

    from regraft.backbones.network import read_safetensors

    save_model("deberta-v2", tmp_path / "model", **V3)
    file = tmp_path / "model" / "model.safetensors"
    head = {f"lm_predictions.lm_head.{n}": torch.zeros(32, 32)
            for n in ("dense.weight", "dense.bias", "LayerNorm.weight", "bias")}  # fmt: skip
    save_file(load_file(file) | head, file)
    found = open_backbone(f"text:{tmp_path / 'model'}")
    assert not any("head" in name for name in read_safetensors(found.weights))


@pytest.mark.parametrize("family", ["deberta-v2", "modernbert"])
def test_other_families_share_rows_too(family: str, tmp_path: Path) -> None:
    save_model(family, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text(spelt(tokenizer_json()))
    found = open_backbone(f"text:{tmp_path / 'model'}")
    network = build(found)
    texts = [words(i, 5 + 3 * i) for i in range(8)]
    batch = m.packed(m.windows_of(texts, found, 32, silent), np.arange(8), 32, 0, 0, False)
    together = states(network, batch)
    for r, row in enumerate(batch.window_rl):
        for k in range(row.max() + 1):
            some = np.flatnonzero(row == k)
            ids = torch.from_numpy(batch.id_rl[r : r + 1, some].astype(np.int64))
            with torch.no_grad():
                pooled = network(ids)[0]
            torch.testing.assert_close(pooled, together[r, some].mean(dim=0), rtol=1e-4, atol=1e-5)
