"""Text encoders: the contract over families, parity with the library they come from, hostility."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from text_models import V3, save_model, save_pooling, tokenizer_json

from regraft import backbones
from regraft.backbones import text_files
from regraft.backbones.adapters import ADAPTERS
from regraft.backbones.addresses import address
from regraft.backbones.hub import licence_in
from regraft.dataset import Sample
from regraft.errors import BackboneError
from regraft.events import Event, Said
from regraft.store import canonical, commit, commit_sealed, digest
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
from regraft.transfer.features import features

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {}),
    "roberta": ("roberta", {}),
    "xlm-roberta": ("xlm-roberta", {}),
    "camembert": ("camembert", {}),
    "distilbert": ("distilbert", {}),
    "deberta-v2": ("deberta-v2", {}),
    "deberta-v3": ("deberta-v2", V3),
    "deberta, all distances": (
        "deberta-v2",
        V3 | {"position_buckets": -1, "share_att_key": False, "norm_rel_ebd": "none",
              "max_relative_positions": 12, "type_vocab_size": 2},
    ),
    "modernbert": ("modernbert", {"num_hidden_layers": 4, "local_attention": 8}),
    "modernbert, with biases": (
        "modernbert",
        {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "num_hidden_layers": 2},
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_keeps_the_contract_and_gives_what_its_library_gives(
    family: str, tmp_path: Path
) -> None:
    kind, more = FAMILIES[family]
    model = save_model(kind, tmp_path / "model", **more)
    backbone = backbones.convert(f"text:{tmp_path / 'model'}")
    found = backbones.check_backbone(backbone)
    assert len(found) == 8
    assert not any("picture" in promise for promise in found)
    assert backbone.modality == "text"
    ids_bl = torch.randint(4, 100, (3, 40), generator=torch.Generator().manual_seed(1))
    network = backbones.build(backbone)
    with torch.no_grad():
        expected = model(ids_bl, output_hidden_states=True)
        values = (network.entry(ids_bl),)
        for stage, theirs in enumerate(expected.hidden_states[:-1]):
            values = network.run(values, stage, stage + 1)
            torch.testing.assert_close(values[0], theirs, rtol=1e-4, atol=2e-5)
        given = network.run(values, len(expected.hidden_states) - 1, len(network.stages))[0]
    wanted = expected.last_hidden_state.mean(dim=1)
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("family", ["bert", "deberta-v3", "modernbert"])
def test_the_compiled_form_serves_texts_of_any_length(family: str, tmp_path: Path) -> None:
    """Traced with one length, it runs with others."""
    kind, more = FAMILIES[family]
    save_model(kind, tmp_path / "model", **more)
    with prepare(f"text:{tmp_path / 'model'}") as preparation:
        backbone = preparation.backbone()
        ids = torch.randint(4, 100, (4, 50), generator=torch.Generator().manual_seed(1)).int()
        ids[1, 9:] = -1
        ids[2, 30:] = -1
        engine = preparation.engine_for_pixels(len(backbone.stages), ids.numpy())
        assert engine.name.startswith("openvino")
        assert engine.parity is not None and engine.parity.passes
        (given,) = engine.run(ids.numpy())
    with torch.no_grad():
        wanted = backbones.build(backbone)(ids)
    near = torch.nn.functional.cosine_similarity(torch.from_numpy(given), wanted)
    assert near.min() > 0.99


def test_padding_does_not_change_a_vector(tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model")
    network = backbones.build(backbones.convert(f"text:{tmp_path / 'model'}"))
    short = torch.tensor([[2, 7, 9, 3]])
    padded = torch.tensor([[2, 7, 9, 3, -1, -1], [2, 5, 6, 7, 8, 3]])
    with torch.no_grad():
        torch.testing.assert_close(network(padded)[:1], network(short))


def test_the_tokenizer_is_among_the_weights(tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model")
    backbone = backbones.convert(f"text:{tmp_path / 'model'}")
    network = backbones.build(backbone)
    kept = network.tensors()["embeddings.tokenizer_json"]
    assert bytes(kept.numpy()).decode() == tokenizer_json()


def test_another_tokenizer_beside_the_same_weights_is_another_backbone(tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model")
    first = backbones.convert(f"text:{tmp_path / 'model'}")
    changed = tokenizer_json().replace("w95", "x95")
    (tmp_path / "model" / "tokenizer.json").write_text(changed)
    second = backbones.convert(f"text:{tmp_path / 'model'}")
    assert first.preprocessing != second.preprocessing


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "{}"),
        ("config.json", '{"model_type": "gpt2"}'),
        ("config.json", '{"model_type": "bert"}'),
        ("config.json", '{"model_type": "deberta-v2", "hidden_size": 8}'),
        ("config.json", '{"model_type": "modernbert", "rope_parameters": [1]}'),
        (
            "config.json",
            '{"model_type": "deberta-v2", "conv_kernel_size": 3, "hidden_size": 32, '
            '"max_position_embeddings": 66}',
        ),
        ("config.json", "[1"),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "\x00\x01"),
    ],
)
def test_a_damaged_folder_is_refused(name: str, content: str, tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model")
    (tmp_path / "model" / name).write_text(content)
    with pytest.raises(BackboneError):
        backbones.convert(f"text:{tmp_path / 'model'}")


@pytest.mark.parametrize(
    ("family", "changes", "said"),
    [
        ("bert", {"num_attention_heads": 5}, "num_attention_heads: 5, which cannot share a width"),
        ("bert", {"vocab_size": "101"}, "vocab_size: '101', where a whole number of 1 or more"),
        ("bert", {"max_position_embeddings": -1}, "max_position_embeddings: -1"),
        ("bert", {"num_hidden_layers": 0}, "num_hidden_layers: 0"),
        ("bert", {"hidden_size": None}, "hidden_size: None"),
        ("bert", {"intermediate_size": True}, "intermediate_size: True"),
        ("bert", {"layer_norm_eps": "1e-12"}, "layer_norm_eps: '1e-12', where a number of 0"),
        ("bert", {"layer_norm_eps": 10**400}, "layer_norm_eps: 1000"),
        ("bert", {"layer_norm_eps": float("inf")}, "layer_norm_eps: inf"),
        ("bert", {"position_embedding_type": "relative_key"}, "positions that are 'relative_key'"),
        ("roberta", {"pad_token_id": "1"}, "pad_token_id: '1'"),
        ("distilbert", {"n_heads": 3}, "n_heads: 3"),
        ("deberta-v2", {"num_attention_heads": 0}, "num_attention_heads: 0"),
        ("deberta-v2", {"position_buckets": "8"}, "position_buckets: '8'"),
        ("modernbert", {"num_attention_heads": 32}, "num_attention_heads: 32"),
        ("modernbert", {"layer_types": ["full_attention"]}, "layer_types: 1 of them"),
        ("modernbert", {"local_attention": 1}, "local_attention: 1"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_name(
    family: str, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    save_model(family, tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(BackboneError) as refused:
        backbones.convert(f"text:{tmp_path / 'model'}")
    assert said in refused.value.what


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"ids":[3]', '"ids":[999999]', "the tokenizer has 1,000,000 ids, the weights 101"),
        ('"unk_token":"[UNK]"', '"unk_token":"[NO]"', "the tokenizer cannot be used"),
        (
            '"normalizer":{"type":"Lowercase"}',
            '"normalizer":{"type":"Precompiled","precompiled_charsmap":"/////w=="}',
            "the tokenizer cannot be used",
        ),
    ],
)
def test_a_tokenizer_that_would_fail_on_texts_is_refused(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    save_model("bert", tmp_path / "model")
    text = tokenizer_json()
    assert old in text
    (tmp_path / "model" / "tokenizer.json").write_text(text.replace(old, new))
    with pytest.raises(BackboneError, match=said):
        backbones.convert(f"text:{tmp_path / 'model'}")


def test_a_tokenizer_with_more_ids_than_rows_is_refused(tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model", vocab_size=100)
    with pytest.raises(BackboneError, match="the tokenizer has 101 ids, the weights 100"):
        backbones.convert(f"text:{tmp_path / 'model'}")


def test_weights_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["num_hidden_layers"] = 3
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"lack tensors.*layer"):
        backbones.convert(f"text:{tmp_path / 'model'}")


def test_norms_that_are_called_gamma_and_beta_are_read(tmp_path: Path) -> None:
    """As in the files of the first BERTs."""
    from safetensors.torch import load_file, save_file

    save_model("bert", tmp_path / "model")
    plain = backbones.convert(f"text:{tmp_path / 'model'}")
    file = tmp_path / "model" / "model.safetensors"
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    olden = load_file(file)
    for now, then in names.items():
        olden = {name.replace(now, then): tensor for name, tensor in olden.items()}
    assert any(name.endswith("gamma") for name in olden)
    save_file(olden, file)
    again = backbones.convert(f"text:{tmp_path / 'model'}")
    one, other = (load_file(found.weights) for found in (plain, again))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


POISONS: dict[str, str] = {
    "config.json": "auto_map",
    "tokenizer_config.json": "auto_map",
    "pytorch_model.bin": "pickle",
    "tokenizer.json": "pickle",
    "vocab.txt": "pickle",
}


def test_a_pickle_in_a_zip_of_torch_executes_nothing(tmp_path: Path) -> None:
    """As torch saves weights today: tensors, and among them what runs when it is read back."""
    folder, ran = tmp_path / "model", tmp_path / "ran"
    model = save_model("bert", folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict() | {"more": Poison(str(ran))}, folder / "pytorch_model.bin")
    assert zipfile.is_zipfile(folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="without running code"):
        backbones.convert(f"text:{folder}")
    assert not ran.exists()


@pytest.mark.parametrize("poisoned", POISONS)
def test_poisoned_files_execute_nothing(poisoned: str, tmp_path: Path) -> None:
    """Code that a folder names or holds is not run, whether the folder is taken or refused."""
    folder, ran = tmp_path / "model", tmp_path / "ran"
    save_model("bert", folder)
    (folder / "poison.py").write_text(f"open({str(ran)!r}, 'w')\nclass Model: pass\n")
    if POISONS[poisoned] == "auto_map":
        path = folder / poisoned
        content = json.loads(path.read_text()) if path.exists() else {}
        calls = {"AutoModel": "poison.Model", "AutoConfig": "poison.Model"}
        calls["AutoTokenizer"] = ["poison.Model", "poison.Model"]
        path.write_text(json.dumps(content | {"auto_map": calls, "tokenizer_class": "Model"}))
    else:
        (folder / poisoned).write_bytes(pickle.dumps(Poison(str(ran))))
    if poisoned == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    if poisoned in ("vocab.txt", "tokenizer_config.json"):
        (folder / "tokenizer.json").unlink()  # so that transformers is asked for one
    name = f"text:{folder}"
    if poisoned == "config.json":
        backbones.convert(name)
    else:
        with pytest.raises(BackboneError):
            backbones.convert(name)
    assert not ran.exists()


class Poison:
    """Pickled, it opens a file for writing when it is read back."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


