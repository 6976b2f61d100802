"""`pretrain`: what every objective shares, from the command to the backbone that `fit` climbs.

Read the judge and the pool, keep the judge's copies out of the pool, train in a memoised step,
judge start against result on labels that neither saw, publish the backbone, write the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from regraft import dataset as data_sets
from regraft import store
from regraft.backbones import Backbone, open_backbone
from regraft.backbones.catalogue import DEFAULT
from regraft.dataset import Dataset, Sample, View
from regraft.errors import UsageError
from regraft.events import Said, Tell, silent
from regraft.pretraining.quality import neighbour_labels
from regraft.pretraining.settings import Settings
from regraft.reporting import pretrained as page
from regraft.store import Run
from regraft.tasks import measure
from regraft.tasks.classification import Classification
from regraft.transfer.cut import frozen_stages
from regraft.transfer.pictures import ReadAhead, look

if TYPE_CHECKING:
    from regraft.backbones import Network

OBJECTIVES = ("contrastive",)
NOISE = 0.05
MAPPED = 500
"""Samples on the map of embeddings."""


@dataclass(frozen=True)
class Pretrained:
    """What `pretrain` gives back.

    Attributes:
        folder: the run: report.html, report.json, backbone/. `--backbone` accepts it.
        report: the content of report.json.
    """

    folder: Path
    report: dict[str, Any]


def pretrain(
    data: str | Path,
    out: str | Path | None = None,
    *,
    objective: str = "contrastive",
    backbone: str | None = None,
    judge: str | Path | None = None,
    train: str = "all",
    budget: float | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    max_bad: float = 0.01,
    tell: Tell = silent,
) -> Pretrained:
    """Train a backbone on pictures without labels; the result is a backbone.

    Args:
        data: a folder of pictures of any shape.
        out: the run's folder; "<data>-pretrained" by default.
        objective: "contrastive".
        backbone: to start from, as for `fit`; "random:ARCH" starts from random weights.
        judge: labelled data, as for `fit`: measures progress on its valid split, and start against
            result on its test split.
        train: "all" or "last:K"; what lies before keeps its weights and statistics.
        budget: seconds of training.
        settings: batch, size of tiles and the rest.
        seed: of every random choice.
        max_bad: share of unreadable files that are set aside before it is an error.
        tell: listens to events.

    Raises:
        UsageError: an option is wrong, or `out` holds another run.
        DataError: the pool or the judge cannot be used.
        RegraftError: the loss is not finite, or the embeddings have collapsed.
    """
    if objective not in OBJECTIVES:
        raise UsageError(
            f"there is no objective {objective!r}", where="--objective", mend="use contrastive"
        )
    settings = settings or Settings()
    folder = Path(out) if out is not None else Path(f"{Path(data).resolve().stem}-pretrained")
    question: dict[str, Any] = {
        "data": str(Path(data).resolve()),
        "objective": objective,
        "backbone": backbone or DEFAULT,
        "judge": str(Path(judge).resolve()) if judge else None,
        "train": train,
        "budget": budget,
        "settings": asdict(settings),
        "seed": seed,
        "max_bad": max_bad,
    }
    with Run.open(folder, question, tell=tell) as run:
        start = open_backbone(backbone or DEFAULT, tell=tell)
        if train == "head":
            raise UsageError("nothing would be trained", where="--train", mend="use all or last:K")
        frozen = frozen_stages(train, len(start.stages))
        labelled = _judge(judge, max_bad, seed, tell)
        pool = data_sets.read_unlabelled(
            data, apart_from=_kept_apart(labelled, settings), max_bad=max_bad, tell=tell
        )
        if len(pool) < 4:
            raise UsageError("there are too few pictures", where=data, mend="give four or more")
        _tell_leaks(pool, tell)
        report = _learn(run, question, start, frozen, labelled, pool, settings, seed, budget, tell)
    return Pretrained(folder, report)


def _judge(judge: str | Path | None, max_bad: float, seed: int, tell: Tell) -> Dataset | None:
    if judge is None:
        return None
    labelled = data_sets.read(judge, max_bad=max_bad, seed=seed, tell=tell)
    if labelled.multilabel:
        raise UsageError(
            "a judge has one label for each picture",
            where="--judge",
            mend="give a folder of classes",
        )
    return labelled


def _kept_apart(labelled: Dataset | None, settings: Settings) -> list[Sample]:
    if labelled is None or settings.keep_duplicates:
        return []
    return [sample for sample in labelled if sample.split in ("valid", "test")]


def _tell_leaks(pool: Dataset, tell: Tell) -> None:
    leaks = sum(problem.kind == "leak" for problem in pool.problems)
    if leaks:
        tell(Said(f"{leaks} pictures of the pool are copies of the judge's: left out"))


def _learn(
    run: Run, question: dict[str, Any], start: Backbone, frozen: int, labelled: Dataset | None,
    pool: Dataset, settings: Settings, seed: int, budget: float | None, tell: Tell,
) -> dict[str, Any]:  # fmt: skip
    from regraft.backbones import build
    from regraft.pretraining import contrastive

    start = _sized(start, settings.size_px)
    eye = None if labelled is None else Eye(labelled, start, seed)
    inputs: dict[str, Any] = {
        "pool": pool.fingerprint(),
        "judge": labelled.fingerprint() if labelled else None,
        "backbone": start.sha256,
        "frozen": frozen,
        "settings": asdict(settings),
        "seed": seed,
        "budget": budget,
    }
    job = contrastive.Job(
        run, start, frozen, pool.samples, settings, seed, budget,
        eye.probe if eye else None, inputs, tell,
    )  # fmt: skip
    learnt = run.step("pretrain", inputs, lambda: contrastive.learn(job))
    network = build(start)
    before = _looked(eye, network)
    _fill(network, learnt.tensors)
    _publish(run.folder, start, network, str(question["data"]))
    after = _looked(eye, network)
    facts: dict[str, Any] = learnt.facts
    report: dict[str, Any] = {
        "objective": question["objective"],
        "data": {
            "path": question["data"],
            "fingerprint": pool.fingerprint(),
            "samples": len(pool),
            "problems": [asdict(problem) for problem in pool.problems],
        },
        "backbone": {
            "name": start.name, "source": start.source, "sha256": start.sha256,
            "licence": start.licence, "parameters": start.parameters,
            "stages": [stage.name for stage in start.stages],
            "frozen_stages": frozen, "frozen_intact": facts["frozen_intact"],
            "size_px": start.pictures.size_px,
        },
        "settings": asdict(settings)
        | {"seed": seed, "budget_s": budget, "train": question["train"]},
        "steps": facts["steps"],
        "stopped": facts["stopped"],
        "seconds": facts["seconds"],
        "images_per_second": facts["images_per_second"],
        "curves": facts["curves"],
        "losses": facts["losses"],
        "verdict": _verdict(eye, before, after, seed),
    }  # fmt: skip
    shown = _neighbours(eye, before, after)
    report["neighbours"], report["map"] = shown, _map(eye, before, after)
    page.write(run.folder, report, _thumbnails(eye, shown))
    return report


def _sized(backbone: Backbone, size_px: int | None) -> Backbone:
    """The same weights for pictures of another size."""
    if size_px in (None, backbone.pictures.size_px):
        return backbone
    from regraft.backbones.network import assemble, describe, fill, read_safetensors

    assert size_px is not None
    preprocessing = replace(backbone.pictures, size_px=size_px)
    network = assemble(backbone.recipe, preprocessing)
    fill(network, read_safetensors(backbone.weights), backbone.weights)
    return replace(backbone, preprocessing=preprocessing, stages=describe(network, preprocessing))


def _fill(network: Network, arrays: dict[str, np.ndarray]) -> None:
    import torch

    from regraft.backbones.network import fill

    fill(network, {n: torch.from_numpy(a.copy()) for n, a in arrays.items()}, "pretrain")


def _publish(folder: Path, start: Backbone, network: Network, pool: str) -> None:
    """Write RUN/backbone, which `--backbone RUN` opens."""
    from safetensors.torch import save

    own = {name: tensor.detach().contiguous() for name, tensor in network.tensors().items()}
    weights = save(own)
    source = f"{start.source}, pre-trained on {Path(pool).name}"
    described = replace(start, name=str(folder), source=source, sha256=store.digest(weights))
    store.commit(folder / "backbone" / "weights.safetensors", weights)
    values: Any = described.to_json()
    store.commit_sealed(folder / "backbone" / "backbone.json", store.canonical(values))


# The judge ----------------------------------------------------------------------------------------


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
        self.task = Classification("image-classification", labelled.classes)
        self.seed = seed
        self.train, self.valid = labelled.split("train"), labelled.split("valid")
        self.test = labelled.split("test")
        self._backbone = backbone
        self._pixels: dict[str, np.ndarray] = {}

    @property
    def held(self) -> tuple[Sample, ...]:
        """What the verdict is measured on."""
        return self.test or self.valid

    def features(self, network: Network, samples: Sequence[Sample]) -> np.ndarray:
        """Vectors_nd of plain views, in float32 torch."""
        import torch

        missing = [s for s in samples if s.sha256 not in self._pixels]
        with ReadAhead(lambda s: look(s, [View()], self._backbone)[0], missing, 64, 64) as ahead:
            for sample, pixels in zip(missing, ahead, strict=True):
                self._pixels[sample.sha256] = pixels
        found: list[np.ndarray] = []
        network.eval()
        with torch.inference_mode():
            for i in range(0, len(samples), 64):
                pixels = np.stack([self._pixels[s.sha256] for s in samples[i : i + 64]])
                found.append(network(torch.from_numpy(pixels)).numpy())
        return np.concatenate(found)

    def probe(self, network: Network) -> dict[str, float]:
        """Accuracy on the valid split: a linear probe's and the nearest neighbours'."""
        x_nd = self.features(network, [*self.train, *self.valid])
        count = len(self.train)
        label_n = self._labels(self.train)
        logits_nc = self._fitted(x_nd[:count], x_nd[count:])
        near_n = neighbour_labels(x_nd[:count], label_n, x_nd[count:])
        held_n = self._labels(self.valid)
        return {
            "probe": float((logits_nc.argmax(axis=1) == held_n).mean()),
            "neighbours": float((near_n == held_n).mean()),
        }

    def look(self, network: Network) -> Looked:
        """Features of the train and held samples, and answers on the held ones."""
        x_nd = self.features(network, [*self.train, *self.held])
        count = len(self.train)
        return Looked(x_nd, self._fitted(x_nd[:count], x_nd[count:]))

    def _labels(self, samples: Sequence[Sample]) -> np.ndarray:
        return self.task.targets(samples).argmax(axis=1)

    def _fitted(self, x_nd: np.ndarray, held_md: np.ndarray) -> np.ndarray:
        groups = [sample.group for sample in self.train]
        head = self.task.fit_head(x_nd, self.task.targets(self.train), groups, self.seed)
        return head.logits(held_md)


def _looked(eye: Eye | None, network: Network) -> Looked | None:
    return None if eye is None else eye.look(network)


def _verdict(
    eye: Eye | None, before: Looked | None, after: Looked | None, seed: int
) -> dict[str, Any]:
    """Start against result, frozen, by the paired test that the ladder uses."""
    if eye is None or before is None or after is None:
        text = "Not judged; add --judge with labelled pictures."
        return {"answer": "not judged", "before": None, "after": None, "p": None, "text": text}
    held = eye.held
    target_nc = eye.task.targets(held)
    weights_rn = measure.bootstrap_weights([sample.group for sample in held], seed)
    old, new = (eye.task.score({"logits": seen.logits_nc}, target_nc) for seen in (before, after))
    gap = measure.compare(new, old, weights_rn)
    answer = "no difference" if gap.p >= NOISE else "helped" if gap.value > 0 else "hurt"
    name = eye.task.metric_name
    first, last = (measure.estimate(name, score, weights_rn) for score in (old, new))
    split = "test" if eye.test else "valid"
    text = (
        f"A linear head on the frozen result has {100 * last.value:.1f} % {name} on the judge's "
        f"{split} split, on the start {100 * first.value:.1f} %: {answer} "
        f"({100 * gap.value:+.1f} points, {100 * gap.low:+.1f} to {100 * gap.high:+.1f}, "
        f"p = {gap.p:.3f}). Fine-tuned networks were not compared."
    )
    return {
        "answer": answer, "before": first.to_json(), "after": last.to_json(), "p": gap.p,
        "difference": {"value": gap.value, "low": gap.low, "high": gap.high},
        "split": split, "text": text,
    }  # fmt: skip


def _neighbours(
    eye: Eye | None, before: Looked | None, after: Looked | None, rows: int = 6, k: int = 5
) -> list[dict[str, Any]]:
    """The nearest training samples of some held ones, before and after."""
    if eye is None or before is None or after is None:
        return []
    from regraft.pretraining.quality import unit

    count = len(eye.train)
    found: list[dict[str, Any]] = []
    for at in np.linspace(0, len(eye.held) - 1, min(rows, len(eye.held))).astype(int):
        row: dict[str, Any] = {"sample": eye.held[at].id}
        for name, seen in (("before", before), ("after", after)):
            alike = unit(seen.x_nd[:count]) @ unit(seen.x_nd[count + at][None])[0]
            row[name] = [eye.train[i].id for i in np.argsort(-alike, kind="stable")[:k]]
        found.append(row)
    return found


def _map(eye: Eye | None, before: Looked | None, after: Looked | None) -> dict[str, Any] | None:
    """Held samples on their first two principal axes, before and after."""
    if eye is None or before is None or after is None:
        return None
    from regraft.pretraining.quality import unit

    label_n = eye.task.targets(eye.held).argmax(axis=1)[:MAPPED]
    drawn: dict[str, Any] = {"classes": list(eye.task.classes), "labels": label_n.tolist()}
    for name, seen in (("before", before), ("after", after)):
        x_nd = unit(seen.x_nd[len(eye.train) :][:MAPPED])
        x_nd = x_nd - x_nd.mean(axis=0)
        axes, lengths, _ = np.linalg.svd(x_nd, full_matrices=False)
        drawn[name] = np.round(axes[:, :2] * lengths[:2], 4).tolist()
    return drawn


def _thumbnails(eye: Eye | None, shown: list[dict[str, Any]]) -> dict[str, bytes]:
    import io

    if eye is None:
        return {}
    names = {n for row in shown for n in (row["sample"], *row["before"], *row["after"])}
    found: dict[str, bytes] = {}
    for sample in eye.dataset:
        if sample.id in names and isinstance(sample.source, Path):
            picture = data_sets.images.decode(sample.source)
            picture.thumbnail((72, 72))
            held = io.BytesIO()
            picture.save(held, "JPEG", quality=80)
            found[sample.id] = held.getvalue()
    return found
