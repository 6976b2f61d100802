"""What report.json says of a pre-training, whatever its objective."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from regraft import dataset as data_sets
from regraft.dataset import Dataset
from regraft.dataset.rows import KEPT
from regraft.pretraining import judge as judging
from regraft.pretraining import neighbours
from regraft.pretraining.judge import Evaluator, ProbeResult
from regraft.pretraining.judge_tuned import Tuned
from regraft.pretraining.settings import FEW_STEPS
from regraft.pretraining.setup import Setup
from regraft.reporting import content, verdict
from regraft.reporting.pretrained import beside_references


def unjudged(setup: Setup, facts: dict[str, Any]) -> dict[str, Any]:
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


def judged(
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


def told(setup: Setup, report: dict[str, Any], vain: list[str]) -> dict[str, Any]:
    """The verdict with all that is to be read beside it; `vain` is what came of no training."""
    doubts: list[str] = []
    if report["judge"] is not None:
        doubts = [*verdict.doubts(report["judge"]["problems"]), _kept_copies(setup.pool)]
    said = [beside_references(report), report["verdict"]["text"], *doubts, *vain]
    return report["verdict"] | {"text": " ".join(filter(None, said))}


def _kept_copies(pool: Dataset) -> str:
    """What copies that were asked to stay say against the verdict; "" without any."""
    count = sum((problem.kind, problem.done) == ("leak", KEPT) for problem in pool.problems)
    if not count:
        return ""
    return (
        f"Copies of the judge's samples, {count:,} in the pool, were learnt from "
        "(--keep-duplicates): the score may be earned by memory."
    )
