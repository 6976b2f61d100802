"""The engines: each turns a stream of pictures into a stream of features.

Every picture goes in as uint8 (H, W, 3), every text as int32 ids (L,). What comes out for it, in
order, is one float32 array for each tensor that crosses the cut, without a batch axis and without
what it was filled up with to run beside others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, final

import numpy as np

from regraft.machine import cores
from regraft.openvino_runtime import openvino_core
from regraft.transfer.cut import Cut
from regraft.transfer.packing import alone, stacked

MOST_STREAMS = 32
"""Pictures at once in OpenVINO: each has its own working memory."""

CUDA_BATCH = 64

FILLED = 16
"""Lengths of texts that run in batches are filled up to a multiple of this."""
AT_ONCE_TOKENS = 1024
"""Of a batch of texts at most; larger ones run slower (MiniLM, two cores: 6 % at 4096)."""

WINDOWED_TEXTS = 32
"""Texts that are put together from windows at a time: what comes out for them is held."""

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
        inputs = [alone(row) for row in pixels_bhwc]
        order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i]))  # as it is, for pictures
        found = dict(zip(order, self.stream(inputs[i] for i in order), strict=True))
        rows = (found[i] for i in range(len(inputs)))
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
        longest: tokens of a text at most, if texts of nearly one length that follow each other are
            to run together; else 0.

    Raises:
        CannotRun: if OpenVINO finds no kernels for the graph in this precision.
    """

    def __init__(self, graph: Any, precision: str, longest: int = 0) -> None:
        streams = min(cores(), MOST_STREAMS)
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            "ENABLE_CPU_PINNING": False,  # decoding wants the same cores
        }
        try:
            if longest:
                graph.reshape([-1, -1])
            self._compiled = openvino_core().compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            raise CannotRun(str(error)) from error
        self._at_once = 2 * streams
        self._longest = longest

    def stream(self, pictures: Iterable[np.ndarray]) -> Generator[Tensors, None, None]:
        """See `Runner`."""
        batches = self._batches(pictures) if self._longest else ([row] for row in pictures)
        running: deque[tuple[Any, np.ndarray, list[np.ndarray]]] = deque()
        idle = [self._compiled.create_infer_request() for _ in range(self._at_once)]
        try:
            for batch in batches:
                if not idle:
                    request, _, given = running.popleft()
                    yield from _results(request, given)
                    idle.append(request)
                request = idle.pop()
                # The pixels are kept with the request: their memory is shared, not copied.
                whole = self._filled(batch) if self._longest else batch[0][None]
                request.start_async({0: whole}, share_inputs=True)
                running.append((request, whole, batch))
            while running:
                request, _, given = running.popleft()
                yield from _results(request, given)
        except RuntimeError as error:  # some graphs only show in use what they cannot do
            raise CannotRun(str(error)) from error
        finally:
            for request, _, _ in running:
                request.wait()

    def _batches(self, texts: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Texts that follow each other and are filled up to one length."""
        batch: list[np.ndarray] = []
        for ids in texts:
            length = self._length(ids)
            is_full = (len(batch) + 1) * length > AT_ONCE_TOKENS
            if batch and (is_full or length != self._length(batch[0])):
                yield batch
                batch = []
            batch.append(ids)
        if batch:
            yield batch

    def _filled(self, batch: list[np.ndarray]) -> np.ndarray:
        """Texts as one array of ids, -1 where there is none."""
        whole = np.full((len(batch), self._length(batch[0])), -1, dtype=np.int32)
        for row, ids in zip(whole, batch, strict=True):
            row[: len(ids)] = ids
        return whole

    def _length(self, ids: np.ndarray) -> int:
        """What a text is filled up to; depends on the text alone."""
        return min(-(-len(ids) // FILLED) * FILLED, self._longest)


@final
class Windowed(Runner):
    """Texts that may be longer than a window, by a runner of windows.

    Windows of some texts that follow each other are run in order of length, and put together again:
    hidden states in a row, numbers of tokens added, of vectors the mean, each counted by its
    tokens.

    Args:
        inner: what runs windows.
        cut: where it stops.
        size: tokens of a window.
    """

    def __init__(self, inner: Runner, cut: Cut, size: int) -> None:
        self._inner = inner
        self._shapes = cut.shapes
        self._size = size

    def stream(self, pictures: Iterable[np.ndarray]) -> Generator[Tensors, None, None]:
        """See `Runner`."""
        begun: deque[_Some] = deque()
        rest = iter(pictures)

        def windows() -> Iterator[np.ndarray]:
            while texts := list(islice(rest, WINDOWED_TEXTS)):
                begun.append(_Some.of(texts, self._size))
                yield from begun[-1].windows

        with closing(self._inner.stream(windows())) as done:
            # The first result of some texts is there when, and only when, they were begun.
            for first in done:
                some = begun.popleft()
                yield from some.joined([first, *islice(done, len(some.windows) - 1)], self._shapes)


@dataclass(frozen=True)
class _Some:
    """Some texts in windows.

    Attributes:
        windows: of all of them, the longest first.
        order: the place of each among the windows as they stand in the texts.
        counts: of each text.
    """

    windows: list[np.ndarray]
    order: list[int]
    counts: list[int]

    @staticmethod
    def of(texts: Sequence[np.ndarray], size: int) -> _Some:
        parts = [[ids[at : at + size] for at in range(0, max(1, len(ids)), size)] for ids in texts]
        each = [window for part in parts for window in part]
        order = sorted(range(len(each)), key=lambda i: -len(each[i]))
        return _Some([each[i] for i in order], order, list(map(len, parts)))

    def joined(
        self, rows: Sequence[Tensors], shapes: Sequence[tuple[int, ...]]
    ) -> Iterator[Tensors]:
        """What came out for the windows, in their order, as what is of each text."""
        found = [
            (row, len(ids)) for _, row, ids in sorted(
                zip(self.order, rows, self.windows, strict=True), key=lambda three: three[0]
            )
        ]  # fmt: skip
        start = 0
        for count in self.counts:
            yield _joined(found[start : start + count], shapes)
            start += count


def _joined(windows: Sequence[tuple[Tensors, int]], shapes: Sequence[tuple[int, ...]]) -> Tensors:
    """One text's tensors from those of its windows, each with its number of tokens."""
    if len(windows) == 1:
        return windows[0][0]
    tokens_w = np.array([tokens for _, tokens in windows], dtype=np.float64)
    whole: list[np.ndarray] = []
    for parts, shape in zip(zip(*(row for row, _ in windows), strict=True), shapes, strict=True):
        if -1 in shape:
            whole.append(np.concatenate(parts))
        elif not shape:
            whole.append(np.asarray(np.sum(parts), dtype=np.float32))
        else:
            mean = np.average(np.stack(parts).astype(np.float64), axis=0, weights=tokens_w)
            whole.append(mean.astype(np.float32))
    return tuple(whole)


def _results(request: Any, batch: list[np.ndarray]) -> Iterator[Tensors]:
    """What came out for each of a batch; of texts what stands at their own tokens."""
    request.wait()
    arrays = [tensor.data for tensor in request.output_tensors]
    for n, given in enumerate(batch):
        rows = (array[n] for array in arrays)
        is_text = given.ndim == 1
        yield tuple(
            np.array(row[: len(given)] if is_text and row.ndim > 1 else row) for row in rows
        )


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
