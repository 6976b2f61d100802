"""The head that guesses hidden words: one layer, then the encoder's own word vectors.

The head of BERT (Devlin et al. 2019), which RoBERTa and DistilBERT share: a linear layer, GELU, a
layer norm, and the product with the table of word vectors ("tied": Press & Wolf, "Using the output
embedding to improve language models", 2017), with a bias for each word.

m: masked tokens, d: width, v: words known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regraft.seeds import seed_of

PASSES, RATE = 3, 3e-3
"""Of a head that is trained alone."""
SPREAD = 0.25
"""Of a new head's logits, about: its first guesses are then nearly those of the word counts.

With norm weights of 1, a head on MiniLM, whose word vectors are 1.07 long, begins 0.7 nats worse
than the counts, and 24 steps do not make up for it.
"""


@final
class WordHead(nn.Module):
    """Hidden states (m, d) to logits (m, v).

    Args:
        table: the encoder's word vectors (v, d); it stays the encoder's.
        count_v: how often each word occurs in the pool: the head starts out guessing by that.
        seed: of the run.
    """

    def __init__(self, table: Tensor, count_v: np.ndarray, seed: int) -> None:
        super().__init__()
        vocabulary, width = table.shape
        self._table = [table]  # in a list, so that it is no parameter of this module
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, "word head"))
            self.dense = nn.Linear(width, width)
            nn.init.normal_(self.dense.weight, 0.0, 0.02)
            nn.init.zeros_(self.dense.bias)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        length = table.detach().float().norm(dim=1).mean().item()
        nn.init.constant_(self.norm.weight, min(1.0, SPREAD / max(length, 1e-6)))
        share_v = (count_v[:vocabulary] + 1) / (count_v[:vocabulary] + 1).sum()
        self.bias = nn.Parameter(torch.from_numpy(np.log(share_v).astype(np.float32)))

    def forward(self, x_md: Tensor) -> Tensor:
        """See the class."""
        x_md = self.norm(F.gelu(self.dense(x_md)))
        return F.linear(x_md, self._table[0], self.bias)

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a head that is there: its parameters by name."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(tensors[name])


def guessed(head: WordHead, x_md: Tensor, truth_m: Tensor, bf16: bool) -> tuple[Tensor, Tensor]:
    """Loss of each masked token (m,), and the logits (m, v).

    Args:
        head: that guesses.
        x_md: hidden states where words are to be guessed.
        truth_m: what stands there.
        bf16: compute the product in bfloat16.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits_mv = head(x_md)
    return F.cross_entropy(logits_mv.float(), truth_m.long(), reduction="none"), logits_mv


def fit(head: WordHead, kept: Sequence[tuple[Tensor, Tensor]], bf16: bool) -> None:
    """Train a head alone, some passes over hidden states of a frozen encoder.

    Args:
        head: that is trained; gradients stay in its table, if that takes any.
        kept: hidden states (m, d) and what stands there (m,), batch by batch.
        bf16: see `guessed`.
    """
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=0.0)
    steps = PASSES * len(kept)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        optimiser.zero_grad(set_to_none=True)
        guessed(head, *kept[step % len(kept)], bf16)[0].mean().backward()
        optimiser.step()
