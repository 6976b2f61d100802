"""What a run leaves to be used: `RUN/model/`, all that predicting needs, on another machine too.

`model.safetensors` holds every tensor of the backbone under its own name, the head as "head.*",
what a head of texts reads besides as "words.*" (`lexicon.py`), vectors of training samples as
"reference", and 64 bits of the checksum of each sample that it was fitted or chosen by as "seen":
who holds a sample can tell whether it was among them. `model.json` holds the rest and the
checksums.
A loaded model is a backbone with all stages frozen and a head, so it is served by the same
compiled engine that training used.

Shapes: n samples, m reference vectors, d width, c classes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft.backbones import Backbone, shelf
from regraft.dataset import Dataset, Sample
from regraft.errors import StoreError
from regraft.seeds import generator
from regraft.store import canonical, commit, digest, file_sha256
from regraft.tasks import Detection, restored
from regraft.tasks.boxes import BoxAnswers
from regraft.tasks.classification import Classification
from regraft.tasks.task import Task
from regraft.transfer.lexicon import Lexicon, reads_words

if TYPE_CHECKING:
    from torch import nn

    from regraft.transfer.ground import Ground
    from regraft.transfer.step import Step

FORMAT, FORMAT_WITH_WORDS = 2, 4
"""A head that reads words is not for those who know the second alone."""
_OTHER_WORDS = 3
"""Hashes of words that were found by a rule for scripts with spaces and accented letters alone."""
NEIGHBOURS = 5
REFERENCES = 2000
USUAL = 0.99
"""Share of held-out samples that count as like the training data."""


@dataclass(frozen=True)
class Model:
    """What was fitted.

    Attributes:
        folder: where it lies.
        backbone: with the weights of this model.
        task: classes and what outputs mean.
        head: its tensors, by the names of `Task.head`.
        lexicon: the words that a head of texts reads besides; None where it reads none.
        calibrated: what `Task.calibrate` set on held-out answers.
        reference_md: unit vectors of training samples.
        usual_distance: held-out samples were nearly always nearer than this.
        facts: the rest of model.json: how it was measured, licence, versions.
        seen_s: see `fingerprints`; None in models of older versions.
    """

    folder: Path
    backbone: Backbone
    task: Task[Any]
    head: dict[str, np.ndarray]
    lexicon: Lexicon | None
    calibrated: Mapping[str, Any]
    reference_md: np.ndarray
    usual_distance: float
    facts: dict[str, Any]
    seen_s: np.ndarray | None

    @property
    def classifier(self) -> Classification:
        """The task, where it is classification."""
        assert isinstance(self.task, Classification), self.task
        return self.task

    @property
    def temperature(self) -> float:
        """Divides a classifier's logits, so that probabilities are calibrated."""
        return self.calibrated["temperature"]

    def has_seen(self, samples: Sequence[Sample]) -> int | None:
        """How many of the samples it was fitted or chosen by; None where that was not kept."""
        return None if self.seen_s is None else int(self.seen(samples).sum())

    def seen(self, samples: Sequence[Sample]) -> np.ndarray:
        """Seen_n: whether it was fitted or chosen by a sample; false where that was not kept."""
        known_s = np.empty(0, np.int64) if self.seen_s is None else self.seen_s
        return np.isin(fingerprints(samples), known_s)

    def logits(self, x_nd: np.ndarray, texts: Sequence[str] = ()) -> np.ndarray:
        """Logits_nc, by a linear head.

        Args:
            x_nd: vectors that the backbone gave.
            texts: n of them, where they are of texts.
        """
        assert self.lexicon is None or len(texts) == len(x_nd), "a text for each vector"
        logits_nc = x_nd @ self.head["weight"].T + self.head["bias"]
        return logits_nc if self.lexicon is None else logits_nc + self.lexicon.logits(texts)

    def answers(self, x_nd: np.ndarray, texts: Sequence[str] = ()) -> list[dict[str, object]]:
        """Label, probability and likeness to the training data; arguments as for `logits`."""
        chance_nc = self.classifier.probabilities(self.logits(x_nd, texts), self.temperature)
        return [
            self.classifier.decode(chance_c) | likeness
            for chance_c, likeness in zip(chance_nc, self.likeness(x_nd), strict=True)
        ]

    @cached_property
    def _detector_head(self) -> nn.Module:
        """The head as a module, of a model that finds objects."""
        import torch

        head = self.task.head(self.backbone, 0, pretrained=False)
        head.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in self.head.items()})
        return head.eval()

    def find(self, values: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]) -> BoxAnswers:
        """The objects in pictures of these heights and widths, from what the backbone gave."""
        import torch

        assert isinstance(self.task, Detection), self.task
        with one_torch_thread(), torch.inference_mode():
            outputs = self._detector_head(*(torch.from_numpy(value) for value in values))
            return self.task.found(outputs, sizes)

    def likeness(self, x_nd: np.ndarray) -> list[dict[str, object]]:
        """How near each vector is to those of the training data."""
        return [
            {
                "unlike_training": bool(distance > self.usual_distance),
                "distance": round(float(distance), 6),
            }
            for distance in distances(x_nd, self.reference_md)
        ]


