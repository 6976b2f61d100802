"""What an objective is: the views of a sample and the loss on a batch.

An `Objective` says what it learns from and how that is read; opened on a pool and a network it is a
`Learner`, which has the views, the loss and the measures of one training. Reading, judging, the
budget, checkpoints, resuming, the verdict and the report are the same for all and stand in
`verb.py`, `learning.py` and `judge.py`.

To add an objective, write a file with one `Objective` and one `Learner`, add its line to
`objectives.py`, and hold it to `check_objective`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from regraft.backbones import Backbone
from regraft.dataset import Dataset, Sample
from regraft.events import Tell
from regraft.machine import has_bfloat16
from regraft.pretraining.settings import AnySettings
from regraft.store import Outcome
from regraft.transfer.work import Work

if TYPE_CHECKING:
    from torch import Tensor

    from regraft.backbones import Network
    from regraft.transfer.cut import Cut

Point = dict[str, Any]
"""Measures at one step: names to numbers, and "step" and "loss"."""

Memo = Callable[[str, Callable[[], Outcome]], Outcome]
"""`memo(name, compute)`: what `compute()` gives, or gave when it was called first."""


def _anew(name: str, compute: Callable[[], Outcome]) -> Outcome:
    return compute()


@dataclass(frozen=True)
class Job:
    """What an objective is opened on.

    Attributes:
        backbone: to start from, as `Objective.sized` gave it.
        frozen: leading stages that stay as they are.
        samples: the pool.
        seed: of every random choice.
        memo: for what is done once, before the first step.
        budget_s: seconds for all of it, or None.
        from_scratch: start from random weights instead of the backbone's.
        tell: who listens.
        shared_memo: for what is done once for all trainings of a run, which are compared.
    """

    backbone: Backbone
    frozen: int
    samples: tuple[Sample, ...]
    seed: int
    memo: Memo
    budget_s: float | None
    from_scratch: bool
    tell: Tell
    shared_memo: Memo = _anew

    def in_bfloat16(self, asked: bool | None) -> bool:
        """Whether products are computed in bfloat16: as asked, else where that is faster here.

        Remembered: a run that goes on elsewhere computes as it began.
        """
        if asked is not None:
            return asked
        facts: Any = self.shared_memo("precision", lambda: Outcome({"bf16": has_bfloat16()})).facts
        return facts["bf16"]


class Learner(Work, Protocol):
    """One training: a network, a pool, the views and the loss.

    It is what `transfer.loop` trains; what is random in it is a function of the seed and the step.
    """

    @property
    def network(self) -> Network:
        """What is trained, and is the result."""
        ...

    @property
    def cut(self) -> Cut:
        """What of it is frozen."""
        ...

    @property
    def steps_an_epoch(self) -> int:
        """Steps in which each sample is seen about once."""
        ...

    def amount(self, step: int) -> int:
        """How much of `Objective.unit` a step sees."""
        ...

    def measure(self) -> Point:
        """Numbers for the curves; changes nothing."""
        ...

    def check(self, points: Sequence[Point], share: float) -> None:
        """Look at the curves, `share` (0…1) of the steps being taken; also where a run goes on.

        Raises:
            TrainingFailed: it is of no use to go on; says why.
        """
        ...

    def findings(self) -> dict[str, Any]:
        """What the report says of it besides the curves, JSON values; asked at start and end."""
        ...

    def extras(self) -> dict[str, Tensor]:
        """Tensors that are kept beside the backbone's (a head, say), by name; may be none."""
        ...

    def close(self) -> None:
        """End what it began: threads, open files."""
        ...


class Objective(Protocol):
    """What is learnt without labels, with its settings. Abstract.

    Its class is called with settings, or with none for the usual ones.
    """

    @property
    def name(self) -> str:
        """What `--objective` takes."""
        ...

    @property
    def modality(self) -> str:
        """Of the backbones that it trains: "image", "text" or "video"."""
        ...

    @property
    def unit(self) -> str:
        """What its speed is counted in: "pictures", "tokens"."""
        ...

    @property
    def watched(self) -> str:
        """The curve (more is better) whose flattening ends a training early; "" for none."""
        ...

    @property
    def settings(self) -> AnySettings:
        """What a person may choose."""
        ...

    @property
    def clip_s(self) -> float | None:
        """Of videos: longer ones, the judge's too, are cut into clips of this length; else None."""
        ...

    def recognises(self, path: Path) -> bool:
        """Whether data at a path look like what it learns from; whatever the settings are.

        Opens as little as it can.
        """
        ...

    def starting_from(self, backbone: str | None) -> str:
        """The full name of the network that was asked for; of the usual one if None was."""
        ...

    def read(self, path: Path, apart_from: Sequence[Sample], max_bad: float, tell: Tell) -> Dataset:
        """The pool, without copies of the samples in `apart_from`: each is a problem "leak".

        Where the settings say `keep_duplicates` they are reported likewise, and stay.

        Raises:
            DataError: nothing can be learnt from what lies there.
        """
        ...

    def sized(self, backbone: Backbone) -> Backbone:
        """The same weights, prepared as the settings want it.

        Raises:
            UsageError: this objective cannot train it.
        """
        ...

    def open(self, job: Job) -> Learner:
        """Begin a training."""
        ...

    def control(self) -> Control | None:
        """What `--control` trains beside it; None where there is nothing to take away."""
        ...


@dataclass(frozen=True)
class Control:
    """A training for as many steps without what an objective adds, to tell what that is worth.

    Attributes:
        objective: trained instead.
        which: "show the same moment", said of its views.
        adds: "halves": what it does without, in the plural.
    """

    objective: Objective
    which: str
    adds: str


def as_facts(point: Mapping[str, Any]) -> Point:
    """A point with numbers rounded as they stand in report.json."""
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in point.items()}
