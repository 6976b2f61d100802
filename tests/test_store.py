from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regraft import store
from regraft.errors import Damaged, StoreError, UsageError
from regraft.events import Event, Said
from regraft.store import Checkpoint, Outcome, Run

QUESTION: dict[str, Any] = {"data": "photos", "train": "ladder", "budget": {"seconds": 60}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
quick = settings(max_examples=100, deadline=None)


def outcome(number: float) -> Outcome:
    return Outcome({"number": number}, {"w": np.full((2, 3), number, np.float32)})


def number_of(found: Outcome) -> float:
    number = found.facts["number"]
    assert isinstance(number, float | int)
    assert np.array_equal(found.tensors["w"], np.full((2, 3), number, np.float32))
    return number


def never() -> Outcome:
    pytest.fail("computed again")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def flip(path: Path, byte: int = -1, bit: int = 0) -> None:
    raw = bytearray(path.read_bytes())
    raw[byte] ^= 1 << bit
    path.write_bytes(raw)


def step_files(folder: Path, name: str) -> tuple[Path, Path]:
    (facts,) = (folder / "steps").glob(f"{name}-*.json")
    return facts, facts.with_suffix(".safetensors")


@contextmanager
def other_process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has printed "ready"."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


# Values ------------------------------------------------------------------------------------------


@quick
@given(json_values)
def test_canonical_says_a_value_and_nothing_else(value: Any) -> None:
    said = store.canonical(value)
    assert json.loads(said) == value
    assert store.canonical(json.loads(said)) == said
    assert b"\n" not in said


def test_canonical_does_not_depend_on_the_order_of_keys() -> None:
    assert store.canonical({"b": 1, "a": [1.5, None]}) == b'{"a":[1.5,null],"b":1}'
    assert store.canonical({"a": [1.5, None], "b": 1}) == b'{"a":[1.5,null],"b":1}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_canonical_refuses_what_json_cannot_say(value: float) -> None:
    with pytest.raises(AssertionError, match="not a JSON value"):
        store.canonical({"accuracy": value})


def test_names_that_are_no_utf8_have_a_value_and_a_digest() -> None:
    name = os.fsdecode(b"b\xff.jpg")
    assert json.loads(store.canonical(name)) == name
    assert store.digest(name) != store.digest(os.fsdecode(b"b\xfe.jpg"))


@quick
@given(st.lists(st.binary(max_size=9), max_size=4), st.lists(st.binary(max_size=9), max_size=4))
def test_digest_tells_lists_of_parts_apart(one: list[bytes], other: list[bytes]) -> None:
    assert (store.digest(*one) == store.digest(*other)) == (one == other)


def test_digest_knows_where_a_part_ends() -> None:
    assert store.digest("ab", "c") != store.digest("a", "bc")
    assert store.digest("ü") == store.digest("ü".encode())


def test_file_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 300_000)
    assert store.file_sha256(tmp_path / "a") == hashlib.sha256(b"x" * 300_000).hexdigest()
    with pytest.raises(FileNotFoundError):
        store.file_sha256(tmp_path / "missing")
    with pytest.raises(StoreError, match="could not read"):
        store.file_sha256(tmp_path)


def test_a_file_is_hashed_again_only_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, hashed = store.file_sha256, []
    monkeypatch.setattr(store, "file_sha256", lambda path: hashed.append(path) or plain(path))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert {store.remembered_sha256(path) for _ in range(3)} == {plain(path)}
    assert len(hashed) == 3, "another change within the clock's tick could not be seen"
    monkeypatch.setattr(store, "_TICK_S", -1.0)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(store.remembered_sha256, [path] * 100))
    assert found == {plain(path)}
    assert len(hashed) <= 3 + 4
    seen, status = len(hashed), path.stat()
    time.sleep(0.02)
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.remembered_sha256(path) == plain(path), "same size, same time of change"
    other = tmp_path / "b"
    other.write_bytes(b"six")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert store.remembered_sha256(path) == plain(path), "another file of this name"
    assert len(hashed) == seen + 2
    path.unlink()
    with pytest.raises(FileNotFoundError):
        store.remembered_sha256(path)


