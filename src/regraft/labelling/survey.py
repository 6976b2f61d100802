"""Everything about the labels of a data set, from the votes to the likely errors.

Votes alone give agreement and consensus. Where there are files, each is seen by a frozen network
once (and kept), and the labels are judged by probes on its vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from regraft import dataset as data_sets
from regraft.backbones import Backbone
from regraft.dataset import Dataset, Reader
from regraft.dataset.boxes import BoxData
from regraft.dataset.rows import labels_of
from regraft.dataset.table import read_table
from regraft.dataset.table_rows import TableReader
from regraft.dataset.texts import excerpt
from regraft.errors import DataError, MissingExtra, UsageError
from regraft.events import Tell, silent
from regraft.labelling import agreement, box_agreement, consensus, findings
from regraft.labelling.asking import BATCH, Seen, ask_next
from regraft.labelling.box_agreement import annotators_in
from regraft.labelling.decisions import Journal, heard, journal_of, reviewed, settled
from regraft.labelling.label_studio_exports import take_in
from regraft.labelling.likely_errors import LEAST, Judged, judge, lone_classes, why_not
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

_TRIAL = 64

Facts = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What is asked about the labels of some data; see `regraft.verbs.labels`.

    Attributes:
        data: labelled data or votes.
        backbone: a name, or one that is open.
        pool: samples without labels, or None.
        batch: how many of them to choose.
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
    max_bad: float = 0.01
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

    facts: Facts
    given: Dataset | None = None
    dataset: Dataset | None = None
    judged: Judged | None = None
    pool: Dataset | None = None
    agreed: frozenset[str] = frozenset()


def surveyed(request: Request, *, tell: Tell = silent) -> Surveyed:
    """See `regraft.verbs.labels`; the facts, with the data that they are about."""
    if find_spec("cleanlab") is None or find_spec("crowdkit") is None:
        raise MissingExtra(
            "This needs the packages cleanlab and crowd-kit.", mend="pip install 'regraft[labels]'"
        )
    data, own = request.data, request.reader is not None
    drawn = None if own else annotators_in(data)
    if drawn is not None:
        _refuse_without_samples(request, "These are boxes of several people")
        return Surveyed(_of_boxes(drawn, request))
    votes = read_votes(data, scale=request.scale) if not own and is_votes(data) else None
    found = _of_votes(votes, request) | _NOTHING
    if votes is not None and votes_on(data) is None:
        _refuse_without_samples(request, "The table holds no texts and names no files")
        why = "The table holds no texts and names no files, so only the votes were looked at."
        return Surveyed(found | {"not_judged": why})
    given, pool = _labelled(request, tell), None
    journal = Journal(journal_of(data))
    if request.pool is not None:
        pool = read_pool(
            request.pool, given, column=_text_column(request), max_bad=request.max_bad, tell=tell
        )
    if request.label_studio is not None:
        found["from_label_studio"] = take_in(request.label_studio, given, pool, journal)
    if pool is not None:
        asked = (*given, *as_in_journal(data, pool))
        given, pool = settled_by(given, pool, heard(journal.standing(), given, asked))
        if found["from_label_studio"]:
            table = write_labelled(data, pool.path, given, journal)
            found["from_label_studio"]["labelled"] = None if table is None else str(table)
    dataset, verdicts = reviewed(given, journal)
    lost = (problem.what for problem in dataset.problems if problem.kind == "lost-review")
    caution = " ".join(filter(None, (request.caution, *lost)))
    found |= {"reviewed": len(verdicts), "data": _of_data(dataset), "caution": caution}
    if votes is not None:
        found["agreement"]["divided"] = _with_excerpts(found["agreement"]["divided"], dataset)
    few = why_not(dataset)
    if few:
        found["not_judged"] = few
        if pool is None:
            return Surveyed(found, given, dataset)
    judged: Judged | None = None
    agreed = frozenset[str]() if votes is None else consensus.upheld(votes, dataset)
    with _eyes(request, dataset, pool, tell) as see:
        known = see(dataset)
        penalty = None
        if not few:
            judged = _judged(known, request.seed, tell)
            penalty = judged.penalty
            decided = settled(verdicts)
            found["caution"] = _with_lone(caution, dataset)
            found |= _of_labels(dataset, judged, decided | agreed)
            if not dataset.multilabel:
                share = _share_wrong(dataset, judged, decided, request.seed)
                found["share"] = share.to_json() if share else None
            found["worth"] = _worth(known, request, penalty, tell)
            if votes is not None:
                judged_n = _rows_judged(dataset)
                names = [dataset.samples[int(n)].id for n in judged_n]
                found["beside_people"] = consensus.beside_people(
                    votes, names, dataset.classes, judged.first_nc[judged_n], seed=request.seed
                )
        if pool is not None and len(pool):
            found["next"] = ask_next(
                see(pool), known, batch=request.batch, penalty=penalty, seed=request.seed
            )
        if pool is not None:
            found["pool"] = {"path": str(request.pool), "samples": len(pool)}
    return Surveyed(found, given, dataset, judged, pool, agreed)


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


_NOTHING: Facts = {
    "likely_errors": [],
    "next": [],
    "share": None,
    "outliers": [],
    "same_classes": [],
    "worth": None,
    "pool": None,
    "data": None,
    "caution": "",
    "from_label_studio": None,
    "to_label_studio": None,
    "not_judged": "",
}


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
    few = ", ".join(lone[:5]) + (f" and {len(lone) - 5} more" if len(lone) > 5 else "")
    said = (
        f"Labels of {few} are not judged: all samples are of one group, so nothing else shows it."
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


def _of_boxes(drawn: Mapping[str, BoxData], request: Request) -> Facts:
    """Several people's boxes on the same pictures."""
    things, categories = box_agreement.objects(drawn)
    votes = box_agreement.votes_on_objects(things, categories)
    pictures = box_agreement.clusters(things, votes)
    found = _of_votes(votes, request, pictures) | _NOTHING
    found["agreement"] |= {
        "scale": "boxes",
        "place": box_agreement.place(things, request.seed),
        "divided": box_agreement.divided(found["agreement"]["divided"], things, categories),
    }
    found["data"] = {
        "path": str(request.data),
        "task": "object-detection",
        "samples": len({one.picture for one in things}),
        "classes": list(categories),
    }
    why = "Several people's boxes on the same pictures: their agreement was looked at."
    return found | {"not_judged": why}


