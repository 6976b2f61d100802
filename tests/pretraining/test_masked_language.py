"""Masked-language pre-training: packing, masking, the head, the run as a whole."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from text_models import save_model, tokenizer_json

from regraft.backbones import build, open_backbone
from regraft.backbones.text_encoder import token_states
from regraft.dataset import Sample
from regraft.errors import DataError, UsageError
from regraft.events import silent
from regraft.pretraining import MaskedSettings, check_objective, pretrain
from regraft.pretraining import masking as m
from regraft.pretraining.masked_language import MaskedLanguage, held_out, pieces


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
    for step in range(50):
        picked, _ = m.chosen(starts, 0, step, 0, True)
        word = np.cumsum(starts) - 1
        assert all(len(set(picked[word == w])) == 1 for w in range(word[-1] + 1))
        picked.any()


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
    parts = pieces(batch, 64)
    assert len(parts) > 2
    assert sum(part.tokens for part in parts) == batch.tokens
    assert np.array_equal(np.concatenate([p.truth_m for p in parts]), batch.truth_m)
    for part in parts:
        assert part.id_rl.size <= 64
        assert (part.id_rl.reshape(-1)[part.masked_m] >= 0).all()


def test_near_copies_are_held_out_together() -> None:
    samples = [Sample(str(i), f"{i}", None, group=f"g{i % 10}") for i in range(100)]
    learn, held = held_out(samples, 0)
    assert len(held) == 10
    assert len({s.group for s in held}) == 1
    assert len(learn) + len(held) == 100
    with pytest.raises(DataError, match="only one text"):
        held_out(samples[:1], 0)


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
    with pytest.raises(UsageError, match="at most"):
        pretrain(place / "pool", place / "r2", objective="masked-language",
                 backbone=f"text:{place / 'model'}", settings=settings(tokens=2000))  # fmt: skip
