"""What is said about labels, against the truth: wrong ones planted, votes held back, pools opened.

- `planted`: 5, 10 and 20 % wrong labels, uniform and between similar classes, in Fashion-MNIST and
  e-mail. The ranking that `regraft labels` gives ("scores", all of it) against cleanlab's on
  out-of-sample predictions of a fine-tuned network, cross-validated: by a plain loop over all
  weights, as people write it, and by regraft's own ladder (`last:2`, which keeps what is frozen).
  Average precision, and time from nothing.
- `share`: the estimated share of wrong labels against what was planted, of 150 to 2,000 samples 0
  to 30 %: how often its interval holds the truth.
- `votes`: the Amazon ratings (20 people a sentence): alpha against nltk's, the human ceiling, soft
  labels against the majority.
- `next`: accuracy against labels for our choice, chance, and plain uncertainty (the least margin),
  which begins with a draw by chance or with our first batch. Seeds from 10 on: those below chose
  how far a sample covers.
- `many`: `regraft labels` on 100,000 texts whose vectors are in the cache: minutes, and memory
  against 20,000. The texts are words by chance, their vectors those of e-mail with noise.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from bench import data, harness, label_data
from bench.harness import Figure
from bench.label_peers import climbed_chances, loop_chances
from regraft.dataset import Dataset, Sample, View, read_all
from regraft.events import silent
from regraft.labelling import agreement, choose, consensus
from regraft.labelling.ceiling import beside_people, ceiling
from regraft.labelling.likely_errors import fit_of, judge
from regraft.labelling.share import wrong_share
from regraft.labelling.votes import Votes, votes_of
from regraft.tasks.clusters import folds
from regraft.tasks.probe import Axes, chances, fit_probe
from regraft.transfer import features as caching
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
from regraft.transfer.features import features

BACKBONES = {"fashion": "efficientnet-lite0", "mail": "minilm-l6", "amazon": "minilm-l6"}
KINDS = ("uniform", "similar")
PARTS = ("planted", "share", "votes", "next", "many")


# Data ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labelled:
    """Samples with true labels."""

    name: str
    dataset: Dataset
    truth_n: np.ndarray


def fashion(count: int, seed: int = 0) -> Labelled:
    """Pictures drawn from the training part of Fashion-MNIST."""
    known = data.fashion_mnist()
    rows = np.random.default_rng(seed).permutation(len(known.train_labels))[:count]
    folder = data.DATA / "fashion-pictures"
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for row in rows:
        path = folder / f"{row:05}.png"
        if not path.exists():
            Image.fromarray(known.train_pictures[row]).save(path)
        target = int(known.train_labels[row])
        samples.append(Sample(path.name, path, target, sha256(path.read_bytes()).hexdigest()))
    classes = tuple(data.FASHION_CLASSES)
    rows_of = Dataset(folder, "image-classification", classes, tuple(samples))
    return Labelled("fashion", rows_of, np.array([s.target for s in samples]))


def mail(count: int, seed: int = 0) -> Labelled:
    """E-mails, ham and spam, drawn by chance; equal texts once."""
    known = label_data.emails()
    order = np.random.default_rng(seed).permutation(len(known))
    found: dict[str, Sample] = {}
    for row in order:
        text, label = known[row]
        sample = Sample(
            f"mail {row:04}", text, int(label == "spam"), sha256(text.encode()).hexdigest()
        )
        found.setdefault(sample.sha256, sample)
    samples = tuple(found.values())[:count]
    rows_of = Dataset(Path("mail"), "text-classification", ("ham", "spam"), samples)
    return Labelled("mail", rows_of, np.array([s.target for s in samples]))


def vectors(name: str, samples: Sequence[Sample]) -> np.ndarray:
    """Frozen vectors_nd, through the cache."""
    with prepare(BACKBONES[name]) as preparation:
        backbone = preparation.backbone()
        frozen = len(backbone.stages)
        engine = preparation.engine(frozen, samples[:64])
        table = features(samples, Cut(backbone, frozen), engine)
        return table.rows(np.arange(len(samples)))[0]


# Planted errors -----------------------------------------------------------------------------------


def alike(x_nd: np.ndarray, truth_n: np.ndarray) -> np.ndarray:
    """How often a probe takes one class for another: what people would confuse too.

    It does not ask `judge`, so that the same labels stay planted when the ranking changes.
    """
    classes, everything = int(truth_n.max()) + 1, [""] * len(truth_n)
    target_nc = np.eye(classes, dtype=np.float32)[truth_n]
    fold_n = folds(target_nc, everything, 0, 5)
    axes = Axes.of(x_nd)
    fit = partial(fit_probe, exclusive=True, seed=0, axes=axes)
    chance_nc = np.empty(target_nc.shape)
    penalty: float | None = None
    for fold in range(5):
        held = fold_n == fold
        count = np.count_nonzero(~held)
        probe = fit(
            x_nd[~held], target_nc[~held], weight_n=np.ones(count), clusters=[""] * count,
            penalty=penalty,
        )  # fmt: skip
        penalty = probe.penalty
        chance_nc[held] = chances(probe.logits(x_nd[held]), exclusive=True)
    table = np.array([chance_nc[truth_n == c].mean(axis=0) for c in range(classes)])
    return table + 1e-4


@dataclass(frozen=True)
class Peers:
    """Which peers are run, and how.

    Attributes:
        folds: of both.
        rung: of the ladder.
        cells: of each data set that the ladder runs on, the first ones; None is all.
        loop_cells: likewise for the loop.
        loop_folds: so many of the loop's folds are fitted.
        epochs: of the loop.
    """

    folds: int
    rung: str
    cells: int | None
    loop_cells: int
    loop_folds: int
    epochs: int


@contextmanager
def clock(into: dict, name: str) -> Iterator[None]:
    """Seconds by the clock, and of processors, into `name`_s and `name`_cpu_s."""
    began, used = time.perf_counter(), sum(os.times()[:4])
    yield
    into[f"{name}_s"] = time.perf_counter() - began
    into[f"{name}_cpu_s"] = sum(os.times()[:4]) - used


@dataclass(frozen=True)
class _Given:
    """A reader that gives one data set, whatever the path."""

    dataset: Dataset
    name: str = "planted"

    def recognises(self, path: Path) -> bool:
        """Always: nothing is looked at."""
        return True

    def read(self, path: Path) -> Dataset:
        """The data set, as readers leave it."""
        return self.dataset.with_samples(
            sorted((replace(s, sha256="") for s in self.dataset), key=lambda s: s.id)
        )


def scores(name: str, given: Dataset) -> np.ndarray:
    """Score_n of every label, as `regraft labels` says it; of what it does not judge, 0."""
    import regraft

    with tempfile.TemporaryDirectory() as empty:
        path = given.path if given.path.is_dir() else Path(empty)
        found = regraft.labels(path, backbone=BACKBONES[name], reader=_Given(given))
    score = {row["sample"]: row["score"] for row in found["scores"]}
    return np.array([score.get(sample.id, 0.0) for sample in given])


def planted(counts: dict[str, int], shares: Sequence[float], peers: Peers) -> list:
    """All rankings on each planting; ours with nothing in the cache."""
    from sklearn.metrics import average_precision_score

    found = []
    for name, count in counts.items():
        known = {"fashion": fashion, "mail": mail}[name](count)
        with harness.fresh_cache():
            x_nd = vectors(name, known.dataset.samples)
        cells = [(kind, share) for share in shares for kind in KINDS]
        cells.sort(key=lambda cell: abs(cell[1] - 0.1))  # a tenth, the middle one, comes first
        with harness.fresh_cache() as root:
            for cell, (kind, share) in enumerate(cells):
                weights = alike(x_nd, known.truth_n) if kind == "similar" else None
                given_n = label_data.planted(known.truth_n, share, 0, weights)
                wrong_n = given_n != known.truth_n
                target_nc = np.eye(len(known.dataset.classes), dtype=np.float32)[given_n]
                noisy = known.dataset.with_samples(
                    replace(s, target=int(c)) for s, c in zip(known.dataset, given_n, strict=True)
                )
                row: dict = {"data": name, "kind": kind, "share": share, "samples": count}
                with harness.fresh_cache(), clock(row, "labels"):
                    score_n = scores(name, noisy)
                row["ours"] = float(average_precision_score(wrong_n, score_n))
                if peers.cells is None or cell < peers.cells:
                    with clock(row, "ladder"):
                        chance_nc = climbed_chances(
                            noisy, BACKBONES[name], peers.folds, peers.rung, root / f"run-{cell}"
                        )
                        quality_n, _ = fit_of(target_nc, chance_nc, exclusive=True)
                    row["ladder"] = float(average_precision_score(wrong_n, -quality_n))
                    row["ladder_cold"] = cell == 0
                if cell < peers.loop_cells:
                    with clock(row, "loop"):
                        chance_nc, held_n = loop_chances(
                            name, noisy, peers.folds, peers.loop_folds, peers.epochs
                        )
                    quality_n, _ = fit_of(target_nc[held_n], chance_nc[held_n], exclusive=True)
                    row["loop"] = float(average_precision_score(wrong_n[held_n], -quality_n))
                    row["ours_on_loop"] = float(
                        average_precision_score(wrong_n[held_n], score_n[held_n])
                    )
                    row["loop_gap"] = _gap(wrong_n[held_n], score_n[held_n], -quality_n)
                    row["loop_wrong"] = int(wrong_n[held_n].sum())
                    row["loop_folds"] = peers.loop_folds
                print(json.dumps(row), flush=True)
                found.append(row)
    return found


def _gap(wrong_n: np.ndarray, first_n: np.ndarray, second_n: np.ndarray) -> tuple[float, float]:
    """95 % interval of one ranking's average precision less another's, samples drawn in pairs."""
    from sklearn.metrics import average_precision_score

    rng, found = np.random.default_rng(0), []
    for _ in range(1000):
        some = rng.integers(0, len(wrong_n), len(wrong_n))
        if wrong_n[some].any():
            first, second = (
                average_precision_score(wrong_n[some], score_n[some])
                for score_n in (first_n, second_n)
            )
            found.append(first - second)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def planted_figures(rows: list, peers: Peers) -> list[Figure]:
    """A figure for each planting, and the times."""
    figures = []
    for r in rows:
        what = f"likely errors, {r['data']}, {r['share']:.0%} {r['kind']}: average precision"
        if "ladder" in r:
            figures.append(
                Figure(
                    f"{what} ahead of fine-tuning ({peers.rung})", 100 * (r["ours"] - r["ladder"]),
                    "points", "≥ 0",
                    f"{r['ours']:.3f} against {r['ladder']:.3f}, {r['samples']} samples",
                )
            )  # fmt: skip
        else:
            figures.append(Figure(what, r["ours"], "", "", f"{r['samples']} samples"))
        if "loop" in r:
            figures.append(
                Figure(
                    f"{what} ahead of fine-tuning (all, a plain loop)",
                    100 * (r["ours_on_loop"] - r["loop"]), "points", "≥ 0",
                    f"{r['ours_on_loop']:.3f} against {r['loop']:.3f}, ahead by "
                    f"{r['loop_gap'][0]:+.3f} to {r['loop_gap'][1]:+.3f}; {r['loop_wrong']} wrong "
                    f"in {r['loop_folds']} of {peers.folds} folds, {peers.epochs} epochs",
                )
            )  # fmt: skip
    for r in rows:
        for peer, scale in (("loop", peers.folds / peers.loop_folds), ("ladder", 1.0)):
            if peer not in r or not r.get("ladder_cold", True):
                continue
            ours = {unit: r[f"labels_{unit}"] for unit in ("s", "cpu_s")}
            note = f"{r[f'{peer}_s']:.0f} s against {ours['s']:.0f} s by the clock, vectors "
            note += (
                f"included; {r[f'{peer}_cpu_s']:.0f} s against {ours['cpu_s']:.0f} s of processors"
            )
            if scale > 1:
                note += f"; {peers.loop_folds} of {peers.folds} folds timed, times {scale:g}"
            what = "a plain loop" if peer == "loop" else f"regraft's own {peers.rung}"
            figures.append(
                Figure(
                    f"likely errors, {r['data']}: times faster than cross-validating {what}",
                    scale * r[f"{peer}_cpu_s"] / ours["cpu_s"], "×",
                    "≥ 10" if peer == "loop" else "", note,
                )
            )  # fmt: skip
    return figures


# The share of wrong labels ------------------------------------------------------------------------

SHARE_SIZES = (150, 300, 600, 1200, 2000)
SHARE_SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3)


def estimates(names: Sequence[str]) -> list[dict]:
    """What is estimated on each draw; of fewer than all samples there are two."""
    found = []
    for name in names:
        known = {"fashion": fashion, "mail": mail}[name](max(SHARE_SIZES))
        x_nd = vectors(name, known.dataset.samples)
        weights = alike(x_nd, known.truth_n)
        cells = product(SHARE_SIZES, SHARE_SHARES, KINDS, (0, 1))
        for size, share, kind, seed in cells:
            if (share == 0 and kind == "similar") or (size == max(SHARE_SIZES) and seed):
                continue
            rows = np.random.default_rng([seed, size]).permutation(len(x_nd))[:size]
            truth_n, some_nd = known.truth_n[rows], x_nd[rows]
            weighted = weights if kind == "similar" else None
            given_n = label_data.planted(truth_n, share, seed, weighted)
            target_nc = np.eye(len(known.dataset.classes), dtype=np.float32)[given_n]
            judged = judge(some_nd.__getitem__, target_nc, [""] * size, exclusive=True)
            told = wrong_share(given_n, (judged.first_nc, judged.chance_nc))
            row = {"data": name, "samples": size, "kind": kind, "seed": seed}
            row |= {"share": share, "wrong": float((given_n != truth_n).mean()), **told.to_json()}
            print(json.dumps(row), flush=True)
            found.append(row)
    return found


def estimates_figures(rows: list[dict]) -> list[Figure]:
    """How often the interval holds the truth, and how far the value is from it."""
    figures = []
    for name, kind, many in product(dict.fromkeys(r["data"] for r in rows), KINDS, (False, True)):
        mine = [r for r in rows if (r["data"], r["kind"], r["share"] > 0.1) == (name, kind, many)]
        held = [r["low"] <= r["wrong"] <= r["high"] for r in mine]
        off = [abs(r["value"] - r["wrong"]) for r in mine if r["value"] is not None]
        part = "20 and 30 %" if many else "up to 10 %"
        note = f"{sum(held)} of {len(held)}; the value is off by {100 * np.mean(off):.1f} points"
        note += f", {len(mine) - len(off)} without one"
        what = f"share of wrong labels, {name}, {part}, {kind}: the interval holds it"
        figures.append(Figure(what, 100 * float(np.mean(held)), "%", "", note))
    return figures


# Votes --------------------------------------------------------------------------------------------


def _votes(ratings: Sequence[tuple[str, str, list[int]]], people: int | None = None) -> Votes:
    """Votes on the sign of each rating, by the first so many people."""
    names = {-1: "negative", 0: "neutral", 1: "positive"}
    return votes_of(
        (id_, "", (names[int(np.sign(r))],)) for id_, _, some in ratings for r in some[:people]
    )


def votes(seeds: int, people: Sequence[int], learn: int) -> dict:
    """Alpha twice, the ceiling, and soft labels against the majority."""
    from nltk.metrics.agreement import AnnotationTask

    ratings = label_data.amazon_ratings()
    whole = votes_of(
        ((i, f"p{p}", (str(r),)) for i, _, some in ratings for p, r in enumerate(some)),
        scale="ordinal",
    )
    count = {k: 0 for k in range(-4, 5)}
    for _, _, some in ratings:
        for r in some:
            count[r] += 1

    def distance(a: int, b: int) -> float:
        low, high = min(a, b), max(a, b)
        between = sum(n for k, n in count.items() if low <= k <= high)
        return (between - (count[low] + count[high]) / 2) ** 2

    told = [(f"p{p}", i, r) for i, _, some in ratings for p, r in enumerate(some)]
    second = AnnotationTask(told, distance).alpha()
    ours = agreement.alpha(whole)
    every = _votes(ratings)
    samples = [Sample(i, text, 0, sha256(text.encode()).hexdigest()) for i, text, _ in ratings]
    x_nd = vectors("amazon", samples)
    row = {name: u for u, name in enumerate(every.samples)}
    order = np.array([row[i] for i, _, _ in ratings])
    truth_nc = consensus.consensus(every).chance_uc[order]
    lines = []
    for seed in range(seeds):
        drawn = np.random.default_rng(seed).permutation(len(ratings))
        train, test = drawn[:learn], drawn[-1500:]
        for some in people:
            shares_nc = consensus.consensus(_votes(ratings, some)).chance_uc[order][train]
            hard_nc = np.eye(3, dtype=np.float32)[shares_nc.argmax(axis=1)]
            line = {"seed": seed, "people": some}
            for kind, target_nc in (("soft", shares_nc), ("majority", hard_nc)):
                probe = fit_probe(
                    x_nd[train], target_nc.astype(np.float32), exclusive=True,
                    weight_n=np.ones(learn), clusters=[""] * learn, seed=seed,
                )  # fmt: skip
                logits_nc = probe.logits(x_nd[test])
                log_nc = logits_nc - np.log(np.exp(logits_nc).sum(axis=1, keepdims=True))
                right_n = logits_nc.argmax(axis=1) == truth_nc[test].argmax(axis=1)
                line[kind] = float(right_n.mean())
                line[f"{kind}_log_loss"] = float(-(truth_nc[test] * log_nc).sum(axis=1).mean())
                if kind == "soft" and some == max(people) and seed == 0:
                    ids = [ratings[n][0] for n in test]
                    chance_nc = np.exp(log_nc)
                    beside = beside_people(every, ids, every.classes, chance_nc)
            lines.append(line)
    person = ceiling(every)
    assert person is not None and ours.value is not None
    return {
        "alpha": ours.to_json(), "second": second, "ceiling": person.to_json(),
        "beside": beside, "lines": lines, "learn": learn,
    }  # fmt: skip


def votes_figures(found: dict) -> list[Figure]:
    """Alpha, ceiling, and the gaps over seeds."""
    alpha, person = found["alpha"], found["ceiling"]
    figures = [
        Figure(
            "Amazon: alpha less a second implementation's", abs(alpha["value"] - found["second"]),
            "", "≤ 1e-6", f"alpha {alpha['value']:.4f} ({alpha['low']:.4f} to {alpha['high']:.4f})",
        ),
        Figure(
            "Amazon: one annotator agrees with the others", 100 * person["value"], "%", "",
            f"{person['low']:.1%} to {person['high']:.1%}; sign of the rating; a model: "
            f"{found['beside']['model']:.1%}, {found['beside']['text']}",
        ),
    ]  # fmt: skip
    for people in sorted({line["people"] for line in found["lines"]}):
        lines = [line for line in found["lines"] if line["people"] == people]
        for key, what, sign in (("", "accuracy", 1), ("_log_loss", "log-loss against votes", -1)):
            gaps = [sign * (line[f"soft{key}"] - line[f"majority{key}"]) for line in lines]
            error = np.std(gaps, ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else 0.0
            means = [
                float(np.mean([line[f"{k}{key}"] for line in lines])) for k in ("soft", "majority")
            ]
            figures.append(
                Figure(
                    f"Amazon, {people} people, {found['learn']} sentences: soft better in {what}",
                    100 * float(np.mean(gaps)), "points" if sign == 1 else "nats/100", "",
                    f"±{196 * error:.2f}; {means[0]:.3f} against {means[1]:.3f}, {len(gaps)} seeds",
                )
            )  # fmt: skip
    return figures


# What to label next -------------------------------------------------------------------------------


def _answers(x_nd: np.ndarray, y_n: np.ndarray, asked_nd: np.ndarray, classes: int) -> np.ndarray:
    target_nc = np.eye(classes, dtype=np.float32)[y_n]
    probe = fit_probe(
        x_nd, target_nc, exclusive=True, weight_n=np.ones(len(y_n)),
        clusters=[""] * len(y_n), seed=0,
    )  # fmt: skip
    logits_nc = probe.logits(asked_nd)
    logits_nc[:, np.setdiff1d(np.arange(classes), y_n)] = -1e9  # a class that nobody named yet
    raised_nc = np.exp(logits_nc - logits_nc.max(axis=1, keepdims=True))
    return raised_nc / raised_nc.sum(axis=1, keepdims=True)


def _chosen(
    strategy: str, u_nd: np.ndarray, known: np.ndarray, chance_nc: np.ndarray | None, batch: int,
    seed: int,
) -> list[int]:  # fmt: skip
    """The next rows; `known` are labelled already."""
    free = np.setdiff1d(np.arange(len(u_nd)), known)
    shuffled = np.random.default_rng([seed, len(known)]).permutation(free)
    if chance_nc is None:
        if strategy in ("chance", "uncertainty"):
            return shuffled[:batch].tolist()
        return [
            pick.row for pick in choose.typical(u_nd, u_nd[known], batch, [""] * len(u_nd), seed)
        ]
    if strategy == "chance":
        return shuffled[:batch].tolist()
    doubt_n = choose.doubt(chance_nc)
    if strategy.startswith("uncertainty"):
        return free[np.argsort(-doubt_n[free], kind="stable")[:batch]].tolist()
    picks = choose.herded(u_nd[free], doubt_n[free], u_nd[known], batch, [""] * len(free), seed)
    return [int(free[pick.row]) for pick in picks]


STRATEGIES = ("ours", "chance", "uncertainty", "uncertainty, our start")


def next_labels(
    counts: dict[str, tuple[int, int]], seeds: Sequence[int], batch: int, rounds: int
) -> list[dict]:
    """Accuracy (balanced for mail) after each batch, for each strategy and seed."""
    found = []
    for name, (pool_count, test_count) in counts.items():
        known = {"fashion": fashion, "mail": mail}[name](pool_count + test_count)
        x_nd, y_n = vectors(name, known.dataset.samples), known.truth_n
        test = slice(pool_count, None)
        classes = len(known.dataset.classes)
        for seed in seeds:
            rows = np.random.default_rng(seed).permutation(pool_count)[: pool_count * 3 // 4]
            pool_nd, pool_y = x_nd[rows], y_n[rows]
            u_nd = choose.directions(pool_nd, pool_nd.mean(axis=0))
            for strategy in STRATEGIES:
                labelled = np.empty(0, dtype=np.int64)
                curve = []
                for _ in range(rounds):
                    chance_nc = None
                    if len(np.unique(pool_y[labelled])) > 1:
                        chance_nc = _answers(pool_nd[labelled], pool_y[labelled], pool_nd, classes)
                    new = _chosen(strategy, u_nd, labelled, chance_nc, batch, seed)
                    labelled = np.concatenate([labelled, np.array(new, dtype=np.int64)])
                    said_n = np.full(len(y_n[test]), pool_y[labelled[0]])
                    if len(np.unique(pool_y[labelled])) > 1:
                        answer_nc = _answers(
                            pool_nd[labelled], pool_y[labelled], x_nd[test], classes
                        )
                        said_n = answer_nc.argmax(axis=1)
                    recall = [(said_n[y_n[test] == c] == c).mean() for c in range(classes)]
                    curve.append(float(np.mean(recall)))
                found.append({"data": name, "seed": seed, "strategy": strategy, "curve": curve})
            print(
                name,
                seed,
                {r["strategy"]: round(float(np.mean(r["curve"])), 4) for r in found[-4:]},
                flush=True,
            )
    return found


def next_figures(rows: list[dict], batch: int) -> list[Figure]:
    """The area under our curve less the others', paired by seed."""
    figures = []
    for name in dict.fromkeys(row["data"] for row in rows):
        area = {
            strategy: np.array(
                [
                    np.mean(r["curve"])
                    for r in rows
                    if (r["data"], r["strategy"]) == (name, strategy)
                ]
            )
            for strategy in STRATEGIES
        }
        labels = batch * len(rows[0]["curve"])
        for strategy in STRATEGIES[1:]:
            gap = area["ours"] - area[strategy]
            error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
            figures.append(
                Figure(
                    f"next labels, {name}: area under the curve ahead of {strategy}",
                    100 * float(gap.mean()), "points", "≥ 0",
                    f"±{196 * error:.1f}; {area['ours'].mean():.1%} against "
                    f"{area[strategy].mean():.1%}, up to {labels} labels, {len(gap)} seeds, ahead "
                    f"in {int((gap > 0).sum())}",
                )
            )  # fmt: skip
    return figures


