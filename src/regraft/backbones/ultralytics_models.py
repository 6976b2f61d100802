"""Ultralytics' YOLO checkpoints (AGPL-3.0), taken apart into stages.

Decisions:

- A checkpoint is a pickle of a whole network object. Nothing in it is run and none of its classes
  is imported to read it: `checkpoints.read_inert` puts stand-ins in their place, and what is taken
  from these are tensors, names of categories and the description that the network was built from.
- That description comes from the file, or from that of a model, so it is checked each time before
  the library builds from it: layers from a list, arguments that are numbers or known words.
- The package is imported where such a network is built, and nowhere else. It is kept from asking
  the network whether it is there, from installing things, and from writing into the user's home.
- The branch that answers with one box for each object (YOLOv10, YOLO26) is left out; the one with
  several, which they train beside it, is the head here, as in all the others.

Sources: YOLOv8 and YOLO11 (Jocher et al. 2023, 2024) and what their configurations build on.

Shapes: b pictures; maps are (b, channels, h, w).
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regraft import store
from regraft.backbones.adapters import Converted, Library
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import SOURCE_HEAD, Backbone, Detector, Preprocessing, Recipe
from regraft.backbones.checkpoints import read_inert
from regraft.backbones.network import Network, Part, fill, read_safetensors
from regraft.errors import BackboneError, MissingExtra

PACKAGES = ("ultralytics.", "torch.nn.modules.", "pathlib.", "numpy.")
"""Whose objects a checkpoint may hold."""
LAYERS = (
    "A2C2f", "AConv", "ADown", "Bottleneck", "BottleneckCSP", "C1", "C2", "C2f", "C2fCIB",
    "C2fPSA", "C2PSA", "C3", "C3Ghost", "C3k2", "C3x", "CBFuse", "CBLinear", "Concat", "Conv",
    "ConvTranspose", "Detect", "DWConv", "ELAN1", "Focus", "GhostBottleneck", "GhostConv",
    "nn.ConvTranspose2d", "nn.Identity", "nn.MaxPool2d", "nn.Upsample", "nn.ZeroPad2d", "PSA",
    "RepC3", "RepNCSPELAN4", "SCDown", "SPP", "SPPELAN", "SPPF", "v10Detect",
)  # fmt: skip
"""What a description may name."""
_WORDS = ("None", "True", "False", "nc", "nearest", "bilinear")
_ACTIVATIONS = tuple(
    f"{prefix}nn.{name}" for prefix in ("", "torch.") for name in ("SiLU()", "ReLU()", "GELU()")
)
_MOST_LAYERS, _MOST = 200, 8192
_SIZE_PX = 640
_GRID_PX = 32


def read(checkpoint: Any, file: Path) -> tuple[Any, Preprocessing, Recipe, Detector]:
    """The network, and how it is described; made of what `checkpoints.read_inert` gave.

    Raises:
        MissingExtra: the package is not installed.
        BackboneError: this is no YOLO that finds objects, or it is not as its description says.
    """
    held = checkpoint if isinstance(checkpoint, dict) else {}
    found = held.get("ema") or held.get("model")
    kind = type(found).__name__
    if kind != "DetectionModel":
        raise BackboneError(
            f"this is no checkpoint of a YOLO that finds objects: it holds {kind}",
            where=file,
            mend="give the .pt file of a detection model, as Ultralytics' train() leaves it",
        )
    state = vars(found)
    network = _checked(state.get("yaml"), file)
    names = _names(state.get("names"), network["nc"], file)
    version = _library_version()
    recipe = Recipe(
        "ultralytics", "detect", (("network", json.dumps(network)), ("ultralytics", version))
    )
    model = _filled(recipe, _tensors(found, "", 0), file)
    size_px, none, one = _size_px(held.get("train_args")), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    preprocessing = Preprocessing(size_px, 1.0, "bilinear", none, one, whole=True)
    return model, preprocessing, recipe, _detector(model, names)


def parts(
    recipe: Recipe, preprocessing: Preprocessing, model: Any | None = None
) -> tuple[list[Part], str]:
    """The stages, of a network of their own; there is no note.

    Args:
        recipe: as `read` gives it.
        preprocessing: likewise.
        model: what they are copied from; None makes a fresh one.
    """
    stages = _stages(recipe, model or fresh(recipe))
    return [Part(name, copy.deepcopy(module), f"{name}.") for name, module in stages], ""


def _stages(recipe: Recipe, whole: Any) -> list[tuple[str, nn.Module]]:
    """In the memory of the whole."""
    first = len(json.loads(str(dict(recipe.options)["network"]))["backbone"])
    *layers, detect = whole.model
    sources = [_sources(i, layer.f) for i, layer in enumerate(whole.model)]
    cuts = [*range(first + 1), len(layers)]
    stages: list[tuple[str, nn.Module]] = []
    given: tuple[int, ...] = (-1,)
    for start, stop in zip(cuts, cuts[1:], strict=False):
        later = sorted({i for used in sources[stop:] for i in used if i < stop})
        wanted = tuple(later) if stop < len(layers) else sources[-1]
        steps = Steps(layers[start:stop], sources[start:stop], start, given, wanted)
        stages.append((f"layer.{start}" if stop <= first else "neck", steps))
        given = wanted
    return [*stages, ("towers", Towers(detect))]


def whole(backbone: Backbone) -> nn.Module:
    """The network as the library runs it, up to the first map that a head takes."""
    model = fresh(backbone.recipe)
    stages = _stages(backbone.recipe, model)
    network = Network([Part(n, m, f"{n}.") for n, m in stages], backbone.preprocessing)
    fill(network, read_safetensors(backbone.weights), "the whole")
    return Whole(model)


class Whole(nn.Module):
    """See `whole`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_bchw: Tensor) -> Tensor:
        """See `whole`."""
        detect, seen = self.model.model[-1], list[Any]()
        hook = detect.register_forward_pre_hook(lambda _, given: seen.extend(given[0]))
        self.model(x_bchw)
        hook.remove()
        return detect.cv3[0][:-1](seen[0])


