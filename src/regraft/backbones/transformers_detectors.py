"""Detectors as transformers saves them: a folder with config.json and model.safetensors.

They are read by transformers itself, which knows the names that tensors have had over the years,
and then taken apart (`query_stages.py`). A family is named as its config.json names it. Nothing is
fetched here, and no code of a repository's own is run.

Pictures stay whole and become square by black bars. The authors of RT-DETRv2, D-FINE and RF-DETR
stretch them instead; YOLOS sees them as they are.
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regraft.backbones import hub, query_stages
from regraft.backbones.adapters import Converted, Library
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import SOURCE_HEAD, Backbone, Detector, Preprocessing, Recipe
from regraft.backbones.network import Network, Part, fill, read_safetensors
from regraft.errors import BackboneError, MissingExtra
from regraft.seeds import generator
from regraft.store import file_sha256
from regraft.wording import some_of

_KIND = "transformers"
WEIGHTS = ("model.safetensors",)
OTHERS = ("config.json", "preprocessor_config.json", "README.md")
CLASSES = {
    "yolos": "YolosForObjectDetection",
    "rt_detr_v2": "RTDetrV2ForObjectDetection",
    "d_fine": "DFineForObjectDetection",
    "rf_detr": "RfDetrForObjectDetection",
}
"""Of the families, as config.json names them."""
_SINCE = {"yolos": "4.20", "rt_detr_v2": "4.49", "d_fine": "4.52", "rf_detr": "5.9"}
"""The first version of transformers that has it."""
_TRUNKS = ("rt_detr_resnet", "hgnet_v2", "rf_detr_dinov2")
"""What may be inside; others would bring libraries of their own."""
_SIZE_PX = {"yolos": 512, "rt_detr_v2": 640, "d_fine": 640, "rf_detr": 560}
"""Where there is no preprocessor_config.json."""
_NORMALISED = ("yolos", "rf_detr")
"""Those whose pictures have a mean taken off, where nothing is said."""
_INTERPOLATION = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_COSTS = ("class_cost", "bbox_cost", "giou_cost", "bbox_loss_coefficient", "giou_loss_coefficient")
_RT_DETR = (
    "d_model", "matcher_alpha", "matcher_gamma", "matcher_class_cost", "matcher_bbox_cost",
    "matcher_giou_cost", "use_focal_loss", "focal_loss_alpha", "focal_loss_gamma",
    "weight_loss_vfl", "weight_loss_bbox", "weight_loss_giou", "eos_coefficient",
)  # fmt: skip
_SETTINGS = {
    "yolos": ("hidden_size", "eos_coefficient", *_COSTS),
    "rt_detr_v2": _RT_DETR,
    "d_fine": (
        *_RT_DETR, "hidden_size", "max_num_bins", "reg_scale", "up", "top_prob_values",
        "lqe_hidden_dim", "lqe_layers", "weight_loss_fgl", "weight_loss_ddf",
    ),
    "rf_detr": ("d_model", "class_loss_coefficient", "focal_alpha", *_COSTS),
}  # fmt: skip
"""What head and loss need of a config."""
_MANY = 5
_KNOWN = "5.23.0"
"""Of transformers: what the stages were written after."""


def read(folder: Path) -> tuple[Any, Backbone, dict[str, Tensor]]:
    """A saved detector: the network, its description without stages, and its own head's tensors.

    Raises:
        MissingExtra: transformers is not installed.
        BackboneError: a file is missing, damaged, of another family or of another network.
    """
    config = _config(folder)
    family = config["model_type"]
    kind = _class(family)
    try:
        made, loading = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
            dtype=torch.float32,
        )
    except Exception as fault:  # the library raises whatever the packages under it do
        raise BackboneError(
            f"transformers cannot open it: {fault}"[:500],
            where=folder,
            mend="it should hold config.json and model.safetensors, as save_pretrained leaves them",
        ) from fault
    misshapen: list[Any] = loading["mismatched_keys"]  # each with both shapes
    lacking = sorted({*loading["missing_keys"], *(str(entry[0]) for entry in misshapen)})
    if lacking:
        raise BackboneError(
            f"the weights lack tensors that config.json asks for: {some_of(lacking, _MANY)}",
            where=folder,
            mend="give the config.json of this very network",
        )
    model = made.eval()
    preprocessing = _preprocessing(folder, family, model.config)
    blank = Backbone(
        "", "image", str(folder), "", "unknown", (), preprocessing, _recipe(family, model.config),
        folder / WEIGHTS[0], detector=_detector(family, model.config),
    )  # fmt: skip
    head = query_stages.source_head(family, model)
    return model, blank, {SOURCE_HEAD + name: tensor for name, tensor in head.items()}


def parts(
    recipe: Recipe, preprocessing: Preprocessing, model: Any | None = None
) -> tuple[list[Part], str]:
    """The stages, of a network of their own.

    Args:
        recipe: as `read` gives it.
        preprocessing: see there.
        model: what they are copied from; None makes a fresh one.
    """
    network = model or _fresh(recipe)
    stages = query_stages.stages_of(recipe.architecture, network, preprocessing.size_px)
    return [_part(name, copy.deepcopy(module)) for name, module in stages], ""


@torch.inference_mode()
def confirm(blank: Backbone, model: Any, network: Network) -> None:
    """Whether the stages, one after the other, give what transformers' own `forward` does.

    Another version of it may do other things between its layers.

    Args:
        blank: as `read` gives it.
        model: the whole.
        network: its stages.

    Raises:
        BackboneError: they do not.
    """
    noise = generator(0, "confirm").integers(0, 256, blank.pictures.input_shape)
    x_bchw = network.entry(torch.from_numpy(noise.astype(np.uint8))[None])
    family = blank.recipe.architecture
    whole = query_stages.whole_of(family, model)(x_bchw)
    composed, *_ = network.run((x_bchw,), 0, len(network.stages))
    if not torch.allclose(whole, composed, rtol=1e-3, atol=1e-4):
        raise BackboneError(
            f"transformers {dict(blank.recipe.options)['transformers']} builds {family} "
            "otherwise than is known here: its stages do not give what the whole gives",
            mend=f"install transformers {_KNOWN}",
        )


def _part(name: str, module: nn.Module) -> Part:
    return Part(name, module, f"{name}.")


def whole(backbone: Backbone) -> nn.Module:
    """The network as transformers runs it, up to the queries that a head takes."""
    family, model = backbone.recipe.architecture, _fresh(backbone.recipe).eval()
    size_px = backbone.pictures.size_px
    # These share memory with the model, so that filling them fills it.
    stages = [_part(*stage) for stage in query_stages.stages_of(family, model, size_px)]
    fill(Network(stages, backbone.preprocessing), read_safetensors(backbone.weights), "the whole")
    return query_stages.whole_of(family, model)


def _class(family: str) -> Any:
    """Transformers' own.

    Raises:
        MissingExtra: transformers is not installed, or too old for it.
    """
    try:
        import transformers
    except ImportError as fault:
        raise MissingExtra(
            "the package transformers is not installed", mend="pip install regraft[detection]"
        ) from fault
    try:
        return getattr(transformers, CLASSES[family])
    except AttributeError as fault:
        since = _SINCE[family]
        raise MissingExtra(
            f"transformers {transformers.__version__} has no {family}; {since} has",
            mend=f"pip install 'transformers>={since}'",
        ) from fault


def _fresh(recipe: Recipe) -> Any:
    """A network with random weights, by the library's own scheme."""
    config: dict[str, Any] = json.loads(str(dict(recipe.options)["config"]))
    kind = _class(recipe.architecture)
    return kind(kind.config_class.from_dict(config))


def _config(folder: Path) -> dict[str, Any]:
    """config.json, of a family that is known."""
    path = folder / "config.json"
    config = _object(path)
    if config is None:
        raise BackboneError(
            "there is no such file",
            where=path,
            mend="give a folder with config.json and model.safetensors",
        )
    family = config.get("model_type")
    if family not in CLASSES:
        raise BackboneError(
            f"this is no detector that is known here: {family!r}",
            where=path,
            mend=f"take one of the families {', '.join(CLASSES)}",
        )
    inside = config.get("backbone_config")
    trunk = inside.get("model_type") if isinstance(inside, dict) else None
    if family != "yolos" and trunk not in _TRUNKS:
        raise BackboneError(
            f"the backbone inside is {trunk!r}",
            where=path,
            mend=f"take one with a backbone_config of {', '.join(_TRUNKS)}",
        )
    return config


def _object(path: Path) -> dict[str, Any] | None:
    """What a JSON file says; None where there is none."""
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as fault:
        raise BackboneError(f"it cannot be read: {fault}", where=path) from fault
    if not isinstance(content, dict):
        raise BackboneError("it is no object of JSON", where=path)
    return content


def _recipe(family: str, config: Any) -> Recipe:
    values: dict[str, Any] = config.to_dict()
    # Categories are the detector's; their number decides shapes.
    for name in ("id2label", "label2id", "_name_or_path", "architectures", "loss_type"):
        values.pop(name, None)
    values["num_labels"] = config.num_labels
    version = importlib.metadata.version("transformers")
    text = json.dumps(values, sort_keys=True)
    return Recipe("transformers", family, (("config", text), ("transformers", version)))


def _detector(family: str, config: Any) -> Detector:
    names: Mapping[int, str] = config.id2label
    queries = config.num_detection_tokens if family == "yolos" else config.num_queries
    settings = [(name, getattr(config, name)) for name in _SETTINGS[family]]
    categories = tuple(str(names.get(row, row)) for row in range(config.num_labels))
    return Detector(
        "queries", categories, settings=(("model", family), ("queries", queries), *settings)
    )


def _preprocessing(folder: Path, family: str, config: Any) -> Preprocessing:
    """As preprocessor_config.json has it, but for the bars; see above."""
    said = _object(folder / "preprocessor_config.json") or {}
    path = folder / "preprocessor_config.json"
    try:
        size: Any = said.get("size") or _SIZE_PX[family]
        if isinstance(size, dict):
            known = ("height", "shortest_edge", "width", "longest_edge")
            size = next(size[name] for name in known if name in size)
        step = _multiple(family, config)
        size_px = max(step, int(size) // step * step)
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        if said.get("do_normalize", family in _NORMALISED):
            usual = Preprocessing()
            mean = _colour(said.get("image_mean", usual.mean))
            std = _colour(said.get("image_std", usual.std))
        interpolation = _INTERPOLATION[said.get("resample", 2)]
        if not 1 <= size_px <= 4096:
            raise ValueError(f"a side of {size_px} pixels")
    except (ValueError, TypeError, KeyError, StopIteration) as fault:
        raise BackboneError(
            f"how pictures are prepared cannot be used: {fault!r}", where=path
        ) from fault
    return Preprocessing(size_px, 1.0, interpolation, mean, std, whole=True)


def _multiple(family: str, config: Any) -> int:
    """What the side of the input has to be a multiple of."""
    if family == "yolos":
        return int(config.patch_size)
    if family == "rf_detr":
        inside = config.backbone_config
        return int(inside.patch_size * inside.num_windows)
    return int(math.lcm(*config.feat_strides))


def _colour(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def convert(wanted: Address) -> Converted:
    """A detector that transformers has saved: in the folder that the user named, or of the hub.

    Raises:
        MissingExtra: transformers is not installed.
        BackboneError: it is not on this machine, damaged, or no detector that is known here.
    """
    folder = wanted.file.parent if wanted.file else hub.folder_of(_KIND, wanted.architecture)
    model, found, head = read(folder)
    blank = replace(
        found,
        name=wanted.name,
        source=str(folder) if wanted.file else f"{wanted.architecture}, {folder.name}",
        sha256=file_sha256(found.weights),
        licence=hub.licence_in(folder),
    )
    stages, note = parts(blank.recipe, blank.pictures, model)
    network = Network(stages, blank.preprocessing, note).eval()
    confirm(blank, model, network)
    return Converted(blank, network, network.tensors() | head, wanted.file)


def pull(wanted: Address) -> None:
    """Fetch a repository of the hub, which `convert` finds afterwards."""
    hub.pull(_KIND, wanted.architecture, WEIGHTS, OTHERS)


LIBRARY = Library(convert, parts, pull, whole)