def _of_votes(votes: Votes | None, request: Request, clusters: Sequence[str] = ()) -> Facts:
    """What votes alone tell; samples of one cluster are drawn together for the intervals."""
    seed = request.seed
    nothing: Facts = {"agreement": None, "consensus": None, "ceiling": None, "beside_people": None}
    nothing["reviewed"] = 0
    if votes is None:
        return nothing
    ceiling = consensus.ceiling(votes, seed=seed, clusters=clusters)
    return nothing | {
        "agreement": {
            "scale": votes.scale,
            "are_steps": request.scale is None and votes.scale == "nominal" and votes.numbered,
            "votes": len(votes),
            "samples": len(votes.samples),
            "annotators": len(votes.annotators),
            "alpha": agreement.alpha(votes, seed=seed, clusters=clusters).to_json(),
            "fleiss": agreement.fleiss(votes),
            "classes": agreement.per_class(votes, seed, clusters),
            "people": consensus.per_annotator(votes),
            "pairs": agreement.per_pair(votes),
            "divided": agreement.divided(votes),
            "place": None,
        },
        "consensus": consensus.summary(consensus.consensus(votes), votes),
        "ceiling": ceiling.to_json() if ceiling else None,
    }


def _judged(known: Seen, seed: int, tell: Tell) -> Judged:
    """Probes on the vectors of a frozen network."""
    dataset = known.dataset
    task = Classification(dataset.task, dataset.classes, dataset.multilabel)
    return judge(
        known.rows,
        task.targets(dataset.samples),
        [sample.group for sample in dataset],
        exclusive=not dataset.multilabel,
        seed=seed,
        tell=tell,
    )


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


def _of_labels(dataset: Dataset, judged: Judged, kept: frozenset[str]) -> Facts:
    """What the probes tell; what people have settled is not suspected."""
    return {
        "likely_errors": [
            {
                "sample": dataset.samples[one.row].id,
                "given": findings.given(dataset, dataset.samples[one.row]),
                "suggested": one.suggested,
                "score": one.score,
                "reason": one.reason,
                **excerpt(dataset.samples[one.row]),
            }
            for one in findings.likely_errors(dataset, judged, kept)
            if dataset.samples[one.row].id not in kept
        ],
        "outliers": findings.outliers(dataset, judged),
        "same_classes": findings.same_classes(dataset, judged),
    }


def _share_wrong(
    dataset: Dataset, judged: Judged, decided: frozenset[str], seed: int
) -> Share | None:
    """Of all judged labels; those that reviewers settled are right. None where too few are open."""
    judged_n = _rows_judged(dataset)
    rows = np.array([n for n in judged_n if dataset.samples[int(n)].id not in decided], np.int64)
    if len(rows) < LEAST:
        return None
    some = [dataset.samples[int(n)] for n in rows]
    share, _ = wrong_share(
        np.array([sample.target for sample in some], dtype=np.int64),
        (judged.first_nc[rows], judged.chance_nc[rows]),
        clusters=[sample.group for sample in some],
        surely=findings.contradicted(dataset.samples, decided) / len(some),
        seed=seed,
    )
    return share.of_part(len(some) / len(judged_n))
