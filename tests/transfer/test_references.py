"""What is said of the references beside the ladder."""

from __future__ import annotations

import pytest

from regraft.tasks.measure import Difference
from regraft.transfer.references import beside_tfidf


@pytest.mark.parametrize(
    ("value", "p", "said"),
    [
        (0.02, 0.051, "TF-IDF and logistic regression, which need no pre-trained network, cannot "
         "be told from the chosen rung: {} for the rung, p = 0.051, on 1,200 validation texts."),
        (-0.02, 0.2, "cannot be told from the chosen rung: {} for the rung, p = 0.200"),
        (0.02, 0.01, "The chosen rung is {} ahead of TF-IDF and logistic regression"),
        (-0.02, 0.01, "network, win: {} for the chosen rung. Use them for these texts."),
    ],
)  # fmt: skip
def test_tfidf_wins_loses_or_cannot_be_told_apart(value: float, p: float, said: str) -> None:
    gap = Difference(value, value - 0.01, value + 0.01, p)
    assert said.format(gap.points) in beside_tfidf(gap, 1200)
