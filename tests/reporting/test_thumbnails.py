"""Small pictures of what a page shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regraft import dataset
from regraft.reporting import content, thumbnails
from regraft.tasks.classification import Classification


@pytest.mark.parametrize("data", ["data", "data/labels.csv"])
def test_pictures_of_a_folder_given_for_validation_are_shown(tmp_path: Path, data: str) -> None:
    rng = np.random.default_rng(0)
    lines = ["path,label"]
    for part in ("data", "apart"):
        for name in ("ash", "oak"):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(6):
                pixels = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{k}.png")
                lines += [f"{name}/{k}.png,{name}"] * (part == "data")
    (tmp_path / "data/labels.csv").write_text("\n".join(lines))
    if data == "data":
        (tmp_path / "data/labels.csv").unlink()
    rows = dataset.read(tmp_path / data, valid=tmp_path / "apart")
    valid = rows.split("valid")
    task = Classification("image-classification", rows.classes)
    logits_nc = rng.normal(size=(len(valid), 2))
    found = content.galleries(task, valid, logits_nc, task.targets(valid), 1.0, rows.path)
    report = {"task": "image-classification", **found}
    shown = thumbnails.of_fit(Path(rows.path), report)
    assert set(shown) == {sample.id for sample in valid}
