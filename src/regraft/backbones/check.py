"""What regraft relies on in a backbone, as code that anybody can run on their own.

B: batch.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from regraft.backbones.adapters import adapter
from regraft.backbones.backbone import Backbone, TextPreprocessing
from regraft.backbones.network import TRACED_TOKENS, Network, build
from regraft.errors import ContractBroken
from regraft.seeds import seed_of

Values = tuple[Tensor, ...]
Shapes = tuple[tuple[int, ...], ...]

_ROWS = 3
_RELATIVE_ERROR = 1e-3  # of a row alone against the same row in a batch: libraries reorder sums


def check_backbone(backbone: Backbone) -> tuple[str, ...]:
    """Hold a backbone to its contract; gives what was found true, for people to read.

    Raises:
        ContractBroken: a promise is not kept.
        BackboneError: the network cannot be built.
    """
    network = build(backbone)
    pixels = _pixels(backbone)
    with torch.no_grad():
        flows = _flows(network, pixels)
        _check_whole(backbone, network, flows)
        _check_shapes(backbone, flows)
        _check_owners(backbone, network)
        _check_repeats(backbone, network, pixels, flows)
        _check_rows(backbone, network, pixels, flows)
        _check_padding(backbone, network, pixels)
        _check_leaks(backbone, network, flows)
        _check_round_trip(backbone, network, pixels, flows)
    _check_gradients(backbone, network, flows)
    count = len(backbone.stages)
    thing = {"text": "text", "video": "clip"}.get(backbone.modality, "picture")
    return (
        f"{count} stages in order give what the whole network gives, bit for bit",
        "the shapes in the description are true",
        "every parameter and buffer is in exactly one stage",
        f"the same {thing}s give the same bits again",
        f"a {thing}'s features do not depend on the others in its batch",
        "no cut leaks: weights right of it change nothing left of it, no gradient passes it",
        f"the last stage gives {_last(backbone)}",
        "saved and loaded again, it is the same network",
    )


def _last(backbone: Backbone) -> str:
    if backbone.detector is None:
        return f"a vector of {backbone.width}"
    return f"{backbone.stages[-1].shapes} for a head that finds objects"


def _require(kept: bool, what: str, backbone: Backbone, where: str) -> None:
    if not kept:
        raise ContractBroken(what, where=f"{backbone.name}, {where}")


def _pixels(backbone: Backbone) -> Tensor:
    preprocessing = backbone.preprocessing
    generator = torch.Generator().manual_seed(seed_of(0, "check_backbone"))
    if isinstance(preprocessing, TextPreprocessing):
        known = dict(backbone.recipe.options)["vocabulary"]
        assert isinstance(known, int)
        shape = (_ROWS, min(TRACED_TOKENS, preprocessing.max_tokens))
        return torch.randint(0, known, shape, generator=generator, dtype=torch.int32)
    shape = (_ROWS, *preprocessing.input_shape)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def _flows(network: Network, pixels: Tensor) -> list[Values]:
    """What flows into every stage, and out of the last."""
    flows: list[Values] = [(network.entry(pixels),)]
    for index in range(len(network.stages)):
        flows.append(network.run(flows[-1], index, index + 1))
    return flows


def _same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return len(first) == len(second) and all(map(torch.equal, first, second))


def _check_whole(backbone: Backbone, network: Network, flows: list[Values]) -> None:
    whole = adapter(backbone.recipe.adapter).load().whole
    if whole is not None:  # stages are made from a whole
        given = (whole(backbone)(flows[0][0]),)
    else:
        given = network.run(flows[0], 0, len(network.stages))
    _require(
        _same(given, flows[-1][: len(given)]),
        "the stages in order do not give what the whole network gives",
        backbone,
        "all stages",
    )


def _check_shapes(backbone: Backbone, flows: list[Values]) -> None:
    for stage, values in zip(backbone.stages, flows[1:], strict=True):
        shapes = tuple(tuple(value.shape[1:]) for value in values)
        rows = all(len(value) == _ROWS for value in values)
        _require(
            rows and _fit(shapes, stage.shapes),
            f"{stage.shapes} for each sample is promised, {shapes} comes out",
            backbone,
            stage.name,
        )
    last = backbone.stages[-1]
    if backbone.detector is not None:
        return
    _require(len(last.shapes) == 1 and len(last.shapes[0]) == 1, "no vector", backbone, last.name)


def _fit(shapes: Shapes, promised: Shapes) -> bool:
    """Whether shapes are as promised, where -1 promises any number of tokens."""
    return len(shapes) == len(promised) and all(
        len(shape) == len(want) and all(w in (-1, s) for s, w in zip(shape, want, strict=True))
        for shape, want in zip(shapes, promised, strict=True)
    )


def _check_padding(backbone: Backbone, network: Network, pixels: Tensor) -> None:
    """A text among longer ones, filled up with -1, gives the vector that it gives alone."""
    if not isinstance(backbone.preprocessing, TextPreprocessing):
        return
    short = pixels[:1, :5]
    padded = pixels.clone()
    padded[0, 5:] = -1
    alone, together = network(short), network(padded)[:1]
    error = (alone - together).norm() <= _RELATIVE_ERROR * (alone.norm() + 1e-6)
    _require(bool(error), "padding changes a text's vector", backbone, "all stages")


def _check_owners(backbone: Backbone, network: Network) -> None:
    owner: dict[int, str] = {}
    for index, stage in enumerate(backbone.stages):
        tensors = network.tensors_of(index)
        _require(tuple(sorted(tensors)) == stage.tensors, "tensors differ", backbone, stage.name)
        size = sum(tensor.numel() for tensor in network.stages[index].parameters())
        _require(size == stage.parameters, f"it has {size} parameters", backbone, stage.name)
        for name, tensor in tensors.items():
            first = owner.setdefault(id(tensor), stage.name)
            _require(first == stage.name, f"{name} is in {first} too", backbone, stage.name)


def _check_repeats(
    backbone: Backbone, network: Network, pixels: Tensor, flows: list[Values]
) -> None:
    for index, (first, again) in enumerate(zip(flows, _flows(network, pixels), strict=True)):
        _require(_same(first, again), "the same input gave other bits", backbone, f"cut {index}")


def _check_rows(backbone: Backbone, network: Network, pixels: Tensor, flows: list[Values]) -> None:
    for row in range(_ROWS):
        alone = _flows(network, pixels[row : row + 1])
        for index, (one, together) in enumerate(zip(alone, flows, strict=True)):
            near = all(
                (a - b).float().norm() <= _RELATIVE_ERROR * (b.float().norm() + 1e-6)
                for a, b in zip(one, (t[row : row + 1] for t in together), strict=True)
            )
            _require(near, "a sample depends on its batch", backbone, f"cut {index}, row {row}")


def _check_leaks(backbone: Backbone, network: Network, flows: list[Values]) -> None:
    """From the right: change a stage's weights, and the stage before gives what it gave."""
    other = copy.deepcopy(network)
    for index in reversed(range(len(backbone.stages))):
        given = other.run(flows[index], index, index + 1)
        name = backbone.stages[index].name
        _require(
            _same(given, flows[index + 1]), "weights right of its cut change it", backbone, name
        )
        for tensor in other.tensors_of(index).values():
            if tensor.is_floating_point():
                tensor.mul_(1.5).add_(0.125)


def _check_gradients(backbone: Backbone, network: Network, flows: list[Values]) -> None:
    for index, stage in enumerate(backbone.stages):
        network.zero_grad(set_to_none=True)
        with torch.enable_grad():
            given = network.run(flows[index], index, index + 1)
            if not any(value.requires_grad for value in given):
                continue
            sum(value.sum() for value in given).backward()  # pyright: ignore[reportAttributeAccessIssue]
        for other in range(len(backbone.stages)):
            reached = any(p.grad is not None for p in network.stages[other].parameters())
            _require(
                other == index or not reached,
                f"a gradient arrives in {backbone.stages[other].name}",
                backbone,
                stage.name,
            )


def _check_round_trip(
    backbone: Backbone, network: Network, pixels: Tensor, flows: list[Values]
) -> None:
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        own = {name: tensor.detach().contiguous() for name, tensor in network.tensors().items()}
        save_file({**own, "head.weight": torch.zeros(2, backbone.width)}, path)
        described = Backbone.from_json(replace(backbone, weights=path).to_json(), path)
        again = _flows(build(described), pixels)
    _require(_same(again[-1], flows[-1]), "saved and loaded it differs", backbone, "all stages")
