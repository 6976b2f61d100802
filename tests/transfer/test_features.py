from __future__ import annotations

import hashlib
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from nearness import relative_error

from regraft.backbones import Backbone
from regraft.dataset import Sample, View, images
from regraft.dataset.views import square
from regraft.errors import DataError, StoreError
from regraft.events import Advanced, Event, Said, Tell, silent
from regraft.machine import has_bfloat16
from regraft.terminal import PlainProgress
from regraft.transfer import features as module
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
from regraft.transfer.features import Features, LiveFeatures, features, missing
from regraft.transfer.packing import Storage
from regraft.transfer.shards import Shards

pytestmark = pytest.mark.usefixtures("own_cache")

ROLLED = [View(), View(1, crop=0.5, mirror=True, colour=0.2), View(2, crop=0.5, mirror=True)]


def computed(
    backbone: Backbone,
    samples: list[Sample],
    *,
    frozen: int = 4,
    views: list[View] | None = None,
    storage: Storage = "float32",
    tell: Tell = silent,
) -> Features:
    with prepare(backbone) as preparation:
        engine = preparation.engine(frozen, samples)
        cut = Cut(backbone, frozen)
        return features(samples, cut, engine, views or [View()], storage=storage, tell=tell)


def rows(table: Features, view: int = 0) -> np.ndarray:
    return table.rows(np.arange(len(table)), view)[0]


def shards(cache: Path) -> list[Path]:
    return sorted(cache.glob("features/*/*.rows"))


# What is computed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [1, 3, 4])
def test_rows_are_what_the_engine_gives(
    compiled: Backbone, samples: list[Sample], frozen: int
) -> None:
    table = computed(compiled, samples, frozen=frozen, views=ROLLED)
    p = compiled.preprocessing
    pixels = [
        square(images.decode(Path(s.source)), p.size_px, p.crop, p.interpolation, view, s.sha256)
        for s in samples[:5]
        for view in ROLLED
    ]
    with prepare(compiled) as preparation:
        expected = preparation.engine(frozen, samples).run(np.stack(pixels))
    found = table.rows(np.arange(5).repeat(3), np.tile(np.arange(3), 5))
    assert len(found) == len(table.shapes) == (2 if frozen == 3 else 1)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == np.float32 and (mine == theirs).all()
    assert table.computed == 120 and len(table) == 40


def test_a_second_time_nothing_is_computed(compiled: Backbone, samples: list[Sample]) -> None:
    first = computed(compiled, samples)
    second = computed(compiled, samples)
    assert (first.computed, second.computed) == (40, 0)
    assert (rows(first) == rows(second)).all()


def test_adding_ten_computes_ten_and_changes_nothing(
    compiled: Backbone, samples: list[Sample], tmp_path: Path
) -> None:
    before = computed(compiled, samples)
    more = samples + tiny.pictures(tmp_path / "more", 10, first=100)
    after = computed(compiled, more)
    assert after.computed == 10
    assert (rows(after)[:40] == rows(before)).all()


