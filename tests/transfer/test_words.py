"""Which words of a text are found to carry its answer, by a model that counts words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.dataset import Sample
from regraft.events import silent
from regraft.store import Run
from regraft.tasks import Classification
from regraft.transfer import words

WEIGHT = {"good": 3.0, "fine": 1.0, "bad": -2.0}
ASKED: list[int] = []


def answers(ground: Any, best: Any, texts: list[str]) -> np.ndarray:
    ASKED.append(len(texts))
    sums = [sum(WEIGHT.get(word, 0.0) for word in text.split()) for text in texts]
    return np.array([[0.0, 0.1 + value] for value in sums]).reshape(-1, 2)


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(words, "_answers", answers)
    monkeypatch.setattr(words, "_read_to", lambda ground, best, text: len(text))
    monkeypatch.setattr(words, "inputs_of", lambda ground, asked: asked)
    ASKED.clear()

    def ask(*texts: str) -> list[list[tuple[str, float]]]:
        with Run.open(tmp_path / "run", {}) as run:
            ground: Any = SimpleNamespace(run=run, tell=silent)
            best: Any = SimpleNamespace(facts={"name": "head"}, weights={})
            samples = [Sample(str(n), text, 0) for n, text in enumerate(texts)]
            task = Classification("text-classification", ("a", "b"))
            found = words.decisive_words(ground, task, best, samples)
        return [[(part["words"], round(part["weight"], 3)) for part in one] for one in found]

    return ask


def test_of_a_short_text_each_word_is_weighed(named) -> None:
    first, second, third = named("a good and bad day", "nothing here", "one")
    assert first == [("good", 3.0), ("bad", -2.0)]
    assert second == third == []


def test_of_a_long_text_the_weightiest_runs_are_divided(named) -> None:
    filler = [f"w{n}" for n in range(200)]
    filler[33], filler[137], filler[138], filler[190] = "good", "bad", "bad", "fine"
    (found,) = named(" ".join(filler))
    # Of 200 words 10 runs of 20, and of the two weightiest 5 of 4 words each.
    assert found == [
        (" ".join(filler[136:140]), -4.0),
        (" ".join(filler[32:36]), 3.0),
        (" ".join(filler[180:200]), 1.0),
    ]
    assert sum(ASKED) == 1 + 10 + 10


def test_no_text_asks_for_more_than_a_few_readings(named) -> None:
    texts = [" ".join("good" for _ in range(count)) for count in (1, 2, 20, 21, 35, 1000)]
    named(*texts)
    assert sum(ASKED) <= len(texts) * (1 + words.SHORT)
