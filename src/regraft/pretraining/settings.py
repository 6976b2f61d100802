"""What a person may choose about a pre-training, objective by objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regraft.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """Of contrastive pre-training.

    Attributes:
        batch: pictures in a batch; each gives two tiles.
        piece: pictures that the network sees at once; larger batches are made of pieces.
        size_px: side of a tile; None is the backbone's own.
        epochs: passes over the pool, where no budget says otherwise.
        learning_rate: at its highest.
        temperature: of the loss.
        negatives: "batch", or "queue": those of past batches too.
        queue: how many past keys are kept.
        bf16: compute the network in bfloat16.
        keep_duplicates: let copies of the judge's samples stay in the pool.
    """

    batch: int = 256
    piece: int = 256
    size_px: int | None = None
    epochs: int = 100
    learning_rate: float = 1e-3
    temperature: float = 0.1
    negatives: Literal["batch", "queue"] = "batch"
    queue: int = 4096
    bf16: bool = False
    keep_duplicates: bool = False

    def __post_init__(self) -> None:
        positive = {"batch": self.batch, "piece": self.piece, "epochs": self.epochs}
        wrong = [f"{name} {value}" for name, value in positive.items() if value < 1]
        wrong += ["batch 1"] if self.batch == 1 else []
        wrong += [f"size {self.size_px}"] if self.size_px is not None and self.size_px < 16 else []
        wrong += ["negatives"] if self.negatives not in ("batch", "queue") else []
        if wrong:
            raise UsageError(
                f"these settings cannot be: {', '.join(wrong)}",
                where="pretrain",
                mend="give a batch of 2 or more, tiles of 16 px or more, at least one epoch",
            )


AnySettings = Settings
