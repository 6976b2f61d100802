"""The pool as a masked-language training takes it: windows to learn from, and words to guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from regraft.dataset import Sample
from regraft.errors import DataError, UsageError
from regraft.events import Tell, silent
from regraft.pretraining.examples import Example, examples
from regraft.pretraining.held import HELD_TOKENS, held_out
from regraft.pretraining.masking import Packed, Windows, packed, windows_of
from regraft.pretraining.objective import Job
from regraft.pretraining.settings import MaskedSettings
from regraft.seeds import generator, seed_of


@final
@dataclass(frozen=True)
class Texts:
    """What is learnt from, and what is measured on.

    Attributes:
        windows: of the texts that are learnt from.
        held: some that are held out, masked once and for all.
        examples: of these, to be looked at.
    """

    windows: Windows
    held: Packed
    examples: list[Example]

    @classmethod
    def prepared(cls, settings: MaskedSettings, job: Job, length: int) -> Texts:
        """The pool, divided, tokenised and masked.

        Args:
            settings: of the objective.
            job: its samples, its tokenizer, its seed.
            length: tokens of a window at most.

        Raises:
            DataError: there is too little text.
            UsageError: a batch has no room for a window.
        """

        def cut(samples: Sequence[Sample], tell: Tell) -> Windows:
            return windows_of([str(s.source) for s in samples], job.backbone, length, tell)

        learn, held = held_out(job.samples, job.seed)
        windows, held_windows = cut(learn, job.tell), cut(held, silent)
        if len(windows) >= 2 and len(held_windows):
            _check_room(windows, settings.batch)
            order_w = generator(job.seed, "held").permutation(len(held_windows))
            few = order_w[np.cumsum(held_windows.whole_w[order_w]) <= max(HELD_TOKENS, length)]
            seed = seed_of(job.seed, "held")
            masked = packed(held_windows, few, length, seed, 0, settings.whole_words)
            if len(masked.masked_m):
                return cls(windows, masked, examples(held_windows, job.seed))
        raise DataError("There is too little text.", mend="give more texts, or longer ones")


def _check_room(windows: Windows, batch: int) -> None:
    """Refuse batches that have no room for a window: most steps would be empty."""
    longest = int(windows.whole_w.max())
    if batch < longest:
        raise UsageError(
            f"a batch of {batch} tokens has no room for a text of {longest}",
            where="--batch",
            mend=f"give {longest} or more (it counts tokens, not texts), or a smaller --tokens",
        )
