"""A detector that transformers has saved, from the command line, from the first byte to the last.

One family stands for all: what differs between them is in `tests/backbones` and `tests/tasks`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from detector_models import SIZE_PX, save_detector
from test_detection_fit import COUNTS, write_shapes

HASTY = """
from regraft.cli import main
from regraft.tasks import queries
from regraft.tasks.task import Pace

queries.PACE = Pace(batch=8, epochs=4, least_steps=40, most_steps=40, head_rate=1e-2, rate=2e-3)
main()
"""


def typed(*words: object) -> str:
    command = [sys.executable, "-c", HASTY, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    write_shapes(folder / "shapes")
    save_detector("rt_detr_v2", folder / "source")
    (folder / "source" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    source = f"transformers:{folder / 'source'}"
    words = ["--backbone", source, "--train", "last:2", "--out", folder / "run"]
    typed("fit", folder / "shapes", *words)
    return folder


def test_the_report_says_what_was_cut_and_kept(workshop: Path) -> None:
    report: dict[str, Any] = json.loads((workshop / "run" / "report.json").read_text())
    head, deeper = report["rungs"]
    assert (head["name"], deeper["name"]) == ("head", "last:2")
    assert head["features"] == "cached"
    assert head["frozen_intact"] and deeper["frozen_intact"]
    assert deeper["trainable_parameters"] > head["trainable_parameters"]
    assert report["detection"]["source_rows"] == {"square": "square", "disc": None}
    assert report["backbone"]["licence"] == "Apache-2.0"
    page = (workshop / "run" / "report.html").read_text()
    assert "decoder.1" in page and "Apache-2.0" in page


def test_predicting_and_evaluating_need_the_model_alone(workshop: Path) -> None:
    report = json.loads((workshop / "run" / "report.json").read_text())
    (workshop / "source").rename(workshop / "gone")
    answers = json.loads(typed("predict", workshop / "run", workshop / "shapes/test", "--json"))
    assert len(answers) == COUNTS["test"]
    for answer in answers:
        for thing in answer["objects"]:
            left, top, right, bottom = thing["box"]
            assert 0 <= left < right <= 2 * SIZE_PX and 0 <= top < bottom <= 1.5 * SIZE_PX
            assert thing["label"] in ("square", "disc")
    words = ["evaluate", workshop / "run", workshop / "shapes" / "test.json", "--json"]
    measured = json.loads(typed(*words))
    assert measured["metric"]["value"] == pytest.approx(report["test"]["value"], abs=0.05)
