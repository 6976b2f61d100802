"""Videos in: what is decoded, how clips are cut and split, and what damage does."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_videos import CODECS, moving, write
from PIL import Image

from regraft.dataset import (
    SPLITS,
    Sample,
    check_reader,
    clips,
    describe,
    guard,
    guess_task,
    read,
    read_all,
    read_unlabelled,
    video,
)
from regraft.dataset.clips import VideoFolderReader
from regraft.errors import DataError, TooManyBadSamples, UnreadableSample, UsageError
from regraft.events import Event, Said
from regraft.labelling.findings import conflicts

TRUNCATIONS = int(os.environ.get("REGRAFT_TRUNCATIONS", "300"))


def shown(path: Path, *times_s: float) -> list[np.ndarray]:
    return [np.asarray(image).astype(int) for image in video.stills(path, path.name, times_s)]


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def folder(root: Path, count: int = 6, frames: int = 12) -> Path:
    """Two classes of videos that differ in everything."""
    for kind in (0, 1):
        for i in range(count):
            pixels = moving(frames, seed=10 * kind + i, step=1.0 + 3 * kind)
            write(root / f"{'slow' if kind == 0 else 'fast'}" / f"{i}.mp4", pixels)
    return root


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_every_format_gives_its_frames_by_time(suffix: str, tmp_path: Path) -> None:
    pixels = moving(24)
    path = write(tmp_path / f"a{suffix}", pixels)
    found = video.examine(path, "a")
    assert (found.frames, found.failed, found.lost_s, found.size) == (24, 0, 0.0, (48, 64))
    assert found.seconds == pytest.approx(2.0)
    for at in (0, 7, 15, 23):
        (frame,) = shown(path, (at + 0.5) / 12)
        near = [error(frame, pixels[k]) for k in range(24)]
        assert int(np.argmin(near)) == at


def test_a_variable_rate_is_read_by_time(tmp_path: Path) -> None:
    pixels = moving(12)
    ticks = [0, 20, 40, 60, 80, 100, 600, 700, 1300, 1400, 1500, 1600]
    path = write(tmp_path / "a.mp4", pixels, times=ticks)
    for time_s, at in ((0.0, 0), (0.05, 2), (0.5, 5), (0.65, 6), (1.2, 7), (9.0, 11)):
        (frame,) = shown(path, time_s)
        assert int(np.argmin([error(frame, one) for one in pixels])) == at


def test_frames_of_an_avi_that_lie_there_in_another_order_are_all_shown(tmp_path: Path) -> None:
    pixels = moving(96, size=(48, 256))
    path = write(tmp_path / "a.avi", pixels, codec="libx264")
    found = video.examine(path, "a")
    assert (found.frames, found.failed, found.untimely, found.lost_s) == (96, 0, 0, 0.0)
    assert found.seconds == pytest.approx(8.0, abs=0.2)
    times_s = [(at + 0.5) / 12 for at in (0, 7, 64, 72, 73, 95)]
    nearest = [
        int(np.argmin([error(frame, one) for one in pixels])) for frame in shown(path, *times_s)
    ]
    assert nearest == pytest.approx([0, 7, 64, 72, 73, 95], abs=2)
    plain = list(video._stills(path, "a", times_s, seek=False))
    sought = list(video._stills(path, "a", times_s))
    assert [a.tobytes() for a in sought] == [b.tobytes() for b in plain]


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
def test_a_file_that_begins_late_is_not_cut_short(suffix: str, tmp_path: Path) -> None:
    ticks = [3000 + 83 * i for i in range(12)]
    path = write(tmp_path / f"late{suffix}", moving(12), times=ticks)
    found = video.examine(path, "late")
    assert (found.frames, found.lost_s) == (12, 0.0)
    assert found.seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (180, 2), (-90, 3)])
def test_the_rotation_flag_is_applied(degrees: int, quarters: int, tmp_path: Path) -> None:
    pixels = moving(8)
    path = write(tmp_path / "a.mp4", pixels, rotation=degrees)
    (frame,) = shown(path, 0.0)
    upright = np.rot90(pixels[0], quarters)
    assert frame.shape == upright.shape
    assert error(frame, upright) < 6
    assert video.examine(path, "a").size == upright.shape[:2]


def test_sound_is_passed_over_and_sound_alone_is_no_video(tmp_path: Path) -> None:
    import av

    path = write(tmp_path / "a.mkv", moving(12), sound=True)
    found = video.examine(path, "a")
    assert (found.seconds, found.lost_s) == (pytest.approx(1.0), 0.0)
    alone = tmp_path / "b.mp4"
    with av.open(str(alone), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableSample, match="no moving pictures"):
        video.examine(alone, "b")


def test_a_seek_gives_what_decoding_from_the_start_gives(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", moving(200), rate=8)
    times_s = [0.1, 1.0, 9.0, 9.2, 20.0, 24.9]
    sought = list(video.stills(path, "a", times_s))
    plain = list(video._stills(path, "a", times_s, seek=False))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(sought, plain, strict=True))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_seek_finds_what_is_late_in_a_long_video(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = [5000 * i for i in range(200)]  # a frame each five seconds, 1000 s
    path = write(tmp_path / f"long{suffix}", moving(200, size=(32, 32)), times=ticks)
    late_s = [701.0, 722.0, 990.0]
    plain = list(video._stills(path, "long", late_s, seek=False))
    decoded = 0

    def counted(*given: Any, whole: Any = video._decoded) -> Any:
        nonlocal decoded
        for frame in whole(*given):
            decoded += 1
            yield frame

    monkeypatch.setattr(video, "_decoded", counted)
    sought = list(video._stills(path, "long", late_s))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(sought, plain, strict=True))
    assert decoded < 50  # three times from the key frame before; the whole file has 200


@pytest.mark.parametrize(
    ("kind", "flags"),
    [("a.mp4", "faststart"), ("a.mp4", "frag_keyframe+empty_moov"), ("a.mkv", "")],
)
def test_truncated_anywhere_it_is_shortened_and_said_so_or_a_named_problem(
    kind: str, flags: str, tmp_path: Path
) -> None:
    pixels = moving(24)
    options = {"movflags": flags} if flags else {}
    data = write(tmp_path / kind, pixels, options=options).read_bytes()
    assert video.examine(tmp_path / kind, kind).failed == 0
    outcomes: set[str] = set()
    for number in range(TRUNCATIONS):
        path = tmp_path / f"cut{Path(kind).suffix}"
        end = int(len(data) * (number + 0.5) / TRUNCATIONS)
        path.write_bytes(data[:end])
        try:
            found = video.examine(path, "cut")
        except UnreadableSample as fault:
            assert fault.what and fault.mend
            outcomes.add("named")
            continue
        if found.frames < 24 and data[end + 4 : end + 8] != b"moof":
            assert found.lost_s > 0 or found.failed, f"cut {number}"
            outcomes.add("shortened")
        assert len(shown(path, 0.0, found.seconds / 2, found.seconds)) == 3
    assert outcomes == {"named", "shortened"}


def test_what_is_no_video_and_what_was_not_copied_to_its_end_are_told_apart(tmp_path: Path) -> None:
    def kind(data: bytes, name: str = "a.mp4") -> str:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(guard.Refused) as refused:
            video.examine(tmp_path / name, name)
        return refused.value.kind

    data = write(tmp_path / "whole.mp4", moving(24)).read_bytes()  # its index comes last
    assert data.index(b"mdat") < data.index(b"moov")
    for end in (40, len(data) // 2, data.index(b"moov") - 4, data.index(b"moov") + 40):
        assert kind(data[:end]) == "truncated", end
    assert kind(b"Guten Tag\n" * 200) == "not-a-video"
    assert kind(b"text", "a.mkv") == "not-a-video"
    assert kind(data[:4] + b"ftyp" + b"\xff" * 400) == "damaged"
    mkv = write(tmp_path / "whole.mkv", moving(24)).read_bytes()
    assert kind(mkv[:4] + b"\0" * 400, "a.mkv") == "damaged"


def test_frames_whose_times_run_backwards_are_counted(tmp_path: Path) -> None:
    """As in files of a dash camera that somebody joined byte by byte."""
    once = write(tmp_path / "once.ts", moving(24))
    whole = video.examine(once, "once.ts")
    twice = tmp_path / "data" / "a" / "twice.ts"
    twice.parent.mkdir(parents=True)
    twice.write_bytes(2 * once.read_bytes())
    found = video.examine(twice, "twice.ts")
    assert (whole.frames, whole.untimely) == (24, 0)
    assert (found.frames, found.untimely) == (24, 23)  # and the last moment is there twice
    assert found.seconds == pytest.approx(whole.seconds, abs=0.2)
    (problem,) = [p for p in clips.complaints("twice.ts", found) if p.kind == "damaged-times"]
    assert f"{found.untimely} of its frames" in problem.what
    _, again = clips.examined(twice, "twice.ts")
    _, kept = clips.examined(twice, "twice.ts")
    assert again.untimely == kept.untimely == found.untimely


def test_a_time_stamp_makes_no_film_of_years(tmp_path: Path) -> None:
    rate = [83 * i for i in range(12)]
    path = write(tmp_path / "leap.mkv", moving(14), times=[*rate, 2_000_000_000, 2_000_000_083])
    found = video.examine(path, "leap.mkv")
    assert (found.frames, found.untimely) == (12, 2)
    assert found.seconds < 2
    slow = write(tmp_path / "slow.mkv", moving(5), times=[590_000 * i for i in range(5)])
    with pytest.raises(guard.Refused, match="By their times its 5 frames take 2360 s") as refused:
        video.examine(slow, "slow.mkv")
    assert refused.value.kind == "damaged"
    still = write(tmp_path / "still.mkv", moving(24), times=[9_000 * i for i in range(24)])
    assert video.examine(still, "still.mkv").untimely == 0


def test_pixels_that_are_not_square_count_towards_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "wide.mkv", moving(4), shape=Fraction(8))
    assert video.examine(path, "wide.mkv").size == (48, 512)
    monkeypatch.setattr(guard, "MAX_PIXELS", 48 * 64 * 4)
    with pytest.raises(guard.Refused, match="512 × 48 pixels"):
        video.examine(path, "wide.mkv")


def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("a.mp4", "a.avi"):
        data = write(tmp_path / kind, moving(16)).read_bytes()
        for _ in range(60):
            spoilt = bytearray(data)
            for at in rng.integers(len(data), size=5):
                spoilt[at] = rng.integers(256)
            path = tmp_path / f"b{Path(kind).suffix}"
            path.write_bytes(spoilt)
            try:
                found = video.examine(path, "b")
                assert len(shown(path, 0.0, found.seconds)) == 2
            except UnreadableSample as fault:
                assert fault.what


def test_a_playlist_reads_no_other_file(tmp_path: Path) -> None:
    target = write(tmp_path / "other.mp4", moving(8))
    path = tmp_path / "a.mp4"
    path.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:{target}\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(UnreadableSample):
        video.examine(path, "a")
    path.write_text(f"ffconcat version 1.0\nfile '{target}'\n")
    with pytest.raises(UnreadableSample):
        video.examine(path, "a")


def test_a_folder_of_classes(tmp_path: Path) -> None:
    root = folder(tmp_path / "clips")
    (root / "slow" / "0.mp4").write_bytes((root / "slow" / "0.mp4").read_bytes()[:300])
    dataset = read(root)
    assert dataset.task == guess_task(root) == "video-classification"
    assert dataset.classes == ("fast", "slow")
    assert len(dataset) == 11
    (bad,) = (p for p in dataset.problems if p.done == "set aside")
    assert bad.where == "slow/0.mp4"
    assert all(s.span_s == (0.0, pytest.approx(1.0)) and s.size == (48, 64) for s in dataset)
    assert describe(dataset)["sizes"]["seconds"]["max"] == pytest.approx(1.0)
    again = read(root)
    assert again.fingerprint() == dataset.fingerprint()
    check_reader(VideoFolderReader(), root)


def test_long_videos_are_cut_and_stay_on_one_side(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    for kind in (0, 1):
        for i in range(5):
            pixels = moving(40, seed=10 * kind + i, step=1.0 + 3 * kind)
            write(root / "ab"[kind] / f"{i}.mp4", pixels, rate=8)
    dataset = read(root, clip_s=1.0)
    assert len(dataset) == 2 * 5 * 5
    assert {s.span_s for s in dataset if s.id.startswith("a/0")} == {
        (float(k), float(k + 1)) for k in range(5)
    }
    sides: dict[Path | str, set[str]] = {}
    for sample in dataset:
        sides.setdefault(sample.source, set()).add(sample.split)
    assert all(len(names) == 1 for names in sides.values())
    assert set().union(*sides.values()) == {"train", "valid", "test"}
    assert len({s.sha256 for s in dataset}) == len(dataset)
    name, span_s = video.parted(dataset.samples[0].id)
    assert (root / name).is_file()
    assert span_s == dataset.samples[0].span_s


def test_the_rest_of_a_cut_is_a_clip_if_it_is_half_as_long(tmp_path: Path) -> None:
    for i, frames in enumerate((20, 18, 12, 9)):
        write(tmp_path / "clips" / f"{i}.mp4", moving(frames, seed=i), rate=8)
    pool = read_unlabelled(tmp_path / "clips", clip_s=1.0)
    lengths = {}
    for sample in pool:
        assert sample.span_s is not None
        start_s, stop_s = sample.span_s
        lengths.setdefault(Path(str(sample.source)).stem, []).append(round(stop_s - start_s, 3))
    assert lengths == {"0": [1.0, 1.0, 0.5], "1": [1.0, 1.0], "2": [1.0, 0.5], "3": [1.0]}
    rests = [p.where for p in pool.problems if p.kind == "rest"]
    assert rests == ["1.mp4", "3.mp4"]


def test_a_table_with_spans_and_splits(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"{i}.mp4", moving(48, seed=i), rate=8)
    rows = ["path,label,split,start,stop"]
    for i in range(2):
        rows += [f"{i}.mp4,{'ab'[i]},train,{k},{k + 1}" for k in range(3)]
        rows += [f"{i}.mp4,{'ab'[i]},valid,4,5", f"{i}.mp4,{'ab'[i]},test,5,99"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    dataset = read(tmp_path / "t.csv")
    assert dataset.task == guess_task(tmp_path / "t.csv") == "video-classification"
    assert {s.split: s.span_s for s in dataset if s.id.startswith("0")}["test"] == (5.0, 6.0)
    assert any(p.kind == "shortened" for p in dataset.problems)
    assert len(dataset.split("train")) == 6


def table_of_spans(folder: Path, name: str = "", cells: Sequence[str] = ()) -> Path:
    """Twelve files of two classes in a table, three rows of a second each, and a column more."""
    lines = ["path,label,start,stop"]
    for i in range(12):
        flicker = np.random.default_rng(i).integers(0, 256, (24, 6, 8, 3), np.uint8)
        write(folder / f"{i}.mp4", flicker.repeat(8, 1).repeat(8, 2), rate=8)
        lines += [f"{i}.mp4,{'ab'[i % 2]},{k},{k + 1}" for k in range(3)]
    if name:
        lines = [f"{line},{cell}" for line, cell in zip(lines, [name, *cells], strict=True)]
    (folder / "t.csv").write_text("\n".join(lines))
    return folder / "t.csv"


def sides_of(samples: Iterable[Sample]) -> dict[str, set[tuple[str, str]]]:
    """Splits and groups of the clips of each file."""
    found: dict[str, set[tuple[str, str]]] = {}
    for sample in samples:
        found.setdefault(Path(str(sample.source)).name, set()).add((sample.split, sample.group))
    return found


def test_clips_that_a_table_names_stay_together_by_file(tmp_path: Path) -> None:
    table = table_of_spans(tmp_path)
    rows = table.read_text().splitlines()
    (tmp_path / "copy.mp4").write_bytes((tmp_path / "3.mp4").read_bytes())
    table.write_text("\n".join([*rows, "copy.mp4,b,0.5,1.5", "copy.mp4,b,2.2,2.8"]))
    for clip_s in (None, 0.5):
        dataset = read(table, clip_s=clip_s)
        sides = sides_of(dataset)
        assert all(len(found) == 1 for found in sides.values())
        assert {split for found in sides.values() for split, _ in found} == set(SPLITS)
        assert sides["copy.mp4"] == sides["3.mp4"]
        assert len({group for found in sides.values() for _, group in found}) == 12
        assert not any(p.kind == "group-across-splits" for p in dataset.problems)
    assert {len(found) for found in sides_of(read_all(table)).values()} == {1}
    table.write_text("\n".join([*rows[:4], "0.mp4,b,2.2,2.8"]))
    with pytest.raises(DataError, match="a column split may divide them"):
        read(table)


def test_rows_of_a_table_of_clips_are_called_clips(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.mp4", moving(32, seed=ord(name)), rate=8)
    shutil.copy(tmp_path / "a.mp4", tmp_path / "copy.mp4")
    (tmp_path / "t.csv").write_text(
        "path,label,start,stop\na.mp4,x,0,2\na.mp4,x,2,4\nb.mp4,y,0,2\nb.mp4,y,2,4\n"
        "copy.mp4,x,0,2\na.mp4,y,40,41\nb.mp4,y,40,41\n"
    )
    with pytest.raises(TooManyBadSamples, match="2 of 7 clips cannot be used"):
        read(tmp_path / "t.csv")
    told = [p.what for p in read_all(tmp_path / "t.csv", max_bad=0.5).problems]
    assert "The same clip as copy.mp4@0.00-2.00s." in told


def test_of_clips_of_one_file_it_is_said_how_they_count_and_what_helps(tmp_path: Path) -> None:
    table = table_of_spans(tmp_path)
    rows = [row for row in table.read_text().splitlines() if row[0] not in "13579"]
    rows = [row for row in rows if not row.startswith("11")]
    table.write_text("\n".join([*rows, *(f"1.mp4,b,{k},{k + 1}" for k in range(3))]))
    (said,) = (p.what for p in read(table).problems if p.kind == "few-samples")
    assert said.startswith("The class b has 3 clips, which count as 1 (copies and groups count")
    assert said.endswith("in a table a column split may divide them.")
    (tmp_path / "loose").mkdir()
    shutil.copy(tmp_path / "1.mp4", tmp_path / "loose" / "1.mp4")
    with pytest.raises(DataError, match=r"clips/walking/1\.mp4[\s\S]*start and stop"):
        read(tmp_path / "loose")


def test_a_given_group_joins_files_and_keeps_its_name(tmp_path: Path) -> None:
    # One row of each file names a group, and two files have one.
    names = [f"camera {row // 3 % 6}" if row % 3 == 1 else "" for row in range(36)]
    sides = sides_of(read(table_of_spans(tmp_path, "group", names)))
    assert all(len(found) == 1 for found in sides.values())
    for i in range(6):
        ((_, group),) = sides[f"{i}.mp4"]
        assert group == f"camera {i}"
        assert sides[f"{i + 6}.mp4"] == sides[f"{i}.mp4"]


def test_parts_of_a_file_with_different_labels_are_no_conflict(tmp_path: Path) -> None:
    labels = ["ab"[row % 2] for row in range(36)]
    table = table_of_spans(tmp_path, "label", labels)
    table.write_text(table.read_text().replace("label", "was", 1))
    assert not conflicts(read_all(table).samples)


def test_of_equal_files_equal_parts_contradict_each_other(tmp_path: Path) -> None:
    table = table_of_spans(tmp_path)
    (tmp_path / "copy.mp4").write_bytes((tmp_path / "1.mp4").read_bytes())
    (tmp_path / "twin.mp4").write_bytes((tmp_path / "2.mp4").read_bytes())
    rows = table.read_text().splitlines()
    rows = [row for row in rows if not row.startswith("2.mp4")] + ["2.mp4,a,0,3", "twin.mp4,b,0,3"]
    table.write_text("\n".join([*rows, "copy.mp4,a,0,2"]))
    samples = read_all(table, clip_s=1.0).samples
    assert [[samples[n].id for n in copies] for copies in conflicts(samples)] == [
        # What was not cut is a copy of a part that overlaps it, as before.
        [f"{name}.mp4@{k}.00-{k + 1}.00s" for name in ("1", "copy") for k in (0, 1)],
        *([f"{name}.mp4@{k}.00-{k + 1}.00s" for name in ("2", "twin")] for k in range(3)),
    ]


def test_a_file_that_given_splits_divide_is_reported(tmp_path: Path) -> None:
    names = [SPLITS[row % 3] if row < 6 else "train" for row in range(36)]
    dataset = read(table_of_spans(tmp_path, "split", names))
    told = [(p.where, p.what) for p in dataset.problems if p.kind == "group-across-splits"]
    what = "The file stands in test and train and valid."
    assert told == [("0.mp4", what), ("1.mp4", what)]
    assert describe(dataset)["divided_groups"] == 2
    assert len(dataset) == 36, "what was given stays"


def test_overlapping_spans_in_two_splits_are_leaks(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"{i}.mp4", moving(48, seed=i), rate=8)
    parts = (("train", "0,2"), ("train", "2,3"), ("valid", "2.5,4"))
    rows = [f"{i}.mp4,{'ab'[i]},{split},{span}" for i in range(2) for split, span in parts]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split,start,stop", *rows]))
    dataset = read(tmp_path / "t.csv")
    leaks = sorted(p.where for p in dataset.problems if p.kind == "leak")
    assert leaks == ["0.mp4@2.00-3.00s", "1.mp4@2.00-3.00s"]


def test_copies_are_found_by_motion_and_scenes_are_not_copies(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    long = moving(72, seed=3, size=(96, 128), step=3.1)
    for k in range(3):
        # One camera that stands still, three different moments.
        write(root / "a" / f"{k}.mp4", long[24 * k : 24 * (k + 1)])
    other = moving(24, seed=8, size=(96, 128), step=5)
    write(root / "b" / "0.mp4", other)
    write(root / "b" / "copy.avi", other[:, ::2, ::2])
    write(root / "b" / "1.mp4", moving(24, seed=9, size=(96, 128)))
    still = np.repeat(moving(1, seed=4, size=(96, 128)), 24, axis=0)
    write(root / "a" / "still.mp4", still)
    write(root / "b" / "still.mp4", still[:, :, ::-1])
    dataset = read(root)
    near = [p for p in dataset.problems if p.kind == "near-duplicate"]
    assert [(p.where, p.what) for p in near] == [("b/0.mp4", "Nearly the same as b/copy.avi.")]


def test_clips_are_copies_where_nearly_all_that_moves_is_the_same() -> None:
    one, other = np.random.default_rng(0).normal(0, 30, (2, 32, 32))

    def motion(share: float) -> np.ndarray:
        return share * one + (1 - share**2) ** 0.5 * other

    shown = np.stack([one, motion(0.9), motion(-0.8), -motion(0.9)])
    assert clips.near_pairs((128 + shown).clip(0, 255).astype(np.uint8)) == [(0, 1)]
    # As different moments under one movement of the camera do.
    shown = np.stack([one, motion(0.8)])
    assert clips.near_pairs((128 + shown).clip(0, 255).astype(np.uint8)) == []


def test_what_is_kept_of_a_file_is_what_was_found(tmp_path: Path) -> None:
    ticks = [0, 33, 67, *(100 * at + at // 3 for at in range(1, 22))]
    path = write(tmp_path / "a.mkv", moving(24), times=sorted(ticks), rate=30)
    first, again = (clips.examined(path, "a")[1] for _ in range(2))
    assert np.array_equal(first.times_s, again.times_s)
    at_s = first.times_s
    for span_s in zip(at_s, at_s[5:], strict=False):
        assert np.array_equal(clips.motion(first, span_s), clips.motion(again, span_s))


def test_a_pool_leaves_out_what_the_judge_holds(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "pool" / f"{i}.mp4", moving(32, seed=i, size=(96, 128)), rate=8)
    copy = moving(32, seed=1, size=(96, 128))[8:16]
    write(tmp_path / "judge" / "x" / "a.avi", copy, rate=8)
    write(tmp_path / "judge" / "y" / "b.mp4", moving(8, seed=9, size=(96, 128)), rate=8)
    judged = read_unlabelled(tmp_path / "judge")
    pool = read_unlabelled(tmp_path / "pool", apart_from=judged, clip_s=1.0)
    assert [(p.kind, p.where, p.what) for p in pool.problems] == [
        ("leak", "1.mp4@1.00-2.00s", "A copy of x/a.avi in the labelled data.")
    ]
    assert len(pool) == 11


def test_a_pool_may_be_a_table_of_parts(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"{i}.mp4", moving(32, seed=i, size=(96, 128)), rate=8)
    table = tmp_path / "pool.csv"
    rows = ["0.mp4,a,0,2", "0.mp4,b,0,2", "0.mp4,,3,2", "0.mp4,,2,", "1.mp4,,,", "gone.mp4,,,"]
    table.write_text("\n".join(["path,label,from,to", *rows]))
    pool = read_unlabelled(table, max_bad=0.5)
    assert [sample.id for sample in pool] == ["0.mp4@0.00-2.00s", "0.mp4@2.00-end", "1.mp4"]
    assert all(sample.target is None for sample in pool)
    assert [(p.kind, p.where) for p in pool.problems if p.kind != "columns"] == [
        ("bad-time", "0.mp4"), ("missing", "gone.mp4"), ("repeated-row", "0.mp4@0.00-2.00s"),
    ]  # fmt: skip
    cut = read_unlabelled(table, max_bad=0.5, clip_s=1.0)
    assert [sample.span_s for sample in cut] == 2 * [(k, k + 1) for k in range(4)]
    table.write_text("text\na\nb\n")
    with pytest.raises(DataError, match="names no pictures and no videos; it has text"):
        read_unlabelled(table)


def test_a_copy_of_a_file_is_known_by_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    still = np.repeat(moving(1, seed=4), 32, axis=0)  # nothing moves: only bytes tell
    write(tmp_path / "judge" / "x.mp4", still, rate=8)
    write(tmp_path / "judge" / "y.mp4", still[:, :, ::-1], rate=8)
    (tmp_path / "pool" / "deep").mkdir(parents=True)
    copy = tmp_path / "pool" / "deep" / "copy.mp4"
    copy.write_bytes((tmp_path / "judge" / "x.mp4").read_bytes())
    write(tmp_path / "pool" / "z.mp4", still[:, ::-1], rate=8)
    rows = ["path,label,split,start,stop", "x.mp4,a,train,2,4", "x.mp4,a,test,0.5,1.5"]
    rows += ["y.mp4,b,train,0,2", "y.mp4,b,test,2,3", "y.mp4,b,valid,3,4"]
    (tmp_path / "judge" / "t.csv").write_text("\n".join(rows))
    judged = read_all(tmp_path / "judge" / "t.csv").samples
    shown = [sample for sample in judged if sample.id == "x.mp4@0.50-1.50s"]
    pool = read_unlabelled(tmp_path / "pool", apart_from=shown, clip_s=1.0)
    leaks = [p.where for p in pool.problems if p.kind == "leak"]
    assert leaks == ["deep/copy.mp4@0.00-1.00s", "deep/copy.mp4@1.00-2.00s"]
    assert len(pool) == 6

    (tmp_path / "judge" / "again.mp4").write_bytes(copy.read_bytes())
    rows += ["again.mp4,a,train,1,2", "again.mp4,a,train,2,3", "again.mp4,a,valid,0,1"]
    (tmp_path / "judge" / "t.csv").write_text("\n".join(rows))
    leaks = {p.where for p in read(tmp_path / "judge" / "t.csv").problems if p.kind == "leak"}
    assert leaks == {"again.mp4@0.00-1.00s", "again.mp4@1.00-2.00s"}


def test_a_video_that_ends_early_is_used_as_far_as_it_goes_and_that_is_said(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "pool" / f"{i}.mkv", moving(40, seed=i), rate=8)
    path = tmp_path / "pool" / "1.mkv"
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    pool = read_unlabelled(tmp_path / "pool", clip_s=1.0)
    said = [p.where for p in pool.problems if p.kind == "shortened"]
    assert said == ["1.mkv"]
    clips = [s for s in pool if s.id.startswith("1.mkv")]
    assert 1 <= len(clips) < 5
    assert all(s.span_s is not None and s.span_s[1] < 5.0 for s in clips)


def poster(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(moving(1, seed=sum(path.name.encode()))[0]).save(path)


def test_a_folder_is_of_what_there_is_more_of_and_the_rest_is_said(tmp_path: Path) -> None:
    root, told = folder(tmp_path / "clips", count=4), list[Event]()
    for name in ("a.jpg", "slow/b.jpg", "fast/c.png"):
        poster(root / name)
    assert guess_task(root) == "video-classification"
    said = Said("3 pictures are not read: most files here are videos")
    for dataset in (read(root, tell=told.append), read_unlabelled(root, tell=told.append)):
        assert dataset.task == "video-classification"
        assert len(dataset) == 8
        ignored = [(p.kind, p.where, p.what) for p in dataset.problems if p.done == "ignored"]
        assert sorted(where for _, where, _ in ignored) == ["a.jpg", "fast/c.png", "slow/b.jpg"]
        assert {kind for kind, _, _ in ignored} == {"not-a-video"}
        assert {what for _, _, what in ignored} == {"This is a picture, by its name."}
    assert [event for event in told if isinstance(event, Said)] == [said, said]
    check_reader(VideoFolderReader(), root)

    for i in range(16):
        poster(root / "slow" / f"x{i}.jpg")
    (root / "lost.mp4").write_bytes((root / "slow" / "0.mp4").read_bytes())
    assert guess_task(root) == "image-classification"
    told.clear()
    dataset = read(root, tell=told.append)
    assert dataset.task == "image-classification"
    assert Said("9 videos are not read: most files here are pictures") in told
    ignored = [p.what for p in dataset.problems if p.done == "ignored"]
    assert ignored == ["This is a video, by its name."] * 9


def test_notes_beside_videos_and_a_video_beside_texts(tmp_path: Path) -> None:
    root = folder(tmp_path / "clips", count=4)
    (root / "slow" / "notes.txt").write_text("from the yard")
    assert read(root).task == guess_task(root) == "video-classification"
    root, told = tmp_path / "texts", list[Event]()
    write(root / "lost.mp4", moving(8))
    for kind in ("slow", "fast"):
        (root / kind).mkdir()
        for i in range(4):
            (root / kind / f"{i}.txt").write_text(f"{kind} says {i} of {'abcd'[i] * 9}")
    assert read(root, tell=told.append).task == guess_task(root) == "text-classification"
    said = [event.text for event in told if isinstance(event, Said)]
    assert said == ["1 video is not read: most files here are texts"]


def test_pictures_that_lie_first_do_not_hide_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regraft.dataset.guard.SNIFFED", 3)
    for name in ("a/1.jpg", "a/2.mp4", "a/3.jpg", "b/4.mp4", "b/5.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert guess_task(tmp_path) == "video-classification"
    (tmp_path / "b" / "6.jpg").write_bytes(b"")
    assert guess_task(tmp_path) == "image-classification", "as many of both"


def test_a_video_that_cannot_be_read_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, plain = folder(tmp_path / "clips", count=3), Path.open

    def opened(path: Path, *given: str) -> object:
        if path.match("slow/0.mp4"):
            raise PermissionError(13, "Permission denied")
        return plain(path, *given)

    monkeypatch.setattr(Path, "open", opened)
    (bad,) = (p for p in read(root).problems if p.done == "set aside")
    assert (bad.kind, bad.where) == ("unreadable", "slow/0.mp4")
    assert "Permission denied" in bad.what


def test_only_videos_are_cut(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(moving(1, seed=i + 7 * (name == "b"))[0]).save(
                tmp_path / name / f"{i}.png"
            )
    with pytest.raises(UsageError, match="Only videos"):
        read(tmp_path, clip_s=2.0)


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    def peak_bytes(frames: int) -> int:
        path = write(
            tmp_path / f"{frames}.mp4", moving(10, size=(240, 320)), rate=30, repeat=frames // 10
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = video.examine(path, "a")
        assert found.frames == frames
        for image in video.stills(path, "a", np.linspace(0, found.seconds, 8).tolist()):
            assert image.width == 320
        return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

    peak_bytes(60)
    assert peak_bytes(1000) < 50 * 2**20  # all frames at once are 230 MB