def source_head(model: Any) -> dict[str, Tensor]:
    """The last layers: "{level}.scores.weight" and so on, and "edges" likewise."""
    detect = model.model[-1]
    return {
        f"{SOURCE_HEAD}{level}.{part}.{name}": tensor.detach()
        for part, branches in (("scores", detect.cv3), ("edges", detect.cv2))
        for level, branch in enumerate(branches)
        for name, tensor in branch[-1].state_dict().items()
    }


class Steps(nn.Module):
    """Some layers in a row, each of which takes what any layer before it gave.

    Args:
        layers: the library's own.
        sources: for each, which layers' maps it takes; -1 is the picture.
        first: number of the first of them.
        given: whose maps come in.
        wanted: whose go out.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        sources: Sequence[tuple[int, ...]],
        first: int,
        given: tuple[int, ...],
        wanted: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.sources = tuple(sources)
        self.first = first
        self.given = given
        self.wanted = wanted

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        held = dict(zip(self.given, maps, strict=True))
        for i, (layer, sources) in enumerate(
            zip(self.layers, self.sources, strict=True), start=self.first
        ):
            taken = [held[source] for source in sources]
            held[i] = layer(taken[0] if isinstance(getattr(layer, "f", -1), int) else taken)
        return tuple(held[i] for i in self.wanted)


class Towers(nn.Module):
    """Convolutions for each map, once for scores and once for edges; what they end in, in turn."""

    def __init__(self, detect: Any) -> None:
        super().__init__()
        self.scores = nn.ModuleList(branch[:-1] for branch in detect.cv3)
        self.edges = nn.ModuleList(branch[:-1] for branch in detect.cv2)

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        """Of each map, the finest first: a map for scores, a map for edges."""
        found: list[Tensor] = []
        for x, scores, edges in zip(maps, self.scores, self.edges, strict=True):
            found += [scores(x), edges(x)]
        return tuple(found)


def _sources(index: int, given: int | Sequence[int]) -> tuple[int, ...]:
    """Which layers' maps a layer takes; the library counts backwards from it, too."""
    some = [given] if isinstance(given, int) else given
    return tuple(i if i >= 0 else index + i for i in some)


