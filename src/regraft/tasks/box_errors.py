"""What kind of mistakes a detector makes, and what AP50 would be without each kind.

The kinds are those of TIDE (Bolya et al. 2020): a false alarm that overlaps a truth of its own
category somewhat (0.1 to 0.5) is in the wrong place; one that lies well on a truth of another
category has the wrong category; one that lies on a truth that a surer one found is a duplicate;
one that overlaps nothing is background; the rest is wrong in place and category. A truth is missed
when nothing found it and no false alarm of the first two kinds is about it.

Shapes: k truths and d detections of all pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from regraft.tasks.box_metrics import SURE_IOU, Matches, match, overlaps, precision_of
from regraft.tasks.boxes import BoxAnswers, BoxTargets

KINDS = ("missed", "background", "wrong place", "wrong category", "duplicate", "place and category")
NEAR_IOU = 0.1


@dataclass(frozen=True)
class Errors:
    """The mistakes of a detector from one confidence on.

    Attributes:
        matches: of all detections.
        kind_d: number in `KINDS` of each false alarm, or -1.
        about_d: the truth that a false alarm is about, or -1.
        missed_k: truths that nothing is about.
    """

    matches: Matches
    kind_d: np.ndarray
    about_d: np.ndarray
    missed_k: np.ndarray

    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        false = {kind: int((self.kind_d == at).sum()) for at, kind in enumerate(KINDS) if at}
        return {"missed": int(self.missed_k.sum()), **false}


def errors_of(
    answers: BoxAnswers, targets: BoxTargets, classes: int, threshold: float = 0.0
) -> Errors:
    """Sort mistakes by kind.

    Args:
        answers: of the samples of `targets`, in the same order.
        targets: what is right.
        classes: their number.
        threshold: the confidence from which detections are shown; the rest is as if not there.
    """
    matches = match(answers, targets, classes)
    shown_d = matches.score_d >= threshold
    found_k = np.zeros(len(targets.labels_k), dtype=bool)
    found_k[matches.truth_d[matches.hit_d & shown_d]] = True
    kind_d = np.full(len(matches.score_d), -1)
    about_d = np.full(len(matches.score_d), -1)
    boxes_d4 = answers.boxes_k4[matches.rank_d].astype(float)
    false_d = shown_d & (matches.truth_d < 0)
    first_k = np.concatenate([[0], targets.count_n.cumsum()])
    for n in np.unique(matches.picture_d[false_d]):
        (rows,) = np.nonzero(false_d & (matches.picture_d == n))
        truth_k4, label_k, crowd_k = targets.of(int(n))
        (real,) = np.nonzero(~crowd_k)
        iou_dk = overlaps(boxes_d4[rows], truth_k4[real].astype(float), crowd_k[real])
        taken_k = found_k[first_k[n] + real]
        for row, iou_k in zip(rows, iou_dk, strict=True):
            same_k = label_k[real] == matches.label_d[row]
            kind, about = _kind(iou_k, same_k, taken_k)
            kind_d[row] = KINDS.index(kind)
            about_d[row] = first_k[n] + real[about] if about >= 0 else -1
    missed_k = ~targets.crowd_k & ~found_k
    missed_k[about_d[(about_d >= 0) & np.isin(kind_d, (2, 3))]] = False
    return Errors(matches, kind_d, about_d, missed_k)


def _kind(iou_k: np.ndarray, same_k: np.ndarray, taken_k: np.ndarray) -> tuple[str, int]:
    """The kind of one false alarm, and the truth on its picture that it is about, or -1."""
    own_k, other_k = np.where(same_k, iou_k, 0.0), np.where(same_k, 0.0, iou_k)
    if not len(iou_k) or iou_k.max() < NEAR_IOU:
        return "background", -1
    if NEAR_IOU <= own_k.max() < SURE_IOU:
        return "wrong place", int(own_k.argmax())
    if other_k.max() >= SURE_IOU:
        return "wrong category", int(other_k.argmax())
    if (own_k * taken_k).max() >= SURE_IOU:
        return "duplicate", int((own_k * taken_k).argmax())
    return "place and category", int(iou_k.argmax())


def gains(answers: BoxAnswers, targets: BoxTargets, classes: int) -> dict[str, float]:
    """How much AP50 would rise if all mistakes of one kind were mended, all detections counted.

    A detection in the wrong place or of the wrong category becomes right, unless its truth is found
    already; other false alarms vanish; missed truths are no longer asked for.
    """
    errors = errors_of(answers, targets, classes)
    before = _ap50(errors.matches)
    return {kind: _ap50(_mended(errors, targets, kind)) - before for kind in KINDS}


def _mended(errors: Errors, targets: BoxTargets, kind: str) -> Matches:
    matches, at = errors.matches, KINDS.index(kind)
    if kind == "missed":
        picture_k = np.repeat(np.arange(len(targets)), targets.count_n)
        truths_nc, lost = matches.truths_nc.copy(), errors.missed_k
        np.subtract.at(truths_nc, (picture_k[lost], targets.labels_k[lost]), 1)
        return replace(matches, truths_nc=truths_nc)
    truth_d, label_d = matches.truth_d.copy(), matches.label_d.copy()
    gone_d = errors.kind_d == at
    if kind in ("wrong place", "wrong category"):
        free_k = np.ones(len(targets.labels_k), dtype=bool)
        free_k[matches.truth_d[matches.hit_d]] = False
        (rows,) = np.nonzero(gone_d)
        for row in rows[np.argsort(-matches.score_d[rows], kind="stable")]:
            truth = errors.about_d[row]
            if free_k[truth]:
                free_k[truth] = gone_d[row] = False
                truth_d[row], label_d[row] = truth, targets.labels_k[truth]
    ignored_d = matches.ignored_d | gone_d
    return replace(matches, truth_d=truth_d, label_d=label_d, ignored_d=ignored_d)


def _ap50(matches: Matches) -> float:
    return float(precision_of(matches)(np.ones((1, len(matches.truths_nc))))[0])
