"""What `--objective` takes: dispatch by what the data hold, and a third one in one file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rotations import Rotations, RotationSettings
from running import start
from test_pretrain import NETWORK, picture
from typer.testing import CliRunner

import regraft
from regraft.backbones import check_backbone, open_backbone
from regraft.cli import app
from regraft.errors import ContractBroken, DataError, UsageError
from regraft.pretraining import MaskedSettings, Settings, check_objective, objectives, pretrain
from regraft.pretraining.objectives import choose, settings_of
from regraft.store import Run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened_once: None) -> Path:
    monkeypatch.setenv("REGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("regraft.pretraining.judge_tuned.MOST_STEPS", 20)
    rng = np.random.default_rng(0)
    (tmp_path / "pool").mkdir()
    for i in range(24):
        picture(i % 2, rng).save(tmp_path / "pool" / f"{i}.png")
    for split in ("train", "test"):
        for kind, name in enumerate(("along", "across")):
            folder = tmp_path / "judge" / split / name
            folder.mkdir(parents=True)
            for i in range(12):
                picture(kind, rng).save(folder / f"{i}.png")
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path


@pytest.fixture
def one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is added to the package for it."""
    monkeypatch.setitem(objectives.OBJECTIVES, "rotations", ("rotations:Rotations",))


def test_a_third_objective_is_one_file_and_one_line(place: Path, one_line: None) -> None:
    done = pretrain(
        place / "pool", place / "run", objective="rotations", backbone=start(place),
        judge=place / "judge", settings=settings_of("rotations", {"epochs": 20}),
    )  # fmt: skip
    report = json.loads((done.folder / "report.json").read_text())
    assert report["objective"] == "rotations"
    assert report["settings"]["epochs"] == 20
    assert report["steps"] == 20
    assert report["verdict"]["answer"] in ("helped", "no difference", "hurt")
    assert report["after"] == {"turns": 4}
    assert 0 <= report["curves"][-1]["turns_right"] <= 1
    page = (done.folder / "report.html").read_text()
    assert "turns right: first" in page
    assert regraft.report(done.folder).read_text() == page
    check_backbone(open_backbone(str(done.folder)))


def test_the_command_line_takes_it_and_the_options_that_it_has(place: Path, one_line: None) -> None:
    words = ["pretrain", str(place / "pool"), "--objective", "rotations", "--epochs", "1"]
    words += ["--backbone", start(place), "--batch", "12", "--out", str(place / "run")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "2 steps" in done.output
    for wrong, said in ((["--temperature", "1"], "no temperature"), (["--control"], "compare by")):
        with pytest.raises(UsageError, match=said):
            CliRunner().invoke(app, [*words, *wrong], catch_exceptions=False)


def test_what_it_carries_is_asked_of_it(place: Path, one_line: None) -> None:
    with pytest.raises(UsageError, match="rotations on images, set like this, has no control"):
        pretrain(place / "pool", objective="rotations", judge=place / "judge", control=True)
    with pytest.raises(UsageError, match="not settings of rotations"):
        pretrain(place / "pool", objective="rotations", settings=Settings())
    with pytest.raises(UsageError, match="contrastive or masked-language or rotations"):
        pretrain(place / "pool", objective="colours")


def test_it_keeps_its_contract_and_is_held_to_its_class(place: Path) -> None:
    backbone = open_backbone(start(place))
    pool = Rotations().read(place / "pool", [], 0.01, lambda _: None)
    check_objective(Rotations(RotationSettings(batch=8)), backbone, pool.samples)

    class Forgetful:
        def __init__(self, settings: RotationSettings | None = None) -> None:
            self.settings, self.name = RotationSettings(), "forgetful"

    broken: object = Forgetful()
    broken.settings = RotationSettings(batch=8)
    with pytest.raises(ContractBroken, match="made of settings"):
        check_objective(broken, backbone, pool.samples)


@pytest.mark.parametrize(
    ("files", "name", "modality"),
    [
        (["a.png", "notes.txt"], "contrastive", "image"),
        (["b.mp4", "notes.txt"], "contrastive", "video"),
        (["a.txt", "logo.png"], "masked-language", "text"),
    ],
)
def test_data_are_recognised_among_other_files(
    tmp_path: Path, files: list[str], name: str, modality: str
) -> None:
    for file in files:
        (tmp_path / file).write_bytes(b"looked at by name")
    assert choose(name, tmp_path).modality == modality


def test_data_for_another_objective_are_refused_by_what_recognises_them(tmp_path: Path) -> None:
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "a.txt").write_text("a text")
    with pytest.raises(UsageError, match="from images and videos, these look like texts") as caught:
        choose("contrastive", tmp_path / "mails")
    assert caught.value.mend == "use --objective masked-language"
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "a.png")
    with pytest.raises(UsageError, match="these look like images"):
        choose("masked-language", tmp_path / "photos", MaskedSettings())


@pytest.mark.parametrize("name", ["contrastive", "masked-language"])
def test_a_run_is_not_taken_for_a_folder_of_texts(tmp_path: Path, name: str) -> None:
    with Run.open(tmp_path / "run", {"data": "photos"}):
        pass
    (tmp_path / "run" / "report.html").write_text("<p>a page</p>")
    with pytest.raises(UsageError, match="this is a run of regraft"):
        choose(name, tmp_path / "run")


def test_data_that_nothing_recognises_are_named_when_they_are_read(tmp_path: Path) -> None:
    for name in ("contrastive", "masked-language"):
        with pytest.raises(DataError, match="no such"):
            choose(name, tmp_path / "gone").read(tmp_path / "gone", [], 0.01, lambda _: None)
