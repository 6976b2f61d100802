"""The verdict: what it says of few samples, few groups and doubtful data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regraft.events import Event, Said
from regraft.pretraining import MaskedSettings, judge, verb
from regraft.pretraining.masked_language import MaskedLanguage
from regraft.tasks.classification import Classification
from regraft.transfer.held_out import HeldOut


def judged(groups: int, count: int = 40) -> dict[str, Any]:
    """The verdict on a start that is half right and a result that is all right."""
    task = Classification("image-classification", ("a", "b"))
    target_nc = np.eye(2, dtype=np.float32)[np.arange(count) % 2]
    before_nc = target_nc.copy()
    before_nc[1::2] = 1 - before_nc[1::2]
    held: Any = [SimpleNamespace(group=f"patient {i * groups // count}") for i in range(count)]
    told: Any = SimpleNamespace(
        targets=lambda samples: target_nc, score=task.score, metric_name=task.metric_name
    )
    evaluator: Any = SimpleNamespace(held_out=HeldOut.of(told, held, 0), test=held)
    before, after = (
        judge.ProbeResult(np.zeros((count, 1)), said) for said in (before_nc, target_nc)
    )
    facts = {"steps": 1, "samples": count}
    tuned: Any = SimpleNamespace(before_nc=before_nc, after_nc=target_nc, facts=facts)
    return judge.verdict(evaluator, before, after, tuned)


@pytest.mark.parametrize(("groups", "answer"), [(2, "no difference"), (5, "no difference"),
                                                (8, "helped"), (40, "helped")])  # fmt: skip
def test_it_takes_groups_not_samples_to_tell_that_it_helped(groups: int, answer: str) -> None:
    found = judged(groups)
    assert found["answer"] == found["fine_tuned"]["answer"] == answer
    said = f"The judge measures on 40 samples of {groups} groups, which show little."
    assert (said in found["text"]) == (groups < judge.FEW_HELD)


def test_where_nothing_differs_it_is_said_once() -> None:
    same = {"name": "balanced_accuracy", "value": 0.9998}
    found = {"before": same, "after": same, "split": "test", "answer": "no difference", "p": 1.0}
    nothing = found | {"difference": {"value": 0.0, "low": 0.0, "high": 0.0}}
    place = "> 99.9 % balanced accuracy on the judge's test split, the start > 99.9 %"
    assert judge._said(nothing) == f"{place}: no difference (p = 1.000)"
    little = found | {"difference": {"value": 0.002, "low": -0.004, "high": 0.01}, "p": 0.4}
    said = "no difference, +0.2 points (-0.4 to +1.0, p = 0.400)"
    assert judge._said(little) == f"{place}: {said}"


def test_a_judge_of_votes_has_the_labels_that_people_agree_on(tmp_path: Path) -> None:
    table = tmp_path / "votes.csv"
    rows = [
        f"{text},{person},{said}"
        for n, text in enumerate(("a quick fox", "one lazy dog", "two red hens", "some grey cats"))
        for person, said in zip("abc", ("odd", "even", ("even", "odd")[n % 2]), strict=True)
    ]
    table.write_text("\n".join(["text,annotator,label", *rows]))
    question = {"max_bad": 0.01, "seed": 0}
    told: list[Event] = []
    found = verb._judge(table, MaskedLanguage(MaskedSettings()), question, None, told.append)
    assert found is not None and len(found) == 4
    said = {sample.source: found.classes[sample.target] for sample in found}
    assert said["a quick fox"] == "even" and said["one lazy dog"] == "odd"
    (counted,) = [event.text for event in told if isinstance(event, Said)]
    assert [problem.kind for problem in found.problems].count("votes") == 1
    assert counted.startswith(f"{len(found.problems) - 1} problems found")
