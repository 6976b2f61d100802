"""Which reader reads what lies at a path, and which task that is for.

A user may say either; what does not fit together is refused, with what else would.
"""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path

from regraft.dataset import guard
from regraft.dataset.boxes.formats import form_of, no_boxes_at
from regraft.dataset.boxes.samples import BoxReader
from regraft.dataset.clips import VideoFolderReader
from regraft.dataset.folder import FolderReader, TextFolderReader, reader_asked_for
from regraft.dataset.form import FormReader
from regraft.dataset.reader import LAYOUT, Reader
from regraft.dataset.rows import Dataset, Problem
from regraft.dataset.table import columns_of, read_table
from regraft.dataset.table_columns import (
    named,
    named_text_column,
    task_of,
    text_column,
    with_path,
)
from regraft.dataset.table_rows import TableReader
from regraft.dataset.usable import TASKS
from regraft.errors import DataError, UsageError

_SHEETS = (".xlsx", ".xlsm", ".xls", ".ods")
_ARCHIVES = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".tar", ".zip", ".7z", ".rar")
_SAMPLES = {
    "image-classification": "pictures with their classes",
    "object-detection": "pictures with boxes",
    "text-classification": "texts with their classes",
    "video-classification": "videos with their classes",
}
"""What each task learns from."""

READERS: tuple[Reader, ...] = (
    BoxReader(),
    TextFolderReader(),
    VideoFolderReader(),
    FolderReader(),
    FormReader(),
    TableReader(),
)


def check_task(task: str | None) -> None:
    """Refuse a task that there is not.

    Raises:
        UsageError: names the one that may be meant.
    """
    if task not in (None, *TASKS):
        near = difflib.get_close_matches(task, TASKS, n=1)
        use = f"did you mean {near[0]}? Use" if near else "use"
        raise UsageError(
            f"There is no task {task!r}.",
            where="--task",
            mend=f"{use} {' or '.join(TASKS)}",
        )


def guess_task(path: Path, task: str | None = None, reader: Reader | None = None) -> str:
    """What the data at a path look like, unless the user says what they are.

    Args:
        path: the data.
        task: what the user says.
        reader: the user's own, which knows the task of what it reads.

    Raises:
        DataError: there is a table that cannot be read, or the reader cannot read what is there.
        UsageError: there is no such task, or the path is a run.
    """
    refuse_run(path)
    if task is not None:
        check_task(task)
        return task
    if reader is not None:
        return _rows_of(path, reader).task
    if BoxReader().recognises(path):
        return "object-detection"
    if TextFolderReader().recognises(path):
        return "text-classification"
    if VideoFolderReader().recognises(path):
        return "video-classification"
    return task_of(path) if TableReader().recognises(path) else "image-classification"


def refuse_run(path: Path) -> None:
    """Refuse what an earlier command wrote where data are meant.

    Raises:
        UsageError: the folder is a run.
    """
    if not guard.is_run(path):
        return
    run = shlex.quote(guard.shown(path))
    if (path / "backbone" / "backbone.json").is_file():
        mend = f"give data to start from it with: --backbone {run}"
    elif (path / "model" / "model.json").is_file():
        mend = f"give data, or use the run: regraft predict {run} INPUT..., regraft report {run}"
    else:
        mend = "repeat the command that began it; what is done is kept"
    raise UsageError("this is a run of regraft, no data", where=guard.shown(path), mend=mend)


def reader_for(path: Path, reader: Reader | None) -> Reader | None:
    """The reader for further data; its columns count where the data have them."""
    if isinstance(reader, TableReader) and not {reader.text, reader.label} - {""} <= set(
        columns_of(path)
    ):
        return None
    return reader


def check_columns(reader: Reader | None, path: Path) -> None:
    """Refuse columns that were named for what is no table.

    Raises:
        UsageError: they were.
    """
    if isinstance(reader, TableReader) and (reader.text or reader.label):
        if path.exists() and not reader.recognises(path):
            raise UsageError(
                f"Only tables have columns; {guard.shown(path)} is none.",
                where="--columns",
                mend="leave it out, or give a table (CSV, TSV, Parquet or JSON lines)",
            )


