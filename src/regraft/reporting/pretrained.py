"""The page of a pre-training, drawn from its report and from thumbnails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from regraft.reporting import figures
from regraft.reporting.figures import Axis, visible
from regraft.reporting.page import environment, inlined
from regraft.reporting.thumbnails import of_samples
from regraft.wording import plural

Facts = Mapping[str, Any]

_CURVES = {
    "loss": "loss while learning",
    "held_loss": "loss on what is held out",
    "held_accuracy": "hidden words guessed right, held out",
    "probe": "linear probe, judge's validation split",
    "neighbours": "nearest neighbours, judge's validation split",
    "alignment": "alignment",
    "uniformity": "uniformity",
    "effective_rank": "effective rank",
    "spread": "spread",
}
_MOST = {"held_accuracy": 1.0, "probe": 1.0, "neighbours": 1.0}
"""Curves of shares."""
_COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#b3a125", "#35aed6", "#aa3377", "#8a8f94", "#a0653a",
    "#994455", "#997700",
)  # fmt: skip
"""Of labels on the map; each can be told from the page's paper, by day and by night."""
_TITLES = {"helped": "helped", "hurt": "hurt", "no difference": "made no difference to"}
_CLIPS_ONLY = ("clip_s", "frames", "pairs")
_PICTURE_PX, _FRAME_PX, _FRAMES = 72, 56, 3
"""Of thumbnails: a picture's longer side, the side of a clip's frames, how many of them."""


@dataclass(frozen=True)
class Reference:
    """A line of the table of references: what guesses, and how well.

    Attributes:
        name: what guesses.
        held: {"loss", "accuracy"} on what is held out.
        general: the same on the general text, or None.
    """

    name: str
    held: Facts
    general: Facts | None


def thumbnails(report: Facts) -> dict[str, bytes]:
    """Small JPEGs of the neighbours, by sample id; those that are gone are left out.

    A training of hours is not lost over a picture on its page.
    """
    root = Path((report["judge"] or report["data"])["path"])
    entries = [{"sample": name, "file": file} for name, file in report["files"].items()]
    size_px = _FRAME_PX if report["data"]["things"] == "clips" else _PICTURE_PX
    return of_samples(root, report["task"], entries, size_px, _FRAMES)


def render(report: Facts, thumbnails: Mapping[str, bytes]) -> str:
    """The page: verdict, references, curves, examples, neighbours, map. One file, no network."""
    return (
        environment()
        .get_template("pretrained.html.j2")
        .render(
            report=report,
            headline=headline(report),
            compared=_compared(report),
            references=references(report),
            curves=_curves(report),
            maps=_maps(report["map"]),
            classes=[
                (visible(name), _COLOURS[i % len(_COLOURS)])
                for i, name in enumerate((report["map"] or {"classes": []})["classes"])
            ],
            colours=len(_COLOURS),
            examples=list(_examples(report)),
            settings=_settings(report),
            pictures=inlined(thumbnails),
        )
    )


def headline(report: Facts) -> str:
    """The outcome in a sentence."""
    answer, steps = report["verdict"]["answer"], plural(report["steps"], "step")
    if report["verdict"].get("too_few_steps"):
        return f"{steps} of pre-training, too few to tell whether it helps."
    if answer in _TITLES:
        tuned = report["verdict"]["fine_tuned"]["answer"]
        then = "and" if tuned == answer else f"and {_TITLES[tuned]}"
        return f"Pre-training {_TITLES[answer]} the frozen network {then} the fine-tuned one."
    found = references(report)
    if found:
        first, last = (next(r.held for r in found if r.name == n) for n in ("start", "result"))
        return (
            f"The loss on held-out words went from {first['loss']:.2f} to {last['loss']:.2f}; "
            f"{100 * last['accuracy']:.0f} % of them are guessed right."
        )
    return f"{steps} of pre-training; whether that helps was not judged."


def _compared(report: Facts) -> str:
    """On what start and result are compared; what speaks against it is said."""
    text = (
        "The two are compared on the same samples by a paired bootstrap test, which is no surer "
        "than a sign test on the groups that carry the difference."
    )
    if report["verdict"].get("split") == "valid":
        text += (
            " The judge has no test split, so these are the samples that its probe was measured on "
            "while the network was trained."
        )
    done = "kept" if report["settings"].get("keep_duplicates") else "left out"
    if report["verdict"].get("split") == "test" or done == "kept":
        leaks = sum(problem["kind"] == "leak" for problem in report["data"]["problems"])
        text += (
            f" {leaks:,} of the pool that are or hold copies of the judge's were {done}."
            if leaks
            else " No copies of them were found in the pool."
        )
        if report["data"]["things"] == "clips":
            text += " (A copy that begins at another moment is not found.)"
    return text


