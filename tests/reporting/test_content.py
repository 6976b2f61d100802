"""The facts that report.json holds of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regraft import dataset
from regraft.dataset import Sample
from regraft.reporting import content, thumbnails
from regraft.tasks.classification import Classification


def test_of_several_classes_the_most_wrong_answer_is_as_sure_as_it_was_of_what_is_wrong() -> None:
    task = Classification("image-classification", ("a", "b", "c"), multilabel=True)
    chance_nc = np.array([[0.99, 0.9, 0.51], [0.9, 0.1, 0.4], [0.1, 0.8, 0.1]])
    logits_nc = np.log(chance_nc / (1 - chance_nc))
    target_nc = np.array([[0, 1, 1], [1, 0, 0], [0, 1, 1]], float)
    samples = [Sample(name, f"text {name}", (0,)) for name in ("sure", "right", "missed")]
    found = content.galleries(task, samples, logits_nc, target_nc, 1.0, Path("texts.csv"))
    wrong = [(row["sample"], round(row["probability"], 3)) for row in found["most_wrong"]]
    assert wrong == [("sure", 0.99), ("missed", 0.9)]
    unsure = [(row["sample"], round(row["probability"], 3)) for row in found["least_certain"]]
    assert unsure == [("right", 0.6)], "what stands among the most wrong is not shown twice"


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
