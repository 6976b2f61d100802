"""How good boxes are: average precision as COCO has it, and the confidence to show boxes from.

Decisions:

- What a detection matches does not depend on how often its picture is drawn. So pictures are
  matched once, and average precision under bootstrap weights is a sum over what was matched: the
  interval and the paired test of two rungs cost little more than the value.
- Matching is COCO's: the surest detection first, each takes the free truth of its category that
  it overlaps most; what matches a crowd is neither right nor wrong. IoU is faster-coco-eval's own;
  a test holds `average_precision` to its numbers within 1e-6. (`coco_table.py` has the rest.)
- A category that has no truth in a draw is left out of that draw's mean, as COCO does with
  categories that have none.

Shapes: n pictures, k truths and d detections of all of them, c categories, r bootstrap draws,
t detections of one category that are right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regraft.tasks.boxes import BoxAnswers, BoxTargets
from regraft.tasks.measure import Score

MOST = 100
"""Detections of one category on one picture that count, unless said otherwise: COCO's limit."""
SURE_IOU = 0.5
_STEPS = 100
"""Of precision, for which a confidence is kept."""
_JUST_BELOW = 0.999
"""Of the lowest score there is, which none is below."""
_RECALLS = np.linspace(0.0, 1.0, 101)
_ROWS = 128
"""Draws at once, so that memory stays small."""


@dataclass(frozen=True)
class Matches:
    """What each detection matched.

    Attributes:
        picture_d: number of the picture.
        label_d: category that was said.
        score_d: how sure.
        truth_d: number of the truth that it found, or -1.
        ignored_d: it matched a crowd.
        rank_d: number of the detection in the answers.
        truths_nc: truths that count, for each picture and category.
    """

    picture_d: np.ndarray
    label_d: np.ndarray
    score_d: np.ndarray
    truth_d: np.ndarray
    ignored_d: np.ndarray
    rank_d: np.ndarray
    truths_nc: np.ndarray

    @property
    def hit_d(self) -> np.ndarray:
        """Which are right."""
        return (self.truth_d >= 0) & ~self.ignored_d


@dataclass(frozen=True, slots=True)
class Confidence:
    """From which confidence on boxes are shown, and what that gave where it was chosen."""

    threshold: float
    precision: float
    recall: float
    f1: float


# Matching -----------------------------------------------------------------------------------------


def overlaps(answer_d4: np.ndarray, truth_k4: np.ndarray, crowd_k: np.ndarray) -> np.ndarray:
    """Iou_dk; with a crowd, the share of the detection that lies in it."""
    from faster_coco_eval.core import mask

    if not len(answer_d4) or not len(truth_k4):
        return np.zeros((len(answer_d4), len(truth_k4)))
    sides = [np.hstack([b[:, :2], b[:, 2:] - b[:, :2]]) for b in (answer_d4, truth_k4)]
    return np.asarray(mask.iou(sides[0], sides[1], crowd_k.astype(np.uint8).tolist()))


