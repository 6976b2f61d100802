"""The judge: labelled samples that say whether a pre-training helps.

A linear probe and nearest neighbours on the valid split follow a training; start against result on
the test split is the verdict, by the paired test that the ladder uses.

Legend: n samples, d dimensions, c classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from regraft import dataset as data_sets
from regraft.backbones import Backbone
from regraft.dataset import Dataset, Sample, View
from regraft.pretraining.quality import neighbour_labels, unit
from regraft.reporting import content
from regraft.reporting.drawing import jpeg
from regraft.seeds import generator
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.tasks.probe import Probe
from regraft.transfer.packing import stacked
from regraft.transfer.pictures import ReadAhead, look

if TYPE_CHECKING:
    from regraft.backbones import Network
    from regraft.pretraining.judge_tuned import Tuned

MAPPED = 500
"""Samples on the map of embeddings."""
PROBED = 1000
"""Samples of each split, at most, that the probe looks at while a training goes on."""
EXCERPT = 160
"""Characters of a text that is shown."""


@dataclass(frozen=True)
class Looked:
    """Features of the judge's samples, of all splits, and the probe's answers on the held ones."""

    x_nd: np.ndarray
    logits_nc: np.ndarray


@final
class Eye:
    """Looks at labelled samples with a network: nearest neighbours and a linear probe.

    The test split is looked at only by `look`, for the verdict.
    """

    def __init__(self, labelled: Dataset, backbone: Backbone, seed: int) -> None:
        self.dataset = labelled
        self.task = Classification(labelled.task, labelled.classes)
        self.seed = seed
        self.train, self.valid = labelled.split("train"), labelled.split("valid")
        self.test = labelled.split("test")
        self._backbone = backbone
        self._inputs: dict[str, np.ndarray] = {}

    @property
    def held(self) -> tuple[Sample, ...]:
        """What the verdict is measured on."""
        return self.test or self.valid

    def features(self, network: Network, samples: Sequence[Sample]) -> np.ndarray:
        """Vectors_nd of plain views, in float32 torch."""
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

    def probe(self, network: Network) -> dict[str, float]:
        """Accuracy on the valid split: a linear probe's and the nearest neighbours'."""
        train, valid = self._some(self.train), self._some(self.valid)
        x_nd = self.features(network, [*train, *valid])
        count = len(train)
        label_n = self._labels(train)
        logits_nc = self._fitted(train, x_nd[:count], x_nd[count:])
        near_n = neighbour_labels(x_nd[:count], label_n, x_nd[count:])
        held_n = self._labels(valid)
        return {
            "probe": float((logits_nc.argmax(axis=1) == held_n).mean()),
            "neighbours": float((near_n == held_n).mean()),
        }

    def look(self, network: Network) -> Looked:
        """Features of the train and held samples, and answers on the held ones."""
        x_nd = self.features(network, [*self.train, *self.held])
        count = len(self.train)
        return Looked(x_nd, self._fitted(self.train, x_nd[:count], x_nd[count:]))

    def _some(self, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        if len(samples) <= PROBED:
            return samples
        order_n = generator(self.seed, "probed", len(samples)).permutation(len(samples))
        return tuple(samples[i] for i in np.sort(order_n[:PROBED]))

    def _labels(self, samples: Sequence[Sample]) -> np.ndarray:
        return self.task.targets(samples).argmax(axis=1)

    def head(self, network: Network, samples: Sequence[Sample]) -> Probe:
        """A linear head on the frozen vectors of some labelled samples."""
        return self._head(samples, self.features(network, samples))

    def _head(self, samples: Sequence[Sample], x_nd: np.ndarray) -> Probe:
        groups = [sample.group for sample in samples]
        return self.task.fit_head(x_nd, self.task.targets(samples), groups, self.seed)

    def _fitted(
        self, samples: Sequence[Sample], x_nd: np.ndarray, held_md: np.ndarray
    ) -> np.ndarray:
        return self._head(samples, x_nd).logits(held_md)


def not_judged(things: str) -> dict[str, Any]:
    """The verdict of a pre-training without a judge."""
    text = f"Not judged; add --judge with labelled {things}."
    return {"answer": "not judged", "before": None, "after": None, "p": None, "text": text}


def verdict(eye: Eye, before: Looked, after: Looked, tuned: Tuned) -> dict[str, Any]:
    """Start against result, frozen and fine-tuned, by the paired test that the ladder uses.

    "answer", "before", "after" and "p" are those of the frozen networks; "fine_tuned" has the same
    of the fine-tuned ones.
    """
    frozen = compared(eye, before.logits_nc, after.logits_nc)
    moved = compared(eye, tuned.before_nc, tuned.after_nc) | tuned.facts
    text = (
        f"A linear head on the frozen result has {_said(frozen)}. Fine-tuned ({moved['steps']} "
        f"steps, {moved['samples']} samples) it has {_said(moved)}."
    )
    return {**frozen, "fine_tuned": moved, "text": text}


def _said(found: dict[str, Any]) -> str:
    first, last, gap = found["before"], found["after"], found["difference"]
    return (
        f"{100 * last['value']:.1f} % {last['name'].replace('_', ' ')} on the judge's "
        f"{found['split']} split, the start {100 * first['value']:.1f} %: {found['answer']} "
        f"({100 * gap['value']:+.1f} points, {100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}, "
        f"p = {found['p']:.3f})"
    )


def compared(eye: Eye, old_nc: np.ndarray, new_nc: np.ndarray) -> dict[str, Any]:
    """Two sets of answers on the held samples: the paired test, as report.json has it."""
    held = eye.held
    target_nc = eye.task.targets(held)
    weights_rn = measure.bootstrap_weights([sample.group for sample in held], eye.seed)
    old, new = (eye.task.score({"logits": logits_nc}, target_nc) for logits_nc in (old_nc, new_nc))
    gap = measure.compare(new, old, weights_rn)
    name = eye.task.metric_name
    answer = "helped" if gap.value > 0 else "hurt"
    if gap.p >= measure.NOISE:
        answer = "no difference"
    return {
        "answer": answer,
        "before": measure.estimate(name, old, weights_rn).to_json(),
        "after": measure.estimate(name, new, weights_rn).to_json(),
        "p": gap.p,
        "difference": {"value": gap.value, "low": gap.low, "high": gap.high},
        "split": "test" if eye.test else "valid",
    }


def neighbours(
    eye: Eye, before: Looked, after: Looked, rows: int = 6, k: int = 5
) -> list[dict[str, Any]]:
    """The nearest training samples of some held ones, before and after."""
    count = len(eye.train)
    found: list[dict[str, Any]] = []
    for at in np.linspace(0, len(eye.held) - 1, min(rows, len(eye.held))).astype(int):
        row: dict[str, Any] = {"sample": eye.held[at].id}
        for name, seen in (("before", before), ("after", after)):
            alike = unit(seen.x_nd[:count]) @ unit(seen.x_nd[count + at][None])[0]
            row[name] = [eye.train[i].id for i in np.argsort(-alike, kind="stable")[:k]]
        found.append(row)
    return found


def chart(eye: Eye, before: Looked, after: Looked) -> dict[str, Any]:
    """Held samples on their first two principal axes, before and after."""
    label_n = eye.task.targets(eye.held).argmax(axis=1)[:MAPPED]
    drawn: dict[str, Any] = {"classes": list(eye.task.classes), "labels": label_n.tolist()}
    for name, seen in (("before", before), ("after", after)):
        x_nd = unit(seen.x_nd[len(eye.train) :][:MAPPED])
        x_nd = x_nd - x_nd.mean(axis=0)
        axes, lengths, _ = np.linalg.svd(x_nd, full_matrices=False)
        drawn[name] = np.round(axes[:, :2] * lengths[:2], 4).tolist()
    return drawn


def excerpts(eye: Eye, shown: list[dict[str, Any]]) -> dict[str, str]:
    """The beginnings of the texts among some samples, by id."""
    names = _named(shown)
    return {
        sample.id: " ".join(sample.source.split())[:EXCERPT]
        for sample in eye.dataset
        if sample.id in names and isinstance(sample.source, str)
    }


def thumbnails(eye: Eye, shown: list[dict[str, Any]]) -> dict[str, bytes]:
    """Small JPEGs of the pictures among some samples, and film strips of the clips, by id."""
    names = _named(shown)
    found: dict[str, bytes] = {}
    for sample in eye.dataset:
        if sample.id not in names or not isinstance(sample.source, Path):
            continue
        if sample.span_s is not None:
            picture = content.film_strip(sample.source, sample.span_s, 56, 3)
        else:
            picture = data_sets.images.decode(sample.source)
            picture.thumbnail((72, 72))
        found[sample.id] = jpeg(picture, 80)
    return found


def _named(shown: list[dict[str, Any]]) -> set[str]:
    return {n for row in shown for n in (row["sample"], *row["before"], *row["after"])}
