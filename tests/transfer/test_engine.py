from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tiny

from regraft.backbones import Backbone, build
from regraft.dataset import Sample
from regraft.errors import BackboneError, NotHere, UsageError
from regraft.events import Event, Said
from regraft.machine import has_bfloat16
from regraft.transfer import cache, runners
from regraft.transfer.compiled import find, place
from regraft.transfer.cut import Cut
from regraft.transfer.engine import (
    Engine,
    Preparation,
    prepare,
)
from regraft.transfer.parity import Parity, cosines, parity
from regraft.transfer.runners import OpenVino, Torch
from regraft.transfer.worker import Worker


def pixels(count: int, size_px: int = tiny.SIZE_PX, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, (B, H, W, 3)."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 4, 4, 3)).astype(np.float32)
    fine = coarse.repeat(size_px // 4, 1).repeat(size_px // 4, 2)
    return np.clip(fine + random.normal(0, 9, fine.shape), 0, 255).astype(np.uint8)


# Parity -------------------------------------------------------------------------------------------


def test_cosines_take_all_tensors_of_a_cut_together() -> None:
    one = (np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[[0.0]], [[2.0]]]))
    other = (np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[[0.0]], [[2.0]]]))
    assert cosines(one, other) == pytest.approx([0.0, 1.0])


def test_cosines_of_nothing_and_of_no_numbers() -> None:
    zero, some, wrong = np.zeros((1, 3)), np.ones((1, 3)), np.full((1, 3), np.nan)
    found = [float(cosines([a], [b])[0]) for a, b in ((zero, zero), (zero, some), (wrong, some))]
    assert found == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("values", "passes"),
    [
        ([0.9995] * 9, True),
        ([0.9989] * 9, False),
        ([1.0] * 8 + [0.98], False),
        ([1.0, 0.991], False),
    ],
)
def test_the_gate(values: list[float], passes: bool) -> None:
    assert parity(np.array(values), "torch f32").passes is passes


# Serving ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [1, 2, 3, 4])
def test_engines_give_what_torch_gives(
    compiled: Backbone, samples: list[Sample], frozen: int
) -> None:
    cut = Cut(compiled, frozen)
    x = pixels(5)
    with prepare(compiled) as preparation:
        engine = preparation.engine(frozen, samples)
        served = engine.run(x)
        quick = cosines(served, Torch(cut, "cpu", "f32").run(x))
    assert [tensor.shape[1:] for tensor in served] == list(cut.shapes)
    assert {tensor.dtype for tensor in served} == {np.dtype(np.float32)}
    assert quick.min() > 0.999
    assert engine.parity is not None and engine.parity.passes
    assert engine.to_json()["parity"]["samples"] == len(samples)


def test_at_cut_0_pixels_go_through(compiled: Backbone) -> None:
    x = pixels(3)
    with prepare(compiled) as preparation:
        engine = preparation.engine_for_pixels(0, x)
        assert (engine.run(x)[0] == x).all()
        assert engine.to_json() == {"name": "none", "precision": "uint8", "parity": None}


def test_pixels_at_hand_can_judge(
    compiled: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path))  # other tests may have judged this engine
    with prepare(compiled) as preparation:
        engine = preparation.engine_for_pixels(4, pixels(7))
        assert engine.parity is not None and engine.parity.samples == 7


def test_a_picture_alone_decides_its_bits(
    compiled: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = pixels(9)
    found = find(place(compiled))
    assert found is not None
    for precision in ("f32", "bf16") if has_bfloat16() else ("f32",):
        runner = OpenVino(found.graph(Cut(compiled, 3)), precision)
        together = runner.run(x)
        order = np.random.default_rng(0).permutation(9)
        monkeypatch.setattr(runners, "cores", lambda: 1)
        on_one_core = OpenVino(found.graph(Cut(compiled, 3)), precision)
        monkeypatch.undo()
        for mixed, alone, slow, both in zip(
            runner.run(x[order]), runner.run(x[4:5]), on_one_core.run(x), together, strict=True
        ):
            assert (mixed == both[order]).all()
            assert (alone[0] == both[4]).all()
            assert (slow == both).all()


TWO_GRAPHS_AND_A_SIGNAL = """
import signal
from regraft.openvino_runtime import import_openvino
from regraft.transfer.runners import OpenVino

openvino = import_openvino()
from openvino import opset13

def graph():
    pixels = opset13.parameter([1, 4])
    return openvino.Model([opset13.relu(pixels)], [pixels])

first = OpenVino(graph(), "f32")
second = OpenVino(graph(), "f32")
del first
del second
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
signal.raise_signal(signal.SIGUSR1)
"""


def test_a_signal_after_two_engines_have_ended_is_heard() -> None:
    command = [sys.executable, "-c", TWO_GRAPHS_AND_A_SIGNAL]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "heard\n"), ended.stderr


