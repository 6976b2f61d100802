"""The server is killed at random moments of a review; no decision is lost, none is doubled.

REGRAFT_KILLS is how often (24).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import socket
import threading
import time
from http.client import HTTPException
from pathlib import Path
from typing import final

from desks import CLASSES, ask, serve_pictures

from regraft.labelling.journal import Journal
from regraft.labelling.verdicts import verdicts

KILLS = int(os.environ.get("REGRAFT_KILLS", "24"))
SAMPLES = [f"{n:03d}.png" for n in range(6)]


@final
class Mortal:
    """A server that comes back after each death, at the same port with another token."""

    def __init__(self, folder: Path) -> None:
        # The fork server does not take over sys.path everywhere, but it inherits the environment.
        os.environ["PYTHONPATH"] = str(Path(__file__).parent)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["desks"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._folder = str(folder)
        self._guard = threading.Lock()
        self.address = ""
        self._process = None
        self.start()

    def start(self) -> None:
        """A new life."""
        near, far = self._context.Pipe()
        arguments = (self._folder, self._port, far)
        process = self._context.Process(target=serve_pictures, args=arguments, daemon=True)
        process.start()
        far.close()
        assert near.poll(30), "the server does not start"
        self.address, self._process = near.recv(), process
        near.close()

    def kill(self) -> None:
        """SIGKILL, whatever it is doing, and a new life."""
        with self._guard:
            self._process.kill()
            self._process.join()
            self._process.close()
            self.start()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()


def review(mortal: Mortal, reviewer: str, acts: list[dict], heard: list[str]) -> None:
    """What a page does: one act after the other, each until the server says it has it."""
    for act in acts:
        path = "undo" if "of" in act else "decide"
        for _ in range(2000):
            try:
                reply = ask(mortal.address, path, {**act, "reviewer": reviewer})
            except (OSError, HTTPException):
                time.sleep(0.002)
                continue
            if reply.status == 200:
                json.loads(reply.data)
                heard.append(act["key"])
                break
            assert reply.status == 403, reply  # the token of an earlier life
        else:
            raise AssertionError("the server does not come back")


def _acts(reviewer: str, count: int) -> tuple[list[dict], list[str]]:
    """Decisions, every fifth of them taken back, and the keys that must stand in the end."""
    rng = random.Random(reviewer)
    acts: list[dict] = []
    standing: list[str] = []
    for n in range(count):
        key = f"{reviewer}-decides-{n:04d}"
        action = rng.choice(["keep", "change", "skip"])
        place = rng.randrange(len(SAMPLES))
        labels = [CLASSES[(place + 1) % len(CLASSES)]] if action == "change" else []
        acts.append({"key": key, "sample": SAMPLES[place], "action": action, "labels": labels})
        if n % 5 == 4:
            acts.append({"key": f"{reviewer}-takes-back-{n:04d}", "of": key})
        else:
            standing.append(key)
    return acts, standing


def test_a_server_killed_at_random_moments_loses_and_doubles_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    mortal = Mortal(tmp_path)
    plans = {name: _acts(name, 10 * KILLS) for name in ("ann", "ben")}
    heard: dict[str, list[str]] = {name: [] for name in plans}
    people = [
        threading.Thread(target=review, args=(mortal, name, acts, heard[name]))
        for name, (acts, _) in plans.items()
    ]
    for person in people:
        person.start()
    rng, kills, in_time = random.Random(0), 0, 0
    while kills < KILLS and any(person.is_alive() for person in people):
        time.sleep(rng.uniform(0, 0.04))
        before = sum(map(len, heard.values()))
        mortal.kill()
        kills += 1
        in_time += before < sum(len(acts) for acts, _ in plans.values())
    for person in people:
        person.join(120)
    mortal.end()
    assert in_time >= KILLS // 2, "most kills came after the review: nothing was tested"
    lines = Journal(tmp_path / "photos.decisions.jsonl").lines()
    keys = [line["key"] for line in lines]
    assert len(keys) == len(set(keys))
    standing = Journal(tmp_path / "photos.decisions.jsonl").standing()
    for name, (acts, wanted) in plans.items():
        assert heard[name] == [act["key"] for act in acts]
        assert [d.key for d in standing if d.reviewer == name] == wanted
        asked = {act["key"]: act for act in acts}
        asked_of = {
            key: (act["sample"], act["action"], act["labels"])
            for key, act in asked.items()
            if "of" not in act
        }
        for decision in (d for d in standing if d.reviewer == name):
            said = (decision.sample, decision.action, list(decision.labels))
            assert said == asked_of[decision.key]
    assert set(verdicts(standing)) <= set(SAMPLES)
