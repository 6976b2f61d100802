"""Everything about the labels of a data set, from the votes to the likely errors.

Votes alone give agreement and consensus. Where there are files, each is seen by a frozen network
once (and kept), and the labels are judged by probes on its vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regraft import dataset as data_sets
from regraft.backbones import Backbone
from regraft.dataset import Dataset, Reader
from regraft.dataset.boxes import BoxData
from regraft.dataset.rows import labels_of
from regraft.dataset.table import read_table
from regraft.dataset.table_rows import TableReader
from regraft.dataset.texts import excerpt
from regraft.defaults import MAX_BAD
from regraft.errors import DataError, UsageError
from regraft.events import Tell, silent
from regraft.labelling import agreement, box_agreement, ceiling, consensus, findings
from regraft.labelling.asking import BATCH, Seen, ask_next
from regraft.labelling.box_agreement import annotators_in
from regraft.labelling.decisions import Journal, Verdict, heard, journal_of, reviewed, settled
from regraft.labelling.extra import require
from regraft.labelling.found import Facts, Found, nothing
from regraft.labelling.label_studio_exports import is_export, take_in
from regraft.labelling.likely_errors import LEAST, Judged, judged_labels, lone_classes, why_not
from regraft.labelling.pool import as_in_journal, read_pool, settled_by, write_labelled
from regraft.labelling.reader import AnyReader, votes_on
from regraft.labelling.share import Share, wrong_share
from regraft.labelling.votes import Scale, Votes, is_votes, read_votes
from regraft.labelling.worth import worth
from regraft.tasks.classification import Classification
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
from regraft.transfer.features import features
from regraft.transfer.model import Model
from regraft.wording import some_of

_TRIAL = 64
_STEPS = "Classes are steps of a scale here: a label one step off counts as wrong as any other."


def check_batch(batch: int) -> None:
    """Raise UsageError where a batch to label next holds nothing."""
    if batch < 1:
        raise UsageError("the batch is not positive", where="--batch", mend="for example 100")


@dataclass(frozen=True)
class Request:
    """What is asked about the labels of some data; see `regraft.verbs.labels`.

    Attributes:
        data: labelled data or votes.
        backbone: a name, or one that is open.
        pool: samples without labels, or None.
        batch: how many of them to choose, at least 1.
        scale: how votes differ; told from them if None.
        seed: of every draw.
        max_bad: share of bad files.
        caution: what to bear in mind about the backbone, or "".
        label_studio: an export whose annotations become decisions first, or None.
        columns: of a table of texts, where their names do not tell.
        reader: of labelled data in a format of one's own, or None.
    """

    data: Path
    backbone: str | Backbone
    pool: Path | None = None
    batch: int = BATCH
    scale: Scale | None = None
    seed: int = 0
    max_bad: float = MAX_BAD
    caution: str = ""
    label_studio: Path | None = None
    columns: str | None = None
    reader: Reader | None = None


@dataclass(frozen=True)
class Surveyed:
    """What was found, and what it was found in.

    Attributes:
        facts: what `regraft labels --json` prints.
        given: the data with the labels that they came with; None where no files are named.
        dataset: the data with labels as reviewers changed them.
        judged: None where there was too little to judge.
        pool: samples without labels, or None; those that reviewers labelled are behind the data.
        agreed: ids of samples whose label nearly all voters gave.
    """

    facts: Found
    given: Dataset | None = None
    dataset: Dataset | None = None
    judged: Judged | None = None
    pool: Dataset | None = None
    agreed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Gathered:
    """What is looked at.

    Attributes:
        given: the data with the labels that they came with; samples of the pool that reviewers
            labelled are behind them.
        dataset: the same with labels as reviewers changed them.
        verdicts: of reviewers, by sample.
        pool: what is left of it, or None.
        imported: what an export of Label Studio brought, or None.
    """

    given: Dataset
    dataset: Dataset
    verdicts: Mapping[str, Verdict]
    pool: Dataset | None
    imported: Facts | None


def surveyed(request: Request, *, tell: Tell = silent) -> Surveyed:
    """See `regraft.verbs.labels`; the facts, with the data that they are about."""
    require("cleanlab", "crowdkit", what="This needs the packages cleanlab and crowd-kit.")
    data, own = request.data, request.reader is not None
    drawn = None if own else annotators_in(data)
    if drawn is not None:
        _refuse_without_samples(request, "These are boxes of several people")
        _refuse_scale(request)
        return Surveyed(_of_boxes(drawn, request))
    is_voted = not own and request.columns is None and is_votes(data)
    if not is_voted:
        _refuse_scale(request)
    votes = read_votes(data, scale=request.scale) if is_voted else None
    found = nothing() if votes is None else _of_votes(votes, request)
    if votes is not None and votes_on(data) is None:
        why, mend = "The table holds no texts and names no files", ""
        if is_export(data):
            why = "Of an export the annotations alone are read, not what its tasks show"
            mend = (
                " To look at texts or files, too, give them in a table of votes, or the data that "
                "the tasks were made of with --from-label-studio and this export."
            )
        _refuse_without_samples(request, why)
        found["not_judged"] = f"{why}, so only the votes were looked at.{mend}"
        return Surveyed(found)
    had = _gathered(request, tell)
    dataset, pool = had.dataset, had.pool
    found["from_label_studio"] = had.imported
    found["reviewed"] = len(had.verdicts)
    found["data"] = _of_data(dataset)
    found["caution"] = _caution(request, dataset, votes)
    if found["agreement"] is not None:
        found["agreement"]["divided"] = _with_excerpts(found["agreement"]["divided"], dataset)
    if found["consensus"] is not None:
        found["consensus"]["labels"] = _with_excerpts(found["consensus"]["labels"], dataset)
    found["not_judged"] = why_not(dataset)
    if found["not_judged"] and pool is None:
        return Surveyed(found, had.given, dataset)
    judged: Judged | None = None
    agreed = frozenset[str]() if votes is None else consensus.upheld(votes, dataset)
    with _eyes(request, dataset, pool, tell) as see:
        known = see(dataset)
        if not found["not_judged"]:
            judged = judged_labels(dataset, known.rows, seed=request.seed, tell=tell)
            found["caution"] = _with_lone(found["caution"], dataset)
            _add_judged(found, had, judged, agreed, request.seed)
            found["beside_people"] = _beside_people(votes, dataset, judged, request.seed)
            found["worth"] = _worth(known, request, judged.penalty, tell)
        if pool is not None:
            found["next"] = _next(see, pool, known, judged, request)
            found["pool"] = {"path": str(request.pool), "samples": len(pool)}
    return Surveyed(found, had.given, dataset, judged, pool, agreed)


def _gathered(request: Request, tell: Tell) -> _Gathered:
    """The data and the pool, as reviewers and an export of Label Studio leave them."""
    data, given, pool = request.data, _labelled(request, tell), None
    journal = Journal(journal_of(data))
    if request.pool is not None:
        pool = read_pool(
            request.pool, given, column=_text_column(request), max_bad=request.max_bad, tell=tell
        )
    imported: Facts | None = None
    if request.label_studio is not None:
        imported = take_in(request.label_studio, given, pool, journal)
    if pool is not None:
        asked = (*given, *as_in_journal(data, pool))
        given, pool = settled_by(given, pool, heard(journal.standing(), given, asked))
        if imported is not None:
            table = write_labelled(data, pool.path, given, journal)
            imported["labelled"] = None if table is None else str(table)
    dataset, verdicts = reviewed(given, journal)
    return _Gathered(given, dataset, verdicts, pool, imported)


def _refuse_without_samples(request: Request, what: str) -> None:
    """Refuse what is asked about samples where there are none to look at.

    Raises:
        UsageError: a pool, a batch of it or an export is given.
    """
    asked = {
        "--pool": request.pool is not None,
        "--batch": request.batch != BATCH,
        "--from-label-studio": request.label_studio is not None,
    }
    for option, is_given in asked.items():
        if is_given:
            raise UsageError(
                f"{what}, so there are no samples that this is about.",
                where=option,
                mend="leave it out, or give labelled files or texts",
            )


def _refuse_scale(request: Request) -> None:
    """Refuse a scale of votes where there are none whose scale is open.

    Raises:
        UsageError: it is given.
    """
    if request.scale is not None:
        raise UsageError(
            "There are no votes here that differ on a scale.",
            where="--scale",
            mend="leave it out, or give a table of votes (docs/labels.md)",
        )


def _text_column(request: Request) -> str:
    """The column that was named for the texts, if the pool has it, or ""."""
    if not request.columns or request.pool is None:
        return ""
    named = data_sets.reader_of(request.columns).text
    return named if named in data_sets.columns_of(request.pool) else ""


def _has_labels(pool: Path) -> bool:
    """Whether it is a table with labels in its column of that name."""
    if not TableReader().recognises(pool) or "label" not in data_sets.columns_of(pool):
        return False
    return any(cell.strip() for cell in read_table(pool).texts("label"))


def _labelled(request: Request, tell: Tell) -> Dataset:
    """The labelled data; none where the pool is all there is."""
    data, pool = request.data, request.pool
    if pool is not None and data.resolve() == pool.resolve():
        if request.reader is not None:
            raise UsageError(
                "a reader of your own reads labelled data, and the pool is all there is",
                where="reader",
                mend="leave it out, or give labelled data beside the pool",
            )
        if _has_labels(pool):
            raise UsageError(
                "the table has a column label, which is not read of a pool",
                where=pool,
                mend="leave --pool out, or name a pool without labels beside it",
            )
        task = "text-classification" if pool.is_file() else data_sets.guess_task(pool)
        return Dataset(data, task, (), ())
    reader: Reader = request.reader or AnyReader(request.scale)
    if request.columns:
        reader = data_sets.reader_of(request.columns)
        data_sets.check_columns(reader, data)
    elif request.reader is None and data_sets.guess_task(data) == "object-detection":
        raise DataError(
            "These boxes are from one hand; boxes are judged by how far people agree.",
            where=data,
            mend="give a folder with the pictures and a file of boxes for each person",
        )
    return data_sets.read_all(data, max_bad=request.max_bad, reader=reader, tell=tell)


def _with_excerpts(rows: list[Facts], dataset: Dataset) -> list[Facts]:
    """The rows with how their texts begin; as they are for pictures."""
    named = {sample.id: sample for sample in dataset}
    return [row | (excerpt(named[row["sample"]]) if row["sample"] in named else {}) for row in rows]


def _of_data(dataset: Dataset) -> Facts:
    return {
        "path": str(dataset.path),
        "task": dataset.task,
        "samples": len(dataset),
        "classes": list(dataset.classes),
    }


def caution_about(model: Model) -> str:
    """What to bear in mind when the network of a run looks at labels."""
    rung = model.facts.get("rung", "head")
    if rung == "head":
        return ""
    return (
        f"The network of this run was itself trained on labels (rung {rung}): where these are the "
        "same labels, it believes the wrong ones among them, and fewer are found."
    )


def _caution(request: Request, dataset: Dataset, votes: Votes | None) -> str:
    """What to bear in mind of the backbone, of votes, and of decisions that fit no sample now."""
    lost = (problem.what for problem in dataset.problems if problem.kind == "lost-review")
    notes = votes.notes if votes is not None else ()
    steps = _STEPS if votes is not None and votes.scale == "ordinal" else ""
    return " ".join(filter(None, (request.caution, *notes, steps, *lost)))


def _rows_judged(dataset: Dataset) -> np.ndarray:
    """Indices of the samples without a label of a lone class, of which nothing can be said."""
    named = {dataset.classes.index(name) for name in lone_classes(dataset)}
    return np.array(
        [n for n, sample in enumerate(dataset) if named.isdisjoint(labels_of(sample.target))],
        dtype=np.int64,
    )


def _with_lone(caution: str, dataset: Dataset) -> str:
    """The caution, and whose labels cannot be judged."""
    if not (lone := lone_classes(dataset)):
        return caution
    said = (
        f"Labels of {some_of(lone, 5)} are not judged: all samples are of one group, so nothing "
        "else shows it."
    )
    return f"{caution} {said}".strip()


@contextmanager
def _eyes(
    request: Request, dataset: Dataset, pool: Dataset | None, tell: Tell
) -> Generator[Callable[[Dataset], Seen]]:
    """A frozen network that looks at samples, once, and remembers (the cache)."""
    with prepare(request.backbone, tell=tell) as preparation:
        described = preparation.backbone()
        option = "--run" if isinstance(request.backbone, Backbone) else "--backbone"
        described.check_reads(dataset.modality, f"the data are {dataset.modality}s", option)
        if described.detector is not None:
            raise UsageError(
                f"{described.name} finds objects; samples are compared by one vector each",
                where=option,
                mend="take another from `regraft backbones list`",
            )
        cut = Cut(described, len(described.stages))
        some = (dataset.samples or (pool.samples if pool else ()))[:_TRIAL]
        engine = preparation.engine(cut.kept.frozen, some)

        def see(samples: Dataset) -> Seen:
            if not len(samples):
                return Seen(samples, lambda index: np.empty((len(index), 0), np.float32))
            table = features(samples.samples, cut, engine, tell=tell)
            return Seen(samples, lambda index: table.rows(index)[0])

        yield see


def _of_boxes(drawn: Mapping[str, BoxData], request: Request) -> Found:
    """Several people's boxes on the same pictures."""
    things, categories = box_agreement.objects(drawn)
    votes = box_agreement.votes_on_objects(things, categories)
    found = _of_votes(votes, request, box_agreement.clusters(things, votes))
    assert found["agreement"] is not None
    found["agreement"] |= {
        "scale": "boxes",
        "place": box_agreement.place(things, request.seed),
        "divided": box_agreement.divided(found["agreement"]["divided"], things, categories),
    }
    found["data"] = {
        "path": str(request.data),
        "task": "object-detection",
        "samples": box_agreement.pictures(drawn),
        "classes": list(categories),
    }
    found["not_judged"] = (
        "Several people's boxes on the same pictures: their agreement was looked at."
    )
    found["caution"] = box_agreement.caution(drawn)
    return found