# Many samples -------------------------------------------------------------------------------------


def write_texts(path: Path, truth_n: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """A table of so many texts of chance words, a tenth of the labels wrong; which they are."""
    given_n = label_data.planted(truth_n, 0.1, 0)
    rng = np.random.default_rng(0)
    words = np.array(
        ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 7)) for _ in range(5000)]
    )
    with path.open("w") as file:
        file.write("text,label\n")
        for c in given_n:
            file.write(f"{' '.join(rng.choice(words, 25))},{classes[c]}\n")
    return given_n != truth_n


def _row(sample: str) -> int:
    """The row of a sample that is called "line 2" or more."""
    return int(sample.split()[1]) - 2


def fill_cache(table: Path, base_nd: np.ndarray, which: np.ndarray) -> None:
    """Put vectors of the texts of a table into the cache, as if they had been computed.

    Args:
        table: of texts.
        base_nd: vectors of other texts.
        which: the one of them that each text resembles.
    """
    samples = read_all(table, tell=silent).samples
    assert len(samples) == len(which), (len(samples), len(which))
    which = which[[_row(sample.id) for sample in samples]]
    rng = np.random.default_rng(1)
    spread_d = base_nd.std(axis=0)
    with prepare(BACKBONES["mail"]) as preparation:
        backbone = preparation.backbone()
        frozen = len(backbone.stages)
        engine = preparation.engine(frozen, samples[:64])
        job = caching._Job(samples, Cut(backbone, frozen), engine, (View(),), "float32", silent)
        shards = caching._open(job, engine.serving)
        with shards.adding(silent):
            for begin in range(0, len(samples), caching.SHARD_ROWS):
                some = which[begin : begin + caching.SHARD_ROWS]
                noise = rng.normal(0, 0.3, (len(some), base_nd.shape[1]))
                x_bd = (base_nd[some] + noise * spread_d).astype(np.float32)
                rows = shards.packing.pack_rows([(row,) for row in x_bd])
                shards.append(shards.keys[begin : begin + len(some)], rows)
        shards.close()


