"""Every call that changes the disk fails in turn; every part of what is on disk is damaged in turn.

A reader must find the old state or the new one, repeating must work, and only what was damaged
may be computed again. As a script this file performs one operation many times, killed at its
first call, its second, …, and half-way through each write.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from regraft import store
from regraft.errors import Damaged, StoreError
from regraft.seeds import generator
from regraft.store import Outcome, Run

CALLS = ("open", "write", "fsync", "replace", "mkdir", "unlink")
QUESTION: dict[str, Any] = {"data": "photos"}
KILLED = 77


# Faults ------------------------------------------------------------------------------------------


@dataclass
class Faults:
    """Lets `nth - 1` calls of the operating system through and spoils the one after."""

    nth: int
    manner: Literal["refuse", "tear", "kill"]
    seen: list[str] = field(default_factory=list)

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.seen.append(name)
            if len(self.seen) != self.nth:
                return real(*arguments, **options)
            if name == "write" and self.manner != "refuse":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if self.manner == "kill":
                os._exit(KILLED)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        return call


@contextmanager
def installed(faults: Faults) -> Iterator[Faults]:
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, faults.wrap(name, getattr(os, name)))
        yield faults


# Operations --------------------------------------------------------------------------------------


def outcome(number: int) -> Outcome:
    return Outcome({"number": number}, {"w": np.full(50, number, np.int32)})


def number_of(found: Outcome) -> int:
    number = found.facts["number"]
    assert isinstance(number, int)
    assert np.array_equal(found.tensors["w"], np.full(50, number)), "facts and tensors mixed"
    return number


def never() -> Outcome:
    raise AssertionError("computed again")


@dataclass(frozen=True)
class Operation:
    """Something that changes a folder from one state to another.

    Attributes:
        states: what `state` may give before and after.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    state: Callable[[Path], object]
    states: tuple[object, object]


def commit_old(folder: Path) -> None:
    store.commit(folder / "file", b"old")


def seal_old(folder: Path) -> None:
    store.commit_sealed(folder / "file", b"old")


def commit_new(folder: Path) -> None:
    store.commit(folder / "file", b"new" * 99)


def seal_new(folder: Path) -> None:
    store.commit_sealed(folder / "file", b"new" * 99)


def one_step(folder: Path) -> None:
    with Run.open(folder, QUESTION) as run:
        run.step("one", {}, lambda: outcome(1))


def second_step(folder: Path) -> None:
    with Run.open(folder, QUESTION) as run:
        run.step("one", {}, never)
        run.step("two", {}, lambda: outcome(2))


def second_step_is_there(folder: Path) -> bool:
    computed: list[int] = []

    def compute() -> Outcome:
        computed.append(2)
        return outcome(2)

    with Run.open(folder, QUESTION) as run:
        assert number_of(run.step("one", {}, never)) == 1
        assert number_of(run.step("two", {}, compute)) == 2
    return not computed


def one_spoilt_step(folder: Path) -> None:
    one_step(folder)
    (file,) = (folder / "steps").glob("*.safetensors")
    file.write_bytes(b"spoilt")


def the_step_anew(folder: Path) -> None:
    """Facts and tensors that differ from the first time: a mixture of the two would show."""
    with Run.open(folder, QUESTION) as run:
        run.step("one", {}, lambda: outcome(5))


def the_step(folder: Path) -> int:
    with Run.open(folder, QUESTION) as run:
        return number_of(run.step("one", {}, lambda: outcome(-1)))


def two_states(folder: Path) -> None:
    with Run.open(folder, QUESTION) as run:
        for number in (1, 2):
            run.checkpoint("tune", {}).save(outcome(number))


def third_state(folder: Path) -> None:
    with Run.open(folder, QUESTION) as run:
        run.checkpoint("tune", {}).save(outcome(3))


def newest_state(folder: Path) -> int | None:
    with Run.open(folder, QUESTION) as run:
        found = run.checkpoint("tune", {}).load()
        return None if found is None else number_of(found)


def clear_states(folder: Path) -> None:
    with Run.open(folder, QUESTION) as run:
        run.checkpoint("tune", {}).clear()


def spoilt_run(folder: Path) -> None:
    """run.json and a line of the journal are damaged, the last line is torn."""
    one_step(folder)
    with Run.open(folder, QUESTION) as run:
        run.note({"a note": 1})
    for name, byte in (("run.json", 3), ("journal.jsonl", 3)):
        raw = bytearray((folder / name).read_bytes())
        raw[byte] ^= 1
        (folder / name).write_bytes(raw + b"torn")


