from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from made_pictures import classes, noise, saved

from regraft.dataset import Dataset, Problem, check_reader
from regraft.dataset.folder import FolderReader
from regraft.errors import ContractBroken


@dataclass
class Spoilt:
    """The folder reader with one promise broken."""

    spoil: Callable[[Dataset], Dataset]
    name: str = "spoilt"
    reads: list[Path] = field(default_factory=list)

    def recognises(self, path: Path) -> bool:
        return path.is_dir()

    def read(self, path: Path) -> Dataset:
        self.reads.append(path)
        return self.spoil(FolderReader().read(path))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    saved(noise(9), tmp_path / "data" / "lost.png")
    return classes(tmp_path / "data", cat=2, dog=2)


def first(dataset: Dataset, **changes: object) -> Dataset:
    return dataset.with_samples([replace(dataset.samples[0], **changes), *dataset.samples[1:]])


OUTSIDE = Path(__file__).resolve()
BREACHES: dict[str, tuple[Callable[[Dataset], Dataset], str]] = {
    "drops a sample": (lambda d: d.with_samples(d.samples[1:]), "5 found, but 3 samples"),
    "drops and hides it": (
        lambda d: replace(d, samples=d.samples[1:], found=4),
        "neither a sample nor a problem",
    ),
    "drops a problem": (lambda d: replace(d, problems=()), "5 found"),
    "order": (lambda d: d.with_samples(reversed(d.samples)), "not sorted by id"),
    "repeats": (lambda d: d.with_samples([d.samples[0], *d.samples]), "two samples have one id"),
    "target too large": (lambda d: first(d, target=2), "does not fit"),
    "target below zero": (lambda d: first(d, target=-1), "does not fit"),
    "target of several labels": (lambda d: first(d, target=(0,)), "does not fit"),
    "split": (lambda d: first(d, split="holdout"), "no split 'holdout'"),
    "outside": (lambda d: first(d, source=OUTSIDE), "outside the data"),
    "unprintable": (lambda d: first(d, id="a\nb"), "not one printable line"),
    "classes": (lambda d: replace(d, classes=("dog", "cat")), "not sorted, unique and named"),
    "mute problem": (lambda d: d.with_problems([Problem("x", "", "y")]), "does not say all"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_breaches_are_found(data: Path, breach: str) -> None:
    spoil, message = BREACHES[breach]
    with pytest.raises(ContractBroken, match=message):
        check_reader(Spoilt(spoil), data)


def test_a_sound_reader_passes(data: Path) -> None:
    check_reader(Spoilt(lambda dataset: dataset), data)


def test_readings_that_differ_are_found(data: Path) -> None:
    reader = Spoilt(lambda dataset: dataset)
    reader.spoil = lambda dataset: first(dataset, group=str(len(reader.reads)))
    with pytest.raises(ContractBroken, match="reading twice"):
        check_reader(reader, data)


def test_recognising_is_checked(data: Path) -> None:
    with pytest.raises(ContractBroken, match="says no"):
        check_reader(FolderReader(), data / "lost.png")
    with pytest.raises(ContractBroken, match="`name` is empty"):
        check_reader(Spoilt(lambda dataset: dataset, name=""), data)
