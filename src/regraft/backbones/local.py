"""A user's own network as a backbone: a function in a file or in an importable module.

The function takes nothing and returns its stages, in order and by name, and how pictures are
prepared:

    def my_backbone() -> tuple[list[tuple[str, nn.Module]], Preprocessing]: ...

Each stage is a module whose forward takes the tensors that the stage before gave and gives one
tensor, or a tuple; the last one gives a vector. Weights that the function loads are kept.

A network that finds objects returns a third thing, a `Detector`; its last stage gives the maps.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from regraft.backbones import own_code
from regraft.backbones.adapters import Converted, Library
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import Backbone, Detector, Preprocessing, Recipe
from regraft.backbones.network import Part, assemble
from regraft.errors import BackboneError, RegraftError
from regraft.seeds import seed_of
from regraft.store import digest, file_sha256


def parts(recipe: Recipe, preprocessing: object) -> tuple[list[Part], str]:
    """The stages of `FILE.py:function` or `package.module:function`. Runs the user's code.

    Args:
        recipe: where the function is, and what `options` gave when the backbone was described.
        preprocessing: the function decides it itself.

    Raises:
        BackboneError: the code is another by now: what was trained belongs to what it was.
    """
    # What it imports is only known when it has run; a file that is another is not run.
    address, described = recipe.architecture, dict(recipe.options)
    own, whole = _file_sha256(address), described.get("code")
    is_known = whole is not None and own in (None, described.get("file", whole))
    module = _module(address) if is_known else None
    # Without the sha256 of the file alone, "code" is that, and says nothing of what it imports.
    is_whole = own is None or "file" in described
    if module is None or (is_whole and own_code.sha256_of(module) != whole):
        raise BackboneError(
            "the code of this backbone has changed since it was described",
            where=address,
            mend="put its files back as they were, or begin again with `regraft fit`",
        )
    return _made(module, address)[0], ""


def options(address: str) -> tuple[tuple[str, object], ...]:
    """What a recipe says of the code: what `code` gives, and the sha256 of a file alone.

    Raises:
        BackboneError: it cannot be found or read.
    """
    own = _file_sha256(address)
    return (("code", code(address)), *((("file", own),) if own is not None else ()))


def _file_sha256(address: str) -> str | None:
    """Of the file that is named; None of a module, which is found by running its packages."""
    place = address.rpartition(":")[0]
    if not place.endswith(".py"):
        return None
    if not Path(place).is_file():
        raise BackboneError("there is no such file", where=place, mend="check its name")
    return file_sha256(Path(place))


def code(address: str) -> str:
    """The sha256 of the file that the function is in, and of the user's that it imports. Runs them.

    Raises:
        BackboneError: it cannot be found or read.
    """
    return own_code.sha256_of(_module(address))


def preprocessing(address: str) -> tuple[Preprocessing, Detector | None]:
    """How the user's network wants its pictures, and what it finds objects with, if it does.

    Runs the user's code.
    """
    return _made(_module(address), address)[1:]


def _made(module: ModuleType, address: str) -> tuple[list[Part], Preprocessing, Detector | None]:
    place, _, name = address.rpartition(":")
    try:
        function = getattr(module, name)
        stages, prepared, *rest = function()
        found = [_part(title, module) for title, module in stages]
    except RegraftError:
        raise
    except Exception as fault:  # the user's code may raise anything
        raise _failed(fault, place, address) from fault
    titles = [part.name for part in found]
    if not found or len(set(titles)) < len(titles):
        raise BackboneError(
            f"the stages should have different names, and be at least one: {titles}",
            where=address,
            mend="return [(name, module), …] and a Preprocessing",
        )
    if not isinstance(prepared, Preprocessing):
        raise BackboneError(
            f"the second thing returned is {prepared!r}, not a Preprocessing", where=address
        )
    detector = rest[0] if rest else None
    if not isinstance(detector, Detector | None):
        raise BackboneError(f"the third thing returned is {detector!r}, no Detector", where=address)
    return found, prepared, detector


def _failed(fault: Exception, place: str, address: str) -> BackboneError:
    return BackboneError(
        f"the function that should make the backbone failed: {fault!r}",
        where=_line(fault, place) or address,
        mend="it takes nothing and returns [(name, module), …] and a Preprocessing",
    )


def _part(title: Any, module: Any) -> Part:
    if not isinstance(title, str) or not isinstance(module, nn.Module):
        raise TypeError(f"({title!r}, {type(module).__name__}) is no (name, module)")
    return Part(title, module, f"{title}.")


def _module(address: str) -> ModuleType:
    place = address.rpartition(":")[0]
    try:
        return _loaded(place) if place.endswith(".py") else importlib.import_module(place)
    except RegraftError:
        raise
    except Exception as fault:  # the user's code may raise anything
        raise _failed(fault, place, address) from fault


def _loaded(place: str) -> ModuleType:
    path = Path(place)
    if not path.is_file():
        raise BackboneError("there is no such file", where=path, mend="check its name")
    name = f"regraft_local_{digest(place)[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a path that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up here
    spec.loader.exec_module(module)
    return module


def _line(fault: Exception, place: str) -> str:
    """The deepest line of the user's own file that the fault passed through."""
    found = ""
    trace = fault.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).name == Path(place).name:
            found = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def initialise(recipe: Recipe, stages: Iterable[nn.Module], seed: int) -> None:
    """Start a user's network afresh, by each module's own `reset_parameters`.

    Raises:
        BackboneError: a module has parameters of its own and no `reset_parameters`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "backbone"))
        for stage in stages:
            for name, module in stage.named_modules():
                _reset(name, module)


def _reset(name: str, module: nn.Module) -> None:
    reset: Any = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
    elif next(module.parameters(recurse=False), None) is not None:
        raise BackboneError(
            f"there is no way to start {type(module).__name__} afresh",
            where=name,
            mend="give it a method reset_parameters(), as torch's own modules have",
        )


def convert(wanted: Address) -> Converted:
    """What a function of the user's makes, which is run.

    Raises:
        BackboneError: it cannot be found, fails, or makes no backbone.
    """
    recipe = Recipe(wanted.adapter, wanted.architecture, options(wanted.architecture))
    prepared, detector = preprocessing(wanted.architecture)
    network = assemble(recipe, prepared)
    tensors = {name: tensor.detach() for name, tensor in network.tensors().items()}
    blank = Backbone(
        wanted.name, "image", wanted.architecture, "", "unknown", (), prepared, recipe, Path(),
        detector=detector,
    )  # fmt: skip
    return Converted(blank, network, tensors)


LIBRARY = Library(convert, parts, initialise=initialise)
