"""What `fit` learns from: labels as given, as the votes divide (soft), or without likely errors.

Only what is learnt from changes. Validation and test are measured on the labels as they are:
a model must not choose what it is measured by. What reviewers decided (see `verdicts.py`) counts
everywhere, because people said it.

Whether it helped is measured on the head: fitted once on these training labels and once on the
labels as given, on the same validation samples.

Legend: n samples, d features, c classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regraft.dataset import Dataset, Problem
from regraft.errors import UsageError
from regraft.labelling import consensus, findings
from regraft.labelling.extra import require
from regraft.labelling.journal import Journal, journal_of
from regraft.labelling.likely_errors import judged_labels, why_not
from regraft.labelling.named import spoken_of
from regraft.labelling.reader import VotesReader, votes_on
from regraft.labelling.verdicts import Verdict, reviewed, settled
from regraft.labelling.votes import Votes
from regraft.store import Outcome
from regraft.tasks import Classification, measure
from regraft.transfer.ground import Facts, Ground, digest_of, head_facts, inputs_of
from regraft.transfer.ladder import Climbed

Mode = Literal["given", "soft", "clean"]
MODES: tuple[Mode, ...] = ("given", "soft", "clean")
LEAST_OF_CLASS = 5
"""So many labels of a class are learnt from, whatever is said about them."""


@dataclass(frozen=True)
class Spoken:
    """What people said about the data of a fit.

    Attributes:
        dataset: with labels as reviewers changed them.
        verdicts: of reviewers, by sample.
        votes: where the data are a table of votes.
        judged_votes: those on the split that the model is measured on.
        prefix: of that split's sample ids.
    """

    dataset: Dataset
    verdicts: Mapping[str, Verdict]
    votes: Votes | None
    judged_votes: Votes | None
    prefix: str = ""

    @property
    def reviewed(self) -> int:
        """How many of the samples reviewers had an opinion on."""
        return sum(sample.id in self.verdicts for sample in self.dataset)


def spoken(
    rows: Dataset,
    data: Path,
    valid: Path | None = None,
    test: Path | None = None,
    more: Path | None = None,
) -> Spoken:
    """Votes and decisions beside the data, and beside other data given for a split.

    Args:
        rows: as they were read.
        data: where from.
        valid: where the validation samples are from, if not from there.
        test: where the test samples are from, if not from there.
        more: where further training samples are from.
    """
    found: dict[str, Verdict] = {}
    others = ((valid, "valid:"), (test, "test:"), (more, "more:"))
    for path, prefix in ((data, ""), *others):
        if path is not None:
            rows, verdicts = reviewed(rows, Journal(journal_of(path)), prefix)
            found |= verdicts
    votes = votes_on(data)
    measured = next(((p, n) for p, n in ((test, "test:"), (valid, "valid:")) if p), None)
    if measured is None or (measured[1] == "valid:" and rows.split("test")):
        return Spoken(rows, found, votes, votes)
    return Spoken(rows, found, votes, votes_on(measured[0]), measured[1])


def check_mode(labels: str, data: Path, task: str) -> Mode:
    """The mode by its name.

    Raises:
        UsageError: there is none, or there are no votes to be soft by, or boxes are learnt.
        MissingExtra: a package that it needs is not installed.
    """
    mode: Mode | None = next((known for known in MODES if known == labels), None)
    if mode is None:
        raise UsageError(
            f"There are no labels {labels!r}.", where="--labels", mend=f"use {', '.join(MODES)}"
        )
    if mode != "given" and task == "object-detection":
        raise UsageError(
            "Boxes are learnt as they are given.",
            where=f"--labels {mode}",
            mend="leave it out; `regraft labels` says how far several people's boxes agree",
        )
    if mode == "soft" and not VotesReader().recognises(data):
        raise UsageError(
            "Soft labels are made of votes, and these data have none.",
            where="--labels soft",
            mend="give a table of votes (docs/labels.md), or take --labels given",
        )
    if wanted := {"clean": "cleanlab", "soft": "crowdkit"}.get(mode):
        require(wanted, what=f"--labels {mode} needs a package that is not installed.")
    return mode


def soft_targets(said: Spoken) -> dict[str, np.ndarray]:
    """Chances_c by sample id, of samples that somebody voted on; `fit` learns from those of train.

    They are the consensus' own: shares of the votes where it is a majority, else what the model of
    the people believes. What reviewers changed is as they said.
    """
    if said.votes is None:
        return {}
    changed = {name for name, verdict in said.verdicts.items() if verdict.action == "change"}
    return _chances(said, consensus.consensus(said.votes), changed)


def vote_shares(said: Spoken) -> dict[str, np.ndarray]:
    """How the votes divide, as `soft_targets` gives it, whatever the consensus makes of them.

    What reviewers settled is left out. Float64, in which a tie is decided by a hair.
    """
    if said.votes is None:
        return {}
    found = consensus.consensus(said.votes, "majority")
    return _chances(said, found, settled(said.verdicts), np.float64)


def _chances(
    said: Spoken, found: consensus.Consensus, without: Collection[str], dtype: type = np.float32
) -> dict[str, np.ndarray]:
    column = {name: c for c, name in enumerate(said.dataset.classes)}
    place = [column.get(name, -1) for name in found.classes]
    known = np.array([c >= 0 for c in place])
    row = {name: u for u, name in enumerate(found.samples)}
    called = spoken_of(row)
    soft: dict[str, np.ndarray] = {}
    for sample in said.dataset:
        name = called(sample.id)
        if name is None or sample.id in without:
            continue
        chance_c = np.zeros(len(column), dtype=dtype)
        chance_c[np.array(place)[known]] = found.chance_uc[row[name]][known]
        if found.multilabel:
            soft[sample.id] = chance_c
        elif chance_c.sum() > 0:
            soft[sample.id] = chance_c / chance_c.sum()
    return soft


def set_aside(ground: Ground, said: Spoken) -> tuple[Ground, list[Facts]]:
    """The ground without likely errors among the training samples, and what they are.

    They are found by probes that learn from training samples alone. The head keeps the penalty of
    all labels: those left agree with probes, so to cross-validation hardly any seems too small.

    Returns:
        the ground; and "sample", "given", "suggested", "score", "reason" of each.
    """
    train = ground.dataset.with_samples(ground.dataset.split("train"))
    if why_not(train):
        return ground, []

    sure = settled(said.verdicts)
    if said.votes is not None:
        sure |= consensus.upheld(said.votes, train)

    def compute() -> Outcome:
        frozen = len(ground.backbone.stages)
        table = ground.activations(train.samples, frozen)

        def rows(index: np.ndarray) -> np.ndarray:
            return table.rows(index)[0]

        judged = judged_labels(train, rows, seed=ground.seed, tell=ground.tell)
        errors: list[Any] = [
            one.facts(train) for one in findings.likely_errors(train, judged, sure)
        ]
        return Outcome({"errors": errors}, {})

    inputs = inputs_of(ground, {"settled": sorted(sure)})
    found: Any = ground.run.step("likely-errors", inputs, compute)
    errors = _sparing(train, found.facts["errors"])
    if not errors:
        return ground, []
    wrong = {error["sample"] for error in errors}
    kept = [s for s in ground.dataset if not (s.split == "train" and s.id in wrong)]
    problems = [
        Problem("likely-error", error["sample"], error["reason"], "left out") for error in errors
    ]
    dataset = ground.dataset.with_samples(kept).with_problems(problems)
    return replace(ground, dataset=dataset, penalty=_penalty(ground)), errors


def _penalty(ground: Ground) -> float:
    """What cross-validation chooses for the head, on plain views: they were looked at before."""
    plain, train = replace(ground, head_views=1), ground.dataset.split("train")

    def compute() -> Outcome:
        data, _, _ = plain.head_data(train, ())
        return Outcome({"penalty": data.fit(plain.task, plain.seed).penalty}, {})

    found: Any = plain.run.step("penalty", inputs_of(plain, head_facts(plain)), compute)
    return found.facts["penalty"]


def _sparing(train: Dataset, errors: list[Facts]) -> list[Facts]:
    """The errors, the likeliest first, without those that would leave a class nearly empty."""
    target = {sample.id: sample.target for sample in train}
    left: dict[int, int] = {}
    for one in target.values():
        for c in one if isinstance(one, tuple) else (one,):
            left[c or 0] = left.get(c or 0, 0) + 1
    kept: list[Facts] = []
    for error in errors:
        one = target[error["sample"]]
        classes = one if isinstance(one, tuple) else (one or 0,)
        if all(left[c] > LEAST_OF_CLASS for c in classes):
            kept.append(error)
            for c in classes:
                left[c] -= 1
    return kept


def effect(before: Ground, climbed: Climbed, mode: Mode, shares: Mapping[str, np.ndarray]) -> Facts:
    """Whether these training labels helped the head, against the labels as given or the majority's.

    Args:
        before: with the labels as given.
        climbed: on these training labels.
        mode: "soft" or "clean".
        shares: for soft labels, how the votes divide; see `vote_shares`.

    Returns:
        "gap", "low", "high", "p" (these labels less the others), "text"; "log_loss" against the
        votes for soft labels.
    """
    train, valid, task = before.dataset.split("train"), before.validation, before.task
    assert isinstance(task, Classification), task

    def compute() -> Outcome:
        data, held_nd, _ = before.head_data(train, valid.samples)
        target_nc = task.targets(train)
        for n, sample in enumerate(train):
            if sample.id in shares:
                target_nc[n] = _most(shares[sample.id], task.multilabel)
        plain = replace(data, target_nc=target_nc).fit(task, before.seed)
        return Outcome({}, {"logits": plain.logits(held_nd).astype(np.float32)})

    shared = {"shares": digest_of(dict(shares))} if shares else {}
    inputs = inputs_of(before, head_facts(before) | shared)
    step = before.run.step("head-as-given", inputs, compute)
    head = climbed.steps[0]
    gap = valid.compare(head.answers, step.tensors)
    helped = "made no difference beyond noise" if gap.p >= measure.NOISE else "helped"
    if gap.p < measure.NOISE and gap.value < 0:
        helped = "did harm"
    facts: Facts = {"gap": gap.value, "low": gap.low, "high": gap.high, "p": gap.p}
    facts["text"] = f"{_WHAT[mode]} {helped}: {gap.points} for the head (p = {gap.p:.3f})."
    held = valid.samples
    rows = np.array([n for n, sample in enumerate(held) if sample.id in shares], dtype=np.int64)
    if len(rows):
        share_nc = np.array([shares[held[n].id] for n in rows])
        before_n, after_n = (
            _log_loss(task.probabilities(logits_nc[rows]), share_nc, task.multilabel)
            for logits_nc in (step.tensors["logits"], head.answers["logits"])
        )
        facts["log_loss"] = {"given": before_n, "soft": after_n}
        facts["text"] += (
            f" How far its probabilities are from the votes (log-loss, the lower the better): "
            f"{after_n:.3f} with soft labels, {before_n:.3f} with those of the majority."
        )
    return facts


_WHAT = {
    "given": "Nothing",
    "soft": "Learning from how sure the votes are of each class, instead of their majority,",
    "clean": "Setting likely errors aside while learning",
}


def _most(share_c: np.ndarray, multilabel: bool) -> np.ndarray:
    """Ones where the most votes are."""
    if multilabel:
        return share_c > 0.5
    return np.arange(len(share_c)) == share_c.argmax()


def _log_loss(chance_nc: np.ndarray, share_nc: np.ndarray, multilabel: bool) -> float:
    """Mean log-loss of chances against shares of votes, in nats."""
    log_nc = np.log(np.maximum(chance_nc, 1e-12))
    loss_nc = -share_nc * log_nc
    if multilabel:
        loss_nc -= (1 - share_nc) * np.log(np.maximum(1 - chance_nc, 1e-12))
    return float(loss_nc.sum(axis=1).mean())
