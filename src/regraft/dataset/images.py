r"""Pictures: from bytes of any kind to RGB; `views.py` goes on from there.

Decisions:

- Whatever Pillow reads is a picture, by its signature and never by its name, with some exceptions.
  Formats that have no signature (TGA and a few old ones) are believed only under their own
  suffix, or any file would be one. PostScript is refused, because reading it runs a program; so is
  IPTC, which may hold a picture of any format, PostScript too.
- The size in the header is checked before decoding; a file that ends early is refused whole, so
  that no grey lower half is handed on. Where an end marker follows a cut, libjpeg fills the rest
  of a JPEG with one colour and says nothing; see `_refuse_filled_up`. (A progressive JPEG that was
  cut and given a new end is not found: it looks like one of low quality.)
- EXIF orientation is applied. Of an animation the first frame counts. Transparency is laid on
  white.
- Grey values above 8 bits are scaled by the smallest of 8, 12, 16 and 32 bits that holds the
  picture's largest value (many cameras write 12 bits into 16), so that 0 stays black. Floats in
  0…1 are scaled to 0…255; other floats within 0…65535 are treated as integers are; the rest is
  stretched from its minimum to its maximum. NaN is black.

Legend: h, w height and width in pixels.
"""

from __future__ import annotations

import struct
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from regraft.dataset.guard import (
    Refused,
    document_of,
    read_file,
    refuse_bomb,
    refuse_nested_bomb,
    shown,
)
from regraft.errors import UnreadableSample, UsageError

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""

THUMBNAIL_PX = 32

