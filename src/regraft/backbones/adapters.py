"""The adapters: one for each library that networks come from, or way that they are named.

A name and a saved description each say by one word which adapter a network is of; only the words
of the table here mean anything. What has to be known of an adapter before a network is opened
stands in its row. What it can do stands in a module of its own, which imports torch and the library
and is loaded when a network is built or converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from regraft.backbones.backbone import AnyPreprocessing, Backbone, Preprocessing, Recipe
from regraft.errors import BackboneError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from regraft.backbones.addresses import Address
    from regraft.backbones.network import Network, Part


POOLING = "1_Pooling/config.json"
"""Says how a folder of sentence-transformers makes a text's vector of its tokens."""


@dataclass(frozen=True)
class Converted:
    """A network with its weights, as an adapter read it from what others have published.

    Attributes:
        blank: its description, without stages.
        network: freshly made.
        tensors: its parameters and buffers by name, and those of its own head, if it has one.
        source: the file whose change makes the conversion stale, or None.
    """

    blank: Backbone
    network: Network
    tensors: Mapping[str, Tensor]
    source: Path | None = None


@dataclass(frozen=True)
class Library:
    """What an adapter can do.

    Attributes:
        convert: read what a name stands for, from this machine alone.
        parts: the stages of a recipe, freshly initialised, and what the user should know about
            them, or ""; None where what is converted has the recipe of another adapter.
        pull: fetch what a name needs; asked only where its conversion is not here, and nothing
            else may use the network. Gives what `convert` would not find afterwards. None where
            there is nothing to fetch.
        whole: the network as its library runs it, where stages are made from a whole.
        initialise: start the stages of a recipe afresh by a seed, where `parts` does not.
    """

    convert: Callable[[Address], Converted]
    parts: Callable[[Recipe, Any], tuple[Sequence[Part], str]] | None = None
    pull: Callable[[Address], Converted | None] | None = None
    whole: Callable[[Backbone], nn.Module] | None = None
    initialise: Callable[[Recipe, Sequence[nn.Module], int], None] | None = None


@dataclass(frozen=True)
class Adapter:
    """What is known of an adapter before it is loaded.

    Attributes:
        place: of its `Library`: a module of this package and a name in it.
        reads: "image" or "text", or "" where some networks read one and some the other.
        finds_objects: whether all networks do.
        beside: files beside the weights that decide, too.
        package: whose version decides how names are converted, or "".
        rule: of the conversion; another one makes what was converted by an earlier be done anew.
        is_own_code: whether networks are made by a function of the user's, which may give others
            when no file has changed.
        notice: what has to be known before a network is used, or "".
    """

    place: str
    reads: str = ""
    finds_objects: bool = False
    beside: tuple[str, ...] = ()
    package: str = ""
    rule: str = ""
    is_own_code: bool = False
    notice: str = ""

    def load(self) -> Library:
        """What it can do; imports torch."""
        return resolve_name(f"{__package__}.{self.place}")


ADAPTERS: Mapping[str, Adapter] = {
    "efficientnet-lite": Adapter("efficientnet_lite:LIBRARY", "image"),
    "timm": Adapter("timm_models:LIBRARY", "image", package="timm"),
    "random": Adapter("timm_models:UNTRAINED", "image", package="timm"),
    "nanodet": Adapter("nanodet:LIBRARY", "image", finds_objects=True),
    "transformers": Adapter(
        "transformers_detectors:LIBRARY",
        "image",
        finds_objects=True,
        beside=("config.json", "preprocessor_config.json"),
    ),
    "ultralytics": Adapter(
        "ultralytics_models:LIBRARY",
        "image",
        finds_objects=True,
        notice="Ultralytics' code and networks are under AGPL-3.0. Ultralytics holds that so "
        "is what is made with them: whoever hands on a model, or lets others use it over a "
        "network, owes them the source of all of it under the same licence, unless Ultralytics "
        "grants another",
    ),
    "text-encoder": Adapter(
        "text_models:LIBRARY",
        "text",
        beside=("config.json", "tokenizer.json", POOLING),
        rule="pooled as the authors do",
    ),
    "local": Adapter("local:LIBRARY", is_own_code=True),
    "run": Adapter("pretrained_runs:LIBRARY", beside=("backbone.json",)),
    "video": Adapter("video:LIBRARY"),
}


def adapter(name: str) -> Adapter:
    """The adapter of this name.

    Raises:
        BackboneError: there is none.
    """
    known = ADAPTERS.get(str(name))  # a description from elsewhere may say anything
    if known is None:
        raise _unknown(name)
    return known


def parts(recipe: Recipe, preprocessing: AnyPreprocessing) -> tuple[Sequence[Part], str]:
    """The stages of a recipe, freshly initialised, and what the user should know about them, or "".

    Raises:
        BackboneError: no adapter builds them, or the library no longer does.
    """
    known = adapter(recipe.adapter)
    made = known.load().parts
    if made is None:
        raise _unknown(recipe.adapter)
    assert isinstance(preprocessing, Preprocessing) or known.reads == "text", recipe
    return made(recipe, preprocessing)


def _unknown(name: str) -> BackboneError:
    return BackboneError(f"there is no adapter {name!r}", mend="update regraft")
