"""The judge: labelled samples that say whether a pre-training helps.

A linear probe and nearest neighbours on the valid split follow a training; start against result on
the test split is the verdict, by the paired test that the ladder uses.

Legend: n samples, d dimensions, c classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np

from regraft.backbones import Backbone
from regraft.dataset import Dataset, Sample
from regraft.pretraining.neighbours import Embedder, NeighbourMap
from regraft.pretraining.quality import neighbour_labels
from regraft.seeds import generator
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.tasks.probe import Probe
from regraft.transfer.held_out import HeldOut
from regraft.wording import metric_name, percent, plural, points

if TYPE_CHECKING:
    from regraft.backbones import Network
    from regraft.pretraining.judge_tuned import Tuned

PROBED = 1000
"""Samples of each split, at most, that the probe looks at while a training goes on."""

FEW_HELD = 20
"""With fewer groups of samples to measure on, no difference says next to nothing."""


@dataclass(frozen=True)
class ProbeResult:
    """Features of the judge's samples, of all splits, and the probe's answers on the held ones."""

    x_nd: np.ndarray
    logits_nc: np.ndarray


@final
class Evaluator:
    """Measures a network on labelled samples: nearest neighbours and a linear probe.

    The test split is looked at only by `evaluate`, for the verdict.
    """

    def __init__(self, labelled: Dataset, backbone: Backbone, seed: int) -> None:
        self.dataset = labelled
        self.task = Classification.of(labelled)
        self.seed = seed
        self.train, self.valid = labelled.split("train"), labelled.split("valid")
        self.test = labelled.split("test")
        self._embedder = Embedder(backbone)

    @property
    def held(self) -> tuple[Sample, ...]:
        """What the verdict is measured on."""
        return self.test or self.valid

    @cached_property
    def held_out(self) -> HeldOut:
        """The same with what is right for them."""
        return HeldOut.of(self.task, self.held, self.seed)

    def features(self, network: Network, samples: Sequence[Sample]) -> np.ndarray:
        """Vectors_nd of plain views."""
        return self._embedder.features(network, samples)

    def probe(self, network: Network) -> dict[str, float]:
        """The task's metric on the valid split: a linear probe's and the nearest neighbours'."""
        train, valid = self._some(self.train), self._some(self.valid)
        x_nd = self.features(network, [*train, *valid])
        count = len(train)
        label_n = self.labels(train)
        logits_nc = self._fitted(train, x_nd[:count], x_nd[count:])
        near_n = neighbour_labels(x_nd[:count], label_n, x_nd[count:])
        near_nc = np.eye(len(self.task.classes))[near_n]
        target_nc, once = self.task.targets(valid), np.ones((1, len(valid)))
        return {
            name: float(self.task.score({"logits": said_nc}, target_nc)(once)[0])
            for name, said_nc in (("probe", logits_nc), ("neighbours", near_nc))
        }

    def evaluate(self, network: Network) -> ProbeResult:
        """Features of the train and held samples, and answers on the held ones."""
        x_nd = self.features(network, [*self.train, *self.held])
        count = len(self.train)
        return ProbeResult(x_nd, self._fitted(self.train, x_nd[:count], x_nd[count:]))

    def _some(self, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        if len(samples) <= PROBED:
            return samples
        order_n = generator(self.seed, "probed", len(samples)).permutation(len(samples))
        return tuple(samples[i] for i in np.sort(order_n[:PROBED]))

    def labels(self, samples: Sequence[Sample]) -> np.ndarray:
        """Their classes, by number."""
        return self.task.targets(samples).argmax(axis=1)

    def head(self, network: Network, samples: Sequence[Sample]) -> Probe:
        """A linear head on the frozen vectors of some labelled samples."""
        return self._head(samples, self.features(network, samples))

    def _head(self, samples: Sequence[Sample], x_nd: np.ndarray) -> Probe:
        groups = [sample.group for sample in samples]
        return self.task.fit_head(x_nd, self.task.targets(samples), groups, self.seed)

    def _fitted(
        self, samples: Sequence[Sample], x_nd: np.ndarray, held_md: np.ndarray
    ) -> np.ndarray:
        return self._head(samples, x_nd).logits(held_md)


def not_judged(things: str) -> dict[str, Any]:
    """The verdict of a pre-training without a judge."""
    text = f"Not judged; add --judge with labelled {things}."
    return {"answer": "not judged", "before": None, "after": None, "p": None, "text": text}


def verdict(
    evaluator: Evaluator, before: ProbeResult, after: ProbeResult, tuned: Tuned | None
) -> dict[str, Any]:
    """Start against result, frozen and fine-tuned, by the paired test that the ladder uses.

    "answer", "before", "after" and "p" are those of the frozen networks; "fine_tuned" has the same
    of the fine-tuned ones, or is None where they were not.
    """
    frozen = compared(evaluator, before.logits_nc, after.logits_nc)
    text, moved = f"A linear head on the frozen result has {_said(frozen)}.", None
    if tuned is not None:
        moved = compared(evaluator, tuned.before_nc, tuned.after_nc) | tuned.facts
        trained = f"{moved['steps']} steps, {moved['samples']} samples"
        text = f"{text} Fine-tuned ({trained}) it has {_said(moved)}."
    held = evaluator.held_out
    if held.groups < FEW_HELD:
        of = f" of {plural(held.groups, 'group')}" if held.groups < len(held.samples) else ""
        text = f"The judge measures on {len(held.samples)} samples{of}, which show little. {text}"
    return {**frozen, "fine_tuned": moved, "text": text}


def _said(found: dict[str, Any]) -> str:
    first, last = found["before"], found["after"]
    told = gap(found)
    if not told.startswith(found["answer"]):  # else both are "no difference"
        told = f"{found['answer']}, {told}"
    return (
        f"{percent(last['value'])} {metric_name(last['name'])} on the judge's {found['split']} "
        f"split, the start {percent(first['value'])}: {told}"
    )


def gap(found: dict[str, Any]) -> str:
    """The difference that `compared` found, its interval and p, for people."""
    return points(**found["difference"], p=found["p"])


def compared(evaluator: Evaluator, old_nc: np.ndarray, new_nc: np.ndarray) -> dict[str, Any]:
    """Two sets of answers on the held samples: the paired test, as report.json has it."""
    held, old, new = evaluator.held_out, {"logits": old_nc}, {"logits": new_nc}
    gap = held.compare(new, old)
    answer = "helped" if gap.value > 0 else "hurt"
    if gap.p >= measure.NOISE:
        answer = "no difference"
    return {
        "answer": answer,
        "before": held.measured(old).to_json(),
        "after": held.measured(new).to_json(),
        "p": gap.p,
        "difference": {"value": gap.value, "low": gap.low, "high": gap.high},
        "split": "test" if evaluator.test else "valid",
    }


def neighbour_map(evaluator: Evaluator, before: ProbeResult, after: ProbeResult) -> NeighbourMap:
    """The held samples among the training samples."""
    count, looked = len(evaluator.train), {"before": before.x_nd, "after": after.x_nd}
    return NeighbourMap(
        evaluator.held, evaluator.train, {when: x_nd[count:] for when, x_nd in looked.items()},
        {when: x_nd[:count] for when, x_nd in looked.items()}, tuple(evaluator.task.classes),
        evaluator.labels(evaluator.held), evaluator.labels(evaluator.train),
    )  # fmt: skip