# Files -------------------------------------------------------------------------------------------


def test_commit_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    store.commit(path, b"one")
    store.commit(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["a", "a/b", "a/b/c"]


def test_commit_over_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a" / "inner").mkdir(parents=True)
    with pytest.raises(StoreError, match="could not write a") as caught:
        store.commit(tmp_path / "a", b"data")
    assert str(tmp_path / "a") in str(caught.value)
    assert "move it away" in caught.value.mend
    assert names(tmp_path) == ["a", "a/inner"]


def test_commit_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(StoreError, match="could not write b"):
        store.commit(tmp_path / "a" / "b", b"data")
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_a_write_that_the_system_cuts_short_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    store.commit_sealed(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(StoreError, match="could not write a"):
            store.commit_sealed(path, b"n" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.read_sealed(path) == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("code", "mend"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "writable"), (errno.EIO, "look at the disk")],
)
def test_what_the_system_refuses_is_said_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, mend: str
) -> None:
    store.commit(tmp_path / "a", b"old")

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(StoreError, match=os.strerror(code)) as caught:
            store.commit(tmp_path / "a", b"new")
    assert caught.value.where == str(tmp_path / "a")
    assert mend in caught.value.mend
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="Permission denied") as caught:
            store.commit(tmp_path / "a", b"data")
        assert "writable" in caught.value.mend
    finally:
        tmp_path.chmod(0o700)


def abandoned_by(folder: Path, process: int, age_s: float = 0.0) -> Path:
    path = folder / f".regraft-{store._host()}-{process}-{'a' * 16}.tmp"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.mark.parametrize("act", ["commit", "open"])
def test_what_killed_processes_left_is_removed(tmp_path: Path, act: str) -> None:
    gone = subprocess.Popen([sys.executable, "-Sc", ""])
    gone.wait()
    folder = tmp_path / "run"
    Run.open(folder, QUESTION).close()
    dead, old = abandoned_by(folder, gone.pid), abandoned_by(folder, os.getpid(), age_s=3700)
    fresh, foreign = abandoned_by(folder, os.getppid()), folder / ".other.tmp"
    foreign.write_bytes(b"not ours")
    if act == "commit":
        store.commit(folder / "a", b"data")
    else:
        Run.open(folder, QUESTION).close()
    assert [path.exists() for path in (dead, old, fresh, foreign)] == [False, False, True, True]


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="no containers here")
def test_what_another_container_is_writing_stays(tmp_path: Path) -> None:
    """There, the number may be that of a process which lives."""
    gone = subprocess.Popen([sys.executable, "-Sc", ""])
    gone.wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "readlink", lambda _: Path("pid:[1]"))
        fresh = abandoned_by(tmp_path, gone.pid)
    store.commit(tmp_path / "a", b"data")
    assert fresh.exists()
    os.utime(fresh, (time.time() - 3700,) * 2)
    store.commit(tmp_path / "a", b"data")
    assert not fresh.exists()


def test_threads_that_commit_the_same_file_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [bytes([65 + number]) * 100_000 for number in range(4)]
    store.commit_sealed(path, contents[0])

    def write(data: bytes) -> None:
        for _ in range(10):
            store.commit_sealed(path, data)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert store.read_sealed(path) in contents
    assert names(tmp_path) == ["a"]


@quick
@given(st.binary(max_size=300))
def test_sealed_data_come_back(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "sealed"
    assert store.commit_sealed(path, data) == hashlib.sha256(data).hexdigest()
    assert store.read_sealed(path) == data
    assert path.read_bytes().startswith(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"several bytes\n"])
