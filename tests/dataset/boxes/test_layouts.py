"""Folders as others lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest
from made import picture, thing, voc

from regraft.dataset.boxes import read_boxes


def _places(path: Path) -> list[tuple[str, str, int]]:
    data = read_boxes(path)
    return [(p.id, p.split, len(p.boxes)) for p in data.pictures]


def test_voc_s_own_folder_with_several_years(tmp_path: Path):
    for year, lists in (("VOC2007", {"test": "a"}), ("VOC2012", {"train": "a", "val": "b"})):
        inner = voc(tmp_path / year, [thing()])
        picture(inner / "JPEGImages" / "b.png", level=int(year[3:]) % 200)
        (inner / "Annotations" / "b.xml").write_text(
            f"<annotation><folder>{year}</folder><filename>b.png</filename></annotation>"
        )
        (inner / "ImageSets" / "Main").mkdir(parents=True)
        for name, stem in lists.items():
            (inner / "ImageSets" / "Main" / f"{name}.txt").write_text(f"{stem}\n")
    assert _places(tmp_path) == [
        ("VOC2007/JPEGImages/a.png", "test", 1),
        ("VOC2007/JPEGImages/b.png", "train", 0),  # in no list
        ("VOC2012/JPEGImages/a.png", "train", 1),
        ("VOC2012/JPEGImages/b.png", "valid", 0),
    ]


@pytest.mark.parametrize(
    "first", [b"", "<annotation/>".encode("utf-16"), b"<svg/>"], ids=["empty", "utf-16", "other"]
)
def test_the_first_xml_does_not_decide_alone(tmp_path: Path, first: bytes):
    (voc(tmp_path, [thing()]) / "Annotations" / "0.xml").write_bytes(first)
    assert _places(tmp_path) == [("JPEGImages/a.png", "", 1)]


@pytest.mark.parametrize("code", ["utf-16", "utf-8-sig"])
def test_xml_with_a_mark(tmp_path: Path, code: str):
    file = voc(tmp_path, [thing(name="Bäume")]) / "Annotations" / "a.xml"
    file.write_bytes(file.read_text().encode(code))
    assert read_boxes(tmp_path).categories == ("Bäume",)


def test_voc_in_folders_takes_the_picture_of_the_same_folder(tmp_path: Path):
    root = voc(tmp_path, [thing()])
    picture(root / "JPEGImages" / "sub" / "a.png", level=7)
    (root / "Annotations" / "sub").mkdir()
    text = (root / "Annotations" / "a.xml").read_text()
    (root / "Annotations" / "sub" / "a.xml").write_text(text)
    assert _places(tmp_path) == [("JPEGImages/a.png", "", 1), ("JPEGImages/sub/a.png", "", 1)]


def test_a_name_too_long_for_a_file_is_no_file(tmp_path: Path):
    root = voc(tmp_path, [thing()])
    text = f"<annotation><filename>{'b' * 3000}.png</filename>{thing()}</annotation>"
    (root / "Annotations" / "b.xml").write_text(text)
    data = read_boxes(tmp_path)
    assert (data.found, data.used, data.refused) == (2, 1, 1)
