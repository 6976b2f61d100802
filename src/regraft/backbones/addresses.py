"""What a backbone's name means."""

from __future__ import annotations

import difflib
import importlib.metadata
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from regraft.backbones.adapters import ADAPTERS
from regraft.backbones.catalogue import DEFAULT_TEXT, FRAMES, ROWS
from regraft.errors import Damaged, UsageError
from regraft.store import digest, read_sealed

MOST_WINDOWS = 64
_HUB_NAME = re.compile(r"([\w.-]+/)?[\w.-]+(@[\w./-]+)?")
"""The first models have no organisation: bert-base-uncased, xlm-roberta-base."""
_ARCHITECTURE = re.compile(r"[a-z]\w*(\.\w+)?")
"""How timm's names are built: resnet18d, resnet18.a1_in1k."""
_SAVED = {"text": "text-encoder", "transformers": "transformers"}
"""How names of what transformers has saved begin, and what reads it."""


@dataclass(frozen=True)
class Address:
    """What a name stands for.

    Attributes:
        name: the same for the same thing: files are absolute.
        adapter: see `Recipe`.
        architecture: see `Recipe`.
        file: the weights or the code that the user named, or None.
        windows: of a text at most; 0 where the name does not say.
    """

    name: str
    adapter: str
    architecture: str
    file: Path | None = None
    windows: int = 0

    @property
    def is_own_code(self) -> bool:
        """Whether a function of the user's makes it, which may change when no file does."""
        return any(ADAPTERS[name].is_own_code for name in self._adapters)

    @property
    def versions(self) -> str:
        """What else decides how it is converted."""
        adapters = [ADAPTERS[name] for name in self._adapters]
        found = [each.rule for each in adapters]
        found += [importlib.metadata.version(each.package) for each in adapters if each.package]
        beside = [name for each in adapters for name in each.beside]
        if beside and self.file is not None:
            files = [self.file.parent / name for name in beside]
            found.append(digest(*(path.read_bytes() for path in files if path.is_file())))
        return "".join(found)

    @property
    def _adapters(self) -> tuple[str, ...]:
        """Its own, and of a clip network also that of the picture network inside."""
        if self.adapter != "video":
            return (self.adapter,)
        return self.adapter, address(self.architecture.partition(":")[2]).adapter


def address(name: str) -> Address:
    """Read a name.

    Args:
        name: one of the catalogue, `timm:ARCH`, `timm:ARCH@FILE` (weights of your own),
            `text:FOLDER` (a text encoder as transformers saves it), `text:ORG/NAME[@REVISION]`
            (one of the hub, pulled before; the oldest have no ORG), `transformers:FOLDER` or
            `transformers:ORG/NAME[@REVISION]` (likewise, a detector), `ultralytics:FILE` (a YOLO
            checkpoint of theirs), `local:FILE.py:function` or `package.module:function` (a network
            of your own), `random:ARCH` (a timm network with random weights), the folder of a
            `pretrain` run, `video:[FRAMES:]` and any of these for pictures, or `windows:COUNT:`
            and any of these for texts.

    Raises:
        UsageError: it is none of these.
    """
    kind, colon, rest = name.partition(":")
    folder = _absolute(rest if kind == "run" else name)
    if (folder / "backbone" / "backbone.json").is_file():
        weights = folder / "backbone" / "weights.safetensors"
        return Address(f"run:{folder}", "run", str(folder / "backbone"), weights)
    if kind == "video" and rest:
        return _of_clips(rest)
    if kind == "windows" and rest:
        return _of_windows(rest)
    if kind == "random" and rest:
        return Address(name, "random", rest)
    if kind == "timm" and rest:
        architecture, at, file = rest.partition("@")
        if not at:
            return Address(name, "timm", architecture)
        path = _absolute(file)
        return Address(f"timm:{architecture}@{path}", "timm", architecture, path)
    if kind in _SAVED and rest:
        return _saved(kind, rest)
    if kind == "ultralytics" and rest:
        path = _absolute(rest)
        return Address(f"ultralytics:{path}", "ultralytics", "", path)
    if kind == "local":
        file, _, function = rest.rpartition(":")
        path = _absolute(file)
        if file.endswith(".py") and function.isidentifier():
            return Address(f"local:{path}:{function}", "local", f"{path}:{function}", path)
    elif colon and rest.isidentifier() and all(map(str.isidentifier, kind.split("."))):
        return Address(name, "local", name)
    for row in ROWS:
        if row.name == name:
            return Address(name, row.adapter, row.architecture)
    raise _unknown(name)


