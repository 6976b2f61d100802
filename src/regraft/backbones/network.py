"""The torch side of a backbone: its modules, stage by stage, and how they get their weights.

The adapter that a recipe names makes the modules. Tensors are loaded by name; a file
may hold more (a trained head), but never less, and never in other shapes.

B: batch, H W: height and width, C: channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from regraft.backbones import adapters
from regraft.backbones.backbone import (
    AnyPreprocessing,
    Backbone,
    Detector,
    Preprocessing,
    Recipe,
    Stage,
)
from regraft.backbones.levels import LENGTH, TEXT_LENGTH, joined, summed_up
from regraft.backbones.windows import divide
from regraft.errors import BackboneError
from regraft.seeds import seed_of
from regraft.wording import some_of

TRACED_TOKENS = 16
"""Length of the text that a network is described and traced with."""


@dataclass(frozen=True)
class Part:
    """A stage as an adapter makes it.

    Attributes:
        name: as the library names it.
        module: forward(*tensors) gives a tensor or a tuple of tensors, samples first.
        prefix: what to put before the module's own tensor names to get the network's.
    """

    name: str
    module: nn.Module
    prefix: str = ""


@final
class Network(nn.Module):
    """Stages in order, and the way in.

    Args:
        parts: at least one; the last gives a vector, (B, width), or what a detector's head takes.
        preprocessing: sets what `entry` does.
        note: what the user should know about these stages, or "".
        levels: see `Recipe`.
    """

    mean_c11: Tensor
    std_c11: Tensor

    def __init__(
        self,
        parts: Sequence[Part],
        preprocessing: AnyPreprocessing,
        note: str = "",
        levels: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        assert parts, "a network has at least one stage"
        self.stages = nn.ModuleList(part.module for part in parts)
        self.names = tuple(part.name for part in parts)
        self.prefixes = tuple(part.prefix for part in parts)
        self.note = note
        self.levels = levels
        self.frames = 0
        self.takes_text = not isinstance(preprocessing, Preprocessing)
        self.window = 0
        if isinstance(preprocessing, Preprocessing):
            self.frames = preprocessing.frames
            for name, values in (("mean_c11", preprocessing.mean), ("std_c11", preprocessing.std)):
                self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        else:
            self.window = preprocessing.max_tokens

    def entry(self, pixels_bhwc: Tensor) -> Tensor:
        """uint8 pixels (B, H, W, 3), RGB, to the float32 input of stage 0, (B, 3, H, W).

        Clips have one more axis, T, after the first. Texts come as token ids (B, L), -1 for
        padding, and go on as int64.
        """
        if self.takes_text:
            return pixels_bhwc.to(torch.int64)
        x_bchw = pixels_bhwc.movedim(-1, -3).to(torch.float32)
        return (x_bchw / 255 - self.mean_c11) / self.std_c11

    def run(self, values: tuple[Tensor, ...], start: int, stop: int) -> tuple[Tensor, ...]:
        """Stages start … stop - 1.

        Args:
            values: what flows into stage `start`: `(entry(pixels),)` for 0.
            start: first stage to run.
            stop: first stage not to run.
        """
        for index in range(start, stop):
            # All stages of a clip network but the last take frames, which are put into the batch.
            apart = self.frames and index < len(self.stages) - 1
            if apart:
                values = tuple(value.flatten(0, 1) for value in values)
            values = self._past(index, values) if self.levels else self._given(index, values)
            if apart:
                values = tuple(value.unflatten(0, (-1, self.frames)) for value in values)
        return values

    def _given(self, index: int, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What a stage makes of what flows into it."""
        given = self.stages[index](*values)
        return given if isinstance(given, tuple) else (given,)

    def _past(self, index: int, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The same where levels flow beside it; the last stage puts all in one vector."""
        own = 2 if self.takes_text and index else 1  # hidden states and lengths, or one map
        given, beside = self._given(index, values[:own]), values[own:]
        if index in self.levels:
            beside += (summed_up(given),)
        if index < len(self.stages) - 1:
            return given + beside
        return (joined(given[0], beside, TEXT_LENGTH if self.takes_text else LENGTH),)

    def finish(self, values: tuple[Tensor, ...], start: int) -> tuple[Tensor, ...]:
        """Stages from `start` to the last; texts that are longer than a window in several.

        Args:
            values: what flows into stage `start`.
            start: first stage to run; with all of them done, values are given back.
        """
        stages = len(self.stages)
        if start == stages or not self.window or values[0].shape[1] <= self.window:
            return self.run(values, start, stages)
        texts = divide(values, self.window)
        (x_kd,) = self.run(texts.values, start, stages)
        return (texts.joined(x_kd),)

    def read_at(self, levels: tuple[int, ...]) -> Network:
        """These very stages, whose vector tells of other levels; see `Recipe`."""
        other = copy(self)
        other.levels = levels
        return other

    def forward(self, pixels_bhwc: Tensor) -> Tensor:
        """uint8 pixels (B, H, W, 3) to the vector (B, width) that a head takes."""
        return self.finish((self.entry(pixels_bhwc),), 0)[0]

    def tensors_of(self, index: int) -> dict[str, Tensor]:
        """Parameters and buffers of one stage, themselves, by their names in the weights file."""
        prefix = self.prefixes[index]
        state = self.stages[index].state_dict(keep_vars=True)
        return {prefix + name: tensor for name, tensor in state.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers of all stages, by their names in the weights file."""
        found: dict[str, Tensor] = {}
        for index in range(len(self.stages)):
            found |= self.tensors_of(index)
        return found


def build(backbone: Backbone, *, random_seed: int | None = None) -> Network:
    """Make the network that a backbone describes, in eval mode, on the CPU.

    Args:
        backbone: a description; its weights file is read, but for the scratch twin.
        random_seed: instead of the weights, a fresh initialisation by the library's own scheme,
            a pure function of this number.

    Raises:
        BackboneError: the library no longer makes this network, or the weights do not fit.
    """
    network = assemble(backbone.recipe, backbone.preprocessing, seed=random_seed or 0)
    described = tuple(stage.tensors for stage in backbone.stages)
    made = tuple(tuple(sorted(network.tensors_of(i))) for i in range(len(network.stages)))
    if made != described:
        raise BackboneError(
            f"{backbone.name} is not built as it was when it was opened first",
            where=f"{backbone.recipe.adapter} {dict(backbone.recipe.options)}",
            mend="install the version of the library named here, or start afresh from its name",
        )
    if random_seed is None:
        names = {name for names in described for name in names}
        fill(network, read_safetensors(backbone.weights, names), backbone.weights)
        return network
    initialise = adapters.adapter(backbone.recipe.adapter).load().initialise
    if initialise is not None:
        initialise(backbone.recipe, list(network.stages), random_seed)
    return network


def resized(backbone: Backbone, size_px: int) -> Backbone | None:
    """The same network, with the same weights, for pictures of another size.

    Returns:
        None where its library builds it for one size alone: a transformer's positions, a linear
        layer that counts on the size.
    """
    other = replace(backbone.pictures, size_px=size_px)
    try:
        stages = describe(assemble(backbone.recipe, other), other)
    except (BackboneError, RuntimeError, AssertionError, ValueError):
        return None
    return replace(backbone, preprocessing=other, stages=stages)


def assemble(recipe: Recipe, preprocessing: AnyPreprocessing, seed: int = 0) -> Network:
    """The modules of a recipe, freshly initialised, in eval mode.

    The library draws from torch's own generator; afterwards that is as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "backbone"))
        parts, note = adapters.parts(recipe, preprocessing)
        return Network(parts, preprocessing, note, recipe.levels).eval()


def read_safetensors(path: Path, names: set[str] | None = None) -> dict[str, Tensor]:
    """Tensors of a safetensors file: all, or those of the given names that it has.

    Raises:
        BackboneError: there is no such file, or it is not of this format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if _in(name, names)}
    except (OSError, SafetensorError) as fault:
        raise BackboneError(
            f"the weights cannot be read: {fault}",
            where=path,
            mend="fetch or make the file again; it should be whole and in safetensors format",
        ) from fault


