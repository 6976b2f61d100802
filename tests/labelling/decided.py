"""Decisions for tests, and the mails that they are about."""

from __future__ import annotations

from pathlib import Path

from regraft.dataset import Dataset, Sample
from regraft.labelling.journal import Decision, Journal
from regraft.labelling.matching import content_key
from regraft.store import digest


def journal_in(folder: Path) -> Journal:
    """A journal in a folder."""
    return Journal(folder / "photos.decisions.jsonl")


def mails_of(*texts: str, digits: int = 2) -> Dataset:
    """A table of mails, all of them ham."""
    samples = tuple(
        Sample(f"line {line:0{digits}d}", text, 0, digest(text))
        for line, text in enumerate(texts, 2)
    )
    return Dataset(Path("mails.csv"), "text-classification", ("ham", "spam"), samples)


def call_spam(journal: Journal, sample: Sample) -> None:
    """Ann decides that a mail is spam."""
    content = content_key(sample)
    journal.decide(Decision(sample.id, sample.id, "ann", "change", ("spam",), content=content))


def spam_in(dataset: Dataset) -> list[str]:
    """The texts whose label is spam."""
    return [str(sample.source) for sample in dataset if sample.target == 1]
