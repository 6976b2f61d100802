"""Objects in pictures and videos."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regraft.dataset import Sample
from regraft.dataset.boxes.predicted import (
    DRAWN,
    FILES,
    below,
    check_place,
    common_folder,
    list_place,
    others_in,
    write_predictions,
)
from regraft.dataset.boxes.tiles import Found, Window, cut, stitch, times_larger, windows
from regraft.dataset.frames import Frame, frames
from regraft.dataset.guard import shown
from regraft.dataset.video import claims_video
from regraft.errors import UnreadableSample, UsageError
from regraft.events import Advanced, Said, Tell
from regraft.reporting.drawing import Mark, drawn, jpeg
from regraft.reporting.lettering import respelt
from regraft.store import commit
from regraft.tasks.box_metrics import steps_of
from regraft.tasks.boxes import BoxAnswers
from regraft.tasks.family import KEPT
from regraft.transfer.engine import Preparation
from regraft.transfer.model import Model
from regraft.transfer.pictures import pixels_of
from regraft.wording import plural, some_of

TRIED = 8
"""Pictures or tiles that the engine is judged by."""
_NAMED = 3
"""Categories that are named where one thing is said of several."""


@dataclass(frozen=True)
class Wanted:
    """What is to become of the objects that are found, beside the answer.

    Attributes:
        out: a folder for files; None writes none.
        to: format of the file; see `dataset.boxes.predicted.FILES`.
        draw: whether pictures with the boxes on them are written too.
        every_s: of a video, one frame in so many seconds is looked at.
        precision: the share of boxes that should be right; 0 shows all that are found, None those
            with the best F1.
    """

    out: Path | None = None
    to: str = "json"
    draw: bool = False
    every_s: float = 1.0
    precision: float | None = None


def check_wanted(wanted: Wanted, finds: bool) -> None:
    """Refuse before anything is computed.

    Args:
        wanted: what is asked for.
        finds: whether the model finds objects.

    Raises:
        UsageError: an option is wrong, or is for models that find objects and this does not; or
            files would be replaced that `predict` did not write.
    """
    usual = asdict(Wanted())
    chosen = [name for name, value in asdict(wanted).items() if value != usual[name]]
    if chosen and not finds:
        raise UsageError(
            "this model finds no objects; files are written and chosen of boxes alone",
            where=", ".join(f"--{name.removesuffix('_s')}" for name in chosen),
            mend="leave it out; with --json what is printed can go to a file",
        )
    if wanted.to not in FILES:
        raise UsageError(
            f"there is no format {wanted.to!r}", where="--to", mend=f"use one of {', '.join(FILES)}"
        )
    if not wanted.every_s > 0:
        raise UsageError("the time is not positive", where="--every", mend="for example 1s")
    if wanted.precision is not None and not 0 <= wanted.precision <= 1:
        raise UsageError(
            "the share does not lie between 0 and 1", where="--precision", mend="for example 0.9"
        )
    if wanted.out is None and (wanted.draw or wanted.to != "json"):
        raise UsageError("there is no folder to write to", where="--out", mend="name one")
    if wanted.out is not None:
        check_place(wanted.out, wanted.to, wanted.draw)


def find_objects(
    model: Model, preparation: Preparation, paths: Sequence[Path], wanted: Wanted, tell: Tell
) -> list[dict[str, Any]]:
    """Objects in files, one picture after the other; large ones are looked at tile by tile.

    Args:
        model: finds objects.
        preparation: of its backbone.
        paths: pictures and videos.
        wanted: files to write, too.
        tell: listens to events.

    Returns:
        for each picture "sample", "width", "height" and "objects", the surest first, each with
        "label", "probability" and "box" (left, top, right, bottom in pixels); or "problem".
        Where as many were found as are told of a picture or tile, "at_most" is that number; where
        the picture is much larger than those learnt from, "times_larger" says how much. The
        last frame of a video that is not whole has "damage", sentences on what it lacks.

    Raises:
        UsageError: frames of a video are wanted in a format that takes files alone.
    """
    if wanted.to == "label-studio" and (films := [path for path in paths if claims_video(path)]):
        raise UsageError(
            "a video's frames are no files that Label Studio could show",
            where=films[0],
            mend="write another format (--to json), or save the frames as pictures first",
        )
    answers: list[dict[str, Any]] = []
    taken: set[Path] = set()
    common, threshold = common_folder(paths), _threshold(model, wanted.precision)
    if wanted.out is not None:
        list_place(wanted.out, wanted.to, wanted.draw)
    for look, tiles in _looked(model, preparation, frames(paths, wanted.every_s, tell)):
        if look.picture is None:
            answers.append({"sample": look.name, "problem": look.problem})
            continue
        size = look.picture.size
        whole = _whole(look.windows, tiles, threshold)
        answers.append({"sample": look.name, **_objects(model, whole, size)})
        if any((found.scores_k >= threshold).sum() >= KEPT for found in tiles):
            answers[-1]["at_most"] = KEPT
        if times := times_larger(*size, model.facts):
            answers[-1]["times_larger"] = times
        if look.damage:
            answers[-1]["damage"] = list(look.damage)
        if wanted.draw and wanted.out is not None:
            file = _file_for(below(look.name, common), wanted.out, taken)
            _draw(look.picture, answers[-1], model.task.classes, file)
        tell(Advanced("predicting", len(answers), max(len(answers), len(paths))))
    _say_larger(model, answers, tell)
    if wanted.draw:
        _say_respelt(model.task.classes, answers, tell)
    if wanted.out is not None:
        files = write_predictions(answers, model.task.classes, wanted.out, wanted.to)
        _say_others(wanted.out, {*files, *taken}, tell)
    return answers


def _say_others(out: Path, written: set[Path], tell: Tell) -> None:
    """Say so where files of an earlier call lie among those of this one."""
    if others := [shown(name) for name in others_in(out, written)]:
        lie = "file lies" if len(others) == 1 else "files lie"
        tell(
            Said(
                f"{len(others):,} {lie} in {shown(out)} that this call did not write: "
                f"{some_of(others, _NAMED)}. Name a new folder to keep what is found apart"
            )
        )


def _say_larger(model: Model, answers: Sequence[dict[str, Any]], tell: Tell) -> None:
    """Say so where objects are seen much smaller than those that were learnt."""
    larger = [answer for answer in answers if "times_larger" in answer]
    if larger:
        most = max(larger, key=lambda answer: answer["times_larger"])
        tell(
            Said(
                f"{plural(len(larger), 'picture is', 'pictures are')} much larger than those that "
                f"this model learnt from (mostly {model.facts['longer_side_px']:,.0f} px wide or "
                f"high), {shown(most['sample'])} {most['times_larger']:g} times: objects are seen "
                "that much smaller there, and many may be missed. Cut such pictures into smaller "
                "ones, or learn from some of their size"
            )
        )


def _say_respelt(classes: Sequence[str], answers: Sequence[dict[str, Any]], tell: Tell) -> None:
    """Say so where names stand on the pictures otherwise than they are."""
    found = {thing["label"] for answer in answers for thing in answer.get("objects", ())}
    names = respelt(name for name in classes if name in found)
    if names:
        tell(
            Said(
                "None of the fonts of this machine that regraft knows has all characters of "
                f"{some_of(names, _NAMED)}: on the pictures in {DRAWN}/ they are spelt in English "
                "letters and numbers. Install GNU Unifont or, for Chinese, Japanese and Korean, "
                "Noto Sans CJK"
            )
        )


def _whole(parts: Sequence[Window], tiles: Sequence[Found], least: float = 0.0) -> Found:
    """What was found on a picture, by its tiles, with a confidence of `least` or more.

    The rest goes before they are put together: it must not take the place of what is shown.
    """
    sure = [_from(found, least) for found in tiles]
    return stitch(list(zip(parts, sure, strict=True))) if sure[1:] else sure[0]


def _from(found: Found, least: float) -> Found:
    sure_k = found.scores_k >= least
    return Found(found.boxes_k4[sure_k], found.labels_k[sure_k], found.scores_k[sure_k])


def _file_for(name: str, out: Path, taken: set[Path]) -> Path:
    """A JPEG called like a picture, and like no other; it is added to those that are taken."""
    file = out / DRAWN / (name if name.endswith(".jpg") else f"{name}.jpg")
    while file in taken:
        file = file.with_name(f"{file.name}.jpg")
    taken.add(file)
    return file


@dataclass(frozen=True)
class _Look:
    """A picture on its way through the network, tile by tile; or what speaks against it."""

    name: str
    picture: Image.Image | None = None
    windows: Sequence[Window] = ()
    problem: str = ""
    damage: tuple[str, ...] = ()


def _looked(
    model: Model,
    preparation: Preparation,
    pictures: Iterable[Frame],
) -> Iterator[tuple[_Look, list[Found]]]:
    """Each picture, in order, with what was found on its tiles.

    The next pictures are decoded while the network is at work on those before.
    """
    preprocessing = model.backbone.pictures
    begun: deque[_Look] = deque()

    def inputs() -> Iterator[np.ndarray]:
        for frame in pictures:
            picture = frame.picture
            if isinstance(picture, UnreadableSample):
                begun.append(_Look(frame.name, problem=picture.what))
                continue
            parts = windows(*picture.size, model.facts["tile_px"])
            begun.append(_Look(frame.name, picture, parts, damage=frame.damage))
            yield from (pixels_of(picture.crop(part), preprocessing) for part in parts)

    pixels = inputs()
    first = list(islice(pixels, TRIED))
    if first:
        frozen = len(model.backbone.stages)
        engine = preparation.engine_for_pixels(frozen, np.stack(first))
        tiles: list[Found] = []
        for row in engine.stream(chain(first, pixels)):
            while begun[0].picture is None:
                yield begun.popleft(), []
            left, top, right, bottom = begun[0].windows[len(tiles)]
            (found,) = model.find([value[None] for value in row], [(bottom - top, right - left)])
            tiles.append(Found(*found))
            if len(tiles) == len(begun[0].windows):
                yield begun.popleft(), tiles
                tiles = []
    yield from ((look, []) for look in begun)


def _draw(picture: Image.Image, answer: dict[str, Any], classes: Sequence[str], file: Path) -> None:
    """The picture with its boxes and what they are."""
    number = {name: at for at, name in enumerate(classes)}
    marks = [
        Mark(
            tuple(thing["box"]),
            f"{thing['label']} {thing['probability']:.2f}",
            category=number[thing["label"]],
        )
        for thing in answer["objects"]
    ]
    commit(file, jpeg(drawn(picture, marks), 90))


def _threshold(model: Model, precision: float | None) -> float:
    """The confidence from which boxes are shown, as it was found on the validation split."""
    if precision is None:
        return model.calibrated["threshold"]
    if precision == 0:
        return 0.0
    steps = steps_of(model.calibrated)
    for reached, threshold in steps:
        if reached >= precision:
            return threshold
    most = f"{steps[-1][0]:.3g} at most" if steps else "none"
    raise UsageError(
        f"no confidence is known that gives a precision of {precision:g}",
        where="--precision",
        mend=f"its validation data reached {most}; 0 shows all boxes",
    )


def _objects(model: Model, found: Found, size: tuple[int, int]) -> dict[str, Any]:
    rows = zip(found.boxes_k4, found.labels_k, found.scores_k, strict=True)
    return {
        "width": size[0],
        "height": size[1],
        "objects": [
            {
                "label": model.task.classes[label],
                "probability": round(float(score), 4),
                "box": [round(float(edge), 1) for edge in box],
            }
            for box, label, score in rows
        ],
    }


def put_together(
    pictures: Sequence[Sample],
    tile_px: int,
    tiles: Sequence[Sample],
    found: BoxAnswers,
    least: float = 0.0,
) -> BoxAnswers:
    """What was found on tiles, as `predict` shows it on the whole pictures.

    Args:
        pictures: before they were cut.
        tile_px: side of the tiles, 0 where nothing is cut.
        tiles: of these pictures, in any order.
        found: on the tiles.
        least: the confidence from which boxes are shown.
    """
    by_id = {tile.id: Found(*one) for tile, one in zip(tiles, found, strict=True)}
    whole: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for picture in pictures:
        height_px, width_px = picture.size
        parts = [by_id[tile.id] for tile in cut(picture, tile_px)]
        one = _whole(windows(width_px, height_px, tile_px), parts, least)
        whole.append((one.boxes_k4, one.labels_k, one.scores_k))
    return BoxAnswers.from_pictures(whole)
