"""COCO's table: average precision and recall by overlap, category and size, with intervals.

Decisions:

- As in `box_metrics.py` pictures are matched once, here at each overlap and size, and a number
  under bootstrap weights is a sum over what was matched. A test holds the numbers to those of
  faster-coco-eval within 1e-6.
- The intervals rest on the first `DRAWS` draws: of many categories each draw takes long.
- That of a size or category goes at least as far as mistakes could have gone unseen in the pictures
  that have such an object: all others say nothing of it, and draws without one do not count.

Shapes: n pictures, k truths and d detections of one picture, c categories, a sizes ("all", "small",
"medium", "large"), t overlaps (0.5, 0.55 … 0.95), r draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.tasks import measure
from regraft.tasks.box_metrics import MOST, area, curve, overlaps, surest
from regraft.tasks.boxes import BoxAnswers, BoxTargets, areas

SIZES = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Square pixels from and to; both belong to it."""
OVERLAPS = np.linspace(0.5, 0.95, 10)
AP50, AP75 = 0, 5
"""Positions in `OVERLAPS`."""
DRAWS = 200


def coco_table(
    answers: BoxAnswers, targets: BoxTargets, classes: Sequence[str], weights_rn: np.ndarray
) -> dict[str, Any]:
    """The numbers that COCO's own evaluation gives; None where undefined.

    Args:
        answers: of the samples of `targets`, in the same order.
        targets: what is right.
        classes: names of the categories.
        weights_rn: draws, by which intervals are found.

    Returns:
        "ap", "ap50", "ap75", "ar" (100 detections a picture); "sizes": the same "ap" and "ar" of
        "small" (below 32² pixels), "medium" and "large" (from 96²) objects; "categories": for each
        category "name", "truths", "ap", "ap50", "ar". Each has "intervals", by the same names a
        pair of ends, or None.
    """
    some_rn = weights_rn[:DRAWS].astype(np.float64)
    once_each_rn = np.vstack([np.ones((1, len(targets))), some_rn])
    matched = _matched(answers, targets)
    ap_catr, ar_catr = _areas(matched, once_each_rn, len(classes))

    def told(there_n: np.ndarray, **values: np.ndarray) -> dict[str, Any]:
        """Means over all axes but the draws, of which the first is of each picture once."""
        reach = measure.least_reach(weights_rn[:, there_n])
        means = {
            name: _mean(value.reshape(-1, len(once_each_rn))) for name, value in values.items()
        }
        shares = {
            name: measure.from_draws(name, float(mean_r[0]), mean_r[1:], reach)
            for name, mean_r in means.items()
            if not np.isnan(mean_r[0])
        }
        return {
            **{name: shares[name].value if name in shares else None for name in values},
            "intervals": {
                name: [shares[name].low, shares[name].high] if name in shares else None
                for name in values
            },
        }

    counts_c = np.bincount(targets.labels_k[~targets.crowd_k], minlength=len(classes))
    return {
        **told(
            np.arange(len(targets)),
            ap=ap_catr[:, 0], ap50=ap_catr[:, 0, AP50], ap75=ap_catr[:, 0, AP75], ar=ar_catr[:, 0],
        ),
        "sizes": {
            name: told(matched.having(a), ap=ap_catr[:, a], ar=ar_catr[:, a])
            for a, name in enumerate(SIZES)
            if a
        },
        "categories": [
            {
                "name": name,
                "truths": int(counts_c[c]),
                **told(
                    matched.having(0, c),
                    ap=ap_catr[c, 0], ap50=ap_catr[c, 0, AP50], ar=ar_catr[c, 0],
                ),
            }
            for c, name in enumerate(classes)
        ],
    }  # fmt: skip


def _mean(values_mr: np.ndarray) -> np.ndarray:
    """Over those that are defined; NaN where none is."""
    there_mr = ~np.isnan(values_mr)
    total_r, count_r = np.where(there_mr, values_mr, 0.0).sum(axis=0), there_mr.sum(axis=0)
    return np.where(count_r > 0, total_r / np.maximum(count_r, 1), np.nan)


# Matching -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Matched:
    """What each detection matched, at each size and overlap; those of all pictures.

    Attributes:
        picture_d: number of the picture.
        label_d: category that was said.
        score_d: how sure.
        hit_dat: whether it is right.
        ignored_dat: it is neither right nor wrong: on a crowd, or not of this size.
        picture_k: of all truths.
        label_k: of all truths.
        counts_ka: whether a truth is of this size, and no crowd.
        pictures: n.
    """

    picture_d: np.ndarray
    label_d: np.ndarray
    score_d: np.ndarray
    hit_dat: np.ndarray
    ignored_dat: np.ndarray
    picture_k: np.ndarray
    label_k: np.ndarray
    counts_ka: np.ndarray
    pictures: int

    def having(self, size: int, label: int | None = None) -> np.ndarray:
        """Numbers of the pictures that have a truth of this size, and of this category if given."""
        of_k = True if label is None else self.label_k == label
        return np.unique(self.picture_k[self.counts_ka[:, size] & of_k])


