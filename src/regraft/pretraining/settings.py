"""What a person may choose about a pre-training, objective by objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from regraft.errors import UsageError

FEW_STEPS = 20
"""With fewer nothing can be told; a user hears so."""
QUEUE, MOMENTUM = 4096, 0.99
"""What a queue has unless told otherwise; the momentum is that of MoCo v3 (Chen et al. 2021)."""


class AnySettings(Protocol):
    """What the settings of every objective have: a frozen dataclass, all of it with defaults."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def epochs(self) -> int:
        """Passes over the pool, where no budget says otherwise."""
        ...

    @property
    def keep_duplicates(self) -> bool:
        """Let copies of the judge's samples stay in the pool; they are reported all the same."""
        ...


@dataclass(frozen=True)
class Settings:
    """Of contrastive pre-training.

    Attributes:
        batch: pictures or clips in a batch; each gives two views.
        piece: pictures or frames that the network sees at once; larger batches are made of pieces.
            None is as many as `PIECE_BYTES` of memory hold, 256 at most.
        size_px: side of a tile; None is the backbone's own.
        clip_s: videos that are longer are cut into clips of this length; None cuts none.
        frames: of each view of a clip; None is what the backbone looks at.
        pairs: of a clip: its two halves, or, as a control, the same moment twice.
        epochs: passes over the pool, where no budget says otherwise.
        learning_rate: at its highest.
        temperature: of the loss.
        negatives: "batch", or "queue": those of past batches too, as a slow copy of the network
            saw them (MoCo).
        queue: how many past keys are kept: 4,096 unless told otherwise; None without a queue.
        momentum: share of itself that the slow copy keeps in each step: 0.99 unless told otherwise;
            None without a queue.
        bf16: compute products in bfloat16; None does where the processor is faster so.
        keep_duplicates: let copies of the judge's samples stay in the pool.
    """

    batch: int = 256
    piece: int | None = None
    size_px: int | None = None
    epochs: int = 100
    learning_rate: float = 1e-3
    temperature: float = 0.1
    negatives: Literal["batch", "queue"] = "batch"
    queue: int | None = None
    momentum: float | None = None
    bf16: bool | None = None
    keep_duplicates: bool = False
    clip_s: float | None = None
    frames: int | None = None
    pairs: Literal["halves", "same-moment"] = "halves"

    @property
    def is_for_clips(self) -> bool:
        """Whether something was chosen that only videos have."""
        return (self.clip_s, self.frames, self.pairs) != (None, None, "halves")

    def __post_init__(self) -> None:
        if self.negatives == "queue":
            object.__setattr__(self, "queue", QUEUE if self.queue is None else self.queue)
            share = MOMENTUM if self.momentum is None else self.momentum
            object.__setattr__(self, "momentum", share)
        _refuse(
            (self.batch < 2, f"batch {self.batch}", "a batch of 2 or more"),
            (self.piece is not None and self.piece < 1, f"piece {self.piece}", "one or more"),
            (self.epochs < 1, f"epochs {self.epochs}", "at least one epoch"),
            (self.queue is not None and self.queue < 1, f"queue {self.queue}", "one key or more"),
            (not self.learning_rate > 0, f"learning rate {self.learning_rate}", "a rate above 0"),
            (not self.temperature > 0, f"temperature {self.temperature}", "a temperature above 0"),
            (not 0 <= (self.momentum or 0) < 1, f"momentum {self.momentum}", "0 to below 1"),
            (self.frames is not None and self.frames < 2, f"frames {self.frames}", "two or more"),
            (self.clip_s is not None and not self.clip_s > 0, f"clip {self.clip_s}", "above 0 s"),
            (self.size_px is not None and self.size_px < 16, f"size {self.size_px}", "16 or more"),
            (self.pairs not in ("halves", "same-moment"), "pairs", "halves or same-moment"),
            (self.negatives not in ("batch", "queue"), "negatives", "batch or queue"),
        )
        if self.negatives == "batch" and (self.queue, self.momentum) != (None, None):
            what = "a momentum" if self.queue is None else f"a queue of {self.queue} keys"
            raise UsageError(
                f"{what} was asked for, and negatives of the batch alone",
                where="pretrain",
                mend="ask for negatives of a queue (--negatives queue), or leave that out",
            )


@dataclass(frozen=True)
class MaskedSettings:
    """Of masked-language pre-training.

    Attributes:
        batch: tokens in a batch, padding not counted.
        piece: tokens that the network sees at once; larger batches are made of pieces.
        tokens: of a text's window at most; None is as many as the backbone reads.
        epochs: passes over the pool, where no budget says otherwise.
        learning_rate: at its highest.
        whole_words: words are hidden as a whole or not at all.
        bf16: compute products in bfloat16; None does where the processor is faster so.
        general: texts by which forgetting is measured; None takes those that come with Python.
        column: of a table, the one with the texts; None finds it.
        keep_duplicates: let copies of the judge's samples stay in the pool.
    """

    batch: int = 4096
    piece: int = 4096
    tokens: int | None = None
    epochs: int = 3
    learning_rate: float = 3e-4
    whole_words: bool = False
    bf16: bool | None = None
    general: str | None = None
    column: str | None = None
    keep_duplicates: bool = False

    def __post_init__(self) -> None:
        _refuse(
            (self.batch < 1, f"batch {self.batch}", "one token or more"),
            (self.piece < 1, f"piece {self.piece}", "one token or more"),
            (self.epochs < 1, f"epochs {self.epochs}", "at least one epoch"),
            (not self.learning_rate > 0, f"learning rate {self.learning_rate}", "a rate above 0"),
            (self.tokens is not None and self.tokens < 8, f"tokens {self.tokens}", "8 or more"),
        )


def _refuse(*rules: tuple[bool, str, str]) -> None:
    """Raise for those that are broken: whether, what was chosen, what can be."""
    broken = [(chosen, possible) for is_broken, chosen, possible in rules if is_broken]
    if broken:
        raise UsageError(
            f"these settings cannot be: {', '.join(chosen for chosen, _ in broken)}",
            where="pretrain",
            mend="; ".join(f"instead of {chosen} give {possible}" for chosen, possible in broken),
        )
