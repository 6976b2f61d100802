"""What the twin from random weights is given: its pictures, its rung, and the words on it.

A comparison is worth as much as the worse of its two sides is good, so the twin gets what somebody
who trains from scratch would give it: the same network and loop, but one high learning rate for
all stages, norm layers that learn their statistics, another view of each sample in each pass, and
pictures as small as its time asks for. A step costs as much as the pictures have pixels, and with
few labels many passes over small pictures are worth more than one over large ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from regraft.backbones import Backbone, Preprocessing
from regraft.dataset import Sample
from regraft.errors import UsageError
from regraft.tasks import measure
from regraft.wording import span_of_points

if TYPE_CHECKING:
    from torch import nn

    from regraft.transfer.fit import Rung

LEARNING_RATE, WITHOUT_NORMS = 3e-3, 3e-4
"""Highest rates: of networks with norm layers, and of those where none holds values in bounds, as
in NanoDet-g, whose batch norms are folded. At ten times that its loss leaps by five orders."""
VIEWS = 32
"""Views of a sample that are kept; with more passes they come again."""

PASSES = 40.0
"""Pictures are made smaller until the time allows so many passes over the samples."""

PASSES_TO_COMPARE = 10.0
"""A twin that saw each sample fewer times says what its time buys, not what labels are worth."""

SMALLEST_PX, GRID_PX = 64, 32


def at_size(backbone: Backbone, size_px: int) -> Backbone:
    """The same network for pictures of another size.

    Returns:
        the backbone as it is where its library builds it for one size alone.
    """
    from regraft.backbones.network import resized

    preprocessing = backbone.preprocessing
    if not isinstance(preprocessing, Preprocessing) or size_px == preprocessing.size_px:
        return backbone
    other = resized(backbone, size_px)
    return backbone if other is None else other


def sizes_px(samples: Sequence[Sample], backbone: Backbone) -> list[int]:
    """Sizes to choose from, the largest first: at most the network's, and the pictures' own.

    Args:
        samples: pictures; their median shorter side counts.
        backbone: the pre-trained network. If it takes no pictures, there is nothing to choose: [0].
    """
    preprocessing = backbone.preprocessing
    if not isinstance(preprocessing, Preprocessing):
        return [0]
    shorter_px = median(min(sample.size) for sample in samples)
    own_px = max(SMALLEST_PX, GRID_PX * math.ceil(shorter_px / GRID_PX))
    largest_px = min(own_px, preprocessing.size_px)
    below = range((largest_px - 1) // GRID_PX * GRID_PX, SMALLEST_PX - 1, -GRID_PX)
    sizes = [largest_px, *below]
    return sizes if at_size(backbone, sizes[-1]) is not backbone else [preprocessing.size_px]


def fitting_px(sizes: Sequence[int], train_s: float, read_s: float, most_s: float) -> int:
    """The largest size at which a step takes at most `most_s`, else the smallest.

    Args:
        sizes: to choose from, the largest first.
        train_s: of a step at the smallest size; it grows with the number of pixels.
        read_s: of reading the pictures of a step.
        most_s: see `most_s`.
    """
    smallest = max(1, sizes[-1])
    fit = [px for px in sizes if train_s * (px / smallest) ** 2 + read_s <= most_s]
    return fit[0] if fit else sizes[-1]


def most_s(count: int, allowed_s: float, batch: int) -> float:
    """What a step may take if all samples are to be seen `PASSES` times in the time allowed."""
    return allowed_s * batch / (PASSES * count)


def steps_in(allowed_s: float, step_s: float, count: int, batch: int) -> int:
    """How many steps the time allows: at least one, and no more than 5 times `PASSES`."""
    most = round(5 * PASSES * count / batch)
    return max(1, min(int(allowed_s / step_s), most))


def rate_of(network: nn.Module) -> float:
    """The highest learning rate: a norm layer is what has a vector of weights."""
    weights = (p for name, p in network.named_parameters() if name.endswith("weight"))
    return LEARNING_RATE if any(p.ndim == 1 for p in weights) else WITHOUT_NORMS


def rung_of(count: int, steps: int, batch: int, rate: float) -> Rung:
    """Views for `count` samples and so many steps of `batch` samples, at most `count`.

    Args:
        count: of training samples.
        steps: to take.
        batch: samples in one.
        rate: see `rate_of`.
    """
    from regraft.transfer.fit import Rung

    passes = math.ceil(steps / max(1, count // batch))
    return Rung(
        "scratch",
        frozen=0,
        steps=steps,
        batch=batch,
        learning_rate=rate,
        decay=1.0,
        views=min(VIEWS, passes),
        pretrained=False,
    )


def check_compare(compare: str | None) -> None:
    """Raise UsageError where something else than this twin is to be compared with."""
    if compare not in (None, "scratch"):
        raise UsageError(
            f"nothing to compare with: {compare!r}",
            where="--compare",
            mend="say scratch, or leave it out",
        )


def text(facts: dict[str, Any], gap: measure.Difference, best: str) -> str:
    """What became of it, beside the chosen rung.

    Args:
        facts: the twin's entry in report.json.
        gap: what the chosen rung has more.
        best: name of the chosen rung.
    """
    shown = f"{100 * abs(gap.value):.1f} points"
    low, high = sorted(math.copysign(1, gap.value) * end for end in (gap.low, gap.high))
    spread = f"({span_of_points(low, high, gap.p)})"
    if gap.p >= measure.NOISE:
        outcome = f"it cannot be told from {best}: {gap.points} for {best}, p = {gap.p:.3f}"
    elif gap.value > 0:
        outcome = f"{best} is {shown} ahead of it {spread}"
    else:
        outcome = (
            f"it is {shown} ahead of {best} {spread}; for these samples pre-training does not pay"
        )
    size = f" at {facts['size_px']} px" if facts["size_px"] else ""
    said = (
        f"The same network from random weights{size}, {facts['steps']} steps "
        f"({facts['passes']:.0f} passes), as many as this machine makes in "
        f"{facts['seconds']['total']:.0f} s: {outcome}."
    )
    if facts["passes"] < PASSES_TO_COMPARE:
        said += " So few passes show what this time buys, not what the network could reach."
    return said