@pytest.fixture(scope="module")
def lite0() -> Iterator[Preparation]:
    with prepare("efficientnet-lite0") as preparation:
        preparation.backbone()
        yield preparation


def test_efficientnet_lite0(lite0: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    x = pixels(16, 224)
    engine = lite0.engine_for_pixels(9, x)
    assert engine.name.startswith("openvino")
    assert engine.parity is not None
    assert "torch f32" in engine.parity.reference  # or the graph that was certified against it
    together = engine.run(x)[0]
    assert together.shape == (16, 2816)
    assert (engine.run(x[::-1])[0] == together[::-1]).all()
    monkeypatch.setattr(runners, "cores", lambda: 1)
    assert (lite0.engine_for_pixels(9, x).run(x)[0] == together).all()


def test_moving_the_cut_needs_no_torch(lite0: Preparation) -> None:
    x = pixels(4, 224, seed=1)
    engine = lite0.engine_for_pixels(7, x)
    shapes = [tensor.shape for tensor in engine.run(x)]
    assert shapes == [(4, 192, 7, 7), (4, 320), (4, 448), (4, 768)]  # a map, and what is summed up
    assert engine.parity is not None
    assert "torch f32 on" in engine.parity.reference  # the day it was certified


# Refusing -----------------------------------------------------------------------------------------


def test_an_engine_that_loses_the_features_is_refused(tmp_path: Path) -> None:
    if not has_bfloat16():
        pytest.skip("there is only one OpenVINO engine on this processor")
    said: list[Event] = []
    samples = tiny.pictures(tmp_path / "pictures", 12)
    with prepare(tiny.address("offset"), tell=said.append) as preparation:
        engine = preparation.engine(4, samples)
        assert engine.likely.name == "openvino-bf16"
        assert engine.name == "openvino-f32"
        assert engine.likely.name == "openvino-f32"  # remembered
        exact = Torch(engine.cut, "cpu", "f32").run(engine.trial_pixels)
        assert cosines(engine.run(engine.trial_pixels), exact).min() > 0.999
    assert [event for event in said if isinstance(event, Said)]


def test_an_engine_that_cannot_be_built_gives_way_to_the_next(tmp_path: Path) -> None:
    if not has_bfloat16():
        pytest.skip("there is only one OpenVINO engine on this processor")
    samples = tiny.pictures(tmp_path / "pictures", 12)
    with prepare(tiny.address("straddling")) as preparation:
        engine = preparation.engine(4, samples)
        assert engine.likely.name == "openvino-bf16"
        assert engine.name == "openvino-f32"


def test_what_openvino_cannot_run_torch_does(tmp_path: Path) -> None:
    samples = tiny.pictures(tmp_path / "pictures", 3)
    with prepare(tiny.address("exotic")) as preparation:
        engine = preparation.engine(2, samples)
        assert engine.name == "torch-f32"
        found = preparation.compiled()
        assert found is not None and "svd" in found.why_not
        network = build(preparation.backbone())
        x = engine.trial_pixels
        assert engine.run(x)[0].shape == (3, 16)
        assert cosines(engine.run(x), Torch(engine.cut, "cpu", "f32").run(x)).min() == 1.0
        assert len(network.stages) == 2


# What is kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["frozen.bin", "frozen.xml", "manifest.json"])
def test_a_damaged_graph_is_found_and_compiled_again(
    compiled: Backbone, samples: list[Sample], own_cache: Path, name: str
) -> None:
    def served() -> np.ndarray:
        with prepare(compiled) as preparation:
            return preparation.engine(4, samples).run(pixels(2))[0]

    before = served()
    path = place(compiled) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    assert (served() == before).all()
    assert list((path.parent / "quarantine").iterdir())
    assert find(place(compiled)) is not None


def test_a_damaged_verdict_is_found(
    compiled: Backbone, samples: list[Sample], own_cache: Path
) -> None:
    def parity_found() -> Parity | None:
        with prepare(compiled) as preparation:
            return preparation.engine(4, samples).parity

    before = parity_found()
    (path,) = (place(compiled) / "verdicts").glob("*.json")
    path.write_bytes(path.read_bytes().replace(b"bf16", b"BF16").replace(b"f32", b"F32"))
    assert parity_found() == before


def test_what_a_preparation_uses_is_not_cleared_away(
    compiled: Backbone, samples: list[Sample], own_cache: Path
) -> None:
    with prepare(compiled) as preparation:
        engine = preparation.engine(4, samples)
        before = engine.run(pixels(3))[0]
        cache.clear()
        assert find(preparation.folder) is not None
        again = preparation.engine(4, samples)
        assert (again.run(pixels(3))[0] == before).all()
    del preparation, engine, again
    gc.collect()
    cache.clear()
    assert find(place(compiled)) is None


OWN = """
from torch import nn
from regraft.backbones import Preprocessing

class Pool(nn.Module):
    def forward(self, x):
        return x.KIND((2, 3))

def own():
    return [("conv", nn.Conv2d(3, 8, 3)), ("pool", Pool())], Preprocessing(size_px=32)
"""


def test_code_that_was_changed_is_compiled_and_computed_anew(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    found = []
    for kind in ("mean", "amax"):
        file.write_text(OWN.replace("KIND", kind))
        with prepare(f"local:{file}:own") as preparation:
            engine = preparation.engine_for_pixels(2, pixels(4))
            (served,) = engine.run(pixels(4))
            (exact,) = Torch(engine.cut, "cpu", "f32").run(pixels(4))
            found.append((preparation.backbone(), served))
        np.testing.assert_allclose(served, exact, atol=0.05)
    assert abs(found[0][1] - found[1][1]).max() > 0.1
    assert place(found[0][0]) != place(found[1][0])
    with pytest.raises(BackboneError, match="has changed"):
        build(found[0][0])


def test_other_weights_are_compiled_apart(compiled: Backbone, tmp_path: Path) -> None:
    data = bytearray(compiled.weights.read_bytes())
    data[-1] ^= 1
    path = tmp_path / "other.safetensors"
    path.write_bytes(bytes(data))
    other = Backbone.from_json(compiled.to_json(), path)
    assert place(other) != place(compiled)


def test_who_judges_depends_on_content_alone(compiled: Backbone, samples: list[Sample]) -> None:
    with prepare(compiled) as preparation:
        one = preparation.engine(4, samples)
        other = preparation.engine(4, samples[::-1] + samples[:3])
    assert (one.trial_pixels == other.trial_pixels).all()


# The other process --------------------------------------------------------------------------------


def test_a_name_that_means_nothing() -> None:
    with pytest.raises(UsageError):
        prepare("efficientnet-lite9")


def test_what_goes_wrong_there_is_raised_here() -> None:
    with (
        prepare(f"local:{Path(__file__).parent / 'missing.py'}:f") as preparation,
        pytest.raises(BackboneError, match="no such file"),
    ):
        preparation.backbone()


def test_a_preparation_is_announced_when_it_is_known_to_be_possible(own_cache: Path) -> None:
    said: list[Event] = []
    with (
        prepare("nanodet-g", tell=said.append) as preparation,
        pytest.raises(NotHere, match="not on this machine"),
    ):
        preparation.backbone()
    assert said == [Said("looking for nanodet-g on this machine, to convert it once")]
    said.clear()
    with prepare(tiny.address("offset"), tell=said.append) as preparation:
        preparation.backbone()
    name = tiny.address("offset")
    assert said == [Said(f"making {name}"), Said(f"preparing {name} for this machine (once)")]


def test_its_death_is_an_error(compiled: Backbone, samples: list[Sample], own_cache: Path) -> None:
    (place(compiled) / "manifest.json").unlink()
    with prepare(compiled) as preparation:
        engine = preparation.engine(4, samples)
        for child in children():
            child.kill()
        with pytest.raises(BackboneError, match="the process that prepares the network ended"):
            engine.run(pixels(1))


def test_last_words_are_passed_on() -> None:
    worker = Worker("regraft.no_such_module")
    with pytest.raises(BackboneError, match="No module named"):
        worker.receive()
    worker.close()


def test_it_ends_with_preparation(compiled: Backbone, own_cache: Path) -> None:
    (place(compiled) / "manifest.json").unlink()
    with prepare(compiled):
        end = time.monotonic() + 20
        while not children():  # what a process runs is not known the moment that it begins
            assert time.monotonic() < end, "there is no other process"
            time.sleep(0.01)
    assert not children()


def test_it_ends_with_its_parent(compiled: Backbone, own_cache: Path, tmp_path: Path) -> None:
    (place(compiled) / "manifest.json").unlink()
    description = tiny.written(compiled, tmp_path / "backbone.json")
    program = """
import sys, time, psutil, tiny
from regraft.transfer.engine import prepare
preparation = prepare(tiny.read(sys.argv[1]))
print(*[child.pid for child in psutil.Process().children()], flush=True)
time.sleep(60)
"""
    with tiny.python(program, description) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    child_ends(child)


def child_ends(child: psutil.Process) -> None:
    end = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the other process has outlived its parent"
        time.sleep(0.05)


def children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if "regraft.transfer.compile" in child.cmdline()
    ]


def test_engine_is_made_without_waiting(compiled: Backbone, samples: list[Sample]) -> None:
    with prepare(compiled) as preparation:
        assert isinstance(preparation.engine(4, samples), Engine)
