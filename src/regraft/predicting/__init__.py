"""The inside of `predict`: what a model says of pictures, texts and videos, what objects it finds.

A function for each kind takes the model, its backbone as it is prepared, what is to be looked at
and who listens, and gives an answer for each, in order.
"""

from regraft.predicting.named import files_of, not_entered, not_meant, nothing_found
from regraft.predicting.objects import Wanted, check_wanted, find_objects, put_together
from regraft.predicting.pictures import label_pictures
from regraft.predicting.spreadsheet import as_csv
from regraft.predicting.texts import label_texts, texts_of
from regraft.predicting.videos import label_videos

__all__ = [
    "Wanted",
    "as_csv",
    "check_wanted",
    "files_of",
    "find_objects",
    "label_pictures",
    "label_texts",
    "label_videos",
    "not_entered",
    "not_meant",
    "nothing_found",
    "put_together",
    "texts_of",
]
