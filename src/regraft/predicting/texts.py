"""Classes of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from regraft import dataset as data_sets
from regraft.dataset.table_rows import TableReader
from regraft.errors import UnreadableSample
from regraft.events import Advanced, Tell
from regraft.predicting.named import found_in
from regraft.transfer.engine import TRIAL_SAMPLES, Preparation
from regraft.transfer.model import Model

Text = str | UnreadableSample
"""What is to be labelled, or what speaks against it."""


def texts_of(
    inputs: Sequence[str | Path], column: str = "", own: str = ""
) -> Iterator[tuple[str, Text]]:
    """Names and texts behind files, folders, patterns, tables and "-", in order.

    Args:
        inputs: as for `predict`.
        column: that every table must have; "" takes what suits each.
        own: of a table, where none is named and it has one of this name.

    Raises:
        DataError: a table has no such column.
    """
    import sys

    seen: set[Path] = set()
    for given in inputs:
        if str(given) == "-":
            # As bytes: a line that is no UTF-8 is read like a file that is none.
            for number, line in enumerate(sys.stdin.buffer, 1):
                if not line.strip():
                    continue
                yield f"line {number}", _decoded(line.rstrip(b"\r\n"), f"line {number}")
            continue
        for path, is_named in found_in([given], seen):
            if TableReader().recognises(path):
                known = own if own in data_sets.columns_of(path) else ""
                lines, _ = data_sets.lines_of(path, column or known)
                for line, text in lines:
                    name = f"{path}, {line}"
                    yield name, _content(text, name)
            elif is_named or data_sets.texts.is_text_file(path):
                yield str(path), _read_text(path)
            else:
                what = data_sets.video.passed_over(path, "text")
                yield str(path), data_sets.guard.Refused("not-a-text", what, where=path)


def label_texts(
    model: Model, preparation: Preparation, named: Sequence[tuple[str, Text]], tell: Tell
) -> list[dict[str, Any]]:
    """Answers for texts, in batches.

    Args:
        model: of texts.
        preparation: of its backbone.
        named: what `texts_of` gave.
        tell: listens to events.
    """
    from regraft.transfer.packing import stacked
    from regraft.transfer.tokens import token_ids

    answers: list[dict[str, Any]] = []
    engine = None
    for start in range(0, len(named), TRIAL_SAMPLES):
        some = named[start : start + TRIAL_SAMPLES]
        texts = [text for _, text in some if isinstance(text, str)]
        labelled = iter(())
        if texts:
            ids = stacked([token_ids(text, model.backbone) for text in texts])
            engine = engine or preparation.engine_for_pixels(len(model.backbone.stages), ids)
            labelled = iter(model.answers(engine.run(ids)[0], texts))
        for name, text in some:
            answer = next(labelled) if isinstance(text, str) else {"problem": text.what}
            answers.append({"sample": name, **answer})
        tell(Advanced("predicting", len(answers), len(named)))
    return answers


def _content(text: str, where: str) -> Text:
    try:
        return data_sets.texts.read_cell(text, where).text
    except UnreadableSample as fault:
        return fault


def _decoded(data: bytes, where: str) -> Text:
    try:
        return data_sets.texts.read_bytes(data, where).text
    except UnreadableSample as fault:
        return fault


def _read_text(path: Path) -> Text:
    try:
        data = data_sets.guard.read_file(path)
    except UnreadableSample as fault:
        return fault
    return _decoded(data, str(path))
