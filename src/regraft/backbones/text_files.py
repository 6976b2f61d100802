"""The files of a text encoder: in a folder, or in the hub's cache on this machine.

Only what is named here is read or fetched (`hub.py`): a description, a tokenizer, weights and the
card with the licence; never code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regraft.backbones.adapters import POOLING
from regraft.backbones.text_encoder import CLS, MEAN
from regraft.backbones.tokenizer import open_tokenizer, reading
from regraft.errors import BackboneError, MissingExtra, RegraftError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names that weights have, the first one first."""
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
               "vocab.json", "merges.txt", "spm.model", "sentencepiece.bpe.model")  # fmt: skip
OTHERS = ("config.json", "README.md", POOLING, *_TOKENIZERS)
"""What else is read of a repository; see `hub.pull`."""


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
        with reading(folder):
            open_tokenizer(tokenizer)
    except RegraftError:
        raise
    except FileNotFoundError as fault:
        raise BackboneError(
            "the model's folder lacks a file",
            where=str(fault.filename),
            mend="it should hold config.json, tokenizer.json and model.safetensors",
        ) from fault
    except (OSError, ValueError, RecursionError) as fault:
        raise BackboneError(
            f"the model's description cannot be read: {fault}", where=folder
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


def pooling(folder: Path) -> tuple[str, str]:
    """How a folder of sentence-transformers makes a text's vector of its tokens.

    Returns:
        "mean" or "cls", and what to say where its authors do neither, or "".
    """
    try:
        said = json.loads((folder / POOLING).read_bytes())
        kinds = [key for key, value in said.items() if value is True or key == "pooling_mode"]
    except (OSError, ValueError, RecursionError, AttributeError):
        return MEAN, ""
    modes = {k.removeprefix("pooling_mode_") for k in kinds if k.startswith("pooling_mode_")}
    modes |= {str(said[key]) for key in kinds if key == "pooling_mode"}
    modes = {mode.removesuffix("_tokens").removesuffix("_token") for mode in modes}
    if modes == {CLS}:
        return CLS, ""
    if not modes - {MEAN}:
        return MEAN, ""
    return MEAN, (
        f"its authors pool tokens by {' and '.join(sorted(modes))} ({POOLING}), here a text is "
        "the mean of its tokens; if only a head is trained, take an encoder that pools by mean or "
        "cls alone"
    )
