"""Tables of votes, as people write them down.

Three tables are read (CSV, TSV, Parquet, JSON lines), told apart by their columns:

- long: one vote a row, `path,annotator,label`; `annotator` may also be called `rater`, `worker`,
  `coder` or `labeller`, each with `_id` or `Id` or without, and `label` as in tables of labels, or
  `vote`, `rating`, `answer` or `choice`. An empty annotator makes all votes anonymous.
- wide: one sample a row and a column for each person, two or more:
  `path,annotator_anna,annotator_ben`, `rater 1`, `worker1`, …. Of columns `vote_1,vote_2,…` nobody
  knows whose they are.
- listed: one sample a row with all its votes in one cell, `path,votes` (or `ratings`), where
  `votes` is `cat|cat|dog` or another list; see `votes_cells.py`. Nobody knows whose they are.

An export of Label Studio ("JSON" or "JSON-MIN") holds votes too; see `label_studio_exports.py`.

A missing vote is an empty cell or a row that is not there, and normal everywhere. Only in a long
table of votes for several classes an empty cell is its annotator's vote that none applies: as the
row is there, somebody looked. Both are counted in `notes`, which also say where several rows of a
wide or a listed table are about one sample.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regraft.dataset import guard
from regraft.dataset.boxes.samples import BoxReader
from regraft.dataset.encoding import said_of_encodings
from regraft.dataset.reader import class_name
from regraft.dataset.table import KNOWN, Table, brief, columns_of, read_table
from regraft.dataset.table_columns import with_path
from regraft.dataset.table_labels import with_lists
from regraft.dataset.table_rows import TableReader, groups_in, splits_in
from regraft.errors import DataError
from regraft.labelling.label_studio_exports import is_export, votes_in
from regraft.labelling.votes import Scale, Value, Votes, votes_of
from regraft.labelling.votes_cells import all_votes, may_name_several, one_vote
from regraft.labelling.votes_columns import Layout, layout_of
from regraft.labelling.votes_samples import sample_names
from regraft.wording import plural, some_of

_NAMED = 5
"""Columns that a message names."""


@dataclass(frozen=True)
class VotesTable:
    """A table of votes that was read.

    Attributes:
        table: as it is written, its column of files called `path`.
        layout: which of its columns hold votes.
        names: what the sample of each row is called.
        votes: all that it holds.
    """

    table: Table
    layout: Layout
    names: Sequence[str]
    votes: Votes


def is_votes(path: Path) -> bool:
    """Whether a file is a table of votes, by its columns, or an export of Label Studio.

    A table of boxes is none, though it may say who drew each.
    """
    if is_export(path):
        return True
    if not TableReader().recognises(path) or BoxReader().recognises(path):
        return False
    return layout_of(columns_of(path)) is not None


def read_votes(path: Path, *, scale: Scale | None = None) -> Votes:
    """The votes in a table or an export of Label Studio.

    Args:
        path: see the head of this file.
        scale: how values differ; told from the values if None.

    Raises:
        DataError: the file is damaged, or is none of votes.
        UsageError: the values do not fit the scale.
    """
    if path.suffix.lower() == ".json":
        rows = votes_in(path, several=scale == "multilabel")
        return votes_of(rows, scale=scale, where=guard.shown(path))
    read = read_votes_table(path, scale=scale)
    guessed = said_of_encodings(read.table.notes)
    return replace(read.votes, notes=(*guessed, *read.votes.notes))


def given_beside(read: VotesTable) -> dict[str, dict[str, str]]:
    """What `fit` minds of a table beside its votes: "split" and "group" of each sample.

    They are those of its first row, as where the table is read as data.

    Returns:
        by sample; neither where no row has it.

    Raises:
        DataError: a split is called what none is.
    """
    columns = {"split": splits_in(read.table), "group": groups_in(read.table)}
    given = {column: cells for column, cells in columns.items() if any(cells)}
    found: dict[str, dict[str, str]] = {}
    for row, name in enumerate(read.names):
        if name not in found:
            found[name] = {column: cells[row] for column, cells in given.items()}
    return found


def read_votes_table(path: Path, *, scale: Scale | None = None) -> VotesTable:
    """A table of votes with what it holds; see `read_votes`."""
    table, where = with_path(read_table(path)), guard.shown(path)
    layout = layout_of(table.columns)
    if layout is None:
        raise DataError(
            f"The table holds no votes; its columns are {table.listed}.",
            where=where,
            mend="have path,annotator,label or path,annotator_…,annotator_… or path,votes",
        )
    _refuse_namesakes(table, layout)
    cells, lists = _with_lists(table, layout)
    names, nameless = sample_names(table)
    rows, notes = {"long": _long, "wide": _wide, "listed": _listed}[layout.kind](
        cells, layout, names, scale
    )
    votes = votes_of(rows, scale=scale, where=where)
    more = (*nameless, *_together(table, layout, names), *_like_votes(table, layout))
    more += tuple(_at_odds(table, names))
    votes = replace(votes, notes=(*lists, *notes, *votes.notes, *more))
    return VotesTable(table, layout, names, votes)


def _at_odds(table: Table, names: Sequence[str]) -> Iterator[str]:
    """What is said of samples that are in several splits or groups, by their rows."""
    for column in ("split", "group"):
        if column not in table.columns:
            continue
        given: dict[str, set[str]] = defaultdict(set)
        for name, cell in zip(names, table.texts(column), strict=True):
            given[name] |= {cell.strip()} - {""}
        several = [name for name, cells in given.items() if len(cells) > 1]
        if several:
            has = "has" if len(several) == 1 else "have"
            yield (
                f"{plural(len(several), 'sample')} {has} several {column}s, and that of the first "
                f"row counts: {some_of(several, 3)}."
            )


def _refuse_namesakes(table: Table, layout: Layout) -> None:
    """Refuse columns of one name or one person: the votes in one of them would be lost."""
    whose = {name: class_name(name) for name in layout.read}
    whose |= dict(zip(layout.columns, layout.people, strict=False))
    # A table has each name once, and the first of JSON lines may lack some.
    header = [name for name in columns_of(table.path) if name in whose]
    columns = max(header, [name for name in table.columns if name in whose], key=len)
    people = Counter(whose[name] for name in columns)
    again = next((name for name, count in people.items() if count > 1), None)
    if again is not None:
        who = "of the person" if layout.people else "called"
        raise DataError(
            f"Two columns are {who} {again}.",
            where=guard.shown(table.path),
            mend="rename or take out one of them",
        )


def _together(table: Table, layout: Layout, names: Sequence[str]) -> tuple[str, ...]:
    """What is said of rows about one sample, in a table that has a row for each."""
    rows = Counter(names)
    again = [name for name, count in rows.items() if count > 1]
    if layout.kind == "long" or not again:
        return ()
    said = f"Several rows are about one sample ({some_of(again, _NAMED)}), and are read as one."
    if {"path", "sample", "id"} & {name.lower() for name in table.columns}:
        return (said,)
    return (f"{said} Where these are several samples, name each in a column called id.",)


def _like_votes(table: Table, layout: Layout) -> tuple[str, ...]:
    """What is said of columns beside those of people that hold what these hold, and not each once.

    They may be a person's whose name is not known as one.
    """
    if layout.kind != "wide":
        return ()
    voted = {text for column in layout.columns for text in table.texts(column)} - {""}
    found: list[str] = []
    for name in table.columns:
        filled = [text for text in table.texts(name) if text.strip()]
        values = set(filled)
        known = (*layout.columns, *layout.figures, *KNOWN)
        if name not in known and len(values) < len(filled):
            found += [brief(name)] * (2 * len(values & voted) > len(values))
    if not found:
        return ()
    said = f"{some_of(found, _NAMED)} {'holds' if len(found) == 1 else 'hold'} what was voted, too"
    return (f"{said}, and no vote is read there: a person's column is called rater_NAME.",)


def _with_lists(table: Table, layout: Layout) -> tuple[Table, tuple[str, ...]]:
    """The table with lists that were written out as lists, as in tables of labels; what is said.

    A column with all votes on a sample has lists of votes instead.
    """
    if layout.kind == "listed":
        return table, ()
    read = {column: with_lists(table, column) for column in layout.columns}
    said = [
        f"{problem.what} It is read as a list." for _, found in read.values() for problem in found
    ]
    cells = {column: cells for column, (cells, _) in read.items()}
    return replace(table, cells={**table.cells, **cells}), tuple(said[:1])


_Read = tuple[list[tuple[str, str, Value]], tuple[str, ...]]
"""Votes as `votes_of` takes them, and what is to be said of how they were read."""


def _long(table: Table, layout: Layout, names: Sequence[str], scale: Scale | None) -> _Read:
    (column,) = layout.columns
    cells = table.cells[column]
    people = [class_name(text) for text in table.texts(layout.annotator)]
    several = column == "labels" or may_name_several(cells, scale)
    votes = [one_vote(cell, several) for cell in cells]
    looked: list[int] = []
    # Beside lists an empty one is the vote that none applies, and a cell without one is none.
    if several and not any(isinstance(cell, tuple) for cell in cells):
        looked = [n for n, vote in enumerate(votes) if vote is None and people[n]]
        for n in looked:
            votes[n] = ()
    rows = _given(zip(names, people, votes, strict=True))
    return rows, _notes(several, len(looked), votes.count(None))


def _wide(table: Table, layout: Layout, names: Sequence[str], scale: Scale | None) -> _Read:
    people = layout.people or [""] * len(layout.columns)
    columns = [table.cells[column] for column in layout.columns]
    several = any(may_name_several(cells, scale) for cells in columns)
    votes = [
        (name, person, one_vote(cell, several))
        for person, cells in zip(people, columns, strict=True)
        for name, cell in zip(names, cells, strict=True)
    ]
    rows = _given(votes)
    return rows, _notes(several, 0, len(votes) - len(rows))


def _listed(table: Table, layout: Layout, names: Sequence[str], _: Scale | None) -> _Read:
    (column,) = layout.columns
    rows = [
        (name, "", vote)
        for name, line, cell in zip(names, table.lines, table.cells[column], strict=True)
        for vote in all_votes(table, line, cell)
    ]
    return rows, ()


def _given(votes: Iterable[tuple[str, str, Value | None]]) -> list[tuple[str, str, Value]]:
    """Without those that are missing."""
    return [(name, person, vote) for name, person, vote in votes if vote is not None]


def _notes(several: bool, nothing: int, missing: int) -> tuple[str, ...]:
    """What empty cells were taken for where samples may have several classes, or none."""
    if not several:
        return ()
    found: list[str] = []
    if nothing:
        what = plural(nothing, "empty cell of somebody is", "empty cells of people are")
        mend = "Leave out the rows of votes that are missing."
        found.append(f"{what} read as the vote that no class applies. {mend}")
    if missing:
        what = plural(missing, "empty cell is", "empty cells are")
        found.append(f"{what} read as missing votes. | alone says that no class applies.")
    return tuple(found)