def match(
    answers: BoxAnswers,
    targets: BoxTargets,
    classes: int,
    most: int = MOST,
    *,
    of_any: bool = False,
) -> Matches:
    """Match detections to truths, picture by picture, as COCO does at `SURE_IOU`.

    Args:
        answers: of the samples of `targets`, in the same order.
        targets: what is right.
        classes: c.
        most: detections of one category on one picture that count.
        of_any: each category is matched as if all truths were of it, whatever they are.
    """
    assert len(answers) == len(targets), "answers and targets are of the same samples"
    rows: list[tuple[np.ndarray, ...]] = []
    first_k, first_d = 0, 0
    truths_nc = np.zeros((len(targets), classes), dtype=np.int64)
    for n, (said, there) in enumerate(zip(answers, targets, strict=True)):
        (boxes_d4, labels_d, scores_d), (truth_k4, truth_label_k, crowd_k) = said, there
        order_d = surest(labels_d, scores_d, most)
        iou_dk = overlaps(boxes_d4[order_d].astype(float), truth_k4.astype(float), crowd_k)
        if of_any:
            truths_nc[n] = np.count_nonzero(~crowd_k)
            truth_d = _each_alone(iou_dk, labels_d[order_d], crowd_k)
        else:
            np.add.at(truths_nc[n], truth_label_k[~crowd_k], 1)
            same_dk = labels_d[order_d][:, None] == truth_label_k[None, :]
            truth_d = _greedy(np.where(same_dk, iou_dk, -1.0), crowd_k)
        ignored_d = (truth_d >= 0) & crowd_k[truth_d] if len(crowd_k) else truth_d >= 0
        truth_d = np.where(truth_d >= 0, truth_d + first_k, -1)
        label_d, score_d = labels_d[order_d], scores_d[order_d].astype(float)
        picture_d = np.full(len(order_d), n)
        rows.append((picture_d, label_d, score_d, truth_d, ignored_d, order_d + first_d))
        first_k += len(truth_k4)
        first_d += len(boxes_d4)
    return _joined(rows, truths_nc)


def _joined(rows: Sequence[tuple[np.ndarray, ...]], truths_nc: np.ndarray) -> Matches:
    empty = tuple(np.zeros(0, kind) for kind in (int, int, float, int, bool, int))
    picture_d, label_d, score_d, truth_d, ignored_d, rank_d = (
        np.concatenate(part) for part in zip(empty, *rows, strict=True)
    )
    return Matches(picture_d, label_d, score_d, truth_d, ignored_d, rank_d, truths_nc)


def surest(labels_d: np.ndarray, scores_d: np.ndarray, most: int) -> np.ndarray:
    """Detections in the order of their scores, at most so many of each category."""
    order_d = np.argsort(-scores_d, kind="stable")
    if len(order_d) <= most:
        return order_d
    label_d = labels_d[order_d]
    rank_d = np.zeros(len(order_d), dtype=np.int64)
    for label in np.unique(label_d):
        rank_d[label_d == label] = np.arange(np.count_nonzero(label_d == label))
    return order_d[rank_d < most]


def _each_alone(iou_dk: np.ndarray, label_d: np.ndarray, crowd_k: np.ndarray) -> np.ndarray:
    """Truth_d where no category takes a truth from another."""
    truth_d = np.full(len(iou_dk), -1)
    for label in np.unique(label_d):
        truth_d[label_d == label] = _greedy(iou_dk[label_d == label], crowd_k)
    return truth_d


def _greedy(iou_dk: np.ndarray, crowd_k: np.ndarray) -> np.ndarray:
    """Truth_d of one picture, -1 for none. Of equal overlaps the last one counts, as in COCO."""
    truth_d = np.full(len(iou_dk), -1)
    possible_dk = iou_dk >= SURE_IOU
    free_k = ~crowd_k
    for d in np.flatnonzero(possible_dk.any(axis=1)):
        # A crowd is taken only where nothing else fits, and by any number of detections.
        for taken_k in (possible_dk[d] & free_k, possible_dk[d] & crowd_k):
            (at,) = np.nonzero(taken_k)
            if len(at):
                best = at[len(at) - 1 - int(iou_dk[d][at][::-1].argmax())]
                truth_d[d] = best
                if not crowd_k[best]:
                    free_k[best] = False
                break
    return truth_d


# Average precision --------------------------------------------------------------------------------


def average_precision(answers: BoxAnswers, targets: BoxTargets, classes: int) -> Score:
    """Mean over categories of the average precision at `SURE_IOU`, under weights on pictures: AP50.

    Precision is taken at 101 steps of recall, as COCO does (Lin et al. 2014).

    Args:
        answers: of the samples of `targets`, in the same order.
        targets: what is right.
        classes: c.
    """
    return precision_of(match(answers, targets, classes))


