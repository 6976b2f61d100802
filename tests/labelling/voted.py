"""Tables of votes for tests, and votes as rows."""

from __future__ import annotations

from pathlib import Path

from regraft.labelling.votes import Value, Votes


def votes_file(folder: Path, text: str, name: str = "votes.csv") -> Path:
    """A table of votes in a folder."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def as_rows(votes: Votes) -> list[tuple[str, str, Value]]:
    """Votes as `votes_of` takes them, sorted."""
    return sorted(
        (votes.samples[u], votes.annotators[a] if a >= 0 else "", votes.values[k])
        for u, a, k in zip(votes.sample_v, votes.annotator_v, votes.value_v, strict=True)
    )


def empty_files(folder: Path, *names: str) -> None:
    """Files that a table of votes can name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
