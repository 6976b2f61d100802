"""What tests of contrastive pre-training do with a place: a pool, a network, and runs of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from regraft.events import Event, Stepped
from regraft.pretraining import Settings, pretrain

KEEPING_EVERY_STEP = """
import json, sys
from regraft.pretraining import Settings, pretrain
from regraft.transfer import loop
loop.SAVE_EVERY_S, loop.SAVING_SHARE = 0.0, 1e9
pretrain(*sys.argv[1:3], backbone=sys.argv[3], settings=Settings(**json.loads(sys.argv[4])))
"""


def start(place: Path) -> str:
    return f"local:{place / 'net.py'}:tiny"


def weights(run: Path) -> bytes:
    return (run / "backbone" / "weights.safetensors").read_bytes()


def steps_of(place: Path, out: str, asked: Settings) -> list[int]:
    """Run the command (again), and say which steps were taken."""
    events: list[Event] = []
    pretrain(place / "pool", place / out, backbone=start(place), settings=asked, tell=events.append)
    return [event.step for event in events if isinstance(event, Stepped)]


def killed(place: Path, out: str, asked: Settings) -> None:
    """Run the command in a process of its own, until a state after ten steps is kept."""
    said = ["pool", out, start(place), json.dumps(asdict(asked))]
    command = [sys.executable, "-c", KEEPING_EVERY_STEP, *said]
    process = subprocess.Popen(command, cwd=place, env=dict(os.environ))
    while process.poll() is None and not list((place / out).glob("checkpoints/*0001?.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
