"""Tables that name what they should not see: nothing of it may be read, copied or even told."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from regraft.dataset.boxes import convert_boxes, read_boxes
from regraft.errors import DataError

HEADER = "path,category,left,top,right,bottom,sha256"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a link into a private one, and beside the link what that hides."""
    (tmp_path / "private" / "sub").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    Image.new("RGB", (64, 48), (200, 9, 9)).save(tmp_path / "private" / "secret.png")
    Image.new("RGB", (64, 48), (9, 9, 200)).save(tmp_path / "data" / "secret.png")
    Image.new("RGB", (64, 48), (9, 200, 9)).save(tmp_path / "data" / "own.png")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "private" / "sub")
    return tmp_path / "data"


@pytest.mark.parametrize("known", ["x", "", "decoy"])
def test_a_way_through_a_link_does_not_lead_to_a_picture_outside(data, tmp_path, known):
    checksum = sha256((data / "secret.png").read_bytes()).hexdigest() if known == "decoy" else known
    rows = [f"link/../secret.png,a,1,1,20,20,{checksum}", "own.png,a,1,1,20,20,"]
    (data / "boxes.csv").write_text("\n".join([HEADER, *rows]))
    read = read_boxes(data)
    assert not any("private" in str(picture.source) for picture in read.pictures)
    convert_boxes(data, tmp_path / "out", "coco")
    secret = (tmp_path / "private" / "secret.png").read_bytes()
    assert secret not in [path.read_bytes() for path in (tmp_path / "out").rglob("*.png")]
    assert len(read.pictures) == (2 if known == "decoy" else 1)


def test_a_picture_in_the_folder_has_to_have_its_checksum(data):
    mine = sha256((data / "own.png").read_bytes()).hexdigest().upper()
    rows = [f"own.png,a,1,1,20,20,{mine}", f"secret.png,a,1,1,20,20,{mine}"]
    (data / "boxes.csv").write_text("\n".join([HEADER, *rows]))
    read = read_boxes(data)
    assert [picture.id for picture in read.pictures] == ["own.png"]
    assert [problem.kind for problem in read.problems][0] == "changed"


def test_a_picture_with_a_checksum_is_looked_for_in_its_place_alone(data):
    mine = sha256((data / "own.png").read_bytes()).hexdigest()
    for name in ("own.png", "secret.png"):
        (data / "boxes.csv").write_text(f"{HEADER}\ngone/{name},a,1,1,20,20,{mine}\n")
        with pytest.raises(DataError, match="not there, or no longer"):
            read_boxes(data)
    # Nor is another, as long as one is in its place.
    rows = [HEADER, f"own.png,a,1,1,20,20,{mine}", "gone/secret.png,a,1,1,20,20,"]
    (data / "boxes.csv").write_text("\n".join(rows))
    assert [picture.id for picture in read_boxes(data).pictures] == ["own.png"]


def test_copies_of_pictures_outside_do_not_fall_on_others(data, tmp_path):
    rows = [HEADER]
    for place, level in (("../a", 10), ("a", 90), ("_/a", 170)):
        picture = data / place / "x.png"
        picture.parent.mkdir(parents=True)
        Image.new("RGB", (64, 48), (level, 9, 9)).save(picture)
        checksum = sha256(picture.read_bytes()).hexdigest()
        rows.append(f"{place}/x.png,a,1,1,20,20,{checksum}")
    (data / "boxes.csv").write_text("\n".join(rows))
    convert_boxes(data / "boxes.csv", tmp_path / "out", "csv")
    reds = [Image.open(p).getpixel((0, 0))[0] for p in sorted((tmp_path / "out").rglob("x.png"))]
    assert sorted(reds) == [10, 90, 170]
