"""How things are measured: whole processes by the clock, fresh caches, medians, figures."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

import psutil

RESULTS = Path(__file__).resolve().parent / "results"
ALIKE = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Everyone's threads sleep while they wait. Where others use the machine too, threads that spin
make torch's loops up to 20 times slower, which would be in regraft's favour."""
UNSET = ("PYTHONDONTWRITEBYTECODE",)
"""Modules are compiled once, as on a machine that people use, not again in every process."""
PACKAGES = ("regraft", "torch", "torchvision", "timm", "openvino", "fastai", "numpy", "pillow")


@dataclass(frozen=True)
class Figure:
    """One number that the pages may claim.

    Attributes:
        what: it is, in words.
        value: the median, or the one measurement.
        unit: "s", "×", "%", "MB", …
        target: what it should reach, for example "≥ 40"; "" when it is only reported.
        note: intervals, spread, what it was compared with.
    """

    what: str
    value: float
    unit: str
    target: str = ""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None without one."""
        if not self.target:
            return None
        sign, _, bound = self.target.partition(" ")
        return {"≥": self.value >= float(bound), "≤": self.value <= float(bound)}[sign]


def ratio(what: str, slow: Sequence[float], fast: Sequence[float], target: str = "") -> Figure:
    """How many times faster, by medians, with the slowest and fastest runs of both."""
    note = f"{spread(slow)} s against {spread(fast)} s"
    return Figure(what, median(slow) / median(fast), "×", target, note)


def spread(values: Sequence[float]) -> str:
    """The median, and the range where there is one."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f}, {len(values)} runs)"


# --- processes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """A process that ended well. Memory and processor time are with its children.

    Processor time is what a busy machine changes least: whoever else works takes turns with the
    process, which lengthens `seconds`, but not what it computes.
    """

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    stdout: str


def run(command: Sequence[str | Path], *, watch_memory: bool = False) -> Finished:
    """Run a command to its end and time it, start of the interpreter included.

    Args:
        command: the program and its arguments.
        watch_memory: sample the resident memory of its processes every 50 ms, which costs a
            little time.

    Raises:
        RuntimeError: it failed; the message has the end of what it said.
    """
    start, cpu_before = time.perf_counter(), _children_cpu_s()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={name: value for name, value in os.environ.items() if name not in UNSET} | ALIKE,
        )
        peak = [0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        if watch_memory:
            watcher.start()
        stdout, _ = process.communicate()
        seconds = time.perf_counter() - start
        if watch_memory:
            watcher.join()
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read()[-2000:]
            raise RuntimeError(f"{command} ended with {process.returncode}: {said}")
    return Finished(seconds, _children_cpu_s() - cpu_before, peak[0], stdout)


def _children_cpu_s() -> float:
    """Processor time of all processes that were started here and have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _watch(process: subprocess.Popen[str], peak: list[int]) -> None:
    root = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in [root, *root.children(recursive=True)]:
                total += one.memory_info().rss
        except psutil.NoSuchProcess:
            pass
        peak[0] = max(peak[0], total)
        time.sleep(0.05)


def regraft(*arguments: str | Path) -> list[str | Path]:
    """The installed command, as a user runs it."""
    return [Path(sys.executable).with_name("regraft"), *arguments]


def module(name: str, *arguments: str | Path) -> list[str | Path]:
    """A script of this folder, in a process of its own."""
    return [sys.executable, "-W", "ignore", "-m", f"bench.{name}", *arguments]


def report_of(folder: Path) -> dict:
    """`report.json` of a run."""
    return json.loads((folder / "report.json").read_text())


@contextmanager
def fresh_cache() -> Iterator[Path]:
    """An empty cache for this process and those it starts; the folder beside it is for runs."""
    before = os.environ.get("REGRAFT_CACHE")
    root = Path(tempfile.mkdtemp(prefix="regraft-bench-"))
    os.environ["REGRAFT_CACHE"] = str(root / "cache")
    try:
        yield root
    finally:
        del os.environ["REGRAFT_CACHE"]
        if before is not None:
            os.environ["REGRAFT_CACHE"] = before
        shutil.rmtree(root, ignore_errors=True)


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- results ------------------------------------------------------------------------------------


def save(name: str, figures: Sequence[Figure], raw: dict) -> None:
    """Write `results/NAME.json`, and print the figures."""
    RESULTS.mkdir(exist_ok=True)
    content = {
        "figures": [asdict(figure) | {"reached": figure.reached} for figure in figures],
        "raw": raw,
        "environment": environment(),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False))
    print(table(figures))


def table(figures: Sequence[Figure]) -> str:
    """Figures as a table in Markdown."""
    lines = ["| figure | measured | target | reached | note |", "|---|---|---|---|---|"]
    for one in figures:
        reached = {None: "", True: "yes", False: "**no**"}[one.reached]
        value = f"{one.value:.3g} {one.unit}" if one.value < 1000 else f"{one.value:.0f} {one.unit}"
        lines.append(f"| {one.what} | {value} | {one.target} | {reached} | {one.note} |")
    return "\n".join(lines)


def environment() -> dict:
    """What the figures depend on besides the code."""
    installed = {dist.metadata["Name"].lower(): dist.version for dist in metadata.distributions()}
    cpu = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average": os.getloadavg(),
        "packages": {name: installed.get(name) for name in PACKAGES},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
