"""Everything about the labels of a data set, from the votes to the likely errors.

Votes alone give agreement and consensus. Where there are files, each is seen by a frozen network
once (and kept), and the labels are judged by probes on its vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from regraft import dataset as data_sets
from regraft.dataset import Dataset
from regraft.errors import MissingExtra
from regraft.events import Tell, silent
from regraft.labelling import agreement, consensus, findings
from regraft.labelling.decisions import Journal, journal_of, reviewed
from regraft.labelling.likely_errors import LEAST, Judged, judge
from regraft.labelling.reader import reader_for
from regraft.labelling.share import wrong_share
from regraft.labelling.votes import Scale, Votes, is_votes, read_votes
from regraft.tasks.classification import Classification
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
from regraft.transfer.features import features

_TRIAL = 64

Facts = dict[str, Any]


@dataclass(frozen=True)
class Surveyed:
    """What was found, and what it was found in.

    Attributes:
        facts: what `regraft labels --json` prints.
        given: the data with the labels that they came with; None where no files are named.
        dataset: the data with labels as reviewers changed them.
        judged: None where there was too little to judge.
    """

    facts: Facts
    given: Dataset | None = None
    dataset: Dataset | None = None
    judged: Judged | None = None


def survey(
    data: Path,
    backbone: str,
    *,
    scale: Scale | None = None,
    seed: int = 0,
    max_bad: float = 0.01,
    tell: Tell = silent,
) -> Facts:
    """See `regraft.verbs.labels`."""
    return surveyed(data, backbone, scale=scale, seed=seed, max_bad=max_bad, tell=tell).facts


def surveyed(
    data: Path,
    backbone: str,
    *,
    scale: Scale | None = None,
    seed: int = 0,
    max_bad: float = 0.01,
    tell: Tell = silent,
) -> Surveyed:
    """The facts of `survey`, with the data that they are about."""
    if find_spec("cleanlab") is None or find_spec("crowdkit") is None:
        raise MissingExtra(
            "This needs the packages cleanlab and crowd-kit.", mend="pip install 'regraft[labels]'"
        )
    votes = read_votes(data, scale=scale) if is_votes(data) else None
    reader = reader_for(data)
    found = _of_votes(votes, seed)
    if votes is not None and reader is None:
        why = "The table names no files, so only the votes were looked at."
        return Surveyed(found | _nothing_judged(why))
    given = data_sets.read_all(data, max_bad=max_bad, reader=reader, tell=tell)
    dataset, verdicts = reviewed(given, Journal(journal_of(data)))
    found["reviewed"] = len(verdicts)
    if len(dataset) < LEAST or len(dataset.classes) < 2:
        why = f"Too few samples or classes to judge labels: it takes {LEAST} and 2."
        return Surveyed(found | _nothing_judged(why), given, dataset)
    judged = _judged(dataset, backbone, seed, tell)
    kept = {name for name, verdict in verdicts.items() if verdict.action != "divided"}
    found |= _of_labels(dataset, judged, kept, seed)
    if votes is not None:
        found["beside_people"] = _beside_people(votes, dataset, judged, seed)
    return Surveyed(found, given, dataset, judged)


def _nothing_judged(why: str) -> Facts:
    return {
        "likely_errors": [],
        "share": None,
        "outliers": [],
        "same_classes": [],
        "not_judged": why,
    }


def _of_votes(votes: Votes | None, seed: int) -> Facts:
    """What votes alone tell."""
    nothing: Facts = {"agreement": None, "consensus": None, "ceiling": None, "beside_people": None}
    nothing["reviewed"] = 0
    if votes is None:
        return nothing
    ceiling = consensus.ceiling(votes, seed=seed)
    return nothing | {
        "agreement": {
            "scale": votes.scale,
            "votes": len(votes),
            "samples": len(votes.samples),
            "annotators": len(votes.annotators),
            "alpha": agreement.alpha(votes, seed=seed).to_json(),
            "fleiss": agreement.fleiss(votes),
            "classes": agreement.per_class(votes, seed),
            "people": consensus.per_annotator(votes),
            "pairs": agreement.per_pair(votes),
            "divided": agreement.divided(votes),
        },
        "consensus": consensus.summary(consensus.consensus(votes)),
        "ceiling": ceiling.to_json() if ceiling else None,
    }


def _judged(dataset: Dataset, backbone: str, seed: int, tell: Tell) -> Judged:
    """Probes on the vectors of a frozen network, through the cache."""
    task = Classification(dataset.task, dataset.classes, dataset.multilabel)
    with prepare(backbone, tell=tell) as preparation:
        described = preparation.backbone()
        frozen = len(described.stages)
        engine = preparation.engine(frozen, dataset.samples[:_TRIAL])
        table = features(dataset.samples, Cut(described, frozen), engine, tell=tell)

        def rows(some: np.ndarray) -> np.ndarray:
            return table.rows(some)[0]

        return judge(
            rows,
            task.targets(dataset.samples),
            [sample.group for sample in dataset],
            exclusive=not dataset.multilabel,
            seed=seed,
            tell=tell,
        )


def _of_labels(dataset: Dataset, judged: Judged, kept: set[str], seed: int) -> Facts:
    """What the probes tell; what reviewers have settled is no longer suspected."""
    share = None
    if not dataset.multilabel:
        given_n = np.array([sample.target for sample in dataset], dtype=np.int64)
        share, _ = wrong_share(given_n, (judged.first_nc, judged.chance_nc), seed=seed)
    return {
        "likely_errors": [
            {
                "sample": dataset.samples[one.row].id,
                "given": findings.given(dataset, dataset.samples[one.row]),
                "suggested": one.suggested,
                "score": one.score,
                "reason": one.reason,
            }
            for one in findings.likely_errors(dataset, judged)
            if dataset.samples[one.row].id not in kept
        ],
        "share": share.to_json() if share else None,
        "outliers": findings.outliers(dataset, judged),
        "same_classes": findings.same_classes(dataset, judged),
        "not_judged": "",
    }


def _beside_people(votes: Votes, dataset: Dataset, judged: Judged, seed: int) -> Facts | None:
    """The probes' out-of-sample answers against the people, on the same samples."""
    row = {sample.id: n for n, sample in enumerate(dataset)}
    column = {name: c for c, name in enumerate(dataset.classes)}
    chance_uc = np.full((len(votes.samples), len(votes.classes)), np.nan)
    for u, name in enumerate(votes.samples):
        if name in row:
            chance_c = judged.first_nc[row[name]]
            chance_uc[u] = [chance_c[column[k]] if k in column else 0.0 for k in votes.classes]
    return consensus.against_people(votes, chance_uc, seed=seed)
