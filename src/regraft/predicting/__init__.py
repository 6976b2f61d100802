"""The inside of `predict` and `evaluate`: what a model says of pictures, texts and videos."""

from regraft.predicting.named import (
    files_of,
    not_entered,
    not_meant,
    nothing_found,
    relabelled,
    vectors,
)
from regraft.predicting.objects import (
    Wanted,
    check_wanted,
    find_objects,
    found_in,
    put_together,
)
from regraft.predicting.pictures import label_pictures
from regraft.predicting.texts import label_texts
from regraft.predicting.videos import label_videos

__all__ = [
    "Wanted",
    "check_wanted",
    "find_objects",
    "found_in",
    "label_pictures",
    "label_texts",
    "label_videos",
    "files_of",
    "not_entered",
    "not_meant",
    "nothing_found",
    "put_together",
    "relabelled",
    "vectors",
]
