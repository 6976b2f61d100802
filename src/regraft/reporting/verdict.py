"""What came of a run, in sentences: how good it is, what speaks against that, what was saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from regraft.tasks import measure
from regraft.transfer.ladder import Climbed, seconds_spent
from regraft.transfer.twin import PASSES_TO_COMPARE
from regraft.wording import duration, ends, metric_name, percent, plural

NEXT_TO_NOTHING = 0.01
"""A twin below says nothing about what labels are worth."""


def savings(
    climbed: Climbed,
    twin: dict[str, Any] | None,
    curve: list[dict[str, Any]],
    things: str = "labels",
) -> dict[str, Any]:
    """What the transfer saved against training from scratch, in labels, seconds, parameters.

    Labels are only counted where the chosen rung is ahead outside the noise. Seconds are those that
    the twin was given, which a longer budget makes more, less those of the climb.
    """
    if twin is None:
        text = "Not measured; add --compare scratch."
        return {"labels": None, "seconds": None, "trained_parameters": None, "text": text}
    best = climbed.best.facts
    reached = [p["labels"] for p in curve if p["value"] >= twin["metric"]["value"]]
    labels = curve[-1]["labels"] - reached[0] if reached else None
    spent = seconds_spent(climbed.entries)
    seconds = twin["seconds"]["total"] - spent
    parameters = twin["trainable_parameters"] - best["trainable_parameters"]
    nothing = twin["metric"]["value"] < NEXT_TO_NOTHING
    if twin["p"] >= measure.NOISE or twin["gap"] < 0 or nothing:
        labels = None
    if twin["p"] < measure.NOISE and twin["gap"] < 0:
        parameters = None  # nothing is saved by what is worse
    times = f"The climb took {spent:.0f} s, training from scratch {twin['seconds']['total']:.0f} s."
    if twin["name"] == "tf-idf":
        text = ""  # the verdict says it
        parameters = None  # it needs no network, whose frozen part would have to be counted
    elif twin["passes"] < PASSES_TO_COMPARE:
        labels = None
        text = (
            f"The network from scratch saw each sample only {twin['passes']:.1f} times in its "
            f"time, too few to say how many {things} were saved; a longer --budget gives it more."
        )
    elif nothing:
        text = (
            f"The network from scratch had learnt next to nothing, so no {things} are said to be "
            f"saved. {times}"
        )
    elif twin["p"] >= measure.NOISE:
        text = f"Within noise, so no {things} are said to be saved. {times}"
    elif labels is None:
        text = f"The new head alone does not reach the network from scratch. {times}"
    elif labels == 0:
        text = (
            f"To be where the network from scratch is, the new head needs all "
            f"{curve[-1]['labels']:,} {things}. {times}"
        )
    else:
        text = (
            f"With {reached[0]:,} {things} the new head is where the network from scratch is with "
            f"all {curve[-1]['labels']:,}. {times}"
        )
    return {"labels": labels, "seconds": seconds, "trained_parameters": parameters, "text": text}


def verdict(report: dict[str, Any]) -> str:
    """The outcome in plain words."""
    entries = {entry["name"]: entry for entry in report["rungs"]}
    best = entries[report["best"]]
    metric = report["test"] or best["metric"]
    split = "test" if report["test"] else "valid"
    many = plural(report["data"]["splits"][split], report["data"]["thing"])
    where = f"on the {'test' if report['test'] else 'validation'} split of {many}"
    what = "The new head alone" if report["best"] == "head" else f"Training {_depth(report)}"
    name = metric_name(metric["name"])
    text = f"{what} reaches {percent(metric['value'])} {name} {where} ({ends(metric)})."
    text += _guessed(report, metric, split)
    few = report.get("few_labels")
    if few and few["how"] == "cross-validated":  # it rests on all labels, the split on a few
        text = f"{few['text']} {text}"
    groups = [few["few_groups"]] if few and few.get("few_groups") else []
    text = " ".join([text, *groups, *_chose(report), *doubts(report["data"]["problems"])])
    if report.get("refitted_on"):
        text += (
            f" It was fitted once more on all {report['refitted_on']} labels for training and "
            "validation, because they are few."
        )
    text = " ".join([text, *_deeper(report), *_over_budget(report)])
    scratch = report["scratch"]
    if scratch and report["task"] == "text-classification":
        text += f" {scratch['text']}"
    elif scratch:
        text += f" {_beside_scratch(scratch, best)}"
    if report.get("untouched"):
        text += f" {_beside_untouched(report['untouched'], best)}"
    if report.get("people"):
        text += f" {report['people']['text']}"
    return text


def _deeper(report: dict[str, Any]) -> Iterator[str]:
    """What training more than the chosen rung brought, or why that is not known."""
    names = [entry["name"] for entry in report["rungs"]]
    deeper = report["rungs"][names.index(report["best"]) + 1 :]
    within_noise = [entry["name"] for entry in deeper if entry["verdict"] == "no gain"]
    worse = [entry["name"] for entry in deeper if entry["verdict"] == "worse"]
    if not deeper:
        return
    if within_noise:
        yield f"Training more of the network ({within_noise[-1]}) could not be shown to help."
    elif worse:
        yield f"Training more of the network ({worse[-1]}) did not help."
    else:
        yield f"Training more of the network was not tried: {deeper[0]['why']}."
        return
    over = [plan["rung"] for plan in report.get("plan", ()) if plan.get("over_budget")]
    if over:
        yield f"The budget ended the climb before {over[0]}."


def _over_budget(report: dict[str, Any]) -> Iterator[str]:
    """A sentence where the rungs took longer than they should."""
    budget_s = report.get("budget_s")
    if budget_s is None or round(report["seconds"]) <= round(budget_s):
        return
    first = report["rungs"][0]
    why = "one took longer than its trial had let expect"
    if first["seconds"]["total"] > budget_s:
        why = f"the first of them, {first['name']}, is trained whatever it takes"
    spent, given = duration(report["seconds"]), duration(budget_s)
    yield f"The rungs took {spent}, the budget was {given}: {why}."


def _guessed(report: dict[str, Any], metric: dict[str, Any], split: str) -> str:
    """A sentence where the score cannot be told from that of whoever looks at nothing."""
    counts = report["data"]["counts"][split]
    if metric["name"] == "accuracy":
        chance, how = max(counts) / max(1, sum(counts)), "always saying the most frequent class"
    elif metric["name"] == "balanced_accuracy":
        chance, how = 1 / max(1, sum(count > 0 for count in counts)), "guessing"
    else:
        return ""
    if metric["low"] > chance:
        return ""
    return f" That cannot be told from {how}, which gives {percent(chance)}."


def _chose(report: dict[str, Any]) -> Iterator[str]:
    """A sentence where the split that is measured on chose the rung."""
    if not report["test"] and sum(rung["verdict"] != "skipped" for rung in report["rungs"]) > 1:
        empty = report["task"] == "object-detection" and report["data"]["splits"]["test"]
        lack = "object on the test split" if empty else "test split"
        yield f"There is no {lack}: this one chose the rung as well, which flatters the score."


def doubts(problems: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """What in the data speaks against the score."""
    yield from (p["what"] for p in problems if p["kind"] in ("many-classes", "one-group"))
    divided = sum(p["kind"] == "group-across-splits" for p in problems)
    if divided:
        many = plural(divided, "group stands", "groups stand")
        yield f"{many} in several of the given splits: the score may be earned by memory."


def _beside_untouched(untouched: dict[str, Any], best: dict[str, Any]) -> str:
    """Both on the validation split: the first sentence may be on the test split."""
    if untouched["p"] >= measure.NOISE:
        outcome = "no difference outside the noise"
    else:
        outcome = f"training {'pays' if untouched['gap'] > 0 else 'makes it worse'}"
    return (
        "On the validation split the detector as it came, its own head on, reaches "
        f"{percent(untouched['metric']['value'])}, the chosen rung "
        f"{percent(best['metric']['value'])}: {outcome}."
    )


def _beside_scratch(scratch: dict[str, Any], best: dict[str, Any]) -> str:
    """Both on the validation split; the interval and the p-value stand further down the page."""
    if scratch["p"] >= measure.NOISE:
        outcome = "no difference outside the noise"
    elif scratch["gap"] > 0:
        outcome = "pre-training pays"
    else:
        outcome = "for these samples pre-training does not pay"
    passes = scratch.get("passes", PASSES_TO_COMPARE)
    seen = f"{passes:.1f} passes, " if passes < PASSES_TO_COMPARE else ""
    return (
        "On the validation split the same network from random weights reaches "
        f"{percent(scratch['metric']['value'])} in {scratch['seconds']['total']:.0f} s ({seen}"
        f"{scratch['steps']:,} steps), the chosen rung {percent(best['metric']['value'])}: "
        f"{outcome}{' in so little time' if seen else ''}."
    )


def _depth(report: dict[str, Any]) -> str:
    if report["best"] == "all":
        return "the whole network"
    count = int(report["best"].removeprefix("last:"))
    return "the last stage" if count == 1 else f"the last {count} stages"
