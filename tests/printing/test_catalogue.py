"""What is said of networks and of the cache."""

from __future__ import annotations

from pathlib import Path

from consoles import printed

from regraft import printing


def test_backbones_are_listed_with_size_and_checksum() -> None:
    row = {"parameters": 3_371_008, "bytes": 13_484_032, "licence": "MIT", "purpose": "small"}
    rows = [
        row | {"name": "a", "here": True, "sha256": "579344248a93"},
        row | {"name": "b", "here": False, "sha256": ""},
    ]
    lines = printed(120, printing.print_backbones, rows).splitlines()
    assert lines[1].split() == "a 3.4 M 13.5 MB MIT yes 57934424 small".split()
    assert lines[2].split() == "b 3.4 M 13.5 MB MIT no – small".split()
    assert "57934424" not in printed(80, printing.print_backbones, rows)
    assert [line for line in lines if line != line.rstrip()] == []
    unknown = {"name": "b", "sha256": "", "ready": False, "mend": "pull it"}
    assert "not known until it is pulled" in printed(80, printing.print_backbone, unknown)


def test_a_text_encoders_sizes_are_those_of_tokens() -> None:
    stage = {"name": "layer.0", "parameters": 5, "shapes": [[-1, 384], []]}
    facts = {"name": "a", "modality": "text", "sha256": "1", "size_px": 256, "stages": [stage]}
    lines = printed(80, printing.print_backbone, facts | {"ready": True}).splitlines()
    assert ["tokens", "256"] in [line.split() for line in lines]
    assert lines[-1].endswith("tokens × 384, 1")


def test_the_cache_shows_what_is_in_it_and_how_much() -> None:
    entries = [
        {"kind": "features", "about": "backbone b", "bytes": 3_200_000, "used_s": 1.7e9},
        {"kind": "compiled", "about": "", "bytes": 500, "used_s": 0.0},
    ]
    lines = printed(100, printing.print_cache, Path("/cache"), entries, 20 * 10**9).splitlines()
    assert lines[1].split()[:3] == ["features", "3.2", "MB"]
    assert lines[1].rstrip().endswith("backbone b")
    assert lines[2].split() == ["compiled", "500", "B", "–"]
    assert lines[-1].startswith("3.2 MB in /cache; features may take 20 GB")
