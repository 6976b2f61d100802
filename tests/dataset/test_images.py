from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from made_pictures import noise, photo, saved
from PIL import Image, ImageFile, ImageOps

from regraft.dataset import images
from regraft.errors import UnreadableSample, UsageError


def coded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pixel(data: bytes) -> tuple[int, ...]:
    return images.decode(data).getpixel((0, 0))


# Decoding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "format", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000", "ICO", "TGA", "QOI", "PCX"]
)
def test_formats(format: str, tmp_path: Path) -> None:
    image = noise(0)
    options = {"lossless": True} if format == "WEBP" else {}
    if format == "ICO":
        options["sizes"] = [image.size]
    path = tmp_path / f"picture.{format.lower()}"
    path.write_bytes(coded(image, format, **options))
    decoded = images.decode(path)
    assert decoded.mode == "RGB"
    assert decoded.size == image.size
    difference = np.asarray(decoded).astype(int) - np.asarray(image)
    assert np.abs(difference).mean() < (12 if format == "GIF" else 0.5)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied(orientation: int, format: str) -> None:
    image = noise(1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = coded(image, format, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    assert np.array_equal(images.decode(data), expected)
    _, size, thumbnail = images.examine(data, "here")
    assert size == expected.size[::-1]
    difference = thumbnail.astype(int) - np.asarray(images.thumbnail(expected))
    assert np.abs(difference).mean() < 2


def test_transparency_is_laid_on_white() -> None:
    assert pixel(coded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG")) == (255, 255, 255)
    assert pixel(coded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")) == (127, 127, 127)
    assert pixel(coded(Image.new("LA", (4, 4), (0, 0)), "PNG")) == (255, 255, 255)


def test_palette_with_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert pixel(coded(image, "PNG")) == (10, 20, 30)
    assert pixel(coded(image, "PNG", transparency=1)) == (255, 255, 255)
    assert pixel(coded(image, "PNG", transparency=bytes([255, 0]))) == (255, 255, 255)
    assert pixel(coded(image, "GIF", transparency=1)) == (255, 255, 255)


def test_grey_with_a_transparent_value() -> None:
    assert pixel(coded(Image.new("L", (4, 4), 7), "PNG", transparency=7)) == (255, 255, 255)
    assert pixel(coded(Image.new("RGB", (4, 4), 7), "PNG", transparency=(7, 0, 0))) == (
        255, 255, 255,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("largest", "expected"), [(255, 255), (4095, 255), (65535, 255), (2047, 127), (40000, 156)]
)
def test_sixteen_bits_are_scaled_by_their_depth(largest: int, expected: int) -> None:
    ramp = np.linspace(0, largest, 64).reshape(8, 8).astype(np.uint16)
    for format in ("PNG", "TIFF"):
        decoded = np.asarray(images.decode(coded(Image.fromarray(ramp), format)))
        assert decoded.min() == 0
        assert decoded.max() == expected
        assert (np.diff(decoded[..., 0].ravel().astype(int)) >= 0).all()


def test_floats_and_long_integers() -> None:
    def greys(values: list[float], dtype: type) -> list[int]:
        data = coded(Image.fromarray(np.array([values], dtype)), "TIFF")
        return np.asarray(images.decode(data))[0, :, 0].tolist()

    assert greys([0, 0.5, 1], np.float32) == [0, 128, 255]
    assert greys([0, 100, 255], np.float32) == [0, 100, 255]
    assert greys([-10, 0, 10], np.float32) == [0, 128, 255]
    assert greys([0, float("nan"), 1], np.float32) == [0, 0, 255]
    assert greys([0, 4095], np.int32) == [0, 255]
    assert greys([-5, 255], np.int32) == [0, 255]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "I", "F", "RGBA", "LA", "P", "RGB"])
def test_modes(mode: str) -> None:
    decoded = images.decode(coded(noise(2).convert("L").convert(mode), "TIFF"))
    assert decoded.mode == "RGB"
    assert np.ptp(np.asarray(decoded)) > 100


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        data = coded(frames[0], format, save_all=True, append_images=frames[1:])
        red, _, blue = pixel(data)
        assert red > 240 and blue < 20


def test_no_warning_leaves_a_decoder_in_any_thread() -> None:
    # EXIF that ends too early, and a palette whose transparency is bytes: Pillow warns of both.
    damaged = coded(noise(3), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\x00")
    palette = coded(noise(3).quantize(8), "PNG", transparency=bytes([0] * 8))
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(images.decode, [damaged, palette] * 50))
    assert not caught
    assert list(warnings.filters) == before


def test_truncated_pictures_are_refused_even_when_pillow_is_told_to_accept_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UsageError, match="truncated"):
        images.decode(coded(noise(4), "PNG"))


def test_a_limit_that_the_program_set_for_itself_is_not_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert images.decode(coded(noise(4), "PNG")).size == noise(4).size
    assert Image.MAX_IMAGE_PIXELS == 10


def test_what_examine_accepts_decode_accepts_and_says_the_same_size(tmp_path: Path) -> None:
    for format in ("JPEG", "PNG", "WEBP", "TIFF"):
        path = saved(photo("china"), tmp_path / f"a.{format.lower()}")
        name, size, _ = images.examine(path.read_bytes(), "here")
        assert name == format
        assert size == images.decode(path).size[::-1]


# Views -------------------------------------------------------------------------------------------


def test_refusal_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "line\nbreak.jpg"
    path.write_bytes(b"nothing")
    with pytest.raises(UnreadableSample) as refusal:
        images.decode(path)
    assert refusal.value.where.endswith("line\\nbreak.jpg")
    assert "\n  mend:" in str(refusal.value)
