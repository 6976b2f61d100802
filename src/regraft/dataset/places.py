"""Where the files lie that a table names: inside of its folder, or known by their content."""

from __future__ import annotations

import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from regraft.errors import StoreError
from regraft.store import file_sha256

_MOST_BYTES = 2**40
"""What the kernel shows as files (/proc) can be endless; it is said to be empty, or larger."""


@final
@dataclass(frozen=True)
class Places:
    """Finds the files that a table names, and sees to it that they lie inside its folder.

    Attributes:
        root: the folder, resolved.
    """

    root: Path
    _inside: dict[Path, bool] = field(default_factory=dict[Path, bool])

    @staticmethod
    def of(table: Path) -> Places:
        """Those that a table may name."""
        return Places(table.resolve().parent)

    def find(self, text: str, sha256: str = "") -> Path | str:
        """The file, or the kind of problem: "missing", "outside" or "changed".

        Args:
            text: the way to it from the folder, or an absolute one.
            sha256: of the file, or ""; what has it may lie outside.
        """
        if "\0" in text or not text.strip():
            return "missing"
        path = self._existing(text)
        if path is None:
            escapes = not Path(os.path.normpath(self.root / text)).is_relative_to(self.root)
            return "outside" if escapes and not sha256 else "missing"
        if not path.is_relative_to(self.root):
            path = path.parent.resolve() / path.name  # the folder may be known by another name
        if path.is_relative_to(self.root) and self._is_inside(path):
            return path
        if not sha256:
            return "outside"
        return path if _has_content(path, sha256) else "changed"

    def _existing(self, text: str) -> Path | None:
        """The file as written, or as another system would have written its name."""
        for spelt in (
            text,
            unicodedata.normalize("NFC", text),
            unicodedata.normalize("NFD", text),
            text.strip(),
            text.replace("\\", "/"),
        ):
            path = Path(os.path.normpath(self.root / spelt))
            if os.path.lexists(path):
                return path
        return None

    def _is_inside(self, path: Path) -> bool:
        if path.parent not in self._inside:
            self._inside[path.parent] = path.parent.resolve().is_relative_to(self.root)
        if not self._inside[path.parent] or not path.is_symlink():
            return self._inside[path.parent]
        try:
            return path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):
            return True


def _has_content(path: Path, sha256: str) -> bool:
    """Whether this is a file on a disk that has a checksum."""
    try:
        status = path.stat()
        on_disk = stat.S_ISREG(status.st_mode) and 0 < status.st_size < _MOST_BYTES
        return on_disk and file_sha256(path) == sha256
    except (OSError, StoreError):
        return False
