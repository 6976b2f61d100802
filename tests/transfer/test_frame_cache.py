"""Frames of clips: decoded once, kept within a limit, the same way for all frames of a view."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset"))
from made_videos import moving, write

from regraft.backbones import Preprocessing
from regraft.dataset import Sample, View, read_unlabelled, video
from regraft.errors import DataError
from regraft.store import cache_folder, files
from regraft.transfer import cache, clips
from regraft.transfer.packing import Packing

P = Preprocessing(size_px=32, frames=4)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Sample, ...]:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    for i in range(3):
        write(tmp_path / "clips" / f"{i}.mp4", moving(24, seed=i))
    return read_unlabelled(tmp_path / "clips").samples


def kept() -> list[Path]:
    return sorted((cache_folder() / "frames").glob("*.frames"))


def test_a_clip_is_decoded_once(pool: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    first = clips.canvas(pool[0], 4, 40)
    assert first.shape == (4, 40, 40, 3)
    assert len(kept()) == 1

    def refused(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(video, "stills", refused)
    assert np.array_equal(clips.canvas(pool[0], 4, 40), first)


def test_a_file_is_hashed_once_for_all_its_clips(
    pool: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(pool[0].source, Path)
    monkeypatch.setattr(files, "_TICK_S", -1.0)
    plain, hashed = files.file_sha256, []
    monkeypatch.setattr(files, "file_sha256", lambda path: hashed.append(path) or plain(path))
    parts = read_unlabelled(pool[0].source.parent, clip_s=0.5).samples
    for sample in parts:
        clips.canvas(sample, 4, 40)
    assert len(parts) == 3 * 4
    assert sorted(hashed) == sorted({sample.source for sample in parts})


def test_damage_is_found_and_decoded_again(pool: tuple[Sample, ...]) -> None:
    first = clips.canvas(pool[0], 4, 40)
    (path,) = kept()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert np.array_equal(clips.canvas(pool[0], 4, 40), first)
    assert list(path.parent.glob("quarantine/*"))


def test_a_changed_file_is_refused(pool: tuple[Sample, ...]) -> None:
    assert isinstance(pool[0].source, Path)
    write(pool[0].source, moving(24, seed=99))
    with pytest.raises(DataError, match="changed"):
        clips.canvas(pool[0], 4, 40)
    pool[1].source.unlink()  # type: ignore[union-attr]
    with pytest.raises(DataError, match="gone"):
        clips.canvas(pool[1], 4, 40)


def test_the_limit_sends_the_oldest_away(
    pool: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGRAFT_FRAMES_LIMIT", str(2 * (4 * 40 * 40 * 3 + 200)))
    for sample in pool:
        clips.canvas(sample, 4, 40)
    assert len(kept()) == 2, "what is in use is not pushed out"
    before = kept()
    past = time.time() - 7200
    os.utime(before[0], (past, past))
    os.utime(before[0].parent / "full", (past, past))
    clips.canvas(pool[2], 4, 40)
    assert len(kept()) == 2
    assert before[0] not in kept()
    assert [entry.about for entry in cache.show() if entry.kind == "frames"] == [
        "frames of 2 clips"
    ]
    assert [entry.about for entry in cache.show() if entry.kind == "clips"] == [
        "what is in 3 video files"
    ]
    cache.clear()
    assert not kept()
    assert not [entry for entry in cache.show() if entry.kind in ("frames", "clips")]


def test_a_full_cache_is_not_looked_through_for_each_clip(
    pool: tuple[Sample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, looks = clips.bytes_allowed, []
    monkeypatch.setattr(clips, "bytes_allowed", lambda *given: looks.append(1) or plain(*given))
    monkeypatch.setenv("REGRAFT_FRAMES_LIMIT", str(4 * 40 * 40 * 3 + 200))
    for _ in range(3):
        for sample in pool:
            clips.canvas(sample, 4, 40)
    assert len(kept()) == 1
    assert len(looks) == 2  # one found room, the next found none
    cache.clear()
    clips.canvas(pool[1], 4, 40)
    assert len(kept()) == 1


def test_views_of_a_clip(pool: tuple[Sample, ...]) -> None:
    plain, one, other = clips.views_of(
        pool[0], [View(), View(1, crop=0.5, mirror=True), View(2, crop=0.5)], P
    )
    assert plain.shape == one.shape == (4, 32, 32, 3)
    side = clips.canvas_px(P)
    canvas = clips.canvas(pool[0], 4, side)
    margin = (side - 32) // 2
    assert np.array_equal(plain, canvas[:, margin : margin + 32, margin : margin + 32])
    assert not np.array_equal(one, other)
    # What does not move stays where it is: all frames are cut alike.
    still = np.repeat(canvas[:1], 4, axis=0)
    sample = pool[1]
    path = cache_folder() / "frames" / f"{clips._key(sample, 4, side)}.frames"
    from regraft.store import commit_sealed

    commit_sealed(path, still.tobytes())
    for view in clips.views_of(sample, [View(k, crop=0.3, mirror=True) for k in (1, 2, 3)], P):
        assert all(np.array_equal(frame, view[0]) for frame in view)


def test_maps_of_frames_are_kept_by_channel() -> None:
    rng = np.random.default_rng(0)
    shape = (4, 6, 5, 5)
    x = rng.normal(size=(3, *shape)).astype(np.float32) * rng.uniform(0.1, 9, (3, 4, 6, 1, 1))
    packing = Packing((shape,), "uint8")
    (again,) = packing.unpack(packing.pack([x.astype(np.float32)]))
    step = (x.max((3, 4)) - x.min((3, 4))) / 255
    assert (np.abs(again - x) <= step[..., None, None] * 0.51 + 1e-6).all()
