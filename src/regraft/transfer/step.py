"""A rung that was climbed: what is kept of it, and what it says of any samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from regraft.dataset import Sample
from regraft.events import Measured
from regraft.store import Outcome
from regraft.tasks.measure import Estimate
from regraft.tasks.task import Answers
from regraft.transfer.features import Features, LiveFeatures
from regraft.transfer.ground import Facts, Ground, tail_of
from regraft.transfer.lexicon import Lexicon

Answerer = Callable[[Features | LiveFeatures, Sequence[Sample]], Answers]


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


@final
@dataclass(frozen=True)
class Cost:
    """What a rung took.

    Attributes:
        features_s: seconds until activations were there.
        total_s: seconds of all of it.
        memory_bytes: the peak of it.
    """

    features_s: float
    total_s: float
    memory_bytes: int

    def seconds(self) -> Facts:
        """As they stand in report.json."""
        train_s = self.total_s - self.features_s
        return {"features": self.features_s, "train": train_s, "total": self.total_s}


def rung_entry(
    name: str,
    frozen: int,
    parameters: int,
    metric: Estimate | None = None,
    cost: Cost | None = None,
) -> Facts:
    """What all entries in report.json say: of rungs, climbed or not, and of what stands beside.

    Args:
        name: of the rung.
        frozen: stages left of the cut.
        parameters: how many numbers are trained.
        metric: on the validation split; None where it was not climbed.
        cost: likewise.
    """
    return {
        "name": name,
        "frozen_stages": frozen,
        "trainable_parameters": parameters,
        "metric": metric and metric.to_json(),
        "seconds": cost and cost.seconds(),
        "peak_memory_bytes": cost and cost.memory_bytes,
    }


def announce(ground: Ground, step: Step) -> None:
    """Tell what was measured."""
    metric = step.facts["metric"]
    ground.tell(
        Measured(step.facts["name"], metric["name"], metric["value"], metric["low"], metric["high"])
    )


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
