"""Our own code in the keys of what is kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_features import computed

from regraft.backbones import Backbone
from regraft.dataset import Sample
from regraft.transfer import clips, ground, sources
from regraft.transfer.compiled import place


def test_every_file_that_decides_counts_and_no_other(tmp_path: Path) -> None:
    package = Path(sources.__file__).parents[1]
    shutil.copytree(package, tmp_path / "0", ignore=shutil.ignore_patterns("__pycache__"))
    known = sources.code(root=tmp_path / "0")
    assert known == sources.code() != sources.code(sources.FRAMES)
    seen = {known}
    for number, pattern in enumerate(sources.ROWS, 1):
        assert (files := sorted((tmp_path / "0").glob(pattern))), f"{pattern} is there no more"
        root = tmp_path / str(number)
        shutil.copytree(tmp_path / "0", root)
        with (root / files[-1].relative_to(tmp_path / "0")).open("a") as file:
            file.write("# changed")
        seen.add(sources.code(root=root))
    assert len(seen) == 1 + len(sources.ROWS)
    shutil.copytree(tmp_path / "0", tmp_path / "other")
    (tmp_path / "other/transfer/ladder.py").write_text("# changed")
    assert sources.code(root=tmp_path / "other") == known


@pytest.mark.usefixtures("own_cache")
def test_other_code_is_another_key(
    compiled: Backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand: Any = SimpleNamespace(
        dataset=SimpleNamespace(fingerprint=lambda: "data"), backbone=compiled, seed=0, soft={}
    )

    def keys() -> list[Any]:
        return [place(compiled), clips.facts(), ground.inputs_of(stand, {})]

    before = keys()
    assert computed(compiled, samples, frozen=0).computed == 40
    with monkeypatch.context() as patch:
        patch.setattr(sources, "code", lambda *_: "other")
        assert all(a != b for a, b in zip(keys(), before, strict=True))
        assert computed(compiled, samples, frozen=0).computed == 40
    assert keys() == before
    assert computed(compiled, samples, frozen=0).computed == 0