def fresh(recipe: Recipe) -> Any:
    """The library's own network with random weights.

    Raises:
        MissingExtra: the package is not installed.
        BackboneError: the recipe, which may come from somebody else's file, names what is no layer.
    """
    network = _checked(json.loads(str(dict(recipe.options)["network"])), "the recipe")
    library = _library()
    return library.DetectionModel(network, ch=3, verbose=False).eval()


def _library() -> Any:
    """The module `ultralytics.nn.tasks`.

    Raises:
        MissingExtra: the package is not installed.
    """
    # It would look for the internet, report itself there and write into the user's home.
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ.setdefault("YOLO_VERBOSE", "false")
    folder = store.cache_folder() / "ultralytics"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(folder))
    try:
        import ultralytics.nn.tasks as library  # pyright: ignore[reportMissingImports]
    except ImportError as fault:
        raise _missing() from fault
    return library


def _library_version() -> str:
    try:
        return importlib.metadata.version("ultralytics")
    except importlib.metadata.PackageNotFoundError as fault:
        raise _missing() from fault


def _missing() -> MissingExtra:
    return MissingExtra(
        "the package ultralytics is not installed",
        mend="pip install regraft[ultralytics]; it is under AGPL-3.0",
    )


# What the file says -----------------------------------------------------------------------------


def _tensors(module: Any, prefix: str, depth: int) -> dict[str, Tensor]:
    """What `state_dict` would give, of stand-ins."""
    state = vars(module)
    passing: Any = state.get("_non_persistent_buffers_set") or ()
    found: dict[str, Tensor] = {}
    for kind in ("_parameters", "_buffers"):
        for name, tensor in (state.get(kind) or {}).items():
            if isinstance(tensor, Tensor) and name not in passing:
                found[f"{prefix}{name}"] = tensor.detach().float()
    if depth < _MOST_LAYERS:
        for name, child in (state.get("_modules") or {}).items():
            if child is not None:
                found |= _tensors(child, f"{prefix}{name}.", depth + 1)
    return found


def _filled(recipe: Recipe, tensors: Mapping[str, Tensor], file: Path) -> Any:
    """The network with these tensors."""
    try:
        model = fresh(recipe)
    except MissingExtra:
        raise
    except Exception as fault:  # the library raises whatever its layers do
        raise BackboneError(
            f"the network cannot be built from its description: {fault!r}"[:500],
            where=file,
            mend="install the version of ultralytics that saved it",
        ) from fault
    own = model.state_dict()
    wrong = sorted(
        name
        for name, tensor in own.items()
        if name not in tensors or tensors[name].shape != tensor.shape
    )
    if wrong:
        raise BackboneError(
            f"the tensors are not those of the network it describes: {', '.join(wrong[:5])}",
            where=file,
            mend="give a checkpoint that was not fused, and the version that saved it",
        )
    with torch.no_grad():
        model.load_state_dict({name: tensors[name].to(own[name].dtype) for name in own})
    return model.eval()


def _checked(said: Any, where: Path | str) -> dict[str, Any]:
    """The description, if it names nothing but layers and numbers.

    Raises:
        BackboneError: it does.
    """

    def refuse(what: str) -> BackboneError:
        return BackboneError(
            f"its description of the network is none of Ultralytics' for detection: {what}"[:300],
            where=where,
            mend="give a detection checkpoint of YOLOv8, YOLO11 or their kin",
        )

    if not isinstance(said, dict):
        raise refuse("there is none")
    found: dict[str, Any] = {}
    for name in ("nc", "reg_max", "depth_multiple", "width_multiple"):
        if name in said:
            if not _is_number(said[name]) or not 0 < said[name] <= _MOST:
                raise refuse(f"{name} is {said[name]!r}")
            found[name] = said[name]
    if not isinstance(found.get("nc"), int):
        raise refuse("it has no number of categories")
    if said.get("activation"):
        if said["activation"] not in _ACTIVATIONS:
            raise refuse(f"the activation {said['activation']!r}")
        found["activation"] = said["activation"]
    if said.get("scales"):
        found["scales"], found["scale"] = _scales(said, refuse)
    found["end2end"] = bool(said.get("end2end"))
    for part in ("backbone", "head"):
        rows = said.get(part)
        if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_LAYERS:
            raise refuse(f"{part} is no list of layers")
        found[part] = [_layer(row, refuse) for row in rows]
    if found["head"][-1][2] not in ("Detect", "v10Detect"):
        raise refuse(f"it ends in {found['head'][-1][2]}")
    return found


