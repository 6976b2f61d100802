"""What several people's boxes come to: a table of boxes to learn from, each object in it once.

Boxes of one object that lie too far apart to be matched are objects of their own, which half of the
people drew at most: two people who place a box differently would put it into the table twice, three
not at all. So of such objects those of one category that overlap (by `NEAR_IOU`: a box in the wrong
place, says TIDE, Bolya et al. 2020; of more than two, each overlaps every other at all), and of
which nobody drew two, are taken for one. That is about the table alone: in the agreement of people
they remain a disagreement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from regraft.dataset.boxes import BoxData
from regraft.labelling.box_agreement import (
    NOTHING,
    Object,
    called,
    edges_of,
    middle,
    overlap,
    splits,
)
from regraft.labelling.consensus import ranked
from regraft.labelling.found import Facts
from regraft.tasks.box_errors import NEAR_IOU
from regraft.wording import plural, some_of

_NAMED = 3
"""Objects that a message names."""


def settled(consensus: Facts, drawn: Mapping[str, BoxData], found: Sequence[Object]) -> Facts:
    """The consensus, with all that makes it a data set of boxes.

    Args:
        consensus: what the votes on the objects come to; see `consensus.summary`.
        drawn: by person.
        found: the objects of `drawn`.

    Returns:
        the consensus; each of its "labels" has "picture" and "edges", the mean of the object's
        boxes (left, top, right, bottom in pixels). One that is taken for another is labelled
        `NOTHING` and has "same_as", what that is called, whose edges are the mean of all, and which
        has the votes of all and is tied. "crowds" are all that anybody drew, with "picture",
        "category" and "edges"; "bare" the pictures on which nobody drew anything; "splits" those of
        pictures that are in one, as the first person has it.
    """
    named = {called(one, number): one for number, one in enumerate(found)}
    rows = {row["sample"]: row | _place([named[row["sample"]]]) for row in consensus["labels"]}
    for names in _drawn_apart(rows, named):
        rows |= _as_one([rows[name] for name in names], [named[name] for name in names])
    boxes = {
        (picture.id, data.categories[box.category], edges_of(box), box.crowd)
        for data in drawn.values()
        for picture in data.pictures
        for box in picture.boxes
    }
    crowds = [
        {"picture": picture, "category": name, "edges": list(edges)}
        for picture, name, edges, is_crowd in sorted(boxes)
        if is_crowd
    ]
    every = {picture.id for data in drawn.values() for picture in data.pictures}
    bare = sorted(every - {picture for picture, *_ in boxes})
    said = {
        "crowds": crowds,
        "bare": bare,
        "splits": {id_: s[0] for id_, s in splits(drawn).items()},
    }
    return consensus | ranked([*rows.values()]) | said


def caution(rows: Sequence[Facts]) -> str:
    """What to bear in mind of the "labels" of `settled`: what is in doubt and in them; or ""."""
    same = list(dict.fromkeys(row["same_as"] for row in rows if "same_as" in row))
    half = [
        row["sample"]
        for row in rows
        if row["label"] != NOTHING
        and 2 * row["votes"].get(NOTHING, 0) == sum(row["votes"].values())
    ]
    said: list[str] = []
    if half:
        said.append(
            f"{plural(len(half), 'object is', 'objects are')} in the consensus though half of "
            f"those who looked drew nothing there: {some_of(half, _NAMED)}."
        )
    if same:
        said.append(
            "Boxes of one category that overlap by less than half, and of which nobody drew two, "
            f"are taken for one object that was placed differently: {some_of(same, _NAMED)}."
        )
    return " ".join(said)


def _drawn_apart(rows: Mapping[str, Facts], named: Mapping[str, Object]) -> Iterator[list[str]]:
    """Names of objects that are likely one; what most people drew is none of these.

    Args:
        rows: of the objects, by name.
        named: the objects, in the order of their pictures.
    """
    few = [name for name, one in named.items() if 2 * len(one.boxes) <= len(one.looked)]
    for _, of_picture in groupby(few, lambda name: named[name].picture):
        names = list(of_picture)
        people = [named[name].boxes for name in names]
        middle_g4 = np.array([named[name].middle_4 for name in names])
        iou_gg = overlap(middle_g4, middle_g4)
        seen_g = np.array([_seen_as(rows[name]) for name in names])
        near_gg = (iou_gg >= NEAR_IOU) & (seen_g[:, None] == seen_g)
        pairs = np.argwhere(np.triu(near_gg, 1)).tolist()
        together = [[n] for n in range(len(names))]
        for a, b in sorted(pairs, key=lambda pair: -iou_gg[*pair]):
            both = [*together[a], *together[b]]
            drew = [person for n in both for person in people[n]]
            # Else a row of objects would be one, as each overlaps the next.
            if len({*drew}) == len(drew) and (iou_gg[np.ix_(together[a], together[b])] > 0).all():
                for n in both:
                    together[n] = both
        for n, group in enumerate(together):
            if len(group) > 1 and n == min(group):
                yield [names[at] for at in sorted(group, key=lambda at: (-len(people[at]), at))]


def _seen_as(row: Facts) -> str:
    """What most of those who drew an object call it."""
    votes = {name: count for name, count in row["votes"].items() if name != NOTHING}
    return max(votes, key=lambda name: votes[name])


def _as_one(rows: Sequence[Facts], things: Sequence[Object]) -> dict[str, Facts]:
    """Rows of objects that are likely one, by name: the first stands for all.

    It has the votes of all who looked, and the label's share of these as its chance: what a model
    of the people believes is about one place alone. It is tied, as no place has most of them.

    Returns:
        the rows that become others; none where it is no object of the consensus, as less than half
        of the people drew it.
    """
    looked, drew = len(things[0].looked), sum(len(one.boxes) for one in things)
    labels = [row["label"] for row in rows if row["label"] != NOTHING]
    if not labels and 2 * drew < looked:
        return {}
    first, *others = rows
    votes = sum((Counter[str](row["votes"]) for row in rows), Counter[str]())
    votes[NOTHING] = looked - drew
    one = first | {"votes": dict(sorted((+votes).items())), "tied": True} | _place(things)
    found = [_labelled(one, labels[0] if labels else _seen_as(first))]
    for row in others:
        nothing = row if row["label"] == NOTHING else _labelled(row, NOTHING)
        found.append(nothing | {"same_as": first["sample"]})
    return {row["sample"]: row for row in found}


def _labelled(row: Facts, label: str) -> Facts:
    """A row with a label and its share of the votes as the chance."""
    share = row["votes"].get(label, 0) / sum(row["votes"].values())
    return row | {"label": label, "probability": round(share, 6)}


def _place(things: Sequence[Object]) -> Facts:
    """Where one object lies that was drawn as so many: the mean of their boxes."""
    boxes = [box for one in things for box in one.boxes.values()]
    edges = [round(float(edge), 2) for edge in middle(boxes)]
    return {"picture": things[0].picture, "edges": edges}
