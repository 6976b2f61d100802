"""From votes to one label a sample, and to soft labels.

Which method, by what the data allow:

- Steps of a scale: the median, which lies between what people said. Of two steps in the middle it
  is the one nearer, in steps, to the mean of the sample's votes; the lower where both are as near.
- Nobody knows who voted what, or fewer than three people voted: majority. No method can learn
  who is reliable without knowing who voted.
- Votes enough for a table of confusions for every person: Dawid & Skene (1979).
- Enough to know how reliable people are, and samples with several votes to know which are hard:
  GLAD (Whitehill et al. 2009).
- Enough to know who guesses: MACE (Hovy et al. 2013).
- Less: majority.

The models are crowd-kit's. Several classes a sample: each class is decided by majority.

Where one answer is that nothing is there, as of boxes, whether something is goes before what it is:
of people who draw a thing and call it differently, nobody says that there is none. Half of them are
enough: a thing is overlooked more easily than invented, and what is left out is learnt as nothing.

Legend: u samples, v votes, c classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from regraft.dataset import Dataset
from regraft.labelling.extra import require
from regraft.labelling.found import Facts
from regraft.labelling.named import spoken_of
from regraft.labelling.verdicts import names_of
from regraft.labelling.votes import Votes

Method = Literal["majority", "median", "dawid-skene", "glad", "mace"]

PEOPLE = 3
VOTES_A_CONFUSION = 5
"""Votes of a person for each cell of a confusion table, at the median."""
VOTES_A_SKILL = 20
VOTES_A_HARD_SAMPLE = 4
MOST_FOR_GLAD = 20_000
"""Votes; GLAD takes about a millisecond for each."""
SURE_VOTES, SURE_SHARE = 3, 0.8
_HAIR = 1e-9
"""What a tie is decided by, of a share of the votes."""


@dataclass(frozen=True)
class Consensus:
    """One label for each sample with votes.

    Attributes:
        method: how it was found.
        why: the reason for the method, a sentence.
        samples: u names.
        classes: c names.
        label_u: the class of each sample, where it has one.
        chance_uc: rows sum to 1; for several classes each column is a chance of its own. Shares
            of the votes, or what a model of the people believes; where the model believes that
            nothing is there and half of the people do not, shares too.
        tied_u: no class has more votes than all others (where most people see something, than all
            others that they see), or half of the people see nothing; of a scale, two steps are in
            the middle; of several classes, half of the votes are for one.
        multilabel: several classes may apply.
    """

    method: Method
    why: str
    samples: tuple[str, ...]
    classes: tuple[str, ...]
    label_u: np.ndarray
    chance_uc: np.ndarray
    tied_u: np.ndarray
    multilabel: bool

    def labels(self) -> list[tuple[str, ...]]:
        """The classes of each sample."""
        if self.multilabel:
            return [
                tuple(name for name, chance in zip(self.classes, row, strict=True) if chance > 0.5)
                for row in self.chance_uc
            ]
        return [(self.classes[int(c)],) for c in self.label_u]

    def sure(self) -> np.ndarray:
        """Chance_u of the label; of several classes, of the one that is in most doubt."""
        if self.multilabel:
            return np.abs(self.chance_uc - 0.5).min(axis=1) + 0.5
        return np.take_along_axis(self.chance_uc, self.label_u[:, None], axis=1)[:, 0]


def middle(share_uc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The steps in the middle of the votes of each sample, the lower and the higher; often one.

    Args:
        share_uc: of the votes, for steps in their order.
    """
    below_uc = np.cumsum(share_uc, axis=1, dtype=np.float64)
    return (below_uc > 0.5 - _HAIR).argmax(axis=1), (below_uc > 0.5 + _HAIR).argmax(axis=1)