def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sealed"
    store.commit_sealed(path, data)
    whole = path.read_bytes()
    spoilt = [whole[:length] for length in range(len(whole))]
    spoilt += [whole + b"\n", whole + b"\0", b"\n" + whole, whole + whole]
    for position in range(8 * len(whole)):
        raw = bytearray(whole)
        raw[position // 8] ^= 1 << position % 8
        spoilt.append(bytes(raw))
    for raw in spoilt:
        path.write_bytes(raw)
        with pytest.raises(Damaged) as caught:
            store.read_sealed(path)
        assert caught.value.where == str(path)


def test_what_is_missing_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.read_sealed(tmp_path / "missing")
    with pytest.raises(StoreError, match="could not read"):
        store.read_sealed(tmp_path)


def test_big_files_are_held_once(tmp_path: Path) -> None:
    size = 32 * 2**20
    data = bytes(size)
    tracemalloc.start()
    try:
        store.commit_sealed(tmp_path / "big", data)
        assert tracemalloc.get_traced_memory()[1] < size / 10
        store.read_sealed(tmp_path / "big")
        assert tracemalloc.get_traced_memory()[1] < size * 1.1
    finally:
        tracemalloc.stop()


def test_quarantine_keeps_everything(tmp_path: Path) -> None:
    kept: list[Path] = []
    for content in (b"one", b"two"):
        (tmp_path / "a.json").write_bytes(content)
        kept.append(store.quarantine(tmp_path / "a.json"))
    assert [path.read_bytes() for path in kept] == [b"one", b"two"]
    assert {path.parent for path in kept} == {tmp_path / "quarantine"}
    store.quarantine(tmp_path / "a.json")  # gone already
    assert len(names(tmp_path)) == 3


HOLD = """
import sys
from pathlib import Path
from regraft import store
with store.lock(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_lock_keeps_others_out_and_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.lock"
    with other_process(HOLD, path) as process:
        began = time.monotonic()
        with pytest.raises(StoreError, match="at work here") as caught, store.lock(path, 0.1):
            pass
        assert time.monotonic() - began < 2
        assert caught.value.where == str(path)
        process.kill()
        process.wait()
        with store.lock(path, 2.0):
            pass
    with store.lock(path, 0.1):
        pass


def test_a_lock_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StoreError, match="could not lock a"), store.lock(tmp_path / "a", 0.1):
        pass


def test_a_folder_that_cannot_be_made_names_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (Path("/proc/foo"), tmp_path / "file" / "run"):
        with pytest.raises(StoreError, match="the folder cannot be made") as caught:
            Run.open(folder, {})
        assert caught.value.where == str(folder)
        assert "--out" in caught.value.mend
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="the folder cannot be made") as caught:
        with store.lock(store.cache_folder() / "names" / "a.lock"):
            pass
    assert "REGRAFT_CACHE" in caught.value.mend
    with pytest.raises(StoreError, match="could not read a: Not a directory") as caught:
        store.read_sealed(store.cache_folder() / "a")
    assert "REGRAFT_CACHE" in caught.value.mend
    with pytest.raises(StoreError, match="could not write a") as caught:
        store.commit(Path("/proc/foo/a"), b"")
    assert "cannot be made" in caught.value.mend


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "here"))
    assert store.cache_folder() == tmp_path / "here"
    monkeypatch.setenv("REGRAFT_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.cache_folder().name == "regraft"
    assert not (tmp_path / "here").exists()


def test_the_store_imports_nothing_heavy() -> None:
    code = "import sys, regraft.store; print({'torch', 'scipy', 'openvino'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


# Runs --------------------------------------------------------------------------------------------


def test_a_step_is_computed_once(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", QUESTION) as run:
        assert number_of(run.step("probe", {"seed": 0}, lambda: outcome(1))) == 1
        assert number_of(run.step("probe", {"seed": 0}, never)) == 1
        assert number_of(run.step("probe", {"seed": 1}, lambda: outcome(2))) == 2
        assert number_of(run.step("other", {"seed": 0}, lambda: outcome(3))) == 3
    with Run.open(tmp_path / "run", QUESTION) as run:
        assert number_of(run.step("probe", {"seed": 0}, never)) == 1
        assert number_of(run.step("probe", {"seed": 1}, never)) == 2
        assert [line["step"] for line in run.lines() if "step" in line] == [
            *("probe", "probe", "other")
        ]


def test_a_step_that_fails_is_not_done(tmp_path: Path) -> None:
    def fail() -> Outcome:
        raise RuntimeError("no")

    with Run.open(tmp_path, QUESTION) as run:
        with pytest.raises(RuntimeError, match="no"):
            run.step("probe", {}, fail)
        assert number_of(run.step("probe", {}, lambda: outcome(1))) == 1


base = np.arange(12, dtype=np.float32).reshape(3, 4)
ARRAYS = {
    "float32": base,
    "float16": base.astype(np.float16),
    "float64": base / 3,
    "odd values": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
    "int8": np.arange(-3, 3, dtype=np.int8),
    "int64": np.array([2**63 - 1]),
    "uint8": np.arange(5, dtype=np.uint8),
    "uint16": np.arange(5, dtype=np.uint16),
    "bool": np.array([True, False]),
    "transposed": base.T,
    "strided": base[::2, ::-1],
    "broadcast": np.broadcast_to(np.float32(2), (2, 2)),
    "big-endian": base.astype(">f4"),
    "scalar": np.asarray(np.float64(0.1)),
    "empty": np.zeros((0, 3), np.float32),
    "größe\n": base,
}


def test_fresh_and_reloaded_outcomes_are_the_same_bits(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"b": (1, 2), "a": 0.1 + 0.2, "ü": None}
    with Run.open(tmp_path, QUESTION) as run:
        fresh = run.step("all", {}, lambda: Outcome(facts, dict(ARRAYS)))
    with Run.open(tmp_path, QUESTION) as run:
        again = run.step("all", {}, never)
    assert repr(fresh.facts) == repr(again.facts) == repr({"a": 0.1 + 0.2, "b": [1, 2], "ü": None})
    assert list(fresh.tensors) == list(again.tensors)
    for name, array in ARRAYS.items():
        for got in (fresh.tensors[name], again.tensors[name]):
            assert got.shape == array.shape
            assert got.dtype == array.dtype.newbyteorder("=")
            assert got.tobytes() == array.astype(got.dtype).tobytes(), name
        assert fresh.tensors[name].strides == again.tensors[name].strides
        assert fresh.tensors[name].flags.writeable == again.tensors[name].flags.writeable


@pytest.mark.parametrize(
    "bad",
    [Outcome({"loss": float("nan")}), Outcome({}, {"names": np.array(["a"])})],
    ids=["NaN", "text"],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_written(
    tmp_path: Path, bad: Outcome
) -> None:
    with Run.open(tmp_path, QUESTION) as run:
        with pytest.raises(AssertionError):
            run.step("probe", {}, lambda: bad)
        assert not (tmp_path / "steps").exists()


def begun(folder: Path, question: dict = QUESTION) -> None:
    """Leave a run with a step in it."""
    with Run.open(folder, question) as run:
        run.step("probe", {}, lambda: outcome(1))


def test_another_question_is_named_and_nothing_changes(tmp_path: Path) -> None:
    begun(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    other = {"data": "photos", "train": "head", "budget": {"seconds": 60}, "seed": 3}
    with pytest.raises(UsageError) as caught:
        Run.open(tmp_path, other)
    assert caught.value.what.endswith(
        'train was "ladder", is now "head"; seed was not set, is now 3'
    )
    assert "choose another --out" in caught.value.mend
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    Run.open(tmp_path, QUESTION).close()


def test_of_many_other_settings_a_few_are_named_first_those_that_both_have(tmp_path: Path) -> None:
    fit: dict = {"seed": 0, **{f"a{k}": k for k in range(6)}}
    begun(tmp_path, fit)
    with pytest.raises(UsageError) as refused:
        Run.open(tmp_path, {"seed": 1, **{f"b{k}": k for k in range(6)}})
    text = str(refused.value)
    assert "other settings: seed was 0, is now 1; a0 was 0, is now not set; " in text
    assert "; and 9 more" in text


def test_another_release_is_another_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "99.0")
    with pytest.raises(UsageError, match='regraft release was .*, is now "99.0"'):
        Run.open(tmp_path, QUESTION)


def test_what_failed_before_its_first_step_binds_nobody(tmp_path: Path) -> None:
    """A mistyped option, mended, is no other question; a folder for nothing does not stay."""
    other = {"data": "fotos"}
    with pytest.raises(UsageError), Run.open(tmp_path / "new", QUESTION):
        raise UsageError("no such data")
    assert not (tmp_path / "new").exists()
    Run.open(tmp_path / "killed", QUESTION).close()
    with Run.open(tmp_path / "killed", other) as run:
        run.step("probe", {}, lambda: outcome(1))
    Run.open(tmp_path / "killed", other).close()
    with pytest.raises(UsageError, match="other settings"):
        Run.open(tmp_path / "killed", QUESTION)


@pytest.mark.parametrize("removals", range(7))
def test_killed_while_a_folder_for_nothing_goes_the_command_can_be_repeated(
    removals: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    left = [removals]

    def counted(remove):
        def counting(path: Path, *given, **named) -> None:
            if not left[0]:
                raise Killed
            left[0] -= 1
            remove(path, *given, **named)

        return counting

    run = Run.open(tmp_path / "run", QUESTION)
    for name in ("steps", "checkpoints"):
        (run.folder / name).mkdir(exist_ok=True)
    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(Path, "unlink", counted(Path.unlink))
        patch.setattr(Path, "rmdir", counted(Path.rmdir))
        run.__exit__(UsageError, None, None)
    run.close()
    assert run.folder.exists() == (removals < 6)
    Run.open(tmp_path / "run", {"data": "others"}).close()


def test_a_folder_that_vanished_does_not_hide_what_went_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such data"), Run.open(tmp_path / "run", QUESTION):
        shutil.rmtree(tmp_path / "run")
        raise UsageError("no such data")
    Run.open(tmp_path / "run", QUESTION).close()


def test_what_failed_later_stays(tmp_path: Path) -> None:
    with pytest.raises(UsageError), Run.open(tmp_path / "run", QUESTION) as run:
        run.step("probe", {}, lambda: outcome(1))
        raise UsageError("no space")
    with Run.open(tmp_path / "run", QUESTION) as run:
        assert number_of(run.step("probe", {}, never)) == 1


def test_a_folder_with_other_things_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis.txt"):
        Run.open(tmp_path, QUESTION)
    assert names(tmp_path) == ["thesis.txt"]
    with pytest.raises(UsageError, match="a file"):
        Run.open(tmp_path / "thesis.txt", QUESTION)


def test_a_beginning_that_was_killed_is_no_stranger(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    abandoned_by(tmp_path, os.getpid())
    Run.open(tmp_path, QUESTION).close()


RUN = """
import sys
from pathlib import Path
from regraft.store import Run
run = Run.open(Path(sys.argv[1]), {"a": 1})
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_quickly(tmp_path: Path) -> None:
    with other_process(RUN, tmp_path):
        began = time.monotonic()
        with pytest.raises(StoreError, match="at work here") as caught:
            Run.open(tmp_path, {"a": 1})
        assert time.monotonic() - began < 3
        assert str(tmp_path) in caught.value.where
    Run.open(tmp_path, {"a": 1}).close()


def test_a_run_that_nobody_holds_any_more_is_free(tmp_path: Path) -> None:
    run = Run.open(tmp_path, QUESTION)
    with pytest.raises(StoreError, match="at work here"):
        Run.open(tmp_path, QUESTION)
    del run
    Run.open(tmp_path, QUESTION).close()


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("damage", ["flip", "remove", "stale"])
def test_only_the_damaged_step_is_computed_again(tmp_path: Path, suffix: str, damage: str) -> None:
    heard: list[Event] = []
    with Run.open(tmp_path, QUESTION, tell=heard.append) as run:
        run.step("one", {}, lambda: outcome(1))
        run.step("two", {}, lambda: outcome(2))
        one, two = (step_files(tmp_path, name)[suffix != ".json"] for name in ("one", "two"))
        if damage == "flip":
            flip(one, byte=40)
        elif damage == "remove":
            one.unlink()
        else:  # whole and sealed, but another step's
            one.write_bytes(two.read_bytes())
        spoilt = one.read_bytes() if one.exists() else None
        assert number_of(run.step("two", {}, never)) == 2
        assert number_of(run.step("one", {}, lambda: outcome(1))) == 1
        assert number_of(run.step("one", {}, never)) == 1
        (mended,) = (line for line in run.lines() if "mended" in line)
    assert mended["mended"] == one.name
    assert (mended["kept"] is None) == (damage == "remove")
    if spoilt:
        assert (tmp_path / mended["kept"]).read_bytes() == spoilt
    (said,) = heard
    assert isinstance(said, Said)
    assert one.name in said.text


def test_files_without_their_line_are_not_believed(tmp_path: Path) -> None:
    with Run.open(tmp_path, QUESTION) as run:
        run.step("one", {}, lambda: outcome(1))
    (tmp_path / "journal.jsonl").unlink()
    with Run.open(tmp_path, QUESTION) as run:
        assert number_of(run.step("one", {}, lambda: outcome(2))) == 2


# The journal -------------------------------------------------------------------------------------


def notes(run: Run) -> list[int]:
    return [line["note"] for line in run.lines() if "note" in line]


def test_notes_come_back_in_order(tmp_path: Path) -> None:
    with Run.open(tmp_path, QUESTION) as run:
        for number in range(3):
            run.note({"note": number})
        assert notes(run) == [0, 1, 2]
        with pytest.raises(AssertionError):
            run.note({"step": "mine"})
    with pytest.raises(AssertionError, match="closed"):
        run.note({"note": 3})
    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        assert set(json.loads(line)) == {"check", "fact"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.text().map("n".__add__), json_values), max_size=4))
