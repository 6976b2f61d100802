"""Pre-trained networks: found by name, described without torch, built with it.

`catalogue.py` lists what is known, `addresses.py` reads names, `shelf.py` has the places on disk.
`adapters.py` says where each library's own module is. `conversion.py` turns foreign weights into
our own in a process that is thrown away, `network.py` makes torch modules, and `check.py` is the
contract. Nothing here imports torch until `build`, `convert` or `check_backbone` is called.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from regraft.backbones import shelf
from regraft.backbones.addresses import address
from regraft.backbones.backbone import (
    RANDOM,
    AnyPreprocessing,
    Backbone,
    Preprocessing,
    Recipe,
    Stage,
    TextPreprocessing,
)
from regraft.backbones.catalogue import DEFAULT, DEFAULT_TEXT, DEFAULTS, ROWS, Row
from regraft.backbones.shelf import open_backbone
from regraft.errors import MissingExtra, NotHere
from regraft.events import Tell, silent

if TYPE_CHECKING:
    from regraft.backbones.check import check_backbone as check_backbone
    from regraft.backbones.conversion import convert as convert
    from regraft.backbones.network import Network as Network
    from regraft.backbones.network import build as build

__all__ = [
    "DEFAULT",
    "DEFAULTS",
    "DEFAULT_TEXT",
    "RANDOM",
    "ROWS",
    "Backbone",
    "Network",
    "Preprocessing",
    "Recipe",
    "Row",
    "Stage",
    "TextPreprocessing",
    "build",
    "check_backbone",
    "convert",
    "listing",
    "open_backbone",
    "pull",
    "show",
]

_TORCH_SIDE = {
    "Network": "network",
    "build": "network",
    "check_backbone": "check",
    "convert": "conversion",
}


def __getattr__(name: str) -> object:
    if name not in _TORCH_SIDE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_TORCH_SIDE[name]}"), name)


def listing() -> list[dict[str, Any]]:
    """The catalogue's rows, each with "ready": whether it can be used without waiting.

    "here" says whether its weights are on this machine, converted already or in their package.
    "sha256" is of the file that they come in; "" until it is known, by being pulled.
    """
    rows: list[dict[str, Any]] = []
    for row in ROWS:
        stored = shelf.stored(address(row.name))
        ready = stored is not None
        here = ready or (bool(row.package) and find_spec(row.package) is not None)
        sha256 = stored.sha256 if stored is not None else row.sha256
        rows.append({**asdict(row), "sha256": sha256, "ready": ready, "here": here})
    return rows


def show(name: str, *, tell: Tell = silent) -> dict[str, Any]:
    """All that is known about a backbone; what is on this machine is opened for it.

    What is not here is shown as far as the catalogue or timm knows it, with "mend".

    Raises:
        UsageError: the name means nothing.
        NotHere: its weights are not here, and nothing is known of it without them.
        MissingExtra: likewise, the package that it needs.
        BackboneError: its weights are here and cannot be used.
    """
    facts = next((asdict(row) for row in ROWS if row.name == name), {})
    try:
        backbone = open_backbone(name, tell=tell)
    except (NotHere, MissingExtra) as fault:
        wanted = address(name)
        if wanted.adapter == "timm":
            facts = {"sha256": "", **facts, **shelf.ask("card", wanted)}
        if not facts:
            raise
        return {**facts, "ready": False, "mend": fault.mend}
    described = backbone.to_json()
    return {
        **facts,
        **described,
        "parameters": backbone.parameters,
        "size_px": _size(backbone.preprocessing),
        "width": backbone.width,
        "weights": str(backbone.weights),
        "ready": True,
    }


def _size(preprocessing: AnyPreprocessing) -> int:
    """Side of a picture in pixels, or tokens of a window."""
    is_picture = isinstance(preprocessing, Preprocessing)
    return preprocessing.size_px if is_picture else preprocessing.max_tokens


def pull(name: str, *, tell: Tell = silent) -> dict[str, Any]:
    """Fetch what a name needs, if it is not here, and show it; uses the network.

    Raises:
        UsageError: the name means nothing.
        BackboneError: the weights cannot be fetched or used.
    """
    wanted = address(name)
    if shelf.stored(wanted) is None:
        shelf.ask("pull", wanted)
    return show(name, tell=tell)
