"""Of which files a user's own network is made."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from regraft.backbones import Recipe, build, local, open_backbone
from regraft.errors import BackboneError
from regraft.store import file_sha256

NETWORK = """
import sys
from pathlib import Path
from torch import nn
from regraft import Preprocessing

sys.path.insert(0, str(Path(__file__).parent))
from sizes_of_{name} import WIDTH

def tiny():
    import later_{name}.parts
    return [("a", nn.Conv2d(3, WIDTH, 3)), later_{name}.parts.pooled()], Preprocessing(size_px=32)
"""
PARTS = """
from torch import nn
from .names import POOL

def pooled():
    return POOL, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that imports one beside it, and a package later."""
    name = f"case_{tmp_path.name}"
    monkeypatch.setattr(sys, "path", [*sys.path])
    files = {
        "net.py": NETWORK.format(name=name),
        f"sizes_of_{name}.py": "WIDTH = 8",
        f"later_{name}/__init__.py": "",
        f"later_{name}/parts.py": PARTS,
        f"later_{name}/names.py": "POOL = 'pool'",
        "unused.py": "",
    }
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(content)
    return tmp_path / "net.py"


def test_what_a_network_imports_is_its_code_too(network: Path) -> None:
    address = f"local:{network}:tiny"
    before = open_backbone(address)
    known = local.code(address.removeprefix("local:"))
    assert dict(before.recipe.options)["code"] == known, "the same in every process"
    assert build(before) and local.code(f"{network}:tiny") == known, "and once all is loaded"
    (network.parent / "unused.py").write_text("print(1)")
    assert local.code(f"{network}:tiny") == known
    seen = {known}
    for pattern in ("sizes_of_*.py", "later_*/__init__.py", "later_*/parts.py", "later_*/names.py"):
        (file,) = network.parent.glob(pattern)
        file.write_text(f"{file.read_text()}\n# changed")
        assert (changed := local.code(f"{network}:tiny")) not in seen, file
        seen.add(changed)
    with pytest.raises(BackboneError, match="has changed"):
        build(before)
    assert open_backbone(address).recipe != before.recipe


def test_a_file_that_is_another_is_not_run(network: Path) -> None:
    address = f"{network}:tiny"
    described, told = dict(local.options(address)), network.with_name("told")

    def parts(**options: object) -> tuple:
        return local.parts(Recipe("local", address, tuple(options.items())), None)

    assert parts(**described)
    assert parts(code=described["file"]), "as it was described once"
    network.write_text(f"{network.read_text()}\nPath({str(told)!r}).touch()")
    for known in (described, {"code": described["file"]}, {}):
        with pytest.raises(BackboneError, match="has changed"):
            parts(**known)
    assert not told.exists()


def test_a_network_in_one_file_is_known_by_it(tmp_path: Path) -> None:
    file = tmp_path / "alone.py"
    file.write_text(
        "import torch, json, numpy as np\nfrom regraft import Dataset\nimport not_there"
    )
    with pytest.raises(BackboneError, match="not_there"):
        local.code(f"{file}:tiny")
    file.write_text(f"{file.read_text().replace('import not_there', '')}")
    assert local.code(f"{file}:tiny") == file_sha256(file)
    json = sys.modules["json"].__file__
    assert json and local.code("json:loads") == file_sha256(Path(json))


def test_the_packages_of_a_module_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nets_of_mine").mkdir()
    (tmp_path / "nets_of_mine/__init__.py").write_text("")
    (tmp_path / "nets_of_mine/one.py").write_text("def tiny():\n    from nets_of_mine import two")
    (tmp_path / "nets_of_mine/two.py").write_text("this is (broken")
    found = {local.code("nets_of_mine.one:tiny")}
    for name in ("__init__", "two"):
        (tmp_path / f"nets_of_mine/{name}.py").write_text("# changed")
        found.add(local.code("nets_of_mine.one:tiny"))
    assert len(found) == 3
