"""What a pre-trained network is to regraft: an ordered list of stages, described on paper.

A `Backbone` is a description. It names the stages, what flows out of each, how pictures are
prepared, where the weights came from and under which licence. It holds no tensors and needs no
torch, because the frozen part of a network is served by a compiled graph; `build` (in
`backbones/network.py`) makes the torch modules when something is to be trained.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from regraft.backbones.tokenizer import read_tokenizer
from regraft.errors import BackboneError, UsageError


def check_modality(
    name: str, reads: str, modality: str, why: str, where: str = "--backbone"
) -> None:
    """Refuse a backbone for samples that it does not read.

    Args:
        name: of the backbone.
        reads: its modality.
        modality: of the samples.
        why: they are to be read, for example "the data are texts".
        where: the option that chose it.

    Raises:
        UsageError: it is for another modality.
    """
    if reads != modality:
        raise UsageError(
            f"{name} is for {reads}s, {why}",
            where=where,
            mend="take one of that modality from `regraft backbones list`",
        )


@dataclass(frozen=True)
class Preprocessing:
    """How a picture, or each frame of a clip, becomes the network's input.

    The shorter side is resized to `size_px / crop`, the middle `size_px` square is kept, and the
    uint8 values x in 0…255 become (x / 255 - mean) / std, channel by channel (RGB). Where objects
    are looked for the picture stays `whole`: its longer side becomes `size_px`, the rest is black.
    A network of clips sees so many `frames` of each; 0 is a network of pictures.
    """

    size_px: int = 224
    crop: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    whole: bool = False
    frames: int = 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one picture or clip as the network takes it."""
        picture = (self.size_px, self.size_px, 3)
        return (self.frames, *picture) if self.frames else picture

    @property
    def longest(self) -> int:
        """What -1 in a shape is at most; no picture has one."""
        return 1


@dataclass(frozen=True)
class TextPreprocessing:
    """How a text becomes the network's input: int32 token ids, the end cut off.

    A text that is longer than a window is several: each begins and ends with the network's own
    marks, and all but the last are full. They stand one after the other in the text's row of ids,
    see no token of each other, and the text's vector is the mean of theirs, each counted by its
    tokens.

    Attributes:
        max_tokens: of a window, with the two that mark beginning and end.
        tokenizer_sha256: of the tokenizer's file, which is a tensor among the weights.
        windows: of a text at most; what lies behind them is cut off.
        overlap: tokens at the beginning of a window that the one before ends with.
    """

    max_tokens: int
    tokenizer_sha256: str
    windows: int = 1
    overlap: int = 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one text as the network takes it: as many ids as it has tokens."""
        return (-1,)

    @property
    def longest(self) -> int:
        """What -1 in a shape is at most."""
        return self.windows * self.max_tokens


AnyPreprocessing: TypeAlias = Preprocessing | TextPreprocessing


@dataclass(frozen=True)
class Stage:
    """One step of a network.

    Attributes:
        name: as the library names the part, for example "blocks.3".
        parameters: how many numbers training could change in it.
        tensors: names of its parameters and buffers in the weights file, sorted.
        shapes: shapes of the tensors that flow out for one sample, batch axis left out; -1 is the
            number of tokens, which differs from text to text.
    """

    name: str
    parameters: int
    tensors: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


_MAP_AXES = 3

SOURCE_HEAD = "source_head."
"""How the tensors of a detector's own head begin in the weights file."""


@dataclass(frozen=True)
class Detector:
    """What a network finds objects with, and what its own head, cut off, could find.

    Attributes:
        family: "dense": scores and edge distances at every place of some maps; "paired": the same
            with a map for each of the two; "queries": a few hundred vectors, each an object or
            none.
        categories: of the head that was cut off, in the order of its rows.
        strides_px: of the maps, the finest first; () for queries.
        bins: the largest edge distance in strides; 0 for queries.
        settings: what head and loss need besides, by name, JSON values only.
    """

    family: str
    categories: tuple[str, ...]
    strides_px: tuple[int, ...] = ()
    bins: int = 0
    settings: tuple[tuple[str, object], ...] = ()

    @property
    def setting(self) -> dict[str, Any]:
        """`settings` by name."""
        return dict(self.settings)


RANDOM = "random weights"
"""The source of a network that nobody trained."""


@dataclass(frozen=True)
class Recipe:
    """How to build the network again: which adapter, which architecture, with what.

    Attributes:
        adapter: one of `adapters.ADAPTERS`.
        architecture: the adapter's name for it, for example "tf_efficientnet_lite0".
        options: arguments of the architecture, JSON values only.
        levels: stages whose maps the vector tells of besides the last one; see `levels.py`.
    """

    adapter: str
    architecture: str
    options: tuple[tuple[str, object], ...] = ()
    levels: tuple[int, ...] = ()

    @property
    def inner(self) -> Recipe:
        """That of the picture network inside, of a clip network.

        Raises:
            BackboneError: what the options say of it makes none.
        """
        options: dict[str, Any] = dict(self.options)
        try:
            pairs = tuple((str(name), value) for name, value in json.loads(options["options"]))
            return Recipe(options["adapter"], self.architecture, pairs)
        except (KeyError, TypeError, ValueError, RecursionError) as fault:
            raise BackboneError(
                f"the description of a clip network cannot be used: {fault!r}"
            ) from fault


