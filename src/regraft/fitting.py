"""The inside of `fit`: the ground that rungs stand on, and what is done when the climb is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from regraft import reporting
from regraft.dataset import Dataset
from regraft.errors import UsageError
from regraft.events import Tell
from regraft.labelling.consensus import beside_people
from regraft.labelling.lessons import Mode, Spoken, effect, set_aside, soft_targets
from regraft.reporting import content
from regraft.store import Outcome, Run
from regraft.tasks import measure
from regraft.tasks.classification import IMBALANCED, Classification
from regraft.transfer import ladder
from regraft.transfer.engine import TRIAL_SAMPLES, Engine, Preparation
from regraft.transfer.few_labels import few_labels, refitted
from regraft.transfer.model import save
from regraft.transfer.words import decisive_words


def check_modality(ground: ladder.Ground) -> None:
    """Refuse, before anything is computed, a backbone that reads other things than these data."""
    wanted = ground.dataset.task.partition("-")[0]
    if ground.backbone.modality != wanted:
        raise UsageError(
            f"{ground.backbone.name} is for {ground.backbone.modality}s, the data are {wanted}s",
            where="--backbone",
            mend="take one of that modality from `regraft backbones list`",
        )


def make_ground(
    run: Run,
    rows: Dataset,
    preparation: Preparation,
    seed: int,
    budget_s: float | None,
    tell: Tell,
) -> ladder.Ground:
    """Task, backbone and engines for these data."""
    counts = content.counts(rows, "train")
    ratio = max(counts) / max(1, min(counts))
    task = Classification(
        rows.task, rows.classes, rows.multilabel, not rows.multilabel and ratio >= IMBALANCED
    )
    some = rows.split("train")[:: max(1, len(rows.split("train")) // TRIAL_SAMPLES)]
    engines: dict[int, Engine] = {}

    def engine(frozen: int) -> Engine:
        if frozen not in engines:
            engines[frozen] = preparation.engine(frozen, some[:TRIAL_SAMPLES])
        return engines[frozen]

    return ladder.Ground(run, rows, preparation.backbone(), task, engine, seed, budget_s, tell)


def taught(
    ground: ladder.Ground, said: Spoken, mode: Mode
) -> tuple[ladder.Ground, list[dict[str, Any]]]:
    """The ground with what is learnt from; and the likely errors that were set aside."""
    if mode == "clean":
        return set_aside(ground, said)
    return replace(ground, soft=soft_targets(said)) if mode == "soft" else ground, []


def label_facts(
    before: ladder.Ground, climbed: ladder.Climbed, said: Spoken, mode: Mode, aside: int
) -> dict[str, Any] | None:
    """What was done about labels and whether it helped; None where nothing was."""
    reviewed = len(said.verdicts)
    if mode == "given":
        text = f"{reviewed:,} labels were reviewed by people."
        return {"mode": mode, "reviewed": reviewed, "text": text} if reviewed else None
    divided = soft_targets(said, "valid") if mode == "soft" else {}
    facts = effect(before, climbed, mode, divided)
    if mode == "clean":
        facts["text"] = (
            f"{aside:,} training labels were set aside as likely errors. {facts['text']}"
        )
    return {"mode": mode, "reviewed": reviewed, "set_aside": aside} | facts


def finish(
    ground: ladder.Ground,
    climbed: ladder.Climbed,
    compare: str | None,
    question: dict[str, Any],
    said: Spoken,
) -> dict[str, Any]:
    """Calibrate, test once, save the model, and put the report together."""
    is_text = ground.task.name == "text-classification"
    best, task = refitted(ground, climbed.best) if is_text else climbed.best, ground.task
    valid, test = ground.dataset.split("valid"), ground.dataset.split("test")
    target_nc = task.targets(valid)
    temperature = task.fit_temperature(best.valid_logits_nc, target_nc)
    tested = _test(ground, best) if test else None
    penalty = climbed.steps[0].facts["penalty"]
    curve = ladder.label_curve(ground, penalty)
    twin = None
    if is_text:
        twin = ladder.tfidf(ground, climbed)
    elif compare == "scratch":
        twin = ladder.scratch(ground, climbed)
    judged = (test, tested.tensors["logits"]) if tested else (valid, best.valid_logits_nc)
    report: dict[str, Any] = {
        "task": task.name,
        "data": content.data_facts(ground.dataset) | content.truncated(ground),
        "backbone": content.provenance(ground),
        "rungs": list(climbed.entries),
        "best": best.facts["name"],
        "refitted_on": best.facts.get("refitted_on"),
        "test": tested.facts["metric"] if tested else None,
        "scratch": twin[0] if twin else None,
        "label_curve": curve,
        "forecast": ladder.forecast(curve),
        "savings": content.savings(climbed, twin[0] if twin else None, curve),
        "calibration": content.calibration(
            task, temperature, *judged, "test" if tested else "valid"
        ),
        "confusion": {"split": "valid", **content.confusion(task, best.valid_logits_nc, target_nc)},
        "imbalance": content.imbalance(ground),
        "plan": list(climbed.plan),
        "engine": ground.engine(best.frozen).to_json(),
        "environment": content.environment(),
        "reproduce": content.command(question, ground.run.folder),
        "seed": ground.seed,
        "seconds": sum(e["seconds"]["total"] for e in climbed.entries if e["seconds"]),
    }
    report |= content.galleries(task, valid, best.valid_logits_nc, target_nc, temperature)
    if said.judged_votes is not None:
        report["people"] = beside_people(
            said.judged_votes,
            [sample.id.removeprefix(said.prefix) for sample in judged[0]],
            task.classes,
            task.probabilities(judged[1]),
            seed=ground.seed,
        )
    if is_text:
        report["few_labels"] = few_labels(ground)
        name_words(ground, best, report)
    report["verdict"] = content.verdict(report)
    facts = {"metric": best.facts["metric"], "rung": best.facts["name"], "test": report["test"]}
    save(ground, best, temperature, facts)
    return report


def name_words(ground: ladder.Ground, best: ladder.Step, report: dict[str, Any]) -> None:
    """Add to the texts that the report shows which words their answers hang on."""
    shown: list[dict[str, Any]] = [*report["most_wrong"], *report["least_certain"]]
    known = {sample.id: sample for sample in ground.dataset.split("valid")}
    names = list(dict.fromkeys(entry["sample"] for entry in shown))
    words = decisive_words(ground, best, [known[name] for name in names])
    by_name = dict(zip(names, words, strict=True))
    for entry in shown:
        entry["words"] = by_name[entry["sample"]]


def _test(ground: ladder.Ground, best: ladder.Step) -> Outcome:
    """The chosen rung on the test split, once."""
    test = ground.dataset.split("test")

    def compute() -> Outcome:
        _, logits_nc = ladder.final_answers(ground, best, test)
        score = ground.task.score(logits_nc, ground.task.targets(test))
        metric = measure.estimate(ground.task.metric_name, score, ground.weights(test))
        return Outcome({"metric": metric.to_json()}, {"logits": logits_nc.astype(np.float32)})

    inputs: dict[str, Any] = {
        "data": ground.dataset.fingerprint(),
        "backbone": ground.backbone.sha256,
        "rung": {key: best.facts[key] for key in ("name", "frozen_stages")},
        **({"refitted": True} if "refitted_on" in best.facts else {}),
        "seed": ground.seed,
    }
    return ground.run.step("test", inputs, compute)


def write(ground: ladder.Ground, report: dict[str, Any]) -> None:
    """Commit report.json and report.html."""
    reporting.write(ground.run.folder, report, content.thumbnails(ground.dataset.path, report))
