"""What `regraft labels --out` leaves: labels.json, `labels_tables.py`, and one page of it all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from regraft import dataset as data_sets
from regraft import store
from regraft.dataset import Sample, cells, guard
from regraft.errors import UnreadableSample, UsageError
from regraft.labelling.found import FILE, holds_found
from regraft.reporting import detection, drawing, figures, labels_tables
from regraft.reporting.figures import Axis, Point
from regraft.reporting.page import environment, inlined, share_wrong
from regraft.reporting.thumbnails import of_samples
from regraft.wording import metric_name, plural

Facts = Mapping[str, Any]

_PAGE = "report.html"
_MARK = b'<p class="where"><b>regraft labels</b>'
"""In labels.html.j2, of all versions; the pages of other commands are by regraft, too."""

SHOWN = 60
"""Samples in the galleries of likely errors and of what to label next."""
FEW = 24
"""Samples in the other galleries."""
LEAST_CERTAIN = 12
"""Samples whose consensus is listed."""


def refuse_worked_on(folder: Path) -> None:
    """Refuse a folder whose files hold what a person wrote, or what is not of an earlier call.

    Raises:
        UsageError: next.csv has labels, or another table, the page or labels.json is not as `write`
            leaves it; it would be written over, or taken away.
    """
    _refuse_another_page(folder)
    labels_tables.refuse_worked_on(folder)


def _refuse_another_page(folder: Path) -> None:
    """Refuse a page and facts of another origin, and the folder of a run, which has its own."""
    if guard.is_run(folder):
        raise UsageError(
            "This is the folder of a run, which has a report of its own.",
            where=guard.shown(folder),
            mend="name another folder with --out",
        )
    for path, is_ours in ((folder / FILE, holds_found), (folder / _PAGE, _is_page)):
        if path.is_file() and not is_ours(path):
            raise UsageError(
                "A file of this name goes there, and this one is not from an earlier call.",
                where=guard.shown(path),
                mend="name another folder with --out; or move the file away",
            )


def _is_page(path: Path) -> bool:
    """Whether a file has the mark of a page as `render` makes it."""
    try:
        return _MARK in path.read_bytes()
    except OSError:
        return False


def write(
    folder: Path, found: Facts, pool: Iterable[Sample] = (), labelled: Iterable[Sample] = ()
) -> None:
    """Commit labels.json, report.html and the tables, CSV: likely_errors, scores, next, consensus.

    A table without rows is not written, and one of an earlier call is taken away.

    Args:
        folder: made if it is not there.
        found: what `regraft.labels` gives.
        pool: the samples of which some are to be labelled next.
        labelled: those whose labels may be wrong.

    Raises:
        DataError: a picture with boxes is gone; nothing is written.
        StoreError: the disk is full, a picture cannot be read, or the folder not be written to.
        UsageError: as `refuse_worked_on`; somebody may have begun to write meanwhile.
    """
    refuse_worked_on(folder)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    tables = labels_tables.tables(found, pool, labelled, folder.resolve())
    page = render(found, *_thumbnails(found))
    folder.mkdir(parents=True, exist_ok=True)
    store.commit(folder / FILE, text.encode("utf-8", "backslashreplace"))
    for name, table in tables.items():
        path = folder / f"{name}.csv"
        if table:
            store.commit(path, cells.encoded(table))
        else:
            path.unlink(missing_ok=True)
    store.commit(folder / _PAGE, page.encode("utf-8"))


def render(
    found: Facts, thumbnails: Mapping[str, bytes], of_pool: Mapping[str, bytes] | None = None
) -> str:
    """The page as HTML.

    Args:
        found: what `regraft.labels` gives.
        thumbnails: id of a labelled sample to a small JPEG.
        of_pool: the same of the pool, whose samples may have the same ids.
    """
    return (
        environment()
        .get_template("labels.html.j2")
        .render(
            found=found,
            headline=headline(found),
            shown=SHOWN,
            few=FEW,
            names={
                key: Path(found[key]["path"]).name if found[key] else "" for key in ("data", "pool")
            },
            least_certain=LEAST_CERTAIN,
            curve=_curve(found["worth"]),
            classes=_agreed(found["agreement"]),
            numbers=_numbers(found),
            pictures=inlined(thumbnails),
            pool_pictures=inlined(of_pool or {}),
        )
    )


def headline(found: Facts) -> str:
    """The outcome in one or two sentences."""
    said: list[str] = []
    agreement = found["agreement"]
    if agreement:
        alpha = agreement["alpha"]["value"]
        none = "No sample has two votes."
        said.append(none if alpha is None else f"Krippendorff's alpha is {alpha:.2f}.")
    if found["share"]:
        said.append(share_wrong(found["share"]))
    if found["beside_people"]:
        said.append(found["beside_people"]["text"])
    if found["next"]:
        said.append(f"{plural(len(found['next']), 'sample')} to label next.")
    return " ".join(said[:2]) or found["not_judged"] or "Nothing was found."


def _thumbnails(found: Facts) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Small JPEGs of what the page shows, of the labelled samples and of the pool."""
    data, pool = found["data"], found["pool"]
    if not data:
        return {}, {}
    divided = found["agreement"]["divided"][:FEW] if found["agreement"] else []
    root, task = Path(data["path"]), data["task"]
    if task == "object-detection":
        return dict(_objects(labels_tables.root_of(data), divided, _numbers(found))), {}
    labelled = [*found["likely_errors"][:SHOWN], *found["outliers"][:FEW], *divided]
    return (
        of_samples(root, task, labelled),
        of_samples(Path(pool["path"]), task, found["next"][:SHOWN]) if pool else {},
    )


def _numbers(found: Facts) -> dict[str, int]:
    """A number for each person, who may be called too long, or in too many letters, for a box."""
    people = found["agreement"]["people"] if found["agreement"] else []
    return {name: n for n, name in enumerate(sorted(row["annotator"] for row in people), 1)}


def _objects(
    root: Path, rows: Sequence[Facts], numbers: Mapping[str, int]
) -> Iterator[tuple[str, bytes]]:
    """Objects and JPEGs of what lies around them; those whose picture is gone are left out.

    Each box has the number of the person who drew it.
    """
    for row in rows:
        try:
            picture = data_sets.images.decode(root / guard.unshown(row["picture"]))
        except (UnreadableSample, OSError):
            continue
        most = max(row["votes"].values())
        marks = [
            drawing.Mark(
                tuple(box["edges"]),
                str(numbers[box["annotator"]]),
                row["votes"][box["category"]] < most,
            )
            for box in row["boxes"]
        ]
        yield row["sample"], drawing.jpeg(detection.around(picture, marks))


def _curve(worth: Facts | None) -> Markup | None:
    """Accuracy against labels, with where it is expected to go."""
    if not worth:
        return None
    points = [
        Point("", point["labels"], point["value"], point["value"], point["value"], "kept")
        for point in worth["curve"]
    ]
    ahead = (float(worth["expected"]["labels"]), worth["expected"]["value"])
    metric = f"{metric_name(worth['metric'])}, held out"
    axes = (
        Axis("labels", lambda labels: f"{labels:,.0f}"),
        Axis(metric, lambda share: f"{100 * share:.3g}\u00a0%"),
    )
    return figures.curve("worth", f"{axes[1].title}, against labels", points, ahead, axes)


def _agreed(agreement: Facts | None) -> list[Facts]:
    return agreement["classes"] if agreement else []
