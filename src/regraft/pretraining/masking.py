"""Texts as windows of tokens, and words of them hidden: plain arrays, no network.

Decisions:

- A document is tokenised whole and divided into windows that fit between the marks of beginning
  and end; the last one is shorter. Nothing is left out, and no window holds two documents. (Windows
  of equal length would leave rows half empty wherever two of them just do not fit.)
- A step takes as many windows as have about so many tokens. They are put into rows of one length,
  several in a row where they fit (first fit, the longest first), and a token sees its own window
  only. What is left at the ends of rows is padding, a few in a hundred.
- 15 % of the tokens are to be guessed: of these 80 % are hidden behind the mask, 10 % replaced by
  any token, 10 % left (Devlin et al. 2019). Which ones is a function of the seed, the step and the
  window, drawn anew each time ("dynamic masking", Liu et al. 2019). With whole words, a word is
  guessed as a whole or not at all.

Legend: n tokens of a document or window, w windows, r rows, l tokens in a row, m masked tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from regraft.backbones import Backbone
from regraft.errors import BackboneError
from regraft.events import Advanced, Tell
from regraft.seeds import generator
from regraft.transfer.tokens import whole_tokenizer

MASKED = 0.15
HIDDEN, REPLACED = 0.8, 0.1
_BATCH = 64
_MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Marks:
    """What a tokenizer puts around a text, and its mask.

    Attributes:
        before: ids that stand before every text.
        after: ids behind it.
        mask: the id of the mask.
        vocabulary: number of ids.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    mask: int
    vocabulary: int


