"""Tables beside a few pictures, for tests."""

from __future__ import annotations

from pathlib import Path

from made_pictures import noise, saved

from regraft.dataset import Dataset


def table(root: Path, text: str, name: str = "labels.csv") -> Path:
    for index in range(4):
        path = root / f"img/{index}.png"
        if not path.exists():
            saved(noise(index), path)
    path = root / name
    path.write_text(text, encoding="utf-8")
    return path


def targets(dataset: Dataset) -> list[tuple[str, ...]]:
    return [
        tuple(dataset.classes[c] for c in (s.target if isinstance(s.target, tuple) else [s.target]))
        for s in dataset
    ]