def _of_votes(votes: Votes, request: Request, clusters: Sequence[str] = ()) -> Found:
    """What votes alone tell; samples of one cluster are drawn together for the intervals."""
    found, seed = nothing(), request.seed
    person = ceiling.ceiling(votes, seed=seed, clusters=clusters)
    found["agreement"] = {
        "scale": votes.scale,
        "are_steps": request.scale is None and votes.scale == "nominal" and votes.numbered,
        "votes": len(votes),
        "samples": len(votes.samples),
        "annotators": len(votes.annotators),
        "alpha": agreement.alpha(votes, seed=seed, clusters=clusters).to_json(),
        "fleiss": agreement.fleiss(votes),
        "classes": agreement.per_class(votes, seed, clusters),
        "people": ceiling.per_annotator(votes),
        "pairs": agreement.per_pair(votes),
        "divided": agreement.divided(votes),
        "place": None,
    }
    found["consensus"] = consensus.summary(consensus.consensus(votes), votes)
    found["ceiling"] = person.to_json() if person else None
    found["caution"] = " ".join(votes.notes)
    return found


def _worth(known: Seen, request: Request, penalty: float, tell: Tell) -> Facts | None:
    """What the next labels would bring."""
    dataset = known.dataset
    if dataset.multilabel:
        return None
    task = Classification(dataset.task, dataset.classes)
    found = worth(
        known.rows,
        task.targets(dataset.samples),
        [sample.group for sample in dataset],
        batch=request.batch,
        penalty=penalty,
        seed=request.seed,
        tell=tell,
    )
    return found.to_json() if found else None


