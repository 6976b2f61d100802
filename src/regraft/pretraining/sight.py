"""What a network takes for alike, before and after: neighbours and a map, for people to look at.

With a judge its held samples are looked at among its training samples, without one some samples
of the pool among others.

Legend: n samples, d dimensions, m samples shown, k neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from regraft.backbones import Backbone
from regraft.dataset import Sample, View, images
from regraft.pretraining.quality import unit
from regraft.reporting import content
from regraft.reporting.drawing import jpeg
from regraft.transfer.packing import stacked
from regraft.transfer.pictures import ReadAhead, look

if TYPE_CHECKING:
    from regraft.backbones import Network

SHOWN, NEAREST = 6, 5
MAPPED = 500
"""Samples on the map."""
EXCERPT = 160
"""Characters of a text that is shown."""
_PICTURE_PX, _FRAME_PX, _FRAMES = 72, 56, 3
_WHEN = ("before", "after")


@final
class Gaze:
    """Vectors of samples in their plain view, in float32 torch; what is decoded is kept."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._inputs: dict[str, np.ndarray] = {}

    def features(self, network: Network, samples: Sequence[Sample]) -> np.ndarray:
        """Vectors_nd."""
        import torch

        if self._backbone.frames:
            return self._of_clips(network, samples)
        missing = [s for s in samples if s.sha256 not in self._inputs]
        with ReadAhead(lambda s: look(s, [View()], self._backbone)[0], missing, 64, 64) as ahead:
            for sample, given in zip(missing, ahead, strict=True):
                self._inputs[sample.sha256] = given
        inputs = [self._inputs[s.sha256] for s in samples]
        # Of like length together: hardly any padding. Pictures all have one.
        order_n = np.argsort([len(given) for given in inputs], kind="stable")
        found = np.empty((len(samples), self._backbone.width), np.float32)
        network.eval()
        with torch.inference_mode():
            for start in range(0, len(samples), 64):
                some = order_n[start : start + 64]
                batch = stacked([inputs[i] for i in some])
                found[some] = network(torch.from_numpy(batch)).numpy()
        return found

    def _of_clips(self, network: Network, samples: Sequence[Sample]) -> np.ndarray:
        """Vectors_nd; clips are large and lie in the cache of frames, so none is held here."""
        import torch

        size = max(1, 64 // self._backbone.frames)
        found = np.empty((len(samples), self._backbone.width), np.float32)
        network.eval()
        with (
            ReadAhead(lambda s: look(s, [View()], self._backbone)[0], samples, size, size) as ahead,
            torch.inference_mode(),
        ):
            rest = iter(ahead)
            for start in range(0, len(samples), size):
                batch = np.stack(list(islice(rest, size)))
                found[start : start + size] = network(torch.from_numpy(batch)).numpy()
        return found


@final
@dataclass(frozen=True)
class Sight:
    """Samples, and what start and result make of them.

    Attributes:
        shown: whose neighbours are looked for.
        among: where they are looked for.
        shown_md: vectors of the former by "before" and "after".
        among_nd: of the latter.
        classes: names; none where there are no labels.
        shown_m: labels of the former; all 0 where there are none.
        among_n: of the latter.
    """

    shown: Sequence[Sample]
    among: Sequence[Sample]
    shown_md: Mapping[str, np.ndarray]
    among_nd: Mapping[str, np.ndarray]
    classes: tuple[str, ...]
    shown_m: np.ndarray
    among_n: np.ndarray


def of_pool(samples: Sequence[Sample], vectors_nd: Mapping[str, np.ndarray]) -> Sight:
    """Some samples without labels, the first of them among the others."""
    none_n = np.zeros(len(samples), int)
    few = min(SHOWN, len(samples) // 2)
    first = {when: some[:few] for when, some in vectors_nd.items()}
    rest = {when: some[few:] for when, some in vectors_nd.items()}
    return Sight(samples[:few], samples[few:], first, rest, (), none_n[:few], none_n[few:])


def facts(sight: Sight) -> dict[str, Any]:
    """As report.json has it: "neighbours", "alike", "map", "excerpts"."""
    nearest = {
        when: np.argsort(
            -unit(sight.shown_md[when]) @ unit(sight.among_nd[when]).T, axis=1, kind="stable"
        )[:, :NEAREST]
        for when in _WHEN
    }
    same = {when: sight.among_n[some] == sight.shown_m[:, None] for when, some in nearest.items()}
    rows: list[dict[str, Any]] = []
    for at in np.linspace(0, len(sight.shown) - 1, min(SHOWN, len(sight.shown))).astype(int):
        row: dict[str, Any] = {"sample": sight.shown[at].id}
        row |= {when: [sight.among[i].id for i in nearest[when][at]] for when in _WHEN}
        if sight.classes:
            row["same"] = {when: same[when][at].tolist() for when in _WHEN}
        rows.append(row)
    alike = {when: float(same[when].mean()) for when in _WHEN} if sight.classes else None
    names = named(rows)
    samples = [*sight.shown, *sight.among]
    excerpts = {
        sample.id: " ".join(sample.source.split())[:EXCERPT]
        for sample in samples
        if sample.id in names and isinstance(sample.source, str)
    }
    return {"neighbours": rows, "alike": alike, "map": _chart(sight), "excerpts": excerpts}


def named(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """The samples that rows of neighbours name."""
    return {n for row in rows for n in (row["sample"], *row["before"], *row["after"])}


def thumbnails(samples: Sequence[Sample], names: set[str]) -> dict[str, bytes]:
    """Small JPEGs of the pictures among some samples, and film strips of the clips, by id."""
    found: dict[str, bytes] = {}
    for sample in samples:
        if sample.id not in names or not isinstance(sample.source, Path):
            continue
        if sample.span_s is not None:
            picture = content.film_strip(sample.source, sample.span_s, _FRAME_PX, _FRAMES)
        else:
            picture = images.decode(sample.source)
            picture.thumbnail((_PICTURE_PX, _PICTURE_PX))
        found[sample.id] = jpeg(picture, 80)
    return found


def _chart(sight: Sight) -> dict[str, Any]:
    """Samples on their first two principal axes."""
    several = bool(sight.classes)
    label_n = sight.shown_m if several else np.concatenate([sight.shown_m, sight.among_n])
    drawn: dict[str, Any] = {
        "classes": list(sight.classes),
        "labels": label_n[:MAPPED].tolist(),
    }
    for when in _WHEN:
        x_nd = sight.shown_md[when]
        if not several:
            x_nd = np.concatenate([x_nd, sight.among_nd[when]])
        x_nd = unit(x_nd[:MAPPED])
        x_nd = x_nd - x_nd.mean(axis=0)
        axes, lengths, _ = np.linalg.svd(x_nd, full_matrices=False)
        drawn[when] = np.round(axes[:, :2] * lengths[:2], 4).tolist()
    return drawn
