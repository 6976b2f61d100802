"""A new head on a prepared backbone needs none of the slow libraries, and never the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from regraft.store import cache_folder

SLOW = ("torch", "torchvision", "timm", "sklearn", "matplotlib")

FIT = """
import json
import socket
import sys


def refuse(*address):
    raise AssertionError(f"connects to {address}")


socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse

from regraft import verbs

data, out, backbone = sys.argv[1:]
report = verbs.fit(data, out, backbone=backbone, train="head").report
print(json.dumps([sorted(sys.modules), report["engine"]["name"]]))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(("day", "night")):
        tiny.pictures(folder / name, 12, first=100 * number)
    return folder


@pytest.mark.usefixtures("compiled")
def test_fit_head_imports_nothing_slow_and_opens_no_connection(
    photos: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIT, photos, tmp_path / "run", tiny.address("residual")],
        env={**os.environ, "REGRAFT_CACHE": str(cache_folder())},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=240,
    )
    modules, engine = json.loads(done.stdout)
    assert engine.startswith("openvino")
    assert "regraft.transfer.features" in modules
    assert not set(SLOW) & set(modules)
