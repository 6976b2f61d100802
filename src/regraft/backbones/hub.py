"""Repositories of the Hugging Face hub, in its cache on this machine.

Nothing is fetched but by `pull`, and of a repository only the files that it is asked for; never
code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regraft.errors import BackboneError, NotHere

_SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause"}


def folder_of(kind: str, repository: str) -> Path:
    """The folder of a repository in the hub's cache.

    Args:
        kind: what its names begin with here: "text" or "transformers".
        repository: `ORG/NAME` or `NAME`, and `@REVISION` after it.

    Raises:
        NotHere: it is not on this machine.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    name, _, revision = repository.partition("@")
    try:
        path = try_to_load_from_cache(name, "config.json", revision=revision or None)
    except HFValidationError:  # no name that a repository can have
        path = None
    if not isinstance(path, str):
        raise NotHere(
            f"{repository} is not on this machine",
            where=f"{kind}:{repository}",
            mend=f"regraft backbones pull {kind}:{repository}, or give a folder: {kind}:FOLDER",
        )
    return Path(path).parent


def pull(kind: str, repository: str, weights: Sequence[str], others: Sequence[str]) -> None:
    """Fetch what is needed of a repository, unless it is here. Uses the network.

    Args:
        kind: see `folder_of`.
        repository: see `folder_of`.
        weights: names that they may have; the first that is there is fetched.
        others: fetched if they are there.

    Raises:
        BackboneError: it cannot be fetched, or holds no weights that can be read.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    name, _, revision = repository.partition("@")

    def fetched(file: str) -> bool:
        try:
            hf_hub_download(name, file, revision=revision or None)
        except EntryNotFoundError:
            return False
        return True

    try:
        has_weights = any(fetched(file) for file in weights)
        for file in others:
            fetched(file)
    except Exception as fault:  # the client lets through whatever its transport raises
        raise BackboneError(
            f"it cannot be fetched: {fault}",
            where=f"{kind}:{repository}",
            mend=f"check the name and the network, or copy the folder here: {kind}:FOLDER",
        ) from fault
    if not has_weights:
        raise BackboneError(
            "the repository holds no weights in one file",
            where=f"{kind}:{repository}",
            mend=f"it should hold {' or '.join(weights)}",
        )


def licence_in(folder: Path) -> str:
    """The licence that the card beside the weights names, or "unknown"."""
    path = folder / "README.md"
    if not path.is_file():
        return "unknown"
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard import ModelCard

    try:
        data: Any = ModelCard(path.read_text("utf-8", "replace"), ignore_metadata_errors=True).data
    except Exception:  # a card is for people; what cannot be read says nothing
        return "unknown"
    named = data.license if isinstance(data, ModelCardData) else None
    name = named[0] if isinstance(named, list) and named else named
    if not isinstance(name, str) or not name.isprintable() or len(name) > 60:
        return "unknown"
    return _SPDX.get(name.lower(), name)
