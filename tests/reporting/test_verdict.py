"""The outcome in plain words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from regraft.reporting import page
from regraft.reporting.verdict import savings, verdict

DATA = {
    "thing": "picture", "splits": {"train": 9, "valid": 10, "test": 0}, "problems": [],
    "counts": {"train": [5, 4], "valid": [6, 4], "test": [0, 0]},
}  # fmt: skip
METRIC = {"name": "accuracy", "value": 0.8, "low": 0.7, "high": 0.9}


@pytest.mark.parametrize(
    ("verdicts", "best", "said"),
    [
        (["kept", "no gain", "worse"], "head", "(last:1) could not be shown to help"),
        (["kept", "worse", "worse"], "head", "(last:2) did not help"),
        (["kept", "no gain", "kept"], "last:2", ""),
        (["kept", "kept", "no gain"], "last:1", "(last:2) could not be shown to help"),
        (["kept", "skipped", "skipped"], "head", "was not tried: because of last:1."),
        (["kept", "no gain", "skipped"], "head", "(last:1) could not be shown to help"),
    ],
)
def test_only_deeper_rungs_are_said_not_to_have_helped(
    verdicts: list[str], best: str, said: str
) -> None:
    text = verdict(_climbed(verdicts, best))
    assert said in text
    assert ("to help" in text or "not help" in text or "was not tried" in text) == bool(said)


def _climbed(verdicts: list[str], best: str) -> dict[str, Any]:
    names = ("head", "last:1", "last:2")[: len(verdicts)]
    return {
        "task": "image-classification",
        "data": DATA,
        "rungs": [
            {"name": name, "verdict": outcome, "metric": METRIC, "why": f"because of {name}"}
            for name, outcome in zip(names, verdicts, strict=True)
        ],
        "best": best,
        "test": None,
        "scratch": None,
    }


@pytest.mark.parametrize(
    ("verdicts", "over", "said"),
    [
        (["kept", "no gain", "skipped"], "last:2", ["The budget ended the climb before last:2."]),
        (["kept", "worse", "skipped"], "last:2", ["The budget ended the climb before last:2."]),
        (["kept", "skipped", "skipped"], "last:1", []),  # its reason is said
        (["kept", "no gain", "no gain"], "", []),
    ],
)
def test_what_the_budget_cut_off_is_said(verdicts: list[str], over: str, said: list[str]) -> None:
    plan = [{"rung": name, "over_budget": name == over} for name in ("last:1", "last:2")]
    text = verdict(_climbed(verdicts, "head") | {"plan": plan})
    assert [part for part in said if part in text] == said
    assert text.count("The budget") == len(said)


@pytest.mark.parametrize(
    ("budget_s", "head_s", "said"),
    [
        (None, 20.0, ""),
        (21.0, 20.0, ""),  # of a second more or less nothing is said
        (
            9.0,
            20.0,
            "took 21 s, the budget was 9.0 s: the first of them, head, is trained whatever",
        ),
        (
            15.0,
            4.0,
            "took 21 s, the budget was 15 s: one took longer than its trial had let expect.",
        ),
    ],
)
def test_a_budget_that_was_exceeded_is_said(
    budget_s: float | None, head_s: float, said: str
) -> None:
    report = _climbed(["kept", "no gain"], "head")
    report["rungs"][0]["seconds"] = {"total": head_s}
    text = verdict(report | {"seconds": 21.2, "budget_s": budget_s})
    assert (said in text) and ("the budget was" in text) == bool(said)


def test_of_one_picture_no_interval_is_said() -> None:
    data = DATA | {"splits": {"train": 9, "valid": 1, "test": 0}}
    metric = METRIC | {"name": "ap50", "low": 0.0, "high": 1.0}
    report = _climbed(["kept"], "head")
    report |= {"data": data, "rungs": [report["rungs"][0] | {"metric": metric}]}
    said = "on the validation split of 1 picture (no interval: too few samples)."
    assert said in verdict(report)


@pytest.mark.parametrize(
    ("name", "low", "said"),
    [
        ("accuracy", 0.6, "cannot be told from always saying the most frequent class, which "
         "gives 60.0 %."),
        ("accuracy", 0.61, ""),
        ("balanced_accuracy", 0.5, "cannot be told from guessing, which gives 50.0 %."),
        ("balanced_accuracy", 0.51, ""),
        ("mean_average_precision", 0.1, ""),
    ],
)  # fmt: skip
def test_what_is_no_better_than_guessing_is_called_that(name: str, low: float, said: str) -> None:
    rung = {"name": "head", "verdict": "kept", "metric": METRIC | {"name": name, "low": low}}
    report: dict[str, Any] = {
        "task": "image-classification", "data": DATA, "rungs": [rung], "best": "head",
        "test": None, "scratch": None,
    }  # fmt: skip
    text = verdict(report)
    assert said in text and ("cannot be told" in text) == bool(said)


def test_what_ended_the_climb_is_not_said_again_for_every_rung() -> None:
    equal = "no difference against head (p = 1.000): within noise"
    rungs = [("kept", "the first rung"), ("no gain", equal), ("no gain", equal),
             ("skipped", "no time"), ("skipped", "no time")]  # fmt: skip
    said = page.reasons([{"verdict": outcome, "why": why} for outcome, why in rungs])
    assert said == ["the first rung", equal, equal, "no time", "as above"]


def test_a_metric_has_one_name_in_the_verdict_and_on_the_page() -> None:
    metric = METRIC | {"name": "balanced_accuracy"}
    report: dict[str, Any] = {
        "task": "image-classification",
        "data": DATA,
        "rungs": [{"name": "head", "verdict": "kept", "metric": metric}],
        "best": "head",
        "test": None,
        "scratch": None,
    }
    said = "80.0 % balanced accuracy on the validation split of 10 pictures (70.0 % to 90.0 %)"
    assert said in verdict(report)


def of_the_head(**data: Any) -> dict[str, Any]:
    """The report of a head, with these facts on its data."""
    return {
        "task": "image-classification",
        "data": DATA | data,
        "rungs": [{"name": "head", "verdict": "kept", "metric": METRIC}],
        "best": "head",
        "test": None,
        "scratch": None,
    }


@pytest.mark.parametrize(
    ("verdicts", "test", "is_said"),
    [
        (["kept", "no gain"], None, True),
        (["kept", "kept"], METRIC, False),
        (["kept", "skipped"], None, False),
        (["kept"], None, False),
    ],
)
def test_that_the_split_which_chose_the_rung_is_the_only_one_is_a_doubt(
    verdicts: list[str], test: Any, is_said: bool
) -> None:
    report = of_the_head() | {"test": test}
    report["data"] |= {
        "splits": {"train": 9, "valid": 10, "test": 8},
        "counts": {"valid": [6, 4], "test": [4, 4]},
    }
    report["rungs"] = [
        {"name": name, "verdict": outcome, "metric": METRIC, "why": "…"}
        for name, outcome in zip(("head", "last:1"), verdicts, strict=False)
    ]
    said = "to 90.0 %). There is no test split: this one chose the rung as well, which flatters"
    assert (said in verdict(report)) == is_said
    assert ("no test split" in verdict(report)) == is_said


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (0, ""),
        (1, "1 group stands in several of the given splits: the score may be earned by memory."),
        (3, "3 groups stand in several of the given splits: the score may be earned by memory."),
    ],
)
def test_groups_in_several_splits_are_a_doubt_beside_the_score(groups: int, said: str) -> None:
    problem = {"kind": "group-across-splits", "what": "The group stands in test and train."}
    report = of_the_head(problems=groups * [problem])
    text = verdict(report)
    assert text.endswith(f"(70.0 % to 90.0 %). {said}".rstrip())


def test_where_labels_are_few_what_all_of_them_say_comes_first() -> None:
    few = {"how": "cross-validated", "text": "Cross-validated 10 times …, the head reaches 30.0 %."}
    report = of_the_head() | {"task": "text-classification", "few_labels": few}
    assert verdict(report).startswith(f"{few['text']} The new head alone reaches 80.0 %")
    report["few_labels"] = few | {"how": "drawn"}
    assert verdict(report).startswith("The new head alone reaches 80.0 %")
    report["few_labels"] |= {"few_groups": "There are few groups to learn from: ham …"}
    assert verdict(report).endswith("to 90.0 %). There are few groups to learn from: ham …")


def test_a_split_of_one_group_is_a_doubt_beside_the_score() -> None:
    what = "All 81 tiles of the test split are of one group (a.png): …"
    report = of_the_head(problems=[{"kind": "one-group", "what": what}])
    assert verdict(report).endswith(what)


def test_a_twin_that_learnt_nothing_says_nothing_about_labels() -> None:
    rung = {"trainable_parameters": 10, "seconds": {"total": 5.0}}
    climbed: Any = SimpleNamespace(best=SimpleNamespace(facts=rung), entries=[rung])
    twin = {
        "name": "scratch", "passes": 100, "metric": {"value": 0.002}, "gap": 0.7,
        "p": 0.001, "trainable_parameters": 1000, "seconds": {"total": 40.0},
    }  # fmt: skip
    found = savings(climbed, twin, CURVE)
    assert found["labels"] is None
    assert "had learnt next to nothing, so no labels are said to be saved" in found["text"]


CURVE = [{"labels": n, "value": value} for n, value in ((25, 0.5), (50, 0.6), (100, 0.7))]


@pytest.mark.parametrize(
    ("reached", "gap", "p", "labels", "said"),
    [
        (0.55, 0.2, 0.001, 50, "With 50 labels the new head is where the network from scratch is"),
        (0.65, 0.1, 0.001, 0, "the new head needs all 100 labels"),
        (0.55, 0.2, 0.3, None, "Within noise, so no labels are said to be saved"),
        (0.55, -0.01, 0.6, None, "Within noise, so no labels are said to be saved"),
        (0.9, -0.1, 0.001, None, "does not reach the network from scratch"),
    ],
)
def test_labels_are_saved_outside_the_noise_alone(
    reached: float, gap: float, p: float, labels: int | None, said: str
) -> None:
    rung = {"trainable_parameters": 10, "seconds": {"total": 5.0}}
    climbed: Any = SimpleNamespace(best=SimpleNamespace(facts=rung), entries=[rung])
    twin = {
        "name": "scratch", "passes": 100, "metric": {"value": reached}, "gap": gap, "p": p,
        "trainable_parameters": 1000, "seconds": {"total": 40.0},
    }  # fmt: skip
    found = savings(climbed, twin, CURVE)
    assert found["labels"] == labels
    assert (
        said in found["text"] and "The climb took 5 s, training from scratch 40 s." in found["text"]
    )
    worse = gap < 0 and p < 0.05
    assert found["trained_parameters"] == (None if worse else 990)


def test_no_parameters_are_saved_against_what_needs_no_network() -> None:
    rung = {"trainable_parameters": 10, "seconds": {"total": 5.0}}
    climbed: Any = SimpleNamespace(best=SimpleNamespace(facts=rung), entries=[rung])
    lexical = {
        "name": "tf-idf", "metric": {"value": 0.55}, "gap": 0.2, "p": 0.001,
        "trainable_parameters": 1000, "seconds": {"total": 1.0},
    }  # fmt: skip
    found = savings(climbed, lexical, CURVE)
    assert (found["labels"], found["trained_parameters"], found["text"]) == (50, None, "")


@pytest.mark.parametrize(
    ("gap", "p", "said"),
    [
        (0.3, 0.001, "training pays"),
        (-0.3, 0.001, "training makes it worse"),
        (0.3, 0.9, "no difference outside the noise"),
    ],
)
def test_the_detector_as_it_came_is_set_beside_the_rung_on_the_same_split(
    gap: float, p: float, said: str
) -> None:
    report = _climbed(["kept"], "head") | {"test": METRIC | {"value": 1.0}}
    report["data"] = DATA | {"splits": {"train": 9, "valid": 10, "test": 1}}
    report["untouched"] = {"metric": METRIC | {"value": 0.5}, "gap": gap, "p": p}
    text = verdict(report)
    assert "100.0 % accuracy on the test split" in text
    assert text.endswith(
        "On the validation split the detector as it came, its own head on, reaches 50.0 %, "
        f"the chosen rung 80.0 %: {said}."
    )


@pytest.mark.parametrize(("test", "lack"), [(0, "test split"), (4, "object on the test split")])
def test_why_no_test_split_was_measured_on_is_said(test: int, lack: str) -> None:
    report = _climbed(["kept", "kept"], "last:1") | {"task": "object-detection"}
    report["data"] = DATA | {"splits": {"train": 9, "valid": 10, "test": test}}
    assert f"There is no {lack}: this one chose the rung as well" in verdict(report)
