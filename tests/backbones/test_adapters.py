"""The table of adapters: what a word in a name or a description may lead to."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from regraft.backbones import DEFAULT, ROWS, Preprocessing, Recipe
from regraft.backbones.adapters import ADAPTERS, Library, adapter, parts
from regraft.errors import BackboneError


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_can_be_loaded(name: str) -> None:
    assert isinstance(adapter(name).load(), Library)


def test_looking_an_adapter_up_loads_no_library() -> None:
    code = (
        "import sys; from regraft.backbones.addresses import address; "
        f"address('video:{DEFAULT}').versions, address('ultralytics:yolo.pt').versions; "
        "print({'torch', 'timm', 'transformers', 'ultralytics'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_rows_are_of_known_adapters_and_read_what_these_read() -> None:
    for row in ROWS:
        assert ADAPTERS[row.adapter].reads == row.modality, row.name


@pytest.mark.parametrize("word", ["os", "timm_models:LIBRARY", "run", "random", ["timm"]])
def test_a_description_names_an_adapter_that_builds_or_nothing(word: Any) -> None:
    with pytest.raises(BackboneError, match="there is no adapter"):
        parts(Recipe(word, "efficientnet_lite0"), Preprocessing())
