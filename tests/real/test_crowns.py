"""Real boxes: deepforest's tree crowns, as their authors wrote them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

data = pytest.importorskip("bench.data")
crowns = pytest.importorskip("bench.crowns")


@pytest.fixture(scope="module")
def source() -> Path:
    try:
        return data.unpacked(data.DEEPFOREST, data.DATA)
    except data.Unavailable as fault:
        pytest.skip(str(fault))


def test_pascal_voc_of_strangers_is_read_whole(source: Path, tmp_path: Path) -> None:
    from regraft import dataset
    from regraft.dataset.boxes.tiles import tiled

    for stem in (crowns.SMALL, crowns.LARGE):
        for suffix in (".png", ".xml"):
            shutil.copy(source / f"{stem}{suffix}", tmp_path)
    whole = dataset.read_all(tmp_path)
    rows = tiled(whole)
    counts = dataset.describe(rows)["boxes"]
    assert (counts["found"], counts["used"], counts["mended"]) == (635, 635, 0)
    # The large photograph is cut, the small one is not.
    assert len(whole) == 2
    assert rows.tile_px == 410
    assert sum(sample.window is None for sample in rows) == 1
    assert len({sample.group for sample in rows if sample.window}) == 1


def test_the_csv_and_the_xml_of_one_photograph_agree(source: Path, tmp_path: Path) -> None:
    from regraft.dataset.boxes import read_boxes

    text = (source / "OSBS_029.csv").read_text().replace(".tif", ".png")
    (tmp_path / "boxes.csv").write_text(text)
    shutil.copy(source / "OSBS_029.png", tmp_path)
    shutil.copy(source / "OSBS_029.xml", tmp_path)
    by_xml, by_table = (
        {(b.right, b.bottom) for b in read_boxes(path).pictures[0].boxes}
        for path in (tmp_path, tmp_path / "boxes.csv")
    )
    assert len(by_xml) == 61
    assert len(by_xml & by_table) >= 60


@pytest.mark.parametrize("train", ["small", "large"])
def test_crowns_have_each_photograph_on_one_side(source: Path, train: str) -> None:
    from regraft import dataset

    rows = dataset.read(crowns.tree_crowns(train=train))
    stems = {s: {x.id.split("-")[0] for x in rows.split(s)} for s in ("train", "valid")}
    assert len(stems["train"]) == len(stems["valid"]) == 1
    assert stems["train"] != stems["valid"]
    whole = sum(not box.crowd for sample in rows for box in sample.boxes)
    assert 600 <= whole <= 635
    assert len(rows) == 4 + 36
