"""Reader: what `regraft labels --out` writes to learn from.

What to label next, with some labels filled in; and the consensus of votes:

    sample,path,label,suggested,…,sha256        sample,text,label,suggested,…
    sample,path,label,probability,…,sha256      sample,text,label,probability,…

Behind these there may be `split` and `group`.

Decisions:

- It may be data to train on besides others (`fit --more`), or all that there is: what was labelled
  first of a pool.
- Rows without a label are passed over and counted: nobody has to fill in all of them.
- Files lie outside of the form's folder as a rule. Such a path is followed to a picture or a video
  whose content has the checksum that the form has for it, and to nothing else. A file inside has
  to have its checksum, too.
- Texts, labels and groups are cells as `cells.py` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from regraft.dataset import guard
from regraft.dataset.cells import from_cell
from regraft.dataset.rows import Dataset, Problem
from regraft.dataset.table import Table, columns_of, read_table
from regraft.dataset.table_rows import TableReader, dataset_of
from regraft.errors import DataError
from regraft.wording import plural

COLUMNS = ("label", "suggested", "probability", "score", "reason")
"""Of what to label next, behind what names the sample and holds or finds it."""
CONSENSUS = ("label", "probability", "tied", "votes")
"""Of the consensus of votes, likewise; of votes on what has neither text nor file, all."""


@final
@dataclass(frozen=True)
class FormReader:
    """Reads a form.

    Attributes:
        name: see `Reader`.
    """

    name: str = "table that regraft labels wrote"

    def recognises(self, path: Path) -> bool:
        """A table that has all columns of a form."""
        columns = {*columns_of(path)} if TableReader().recognises(path) else set[str]()
        return {"sample", *COLUMNS} <= columns or (
            {"sample", *CONSENSUS} <= columns and bool({"path", "text"} & columns)
        )

    def read(self, path: Path) -> Dataset:
        """The rows that have a label; see `Reader`.

        Raises:
            DataError: none has, or as `TableReader.read`.
        """
        table = _filled_in(read_table(path))
        written = {
            name: [from_cell(text) for text in table.texts(name)]
            for name in ("text", "label", "group")
            if name in table.columns
        }
        table = replace(table, cells={**table.cells, **written})
        if "text" in table.columns or "sha256" not in table.columns:
            return dataset_of(table)
        named = zip(table.texts("path"), table.texts("sha256"), strict=True)
        return dataset_of(table, {text: sha256.strip().lower() for text, sha256 in named})


def _filled_in(table: Table) -> Table:
    """The table without the rows whose label is still to be filled in.

    Raises:
        DataError: no label is there yet.
    """
    rows = [row for row, text in enumerate(table.texts("label")) if text.strip()]
    waiting = len(table.lines) - len(rows)
    if not rows:
        raise DataError(
            "No label is filled in yet.",
            where=guard.shown(table.path),
            mend="write classes into the column `label`; not all rows need one",
        )
    if not waiting:
        return table
    what = f"{plural(waiting, 'row has', 'rows have')} no label yet."
    said = Problem("no-label", guard.shown(table.path.name), what, "passed over")
    return replace(
        table,
        cells={name: [cells[row] for row in rows] for name, cells in table.cells.items()},
        lines=[table.lines[row] for row in rows],
        notes=(*table.notes, said),
    )


def is_worked_on(path: Path) -> bool:
    """Whether somebody wrote labels into a form, or made it something that is none any more."""
    try:
        table = read_table(path)
    except DataError:
        return len(path.read_bytes().splitlines()) > 1  # of a header alone nothing is lost
    return "label" not in table.columns or any(text.strip() for text in table.texts("label"))
