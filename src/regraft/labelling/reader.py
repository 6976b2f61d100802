"""A table of votes as a data set: each sample with the label that its voters agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from regraft.dataset import Dataset, Problem, guard
from regraft.dataset.reading import READERS
from regraft.dataset.table import (
    Cell,
    Table,
    columns_of,
    dataset_of,
    named_text_column,
    read_table,
)  # fmt: skip
from regraft.labelling.consensus import consensus
from regraft.labelling.votes import (
    Scale,
    Votes,
    is_votes,
    layout_of,
    read_votes,
    sample_names,
)  # fmt: skip


@final
@dataclass(frozen=True)
class VotesReader:
    """Reads a table of votes on files or texts; see `votes.py` for its columns.

    Attributes:
        scale: how votes differ; told from them if None.
    """

    scale: Scale | None = None
    name: str = "table of votes"

    def recognises(self, path: Path) -> bool:
        """A table of votes that holds texts or names files."""
        is_table = path.suffix.lower() != ".json"  # an export of votes names no files of ours
        return is_table and is_votes(path) and _has_samples(columns_of(path))

    def read(self, path: Path) -> Dataset:
        """The rows, labelled by consensus; see `Reader`.

        Raises:
            DataError: the table is damaged, or holds no votes.
        """
        table = read_table(path)
        decided, names = _decided(table, read_votes(path, scale=self.scale))
        dataset = dataset_of(decided).with_problems(_read_as_votes(table))
        if "path" in table.columns:
            return dataset
        # Texts are called by their lines there, and as their voters called them here.
        called = {line: name for line, name in zip(decided.lines, names, strict=True)}
        samples = (
            replace(sample, id=called[int(sample.id.removeprefix("line "))]) for sample in dataset
        )
        return dataset.with_samples(sorted(samples, key=lambda sample: sample.id))


@final
@dataclass(frozen=True)
class AnyReader:
    """Reads votes where there are some, and what is read without them otherwise."""

    scale: Scale | None = None
    name: str = "folder of classes, a table of paths, texts or votes, or boxes"

    def recognises(self, path: Path) -> bool:
        """What any reader recognises."""
        return any(reader.recognises(path) for reader in READERS)

    def read(self, path: Path) -> Dataset:
        """The rows; see `Reader`."""
        votes = VotesReader(self.scale)
        if votes.recognises(path):
            return votes.read(path)
        return next(reader for reader in READERS if reader.recognises(path)).read(path)


def votes_on(path: Path, scale: Scale | None = None) -> Votes | None:
    """The votes in a table on files or texts; None where there are none."""
    return read_votes(path, scale=scale) if VotesReader().recognises(path) else None


def _read_as_votes(table: Table) -> tuple[Problem, ...]:
    """What is to be said about how a table is read: other columns may have been meant."""
    layout = layout_of(table.columns)
    assert layout is not None, "it is a table of votes"
    return (Problem("votes", guard.shown(table.path.name), layout.said()),)


def _has_samples(columns: Sequence[str]) -> bool:
    return "path" in columns or named_text_column(columns) is not None


def _decided(table: Table, votes: Votes) -> tuple[Table, list[str]]:
    """The table with one row for each sample and its label; and the samples' names."""
    found = consensus(votes)
    label = dict(zip(found.samples, ("|".join(names) for names in found.labels()), strict=True))
    rows: dict[str, int] = {}
    for row, name in enumerate(sample_names(table)):
        if name in label:
            rows.setdefault(name, row)
    content = "path" if "path" in table.columns else named_text_column(table.columns)
    assert content is not None
    cells: dict[str, Sequence[Cell]] = {
        column: [table.cells[column][row] for row in rows.values()]
        for column in ("split", "group", content)
        if column in table.columns
    }
    cells["labels" if found.multilabel else "label"] = [label[name] for name in rows]
    return Table(table.path, cells, [table.lines[row] for row in rows.values()]), list(rows)