def label_many(table: Path) -> dict:
    """`regraft labels` on a table in this process: seconds, and memory of its own at the peak."""
    import psutil

    import regraft

    process, peak, done = psutil.Process(), [0], threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], process.memory_full_info().uss)

    watch = threading.Thread(target=look)
    watch.start()
    began, used = time.perf_counter(), time.process_time()
    found = regraft.labels(table, backbone=BACKBONES["mail"])
    spent = time.perf_counter() - began, time.process_time() - used
    done.set()
    watch.join()
    wrong_n = np.load(table.with_suffix(".npy"))
    errors = [_row(row["sample"]) for row in found["likely_errors"]]
    return {
        "samples": found["data"]["samples"], "seconds": spent[0], "cpu_seconds": spent[1],
        "uss_peak": peak[0], "rss_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "suspects": len(errors), "suspects_right": float(wrong_n[errors].mean()),
        "share": found["share"]["value"],
    }  # fmt: skip


def many(counts: Sequence[int]) -> list[dict]:
    """Texts with vectors like those of e-mail in the cache, looked at in fresh processes."""
    base = mail(2000)
    base_nd = vectors("mail", base.dataset.samples)
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for count in counts:
            table = Path(scratch) / f"texts-{count}.csv"
            which = np.random.default_rng(0).integers(0, len(base_nd), count)
            wrong_n = write_texts(table, base.truth_n[which], base.dataset.classes)
            np.save(table.with_suffix(".npy"), wrong_n)
            fill_cache(table, base_nd, which)
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "bench.labels", "--table", str(table)],
                check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(found[-1], flush=True)
    return found


