"""Why a picture that annotations name may not have been found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import final

from regraft.dataset import guard


@final
class Hints:
    """What is said of pictures that are missing.

    Args:
        root: the data's folder, resolved.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._in_folder: dict[Path, dict[str, str]] = {}

    def of(self, file: Path, looked: Sequence[Path]) -> str:
        """Where a picture was looked for, and why it may not have been found.

        Args:
            file: where it ought to be.
            looked: the paths at which it was looked for, where there are several.
        """
        paths = [Path(os.path.abspath(path)) for path in looked or [file]]  # noqa: PTH100
        paths = [path for path in paths if path.is_relative_to(self._root)]
        folders = dict.fromkeys(path.parent for path in paths if path.parent.is_dir())
        names = [guard.shown(folder.relative_to(self._root)) for folder in folders]
        names = ["the data's folder" if name == "." else f"{name}/" for name in names]
        hints = f" It was looked for in {', '.join(names)}." if looked and names else ""
        alike = (self._like(folder, file.name) for folder in folders)
        if found := next(filter(None, alike), ""):
            hints += f" There is {guard.shown(found)}: upper and lower case differ."
        if "\\" in file.name:
            hints += " The name has backslashes; folders are parted by /."
        return hints

    def _like(self, folder: Path, name: str) -> str:
        """What is in a folder under that name but for upper and lower case, or ""."""
        if folder not in self._in_folder:
            files = (file.name for file, _ in guard.listed(folder))
            self._in_folder[folder] = {file.casefold(): file for file in files}
        return self._in_folder[folder].get(name.casefold(), "")
