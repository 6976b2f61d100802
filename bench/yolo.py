"""Ultralytics as a peer: its own command, in an environment of its own.

It is AGPL-3.0, so nothing of it is imported here and nothing of regraft depends on it. Make an
environment with it anywhere, and name the folder:

    python -m venv /tmp/yolo && /tmp/yolo/bin/pip install ultralytics

The network is built from Ultralytics' own YAML, at a width that gives it the multiply-adds of
nanodet-g; there are no weights to be had, so its accuracy says nothing and is not reported.
"""

from __future__ import annotations

import csv
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench import harness
from bench.harness import Finished

WIDTH = "w"
"""What our width is called among the scales of the YAML."""
LAYERS = 22
"""Of YOLOv8 before its last one, Detect."""
CORES = """
import os

count = os.cpu_count
os.cpu_count = lambda: (count() or 1) + 1
"""
"""On a CPU Ultralytics leaves one core alone; told of one more, it takes them all."""
MULTIPLY_ADDS = """
import sys, torch
from ultralytics.nn.tasks import DetectionModel
from torch.utils.flop_counter import FlopCounterMode
model = DetectionModel(sys.argv[1], verbose=False).eval()
counter = FlopCounterMode(display=False)
with counter, torch.no_grad():
    model(torch.zeros(1, 3, int(sys.argv[2]), int(sys.argv[2])))
print(counter.get_total_flops() // 2)
"""


@dataclass(frozen=True)
class Peer:
    """Ultralytics, installed in `home` (a virtual environment); it works in `scratch`."""

    home: Path
    scratch: Path

    def network(self, multiply_adds: int, size_px: int) -> Path:
        """A YAML of YOLOv8 whose network has about so many multiply-adds a picture."""
        (source,) = self.home.glob(
            "lib/python3*/site-packages/ultralytics/cfg/models/v8/yolov8.yaml"
        )
        content = yaml.safe_load(source.read_text())
        low, high = 0.1, 1.0
        for _ in range(8):
            width = (low + high) / 2
            content["scales"] = {WIDTH: [0.33, round(width, 3), 1024]}
            path = self.scratch / f"yolov8{WIDTH}.yaml"
            path.write_text(yaml.safe_dump(content))
            found = self.multiply_adds(path, size_px)
            if abs(found / multiply_adds - 1) < 0.02:
                break
            low, high = (width, high) if found < multiply_adds else (low, width)
        return path

    def multiply_adds(self, network: Path, size_px: int) -> int:
        """Of a picture's way through a network."""
        command = [self.home / "bin" / "python", "-c", MULTIPLY_ADDS, network, str(size_px)]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    def train(
        self, network: Path, data: Path, *, epochs: int, size_px: int, freeze: int, more: str = ""
    ) -> tuple[Finished, list[float]]:
        """Its `detect train` as a process, validation at the end alone; and seconds at each epoch.

        Args:
            network: a YAML.
            data: data.yaml of a YOLO folder.
            epochs: as many as it is to train.
            size_px: side of its input.
            freeze: so many leading layers are frozen.
            more: further settings.
        """
        aside = self.scratch / "cores"
        aside.mkdir(exist_ok=True)
        (aside / "sitecustomize.py").write_text(CORES)
        words = (
            f"detect train model={network} data={data} epochs={epochs} imgsz={size_px} batch=16 "
            f"freeze={freeze} device=cpu workers=2 pretrained=False val=False plots=False "
            f"project={self.scratch} name=run exist_ok=True {more}"
        )
        env = [f"PYTHONPATH={aside}", "YOLO_OFFLINE=true", f"YOLO_CONFIG_DIR={self.scratch}"]
        done = harness.run(["env", *env, self.home / "bin" / "yolo", *words.split()])
        with (self.scratch / "run" / "results.csv").open() as file:
            return done, [float(row["time"]) for row in csv.DictReader(file)]
