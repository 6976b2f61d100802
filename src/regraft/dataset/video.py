"""Video files: what is in one, and its frames at given times, as pictures.

Decisions:

- A file is opened by FFmpeg, restricted to the formats listed here and to that one file: a
  playlist that is called clip.mp4 must not make it read other files or ask the network.
- Frames are found by time, never by number, so that variable frame rates need no care: the frame
  of a moment is the one that a player would show then. Times count from the start of the stream.
- One thread decodes a file, so that what comes out of a damaged one is the same each time; cores
  are kept busy by several files at once.
- What cannot be decoded is passed over and counted, and so are frames whose times run backwards
  or leap: by a time stamp alone, a file of a kilobyte would be a film of years.
- A file that ends before it says it does is used as far as it goes; how much is missing is known,
  and is for the caller to say.
- No more than two frames are in memory at a time, whatever the length of the file.
- Sound is never looked at; a cover picture is not a video. Rotation flags and pixels that are not
  square are applied.

Legend: n moments, s seconds, h w rows and columns of a reduced frame.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt
from PIL import Image

from regraft.dataset.guard import MAX_PIXELS, Refused, claims_picture, refuse_bomb, shown
from regraft.errors import MissingExtra, RegraftError
from regraft.events import Advanced, Tell, silent

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

SUFFIXES = frozenset(".mp4 .m4v .mov .mkv .webm .avi .3gp .mpg .mpeg .ts .ogv .flv .wmv".split())
"""A file with one of these claims to be a video."""

_FORMATS = "mov,matroska,avi,mpeg,mpegts,ogg,flv,asf"
"""What FFmpeg calls the formats that may be opened."""

REDUCED_PX = 16
_REDUCED_EVERY_S = 0.1
_SEEK_BEYOND_S = 4.0
"""A jump that is shorter is decoded through; to seek means to begin at an earlier key frame."""
_OUT_OF_ORDER_S = 1.0
"""So much later than it lies in its file a frame may be shown."""
_TOLD_EVERY_S = 10.0
"""Of a video, between two words on how much of it was decoded."""
_AGAIN = "copy it again from where it came, or take it out"
_MOST_BOXES = 1_000_000
_BOXES = frozenset(b"ftyp moov mdat free skip wide pnot uuid styp sidx moof".split())
"""Of what an MP4 is made, each behind four bytes of length."""
_SIGNATURES = (b"\x1a\x45\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"\x30\x26\xb2\x75", b"\0\0\1")
"""What other formats begin with: Matroska, AVI, Ogg, FLV, ASF, MPEG."""
_PACKET_BYTES = 188  # of MPEG's transport stream, which begin with a G
_LONGEST_STILL_S, _LONGEST_MEAN_S = 600.0, 10.0
"""For so long one frame may be shown; and all of a file in the mean."""
_LOST_FRAMES = 0.75
"""From so many frames on, a file counts as shorter than it says."""
_ID = re.compile(r"(.*)@(\d+\.\d\d)-(?:(\d+\.\d\d)s|end)", re.DOTALL)
_TURN = Image.Transpose
_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(frozen=True)
class Examined:
    """What was found in a video by decoding all of it.

    Attributes:
        seconds: how long it is, as far as it can be decoded.
        declared_s: how long it says it is; None if it does not say.
        frames: how many were decoded.
        failed: packets and frames that could not be.
        untimely: frames whose times run backwards or leap.
        size: height and width in pixels, as shown.
        format: container and codec.
        times_s: of the reduced frames, (n,).
        reduced_nhw: small grey frames, ten a second at most, uint8 (n, 16, 16).
    """

    seconds: float
    declared_s: float | None
    frames: int
    failed: int
    untimely: int
    size: tuple[int, int]
    format: str
    times_s: npt.NDArray[np.float64]
    reduced_nhw: npt.NDArray[np.uint8]

    @property
    def lost_s(self) -> float:
        """Seconds that are missing at the end; 0 where none are."""
        missing = 0.0 if self.declared_s is None else self.declared_s - self.seconds
        return missing if missing > _LOST_FRAMES * self.seconds / max(1, self.frames) else 0.0


@final
@dataclass
class _Tally:
    """What went wrong so far."""

    failed: int = field(default=0)
    untimely: int = field(default=0)


def import_av() -> Any:
    """The module `av`.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import av
    except ImportError as fault:
        raise MissingExtra(
            "the package av, which decodes videos, is not installed",
            mend="pip install regraft[video]",
        ) from fault
    return av


def claims_video(path: Path) -> bool:
    """Whether the name says that this is a video."""
    return path.suffix.lower() in SUFFIXES


