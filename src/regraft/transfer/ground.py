"""What every rung stands on, and what decides the outcome of its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.backbones import Backbone
from regraft.dataset import Dataset, Sample, View
from regraft.events import Tell
from regraft.store import Run, digest
from regraft.tasks.task import Task
from regraft.transfer import sources
from regraft.transfer.cut import Cut
from regraft.transfer.engine import Engine
from regraft.transfer.features import Features, features, missing
from regraft.transfer.head import HeadData
from regraft.transfer.held_out import HeldOut
from regraft.transfer.lexicon import Words, subsample
from regraft.transfer.packing import Storage

if TYPE_CHECKING:
    from regraft.transfer.fit import Tail

Facts = dict[str, Any]
"""What goes into the journal and report.json."""

CACHED_BYTES = 4 * 10**9
"""Activations of a rung that need more than this are computed live."""

HEAD_BYTES = 2**28
"""What vectors of several views may take. A probe takes about four times as much."""


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
        penalty: of a convex head; chosen by cross-validation if None.
        reads_words: whether a convex head reads the words of texts beside their vectors.
        known_words: those that were asked for, by the data set's fingerprint and the sha256 of the
            backbone: they are laid out as long as its vectors.
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
    penalty: float | None = None
    reads_words: bool = False
    known_words: dict[tuple[str, str], Words] = field(
        default_factory=dict[tuple[str, str], Words], compare=False
    )

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

    def head_data(
        self, learn: Sequence[Sample], held: Sequence[Sample]
    ) -> tuple[HeadData, np.ndarray, int]:
        """What a convex head is fitted on.

        Returns:
            it, such rows of `held`, and how many vectors were computed.
        """
        frozen, computed = len(self.backbone.stages), 0
        x_knd = np.empty((0, 0, 0))
        assert not self.reads_words or self.head_views == 1, "texts have no views"
        if (count := self.views_of_head(len(learn))) > 1:
            table = self.activations(learn, frozen, self.views(count))  # decodes each picture once
            x_knd = np.empty((count, len(learn), self.backbone.width), np.float32)
            for k in range(count):
                (x_knd[k],) = table.rows(np.arange(len(learn)), k)
            computed = table.computed
        table = self.activations([*learn, *held], frozen)
        x_nd = self._with_words(table.rows(np.arange(len(learn) + len(held)))[0], [*learn, *held])
        x_knd = x_knd if count > 1 else x_nd[None, : len(learn)]
        data = HeadData(x_knd, self.training_targets(learn), learn, self.penalty)
        return data, x_nd[len(learn) :], computed + table.computed

    def vectors(self, samples: Sequence[Sample]) -> np.ndarray:
        """X_nd of plain views, as the frozen network gives them."""
        return self.activations(samples, len(self.backbone.stages)).rows(np.arange(len(samples)))[0]

    def words(self) -> Words:
        """The words of the training texts; found once."""
        key = self.dataset.fingerprint(), self.backbone.sha256
        if key not in self.known_words:
            some = subsample(self.dataset.split("train"))
            self.known_words[key] = Words(some, self.vectors(some))
        return self.known_words[key]

    def _with_words(self, x_nd: np.ndarray, samples: Sequence[Sample]) -> np.ndarray:
        """Rows that a convex head reads, from vectors: of texts their words stand beside them."""
        return self.words().beside(x_nd, samples) if self.reads_words else x_nd

    def head_weights(self, head: Any, words: Words | None = None) -> dict[str, np.ndarray]:
        """The tensors of a step from a head on `head_data`.

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

    def views(self, count: int) -> list[View]:
        """So many views of each sample to learn from; the first is the plain one."""
        return [replace(self.task.augmented, index=k) for k in range(count)]

    def missing(
        self, samples: Sequence[Sample], frozen: int, views: Sequence[View] = (View(),)
    ) -> int:
        """How many of these activations the cache lacks."""
        cut, engine, storage = self.cut(frozen), self.kept_by(frozen), self._storage(frozen)
        return missing(samples, cut, engine, views, storage=storage, tell=self.tell)

    def _storage(self, frozen: int) -> Storage:
        last = frozen == len(self.backbone.stages)
        return "float32" if last and self.task.convex else "uint8"

    def training_targets(self, samples: Sequence[Sample]) -> Any:
        """Targets to learn from; samples are measured by `task.targets`."""
        targets = self.task.targets(samples)
        for row, sample in enumerate(samples if self.soft else ()):
            targets[row] = self.soft.get(sample.id, targets[row])
        return targets

    def held_out(self, samples: Sequence[Sample]) -> HeldOut:
        """Samples to measure on, by the labels that they have."""
        return HeldOut.of(self.task, samples, self.seed)

    @cached_property
    def validation(self) -> HeldOut:
        """The validation split, on which rungs are measured and compared."""
        return self.held_out(self.dataset.split("valid"))


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


def inputs_of(ground: Ground, more: Facts) -> Facts:
    """What a step's outcome depends on.

    Of the code what decides activations: with others, an earlier step would not fit the next.
    """
    return {
        "code": sources.code(),
        "data": ground.dataset.fingerprint(),
        "backbone": ground.backbone.sha256,
        "recipe": repr(ground.backbone.recipe),
        "preprocessing": repr(ground.backbone.preprocessing),
        "seed": ground.seed,
        **({"soft": digest_of(dict(ground.soft))} if ground.soft else {}),
        **more,
    }


def head_facts(ground: Ground) -> Facts:
    """What makes a convex head another one, besides what `inputs_of` knows."""
    return {
        "rung": "head",
        **({"views": ground.head_views} if ground.head_views > 1 else {}),
        **({} if ground.penalty is None else {"penalty": ground.penalty}),
        **({"words": sources.code(sources.WORDS)} if ground.reads_words else {}),
    }


def digest_of(weights: dict[str, np.ndarray]) -> str:
    """The same for the same arrays under the same names."""
    return digest(*(part for name in sorted(weights) for part in (name, weights[name].tobytes())))
