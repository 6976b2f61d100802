"""The engines: each turns a stream of pictures into a stream of features.

Every picture goes in as uint8 (H, W, 3), every text as int32 ids (L,) and alone, so that nothing
is filled up; what comes out for it, in order, is one float32 array
for each tensor that crosses the cut, without a batch axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, final

import numpy as np

from regraft.transfer.cut import Cut, import_openvino
from regraft.transfer.packing import alone, stacked
from regraft.transfer.pictures import cores

MOST_STREAMS = 32
"""Pictures at once in OpenVINO: each has its own working memory."""

CUDA_BATCH = 64

Tensors = tuple[np.ndarray, ...]


class CannotRun(Exception):
    """An engine that this graph cannot have; the next slower one serves then."""


class Runner(ABC):
    """A frozen part, ready to run."""

    @abstractmethod
    def stream(self, pictures: Iterable[np.ndarray]) -> Generator[Tensors, None, None]:
        """Features of each picture."""

    def run(self, pixels_bhwc: np.ndarray) -> Tensors:
        """Features of some pictures: float32 arrays (B, …)."""
        rows = self.stream(alone(row) for row in pixels_bhwc)
        return tuple(stacked(parts) for parts in zip(*rows, strict=True))


@final
class Nothing(Runner):
    """The cut at 0: pixels are the features."""

    def stream(self, pictures: Iterable[np.ndarray]) -> Generator[Tensors, None, None]:
        """See `Runner`."""
        for picture in pictures:
            yield (picture,)


@final
class OpenVino(Runner):
    """OpenVINO on the processor.

    Args:
        graph: an `openvino.Model` of one picture.
        precision: "bf16" or "f32".

    Raises:
        CannotRun: if OpenVINO finds no kernels for the graph in this precision.
    """

    def __init__(self, graph: Any, precision: str) -> None:
        streams = min(cores(), MOST_STREAMS)
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            "ENABLE_CPU_PINNING": False,  # decoding wants the same cores
        }
        try:
            self._compiled = import_openvino().Core().compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise CannotRun(str(error)) from error
        self._at_once = 2 * streams

    def stream(self, pictures: Iterable[np.ndarray]) -> Generator[Tensors, None, None]:
        """See `Runner`."""
        running: deque[tuple[Any, np.ndarray]] = deque()
        idle = [self._compiled.create_infer_request() for _ in range(self._at_once)]
        try:
            for picture in pictures:
                if not idle:
                    request, _ = running.popleft()
                    yield _results(request)
                    idle.append(request)
                request = idle.pop()
                # The picture is kept with the request: its memory is shared, not copied.
                request.start_async({0: picture[None]}, share_inputs=True)
                running.append((request, picture))
            while running:
                yield _results(running.popleft()[0])
        finally:
            for request, _ in running:
                request.wait()


def _results(request: Any) -> Tensors:
    request.wait()
    return tuple(np.array(tensor.data[0]) for tensor in request.output_tensors)


@final
class Torch(Runner):
    """Eager torch: float32 on the processor, or a GPU.

    Args:
        cut: where to stop.
        device: "cpu" or "cuda".
        precision: "f32", or "bf16" by autocast.
    """

    def __init__(self, cut: Cut, device: str, precision: str) -> None:
        import torch

        from regraft.backbones import build

        network = build(cut.backbone)
        cut.freeze(network)
        self._network = network.to(device).to(memory_format=torch.channels_last)
        self._cut = cut
        self._device = device
        self._precision = precision

    def stream(self, pictures: Iterable[np.ndarray]) -> Generator[Tensors, None, None]:
        """See `Runner`.

        Batches have one size, filled up with blank pictures: a batch of another size may be
        computed by other kernels, with other last bits.
        """
        many = max(1, CUDA_BATCH // max(1, self._network.frames))
        size = many if self._device == "cuda" and not self._network.takes_text else 1
        rest = iter(pictures)
        while some := list(islice(rest, size)):
            blank = [np.zeros_like(some[0])] * (size - len(some))
            yield from islice(self._rows(np.stack(some + blank)), len(some))

    def _rows(self, pixels_bhwc: np.ndarray) -> Iterator[Tensors]:
        import torch

        with torch.inference_mode(), self._arithmetic():
            x_bhwc = torch.from_numpy(pixels_bhwc).to(self._device)
            x_bchw = self._network.entry(x_bhwc)
            if x_bchw.ndim == 4:
                x_bchw = x_bchw.contiguous(memory_format=torch.channels_last)
            values = self._network.run((x_bchw,), 0, self._cut.frozen)
            arrays = [value.float().cpu().numpy() for value in values]
        for row in zip(*arrays, strict=True):
            yield tuple(np.array(array) for array in row)

    def _arithmetic(self) -> AbstractContextManager[object]:
        import torch

        if self._precision == "bf16":
            return torch.autocast(self._device, torch.bfloat16)
        if self._device == "cuda":
            # TensorFloat-32 has 10 bits of mantissa; what others are measured against has 23.
            return torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False)
        return nullcontext()
