"""`python -m regraft.transfer.compile`: torch becomes an OpenVINO graph, in a process of its own.

It converts the backbone's weights if that is still to be done, traces the network once, and then
waits for some of the user's pictures. On these it measures the float32 graph against float32
torch at every cut, commits the graph with that certificate, and answers with torch's features at
the cut that was asked for, for the fast engine to be judged by.

Float32 torch means the traced network with its norm layers folded in, three times as fast as the
modules themselves. A trace follows one path through the code, so on some of the pictures the
modules run too; where they disagree, they are the reference and the graph does not serve.
"""

from __future__ import annotations

import datetime
import math
import os
import queue
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.backbones.backbone import Backbone
from regraft.backbones.levels import with_levels
from regraft.errors import RegraftError
from regraft.machine import cores
from regraft.openvino_runtime import import_openvino
from regraft.store import lock
from regraft.transfer.compiled import Compiled, find, place, write
from regraft.transfer.packing import alone, stacked
from regraft.transfer.parity import CERTIFIED, Parity, cosines, in_order, parity
from regraft.transfer.runners import OpenVino, Tensors
from regraft.transfer.worker import Message, fault_as_facts, receive, send

if TYPE_CHECKING:
    from torch import nn

    from regraft.backbones.network import Network

AT_ONCE = 8
"""Pictures whose activations at every cut are held at once; the first of them goes through the
modules themselves too."""


def main() -> None:
    """Serve requests from stdin until it ends."""
    # Threads that share one picture wait for each other, busily, while the parent decodes on the
    # same cores: ten times slower than one thread for each picture.
    os.environ["OMP_NUM_THREADS"] = "1"
    # The answers have stdout to themselves: what libraries print there goes to stderr.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    try:
        for facts, arrays in _serve(requests):
            send(answers, facts, arrays)
    except RegraftError as fault:
        send(answers, fault_as_facts(fault))


def _listen(requests: queue.SimpleQueue[Message]) -> None:
    """Queue what comes in; end with the parent, at once, whatever else is going on."""
    try:
        while True:
            requests.put(receive(sys.stdin.buffer))
    except EOFError:
        os._exit(0)


def _serve(requests: queue.SimpleQueue[Message]) -> Iterator[Message]:
    facts, _ = requests.get()
    from regraft.backbones import build, convert

    if "name" in facts:
        backbone = with_levels(convert(facts["name"]))
        yield {"backbone": backbone.to_json(), "weights": str(backbone.weights)}, []
    else:
        backbone = Backbone.from_json(facts["backbone"], Path(facts["weights"]))

    network = build(backbone)
    folder = place(backbone)
    traced, why_not = None, ""
    if find(folder) is None:
        traced, why_not = _trace(network, backbone)
    plain = _every_stage(network)
    while True:
        facts, (pixels_bhwc,) = requests.get()
        found = traced and _judge(plain, traced, backbone, facts["frozen"], pixels_bhwc)
        if traced and found is None:
            traced, why_not = None, "the network's code takes another path when traced"
        features, certificate = found or _asked(plain, backbone, facts["frozen"], pixels_bhwc)
        with lock(folder / ".lock"):
            if find(folder) is None:
                compiled = Compiled(folder, certificate, why_not, _today())
                write(compiled, backbone, *_as_files(traced and traced.graph))
        yield {}, features


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


@dataclass(frozen=True)
class _Traced:
    """A network as TorchScript and as an OpenVINO graph, and that graph ready to run in float32.

    All give what flows out of every stage, for one picture at a time.
    """

    module: nn.Module
    graph: Any
    served: OpenVino


def _trace(network: Network, backbone: Backbone) -> tuple[_Traced | None, str]:
    """The network traced, or what one of the libraries could not do."""
    import torch

    from regraft.backbones.network import blank

    openvino = import_openvino()
    pixels_bhwc = blank(backbone.preprocessing)
    try:
        with torch.no_grad():
            network.to(memory_format=torch.channels_last)
            traced: Any = torch.jit.trace(_every_stage(network), pixels_bhwc, check_trace=False)
            graph = openvino.convert_model(traced, example_input=pixels_bhwc)
            graph.reshape([1, *backbone.preprocessing.input_shape])
            return _Traced(torch.jit.freeze(traced), graph, OpenVino(graph, "f32")), ""
    except Exception as fault:  # both libraries raise whatever they like on what they do not know
        return None, f"{type(fault).__name__}: {fault}"[:500]


