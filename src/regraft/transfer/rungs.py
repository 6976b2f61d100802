"""The rungs that are asked for: how each is trained, and what it would cost.

What decides the bits of the result (steps, views, cached or live) depends on the data and the
network alone, never on a clock; only the estimate of a plan is measured time, and the cache's limit
the space on this disk.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np

from regraft.backbones import TextPreprocessing
from regraft.dataset import Sample, View
from regraft.errors import UsageError
from regraft.seeds import generator
from regraft.store import Outcome, Run
from regraft.transfer.cache import limit_bytes
from regraft.transfer.cut import frozen_stages, trained_stages
from regraft.transfer.features import Features, LiveFeatures
from regraft.transfer.ground import CACHED_BYTES, Facts, Ground, inputs_of, tail_of
from regraft.transfer.tokens import mean_tokens

if TYPE_CHECKING:
    from regraft.transfer.fit import Rung

DEPTHS = (1, 2, 4, 8, 16, 32)

VIEWS, MOST_VIEWS, FEWEST_VIEWS = 4, 32, 2
"""Different views of each picture where stages are trained: of many pictures, of few, and of as
many as teach a head alone enough. Index 0 is always the plain one."""
PASSES_A_VIEW = 5
"""Few pictures are passed over often, and a view that is seen more times than this is learnt by
heart. Of 18 tiles of forest in 200 passes, 32 views instead of 4 bring last:1 · last:2 · last:4 of
NanoDet-g from 14.5 · 20.3 · 20.5 to 14.8 · 22.0 · 26.1 % AP50 (one seed)."""

TRIED = 8
"""Pictures by which it is measured how long one takes."""

LEAST_BATCH = 4
"""Samples of a step, however many frames or windows each is."""

_OTHERS = "ladder, head, "
"""What `fit` may be told besides stages to train."""


def check_train(train: str) -> None:
    """Raise UsageError where `--train` asks for nothing that any backbone could give."""
    if train != "ladder":
        trained_stages(train, _OTHERS)


def rung_names(train: str, stages: int) -> list[str]:
    """The rungs that `--train` asks for, in order.

    Args:
        train: "ladder", "head", "last:K" or "all".
        stages: of the backbone.

    Raises:
        UsageError: the backbone has fewer than K stages.
    """
    if train == "head":
        return ["head"]
    if train == "ladder":
        return ["head", *(f"last:{k}" for k in DEPTHS if k < stages), "all"]
    frozen_stages(train, stages, _OTHERS)  # refuses what there is not
    return ["head", train]


def check_budget(budget_s: float | None) -> None:
    """Raise UsageError where a budget leaves no time; None is no limit."""
    if budget_s is not None and not budget_s > 0:
        raise UsageError("the budget is not positive", where="--budget", mend="for example 10m")


def cached_bytes(run: Run) -> int:
    """What a rung's activations may take; a run that goes on keeps to what it began with."""

    def compute() -> Outcome:
        return Outcome({"bytes": min(CACHED_BYTES, limit_bytes())}, {})

    found: Any = run.step("cache-limit", {}, compute).facts["bytes"]
    return found


