"""What share of the labels is wrong, with an interval.

Counting suspects overstates it: a probe that is wrong on hard samples suspects right labels.
Instead the given labels are explained as true labels seen through a table of confusions, with the
probe's answers as the chances of the true label: p(given) is the sum over true labels t of
p(t | x) * table[t, given] (Dawid & Skene 1979 with the probe in place of the votes). Table and
temperature of the answers are those with the greatest likelihood (expectation maximisation). What
the probe finds hard anyway is then no evidence of a wrong label.

The interval spans the bootstrap of two answers, in which samples that belong together are drawn
together: by probes that learnt from all labels, which believe wrong labels a little, and by probes
that learnt without the suspects, which doubt right ones a little. On labels with planted errors the
truth was mostly between them.

Legend: n samples, c classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regraft.seeds import generator
from regraft.store import Json
from regraft.tasks.clusters import numbered
from regraft.tasks.measure import bootstrap_weights, unseen

TEMPERATURES = (0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4)
DRAWS = 40
MOST = 5000
"""Samples that the estimate is made on, at most; drawn by chance."""
_TURNS, _TURNS_A_DRAW = 60, 10


@dataclass(frozen=True)
class Share:
    """Share of wrong labels with its 95 % interval."""

    value: float
    low: float
    high: float

    def of_part(self, part: float) -> Share:
        """The share of the whole, where it was estimated on a part and the rest is right."""
        return Share(part * self.value, part * self.low, part * self.high)

    def to_json(self) -> dict[str, Json]:
        """As it stands in labels.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


def wrong_share(
    given_n: np.ndarray,
    answers: Sequence[np.ndarray],
    *,
    clusters: Sequence[str] | None = None,
    surely: float = 0.0,
    seed: int = 0,
) -> Share:
    """The share of labels that are wrong.

    Args:
        given_n: class indices.
        answers: out-of-sample chance_nc, from probes on all labels and from those on trusted ones.
        clusters: n names; samples that share a non-empty one are drawn together. All
            stand alone if None.
        surely: a share that is known to be wrong, whatever the answers: the estimate is not below.
        seed: of the samples drawn.
    """
    some = generator(seed, "wrong share").permutation(len(given_n))[:MOST]
    given_n = given_n[some]
    names = [""] * len(some) if clusters is None else [clusters[int(n)] for n in some]
    weights_rn = bootstrap_weights(names, seed, DRAWS)
    values: list[float] = []
    drawn: list[float] = []
    for chance_nc in answers:
        best_nc, table_cc, value = _likeliest(given_n, chance_nc[some])
        values.append(value)
        for weight_n in weights_rn:
            _, _, again = _explained(given_n, best_nc, weight_n, table_cc, _TURNS_A_DRAW)
            drawn.append(again)
    value = float(np.mean(values))
    low, high = (float(q) for q in np.quantile(drawn, [0.025, 0.975]))
    # Wrong labels that happen not to be among so few are not ruled out.
    alone = int(numbered(names).max()) + 1
    value = max(value, surely)
    high = min(1.0, max(high, value + unseen(alone)))
    return Share(value, max(surely, min(low, value)), max(high, value))


def _likeliest(given_n: np.ndarray, chance_nc: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Answers at the likeliest temperature, the table and the share of wrong labels there."""
    log_nc = np.log(np.clip(chance_nc.astype(np.float64), 1e-7, 1.0))
    classes = chance_nc.shape[1]
    start_cc = np.full((classes, classes), 0.1 / max(1, classes - 1))
    np.fill_diagonal(start_cc, 0.9)
    weight_n = np.ones(len(given_n))
    best: tuple[float, np.ndarray, np.ndarray, float] | None = None
    for temperature in TEMPERATURES:
        warm_nc = np.exp(log_nc / temperature)
        warm_nc /= warm_nc.sum(axis=1, keepdims=True)
        fit, table_cc, value = _explained(given_n, warm_nc, weight_n, start_cc, _TURNS)
        if best is None or fit > best[0]:
            best = (fit, warm_nc, table_cc, value)
    assert best is not None
    return best[1:]


def _explained(
    given_n: np.ndarray, chance_nc: np.ndarray, weight_n: np.ndarray, table_cc: np.ndarray,
    turns: int,
) -> tuple[float, np.ndarray, float]:  # fmt: skip
    """Expectation maximisation of the table from a start: log-likelihood, table, wrong share."""
    classes = len(table_cc)
    fit, right = 0.0, 1.0
    given_nc = np.zeros((len(given_n), classes))
    given_nc[np.arange(len(given_n)), given_n] = weight_n
    for _ in range(turns):
        joint_nc = chance_nc * table_cc[:, given_n].T
        seen_n = np.maximum(joint_nc.sum(axis=1), 1e-300)
        fit = float(np.log(seen_n) @ weight_n)
        counts_cc = (joint_nc / seen_n[:, None]).T @ given_nc
        right = float(np.trace(counts_cc) / counts_cc.sum())
        counts_cc += 1e-3
        table_cc = counts_cc / counts_cc.sum(axis=1, keepdims=True)
    return fit, table_cc, 1 - right
