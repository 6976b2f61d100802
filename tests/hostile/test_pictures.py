"""Pictures as bad as they come: none may crash, hang, exhaust the memory or be half read."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unicodedata
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regraft.dataset import Dataset, Problem, check_reader, images, read
from regraft.dataset.folder import FolderReader
from regraft.dataset.guard import MAX_BYTES, Refused
from regraft.errors import DataError, UnreadableSample


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def coded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def refusal(data: bytes, suffix: str = "") -> Refused:
    with pytest.raises(UnreadableSample) as refused:
        images.decode_bytes(data, "here", suffix)
    assert isinstance(refused.value, Refused)
    assert refused.value.mend
    return refused.value


# Files that end too early ------------------------------------------------------------------------

FORMATS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 90},
    "JPEG progressive": {"quality": 90, "progressive": True},
    "JPEG restart markers": {"quality": 90, "restart_marker_rows": 1},
    "PNG": {},
    "WEBP": {"quality": 80},
    "WEBP lossless": {"lossless": True},
    "GIF": {},
    "TIFF": {},
    "TIFF compressed": {"compression": "tiff_lzw"},
    "BMP": {},
    "JPEG2000": {},
    "AVIF": {},
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_file_is_refused_or_whole(name: str) -> None:
    image = picture(0, (300, 200)) if name.startswith("JPEG") else picture(0)
    data = coded(image, name.split()[0], **FORMATS[name])
    whole = np.asarray(images.decode(data))
    refused = 0
    for length in np.linspace(1, len(data) - 1, 100).astype(int):
        cut = data[:length]
        try:
            decoded = np.asarray(images.decode(cut))
        except UnreadableSample as fault:
            assert fault.where
            refused += 1
            with pytest.raises(UnreadableSample):
                images.examine(cut, "here")
        else:
            assert np.array_equal(decoded, whole)
            images.examine(cut, "here")
    assert refused >= 90


def test_every_late_truncation_that_breaks_decoding_is_seen_by_reading() -> None:
    data = coded(picture(1, (500, 375)), "JPEG", quality=60)
    for length in range(len(data) - 60, len(data)):
        cut, refusals = data[:length], []
        for look in (images.decode, lambda part: images.examine(part, "here")):
            try:
                look(cut)
                refusals.append(False)
            except UnreadableSample:
                refusals.append(True)
        assert refusals[0] == refusals[1]


def test_a_cut_jpeg_that_was_given_a_new_end() -> None:
    for options in ({}, {"subsampling": 0}, {"restart_marker_rows": 1}, {"optimize": True}):
        data = coded(picture(1, (300, 200)), "JPEG", **options)
        assert np.array_equal(images.decode(data), Image.open(BytesIO(data)))
        for share in (0.5, 0.8, 0.95):
            cut = data[: int(len(data) * share)] + b"\xff\xd9"
            assert refusal(cut).kind == "truncated"
            with pytest.raises(UnreadableSample):
                images.examine(cut, "here")


def test_a_picture_that_truly_ends_in_one_colour() -> None:
    image = picture(1, (300, 200))
    image.paste((90, 120, 30), (0, 150, 300, 200))
    for options in ({}, {"subsampling": 0}, {"progressive": True}, {"exif": b"Exif\0\0\xff\xd9"}):
        data = coded(image, "JPEG", **options)
        assert np.array_equal(images.decode(data), Image.open(BytesIO(data)))
        assert images.examine(data, "here")[1] == (200, 300)
    for size in ((1, 1), (2, 3), (30, 20), (49, 49)):
        for mode in ("RGB", "L", "CMYK"):
            data = coded(Image.new(mode, size), "JPEG")
            assert images.decode(data).size == size
            assert images.examine(data, "here")[1] == size[::-1]


def test_what_follows_a_picture_is_no_part_of_it() -> None:
    data = coded(picture(1, (300, 200)), "JPEG")
    whole = np.asarray(images.decode(data))
    for tail in (b"\0" * 100, b"\xff\xd9", data, b"\xff" * 10):
        assert np.array_equal(images.decode(data + tail), whole)


# Files that lie ----------------------------------------------------------------------------------


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, body: bytes = b"\0" * 100) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            png_chunk(b"IDAT", zlib.compress(body)),
            png_chunk(b"IEND", b""),
        ]
    )


def gif(width: int, height: int) -> bytes:
    small = bytearray(coded(Image.new("P", (2, 2)), "GIF"))
    small[6:10] = struct.pack("<HH", width, height)
    return bytes(small)


def gif_frame(width: int, height: int) -> bytes:
    """The screen is small, the first frame is not."""
    small = bytearray(coded(Image.new("P", (2, 2)), "GIF"))
    at = small.index(b"\x2c", 13)
    small[at + 5 : at + 9] = struct.pack("<HH", width, height)
    return bytes(small)


def bmp(width: int, height: int) -> bytes:
    small = bytearray(coded(Image.new("RGB", (2, 2)), "BMP"))
    small[18:26] = struct.pack("<ii", width, height)
    return bytes(small)


def jpeg(width: int, height: int) -> bytes:
    small = bytearray(coded(Image.new("RGB", (16, 16)), "JPEG"))
    at = small.index(b"\xff\xc0")
    small[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(small)


def webp(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0"
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body += coded(Image.new("RGB", (16, 16)), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff(width: int, height: int) -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1),
               (262, 3, 1, 1), (273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, 10)]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + b"\0" * 4


def icon(width: int, height: int) -> bytes:
    """An icon that says 16 × 16 and holds a larger PNG."""
    inner = png(width, height)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner


def icon_of_bitmap(width: int, height: int) -> bytes:
    """An icon that says 16 × 16 and holds a larger bitmap, of one bit a pixel."""
    inner = struct.pack("<IIiHHIIiiII", 40, width, 2 * height, 1, 1, 0, 0, 0, 0, 2, 0) + bytes(8)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 1, len(inner), 22) + inner


def icon_of_os2(width: int, height: int) -> bytes:
    """The same with the older header, which holds 65,535 at most."""
    inner = struct.pack("<IHHHH", 12, width, min(2 * height, 65_535), 1, 1) + bytes(8)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 1, len(inner), 22) + inner


def icon_upside_down(width: int, height: int) -> bytes:
    return icon_of_bitmap(width, -height)


def mac_icon(inner: bytes) -> bytes:
    """An icon that says 16 × 16, whatever it holds."""
    block = b"icp4" + struct.pack(">I", 8 + len(inner)) + inner
    return b"icns" + struct.pack(">I", 8 + len(block)) + block


def j2k(width: int, height: int, right: int = 0, bottom: int = 0) -> bytes:
    """The head of a JPEG 2000 stream that ends at such a place, else begins at the origin."""
    right, bottom = right or width, bottom or height
    sizes = (right, bottom, right - width, bottom - height, right, bottom, 0, 0)
    siz = struct.pack(">HH8IH", 41, 0, *sizes, 1) + b"\7\1\1"
    return b"\xff\x4f\xff\x51" + siz


def mac_icon_of_j2k(width: int, height: int) -> bytes:
    return mac_icon(j2k(width, height))


def mac_icon_of_two_j2k(width: int, height: int) -> bytes:
    """The head of the large one lies in that of one of 1 × 2 pixels."""
    inner = j2k(width, height, right=0xFF4FFF50, bottom=0x0028FFFE)
    return mac_icon(b"\xff\x4f\xff\x51\0\x29\0\0" + inner)


def mac_icon_of_jp2(width: int, height: int) -> bytes:
    header = struct.pack(">I4sIIHBBBB", 22, b"ihdr", height, width, 3, 7, 7, 0, 0)
    box = struct.pack(">I4s", 8 + len(header), b"jp2h") + header
    return mac_icon(b"\0\0\0\x0cjP  \r\n\x87\n" + box)


@pytest.mark.parametrize(
    "made",
    [png, gif, gif_frame, bmp, jpeg, tiff, icon, icon_of_bitmap, icon_of_os2, icon_upside_down,
     mac_icon_of_j2k, mac_icon_of_two_j2k, mac_icon_of_jp2],
)  # fmt: skip
def test_bombs_are_refused_from_the_header(made: object) -> None:
    assert refusal(made(60_000, 60_000)).kind == "bomb"
    assert refusal(made(20_000, 8_000)).kind == "bomb"
    assert refusal(made(10_000, 10_001)).kind == "bomb"


def test_icons_of_every_kind_are_read() -> None:
    square = picture(6, (64, 64))
    assert (
        images.decode(coded(square, "ICO", bitmap_format="bmp", sizes=[(64, 64)])).size == (64,) * 2
    )
    assert images.decode(coded(square, "ICO", sizes=[(64, 64)])).size == (64, 64)
    for inner in ("PNG", "JPEG2000"):
        small = picture(6, (16, 16)).convert("RGBA")
        assert images.decode(mac_icon(coded(small, inner))).size == (16, 16)
    stream = coded(picture(6, (16, 16)), "JPEG2000", no_jp2=True)
    assert images.decode(mac_icon(stream)).size == (16, 16)


def test_a_picture_that_grows_when_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    factory, accept = Image.OPEN["PNG"]

    def growing(*arguments: object) -> Image.Image:
        image = factory(*arguments)
        monkeypatch.setattr(image, "load", lambda: setattr(image, "_size", (10_000, 10_001)))
        return image

    monkeypatch.setitem(Image.OPEN, "PNG", (growing, accept))
    data = coded(picture(7), "PNG")
    assert refusal(data).kind == "bomb"
    with pytest.raises(UnreadableSample, match="at most"):
        images.examine(data, "here")


def test_a_webp_bomb() -> None:
    assert refusal(webp(16_000, 16_000)).kind in ("bomb", "damaged")
    assert refusal(webp(8_000, 8_000)).kind in ("bomb", "damaged")


def test_bombs_cost_no_memory() -> None:
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]);"
        "import test_pictures as t; from regraft.dataset import images;"
        "from regraft.errors import UnreadableSample\n"
        "images.decode(t.png(4, 4, b'\\0' * 52))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for make in (t.png, t.gif, t.gif_frame, t.bmp, t.jpeg, t.webp, t.tiff, t.icon):\n"
        "    for size in ((16000, 16000), (10001, 10000), (60000, 60000)):\n"
        "        try: images.decode(make(*size))\n"
        "        except UnreadableSample: continue\n"
        "        sys.exit(f'{make.__name__} was decoded')\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "sys.exit(0 if grown < 30_000 else f'grew by {grown} KB')"
    )
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_a_png_with_a_text_bomb() -> None:
    text = b"Comment\0\0" + zlib.compress(b"a" * 100_000_000)
    data = png(4, 4, b"\0" * 52)
    at = data.index(b"IDAT") - 4
    assert refusal(data[:at] + png_chunk(b"zTXt", text) + data[at:]).kind == "damaged"


def test_headers_that_contradict_the_body() -> None:
    assert refusal(png(64, 64)).kind == "truncated"
    assert refusal(png(0, 64)).kind == "damaged"
    assert refusal(b"\x89PNG\r\n\x1a\n" + b"\0" * 50).kind == "damaged"
    damaged = bytearray(coded(picture(2), "PNG"))
    damaged[20] ^= 1
    assert refusal(bytes(damaged)).kind == "damaged"
    for size in ((4_000, 4_000), (16, 24), (24, 16)):
        assert refusal(jpeg(*size)).kind == "truncated"
        with pytest.raises(UnreadableSample):
            images.examine(jpeg(*size), "here")


def test_what_is_no_picture() -> None:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.jpg", coded(picture(3), "JPEG"))
    fakes = {
        stream.getvalue(): "a ZIP archive",
        b"<!DOCTYPE html><html></html>": "a page or XML",
        b"  <svg xmlns=''></svg>": "a page or XML",
        b"%PDF-1.7": "a PDF",
        b"\x1f\x8b\x08": "a gzip archive",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic": "HEIC",
        b"\0\0\0\x20ftypisom\0\0\2\0isomiso2": "a video",
        b"GIF": "not a picture",
        b"MZ\x90\0" * 100: "not a picture",
        b"\0" * 5000: "not a picture",
    }
    for data, said in fakes.items():
        for suffix in (".jpg", ".png", ""):
            refused = refusal(data, suffix)
            assert refused.kind == "not-an-image"
            assert said in refused.what


def test_postscript_is_never_run() -> None:
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    refused = refusal(data, ".eps")
    assert refused.kind == "not-an-image"
    assert "PostScript" in refused.what


@pytest.mark.parametrize("inner", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b""])
def test_iptc_which_may_hold_any_format_is_not_read(inner: bytes) -> None:
    inner = inner or coded(picture(8), "PNG")
    fields = ((3, 60, b"\1\0"), (3, 20, b"\0\x40"), (3, 30, b"\0\x30"), (3, 120, b"\5"))
    head = [bytes((0x1C, a, b)) + struct.pack(">H", len(it)) + it for a, b, it in fields]
    data = b"".join(head) + b"\x1c\x08\x0a" + struct.pack(">H", len(inner)) + inner
    assert refusal(data, ".iim").kind == "not-an-image"


def test_a_format_without_a_signature_is_believed_under_its_own_suffix_only() -> None:
    data = coded(picture(4), "TGA")
    assert images.decode_bytes(data, "here", ".tga").size == (64, 48)
    refusal(data, ".jpg")
    refusal(data)


@settings(max_examples=200, deadline=None)
@given(
    begin=st.sampled_from(
        [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
         b"RIFF\0\0\0\0WEBP", b"\0\0\1\0", b"8BPS", b"icns", b"DDS ", b"\x0a", b"P6 ",
         b"\0\0\0\x0cjP  \r\n\x87\n", b"qoif", b"\x01\xda", b"SIMPLE  =", b"IM-", b"BLP2",
         b"\0\0\0\x1cftypavif"]
    ),
    rest=st.binary(max_size=2000),
    suffix=st.sampled_from(["", ".tga", ".im", ".pcd", ".spi", ".jpg"]),
)  # fmt: skip
def test_random_bytes(begin: bytes, rest: bytes, suffix: str) -> None:
    try:
        image = images.decode_bytes(begin + rest, "here", suffix)
    except UnreadableSample as fault:
        assert fault.mend
        with pytest.raises(UnreadableSample):
            images.examine(begin + rest, "here", suffix)
    else:
        assert image.mode == "RGB"


@settings(max_examples=200, deadline=None)
@given(
    format=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "ICO", "JPEG2000"]),
    place=st.floats(0, 1),
    value=st.binary(min_size=1, max_size=8),
)
def test_flipped_bytes(format: str, place: float, value: bytes) -> None:
    data = bytearray(coded(picture(5, (32, 32)), format))
    at = int(place * (len(data) - 1))
    data[at : at + len(value)] = value
    try:
        assert images.decode(bytes(data)).mode == "RGB"
    except UnreadableSample as fault:
        assert fault.where


# Files that are no files -------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Fifty sound pictures in two classes."""
    for index in range(50):
        path = tmp_path / "data" / ("cat" if index % 2 else "dog") / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(index).save(path)
    return tmp_path / "data"