def make_rung(ground: Ground, name: str) -> Rung:
    """Steps, views and storage of a rung: functions of the data and the network alone."""
    from regraft.transfer.fit import Rung

    stages = len(ground.backbone.stages)
    frozen = frozen_stages(name, stages)
    count = len(ground.dataset.split("train"))
    pace = ground.task.pace
    batch = batch_of(ground, frozen)
    steps = pace.steps(count, batch)
    passes = math.ceil(steps / max(1, count // batch))
    is_head = frozen == stages
    view_bytes = count * bytes_a_view(ground, frozen)
    most = 1
    if ground.backbone.modality != "text":
        most = min(MOST_VIEWS, passes // PASSES_A_VIEW, ground.cached_bytes // view_bytes)
        most = max(VIEWS, most)
    if is_head and pace.head_seen is not None:
        most = min(most, max(FEWEST_VIEWS, math.ceil(pace.head_seen / count)))
    rate = pace.head_rate if is_head else pace.rate
    is_transformer = ground.backbone.is_transformer
    rung = Rung(
        name, frozen, steps, batch,
        learning_rate=rate,
        stage_rate=pace.transformer_rate if is_transformer else None,
        decay=pace.transformer_decay if is_transformer else pace.decay,
        views=min(most, passes),
    )  # fmt: skip
    if rung.views * view_bytes <= ground.cached_bytes:
        return rung
    return replace(rung, features="live", views=passes if most > 1 else 1)


def batch_of(ground: Ground, frozen: int) -> int:
    """Samples in a step, at most all: fewer where each is several frames or windows."""
    batch, count = ground.task.pace.batch, len(ground.dataset.split("train"))
    stages, parts = len(ground.backbone.stages), 1.0
    if ground.backbone.frames and frozen < stages - 1:
        parts = float(ground.backbone.frames)
    preprocessing = ground.backbone.preprocessing
    if isinstance(preprocessing, TextPreprocessing) and frozen < stages:
        parts = max(1.0, _mean_tokens(ground) / preprocessing.max_tokens)
    return min(count, max(min(batch, LEAST_BATCH), int(batch / parts)))


def bytes_a_view(ground: Ground, frozen: int) -> int:
    """Bytes of one sample's activations at a cut, one byte a number."""
    tokens = math.ceil(_mean_tokens(ground))
    shapes = ground.cut(frozen).shapes
    return sum(math.prod(tokens if n == -1 else n for n in shape) for shape in shapes)


def _mean_tokens(ground: Ground) -> float:
    """Of a training text, as far as it is read; 1 for what is none."""
    if ground.backbone.modality != "text":
        return 1.0
    return mean_tokens([str(s.source) for s in ground.dataset.split("train")], ground.backbone)


@final
@dataclass(frozen=True)
class Plan:
    """How a rung would be trained, and what that would cost.

    Attributes:
        rung: what would be trained.
        byte_count: of its activations, one byte a number.
        seconds: estimated, by a trial.
        over_budget: whether it would take more than is left.
        why: of all this, in words.
    """

    rung: Rung
    byte_count: int
    seconds: float
    over_budget: bool
    why: str

    def to_json(self) -> Facts:
        """As it stands in report.json."""
        return {
            "rung": self.rung.name,
            "features": self.rung.features,
            "bytes": self.byte_count,
            "seconds_estimated": self.seconds,
            "why": self.why,
            "over_budget": self.over_budget,
        }


def make_plan(ground: Ground, name: str, start: dict[str, np.ndarray], spent_s: float) -> Plan:
    """How a rung would be trained, from bytes and counts; what it would cost, by a trial.

    Args:
        ground: what is shared.
        name: of the rung.
        start: tensors that it would begin with.
        spent_s: what was spent of the budget.
    """
    rung = make_rung(ground, name)
    count = len(ground.dataset.split("train"))
    byte_count = count * rung.views * bytes_a_view(ground, rung.frozen)

    def compute() -> Outcome:
        return Outcome({"seconds": _seconds_of(ground, rung, start)}, {})

    inputs = inputs_of(ground, {"rung": asdict(rung)})
    seconds: Any = ground.run.step(f"plan-{name}", inputs, compute).facts["seconds"]
    over = ground.budget_s is not None and spent_s + seconds > ground.budget_s
    fits = "fit" if rung.features == "cached" else "do not fit"
    why = (
        f"{rung.views} views of {count} samples are {_megabytes(byte_count)} at this cut and "
        f"{fits} into {_megabytes(ground.cached_bytes)}; about {seconds:.0f} s"
    )
    if over:
        why = (
            f"{name} needs about {seconds:.0f} s more, and {spent_s:.0f} s of the budget of "
            f"{ground.budget_s:.0f} s are spent"
        )
    return Plan(rung, byte_count, seconds, over, why)


def _megabytes(byte_count: int) -> str:
    """In words; two digits at least, so that what does not fit is not said to be 0 MB in 0 MB."""
    number = byte_count / 1e6
    return f"{number:.0f} MB" if number >= 10 else f"{number:.2g} MB"


def _seconds_of(ground: Ground, rung: Rung, start: dict[str, np.ndarray]) -> float:
    """How long a rung would take, by a trial with a batch of its own samples."""
    from regraft.transfer.fit import seconds_a_step

    train, some = ground.dataset.split("train"), trial_samples(ground, rung.batch)
    cut, engine = ground.cut(rung.frozen), ground.engine(rung.frozen)
    rows: Features | LiveFeatures = LiveFeatures(some, cut, engine, [View()])
    picture_s = seconds_a_picture(ground, rung.frozen, train[:TRIED])
    pictures = ground.missing(ground.dataset.split("valid"), rung.frozen)
    if rung.features == "cached":
        # As it will be, one after the other: what is computed here need not be again, what is
        # there costs nothing.
        some, views = train[: rung.batch], ground.views(rung.views)
        rows = ground.activations(some, rung.frozen, views)
        if rows.computed:
            picture_s = rows.seconds / rows.computed
        pictures += ground.missing(train, rung.frozen, views)
    tail = tail_of(ground, rung.frozen, start)
    step_s = seconds_a_step(rung, tail, ground.task, some, rows)
    return step_s * rung.steps + picture_s * pictures


def trial_samples(ground: Ground, count: int) -> Sequence[Sample]:
    """So many training samples, drawn as a step draws them.

    Tiles that follow each other come from one decoding, and would cost less than in the training.
    """
    train = ground.dataset.split("train")
    order_n = generator(ground.seed, "trial").permutation(len(train))
    return [train[n] for n in order_n[:count]]


def seconds_a_picture(ground: Ground, frozen: int, some: Sequence[Sample]) -> float:
    """Measured time of decoding one of some pictures and running it through the frozen part."""
    rows = LiveFeatures(some, ground.cut(frozen), ground.engine(frozen), [View()])
    rows.rows(np.arange(len(some)))  # the first call opens the engine
    began = time.perf_counter()
    rows.rows(np.arange(len(some)))
    return (time.perf_counter() - began) / len(some)
