"""The climb: head first, then more and more of the network, each step measured.

Every rung starts from the best one so far (a head that reads words gives way to one on the vectors
alone), is measured on the same validation samples, and is
compared with the best so far by a paired test. The climb stops when two rungs in a row bring no
gain outside the noise, when even a perfect rung could bring none, or when the next would exceed the
budget. The test split is touched once, by the chosen rung.

What decides the bits of the result (steps, views, cached or live) depends on the data and the
network alone, never on a clock; only `budget_s` brings in measured time, and the cache's
limit the space on this disk. What they decided is journalled, so a run that was killed goes on as
it began.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.backbones import Backbone, TextPreprocessing
from regraft.dataset import Dataset, Sample, View
from regraft.errors import UsageError
from regraft.events import Measured, Said, Tell
from regraft.store import Checkpoint, Outcome, Run, digest
from regraft.tasks import measure
from regraft.tasks.task import Answers, Task
from regraft.transfer import sources
from regraft.transfer.cache import limit_bytes
from regraft.transfer.cut import Cut, frozen_stages
from regraft.transfer.engine import Engine
from regraft.transfer.features import Features, LiveFeatures, features, missing
from regraft.transfer.head import HeadLessons
from regraft.transfer.lexicon import RANK, Lexicon, Words, drawn, reads_words
from regraft.transfer.meter import PeakMemory
from regraft.transfer.packing import Storage
from regraft.transfer.tokens import mean_tokens

if TYPE_CHECKING:
    from regraft.transfer.fit import Rung, Tail

Facts = dict[str, Any]
"""What goes into the journal and report.json."""
Answerer = Callable[[Features | LiveFeatures, Sequence[Sample]], Answers]

DEPTHS = (1, 2, 4, 8, 16, 32)
PATIENCE = 2
"""The climb stops after so many rungs in a row without a gain. One alone says little: on 200
handwritten digits the last stage brings 3 points, within noise, the last two bring 8."""

CACHED_BYTES = 4 * 10**9
"""Activations of a rung that need more than this are computed live."""

HEAD_BYTES = 2**28
"""What vectors of several views may take. A probe takes about four times as much."""

VIEWS, FEWEST_VIEWS = 4, 2
"""Different views of each picture, at most and at least; index 0 is always the plain one."""

_FITTED = ("head.weight", "head.bias", "words.weight")
"""Tensors of a convex head whose numbers were fitted."""

TRIED = 8
"""Pictures by which it is measured how long one takes."""

LEAST_BATCH = 4
"""Samples of a step, however many frames or windows each is."""


@dataclass(frozen=True)
class Ground:
    """What every rung stands on.

    Attributes:
        run: where steps are memoised.
        dataset: with splits.
        backbone: described.
        task: what is learnt.
        engine: frozen leading stages -> what serves them.
        seed: of every random choice.
        budget_s: seconds for all rungs together; None is no limit.
        tell: who listens.
        soft: by sample id, chances of the classes to learn from instead of the label.
        cached_bytes: activations of a rung that need more than this are computed live.
        head_views: of each training sample that a convex head is fitted on.
        reads_words: whether a convex head reads the words of texts beside their vectors.
        known_words: those of the data sets that were asked for, by fingerprint.
    """

    run: Run
    dataset: Dataset
    backbone: Backbone
    task: Task[Any]
    engine: Callable[[int], Engine]
    seed: int
    budget_s: float | None
    tell: Tell
    soft: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    cached_bytes: int = CACHED_BYTES
    head_views: int = 1
    reads_words: bool = False
    known_words: dict[str, Words] = field(default_factory=dict[str, "Words"], compare=False)

    def cut(self, frozen: int) -> Cut:
        """The cut after so many stages."""
        return Cut(self.backbone, frozen)

    def activations(
        self, samples: Sequence[Sample], frozen: int, views: Sequence[View] = (View(),)
    ) -> Features:
        """Activations at a cut, from the cache or into it."""
        cut, engine, storage = self.cut(frozen), self.kept_by(frozen), self._storage(frozen)
        return features(samples, cut, engine, views, storage=storage, tell=self.tell)

    def kept_by(self, frozen: int) -> Engine:
        """The engine that computes what is kept for this cut."""
        return self.engine(self.cut(frozen).kept.frozen)

    def head_lessons(
        self, learn: Sequence[Sample], held: Sequence[Sample]
    ) -> tuple[HeadLessons, np.ndarray, int]:
        """What a convex head is fitted on.

        Returns:
            the lessons, such rows of `held`, and how many vectors were computed.
        """
        frozen, computed = len(self.backbone.stages), 0
        x_knd = np.empty((0, 0, 0))
        assert not self.reads_words or self.head_views == 1, "texts have no views"
        if (views := self.views_of_head(len(learn))) > 1:
            drawn = [replace(self.task.augmented, index=k) for k in range(views)]
            table = self.activations(learn, frozen, drawn)  # decodes each picture once
            x_knd = np.empty((views, len(learn), self.backbone.width), np.float32)
            for k in range(views):
                (x_knd[k],) = table.rows(np.arange(len(learn)), k)
            computed = table.computed
        table = self.activations([*learn, *held], frozen)
        x_nd = self._with_words(table.rows(np.arange(len(learn) + len(held)))[0], [*learn, *held])
        x_knd = x_knd if views > 1 else x_nd[None, : len(learn)]
        lessons = HeadLessons(x_knd, self.lessons(learn), learn)
        return lessons, x_nd[len(learn) :], computed + table.computed

    def vectors(self, samples: Sequence[Sample]) -> np.ndarray:
        """X_nd of plain views, as the frozen network gives them."""
        return self.activations(samples, len(self.backbone.stages)).rows(np.arange(len(samples)))[0]

    def words(self) -> Words:
        """The words of the training texts; found once."""
        name = self.dataset.fingerprint()
        if name not in self.known_words:
            some = drawn(self.dataset.split("train"))
            self.known_words[name] = Words(some, self.vectors(some))
        return self.known_words[name]

    def _with_words(self, x_nd: np.ndarray, samples: Sequence[Sample]) -> np.ndarray:
        """Rows that a convex head reads, from vectors: of texts their words stand beside them."""
        return self.words().beside(x_nd, samples) if self.reads_words else x_nd

    def head_weights(self, head: Any, words: Words | None = None) -> dict[str, np.ndarray]:
        """The tensors of a step from a head on `head_lessons`.

        Args:
            head: what `Task.fit_head` gave.
            words: that it was fitted on, where these are not the ground's own.
        """
        width = self.backbone.width
        found = {"head.weight": head.weight_cd[:, :width], "head.bias": head.bias_c}
        if not self.reads_words:
            return found
        words = words or self.words()
        return found | words.folded(head.weight_cd[:, width:]).tensors()

    def views_of_head(self, count: int) -> int:
        """Of each of so many samples: as asked, as far as their vectors stay in memory."""
        return max(1, min(self.head_views, HEAD_BYTES // (4 * self.backbone.width * count)))

    def missing(
        self, samples: Sequence[Sample], frozen: int, views: Sequence[View] = (View(),)
    ) -> int:
        """How many of these activations the cache lacks."""
        cut, engine, storage = self.cut(frozen), self.kept_by(frozen), self._storage(frozen)
        return missing(samples, cut, engine, views, storage=storage, tell=self.tell)

    def _storage(self, frozen: int) -> Storage:
        last = frozen == len(self.backbone.stages)
        return "float32" if last and self.task.convex else "uint8"

    def lessons(self, samples: Sequence[Sample]) -> Any:
        """Targets to learn from; samples are measured by `task.targets`."""
        targets = self.task.targets(samples)
        for row, sample in enumerate(samples if self.soft else ()):
            targets[row] = self.soft.get(sample.id, targets[row])
        return targets

    def weights(self, samples: Sequence[Sample]) -> np.ndarray:
        """Bootstrap weights over samples; groups are drawn together."""
        return measure.bootstrap_weights([sample.group for sample in samples], self.seed)


@dataclass(frozen=True)
class Step:
    """A rung that was climbed: what report.json says of it, and what it learnt.

    Attributes:
        facts: the rung's entry in report.json.
        weights: tensors right of the cut, and the head's as "head.…".
        answers: on the validation split.
    """

    facts: Facts
    weights: dict[str, np.ndarray]
    answers: Answers

    @property
    def frozen(self) -> int:
        """Stages left of the cut."""
        return self.facts["frozen_stages"]

    @staticmethod
    def of(outcome: Outcome) -> Step:
        """From a memoised step."""
        return Step(
            outcome.facts, under("weights", outcome.tensors), under("valid", outcome.tensors)
        )

    @staticmethod
    def outcome(facts: Facts, weights: dict[str, np.ndarray], answers: Answers) -> Outcome:
        """As a memoised step."""
        tensors = {f"weights.{name}": array for name, array in weights.items()}
        return Outcome(facts, tensors | {f"valid.{name}": a for name, a in answers.items()})


def under(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those whose names begin with a prefix and a dot, without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): array for n, array in tensors.items() if n.startswith(start)}


@dataclass(frozen=True)
class Climbed:
    """All rungs, the chosen one, and why others were not climbed."""

    steps: tuple[Step, ...]
    best: Step
    entries: tuple[Facts, ...]
    plan: tuple[Facts, ...] = field(default=())


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
    frozen_stages(train, stages, "ladder, head, ")  # refuses what there is not
    return ["head", train]


def climb(ground: Ground, names: Sequence[str], *, stops: bool = True) -> Climbed:
    """Climb the named rungs while it pays and the budget lasts.

    Args:
        ground: what is shared.
        names: of the rungs, see `rung_names`.
        stops: after two in a row without a gain, and where none could be shown. What was asked for
            by name is tried all the same.
    """
    valid = ground.dataset.split("valid")
    targets = ground.task.targets(valid)
    weights_rn = ground.weights(valid)
    steps: list[Step] = []
    entries: list[Facts] = []
    plans: list[Facts] = []
    best: Step | None = None
    vain: list[str] = []
    why_not = ""
    for name in names:
        if why_not:
            entries.append(_skipped(ground, name, why_not))
            continue
        if best is None and ground.task.convex:
            step = _head(ground, targets, weights_rn)
        elif best is None:
            step = _trained_head(ground, targets, weights_rn)
        else:
            plan = _plan(ground, name, best, entries)
            plans.append(plan)
            if plan["over_budget"]:
                why_not = plan["why"]
                entries.append(_skipped(ground, name, why_not))
                continue
            step = _deeper(ground, name, plan, best, targets, weights_rn)
        verdict, why = _judge(ground, step, best, targets, weights_rn)
        entries.append(step.facts | {"verdict": verdict, "why": why})
        steps.append(step)
        ground.tell(Said(f"{name}: {verdict}. {why}"))
        vain = [] if verdict == "kept" else [*vain, name]
        if verdict == "kept":
            best = step
            why_not = _nothing_to_show(ground, best, targets, weights_rn) if stops else ""
        elif len(vain) == PATIENCE and stops:
            why_not = f"the climb stopped: {' and '.join(vain)} brought no gain"
    assert best is not None
    return Climbed(tuple(steps), best, tuple(entries), tuple(plans))


def _head(ground: Ground, targets: Any, weights_rn: np.ndarray) -> Step:
    """The first rung: a probe on cached vectors, and of texts on their words. It needs no torch."""
    frozen = len(ground.backbone.stages)
    train, valid = ground.dataset.split("train"), ground.dataset.split("valid")

    def compute() -> Outcome:
        memory, start = PeakMemory.since_now(), time.perf_counter()
        cut = ground.cut(frozen)
        before = cut.fingerprint()
        lessons, held_nd, computed = ground.head_lessons(train, valid)
        features_s = time.perf_counter() - start
        probe = lessons.fit(ground.task, ground.seed)
        answers = {"logits": probe.logits(held_nd).astype(np.float32)}
        score = ground.task.score(answers, targets)
        metric = measure.estimate(ground.task.metric_name, score, weights_rn)
        total_s = time.perf_counter() - start
        weights = ground.head_weights(probe)
        fitted = [weights[name].size for name in _FITTED if name in weights]
        facts: Facts = {
            "name": "head",
            "frozen_stages": frozen,
            "trainable_parameters": sum(fitted),
            "metric": metric.to_json(),
            "seconds": {"features": features_s, "train": total_s - features_s, "total": total_s},
            "peak_memory_bytes": memory.bytes(),
            "features": "cached",
            "frozen_intact": cut.fingerprint() == before,
            "views": len(lessons.x_knd),
            "computed": computed,
            "penalty": probe.penalty,
        }
        if ground.reads_words:
            facts["words"] = weights["words.weight"].shape[1]
        return Step.outcome(facts, weights, answers)

    count, asked = len(train), ground.head_views
    if (views := ground.views_of_head(count)) < asked:
        ground.tell(
            Said(
                f"the head learns from {views} of {asked} views: the vectors of more, of "
                f"{count:,} samples, exceed {HEAD_BYTES // 10**6:,} MB"
            )
        )
    step = Step.of(ground.run.step("head", inputs_of(ground, head_facts(ground)), compute))
    announce(ground, step)
    return step


def _trained_head(ground: Ground, targets: Any, weights_rn: np.ndarray) -> Step:
    """The first rung where a head is no convex problem: the loop trains it from cached values."""
    rung = make_rung(ground, "head")
    inputs = inputs_of(ground, {"rung": asdict(rung)})

    def compute() -> Outcome:
        return fine_tune(ground, "head", rung, {}, inputs, targets, weights_rn)

    step = Step.of(ground.run.step("head", inputs, compute))
    announce(ground, step)
    return step


def _plan(ground: Ground, name: str, best: Step, entries: Sequence[Facts]) -> Facts:
    """How a rung would be trained, from bytes and counts; what it would cost, by a trial."""
    rung = make_rung(ground, name)
    count = len(ground.dataset.split("train"))
    byte_count = count * rung.views * bytes_a_view(ground, rung.frozen)

    def compute() -> Outcome:
        return Outcome({"seconds": _seconds_of(ground, rung, best)}, {})

    inputs = inputs_of(ground, {"rung": asdict(rung)})
    seconds: Any = ground.run.step(f"plan-{name}", inputs, compute).facts["seconds"]
    spent = seconds_spent(entries)
    over = ground.budget_s is not None and spent + seconds > ground.budget_s
    fits = "fit" if rung.features == "cached" else "do not fit"
    why = (
        f"{rung.views} views of {count} samples are {_megabytes(byte_count)} at this cut and "
        f"{fits} into {_megabytes(ground.cached_bytes)}; about {seconds:.0f} s"
    )
    if over:
        why = (
            f"about {seconds:.0f} s more would exceed the budget of {ground.budget_s:.0f} s, "
            f"of which {spent:.0f} s are spent"
        )
    return {
        "rung": name,
        "features": rung.features,
        "bytes": byte_count,
        "seconds_estimated": seconds,
        "why": why,
        "over_budget": over,
    }


def _megabytes(byte_count: int) -> str:
    """In words; two digits at least, so that what does not fit is not said to be 0 MB in 0 MB."""
    number = byte_count / 1e6
    return f"{number:.0f} MB" if number >= 10 else f"{number:.2g} MB"


def _seconds_of(ground: Ground, rung: Rung, best: Step) -> float:
    """How long a rung would take, by a trial with a batch of its own samples."""
    from regraft.transfer.fit import seconds_a_step

    some = ground.dataset.split("train")[: rung.batch]
    cut, engine = ground.cut(rung.frozen), ground.engine(rung.frozen)
    rows: Features | LiveFeatures = LiveFeatures(some, cut, engine, [View()])
    picture_s = seconds_a_picture(ground, rung.frozen)
    pictures = ground.missing(ground.dataset.split("valid"), rung.frozen)
    if rung.features == "cached":
        # As it will be: what is computed here need not be again, what is there costs nothing.
        views = views_of(ground, rung)
        rows = ground.activations(some, rung.frozen, views)
        if rows.computed:
            picture_s = rows.seconds / rows.computed
        pictures += ground.missing(ground.dataset.split("train"), rung.frozen, views)
    tail = tail_of(ground, rung.frozen, _start_of(ground, best))
    step_s = seconds_a_step(rung, tail, ground.task, some, rows)
    return step_s * rung.steps + picture_s * pictures


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
    most = 1 if ground.backbone.modality == "text" else VIEWS
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
    if count * rung.views * bytes_a_view(ground, rung.frozen) <= ground.cached_bytes:
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


def _deeper(
    ground: Ground,
    name: str,
    plan: Facts,
    best: Step,
    targets: Any,
    weights_rn: np.ndarray,
) -> Step:
    """Train more of the network, from the best rung so far."""
    rung, step_name = make_rung(ground, name), f"rung-{name}"
    start = _start_of(ground, best)
    inputs = inputs_of(ground, {"rung": asdict(rung), "start": digest_of(start)})

    def compute() -> Outcome:
        return fine_tune(ground, step_name, rung, start, inputs, targets, weights_rn)

    step = Step.of(ground.run.step(step_name, inputs, compute))
    announce(ground, step)
    return step


def _start_of(ground: Ground, best: Step) -> dict[str, np.ndarray]:
    """What a deeper rung begins with: for a head that reads words, one on the vectors alone."""
    if not reads_words(best.weights):
        return best.weights
    plain, train = replace(ground, reads_words=False), ground.dataset.split("train")

    def compute() -> Outcome:
        lessons, _, _ = plain.head_lessons(train, ())
        return Outcome({}, plain.head_weights(lessons.fit(ground.task, ground.seed)))

    tensors = ground.run.step(
        "head-on-vectors", inputs_of(plain, head_facts(plain)), compute
    ).tensors
    return {name: np.asarray(array) for name, array in tensors.items()}


def fine_tune(
    ground: Ground,
    step: str,
    rung: Rung,
    start: dict[str, np.ndarray],
    inputs: Facts,
    targets: Any,
    weights_rn: np.ndarray,
) -> Outcome:
    """Train one rung from `start` and measure it; the frozen part is hashed before and after.

    Args:
        ground: what is shared.
        step: of the run, which this is computed for with these `inputs`. The state of the training
            is kept under its name and goes with it, when the outcome is on disk.
        rung: what is trained, and how.
        start: tensors right of the cut and of the head; of a head alone that, or none.
        inputs: of the step.
        targets: of the validation samples.
        weights_rn: of the same, see `Ground.weights`.
    """
    from regraft.transfer.fit import answers, train

    memory, began = PeakMemory.since_now(), time.perf_counter()
    learn, valid = ground.dataset.split("train"), ground.dataset.split("valid")
    tail = tail_of(ground, rung.frozen, start, None if rung.pretrained else ground.seed)
    cut = ground.cut(rung.frozen)
    before = cut.certify(tail.network)
    views = views_of(ground, rung)
    if rung.features == "cached":
        rows = ground.activations(learn, rung.frozen, views)
    else:
        rows = LiveFeatures(learn, cut, ground.engine(rung.frozen), views)
    held = ground.activations(valid, rung.frozen)
    features_s = time.perf_counter() - began
    checkpoint = ground.run.checkpoint(step, inputs)
    earlier_s = _seconds_before(checkpoint, tail.trained_in)
    criterion = ground.task.criterion(ground.lessons(learn), views)
    loop = train(rung, tail, criterion, rows, len(learn), ground.seed, checkpoint)
    with closing(loop) as events:
        for event in events:
            ground.tell(event)
    found = answers(tail, ground.task, held, valid)
    score = ground.task.score(found, targets)
    metric = measure.estimate(ground.task.metric_name, score, weights_rn)
    # What steps took before this process began counts, too.
    total_s = time.perf_counter() - began + earlier_s
    facts: Facts = {
        "name": rung.name,
        "frozen_stages": rung.frozen,
        "trainable_parameters": sum(p.numel() for p in tail.parameters() if p.requires_grad),
        "metric": metric.to_json(),
        "seconds": {"features": features_s, "train": total_s - features_s, "total": total_s},
        "peak_memory_bytes": memory.bytes(),
        "features": rung.features,
        "frozen_intact": cut.certify(tail.network) == before,
        "trained_in": tail.trained_in,
        "views": rung.views,
        "steps": rung.steps,
    }
    return Step.outcome(facts, tail.snapshot(), found)


def _seconds_before(checkpoint: Checkpoint, trained_in: str) -> float:
    """What steps took in processes that were interrupted, computing as this one does.

    On a processor that computes otherwise the training begins anew.
    """
    state = checkpoint.load()
    if state is not None and state.facts["trained_in"] != trained_in:
        checkpoint.clear()
        state = None
    seconds: Any = state.facts["seconds"] if state else 0.0
    return seconds


def views_of(ground: Ground, rung: Rung) -> list[View]:
    """The views of each sample that a rung trains on; the first is the plain one."""
    return [replace(ground.task.augmented, index=k) for k in range(rung.views)]


def final_answers(ground: Ground, step: Step, samples: Sequence[Sample]) -> Answers:
    """What a climbed rung says about plain views of any samples."""
    return answerer(ground, step)(ground.activations(samples, step.frozen), samples)


def final_vectors(ground: Ground, step: Step, samples: Sequence[Sample]) -> np.ndarray:
    """Vectors_nd that the head of a climbed rung is given for plain views of any samples."""
    rows = ground.activations(samples, step.frozen)
    if step.frozen == len(ground.backbone.stages) and ground.task.convex:
        (x_nd,) = rows.rows(np.arange(len(samples)))
        return x_nd
    from regraft.transfer.fit import vectors

    tail = tail_of(ground, step.frozen, step.weights)
    return vectors(tail, rows, len(samples))


def answerer(ground: Ground, step: Step) -> Answerer:
    """What gives answers of a climbed rung on activations of samples at its cut.

    The network is built once, for as many tables as are asked.
    """
    if step.frozen == len(ground.backbone.stages) and ground.task.convex:
        lexicon = Lexicon.of(step.weights)

        def by_product(table: Features | LiveFeatures, samples: Sequence[Sample]) -> Answers:
            (x_nd,) = table.rows(np.arange(len(samples)))
            logits_nc = x_nd @ step.weights["head.weight"].T + step.weights["head.bias"]
            if lexicon is not None:
                logits_nc = logits_nc + lexicon.logits([str(sample.source) for sample in samples])
            return {"logits": logits_nc.astype(np.float32)}

        return by_product
    from regraft.transfer.fit import answers

    tail = tail_of(ground, step.frozen, step.weights)
    return lambda table, samples: answers(tail, ground.task, table, samples)


def _judge(
    ground: Ground,
    step: Step,
    best: Step | None,
    targets: Any,
    weights_rn: np.ndarray,
) -> tuple[str, str]:
    """The verdict on a rung against the best before it, and why."""
    if best is None:
        return "kept", f"the first rung{_also_read(ground)}"
    gap = measure.compare(
        ground.task.score(step.answers, targets),
        ground.task.score(best.answers, targets),
        weights_rn,
    )
    why = f"{points(gap)} against {best.facts['name']} (p = {gap.p:.3f})"
    if gap.p >= measure.NOISE:
        return "no gain", f"{why}: within noise"
    return ("kept", why) if gap.value > 0 else ("worse", why)


def _also_read(ground: Ground) -> str:
    """What the head reads besides the vector of the last stage."""
    levels = ["earlier stages"] if ground.backbone.recipe.levels else []
    words = ["words"] if ground.reads_words else []
    also = " and ".join(levels + words)
    return f"; it reads {also}, too" if also else ""


def tail_of(
    ground: Ground, frozen: int, weights: dict[str, np.ndarray], random_seed: int | None = None
) -> Tail:
    """The network with these weights right of the cut, frozen left of it."""
    from regraft.backbones import build
    from regraft.transfer.fit import Tail

    network = build(ground.backbone, random_seed=random_seed)
    cut = ground.cut(frozen)
    head = ground.task.head(ground.backbone, ground.seed, pretrained=random_seed is None)
    tail = Tail(network, cut, head)
    tail.restore(weights)
    cut.freeze(network)
    return tail


def head_facts(ground: Ground) -> Facts:
    """What makes a convex head another one, besides what `inputs_of` knows."""
    return {
        "rung": "head",
        **({"views": ground.head_views} if ground.head_views > 1 else {}),
        **({"words": RANK} if ground.reads_words else {}),
    }


def inputs_of(ground: Ground, more: Facts) -> Facts:
    """What a step's outcome depends on.

    Of the code what decides activations: with others, an earlier step would not fit the next.
    """
    return {
        "code": sources.code(),
        "data": ground.dataset.fingerprint(),
        "backbone": ground.backbone.sha256,
        "recipe": repr(ground.backbone.recipe),
        **_windows(ground.backbone),
        "seed": ground.seed,
        **({"soft": digest_of(dict(ground.soft))} if ground.soft else {}),
        **more,
    }


def _windows(backbone: Backbone) -> Facts:
    """What of a text is read, where that is not the same for all backbones of these weights."""
    preprocessing = backbone.preprocessing
    if not isinstance(preprocessing, TextPreprocessing):
        return {}
    return {"windows": preprocessing.windows, "overlap": preprocessing.overlap}


def digest_of(weights: dict[str, np.ndarray]) -> str:
    """The same for the same arrays under the same names."""
    return digest(*(part for name in sorted(weights) for part in (name, weights[name].tobytes())))


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


def seconds_a_picture(ground: Ground, frozen: int, count: int = TRIED) -> float:
    """Measured time of decoding a picture and running it through the frozen part."""
    some = ground.dataset.split("train")[:count]
    rows = LiveFeatures(some, ground.cut(frozen), ground.engine(frozen), [View()])
    rows.rows(np.arange(len(some)))  # the first call opens the engine
    began = time.perf_counter()
    rows.rows(np.arange(len(some)))
    return (time.perf_counter() - began) / len(some)


def check_budget(budget_s: float | None) -> None:
    """Raise UsageError where a budget leaves no time; None is no limit."""
    if budget_s is not None and not budget_s > 0:
        raise UsageError("the budget is not positive", where="--budget", mend="for example 10m")


def seconds_spent(entries: Sequence[Facts]) -> float:
    """What the rungs that were climbed took together."""
    return sum(e["seconds"]["total"] for e in entries if e["seconds"])


def _skipped(ground: Ground, name: str, why: str) -> Facts:
    rung = make_rung(ground, name)
    return {
        "name": name,
        "frozen_stages": rung.frozen,
        "trainable_parameters": sum(s.parameters for s in ground.backbone.stages[rung.frozen :])
        + ground.task.head_parameters(ground.backbone),
        "metric": None,
        "seconds": None,
        "peak_memory_bytes": None,
        "features": rung.features,
        "frozen_intact": None,
        "verdict": "skipped",
        "why": why,
    }


def announce(ground: Ground, step: Step) -> None:
    """Tell what was measured."""
    metric = step.facts["metric"]
    ground.tell(
        Measured(step.facts["name"], metric["name"], metric["value"], metric["low"], metric["high"])
    )


def _nothing_to_show(ground: Ground, best: Step, targets: Any, weights_rn: np.ndarray) -> str:
    """Why no rung can be kept after this one, whatever it answers; empty where one can."""
    name, metric = best.facts["name"], measure.spoken(ground.task.metric_name)
    gap = measure.compare(_faultless, ground.task.score(best.answers, targets), weights_rn)
    if gap.p < measure.NOISE:
        return ""
    if gap.value == 0:
        return f"{name} has 100 % {metric} on the validation split"
    return (
        f"even 100 % {metric} on the validation split would be {points(gap)} ahead of {name}, "
        f"within noise (p = {gap.p:.3f})"
    )


def _faultless(weights_rn: np.ndarray) -> np.ndarray:
    """The score of right answers, which is 1 whatever the metric."""
    return np.ones(len(weights_rn))


def points(gap: measure.Difference) -> str:
    """A difference and its interval, for people."""
    if gap.value == gap.low == gap.high == 0:
        return "no difference"  # an interval without width would look like certainty
    return f"{100 * gap.value:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