def test_tiles_of_a_picture_come_from_few_decodings(
    compiled: Backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    decode = images.decode_bytes

    def counted(data: bytes, where: str, suffix: str = "") -> Any:
        decoded.append(where)
        return decode(data, where, suffix)

    corners = [(x, y, x + 20, y + 20) for x in (0, 5, 10) for y in (0, 5, 10)]
    parts = [replace(s, window=window) for s in samples[:4] for window in corners]
    with prepare(compiled) as preparation:
        engine, cut = preparation.engine(4, samples), Cut(compiled, 4)
        assert engine.serving
        monkeypatch.setattr(images, "decode_bytes", counted)
        table = features(parts, cut, engine, ROLLED)
        assert len(decoded) == len(set(decoded)) == 4
        size_bytes = compiled.preprocessing.size_px**2 * 3 * len(ROLLED)
        monkeypatch.setattr(module, "AHEAD_BYTES", 3 * 2 * module.cores() * size_bytes)
        decoded.clear()
        few = features(parts, cut, engine, [replace(view, crop=0.9) for view in ROLLED])
        assert few.computed and sorted(map(decoded.count, set(decoded))) == [3] * 4
        decoded.clear()
        index, view = np.array([0, 20, 5, 0, 35, 8]), np.array([0, 1, 2, 1, 0, 0])
        live = LiveFeatures(parts, cut, engine, ROLLED).rows(index, view)
        assert len(decoded) == len(set(decoded)) == 3
        for mine, theirs in zip(live, table.rows(index, view), strict=True):
            assert (mine == theirs).all()
    for at, part in enumerate(parts[:10]):
        picture = images.decode(Path(str(part.source))).crop(part.window)
        p = compiled.preprocessing
        pixels = square(picture, p.size_px, p.crop, p.interpolation, View(), part.view_key)
        (expected,) = engine.run(pixels[None])
        assert (table.rows(np.array([at]))[0] == expected).all()


def test_what_is_missing_is_counted(compiled: Backbone, samples: list[Sample]) -> None:
    computed(compiled, samples[:10], views=ROLLED[:2])
    with prepare(compiled) as preparation:
        engine, cut = preparation.engine(4, samples), Cut(compiled, 4)
        assert missing(samples, cut, engine, ROLLED[:2]) == 2 * (len(samples) - 10)
        assert missing(samples[:10], cut, engine, ROLLED) == 10
        assert missing(samples[:5], cut, engine) == 0


def test_another_view_or_cut_or_storage_is_computed_anew(
    compiled: Backbone, samples: list[Sample]
) -> None:
    computed(compiled, samples)
    assert computed(compiled, samples, views=ROLLED).computed == 80
    assert computed(compiled, samples, views=[replace(ROLLED[1], crop=0.4)]).computed == 40
    assert computed(compiled, samples, frozen=2).computed == 40
    assert computed(compiled, samples, storage="uint8").computed == 40


def test_other_weights_left_of_the_cut_are_another_key_but_not_right_of_it(
    compiled: Backbone, samples: list[Sample], tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(compiled.weights)
    tensors["join.linear.bias"] = tensors["join.linear.bias"] + 1
    save_file(tensors, tmp_path / "other.safetensors")
    other = Backbone.from_json(compiled.to_json(), tmp_path / "other.safetensors")
    one = computed(compiled, samples, frozen=3)
    assert computed(other, samples, frozen=3).key == one.key
    assert computed(compiled, samples).key != computed(other, samples).key


def test_copies_of_a_picture_are_computed_once(compiled: Backbone, samples: list[Sample]) -> None:
    table = computed(compiled, [*samples[:6], samples[2], samples[2]])
    assert table.computed == 6 and len(table) == 8
    assert (rows(table)[6:] == rows(table)[2]).all()


def test_bits_do_not_depend_on_what_was_there(
    compiled: Backbone, samples: list[Sample], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows(computed(compiled, samples))
    tiny.fresh_cache(own_cache.with_name("other"), monkeypatch)
    computed(compiled, samples[::3])
    computed(compiled, samples[::-2])
    table = computed(compiled, samples)
    assert 0 < table.computed < 30
    assert (rows(table) == whole).all()


@pytest.mark.parametrize(("storage", "most"), [("bfloat16", 0.0025), ("uint8", 0.01)])
def test_what_storage_costs(
    compiled: Backbone, samples: list[Sample], storage: Storage, most: float
) -> None:
    exact = computed(compiled, samples, frozen=3)
    kept = computed(compiled, samples, frozen=3, storage=storage)
    for mine, theirs in zip(exact.rows(np.arange(40)), kept.rows(np.arange(40)), strict=True):
        assert 0 < relative_error(mine, theirs) < most


def test_at_cut_0_pixels_are_kept(compiled: Backbone, samples: list[Sample]) -> None:
    table = computed(compiled, samples, frozen=0, views=ROLLED, storage="uint8")
    live = LiveFeatures(samples, Cut(compiled, 0), prepare(compiled).engine(0, samples), ROLLED)
    (pixels,) = table.rows(np.arange(7), 1)
    assert pixels.shape == (7, 32, 32, 3) and pixels.dtype == np.uint8
    assert (pixels == live.rows(np.arange(7), 1)[0]).all()


def test_live_rows_are_the_same(compiled: Backbone, samples: list[Sample]) -> None:
    with prepare(compiled) as preparation:
        engine = preparation.engine(3, samples)
        live = LiveFeatures(samples, Cut(compiled, 3), engine, ROLLED)
        table = features(samples, Cut(compiled, 3), engine, ROLLED)
    index, view = np.array([3, 0, 3, 9]), np.array([2, 0, 1, 1])
    for mine, theirs in zip(live.rows(index, view), table.rows(index, view), strict=True):
        assert (mine == theirs).all()


# What goes wrong ----------------------------------------------------------------------------------


def test_of_a_live_batch_nothing_more_is_decoded_behind_what_cannot_be(
    compiled: Backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def slow(task: Any, backbone: Backbone) -> list[np.ndarray]:
        (sample, _) = task[0]
        seen.append(sample.id)
        if sample == samples[0]:
            raise DataError("cannot be read", where=sample.id)
        time.sleep(0.05)
        return [np.zeros((32, 32, 3), np.uint8)]

    monkeypatch.setattr(module, "look_at_parts", slow)
    monkeypatch.setattr(module, "cores", lambda: 2)
    live = LiveFeatures(samples, Cut(compiled, 0), prepare(compiled).engine(0, samples), [View()])
    with pytest.raises(DataError, match="cannot be read"):
        live.rows(np.arange(len(samples)))
    assert len(seen) < len(samples) / 2


def test_a_file_that_was_changed_is_named(
    compiled: Backbone, samples: list[Sample], tmp_path: Path
) -> None:
    own = tiny.pictures(tmp_path / "own", 5)
    Path(own[3].source).write_bytes(Path(own[4].source).read_bytes())
    with pytest.raises(DataError, match="changed since") as fault:
        computed(compiled, own)
    assert fault.value.where == own[3].id


def test_a_file_that_is_damaged_or_gone_is_named(compiled: Backbone, tmp_path: Path) -> None:
    own = tiny.pictures(tmp_path / "own", 5)
    path = Path(own[1].source)
    path.write_bytes(path.read_bytes()[:60])
    cut = replace(own[1], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(DataError) as fault:
        computed(compiled, [own[0], cut])
    assert fault.value.where == own[1].id
    Path(own[2].source).unlink()
    with pytest.raises(DataError) as fault:
        computed(compiled, own[2:])
    assert fault.value.where == own[2].id


def test_a_damaged_shard_costs_its_rows_alone(
    compiled: Backbone, samples: list[Sample], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 16)
    before = rows(computed(compiled, samples))
    path = shards(own_cache)[1]
    data = bytearray(path.read_bytes())
    lost = data.count(b" plain")
    data[-200] ^= 8
    path.write_bytes(bytes(data))
    said: list[Event] = []
    table = computed(compiled, samples, tell=said.append)
    assert table.computed == lost and 0 < lost < 40
    assert (rows(table) == before).all()
    assert any(isinstance(event, Said) and "damaged" in event.text for event in said)


def test_an_engine_that_is_refused_leaves_nothing(tmp_path: Path, own_cache: Path) -> None:
    if not has_bfloat16():
        pytest.skip("there is only one OpenVINO engine on this processor")
    own = tiny.pictures(tmp_path / "own", 9)
    with prepare(tiny.address("offset")) as preparation:
        cut = Cut(preparation.backbone(), 4)
        engine = preparation.engine(4, own)
        assert engine.likely.name == "openvino-bf16"
        table = features(own, cut, engine)
    assert table.serving.name == "openvino-f32"
    assert table.computed == 9
    assert [path.parent.name for path in shards(own_cache)] == [table.key]


def test_a_refused_engine_stays_refused_when_its_verdict_is_lost(
    tmp_path: Path, own_cache: Path
) -> None:
    own = tiny.pictures(tmp_path / "own", 9)
    with prepare(tiny.address("offset")) as preparation:
        cut = Cut(preparation.backbone(), 4)
        engine = preparation.engine(4, own)
        features(own[:3], cut, engine)
        shutil.rmtree(preparation.folder / "verdicts")
        table = features(own, cut, engine)
    assert table.computed == 6
    assert table.serving.is_same(engine.serving)


def test_activations_beyond_the_limit_of_the_cache_are_kept_and_the_user_is_told(
    compiled: Backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows(computed(compiled, samples, frozen=1))
    told: list[str] = []
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "200 kB")
    table = computed(
        compiled, samples, frozen=1, views=ROLLED[1:2], tell=PlainProgress(told.append)
    )
    assert len(rows(table)) == len(whole)
    assert [line for line in told if "limit" in line] == [
        "These activations exceed the cache's limit by up to 1 MB. They are kept while they are in "
        "use; REGRAFT_CACHE_LIMIT raises the limit."
    ]
    monkeypatch.setenv("REGRAFT_CACHE_LIMIT", "200 MB")
    told.clear()
    computed(compiled, samples, frozen=1, views=ROLLED[2:], tell=PlainProgress(told.append))
    assert not [line for line in told if "limit" in line]


# Stopping and starting again ----------------------------------------------------------------------


def test_progress_is_told_and_stopping_keeps_what_is_finished(
    compiled: Backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(BaseException):
        pass

    def stop(event: Event) -> None:
        if isinstance(event, Advanced) and event.done >= 20:
            raise Stop

    monkeypatch.setattr(module, "TELL_EVERY_S", 0.0)
    with pytest.raises(Stop):
        computed(compiled, samples, tell=stop)
    told: list[Event] = []
    table = computed(compiled, samples, tell=told.append)
    assert table.computed == 20
    done = [event.done for event in told if isinstance(event, Advanced)]
    assert done == list(range(21, 41))
    assert {e.total for e in told if isinstance(e, Advanced)} == {40}


def test_stopping_keeps_what_is_being_written(
    compiled: Backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard is written while the next rows are computed."""
    append = Shards.append

    def slowly(self: Shards, *rows: Any) -> None:
        time.sleep(0.2)
        append(self, *rows)

    def stop(event: Event) -> None:
        if isinstance(event, Advanced) and event.done == 20:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "TELL_EVERY_S", 0.0)
        patch.setattr(module, "SHARD_ROWS", 8)
        patch.setattr(Shards, "append", slowly)
        computed(compiled, samples, tell=stop)
    assert computed(compiled, samples).computed == 20


@pytest.mark.parametrize("stops", [False, True])
def test_a_full_disk_is_told_though_another_thread_writes(
    compiled: Backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """Who stops it just then is told that it stopped."""
    append, written = Shards.append, list[int]()

    def full(self: Shards, *rows: Any) -> None:
        written.append(len(rows[0]))
        if len(written) > 1:
            time.sleep(0.2)
            raise StoreError("the disk is full")
        append(self, *rows)

    def stop(event: Event) -> None:
        if stops and isinstance(event, Advanced) and event.done == 17:
            raise KeyboardInterrupt

    fault = KeyboardInterrupt if stops else StoreError
    with monkeypatch.context() as patch, pytest.raises(fault):
        patch.setattr(module, "TELL_EVERY_S", 0.0)
        patch.setattr(module, "SHARD_ROWS", 8)
        patch.setattr(Shards, "append", full)
        computed(compiled, samples, tell=stop)
    assert computed(compiled, samples).computed == 40 - 8


EXTRACT = """
import hashlib, sys, time
from pathlib import Path
import numpy as np, tiny
from regraft.dataset import Sample
from regraft.events import Advanced
from regraft.transfer import features as module
from regraft.transfer.cut import Cut
from regraft.transfer.engine import prepare
module.SHARD_ROWS, module.TELL_EVERY_S = 8, 0.0
backbone = tiny.read(sys.argv[1])
samples = [
    Sample(path.name, path, 0, hashlib.sha256(path.read_bytes()).hexdigest())
    for path in sorted(Path(sys.argv[2]).iterdir())
]
def tell(event):
    if isinstance(event, Advanced):
        print("done", event.done, flush=True)
        time.sleep(float(sys.argv[3]))
with prepare(backbone) as preparation:
    engine = preparation.engine(4, samples)
    table = module.features(samples, Cut(backbone, 4), engine, tell=tell)
    (x,) = table.rows(np.arange(len(samples)))
imported = [name for name in ("torch", "timm", "torchvision", "openvino") if name in sys.modules]
print("result", table.computed, hashlib.sha256(x.tobytes()).hexdigest(), *imported)
"""


def extracting(compiled: Backbone, samples: list[Sample], tmp_path: Path, pause_s: float) -> object:
    description = tiny.written(compiled, tmp_path / "backbone.json")
    return tiny.python(EXTRACT, description, Path(samples[0].source).parent, pause_s)


def result_of(process: object) -> list[str]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.splitlines()[-1].split()[1:]


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(
    compiled: Backbone, samples: list[Sample], own_cache: Path, tmp_path: Path
) -> None:
    lines = 0
    for stop_after in (1, 9, 8):
        process = extracting(compiled, samples, tmp_path, 0.02)
        for _ in range(stop_after):
            assert process.stdout.readline().startswith("done")
        lines += stop_after
        process.send_signal(signal.SIGKILL)
        process.communicate()
    count, sha256, *_ = result_of(extracting(compiled, samples, tmp_path, 0.0))
    assert int(count) <= 40 - 8, "what was committed before was computed again"
    undisturbed = rows(computed(compiled, samples))
    assert sha256 == hashlib.sha256(undisturbed.tobytes()).hexdigest()
    for path in shards(own_cache):
        path.unlink()
    assert (rows(computed(compiled, samples)) == undisturbed).all()


def test_eight_processes_share_the_work(
    compiled: Backbone, samples: list[Sample], tmp_path: Path
) -> None:
    began = time.monotonic()
    processes = [extracting(compiled, samples, tmp_path, 0.0) for _ in range(8)]
    results = [result_of(process) for process in processes]
    assert len({result[1] for result in results}) == 1
    assert sum(int(result[0]) for result in results) == 40, "something was computed twice"
    assert time.monotonic() - began < 60


def test_the_warm_path_imports_neither_torch_nor_openvino(
    compiled: Backbone, samples: list[Sample], tmp_path: Path
) -> None:
    cold = result_of(extracting(compiled, samples, tmp_path, 0.0))
    warm = result_of(extracting(compiled, samples, tmp_path, 0.0))
    assert cold[0] == "40" and cold[2:] == ["openvino"]
    assert warm[0] == "0" and warm[2:] == []
    assert warm[1] == cold[1]