def test_any_fact_can_be_noted(
    tmp_path_factory: pytest.TempPathFactory, facts: list[dict[str, Any]]
) -> None:
    with Run.open(tmp_path_factory.mktemp("run"), QUESTION) as run:
        for fact in facts:
            run.note(fact)
        assert run.lines()[1:] == facts


def test_a_last_line_torn_anywhere_costs_itself_only(tmp_path: Path) -> None:
    with Run.open(tmp_path, QUESTION) as run:
        for number in range(3):
            run.note({"note": number})
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    heard: list[Event] = []
    for length in range(start, len(whole) + 1):
        path.write_bytes(whole[:length])
        with Run.open(tmp_path, QUESTION, tell=heard.append) as run:
            kept = [0, 1] if length < len(whole) else [0, 1, 2]
            assert notes(run) == kept
            run.note({"note": 9})
            assert notes(run) == [*kept, 9]
            mended = [line["why"] for line in run.lines() if "mended" in line]
            torn = length - start if length < len(whole) else 0
            assert mended == ([f"torn bytes: {torn}"] if torn else [])
        with Run.open(tmp_path, QUESTION) as run:
            assert notes(run) == [*kept, 9]
    assert heard == []
    assert not (tmp_path / "quarantine").exists()


def test_a_damaged_line_is_reported_and_its_step_computed_again(tmp_path: Path) -> None:
    with Run.open(tmp_path, QUESTION) as run:
        for number, name in enumerate(("one", "two", "three")):
            run.step(name, {}, lambda number=number: outcome(number))
    path = tmp_path / "journal.jsonl"
    flip(path, byte=path.read_bytes().index(b'"two"') + 2)
    spoilt = path.read_bytes()
    heard: list[Event] = []
    with Run.open(tmp_path, QUESTION, tell=heard.append) as run:
        (mended,) = (line for line in run.lines() if "mended" in line)
        assert mended["why"] == "damaged lines: 3"
        assert (tmp_path / mended["kept"]).read_bytes() == spoilt
        assert number_of(run.step("one", {}, never)) == 0
        assert number_of(run.step("three", {}, never)) == 2
        assert number_of(run.step("two", {}, lambda: outcome(5))) == 5
    assert len(heard) == 1
    with Run.open(tmp_path, QUESTION, tell=heard.append):
        assert len(heard) == 1  # mended for good


