"""`regraft fit` is killed, stopped, raced and damaged; repeating it always gives the same bits.

REGRAFT_KILLS sets how many times it is killed at random moments (4 by default), REGRAFT_FULL how
often the disk is full (1), REGRAFT_AT_ONCE how many processes share a cache (2).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_fit import (
    FULL_DISK,
    HASTY,
    LEISURELY,
    NETWORK,
    PATIENCE_S,
    PLAIN,
    Fit,
    flip_bit,
    kill,
    wait_for,
    write_digits,
)

from regraft.seeds import generator

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("REGRAFT_KILLS", "4"))
FULL = int(os.environ.get("REGRAFT_FULL", "1"))
AT_ONCE = int(os.environ.get("REGRAFT_AT_ONCE", "2"))
LEAVES_S = 5.0
SLACK_S = 5.0
"""For a machine that is busy with something else when it should note the time."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    write_digits(folder / "digits")
    (folder / "network.py").write_text(NETWORK)
    return folder


@pytest.fixture(scope="module")
def undisturbed(home: Path) -> tuple[Fit, float]:
    """A run that nothing happened to, and its seconds."""
    run = Fit(home, home / "undisturbed", home / "cache")
    began = time.monotonic()
    run.finish()
    return run, time.monotonic() - began


@pytest.fixture(scope="module")
def whole(home: Path, undisturbed: tuple[Fit, float]) -> Fit:
    """A finished run whose features lie in many small files."""
    run = replace(undisturbed[0], out=home / "whole", cache=home / "many", script=HASTY)
    shutil.copytree(undisturbed[0].cache, run.cache, ignore=shutil.ignore_patterns("features"))
    run.finish()
    assert run.results() == undisturbed[0].results()
    return run


@pytest.fixture
def finished(whole: Fit, tmp_path: Path) -> Fit:
    """A copy of it, with its cache, to be damaged."""
    copy = replace(whole, out=tmp_path / "run", cache=tmp_path / "cache")
    shutil.copytree(whole.out, copy.out)
    shutil.copytree(whole.cache, copy.cache)
    return copy


def steps_done(run: Fit) -> list[str]:
    """Names of the steps that were computed, oldest first, by the journal."""
    lines = (run.out / "journal.jsonl").read_text().splitlines()
    facts = [json.loads(line)["fact"] for line in lines]
    return [fact["step"] for fact in facts if "step" in fact]


def set_aside(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("quarantine/*")]


def test_the_deeper_rung_is_in_the_model(undisturbed: tuple[Fit, float]) -> None:
    """Or else the other tests would say nothing about fine-tuning."""
    run, _ = undisturbed
    assert steps_done(run)[:4] == ["cache-limit", "head", "plan-last:1", "rung-last:1"]
    report = json.loads((run.out / "report.json").read_text())
    assert report["best"] == "last:1"


def test_killed_at_random_moments(undisturbed: tuple[Fit, float], tmp_path: Path) -> None:
    """Again and again, until an attempt ends before its kill; then from the start.

    Every other run begins with an empty cache, the others with what earlier kills left in one.
    """
    run, duration_s = undisturbed
    moments = generator(0, "kills")
    kills = runs = 0
    while kills < KILLS:
        cache = tmp_path / ("shared" if runs % 2 else f"cache{runs}")
        killed = replace(run, out=tmp_path / f"run{runs}", cache=cache, script=HASTY)
        runs += 1
        while kills < KILLS and killed_after(killed, moments.uniform(0.1, 1.0) * duration_s):
            kills += 1
        killed.finish()
        assert killed.results() == run.results()
        assert not killed.checkpoints()


def killed_after(run: Fit, seconds: float) -> bool:
    """Whether the kill came before the end."""
    process = run.start()
    try:
        assert process.wait(seconds) == 0, run.said.read_text()
    except subprocess.TimeoutExpired:
        kill(process)
        return True
    return False


def test_killed_while_features_are_computed(undisturbed: tuple[Fit, float], tmp_path: Path) -> None:
    run, _ = undisturbed
    killed = replace(run, out=tmp_path / "run", cache=tmp_path / "cache", script=HASTY)
    process = killed.start()
    wait_for(killed.shards, process)
    kill(process)
    assert "head" not in steps_done(killed)
    kept = killed.shards()
    killed.finish()
    assert killed.results() == run.results()
    assert kept.items() <= killed.shards().items(), "computed again"


def test_killed_while_training(undisturbed: tuple[Fit, float], tmp_path: Path) -> None:
    """Twice: the second time the process itself went on from a state that was kept."""
    run, _ = undisturbed
    killed = replace(run, out=tmp_path / "run", script=HASTY)
    for _ in range(2):
        before = frozenset(killed.checkpoints())
        process = killed.start()
        wait_for(lambda seen=before: frozenset(killed.checkpoints()) - seen, process)
        kill(process)
        assert steps_done(killed) == ["cache-limit", "head", "plan-last:1"]
        assert killed.checkpoints()
    killed.finish()
    assert killed.results() == run.results()
    assert not killed.checkpoints()


