"""`pretrain`: what every objective shares, from the command to the backbone that `fit` climbs.

Read the judge and the pool, keep the judge's copies out of the pool, train in a memoised step,
judge start against result on labels that neither saw, publish the backbone, write the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regraft import dataset as data_sets
from regraft import reporting, store
from regraft.backbones import RANDOM, Backbone, open_backbone
from regraft.dataset import Dataset, Reader, Sample
from regraft.defaults import MAX_BAD
from regraft.errors import TrainingFailed, UsageError
from regraft.events import Said, Tell, silent
from regraft.labelling.reader import AnyReader
from regraft.pretraining import judge as judging
from regraft.pretraining import neighbours, objectives
from regraft.pretraining.judge import Evaluator, ProbeResult
from regraft.pretraining.judge_tuned import Tuned, fine_tuned
from regraft.pretraining.objective import Control, Job, Objective
from regraft.pretraining.settings import FEW_STEPS, AnySettings
from regraft.reporting import content, verdict
from regraft.reporting.pretrained import beside_references
from regraft.seeds import generator
from regraft.store import Outcome, Run
from regraft.transfer.cut import frozen_stages
from regraft.transfer.rungs import check_budget
from regraft.transfer.twin import check_compare
from regraft.wording import percent, plural

if TYPE_CHECKING:
    from regraft.backbones import Network


FORMAT = 4
"""Raised where a training that was begun by an earlier rule must not be gone on with."""


@dataclass(frozen=True)
class Pretrained:
    """What `pretrain` gives back.

    Attributes:
        folder: the run: report.html, report.json, backbone/. `--backbone` accepts it.
        report: the content of report.json.
    """

    folder: Path
    report: dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """What a pre-training stands on.

    Attributes:
        run: where steps are memoised.
        question: all settings that decide the answer.
        objective: what is learnt.
        start: the backbone, sized.
        frozen: leading stages that stay as they are.
        pool: what is learnt from.
        evaluator: the judge's, or None.
        tell: who listens.
    """

    run: Run
    question: dict[str, Any]
    objective: Objective
    start: Backbone
    frozen: int
    pool: Dataset
    evaluator: Evaluator | None
    tell: Tell

    @property
    def seed(self) -> int:
        """Of every random choice."""
        return self.question["seed"]

    @property
    def inputs(self) -> dict[str, Any]:
        """What the outcome depends on."""
        return {
            "format": FORMAT,
            "objective": self.question["objective"],
            "pool": self.pool.fingerprint(),
            "judge": self.evaluator.dataset.fingerprint() if self.evaluator else None,
            "backbone": self.start.sha256,
            "frozen": self.frozen,
            "settings": asdict(self.objective.settings),
            "seed": self.seed,
            "budget": self.question["budget"],
        }

    def job(self, *, from_scratch: bool = False) -> Job:
        """What the objective is opened on."""
        inputs = {**self.inputs, "from_scratch": from_scratch}

        def memo(name: str, compute: Callable[[], Outcome]) -> Outcome:
            return self.run.step(name, inputs, compute)

        def shared_memo(name: str, compute: Callable[[], Outcome]) -> Outcome:
            return self.run.step(name, {}, compute)

        frozen = 0 if from_scratch else self.frozen  # what is random is not worth keeping
        return Job(
            self.start, frozen, self.pool.samples, self.seed, memo,
            self.question["budget"], from_scratch, self.tell, shared_memo,
        )  # fmt: skip


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
        pool = chosen.read(Path(data), _kept_apart(labelled, chosen.settings), max_bad, tell)
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


def _kept_apart(labelled: Dataset | None, settings: AnySettings) -> list[Sample]:
    if labelled is None or settings.keep_duplicates:
        return []
    return [sample for sample in labelled if sample.split in ("valid", "test")]


def _tell_leaks(pool: Dataset, tell: Tell) -> None:
    leaks = sum(problem.kind == "leak" for problem in pool.problems)
    if leaks:
        tell(Said(f"{leaks} samples of the pool are or hold copies of the judge's: left out"))


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
    _fill(network, own)
    result = _publish(setup, network, extra)
    after = evaluator.evaluate(network) if evaluator else None
    facts: dict[str, Any] = learnt.facts
    report = _facts(setup, facts)
    vain: list[str] = []
    if setup.question["compare"] == "scratch":
        report["scratch"] = _to_its_end(
            setup, "The network from random weights", vain, lambda: _scratch(setup, facts, after)
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
        report |= _judged(evaluator, before, after, tuned, report["steps"])
        control = setup.objective.control() if setup.question["control"] else None
        if control is not None:
            report["control"] = _to_its_end(
                setup,
                "The control",
                vain,
                lambda: _control(setup, control, evaluator, facts, after),
            )
    doubts = [] if evaluator is None else verdict.doubts(report["judge"]["problems"])
    said = [beside_references(report), report["verdict"]["text"], *doubts, *vain]
    report["verdict"] = report["verdict"] | {"text": " ".join(filter(None, said))}
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


def _to_its_end(
    setup: Setup, what: str, vain: list[str], train: Callable[[], dict[str, Any]]
) -> dict[str, Any] | None:
    """What a training beside the main one gives; None, and a sentence in `vain`, if it failed.

    Nothing that the main one has given is lost by that.
    """
    try:
        return train()
    except TrainingFailed as fault:
        reason = "; ".join(filter(None, (fault.what, fault.mend)))
        vain.append(f"{what} did not learn to the end, so nothing is said of it: {reason}.")
        setup.tell(Said(vain[-1]))
        return None


def _control(
    setup: Setup, control: Control, evaluator: Evaluator, main: dict[str, Any], after: ProbeResult
) -> dict[str, Any]:
    """As many steps of the control; what the objective adds to that.

    Args:
        setup: of both trainings.
        control: what is trained.
        evaluator: the judge's.
        main: what `learn` gave of the training with the objective itself.
        after: what the judge saw after that.
    """
    learnt = _beside(replace(setup, objective=control.objective), "control", main)
    found = _against(setup, evaluator, learnt, after)
    text = (
        f"The control, whose views {control.which}, has {percent(found['before']['value'])} "
        f"after as many steps; {control.adds} add {judging.gap(found)}."
    )
    return {**found, "text": text, "curves": learnt.facts["curves"]}


def _scratch(setup: Setup, main: dict[str, Any], after: ProbeResult | None) -> dict[str, Any]:
    """The same network, objective and steps from random weights; what the start adds to that.

    Args:
        setup: of both trainings.
        main: what `learn` gave of the training that began with the backbone's weights.
        after: what the judge saw after that; None without a judge.
    """
    learnt = _beside(setup, "scratch", main, from_scratch=True)
    facts: dict[str, Any] = learnt.facts
    kept = {key: facts[key] for key in ("steps", "seconds", "curves", "before", "after")}
    if setup.evaluator is None or after is None:
        return {**kept, "judged": None}
    found = _against(setup, setup.evaluator, learnt, after)
    text = (
        f"Pre-trained likewise from random weights, the network has "
        f"{percent(found['before']['value'])} after as many steps; the weights it began with add "
        f"{judging.gap(found)}."
    )
    return {**kept, "judged": {**found, "text": text}}


def _beside(
    setup: Setup, name: str, main: dict[str, Any], *, from_scratch: bool = False
) -> Outcome:
    """A training with the plan and the length of another; `main` is what `learn` gave of that."""
    from regraft.pretraining import learning

    course = learning.Course.beside(setup.run, name, setup.inputs, main)
    job = setup.job(from_scratch=from_scratch)
    return setup.run.step(name, course.inputs, lambda: learning.learn(setup.objective, job, course))


def _against(
    setup: Setup, evaluator: Evaluator, learnt: Outcome, after: ProbeResult
) -> dict[str, Any]:
    """The training that stood beside ("before") and the result ("after"), by the paired test."""
    from regraft.backbones import build
    from regraft.pretraining import learning

    network = build(setup.start)
    _fill(network, learning.parted(learnt.tensors)[0])
    return judging.compared(evaluator, evaluator.evaluate(network).logits_nc, after.logits_nc)


def _facts(setup: Setup, facts: dict[str, Any]) -> dict[str, Any]:
    """What report.json says of any pre-training; as yet not judged."""
    start, pool, question = setup.start, setup.pool, setup.question
    things = {"image": "pictures", "text": "texts", "video": "clips"}[setup.objective.modality]
    return {
        "task": pool.task,
        "objective": question["objective"],
        "data": {
            "path": question["data"],
            "things": things,
            "fingerprint": pool.fingerprint(),
            "samples": len(pool),
            "classes": [],
            "splits": _sizes(pool),
            "problems": _problems(pool),
        },
        "judge": None if setup.evaluator is None else {
            "path": str(setup.evaluator.dataset.path.resolve()),
            "fingerprint": setup.evaluator.dataset.fingerprint(),
            "splits": _sizes(setup.evaluator.dataset),
            "problems": _problems(setup.evaluator.dataset),
        },
        "backbone": {
            "name": start.name, "source": start.source, "sha256": start.sha256,
            "licence": start.licence, "parameters": start.parameters,
            "stages": [stage.name for stage in start.stages],
            "frozen_stages": setup.frozen, "frozen_intact": facts["frozen_intact"],
            "preprocessing": asdict(start.preprocessing),
        },
        "settings": asdict(setup.objective.settings)
        | {"seed": setup.seed, "budget_s": question["budget"], "train": question["train"]},
        **{key: facts[key] for key in ("steps", "stopped", "seconds", "throughput")},
        **{key: facts[key] for key in ("curves", "losses", "before", "after")},
        "rungs": [],
        "best": None,
        "test": None,
        "label_curve": [],
        "verdict": judging.not_judged(things),
        "control": None,
        "neighbours": [],
        "alike": None,
        "excerpts": {},
        "files": {},
        "map": None,
        "scratch": None,
        "environment": content.environment(),
    }  # fmt: skip


def _sizes(rows: Dataset) -> dict[str, int]:
    """Samples in each split."""
    return {name: len(rows.split(name)) for name in data_sets.SPLITS}


def _problems(rows: Dataset) -> list[dict[str, str]]:
    return [asdict(problem) for problem in rows.problems]


def _judged(
    evaluator: Evaluator,
    before: ProbeResult,
    after: ProbeResult,
    tuned: Tuned | None,
    steps: int,
) -> dict[str, Any]:
    """What the judge says; `tuned` is None after too few steps."""
    found = judging.verdict(evaluator, before, after, tuned)
    if tuned is None:
        text = (
            f"Pre-training took {steps} of the {FEW_STEPS} steps that it needs at least, so start "
            "and result were not fine-tuned."
        )
        found |= {"too_few_steps": True, "text": f"{text} {found['text']}"}
    return {
        "verdict": found,
        "test": found["after"] if found["split"] == "test" else None,
        **neighbours.facts(judging.neighbour_map(evaluator, before, after), evaluator.dataset.path),
    }


def _fill(network: Network, arrays: dict[str, np.ndarray]) -> None:
    import torch

    from regraft.backbones.network import fill

    fill(network, {n: torch.from_numpy(a.copy()) for n, a in arrays.items()}, "pretrain")


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