@final
@dataclass(frozen=True)
class Windows:
    """Windows of some documents, marks left out.

    Attributes:
        id_n: token ids of all documents one after the other.
        starts_n: where a word begins.
        begin_w: of each window in these; a window ends where `begin_w + length_w` says.
        length_w: tokens of each.
        document_w: which document it is of.
        marks: see there.
    """

    id_n: np.ndarray
    starts_n: np.ndarray
    begin_w: np.ndarray
    length_w: np.ndarray
    document_w: np.ndarray
    marks: Marks

    def __len__(self) -> int:
        return len(self.begin_w)

    @property
    def whole_w(self) -> np.ndarray:
        """Tokens of each, marks included."""
        return self.length_w + len(self.marks.before) + len(self.marks.after)

    def part(self, at: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a window, and where words begin in it."""
        some = slice(self.begin_w[at], self.begin_w[at] + self.length_w[at])
        return self.id_n[some], self.starts_n[some]


@dataclass(frozen=True)
class Packed:
    """A batch as the network takes it.

    Attributes:
        id_rl: what is shown, -1 for padding.
        place_rl: position of each token in its own window.
        window_rl: which window of its row a token is of, -1 for padding.
        masked_m: positions in the flattened rows that are to be guessed.
        truth_m: what stands there.
        tokens: without padding.
    """

    id_rl: np.ndarray
    place_rl: np.ndarray
    window_rl: np.ndarray
    masked_m: np.ndarray
    truth_m: np.ndarray
    tokens: int


def marks_of(backbone: Backbone) -> Marks:
    """What a backbone's tokenizer puts around a text.

    Raises:
        BackboneError: it has no mask.
    """
    tokenizer = whole_tokenizer(backbone)
    masks = [tokenizer.token_to_id(name) for name in _MASKS]
    known = [mask for mask in masks if mask is not None]
    if not known:
        raise BackboneError(
            "the tokenizer has no mask, so nothing can be hidden behind it",
            where=backbone.name,
            mend="take an encoder whose tokenizer has [MASK] or <mask>",
        )
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a").ids
    begin = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return Marks(
        tuple(full[:begin]), tuple(full[begin + len(bare) :]), known[0], tokenizer.get_vocab_size()
    )


def windows_of(texts: Sequence[str], backbone: Backbone, longest: int, tell: Tell) -> Windows:
    """Tokenise documents and divide them.

    Args:
        texts: the documents.
        backbone: whose tokenizer is used.
        longest: tokens of a window at most, marks included.
        tell: hears `Advanced("tokens", …)`.
    """
    marks = marks_of(backbone)
    room = longest - len(marks.before) - len(marks.after)
    ids: list[np.ndarray] = []
    starts: list[np.ndarray] = []
    for encoding in _encoded(texts, backbone, tell):
        ids.append(np.array(encoding.ids, np.int32))
        word_n = np.array([-1 if word is None else word for word in encoding.word_ids], np.int64)
        starts.append(np.diff(word_n, prepend=-2) != 0)
    length_d = np.array([len(some) for some in ids], np.int64)
    parts_d = -(-length_d // room)
    document_w = np.repeat(np.arange(len(ids)), parts_d)
    part_w = np.arange(len(document_w)) - np.repeat(np.cumsum(parts_d) - parts_d, parts_d)
    begin_w = (np.cumsum(length_d) - length_d)[document_w] + part_w * room
    length_w = np.minimum(room, length_d[document_w] - part_w * room)
    none = np.empty(0, np.int32)
    return Windows(
        np.concatenate([none, *ids]), np.concatenate([none.astype(bool), *starts]), begin_w,
        length_w, document_w, marks,
    )  # fmt: skip


def _encoded(texts: Sequence[str], backbone: Backbone, tell: Tell) -> Iterator[Any]:
    tokenizer = whole_tokenizer(backbone)
    for start in range(0, len(texts), _BATCH):
        yield from tokenizer.encode_batch(texts[start : start + _BATCH], add_special_tokens=False)
        tell(Advanced("tokens", min(start + _BATCH, len(texts)), len(texts)))


def chosen(
    starts_n: np.ndarray, seed: int, step: int, window: int, whole_words: bool
) -> tuple[np.ndarray, np.random.Generator]:
    """Which tokens of a window are to be guessed, bool_n, and the draws that are left.

    Args:
        starts_n: where words begin.
        seed: of the run.
        step: the training step.
        window: the window's number.
        whole_words: words are chosen, not tokens.
    """
    rng = generator(seed, "mask", step, window)
    if whole_words:
        word_n = np.cumsum(starts_n) - int(starts_n[0])  # the rest of a word that was cut is one
        return (rng.random(int(word_n[-1]) + 1) < MASKED)[word_n], rng
    return rng.random(len(starts_n)) < MASKED, rng


def masked(
    id_n: np.ndarray, picked_n: np.ndarray, rng: np.random.Generator, marks: Marks
) -> np.ndarray:
    """What is shown of a window: most of the picked tokens hidden, some replaced, some left."""
    fate_n, other_n = rng.random(len(id_n)), rng.integers(0, marks.vocabulary, len(id_n))
    shown_n = np.where(fate_n < HIDDEN, marks.mask, other_n.astype(np.int32))
    return np.where(picked_n & (fate_n < HIDDEN + REPLACED), shown_n, id_n).astype(np.int32)


def packed(
    windows: Windows, some: np.ndarray, length: int, seed: int, step: int, whole_words: bool
) -> Packed:
    """Windows masked and put into rows.

    Args:
        windows: of which.
        some: which of them.
        length: of a row.
        seed: see `chosen`.
        step: see `chosen`.
        whole_words: see `chosen`.
    """
    marks = windows.marks
    rows = rows_of(windows.whole_w[some], length)
    id_rl = np.full((len(rows), length), -1, np.int32)
    place_rl = np.zeros((len(rows), length), np.int64)
    window_rl = np.full((len(rows), length), -1, np.int32)
    positions: list[np.ndarray] = []
    truths: list[np.ndarray] = []
    for r, members in enumerate(rows):
        at = 0
        for k, member in enumerate(members):
            window = int(some[member])
            id_n, starts_n = windows.part(window)
            picked_n, rng = chosen(starts_n, seed, step, window, whole_words)
            shown = [*marks.before, *masked(id_n, picked_n, rng, marks), *marks.after]
            stop = at + len(shown)
            id_rl[r, at:stop], place_rl[r, at:stop] = shown, np.arange(len(shown))
            window_rl[r, at:stop] = k
            which = np.flatnonzero(picked_n)
            positions.append(r * length + at + len(marks.before) + which)
            truths.append(id_n[which])
            at = stop
    return Packed(
        id_rl, place_rl, window_rl, np.concatenate(positions), np.concatenate(truths),
        int(windows.whole_w[some].sum()),
    )  # fmt: skip


def rows_of(length_w: np.ndarray, length: int) -> list[list[int]]:
    """Which windows share a row: first fit, the longest first (Johnson 1973)."""
    rows: list[list[int]] = []
    room: list[int] = []
    for member in np.argsort(-length_w, kind="stable"):
        need = int(length_w[member])
        at = next((r for r, left in enumerate(room) if left >= need), None)
        if at is None:
            rows.append([])
            room.append(length)
            at = len(rows) - 1
        rows[at].append(int(member))
        room[at] -= need
    return rows


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