def _add_judged(
    found: Found, had: _Gathered, judged: Judged, agreed: frozenset[str], seed: int
) -> None:
    """Add what the probes tell of the labels; what people have settled is not suspected."""
    dataset, decided = had.dataset, settled(had.verdicts)
    errors = findings.likely_errors(dataset, judged, decided | agreed)
    found["likely_errors"] = [
        one.facts(dataset) | excerpt(dataset.samples[one.row]) for one in errors
    ]
    found["outliers"] = findings.outliers(dataset, judged)
    found["same_classes"] = findings.same_classes(dataset, judged)
    if not dataset.multilabel:
        share = _share_wrong(dataset, judged, decided, seed)
        found["share"] = share.to_json() if share else None


def _beside_people(
    votes: Votes | None, dataset: Dataset, judged: Judged, seed: int
) -> Facts | None:
    if votes is None:
        return None
    judged_n = _rows_judged(dataset)
    names = [dataset.samples[int(n)].id for n in judged_n]
    chance_nc = judged.first_nc[judged_n]
    return ceiling.beside_people(
        votes,
        names,
        dataset.classes,
        chance_nc,
        model="a new head on the frozen network",
        seed=seed,
    )


def _share_wrong(
    dataset: Dataset, judged: Judged, decided: frozenset[str], seed: int
) -> Share | None:
    """Of all judged labels; those that reviewers settled are right. None where too few are open."""
    judged_n = _rows_judged(dataset)
    rows = np.array([n for n in judged_n if dataset.samples[int(n)].id not in decided], np.int64)
    if len(rows) < LEAST:
        return None
    some = [dataset.samples[int(n)] for n in rows]
    share = wrong_share(
        np.array([sample.target for sample in some], dtype=np.int64),
        (judged.first_nc[rows], judged.chance_nc[rows]),
        clusters=[sample.group for sample in some],
        surely=findings.contradicted(dataset.samples, decided) / len(some),
        seed=seed,
    )
    return share.of_part(len(some) / len(judged_n))


def _next(
    see: Callable[[Dataset], Seen],
    pool: Dataset,
    known: Seen,
    judged: Judged | None,
    request: Request,
) -> list[Facts]:
    if not len(pool):
        return []
    penalty = None if judged is None else judged.penalty
    return ask_next(see(pool), known, batch=request.batch, penalty=penalty, seed=request.seed)
