"""A table of votes as a data set: each sample with the label that its voters agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from regraft.dataset import Dataset, Problem, guard
from regraft.dataset.choosing import READERS, asked_for
from regraft.dataset.table import Cell, Table, columns_of, read_table
from regraft.dataset.table_columns import FILE_NAMES, named_text_column, with_path
from regraft.dataset.table_rows import dataset_of
from regraft.errors import DataError
from regraft.labelling.consensus import consensus
from regraft.labelling.label_studio_exports import is_export
from regraft.labelling.votes import Scale, Votes, said_alike
from regraft.labelling.votes_table import VotesTable, is_votes, read_votes, read_votes_table


@final
@dataclass(frozen=True)
class VotesReader:
    """Reads a table of votes on files or texts; see `votes_table.py` for its columns.

    Attributes:
        scale: how votes differ; told from them if None.
    """

    scale: Scale | None = None
    name: str = "table of votes"

    def recognises(self, path: Path) -> bool:
        """A table of votes that holds texts or names files."""
        is_table = path.suffix.lower() != ".json"  # an export of votes names no files of ours
        return is_table and is_votes(path) and _has_samples(path)

    def read(self, path: Path) -> Dataset:
        """The rows, labelled by consensus; see `Reader`.

        Raises:
            DataError: the table is damaged, or holds no votes.
        """
        read = read_votes_table(path, scale=self.scale)
        decided, names, unvoted = _decided(read)
        dataset = dataset_of(decided)
        dataset = dataset.with_problems(
            [
                *_read_as_votes(read, dataset.classes),
                *(Problem("no-label", name, "Nobody voted on it.", "left out") for name in unvoted),
            ]
        )
        dataset = replace(dataset, found=dataset.found + len(unvoted))
        if dataset.modality != "text":
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
    """Reads votes where there are some, and what is read without them otherwise.

    Attributes:
        scale: see `VotesReader`.
        name: see `Reader`.
        task: what the user says that the data are for; told from them if None.
    """

    scale: Scale | None = None
    name: str = "folder of classes, a table of paths, texts or votes, or boxes"
    task: str | None = None

    def recognises(self, path: Path) -> bool:
        """What any reader recognises."""
        return any(reader.recognises(path) for reader in READERS)

    def read(self, path: Path) -> Dataset:
        """The rows; see `Reader`.

        Raises:
            DataError: there are votes, and not what they are on.
        """
        votes = VotesReader(self.scale)
        if votes.recognises(path):
            return votes.read(path)
        if is_votes(path):
            raise _nothing_voted_on(path)
        known = (reader for reader in READERS if reader.recognises(path))
        return (asked_for(self.task, path) or next(known)).read(path)


def votes_on(path: Path) -> Votes | None:
    """The votes in a table on files or texts; None where there are none."""
    return read_votes(path) if VotesReader().recognises(path) else None


def _read_as_votes(read: VotesTable, classes: Sequence[str]) -> list[Problem]:
    """What is to be said about how a table is read: something else may have been meant.

    That classes may be one is said of all data, so not of the votes once more.
    """
    where = guard.shown(read.table.path.name)
    notes = (note for note in read.votes.notes if note not in said_alike(classes))
    return [Problem("votes", where, said) for said in (read.layout.said(), *notes)]


def _nothing_voted_on(path: Path) -> DataError:
    """What to say of votes whose samples are not there; as labels each vote would be a sample."""
    mend = (
        "call the column with the texts `text`, or that with the names of files `path` and let it "
        "lead to the files from the table's folder"
    )
    if is_export(path):
        mend = "give a table text,annotator,label or path,annotator,label, with one vote a row"
    return DataError(
        "These are votes, without the texts or the files that they are on.",
        where=guard.shown(path),
        mend=f"{mend}; `regraft labels` says how far people agree without them, too",
    )


def _has_samples(path: Path) -> bool:
    columns = columns_of(path)
    if "path" in columns or named_text_column(columns) is not None:
        return True
    if not {name.lower() for name in columns} & {*FILE_NAMES}:
        return False
    try:
        return "path" in with_path(read_table(path)).columns
    except DataError:
        return True  # `read` says what is wrong with it


def _decided(read: VotesTable) -> tuple[Table, list[str], list[str]]:
    """The table with one row for each sample and its label.

    Returns:
        the table, the samples' names, and the names of samples that nobody voted on.
    """
    table, layout, found = read.table, read.layout, consensus(read.votes)
    label = dict(zip(found.samples, ("|".join(names) for names in found.labels()), strict=True))
    rows: dict[str, int] = {}
    for row, name in enumerate(read.names):
        rows.setdefault(name, row)
    unvoted = [name for name in rows if name not in label]
    kept = {name: row for name, row in rows.items() if name in label}
    votes_are_in = {"label", "labels", *layout.read, *layout.figures}
    cells: dict[str, Sequence[Cell]] = {
        column: [table.cells[column][row] for row in kept.values()]
        for column in table.columns
        if column not in votes_are_in
    }
    # Classes were made printable, and are when they are read as labels.
    labels = [guard.unshown(label[name]) for name in kept]
    cells["labels" if found.multilabel else "label"] = labels
    return (
        Table(table.path, cells, [table.lines[row] for row in kept.values()], table.notes),
        list(kept),
        unvoted,
    )
