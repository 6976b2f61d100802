"""How good a model can be at best: the human ceiling, and a model beside the people.

The ceiling is how often one vote is what most of the *others* on the same sample say. A model is
measured against the same majority of the others, sample by sample, so the two are comparable. On a
scale a neighbouring step is no agreement; how far off people are is said beside it.

Legend: u samples, a annotators, v votes, c classes, r bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from regraft.labelling.agreement import bootstrap
from regraft.labelling.consensus import middle
from regraft.labelling.named import spoken_of
from regraft.labelling.votes import Votes
from regraft.store import Json
from regraft.tasks.measure import NOISE
from regraft.wording import percent


@dataclass(frozen=True)
class Ceiling:
    """How often one annotator agrees with the majority of the others on the same sample.

    Attributes:
        value: the share, over samples with at least two votes.
        low: of the 95 % interval over samples.
        high: of the 95 % interval over samples.
        samples: with at least two votes.
        mean_absolute_error: of one annotator from the median of the others, in the numbers that
            the steps of a scale are; None of other votes.
    """

    value: float
    low: float
    high: float
    samples: int
    mean_absolute_error: float | None = None

    def to_json(self) -> dict[str, Json]:
        """As it stands in labels.json and report.json."""
        return asdict(self)


def _credit(votes: Votes) -> tuple[np.ndarray, np.ndarray]:
    """What each vote leaves behind: votes with company, and the credit of each class.

    Returns:
        the indices of votes on samples that others voted on too, and credit_vc: how right each
        class is by the majority of the others; a tie shares the credit.
    """
    kept_v = np.flatnonzero(votes.per_sample()[votes.sample_v] >= 2)
    others_vc = votes.tally()[votes.sample_v[kept_v]] - votes.said()[kept_v]
    top_vc = others_vc == others_vc.max(axis=1, keepdims=True)
    return kept_v, top_vc / top_vc.sum(axis=1, keepdims=True)


def _agreed(votes: Votes, said_vc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How right answers are by the others, for each vote with company; and its sample."""
    if votes.scale != "multilabel":
        kept_v, credit_vc = _credit(votes)
        return (credit_vc * said_vc[kept_v]).sum(axis=1), votes.sample_v[kept_v]
    total_u = votes.per_sample()
    kept_v = np.flatnonzero(total_u[votes.sample_v] >= 2)
    others_vc = votes.tally()[votes.sample_v[kept_v]] - votes.said()[kept_v]
    share_vc = others_vc / (total_u[votes.sample_v[kept_v]] - 1)[:, None]
    right_vc = np.where(share_vc == 0.5, 0.5, (share_vc > 0.5) == (said_vc[kept_v] > 0))
    return right_vc.mean(axis=1), votes.sample_v[kept_v]


def ceiling(votes: Votes, *, seed: int = 0, clusters: Sequence[str] = ()) -> Ceiling | None:
    """The agreement of one annotator with the consensus of the others; None without company.

    Several classes a sample: the share of classes answered as the others do.

    Args:
        votes: of any number per sample.
        seed: of the bootstrap.
        clusters: a name for each sample; those of one name are drawn together. Each alone if
            empty.
    """
    right_v, sample_v = _agreed(votes, votes.said())
    if not len(right_v):
        return None
    cluster_u = np.arange(len(votes.samples))
    if clusters:
        cluster_u = np.unique(clusters, return_inverse=True)[1]
    value, low, high, _ = bootstrap(right_v, cluster_u[sample_v], seed)
    off = _off_median(votes) if votes.scale == "ordinal" else None
    return Ceiling(value, low, high, len(np.unique(sample_v)), off)


def _off_median(votes: Votes) -> float:
    """How far one annotator is from the median of the others, on average; of steps of a scale."""
    kept_v = np.flatnonzero(votes.per_sample()[votes.sample_v] >= 2)
    others_vc = votes.tally()[votes.sample_v[kept_v]] - votes.said()[kept_v]
    low_v, high_v = middle(others_vc / others_vc.sum(axis=1, keepdims=True))
    step_k = np.array([float(name) for name in votes.classes])
    median_v = (step_k[low_v] + step_k[high_v]) / 2
    return float(np.abs(step_k[votes.value_v[kept_v]] - median_v).mean())


