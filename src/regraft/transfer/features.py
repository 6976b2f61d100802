"""Activations at a cut: computed once for each picture and view, and kept.

Decisions:

- Rows are kept under the sha256 of the picture's content and the view, in a folder that is named
  by everything else that can change them: preprocessing, weights left of the cut, our own code
  (`sources.py`), engine, precision, storage, versions. Adding ten pictures computes ten.
- Tiles of one picture come from few decodings of it: as many at a time as may wait in memory.
- Pictures are decoded on all cores, ahead of the engine and while it is still being compiled or
  judged. What was decoded and not used waits in a bounded amount of memory.
- Texts go to the engine by length, a few thousand at a time, so that those of one length run
  together. Rows are kept by content: the order they are computed in does not matter.
- Of clips the frames' vectors are kept, and pooled as they are read (`pooling.py`): the encoder
  runs once for the head and the rung after it. They are kept in 16 bits; with eight frames a byte
  and a scale for each channel would take as much.
- Nothing is kept before the engine has passed. If it is refused, the work is done again with the
  next one.
- Rows are committed every few hundred, and when the caller stops the work.
- Memory does not grow with the number of pictures: rows stay on disk until asked for.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain, groupby, islice
from typing import TypeAlias, final

import numpy as np
import PIL

from regraft.backbones.backbone import AnyPreprocessing, Preprocessing
from regraft.dataset import Sample, View
from regraft.errors import StoreError
from regraft.events import Advanced, Said, Tell, silent
from regraft.machine import cores
from regraft.store import Json, canonical, digest
from regraft.transfer import clips, sources
from regraft.transfer.ahead import ReadAhead
from regraft.transfer.cache import LIMIT, features_folder, make_room
from regraft.transfer.cut import Cut
from regraft.transfer.engine import Engine, Serving
from regraft.transfer.packing import Packing, Storage, stacked
from regraft.transfer.pictures import look_at_parts
from regraft.transfer.pooling import AT_ONCE, Pooling
from regraft.transfer.runners import Tensors
from regraft.transfer.shards import Shards

FIRST_BYTES = 160 * 2**20
"""Decoded pictures that may wait while the engine is made ready."""
AHEAD_BYTES = 16 * 2**20
"""Decoded pictures that may wait while it runs."""
SORTED = 4096
"""Texts that are put in order of length at a time."""
SHARD_ROWS = 512
SHARD_BYTES = 32 * 2**20
TELL_EVERY_S = 0.1

Index: TypeAlias = "int | np.ndarray"


@final
class Features:
    """Activations at a cut of some samples in some views; made by `features`.

    Attributes:
        shapes: of the tensors of one row.
        key: names the folder of the cache, and so everything that the rows depend on besides
            content and view.
        computed: how many rows were not in the cache.
        seconds: how long it took to have them all.
        serving: the engine they were, or would have been, computed with.
    """

    def __init__(
        self, cut: Cut, shards: Shards, views: int, computed: int, seconds: float, serving: Serving
    ) -> None:
        self.shapes = cut.shapes
        self.key = shards.folder.name
        self.computed = computed
        self.seconds = seconds
        self.serving = serving
        self._shards = shards
        self._places_nv2 = shards.places().reshape(-1, views, 2)
        self._pooling = None if cut.kept == cut else Pooling(cut.backbone)

    def __len__(self) -> int:
        return len(self._places_nv2)

    def rows(self, sample_index: np.ndarray, view_index: Index = 0) -> Tensors:
        """Activations of some samples, read from disk.

        Args:
            sample_index: (B,), positions in the samples.
            view_index: position in the views, one for all or one for each, (B,).

        Returns:
            float32 arrays (B, *shape), one for each tensor, texts filled up to the longest; at
            cut 0 uint8 (B, H, W, 3), or int32 ids (B, L), -1 for none.

        Raises:
            StoreError: the cache was removed while it was used.
        """
        places_b2 = self._places_nv2[sample_index, view_index]
        if self._pooling is None:
            return self._read(places_b2)
        some = range(0, len(places_b2), AT_ONCE)
        parts = [self._pooling(self._read(places_b2[at : at + AT_ONCE])) for at in some]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _read(self, places_b2: np.ndarray) -> Tensors:
        return self._shards.packing.unpack_rows(self._shards.read(places_b2))


def features(
    samples: Sequence[Sample],
    cut: Cut,
    engine: Engine,
    views: Sequence[View] = (View(),),
    *,
    storage: Storage = "float32",
    tell: Tell = silent,
) -> Features:
    """Activations at a cut, from the cache; what is missing is computed and kept.

    Args:
        samples: with their content's sha256.
        cut: where. At cut 0 the pixels themselves are kept.
        engine: what serves the stages left of `cut.kept`.
        views: of each sample.
        storage: how they are kept: "float32", "bfloat16" or "uint8" (see `packing.py`); not asked
            for what has one way of being kept: pixels, token ids, vectors of frames.
        tell: hears how many rows there are. If it raises, what is finished is kept.

    Raises:
        DataError: a picture cannot be read any more, or its file has changed.
        StoreError: the cache cannot be written.
    """
    assert engine.cut == cut.kept, (engine.cut.frozen, cut.frozen)
    began = time.perf_counter()
    job = _Job(tuple(samples), cut.kept, engine, tuple(views), storage, tell)
    while True:
        serving = engine.likely
        shards = _open(job, serving)
        computed = _complete(job, shards, serving)
        if computed is not None:
            seconds = time.perf_counter() - began
            return Features(cut, shards, len(views), computed, seconds, engine.serving)
        shards.close()


def missing(
    samples: Sequence[Sample],
    cut: Cut,
    engine: Engine,
    views: Sequence[View] = (View(),),
    *,
    storage: Storage = "float32",
    tell: Tell = silent,
) -> int:
    """How many rows `features` would compute; tells of shards that it finds damaged."""
    job = _Job(tuple(samples), cut.kept, engine, tuple(views), storage, tell)
    with closing(_open(job, engine.likely)) as shards:
        return len(frozenset(shards.missing()))


@final
class LiveFeatures:
    """The same rows as `Features`, computed whenever they are asked for and never kept.

    Of tiles of one picture that are asked for together the picture is decoded once. Where one
    cannot be read, or the caller stops the work, those that were not begun are left.
    """

    def __init__(
        self, samples: Sequence[Sample], cut: Cut, engine: Engine, views: Sequence[View]
    ) -> None:
        self.shapes = cut.shapes
        self._samples = samples
        self._cut = cut
        self._engine = engine
        self._views = views

    def rows(self, sample_index: np.ndarray, view_index: Index = 0) -> Tensors:
        """See `Features.rows`."""
        view_b = np.broadcast_to(view_index, len(sample_index))
        asked = [
            (self._samples[int(n)], [self._views[int(v)]])
            for n, v in zip(sample_index, view_b, strict=True)
        ]
        places: dict[str, list[int]] = {}
        for at, (sample, _) in enumerate(asked):
            key = str(at) if sample.window is None else _file_of(sample)
            places.setdefault(key, []).append(at)
        pool = ThreadPoolExecutor(cores())
        try:
            begun: dict[int, tuple[Future[list[np.ndarray]], int]] = {}
            for of_one in places.values():
                task = [asked[at] for at in of_one]
                looking = pool.submit(look_at_parts, task, self._cut.backbone)
                begun |= {at: (looking, place) for place, at in enumerate(of_one)}
            waiting = (begun.pop(at) for at in range(len(asked)))  # what was used is let go
            pictures = (looking.result()[place] for looking, place in waiting)
            tensors = list(self._engine.stream(pictures))
        finally:
            pool.shutdown(cancel_futures=True)
        return tuple(stacked(parts) for parts in zip(*tensors, strict=True))


@final
@dataclass(frozen=True)
class _Job:
    """What was asked for; see `features`."""

    samples: tuple[Sample, ...]
    cut: Cut
    engine: Engine
    views: tuple[View, ...]
    storage: Storage
    tell: Tell

    @property
    def preprocessing(self) -> AnyPreprocessing:
        return self.cut.backbone.preprocessing


def _open(job: _Job, serving: Serving) -> Shards:
    """The folder of the cache that these rows belong into, with what is in it."""
    storage = _storage(job)
    packing = Packing(job.cut.shapes, storage)
    identity = _identity(job, serving, packing)
    keys = [_row_key(sample, view) for sample in job.samples for view in job.views]
    about: dict[str, Json] = {
        "backbone": job.cut.backbone.name,
        "frozen_stages": job.cut.frozen,
        "engine": serving.name,
        "storage": storage,
    }
    folder = features_folder() / digest(canonical(identity))[:32]
    shards = Shards(folder, packing, keys, about)
    shards.scan(job.tell)
    return shards


def _storage(job: _Job) -> Storage:
    """As asked, where there is a choice."""
    if job.cut.frozen == 0:
        return _as_it_is(job.preprocessing)
    return "bfloat16" if job.cut.is_before_pooling else job.storage


def _as_it_is(preprocessing: AnyPreprocessing) -> Storage:
    return "pixels" if isinstance(preprocessing, Preprocessing) else "tokens"


def _input_facts(preprocessing: AnyPreprocessing) -> dict[str, Json]:
    """Everything that can change the bits of what the network takes."""
    if not isinstance(preprocessing, Preprocessing):
        return {
            "max_tokens": preprocessing.max_tokens,
            "windows": preprocessing.windows,
            "overlap": preprocessing.overlap,
            "tokenizer": preprocessing.tokenizer_sha256,
            "tokenizers": version("tokenizers"),
        }
    return {
        "size_px": preprocessing.size_px,
        "crop": preprocessing.crop,
        "interpolation": preprocessing.interpolation,
        **({"whole": True} if preprocessing.whole else {}),
        "pillow": PIL.__version__,
        **({"frames": preprocessing.frames, **clips.facts()} if preprocessing.frames else {}),
    }


def _identity(job: _Job, serving: Serving, packing: Packing) -> dict[str, Json]:
    """Everything that can change the bits of a row, besides the picture and the view."""
    preprocessing = job.preprocessing
    identity: dict[str, Json] = {
        "code": sources.code(),
        "pixels": _input_facts(preprocessing),
        "storage": packing.storage,
        "shapes": [list(shape) for shape in packing.shapes],
        "engine": job.engine.identity(serving),
    }
    if job.cut.frozen == 0:
        return identity
    is_picture = isinstance(preprocessing, Preprocessing)
    identity["network"] = {
        "mean": list(preprocessing.mean) if is_picture else [],
        "std": list(preprocessing.std) if is_picture else [],
        "recipe": repr(job.cut.backbone.recipe),
        "stages": [stage.name for stage in job.cut.left],
        "weights": job.cut.fingerprint(),
    }
    return identity


def _row_key(sample: Sample, view: View) -> str:
    if view.index == 0:
        return f"{sample.view_key} plain"
    return f"{sample.view_key} {canonical(asdict(view)).decode()}"


def _complete(job: _Job, shards: Shards, serving: Serving) -> int | None:
    """Compute and keep the missing rows; how many, or None if another engine must serve."""
    if not shards.missing():
        return 0 if job.engine.serving.is_same(serving) else None
    with shards.adding(job.tell):
        missing = frozenset(shards.missing())
        row_bytes = shards.packing.at(job.preprocessing.longest).row_bytes
        if excess := make_room(len(missing) * row_bytes):
            job.tell(
                Said(
                    "These activations exceed the cache's limit by up to "
                    f"{math.ceil(excess / 1e6):,} MB. "
                    f"They are kept while they are in use; {LIMIT} raises the limit."
                )
            )
        return _compute(job, shards, serving, missing)


_Task = list[tuple[Sample, list[View]]]
"""Parts of one picture, with views of each; of anything else a single sample."""


def _compute(job: _Job, shards: Shards, serving: Serving, missing: frozenset[str]) -> int | None:
    """See `_complete`. Decoding begins before the engine is there, and goes on while it runs."""
    engine = job.engine
    at_hand = engine.trial_views()
    longest = Packing((job.preprocessing.input_shape,), _as_it_is(job.preprocessing))
    sample_bytes = longest.at(job.preprocessing.longest).row_bytes * len(job.views)
    at_once = max(1, AHEAD_BYTES // (2 * cores() * sample_bytes))  # as many tasks wait at least
    tasks = list(_tasks(job, missing, at_once))
    # None are left where another process has computed them meanwhile.
    task_bytes = sample_bytes * max(map(len, tasks), default=1)

    def load(task: _Task) -> list[np.ndarray]:
        if all(views == [View()] and sample.view_key in at_hand for sample, views in task):
            return [at_hand[sample.view_key] for sample, _ in task]
        return look_at_parts(task, job.cut.backbone)

    first = max(1, FIRST_BYTES // task_bytes)
    with ReadAhead(load, tasks, first, AHEAD_BYTES // task_bytes) as ahead:
        if not engine.serving.is_same(serving):
            return None
        parts = chain.from_iterable(tasks)
        keys = (_row_key(sample, view) for sample, views in parts for view in views)
        pairs = zip(keys, (picture for pictures in ahead for picture in pictures), strict=True)
        if not isinstance(job.preprocessing, Preprocessing):
            pairs = _by_length(pairs)
        names: deque[str] = deque()

        def inputs() -> Iterator[np.ndarray]:
            for key, picture in pairs:
                names.append(key)
                yield picture

        with closing(engine.stream(inputs())) as stream:
            rows = ((names.popleft(), row) for row in stream)
            _keep(job, shards, rows, len(missing))
    return len(missing)


def _by_length(pairs: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    """Some thousand texts at a time, the longest first."""
    rest = iter(pairs)
    while some := list(islice(rest, SORTED)):
        yield from sorted(some, key=lambda pair: -len(pair[1]))


def _tasks(job: _Job, missing: frozenset[str], most: int) -> Iterator[_Task]:
    """What to read: each picture once, with the views of it that are missing.

    Args:
        job: asks for them.
        missing: rows.
        most: parts of a picture that are made of it at a time.
    """
    distinct = {sample.view_key: sample for sample in job.samples}
    parts: list[tuple[Sample, list[View]]] = []
    for sample in distinct.values():
        views = [view for view in job.views if _row_key(sample, view) in missing]
        if views:
            parts.append((sample, views))
    for _, some in groupby(parts, lambda part: _file_of(part[0])):
        of_one = iter(some)
        while task := list(islice(of_one, most)):
            yield task


def _file_of(sample: Sample) -> str:
    """What samples have in common that can be made of one decoded picture."""
    return sample.view_key if sample.window is None else f"{sample.sha256} {sample.source}"


def _keep(job: _Job, shards: Shards, rows: Iterable[tuple[str, Tensors]], count: int) -> None:
    """Commit rows as they come, and say how many there are.

    A shard is packed and written while the rows of the next one are computed. Where the listener
    ends it, what was computed is kept.
    """
    exact = Packing(shards.packing.shapes, "float32").at(job.preprocessing.longest).row_bytes
    most = max(1, min(SHARD_ROWS, SHARD_BYTES // exact))
    total = len(frozenset(shards.keys))
    waiting: list[tuple[str, Tensors]] = []
    told = 0.0
    with ThreadPoolExecutor(1, "regraft-keep") as pool:
        begun: Future[None] = pool.submit(_commit, shards, ())
        for done, row in enumerate(rows, total - count + 1):
            waiting.append(row)
            if len(waiting) == most or begun.done():
                begun.result()  # a full disk ends it here, not a shard later
            if len(waiting) == most:
                begun = pool.submit(_commit, shards, waiting)
                waiting = []
            if done == total or time.monotonic() - told > TELL_EVERY_S:
                try:
                    job.tell(Advanced("features", done, total))
                except BaseException:
                    with suppress(StoreError):
                        begun.result()
                        _commit(shards, waiting)
                    raise
                told = time.monotonic()
        begun.result()
        _commit(shards, waiting)


def _commit(shards: Shards, rows: Sequence[tuple[str, Tensors]]) -> None:
    """Make a shard of some rows, if there are any."""
    if rows:
        keys, tensors = zip(*rows, strict=True)
        shards.append(keys, shards.packing.pack_rows(tensors))