def _in(name: str, names: set[str] | None) -> bool:
    return names is None or name in names


def fill(network: Network, tensors: Mapping[str, Tensor], where: object) -> None:
    """Copy tensors into the network, by name.

    Raises:
        BackboneError: some are missing or have another shape; the message names them.
    """
    own = network.tensors()
    missing = [name for name in own if name not in tensors]
    misshapen = [
        f"{name} is {tuple(tensors[name].shape)} where {tuple(tensor.shape)} is needed"
        for name, tensor in own.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    for fault, names in (("lack tensors", missing), ("have wrong shapes", misshapen)):
        if names:
            raise BackboneError(
                f"the weights {fault}: {some_of(names, 5)}",
                where=where,
                mend="give the weights of this very architecture",
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def blank(preprocessing: AnyPreprocessing, count: int = 1) -> Tensor:
    """Inputs that say nothing: black pictures, or texts of the same few tokens."""
    if isinstance(preprocessing, Preprocessing):
        return torch.zeros(count, *preprocessing.input_shape, dtype=torch.uint8)
    return torch.ones(count, min(TRACED_TOKENS, preprocessing.max_tokens), dtype=torch.int32)


def _shape(value: Tensor, given: Tensor) -> tuple[int, ...]:
    """Of one sample; -1 stands for the number of tokens."""
    shape = tuple(value.shape[1:])
    is_ragged = given.ndim == 2 and len(shape) == 2 and shape[0] == given.shape[1]
    return (-1, *shape[1:]) if is_ragged else shape


def describe(
    network: Network, preprocessing: AnyPreprocessing, detector: Detector | None = None
) -> tuple[Stage, ...]:
    """The stages on paper; runs one blank input through them.

    Raises:
        BackboneError: what comes out at the end is not one vector per picture, unless it is for
            the head of a detector.
    """
    assert not network.training, "shapes are those of eval mode"
    stages: list[Stage] = []
    with torch.inference_mode():
        given = blank(preprocessing)
        values = (network.entry(given),)
        for index, name in enumerate(network.names):
            values = network.run(values, index, index + 1)
            shapes = tuple(_shape(value, given) for value in values)
            parameters = sum(value.numel() for value in network.stages[index].parameters())
            tensors = tuple(sorted(network.tensors_of(index)))
            stages.append(Stage(name, parameters, tensors, shapes))
    if detector is None and (len(stages[-1].shapes) != 1 or len(stages[-1].shapes[0]) != 1):
        raise BackboneError(
            f"the network ends in {stages[-1].shapes} for each picture, not in one vector",
            where=stages[-1].name,
            mend="choose a variant that pools its features",
        )
    return tuple(stages)
