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
from regraft.backbones.levels import with_levels
from regraft.dataset import Sample, View, texts
from regraft.pretraining.quality import nearest, unit
from regraft.reporting.drawing import file_of
from regraft.transfer.ahead import ReadAhead
from regraft.transfer.packing import stacked
from regraft.transfer.pictures import look

if TYPE_CHECKING:
    from regraft.backbones import Network

SHOWN, NEAREST = 6, 5
KEPT_BYTES = 2 * 2**30
"""Of decoded pictures that are kept from one look to the next."""
MAPPED = 500
"""Samples on the map."""
_WHEN = ("before", "after")


@final
class Embedder:
    """Vectors of samples in their plain view, in float32 torch; what is decoded is kept.

    They are those that a head is fitted to, with all levels that the backbone has. Not kept are
    clips, which lie in the cache of frames, and pictures of more than `KEPT_BYTES`.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = with_levels(backbone)
        self._inputs: dict[str, np.ndarray] = {}

    def features(self, network: Network, samples: Sequence[Sample]) -> np.ndarray:
        """Vectors_nd."""
        network = network.read_at(self._backbone.recipe.levels)
        if self._backbone.frames or self._is_large(samples):
            return self._passing(network, samples)
        missing = [s for s in samples if s.sha256 not in self._inputs]
        with self._read(missing, 64) as ahead:
            for sample, given in zip(missing, ahead, strict=True):
                self._inputs[sample.sha256] = given
        inputs = [self._inputs[s.sha256] for s in samples]
        # Of like length together: hardly any padding. Pictures all have one.
        order_n = np.argsort([len(given) for given in inputs], kind="stable")
        found = np.empty((len(samples), self._backbone.width), np.float32)
        for start in range(0, len(samples), 64):
            some = order_n[start : start + 64]
            found[some] = _vectors(network, stacked([inputs[i] for i in some]))
        return found

    def _is_large(self, samples: Sequence[Sample]) -> bool:
        if self._backbone.modality == "text":
            return False
        size_px = self._backbone.pictures.size_px
        return len(samples) * size_px * size_px * 3 > KEPT_BYTES

    def _passing(self, network: Network, samples: Sequence[Sample]) -> np.ndarray:
        """Vectors_nd, with no more than some batches in memory."""
        size = max(1, 64 // max(1, self._backbone.frames))
        found = np.empty((len(samples), self._backbone.width), np.float32)
        with self._read(samples, size) as ahead:
            rest = iter(ahead)
            for start in range(0, len(samples), size):
                found[start : start + size] = _vectors(network, np.stack(list(islice(rest, size))))
        return found

    def _read(self, samples: Sequence[Sample], size: int) -> ReadAhead[Sample, np.ndarray]:
        """Their plain views, in order, decoded ahead of use."""
        return ReadAhead(lambda s: look(s, [View()], self._backbone)[0], samples, size, size)


def _vectors(network: Network, batch: np.ndarray) -> np.ndarray:
    import torch

    network.eval()
    with torch.inference_mode():
        return network(torch.from_numpy(batch)).numpy()


@final
@dataclass(frozen=True)
class NeighbourMap:
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


def of_pool(samples: Sequence[Sample], vectors_nd: Mapping[str, np.ndarray]) -> NeighbourMap:
    """Some samples without labels, the first of them among the others."""
    none_n = np.zeros(len(samples), int)
    few = min(SHOWN, len(samples) // 2)
    first = {when: some[:few] for when, some in vectors_nd.items()}
    rest = {when: some[few:] for when, some in vectors_nd.items()}
    return NeighbourMap(samples[:few], samples[few:], first, rest, (), none_n[:few], none_n[few:])


def facts(found: NeighbourMap, data: Path) -> dict[str, Any]:
    """As report.json has it: "neighbours", "alike", "map", "excerpts", "files".

    Args:
        found: whose they are.
        data: where the samples come from; "files" are relative to it.
    """
    near = {when: nearest(found.among_nd[when], found.shown_md[when], NEAREST)[0] for when in _WHEN}
    same = {when: found.among_n[some] == found.shown_m[:, None] for when, some in near.items()}
    rows: list[dict[str, Any]] = []
    for at in np.linspace(0, len(found.shown) - 1, min(SHOWN, len(found.shown))).astype(int):
        row: dict[str, Any] = {"sample": found.shown[at].id}
        row |= {when: [found.among[i].id for i in near[when][at]] for when in _WHEN}
        if found.classes:
            row["same"] = {when: same[when][at].tolist() for when in _WHEN}
        rows.append(row)
    alike = {when: float(same[when].mean()) for when in _WHEN} if found.classes else None
    names = {n for row in rows for n in (row["sample"], *row["before"], *row["after"])}
    samples = [*found.shown, *found.among]
    excerpts = {
        sample.id: texts.excerpt(sample)["excerpt"]
        for sample in samples
        if sample.id in names and isinstance(sample.source, str)
    }
    files = {
        sample.id: file_of(sample, data)
        for sample in samples
        if sample.id in names and isinstance(sample.source, Path)
    }
    return {
        "neighbours": rows, "alike": alike, "map": _chart(found), "excerpts": excerpts,
        "files": files,
    }  # fmt: skip


def _chart(found: NeighbourMap) -> dict[str, Any]:
    """Samples on their first two principal axes; of many some, evenly: they lie class by class."""
    several = bool(found.classes)
    label_n = found.shown_m if several else np.concatenate([found.shown_m, found.among_n])
    some_n = np.linspace(0, len(label_n) - 1, min(MAPPED, len(label_n))).astype(int)
    drawn: dict[str, Any] = {
        "classes": list(found.classes),
        "labels": label_n[some_n].tolist(),
    }
    for when in _WHEN:
        x_nd = found.shown_md[when]
        if not several:
            x_nd = np.concatenate([x_nd, found.among_nd[when]])
        x_nd = unit(x_nd[some_n])
        x_nd = x_nd - x_nd.mean(axis=0)
        axes, lengths, _ = np.linalg.svd(x_nd, full_matrices=False)
        drawn[when] = np.round(axes[:, :2] * lengths[:2], 4).tolist()
    return drawn
