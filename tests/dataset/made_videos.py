"""Tiny videos, encoded when a test asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain
from itertools import repeat as repeated
from pathlib import Path

import av
import numpy as np

CODECS = {
    ".mp4": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".webm": "libvpx",
    ".avi": "mpeg4",
    ".ts": "libx264",
}


def moving(
    frames: int = 24, seed: int = 0, size: tuple[int, int] = (48, 64), step: float = 2.0
) -> np.ndarray:
    """A bright blot that moves to the right over coloured noise, uint8 (frames, h, w, 3)."""
    rng = np.random.default_rng(seed)
    height, width = size
    ground = rng.integers(30, 120, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    y, x0 = rng.uniform(10, height - 10), rng.uniform(0, width)
    rows, columns = np.mgrid[:height, :width]
    shown = []
    for at in range(frames):
        x = (x0 + step * at) % width
        blot = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 40.0)[..., None]
        shown.append(ground * (1 - blot) + 250 * blot)
    return np.stack(shown).clip(0, 255).astype(np.uint8)


def write(
    path: Path,
    frames: np.ndarray,
    *,
    rate: int = 12,
    times: Sequence[int] | None = None,
    rotation: int = 0,
    sound: bool = False,
    repeat: int = 1,
    shape: Fraction | None = None,
    options: dict[str, str] | None = None,
    codec: str = "",
) -> Path:
    """Encode frames; `times` are ticks of 1/1000 s, `shape` is a pixel's width to its height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec or CODECS[path.suffix], rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        if path.suffix != ".webm":
            stream.codec_context.gop_size = 8
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if shape is not None:
            stream.codec_context.sample_aspect_ratio = shape
        if rotation:
            stream.set_display_rotation(rotation)
        tones = container.add_stream("aac", rate=8000) if sound else None
        for number, pixels in enumerate(chain.from_iterable(repeated(frames, repeat))):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tones is not None:
            for start in range(0, 3 * 8000, 1024):
                silence = np.zeros((1, 1024), np.float32)
                noise = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
                noise.sample_rate, noise.pts = 8000, start
                container.mux(tones.encode(noise))
            container.mux(tones.encode(None))
    return path
