"""The linear probe against scikit-learn, and its choice of penalty."""

from __future__ import annotations

import numpy as np
import pytest

from regraft.seeds import generator
from regraft.tasks.probe import PENALTIES, PENALTY_UNJUDGED, Axes, Probe, fit_probe


def blobs(n: int, d: int, c: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(0, "blobs", n, d)
    label_n = np.arange(n) % c
    middle_cd = generator(0, "middles", d).normal(size=(c, d)) * signal
    return (rng.normal(size=(n, d)) + middle_cd[label_n] + 3).astype(np.float32), label_n


def fit(x_nd: np.ndarray, label_n: np.ndarray, penalty: float | None = None) -> Probe:
    n, c = len(x_nd), int(label_n.max()) + 1
    return fit_probe(
        x_nd,
        np.eye(c)[label_n],
        exclusive=True,
        weight_n=np.ones(n),
        clusters=[""] * n,
        seed=0,
        penalty=penalty,
    )


@pytest.mark.parametrize(("n", "d"), [(60, 200), (300, 40)])
def test_solution_is_scikit_learns(n: int, d: int) -> None:
    from scipy.special import softmax
    from sklearn.linear_model import LogisticRegression

    x_nd, label_n = blobs(n, d, 4, 0.3)
    ours = fit(x_nd, label_n, penalty=1e-2)
    centred_nd = x_nd - x_nd.mean(axis=0)
    scaled_nd = centred_nd / np.sqrt((centred_nd**2).sum(axis=1).mean())
    theirs = LogisticRegression(C=1 / (1e-2 * n), tol=1e-8, max_iter=5000).fit(scaled_nd, label_n)
    np.testing.assert_allclose(
        softmax(ours.logits(x_nd), axis=1), theirs.predict_proba(scaled_nd), atol=3e-3
    )


@pytest.mark.parametrize(("n", "d"), [(80, 200), (400, 40)])
def test_axes_of_more_samples_lead_to_the_same_minimum(n: int, d: int) -> None:
    x_nd, label_n = blobs(n, d, 4, 0.3)
    part_nd, target_nc = x_nd[: n // 2], np.eye(4)[label_n[: n // 2]]
    mine, others = Axes.of(part_nd), Axes.of(x_nd)
    answers = [
        fit_probe(
            part_nd, target_nc, exclusive=True, weight_n=np.ones(len(part_nd)), clusters=[], seed=0,
            penalty=penalty, axes=axes,
        ).logits(x_nd)
        for axes, penalty in ((mine, 1e-2), (others, 1e-2 * (mine.scale / others.scale) ** 2))
    ]  # fmt: skip
    chances = [np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in answers]
    np.testing.assert_allclose(chances[0], chances[1], atol=3e-3)


def test_penalty_is_strong_for_noise_and_weak_for_a_clear_signal() -> None:
    noise = fit(*blobs(120, 60, 3, 0.0))
    clear = fit(*blobs(120, 60, 3, 2.0))
    assert noise.penalty == PENALTIES[0]
    assert clear.penalty < noise.penalty
    assert [penalty for penalty, _ in clear.judged] == list(PENALTIES[: len(clear.judged)])


def test_one_sample_a_class_is_too_few_to_choose() -> None:
    x_nd, label_n = blobs(5, 30, 5, 2.0)
    probe = fit(x_nd, label_n)
    assert (probe.penalty, probe.judged) == (PENALTY_UNJUDGED, ())
    assert (probe.logits(x_nd).argmax(axis=1) == label_n).all()


def test_clusters_are_not_divided_between_folds() -> None:
    # Every sample stands four times with a label of its own liking: memorising the copies looks
    # good unless they stay together.
    rng = generator(0, "copies")
    x_nd = np.repeat(rng.normal(size=(60, 80)), 4, axis=0).astype(np.float32)
    label_n = np.repeat(rng.integers(0, 2, 60), 4)
    names = [str(i // 4) for i in range(240)]
    probe = {
        kind: fit_probe(
            x_nd,
            np.eye(2)[label_n],
            exclusive=True,
            weight_n=np.ones(240),
            clusters=clusters,
            seed=0,
        )
        for kind, clusters in {"apart": [""] * 240, "together": names}.items()
    }
    assert probe["together"].penalty > probe["apart"].penalty


def test_a_class_of_one_sample_does_not_end_the_choice_of_the_penalty() -> None:
    x_nd, label_n = blobs(400, 60, 4, 0.3)
    usual = fit(x_nd, label_n)
    with_one = fit(x_nd[:401], np.append(label_n[:-1], 4))
    assert usual.judged and with_one.judged
    assert with_one.penalty == usual.penalty


def test_one_row_of_an_unusual_first_class_does_not_either() -> None:
    x_nd, label_n = blobs(300, 20, 2, 0.5)
    target_nc = np.zeros((300, 3))
    target_nc[np.arange(300), label_n + 1] = 1
    target_nc[0] = (1, 1, 0)
    probe = fit_probe(
        x_nd, target_nc, exclusive=False, weight_n=np.ones(300), clusters=[""] * 300, seed=0
    )
    assert probe.judged


def test_multilabel_learns_each_class_for_itself() -> None:
    x_nd, _ = blobs(300, 20, 2, 0.0)
    target_nc = np.stack([x_nd[:, 0] > 3, x_nd[:, 1] > 3, np.ones(300)], axis=1).astype(float)
    probe = fit_probe(
        x_nd, target_nc, exclusive=False, weight_n=np.ones(300), clusters=[""] * 300, seed=0
    )
    assert ((probe.logits(x_nd) > 0) == (target_nc > 0)).mean() > 0.97


def test_same_bits_again_whatever_the_threads() -> None:
    from threadpoolctl import threadpool_limits

    x_nd, label_n = blobs(100, 150, 3, 0.5)
    with threadpool_limits(1):
        first = fit(x_nd, label_n)
    second = fit(x_nd, label_n)
    assert first.weight_cd.tobytes() == second.weight_cd.tobytes()
    assert first.bias_c.tobytes() == second.bias_c.tobytes()