def test_the_poison_works(tmp_path: Path) -> None:
    """Else the tests above could not fail."""
    pickle.loads(pickle.dumps(Poison(str(tmp_path / "ran")))).close()
    assert (tmp_path / "ran").exists()


def test_remote_code_is_never_trusted() -> None:
    source = Path(backbones.__file__).parents[1]
    for path in source.rglob("*.py"):
        text = path.read_text()
        assert text.count("trust_remote_code") == text.count("trust_remote_code=False"), path


# The hub ------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot of a repository as the hub's client keeps it, with a card."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--some--encoder"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    save_model("bert", snapshot)
    (snapshot / "README.md").write_text("---\nlicense: apache-2.0\n---\n# An encoder\n")
    return snapshot


def test_an_encoder_of_the_hub_is_found_in_its_cache(hub: Path) -> None:
    backbone = backbones.open_backbone("text:some/encoder")
    assert backbone.licence == "Apache-2.0"
    assert backbone.source == f"some/encoder, {'0' * 40}"
    assert backbones.Backbone.from_json(backbone.to_json(), backbone.weights) == backbone
    folder = backbones.convert(f"text:{hub}")
    assert folder.sha256 == backbone.sha256


def test_what_is_not_in_the_cache_is_not_fetched(hub: Path) -> None:
    told: list[Event] = []
    with pytest.raises(BackboneError, match="not on this machine") as caught:
        backbones.show("text:some/other", tell=told.append)
    looked = "looking for text:some/other on this machine, to convert it once"
    assert told == [Said(looked)], "nothing is prepared"
    assert "regraft backbones pull text:some/other" in caught.value.mend


