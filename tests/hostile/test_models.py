"""Models and pre-trainings from somebody else: what they say about themselves is never run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import regraft
from regraft.backbones import Recipe, convert, local, open_backbone
from regraft.backbones.backbone import Backbone
from regraft.errors import BackboneError
from regraft.store import canonical, commit_sealed, digest

NETWORK = """
from pathlib import Path
from torch import nn
from regraft import Preprocessing

Path(__file__).with_name("ran").touch()

def tiny():
    end = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return [("a", nn.Conv2d(3, 8, 3, 2, 1)), ("b", end)], Preprocessing(size_px=32)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a network of one's own, and a run on both."""
    place = tmp_path_factory.mktemp("own")
    (place / "net.py").write_text(NETWORK)
    for number in range(24):
        folder = place / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).normal(80 + 90 * (number % 2), 20, (40, 40, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    regraft.fit(place / "photos", place / "run", train="head", backbone=own(place))
    return place


def own(place: Path) -> str:
    return f"local:{place / 'net.py'}:tiny"


def picture(place: Path) -> Path:
    return place / "photos" / "a" / "0.png"


def test_a_model_on_code_of_ones_own_needs_that_code_to_be_named_here(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert regraft.predict(place / "run", [picture(place)])[0]["label"] == "a"
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "of another machine"))
    (place / "ran").unlink()
    for use in (
        lambda: regraft.predict(place / "run", [picture(place)]),
        lambda: regraft.evaluate(place / "run", place / "photos"),
    ):
        with pytest.raises(BackboneError, match="made by code that nobody has named") as fault:
            use()
        assert fault.value.mend.endswith(f"regraft backbones show {own(place)}")
    assert not (place / "ran").exists()
    open_backbone(own(place))
    assert regraft.predict(place / "run", [picture(place)])[0]["label"] == "a"


def test_modules_in_the_working_directory_are_not_imported(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "numpy", "torch", "timm", "regraft"):
        (tmp_path / f"{name}.py").write_text("__import__('pathlib').Path('ran').touch()")
    monkeypatch.chdir(tmp_path)
    assert opened(place)
    assert not (tmp_path / "ran").exists()


def sha256(file: str | Path) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def recipes(folder: Path) -> list[dict[str, Any]]:
    """Of code that nobody named; some with the code's checksum, in a clip network or in two."""
    evil = folder / "evil.py"
    addresses = (
        (f"{evil}:tiny", sha256(evil)),
        (f"{os.path.relpath(evil)}:tiny", sha256(evil)),
        ("os:abort", sha256(os.__file__)),
        ("efficientnet-lite0", ""),
        (f"run:{folder}", ""),
        ("", ""),
        (["os:abort"], ""),
    )
    plain = [
        {"adapter": "local", "architecture": address, "options": options}
        for address, code in addresses
        for options in ([], [["code", code]])
    ]
    return plain + [outer for recipe in plain for outer in (clips(recipe), clips(clips(recipe)))]


def clips(inner: dict[str, Any]) -> dict[str, Any]:
    options = [["adapter", inner["adapter"]], ["options", json.dumps(inner["options"])]]
    options += [["frames", 2], ["width", 32]]
    return {"adapter": "video", "architecture": inner["architecture"], "options": options}


def test_a_model_from_somebody_else_runs_no_code(place: Path, tmp_path: Path) -> None:
    model = shutil.copytree(place / "run" / "model", tmp_path / "model")
    (model / "evil.py").write_text(NETWORK)
    content = json.loads((model / "model.json").read_text())
    del content["checksum"]
    for recipe in recipes(model):
        content["backbone"]["recipe"] = recipe
        sealed = content | {"checksum": digest(canonical(content))}
        (model / "model.json").write_text(json.dumps(sealed))
        with pytest.raises(BackboneError, match="made by code that nobody has named"):
            regraft.predict(model, [picture(place)])
    assert not (model / "ran").exists()


@pytest.mark.parametrize(
    "options", [[], [["options", "[["]], [["options", 1]], [["options", "[1]"]]]
)
def test_a_clip_network_around_nothing_is_refused(place: Path, options: list[Any]) -> None:
    values = opened(place).to_json()
    recipe = {"adapter": "video", "architecture": "", "options": options}
    with pytest.raises(BackboneError, match="cannot be used"):
        Backbone.from_json(values | {"recipe": recipe}, Path("weights")).recipe.inner  # noqa: B018


@pytest.mark.parametrize(
    ("family", "settings", "what"),
    [
        ("queries", [["queries", "300"]], "queries is '300'"),
        ("queries", [], "queries is None"),
        ("dense", [["queries", [1]]], "queries is \\(1,\\)"),
        ("paired", [["score_width", 8], ["edge_width", -8]], "edge_width is -8"),
        ("paired", [["score_width", 8.0], ["edge_width", 8]], "score_width is 8.0"),
        ("dense", [["a", "b", "c"]], "cannot be used"),
        ("dense", [[{}, 1]], "cannot be used"),
        ("dense", 3, "cannot be used"),
    ],
)
def test_settings_of_a_detector_that_are_none_are_refused(
    place: Path, family: str, settings: Any, what: str
) -> None:
    detector = {"family": family, "categories": ["cat"], "settings": settings}
    values = opened(place).to_json() | {"detector": detector}
    with pytest.raises(BackboneError, match=what):
        Backbone.from_json(values, Path("weights"))


def opened(place: Path) -> Backbone:
    return open_backbone(own(place))


def test_a_pretraining_from_somebody_else_runs_no_code(place: Path, tmp_path: Path) -> None:
    start = opened(place)
    (tmp_path / "evil.py").write_text(NETWORK)
    folder = tmp_path / "backbone"
    folder.mkdir()
    shutil.copy(start.weights, folder / "weights.safetensors")

    def write(recipe: dict[str, Any]) -> None:
        commit_sealed(folder / "backbone.json", canonical(start.to_json() | {"recipe": recipe}))

    for recipe in recipes(tmp_path):
        write(recipe)
        with pytest.raises(BackboneError, match="made by code that nobody has named"):
            convert(str(tmp_path))
    assert not (tmp_path / "ran").exists()
    write(start.to_json()["recipe"])
    assert convert(str(tmp_path)).recipe == start.recipe


def test_a_recipe_without_the_codes_checksum_imports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "evil_package"
    package.mkdir()
    (package / "__init__.py").write_text(NETWORK)
    (package / "inside.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BackboneError, match="has changed"):
        local.parts(Recipe("local", "evil_package.inside:tiny"), None)
    assert "evil_package" not in sys.modules