def references(report: Facts) -> list[Reference]:
    """What guesses hidden words, the worst first; none where no words are hidden."""
    after = report["after"]
    if "held_out" not in after:
        return []
    found = [
        Reference("unigram", after["unigram"], None),
        Reference("start", report["before"]["held_out"], report["before"]["general"]),
        Reference("result", after["held_out"], after["general"]),
    ]
    scratch = report["scratch"]
    if scratch:
        trained = scratch["after"]
        found.insert(2, Reference("random weights", trained["held_out"], trained["general"]))
    return found


def beside_references(report: Facts) -> str:
    """A sentence on the loss beside its references; "" where no words are hidden."""
    loss = {one.name: one.held["loss"] for one in references(report)}
    if not loss:
        return ""
    result = loss.pop("result")
    beside = ", ".join(f"{name} {value:.2f}" for name, value in loss.items())
    better = [name for name, value in loss.items() if value <= result]
    doubt = f"; not below {' and '.join(better)}" if better else ""
    return f"Loss on hidden words of held-out texts: {result:.2f} nats ({beside}){doubt}."


def _curves(report: Facts) -> list[tuple[str, Markup]]:
    """Caption and picture of each curve that there is."""
    found: list[tuple[str, Markup]] = []
    measured = {name for point in report["curves"] for name in point} - {"step"}
    others = {name: name.replace("_", " ") for name in sorted(measured - _CURVES.keys())}
    for name, title in (_CURVES | others).items():
        points = _points(report["curves"], name)
        if len(points) < 2:
            continue
        series = [("line", points)]
        scratch = _points((report["scratch"] or {"curves": []})["curves"], name)
        if len(scratch) > 1:
            series.append(("before", scratch))
        levels = _levels(report, name)
        axes = Axis("steps", lambda n: f"{n:,.0f}"), Axis(title, _number, _MOST.get(name, math.inf))
        caption = f"{title}: first {_number(points[0][1])}, last {_number(points[-1][1])}"
        found.append((caption, figures.courses(f"curve-{name}", title, series, levels, axes)))
    return found


def _settings(report: Facts) -> list[tuple[str, str]]:
    """What was chosen, as people read it; what had no say is left out."""
    chosen: dict[str, Any] = dict(report["settings"])
    idle = ["queue", "momentum"] if chosen.get("negatives") == "batch" else list[str]()
    idle += ["epochs"] if chosen["budget_s"] is not None else ["budget_s"]
    idle += _CLIPS_ONLY if report["data"]["things"] != "clips" else ()
    chosen["bf16"] = "bfloat16" if report["after"].get("bf16") else "float32"
    names = {"bf16": "computed in", "budget_s": "budget, s", "size_px": "size, px"}
    words = {None: "as it comes", True: "yes", False: "no"}
    return [
        (
            names.get(name, name.replace("_", " ")),
            words[value] if value is None or isinstance(value, bool) else str(value),
        )
        for name, value in chosen.items()
        if name not in idle
    ]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _points(curves: Sequence[Facts], name: str) -> list[tuple[float, float]]:
    return [(point["step"], point[name]) for point in curves if point.get(name) is not None]


def _levels(report: Facts, name: str) -> list[tuple[str, float]]:
    kind = {"held_loss": "loss", "held_accuracy": "accuracy"}.get(name)
    if kind is None:
        return []
    return [
        ("unigram", report["after"]["unigram"][kind]),
        ("start", report["before"]["held_out"][kind]),
    ]


def _examples(report: Facts) -> list[tuple[Facts, Facts]]:
    """The same hidden words, filled in before and after."""
    before, after = (report[when].get("examples", []) for when in ("before", "after"))
    return list(zip(before, after, strict=True))


def _maps(found: Facts | None) -> list[tuple[str, Markup]]:
    if not found:
        return []
    return [(name, _map(found[name], found["labels"])) for name in ("before", "after")]


def _map(places: Sequence[Sequence[float]], labels: Sequence[int]) -> Markup:
    """Dots that fill a square, at one scale across and up; one column stands for two of zeros."""
    x, y = ([place[axis] if axis < len(place) else 0.0 for place in places] for axis in (0, 1))
    reach = max(max(x) - min(x), max(y) - min(y)) or 1.0
    dots = Markup("").join(
        Markup("<circle r=2.5 cx='{:.1f}' cy='{:.1f}' fill='{}'/>").format(
            150 + 280 * (across - (max(x) + min(x)) / 2) / reach,
            150 - 280 * (up - (max(y) + min(y)) / 2) / reach,
            _COLOURS[label % len(_COLOURS)],
        )
        for across, up, label in zip(x, y, labels, strict=True)
    )
    return Markup("<svg class='map' viewBox='0 0 300 300' role='img'>{}</svg>").format(dots)