def test_a_name_without_an_organisation_is_one_of_the_hub(hub: Path) -> None:
    with pytest.raises(BackboneError, match="bert-base is not on this machine") as caught:
        backbones.open_backbone("text:bert-base")
    assert "regraft backbones pull text:bert-base" in caught.value.mend
    shutil.copytree(hub.parents[1], hub.parents[2] / "models--bert-base")
    found = backbones.open_backbone("text:bert-base")
    assert found.source == f"bert-base, {'0' * 40}"
    with pytest.raises(BackboneError, match="not on this machine"):
        backbones.open_backbone("text:no--name..")


def test_a_folder_goes_before_a_name_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model("bert", tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert backbones.convert("text:model").source == str(tmp_path / "model")


@pytest.mark.parametrize(
    ("pooling", "said"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "by cls and mean "),
        ({"pooling_mode": "lasttoken"}, "by lasttoken"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, ""),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ""),
        ({"pooling_mode": "mean"}, ""),
        ([1], ""),
    ],
)
def test_another_way_to_pool_than_ours_is_said(pooling: Any, said: str, tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model")
    save_pooling(tmp_path / "model", pooling)
    note = backbones.convert(f"text:{tmp_path / 'model'}").note
    assert said in note
    assert bool(note) == bool(said)


@pytest.mark.parametrize("family", ["bert", "deberta-v3", "modernbert"])
def test_where_the_authors_pool_by_the_first_token_it_is_the_vector(
    family: str, tmp_path: Path
) -> None:
    kind, more = FAMILIES[family]
    model = save_model(kind, tmp_path / "model", **more)
    save_pooling(
        tmp_path / "model", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    )
    backbone = backbones.convert(f"text:{tmp_path / 'model'}")
    backbones.check_backbone(backbone)
    ids_bl = torch.randint(4, 100, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model(ids_bl).last_hidden_state[:, 0]
        given = backbones.build(backbone)(ids_bl)
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=2e-5)


def test_another_way_to_pool_beside_the_same_weights_is_another_backbone(tmp_path: Path) -> None:
    """Neither what is converted nor what is kept of a text serves for the other."""
    save_model("bert", tmp_path / "model")
    text = " ".join(f"w{n}" for n in range(20))
    samples = [Sample("one", text, 0, sha256=digest(text))]
    ids_bl = torch.tensor([[2, *range(4, 24), 3]])
    for said in ({"pooling_mode": "mean"}, {"pooling_mode": "cls"}):
        save_pooling(tmp_path / "model", said)
        with prepare(f"text:{tmp_path / 'model'}") as preparation:
            cut = Cut(preparation.backbone(), 3)
            table = features(samples, cut, preparation.engine(3, samples))
        assert table.computed == 1
        (given,) = map(torch.from_numpy, table.rows(np.array([0])))
        with torch.no_grad():
            wanted = backbones.build(cut.backbone)(ids_bl)
        assert torch.nn.functional.cosine_similarity(given, wanted).min() > 0.99


def test_an_encoder_of_the_hub_that_an_earlier_rule_converted_is_converted_anew(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pooling(hub, {"pooling_mode": "cls"})
    with monkeypatch.context() as patch:
        patch.setitem(ADAPTERS, "text-encoder", replace(ADAPTERS["text-encoder"], rule=""))
        patch.setattr(text_files, "pooling", lambda folder: ("mean", ""))
        before = backbones.convert("text:some/encoder")
    after = backbones.convert("text:some/encoder")
    assert dict(before.recipe.options)["pooling"] == "mean"
    assert dict(after.recipe.options)["pooling"] == "cls"


def test_a_run_with_another_description_of_its_weights_is_another_backbone(tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model")
    where, found = tmp_path / "run" / "backbone", list[tuple[Any, str]]()
    for said in ("mean", "cls"):
        save_pooling(tmp_path / "model", {"pooling_mode": said})
        made = backbones.convert(f"text:{tmp_path / 'model'}")
        commit(where / "weights.safetensors", made.weights.read_bytes())
        commit_sealed(where / "backbone.json", canonical(made.to_json()))
        again = backbones.convert(str(tmp_path / "run"))
        of_clips = address(f"video:{tmp_path / 'run'}").versions
        found.append((dict(again.recipe.options)["pooling"], of_clips))
    assert [pooling for pooling, _ in found] == ["mean", "cls"]
    assert found[0][1] != found[1][1]


def test_older_weights_are_read_without_running_them(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = save_model("bert", folder)
    new = backbones.convert(f"text:{folder}")
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    old = backbones.convert(f"text:{folder}")
    assert old.sha256 != new.sha256
    assert old.stages == new.stages


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n", "MIT"),
        ("---\nlicense: [cc-by-4.0]\n---\n", "cc-by-4.0"),
        ("no card", "unknown"),
        ("---\nlicense: {a: b}\n---\n", "unknown"),
        ("---\nlicense: !!python/object/apply:os.system [false]\n---\n", "unknown"),
    ],
)
def test_the_licence_is_what_the_card_says(card: str, licence: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    assert licence_in(tmp_path) == licence
