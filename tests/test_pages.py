"""The README and the pages in docs/: what they tell people to type works."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regraft.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def typed(beginning: str) -> list[str]:
    """The commands in all pages that begin so, also those behind a pipe."""
    lines = [line for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()]
    commands = [part.strip() for line in lines for part in line.split("#")[0].split("|")]
    return sorted({command for command in commands if command.startswith(beginning)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_stand_in_blocks_that_are_checked(page: Path) -> None:
    """A block that is indented, or fenced without saying that it is for a shell, is not seen."""
    fenced = re.sub(
        r"^```(sh|python)\n.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    indented = re.findall(r"^ {4,}.*\b(?:regraft|make|pip) .*", fenced, re.MULTILINE)
    unnamed = [
        line
        for block in re.findall(r"^```\w*\n(.*?)^```", fenced, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
        if re.match(r"(.*\| *)?(regraft|make|pip) +[a-z-]+( |$)", line)
    ]
    assert indented + unnamed == []


@pytest.mark.parametrize("command", typed("regraft "))
def test_commands_are_understood(command: str) -> None:
    words = shlex.split(command)[1:]
    verb = words[: 2 if words[0] in ("backbones", "cache") else 1]
    helped = CliRunner().invoke(app, [*verb, "--help"])
    assert helped.exit_code == 0
    options = {word for word in words if word.startswith("--")}
    assert options <= set(re.findall(r"--[a-z-]+", helped.output))


@pytest.mark.parametrize("command", typed("make "))
def test_make_targets_exist(command: str) -> None:
    assert command.split()[1] in TARGETS
    tried = subprocess.run(["make", "-n", command.split()[1]], cwd=ROOT, capture_output=True)
    assert tried.returncode == 0


@pytest.mark.parametrize("command", typed("python -m bench"))
def test_benches_exist(command: str) -> None:
    module = command.split()[2].replace(".", "/")
    assert (ROOT / f"{module}.py").is_file() or (ROOT / module / "__main__.py").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, part in re.findall(r"\]\(([^):#]+)(?:#([^)]*))?\)", page.read_text()):
        assert (page.parent / target).exists(), target
        if part:
            titles = re.findall(r"^#+ (.*)$", (page.parent / target).read_text(), re.MULTILINE)
            assert part in {title.lower().replace(" ", "-") for title in titles}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What pages take for granted: photos/ and new-photos/ of two classes, a list, a new photo."""
    rng = np.random.default_rng(0)
    lines: list[str] = []
    for label, colour in (("cat", (220, 120, 40)), ("dog", (40, 80, 200))):
        for number in range(12):
            path = tmp_path / "photos" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.normal(0, 40, (48, 48, 3))
            Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(path)
            lines.append(f"{label}: {path.relative_to(tmp_path)}")
        new = tmp_path / "new-photos" / label / "0.png"
        new.parent.mkdir(parents=True)
        Image.fromarray(np.full((48, 48, 3), colour, dtype=np.uint8)).save(new)
    (tmp_path / "photos.lines").write_text("\n".join(lines))
    shutil.copy(path, tmp_path / "new-photo.jpg")
    return tmp_path


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name
)
def test_python_on_the_pages_runs(page: Path, folder: Path) -> None:
    """Each page's blocks, in order, as one program; one that is introduced as a file is a file."""
    parts = re.split(r"^```", page.read_text(), flags=re.MULTILINE)
    program: list[str] = []
    for before, block in zip(parts[::2], parts[1::2], strict=False):
        if block.startswith("python\n"):
            file = re.search(r"`(\w+\.py)`:\s*$", before)
            code = block.removeprefix("python\n")
            if file:
                (folder / file[1]).write_text(code)
            else:
                program.append(code)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(program)],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