def choose(votes: Votes) -> tuple[Method, str]:
    """The method that these votes allow, and why."""
    counted: Method = "median" if votes.scale == "ordinal" else "majority"
    if votes.nameless:
        return counted, (
            f"Of {len(votes):,} votes {len(votes.nameless):,} name nobody (the first is on "
            f"{votes.nameless[0]}), so nobody's reliability can be known, and labels "
            f"are decided by {'the median' if counted == 'median' else counted}. "
            "Say whose they are, or take them out."
        )
    if counted == "median":
        return counted, "The votes are steps of a scale: the label is their median."
    if votes.anonymous:
        return "majority", (
            "The votes are anonymous, so nobody's reliability can be known, and labels are decided "
            "by majority."
        )
    if votes.scale == "multilabel":
        return "majority", "Samples may have several classes: each is decided by majority."
    people = len(votes.annotators)
    if people == 1:
        return "majority", "All votes are of one person, so they are the labels."
    if people < PEOPLE:
        return "majority", (
            f"With {people} annotators there is no telling who is right, so labels are decided by "
            "majority, and ties are marked."
        )
    shared_v = votes.per_sample()[votes.sample_v] >= 2
    each = float(np.median(np.bincount(votes.annotator_v[shared_v], minlength=people)))
    said = f"{people} people with {each:.0f} votes each (median) on samples that others saw too"
    if each >= VOTES_A_CONFUSION * len(votes.classes) ** 2:
        return "dawid-skene", f"{said}: enough for a table of confusions each (Dawid-Skene)."
    if each < VOTES_A_SKILL:
        return "majority", (
            f"{said}: too few to know who is reliable, so labels are decided by majority."
        )
    if np.median(votes.per_sample()) >= VOTES_A_HARD_SAMPLE and len(votes) <= MOST_FOR_GLAD:
        return "glad", f"{said}, several on each sample: skill and difficulty are told (GLAD)."
    return "mace", f"{said}: enough to tell who guesses (MACE)."


def consensus(
    votes: Votes, method: Method | None = None, *, absent: str | None = None
) -> Consensus:
    """One label for each sample.

    Args:
        votes: on any number of samples.
        method: chosen by what the votes allow if None.
        absent: the class which says that nothing is there; it is no label of a sample that half
            of the votes or more see something in.
    """
    chosen, why = choose(votes)
    if method is not None and method != chosen:
        chosen, why = method, f"{method} was asked for. ({why})"
    count_uc = votes.tally().astype(np.float64)
    share_uc = count_uc / np.maximum(votes.per_sample(), 1)[:, None]
    multilabel = votes.scale == "multilabel"
    if not multilabel and chosen != "median":
        share_uc = _unequal(share_uc)
    is_counted = chosen in ("majority", "median")
    chance_uc = share_uc if is_counted else _modelled(votes, chosen)
    if multilabel:
        label_u, tied_u = chance_uc.argmax(axis=1), (share_uc == 0.5).any(axis=1)
    elif chosen == "median":
        label_u, tied_u = _median(share_uc)
    else:
        barred_uc = _barred(count_uc, votes.classes, absent)
        unseen_u = np.take_along_axis(barred_uc, chance_uc.argmax(axis=1)[:, None], axis=1)
        chance_uc = np.where(unseen_u, share_uc, chance_uc)
        label_u = np.where(barred_uc, -1, chance_uc).argmax(axis=1)
        half_uc = barred_uc & (2 * count_uc == votes.per_sample()[:, None])
        tied_u = _tied(np.where(barred_uc, 0, count_uc)) | half_uc.any(axis=1)
    return Consensus(
        chosen, why, votes.samples, votes.classes, label_u, chance_uc, tied_u, multilabel
    )  # fmt: skip


def _unequal(share_uc: np.ndarray) -> np.ndarray:
    """Shares in which a tie goes, by a hair, to the class with more votes over all samples."""
    total_c = share_uc.sum(axis=0)
    hair_uc = (share_uc > 0) * (_HAIR * total_c / max(1.0, float(total_c.max())))
    raised_uc = share_uc + hair_uc
    return raised_uc / raised_uc.sum(axis=1, keepdims=True)


def _barred(count_uc: np.ndarray, classes: Sequence[str], absent: str | None) -> np.ndarray:
    """Where a class is no label: nothing, of samples that half of the votes see something in."""
    is_absent_c = np.array([name == absent for name in classes])
    return is_absent_c & (2 * count_uc <= count_uc.sum(axis=1, keepdims=True))


