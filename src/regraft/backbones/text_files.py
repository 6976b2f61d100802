"""The files of a text encoder: in a folder, or in the hub's cache on this machine.

Nothing is fetched but by `pull`. Of a repository only what is named here is read or fetched: a
description, a tokenizer, weights and the card with the licence; never code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regraft.backbones.tokenizer import open_tokenizer
from regraft.errors import BackboneError, MissingExtra, RegraftError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names that weights have, the first one first."""
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
               "vocab.json", "merges.txt", "spm.model", "sentencepiece.bpe.model")  # fmt: skip
_OTHERS = ("config.json", "README.md", *_TOKENIZERS)
_SPDX = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause"}


def hub_folder(repository: str) -> Path:
    """The folder of a repository (`ORG/NAME` or `ORG/NAME@REVISION`) in the hub's cache.

    Raises:
        BackboneError: it is not on this machine.
    """
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = repository.partition("@")
    path = try_to_load_from_cache(name, "config.json", revision=revision or None)
    if not isinstance(path, str):
        raise BackboneError(
            f"the encoder {repository} is not on this machine",
            where=f"text:{repository}",
            mend=f"regraft backbones pull text:{repository}, or give a folder: text:FOLDER",
        )
    return Path(path).parent


def pull(repository: str) -> None:
    """Fetch what is needed of a repository, unless it is here. Uses the network.

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
        has_weights = any(fetched(file) for file in WEIGHTS)
        for file in _OTHERS:
            fetched(file)
    except Exception as fault:  # the client lets through whatever its transport raises
        raise BackboneError(
            f"the encoder cannot be fetched: {fault}",
            where=f"text:{repository}",
            mend="check the name and the network, or copy the folder here: text:FOLDER",
        ) from fault
    if not has_weights:
        raise BackboneError(
            "the repository holds no weights in one file",
            where=f"text:{repository}",
            mend=f"it should hold {' or '.join(WEIGHTS)}",
        )


def weights_in(folder: Path) -> Path:
    """The file with the weights; where there is none, the one that should be there."""
    found = (folder / name for name in WEIGHTS)
    return next((path for path in found if path.is_file()), folder / WEIGHTS[0])


def read_folder(folder: Path) -> tuple[dict[str, Any], bytes]:
    """config.json and the bytes of tokenizer.json of a model's folder.

    Raises:
        BackboneError: one is missing or damaged.
    """
    try:
        config = json.loads((folder / "config.json").read_bytes())
        if not isinstance(config, dict):
            raise ValueError("config.json is no object")
        tokenizer = _tokenizer(folder)
        open_tokenizer(tokenizer)
    except RegraftError:
        raise
    except FileNotFoundError as fault:
        raise BackboneError(
            "the model's folder lacks a file",
            where=str(fault.filename),
            mend="it should hold config.json, tokenizer.json and model.safetensors",
        ) from fault
    except Exception as fault:  # the library of tokenizers raises Exception itself
        raise BackboneError(
            f"the model's description or tokenizer cannot be read: {fault}", where=folder
        ) from fault
    return config, tokenizer


def _tokenizer(folder: Path) -> bytes:
    """tokenizer.json, or what transformers makes of older files, if it is installed."""
    path = folder / "tokenizer.json"
    if path.is_file() or not any((folder / name).is_file() for name in _TOKENIZERS[1:]):
        return path.read_bytes()
    try:
        from transformers import AutoTokenizer
    except ImportError as fault:
        raise MissingExtra(
            "the folder has a tokenizer of an older form only",
            where=folder,
            mend="pip install transformers sentencepiece, which turn it into tokenizer.json",
        ) from fault
    try:
        made: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_fast=True
        )
        return made.backend_tokenizer.to_str().encode()
    except Exception as fault:  # whatever the library or the packages under it raise
        raise BackboneError(
            f"the tokenizer cannot be turned into tokenizer.json: {fault}"[:500],
            where=folder,
            mend="pip install sentencepiece, or put a tokenizer.json there",
        ) from fault


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
