"""Large pictures: where they are cut, what each tile shows, and how finds are put together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regraft import dataset
from regraft.dataset.boxes import tiles
from regraft.dataset.boxes.tiles import Found, stitch, windows
from regraft.dataset.rows import Box, BoxCounts, Dataset, Sample


@given(st.integers(2000, 6000), st.integers(100, 6000), st.integers(320, 1000))
def test_tiles_cover_the_picture_and_overlap(width_px: int, height_px: int, tile_px: int):
    parts = windows(width_px, height_px, tile_px)
    for axis, length in ((0, width_px), (1, height_px)):
        spans = sorted({(part[axis], part[axis + 2]) for part in parts})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        for (_, stop), (start, _) in zip(spans, spans[1:], strict=False):
            assert stop - start >= tiles.OVERLAP * tile_px - 1
        assert all(stop - start == min(tile_px, length) for start, stop in spans)


def test_pictures_about_as_large_as_a_tile_stay_whole():
    assert windows(599, 400, 400) == [(0, 0, 599, 400)]
    assert windows(4000, 3000, 0) == [(0, 0, 4000, 3000)]
    assert len(windows(600, 300, 400)) == 2
    assert len(windows(2000, 1000, 400)) == 6 * 3


def _of_sizes(*widths_px: int, side_px: int = 40) -> Dataset:
    box = Box(0, 10, 10, 10 + side_px, 10 + side_px)
    samples = [
        Sample(f"{width_px}.png", Path(f"{width_px}.png"), (0,), size=(300, width_px), boxes=(box,))
        for width_px in widths_px
    ]
    return Dataset(Path(), "object-detection", ("tree",), tuple(samples))


def test_one_large_picture_with_small_objects_has_all_cut_to_one_scale():
    assert tiles.tiled(_of_sizes(1999, 1249)).tile_px == 0
    assert tiles.tiled(_of_sizes(2000, 1249, side_px=101)).tile_px == 0
    cut = tiles.tiled(_of_sizes(2000, 1249, 500))
    assert cut.tile_px == 400
    assert {sample.size[1] for sample in cut if "#" in sample.id} == {400}
    assert [sample.id for sample in cut if "#" not in sample.id] == ["500.png"]


def test_the_tile_suits_the_objects():
    assert tiles.tile_size([Box(0, 0, 0, 50, 50), Box(0, 0, 0, 60, 60)]) == 550
    assert tiles.tile_size([Box(0, 0, 0, 5, 5)]) == tiles.LEAST_TILE_PX
    assert tiles.tile_size([]) == 0


def test_a_tile_shows_boxes_whole_in_part_or_not():
    box = Box(1, 390, 10, 490, 60)
    sample = Sample("a", Path("a"), (1,), "f" * 64, size=(2000, 2000), boxes=(box,))
    parts = {part.window: part for part in tiles.cut(sample, 400)}
    assert len(parts) == 36
    assert {part.group for part in parts.values()} == {"f" * 64}
    assert len({part.id for part in parts.values()}) == 36
    seen = {window: part for window, part in parts.items() if part.boxes}
    # A tenth of it is on the first tile: nobody could tell. All of it is on the second.
    assert [window[0] for window in seen] == [320]
    (whole,) = seen.values()
    assert whole.boxes == (Box(1, 70, 10, 170, 60),)
    assert whole.target == (1,)
    half = tiles.cut(
        Sample("a", Path("a"), (1,), size=(2000, 2000), boxes=(Box(1, 360, 10, 460, 60),)), 400
    )
    shown = [(part.window[0], b) for part in half if part.window for b in part.boxes]
    assert shown == [(0, Box(1, 360, 10, 400, 60, True)), (320, Box(1, 40, 10, 140, 60))]


def test_a_crowd_stays_however_little_of_it_is_there():
    crowd = Box(0, 0, 0, 2000, 390, True)
    sample = Sample("a", Path("a"), (0,), size=(2000, 2000), boxes=(crowd,))
    assert sum(len(part.boxes) for part in tiles.cut(sample, 400)) == 12


def test_what_no_tile_shows_half_of_is_a_crowd_on_each_that_shows_any():
    building, car = Box(0, 100, 100, 1600, 1500), Box(1, 500, 500, 540, 540)
    sample = Sample("a", Path("a"), (0, 1), "f" * 64, size=(2000, 2000), boxes=(building, car))
    counts = BoxCounts(2, 0, 0, 2)
    data = Dataset(Path(), "object-detection", ("building", "car"), (sample,), box_counts=counts)
    rows = tiles.tiled(data, 400)
    parts = {part.window: part for part in rows if part.window}
    shown = [part for window, part in parts.items() if window[0] < 1600 and window[1] < 1500]
    assert all(any(b.category == 0 for b in part.boxes) for part in shown)
    assert all(b.crowd for part in rows for b in part.boxes if b.category == 0)
    assert any(not b.crowd for part in rows for b in part.boxes if b.category == 1)
    # Found is used, refused and left out together.
    assert rows.box_counts is not None
    assert (rows.box_counts.used, rows.box_counts.left_out) == (1, 1)
    (said,) = [p for p in rows.problems if p.kind == "too-large-for-tiles"]
    assert (said.where, said.what) == (
        "a",
        "No tile of 400 px shows half of the box 100, 100, 1600, 1500.",
    )


def found(*boxes, labels=None, scores=None) -> Found:
    return Found(
        np.array(boxes, float).reshape(-1, 4),
        np.array(labels or [0] * len(boxes)),
        np.array(scores or [0.9] * len(boxes)),
    )


LEFT, RIGHT = (0, 0, 400, 400), (320, 0, 720, 400)


def test_what_two_tiles_saw_is_one_object():
    one = found((330, 10, 380, 60), scores=[0.8])
    other = found((11, 10, 61, 61), scores=[0.9])
    whole = stitch([(LEFT, one), (RIGHT, other)])
    assert whole.boxes_k4.tolist() == [[331, 10, 381, 61]]
    assert whole.scores_k.tolist() == [0.9]


def test_a_whole_object_wins_over_a_surer_part_of_it():
    part, whole = found((360, 10, 400, 60), scores=[0.95]), found((40, 10, 120, 60), scores=[0.5])
    assert stitch([(LEFT, part), (RIGHT, whole)]).boxes_k4.tolist() == [[360, 10, 440, 60]]


def test_a_faint_fragment_takes_no_sure_object_away():
    sure = found((200, 10, 400, 90), scores=[0.95])
    faint = found((15, 30, 65, 80), scores=[0.03])  # whole on its tile, within the other
    assert stitch([(LEFT, sure), (RIGHT, faint)]).scores_k.tolist() == [0.95]
    # One that is surer of itself is another object, for it leaves most of the piece unexplained.
    part = found((15, 30, 65, 80), scores=[0.6])
    assert stitch([(LEFT, sure), (RIGHT, part)]).scores_k.tolist() == [0.95, 0.6]
    # A faint box that covers all of the piece does not take its place either.
    whole = found((40, 10, 120, 60), scores=[0.1])
    cut = found((360, 10, 400, 60), scores=[0.95])
    assert stitch([(LEFT, cut), (RIGHT, whole)]).scores_k.tolist() == [0.95]


def test_others_stay():
    one = found((330, 10, 380, 60), (335, 12, 385, 62), scores=[0.5, 0.7])  # one tile's own matter
    other = found((10, 10, 60, 60), (200, 10, 260, 60), labels=[1, 0], scores=[0.9, 0.6])
    whole = stitch([(LEFT, one), (RIGHT, other)])
    assert whole.scores_k.tolist() == [0.9, 0.7, 0.6, 0.5]
    assert stitch([(LEFT, found()), (RIGHT, found())]).boxes_k4.shape == (0, 4)


@pytest.fixture(scope="module")
def aerial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aerial")
    lines = ["path,category,left,top,right,bottom"]
    rng = np.random.default_rng(0)
    for number in range(8):
        noise = rng.integers(0, 255, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((2000, 1500)).save(folder / f"{number}.jpg")
        for left in range(40, 1900, 150):
            lines.append(f"{number}.jpg,tree,{left},{left // 2},{left + 50},{left // 2 + 50}")
    lines.append("0.jpg,tree,3000,3000,3100,3100")
    (folder / "boxes.csv").write_text("\n".join(lines))
    return folder


def test_a_data_set_is_cut_after_it_is_split_and_its_boxes_add_up(aerial: Path):
    rows = dataset.read(aerial)
    assert rows.tile_px == 500
    pictures = {name: {s.id.split("#")[0] for s in rows.split(name)} for name in dataset.SPLITS}
    assert sum(len(names) for names in pictures.values()) == 8
    assert all(pictures.values())
    told = dataset.describe(rows)
    assert told["boxes"]["found"] == 13 * 8 + 1
    counts = tuple(told["boxes"][name] for name in ("used", "refused", "left_out"))
    assert counts == (104, 1, 0)
    assert {s.size for s in rows} == {(500, 500)}
    assert [p.done for p in rows.problems if p.kind == "tiled"] == ["cut into 20 tiles"] * 8
    # Every object is whole, and learnt, on some tile.
    for number in range(8):
        learnt = set()
        for sample in rows:
            if sample.id.startswith(f"{number}.jpg") and sample.window:
                x, y = sample.window[:2]
                whole = [
                    b for b in sample.boxes if (b.right - b.left, b.bottom - b.top) == (50, 50)
                ]
                assert not any(b.crowd for b in whole)
                learnt |= {(b.left + x, b.top + y) for b in whole}
        assert learnt == {(left, left // 2) for left in range(40, 1900, 150)}


def test_a_model_s_tiles_are_used_where_it_is_measured(aerial: Path):
    whole = dataset.read_all(aerial)
    assert (whole.tile_px, len(whole)) == (0, 8)
    assert tiles.tiled(whole, 900).tile_px == 900
    assert tiles.tiled(whole, 0) == whole


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_only_compared_with_those_of_tiles_beside_theirs(seed: int):
    """What is kept is what comparing all pairs keeps."""
    rng = np.random.default_rng(seed)
    parts = windows(1200, 1000, 400)
    looked: list[tuple[tiles.Window, Found]] = []
    for window in parts:
        corner_k2 = rng.uniform(0, 340, (60, 2))
        box_k4 = np.hstack([corner_k2, corner_k2 + rng.uniform(10, 60, (60, 2))]).clip(0, 400)
        looked.append((window, Found(box_k4, rng.integers(0, 2, 60), rng.uniform(0, 1, 60))))
    by_cells = stitch(looked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_beside", lambda window_t4, t: np.arange(len(window_t4)) != t)
        all_pairs = stitch(looked)
    assert 0 < len(by_cells.scores_k) < 60 * len(parts)
    assert (by_cells.boxes_k4 == all_pairs.boxes_k4).all()


def test_a_box_is_not_compared_with_those_of_far_tiles(monkeypatch: pytest.MonkeyPatch):
    parts = windows(6000, 6000, 400)
    one = Found(np.array([[100.0, 100, 150, 150]]), np.zeros(1, int), np.full(1, 0.5))
    compared: list[int] = []
    within = tiles._area_within

    def counted(boxes_k4: np.ndarray, other_4: np.ndarray) -> np.ndarray:
        compared.append(len(boxes_k4))
        return within(boxes_k4, other_4)

    monkeypatch.setattr(tiles, "_area_within", counted)
    assert len(stitch([(window, one) for window in parts]).scores_k) == len(parts)
    # Tiles with tiles once; then no box with more than those of the eight tiles around.
    assert max(compared[len(parts) :]) <= 8
