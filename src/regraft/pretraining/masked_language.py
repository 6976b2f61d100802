"""The masked-language objective: words of a text are hidden, and the network guesses them.

Decisions:

- Rows hold several windows and hardly any padding; a token sees its own window only
  (`masking.py`). Logits are computed where a word is to be guessed, and nowhere else.
- An encoder without a head for words gets one tied to its word vectors. It is trained first, with
  the encoder frozen, from hidden states that are computed once; then both together. That is the
  ladder's rule: a head that knows nothing yet would distort the encoder with its first gradients.
- Some of the pool is held out (`held.py`). Loss and accuracy on it are those of words that are to
  be guessed, the same ones each time.
- Products are computed in bfloat16 where the processor is faster so (`transfer/products.py`), also
  those of guesses that are measured.
- A second text that has nothing to do with the pool says what the network forgets, where it came
  with a head for words (`general.py`).

r: rows, l: tokens in a row, m: masked tokens, d: width, v: words known.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from regraft.backbones import Backbone, Network, TextPreprocessing, build
from regraft.backbones.catalogue import DEFAULT_TEXT
from regraft.backbones.network import read_safetensors
from regraft.backbones.text_encoder import HEAD
from regraft.backbones.text_families import token_states, word_table
from regraft.dataset import Dataset, Sample, read_unlabelled_texts
from regraft.dataset.unlabelled import recognises_texts
from regraft.errors import DataError, UsageError
from regraft.events import Said, Tell
from regraft.pretraining.examples import Example, filled
from regraft.pretraining.general import General
from regraft.pretraining.masking import Packed, packed, pieces
from regraft.pretraining.objective import Control, Job, Learner, Point
from regraft.pretraining.settings import MaskedSettings
from regraft.pretraining.texts import Texts
from regraft.pretraining.word_head import WordHead, fit, guessed
from regraft.seeds import generator, seed_of
from regraft.store import Outcome
from regraft.transfer.ahead import Ahead
from regraft.transfer.cut import Cut
from regraft.transfer.loop import array
from regraft.transfer.products import rounded

WEIGHT_DECAY = 0.01
BETAS = (0.9, 0.98)
HEAD_BATCHES = 120
HEAD_SHARE = 0.1
"""Of a budget: what training the head alone may take."""
MADE = HEAD + "made"
"""Stands beside a head that was made on a pool, and did not come with the encoder."""


_UNMEASURED = "by a head that did not come with the encoder it is not measured what it forgets"


@final
@dataclass(frozen=True)
class MaskedLanguage:
    """Hidden words are to be guessed; see the head of this file."""

    settings: MaskedSettings = field(default_factory=MaskedSettings)
    name: str = "masked-language"
    modality: str = "text"
    unit: str = "tokens"
    watched: str = ""
    clip_s: float | None = None

    def recognises(self, path: Path) -> bool:
        """See `Objective`."""
        return recognises_texts(path)

    def starting_from(self, backbone: str | None) -> str:
        """See `Objective`."""
        return backbone or DEFAULT_TEXT

    def read(self, path: Path, apart_from: Sequence[Sample], max_bad: float, tell: Tell) -> Dataset:
        """See `Objective`."""
        pool = read_unlabelled_texts(
            path, column=self.settings.column or "", apart_from=apart_from,
            keep_leaks=self.settings.keep_duplicates, max_bad=max_bad, tell=tell,
        )  # fmt: skip
        if not len(pool):
            raise DataError(
                "Every text is one of the judge's.",
                where=path,
                mend="give others, or --keep-duplicates",
            )
        return pool

    def sized(self, backbone: Backbone) -> Backbone:
        """The same backbone.

        Raises:
            UsageError: it takes no texts, reads fewer tokens, or there is a general text that it
                cannot be measured by.
        """
        longest = _preprocessing(backbone).max_tokens
        if (self.settings.tokens or 0) > longest:
            raise UsageError(
                f"{backbone.name} reads texts of at most {longest} tokens",
                where="--tokens",
                mend=f"give {longest} or fewer",
            )
        if self.settings.general and not _comes_with_head(backbone):
            raise UsageError(
                f"{backbone.name} came without a head for words, so it is not measured what it "
                "forgets",
                where="--general",
                mend="leave it out, or start from an encoder that comes with such a head",
            )
        return backbone

    def open(self, job: Job) -> Learner:
        """See `Objective`."""
        return Cloze(self.settings, job)

    def control(self) -> Control | None:
        """See `Objective`."""
        return None


@final
class Cloze:
    """One masked-language training."""

    def __init__(self, settings: MaskedSettings, job: Job) -> None:
        self.settings = settings
        self._job = job
        self._length = settings.tokens or _preprocessing(job.backbone).max_tokens
        self._texts = Texts.prepared(settings, job, self._length)
        self._network = build(job.backbone, random_seed=job.seed if job.from_scratch else None)
        self._cut = Cut(job.backbone, job.frozen)
        self._cut.freeze(self._network)
        vocabulary = len(self._table)
        self._general: General | None = None
        self._made = job.from_scratch or not _comes_with_head(job.backbone)
        self._count_v = np.bincount(self._texts.windows.id_n, minlength=vocabulary)[:vocabulary]
        self._head = WordHead(self._table, self._count_v, job.seed)
        self._total = int(self._texts.windows.whole_w.sum())
        self._size = min(settings.batch, self._total)
        self._order: tuple[int, np.ndarray, np.ndarray] | None = None
        self._ahead = Ahead(self._batch)
        self._bf16 = job.in_bfloat16(settings.bf16)
        self._begin_head()

    @property
    def network(self) -> Network:
        """See `Learner`."""
        return self._network

    @property
    def cut(self) -> Cut:
        """See `Learner`."""
        return self._cut

    @property
    def steps_an_epoch(self) -> int:
        """See `Learner`."""
        return max(1, self._total // self._size)

    def groups(self) -> list[dict[str, Any]]:
        """Norms and biases do not decay, as in BERT."""
        trained = [p for p in (*self._network.parameters(), *self._head.parameters())
                   if p.requires_grad]  # fmt: skip
        common: dict[str, Any] = {"lr": self.settings.learning_rate, "betas": BETAS}
        flat = [p for p in trained if p.ndim < 2]
        square = [p for p in trained if p.ndim >= 2]
        return [
            {**common, "params": some, "weight_decay": decay}
            for some, decay in ((square, WEIGHT_DECAY), (flat, 0.0))
            if some
        ]

    def backward(self, step: int) -> float:
        """See `Learner`."""
        batch = self._ahead.of(step)
        self._network.train()
        total, count = 0.0, max(1, len(batch.masked_m))
        for part in pieces(batch, self.settings.piece):
            loss, _ = self._guess(part)
            (loss.sum() / count).backward()
            total += loss.detach().sum().item()
        return total / count

    def stepped(self, step: int) -> None:
        """See `Learner`; nothing moves without gradients."""

    def named(self, step: int) -> str:
        """See `Learner`."""
        return f"the batch of step {step + 1}, which begins with window {self._picked(step)[0]}"

    def amount(self, step: int) -> int:
        """See `Learner`: tokens that are text."""
        return int(self._texts.windows.whole_w[self._picked(step)].sum())

    def state(self) -> dict[str, Tensor]:
        """See `Learner`."""
        named = self._network.tensors()
        mine = {name: named[name] for stage in self._cut.backbone.stages[self._cut.frozen :]
                for name in stage.tensors}  # fmt: skip
        return mine | self.extras()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See `Learner`."""
        with torch.no_grad():
            for name, tensor in self.state().items():
                tensor.copy_(tensors[name])

    def measure(self) -> Point:
        """See `Learner`: on what is held out."""
        return {f"held_{name}": value for name, value in self._score(self._texts.held).items()}

    def check(self, points: Sequence[Point], share: float) -> None:
        """See `Learner`; there is nothing that must stop it."""

    def findings(self) -> dict[str, Any]:
        """Loss and accuracy, on what is held out and on the general text; words filled in."""
        held = self._texts.held
        share_v = (self._count_v + 1) / (self._count_v + 1).sum()
        usual = {
            "loss": float(-np.log(share_v[held.truth_m]).mean()),
            "accuracy": float((held.truth_m == self._count_v.argmax()).mean()),
        }
        return {
            "held_out": self._score(held),
            "unigram": usual,
            "general": self._forgotten(),
            "examples": self._filled(),
            "bf16": self._bf16,
            "tokens": {
                "pool": self._total, "held_out": held.tokens, "held_masked": len(held.masked_m),
                "general": self._general.batch.tokens if self._general else 0,
            },
        }  # fmt: skip

    def extras(self) -> dict[str, Tensor]:
        """See `Learner`: the head, so that a later pre-training goes on with it."""
        head = {HEAD + name: parameter for name, parameter in self._head.named_parameters()}
        return head | ({MADE: torch.ones(1)} if self._made else {})

    def close(self) -> None:
        """See `Learner`."""
        self._ahead.close()

    # What is learnt -------------------------------------------------------------------------------

    @property
    def _table(self) -> Tensor:
        return word_table(self._network.stages[0])

    def _states(self, batch: Packed) -> Tensor:
        """Hidden states (m, d) where words are to be guessed."""
        id_rl, place_rl, text_rl = (
            torch.from_numpy(some.astype(np.int64))
            for some in (batch.id_rl, batch.place_rl, batch.window_rl)
        )
        with rounded(self._network, self._bf16):
            x_rld = token_states(self._network.stages, id_rl, place_rl, text_rl, self._cut.frozen)
        return x_rld.flatten(0, 1)[torch.from_numpy(batch.masked_m)]

    def _guess(self, batch: Packed) -> tuple[Tensor, Tensor]:
        """Loss of each masked token, and the logits (m, v)."""
        truth_m = torch.from_numpy(batch.truth_m)
        return guessed(self._head, self._states(batch), truth_m, self._bf16)

    def _frozen(self, batches: Iterable[Packed]) -> list[tuple[Tensor, Tensor]]:
        """Hidden states where words are to be guessed, without gradients, and what stands there."""
        self._network.eval()
        with torch.no_grad():
            return [
                (
                    torch.cat([self._states(part) for part in pieces(batch, self.settings.piece)]),
                    torch.from_numpy(batch.truth_m),
                )
                for batch in batches
                if len(batch.masked_m)
            ]

    def _forgotten(self) -> dict[str, Any] | None:
        """Loss and accuracy on the general text; None where they would be those of a new head."""
        if self._general is None:
            return None
        return {**self._score(self._general.batch), "source": self._general.source}

    def _score(self, batch: Packed) -> dict[str, float]:
        """Loss and accuracy of guessing, without gradients."""
        self._network.eval()
        loss, right = 0.0, 0
        with torch.no_grad():
            for part in pieces(batch, self.settings.piece):
                loss_m, logits_mv = self._guess(part)
                loss += loss_m.sum().item()
                hit_m = logits_mv.argmax(dim=1) == torch.from_numpy(part.truth_m)
                right += int(hit_m.sum().item())
        count = max(1, len(batch.masked_m))
        return {"loss": loss / count, "accuracy": right / count}

    def _filled(self) -> list[dict[str, Any]]:
        def guess(example: Example) -> np.ndarray:
            with torch.no_grad():
                return self._guess(example.batch)[1].float().softmax(dim=1).numpy()

        self._network.eval()
        return [
            filled(example, guess(example), self._job.backbone) for example in self._texts.examples
        ]

    # Batches --------------------------------------------------------------------------------------

    def _picked(self, step: int) -> np.ndarray:
        """Which windows a step sees: each epoch a new order, so many tokens of it at a time."""
        epoch, place = divmod(step, self.steps_an_epoch)
        order = self._order  # held here: another thread may ask for another epoch
        if order is None or order[0] != epoch:
            order_w = generator(self._job.seed, "order", "pretrain", epoch).permutation(
                len(self._texts.windows)
            )
            step_w = (np.cumsum(self._texts.windows.whole_w[order_w]) - 1) // self._size
            order = self._order = epoch, order_w, step_w
        _, order_w, step_w = order
        some = order_w[step_w == place]
        return some if len(some) else order_w[:1]

    def _batch(self, step: int) -> Packed:
        return self._masked(step, self._job.seed)

    def _masked(self, step: int, seed: int) -> Packed:
        some, whole_words = self._picked(step), self.settings.whole_words
        return packed(self._texts.windows, some, self._length, seed, step, whole_words)

    # Before the first step ------------------------------------------------------------------------

    def _begin_head(self) -> None:
        """A head that comes with the weights, or one that is trained now, on frozen states."""
        if self._job.from_scratch:
            return
        names = {HEAD + name for name, _ in self._head.named_parameters()}
        there = read_safetensors(self._job.backbone.weights, names)
        if there:
            self._head.put({name.removeprefix(HEAD): tensor for name, tensor in there.items()})
            if self._made:
                self._job.tell(Said("the head for words was made by an earlier pre-training"))
                self._job.tell(Said(_UNMEASURED))
            else:
                self._general = General.read(self.settings, self._job, self._length)
            return
        plan: Any = self._job.memo("head-plan", self._head_plan).facts
        self._job.tell(Said("the encoder has no head for words: one is trained first"))
        self._job.tell(Said(_UNMEASURED))
        learnt = self._job.memo("head", lambda: self._trained_head(plan["batches"])).tensors
        self._head.put({name: torch.from_numpy(some.copy()) for name, some in learnt.items()})

    def _head_plan(self) -> Outcome:
        """How many batches the head alone is trained on."""
        most = min(HEAD_BATCHES, self.steps_an_epoch)
        if self._job.budget_s is None:
            return Outcome({"batches": most})
        began = time.perf_counter()
        self._trained_head(1)
        bought = int(HEAD_SHARE * self._job.budget_s / (time.perf_counter() - began))
        return Outcome({"batches": max(1, min(most, bought))})

    def _trained_head(self, batches: int) -> Outcome:
        """A head that was trained alone on batches of the pool, the encoder being frozen."""
        seed = seed_of(self._job.seed, "head")
        kept = self._frozen(self._masked(step, seed) for step in range(batches))
        head = WordHead(self._table.detach(), self._count_v, self._job.seed)
        fit(head, kept, self._bf16)
        return Outcome({}, {name: array(p) for name, p in head.named_parameters()})


def _comes_with_head(backbone: Backbone) -> bool:
    """Whether it has a head for words that was not made on a pool."""
    bias = HEAD + "bias"
    return set(read_safetensors(backbone.weights, {bias, MADE})) == {bias}


def _preprocessing(backbone: Backbone) -> TextPreprocessing:
    if not isinstance(backbone.preprocessing, TextPreprocessing):
        raise UsageError(
            f"{backbone.name} takes no texts",
            where="--backbone",
            mend="choose a backbone for texts: regraft backbones list",
        )
    return backbone.preprocessing
