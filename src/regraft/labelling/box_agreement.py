"""Several people's boxes on the same pictures: whether they saw the same objects, and where.

Boxes of one object are matched first, whatever they are called: person by person, each box with at
most one object, the whole of it with the greatest overlap (Hungarian method), at least `LEAST_IOU`.
An object is then what people voted on: those who drew it say what it is, those who looked at the
picture and drew nothing there say so. Alpha over these votes is agreement about what is there
(Tschirschwitz et al., "Drawing the same bounding box twice?", 2023); how far matched boxes overlap
is agreement about where.

What nobody drew is not counted, as nobody can count it. Objects of one picture are drawn together
for the interval. Crowds are left out.

Legend: g objects, a annotators, k boxes, 4 edges (left, top, right, bottom) in pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from regraft.dataset import guard
from regraft.dataset.boxes import FORMATS, Box, BoxData
from regraft.dataset.boxes.label_studio import LabelStudioReader, annotators_of
from regraft.dataset.encoding import said_of_encodings
from regraft.dataset.rows import DROPPED
from regraft.errors import DataError
from regraft.labelling.agreement import bootstrap
from regraft.labelling.found import is_ours
from regraft.labelling.votes import Votes, votes_of
from regraft.wording import plural, some_of

LEAST_IOU = 0.5
NOTHING = "(nothing)"
"""What a person says who looked and drew no box there."""

Facts = dict[str, Any]

_NAMED = 3
"""Pictures that a message names."""
_WITHOUT_A_BOX = "without a box: under `images` in COCO, in a table in a row of its path alone"


@dataclass(frozen=True)
class Object:
    """Boxes that are taken for the same thing.

    Attributes:
        picture: its id.
        boxes: who drew what.
        looked: who looked at the picture.
    """

    picture: str
    boxes: Mapping[str, Box]
    looked: tuple[str, ...]

    @property
    def middle_4(self) -> np.ndarray:
        """The mean box."""
        return middle(self.boxes.values())


def annotators_in(folder: Path) -> dict[str, BoxData] | None:
    """Boxes that different people drew on the same pictures, by person.

    Args:
        folder: with two files or more (COCO JSON or tables) and the pictures, each file called by
            who drew them; or one export of Label Studio.

    Returns:
        None where there are none, or where they have no picture in common (they are then parts of
        one data set).

    Raises:
        DataError: one of the files cannot be read, or two are called by one person's name.
    """
    people = annotators_of(folder)
    if len(people) > 1:
        return {name: LabelStudioReader(name).read(folder) for name in people}
    if not folder.is_dir():
        return None
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and file.suffix.lower() in {".json", *guard.TABLE_SUFFIXES}
        # What `labels` itself wrote, into the folder that it had looked at, is nobody's.
        and not is_ours(file)
    ]
    known = [(f, form) for f in files for form in FORMATS if form.recognises(f)]
    if len(known) < 2:
        return None
    read = [form.read(file) for file, form in known]
    seen = [{picture.id for picture in data.pictures} for data in read]
    if not any(first & second for first, second in combinations(seen, 2)):
        return None
    names = [file.stem for file, _ in known]
    again = next((name for name in names if names.count(name) > 1), None)
    if again is not None:
        files = [guard.shown(file.name) for file, _ in known if file.stem == again]
        raise DataError(
            f"{plural(len(files), 'file')} of boxes are called {guard.shown(again)} "
            f"({', '.join(files)}), and each is read as another annotator's.",
            where=guard.shown(folder),
            mend="take out all but one of them, or call each by who drew its boxes",
        )
    return dict(zip(names, read, strict=True))


def caution(drawn: Mapping[str, BoxData]) -> str:
    """What to bear in mind: what was guessed at, pictures that say nothing or twice; or ""."""
    looked = Counter(picture.id for data in drawn.values() for picture in data.pictures)
    seen = f"Of {plural(len(looked), 'picture')}"
    alone = sum(times == 1 for times in looked.values())
    bare = len(looked) - len(_drawn_on(drawn))
    said = said_of_encodings(note for data in drawn.values() for note in data.problems)
    said += _refused_or_mended(drawn)
    if alone:
        are = "is" if alone == 1 else "are"
        said.append(
            f"{seen} {alone:,} {are} in one person's file alone, and say nothing about agreement. "
            f"Who looked at a picture and drew nothing lists it {_WITHOUT_A_BOX}."
        )
    if bare:
        none = "has no box of anybody" if bare == 1 else "have no box of anybody"
        said.append(f"{seen} {bare:,} {none}: agreement is about objects that somebody saw.")
    twice = [picture for picture, names in splits(drawn).items() if len(names) > 1]
    if twice:
        whose = "is in another split" if len(twice) == 1 else "are in other splits"
        said.append(
            f"{plural(len(twice), 'picture')} {whose} with one person than with another, and the "
            f"first one counts: {some_of(twice, _NAMED)}."
        )
    return " ".join(said)


def _refused_or_mended(drawn: Mapping[str, BoxData]) -> list[str]:
    """Whose boxes count otherwise than they were drawn."""
    counts = {
        "refused": {name: data.refused for name, data in drawn.items() if data.refused},
        "mended": {name: data.mended for name, data in drawn.items() if data.mended},
    }
    said = [
        f"Boxes were {what} on reading: "
        f"{some_of([f'{n:,} of {guard.shown(name)}' for name, n in of.items()], _NAMED)}."
        for what, of in counts.items()
        if of
    ]
    if counts["refused"]:
        said.append(
            "Who drew a box that was refused counts as having drawn nothing there; where no other "
            "is left on the picture, as not having looked."
        )
    return said


def notes(drawn: Mapping[str, BoxData]) -> list[Facts]:
    """What was refused, mended or read otherwise than it is written, with whose it is."""
    return [
        {"annotator": person, **asdict(one)}
        for person, data in drawn.items()
        for one in data.problems
        if one.done not in DROPPED
    ]


def pictures(drawn: Mapping[str, BoxData]) -> int:
    """How many pictures anybody looked at, with boxes or without."""
    return len({picture.id for data in drawn.values() for picture in data.pictures})


def splits(drawn: Mapping[str, BoxData]) -> dict[str, list[str]]:
    """The splits that people have a picture in, each once; without pictures that are in none."""
    found: dict[str, list[str]] = {}
    for data in drawn.values():
        for picture in data.pictures:
            if picture.split and picture.split not in found.setdefault(picture.id, []):
                found[picture.id].append(picture.split)
    return found


def _drawn_on(drawn: Mapping[str, BoxData]) -> set[str]:
    every = (picture for data in drawn.values() for picture in data.pictures)
    return {picture.id for picture in every if not all(box.crowd for box in picture.boxes)}


def objects(drawn: Mapping[str, BoxData]) -> tuple[list[Object], tuple[str, ...]]:
    """The objects that people drew, and the categories of all of them together.

    Args:
        drawn: by person; categories are compared by name.

    Raises:
        DataError: a category is called `NOTHING`.
    """
    for data in drawn.values():
        if NOTHING in data.categories:
            raise DataError(
                f"A category is called {NOTHING}, which stands for no box.",
                where=guard.shown(data.path),
                mend="call it otherwise; a picture on which there is nothing is listed "
                f"{_WITHOUT_A_BOX}",
            )
    categories = tuple(sorted({name for data in drawn.values() for name in data.categories}))
    at = {name: c for c, name in enumerate(categories)}
    by_picture: dict[str, dict[str, list[Box]]] = {}
    for person, data in drawn.items():
        for picture in data.pictures:
            boxes = [
                Box(at[data.categories[b.category]], b.left, b.top, b.right, b.bottom)
                for b in picture.boxes
                if not b.crowd
            ]
            by_picture.setdefault(picture.id, {})[person] = boxes
    found: list[Object] = []
    for picture, boxes in sorted(by_picture.items()):
        looked = tuple(sorted(boxes))
        found += [Object(picture, one, looked) for one in _matched(boxes)]
    return found, categories


def _matched(boxes: Mapping[str, Sequence[Box]]) -> Iterator[dict[str, Box]]:
    """Boxes of one picture that belong together; who drew most begins."""
    from scipy.optimize import linear_sum_assignment

    groups: list[dict[str, Box]] = []
    for person in sorted(boxes, key=lambda name: (-len(boxes[name]), name)):
        mine = list(boxes[person])
        left = set(range(len(mine)))
        if groups and mine:
            middle_g4 = np.array([middle(group.values()) for group in groups])
            iou_gk = overlap(middle_g4, np.array([edges_of(b) for b in mine]))
            rows, columns = linear_sum_assignment(-np.where(iou_gk >= LEAST_IOU, iou_gk, 0.0))
            for g, k in zip(rows.tolist(), columns.tolist(), strict=True):
                if iou_gk[g, k] >= LEAST_IOU:
                    groups[g][person] = mine[k]
                    left.discard(k)
        groups += [{person: mine[k]} for k in sorted(left)]
    yield from groups


def edges_of(box: Box) -> tuple[float, float, float, float]:
    """Left, top, right, bottom, in pixels."""
    return (box.left, box.top, box.right, box.bottom)


def middle(boxes: Iterable[Box]) -> np.ndarray:
    """The mean box, 4 edges."""
    return np.mean([edges_of(box) for box in boxes], axis=0)


def overlap(first_g4: np.ndarray, second_k4: np.ndarray) -> np.ndarray:
    """Intersection over union of each two boxes, iou_gk."""
    low = np.maximum(first_g4[:, None, :2], second_k4[None, :, :2])
    high = np.minimum(first_g4[:, None, 2:], second_k4[None, :, 2:])
    common_gk = np.maximum(high - low, 0).prod(axis=2)
    area_g, area_k = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (first_g4, second_k4))
    return common_gk / np.maximum(area_g[:, None] + area_k - common_gk, 1e-12)


def votes_on_objects(found: Sequence[Object], categories: Sequence[str]) -> Votes:
    """Who says what about each object; `NOTHING` from those who looked and drew none.

    Raises:
        DataError: nobody drew anything.
    """
    return votes_of(
        (
            (
                called(one, number),
                person,
                (categories[one.boxes[person].category] if person in one.boxes else NOTHING,),
            )
            for number, one in enumerate(found)
            for person in one.looked
        ),
        scale="nominal",
    )


def called(one: Object, number: int) -> str:
    """An object's name: picture, place, number."""
    left, top, right, bottom = (round(float(edge)) for edge in one.middle_4)
    return f"{one.picture} [{left}, {top}, {right}, {bottom}] #{number}"