def passed_over(path: Path, thing: str) -> str:
    """What is said of a file that is no sample where others are.

    Args:
        path: the file.
        thing: what the others are: "picture", "video" or "text".
    """
    is_video = claims_video(path)
    claimed = "video" if is_video else "picture" if claims_picture(path) else thing
    return f"This is no {thing}." if claimed == thing else f"This is a {claimed}, by its name."


def clip_id(file_id: str, span_s: tuple[float, float]) -> str:
    """What a part of a file is called."""
    start_s, stop_s = span_s
    return f"{file_id}@{start_s:.2f}-" + ("end" if math.isinf(stop_s) else f"{stop_s:.2f}s")


def parted(id_: str) -> tuple[str, tuple[float, float] | None]:
    """The file and the span behind a sample's id; no span where it is the whole file.

    The span is without an end where it ends with the file.
    """
    match = _ID.fullmatch(id_)
    return (match[1], (float(match[2]), float(match[3] or "inf"))) if match else (id_, None)


def moments(span_s: tuple[float, float], count: int) -> list[float]:
    """The middle of each of so many equal parts of a span."""
    start_s, stop_s = span_s
    return [start_s + (k + 0.5) / count * (stop_s - start_s) for k in range(count)]


def examine(path: Path, where: str, tell: Tell = silent) -> Examined:
    """Decode a whole file and say what is in it.

    Args:
        path: the file.
        where: what messages call it.
        tell: hears `Advanced("reading …", …)` in seconds of a long file that says how long it is;
            may raise to stop.

    Raises:
        UnreadableSample: it is no video, or not two frames of it can be decoded.
        MissingExtra: the package av is not installed.
    """
    tally = _Tally()
    times: list[float] = []
    reduced = bytearray()  # (an array would hold on to FFmpeg's buffers, ten times as large)
    count, end_s, told_s, size = 0, 0.0, 0.0, (0, 0)
    with _opened(path, where) as (container, stream):
        declared_s = _declared_s(container, stream)
        rate = float(stream.average_rate or stream.guessed_rate or 0) or 25.0
        form = container.format.name.partition(",")[0]
        name = f"{form} {stream.codec_context.name}"
        shrink = import_av().video.reformatter.VideoReformatter().reformat
        small: dict[str, Any] = {"width": REDUCED_PX, "height": REDUCED_PX, "format": "gray"}
        for time_s, frame in _frames(container, stream, tally):
            count += 1
            end_s = time_s + _lasts_s(frame, rate)
            if not times:
                size = _shown_size(stream, frame)
            if not times or time_s - times[-1] >= _REDUCED_EVERY_S - 1e-3:
                times.append(time_s)
                reduced += shrink(frame, **small, interpolation="AREA").to_ndarray().tobytes()
            if declared_s is not None and told_s + _TOLD_EVERY_S <= time_s < declared_s - 1:
                told_s = time_s
                tell(_read_so_far(path, time_s, declared_s))
    if told_s and declared_s is not None:
        tell(_read_so_far(path, declared_s, declared_s))
    if form == "mov" and not tally.failed and _boxes(path).end_in_a_fragment:
        tally.failed = 1
    if count < 2:
        what = "No frame" if count == 0 else "Only one frame"
        raise Refused(
            "truncated" if tally.failed or (declared_s or 0) > end_s else "damaged",
            f"{what} of the video can be decoded.",
            where=where,
            mend=_AGAIN,
        )
    if end_s > _LONGEST_MEAN_S * count:
        raise Refused(
            "damaged",
            f"By their times its {count} frames take {end_s:.0f} s.",
            where=where,
            mend="the times are wrong: save it anew, for example with ffmpeg, or take it out",
        )
    reduced_nhw = np.frombuffer(reduced, np.uint8).reshape(-1, REDUCED_PX, REDUCED_PX)
    return Examined(
        end_s, declared_s, count, tally.failed, tally.untimely, size, name, np.array(times),
        reduced_nhw,
    )  # fmt: skip


def _read_so_far(path: Path, time_s: float, declared_s: float) -> Advanced:
    return Advanced(f"reading {shown(path.name)}, in seconds", int(time_s), int(declared_s))


def stills(path: Path, where: str, times_s: Sequence[float]) -> Iterator[Image.Image]:
    """The frames of some moments, in order, each as it is asked for.

    Args:
        path: a file that `examine` found good.
        where: what messages call it.
        times_s: in order; before the first frame is the first, after the last the last.

    Raises:
        UnreadableSample: it cannot be decoded.
    """
    done = 0
    try:
        for image in _stills(path, where, times_s):
            yield image
            done += 1
    except _Overshot:
        # The index leads beyond the moment it was asked for: without it, from the beginning.
        yield from _stills(path, where, times_s, done, seek=False)
        done = len(times_s)
    if done < len(times_s):
        raise Refused(
            "truncated", "There are fewer frames than before.", where=where, mend="copy it again"
        )


class _Overshot(Exception):
    """A seek ended behind the moment that was looked for."""


