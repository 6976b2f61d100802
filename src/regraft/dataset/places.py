"""Where the files lie that a table names: inside of its folder, unless their content is known."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from regraft.dataset.guard import MAX_BYTES, claims_picture
from regraft.dataset.video import claims_video
from regraft.errors import StoreError
from regraft.store import remembered_sha256


@final
@dataclass(frozen=True)
class Places:
    """Finds the files that a table names, and sees to it that they lie inside its folder.

    Attributes:
        root: the folder, resolved.
        known: paths as the table has them that may lead out of it, to a picture or a video with
            this sha256.
    """

    root: Path
    known: Mapping[str, str] = field(default_factory=dict[str, str])
    _inside: dict[Path, bool] = field(default_factory=dict[Path, bool])

    @staticmethod
    def of(table: Path, known: Mapping[str, str] | None = None) -> Places:
        """Those that a table may name."""
        return Places(table.resolve().parent, known or {})

    def find(self, text: str) -> Path | str:
        """The file, or the kind of problem: "missing", "outside", or "changed".

        What is known and not there is "changed", too: a table learns nothing of other folders.

        Args:
            text: the way to it from the folder, or an absolute one.
        """
        if "\0" in text or not text.strip():
            return "missing"
        path = self._existing(text)
        if path is None:
            if Path(os.path.normpath(self.root / text)).is_relative_to(self.root):
                return "missing"
            return "changed" if text in self.known else "outside"
        if not path.is_relative_to(self.root):
            path = path.parent.resolve() / path.name  # the folder may be known by another name
        if path.is_relative_to(self.root) and self._is_inside(path):
            return path
        if text not in self.known:
            return "outside"
        return path if _has_content(path, self.known[text]) else "changed"

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
    """Whether this is a picture or a video, by its name, with this checksum."""
    is_video = claims_video(path)
    if not is_video and not claims_picture(path):
        return False
    try:
        status = path.stat()
        fits = is_video or status.st_size <= MAX_BYTES
        return stat.S_ISREG(status.st_mode) and fits and remembered_sha256(path) == sha256
    except (OSError, StoreError):
        return False