_REFUSED_FORMATS = frozenset({"EPS", "IPTC"})
_PLAIN_MODES = frozenset({"RGB", "L", "1", "CMYK", "YCbCr", "HSV", "RGBX"})
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG_END = b"\xff\xd9"
_NOISE = bytes(value * 73 % 251 for value in range(1, 65))
_REDUCED = ("L", (THUMBNAIL_PX * 3 // 2, THUMBNAIL_PX * 3 // 2))


@final
class _Hush:
    """Keeps Pillow's warnings from the user while any thread is inside `hushed`.

    `warnings.catch_warnings` is not safe when threads enter and leave in turn, and Python's
    filters belong to the whole process; so the first thread in sets the filter, and the last
    one out restores what was there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved = warnings.catch_warnings()

    @contextmanager
    def hushed(self) -> Generator[None]:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._saved.__exit__(None, None, None)


_HUSH = _Hush()


def decode(path: Path | bytes) -> Image.Image:
    """One picture as 8-bit RGB, as a person would see it.

    Args:
        path: the file, or its bytes.

    Returns:
        A Pillow picture of mode RGB.

    Raises:
        UnreadableSample: it is missing, damaged, truncated, too large, or no picture.
        UsageError: the program has told Pillow to accept truncated pictures.
    """
    if isinstance(path, Path):
        return decode_bytes(read_file(path), shown(path), path.suffix)
    return decode_bytes(path, "bytes in memory")


def decode_bytes(data: bytes, where: str, suffix: str = "") -> Image.Image:
    """`decode` of bytes whose origin is known.

    Args:
        data: the file's content.
        where: what messages call it.
        suffix: of the file's name, for formats that have no signature.

    Raises:
        UnreadableSample: see `decode`.
        UsageError: see `decode`.
    """
    with refusing(where), opened(data, where, suffix) as image:
        _load(image, data, where, is_reduced=False)
        return _upright(_rgb(image), orientation(image))


def examine(data: bytes, where: str, suffix: str = "") -> tuple[str, tuple[int, int], Pixels]:
    """Find out whether a picture would decode, at less cost than decoding it.

    A JPEG is decoded at up to an eighth of its size: the whole entropy-coded stream is read, so
    a file that ends early is found, but most of the arithmetic is left out.

    Args:
        data: the file's content.
        where: what messages call it.
        suffix: of the file's name, for formats that have no signature.

    Returns:
        The format's name, height and width in pixels as shown, and the thumbnail (see there).

    Raises:
        UnreadableSample: see `decode`.
        UsageError: see `decode`.
    """
    with refusing(where), opened(data, where, suffix) as image:
        name, (width_px, height_px) = image.format or "", image.size
        # Half as many pixels again as the thumbnail has: with fewer, it differs visibly.
        reduced = image.draft(*_REDUCED)
        _load(image, data, where, is_reduced=True)
        turn = orientation(image)
        if reduced is None:  # TIFF and icons may only now know their true size
            width_px, height_px = image.size
        small = thumbnail(_rgb(image), None if reduced is None else reduced[1])
        size = (width_px, height_px) if turn >= 5 else (height_px, width_px)
        return name, size, np.asarray(_upright(small, turn))


def thumbnail(image: Image.Image, box: Box | None = None) -> Image.Image:
    """A picture, or the part of it in `box`, as mode L and 32 × 32, whatever its aspect."""
    square = (THUMBNAIL_PX, THUMBNAIL_PX)
    return image.convert("L").resize(square, Image.Resampling.BILINEAR, box=box)


@contextmanager
def refusing(where: str) -> Generator[None]:
    """Turn whatever a damaged file makes Pillow raise into UnreadableSample, without warnings."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UsageError(
            "Pillow has been told to accept truncated pictures.",
            where="PIL.ImageFile.LOAD_TRUNCATED_IMAGES",
            mend="set it to False: half a picture must not be learned from unnoticed",
        )
    with _HUSH.hushed():
        try:
            yield
        except UnreadableSample:
            raise
        # Hostile bytes raise nearly every exception there is inside Pillow's decoders.
        except Exception as fault:
            kind, what = _diagnosis(fault)
            mend = "copy it again from where it came, or take it out"
            raise Refused(kind, what, where=where, mend=mend) from fault


def _diagnosis(fault: Exception) -> tuple[str, str]:
    """The kind of problem, and a sentence."""
    if isinstance(fault, Image.DecompressionBombError):
        return "bomb", "A part of the picture claims to be larger than what may be decoded."
    if isinstance(fault, EOFError) or "truncated" in str(fault).lower():
        return "truncated", "The file ends too early."
    reason = shown(str(fault)) or type(fault).__name__
    return "damaged", f"The picture cannot be decoded ({reason})."


def opened(data: bytes, where: str, suffix: str = "") -> ImageFile.ImageFile:
    """A picture whose header has been read and found acceptable; no pixel is decoded yet.

    `Image.open` is not used: it warns about large pictures or refuses them by a setting that
    belongs to the whole process, and it believes any file to be a TGA that could be one.

    Raises:
        UnreadableSample: no known format, or a size that is refused.
    """
    recognised = ""
    for name in _formats(data, suffix):
        factory, _ = Image.OPEN[name]
        recognised = recognised or name
        if name in ("ICO", "ICNS"):  # their headers say nothing, and opening them decodes
            refuse_nested_bomb(data, where)
        try:
            image = factory(BytesIO(data), where)
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
        refuse_bomb(*image.size, where)
        return image
    if recognised:
        raise Refused(
            "damaged",
            f"The file begins like a picture ({recognised}), but its header is damaged.",
            where=where,
            mend="copy it again from where it came, or take it out",
        )
    raise Refused(
        "not-an-image",
        f"This is not a picture that can be read{_looks_like(data)}.",
        where=where,
        mend="save it as JPEG or PNG, or take it out",
    )


def _formats(data: bytes, suffix: str) -> Iterator[str]:
    """Names of the formats that a file may be of, the likeliest first."""
    tried: set[str] = set()
    begin = data[:16].ljust(16, b"\0")
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for name in list(Image.ID):
            if name in tried or name in _REFUSED_FORMATS:
                continue
            tried.add(name)
            accept = Image.OPEN[name][1]
            if accept is None:
                known = Image.EXTENSION.get(suffix.lower()) == name
            else:
                known = accept(begin) is True
            if known:
                yield name


def _load(image: ImageFile.ImageFile, data: bytes, where: str, *, is_reduced: bool) -> None:
    """Decode a picture, whole or reduced.

    Raises:
        UnreadableSample: it ends early, or is larger than its header said.
    """
    image.load()
    refuse_bomb(*image.size, where)
    _refuse_filled_up(image, data, where, is_reduced=is_reduced)


def _refuse_filled_up(
    image: ImageFile.ImageFile, data: bytes, where: str, *, is_reduced: bool
) -> None:
    """Refuse a JPEG whose data end, properly, before the picture is full.

    Bytes between the last block and the end marker are passed over, so noise put there changes
    nothing; but where blocks are missing, it is taken for them. Only a picture that ends in one
    colour is looked at, as nearly none does.

    Raises:
        UnreadableSample: the noise is seen.
    """
    if image.format not in ("JPEG", "MPO"):
        return
    corner = image.crop((image.width - 2, image.height - 2, image.width, image.height))
    if corner.getcolors(1) is None:
        return
    end = data.find(_JPEG_END, _scan(data))
    if end < 0:
        return
    again = Image.OPEN["JPEG"][0](BytesIO(data[:end] + _NOISE + data[end:]), where)
    if is_reduced:
        again.draft(*_REDUCED)
    again.load()
    if image.tobytes() != again.tobytes():
        raise Refused(
            "truncated",
            "The file ends properly, but before the picture does.",
            where=where,
            mend="copy it again from where it came, or take it out",
        )


def _scan(data: bytes) -> int:
    """Where the first scan of a JPEG begins; the end of the data if there is none."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xDA:
            return at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return len(data)


_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Brands of files with pictures in HEVC; those of videos begin alike."""


def _looks_like(data: bytes) -> str:
    for begin, name in ((b"%!PS", "PostScript"), (b"<", "a page or XML")):
        if data.lstrip()[: len(begin)] == begin:
            return f"; it looks like {name}"
    if document := document_of(data):
        return f"; it looks like {document}"
    if data[4:8] != b"ftyp":
        return ""
    return "; it looks like HEIC" if data[8:12] in _HEIC else "; it looks like a video"


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it is damaged."""
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    # EXIF of hostile files raises much; how the picture is turned is then not known.
    except Exception:
        return 1
    return turn if turn in _UPRIGHT else 1


def _upright(image: Image.Image, turn: int) -> Image.Image:
    return image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB; transparency on white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode in _PLAIN_MODES and "transparency" not in image.info:
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.mode == "P" and "transparency" not in image.info:
        return image.convert("RGB")
    with_alpha = image.convert("RGBA")
    white = Image.new("RGBA", with_alpha.size, "white")
    return Image.alpha_composite(white, with_alpha).convert("RGB")


def to_8_bits(grey_hw: npt.NDArray[np.generic]) -> Pixels:
    """Grey values of any depth as 8 bits; the rule is in the head of this file."""
    values = np.nan_to_num(grey_hw.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    is_float = grey_hw.dtype.kind == "f"
    if is_float and (low < 0 or high > 65535):
        scaled = (values - low) * (255 / max(high - low, 1e-30))
    elif is_float and high <= 1:
        scaled = values * 255
    else:
        bits = next(bits for bits in (8, 12, 16, 32) if high < 2.0**bits or bits == 32)
        scaled = values * (255 / (2.0**bits - 1))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
