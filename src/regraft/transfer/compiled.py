"""The compiled form of a backbone on disk, and what is known about it.

Decisions:

- One graph serves every cut: it gives out what flows from every stage, and a cut keeps only what
  its own outputs need. So the network is traced once, and moving the cut needs no torch.
- The folder is named by everything that the graph and its numbers depend on: weights, recipe,
  preprocessing, our own code (`sources.py`), versions and the processor.
- In bf16 the first stages stay in float32. They hold few channels and much cancellation, so most
  of the rounding that a whole network suffers from happens there, and they cost little: on
  EfficientNet-Lite0 98 % of the speed, a quarter of the error.
- The files are what OpenVINO reads (`frozen.xml`, `frozen.bin`); a sealed manifest, written last,
  holds their checksums and, for each cut, how near the graph comes to torch.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from regraft.backbones.backbone import AnyPreprocessing, Backbone, TextPreprocessing
from regraft.errors import Damaged
from regraft.machine import processor
from regraft.openvino_runtime import import_openvino, openvino_core
from regraft.store import (
    cache_folder,
    canonical,
    commit,
    commit_sealed,
    digest,
    quarantine,
    read_sealed,
)
from regraft.transfer import sources
from regraft.transfer.cut import Cut
from regraft.transfer.parity import Parity

EXACT_STAGES, EXACT_STAGES_TEXT = 2, 1
"""Leading stages that are computed in float32 whatever the rest is computed in."""


@dataclass(frozen=True)
class Compiled:
    """A compiled backbone.

    Attributes:
        folder: where it lies.
        parity: of the float32 graph with torch, for each number of frozen stages from 1 on;
            empty if OpenVINO cannot run this network.
        why_not: what OpenVINO said then.
        when: the day it was compiled.
    """

    folder: Path
    parity: tuple[Parity, ...]
    why_not: str
    when: str

    def graph(self, cut: Cut) -> Any | None:
        """An `openvino.Model` of the stages left of the cut: uint8 pixels (1, H, W, 3) in.

        Returns:
            None if the files are damaged; they are set aside then.
        """
        openvino = import_openvino()
        manifest = json.loads(read_sealed(self.folder / "manifest.json"))
        parts: list[bytes] = []
        for name in ("frozen.xml", "frozen.bin"):
            path = self.folder / name
            data = path.read_bytes() if path.exists() else b""
            if hashlib.sha256(data).hexdigest() != manifest["sha256"][name]:
                quarantine(path)
                quarantine(self.folder / "manifest.json")
                return None
            parts.append(data)
        weights = openvino.Tensor(np.frombuffer(parts[1], dtype=np.uint8))
        counts = [len(stage.shapes) for stage in cut.left]
        xml = _with_exact_beginning(parts[0], sum(counts[: exact_stages(cut.backbone)]))
        whole = openvino_core().read_model(xml, weights)
        results = whole.outputs[sum(counts[:-1]) : sum(counts)]
        sources = [result.get_node().input_value(0) for result in results]
        return openvino.Model(sources, whole.get_parameters())


def exact_stages(backbone: Backbone) -> int:
    """How many leading stages of a backbone are computed in float32."""
    return EXACT_STAGES_TEXT if backbone.modality == "text" else EXACT_STAGES


def _with_exact_beginning(xml: bytes, results: int) -> bytes:
    """The graph with everything that its first `results` results need marked as exact.

    It is the mark that OpenVINO's own `disable_fp16_compression` leaves in a file.
    """
    from defusedxml import ElementTree

    root = ElementTree.fromstring(xml)
    layers = {layer.attrib["id"]: layer for layer in root.iterfind("layers/layer")}
    sources: dict[str, list[str]] = defaultdict(list)
    for edge in root.iterfind("edges/edge"):
        sources[edge.attrib["to-layer"]].append(edge.attrib["from-layer"])
    waiting = [id_ for id_, layer in layers.items() if layer.attrib["type"] == "Result"][:results]
    seen: set[str] = set()
    while waiting:
        id_ = waiting.pop()
        if id_ not in seen:
            seen.add(id_)
            waiting += sources[id_]
    for id_ in seen:
        layer = layers[id_]
        if layer.attrib["type"] not in ("Const", "Parameter", "Result"):
            info = layer.find("rt_info")
            if info is None:
                info = layer.makeelement("rt_info", {})
                layer.insert(int(layer.find("data") is not None), info)
            info.append(info.makeelement("attribute", {"name": "precise", "version": "0"}))
    return ElementTree.tostring(root)


def place(backbone: Backbone) -> Path:
    """The folder of a backbone's compiled form, on this machine and with these versions."""
    whole = Cut(backbone, len(backbone.stages))
    identity: dict[str, Any] = {
        "code": sources.code(),
        "weights": whole.fingerprint(),
        "recipe": asdict(backbone.recipe),
        "stages": [[stage.name, stage.shapes] for stage in backbone.stages],
        "preprocessing": _of_one(backbone.preprocessing),
        "openvino": version("openvino"),
        "torch": version("torch"),
        "processor": processor(),
    }
    return cache_folder() / "compiled" / digest(canonical(identity))[:32]


def _of_one(preprocessing: AnyPreprocessing) -> dict[str, Any]:
    """What a graph depends on: how many windows a text has does not matter to it."""
    if isinstance(preprocessing, TextPreprocessing):
        preprocessing = replace(preprocessing, windows=1, overlap=0)
    return asdict(preprocessing)


def find(folder: Path) -> Compiled | None:
    """What was compiled into a folder, if it was and is whole as far as the manifest goes."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(read_sealed(path))
    except FileNotFoundError:
        return None
    except Damaged:
        quarantine(path)
        return None
    parity = tuple(Parity(**values) for values in manifest["parity"])
    return Compiled(folder, parity, manifest["why_not"], manifest["when"])


def write(compiled: Compiled, backbone: Backbone, xml: bytes, weights: bytes) -> None:
    """Commit a graph and what is known about it; from here on `find` finds it."""
    files = {"frozen.xml": xml, "frozen.bin": weights}
    for name, data in files.items():
        commit(compiled.folder / name, data)
    manifest: dict[str, Any] = {
        "backbone": backbone.name,
        "parity": [asdict(parity) for parity in compiled.parity],
        "why_not": compiled.why_not,
        "when": compiled.when,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    commit_sealed(compiled.folder / "manifest.json", canonical(manifest))
