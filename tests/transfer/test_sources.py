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
from regraft.store import Outcome
from regraft.transfer import clips, ground, references, sources
from regraft.transfer.compiled import place


@pytest.mark.parametrize("patterns", [sources.ROWS, sources.WORDS])
def test_every_file_that_decides_counts_and_no_other(
    tmp_path: Path, patterns: tuple[str, ...]
) -> None:
    package = Path(sources.__file__).parents[1]
    shutil.copytree(package, tmp_path / "0", ignore=shutil.ignore_patterns("__pycache__"))
    known = sources.code(patterns, tmp_path / "0")
    assert known == sources.code(patterns) != sources.code(sources.FRAMES)
    seen = {known}
    for number, pattern in enumerate(patterns, 1):
        assert (files := sorted((tmp_path / "0").glob(pattern))), f"{pattern} is there no more"
        root = tmp_path / str(number)
        shutil.copytree(tmp_path / "0", root)
        with (root / files[-1].relative_to(tmp_path / "0")).open("a") as file:
            file.write("# changed")
        seen.add(sources.code(patterns, root))
    assert len(seen) == 1 + len(patterns)
    shutil.copytree(tmp_path / "0", tmp_path / "other")
    (tmp_path / "other/transfer/ladder.py").write_text("# changed")
    assert sources.code(patterns, tmp_path / "other") == known


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


def test_other_words_are_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def step(name: str, inputs: Any, compute: Any) -> Outcome:
        asked.append(inputs)
        raise InterruptedError

    stand: Any = SimpleNamespace(
        dataset=SimpleNamespace(fingerprint=lambda: "data", split=lambda _: []),
        backbone=SimpleNamespace(sha256="", recipe="", preprocessing=None), seed=0, soft={},
        head_views=1, penalty=None, reads_words=True, validation=None,
        run=SimpleNamespace(step=step),
    )  # fmt: skip

    def keys() -> list[Any]:
        with pytest.raises(InterruptedError):
            references.tfidf(stand, stand)
        return [ground.head_facts(stand), asked.pop()]

    before, code = keys(), sources.code
    monkeypatch.setattr(
        sources, "code", lambda *some: "other" if some == (sources.WORDS,) else code(*some)
    )
    assert all(a != b for a, b in zip(keys(), before, strict=True))
