from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import QUESTION, abandoned_by, json_values, names, other_process

from regraft import store
from regraft.errors import Damaged, StoreError
from regraft.store import Run, files

quick = settings(max_examples=100, deadline=None)


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
    monkeypatch.setattr(files, "file_sha256", lambda path: hashed.append(path) or plain(path))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert {store.remembered_sha256(path) for _ in range(3)} == {plain(path)}
    assert len(hashed) == 3, "another change within the clock's tick could not be seen"
    monkeypatch.setattr(files, "_TICK_S", -1.0)
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


def test_a_line_makes_its_file_unless_it_has_to_be_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lines"
    with pytest.raises(StoreError, match="could not write lines: No such file"):
        files.append_to(path, b"one")
    store.append_line(path, b"one")
    with path.open("ab") as file:
        file.write(b"half a li")
    files.append_to(path, b"two")
    store.append_line(path, b"three")
    assert path.read_bytes() == b"one\nhalf a li\ntwo\nthree\n"
    assert names(tmp_path) == ["new", "new/lines"]


def test_the_first_line_of_two_writers_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines"
    store.append_line(path, b"theirs")
    monkeypatch.setattr(Path, "exists", lambda path: False)  # as it was a moment before
    store.append_line(path, b"mine")
    assert path.read_bytes() == b"theirs\nmine\n"


def test_a_line_goes_where_a_link_points_though_nothing_is_there_yet(tmp_path: Path) -> None:
    path, target = tmp_path / "link", tmp_path / "lines"
    path.symlink_to(target)
    store.append_line(path, b"one")
    assert path.is_symlink()
    assert target.read_bytes() == b"one\n"


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
