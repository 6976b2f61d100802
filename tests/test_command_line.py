"""The verbs as people type them, one after the other, on a small data set."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REGRAFT = str(Path(sys.executable).with_name("regraft"))
HEAVY = {"torch", "torchvision", "timm", "sklearn", "transformers", "matplotlib"}


@dataclass(frozen=True)
class Workshop:
    """A folder with photos/ and the run that `fit --train head` made of them."""

    folder: Path
    fitted: subprocess.CompletedProcess[str]

    def type(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [REGRAFT, *arguments], cwd=self.folder, capture_output=True, text=True
        )


def write_photos(folder: Path) -> None:
    """Two classes that differ in colour, one picture twice, one cut short."""
    rng = np.random.default_rng(0)
    for label, colour in (("cat", (220, 120, 40)), ("dög 2", (40, 80, 200))):
        for number in range(20):
            path = folder / label / f"{number} a.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.normal(0, 60, (60, 80, 3))
            Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(path)
    shutil.copy(path, path.with_name("copy\nof 19.jpg"))
    whole = path.read_bytes()
    path.with_name("cut.jpg").write_bytes(whole[: len(whole) // 2])


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    write_photos(folder / "photos")
    # A first run prepares the network for this machine; the second shows what is usual.
    subprocess.run([REGRAFT, "fit", "photos", "--train", "head", "--out", "first"], cwd=folder)
    fitted = subprocess.run(
        [REGRAFT, "fit", "photos", "--train", "head"], cwd=folder, capture_output=True, text=True
    )
    return Workshop(folder, fitted)


def test_fit_prints_the_rungs_the_verdict_and_what_is_next(workshop: Workshop) -> None:
    fitted = workshop.fitted
    assert fitted.returncode == 0, fitted.stderr
    assert fitted.stdout.splitlines()[0].startswith("rung")
    assert "\nhead " in fitted.stdout
    assert "report  photos-regraft/report.html" in fitted.stdout
    assert "next    regraft predict photos-regraft PHOTO..." in fitted.stdout
    assert "\x1b" not in fitted.stdout + fitted.stderr
    assert (workshop.folder / "photos-regraft" / "report.html").is_file()


def test_the_same_command_again_prints_the_same_result(workshop: Workshop) -> None:
    again = workshop.type("fit", "photos", "--train", "head")
    assert again.stdout == workshop.fitted.stdout


def test_another_question_needs_another_folder(workshop: Workshop) -> None:
    other = workshop.type("fit", "photos", "--train", "head", "--seed", "7")
    assert other.returncode == 2
    assert "seed" in other.stderr


def test_predict_labels_files_folders_and_patterns(workshop: Workshop) -> None:
    done = workshop.type("predict", "photos-regraft", "photos/cat", "photos/d*/1*.jpg")
    assert done.returncode == 0, done.stderr
    lines = [line.split(".jpg") for line in done.stdout.splitlines()]
    assert len(lines) == 20 + 11
    assert {Path(name).parent.name == "cat" for name, _ in lines[:20]} == {True}
    assert all(rest.split()[0] == "cat" for _, rest in lines[:20])


def test_predict_as_json_names_what_it_cannot_read(workshop: Workshop) -> None:
    done = workshop.type("predict", "photos-regraft", "photos/dög 2", "no such.jpg", "--json")
    assert done.returncode == 1
    answers = {answer["sample"]: answer for answer in json.loads(done.stdout)}
    assert "problem" in answers["photos/dög 2/cut.jpg"]
    assert "problem" in answers["no such.jpg"]
    assert answers["photos/dög 2/copy\nof 19.jpg"]["label"] == "dög 2"


def test_the_model_folder_alone_predicts(workshop: Workshop, tmp_path: Path) -> None:
    shutil.copytree(workshop.folder / "photos-regraft" / "model", tmp_path / "carried")
    done = workshop.type("predict", str(tmp_path / "carried"), "photos/cat/0 a.jpg")
    assert done.returncode == 0, done.stderr
    assert " cat  " in done.stdout


def test_evaluate(workshop: Workshop) -> None:
    told = workshop.type("evaluate", "photos-regraft", "photos")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("accuracy ")
    counted = json.loads(workshop.type("evaluate", "photos-regraft", "photos", "--json").stdout)
    assert counted["count"] == 41
    # All but the pictures of the test split.
    report = json.loads((workshop.folder / "photos-regraft" / "report.json").read_text())
    assert counted["seen"] == 41 - report["data"]["splits"]["test"]
    assert f"{counted['seen']} of the 41 were used to fit or to choose this model" in told.stdout


def test_inspect(workshop: Workshop) -> None:
    told = workshop.type("inspect", "photos")
    assert told.returncode == 0, told.stderr
    assert "photos: 41 samples of 2 classes" in told.stdout
    assert "truncated: 1 (set aside)" in told.stdout
    found = json.loads(workshop.type("inspect", "photos", "--json").stdout)
    assert [row["name"] for row in found["classes"]] == ["cat", "dög 2"]


def test_report_draws_the_page_again(workshop: Workshop) -> None:
    page = workshop.folder / "first" / "report.html"
    page.unlink()
    assert workshop.type("report", "first").stdout == "first/report.html\n"
    assert page.is_file()


def test_the_package_runs_as_the_command_does(workshop: Workshop) -> None:
    command = [sys.executable, "-m", "regraft", "backbones", "list"]
    done = subprocess.run(command, cwd=workshop.folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, workshop.type("backbones", "list").stdout)


def test_the_cache_is_shown(workshop: Workshop) -> None:
    shown = workshop.type("cache", "show")
    assert shown.returncode == 0
    assert "features" in shown.stdout
    assert os.environ["REGRAFT_CACHE"] in shown.stdout


def test_a_new_head_on_a_compiled_network_needs_no_training_framework(workshop: Workshop) -> None:
    code = (
        "import sys\n"
        "from regraft.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "fit", "photos", "--train", "head", "--out", "third"]
    ran = subprocess.run(command, cwd=workshop.folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    modules = set(ran.stderr.split())
    assert "regraft.verbs" in modules
    assert not HEAVY & modules


@pytest.mark.slow
def test_a_stopped_fit_leaves_in_time_and_goes_on(workshop: Workshop) -> None:
    command = [REGRAFT, "fit", "photos", "--train", "last:1", "--out", "stopped"]
    process = subprocess.Popen(
        command, cwd=workshop.folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:  # the head is measured, the next rung begins
        if line.startswith("head: accuracy"):
            break
    time.sleep(1.0)
    began_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - began_s < 5.0
    assert process.returncode == 130
    assert errors.splitlines()[-1].endswith("repeat the command to go on")
    asked = workshop.type("predict", "stopped", "photos/cat/0 a.jpg")
    assert asked.returncode == 1
    assert "no model yet" in asked.stderr and "repeat the command" in asked.stderr
    again = workshop.type(*command[1:])
    assert again.returncode == 0, again.stderr
    assert "\nlast:1 " in again.stdout