@pytest.mark.parametrize(
    ("number", "phase"),
    [(signal.SIGINT, "features:"), (signal.SIGTERM, "training last:1")],
)
def test_stopped_by_a_signal(
    number: signal.Signals, phase: str, undisturbed: tuple[Fit, float], tmp_path: Path
) -> None:
    run, _ = undisturbed
    stopped = replace(run, out=tmp_path / "run", cache=tmp_path / "cache", script=LEISURELY)
    shutil.copytree(run.cache, stopped.cache, ignore=shutil.ignore_patterns("features"))
    process = stopped.start()
    wait_for(lambda: phase in stopped.said.read_text(), process)
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 128 + number
    assert time.monotonic() - began < LEAVES_S + SLACK_S
    said = stopped.said.read_text()
    assert "repeat the command to go on" in said
    assert "Traceback" not in said
    if phase.startswith("training"):
        assert stopped.checkpoints(), "nothing was kept"
    replace(stopped, script=PLAIN).finish()
    assert stopped.results() == run.results()


def test_repeated_after_the_end(finished: Fit) -> None:
    before = finished.results(), finished.shards(), steps_done(finished)
    said = finished.finish()
    assert (finished.results(), finished.shards(), steps_done(finished)) == before
    assert "training" not in said
    assert "features:" not in said


def test_several_at_once_share_a_cache(undisturbed: tuple[Fit, float], tmp_path: Path) -> None:
    run, _ = undisturbed
    cache = tmp_path / "cache"
    several = [
        replace(run, out=tmp_path / f"run{number}", cache=cache, script=HASTY)
        for number in range(AT_ONCE)
    ]
    processes = [each.start() for each in several]
    for each, process in zip(several, processes, strict=True):
        assert process.wait(AT_ONCE * PATIENCE_S) == 0, each.said.read_text()
        assert each.results() == run.results()
    assert not set_aside(cache)


def test_a_full_disk_at_any_moment(
    undisturbed: tuple[Fit, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so and ends; with room again, the same command goes on to the same bits."""
    run, _ = undisturbed

    def fit_with_a_full_disk(name: str, at: int) -> tuple[Fit, int, str]:
        full = replace(run, out=tmp_path / name, cache=tmp_path / f"{name}-cache", script=FULL_DISK)
        monkeypatch.setenv("REGRAFT_FULL_AT", str(at))
        code = full.start().wait(PATIENCE_S)
        return full, code, full.said.read_text()

    whole, code, said = fit_with_a_full_disk("whole", 0)
    assert code == 0 and whole.results() == run.results()
    count = int(said.rsplit("calls: ", 1)[1])
    assert count > 100
    moments = generator(0, "full disk").integers(1, count + 1, FULL)
    for number, at in enumerate(moments.tolist()):
        full, code, said = fit_with_a_full_disk(f"run{number}", at)
        assert "Traceback" not in said
        if code != 0:  # a folder that cannot be flushed is no reason to stop
            assert code == 1 and "could not" in said and "No space left" in said, said
        replace(full, script=PLAIN).finish()
        assert full.results() == run.results()
        assert not list(tmp_path.rglob(".regraft-*.tmp"))


def test_damaged_features(finished: Fit) -> None:
    results, shards, steps = finished.results(), finished.shards(), steps_done(finished)
    damaged = max(shards, key=lambda path: path.stat().st_size)  # of the inner cut
    flip_bit(damaged)
    shutil.rmtree(finished.out)
    said = finished.finish()
    assert str(damaged) in said
    assert len(set_aside(finished.cache)) == 1
    assert finished.results() == results
    assert steps_done(finished) == steps
    del shards[damaged]
    now = finished.shards()
    assert shards.items() <= now.items(), "rows that were whole were computed again"
    assert len(now) == len(shards) + 1


@pytest.mark.parametrize(
    ("pattern", "again"),
    [
        ("head-*.safetensors", ["head"]),
        ("rung-*.json", ["rung-last:1"]),
    ],
)
def test_damaged_step(pattern: str, again: list[str], finished: Fit) -> None:
    results, shards, steps = finished.results(), finished.shards(), steps_done(finished)
    (damaged,) = finished.out.glob(f"steps/{pattern}")
    flip_bit(damaged)
    said = finished.finish()
    assert str(damaged) in said
    assert len(set_aside(finished.out)) == 1
    assert finished.results() == results
    assert finished.shards() == shards
    assert steps_done(finished) == steps + again


def test_damaged_model(finished: Fit) -> None:
    results, steps = finished.results(), steps_done(finished)
    damaged = finished.out / "model" / "model.safetensors"
    picture = next((finished.home / "digits" / "valid" / "3").iterdir())
    flip_bit(damaged)
    assert finished.command("predict", finished.out, picture).wait(PATIENCE_S) == 1
    said = finished.said.read_text()
    assert "the model's weights are missing or damaged" in said
    assert str(damaged) in said
    assert "Traceback" not in said
    finished.finish()
    assert finished.results() == results
    assert steps_done(finished) == steps
    assert finished.command("predict", finished.out, picture).wait(PATIENCE_S) == 0
