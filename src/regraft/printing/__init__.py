"""Finished results in words and tables, on stdout: a function for each verb, a file for its words.

Each takes a console and what the verb gave. Names of files and classes come from outside, so
whatever could move the cursor, ring or hide is shown escaped.
"""

from __future__ import annotations

from regraft.printing.catalogue import print_backbone, print_backbones, print_cache
from regraft.printing.described import print_description
from regraft.printing.evaluated import print_evaluation
from regraft.printing.fitted import print_fit, print_pretrained
from regraft.printing.labels import print_labels
from regraft.printing.lines import output
from regraft.printing.predicted import outcome, print_predictions

__all__ = [
    "outcome",
    "output",
    "print_backbone",
    "print_backbones",
    "print_cache",
    "print_description",
    "print_evaluation",
    "print_fit",
    "print_labels",
    "print_predictions",
    "print_pretrained",
]
