"""Which engine serves the frozen part of a network, and whether it may be trusted.

Decisions:

- OpenVINO runs one picture at a time, each on one thread, as many at once as there are cores. What
  comes out for a picture then depends on that picture alone, not on its neighbours in a batch, on
  timing or on how many cores there are. (On EfficientNet-Lite0 batches of four are 5 % quicker.)
- Texts run in batches of nearly equal lengths, filled up to a length that depends on the text
  alone. Whether a text then gives the same bits alone and with any others is tried out before an
  engine serves in that way; where it does not, texts run one at a time.
- The quickest engine is tried first: OpenVINO in bf16 (all but the first stages, see
  `compiled.py`) where the processor is faster so, OpenVINO in f32, torch in f32; on a GPU torch in
  bf16, then in f32. The first one serves whose features of the user's own pictures are near enough
  to float32 torch's (`parity.py`).
- torch is asked once for a backbone, in a process of its own that also compiles it and that can
  be started before the data are read. From then on the float32 graph stands in for torch, as far
  as it was certified.
- A verdict is kept, so that the same pictures need not be judged again, and an engine is opened
  only when something is to be computed.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import numpy as np

from regraft.backbones import (
    Backbone,
    Preprocessing,
    TextPreprocessing,
    open_backbone,
    shelf,
)
from regraft.backbones.addresses import address
from regraft.backbones.levels import with_levels
from regraft.dataset import Sample, View, images
from regraft.errors import Damaged
from regraft.events import Said, Tell, silent
from regraft.machine import cores, gpu_name, has_bfloat16, has_gpu, processor
from regraft.store import Json, canonical, commit_sealed, digest, quarantine, read_sealed
from regraft.transfer.compiled import Compiled, exact_stages, find, place
from regraft.transfer.cut import Cut
from regraft.transfer.packing import alone, stacked
from regraft.transfer.parity import CERTIFIED, Parity, cosines, in_order, parity
from regraft.transfer.pictures import look, pixels_of
from regraft.transfer.runners import (
    AT_ONCE_TOKENS,
    FILLED,
    CannotRun,
    Nothing,
    OpenVino,
    Runner,
    Tensors,
    Torch,
    Windowed,
)
from regraft.transfer.shards import hold
from regraft.transfer.worker import Worker

TRIAL_SAMPLES, FEWEST_TRIAL_SAMPLES = 64, 8
TRIED_APART, TRIED_WITH = 6, 7
"""Texts that a batching engine is tried with, and the others in each one's batch."""
VERDICTS = 200
"""How many are kept for a backbone; one more sends the oldest away."""


@dataclass(frozen=True)
class Serving:
    """An engine by name.

    Attributes:
        name: "openvino-bf16", "openvino-f32", "torch-f32", "torch-cuda", or "none" at cut 0.
        precision: "bf16", "f32", or "uint8" at cut 0.
        parity: None before it is judged, and at cut 0.
        batched: whether several texts run at once.
    """

    name: str
    precision: str
    parity: Parity | None = None
    batched: bool = False

    def is_same(self, other: Serving) -> bool:
        """Whether it is the same engine, judged or not."""
        return replace(self, parity=None) == replace(other, parity=None)


NONE = Serving("none", "uint8")
OPENVINO_BF16 = Serving("openvino-bf16", "bf16")
OPENVINO_F32 = Serving("openvino-f32", "f32")
TORCH_F32 = Serving("torch-f32", "f32")
CUDA_BF16 = Serving("torch-cuda", "bf16")
CUDA_F32 = Serving("torch-cuda", "f32")


@dataclass(frozen=True)
class Trial:
    """The pictures that engines are judged by.

    Attributes:
        key: the same for the same pixels.
        load: gives the pixels (B, H, W, 3).
        samples: `view_key` of the samples whose plain views they are, or none.
    """

    key: str
    load: Callable[[], np.ndarray]
    samples: tuple[str, ...] = ()


def prepare(backbone: str | Backbone, *, tell: Tell = silent) -> Preparation:
    """Begin to make a backbone ready to serve; returns at once.

    What has to be converted or compiled is, in another process, while the caller goes on.

    Args:
        backbone: a description, or a name as `open_backbone` takes it. One that is named gives a
            vector of several levels, where it has them; see `backbones/levels.py`.
        tell: hears what takes time.

    Raises:
        UsageError: the name means nothing.
    """
    is_named = isinstance(backbone, str)
    shelf.notice(address(backbone).adapter if is_named else backbone.recipe.adapter, tell)
    if has_gpu():
        if isinstance(backbone, str):
            backbone = with_levels(open_backbone(backbone, tell=tell))
        return Preparation(backbone, None)
    known, request = _known(backbone)
    if known is None:
        assert isinstance(backbone, str)
        tell(shelf.looking_for(backbone))
    elif find(place(known)) is not None:
        return Preparation(known, None)
    else:
        tell(_preparing(known))
    return Preparation(known, _start(request), tell)


