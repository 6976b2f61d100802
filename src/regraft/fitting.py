"""The inside of `fit`: the ground that rungs stand on, and what is done when the climb is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from regraft.backbones import DEFAULTS, Backbone
from regraft.backbones.adapters import ADAPTERS
from regraft.backbones.addresses import address
from regraft.backbones.backbone import check_modality
from regraft.dataset import Dataset, Problem, Split
from regraft.dataset.boxes.tiles import longer_side_px
from regraft.dataset.classes import has_objects
from regraft.dataset.rows import modality_of
from regraft.errors import DataError, UsageError
from regraft.events import Said, Tell
from regraft.labelling.ceiling import beside_people
from regraft.labelling.lessons import Mode, Spoken, effect, set_aside, soft_targets, vote_shares
from regraft.reporting import content, detection, verdict
from regraft.store import Outcome, Run
from regraft.tasks import Detection, Task
from regraft.tasks.boxes import LEAST_PX
from regraft.tasks.classification import Classification
from regraft.transfer import references
from regraft.transfer.curve import forecast, label_curve
from regraft.transfer.engine import TRIAL_SAMPLES, Engine, Preparation
from regraft.transfer.few_labels import few_labels, refitted
from regraft.transfer.ground import Facts, Ground, digest_of, inputs_of
from regraft.transfer.ladder import Climbed, seconds_spent
from regraft.transfer.model import save
from regraft.transfer.rungs import cached_bytes
from regraft.transfer.step import Step, final_answers
from regraft.transfer.untouched import untouched
from regraft.transfer.words import decisive_words
from regraft.wording import plural


def check_detector(rows: Dataset, backbone: Backbone) -> None:
    """Refuse a backbone that finds objects for data without boxes, and the other way round.

    Raises:
        UsageError: it does not suit the data.
    """
    _check_finds(backbone.name, backbone.detector is not None, rows.task)


def check_named(name: str, task: str) -> None:
    """Refuse a backbone that does not suit the data, where its name tells and nothing is prepared.

    Raises:
        UsageError: it does not, or the name means nothing.
    """
    adapter = ADAPTERS[address(name).adapter]
    if adapter.reads:
        modality = modality_of(task)
        check_modality(name, adapter.reads, modality, f"the data are {modality}s")
        _check_finds(name, adapter.finds_objects, task)


def _check_finds(name: str, finds: bool, task: str) -> None:
    if finds != (task == "object-detection"):
        kind = "finds objects" if finds else "does not find objects"
        raise UsageError(
            f"{name} {kind}, the data are for {task}",
            where="--backbone",
            mend=f"for example {DEFAULTS[task]}; see `regraft backbones list`"
            + ("; or give data with boxes (docs/boxes.md)" if finds else ""),
        )


def say_changed(run: Run, rows: Dataset, tell: Tell) -> None:
    """Say so where a run goes on with data that are not those it was last given."""
    now = rows.fingerprint()
    before = [line["data"] for line in run.lines() if "data" in line]
    if before[-1:] == [now]:
        return
    if before:
        tell(
            Said(
                "the data are not those that this run was last given: what depends on them is "
                "computed again, and its model and report are replaced"
            )
        )
    run.note({"data": now})


def make_ground(
    run: Run,
    rows: Dataset,
    preparation: Preparation,
    seed: int,
    budget_s: float | None,
    tell: Tell,
    views: int = 1,
) -> Ground:
    """Task, backbone and engines for these data."""
    backbone = preparation.backbone()
    backbone.check_reads(rows.modality, f"the data are {rows.modality}s")
    check_detector(rows, backbone)
    task = _task(rows, backbone, tell)
    if isinstance(task, Detection):
        rows = _say_too_small(rows, task, tell)
    some = rows.split("train")[:: max(1, len(rows.split("train")) // TRIAL_SAMPLES)]
    engines: dict[int, Engine] = {}

    def engine(frozen: int) -> Engine:
        if frozen not in engines:
            engines[frozen] = preparation.engine(frozen, some[:TRIAL_SAMPLES])
        return engines[frozen]

    return Ground(
        run, rows, backbone, task, engine, seed, budget_s, tell,
        cached_bytes=cached_bytes(run), head_views=views,
        reads_words=rows.modality == "text",
    )  # fmt: skip


def _say_too_small(rows: Dataset, task: Detection, tell: Tell) -> Dataset:
    """The data set with a problem for each category of which boxes are too small to be learnt."""
    found = task.too_small(rows.split("train"))
    if not found:
        return rows
    below = f"below {LEAST_PX:g} px in the network's input of {task.size_px} px"
    count = sum(tiny for tiny, _ in found.values())
    tell(
        Said(
            f"boxes to train on that are {below}, and are learnt from enlarged views at most: "
            f"{count:,}. Cut the pictures into smaller ones, or take a backbone with a larger input"
        )
    )
    done = "learnt from enlarged views at most"
    return rows.with_problems(
        Problem("too-small", name, f"{_some_boxes(tiny, whole)} {below}.", done)
        for name, (tiny, whole) in found.items()
    )


def _some_boxes(few: int, all_: int) -> str:
    """How many boxes of a category, up to the verb."""
    if all_ == 1:
        return "Its only box to train on is"
    return f"{few:,} of its {all_:,} boxes to train on {'is' if few == 1 else 'are'}"


def _task(rows: Dataset, backbone: Backbone, tell: Tell) -> Task[Any]:
    if rows.task == "object-detection":
        task = Detection.of(rows, backbone)
        tell(Said(task.mapping()))
        return task
    return Classification.of(rows)


def taught(ground: Ground, said: Spoken, mode: Mode) -> tuple[Ground, list[dict[str, Any]]]:
    """The ground with what is learnt from; and the likely errors that were set aside.

    Raises:
        DataError: soft labels are asked for, and no vote is on a training sample.
    """
    if mode == "clean":
        return set_aside(ground, said)
    if mode != "soft":
        return ground, []
    ground = replace(ground, soft=soft_targets(said))
    if not _softened(ground):
        raise DataError(
            "None of the votes is on a sample that is learnt from.",
            where=said.dataset.path,
            mend="take --labels given, or vote on samples of the training split",
        )
    return ground, []


def _softened(ground: Ground) -> int:
    """How many training samples have soft labels."""
    return sum(sample.id in ground.soft for sample in ground.dataset.split("train"))


def label_facts(
    before: Ground,
    ground: Ground,
    climbed: Climbed,
    said: Spoken,
    mode: Mode,
    aside: int,
) -> dict[str, Any] | None:
    """What was done about labels and whether it helped; None where nothing was."""
    reviewed = said.reviewed
    if mode == "given":
        text = f"{plural(reviewed, 'label was', 'labels were')} reviewed by people."
        return {"mode": mode, "reviewed": reviewed, "text": text} if reviewed else None
    facts = effect(before, climbed, mode, vote_shares(said) if mode == "soft" else {})
    if mode == "clean":
        facts["text"] = (
            f"{plural(aside, 'training label was', 'training labels were')} set aside as "
            f"{'a likely error' if aside == 1 else 'likely errors'}. {facts['text']}"
            if aside
            else "No training label was set aside as a likely error."
        )
    if mode == "soft":
        train = len(ground.dataset.split("train"))
        facts["text"] = (
            f"{_softened(ground):,} of {train:,} training samples had soft labels. {facts['text']}"
        )
    return {"mode": mode, "reviewed": reviewed, "set_aside": aside} | facts


def finish(
    ground: Ground,
    climbed: Climbed,
    question: dict[str, Any],
    said: Spoken,
) -> dict[str, Any]:
    """Calibrate, test once, save the model, and put the report together."""
    task, of_texts = ground.task, _of_texts(ground.task)
    best = refitted(ground, of_texts, climbed.best) if of_texts else climbed.best
    calibrated = task.calibrate(best.answers, ground.validation.targets)
    tested = _test(ground, best) if _is_testable(ground) else None
    report = _report(ground, climbed, best, tested, question)
    report |= _particulars(ground, best, calibrated, tested)
    if isinstance(task, Detection):
        report["untouched"] = untouched(ground, task, climbed)
    if said.judged_votes is not None:
        report["people"] = _beside_people(ground, said, tested or Outcome({}, best.answers))
    if of_texts:
        report["few_labels"] = few_labels(ground, of_texts)
        # The page shows what was said before the validation texts were learnt from.
        _name_words(ground, of_texts, climbed.best, report)
    report["verdict"] = verdict.verdict(report)
    save(ground, best, calibrated, _model_facts(ground, best, tested, question), said.dataset)
    return report


def _of_texts(task: Task[Any]) -> Classification | None:
    """The task where it is to tell texts apart."""
    if isinstance(task, Classification) and task.name == "text-classification":
        return task
    return None


def _report(
    ground: Ground,
    climbed: Climbed,
    best: Step,
    tested: Outcome | None,
    question: dict[str, Any],
) -> dict[str, Any]:
    """What the report says whatever the task."""
    curve = label_curve(ground, climbed)
    reference = _reference(ground, climbed, question["compare"])
    things = "pictures" if isinstance(ground.task, Detection) else "labels"
    rows = ground.dataset
    return {
        "task": ground.task.name,
        "data": content.data_facts(rows)
        | content.truncated(ground)
        | _as_read(rows, question)
        | _given(rows, question),
        "backbone": content.provenance(ground),
        "rungs": list(climbed.entries),
        "best": best.facts["name"],
        "refitted_on": best.facts.get("refitted_on"),
        "test": tested.facts["metric"] if tested else None,
        "scratch": reference,
        "label_curve": curve,
        "forecast": forecast(curve, ground.validation.groups, things),
        "savings": verdict.savings(climbed, reference, curve, things),
        "plan": list(climbed.plan),
        "engine": ground.kept_by(best.frozen).to_json(),
        "environment": content.environment(),
        "reproduce": content.command(question, ground.run.folder),
        "seed": ground.seed,
        "seconds": seconds_spent(climbed.entries),
        "budget_s": ground.budget_s,
    }


def _reference(ground: Ground, climbed: Climbed, compare: str | None) -> dict[str, Any] | None:
    """What the chosen rung stands beside: of texts always TF-IDF, else what is asked for."""
    if _of_texts(ground.task):
        return references.tfidf(ground, climbed)
    return references.scratch(ground, climbed) if compare == "scratch" else None


def _as_read(rows: Dataset, question: dict[str, Any]) -> dict[str, Any]:
    """How long clips are, what they were cut to and which columns were named, where any were."""
    cut = {} if question["clip"] is None else {"cut_s": question["clip"]}
    columns = {"columns": question["columns"]} if "columns" in question else {}
    return content.clip_length(rows) | cut | columns


def _given(rows: Dataset, question: dict[str, Any]) -> dict[str, Any]:
    """How many samples came from data that were given besides; nothing where none were."""
    given = {
        name: sum(sample.id.startswith(f"{name}:") for sample in rows)
        for name in ("valid", "test", "more")
        if question.get(name) is not None
    }
    return {"given": given} if given else {}


def _model_facts(
    ground: Ground, best: Step, tested: Outcome | None, question: dict[str, Any]
) -> dict[str, Any]:
    """What a model says of itself besides what `save` knows."""
    return {
        "metric": best.facts["metric"],
        "rung": best.facts["name"],
        "test": tested.facts["metric"] if tested else None,
        "tile_px": ground.dataset.tile_px,
        **_sizes(ground),
        **_as_read(ground.dataset, question),
    }


def _sizes(ground: Ground) -> dict[str, float]:
    """How large the pictures were that objects were learnt from."""
    if not isinstance(ground.task, Detection):
        return {}
    return {"longer_side_px": longer_side_px(ground.dataset.split("train"))}


def _name_words(ground: Ground, task: Classification, best: Step, report: dict[str, Any]) -> None:
    """Add to the texts that the report shows which words move their answers."""
    shown: list[dict[str, Any]] = [*report["most_wrong"], *report["least_certain"]]
    known = {sample.id: sample for sample in ground.dataset.split("valid")}
    names = [entry["sample"] for entry in shown]
    words = decisive_words(ground, task, best, [known[name] for name in names])
    by_name = dict(zip(names, words, strict=True))
    for entry in shown:
        entry["words"] = by_name[entry["sample"]]


def _particulars(
    ground: Ground,
    best: Step,
    calibrated: Mapping[str, Any],
    tested: Outcome | None,
) -> dict[str, Any]:
    """What the report says of this kind of task alone."""
    task, valid = ground.task, ground.validation
    if not isinstance(task, Classification):
        assert isinstance(task, Detection), task
        return detection.facts_of(ground, task, best, calibrated["threshold"], tested)
    temperature, logits_nc = calibrated["temperature"], best.answers["logits"]
    split: Split = "test" if tested else "valid"
    judged_nc = tested.tensors["logits"] if tested else logits_nc
    judged = ground.dataset.split(split)
    return {
        "calibration": content.calibration(task, temperature, judged, judged_nc, split),
        "confusion": {"split": "valid", **content.confusion(task, logits_nc, valid.targets)},
        "imbalance": content.imbalance(ground.dataset, task),
    } | content.galleries(
        task, valid.samples, logits_nc, valid.targets, temperature, ground.dataset.path
    )


def _beside_people(ground: Ground, said: Spoken, judged: Outcome) -> dict[str, Any] | None:
    assert isinstance(ground.task, Classification), "votes are on classes"
    assert said.judged_votes is not None, "there are votes"
    samples = ground.dataset.split("test") or ground.dataset.split("valid")
    return beside_people(
        said.judged_votes,
        [sample.id.removeprefix(said.prefix) for sample in samples],
        ground.task.classes,
        ground.task.probabilities(judged.tensors["logits"]),
        seed=ground.seed,
    )


def _is_testable(ground: Ground) -> bool:
    """Whether there is a test split; one of pictures without an object has no AP50."""
    test = ground.dataset.split("test")
    if test and isinstance(ground.task, Detection) and not has_objects(test):
        ground.tell(Said("there is no object on the test split, so nothing is measured on it"))
        return False
    return bool(test)


def _test(ground: Ground, best: Step) -> Outcome:
    """The chosen rung on the test split, once."""

    def compute() -> Outcome:
        test = ground.held_out(ground.dataset.split("test"))
        answers = final_answers(ground, best, test.samples)
        return Outcome({"metric": test.measured(answers).to_json()}, answers)

    rung = {key: best.facts[key] for key in ("name", "frozen_stages")}
    asked: Facts = {"rung": rung, "weights": digest_of(best.weights)}
    return ground.run.step("test", inputs_of(ground, asked), compute)
