"""Text encoders: the contract over families, parity with the library they come from, hostility."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from text_models import save_model, tokenizer_json

from regraft import backbones
from regraft.errors import BackboneError

FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_keeps_the_contract_and_gives_what_its_library_gives(
    family: str, tmp_path: Path
) -> None:
    model = save_model(family, tmp_path / "model")
    backbone = backbones.convert(f"text:{tmp_path / 'model'}")
    assert len(backbones.check_backbone(backbone)) == 8
    assert backbone.modality == "text"
    ids_bl = torch.randint(4, 100, (3, 20), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(ids_bl).last_hidden_state.mean(dim=1)
        given = backbones.build(backbone)(ids_bl)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


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


def test_weights_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["num_hidden_layers"] = 3
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"lack tensors.*layer"):
        backbones.convert(f"text:{tmp_path / 'model'}")


def test_code_beside_the_weights_is_not_run(tmp_path: Path) -> None:
    save_model("bert", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "poison.Model"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "poison.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    backbones.convert(f"text:{tmp_path / 'model'}")
    assert not (tmp_path / "ran").exists()
