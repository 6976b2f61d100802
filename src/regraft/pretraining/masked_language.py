"""The masked-language objective: words of a text are hidden, and the network guesses them.

Decisions:

- Rows hold several windows and hardly any padding; a token sees its own window only
  (`masking.py`). Logits are computed where a word is to be guessed, and nowhere else.
- An encoder without a head for words gets one tied to its word vectors. It is trained first, with
  the encoder frozen, from hidden states that are computed once; then both together. That is the
  ladder's rule: a head that knows nothing yet would distort the encoder with its first gradients.
- A twentieth of the texts, but hardly more than is measured on, is held out, groups of near copies
  together.
  Loss and accuracy on it are those of words that are to be guessed, the same ones each time.
- Products are computed in bfloat16 where the processor is faster so (`transfer/products.py`), also
  those of guesses that are measured.
- A second text that has nothing to do with the pool, the same for all pools, says what the network
  forgets. Unless the user gives one, it is the language reference that comes with Python.

r: rows, l: tokens in a row, m: masked tokens, d: width, v: words known.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from regraft.backbones import Backbone, Network, TextPreprocessing, build
from regraft.backbones.catalogue import DEFAULT_TEXT
from regraft.backbones.network import read_safetensors
from regraft.backbones.text_encoder import HEAD
from regraft.backbones.text_families import token_states, word_table
from regraft.dataset import Dataset, Sample, read_unlabelled_texts
from regraft.dataset.unlabelled import recognises_texts
from regraft.errors import DataError, UsageError
from regraft.events import Said, Tell, silent
from regraft.pretraining.examples import Example, examples, filled
from regraft.pretraining.masking import Packed, Windows, packed, windows_of
from regraft.pretraining.objective import Control, Job, Learner, Point
from regraft.pretraining.settings import MaskedSettings
from regraft.pretraining.word_head import WordHead
from regraft.seeds import generator, seed_of
from regraft.store import Outcome
from regraft.transfer.ahead import Ahead
from regraft.transfer.cut import Cut
from regraft.transfer.loop import array
from regraft.transfer.products import rounded

WEIGHT_DECAY = 0.01
BETAS = (0.9, 0.98)
HELD_SHARE, HELD_TOKENS = 0.05, 32_768
HELD_BYTES = 5 * HELD_TOKENS
"""A token takes three to five; more than is measured would be neither measured nor learnt."""
GENERAL_TOKENS = 16_384
HEAD_BATCHES, HEAD_PASSES, HEAD_RATE = 120, 3, 3e-3
HEAD_SHARE = 0.1
"""Of a budget: what training the head alone may take."""
_SOURCE = "the Python language reference"


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
            UsageError: it takes no texts, or reads fewer tokens.
        """
        longest = _preprocessing(backbone).max_tokens
        if (self.settings.tokens or 0) > longest:
            raise UsageError(
                f"{backbone.name} reads texts of at most {longest} tokens",
                where="--tokens",
                mend=f"give {longest} or fewer",
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
        length = settings.tokens or _preprocessing(job.backbone).max_tokens
        learn, held = held_out(job.samples, job.seed)
        self._windows = windows_of([str(s.source) for s in learn], job.backbone, length, job.tell)
        held_windows = windows_of([str(s.source) for s in held], job.backbone, length, silent)
        self._length = length
        if len(self._windows) and len(held_windows):
            self._held = self._few(held_windows, HELD_TOKENS, "held")
        if len(self._windows) < 2 or not len(held_windows) or not len(self._held.masked_m):
            raise DataError("There is too little text.", mend="give more texts, or longer ones")
        _check_room(self._windows, settings.batch)
        self._examples = examples(held_windows, job.seed)
        self._general, self._general_source = _general(settings, job, length)
        self._network = build(job.backbone, random_seed=job.seed if job.from_scratch else None)
        self._cut = Cut(job.backbone, job.frozen)
        self._cut.freeze(self._network)
        vocabulary = len(self._table)
        self._count_v = np.bincount(self._windows.id_n, minlength=vocabulary)[:vocabulary]
        self._head = WordHead(self._table, self._count_v, job.seed)
        self._total = int(self._windows.whole_w.sum())
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
        return int(self._windows.whole_w[self._picked(step)].sum())

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
        return {f"held_{name}": value for name, value in self._score(self._held).items()}

    def check(self, points: Sequence[Point], share: float) -> None:
        """See `Learner`; there is nothing that must stop it."""

    def findings(self) -> dict[str, Any]:
        """Loss and accuracy, on what is held out and on the general text; words filled in."""
        held = self._held
        share_v = (self._count_v + 1) / (self._count_v + 1).sum()
        usual = {
            "loss": float(-np.log(share_v[held.truth_m]).mean()),
            "accuracy": float((held.truth_m == self._count_v.argmax()).mean()),
        }
        return {
            "held_out": self._score(held),
            "unigram": usual,
            "general": {**self._score(self._general), "source": self._general_source},
            "examples": self._filled(),
            "bf16": self._bf16,
            "tokens": {
                "pool": self._total, "held_out": held.tokens, "held_masked": len(held.masked_m),
                "general": self._general.tokens,
            },
        }  # fmt: skip

    def extras(self) -> dict[str, Tensor]:
        """See `Learner`: the head, so that a later pre-training goes on with it."""
        return {HEAD + name: parameter for name, parameter in self._head.named_parameters()}

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
        return self._guess_from(self._states(batch), torch.from_numpy(batch.truth_m))

    def _guess_from(self, x_md: Tensor, truth_m: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            logits_mv = self._head(x_md)
        return F.cross_entropy(logits_mv.float(), truth_m.long(), reduction="none"), logits_mv

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
        return [filled(example, guess(example), self._job.backbone) for example in self._examples]

    # Batches --------------------------------------------------------------------------------------

    def _picked(self, step: int) -> np.ndarray:
        """Which windows a step sees: each epoch a new order, so many tokens of it at a time."""
        epoch, place = divmod(step, self.steps_an_epoch)
        order = self._order  # held here: another thread may ask for another epoch
        if order is None or order[0] != epoch:
            order_w = generator(self._job.seed, "order", "pretrain", epoch).permutation(
                len(self._windows)
            )
            step_w = (np.cumsum(self._windows.whole_w[order_w]) - 1) // self._size
            order = self._order = epoch, order_w, step_w
        _, order_w, step_w = order
        some = order_w[step_w == place]
        return some if len(some) else order_w[:1]

    def _batch(self, step: int) -> Packed:
        return self._pack(self._windows, self._picked(step), self._job.seed, step)

    def _pack(self, windows: Windows, some: np.ndarray, seed: int, step: int) -> Packed:
        return packed(windows, some, self._length, seed, step, self.settings.whole_words)

    def _few(self, windows: Windows, tokens: int, purpose: str) -> Packed:
        """So many tokens of some windows, masked once and for all."""
        few = _drawn(windows, generator(self._job.seed, purpose), max(tokens, self._length))
        return self._pack(windows, few, seed_of(self._job.seed, purpose), 0)

    # Before the first step ------------------------------------------------------------------------

    def _zero(self) -> None:
        self._network.zero_grad(set_to_none=True)
        self._head.zero_grad(set_to_none=True)

    def _begin_head(self) -> None:
        """A head that comes with the weights, or one that is trained now, on frozen states."""
        if self._job.from_scratch:
            return
        names = {HEAD + name for name, _ in self._head.named_parameters()}
        there = read_safetensors(self._job.backbone.weights, names)
        if there:
            self._head.put({name.removeprefix(HEAD): tensor for name, tensor in there.items()})
            return
        plan: Any = self._job.memo("head-plan", self._head_plan).facts
        self._job.tell(Said("the encoder has no head for words: one is trained first"))
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
        self._head = WordHead(self._table, self._count_v, self._job.seed)
        return Outcome({"batches": max(1, min(most, bought))})

    def _trained_head(self, batches: int) -> Outcome:
        """Train the head alone: states of the frozen encoder once, several passes over them."""
        kept: list[tuple[Tensor, Tensor]] = []
        self._network.eval()
        seed = seed_of(self._job.seed, "head")
        with torch.no_grad():
            for step in range(batches):
                batch = self._pack(self._windows, self._picked(step), seed, step)
                parts = [self._states(part) for part in pieces(batch, self.settings.piece)]
                kept.append((torch.cat(parts), torch.from_numpy(batch.truth_m)))
        optimiser = torch.optim.AdamW(self._head.parameters(), lr=HEAD_RATE, weight_decay=0.0)
        steps = HEAD_PASSES * len(kept)
        for step in range(steps):
            x_md, truth_m = kept[step % len(kept)]
            for group in optimiser.param_groups:
                group["lr"] = HEAD_RATE * (1 - step / steps)
            optimiser.zero_grad(set_to_none=True)
            self._head_loss(x_md, truth_m).backward()
            optimiser.step()
        self._zero()
        return Outcome({}, {name: array(p) for name, p in self._head.named_parameters()})

    def _head_loss(self, x_md: Tensor, truth_m: Tensor) -> Tensor:
        return self._guess_from(x_md, truth_m)[0].mean()


def _check_room(windows: Windows, batch: int) -> None:
    """Refuse batches that have no room for a window: most steps would be empty."""
    longest = int(windows.whole_w.max())
    if batch < longest:
        raise UsageError(
            f"a batch of {batch} tokens has no room for a text of {longest}",
            where="--batch",
            mend=f"give {longest} or more (it counts tokens, not texts), or a smaller --tokens",
        )


def _preprocessing(backbone: Backbone) -> TextPreprocessing:
    if not isinstance(backbone.preprocessing, TextPreprocessing):
        raise UsageError(
            f"{backbone.name} takes no texts",
            where="--backbone",
            mend="choose a backbone for texts: regraft backbones list",
        )
    return backbone.preprocessing


def held_out(samples: Sequence[Sample], seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Samples to learn from, and those that are held out: whole groups, a twentieth at most.

    Raises:
        DataError: there is only one text, or all are copies of one.
    """
    names = sorted({sample.group or sample.id for sample in samples})
    if len(names) < 2:
        raise DataError(
            "There is only one text, so none can be held out.",
            mend="give several texts, or one file with paragraphs",
        )
    order = generator(seed, "held out", len(names)).permutation(len(names))
    count = max(1, round(HELD_SHARE * len(names)))
    bytes_of = dict.fromkeys(names, 0)
    for sample in samples:
        bytes_of[sample.group or sample.id] += len(str(sample.source).encode())
    held, taken = set[str](), 0
    for name in (names[i] for i in order[:count]):
        if held and taken + bytes_of[name] > HELD_BYTES:
            continue
        held.add(name)
        taken += bytes_of[name]
    chosen = [(sample.group or sample.id) in held for sample in samples]
    learn = tuple(s for s, is_held in zip(samples, chosen, strict=True) if not is_held)
    return learn, tuple(s for s, is_held in zip(samples, chosen, strict=True) if is_held)


def _general(settings: MaskedSettings, job: Job, length: int) -> tuple[Packed, str]:
    """A text that has nothing to do with the pool, masked, and what it is."""
    if settings.general:
        found = read_unlabelled_texts(settings.general).samples
        texts, source = [str(sample.source) for sample in found], str(settings.general)
    else:
        from pydoc_data import topics

        texts, source = list(topics.topics.values()), _SOURCE
    windows = windows_of(texts, job.backbone, length, silent)
    few = _drawn(windows, generator(0, "general", len(windows)), max(GENERAL_TOKENS, length))
    return packed(windows, few, length, 0, 0, settings.whole_words), source


def _drawn(windows: Windows, random: np.random.Generator, tokens: int) -> np.ndarray:
    """Some windows that have at most so many tokens together."""
    order_w = random.permutation(len(windows))
    return order_w[np.cumsum(windows.whole_w[order_w]) <= tokens]


def pieces(batch: Packed, tokens: int) -> list[Packed]:
    """A batch in parts of so many tokens, padding included; whole rows."""
    rows, length = batch.id_rl.shape
    many = max(1, tokens // length)
    found: list[Packed] = []
    row_m = batch.masked_m // length
    for start in range(0, rows, many):
        some = slice(start, start + many)
        mine_m = (row_m >= start) & (row_m < start + many)
        found.append(
            replace(
                batch, id_rl=batch.id_rl[some], place_rl=batch.place_rl[some],
                window_rl=batch.window_rl[some], truth_m=batch.truth_m[mine_m],
                masked_m=batch.masked_m[mine_m] - start * length,
                tokens=int((batch.id_rl[some] >= 0).sum()),
            )
        )  # fmt: skip
    return found
