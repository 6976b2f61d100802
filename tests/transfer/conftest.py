from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from regraft.backbones import Backbone
from regraft.dataset import Sample
from regraft.transfer.engine import prepare


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return tiny.pictures(tmp_path_factory.mktemp("pictures"), 40)


@pytest.fixture(scope="session")
def compiled(samples: list[Sample]) -> Backbone:
    """A small backbone, compiled in the cache of this session."""
    with prepare(tiny.address("residual")) as preparation:
        assert preparation.engine(4, samples).serving.name.startswith("openvino")
        return preparation.backbone()


@pytest.fixture
def own_cache(compiled: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which the small backbone is compiled and nothing computed."""
    return tiny.fresh_cache(tmp_path / "cache", monkeypatch)
