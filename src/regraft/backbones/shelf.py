"""Where converted backbones lie on disk, and how they are opened without torch.

Under `backbones/` in the cache folder, `names/` says which conversion serves a name, and one
folder per conversion holds a sealed description and the weights. Everything is checked when it
is opened; what is damaged is set aside and made again. Making it is left to a process that is
thrown away afterwards: reading foreign weights and importing torch stay out of this one.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from regraft import errors, store
from regraft.backbones.adapters import ADAPTERS, adapter
from regraft.backbones.addresses import Address, address
from regraft.backbones.backbone import Backbone
from regraft.errors import BackboneError, Damaged, UsageError
from regraft.events import Said, Tell, silent
from regraft.interpreter import own_process

VERSION = "1"
"""Of the conversion: a change here makes every conversion be done anew."""


def open_backbone(name: str, *, tell: Tell = silent) -> Backbone:
    """The backbone of this name, ready on disk; the first time it is converted.

    Args:
        name: see `addresses.address`.
        tell: hears what takes time and what is odd about the network.

    Raises:
        UsageError: the name means nothing.
        BackboneError: its weights are not on this machine, damaged, or of another network.
    """
    wanted = address(name)
    notice(wanted.adapter, tell)
    found = stored(wanted)
    if found is None:
        tell(looking_for(name))
        found = described(ask("convert", wanted)["key"])
    if found.note:
        tell(Said(f"{name}: {found.note}"))
    return found


def looking_for(name: str) -> Said:
    """What is said while another process finds out whether a backbone is on this machine.

    Args:
        name: of one that is not on the shelf.
    """
    if ADAPTERS[address(name).adapter].is_own_code:
        return Said(f"making {name}")
    return Said(f"looking for {name} on this machine, to convert it once")


def notice(name: str, tell: Tell) -> None:
    """Say what has to be known before a network of an adapter is used, if there is anything.

    Raises:
        BackboneError: there is no adapter of this name.
    """
    said = adapter(name).notice
    if said:
        tell(Said(said))


def stored(wanted: Address) -> Backbone | None:
    """The conversion that serves a name, if it is here, whole and of the same file.

    Never that of a user's own function, which may make another network when no file has changed:
    it is asked each time.
    """
    if wanted.is_own_code:
        return None
    try:
        entry = json.loads(store.read_sealed(name_file(wanted)))
        source = entry["file"]
        if source and store.file_sha256(Path(source)) != entry["sha256"]:
            return None
        return described(entry["key"])
    except FileNotFoundError:
        return None
    except Damaged as damage:
        store.quarantine(Path(damage.where))
        return None


def described(key: str) -> Backbone:
    """The backbone in one folder.

    Raises:
        FileNotFoundError: it is not there.
        Damaged: its description or its weights are not what was written.
    """
    folder = folder_of(key)
    values: dict[str, Any] = json.loads(store.read_sealed(folder / "backbone.json"))
    weights = folder / "weights.safetensors"
    if store.file_sha256(weights) != values["weights_sha256"]:
        raise Damaged("the weights are not what was written", where=weights)
    return Backbone.from_json(values["backbone"], weights)


def handed_over(values: dict[str, Any], weights: Path) -> Backbone:
    """A backbone whose description may be somebody else's: that of a model or a pre-training.

    A network of a user's own is code. It is run because a user named it; what a file says about
    itself, checksums and all, is no such word. Whatever was named on this machine is on the shelf.

    Args:
        values: see `Backbone.from_json`.
        weights: likewise.

    Raises:
        BackboneError: the description cannot be used, or needs code that nobody named here.
    """
    backbone = Backbone.from_json(values, weights)
    recipe = backbone.recipe
    while recipe.adapter == "video":
        recipe = recipe.inner
    architecture = str(recipe.architecture)
    if adapter(recipe.adapter).is_own_code and not _was_named(architecture):
        name = _own_name(architecture)
        raise BackboneError(
            "this network is made by code that nobody has named on this machine, so it is not run",
            where=architecture,
            mend="look at that code; where you trust it, name it once, which runs it: "
            f"regraft backbones show {shlex.quote(name)}",
        )
    return backbone


def _own_name(architecture: str) -> str:
    """What a user calls the network of a function of their own."""
    is_file = architecture.rpartition(":")[0].endswith(".py")
    return f"local:{architecture}" if is_file else architecture


def _was_named(architecture: str) -> bool:
    try:
        wanted = address(_own_name(architecture))
    except UsageError:
        return False
    # The whole address: a relative one would mean another file in another folder.
    is_own = ADAPTERS[wanted.adapter].is_own_code and wanted.architecture == architecture
    return is_own and name_file(wanted).is_file()


def keep(wanted: Address, backbone: Backbone, weights: bytes, source: Path | None) -> str:
    """Put a conversion on the shelf; gives its key.

    Args:
        wanted: the name it serves.
        backbone: its description; `weights` does not matter, no `sha256` means that of the weights.
        weights: a safetensors file's bytes.
        source: the file whose change makes the conversion stale, or None.
    """
    weights_sha256 = hashlib.sha256(weights).hexdigest()
    backbone = replace(backbone, sha256=backbone.sha256 or weights_sha256)
    key = store.digest(VERSION, wanted.name, wanted.versions, backbone.sha256)[:32]
    store.commit(folder_of(key) / "weights.safetensors", weights)
    values: dict[str, Any] = {"backbone": backbone.to_json(), "weights_sha256": weights_sha256}
    store.commit_sealed(folder_of(key) / "backbone.json", store.canonical(values))
    entry: dict[str, Any] = {"key": key, "file": str(source or ""), "sha256": backbone.sha256}
    store.commit_sealed(name_file(wanted), store.canonical(entry))
    return key


def name_file(wanted: Address) -> Path:
    """The file that says which conversion serves a name."""
    named = store.digest(VERSION, wanted.name, wanted.versions)[:32]
    return store.cache_folder() / "backbones" / "names" / f"{named}.json"


def folder_of(key: str) -> Path:
    """The folder of one conversion."""
    return store.cache_folder() / "backbones" / key


def ask(what: str, wanted: Address) -> dict[str, Any]:
    """Have something done in a process of its own; only "pull" may use the network.

    Args:
        what: "convert", "pull" or "card"; see `conversion.main`.
        wanted: what it is about.

    Raises:
        RegraftError: what the process found, as if it had been found here.
    """
    command, environment = own_process("regraft.backbones.conversion")
    command += [what, wanted.name]
    done = subprocess.run(  # noqa: S603 (our own interpreter and module)
        command,
        env={**environment, "HF_HUB_OFFLINE": "0" if what == "pull" else "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BackboneError(
            f"the process that reads {wanted.name} stopped with code {done.returncode}: {last}",
            where=shlex.join(command),
            mend="a negative code is a signal; 9 often means that memory ran out",
        ) from None
    if "error" in answer:
        fault = answer["error"]
        kind: type[errors.RegraftError] = getattr(errors, fault["kind"])
        raise kind(fault["what"], where=fault["where"], mend=fault["mend"])
    return answer