def divided(
    rows: Sequence[Facts], found: Sequence[Object], categories: Sequence[str]
) -> list[Facts]:
    """What divides people (see `agreement.divided`), each object with its picture and boxes.

    Returns:
        the rows with "picture", "looked", the people who saw the picture, and "boxes": of each
        "annotator", "category" and "edges" (left, top, right, bottom in pixels).
    """
    named = {called(one, number): one for number, one in enumerate(found)}
    return [row | _drawn(named[row["sample"]], categories) for row in rows]


def _drawn(one: Object, categories: Sequence[str]) -> Facts:
    boxes = [
        {
            "annotator": person,
            "category": categories[box.category],
            "edges": [round(edge, 2) for edge in edges_of(box)],
        }
        for person, box in sorted(one.boxes.items())
    ]
    return {"picture": one.picture, "looked": list(one.looked), "boxes": boxes}


def place(found: Sequence[Object], seed: int = 0) -> Facts | None:
    """How far boxes of the same object lie apart; None where no two people drew the same.

    Returns:
        "iou" with "value", "low", "high" (95 %, pictures drawn whole); "edges_px", the median
        distance of two edges; "pairs" of people with theirs, the least alike first.
    """
    iou: list[float] = []
    edges: list[float] = []
    picture: list[str] = []
    pairs: dict[tuple[str, str], list[float]] = {}
    for one in found:
        for first, second in combinations(sorted(one.boxes), 2):
            a, b = (np.array([edges_of(one.boxes[name])]) for name in (first, second))
            iou.append(float(overlap(a, b)[0, 0]))
            edges += np.abs(a - b)[0].tolist()
            picture.append(one.picture)
            pairs.setdefault((first, second), []).append(iou[-1])
    if not iou:
        return None
    _, picture_v = np.unique(picture, return_inverse=True)
    value, low, high, _ = bootstrap(np.array(iou), picture_v, seed)
    rows = [
        {"annotators": list(names), "boxes": len(some), "iou": float(np.mean(some))}
        for names, some in pairs.items()
    ]
    return {
        "iou": {"value": value, "low": low, "high": high},
        "edges_px": float(median(edges)),
        "pairs": sorted(rows, key=lambda row: row["iou"]),
    }


def clusters(found: Sequence[Object], votes: Votes) -> list[str]:
    """The picture of each sample of the votes."""
    picture = {called(one, number): one.picture for number, one in enumerate(found)}
    return [picture[name] for name in votes.samples]
