"""Promises of the project as a whole: its face, its pins, what it never does."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import regraft
from regraft.cli import app

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

# Put together here, so that this file does not name them either.
HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("pytorch", "org/whl"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("debian", "org"),
    ]
]

# Whoever can load a pickle can be made to run what is in it.
BANNED_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal"}
BANNED_MODULES |= {"shelve", "xml.etree.ElementTree", "xml.dom", "xml.sax"}
BANNED_CALLS = {"eval", "exec", "torch.load", "torch.hub.load", "yaml.load", "numpy.load"}
BANNED_CALLS |= {"np.load", "os.system", "os.popen"}
# The body of the throw-away process that turns others' files into safetensors.
MAY_LOAD_WEIGHTS = {"src/regraft/backbones/checkpoints.py"}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def called(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def banned(source: str) -> set[str]:
    tree = ast.parse(source)
    modules = {
        name
        for name in imported(tree)
        if any(name == bad or name.startswith(f"{bad}.") for bad in BANNED_MODULES)
    }
    keywords = {
        keyword.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg in ("trust_remote_code", "allow_pickle")
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
    }
    loads = {name for name in imported(tree) if name in BANNED_CALLS}
    return modules | keywords | loads | (called(tree) & BANNED_CALLS)


def test_the_public_names_stay_as_they_are() -> None:
    assert regraft.__all__ == sorted(regraft.__all__)
    assert set(regraft.__all__) == set(
        "Backbone Dataset Fitted Interrupted Preprocessing Problem Recipe RegraftError Sample Stage"
        " Pretrained backbone check_backbone check_objective check_reader check_task convert"
        " demo evaluate fit inspect labels load predict pretrain report review".split()
    )
    assert dir(regraft) == regraft.__all__


@pytest.mark.parametrize("name", regraft.__all__)
def test_every_public_name_is_there_with_a_docstring(name: str) -> None:
    assert getattr(regraft, name).__doc__


@pytest.mark.parametrize(
    "verb", ["fit", "predict", "evaluate", "inspect", "labels", "report", "demo"]
)
def test_a_verb_stays_a_function_whatever_else_is_imported(verb: str) -> None:
    for path in SOURCES:
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        importlib.import_module(".".join(parts).removesuffix(".__init__"))
    assert callable(getattr(regraft, verb))


def test_every_verb_is_a_function_but_for_two_which_are_modules() -> None:
    functions = {command.callback.__name__ for command in app.registered_commands}
    assert functions <= set(regraft.__all__)
    assert {group.name for group in app.registered_groups} == {"backbones", "cache"}
    page = (ROOT / "docs/python.md").read_text()
    for module, names in re.findall(r"^\| `(regraft\.[a-z.]+)`: (.*?) \|", page, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            assert callable(getattr(importlib.import_module(module), name))


def test_types_are_marked_as_there() -> None:
    assert (Path(regraft.__file__).parent / "py.typed").is_file()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        regraft.train  # noqa: B018


def test_importing_regraft_imports_nothing_else() -> None:
    code = "import sys; old = set(sys.modules); import regraft; print(*set(sys.modules) - old)"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert {name for name in listed.stdout.split() if name.startswith("regraft")} == {"regraft"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_runs_what_it_reads(path: Path) -> None:
    found = banned(path.read_text())
    if str(path.relative_to(ROOT)) in MAY_LOAD_WEIGHTS:
        found.discard("torch.load")
    assert found == set()


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "torch.load(path)",
        "from torch import load",
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "timm.create_model(name, trust_remote_code=True)",
    ],
)
def test_the_search_for_what_runs_what_it_reads_finds_it(source: str) -> None:
    assert banned(source)


def test_weights_are_loaded_as_weights_only() -> None:
    for name in MAY_LOAD_WEIGHTS:
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert given["weights_only"] == "True"


def test_no_file_names_the_host_of_a_registry() -> None:
    for path in tracked():
        if path.is_file() and path.suffix != ".png":
            text = path.read_text(errors="replace").lower()
            assert not [host for host in HOSTS if host in text], path


def test_no_data_and_nothing_large_is_tracked() -> None:
    for path in tracked():
        assert path.suffix not in {".jpg", ".jpeg", ".pt", ".pth", ".safetensors", ".parquet"}
        assert not path.is_file() or path.stat().st_size < 1_000_000, path


def pins() -> dict[str, list[str]]:
    """Name to the versions that constraints.txt allows; every one has hashes."""
    entries = re.split(r"(?<!\\)\n", (ROOT / "constraints.txt").read_text().strip())
    found: dict[str, list[str]] = {}
    for entry in entries:
        name, version = re.match(r"([a-z0-9-]+)==(\S+)", entry).groups()
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name
        found.setdefault(name, []).append(version)
    return found


def test_every_dependency_is_pinned_with_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    wanted += project["build-system"]["requires"] + project["dependency-groups"]["setup"]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    names = {re.match(r"[A-Za-z0-9-]+", line).group().lower() for line in wanted}
    assert names <= set(pins())
    assert not any("+" in version for versions in pins().values() for version in versions)


def test_what_is_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = ("labels", "text", "detection", "ultralytics", "video")
    lines = [*project["dependencies"], *(line for name in wanted for line in extras[name])]
    declared = {re.match(r"[A-Za-z0-9-]+", line).group() for line in lines}
    packages = importlib.metadata.packages_distributions()
    modules = {
        name.split(".")[0] for path in SOURCES for name in imported(ast.parse(path.read_text()))
    }
    for module in modules - set(sys.stdlib_module_names) - {"regraft"}:
        names = packages.get(module, [module])  # an extra that is not installed here
        assert {name.lower().replace("_", "-") for name in names} & declared, module


def test_what_is_under_the_agpl_is_imported_in_one_place_alone() -> None:
    found = {
        str(path.relative_to(ROOT / "src" / "regraft"))
        for path in SOURCES
        if any(
            name.split(".")[0] == "ultralytics" for name in imported(ast.parse(path.read_text()))
        )
    }
    assert found == {"backbones/ultralytics_models.py"}
    tree = ast.parse((ROOT / "src/regraft/backbones/ultralytics_models.py").read_text())
    assert "ultralytics" not in {n.split(".")[0] for node in tree.body for n in _at_import(node)}


def _at_import(node: ast.stmt) -> set[str]:
    return set() if isinstance(node, ast.FunctionDef | ast.ClassDef) else imported(node)


def test_imports_go_one_way() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    linted = subprocess.run([tool], cwd=ROOT, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout
