"""timm's vision models as backbones: any architecture that timm knows.

Stages come from timm's own coarse `group_matcher`; models without one are grouped by their
children. Weights are looked for on this machine only (Hugging Face's cache, torch's cache);
`pull` is what fetches them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from regraft.backbones.adapters import Converted, Library
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import RANDOM, Backbone, Preprocessing, Recipe
from regraft.backbones.checkpoints import read_tensors
from regraft.backbones.network import Part, assemble, read_safetensors
from regraft.backbones.split import Leaves, NotTraceable, split
from regraft.errors import BackboneError, NotHere, UsageError
from regraft.store import file_sha256

_SPDX = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
}
_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Card:
    """What timm says about an architecture and its published weights.

    Attributes:
        licence: SPDX name where timm's word for it is one, timm's word, or "unknown".
        hub: the repository that holds the weights and its revision, or None.
        url: where else the weights are, or "".
        preprocessing: see there.
    """

    licence: str
    hub: tuple[str, str | None] | None
    url: str
    preprocessing: Preprocessing


def create(architecture: str) -> nn.Module:
    """The whole network without its classifier, freshly initialised.

    Raises:
        UsageError: timm does not know the architecture.
    """
    import timm

    _known(architecture)
    return timm.create_model(architecture, pretrained=False, num_classes=0)


def parts(recipe: Recipe, preprocessing: Preprocessing) -> tuple[list[Part], str]:
    """The stages, and a note if there is only one because timm's code cannot be followed."""
    whole = create(recipe.architecture)
    from timm.models import get_notrace_functions, get_notrace_modules

    leaves = Leaves(tuple(get_notrace_modules()), tuple(get_notrace_functions()))
    try:
        stages = split(whole, groups(whole), preprocessing.size_px, leaves)
    except NotTraceable as fault:
        note = f"this network cannot be divided, so it is one stage ({fault})"
        return [Part("network", whole)], note
    return [Part(name, stage) for name, stage in zip(_names(stages), stages, strict=True)], ""


def groups(whole: nn.Module) -> dict[str, int]:
    """The group of every name in `state_dict`, counted from the input."""
    from timm.models._manipulate import group_with_matcher

    try:
        matcher = whole.group_matcher(coarse=True)  # pyright: ignore[reportCallIssue]
    except (AttributeError, AssertionError):  # it has none, or none that is coarse
        return _groups_by_children(whole)
    tail = "\0"  # matches nothing, as the norms and poolings behind the last block
    named = [(name, None) for name in (*whole.state_dict(), tail)]
    found: Any = group_with_matcher(iter(named), matcher, reverse=True)
    unmatched = int(found.pop(tail))
    last = max((group for group in found.values() if group < unmatched), default=0)
    return {name: min(int(group), last) for name, group in found.items()}


def _groups_by_children(whole: nn.Module) -> dict[str, int]:
    """One group for each child of the network, or for each item of a child that is a list."""
    order: dict[str, int] = {}
    found: dict[str, int] = {}
    for name in whole.state_dict():
        child, _, rest = name.partition(".")
        item = rest.partition(".")[0]
        key = f"{child}.{item}" if item.isdigit() else child
        found[name] = order.setdefault(key, len(order))
    return found


def _names(stages: list[Any]) -> list[str]:
    """Each stage by the module that holds most of it, as deep as it takes to tell them apart."""
    names: list[str] = []
    for depth in (1, 2, 3):
        names = [_dominant(stage, depth) for stage in stages]
        if len(set(names)) == len(names):
            return names
    return [f"{index}.{name}" for index, name in enumerate(names)]


def _dominant(stage: nn.Module, depth: int) -> str:
    sizes: dict[str, int] = {}
    for name, tensor in stage.state_dict().items():
        path = name.split(".")
        key = ".".join(path[: min(depth, len(path) - 1)]) or name
        sizes[key] = sizes.get(key, 0) + tensor.numel()
    return max(sizes, key=lambda key: sizes[key])


def card(architecture: str, adapter: str = "timm") -> Card:
    """What timm says, without creating the network.

    Args:
        architecture: its name at timm.
        adapter: what stands before it in the names of backbones.

    Raises:
        UsageError: timm does not know the architecture.
        BackboneError: its input is not a square RGB picture.
    """
    import timm
    from timm.data.config import resolve_data_config

    _known(architecture, adapter)
    config = timm.get_pretrained_cfg(architecture)
    facts: dict[str, Any] = config.to_dict() if config else {}
    data = resolve_data_config({}, pretrained_cfg=facts)
    channels, height, width = data["input_size"]
    if channels != 3 or height != width:
        raise BackboneError(
            f"timm:{architecture} takes {channels} x {height} x {width}, not square RGB pictures",
            mend="choose another architecture",
        )
    licence = facts.get("license") or "unknown"
    repository, _, revision = (facts.get("hf_hub_id") or "").partition("@")
    return Card(
        licence=_SPDX.get(licence, licence),
        hub=(repository, revision or None) if repository else None,
        url=facts.get("url") or "",
        preprocessing=Preprocessing(
            size_px=height,
            crop=float(data["crop_pct"]),
            interpolation=data["interpolation"],
            mean=_three(data["mean"]),
            std=_three(data["std"]),
        ),
    )


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _known(architecture: str, adapter: str = "timm") -> None:
    import timm

    name = architecture.partition(".")[0]
    if ":" in name or not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        meant = ", ".join(f"{adapter}:{one}" for one in near)
        hint = f"did you mean {meant}?" if near else "see timm.list_models()"
        raise UsageError(f"timm has no architecture {name!r}", where=architecture, mend=hint)


def find_weights(architecture: str) -> Path:
    """The file with the published weights, on this machine; never fetched from here.

    Raises:
        NotHere: it is not here, or there are no published weights.
    """
    import torch
    from huggingface_hub import try_to_load_from_cache

    about = card(architecture)
    if about.hub:
        repository, revision = about.hub
        for name in _FILES:
            path = try_to_load_from_cache(repository, name, revision=revision)
            if isinstance(path, str):
                return Path(path)
    if about.url:
        path = Path(torch.hub.get_dir()) / "checkpoints" / about.url.rpartition("/")[2]
        if path.is_file():
            return path
    if not about.hub and not about.url:
        raise NotHere(
            f"timm publishes no weights for {architecture}",
            where=f"timm:{architecture}",
            mend=f"give your own: timm:{architecture}@FILE",
        )
    raise NotHere(
        f"the weights of timm:{architecture} are not on this machine",
        where=about.hub[0] if about.hub else about.url,
        mend=f"regraft backbones pull timm:{architecture}",
    )


def pull_weights(architecture: str) -> Path:
    """Fetch the published weights, unless they are here. Uses the network.

    Raises:
        NotHere: there are no published weights.
        BackboneError: they cannot be fetched.
    """
    import torch
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return find_weights(architecture)
    except NotHere:
        about = card(architecture)
        if not about.hub and not about.url:
            raise
    try:
        if about.hub:
            repository, revision = about.hub
            for name in _FILES:
                try:
                    return Path(hf_hub_download(repository, name, revision=revision))
                except EntryNotFoundError:
                    continue
        path = Path(torch.hub.get_dir()) / "checkpoints" / about.url.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(about.url, str(path), progress=False)
        return path
    except Exception as fault:  # whatever the network or its libraries come up with
        raise BackboneError(
            f"the weights of timm:{architecture} cannot be fetched: {_first_line(fault)}",
            where=about.hub[0] if about.hub else about.url,
            mend=f"check the connection, or give a file: timm:{architecture}@FILE",
        ) from fault


def fit_checkpoint(
    architecture: str, tensors: Mapping[str, Tensor], where: object
) -> dict[str, Tensor]:
    """A checkpoint's tensors under the names of timm's network, classifier included.

    timm's own filters turn the layouts that it knows into its own.

    Raises:
        BackboneError: tensors are missing, unexpected or of another shape; the message names them.
    """
    import timm

    _known(architecture)
    config = timm.get_pretrained_cfg(architecture)
    classes = _classes(config.classifier if config else None, tensors)
    # With as many classes as the checkpoint has, timm checks every name.
    overlay = {"state_dict": dict(tensors), "num_classes": classes, "label_offset": 0}
    try:
        whole = timm.create_model(
            architecture, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay
        )
    except Exception as fault:  # filters index into what they take for granted
        raise BackboneError(
            f"the weights do not fit timm's {architecture}: {_first_lines(fault)}",
            where=where,
            mend="give the weights of this very architecture",
        ) from fault
    return whole.state_dict()


def _classes(classifier: Any, tensors: Mapping[str, Tensor]) -> int:
    names = classifier if isinstance(classifier, (tuple, list)) else (classifier,)
    for name in names:
        weight = tensors.get(f"{name}.weight")
        if weight is not None:
            return int(weight.shape[0])
    return 0


def _first_line(fault: Exception) -> str:
    return (str(fault).splitlines() or [repr(fault)])[0]


def _first_lines(fault: Exception, most: int = 600) -> str:
    text = " ".join(str(fault).split()) or repr(fault)
    return text if len(text) <= most else text[:most] + " …"


def whole(backbone: Backbone) -> nn.Module:
    """The network as timm runs it, with its weights."""
    made = create(backbone.recipe.architecture).eval()
    own = made.state_dict(keep_vars=True)
    for name, tensor in read_safetensors(backbone.weights).items():
        if name in own:
            own[name].copy_(tensor)
    return made


def convert(wanted: Address) -> Converted:
    """A network of timm's with the weights that are published for it, or that the user named.

    Raises:
        UsageError: timm does not know the architecture.
        NotHere: the weights are not on this machine.
        BackboneError: they are of another network.
    """
    about = card(wanted.architecture)
    file = wanted.file or find_weights(wanted.architecture)
    tensors = fit_checkpoint(wanted.architecture, read_tensors(file), file)
    recipe = _recipe(wanted)
    if wanted.file:
        source, licence = str(wanted.file), "unknown"
    else:
        source, licence = about.hub[0] if about.hub else about.url, about.licence
    blank = Backbone(
        wanted.name, "image", source, file_sha256(file), licence, (), about.preprocessing,
        recipe, file,
    )  # fmt: skip
    return Converted(blank, assemble(recipe, about.preprocessing), tensors, wanted.file)


def pull(wanted: Address) -> None:
    """`pull_weights`, which `convert` finds afterwards."""
    pull_weights(wanted.architecture)


def untrained(wanted: Address) -> Converted:
    """A network of timm's with random weights.

    Raises:
        UsageError: timm does not know the architecture.
    """
    about = card(wanted.architecture, wanted.adapter)
    recipe = _recipe(wanted)
    network = assemble(recipe, about.preprocessing)
    tensors = {name: tensor.detach() for name, tensor in network.tensors().items()}
    blank = Backbone(
        wanted.name, "image", RANDOM, "", "none needed", (), about.preprocessing, recipe, Path()
    )
    return Converted(blank, network, tensors)


def _recipe(wanted: Address) -> Recipe:
    import timm

    return Recipe("timm", wanted.architecture, (("timm", timm.__version__),))


LIBRARY = Library(convert, parts, pull, whole)
UNTRAINED = Library(untrained)