@contextmanager
def one_torch_thread() -> Generator[None]:
    """Keep torch on the thread that asks, for work that is small.

    An engine is at work on the next pictures meanwhile, on all cores. Torch's threads would wait
    for each other longer than they work: 100 pictures of NanoDet-g then took 3.7 times the
    processor time.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fingerprints(samples: Sequence[Sample]) -> np.ndarray:
    """64 bits of the checksum of each sample, which has been read, as int64."""
    words = [int(sample.sha256[:16], 16) for sample in samples]
    return np.array(words, dtype=np.uint64).view(np.int64)


def distances(x_nd: np.ndarray, reference_md: np.ndarray) -> np.ndarray:
    """Mean cosine distance to the nearest reference vectors (Sun et al. 2022), 0…2."""
    near = min(NEIGHBOURS, len(reference_md))
    distance_nm = 1 - _unit(x_nd) @ reference_md.T.astype(np.float32)
    return np.partition(distance_nm, near - 1, axis=1)[:, :near].mean(axis=1)


def save(
    ground: Ground,
    step: Step,
    calibrated: Mapping[str, Any],
    facts: dict[str, Any],
    given: Dataset,
) -> Path:
    """Write the model of a climbed rung. The same run gives the same bytes.

    Args:
        ground: of the climb.
        step: of the rung.
        calibrated: what `Task.calibrate` set.
        facts: the rest of model.json.
        given: the data before likely errors were set aside: what was judged by its label and left
            out for it is no fair test either.

    Returns:
        the folder `RUN/model`.
    """
    from safetensors.numpy import load_file
    from safetensors.numpy import save as to_bytes

    from regraft.transfer.step import final_vectors

    valid, some = ground.dataset.split("valid"), reference_samples(ground)
    x_nd = final_vectors(ground, step, [*some, *valid])
    reference_md = _unit(x_nd[: len(some)]).astype(np.float16)
    usual = float(np.quantile(distances(x_nd[len(reference_md) :], reference_md), USUAL))
    known = load_file(ground.backbone.weights)
    tensors = {name: known[name] for stage in ground.backbone.stages for name in stage.tensors}
    seen_s = np.unique(fingerprints([*given.split("train"), *given.split("valid")]))
    tensors |= step.weights | {"reference": reference_md, "seen": seen_s}
    folder = ground.run.folder / "model"
    weights = folder / "model.safetensors"
    folder.mkdir(exist_ok=True)
    # safetensors writes the memory behind an array as it lies. (ascontiguousarray would give a
    # single number an axis.)
    whole = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    commit(weights, to_bytes(whole))
    content: dict[str, Any] = (
        facts
        | ground.task.facts()
        | {
            "format": FORMAT_WITH_WORDS if reads_words(step.weights) else FORMAT,
            "calibrated": calibrated,
            "usual_distance": usual,
            "sha256": file_sha256(weights),
            "backbone": ground.backbone.to_json(),
        }
    )
    content["checksum"] = digest(canonical(content))
    commit(folder / "model.json", (json.dumps(content, indent=1) + "\n").encode())
    return folder


def reference_samples(ground: Ground) -> list[Sample]:
    """Training samples that others are compared with, drawn from all classes, in order."""
    train = ground.dataset.split("train")
    drawn = generator(ground.seed, "references").permutation(len(train))[:REFERENCES]
    return [train[i] for i in sorted(drawn)]


def load(run: str | Path) -> Model:
    """Open the model of a run.

    Args:
        run: the run's folder, or the `model` folder in it.

    Raises:
        StoreError: there is none, it is damaged, a newer regraft wrote it, or an earlier one to
            which words were something else.
        BackboneError: its network is made by code that nobody has named on this machine.
    """
    from safetensors.numpy import load_file

    folder = Path(run)
    folder = folder if (folder / "model.json").is_file() else folder / "model"
    content = _read(folder / "model.json")
    weights = folder / "model.safetensors"
    if not weights.is_file() or file_sha256(weights) != content["sha256"]:
        raise StoreError(
            "the model's weights are missing or damaged",
            where=weights,
            mend="repeat the fit command that made it, or copy the model folder again",
        )
    tensors = load_file(weights)
    backbone = shelf.handed_over(content["backbone"], weights)
    return Model(
        folder,
        backbone,
        restored(content, backbone.detector),
        {n.removeprefix("head."): a for n, a in tensors.items() if n.startswith("head.")},
        Lexicon.of(tensors),
        content["calibrated"],
        tensors["reference"],
        content["usual_distance"],
        content,
        tensors.get("seen"),
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        run = path.parent.parent
        if (run / "backbone" / "backbone.json").is_file():
            raise StoreError(
                "this is a pre-training; it has a backbone and no model",
                where=run,
                mend="fit one to labelled data: regraft fit DATA --backbone "
                + shlex.quote(str(run)),
            )
        if (run / "run.json").is_file():
            raise StoreError(
                "this run has no model yet: it was stopped before its end",
                where=run,
                mend="repeat the command that began it; what is done is kept",
            )
        what = "there is no model here" if run.is_dir() else "there is no such folder"
        if run.is_file():
            what = "this is a file; the folder of a run comes first, then what to look at"
        raise StoreError(what, where=run, mend="name the folder that fit wrote (--out)")
    try:
        content = json.loads(path.read_bytes())
        checksum = content.pop("checksum")
        sound = digest(canonical(content)) == checksum
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        sound, content = False, {}
    if not sound:
        raise StoreError(
            "the description of the model is damaged",
            where=path,
            mend="repeat the fit command that made it, or copy the model folder again",
        )
    if content["format"] == _OTHER_WORDS:
        raise StoreError(
            "the model knows words as an earlier regraft found them, and would miss some now",
            where=path,
            mend="repeat the fit command that made it",
        )
    if content["format"] not in (FORMAT, FORMAT_WITH_WORDS):
        raise StoreError(
            f"the model has format {content['format']}, this regraft reads {FORMAT} and "
            f"{FORMAT_WITH_WORDS}",
            where=path,
            mend="install the version of regraft that wrote it",
        )
    return content


def _unit(x_nd: np.ndarray) -> np.ndarray:
    x_nd = x_nd.astype(np.float32)
    return x_nd / np.maximum(np.linalg.norm(x_nd, axis=1, keepdims=True), 1e-12)


def split_labels(model: Model, classes: Sequence[str]) -> list[int]:
    """Where each of `classes` stands among the model's; -1 where the model does not know it."""
    place = {name: i for i, name in enumerate(model.task.classes)}
    return [place.get(name, -1) for name in classes]