def only_problem(dataset: Dataset) -> Problem:
    (problem,) = dataset.problems
    return problem


def test_a_pipe_does_not_hang(data: Path) -> None:
    os.mkfifo(data / "cat" / "pipe.jpg")
    problem = only_problem(read(data))
    assert (problem.kind, problem.where) == ("not-a-file", "cat/pipe.jpg")
    with pytest.raises(UnreadableSample, match="not a regular file"):
        images.decode(data / "cat" / "pipe.jpg")
    check_reader(FolderReader(), data)


def test_a_folder_with_the_name_of_a_picture(data: Path) -> None:
    (data / "cat" / "folder.jpg").mkdir()
    problem = only_problem(read(data))
    assert (problem.kind, problem.where) == ("not-a-file", "cat/folder.jpg")
    with pytest.raises(UnreadableSample, match="a folder"):
        images.decode(data / "cat" / "folder.jpg")
    check_reader(FolderReader(), data)


def test_an_empty_file(data: Path) -> None:
    (data / "cat" / "empty.jpg").touch()
    problem = only_problem(read(data))
    assert (problem.kind, problem.where, problem.done) == ("empty", "cat/empty.jpg", "set aside")


def test_a_huge_file_is_not_read(data: Path) -> None:
    with (data / "cat" / "huge.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert only_problem(read(data)).kind == "too-large"


def test_links_that_leave_the_folder(data: Path) -> None:
    outside = data.parent / "secret.png"
    picture(99).save(outside)
    (data / "cat" / "link.png").symlink_to(outside)
    problem = only_problem(read(data))
    assert (problem.kind, problem.where) == ("outside", "cat/link.png")
    assert "secret.png" in problem.what
    (data / "cat" / "link.png").unlink()
    (data / "cat" / "folder").symlink_to(data.parent)
    assert only_problem(read(data)).kind == "outside"
    check_reader(FolderReader(), data)


@pytest.mark.parametrize("below", ["", "train"])
@pytest.mark.parametrize("target", ["../elsewhere", ".store/bird", "../not mounted", "bird"])
def test_a_class_that_is_a_link_is_not_lost_unnoticed(data: Path, below: str, target: str) -> None:
    for folder in (data / ".store" / "bird", data.parent / "elsewhere"):
        folder.mkdir(parents=True)
        picture(99).save(folder / "1.png")
    if below:
        (data / below).mkdir()
        for name in ("cat", "dog"):
            (data / name).rename(data / below / name)
    link = data / below / "bird"
    link.symlink_to("../" * bool(below) + target if target != "bird" else target)
    for max_bad in (0.01, 0.99):
        with pytest.raises(DataError, match="This link .* Nothing in it would be read") as fault:
            read(data, max_bad=max_bad)
        assert fault.value.where == str(link)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_split_that_is_a_link_is_not_lost_unnoticed(data: Path, split: str) -> None:
    shutil.copytree(data, data / "train")
    for name in ("cat", "dog"):
        shutil.rmtree(data / name)
    shutil.copytree(data / "train", data / "valid")
    (data / split).rename(data.parent / "elsewhere")
    (data / split).symlink_to(data.parent / "elsewhere")
    with pytest.raises(DataError, match="This link leaves the data"):
        read(data)


def test_links_to_hidden_folders_and_to_runs(data: Path) -> None:
    for folder in (data / ".store" / "deep", data / "dog" / "run" / "pictures"):
        folder.mkdir(parents=True)
        picture(99).save(folder / "1.png")
    for name in ("run.json", "journal.jsonl"):
        (data / "dog" / "run" / name).touch()
    (data / "cat" / "hidden").symlink_to(data / ".store" / "deep")
    (data / "cat" / "run").symlink_to(data / "dog" / "run" / "pictures")
    (data / "cat" / "link.png").symlink_to(data / ".store" / "deep" / "1.png")
    (data / "latest").symlink_to(data / "dog" / "run")
    dataset = read(data, max_bad=0)
    assert len(dataset) == 51
    assert sorted((p.kind, p.where, p.done) for p in dataset.problems) == [
        ("hidden", "cat/hidden", "ignored"),
        ("hidden", "cat/run", "ignored"),
        ("link", "latest", "ignored"),
    ]


def test_links_inside_the_folder_and_loops(data: Path) -> None:
    (data / "cat" / "link.png").symlink_to(data / "cat" / "01.png")
    (data / "cat" / "up").symlink_to(data)
    (data / "cat" / "self").symlink_to(data / "cat" / "self")
    (data / "also cats").symlink_to("cat")
    dataset = read(data)
    assert len(dataset) == 51
    assert sorted((p.kind, p.where) for p in dataset.problems) == [
        ("duplicate", "cat/01.png"),
        ("link", "also cats"),
        ("link", "cat/up"),
        ("missing", "cat/self"),
    ]
    check_reader(FolderReader(), data)


def test_a_link_that_leads_nowhere(data: Path) -> None:
    (data / "cat" / "link.png").symlink_to("nothing.png")
    assert only_problem(read(data)).kind == "missing"


def test_a_link_to_a_device(data: Path) -> None:
    (data / "cat" / "zero.png").symlink_to("/dev/zero")
    assert only_problem(read(data)).kind == "outside"
    with pytest.raises(UnreadableSample, match="not a regular file"):
        images.decode(data / "cat" / "zero.png")


def test_names(data: Path) -> None:
    raw = os.fsencode(data / "cat") + b"/caf\xe9.png"
    names = ["line\nbreak.png", "back\\slash.png", "a b  c.png", "\u202egnp.exe.png", "-rf.png"]
    names += [unicodedata.normalize(form, "ä.png") for form in ("NFC", "NFD")]
    for index, name in enumerate(names):
        picture(100 + index).save(data / "cat" / name)
    Path(os.fsdecode(raw)).write_bytes(coded(picture(200), "PNG"))
    dataset = read(data)
    assert len(dataset) == 58
    ids = {sample.id for sample in dataset}
    assert {"cat/line\\nbreak.png", "cat/back\\\\slash.png", "cat/a b  c.png"} < ids
    assert {"cat/\\u202egnp.exe.png", "cat/caf\\udce9.png"} < ids
    assert all(sample.id.isprintable() for sample in dataset)
    for sample in dataset:
        assert images.decode(Path(sample.source)).size == (64, 48)
    check_reader(FolderReader(), data)


def test_a_broken_file_with_a_hostile_name_is_reported_on_one_line(data: Path) -> None:
    (data / "cat" / "a\nfake: all is well\x1b[2J.jpg").write_bytes(b"no")
    problem = only_problem(read(data))
    assert problem.where == "cat/a\\nfake: all is well\\x1b[2J.jpg"
    assert problem.what.isprintable()


LOCKED_OUT = """
import os, sys
from pathlib import Path
from regraft.dataset import read
data = Path(sys.argv[1])
read(data)  # imports what is imported on first use
(data / "cat" / "01.png").chmod(0)
(data / "dog" / "locked").mkdir(mode=0)
if os.geteuid() == 0:  # root may read everything
    os.setresuid(65534, 65534, 65534)
for problem in read(data, max_bad=0.1).problems:
    print(problem.kind, problem.where, problem.what)
"""


def test_permission_denied(data: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        shutil.copytree(data, Path(folder, "data"))
        Path(folder).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", LOCKED_OUT, f"{folder}/data"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        Path(folder, "data", "dog", "locked").chmod(0o700)
    assert done.stdout.splitlines() == [
        "unreadable dog/locked The folder cannot be read: Permission denied.",
        "unreadable cat/01.png The file cannot be read: Permission denied.",
    ], done.stderr


def test_a_file_that_goes_away_while_it_is_read(data: Path) -> None:
    listed = FolderReader().read(data)
    Path(listed.samples[3].source).unlink()

    class Stale:
        name = "stale"

        def recognises(self, path: Path) -> bool:
            return True

        def read(self, path: Path) -> Dataset:
            return listed

    problem = only_problem(read(data, reader=Stale()))
    assert (problem.kind, problem.where) == ("missing", listed.samples[3].id)