def many_figures(rows: list[dict]) -> list[Figure]:
    """Minutes, and memory against the smaller number."""
    few, most = rows[0], rows[-1]
    grown = (most["uss_peak"] - few["uss_peak"]) / (most["samples"] - few["samples"])
    return [
        Figure(
            f"`regraft labels` on {most['samples']:,} texts from a warm cache",
            most["seconds"] / 60, "min", "≤ 10",
            f"{most['cpu_seconds'] / 60:.1f} min of processors; {few['samples']:,}: "
            f"{few['seconds'] / 60:.1f} min",
        ),
        Figure(
            f"memory of {most['samples']:,} over {few['samples']:,}",
            most["uss_peak"] / few["uss_peak"], "×", "≤ 1.5",
            f"{most['uss_peak'] / 1e6:.0f} MB against {few['uss_peak'] / 1e6:.0f} MB of its own at "
            f"the peak, {grown / 1e3:.2f} kB a sample",
        ),
    ]  # fmt: skip


def main() -> None:
    """Measure, and write results/labels-PART.json for each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--samples", type=int, default=2000, help="of each data set, for planted")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.05, 0.1, 0.2])
    parser.add_argument("--data", nargs="*", default=["fashion", "mail"])
    parser.add_argument("--folds", type=int, default=5, help="of the fine-tuned peers")
    parser.add_argument("--rung", default="last:2", help="of the ladder as a peer")
    parser.add_argument("--cells", type=int, help="plantings for the ladder as a peer; all")
    parser.add_argument("--loop-cells", type=int, default=1, help="plantings for the plain loop")
    parser.add_argument("--loop-folds", type=int, default=5, help="of its folds that are fitted")
    parser.add_argument("--epochs", type=int, default=5, help="of the plain loop")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--learn", type=int, default=500, help="sentences to learn from")
    parser.add_argument("--pool", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--many", type=int, nargs="*", default=[20_000, 100_000])
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.table:
        print(json.dumps(label_many(args.table)))
        return
    if set(args.parts) - set(PARTS):
        parser.error(f"there are {', '.join(PARTS)}")
    counts = {name: args.samples for name in args.data}
    peers = Peers(
        args.folds, args.rung, args.cells, args.loop_cells, args.loop_folds, args.epochs
    )  # fmt: skip
    pools = {name: (args.pool, min(1000, args.pool // 2)) for name in args.data}
    jobs: dict[str, Callable[[], tuple[list[Figure], object]]] = {
        "planted": lambda: _with(
            lambda rows: planted_figures(rows, peers), planted(counts, args.shares, peers)
        ),
        "share": lambda: _with(estimates_figures, estimates(args.data)),
        "votes": lambda: _with(votes_figures, votes(args.seeds, (3, 20), args.learn)),
        "next": lambda: _with(
            lambda rows: next_figures(rows, 20),
            next_labels(pools, range(10, 10 + args.seeds), 20, args.rounds),
        ),
        "many": lambda: _with(many_figures, many(args.many)),
    }
    warm = nullcontext() if os.environ.get("REGRAFT_CACHE") else harness.fresh_cache()
    with warm:
        for part in args.parts or PARTS:
            figures, raw = jobs[part]()
            harness.save(f"labels-{part}", figures, {"raw": raw})


def _with(figures: Callable, raw: object) -> tuple[list[Figure], object]:
    return figures(raw), raw


if __name__ == "__main__":
    main()
