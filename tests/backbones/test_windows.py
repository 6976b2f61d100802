"""Texts that are longer than a network reads: several windows, one vector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from text_models import save_model

from regraft import backbones
from regraft.backbones import Backbone, TextPreprocessing
from regraft.backbones.addresses import address
from regraft.backbones.windows import divide
from regraft.dataset import Sample, View
from regraft.errors import BackboneError, UsageError
from regraft.store import digest
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
from regraft.transfer.features import LiveFeatures, features
from regraft.transfer.packing import stacked
from regraft.transfer.tokens import is_cut, mean_tokens, read_to, token_ids

SIZE, OVERLAP = 66, 8
FAMILIES = {
    "bert": {},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": {"num_hidden_layers": 3, "local_attention": 8},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path_factory.getbasetemp() / "windows-cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("windows") / "model"
    save_model("bert", where)
    return where


def words(count: int, seed: int = 0) -> str:
    return " ".join(f"w{n}" for n in np.random.default_rng(seed).integers(0, 96, count))


def windowed(folder: Path, count: int) -> Backbone:
    return backbones.convert(f"windows:{count}:text:{folder}")


def test_windows_are_full_and_overlap(folder: Path) -> None:
    backbone = windowed(folder, 3)
    assert backbone.preprocessing == TextPreprocessing(
        SIZE, backbone.preprocessing.tokenizer_sha256, 3, OVERLAP
    )
    text = words(140)
    ids = token_ids(text, backbone)
    own = [int(word[1:]) + 4 for word in text.split()]
    step = SIZE - 2 - OVERLAP
    expected: list[int] = []
    for start in (0, step, 2 * step):
        expected += [2, *own[start : start + SIZE - 2], 3]
    assert ids.tolist() == expected
    assert (ids[:SIZE][-1], ids[SIZE]) == (3, 2)
    assert not is_cut(text, backbone)
    assert read_to(text, backbone) == len(text)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_lies_behind_the_last_window_is_cut_off_and_known(count: int, folder: Path) -> None:
    backbone = windowed(folder, count)
    step = SIZE - 2 - OVERLAP
    fits = SIZE - 2 + (count - 1) * step
    text = words(400)
    assert len(token_ids(text, backbone)) == count * SIZE == backbone.preprocessing.longest
    assert is_cut(text, backbone)
    assert text[: read_to(text, backbone)].split() == text.split()[:fits]
    assert not is_cut(words(fits), backbone)
    assert is_cut(words(fits + 1), backbone)
    mean = (count * SIZE + 5) / 2
    assert mean_tokens([text, words(3)], backbone) == mean


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_text_is_the_mean_over_the_tokens_of_its_windows(
    family: str, start: int, tmp_path: Path
) -> None:
    save_model(family, tmp_path / "model", **FAMILIES[family])
    network = backbones.build(backbones.convert(f"text:{tmp_path / 'model'}"))
    texts = [token_ids(words(n, n), windowed(tmp_path / "model", 4)) for n in (150, 5, 64, 70)]
    ids_bl = torch.full((4, max(map(len, texts))), -1)
    for row, ids in zip(ids_bl, texts, strict=True):
        row[: len(ids)] = torch.from_numpy(ids)
    with torch.no_grad():
        expected = torch.stack([_by_hand(network, torch.from_numpy(ids)) for ids in texts])
        divided = divide((network.entry(ids_bl),), SIZE)
        values = network.run(divided.values, 0, start)
        if start:
            values = _in_rows(values, divided.length_bw, ids_bl.shape[1])
        else:
            values = (network.entry(ids_bl),)
        (given,) = network.finish(values, start)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=2e-5)


def _by_hand(network: backbones.Network, ids: torch.Tensor) -> torch.Tensor:
    parts = ids.split(SIZE)
    vectors = [network.run((network.entry(p[None]),), 0, len(network.stages))[0] for p in parts]
    return sum(v[0] * len(p) for v, p in zip(vectors, parts, strict=True)) / len(ids)


def _in_rows(
    values: tuple[torch.Tensor, ...], length_bw: torch.Tensor, longest: int
) -> tuple[torch.Tensor, ...]:
    """Hidden states of windows as the cache gives them: one row for each text."""
    x_ksd, _ = values
    x_bwsd = x_ksd.new_zeros(*length_bw.shape, *x_ksd.shape[1:])
    x_bwsd[length_bw > 0] = x_ksd
    return x_bwsd.flatten(1, 2)[:, :longest], length_bw.sum(dim=1).float()


def test_gradients_reach_every_window_and_no_text_sees_another(folder: Path) -> None:
    backbone = windowed(folder, 4)
    network = backbones.build(backbone)
    x_bld = torch.randn(2, 3 * SIZE, 32, requires_grad=True)
    length_b = torch.tensor([3.0 * SIZE - 10, 20.0])
    (vector_bd,) = network.finish((x_bld, length_b), 1)
    vector_bd[0].sum().backward()
    assert x_bld.grad is not None
    felt_bl = x_bld.grad.abs().sum(dim=2) > 0
    assert felt_bl[0, : 3 * SIZE - 10].all()
    assert not felt_bl[0, 3 * SIZE - 10 :].any()
    assert not felt_bl[1].any()


@pytest.mark.parametrize("frozen", [1, 2, 3])
def test_engines_give_what_torch_gives_and_neighbours_change_no_bit(
    frozen: int, folder: Path
) -> None:
    texts = [words(n, n) for n in (200, 4, 64, 65, 130, 30)]
    samples = [Sample(str(i), text, 0, sha256=digest(text)) for i, text in enumerate(texts)]
    with prepare(windowed(folder, 3)) as preparation:
        backbone = preparation.backbone()
        cut, engine = Cut(backbone, frozen), preparation.engine(frozen, samples)
        assert engine.name.startswith("openvino")
        table = features(samples, cut, engine)
        together = table.rows(np.arange(len(texts)))
        for i, sample in enumerate(samples):
            (alone, *length) = LiveFeatures([sample], cut, engine, [View()]).rows(np.array([0]))
            own = together[0][i] if frozen == 3 else together[0][i, : alone.shape[1]]
            assert alone[0].tobytes() == own.tobytes()
            if frozen < 3:
                assert length[0][0] == len(token_ids(sample.source, backbone))  # pyright: ignore
        network = backbones.build(backbone)
        with torch.no_grad():
            (given,) = network.finish(tuple(map(torch.from_numpy, together)), frozen)
            expected = torch.stack(
                [_by_hand(network, torch.from_numpy(token_ids(t, backbone))) for t in texts]
            )
    near = torch.nn.functional.cosine_similarity(given, expected)
    assert near.min() > 0.99


def test_a_short_text_that_is_looked_at_first_judges_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trace is checked on one text alone, which is not as long as those beside it."""
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path))
    with prepare(windowed(folder, 1)) as preparation:
        backbone = preparation.backbone()
        texts = [token_ids(words(n, n), backbone) for n in (4, 40, 30)]
        engine = preparation.engine_for_pixels(2, stacked(texts))
        assert engine.name.startswith("openvino")
        assert engine.parity is not None and engine.parity.samples == 3


