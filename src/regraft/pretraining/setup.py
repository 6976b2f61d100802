"""What a pre-training stands on: the answer is a function of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from regraft.backbones import Backbone
from regraft.dataset import Dataset, read_unlabelled_texts
from regraft.events import Tell
from regraft.pretraining.judge import Evaluator
from regraft.pretraining.objective import Job, Objective
from regraft.pretraining.settings import MaskedSettings
from regraft.store import Outcome, Run

FORMAT = 6
"""Raised where a training that was begun by an earlier rule must not be gone on with."""


@dataclass(frozen=True)
class Setup:
    """What a pre-training stands on.

    Attributes:
        run: where steps are memoised.
        question: all settings that decide the answer.
        objective: what is learnt.
        start: the backbone, sized.
        frozen: leading stages that stay as they are.
        pool: what is learnt from.
        evaluator: the judge's, or None.
        tell: who listens.
    """

    run: Run
    question: dict[str, Any]
    objective: Objective
    start: Backbone
    frozen: int
    pool: Dataset
    evaluator: Evaluator | None
    tell: Tell

    @property
    def seed(self) -> int:
        """Of every random choice."""
        return self.question["seed"]

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What the outcome depends on."""
        return {
            "format": FORMAT,
            "objective": self.question["objective"],
            "pool": self.pool.fingerprint(),
            "judge": self.evaluator.dataset.fingerprint() if self.evaluator else None,
            "backbone": self.start.sha256,
            "options": repr(self.start.recipe.options),
            "preprocessing": repr(self.start.preprocessing),
            "frozen": self.frozen,
            "settings": asdict(self.objective.settings),
            "seed": self.seed,
            "budget": self.question["budget"],
            **self._general(),
        }

    def _general(self) -> dict[str, str]:
        """What the texts hold by which forgetting is measured, where some were named."""
        settings = self.objective.settings
        if not isinstance(settings, MaskedSettings) or settings.general is None:
            return {}
        return {"general": read_unlabelled_texts(settings.general).fingerprint()}

    def job(self, *, from_scratch: bool = False) -> Job:
        """What the objective is opened on."""
        inputs = {**self.inputs, "from_scratch": from_scratch}

        def memo(name: str, compute: Callable[[], Outcome]) -> Outcome:
            return self.run.step(name, inputs, compute)

        def shared_memo(name: str, compute: Callable[[], Outcome]) -> Outcome:
            return self.run.step(name, {}, compute)

        frozen = 0 if from_scratch else self.frozen  # what is random is not worth keeping
        return Job(
            self.start, frozen, self.pool.samples, self.seed, memo,
            self.question["budget"], from_scratch, self.tell, shared_memo,
        )  # fmt: skip
