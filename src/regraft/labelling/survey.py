"""Everything about the labels of a data set, from the votes to the likely errors.

Votes alone give agreement and consensus. Where there are files, each is seen by a frozen network
once (and kept), and the labels are judged by probes on its vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from regraft import dataset as data_sets
from regraft.backbones import DEFAULT, Backbone
from regraft.dataset import Dataset, Reader
from regraft.dataset.boxes import BoxData
from regraft.dataset.encoding import said_of_encodings
from regraft.dataset.table import read_table
from regraft.dataset.table_rows import TableReader
from regraft.dataset.texts import excerpt
from regraft.defaults import MAX_BAD
from regraft.errors import DataError, UsageError
from regraft.events import Tell, silent
from regraft.labelling import agreement, box_agreement, box_consensus, ceiling, consensus
from regraft.labelling.asking import BATCH, Seen, ask_next
from regraft.labelling.box_agreement import annotators_in
from regraft.labelling.extra import require
from regraft.labelling.found import Facts, Found, nothing
from regraft.labelling.journal import Journal, journal_of
from regraft.labelling.judgement import about_lone_classes, beside_people, judgement
from regraft.labelling.label_studio_exports import is_export, take_in
from regraft.labelling.left_out import left_out, said_of
from regraft.labelling.likely_errors import Judged, judged_labels, why_not
from regraft.labelling.pool import as_in_journal, read_pool, settled_by, write_labelled
from regraft.labelling.reader import AnyReader, VotesReader
from regraft.labelling.seeing import eyes
from regraft.labelling.verdicts import Verdict, heard, reviewed, settled
from regraft.labelling.votes import Scale, Votes
from regraft.labelling.votes_table import given_beside, is_votes, read_votes, read_votes_table
from regraft.labelling.worth import worth
from regraft.tasks.classification import Classification
from regraft.transfer.model import Model

_STEPS = "Classes are steps of a scale here: a label one step off counts as wrong as any other."


@dataclass(frozen=True)
class Request:
    """What is asked about the labels of some data; see `regraft.verbs.labels`.

    Attributes:
        data: labelled data or votes.
        pool: samples without labels, or None.
        backbone: a name, or one that is open.
        batch: how many of them to choose, at least 1.
        scale: how votes differ; told from them if None.
        seed: of every draw.
        max_bad: share of bad files.
        caution: what to bear in mind about the backbone, or "".
        label_studio: an export whose annotations become decisions first, or None.
        columns: of a table of texts, where their names do not tell.
        reader: of labelled data in a format of one's own, or None.
        clip_s: longer videos, of the pool too, are cut into clips of this length; None cuts none.

    Raises:
        UsageError: the batch holds nothing.
    """

    data: Path
    pool: Path | None = None
    backbone: str | Backbone = DEFAULT
    batch: int = BATCH
    scale: Scale | None = None
    seed: int = 0
    max_bad: float = MAX_BAD
    caution: str = ""
    label_studio: Path | None = None
    columns: str | None = None
    reader: Reader | None = None
    clip_s: float | None = None

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UsageError("the batch is not positive", where="--batch", mend="for example 100")


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
    if votes is not None and not VotesReader().recognises(data):
        why = "The table has no column of texts (`text`), and no files that are there (`path`)"
        mend = ""
        if is_export(data):
            why = "Of an export the annotations alone are read, not what its tasks show"
            mend = (
                " To look at texts or files, too, give them in a table of votes, or the data that "
                "the tasks were made of with --from-label-studio and this export."
            )
        _refuse_without_samples(request, why)
        found["not_judged"] = f"{why}, so only the votes were looked at.{mend}"
        return Surveyed(found)
    if found["consensus"] is not None:
        beside = given_beside(read_votes_table(data, scale=request.scale))
        labels = [row | beside[row["sample"]] for row in found["consensus"]["labels"]]
        found["consensus"] |= {"labels": labels}
    had = _gathered(request, tell)
    dataset, pool = had.dataset, had.pool
    found = _looked_at(found, request, had, votes)
    if found["not_judged"] and pool is None:
        return Surveyed(found, had.given, dataset)
    judged: Judged | None = None
    agreed = frozenset[str]() if votes is None else consensus.upheld(votes, dataset)
    with eyes(request.backbone, dataset, pool, tell) as see:
        known = see(dataset)
        if not found["not_judged"]:
            judged = judged_labels(dataset, known.rows, seed=request.seed, tell=tell)
            decided = settled(had.verdicts)
            found = judgement(found, dataset, judged, decided, agreed, request.seed)
            if votes is not None:
                found["beside_people"] = beside_people(votes, dataset, judged, request.seed)
            found["worth"] = _worth(known, request, judged.penalty, tell)
        if pool is not None:
            found["next"] = _next(see, pool, known, judged, request)
            found["pool"] = {
                "path": str(request.pool),
                "samples": len(pool),
                "left_out": left_out(pool.problems),
            }
    return Surveyed(found, had.given, dataset, judged, pool, agreed)


def _gathered(request: Request, tell: Tell) -> _Gathered:
    """The data and the pool, as reviewers and an export of Label Studio leave them."""
    data, given, pool = request.data, _labelled(request, tell), None
    journal = Journal(journal_of(data))
    if request.pool is not None:
        pool = read_pool(
            request.pool, given, column=_text_column(request), clip_s=request.clip_s,
            max_bad=request.max_bad, tell=tell,
        )  # fmt: skip
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
        names_files = TableReader().recognises(pool) and not _text_column(request)
        is_text = pool.is_file() and not names_files
        task = "text-classification" if is_text else data_sets.guess_task(pool)
        return Dataset(data, task, (), ())
    reader: Reader = request.reader or AnyReader(request.scale)
    if request.columns:
        reader = data_sets.reader_of(request.columns)
        data_sets.check_columns(reader, data)
    elif request.reader is None and data_sets.guess_task(data) == "object-detection":
        if data.is_file():
            data_sets.read_all(data, max_bad=request.max_bad)  # says what is wrong with it
        raise DataError(
            "These boxes are read as from one hand; boxes are judged by how far people agree.",
            where=data,
            mend="give a folder with the pictures and a file of boxes for each person",
        )
    return data_sets.read_all(
        data, max_bad=request.max_bad, clip_s=request.clip_s, reader=reader, tell=tell
    )


def _with_excerpts(rows: list[Facts], dataset: Dataset) -> list[Facts]:
    """The rows with how their texts begin; as they are for pictures."""
    named = {sample.id: sample for sample in dataset}
    return [row | (excerpt(named[row["sample"]]) if row["sample"] in named else {}) for row in rows]


def _looked_at(found: Found, request: Request, had: _Gathered, votes: Votes | None) -> Found:
    """What is found, and what is known before the labels are judged."""
    dataset, agreed, settled_on = had.dataset, found["agreement"], found["consensus"]
    not_judged = why_not(dataset)
    # Decisions that fit no sample any more; and classes of which nothing can be said.
    lost = (problem.what for problem in dataset.problems if problem.kind == "lost-review")
    lone = "" if not_judged else about_lone_classes(dataset)
    pool = had.pool.problems if had.pool is not None else ()
    guessed = said_of_encodings((*dataset.problems, *pool))
    # A table of votes says of itself what is said of the data that it names, too.
    notes = dict.fromkeys((*(votes.notes if votes is not None else ()), *guessed))
    has_steps = votes is not None and votes.scale == "ordinal"
    steps = _STEPS if has_steps and not not_judged else ""
    reviews = [asdict(one) for one in dataset.problems if one.kind in ("review", "lost-review")]
    changed = sum(verdict.action == "change" for verdict in had.verdicts.values())
    as_changed = ""
    if changed:
        are = "label is" if changed == 1 else "labels are"
        as_changed = f"{changed:,} {are} as reviewers say; the data have not been changed."
    unread = left_out(dataset.problems)
    said = said_of(unread, dataset.thing)
    if agreed is not None:
        agreed = agreed | {"divided": _with_excerpts(agreed["divided"], dataset)}
    if settled_on is not None:
        settled_on = settled_on | {"labels": _with_excerpts(settled_on["labels"], dataset)}
    return {
        **found,
        "agreement": agreed,
        "consensus": settled_on,
        "reviewed": len(had.verdicts),
        "data": {
            "path": str(dataset.path),
            "task": dataset.task,
            "samples": len(dataset),
            "classes": list(dataset.classes),
            "left_out": unread,
            "reviews": reviews,
        },
        "caution": " ".join(
            filter(None, (request.caution, *notes, said, steps, as_changed, *lost, lone))
        ),
        "from_label_studio": had.imported,
        "not_judged": not_judged,
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


def _of_boxes(drawn: Mapping[str, BoxData], request: Request) -> Found:
    """Several people's boxes on the same pictures."""
    things, categories = box_agreement.objects(drawn)
    votes = box_agreement.votes_on_objects(things, categories)
    clusters = box_agreement.clusters(things, votes)
    found = _of_votes(votes, request, clusters, box_agreement.NOTHING)
    assert found["agreement"] is not None
    found["agreement"] |= {
        "scale": "boxes",
        "place": box_agreement.place(things, request.seed),
        "divided": box_agreement.divided(found["agreement"]["divided"], things, categories),
    }
    assert found["consensus"] is not None
    unread = left_out(one for data in drawn.values() for one in data.problems)
    found["consensus"] = box_consensus.settled(found["consensus"], drawn, things)
    found["data"] = {
        "path": str(request.data),
        "task": "object-detection",
        "samples": box_agreement.pictures(drawn),
        "classes": list(categories),
        "left_out": unread,
        "notes": box_agreement.notes(drawn),
    }
    found["not_judged"] = (
        "Several people's boxes on the same pictures: their agreement was looked at."
    )
    doubts = box_consensus.caution(found["consensus"]["labels"])
    said = (box_agreement.caution(drawn), said_of(unread, "entry", "entries"), doubts)
    found["caution"] = " ".join(filter(None, said))
    return found


def _of_votes(
    votes: Votes, request: Request, clusters: Sequence[str] = (), absent: str | None = None
) -> Found:
    """What votes alone tell; samples of one cluster are drawn together for the intervals."""
    found, seed = nothing(), request.seed
    person = ceiling.ceiling(votes, seed=seed, clusters=clusters)
    found["agreement"] = {
        "scale": votes.scale,
        "are_steps": request.scale is None and votes.scale == "nominal" and votes.may_be_steps,
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
    found["consensus"] = consensus.summary(consensus.consensus(votes, absent=absent), votes)
    found["ceiling"] = person.to_json() if person else None
    found["caution"] = " ".join(votes.notes)
    return found


def _worth(known: Seen, request: Request, penalty: float, tell: Tell) -> Facts | None:
    """What the next labels would bring."""
    dataset = known.dataset
    if dataset.multilabel:
        return None
    task = Classification.of(dataset)
    found = worth(
        known.rows,
        task.targets(dataset.samples),
        [sample.group for sample in dataset],
        task=task,
        batch=request.batch,
        penalty=penalty,
        seed=request.seed,
        tell=tell,
    )
    return found.to_json() if found else None


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
