"""What is kept between runs is damaged in turn: every flipped bit and every cut is found.

The journal and the steps of a run are damaged in `test_writes.py`. Here are the model, the cached
features, and the compiled network.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_fit import NETWORK, PLAIN, Fit, write_digits

from regraft.errors import StoreError
from regraft.events import silent
from regraft.seeds import generator
from regraft.transfer.compiled import find
from regraft.transfer.cut import Cut
from regraft.transfer.model import load
from regraft.transfer.packing import Packing
from regraft.transfer.shards import Shards

pytestmark = pytest.mark.slow

FLIPS, CUTS = 1000, 300
"""Of each: cached features (twelve rows in three files), model, compiled network together."""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    folder = tmp_path_factory.mktemp("damage")
    write_digits(folder / "digits")
    (folder / "network.py").write_text(NETWORK)
    run = Fit(folder, folder / "run", folder / "cache", PLAIN)
    run.finish("head")
    return run


def spoilt(whole: bytes, trial: int) -> bytes:
    """One bit flipped for the first `FLIPS` trials, an end cut off for the others."""
    place = generator(0, "damage", trial)
    if trial >= FLIPS:
        return whole[: place.integers(len(whole))]
    raw = bytearray(whole)
    raw[place.integers(len(raw))] ^= 1 << int(place.integers(8))
    return bytes(raw)


def test_features(tmp_path: Path) -> None:
    packing = Packing(((5,),), "float32")
    keys = [f"sample {number}" for number in range(12)]
    rows_br = packing.pack([np.arange(60, dtype=np.float32).reshape(12, 5)])

    def opened() -> Shards:
        shards = Shards(tmp_path / "rows", packing, keys, {})
        shards.scan(silent)
        return shards

    shards = opened()
    held: dict[Path, list[str]] = {}
    for start in range(0, 12, 4):
        shards.append(keys[start : start + 4], rows_br[start : start + 4])
        (new,) = {*(tmp_path / "rows").glob("*.rows")} - held.keys()
        held[new] = keys[start : start + 4]
    shards.close()
    for trial in range(FLIPS + CUTS):
        path = sorted(held)[trial % 3]
        whole = path.read_bytes()
        path.write_bytes(spoilt(whole, trial))
        shards = opened()
        assert shards.missing() == held[path], "more is lost than was damaged, or less"
        assert not path.exists()
        shards.close()
        path.write_bytes(whole)
        shutil.rmtree(tmp_path / "rows" / "quarantine")
    shards = opened()
    assert (shards.read(shards.places()) == rows_br).all()


def test_model(fitted: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(fitted.cache))  # where the network was named
    shutil.copytree(fitted.out / "model", tmp_path / "model")
    description = tmp_path / "model" / "model.json"
    said = json.loads(description.read_text())
    for trial in range(FLIPS // 2, FLIPS + CUTS // 2):
        path = description.with_name(("model.json", "model.safetensors")[trial % 2])
        whole = path.read_bytes()
        path.write_bytes(spoilt(whole, trial))
        try:
            load(tmp_path / "model")
        except StoreError as fault:
            assert str(path) in str(fault)
        else:  # 1e-5 and 1E-5, "\\u00e4" and "\\u00E4" are the same
            assert path == description and json.loads(description.read_text()) == said
        path.write_bytes(whole)
    load(tmp_path / "model")


def test_compiled_network(fitted: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(fitted.cache))
    (folder,) = (fitted.cache / "compiled").iterdir()
    backbone = load(fitted.out).backbone
    cut = Cut(backbone, len(backbone.stages))
    names = ("manifest.json", "frozen.xml", "frozen.bin")
    for trial in range(FLIPS // 2, FLIPS + CUTS // 2):
        copy = tmp_path / str(trial)
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("verdicts", "*.lock"))
        path = copy / names[trial % 3]
        path.write_bytes(spoilt(path.read_bytes(), trial))
        compiled = find(copy)
        assert compiled is None or compiled.graph(cut) is None
        assert not path.exists() and len(list((copy / "quarantine").iterdir())) in (1, 2)
        shutil.rmtree(copy)
    untouched = find(folder)
    assert untouched is not None and untouched.graph(cut) is not None
