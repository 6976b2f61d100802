"""Texts: a fit is killed while it embeds or fine-tunes; repeated, it gives the same bits."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_fit import HASTY, Fit, kill, wait_for

sys.path.insert(0, str(Path(__file__).parents[1]))

from text_models import save_model

pytestmark = pytest.mark.slow


def start(run: Fit) -> subprocess.Popen[bytes]:
    return run.fit("texts.csv", f"text:{run.home / 'model'}", "last:1")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """A run that nothing happened to, on texts of many lengths."""
    home = tmp_path_factory.mktemp("killed-texts")
    save_model("bert", home / "model")
    rng = np.random.default_rng(0)
    rows = [
        (" ".join(f"w{2 * n + i % 2}" for n in rng.integers(0, 48, 3 + i % 50)), "ab"[i % 2])
        for i in range(160)
    ]
    with (home / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    run = Fit(home, home / "undisturbed", home / "cache")
    run.ended(start(run))
    return run


def test_texts_run_in_batches(undisturbed: Fit) -> None:
    """Or else the tests below would say nothing about them."""
    (verdict, *_) = undisturbed.cache.glob("compiled/*/verdicts/*.json")
    assert b'"batched":true' in verdict.read_bytes().replace(b" ", b"")
    report = json.loads((undisturbed.out / "report.json").read_text())
    assert [rung["name"] for rung in report["rungs"]] == ["head", "last:1"]


@pytest.mark.parametrize("moment", ["embedding", "fine-tuning"])
def test_killed_and_repeated_it_ends_with_the_same_bits(
    undisturbed: Fit, tmp_path: Path, moment: str
) -> None:
    """Batches differ after a kill, because what is there already is not computed again."""
    killed = replace(undisturbed, out=tmp_path / "run", cache=tmp_path / "cache", script=HASTY)
    process = start(killed)
    wait_for(killed.shards if moment == "embedding" else killed.checkpoints, process)
    kill(process)
    before = killed.shards()
    killed.ended(start(killed))
    assert killed.results() == undisturbed.results()
    assert not killed.checkpoints()
    after = killed.shards()
    assert all(after[path] == written for path, written in before.items())
