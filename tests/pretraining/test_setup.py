"""What a pre-training, and what the judge fine-tunes, is kept under."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.backbones import Backbone, Recipe, TextPreprocessing
from regraft.pretraining import MaskedSettings, judge_tuned
from regraft.pretraining.setup import Setup

MEAN, CLS = (
    Backbone("e", "text", "", "5ad", "", (), TextPreprocessing(256, ""), recipe, Path())
    for recipe in (Recipe("text-encoder", "bert", (("pooling", kind),)) for kind in ("mean", "cls"))
)
"""The same weights, pooled in two ways."""


WORDS = replace(MEAN, preprocessing=TextPreprocessing(256, "another tokenizer"))


def test_the_same_weights_with_other_options_or_tokens_are_another_training() -> None:
    objective: Any = SimpleNamespace(settings=MaskedSettings())
    pool: Any = SimpleNamespace(fingerprint=lambda: "pool")
    question: Any = {"objective": "masked-language", "seed": 0, "budget": None}
    one = Setup(Any, question, objective, MEAN, 0, pool, None, print)
    assert replace(one, start=CLS).inputs != one.inputs
    assert replace(one, start=WORDS).inputs != one.inputs
    assert replace(one, start=replace(MEAN)).inputs == one.inputs


def test_the_same_weights_with_other_options_or_tokens_are_fine_tuned_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[Any] = []

    def step(name: str, inputs: Any, compute: Any) -> Any:
        kept.append((name, str(inputs)))
        return SimpleNamespace(facts={"steps": 1}, tensors={"logits": np.zeros((1, 2))})

    data = SimpleNamespace(fingerprint=lambda: "judge", split=lambda name: [])
    run, evaluator = SimpleNamespace(step=step), SimpleNamespace(dataset=data, seed=0)
    monkeypatch.setattr(judge_tuned, "with_levels", lambda backbone: backbone)
    monkeypatch.setattr(
        judge_tuned, "_ground",
        lambda run, evaluator, backbone, tell: SimpleNamespace(backbone=backbone, dataset=data),
    )  # fmt: skip
    for pair in ((MEAN, MEAN), (CLS, CLS), (WORDS, WORDS)):
        judge_tuned.fine_tuned(run, evaluator, pair, None, print)
    assert len(kept) == len(set(kept)) == 9
