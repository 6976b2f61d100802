"""What the samples of a table of votes are called.

By a column `path` or another of files beside the table, by `sample`, `id`, `item` or `task`; or the
samples are texts (a column `text`, `body`, …), and where no such column has one text for each name
a text is called by its first line.
"""

from __future__ import annotations

from collections.abc import Sequence

from regraft.dataset import guard
from regraft.dataset.table import Table
from regraft.dataset.table_columns import FILE_NAMES, named_text_column
from regraft.dataset.table_rows import file_names

_NAMES = ("path", "sample", "id", "sample_id", "item", "item_id", "task", "task_id")


def names_samples(columns: Sequence[str]) -> bool:
    """Whether one of these columns says which samples a table is about."""
    return named_text_column(columns) is not None or bool(_naming(columns))


def sample_names(table: Table) -> tuple[list[str], tuple[str, ...]]:
    """What the sample of each row is called; of files, as `file_names` calls it.

    Where no column says it, a text is called by its first line, and what else there is by its own.

    Args:
        table: its column of files called `path`.

    Returns:
        a name for each row; and what is said of columns that could name texts and do not.

    Raises:
        DataError: a part of a video is none.
    """
    if "path" in table.columns:
        return file_names(table), ()
    text, naming = named_text_column(table.columns), _naming(table.columns)
    lines, notes = table.line_ids, ()
    if text is not None:
        first: dict[str, str] = {}
        pairs = zip(lines, table.texts(text), strict=True)
        lines = [first.setdefault(content, line) for line, content in pairs]
        shared = [name for name in naming if not _one_text_each(table, name, text)]
        naming = [name for name in naming if name not in shared]
        notes = tuple(
            f"The column {guard.shown(name)} has one name for several texts, "
            "so it names no samples."
            for name in shared
        )
    if not naming:
        return lines, notes
    called = zip(_names_in(table, naming[0]), lines, strict=True)
    return [name or line for name, line in called], notes


def _naming(columns: Sequence[str]) -> list[str]:
    """The columns that may name samples, the surest first."""
    is_text = named_text_column(columns) is not None
    lower = {name.lower(): name for name in columns}
    return [
        lower[name] for name in (_NAMES if is_text else (*_NAMES, *FILE_NAMES)) if name in lower
    ]


def _names_in(table: Table, column: str) -> list[str]:
    return [guard.shown(text.strip().removeprefix("./")) for text in table.texts(column)]


def _one_text_each(table: Table, column: str, text: str) -> bool:
    """Whether what a column names is one text each: a `task` may be that of all."""
    first: dict[str, str] = {}
    contents = (content.strip() for content in table.texts(text))
    pairs = zip(_names_in(table, column), contents, strict=True)
    # The text may be written in the first row of its sample alone.
    return all(first.setdefault(name, said) == said for name, said in pairs if name and said)
