from __future__ import annotations

import errno
import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import QUESTION, abandoned_by, json_values, names, other_process

from regraft import store
from regraft.errors import StoreError, UsageError
from regraft.events import Event, Said
from regraft.store import Checkpoint, Outcome, Run


def outcome(number: float) -> Outcome:
    return Outcome({"number": number}, {"w": np.full((2, 3), number, np.float32)})


def number_of(found: Outcome) -> float:
    number = found.facts["number"]
    assert isinstance(number, float | int)
    assert np.array_equal(found.tensors["w"], np.full((2, 3), number, np.float32))
    return number


def never() -> Outcome:
    pytest.fail("computed again")


def flip(path: Path, byte: int = -1, bit: int = 0) -> None:
    raw = bytearray(path.read_bytes())
    raw[byte] ^= 1 << bit
    path.write_bytes(raw)


def step_files(folder: Path, name: str) -> tuple[Path, Path]:
    (facts,) = (folder / "steps").glob(f"{name}-*.json")
    return facts, facts.with_suffix(".safetensors")


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
