from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import tiny

from regraft.errors import StoreError, UsageError
from regraft.events import Event, Said, silent
from regraft.store import cache_folder, read_sealed
from regraft.transfer import cache
from regraft.transfer.packing import Packing
from regraft.transfer.shards import Shards, hold, unused

PACKING = Packing(((5,),), "float32")
KEYS = [f"sample {number}" for number in range(12)]
ROWS = PACKING.pack([np.arange(60, dtype=np.float32).reshape(12, 5)])


def opened(folder: Path, keys: list[str] = KEYS) -> Shards:
    shards = Shards(folder, PACKING, keys, {"what": "a test"})
    shards.scan(silent)
    return shards


def filled(folder: Path) -> Shards:
    """Three shards of four rows."""
    shards = opened(folder)
    for start in range(0, 12, 4):
        shards.append(KEYS[start : start + 4], ROWS[start : start + 4])
    return shards


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))


# Rows ---------------------------------------------------------------------------------------------


def test_rows_are_found_again(tmp_path: Path) -> None:
    filled(tmp_path / "a").close()
    order = [7, 0, 11, 7]
    shards = opened(tmp_path / "a", [KEYS[i] for i in order])
    assert shards.missing() == []
    assert (shards.read(shards.places()) == ROWS[order]).all()


def test_what_is_missing_is_named_once_and_in_order(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    wanted = opened(tmp_path / "a", ["x", "sample 3", "y", "x"])
    assert wanted.missing() == ["x", "y"]


def test_others_rows_are_seen_when_it_is_ones_turn(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "a"), opened(tmp_path / "a")
    with one.adding(silent):
        one.append(KEYS, ROWS)
    assert other.missing() == KEYS
    with other.adding(silent):
        assert other.missing() == []
    assert (other.read(other.places()) == ROWS).all()


def test_shards_without_wanted_rows_are_not_read(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    for path in sorted((tmp_path / "a").glob("*.rows")):
        data = bytearray(path.read_bytes())
        if b"sample 5" not in data:
            data[-100] ^= 1
            path.write_bytes(bytes(data))
    shards = opened(tmp_path / "a", ["sample 5"])
    assert (shards.read(shards.places()) == ROWS[5:6]).all()
    assert not (tmp_path / "a" / "quarantine").exists()


def test_a_shard_is_read_whole_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was written a moment ago is not trusted: its next change may have the same time."""
    read: list[Path] = []
    monkeypatch.setattr(
        "regraft.store.files.read_sealed", lambda path: read.append(path) or read_sealed(path)
    )
    filled(tmp_path / "a").close()
    paths = sorted((tmp_path / "a").glob("*.rows"))
    for _ in range(2):
        opened(tmp_path / "a").close()
    assert read == paths * 2, "they are fresh"
    monkeypatch.setattr("regraft.store.files._TICK_S", -1.0)
    for _ in range(3):
        shards = opened(tmp_path / "a")
        assert (shards.read(shards.places()) == ROWS).all()
        shards.close()
    assert read == paths * 3
    data = bytearray(paths[1].read_bytes())
    data[-100] ^= 1
    time.sleep(0.02)
    paths[1].write_bytes(bytes(data))
    assert len(opened(tmp_path / "a").missing()) == 4
    assert read == [*paths * 3, paths[1]]


# Damage -------------------------------------------------------------------------------------------


def test_every_flipped_bit_is_found_and_costs_one_shard(tmp_path: Path) -> None:
    filled(tmp_path / "a").close()
    paths = sorted((tmp_path / "a").glob("*.rows"))
    for flip in range(120):
        path = paths[flip % 3]
        data = bytearray(path.read_bytes())
        place = int(np.random.default_rng(flip).integers(8 * len(data)))
        data[place // 8] ^= 1 << place % 8
        whole = path.read_bytes()
        path.write_bytes(bytes(data))
        said: list[Event] = []
        shards = Shards(tmp_path / "a", PACKING, KEYS, {})
        shards.scan(said.append)
        left = shards.missing()
        assert len(left) in (4, 12 - 8), (flip, place, left)
        kept = [key for key in KEYS if key not in left]
        again = opened(tmp_path / "a", kept)
        assert (again.read(again.places()) == ROWS[[KEYS.index(key) for key in kept]]).all()
        path.write_bytes(whole)
        for handle in (shards, again):
            handle.close()


def test_every_truncation_is_found(tmp_path: Path) -> None:
    filled(tmp_path / "a").close()
    path = sorted((tmp_path / "a").glob("*.rows"))[0]
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert len(opened(tmp_path / "a").missing()) == 4, length
    path.write_bytes(whole + b"x")
    assert len(opened(tmp_path / "a").missing()) == 4
    path.write_bytes(whole)
    assert opened(tmp_path / "a").missing() == []


def test_a_damaged_shard_is_set_aside_and_said(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    path = sorted((tmp_path / "a").glob("*.rows"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    said: list[Event] = []
    Shards(tmp_path / "a", PACKING, KEYS, {}).scan(said.append)
    assert [type(event) for event in said] == [Said]
    assert not path.exists()
    assert len(list((tmp_path / "a" / "quarantine").iterdir())) == 1


def test_rows_that_vanish_while_they_are_used(tmp_path: Path) -> None:
    shards = filled(tmp_path / "a")
    for path in (tmp_path / "a").glob("*.rows"):
        path.unlink()
    with pytest.raises(StoreError, match="vanished"):
        shards.read(shards.places())


# Locks --------------------------------------------------------------------------------------------


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from regraft.events import silent
from regraft.transfer.packing import Packing
from regraft.transfer.shards import Shards
shards = Shards(Path(sys.argv[1]), Packing(((5,),), "float32"), ["k"], {})
with shards.adding(silent):
    print("mine", flush=True)
    time.sleep(60)
"""
    with tiny.python(program, tmp_path / "a") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "mine\n"
        with unused(tmp_path / "a") as free:
            assert not free
        holder.kill()
        began = time.monotonic()
        with opened(tmp_path / "a").adding(silent):
            assert time.monotonic() - began < 10


def test_waiting_can_be_interrupted(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(event: Event) -> None:
        raise Stop

    with (
        opened(tmp_path / "a").adding(silent),
        pytest.raises(Stop),
        opened(tmp_path / "a").adding(stop),
    ):
        pass


# Limits -------------------------------------------------------------------------------------------


def stocked(names: str) -> dict[str, Path]:
    """Folders of features, the first used longest ago."""
    folders = {name: cache.features_folder() / name for name in names}
    for age, folder in enumerate(reversed(folders.values())):
        filled(folder).close()
        then = time.time() - 1000 * (age + 1)
        os.utime(folder / "in-use", (then, then))
    return folders


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_what_was_used_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = stocked("abc")
    monkeypatch.setenv(cache.LIMIT, str(3 * size_of(folders["a"])))
    cache.make_room(0)
    assert all(folder.exists() for folder in folders.values())
    os.close(hold(folders["a"]))  # a is used again
    cache.make_room(10)
    assert [name for name, folder in folders.items() if folder.exists()] == ["a", "c"]


def test_what_is_in_use_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = stocked("ab")
    monkeypatch.setenv(cache.LIMIT, "0")
    shards = opened(folders["a"])
    assert cache.make_room(7) == size_of(folders["a"]) + 7
    assert folders["a"].exists() and not folders["b"].exists()
    assert shards.missing() == []
    shards.close()
    cache.make_room(0)
    assert not folders["a"].exists()


def test_removing_and_opening_at_once(tmp_path: Path) -> None:
    """A folder that is opened while it goes is made again; nobody is left with a removed one."""
    program = """
import os, sys, time
from pathlib import Path
from regraft.transfer.shards import hold
end = time.monotonic() + 1.0
while time.monotonic() < end:
    descriptor = hold(Path(sys.argv[1]))
    (Path(sys.argv[1]) / "mine").touch()
    assert (Path(sys.argv[1]) / "mine").exists()
    os.close(descriptor)
"""
    folder = cache.features_folder() / "a"
    with tiny.python(program, folder) as other:
        while other.poll() is None:
            cache.clear()
    assert other.returncode == 0


@pytest.mark.parametrize(
    ("text", "count"), [("1000", 1000), ("2 GB", 2 * 10**9), ("1.5mb", 1_500_000), (" 3 kB ", 3000)]
)
def test_limits_that_users_write(monkeypatch: pytest.MonkeyPatch, text: str, count: int) -> None:
    monkeypatch.setenv(cache.LIMIT, text)
    assert cache.limit_bytes() == count


@pytest.mark.parametrize("text", ["much", "-1", "1 GiBB", "GB"])
def test_limits_that_make_no_sense(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(cache.LIMIT, text)
    with pytest.raises(UsageError, match="is not a size"):
        cache.limit_bytes()


def test_the_usual_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.LIMIT, raising=False)
    assert 0 < cache.limit_bytes() <= 20 * 10**9


def test_show_and_clear() -> None:
    folders = stocked("ab")
    shown = cache.show()
    assert [entry.path for entry in shown] == [folders["b"], folders["a"]]
    assert shown[0].bytes == size_of(folders["b"])
    assert shown[0].about == "what a test"
    held = opened(folders["a"])
    assert cache.clear() == (shown[0].bytes, shown[1].bytes)
    assert not folders["b"].exists() and folders["a"].exists()
    held.close()
    assert cache.clear()[1] == 0
    assert not list((cache_folder() / "features").iterdir())
