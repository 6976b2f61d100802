"""What was done: a folder whose journal remembers finished work, so that repeating is resuming.

Decisions:

- A step is done when the journal says so and the files it names hold what it says; anything else
  is set aside in `quarantine/` and computed again.
- What a caller gets from a step is always read back from the disk, so that a resumed run and an
  undisturbed one cannot see a difference.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, final

import filelock
import numpy as np
import safetensors.numpy

from regraft.errors import Damaged, UsageError
from regraft.events import Said, Tell, silent
from regraft.store.files import (
    Json,
    acquire,
    append_to,
    canonical,
    commit,
    commit_sealed,
    copy_aside,
    digest,
    explained,
    is_temporary,
    quarantine,
    read_sealed,
    sweep,
)

Fact: TypeAlias = dict[str, Any]
"""A JSON object whose values the reader knows; `Any` spares every reader a cast."""

_TOLD = 4  # settings that differ
_RUN_WAIT_S = 1.0  # a killed process needs a moment to let go of its lock
_STEP_NAME = re.compile(r"\w[\w.:=+-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class Outcome:
    """What a step found.

    Attributes:
        facts: JSON values, finite numbers only.
        tensors: arrays of numbers or truth values, of any shape, under names in plain Unicode.
    """

    facts: dict[str, Json] = field(default_factory=dict[str, Json])
    tensors: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])


@final
@dataclass(frozen=True, eq=False)
class Run:
    """A folder with a journal of memoised steps; made by `Run.open`, for one thread.

    It holds the folder's lock until `close`, the end of a `with` block or of the process. A run
    that ends in an error before its first step binds nobody: its folder goes, if it was new.

    `run.json` says which question the run answers, `journal.jsonl` what was done, `steps/` holds
    the outcomes and `checkpoints/` the states of steps that are not finished.
    """

    folder: Path
    _held: filelock.BaseFileLock
    _tell: Tell
    _is_new: bool

    @classmethod
    def open(cls, folder: Path, question: dict[str, Json], *, tell: Tell = silent) -> Run:
        """Begin a run in a new or empty folder, or go on with the run that is in it.

        Args:
            folder: made if missing.
            question: all settings that decide the answer. The release of regraft is added.
            tell: hears what was found damaged.

        Raises:
            UsageError: the folder holds something else, or a run with another question.
            StoreError: another process is at work in it, or it cannot be written.
        """
        _refuse_strangers(folder)
        is_new = not folder.exists()
        run = cls(folder, acquire(folder / ".lock", _RUN_WAIT_S), tell, is_new)
        try:
            for place in (folder, folder / "steps", folder / "checkpoints"):
                sweep(place)
            run._settle({**question, "regraft release": importlib.metadata.version("regraft")})
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Let others into the folder."""
        self._held.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and self._is_new:
                self._vanish()
        finally:
            self.close()

    def step(self, name: str, inputs: dict[str, Json], compute: Callable[[], Outcome]) -> Outcome:
        """What `compute()` gives, from the disk if it was computed before from the same inputs.

        Args:
            name: a word for people and for the file's name.
            inputs: everything the outcome depends on.
            compute: called if the outcome is not there or damaged.

        Raises:
            StoreError: the outcome cannot be written or read.
        """
        path = self._place("steps", name, inputs)
        key = digest(name, canonical(inputs))
        steps = (line for line in self.lines() if "step" in line)
        done = [line["sha256"] for line in steps if line["key"] == key]
        outcome = self._recall(path, done[-1]) if done else None
        if outcome is None:
            sha256 = _save(path, compute())
            self._append({"step": name, "key": key, "sha256": sha256})
            outcome = _load(path, sha256)
        self.checkpoint(name, inputs).clear()
        return outcome

    def checkpoint(self, name: str, inputs: dict[str, Json]) -> Checkpoint:
        """The states of a step while it is computed. They go when the step is done."""
        return Checkpoint(self, self._place("checkpoints", name, inputs))

    def note(self, fact: dict[str, Json]) -> None:
        """Add a line to the journal. The keys "opened", "step" and "mended" are the run's own."""
        assert not {"opened", "step", "mended"} & set(fact), fact
        self._append(fact)

    def lines(self) -> list[Fact]:
        """What the journal says, oldest first; torn and damaged lines are left out.

        Besides notes: {"opened": settings} for each `Run.open`, {"step", "key", "sha256"} for
        each step done, {"mended": file, "why", "kept": path or null} for damage found.
        """
        return _read_journal(self._journal).facts

    def set_aside(self, path: Path, why: str) -> None:
        """Quarantine a damaged file of this run; say so in the journal and to the user."""
        self._report(path, why, quarantine(path))

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def _place(self, kind: str, name: str, inputs: dict[str, Json]) -> Path:
        assert _STEP_NAME.fullmatch(name), name
        return self.folder / kind / f"{name}-{digest(name, canonical(inputs))[:16]}.json"

    @property
    def _has_begun(self) -> bool:
        """Whether there is anything that its settings decided."""
        own = {".lock", "run.json", "journal.jsonl", "steps", "checkpoints"}
        if {path.name for path in self.folder.iterdir()} - own:
            return True
        places = (self.folder / "steps", self.folder / "checkpoints")
        return any(any(place.iterdir()) for place in places if place.is_dir())

    def _vanish(self) -> None:
        """Remove the folder if it holds nothing. What cannot be removed stays.

        In an order of which every beginning leaves what `open` takes for a run or a killed
        beginning of one; the lock is the last file.
        """
        with suppress(OSError):
            if self._has_begun:
                return
            for name in ("steps", "checkpoints"):
                if (self.folder / name).is_dir():
                    (self.folder / name).rmdir()
            for name in ("journal.jsonl", "run.json", ".lock"):
                (self.folder / name).unlink(missing_ok=True)
            self.folder.rmdir()

    def _settle(self, settings: dict[str, Json]) -> None:
        """Check that the run is about these settings; mend run.json and the journal."""
        path = self.folder / "run.json"
        try:
            there, damaged = json.loads(read_sealed(path)), False
        except FileNotFoundError:
            there, damaged = None, False
        except Damaged:
            there, damaged = self._settings_by_journal(), True
        is_other = there is not None and canonical(there) != canonical(settings)
        if is_other and self._has_begun:
            raise UsageError(
                "this folder holds a run with other settings: " + _differences(there, settings),
                where=self.folder,
                mend="choose another --out, repeat the command that began the run, "
                "or remove the folder",
            )
        kept = copy_aside(path) if damaged else None
        if damaged or is_other or there is None:
            commit_sealed(path, canonical(settings))
        self._mend_journal()
        if damaged:
            self._report(path, "its checksum does not fit", kept)
        self._append({"opened": settings})

    def _settings_by_journal(self) -> Json:
        facts = self.lines() if self._journal.exists() else []
        return next((fact["opened"] for fact in reversed(facts) if "opened" in fact), None)

    def _mend_journal(self) -> None:
        if not self._journal.exists():
            commit(self._journal, b"")
        journal = _read_journal(self._journal)
        if not journal.damaged and not journal.torn_bytes:
            return
        kept = copy_aside(self._journal) if journal.damaged else None
        commit(self._journal, b"".join(_journal_line(fact) + b"\n" for fact in journal.facts))
        if journal.damaged:
            lines = ", ".join(map(str, journal.damaged))
            self._report(self._journal, f"damaged lines: {lines}", kept)
        else:  # what a kill in the middle of a write leaves: no news for the user
            why = f"torn bytes: {journal.torn_bytes}"
            self._append({"mended": self._journal.name, "why": why, "kept": None})

    def _append(self, fact: Fact) -> None:
        assert self._held.is_locked, "the run is closed"
        append_to(self._journal, _journal_line(fact))

    def _recall(self, path: Path, sha256: str) -> Outcome | None:
        try:
            return _load(path, sha256)
        except FileNotFoundError as missing:
            self._report(Path(missing.filename), "it is missing", None)
        except Damaged as damage:
            self.set_aside(Path(damage.where), damage.what)
        return None

    def _report(self, path: Path, why: str, kept: Path | None) -> None:
        relative = kept and kept.relative_to(self.folder).as_posix()
        self._append({"mended": path.name, "why": why, "kept": relative})
        aside = f"; the damaged file is kept as {kept}" if kept else ""
        self._tell(Said(f"{path}: {why}. What is lost is computed again{aside}."))


