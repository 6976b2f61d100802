"""Data in: `read` a data set, `describe` it, and check a reader of your own.

dataset = read("photos/")
for sample in dataset.split("train"):
    image = images.decode(sample.source)
    pixels = views.square(image, 224, 0.875, "bicubic", View(), sample.sha256)
"""

from regraft.dataset import clips, guard, images, texts, video, views
from regraft.dataset.choosing import (
    check_column_names,
    check_columns,
    check_texts,
    guess_task,
    reader_for,
    refuse_run,
)
from regraft.dataset.reader import Reader, check_reader
from regraft.dataset.reading import read, read_all, read_to_inspect
from regraft.dataset.rows import SPLITS, Dataset, Problem, Sample, Split, Target
from regraft.dataset.summary import describe
from regraft.dataset.table import columns_of
from regraft.dataset.table_columns import lines_of
from regraft.dataset.table_rows import reader_of
from regraft.dataset.unlabelled import read_unlabelled, read_unlabelled_texts
from regraft.dataset.views import View

__all__ = [
    "SPLITS",
    "Dataset",
    "Problem",
    "Reader",
    "Sample",
    "Split",
    "Target",
    "View",
    "check_column_names",
    "check_columns",
    "check_reader",
    "check_texts",
    "clips",
    "describe",
    "guard",
    "guess_task",
    "images",
    "read",
    "read_all",
    "read_to_inspect",
    "read_unlabelled",
    "read_unlabelled_texts",
    "texts",
    "columns_of",
    "lines_of",
    "reader_for",
    "reader_of",
    "refuse_run",
    "video",
    "views",
]