def reopen(folder: Path) -> None:
    Run.open(folder, QUESTION).close()


def last_opened(folder: Path) -> object:
    with Run.open(folder, QUESTION) as run:
        return run.lines()[-1]["opened"]["data"]


def step_and_note(folder: Path) -> object:
    with Run.open(folder, QUESTION) as run:
        notes = [line for line in run.lines() if "a note" in line]
        return number_of(run.step("one", {}, never)), len(notes)


OPERATIONS = {
    "commit": Operation(
        prepare=commit_old,
        act=commit_new,
        state=lambda folder: (folder / "file").read_bytes(),
        states=(b"old", b"new" * 99),
    ),
    "commit_sealed": Operation(
        prepare=seal_old,
        act=seal_new,
        state=lambda folder: store.read_sealed(folder / "file"),
        states=(b"old", b"new" * 99),
    ),
    "begin": Operation(Path.mkdir, reopen, last_opened, (QUESTION["data"], QUESTION["data"])),
    "step": Operation(one_step, second_step, second_step_is_there, (False, True)),
    "step again": Operation(one_spoilt_step, the_step_anew, the_step, (-1, 5)),
    "save": Operation(two_states, third_state, newest_state, (2, 3)),
    "clear": Operation(two_states, clear_states, newest_state, (2, None)),
    "mend": Operation(spoilt_run, reopen, step_and_note, ((1, 1), (1, 1))),
}


def check(operation: Operation, folder: Path) -> None:
    """The old state or the new; repeating works and leaves nothing behind."""
    copy = folder.with_name(folder.name + " read")
    shutil.copytree(folder, copy)  # reading mends and may compute
    assert operation.state(copy) in operation.states
    operation.act(folder)
    assert operation.state(folder) == operation.states[1]