@final
@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The newest state of an unfinished step, and the one before it in case that is damaged."""

    _run: Run
    _path: Path

    def load(self) -> Outcome | None:
        """The newest state that is whole, or None. Damaged ones are set aside."""
        for path in reversed(self._files(".json")):
            try:
                return _load(path)
            except FileNotFoundError:
                self._run.set_aside(path, "its tensors are missing")
            except Damaged as damage:
                self._run.set_aside(Path(damage.where), damage.what)
                quarantine(path)  # facts without their tensors are no state to fall back to
        return None

    def save(self, outcome: Outcome) -> None:
        """Keep a newer state.

        Raises:
            StoreError: it cannot be written. The older state is still there.
        """
        older = self._files(".json")
        serial = int(older[-1].name.split(".")[-2]) + 1 if older else 1
        _save(self._path.with_suffix(f".{serial:09d}.json"), outcome)
        if older:
            self._remove(file for file in self._files() if file.name < older[-1].name)

    def clear(self) -> None:
        """Forget all states."""
        self._remove(self._files())

    def _files(self, suffix: str = "") -> list[Path]:
        """Oldest first; of one state, the facts first."""
        return sorted(self._path.parent.glob(f"{self._path.stem}.*{suffix}"))

    def _remove(self, files: Iterable[Path]) -> None:
        with explained(self._path, "remove"):
            for file in files:  # oldest first: a reader never falls back to an older state
                file.unlink()


def folder_beside(data: Path, ending: str) -> Path:
    """Where a run on this data is kept when nobody says: here, under the data's name.

    Args:
        data: a folder, whose whole name it is, or a file, whose suffix is left out.
        ending: such as "regraft".
    """
    data = data.resolve()
    return Path(f"{data.name if data.is_dir() else data.stem}-{ending}")


def _refuse_strangers(folder: Path) -> None:
    """A folder is ours if it is empty, holds a run, or what a killed beginning of one left."""
    with explained(folder, "open"):
        if not folder.exists() or (folder / "run.json").is_file():
            return
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ["(a file)"]
    strangers = [name for name in names if name != ".lock" and not is_temporary(name)]
    if strangers:
        raise UsageError(
            "this is not empty and no run of regraft; it holds " + ", ".join(strangers[:3]),
            where=folder,
            mend="choose another --out",
        )


def _differences(there: Json, now: Json) -> str:
    """The settings that differ, each with both values, in one line; a few where they are many.

    Those that both have come first: a run of another verb shares few.
    """
    before, after = dict(_flat(there)), dict(_flat(now))
    names = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    names.sort(key=lambda name: (name not in before or name not in after, name))
    said = [
        f"{name} was {before.get(name, 'not set')[:60]}, is now {after.get(name, 'not set')[:60]}"
        for name in names[:_TOLD]
    ]
    rest = len(names) - len(said)
    return "; ".join([*said, f"and {rest} more"] if rest else said)


def _flat(value: Json, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, canonical(value).decode()


@dataclass(frozen=True)
class _Journal:
    facts: list[Fact]
    damaged: list[int]  # line numbers, from 1
    torn_bytes: int


def _read_journal(path: Path) -> _Journal:
    with explained(path, "read"):
        *whole, tail = path.read_bytes().split(b"\n")
    facts = [_checked(line) for line in whole]
    return _Journal(
        facts=[fact for fact in facts if fact is not None],
        damaged=[number for number, fact in enumerate(facts, 1) if fact is None],
        torn_bytes=len(tail),
    )


def _journal_line(fact: Fact) -> bytes:
    return _framed(canonical(fact))


def _framed(fact: bytes) -> bytes:
    return b'{"check":"%b","fact":%b}' % (digest(fact)[:16].encode(), fact)


def _checked(line: bytes) -> Fact | None:
    """The fact of a line, or None if a bit of it is off."""
    fact = line[len(_framed(b"")) - 1 : -1]
    return json.loads(fact) if _framed(fact) == line else None


def _save(path: Path, outcome: Outcome) -> str:
    """Write an outcome; the sha256 given back answers for facts and tensors together.

    The facts (`path`) are written last and name the tensors (beside it) by checksum, so that a
    reader can tell when the two files are not of one piece.
    """
    assert all(tensor.dtype.kind in "fiub" for tensor in outcome.tensors.values())
    canonical(outcome.facts)  # refuses what is no JSON before anything is written
    sha256 = None
    if outcome.tensors:
        # safetensors writes the memory as it lies, whatever the strides say.
        tensors = {name: np.asarray(it, order="C") for name, it in outcome.tensors.items()}
        data = safetensors.numpy.save(tensors)
        sha256 = commit_sealed(path.with_suffix(".safetensors"), data)
    return commit_sealed(path, canonical({"facts": outcome.facts, "tensors": sha256}))


def _load(path: Path, sha256: str | None = None) -> Outcome:
    """Read what `_save` wrote, and only that. `Damaged.where` is the file at fault."""
    body = json.loads(read_sealed(path, sha256))
    if body["tensors"] is None:
        return Outcome(body["facts"])
    data = read_sealed(path.with_suffix(".safetensors"), body["tensors"])
    tensors = safetensors.numpy.load(data)  # in another order each time
    return Outcome(body["facts"], dict(sorted(tensors.items())))