@final
class Preparation:
    """A backbone that is being made ready, or is; made by `prepare`, closed after use."""

    def __init__(
        self, backbone: Backbone | None, worker: Worker | None, tell: Tell = silent
    ) -> None:
        self._known = backbone
        self._worker = worker
        self._tell = tell

    def backbone(self) -> Backbone:
        """The backbone; waits for its conversion.

        Raises:
            RegraftError: it cannot be converted.
        """
        if self._known is None:
            assert self._worker is not None
            facts, _ = self._worker.receive()
            self._known = Backbone.from_json(facts["backbone"], Path(facts["weights"]))
            if find(place(self._known)) is not None:
                self.close()
            else:
                self._tell(_preparing(self._known))
        return self._known

    def engine(self, frozen: int, samples: Sequence[Sample]) -> Engine:
        """What serves the first `frozen` stages; at once.

        Args:
            frozen: counted from the input; at 0 the pixels go through as they are.
            samples: all of the user's; up to 64 of them, chosen by content, will judge it: fewer
                where each is of many pixels.
        """
        cut = Cut(self.backbone(), frozen)
        distinct = {sample.view_key: sample for sample in samples}
        chosen = [distinct[key] for key in sorted(distinct)[: _trial_size(cut.backbone)]]
        names = tuple(sample.view_key for sample in chosen)
        return Engine(self, cut, Trial(digest(*names), lambda: _plain_views(cut, chosen), names))

    def engine_for_pixels(self, frozen: int, pixels_bhwc: np.ndarray) -> Engine:
        """The same, to be judged by pixels that are at hand: uint8 (B, H, W, 3)."""
        trial = Trial(digest(pixels_bhwc.tobytes()), lambda: pixels_bhwc)
        return Engine(self, Cut(self.backbone(), frozen), trial)

    def pixels(self, path: Path) -> np.ndarray:
        """The plain view of a picture as the backbone takes it: uint8 (H, W, 3).

        Raises:
            UnreadableSample: it cannot be decoded.
        """
        p = self.backbone().preprocessing
        assert isinstance(p, Preprocessing), path
        return pixels_of(images.decode(path), p)

    def torch_features(self, cut: Cut, pixels_bhwc: np.ndarray) -> Tensors:
        """Features in float32 torch, from a process of its own; compiles what is not compiled."""
        if self._worker is None:
            self._worker = _start(_described(cut.backbone))
        self._worker.send({"frozen": cut.frozen}, [pixels_bhwc])
        _, arrays = self._worker.receive()
        self.close()  # it holds much memory, and is not likely to be asked again
        return tuple(arrays)

    @cached_property
    def folder(self) -> Path:
        """Where the backbone's compiled form lies, or will; nobody removes it from here on."""
        folder = place(self.backbone())
        weakref.finalize(self, os.close, hold(folder))
        return folder

    def compiled(self) -> Compiled | None:
        """The compiled form, unless the other process is still at it."""
        return None if self._worker is not None else find(self.folder)

    def close(self) -> None:
        """End the other process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def __enter__(self) -> Preparation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _trial_size(backbone: Backbone) -> int:
    """How many samples judge an engine: as many pixels as `TRIAL_SAMPLES` pictures of 224 px."""
    preprocessing = backbone.preprocessing
    if not isinstance(preprocessing, Preprocessing):
        return TRIAL_SAMPLES
    pixels = max(1, backbone.frames) * preprocessing.size_px**2
    return min(TRIAL_SAMPLES, max(FEWEST_TRIAL_SAMPLES, TRIAL_SAMPLES * 224**2 // pixels))


@final
class Engine:
    """What serves the frozen part of a network; made by `Preparation`.

    Which engine it is settles when somebody asks, because that takes pictures and time.
    """

    def __init__(self, preparation: Preparation, cut: Cut, trial: Trial) -> None:
        self.cut = cut
        self._preparation = preparation
        self._trial = trial
        self._open: dict[str, Runner] = {}

    @property
    def name(self) -> str:
        """See `Serving`."""
        return self.serving.name

    @property
    def precision(self) -> str:
        """See `Serving`."""
        return self.serving.precision

    @property
    def parity(self) -> Parity | None:
        """How near its features of the user's pictures came to float32 torch's."""
        return self.serving.parity

    @cached_property
    def serving(self) -> Serving:
        """The quickest engine that passed."""
        if self.cut.frozen == 0:
            return NONE
        return self._recalled() or self._judged()

    @property
    def likely(self) -> Serving:
        """What `serving` is, or will be unless its first candidate is refused. Does not wait."""
        if "serving" in vars(self):
            return self.serving
        if self.cut.frozen == 0:
            return NONE
        return self._recalled() or self._candidates()[0]

    @cached_property
    def trial_pixels(self) -> np.ndarray:
        """Pixels of the pictures that it is judged by: uint8 (B, H, W, 3)."""
        return self._trial.load()

    @cached_property
    def _judging(self) -> np.ndarray:
        """What candidates are compared on: of texts the first window."""
        preprocessing = self.cut.backbone.preprocessing
        if isinstance(preprocessing, Preprocessing):
            return self.trial_pixels
        return self.trial_pixels[:, : preprocessing.max_tokens]

    def trial_views(self) -> dict[str, np.ndarray]:
        """If it is still to be judged: plain views that this will take, by `Sample.view_key`."""
        if self.cut.frozen == 0 or self._recalled() is not None:
            return {}
        inputs = map(alone, self.trial_pixels)
        return dict(zip(self._trial.samples, inputs, strict=False))

    def identity(self, serving: Serving) -> dict[str, Json]:
        """Everything about an engine that can change the bits of its features."""
        facts: dict[str, Json] = {"name": serving.name, "precision": serving.precision}
        if serving == NONE:
            return facts
        facts["torch"] = version("torch")
        if serving.name == CUDA_F32.name:
            return facts | {"device": gpu_name()}
        facts["processor"] = processor()
        if serving.name == TORCH_F32.name:
            return facts | {"threads": cores(), "omp": os.environ.get("OMP_NUM_THREADS", "")}
        facts |= {"openvino": version("openvino"), "batch": 1, "threads": 1}
        if serving.batched:
            facts |= {"filled_up_to": FILLED, "at_once_tokens": AT_ONCE_TOKENS}
        return facts | {"exact_stages": exact_stages(self.cut.backbone)}

    def to_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        measured = asdict(self.parity) if self.parity else None
        return {"name": self.name, "precision": self.precision, "parity": measured}

    def stream(self, pictures: Iterable[np.ndarray]) -> Generator[Tensors, None, None]:
        """Features of pictures, in order: for each, float32 arrays without a batch axis.

        Args:
            pictures: uint8 (H, W, 3) each.
        """
        return self._runner(self.serving).stream(pictures)

    def run(self, pixels_bhwc: np.ndarray) -> Tensors:
        """Features of some pictures, uint8 (B, H, W, 3): float32 arrays (B, …)."""
        return self._runner(self.serving).run(pixels_bhwc)

    def _judged(self) -> Serving:
        reference, name = self._reference()
        for candidate in self._candidates():
            try:
                if candidate.batched and not self._keeps_texts_apart(candidate):
                    continue
                measured = self._measured(candidate, reference, name)
            except CannotRun:
                self._open.clear()
                continue
            if measured.passes:
                served = replace(candidate, parity=measured)
                self._keep(served)
                mine = _name_of(served)
                self._open = {name: one for name, one in self._open.items() if name == mine}
                return served
            self._open.clear()
        raise AssertionError("float32 torch agrees with itself")

    def _candidates(self) -> tuple[Serving, ...]:
        """Engines from the quickest to the surest."""
        if has_gpu():
            return CUDA_BF16, CUDA_F32
        compiled = self._preparation.compiled()
        if compiled is not None and not compiled.parity:
            return (TORCH_F32,)
        quick = (OPENVINO_BF16, OPENVINO_F32)
        if self.cut.frozen <= exact_stages(self.cut.backbone) or not has_bfloat16():
            quick = (OPENVINO_F32,)
        if self.cut.backbone.modality == "text":
            quick = tuple(s for one in quick for s in (replace(one, batched=True), one))
        return *quick, TORCH_F32

    def _keeps_texts_apart(self, candidate: Serving) -> bool:
        """Whether texts give the same bits alone and at the end of a batch of others."""
        pixels = list(self._judging)
        some = [alone(row) for row in pixels[:: max(1, len(pixels) // TRIED_APART)]]
        runner = self._runner(candidate)
        for row in some:
            others = [np.resize(np.roll(some[0], n), len(row)) for n in range(TRIED_WITH)]
            (apart,) = runner.stream([row])
            *_, among = runner.stream([*others, row])
            if any(a.tobytes() != b.tobytes() for a, b in zip(apart, among, strict=True)):
                return False
        return True

    def _reference(self) -> tuple[Tensors, str]:
        """What candidates are compared with, and its name."""
        if has_gpu():
            return self._runner(CUDA_F32).run(self._judging), "torch f32"
        compiled = self._preparation.compiled()
        if compiled is not None and not compiled.parity:
            return (), "torch f32"  # torch itself is the only candidate
        if compiled is not None and self._certificate(compiled).minimum >= CERTIFIED:
            certificate = self._certificate(compiled)
            name = (
                f"openvino f32, certified against torch f32 on {compiled.when} "
                f"(minimum {certificate.minimum:.6f} of {certificate.samples} samples)"
            )
            return self._runner(OPENVINO_F32).run(self._judging), name
        return self._preparation.torch_features(self.cut, self._judging), "torch f32"

    def _certificate(self, compiled: Compiled) -> Parity:
        return compiled.parity[self.cut.frozen - 1]

    def _measured(self, candidate: Serving, reference: Tensors, name: str) -> Parity:
        if candidate in (TORCH_F32, CUDA_F32):
            return Parity(1.0, 1.0, len(self._judging), "torch f32, which it is")
        compiled = self._preparation.compiled()
        is_exact = replace(candidate, batched=False) == OPENVINO_F32
        if is_exact and name.startswith("openvino") and compiled is not None:
            certificate = self._certificate(compiled)
            return replace(certificate, reference=f"torch f32 on {compiled.when}")
        found = self._runner(candidate).run(self._judging)
        found = in_order(found, reference, self.cut.backbone.queries)
        return parity(cosines(found, reference), name)

    def _runner(self, serving: Serving) -> Runner:
        name = _name_of(serving)
        if name not in self._open:
            self._open[name] = self._reading(self._opened(serving))
        return self._open[name]

    def _reading(self, runner: Runner) -> Runner:
        """A runner that takes whole texts, not windows alone; pictures and ids as they are."""
        preprocessing = self.cut.backbone.preprocessing
        if isinstance(preprocessing, Preprocessing) or self.cut.frozen == 0:
            return runner
        return Windowed(runner, self.cut, preprocessing.max_tokens)

    def _opened(self, serving: Serving) -> Runner:
        if serving == NONE:
            return Nothing()
        if serving.name == CUDA_F32.name:
            return Torch(self.cut, "cuda", serving.precision)
        if serving.name == TORCH_F32.name:
            return Torch(self.cut, "cpu", serving.precision)
        compiled = self._preparation.compiled()
        graph = compiled and compiled.graph(self.cut)
        if graph is None:  # damaged: compiled again while torch is asked
            self._preparation.torch_features(self.cut, self._judging)
            compiled = self._preparation.compiled()
            graph = compiled and compiled.graph(self.cut)
        assert graph is not None
        preprocessing = self.cut.backbone.preprocessing
        is_text = isinstance(preprocessing, TextPreprocessing)
        longest = preprocessing.max_tokens if is_text and serving.batched else 0
        return OpenVino(graph, serving.precision, longest)

    @cached_property
    def _verdict_file(self) -> Path:
        gpu = gpu_name() if has_gpu() else ""
        name = digest(str(self.cut.frozen), self._trial.key, gpu)[:32]
        return self._preparation.folder / "verdicts" / f"{name}.json"

    def _recalled(self) -> Serving | None:
        try:
            values = json.loads(read_sealed(self._verdict_file))
        except FileNotFoundError:
            return None
        except Damaged:
            quarantine(self._verdict_file)
            return None
        measured = Parity(**values["parity"])
        return Serving(values["name"], values["precision"], measured, values.get("batched", False))

    def _keep(self, serving: Serving) -> None:
        commit_sealed(self._verdict_file, canonical(asdict(serving)))
        kept = sorted(self._verdict_file.parent.glob("*.json"), key=lambda p: p.stat().st_mtime)
        for path in kept[:-VERDICTS]:
            path.unlink(missing_ok=True)


def _name_of(serving: Serving) -> str:
    return f"{serving.name} {serving.precision} {serving.batched}"


def _preparing(backbone: Backbone) -> Said:
    return Said(f"preparing {backbone.name} for this machine (once)")


def _known(backbone: str | Backbone) -> tuple[Backbone | None, dict[str, Any]]:
    """The backbone if it is on disk, and what to ask the other process for."""
    if isinstance(backbone, Backbone):
        return backbone, _described(backbone)
    found = shelf.stored(address(backbone))
    if found is None:
        return None, {"name": backbone}
    found = with_levels(found)
    return found, _described(found)


def _described(backbone: Backbone) -> dict[str, Any]:
    return {"backbone": backbone.to_json(), "weights": str(backbone.weights)}


def _start(request: dict[str, Any]) -> Worker:
    worker = Worker("regraft.transfer.compile")
    worker.send(request)
    return worker


def _plain_views(cut: Cut, samples: Sequence[Sample]) -> np.ndarray:
    def load(sample: Sample) -> np.ndarray:
        return look(sample, [View()], cut.backbone)[0]

    with ThreadPoolExecutor(cores()) as pool:
        return stacked(list(pool.map(load, samples)))