def test_half_a_line_written_before_the_disk_was_full_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) < 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: len(data) // 2])

    with Run.open(tmp_path, QUESTION) as run:
        run.note({"note": 0})
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(StoreError, match="No space left"):
                run.note({"note": 1})
        assert notes(run) == [0]
        run.note({"note": 2})
        assert notes(run) == [0, 2]
    with Run.open(tmp_path, QUESTION) as run:
        assert notes(run) == [0, 2]


def test_a_damaged_run_json_is_mended_from_the_journal(tmp_path: Path) -> None:
    with Run.open(tmp_path, QUESTION) as run:
        run.step("one", {}, lambda: outcome(1))
    flip(tmp_path / "run.json", byte=3)
    with pytest.raises(UsageError, match="train was"):
        Run.open(tmp_path, {**QUESTION, "train": "head"})
    with Run.open(tmp_path, QUESTION) as run:
        assert [line["mended"] for line in run.lines() if "mended" in line] == ["run.json"]
        assert number_of(run.step("one", {}, never)) == 1
    assert json.loads(store.read_sealed(tmp_path / "run.json"))["train"] == "ladder"


# Checkpoints -------------------------------------------------------------------------------------


def state_of(checkpoint: Checkpoint) -> float | None:
    found = checkpoint.load()
    return None if found is None else number_of(found)


