"""Where the files lie that a table names: inside of its folder, unless their content is known."""

from __future__ import annotations

import os
import stat
import unicodedata
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

    A file is what its path leads to as it is written, `..` taken off with the folder before it:
    open what is found, as a path whose folder is a link may lead elsewhere otherwise.

    Attributes:
        root: the folder, resolved.
    """

    root: Path
    _inside: dict[Path, bool] = field(default_factory=dict[Path, bool])
    _found: dict[tuple[str, str], Path | str] = field(
        default_factory=dict[tuple[str, str], Path | str]
    )

    @staticmethod
    def of(table: Path) -> Places:
        """Those that a table may name."""
        return Places(table.resolve().parent)

    def find(self, text: str, sha256: str = "") -> Path | str:
        """The file, or the kind of problem: "missing", "outside", or "changed".

        What is known and not there is "changed", too: a table learns nothing of other folders.

        Args:
            text: the way to it from the folder, or an absolute one.
            sha256: of its content, in lower case; the file may then lie outside of the folder, if
                it is a picture or a video. "" where it is not known.
        """
        named = text, sha256
        if named not in self._found:
            self._found[named] = self._find(text, sha256)
        return self._found[named]

    def _find(self, text: str, sha256: str) -> Path | str:
        if "\0" in text or not text.strip():
            return "missing"
        path = self._existing(text)
        if path is None:
            if Path(os.path.normpath(self.root / text)).is_relative_to(self.root):
                return "missing"
            return "changed" if sha256 else "outside"
        if not path.is_relative_to(self.root):
            path = path.parent.resolve() / path.name  # the folder may be known by another name
        is_inside = path.is_relative_to(self.root) and self._is_inside(path)
        if not sha256:
            return path if is_inside else "outside"
        may_be = is_inside or claims_video(path) or claims_picture(path)
        return path if may_be and _has_content(path, sha256) else "changed"

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
    """Whether this is a file with this checksum, and not too large to be read."""
    try:
        status = path.stat()
        fits = claims_video(path) or status.st_size <= MAX_BYTES
        return stat.S_ISREG(status.st_mode) and fits and remembered_sha256(path) == sha256
    except (OSError, StoreError):
        return False
