"""Detectors of transformers: a fit is killed in its head or a deeper rung; repeated, same bits.

What crosses their cut (queries, boxes) and what is random in their training (groups of queries,
noise, dropout) is their own; a detector that gives maps is killed in `tests/test_detection_fit.py`.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_fit import HASTY, Fit, kill, wait_for

sys.path.insert(0, str(Path(__file__).parents[1]))

from detector_models import FAMILIES, save_detector
from test_detection_fit import write_shapes

pytestmark = pytest.mark.slow

SHORT = """
from regraft.tasks import queries
from regraft.tasks.task import Pace

queries.PACE = Pace(batch=8, epochs=4, least_steps=12, most_steps=12, head_rate=1e-2, rate=2e-3)
"""


def start(run: Fit) -> subprocess.Popen[bytes]:
    return run.fit("shapes", f"transformers:{run.home / 'source'}", "last:2")


@pytest.mark.parametrize("family", FAMILIES)
def test_killed_and_repeated_it_ends_with_the_same_bits(family: str, tmp_path: Path) -> None:
    save_detector(family, tmp_path / "source")
    write_shapes(tmp_path / "shapes")
    undisturbed = Fit(tmp_path, tmp_path / "undisturbed", tmp_path / "cache", SHORT + HASTY)
    undisturbed.ended(start(undisturbed))
    killed = replace(undisturbed, out=tmp_path / "killed")
    for rung in ("head", "rung-last:2"):
        process = start(killed)
        wait_for(lambda rung=rung: begun(killed, rung), process)
        kill(process)
        assert begun(killed, rung), "it was killed too late"
    killed.ended(start(killed))
    assert killed.results() == undisturbed.results()
    assert not killed.checkpoints()


def begun(run: Fit, rung: str) -> list[Path]:
    """States of a rung that is under way."""
    return [path for path in run.checkpoints() if path.name.startswith(f"{rung}-")]
