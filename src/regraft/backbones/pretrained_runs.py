"""Backbones that `regraft pretrain` has made, in the folder of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from regraft.backbones import shelf
from regraft.backbones.adapters import Converted, Library
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import AnyPreprocessing, Backbone, TextPreprocessing
from regraft.backbones.checkpoints import read_tensors
from regraft.backbones.network import assemble
from regraft.backbones.text_models import OVERLAP_SHARE
from regraft.errors import BackboneError
from regraft.store import file_sha256, read_sealed


def convert(wanted: Address) -> Converted:
    """The backbone of a run, of whatever adapter it is.

    Raises:
        BackboneError: its description cannot be used, or needs code that nobody named here.
    """
    assert wanted.file is not None, wanted
    values = json.loads(read_sealed(Path(wanted.architecture) / "backbone.json"))
    blank = shelf.handed_over(values, wanted.file)
    named = replace(
        blank,
        name=wanted.name,
        sha256=file_sha256(wanted.file),
        preprocessing=_in_windows(blank, wanted),
    )
    network = assemble(blank.recipe, blank.preprocessing)
    return Converted(named, network, read_tensors(wanted.file), wanted.file)


def _in_windows(backbone: Backbone, wanted: Address) -> AnyPreprocessing:
    """How a backbone takes its samples, with as many windows of a text as the name says."""
    preprocessing = backbone.preprocessing
    if not wanted.windows:
        return preprocessing
    if not isinstance(preprocessing, TextPreprocessing):
        raise BackboneError(
            f"it is for {backbone.modality}s, not for texts",
            where=wanted.name,
            mend="leave out windows: and the number",
        )
    overlap = preprocessing.max_tokens // OVERLAP_SHARE
    return replace(preprocessing, windows=wanted.windows, overlap=overlap)


LIBRARY = Library(convert)