def _saved(kind: str, rest: str) -> Address:
    """What transformers has saved: a folder, or a repository of the hub."""
    folder, adapter = _absolute(rest), _SAVED[kind]
    if _HUB_NAME.fullmatch(rest) and not folder.exists():
        return Address(f"{kind}:{rest}", adapter, rest)
    # The usual name where there is none, so that it is what is said to be missing.
    older = folder / "pytorch_model.bin"
    usual = folder / "model.safetensors"
    is_older = kind == "text" and older.is_file() and not usual.is_file()
    return Address(f"{kind}:{folder}", adapter, "", older if is_older else usual)


def _of_clips(rest: str) -> Address:
    """What [FRAMES:]NAME after "video:" stands for."""
    count, _, name = rest.partition(":")
    frames, name = (int(count), name) if count.isdecimal() else (FRAMES, rest)
    _check_frames(frames, f"video:{rest}")
    inner = address(name)
    if inner.adapter == "video" or ADAPTERS[inner.adapter].reads == "text":
        raise UsageError(
            f"{name} is no network of pictures",
            where=name,
            mend="take one of the modality image from `regraft backbones list`",
        )
    architecture = f"{frames}:{inner.name}"
    file = None if inner.is_own_code else inner.file
    return Address(f"video:{architecture}", "video", architecture, file)


def _check_frames(frames: int, where: str) -> None:
    if not 2 <= frames <= 64:
        raise UsageError(f"a clip of {frames} frames", where=where, mend="give 2 to 64 frames")


def _of_windows(rest: str) -> Address:
    """What COUNT:NAME after "windows:" stands for."""
    count, _, name = rest.partition(":")
    if not count.isdecimal() or not 1 <= int(count) <= MOST_WINDOWS or not name:
        raise UsageError(
            f"{count!r} windows of a text",
            where=f"windows:{rest}",
            mend=f"give 1 to {MOST_WINDOWS} and a name: windows:8:{DEFAULT_TEXT}",
        )
    inner = address(name)
    if not (inner.adapter == "run" or ADAPTERS[inner.adapter].reads == "text") or inner.windows:
        raise UsageError(
            f"{name} is no network of texts",
            where=f"windows:{rest}",
            mend="take one of the modality text from `regraft backbones list`",
        )
    return replace(inner, name=f"windows:{int(count)}:{inner.name}", windows=int(count))


def for_clips(name: str, frames: int | None = None) -> str:
    """The name of the clip network around a picture network; itself where it is one.

    Args:
        name: as `address` takes it.
        frames: how many of a clip it looks at.

    Raises:
        UsageError: the name means nothing, or it looks at another number of frames.
    """
    wanted = address(name)
    if frames is not None:
        _check_frames(frames, "--frames")
    if wanted.adapter == "video":
        there = int(wanted.architecture.partition(":")[0])
    else:
        there = _frames(Path(wanted.architecture)) if wanted.adapter == "run" else 0
    if not there:
        return address(f"video:{FRAMES if frames is None else frames}:{name}").name
    if frames not in (None, there):
        raise UsageError(f"{name} looks at {there} frames", where="--frames", mend="leave it out")
    return wanted.name


def _frames(folder: Path) -> int:
    """Of a clip, that the backbone which a run made looks at; 0 for one of pictures or texts."""
    try:
        preprocessing = json.loads(read_sealed(folder / "backbone.json"))["preprocessing"]
        return int(preprocessing.get("frames", 0))
    except (Damaged, ValueError, KeyError):
        return 0


def _absolute(file: str) -> Path:
    return Path(file).expanduser().absolute()


def _unknown(name: str) -> UsageError:
    run = _absolute(name)
    if (run / "run.json").is_file() and (run / "model" / "model.json").is_file():
        return UsageError(
            "this is a run of fit, not of pretrain: it holds a model, not a backbone",
            where=name,
            mend="name the backbone that it was fitted on, or a run of `regraft pretrain`",
        )
    if (run / "run.json").is_file():
        return UsageError(
            "this run has no backbone: it is no pre-training, or was stopped before its end",
            where=name,
            mend="repeat the pretrain command that began it; what is done is kept",
        )
    near = difflib.get_close_matches(name, [row.name for row in ROWS], n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    if _ARCHITECTURE.fullmatch(name):  # to ask timm would take seconds
        hint += f"If timm has {name}, it is called timm:{name} here. "
    return UsageError(
        f"there is no backbone {name!r}",
        where=name,
        mend=f"{hint}Take a name from `regraft backbones list`, timm:ARCH, timm:ARCH@FILE, "
        "text:FOLDER, text:ORG/NAME, transformers:FOLDER, transformers:ORG/NAME, "
        "ultralytics:FILE or local:FILE.py:function",
    )
