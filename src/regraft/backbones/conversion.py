"""Foreign weights become our own here, and nowhere else.

`python -m regraft.backbones.conversion convert NAME` is a process that is thrown away: it alone
reads files that can hold code (`checkpoints.py`), checks every tensor against the network, and
writes safetensors with a sealed description. It prints one JSON object, {"key": …} or {"error": …}.
`pull NAME` fetches what a name needs, `card NAME` says what timm says about it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from dataclasses import asdict, replace
from typing import Any

from regraft import store
from regraft.backbones import shelf
from regraft.backbones.adapters import ADAPTERS, Converted
from regraft.backbones.addresses import Address, address
from regraft.backbones.backbone import SOURCE_HEAD, Backbone
from regraft.errors import BackboneError, RegraftError


def convert(name: str) -> Backbone:
    """Convert what a name stands for, unless that is done; in this process, importing torch.

    Raises:
        RegraftError: see `shelf.open_backbone`.
    """
    wanted = address(name)
    with _locked(wanted):
        done = shelf.stored(wanted)
        if done is not None:
            return done
        found = ADAPTERS[wanted.adapter].load().convert(wanted)
        return shelf.described(_keep(wanted, found))


def _locked(wanted: Address) -> contextlib.AbstractContextManager[None]:
    return store.lock(shelf.name_file(wanted).with_suffix(".lock"))


def _keep(wanted: Address, found: Converted) -> str:
    """Check the tensors in the network they are for, describe it, and put both on the shelf."""
    from safetensors.torch import save
    from torch import contiguous_format

    from regraft.backbones.network import describe, fill
    from regraft.backbones.text_encoder import HEAD

    blank, network, tensors = found.blank, found.network, found.tensors
    fill(network, tensors, blank.weights)
    own = {
        name: tensor.detach().clone(memory_format=contiguous_format)
        for name, tensor in network.tensors().items()
    }
    broken = [name for name, tensor in own.items() if not tensor.isfinite().all()]
    if broken:
        raise BackboneError(
            f"the weights hold values that are no numbers: {', '.join(broken[:5])}",
            where=blank.weights,
            mend="fetch or make the file again",
        )
    # Heads are no stages, but what is trained further begins with them.
    heads = (HEAD, SOURCE_HEAD)
    own |= {name: t.detach().contiguous() for name, t in tensors.items() if name.startswith(heads)}
    stages = describe(network, blank.preprocessing, blank.detector)
    described = replace(blank, stages=stages, note=network.note)
    return shelf.keep(wanted, described, save(own), found.source)


def main() -> None:
    """Do what the command line says and print the answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=sorted(_DO))
    parser.add_argument("name")
    arguments = parser.parse_args()
    try:
        # A user's own code may print; the answer has to be alone on stdout.
        with contextlib.redirect_stdout(sys.stderr):
            answer = _DO[arguments.what](address(arguments.name))
    except RegraftError as fault:
        kind = type(fault).__name__
        told = {"kind": kind, "what": fault.what, "where": fault.where, "mend": fault.mend}
        answer = {"error": told}
    print(json.dumps(answer))


def _pull(wanted: Address) -> dict[str, Any]:
    pull = ADAPTERS[wanted.adapter].load().pull
    if pull is None or wanted.file is not None:
        return {}
    with _locked(wanted):
        if shelf.stored(wanted) is None:  # another process may have pulled it meanwhile
            found = pull(wanted)
            if found is not None:
                _keep(wanted, found)
    return {}


def _card(wanted: Address) -> dict[str, Any]:
    from regraft.backbones import timm_models

    about = timm_models.card(wanted.architecture)
    return {
        "name": wanted.name,
        "licence": about.licence,
        "source": about.hub[0] if about.hub else about.url,
        "preprocessing": asdict(about.preprocessing),
        "size_px": about.preprocessing.size_px,
    }


def _convert(wanted: Address) -> dict[str, Any]:
    return {"key": convert(wanted.name).weights.parent.name}


_DO = {"convert": _convert, "pull": _pull, "card": _card}


if __name__ == "__main__":
    main()
