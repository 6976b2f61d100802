"""The rungs that are asked for."""

from __future__ import annotations

import pytest

from regraft.errors import UsageError
from regraft.transfer.ladder import rung_names


@pytest.mark.parametrize(
    ("train", "names"),
    [
        ("head", ["head"]),
        ("ladder", ["head", "last:1", "last:2", "last:4", "last:8", "all"]),
        ("last:3", ["head", "last:3"]),
        ("all", ["head", "all"]),
    ],
)
def test_rungs_in_order(train: str, names: list[str]) -> None:
    assert rung_names(train, 9) == names


def test_more_stages_than_there_are_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(UsageError, match="9 stages"):
        rung_names("last:50", 9)