def _stills(
    path: Path, where: str, times_s: Sequence[float], skip: int = 0, *, seek: bool = True
) -> Iterator[Image.Image]:
    with _opened(path, where) as (container, stream):
        frames = _frames(container, stream, _Tally())
        now, coming = None, next(frames, None)
        for time_s in times_s[skip:]:
            if seek and time_s - (now[0] if now else 0.0) > _SEEK_BEYOND_S:
                _seek(container, stream, time_s)
                frames = _frames(container, stream, _Tally(), sought=True)
                now, coming = None, next(frames, None)
                if coming is None or coming[0] > time_s:
                    raise _Overshot
            while coming is not None and (now is None or coming[0] <= time_s):
                now, coming = coming, next(frames, None)
            if now is None:
                return
            yield _picture(stream, now[1])


def _seek(container: InputContainer, stream: VideoStream, time_s: float) -> None:
    base = stream.time_base
    assert base is not None
    if _counts_in_file_order(container):
        time_s = max(0.0, time_s - _OUT_OF_ORDER_S)
    container.seek(
        int(time_s / base) + (stream.start_time or 0), stream=stream, backward=True, any_frame=False
    )


# FFmpeg ------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, where: str) -> Generator[tuple[InputContainer, VideoStream]]:
    """The container and its video, closed at the end; whatever goes wrong becomes `Refused`."""
    av = import_av()
    if not path.is_file():
        raise Refused("missing", "There is no such file.", where=where, mend="check the name")
    if path.stat().st_size == 0:
        raise Refused("empty", "The file is empty.", where=where, mend="copy it again")
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        with av.open(f"file:{path}", options=options, metadata_errors="ignore") as container:
            if not container.streams and _boxes(path).lack_an_index:
                raise _cut_short("it has no streams", where)
            yield container, _video_of(container, where)
    except (RegraftError, _Overshot):
        raise
    except PermissionError as fault:
        raise Refused(
            "unreadable",
            "The file cannot be read: permission denied.",
            where=where,
            mend="check its permissions",
        ) from fault
    # Hostile bytes raise nearly every exception there is inside FFmpeg's readers.
    except Exception as fault:
        raise _not_opened(path, where, fault) from fault


def _not_opened(path: Path, where: str, fault: Exception) -> Refused:
    """Why FFmpeg could not open a file, as far as its first bytes tell."""
    with path.open("rb") as file:
        head = file.read(_PACKET_BYTES + 1)
    is_mp4 = head[4:8] in _BOXES
    is_packets = head[:1] == head[_PACKET_BYTES:] == b"G"
    if not is_mp4 and not is_packets and not head.startswith(_SIGNATURES):
        what = f"By its content this is no video ({_reason(fault)})."
        return Refused("not-a-video", what, where=where, mend="take it out")
    if is_mp4 and _boxes(path).lack_an_index:
        return _cut_short(_reason(fault), where)
    what = f"The file cannot be opened as a video ({_reason(fault)})."
    return Refused("damaged", what, where=where, mend=_AGAIN)


def _cut_short(reason: str, where: str) -> Refused:
    what = f"The video ends before the index by which its frames are found ({reason})."
    return Refused("truncated", what, where=where, mend=_AGAIN)


def _reason(fault: BaseException) -> str:
    text = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return shown(text.splitlines()[0])


def _video_of(container: InputContainer, where: str) -> VideoStream:
    """The first stream of moving pictures."""
    for stream in container.streams.video:
        if "attached_pic" in str(stream.disposition).lower():
            continue
        context = stream.codec_context
        if context is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise Refused(
                "damaged", "How it is coded is not known.", where=where, mend="save it as MP4"
            )
        wide = _wide(stream, context.width)
        refuse_bomb(wide, context.height, where)
        context.thread_count = 1
        # Frames may be larger than the first; each is made as wide as it is shown.
        most = MAX_PIXELS * context.width // max(wide, context.width)
        context.options = {"max_pixels": str(most)}
        return stream
    raise Refused(
        "not-a-video", "There are no moving pictures in it.", where=where, mend="take it out"
    )


def _frames(
    container: InputContainer, stream: VideoStream, tally: _Tally, *, sought: bool = False
) -> Iterator[tuple[float, VideoFrame]]:
    """Frames that can be decoded, with their times, which rise; others are counted in `tally`.

    After a seek (`sought`) the first may be of any time.
    """
    base = float(stream.time_base or 0) or 1e-6
    start = (stream.start_time or 0) * base
    rate = float(stream.average_rate or stream.guessed_rate or 0) or 25.0
    in_file_order = _counts_in_file_order(container)
    last_s = -1.0
    for frame in _decoded(container, stream, tally):
        if frame.is_corrupt:
            tally.failed += 1
            continue
        stamp = frame.dts if frame.pts is None or in_file_order else frame.pts
        time_s = max(0.0, last_s) + 1 / rate if stamp is None else stamp * base - start
        if last_s >= 0 and -0.5 / rate < time_s - last_s <= 0:
            continue  # shown at once with the one before: it is that one again
        leaps = time_s - max(0.0, last_s) > _LONGEST_STILL_S and not (sought and last_s < 0)
        if time_s < last_s or leaps:
            tally.untimely += 1
            continue
        last_s = time_s
        yield time_s, frame


