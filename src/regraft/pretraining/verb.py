"""`pretrain`: what every objective shares, from the command to the backbone that `fit` climbs.

Read the judge and the pool, keep the judge's copies out of the pool, train in a memoised step,
judge start against result on labels that neither saw, publish the backbone, write the report.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft import dataset as data_sets
from regraft import reporting, store
from regraft.backbones import RANDOM, Backbone, open_backbone
from regraft.dataset import Dataset, Reader, Sample
from regraft.defaults import MAX_BAD
from regraft.errors import UsageError
from regraft.events import Said, Tell, silent
from regraft.labelling.reader import AnyReader
from regraft.pretraining import beside, neighbours, objectives
from regraft.pretraining.facts import judged, told, unjudged
from regraft.pretraining.judge import Evaluator
from regraft.pretraining.judge_tuned import fine_tuned
from regraft.pretraining.objective import Objective
from regraft.pretraining.settings import FEW_STEPS, AnySettings
from regraft.pretraining.setup import Setup
from regraft.seeds import generator
from regraft.store import Outcome, Run
from regraft.transfer.cut import frozen_stages
from regraft.transfer.rungs import check_budget
from regraft.transfer.twin import check_compare
from regraft.wording import plural

if TYPE_CHECKING:
    from regraft.backbones import Network


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
    compare: str | None = None,
    settings: AnySettings | None = None,
    control: bool = False,
    seed: int = 0,
    max_bad: float = MAX_BAD,
    columns: str | None = None,
    tell: Tell = silent,
) -> Pretrained:
    """Train a backbone on samples without labels; the result is a backbone.

    Args:
        data: a folder of any shape with pictures, or with videos; or texts: a folder, a table or
            a text file.
        out: the run's folder; "<data>-pretrained" by default.
        objective: "contrastive" or "masked-language".
        backbone: to start from, as for `fit`; "random:ARCH" starts from random weights.
        judge: labelled data, as for `fit`: measures progress on its valid split, and start against
            result on its test split.
        train: "all" or "last:K"; what lies before keeps its weights and statistics.
        budget: seconds of training, above 0.
        compare: "scratch" trains the same network from random weights too, for as many steps.
        settings: of the objective.
        control: train as many steps without what the objective adds, and compare: of clips, on
            same moments. Other objectives have none.
        seed: of every random choice.
        max_bad: share of unreadable files that are set aside before it is an error.
        columns: of tables of texts, as for `fit`; they hold for the judge's table, too, where it
            has them.
        tell: listens to events.

    Raises:
        UsageError: an option is wrong, or `out` holds another run.
        DataError: the pool or the judge cannot be used.
        TrainingFailed: the loss or a gradient is not finite, or it is of no use to go on.
    """
    reads = None if columns is None else data_sets.reader_of(columns)
    if reads is not None:
        if judge is None:
            data_sets.check_columns(reads, Path(data))
        settings = objectives.with_column(objective, settings, reads.text)
    chosen = objectives.choose(objective, Path(data), settings)
    folder = Path(out) if out is not None else store.folder_beside(Path(data), "pretrained")
    question: dict[str, Any] = {
        "data": str(Path(data).resolve()),
        "objective": objective,
        "backbone": chosen.starting_from(backbone),
        "judge": str(Path(judge).resolve()) if judge else None,
        "train": train,
        "budget": budget,
        "compare": compare,
        # The column of a table stands below, where one was named.
        "settings": {k: v for k, v in asdict(chosen.settings).items() if k != "column"},
        "control": control,
        "seed": seed,
        "max_bad": max_bad,
    } | ({} if columns is None else {"columns": columns})
    _check_control(control, judge, chosen)
    check_budget(budget)
    if train == "head":
        raise UsageError("nothing would be trained", where="--train", mend="use all or last:K")
    check_compare(compare)
    with Run.open(folder, question, tell=tell) as run:
        start = open_backbone(question["backbone"], tell=tell)
        start.check_reads(chosen.modality, f"{chosen.name} here trains on {chosen.modality}s")
        _check_gives_vectors(start)
        _check_twin(start, compare)
        start = chosen.sized(start)
        frozen = frozen_stages(train, len(start.stages))
        labelled = _judge(judge, chosen, question, reads, tell)
        pool = chosen.read(Path(data), _measured_on(labelled), max_bad, tell)
        _tell_leaks(pool, tell)
        evaluator = None if labelled is None else Evaluator(labelled, start, seed)
        report = _learn(Setup(run, question, chosen, start, frozen, pool, evaluator, tell))
    return Pretrained(folder, report)


def _check_control(control: bool, judge: str | Path | None, objective: Objective) -> None:
    if control and judge is None:
        raise UsageError(
            "there is nothing to compare by",
            where="--control",
            mend="add --judge with labelled samples",
        )
    if control and objective.control() is None:
        raise UsageError(
            f"{objective.name} on {objective.modality}s, set like this, has no control",
            where="--control",
            mend="leave it out; of clips it is for --pairs halves",
        )


def _check_gives_vectors(start: Backbone) -> None:
    if start.detector is not None:
        raise UsageError(
            f"{start.name} finds objects; pre-training is for networks that give one vector",
            where="--backbone",
            mend="take another from `regraft backbones list`",
        )


def _check_twin(start: Backbone, compare: str | None) -> None:
    if compare == "scratch" and start.source == RANDOM:
        raise UsageError(
            f"{start.name} is random weights already: there is nothing to compare",
            where="--compare",
            mend="leave it out; --judge compares start and result",
        )


def _judge(
    judge: str | Path | None,
    objective: Objective,
    question: dict[str, Any],
    reads: Reader | None,
    tell: Tell,
) -> Dataset | None:
    if judge is None:
        return None
    reader = data_sets.reader_for(Path(judge), reads) or AnyReader()
    has_clips = data_sets.guess_task(Path(judge)) == "video-classification"
    clip_s = objective.clip_s if has_clips else None
    labelled = data_sets.read(
        judge, max_bad=question["max_bad"], seed=question["seed"], clip_s=clip_s, reader=reader,
        tell=tell,
    )  # fmt: skip
    if labelled.multilabel:
        raise UsageError(
            "a judge has one label for each sample",
            where="--judge",
            mend="give a folder of classes, or a table with one label in each row",
        )
    if labelled.modality != objective.modality:
        raise UsageError(
            f"the judge is data for {labelled.task}; {objective.name} here trains on "
            f"{objective.modality}s",
            where="--judge",
            mend=f"give labelled {objective.modality}s",
        )
    count = sum(problem.kind != "votes" for problem in labelled.problems)
    if count:
        tell(Said(f"{plural(count, 'problem')} found in the judge's data: see the report"))
    return labelled


def _measured_on(labelled: Dataset | None) -> list[Sample]:
    if labelled is None:
        return []
    return [sample for sample in labelled if sample.split in ("valid", "test")]


def _tell_leaks(pool: Dataset, tell: Tell) -> None:
    leaks = [problem.done for problem in pool.problems if problem.kind == "leak"]
    if leaks:
        said = f"{plural(len(leaks), 'sample')} of the pool are or hold copies of the judge's"
        tell(Said(f"{said}: {leaks[0]}"))


def _learn(setup: Setup) -> dict[str, Any]:
    from regraft.backbones import build
    from regraft.pretraining import learning

    start, evaluator = setup.start, setup.evaluator
    course = learning.Course(
        setup.run, "pretrain", setup.inputs, evaluator.probe if evaluator else None
    )

    def compute() -> Outcome:
        return learning.learn(setup.objective, setup.job(), course)

    learnt = setup.run.step("pretrain", setup.inputs, compute)
    own, extra = learning.parted(learnt.tensors)
    network = build(start)
    before, seen_before = evaluator.evaluate(network) if evaluator else None, _seen(setup, network)
    beside.fill_in(network, own)
    result = _publish(setup, network, extra)
    after = evaluator.evaluate(network) if evaluator else None
    facts: dict[str, Any] = learnt.facts
    report = unjudged(setup, facts)
    vain: list[str] = []
    if setup.question["compare"] == "scratch":
        report["scratch"] = beside.to_its_end(
            setup,
            "The network from random weights",
            vain,
            lambda: beside.scratch(setup, facts, after),
        )
    seen_after = _seen(setup, network)
    if seen_before is not None and seen_after is not None:
        seen = {"before": seen_before, "after": seen_after}
        report |= neighbours.facts(neighbours.of_pool(_shown(setup), seen), setup.pool.path)
    if evaluator is not None and before is not None and after is not None:
        tuned = None
        if report["steps"] >= FEW_STEPS:
            backbones, budget_s = (start, result), setup.question["budget"]
            tuned = fine_tuned(setup.run, evaluator, backbones, budget_s, setup.tell)
        report |= judged(evaluator, before, after, tuned, report["steps"])
        control = setup.objective.control() if setup.question["control"] else None
        if control is not None:
            report["control"] = beside.to_its_end(
                setup,
                "The control",
                vain,
                lambda: beside.control(setup, control, evaluator, facts, after),
            )
    report["verdict"] = told(setup, report, vain)
    reporting.write(setup.run.folder, report)
    return report


def _shown(setup: Setup) -> list[Sample]:
    """Some samples of the pool."""
    pool = setup.pool.samples
    order_n = generator(setup.seed, "shown").permutation(len(pool))
    return [pool[i] for i in order_n[: neighbours.MAPPED]]


def _seen(setup: Setup, network: Network) -> np.ndarray | None:
    """What a network makes of them; None where a judge's are looked at instead, and of texts."""
    if setup.evaluator is not None or setup.objective.modality == "text":
        return None
    return neighbours.Embedder(setup.start).features(network, _shown(setup))


def _publish(setup: Setup, network: Network, extra: dict[str, np.ndarray]) -> Backbone:
    """Write RUN/backbone, which `--backbone RUN` opens; gives it."""
    import torch
    from safetensors.torch import save

    start, folder = setup.start, setup.run.folder
    own = {name: tensor.detach().contiguous() for name, tensor in network.tensors().items()}
    own |= {name: torch.from_numpy(array.copy()) for name, array in extra.items()}
    weights = save(own)
    source = f"{start.source}, pre-trained on {Path(setup.question['data']).name}"
    described = replace(start, name=str(folder), source=source, sha256=store.digest(weights))
    target = folder / "backbone" / "weights.safetensors"
    store.commit(target, weights)
    values: Any = described.to_json()
    store.commit_sealed(folder / "backbone" / "backbone.json", store.canonical(values))
    return replace(described, weights=target)