def _tied(count_uc: np.ndarray) -> np.ndarray:
    """Whether no class has more votes than all others, by sample."""
    return (count_uc == count_uc.max(axis=1, keepdims=True)).sum(axis=1) > 1


def _median(share_uc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The step of each sample, and whether two are in the middle."""
    low_u, high_u = middle(share_uc)
    mean_u = share_uc @ np.arange(share_uc.shape[1])
    label_u = np.where(high_u - mean_u < mean_u - low_u - _HAIR, high_u, low_u)
    return label_u, low_u != high_u


def _modelled(votes: Votes, method: Method) -> np.ndarray:
    """Chance_uc by a model of the people; crowd-kit's."""
    require("crowdkit", what="A consensus of these votes needs the package crowd-kit.")
    import pandas
    from crowdkit.aggregation import GLAD, MACE, DawidSkene

    table = pandas.DataFrame(
        {"task": votes.sample_v, "worker": votes.annotator_v, "label": votes.value_v}
    )
    model: Any
    if method == "dawid-skene":
        model = DawidSkene(n_iter=100)
    elif method == "glad":
        model = GLAD(n_iter=50)
    else:
        # Of a number every restart would begin alike.
        mace: Any = MACE
        model = mace(n_restarts=5, n_iter=50, random_state=np.random.RandomState(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # crowd-kit's, of pandas's arguments
        found = model.fit(table).probas_
    chance_uc = np.zeros((len(votes.samples), len(votes.classes)))
    chance_uc[np.ix_(found.index.to_numpy(), found.columns.to_numpy())] = found.to_numpy()
    return chance_uc


def agreed(votes: Votes) -> dict[str, str]:
    """What people are sure of: `SURE_VOTES` votes or more, nearly all of them the same.

    A model that says otherwise is more likely wrong than they are. Not for several classes.

    Returns:
        the class, by sample.
    """
    if votes.scale == "multilabel":
        return {}
    count_uc = votes.tally()
    total_u = count_uc.sum(axis=1)
    sure_u = (total_u >= SURE_VOTES) & (count_uc.max(axis=1) >= SURE_SHARE * total_u)
    most_u = count_uc.argmax(axis=1)
    return {votes.samples[u]: votes.classes[most_u[u]] for u in np.flatnonzero(sure_u)}


def upheld(votes: Votes, dataset: Dataset) -> frozenset[str]:
    """The samples, by id, whose label nearly all voters gave; see `agreed`.

    A label that a model of the people, or a reviewer, has chosen against them is none of these.
    """
    sure = agreed(votes)
    called = spoken_of(sure)
    names = ((sample, called(sample.id)) for sample in dataset)
    return frozenset(
        sample.id
        for sample, name in names
        if name is not None and names_of(dataset, sample) == (sure[name],)
    )


def summary(found: Consensus, votes: Votes) -> Facts:
    """The consensus as it stands in labels.json; see `ranked`.

    Args:
        found: of `consensus`.
        votes: that it was found in.
    """
    sure_u = found.sure()
    labels, said = found.labels(), votes.listed()
    rows = [
        {
            "sample": name,
            "label": "|".join(labels[u]),
            "probability": round(float(sure_u[u]), 6),
            "tied": bool(found.tied_u[u]),
            "votes": said[u],
        }
        for u, name in enumerate(found.samples)
    ]
    head = {"method": found.method, "why": found.why, "samples": len(found.samples)}
    return head | ranked(rows)


def ranked(rows: Sequence[Facts]) -> Facts:
    """Labels, what is doubtful first, the least certain of it, with how many are.

    A tie is doubtful however sure a model of the people is: what it knows of them is a guess.

    Args:
        rows: each with "probability" and "tied".

    Returns:
        "ties", "doubtful" and "labels" of a consensus.
    """

    def is_doubtful(row: Facts) -> bool:
        return row["tied"] or row["probability"] < SURE_SHARE

    return {
        "ties": sum(row["tied"] for row in rows),
        "doubtful": {"below": SURE_SHARE, "samples": sum(map(is_doubtful, rows))},
        "labels": sorted(rows, key=lambda row: (not is_doubtful(row), row["probability"])),
    }
