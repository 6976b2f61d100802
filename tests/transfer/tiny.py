"""What the tests of the cut, the engines and the cache share; imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regraft.backbones import Backbone
from regraft.dataset import Sample
from regraft.store import cache_folder

SIZE_PX = 32


def address(function: str) -> str:
    return f"local:{Path(__file__).with_name('tiny_networks.py').absolute()}:{function}"


def pictures(folder: Path, count: int, first: int = 0) -> list[Sample]:
    """Blurred noise of different colours, as PNG files."""
    folder.mkdir(exist_ok=True)
    samples: list[Sample] = []
    for number in range(first, first + count):
        path = folder / f"{number:04d}.png"
        noise = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((48, 40), Image.Resampling.BICUBIC).save(path)
        samples.append(Sample(path.name, path, 0, hashlib.sha256(path.read_bytes()).hexdigest()))
    return samples


def python(program: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """A fresh interpreter that runs a program with these arguments; its stdout is a pipe."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def written(backbone: Backbone, path: Path) -> Path:
    """A backbone's description, for `read` in another process."""
    path.write_text(json.dumps([backbone.to_json(), str(backbone.weights)]))
    return path


def read(path: str) -> Backbone:
    values, weights = json.loads(Path(path).read_text())
    return Backbone.from_json(values, Path(weights))


def fresh_cache(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A copy of the session's cache without features, in its place until the test ends."""
    shutil.copytree(
        cache_folder(), folder, ignore=shutil.ignore_patterns("features", "verdicts", "*.lock")
    )
    patch.setenv("REGRAFT_CACHE", str(folder))
    return folder