@pytest.fixture(autouse=True)
def _memory_is_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process writes outlives it without fsync, which would only cost time here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.parametrize("manner", ["refuse", "tear"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_call_may_fail(tmp_path: Path, name: str, manner: Literal["refuse", "tear"]) -> None:
    operation = OPERATIONS[name]
    start = tmp_path / "start"
    operation.prepare(start)
    for nth in range(1, 200):
        folder = tmp_path / str(nth)
        shutil.copytree(start, folder)
        with installed(Faults(nth, manner)) as faults:
            try:
                operation.act(folder)
            except StoreError as error:
                assert "could not" in str(error)  # noqa: PT017
        if nth > len(faults.seen):
            break
        if faults.seen[nth - 1] != "unlink":
            assert not list(folder.rglob("*.tmp"))
        check(operation, folder)
    assert 5 < nth < 199


def test_every_call_may_be_the_last(tmp_path: Path) -> None:
    subprocess.run([sys.executable, __file__, tmp_path], check=True, timeout=60)
    for name, operation in OPERATIONS.items():
        folders = list((tmp_path / name).iterdir())
        assert len(folders) > 5
        for folder in folders:
            check(operation, folder)
            assert not list(folder.rglob("*.tmp"))


def kill_in_turn(folder: Path) -> None:
    """Leave in FOLDER/OPERATION/N what is there after a kill at call N."""
    os.fsync = lambda fd: None
    for name, operation in OPERATIONS.items():
        start = folder / "start" / name
        start.parent.mkdir(parents=True, exist_ok=True)
        operation.prepare(start)
        for nth in range(1, 200):
            place = folder / name / str(nth)
            shutil.copytree(start, place)
            child = os.fork()
            if child == 0:
                with installed(Faults(nth, "kill")):
                    operation.act(place)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert status in (0, KILLED), (name, nth, status)
            if status == 0:
                break


def test_the_disk_has_the_data_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut needs: file flushed, then renamed, then the folder flushed."""
    trace: list[tuple[str, str]] = []
    paths: dict[int, str] = {}
    real_open, real_write, real_replace = os.open, os.write, os.replace

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        descriptor = real_open(path, *arguments, **options)
        paths[descriptor] = os.fspath(path)
        return descriptor

    def written(descriptor: int, data: Any) -> int:
        trace.append(("write", paths[descriptor]))
        return real_write(descriptor, data)

    def replaced(source: Any, target: Any) -> None:
        trace.append(("replace", os.fspath(source)))
        real_replace(source, target)

    one_step(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", opened)
        patch.setattr(os, "write", written)
        patch.setattr(os, "replace", replaced)
        patch.setattr(os, "fsync", lambda descriptor: trace.append(("fsync", paths[descriptor])))
        second_step(tmp_path)
    for index, (what, path) in enumerate(trace):
        rest = trace[index + 1 :]
        if what == "write":  # flushed before the next thing happens
            assert next(step for step in rest if step[0] != "write") == ("fsync", path)
        if what == "replace":
            assert rest[0] == ("fsync", str(Path(path).parent))
    assert sum(what == "replace" for what, _ in trace) == 2
    journal = [index for index, step in enumerate(trace) if step[1].endswith("journal.jsonl")]
    assert max(journal) > max(index for index, step in enumerate(trace) if step[0] == "replace")


# Damage ------------------------------------------------------------------------------------------

STEPS = ("one", "two", "three")


def a_run(folder: Path) -> dict[str, bytes]:
    """A run of three steps and a checkpoint of two states; its files by name."""
    with Run.open(folder, QUESTION) as run:
        for number, name in enumerate(STEPS):
            run.step(name, {}, lambda number=number: outcome(number))
        for number in (1, 2):
            run.checkpoint("tune", {}).save(outcome(number))
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


def damaged(whole: bytes, trial: int, cut: bool) -> bytes:
    """One random bit flipped, or a random number of bytes cut off."""
    place = generator(0, "damage", trial, cut)
    if cut:
        return whole[: place.integers(len(whole))]
    raw = bytearray(whole)
    raw[place.integers(len(whole))] ^= 1 << int(place.integers(8))
    return bytes(raw)


def lost_steps(name: str, whole: bytes, spoilt: bytes) -> set[str]:
    """The steps that this damage costs.

    Of the journal, a line is intact when all its bytes, its newline and the newline before it
    are. A journal cut exactly between two lines cannot be told from a younger one: that is
    harmless, for the steps whose lines are gone are computed again.
    """
    if name.startswith("steps/"):
        return {name.removeprefix("steps/").split("-")[0]}
    if name != "journal.jsonl":
        return set()
    lost: set[str] = set()
    start = 0
    for line in whole.splitlines(keepends=True):
        begin, end = max(start - 1, 0), start + len(line)
        if spoilt[begin:end] != whole[begin:end]:
            lost |= {step for step in STEPS if b'"step":"%b"' % step.encode() in line}
        start = end
    return lost


@pytest.mark.parametrize(("cut", "trials"), [(False, 1000), (True, 300)])
def test_all_damage_is_found_and_costs_itself_only(tmp_path: Path, cut: bool, trials: int) -> None:
    sealed = tmp_path / "sealed"
    store.commit_sealed(sealed, b"a small file")
    whole_file = sealed.read_bytes()
    files = a_run(tmp_path / "run")
    for trial in range(trials):
        name = ["sealed", *files][trial % (len(files) + 1)]
        if name == "sealed":
            sealed.write_bytes(damaged(whole_file, trial, cut))
            with pytest.raises(Damaged):
                store.read_sealed(sealed)
            continue
        folder = tmp_path / str(trial)
        for other, content in files.items():
            (folder / other).parent.mkdir(parents=True, exist_ok=True)
            (folder / other).write_bytes(content)
        spoilt = damaged(files[name], trial, cut)
        (folder / name).write_bytes(spoilt)
        check_damaged_run(folder, name, files[name], spoilt)
        shutil.rmtree(folder)


def check_damaged_run(folder: Path, name: str, whole: bytes, spoilt: bytes) -> None:
    computed: set[str] = set()

    def compute(number: int) -> Outcome:
        computed.add(STEPS[number])
        return outcome(number)

    with Run.open(folder, QUESTION) as run:
        for number, step in enumerate(STEPS):
            found = run.step(step, {}, lambda number=number: compute(number))
            assert number_of(found) == number
        state = run.checkpoint("tune", {}).load()
        assert state is not None
        found_damaged = {line["mended"] for line in run.lines() if "mended" in line}
    assert computed == lost_steps(name, whole, spoilt)
    newest = ".000000002." in name
    assert number_of(state) == (1 if newest else 2)
    if name.startswith("checkpoints/") and not newest:
        return  # harmless: nobody reads the older state while the newer is whole
    between_lines = whole.startswith(spoilt) and spoilt[-1:] in (b"", b"\n")
    if name == "journal.jsonl" and between_lines:
        return  # harmless: see lost_steps
    assert found_damaged == {Path(name).name}


if __name__ == "__main__":
    kill_in_turn(Path(sys.argv[1]))
