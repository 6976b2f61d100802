"""What of regraft's own code decides the numbers that are kept, as a checksum for their keys.

A number that is raised by hand with every change is forgotten one day, and then old numbers stand
beside new ones. So the files themselves are read, once a process: a quarter of a megabyte. Some
changes make what is kept be computed again though they change nothing; no change does less.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from regraft.store import digest

FRAMES = ("dataset/images.py", "dataset/video.py", "dataset/views.py", "transfer/clips.py")
"""Decide the frames of videos that are kept."""
ROWS = (
    *FRAMES,
    "backbones/*.py",
    "machine.py",
    "openvino_runtime.py",
    "seeds.py",
    "transfer/ahead.py",
    "transfer/compile.py",
    "transfer/compiled.py",
    "transfer/cut.py",
    "transfer/engine.py",
    "transfer/features.py",
    "transfer/packing.py",
    "transfer/parity.py",
    "transfer/pictures.py",
    "transfer/pooling.py",
    "transfer/runners.py",
    "transfer/shards.py",
    "transfer/tokens.py",
)
"""Decide compiled networks and activations: from a file to what crosses a cut."""
WORDS = ("dataset/words.py", "tasks/tfidf.py", "transfer/lexicon.py")
"""Decide what is read of the words of a text, by a head or by what stands beside the ladder."""


_PACKAGE = Path(__file__).parents[1]


@cache
def code(patterns: tuple[str, ...] = ROWS, root: Path = _PACKAGE) -> str:
    """The sha256 over files of a package, ours as a rule: their names, and all that is in them."""
    files = {file.relative_to(root).as_posix(): file for p in patterns for file in root.glob(p)}
    assert files, "regraft is installed as files of Python"
    return digest(*(part for name in sorted(files) for part in (name, files[name].read_bytes())))