def against_people(
    votes: Votes, answer_uc: np.ndarray, *, model: str = "the model", seed: int = 0
) -> dict[str, Json] | None:
    """A model beside the people, both judged by the majority of the others; None without company.

    Args:
        votes: on samples that the model was not trained on.
        answer_uc: 1 where the model's answer names a class, else 0; rows of NaN where it has none.
            A row of zeros is an answer that nobody ever gave.
        model: what it is, for `text`.
        seed: of the bootstrap.

    Returns:
        "model" and "person": shares; "gap" with "low", "high", "p"; "text": the outcome in words.
    """
    known_u = np.asarray(~np.isnan(answer_uc).any(axis=1))
    votes = votes.where(known_u[votes.sample_v])
    person_v, sample_v = _agreed(votes, votes.said())
    if not len(person_v):
        return None
    model_v, _ = _agreed(votes, answer_uc[votes.sample_v])
    gap, low, high, p = bootstrap(model_v - person_v, sample_v, seed)
    told, others = float(model_v.mean()), float(person_v.mean())
    human, machine = f"one annotator ({percent(others)})", f"{model} ({percent(told)})"
    if p >= NOISE:
        low, high = min(low, 0.0), max(high, 0.0)
        text = f"In agreeing with the others, {machine} is within noise of {human}."
    elif gap > 0:
        text = f"{machine} agrees with the others more often than {human}."
    else:
        text = f"{human} agrees with the others more often than {machine}."
    return {
        "model": told,
        "person": others,
        "gap": gap,
        "low": low,
        "high": high,
        "p": p,
        "samples": len(np.unique(sample_v)),
        "text": text[0].upper() + text[1:],
    }


def beside_people(
    votes: Votes,
    names: Sequence[str],
    classes: Sequence[str],
    chance_nc: np.ndarray,
    *,
    model: str = "the model",
    seed: int = 0,
) -> dict[str, Json] | None:
    """`against_people` for answers on some samples, by name; None where nobody voted on them.

    Args:
        votes: on these samples and others.
        names: of the n samples; what is said of parts of one is averaged.
        classes: of the c columns, which are the model's: the votes may know others.
        chance_nc: the model's answers.
        model: what it is, as for `against_people`.
        seed: of the bootstrap.
    """
    called = spoken_of(votes.samples)
    rows: dict[str, list[int]] = {}
    for n, name in enumerate(names):
        if (own := called(name)) is not None:
            rows.setdefault(own, []).append(n)
    answer_uc = np.full((len(votes.samples), len(votes.classes)), np.nan)
    for u, name in enumerate(votes.samples):
        if name in rows:
            chance_c = chance_nc[rows[name]].mean(axis=0)
            likely = chance_c > 0.5 if votes.scale == "multilabel" else [chance_c.argmax()]
            said = set(np.asarray(classes)[likely].tolist())
            answer_uc[u] = [name in said for name in votes.classes]
    return against_people(votes, answer_uc, model=model, seed=seed)


def per_annotator(votes: Votes) -> list[dict[str, Any]]:
    """How often each person agrees with the majority of the others, the least first."""
    if votes.anonymous:
        return []
    right_v, _ = _agreed(votes, votes.said())
    kept_v = np.flatnonzero(votes.per_sample()[votes.sample_v] >= 2)
    rows: list[dict[str, Any]] = []
    for a, name in enumerate(votes.annotators):
        mine = right_v[votes.annotator_v[kept_v] == a]
        rows.append(
            {
                "annotator": name,
                "votes": int((votes.annotator_v == a).sum()),
                "shared": len(mine),
                "agreement": float(mine.mean()) if len(mine) else None,
            }
        )
    return sorted(rows, key=lambda row: (row["agreement"] is None, row["agreement"]))
