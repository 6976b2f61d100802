"""A text that has nothing to do with the pool: by it is measured what a network forgets.

That takes a head for words that came with the encoder. One that was made here knows the pool's
words alone, so its loss on other texts may fall whatever the encoder forgets; and a head that is
fitted on some of the general text tells MiniLM hardly from random weights (5.52 and 5.54 nats, by
16,000 tokens of the language reference; guesses by word counts have 5.79).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from regraft.dataset import read_unlabelled_texts
from regraft.errors import DataError
from regraft.events import silent
from regraft.pretraining.masking import Packed, packed, windows_of
from regraft.pretraining.objective import Job
from regraft.pretraining.settings import MaskedSettings
from regraft.seeds import generator

GENERAL_TOKENS = 16_384
_SOURCE = "the Python language reference"


@final
@dataclass(frozen=True)
class General:
    """Some of a general text, masked once and for all.

    Attributes:
        source: what it is.
        batch: what is guessed in.
    """

    source: str
    batch: Packed

    @classmethod
    def read(cls, settings: MaskedSettings, job: Job, length: int) -> General:
        """The text that the settings name, or the language reference that comes with Python.

        Args:
            settings: of the objective.
            job: whose tokenizer is used.
            length: tokens of a window at most.

        Raises:
            DataError: there is too little text.
        """
        if settings.general:
            found = read_unlabelled_texts(settings.general).samples
            texts, source = [str(sample.source) for sample in found], str(settings.general)
        else:
            from pydoc_data import topics

            texts, source = list(topics.topics.values()), _SOURCE
        windows = windows_of(texts, job.backbone, length, silent)
        order_w = generator(0, "general", len(windows)).permutation(len(windows))
        few = order_w[np.cumsum(windows.whole_w[order_w]) <= max(GENERAL_TOKENS, length)]
        if len(few):
            batch = packed(windows, few, length, 0, 0, settings.whole_words)
            if len(batch.masked_m):
                return cls(source, batch)
        raise DataError(
            "There is too little general text.",
            where=source,
            mend="give longer texts with --general, or leave it out",
        )
