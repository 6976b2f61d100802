"""What the probes' answers tell about the labels of a data set, as labels.json says it."""

from __future__ import annotations

import numpy as np

from regraft.dataset import Dataset
from regraft.dataset.texts import excerpt
from regraft.labelling import ceiling, findings
from regraft.labelling.found import Facts, Found
from regraft.labelling.likely_errors import LEAST, Judged, lone_classes, rows_judged
from regraft.labelling.share import Share, wrong_share
from regraft.labelling.votes import Votes
from regraft.wording import class_in_words, some_of


def judgement(
    found: Found,
    dataset: Dataset,
    judged: Judged,
    settled: frozenset[str],
    agreed: frozenset[str],
    seed: int,
) -> Found:
    """What was found, and what is said of the labels.

    Args:
        found: what was found before.
        dataset: the samples, with labels as reviewers left them.
        judged: what probes say of them.
        settled: ids of samples whose labels reviewers confirmed; they are neither suspected nor
            counted as wrong.
        agreed: ids of those that nearly all voters gave the label; they are not suspected.
        seed: of the draws for the interval of the share.
    """
    errors = findings.likely_errors(dataset, judged, settled | agreed)
    share = None if dataset.multilabel else share_of_wrong(dataset, judged, settled, seed)
    return {
        **found,
        "likely_errors": [one.facts(dataset) | excerpt(dataset.samples[one.row]) for one in errors],
        "scores": findings.scores(dataset, judged, errors, settled),
        "share": share.to_json() if share else None,
        "outliers": findings.outliers(dataset, judged),
        "same_classes": findings.same_classes(dataset, judged),
    }


def beside_people(votes: Votes, dataset: Dataset, judged: Judged, seed: int) -> Facts | None:
    """How the first round's probes agree with those who voted; see `ceiling.beside_people`."""
    judged_n = rows_judged(dataset)
    names = [dataset.samples[int(n)].id for n in judged_n]
    chance_nc = judged.first_nc[judged_n]
    return ceiling.beside_people(
        votes,
        names,
        dataset.classes,
        chance_nc,
        model="a new head on the frozen network",
        seed=seed,
    )


def share_of_wrong(
    dataset: Dataset, judged: Judged, settled: frozenset[str], seed: int
) -> Share | None:
    """Of all judged labels; those that reviewers settled are right. None where too few are open."""
    judged_n = rows_judged(dataset)
    rows = np.array([n for n in judged_n if dataset.samples[int(n)].id not in settled], np.int64)
    if len(rows) < LEAST:
        return None
    some = [dataset.samples[int(n)] for n in rows]
    sure = [sample for sample in dataset if sample.id in settled]
    share = wrong_share(
        np.array([sample.target for sample in some], dtype=np.int64),
        (judged.first_nc[rows], judged.chance_nc[rows]),
        clusters=[sample.group for sample in some],
        surely=findings.contradicted([*some, *sure], settled) / len(some),
        seed=seed,
    )
    return share.of_part(len(some) / len(judged_n))


def about_lone_classes(dataset: Dataset) -> str:
    """Whose labels cannot be judged, or ""."""
    if not (lone := [class_in_words(name) for name in lone_classes(dataset)]):
        return ""
    return (
        f"Labels of {some_of(lone, 5)} are not judged: all samples are of one group, so nothing "
        "else shows it."
    )