def _every_stage(network: Network) -> nn.Module:
    from torch import Tensor, nn

    class EveryStage(nn.Module):
        """Uint8 pixels (B, H, W, 3) to the tensors that flow out of each stage."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels_bhwc: Tensor) -> tuple[Tensor, ...]:
            values: tuple[Tensor, ...] = (self.network.entry(pixels_bhwc),)
            found: tuple[Tensor, ...] = ()
            for index in range(len(self.network.stages)):
                values = self.network.run(values, index, index + 1)
                found += values
            return found

    return EveryStage().eval()


Stages = list[Tensors]
"""For some pictures, what flows out of each stage."""


def _judge(
    plain: nn.Module, traced: _Traced, backbone: Backbone, frozen: int, pixels_bhwc: np.ndarray
) -> tuple[list[np.ndarray], tuple[Parity, ...]] | None:
    """Float32 torch on some pictures, and the float32 graph against it.

    Returns:
        Torch's features at the cut after `frozen` stages, and the graph's parity at every cut; None
        where the trace does not give what the modules give.
    """

    def judged(some_bhwc: np.ndarray) -> tuple[Tensors, list[np.ndarray]] | None:
        stages = _stages(traced.module, backbone, some_bhwc)
        for a, b in zip(_stages(plain, backbone, some_bhwc[:1]), stages, strict=True):
            # Alone a text is not filled up to the length of the others.
            first = [whole[tuple(map(slice, one.shape))] for one, whole in zip(a, b, strict=True)]
            if cosines(in_order(a, first, backbone.queries), first).min() < CERTIFIED:
                return None
        near = _nearness(traced.served.run(some_bhwc), stages, backbone.queries)
        return stages[frozen - 1], near

    parts = _parts(backbone, pixels_bhwc)
    with ThreadPoolExecutor(cores()) as pool:
        found = [part for part in pool.map(judged, parts) if part is not None]
    if len(found) < len(parts):
        return None
    near_sn = np.concatenate([near for _, near in found], axis=1)
    return _joined([features for features, _ in found]), tuple(
        parity(cosines_n, "torch f32") for cosines_n in near_sn
    )


def _asked(
    plain: nn.Module, backbone: Backbone, frozen: int, pixels_bhwc: np.ndarray
) -> tuple[list[np.ndarray], tuple[Parity, ...]]:
    """Float32 torch's features at the cut after `frozen` stages, where no graph is to be judged."""
    parts = _parts(backbone, pixels_bhwc)
    with ThreadPoolExecutor(cores()) as pool:
        stages = pool.map(partial(_stages, plain, backbone), parts)
        return _joined([part[frozen - 1] for part in stages]), ()


def _parts(backbone: Backbone, pixels_bhwc: np.ndarray) -> list[np.ndarray]:
    """The pictures, a few at a time."""
    at_once = max(1, AT_ONCE // max(1, backbone.frames))
    return np.array_split(pixels_bhwc, math.ceil(len(pixels_bhwc) / at_once))


def _joined(parts: Sequence[Tensors]) -> list[np.ndarray]:
    """What crosses a cut for all pictures."""
    return [stacked([row for part in t for row in part]) for t in zip(*parts, strict=True)]


def _stages(module: nn.Module, backbone: Backbone, pixels_bhwc: np.ndarray) -> Stages:
    """What flows out of each stage in float32 torch, one picture after the other."""
    import torch

    with torch.inference_mode():
        found = [module(torch.from_numpy(alone(row)[None])) for row in pixels_bhwc]
    rest = iter([stacked([x[0].numpy() for x in parts]) for parts in zip(*found, strict=True)])
    return [tuple(next(rest) for _ in stage.shapes) for stage in backbone.stages]


def _nearness(tensors: Tensors, stages: Stages, queries: int) -> list[np.ndarray]:
    """Cosines of the graph's features with torch's: for each stage, (B,)."""
    rest = iter(tensors)
    given = [[next(rest) for _ in stage] for stage in stages]
    return [
        cosines(in_order(mine, stage, queries), stage)
        for mine, stage in zip(given, stages, strict=True)
    ]


def _as_files(graph: Any | None) -> tuple[bytes, bytes]:
    """The graph as OpenVINO writes it, weights in float32; nothing if there is none."""
    if graph is None:
        return b"", b""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frozen.xml"
        import_openvino().save_model(graph, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


if __name__ == "__main__":
    main()
