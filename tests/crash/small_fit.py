"""A real `regraft fit` that takes seconds: a small network, handwritten digits, one process."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

PATIENCE_S = 240.0
"""For a run that takes seconds on a quiet machine."""

NETWORK = """
import torch
from torch import nn

from regraft.backbones import Preprocessing


def block(inside, outside):
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        end = nn.Sequential(block(32, 64), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 4))
        stages = [("stem", block(3, 16)), ("body", block(16, 32)), ("end", end)]
    return stages, Preprocessing(size_px=32)
"""

PLAIN = "from regraft.cli import main; main()"

# The command as it is, but states and rows are kept so often that a kill finds some half-way.
HASTY = """
from regraft.cli import main
from regraft.transfer import features, loop

features.SHARD_ROWS = 16
loop.SAVE_EVERY_S, loop.SAVING_SHARE = 0.0, 1e9
main()
"""

# The command as it is, but it says each piece of progress, and stays there for a signal to arrive.
LEISURELY = """
import time

from regraft import terminal
from regraft.cli import main
from regraft.transfer import features


class Leisurely(terminal.PlainProgress):
    def __call__(self, event):
        super().__call__(event)
        time.sleep(0.1)


features.SHARD_ROWS = 16
terminal._LINE_EVERY_S = 0.0
terminal.PlainProgress = Leisurely
main()
"""

# The command as it is, but one of the calls by which the store changes the disk finds it full; a
# write of which half fitted comes before. Says at the end how many such calls there were.
FULL_DISK = """
import atexit
import errno
import os
import sys

from regraft.cli import main
from regraft.store import files
from regraft.transfer import features, loop

features.SHARD_ROWS = 16
loop.SAVE_EVERY_S, loop.SAVING_SHARE = 0.0, 1e9
calls = 0


class FullDisk:
    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in ("open", "write", "fsync", "replace"):
            return real

        def call(*arguments, **options):
            global calls
            calls += 1
            if calls == int(os.environ["REGRAFT_FULL_AT"]):
                if name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **options)

        return call


files.os = FullDisk()
atexit.register(lambda: print("calls:", calls, file=sys.stderr))
main()
"""


def write_digits(folder: Path, train: int = 10, valid: int = 10) -> None:
    """scikit-learn's digits as PNG files, so many a class."""
    bunch: Any = load_digits()
    seen = [0] * 10
    for number, (image, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        seen[label] += 1
        if seen[label] > train + valid:
            continue
        place = folder / ("train" if seen[label] <= train else "valid") / str(label)
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((255 - image / 16 * 255).astype(np.uint8))
        picture.resize((64, 64), Image.Resampling.BICUBIC).save(place / f"{number:04d}.png")


@dataclass(frozen=True)
class Fit:
    """`regraft fit` of the digits into one folder, with one cache.

    Attributes:
        home: holds the pictures and the network.
        out: the run.
        cache: of features and networks.
        script: what the process runs: `PLAIN`, `HASTY`, `LEISURELY` or `FULL_DISK`.
    """

    home: Path
    out: Path
    cache: Path
    script: str = PLAIN

    @property
    def said(self) -> Path:
        """What all processes of this run wrote to stderr."""
        return self.out.with_name(self.out.name + ".stderr")

    def start(self, train: str = "last:1") -> subprocess.Popen[bytes]:
        return self.fit("digits", f"local:{self.home / 'network.py'}:small", train)

    def fit(self, data: str, backbone: str, train: str) -> subprocess.Popen[bytes]:
        """`regraft fit` of anything in `home`."""
        words = ("--out", self.out, "--train", train, "--backbone", backbone)
        return self.command("fit", self.home / data, *words)

    def ended(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for a process of this run; it must end well."""
        assert process.wait(PATIENCE_S) == 0, self.said.read_text()

    def command(self, *words: object) -> subprocess.Popen[bytes]:
        """Any command of regraft, in a process group of its own."""
        with self.said.open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-c", self.script, *map(str, words)],
                env={**os.environ, "REGRAFT_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                # A shell that starts the tests in the background has Ctrl-C ignored.
                preexec_fn=_mind_interrupts,
            )

    def finish(self, train: str = "last:1") -> str:
        """Run it to its end; what it wrote to stderr."""
        before = self.said.stat().st_size if self.said.exists() else 0
        code = self.start(train).wait(PATIENCE_S)
        text = self.said.read_bytes()[before:].decode()
        assert code == 0, text
        return text

    def results(self) -> dict[str, str]:
        """sha256 of the model and of what every step learnt."""
        files = [self.out / "model" / "model.safetensors", *self.out.glob("steps/*.safetensors")]
        return {
            path.relative_to(self.out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(files)
        }

    def shards(self) -> dict[Path, int]:
        """Committed files of features, with the time each was written."""
        return {path: path.stat().st_mtime_ns for path in self.cache.glob("features/*/*.rows")}

    def checkpoints(self) -> list[Path]:
        return list(self.out.glob("checkpoints/*.json"))


def _mind_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the whole group, as when memory runs out or a job is cancelled."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)


def wait_for(happened: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Poll until something happened; it must before the process ends."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert process.poll() is None, "the process ended first"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def flip_bit(path: Path) -> None:
    """Change one bit in the middle of a file, as a bad disk does."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
