"""Files with weights that others made: read without running anything that is in them.

Whatever can hold code is read with `weights_only=True`, here and nowhere else, in the process of
`conversion.py`, which is thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, serialization

from regraft.backbones.network import read_safetensors
from regraft.errors import BackboneError

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("_orig_mod.", "module.")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, by name, out of whatever wraps them; no code in it runs.

    Raises:
        BackboneError: no such file, of no known format, damaged, holding code or no tensors.
    """
    if file.suffix not in _SUFFIXES:
        raise BackboneError(
            f"weights come as {', '.join(_SUFFIXES)}", where=file, mend="save them as safetensors"
        )
    if file.suffix == ".safetensors":
        return _unwrapped(read_safetensors(file), file)
    return _unwrapped(_read_pickled(file), file)


class Inert:
    """Stands for an object of a class that is not imported: keeps its state and runs nothing."""

    def __new__(cls, *_: object, **__: object) -> Inert:
        """Whatever it was made of is not looked at."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass


def read_inert(file: Path, packages: Sequence[str]) -> Any:
    """What a pickle holds, with stand-ins for the objects of some packages; no code in it runs.

    Args:
        file: as `torch.save` writes it.
        packages: how the names of those classes begin, for example "torch.nn.modules.".

    Returns:
        Dictionaries, lists, numbers, tensors and `Inert` objects, each of a class of the name that
        it had.

    Raises:
        BackboneError: no such file, damaged, or naming anything else.
    """
    try:
        named = serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception as fault:  # a hostile file can make the reader fail in any way
        raise _unreadable(file, fault) from fault
    strange = [name for name in named if not name.startswith(tuple(packages))]
    if strange:
        raise BackboneError(
            f"it names what has no place in a network: {', '.join(strange[:5])}"[:300],
            where=file,
            mend="fetch the file again from its authors",
        )
    made = [type(name.rpartition(".")[2], (Inert,), {}) for name in named]
    with serialization.safe_globals(list(zip(made, named, strict=True))):
        return _read_pickled(file)


def _read_pickled(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as fault:  # a hostile file can make the reader fail in any way
        raise _unreadable(file, fault) from fault


def _unreadable(file: Path, fault: Exception) -> BackboneError:
    if isinstance(fault, FileNotFoundError):
        return BackboneError("there is no such file", where=file, mend="check its name")
    return BackboneError(
        f"the weights cannot be read without running code in them, or are damaged "
        f"({type(fault).__name__})",
        where=file,
        mend="fetch the file again, or ask its authors for safetensors",
    )


def _unwrapped(content: Any, file: Path) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict) or not content:
        raise BackboneError("there are no named tensors in it", where=file)
    others = [str(k) for k, v in content.items() if not isinstance(v, torch.Tensor)]
    if others:
        raise BackboneError(
            f"it holds more than tensors: {', '.join(others[:5])}",
            where=file,
            mend="save the network's state_dict() alone",
        )
    return {_bare(str(name)): tensor for name, tensor in content.items()}


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