def test_a_checkpoint_gives_the_newest_state(tmp_path: Path) -> None:
    with Run.open(tmp_path, QUESTION) as run:
        assert run.checkpoint("tune", {"seed": 0}).load() is None
        for number in range(12):
            run.checkpoint("tune", {"seed": 0}).save(outcome(number))
            assert state_of(run.checkpoint("tune", {"seed": 0})) == number
        assert run.checkpoint("tune", {"seed": 1}).load() is None
        assert len(list((tmp_path / "checkpoints").iterdir())) == 4  # two states of two files
        run.checkpoint("tune", {"seed": 0}).clear()
        assert run.checkpoint("tune", {"seed": 0}).load() is None
        assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, suffix: str) -> None:
    heard: list[Event] = []
    with Run.open(tmp_path, QUESTION, tell=heard.append) as run:
        checkpoint = run.checkpoint("tune", {})
        for number in range(3):
            checkpoint.save(outcome(number))
        flip(max((tmp_path / "checkpoints").glob(f"*{suffix}")))
        assert state_of(checkpoint) == 1
        assert len(heard) == 1
        checkpoint.save(outcome(7))
        assert state_of(checkpoint) == 7
        flip(max((tmp_path / "checkpoints").glob(f"*{suffix}")))
        assert state_of(checkpoint) == 1  # still the last that was whole
        flip(max((tmp_path / "checkpoints").glob(f"*{suffix}")))
        assert state_of(checkpoint) is None
        checkpoint.save(outcome(8))
        assert state_of(checkpoint) == 8
    assert len(list((tmp_path / "checkpoints" / "quarantine").glob(f"*{suffix}"))) == 3


def test_the_checkpoints_of_a_finished_step_go(tmp_path: Path) -> None:
    with Run.open(tmp_path, QUESTION) as run:
        other = run.checkpoint("tune", {"seed": 1})
        other.save(outcome(5))

        def compute() -> Outcome:
            run.checkpoint("tune", {}).save(outcome(1))
            return outcome(2)

        run.step("tune", {}, compute)
        assert run.checkpoint("tune", {}).load() is None
        assert other.load() is not None


def test_a_run_is_named_after_the_data(tmp_path: Path) -> None:
    (tmp_path / "photos.v2").mkdir()
    (tmp_path / "mails.csv").touch()
    assert store.folder_beside(tmp_path / "photos.v2", "regraft") == Path("photos.v2-regraft")
    assert store.folder_beside(tmp_path / "mails.csv", "regraft") == Path("mails-regraft")