def _matched(answers: BoxAnswers, targets: BoxTargets) -> _Matched:
    parts: list[tuple[np.ndarray, ...]] = []
    picture_k = np.repeat(np.arange(len(targets)), targets.count_n)
    counts_ka = _of_size(targets.area_k) & ~targets.crowd_k[:, None]
    for n, (said, there) in enumerate(zip(answers, targets, strict=True)):
        (boxes_d4, labels_d, scores_d), (truth_k4, truth_label_k, crowd_k) = said, there
        order_d = surest(labels_d, scores_d, MOST)
        box_d4, label_d = boxes_d4[order_d].astype(float), labels_d[order_d]
        iou_dk = overlaps(box_d4, truth_k4.astype(float), crowd_k)
        iou_dk = np.where(label_d[:, None] == truth_label_k[None, :], iou_dk, -1.0)
        ignored_ka = ~counts_ka[picture_k == n]
        truth_dat = _greedy(iou_dk, crowd_k, ignored_ka)
        on_ignored_dat = np.zeros(truth_dat.shape, dtype=bool)
        if len(crowd_k):
            on_ignored_dat = ignored_ka[truth_dat, np.arange(len(SIZES))[None, :, None]]
        found_dat = truth_dat >= 0
        ignored_dat = np.where(found_dat, on_ignored_dat, ~_of_size(areas(box_d4))[:, :, None])
        row = np.full(len(order_d), n), label_d, scores_d[order_d].astype(float)
        parts.append((*row, found_dat & ~ignored_dat, ignored_dat))
    joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
    return _Matched(
        joined[0], joined[1], joined[2], joined[3], joined[4], picture_k, targets.labels_k,
        counts_ka, len(targets),
    )  # fmt: skip


def _of_size(area_k: np.ndarray) -> np.ndarray:
    """Bool_ka: whether an area is of a size."""
    low_a, high_a = np.array(list(SIZES.values())).T
    return (area_k[:, None] >= low_a) & (area_k[:, None] <= high_a)


def _greedy(iou_dk: np.ndarray, crowd_k: np.ndarray, ignored_ka: np.ndarray) -> np.ndarray:
    """Truth_dat of one picture, -1 for none; the surest detections come first.

    As in COCO what is ignored is taken only where nothing else fits, and a crowd by any number;
    of equal overlaps the last one counts.
    """
    count, sizes = iou_dk.shape[1], ignored_ka.shape[1]
    truth_dat = np.full((len(iou_dk), sizes, len(OVERLAPS)), -1)
    free_atk = np.ones((sizes, len(OVERLAPS), count), dtype=bool)
    ignored_a1k = ignored_ka.T[:, None, :]
    for d in np.flatnonzero((iou_dk >= OVERLAPS[0]).any(axis=1)):
        fits_atk = (iou_dk[d] >= OVERLAPS[:, None]) & (free_atk | crowd_k)
        real_atk = fits_atk & ~ignored_a1k
        can_atk = np.where(real_atk.any(axis=2, keepdims=True), real_atk, fits_atk)
        best_at = count - 1 - np.where(can_atk, iou_dk[d], -1.0)[..., ::-1].argmax(axis=2)
        a_m, t_m = np.nonzero(can_atk.any(axis=2))
        truth_dat[d, a_m, t_m] = best_at[a_m, t_m]
        free_atk[a_m, t_m, best_at[a_m, t_m]] = False
    return truth_dat


# Under weights ------------------------------------------------------------------------------------


def _areas(
    matched: _Matched, weights_rn: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and recall, both (c, a, t, r); NaN where a draw has no truth."""
    shape = (classes, len(SIZES), len(OVERLAPS), len(weights_rn))
    ap_catr, ar_catr = np.full(shape, np.nan), np.full(shape, np.nan)
    for c in range(classes):
        (of_c,) = np.nonzero(matched.label_d == c)
        for a in range(len(SIZES)):
            there_k = matched.counts_ka[:, a] & (matched.label_k == c)
            truths_n = np.bincount(matched.picture_k[there_k], minlength=matched.pictures)
            truths_r = weights_rn @ truths_n.astype(np.float64)
            some_r = truths_r > 0
            if not some_r.any():
                continue
            for t in range(len(OVERLAPS)):
                row_d = of_c[~matched.ignored_dat[of_c, a, t]]
                picture_d, hit_d = matched.picture_d[row_d], matched.hit_dat[row_d, a, t]
                one = curve(picture_d, matched.score_d[row_d], hit_d, truths_n)
                hits_n = np.bincount(picture_d[hit_d], minlength=matched.pictures)
                ap_catr[c, a, t] = np.where(some_r, area(one, weights_rn), np.nan)
                recall_r = weights_rn @ hits_n / np.maximum(truths_r, 1)
                ar_catr[c, a, t] = np.where(some_r, recall_r, np.nan)
    return ap_catr, ar_catr
