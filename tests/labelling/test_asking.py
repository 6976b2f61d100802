"""What to label next, asked of samples that a network has seen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regraft.dataset import Dataset, Sample
from regraft.labelling.asking import Seen, ask_next


def _seen(x_nd: np.ndarray, applies_nc: np.ndarray | None) -> Seen:
    samples = tuple(
        Sample(
            f"{n:03d}",
            f"text {n}",
            None if applies_nc is None else tuple(np.flatnonzero(applies_nc[n]).tolist()),
        )
        for n in range(len(x_nd))
    )
    classes = ("cat", "dog", "elk")
    rows = Dataset(Path("texts"), "text-classification", classes, samples, multilabel=True)
    return Seen(rows, lambda index: x_nd[index])


def test_of_several_classes_the_one_that_is_open_is_asked_about():
    rng = np.random.default_rng(0)
    applies_nc = rng.random((400, 3)) < 0.5
    x_nd = (rng.normal(size=(400, 8)) * 0.1).astype(np.float32)
    x_nd[:, :3] += 2 * applies_nc
    pool_nd = x_nd[200:].copy()
    open_n = np.arange(200) % 10 == 0  # whether these are dogs cannot be told
    pool_nd[open_n, 1] = 1.0
    asked = ask_next(_seen(pool_nd, None), _seen(x_nd[:200], applies_nc[:200]), batch=10)
    rows = [int(row["sample"]) for row in asked]
    assert len(set(rows)) == 10 and open_n[rows].mean() > 0.8
    for n, row in zip(rows, asked, strict=True):
        if not open_n[n]:
            continue
        assert row["reason"].startswith("dog ")
        known = {name for name in row["suggested"].split("|") if name not in ("", "dog")}
        assert known == {name for c, name in ((0, "cat"), (2, "elk")) if applies_nc[200 + n, c]}
        assert row["score"] > 0.5 and len(row["chances"]) == 3
        assert row["probability"] == pytest.approx(row["chances"][0][1])


def test_classes_that_are_numbers_are_told_from_chances():
    label_n = np.arange(40) % 2
    x_nd = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    x_nd[:, 0] += 4 * label_n
    samples = [Sample(f"{n}", f"text {n}", int(c)) for n, c in enumerate(label_n)]
    known = Dataset(Path("texts"), "text-classification", ("3", "8"), tuple(samples))
    (asked,) = ask_next(_seen(x_nd[:20], None), Seen(known, lambda index: x_nd[index]), batch=1)
    assert re.match(r'"[38]" [\d.]+ % or "[38]" [\d.]+ %; stands for', asked["reason"])


@pytest.mark.parametrize("labelled", [0, 40], ids=["cold", "warm"])
def test_of_copies_of_a_clip_one_is_asked_about_and_of_moments_of_a_file_all(labelled: int):
    rng = np.random.default_rng(0)
    x_nd = rng.normal(size=(4, 8)).astype(np.float32)
    pool = _seen(x_nd, None)
    shown = [("a.mp4@0.000-5.000", ""), ("a.mp4@5.000-10.000", "same")]
    shown += [("b.mp4@0.000-5.000", "same"), ("b.mp4@5.000-10.000", "")]
    samples = [
        replace(sample, id=name, copies=copies, group="a and b")
        for sample, (name, copies) in zip(pool.dataset, shown, strict=True)
    ]
    pool = Seen(pool.dataset.with_samples(samples), pool.rows)
    known_nd = rng.normal(size=(labelled, 8)).astype(np.float32)
    known = _seen(known_nd, rng.random((labelled, 3)) < 0.5)
    asked = {row["sample"] for row in ask_next(pool, known, batch=4)}
    assert len(asked) == 3 and {shown[0][0], shown[3][0]} < asked