@dataclass(frozen=True)
class Backbone:
    """A pre-trained network, described.

    Attributes:
        name: what the user calls it.
        modality: "image", "text" or "video".
        source: where the weights came from.
        sha256: of the file they came in, as its authors publish it.
        licence: SPDX name, or "unknown".
        stages: in order; the last one ends in the vector that a head takes, or in what a
            detector's head does.
        preprocessing: see there.
        recipe: see there.
        weights: the safetensors file; its names are the network's own.
        note: what the user should know about it, or "".
        detector: what it finds objects with; None where its last stage gives a vector.
    """

    name: str
    modality: str
    source: str
    sha256: str
    licence: str
    stages: tuple[Stage, ...]
    preprocessing: AnyPreprocessing
    recipe: Recipe
    weights: Path
    note: str = ""
    detector: Detector | None = None

    @property
    def parameters(self) -> int:
        """Number of parameters in all stages."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def pictures(self) -> Preprocessing:
        """How it takes pictures.

        Raises:
            BackboneError: it takes texts.
        """
        if isinstance(self.preprocessing, Preprocessing):
            return self.preprocessing
        raise BackboneError(
            "This backbone takes texts, not pictures.",
            where=self.name,
            mend="choose a backbone for images: regraft backbones list",
        )

    @property
    def texts(self) -> TextPreprocessing:
        """How it takes texts; asked of encoders alone."""
        assert isinstance(self.preprocessing, TextPreprocessing), self.name
        return self.preprocessing

    @cached_property
    def tokenizer(self) -> Any:
        """Of an encoder: the `tokenizers.Tokenizer` that cuts a text into its windows.

        Read from the weights when the first text comes, and kept as long as this is.
        """
        tokenizer = read_tokenizer(self.weights)
        tokenizer.enable_truncation(self.texts.max_tokens, stride=self.texts.overlap)
        return tokenizer

    @property
    def frames(self) -> int:
        """How many frames of a clip it looks at; 0 where it takes no clips."""
        return self.preprocessing.frames if isinstance(self.preprocessing, Preprocessing) else 0

    @property
    def queries(self) -> int:
        """How many vectors stand for objects, each for one or none; 0 where none do."""
        return self.detector.setting.get("queries", 0) if self.detector else 0

    @property
    def is_transformer(self) -> bool:
        """Whether vectors of tokens flow from stage to stage: a text's, or of patches of a picture.

        A clip's own stage, which begins untrained, is none, whatever lies below it.
        """
        between = [shape for stage in self.stages[:-1] for shape in stage.shapes]
        return not self.frames and any(len(shape) == 2 for shape in between)

    def check_reads(self, modality: str, why: str, where: str = "--backbone") -> None:
        """Refuse it, before anything is computed, for samples that it does not read.

        Args:
            modality: of the samples.
            why: they are to be read, for example "the data are texts".
            where: the option that chose it.

        Raises:
            UsageError: it is for another modality.
        """
        check_modality(self.name, self.modality, modality, why, where)

    @property
    def width(self) -> int:
        """Length of the vectors that the last stage gives, or channels of its maps."""
        first = self.stages[-1].shapes[0]
        return first[0 if len(first) == _MAP_AXES else -1]

    def to_json(self) -> dict[str, Any]:
        """Everything but the place of the weights, as JSON values."""
        values = asdict(self)
        del values["weights"]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any], weights: Path) -> Backbone:
        """What `to_json` gave, with the weights where they are now.

        Args:
            values: also as read back from a JSON file, with lists for tuples.
            weights: a safetensors file; it may hold more than the stages name.

        Raises:
            BackboneError: something is missing or not what it should be.
        """
        try:
            recipe: dict[str, Any] = values["recipe"]
            options: Any = tuple(map(tuple, recipe["options"]))
            detector = values.get("detector")
            described: dict[str, Any] = {
                **values,
                "stages": tuple(Stage(**_frozen(stage)) for stage in values["stages"]),
                "preprocessing": _preprocessing(_frozen(values["preprocessing"])),
                "recipe": Recipe(
                    recipe["adapter"],
                    recipe["architecture"],
                    options,
                    tuple(recipe.get("levels", ())),
                ),
                "detector": _detector(_frozen(detector)) if detector else None,
            }
            return cls(**described, weights=weights)
        except (KeyError, TypeError, ValueError) as fault:
            raise BackboneError(
                f"the description of a backbone cannot be used: {fault!r}", where=weights
            ) from fault


def _preprocessing(values: dict[str, Any]) -> AnyPreprocessing:
    return TextPreprocessing(**values) if "max_tokens" in values else Preprocessing(**values)


_COUNTS = {"queries": "queries", "score_width": "paired", "edge_width": "paired"}
"""Settings of detectors that are whole numbers, and the family that needs each."""


def _detector(values: dict[str, Any]) -> Detector:
    detector = Detector(**values)
    setting = detector.setting
    for name, family in _COUNTS.items():
        value = setting.get(name, None if detector.family == family else 1)
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}")
    return detector


def _frozen(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _tuples(value) for key, value in values.items()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
