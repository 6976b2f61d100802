"""Wrong labels by chance, and where a rare class is overlooked: how many are told, and set aside.

- `share`: the estimated share of wrong labels where 0 to 50 % of a rare class of two are labelled
  as the other: eights and threes among digits, spam, coats and shirts of Fashion-MNIST. How often
  its interval holds the truth, and what part of it the value is.
- `fit`: `fit --labels clean` to `given`, both from few labels and tested on true ones.

The pictures are scikit-learn's digits, 64 pixels wide, and those of `labels.py`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import regraft
from bench import data, harness, labels
from bench.harness import Figure
from regraft.dataset import Dataset, read_all
from regraft.digits import write_digit
from regraft.labelling.likely_errors import judge
from regraft.labelling.share import wrong_share

SIZES = (300, 600)
PARTS_OVERLOOKED = (0.0, 0.1, 0.25, 0.4, 0.5)
TESTED = 1200

Wrong = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""From true classes to labels."""


def overlooked(part: float) -> Wrong:
    """Labels of two classes of which a part of the second's are the first."""
    return lambda truth_n, rng: np.where(
        (truth_n == 1) & (rng.random(len(truth_n)) < part), 0, truth_n
    )


def by_chance(share: float, classes: int) -> Wrong:
    """Labels of which a share are another class, drawn alike."""

    def wrong(truth_n: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        others_n = (truth_n + rng.integers(1, classes, len(truth_n))) % classes
        return np.where(rng.random(len(truth_n)) < share, others_n, truth_n)

    return wrong


CELLS: tuple[tuple[str, str, int, Wrong], ...] = (
    ("digits", "10 % by chance", 300, by_chance(0.1, 10)),
    ("digits", "20 % by chance", 300, by_chance(0.2, 10)),
    ("mail", "10 % by chance", 300, by_chance(0.1, 2)),
    ("mail", "40 % of spam overlooked", 300, overlooked(0.4)),
    *(("eights", "40 % of eights overlooked", count, overlooked(0.4)) for count in (300, 600, 900)),
)
"""What is learnt from: data, what is wrong with them, how many labels."""


@cache
def digits() -> labels.Labelled:
    """All of scikit-learn's digits as pictures."""
    folder = data.DATA / "all-digits"
    known: Any = load_digits()
    if not folder.exists():
        with data.made(folder) as root:
            for n, (image, label) in enumerate(zip(known.images, known.target, strict=True)):
                (root / str(label)).mkdir(exist_ok=True)
                write_digit(image, root / str(label) / f"{n:04d}.png")
    rows = read_all(folder)
    return labels.Labelled("digits", rows, np.array([sample.target for sample in rows]))


# The share of wrong labels ------------------------------------------------------------------------


def _of_two() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, vectors_nd and true classes of each set of two classes; the second is rare."""
    known = (digits(), labels.fashion(2000), labels.mail(2000))
    rare = {"digits": {"eights": 8, "threes": 3}, "fashion": {"coats": 4, "shirts": 6}}
    for one in known:
        x_nd = labels.vectors("mail" if one.name == "mail" else "fashion", one.dataset.samples)
        for name, c in rare.get(one.name, {"spam": 1}).items():
            yield name, x_nd, (one.truth_n == c).astype(int)


def shares(draws: int) -> list[dict]:
    """What is estimated on each draw of each set."""
    found = []
    for name, x_nd, truth_n in _of_two():
        for size, seed, part in product(SIZES, range(draws), PARTS_OVERLOOKED):
            rng = np.random.default_rng([seed, size])
            rows = rng.permutation(len(x_nd))[:size]
            given_n = overlooked(part)(truth_n[rows], rng)
            target_nc = np.eye(2, dtype=np.float32)[given_n]
            judged = judge(x_nd[rows].__getitem__, target_nc, [""] * size, exclusive=True)
            told = wrong_share(given_n, (judged.first_nc, judged.chance_nc))
            row = {"data": name, "samples": size, "seed": seed, "overlooked": part}
            row |= {"wrong": float((given_n != truth_n[rows]).mean()), **told.to_json()}
            print(json.dumps(row), flush=True)
            found.append(row)
    return found


def shares_figures(rows: Sequence[dict]) -> list[Figure]:
    """How often the interval holds the truth, and the value to it, by the part overlooked."""
    figures = []
    for part in PARTS_OVERLOOKED:
        mine = [row for row in rows if row["overlooked"] == part]
        held = [row["low"] <= row["wrong"] <= row["high"] for row in mine]
        what = f"share of wrong labels, {100 * part:.0f} % of a rare class overlooked: held"
        told = []
        for name in dict.fromkeys(row["data"] for row in mine):
            some = [row for row in mine if row["data"] == name and row["value"] is not None]
            value, wrong = (sum(row[key] for row in some) for key in ("value", "wrong"))
            told.append(f"{name} {100 * value / wrong:.0f} %" if wrong else f"{name} {value:.4f}")
        note = f"{sum(held)} of {len(held)}; the value to the truth: {', '.join(told)}"
        figures.append(Figure(what, 100 * float(np.mean(held)), "%", "", note))
    return figures


# Learning without likely errors -------------------------------------------------------------------


def _written(dataset: Dataset, rows: np.ndarray, label_n: np.ndarray, place: Path) -> Path:
    """Some samples with labels: texts as a table, pictures as a folder of classes."""
    if dataset.modality == "text":
        with place.with_suffix(".csv").open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["text", "label"])
            lines.writerows(
                (dataset.samples[n].source, f"class {label}")
                for n, label in zip(rows, label_n, strict=True)
            )
        return place.with_suffix(".csv")
    for n, label in zip(rows, label_n, strict=True):
        source = Path(dataset.samples[n].source)
        (place / str(label)).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place / str(label) / source.name)
    return place


def fits(draws: int) -> list[dict]:
    """Accuracy on true labels (balanced of two classes), as given and clean, of each draw."""
    found = []
    for (name, how, count, wrong), seed in product(CELLS, range(draws)):
        known = labels.mail(2000) if name == "mail" else digits()
        truth_n = (known.truth_n == 8).astype(int) if name == "eights" else known.truth_n
        rng = np.random.default_rng([seed, count])
        order = rng.permutation(len(truth_n))
        learn, held = order[:count], order[count : count + TESTED]
        row: dict[str, Any] = {"data": name, "how": how, "labels": count, "seed": seed}
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            given = _written(known.dataset, learn, wrong(truth_n[learn], rng), root / "learn")
            test = _written(known.dataset, held, truth_n[held], root / "test")
            for mode in ("given", "clean"):
                run = root / f"run-{mode}"
                report = regraft.fit(given, run, test=test, labels=mode, train="head").report
                row[mode] = report["test"]["value"]
        print(json.dumps(row), flush=True)
        found.append(row)
    return found


def fits_figures(rows: Sequence[dict]) -> list[Figure]:
    """What learning without likely errors brings, in the mean of the draws."""
    figures = []
    for data_, how in dict.fromkeys((row["data"], row["how"]) for row in rows):
        mine = [row for row in rows if (row["data"], row["how"]) == (data_, how)]
        given, clean = (float(np.mean([row[mode] for row in mine])) for mode in ("given", "clean"))
        better = sum(row["clean"] > row["given"] for row in mine)
        note = f"{clean:.1%} to {given:.1%}, better in {better} of {len(mine)}"
        what = f"--labels clean to given, {data_}, {how}: accuracy"
        figures.append(Figure(what, 100 * (clean - given), "points", "", note))
    return figures


def main() -> None:
    """Measure, and write results/overlooked-PART.json for each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = {"share": (shares, shares_figures), "fit": (fits, fits_figures)}
    parser.add_argument("parts", nargs="*", help=", ".join(parts))
    parser.add_argument("--draws", type=int, default=4)
    args = parser.parse_args()
    if set(args.parts) - set(parts):
        parser.error(f"there are {', '.join(parts)}")
    with nullcontext() if os.environ.get("REGRAFT_CACHE") else harness.fresh_cache():
        for part in args.parts or parts:
            measured, figures = parts[part]
            rows = measured(args.draws)
            harness.save(f"overlooked-{part}", figures(rows), {"raw": rows})


if __name__ == "__main__":
    main()