def check_column_names(reader: Reader | None, path: Path) -> None:
    """Refuse columns that were named for a table that does not have them.

    The whole of it is read only where its first lines lack them.

    Raises:
        DataError: the table has none of this name, or cannot be read.
    """
    if isinstance(reader, TableReader) and reader.recognises(path):
        if not {reader.text, reader.label} - {""} <= set(columns_of(path)):
            named(read_table(path), reader.text, reader.label)  # a line of JSON may lack some


def check_texts(path: Path) -> None:
    """Refuse a table that is taken for one of texts, and has no column that can hold them.

    It is read only where no column is called as those of texts are.

    Raises:
        DataError: there is none, or it is not clear which; or the table cannot be read.
    """
    if TableReader().recognises(path) and named_text_column(columns_of(path)) is None:
        text_column(with_path(read_table(path)))


def asked_for(task: str | None, path: Path) -> Reader | None:
    """The reader of the files that a task is for, where a folder may hold several kinds."""
    reader = None if task is None else reader_asked_for(task, path)
    return None if reader is None or BoxReader().recognises(path) else reader


def list_rows(path: Path, reader: Reader | None, task: str | None, mend: str = "") -> Dataset:
    """The rows of whatever lies at a path, before any file of them is opened.

    Args:
        path: a file or a folder.
        reader: the user's own; None takes the one that recognises the path.
        task: what the rows have to be for, or None.
        mend: what else helps where they are for another.

    Raises:
        DataError: nothing can be read, or it is for another task.
        UsageError: the path is a run, or columns were named for what is no table.
    """
    try:
        found = _rows_of(path, reader or asked_for(task, path))
    except DataError as fault:
        # Not that classes lack, or columns, where they would not help.
        if task not in (None, "text-classification") and _is_of_texts(path):
            raise _for_another(path, "text-classification", task, mend) from fault
        is_read = path.is_dir() or (TableReader().recognises(path) and columns_of(path) != ())
        if task == "object-detection" and is_read and form_of(path) is None:
            raise no_boxes_at(path) from fault
        raise
    if task not in (None, found.task):
        raise _for_another(path, found.task, task, mend)
    return found


def _is_of_texts(path: Path) -> bool:
    """Whether this is a table whose columns say that it is of texts, not of files."""
    columns = columns_of(path) if TableReader().recognises(path) else ()
    return "path" not in columns and named_text_column(columns) is not None


def _for_another(path: Path, found: str, task: str, mend: str) -> DataError:
    """What is said of data that are for another task than was asked for."""
    is_table = TableReader().recognises(path)
    if found == "text-classification" and task != "object-detection" and is_table:
        mend += "call the column with the names of the files `path`, or "
    return DataError(
        f"This looks like data for {found}, not for {task}: these are {_SAMPLES[found]}, "
        f"and {_SAMPLES[task]} are needed.",
        where=guard.shown(path),
        mend=f"{mend}give {_SAMPLES[task]}",
    )


def _rows_of(path: Path, reader: Reader | None) -> Dataset:
    if not path.exists():
        raise guard.nothing_at(path)
    refuse_run(path)
    check_columns(reader, path)
    for candidate in READERS if reader is None else (reader,):
        if candidate.recognises(path):
            return _labelled(candidate.read(path))
    names = (
        " or a ".join(dict.fromkeys(known.name for known in READERS))
        if reader is None
        else reader.name
    )
    if path.suffix.lower() in _SHEETS:
        raise DataError(
            "This is a spreadsheet.", where=guard.shown(path), mend="save it as CSV, in UTF-8"
        )
    if path.suffix.lower() in _ARCHIVES:
        raise DataError(
            "This is an archive.",
            where=guard.shown(path),
            mend="unpack it, and give what was in it",
        )
    raise DataError(f"This is not a {names}.", where=guard.shown(path), mend=LAYOUT)


def _labelled(dataset: Dataset) -> Dataset:
    problems = [
        Problem("no-label", sample.id, "It has no label.", "left out")
        for sample in dataset
        if sample.target is None
    ]
    kept = (sample for sample in dataset if sample.target is not None)
    return dataset.with_samples(kept).with_problems(problems)
