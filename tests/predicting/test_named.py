"""What names, folders and patterns stand for."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from regraft.errors import UnreadableSample
from regraft.predicting import texts
from regraft.predicting.named import files_of


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("a.jpg", "sub/b.jpg", ".thumbs/a.jpg", "sub/.hidden.jpg", "sub/Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (".", ["a.jpg", "sub/b.jpg"]),
        ("*", ["a.jpg", "sub/b.jpg"]),
        ("**/*.jpg", ["a.jpg", "sub/b.jpg"]),
        ("s[u]b", ["sub/b.jpg"]),
        (".thumbs", [".thumbs/a.jpg"]),
        (".thumbs/*.jpg", [".thumbs/a.jpg"]),
        ("sub/.hidden.jpg", ["sub/.hidden.jpg"]),
        ("none.jpg", ["none.jpg"]),
        ("none*.jpg", []),
    ],
)
def test_hidden_files_are_no_data_unless_named(place: Path, asked: str, found: list[str]) -> None:
    assert [str(p.relative_to(place)) for p in files_of([place / asked])] == found


def test_patterns_may_be_relative(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "sub")
    assert [str(p) for p in files_of(["../*.jpg", "*.jpg"])] == ["../a.jpg", "b.jpg"]


def test_lines_of_stdin_are_read_as_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\xef\xbb\xbfgood\r\ncaf\xe9\n\nbad \0\nlast"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    found = dict(texts._texts(["-"], ""))
    assert [found[f"line {n}"] for n in (1, 2, 5)] == ["good", "caf\u00e9", "last"]
    assert all(isinstance(found[f"line {n}"], UnreadableSample) for n in (3, 4))