def _scales(said: dict[str, Any], refuse: Any) -> tuple[dict[str, list[float]], str]:
    """Depth, width and channels of the size that was built, by its letter."""
    scales, scale = said["scales"], said.get("scale") or next(iter(said["scales"]), "")
    row = scales.get(scale) if isinstance(scales, dict) else None
    if not isinstance(row, list) or len(row) != 3 or not all(map(_is_number, row)):
        raise refuse(f"the scale {scale!r}")
    return {str(scale): row}, str(scale)


def _layer(row: Any, refuse: Any) -> list[Any]:
    """[from, repeats, module, arguments], as they are."""
    if not isinstance(row, list) or len(row) != 4:
        raise refuse(f"the layer {row!r}")
    given, repeats, name, arguments = row
    sources = given if isinstance(given, list) else [given]
    known = (
        all(isinstance(i, int) and abs(i) <= _MOST_LAYERS for i in sources)
        and isinstance(repeats, int)
        and 0 < repeats <= _MOST_LAYERS
        and name in LAYERS
        and isinstance(arguments, list)
        and all(_is_plain(argument) for argument in arguments)
    )
    if not known:
        raise refuse(f"the layer {row!r}")
    return [given, repeats, name, list(arguments)]


def _is_plain(argument: Any) -> bool:
    if isinstance(argument, list):
        return all(_is_number(value) for value in argument)
    if isinstance(argument, str):
        return argument in _WORDS
    return argument is None or isinstance(argument, bool) or _is_number(argument)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _MOST


def _names(said: Any, count: int, file: Path) -> tuple[str, ...]:
    """Of the categories, in the order of the scores."""
    names = dict(enumerate(said)) if isinstance(said, list) else said
    if not isinstance(names, dict) or set(names) != set(range(count)):
        raise BackboneError(f"it does not name its {count} categories", where=file)
    return tuple(str(names[row])[:100] for row in range(count))


def _size_px(said: Any) -> int:
    """What it was trained at, if the file says so."""
    size = said.get("imgsz") if isinstance(said, dict) else None
    if not isinstance(size, int) or not _GRID_PX <= size <= 4096:
        return _SIZE_PX
    return size // _GRID_PX * _GRID_PX


def _detector(model: Any, names: tuple[str, ...]) -> Detector:
    detect = model.model[-1]
    widths = (("score_width", detect.cv3[0][-1].in_channels),
              ("edge_width", detect.cv2[0][-1].in_channels))  # fmt: skip
    strides = tuple(int(stride) for stride in detect.stride)
    return Detector("paired", names, strides, int(detect.reg_max) - 1, widths)


def convert(wanted: Address) -> Converted:
    """The network in a checkpoint that the user named.

    Raises:
        MissingExtra: the package is not installed.
        BackboneError: see `read` and `checkpoints.read_inert`.
    """
    assert wanted.file is not None, wanted
    model, preprocessing, recipe, detector = read(read_inert(wanted.file, PACKAGES), wanted.file)
    stages, note = parts(recipe, preprocessing, model)
    network = Network(stages, preprocessing, note).eval()
    blank = Backbone(
        wanted.name, "image", str(wanted.file), store.file_sha256(wanted.file), "AGPL-3.0", (),
        preprocessing, recipe, wanted.file, detector=detector,
    )  # fmt: skip
    return Converted(blank, network, network.tensors() | source_head(model), wanted.file)


LIBRARY = Library(convert, parts, whole=whole)
