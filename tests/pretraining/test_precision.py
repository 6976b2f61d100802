"""Which precision is taken is decided by the clock, and not by chance."""

from __future__ import annotations

import pytest

from regraft.pretraining import precision


@pytest.mark.parametrize(("bf16_s", "quicker"), [(0.5, True), (0.95, False), (1.5, False)])
def test_bfloat16_must_be_clearly_quicker(
    bf16_s: float, quicker: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, turns = [0.0], list[bool]()

    def take(bf16: bool) -> None:
        # The first time of each is slow: nothing is warm yet.
        now_s[0] += (bf16_s if bf16 else 1.0) + (bf16 not in turns) * 5
        turns.append(bf16)

    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now_s[0])
    found = precision.measured(take).facts
    assert found["bf16"] is quicker
    assert found["seconds"] == pytest.approx([1.0, bf16_s])
    assert turns == [False, True] * 3


def test_a_processor_without_bfloat16_is_not_asked_to_emulate_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    asked: list[bool] = []
    assert precision.measured(asked.append).facts == {"bf16": False, "seconds": None}
    assert not asked
