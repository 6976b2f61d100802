"""Classes of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from regraft import dataset as data_sets
from regraft.dataset import Problem
from regraft.dataset.encoding import said_of_encodings
from regraft.dataset.guard import Refused, read_file
from regraft.dataset.table_rows import TableReader
from regraft.dataset.texts import Content, doubts, is_text_file, read_bytes, read_cell
from regraft.dataset.video import passed_over
from regraft.errors import UnreadableSample
from regraft.events import Advanced, Said, Tell, silent
from regraft.predicting.named import found_in
from regraft.transfer.engine import TRIAL_SAMPLES, Preparation
from regraft.transfer.model import Model

Text = str | UnreadableSample
"""What is to be labelled, or what speaks against it."""
_Data = TypeVar("_Data", str, bytes, Path)


def texts_of(
    inputs: Sequence[str | Path], column: str = "", own: str = "", tell: Tell = silent
) -> Iterator[tuple[str, Text]]:
    """Names and texts behind files, folders, patterns, tables and "-", in order.

    Args:
        inputs: as for `predict`.
        column: that every table must have; "" takes what suits each.
        own: of a table, where none is named and it has one of this name.
        tell: hears at the end which encodings were guessed.

    Raises:
        DataError: a table has no such column.
    """
    import sys

    seen, notes = set[Path](), list[Problem]()
    for given in inputs:
        if str(given) == "-":
            # As bytes: a line that is no UTF-8 is read like a file that is none.
            for number, line in enumerate(sys.stdin.buffer, 1):
                if not line.strip():
                    continue
                name, data = f"line {number}", line.rstrip(b"\r\n")
                yield name, _text(read_bytes, data, name, notes)
            continue
        for path, is_named in found_in([given], seen):
            if TableReader().recognises(path):
                known = own if own in data_sets.columns_of(path) else ""
                lines, told = data_sets.lines_of(path, column or known)
                notes += told
                for line, text in lines:
                    name = f"{path}, {line}"
                    yield name, _text(read_cell, text, name, notes)
            elif is_named or is_text_file(path):
                yield str(path), _text(_read_file, path, str(path), notes)
            else:
                yield str(path), Refused("not-a-text", passed_over(path, "text"), where=path)
    for said in said_of_encodings(notes):
        tell(Said(said))


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


def _text(
    read: Callable[[_Data, str], Content], what: _Data, name: str, notes: list[Problem]
) -> Text:
    """What is read of it; how its characters had to be guessed goes to the notes."""
    try:
        content = read(what, name)
    except UnreadableSample as fault:
        return fault
    notes += doubts(content, name)
    return content.text


def _read_file(path: Path, where: str) -> Content:
    try:
        return read_bytes(read_file(path), where)
    except Refused as fault:
        if fault.kind != "not-a-text" or is_text_file(path):
            raise
        what = passed_over(path, "text").removesuffix(".")
        raise Refused(fault.kind, f"{what}; this model reads texts.", where=where) from fault
