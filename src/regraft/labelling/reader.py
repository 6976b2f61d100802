"""A table of votes as a data set: each sample with the label that its voters agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from regraft.dataset import Dataset, Reader
from regraft.dataset.table import Cell, Table, dataset_of, read_table
from regraft.labelling.consensus import consensus
from regraft.labelling.votes import Votes, is_votes, read_votes


@final
@dataclass(frozen=True)
class VotesReader:
    """Reads a table of votes on files; see `votes.py` for its columns."""

    name: str = "table of votes"

    def recognises(self, path: Path) -> bool:
        """A table of votes that names files."""
        return is_votes(path) and "path" in read_table(path).columns

    def read(self, path: Path) -> Dataset:
        """The rows, labelled by consensus; see `Reader`.

        Raises:
            DataError: the table is damaged, or holds no votes.
        """
        return dataset_of(_decided(read_table(path), read_votes(path)))


def reader_for(path: Path) -> Reader | None:
    """The reader that votes need; None where the usual ones will do."""
    reader = VotesReader()
    return reader if reader.recognises(path) else None


def _decided(table: Table, votes: Votes) -> Table:
    """The table with one row for each sample and its label."""
    found = consensus(votes)
    label = dict(zip(found.samples, ("|".join(names) for names in found.labels()), strict=True))
    rows: dict[str, int] = {}
    for row, text in enumerate(table.texts("path")):
        name = text.strip().removeprefix("./")
        if name in label:
            rows.setdefault(name, row)
    cells: dict[str, Sequence[Cell]] = {
        column: [table.cells[column][row] for row in rows.values()]
        for column in ("split", "group")
        if column in table.columns
    }
    cells["path"] = list(rows)
    cells["labels" if found.multilabel else "label"] = [label[name] for name in rows]
    return Table(table.path, cells, [table.lines[row] for row in rows.values()])