def _counts_in_file_order(container: InputContainer) -> bool:
    """Whether frames have times in the order in which they lie there, not in which they are shown.

    An AVI has no others. What FFmpeg gives as "pts" of its B-frames is out of order therefore;
    "dts", of the packet with which a frame came out, rises with what is shown.
    """
    return container.format.name == "avi"


def _decoded(container: InputContainer, stream: VideoStream, tally: _Tally) -> Iterator[VideoFrame]:
    packets: Iterable[Any] = container.demux(stream)
    rest = iter(packets)
    while True:
        try:
            packet = next(rest)
        except StopIteration:
            return
        except Exception:  # see `_opened`
            tally.failed += 1
            return
        try:
            frames = packet.decode()
        except Exception:  # see `_opened`
            tally.failed += 1
            continue
        yield from frames


@final
@dataclass(frozen=True)
class _Boxes:
    """What an MP4 is made of.

    Attributes:
        kinds: of its boxes.
        last: the last of them; empty where what is behind it is not told by lengths.
        cut: whether the file ends inside of it.
    """

    kinds: frozenset[bytes]
    last: bytes
    cut: bool

    @property
    def end_in_a_fragment(self) -> bool:
        """Whether it is in fragments and ends inside of a box, or before a fragment's frames.

        FFmpeg passes over such an end in silence, and the length that is declared can be that of
        the fragments that are there. A file that ends between two fragments looks whole.
        """
        return b"moof" in self.kinds and (self.cut or self.last == b"moof")

    @property
    def lack_an_index(self) -> bool:
        """Whether it ends before "moov" does: it was not recorded or copied to its end."""
        return self.kinds <= _BOXES and (b"moov" not in self.kinds or self.cut)


def _boxes(path: Path) -> _Boxes:
    end, at, kinds, kind = path.stat().st_size, 0, set[bytes](), b""
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            if end - at < 8:
                return _Boxes(frozenset(kinds), kind, at != end)
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4]), head[4:8]
            kinds.add(kind)
            if length == 1:
                length = int.from_bytes(head[8:16])
            # "mfra" is an index behind the last fragment; 0 reaches to the end, less is no box.
            if kind == b"mfra" or length < 8:
                break
            at += length
    return _Boxes(frozenset(kinds), b"", False)


def _declared_s(container: InputContainer, stream: VideoStream) -> float | None:
    """How long the video says it is; not what the sound or the whole file says."""
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)  # its duration is of what is left of it
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska counts from 0, whenever its first frame is shown.
    is_matroska = "matroska" in container.format.name
    begins_s = float((stream.start_time or 0) * (stream.time_base or 0)) if is_matroska else 0.0
    match = _DURATION.search(stream.metadata.get("DURATION", ""))
    if match:
        hours, minutes, seconds = (float(part) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds - begins_s
    if container.duration and len(container.streams) == 1:
        return container.duration / 1e6 - begins_s
    return None


def _lasts_s(frame: VideoFrame, rate: float) -> float:
    duration = frame.duration or 0
    if duration <= 0 or not frame.time_base:
        return 1 / rate
    return min(float(duration * frame.time_base), _LONGEST_STILL_S)


# Pictures ----------------------------------------------------------------------------------------


def _wide(stream: VideoStream, width_px: int) -> int:
    """Width in square pixels, before any turn."""
    ratio = float(stream.sample_aspect_ratio or 1)
    return round(width_px * ratio) if 0.1 < ratio < 10 else width_px


def _is_turned(frame: VideoFrame) -> bool:
    return round(frame.rotation / 90) % 2 == 1


def _shown_size(stream: VideoStream, frame: VideoFrame) -> tuple[int, int]:
    height, width = frame.height, _wide(stream, frame.width)
    return (width, height) if _is_turned(frame) else (height, width)


def _picture(stream: VideoStream, frame: VideoFrame) -> Image.Image:
    """A frame as a person would see it, mode RGB."""
    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    wide = _wide(stream, frame.width)
    if wide != image.width:
        image = image.resize((wide, image.height), Image.Resampling.BICUBIC)
    upright = (None, _TURN.ROTATE_90, _TURN.ROTATE_180, _TURN.ROTATE_270)
    turn = upright[round(frame.rotation / 90) % 4]
    return image if turn is None else image.transpose(turn)
