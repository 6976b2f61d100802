"""Numbers, metrics and lists in words."""

from __future__ import annotations

import pytest

from regraft import wording


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.9123, "91.2 %"),
        (1.0, "100.0 %"),
        (0.99996, "> 99.9 %"),
        (0.0001, "< 0.1 %"),
        (0.0, "0.0 %"),
        (None, "–"),
    ],
)
def test_what_is_not_quite_all_or_nothing_is_not_rounded_to_it(
    share: float | None, said: str
) -> None:
    assert wording.percent(share) == said


@pytest.mark.parametrize("name", ["cat", "New Zealand", "Katze-groß", "très bien", "बिल्ली", "a_b"])
def test_classes_that_are_words_stand_in_a_sentence_as_they_are(name: str) -> None:
    assert wording.class_in_words(name) == name


@pytest.mark.parametrize("name", ["3", "-1", "7 UP", "d3", "cats, large", "²", "(none)", "+", ""])
def test_classes_that_a_sentence_would_mix_up_are_in_quotes(name: str) -> None:
    assert wording.class_in_words(name) == f'"{name}"'


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.912, 0.883, 0.938, "91.2 % (88.3 to 93.8)"),
        (0.9998, 0.9996, 1.0, "> 99.9 % (99.9 to 100.0)"),
        (0.0003, 0.0, 0.0004, "< 0.1 % (0.0 to 0.1)"),
        (0.255, 0.0, 1.0, "25.5 % (no interval: too few samples)"),
    ],
)
def test_an_interval_says_the_same_of_its_ends(
    value: float, low: float, high: float, said: str
) -> None:
    assert wording.interval({"value": value, "low": low, "high": high}) == said


def test_what_was_not_measured_has_no_interval() -> None:
    assert wording.interval(None) == "–"


def test_a_difference_of_nothing_has_no_interval() -> None:
    assert wording.points(0.012, -0.003, 0.027) == "+1.2 points (-0.3 to +2.7)"
    assert wording.points(0.012, -0.003, 0.027, 0.12) == "+1.2 points (-0.3 to +2.7, p = 0.120)"
    untold = "+15.7 points (no interval: too few samples, p = 1.000)"
    assert wording.points(0.157, -1.0, 1.0, 1.0) == untold
    assert wording.span_of_points(-0.003, 0.027) == "-0.3 to +2.7"
    assert wording.points(0.0, 0.0, 0.0) == "no difference"
    assert wording.points(0.0, 0.0, 0.0, 1.0) == "no difference (p = 1.000)"


def test_things_and_names() -> None:
    assert [wording.plural(n, "label") for n in (0, 1, 1200)] == [
        "0 labels", "1 label", "1,200 labels",
    ]  # fmt: skip
    assert [wording.plural(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
    names = ["a", "b", "c"]
    assert [wording.some_of(names, most) for most in (2, 3)] == ["a, b and 1 more", "a, b, c"]
    assert wording.some_of(names * 1000, 1) == "a and 2,999 more"
    assert wording.metric_name("balanced_accuracy") == "balanced accuracy"


@pytest.mark.parametrize(
    ("per_second", "said"),
    [(0.31, "0.31"), (2.44, "2.4"), (12.6, "13"), (25_071.3, "25,071"), (1_234_567, "1.2 M")],
)
def test_a_slow_training_is_not_said_to_stand_still(per_second: float, said: str) -> None:
    assert wording.rate(per_second) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert wording.duration(seconds) == said


def test_sizes_and_counts() -> None:
    sizes = {640: "640 B", 999_900: "1 MB", 17_300_000: "17.3 MB", 2e12: "2 TB", None: "–"}
    assert {number: wording.size(number) for number in sizes} == sizes
    counts = {999_999: "999,999", 3_400_000: "3.4 M", None: "–"}
    assert {number: wording.count(number) for number in counts} == counts