def test_more_windows_have_rows_of_their_own(folder: Path) -> None:
    """The same weights, the same text: another number of windows is another row."""
    sample = Sample("long", words(300), 0, sha256=digest(words(300)))
    vectors: list[np.ndarray] = []
    for count in (1, 4, 1):
        with prepare(windowed(folder, count)) as preparation:
            engine = preparation.engine(3, [sample])
            table = features([sample], Cut(preparation.backbone(), 3), engine)
            vectors.append(table.rows(np.array([0]))[0])
            assert table.computed == (0 if len(vectors) == 3 else 1)
    assert not np.array_equal(vectors[0], vectors[1])
    assert np.array_equal(vectors[0], vectors[2])


def test_names() -> None:
    assert address("windows:8:minilm-l6").name == "windows:8:minilm-l6"
    assert address("windows:8:minilm-l6").windows == 8
    assert address("windows:08:minilm-l6") == address("windows:8:minilm-l6")
    assert address("windows:2:text:some/encoder").architecture == "some/encoder"
    for wrong in (
        "windows:0:minilm-l6", "windows:65:minilm-l6", "windows:minilm-l6", "windows:2:",
        "windows:2:efficientnet-lite0", "windows:2:windows:2:minilm-l6",
    ):  # fmt: skip
        with pytest.raises(UsageError):
            address(wrong)


def test_a_run_is_read_in_other_windows_if_it_is_of_texts(folder: Path, tmp_path: Path) -> None:
    from regraft.store import canonical, commit, commit_sealed

    for name, source in (("run", f"text:{folder}"), ("pictures", "efficientnet-lite0")):
        backbone = backbones.convert(source)
        where = tmp_path / name / "backbone"
        commit(where / "weights.safetensors", backbone.weights.read_bytes())
        commit_sealed(where / "backbone.json", canonical(backbone.to_json()))
    again = backbones.convert(f"windows:7:{tmp_path / 'run'}")
    assert isinstance(again.preprocessing, TextPreprocessing)
    assert (again.preprocessing.windows, again.preprocessing.overlap) == (7, OVERLAP)
    with pytest.raises(BackboneError, match="not for texts"):
        backbones.convert(f"windows:7:{tmp_path / 'pictures'}")


def test_descriptions_from_before_read_one_window(folder: Path) -> None:
    backbone = windowed(folder, 3)
    values = backbone.to_json()
    del values["preprocessing"]["windows"], values["preprocessing"]["overlap"]
    older = Backbone.from_json(values, backbone.weights)
    assert isinstance(backbone.preprocessing, TextPreprocessing)
    assert older.preprocessing == replace(backbone.preprocessing, windows=1, overlap=0)
    text = words(100)
    assert token_ids(text, older).tolist() == token_ids(text, windowed(folder, 1)).tolist()


def test_a_tokenizer_is_opened_once_for_a_backbone(folder: Path) -> None:
    one, other = windowed(folder, 3), windowed(folder, 1)
    assert one.tokenizer is one.tokenizer
    assert one.tokenizer is not other.tokenizer
    assert one.tokenizer.truncation["stride"] == one.texts.overlap
    assert Backbone.from_json(one.to_json(), one.weights) == one


def test_samples_of_another_kind_are_refused_in_one_way(folder: Path) -> None:
    backbone = windowed(folder, 3)
    backbone.check_reads("text", "the data are texts")
    with pytest.raises(UsageError, match="is for texts, the data are images"):
        backbone.check_reads("image", "the data are images")
