"""What the verbs refuse before they begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import regraft
from regraft.errors import DataError, RegraftError
from regraft.events import Event


@pytest.mark.parametrize(
    ("options", "what", "where"),
    [
        ({"backbone": "minilm-l6"}, "minilm-l6 is for texts, the data are images", "--backbone"),
        ({"backbone": "nanodet-g"}, "nanodet-g finds objects, the data are for", "--backbone"),
        ({"columns": "label=foo"}, "Only tables have columns; .*photos is none", "--columns"),
        ({"columns": "text=a"}, "Only tables have columns; .*photos is none", "--columns"),
        ({"task": "image-clasification"}, "no task 'image-clasification'", "--task"),
    ],
)
def test_a_wrong_option_of_fit_is_refused_before_anything_is_prepared(
    tmp_path: Path, options: dict[str, Any], what: str, where: str
) -> None:
    said: list[Event] = []
    photos = tmp_path / "photos"
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(photos / name / "1.png")
    with pytest.raises(RegraftError, match=what) as caught:
        regraft.fit(photos, tmp_path / "run", tell=said.append, **options)
    assert caught.value.where == where
    assert not said
    assert not (tmp_path / "run").exists()


def test_data_that_are_not_there_are_the_fault_whatever_the_backbone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        regraft.fit(tmp_path / "none", tmp_path / "run", backbone="minilm-l6")