def precision_of(matches: Matches) -> Score:
    """`average_precision` of what was matched."""
    curves = [curve_of(matches, label) for label in range(matches.truths_nc.shape[1])]

    def score(weights_rn: np.ndarray) -> np.ndarray:
        parts = [weights_rn[i : i + _ROWS] for i in range(0, len(weights_rn), _ROWS)]
        return np.concatenate([_mean(curves, part) for part in parts])

    return score


@dataclass(frozen=True)
class Curve:
    """What precision and recall of one category are made of.

    Attributes:
        picture_t: of each right detection, the surest first.
        score_t: how sure.
        wrong_nt: how many wrong detections of each picture come between the right one before
            and this one; sparse.
        truths_n: truths of each picture.
    """

    picture_t: np.ndarray
    score_t: np.ndarray
    wrong_nt: Any
    truths_n: np.ndarray

    def points(self, weights_rn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Recall_rt and precision_rt, just after each right detection."""
        right_rt = weights_rn[:, self.picture_t].cumsum(axis=1)
        # The transpose lets the sparse matrix stand on the left.
        wrong_rt = (self.wrong_nt.T @ weights_rn.T).T.cumsum(axis=1)
        truths_r = weights_rn @ self.truths_n
        recall_rt = right_rt / np.maximum(truths_r, 1e-12)[:, None]
        return recall_rt, right_rt / np.maximum(right_rt + wrong_rt, 1e-12)


def curve_of(matches: Matches, label: int) -> Curve:
    """The curve of one category."""
    here_d = (matches.label_d == label) & ~matches.ignored_d
    return curve(
        matches.picture_d[here_d],
        matches.score_d[here_d],
        matches.hit_d[here_d],
        matches.truths_nc[:, label],
    )


def curve(
    picture_d: np.ndarray, score_d: np.ndarray, hit_d: np.ndarray, truths_n: np.ndarray
) -> Curve:
    """The curve of the detections of one category, in the order of the pictures."""
    from scipy.sparse import csr_array

    order_d = np.argsort(-score_d, kind="stable")
    picture_d, hit_d = picture_d[order_d], hit_d[order_d]
    right = int(hit_d.sum())
    before_d = np.cumsum(hit_d) - hit_d  # number of the right detection that comes next
    wrong_d = ~hit_d & (before_d < right)
    shape = (len(truths_n), right)
    wrong_nt = csr_array(
        (np.ones(np.count_nonzero(wrong_d)), (picture_d[wrong_d], before_d[wrong_d])), shape=shape
    )
    return Curve(picture_d[hit_d], score_d[order_d][hit_d], wrong_nt, truths_n.astype(np.float64))


def _mean(curves: Sequence[Curve], weights_rn: np.ndarray) -> np.ndarray:
    total_r, seen_r = np.zeros(len(weights_rn)), np.zeros(len(weights_rn))
    for one in curves:
        there_r = weights_rn @ one.truths_n > 0
        if there_r.any():
            total_r += np.where(there_r, area(one, weights_rn), 0.0)
            seen_r += there_r
    return total_r / np.maximum(seen_r, 1)


def area(one: Curve, weights_rn: np.ndarray) -> np.ndarray:
    """Average precision in each draw."""
    if not len(one.picture_t):
        return np.zeros(len(weights_rn))
    recall_rt, precision_rt = one.points(weights_rn)
    best_rt = np.maximum.accumulate(precision_rt[:, ::-1], axis=1)[:, ::-1]
    reached_rt = np.searchsorted(_RECALLS, recall_rt, side="right")
    first_rt = np.diff(reached_rt, axis=1, prepend=0)  # recalls that none before has reached
    return (first_rt * best_rt).sum(axis=1) / len(_RECALLS)


def precision_recall(one: Curve) -> list[tuple[float, float, float]]:
    """Recall, precision and confidence after each right detection, on all pictures once."""
    recall_rt, precision_rt = one.points(np.ones((1, len(one.truths_n))))
    rows = zip(recall_rt[0], precision_rt[0], one.score_t, strict=True)
    return [(float(r), float(p), float(s)) for r, p, s in rows]


# The confidence -----------------------------------------------------------------------------------


def choose_confidence(matches: Matches, precision: float | None = None) -> Confidence:
    """The confidence from which boxes are shown.

    Args:
        matches: on validation data. The confidence lies between two of its scores.
        precision: the least share of shown boxes that must be right; the confidence is then the
            lowest that keeps it (where none does, the one with the highest precision). None asks
            for the best F1.
    """
    shown_d = ~matches.ignored_d
    truths = int(matches.truths_nc.sum())
    order_d = np.argsort(-matches.score_d[shown_d], kind="stable")
    score_d, hit_d = matches.score_d[shown_d][order_d], matches.hit_d[shown_d][order_d]
    if not len(score_d):
        return Confidence(0.5, 0.0, 0.0, 0.0)
    # Boxes of one score are shown together.
    ends = np.flatnonzero(np.append(score_d[1:] != score_d[:-1], True))
    right_e, said_e = hit_d.cumsum()[ends], ends + 1
    precision_e, recall_e = right_e / said_e, right_e / max(1, truths)
    f1_e = 2 * right_e / (said_e + truths)
    if precision is None:
        best = int(f1_e.argmax())
    else:
        (kept,) = np.nonzero(precision_e >= precision)
        best = int(kept[-1]) if len(kept) else int(precision_e.argmax())
    return Confidence(
        _between(score_d, int(ends[best])),
        float(precision_e[best]),
        float(recall_e[best]),
        float(f1_e[best]),
    )


def _between(score_d: np.ndarray, last: int) -> float:
    """The middle between the last score that is shown and the next, both falling.

    At the score itself its box would be shown or not by the rounding of another batch.
    """
    lowest = np.float32(score_d[last])
    below = np.float32(score_d[last + 1] if last + 1 < len(score_d) else _JUST_BELOW * lowest)
    middle = (lowest + below) / np.float32(2)
    return float(middle if middle > below else lowest)  # nothing lies between neighbours


def confidences(matches: Matches) -> dict[str, Any]:
    """The confidences that are kept with a model.

    Returns:
        "threshold" has the best F1; "steps" are pairs of a precision and the lowest confidence
        from which on it was reached, both rising, a hundred at most.
    """
    steps: list[list[float]] = []
    for wanted in np.arange(1, _STEPS + 1) / _STEPS:
        chosen = choose_confidence(matches, float(wanted))
        if chosen.precision < wanted:
            break
        if not steps or chosen.threshold > steps[-1][1]:
            steps.append([chosen.precision, chosen.threshold])
    return {"threshold": choose_confidence(matches).threshold, "steps": steps}


def steps_of(calibrated: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Precision and confidence, both rising, as `confidences` keeps them; models of before, too."""
    if "steps" in calibrated:
        return [(precision, threshold) for precision, threshold in calibrated["steps"]]
    told = {name.partition("precision_")[2]: value for name, value in calibrated.items()}
    return sorted((float(share), value) for share, value in told.items() if share)


def shown(matches: Matches, threshold: float) -> dict[str, Any]:
    """What is shown from a confidence on, and how much of it is right.

    Returns:
        "threshold", "shown" (boxes, but for those on crowds, which are neither right nor wrong),
        "right" (of these), "objects" (that are there), and the shares "precision" and "recall",
        None where nothing is shown, or there.
    """
    shown_d = (matches.score_d >= threshold) & ~matches.ignored_d
    right, said = int((matches.hit_d & shown_d).sum()), int(shown_d.sum())
    there = int(matches.truths_nc.sum())
    return {
        "threshold": threshold,
        "shown": said,
        "right": right,
        "objects": there,
        "precision": right / said if said else None,
        "recall": right / there if there else None,
    }
