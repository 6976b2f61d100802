"""The general text, by which forgetting is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from text_models import save_model

from regraft.backbones import open_backbone
from regraft.errors import DataError
from regraft.events import silent
from regraft.pretraining import Job, MaskedSettings, masking
from regraft.pretraining.general import GENERAL_TOKENS, General


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    save_model("bert", tmp_path / "model")
    found = open_backbone(f"text:{tmp_path / 'model'}")
    return Job(found, 0, (), 0, lambda _, f: f(), None, False, silent)


def test_of_a_long_text_so_many_tokens_are_looked_at(job: Job) -> None:
    found = General.read(MaskedSettings(), job, 64)
    assert GENERAL_TOKENS - 64 < found.batch.tokens <= GENERAL_TOKENS
    assert found.source == "the Python language reference"


def test_texts_that_are_named_are_taken(job: Job, tmp_path: Path) -> None:
    (tmp_path / "general.txt").write_text(" ".join(f"w{n}" for n in range(90)))
    found = General.read(MaskedSettings(general=str(tmp_path / "general.txt")), job, 32)
    assert found.source == str(tmp_path / "general.txt")
    assert found.batch.tokens == 90 + 2 * 3


def test_a_text_of_which_nothing_is_hidden_is_refused(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "general.txt").write_text("w1")
    monkeypatch.setattr(masking, "MASKED", 0.0)
    with pytest.raises(DataError, match="too little general text"):
        General.read(MaskedSettings(general=str(tmp_path / "general.txt")), job, 32)
