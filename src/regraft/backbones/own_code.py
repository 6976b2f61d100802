"""The files that a user's own network is written in: its module's, and those that it imports.

Decisions:

- The module itself counts wherever it lies, what it imports where that is outside the standard
  library, site-packages and regraft.
- What is imported is told from the import statements, in functions too, so that the answer does
  not depend on what is loaded already. What is imported by a name that is only made when the code
  runs is not found.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from regraft.store import digest

_PACKAGES = ("site-packages", "dist-packages")


def sha256_of(module: ModuleType) -> str:
    """The sha256 of a loaded module's file, or over all files where it imports own ones."""
    own = module.__spec__
    assert own is not None, "it was loaded from a file"
    found = {own.name: _source(own)}
    waiting = [*_specs(_imported(own, found[own.name])), *_specs(_parents(own.name))]
    while waiting:
        spec = waiting.pop()
        if spec.name not in found and _is_own_file(spec):
            found[spec.name] = _source(spec)
            waiting += _specs(_imported(spec, found[spec.name]))
    if len(found) == 1:
        return hashlib.sha256(found[own.name]).hexdigest()
    return digest(*(part for name in sorted(found) for part in (name, found[name])))


def _source(spec: ModuleSpec) -> bytes:
    loader: Any = spec.loader
    return loader.get_data(spec.origin)


def _is_own_file(spec: ModuleSpec) -> bool:
    file = Path(spec.origin or "")
    if not file.is_file() or any(name in file.parts for name in _PACKAGES):
        return False
    library = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    places = [*map(Path, library), Path(__file__).parents[1]]
    return not any(file.resolve().is_relative_to(place.resolve()) for place in places)


def _specs(names: Iterator[str]) -> Iterator[ModuleSpec]:
    """Where modules are; of packages that are not the user's nothing is loaded to find out."""
    for name in names:
        with suppress(Exception):  # there is none; or the user's package raises what it likes
            first = importlib.util.find_spec(name.partition(".")[0])
            if first is None or not (first.origin is None or _is_own_file(first)):
                continue
            spec = importlib.util.find_spec(name)
            if spec is not None:
                yield spec


def _imported(spec: ModuleSpec, source: bytes) -> Iterator[str]:
    """The names of modules that a file imports, or may: of `from a import b` a and a.b."""
    try:
        nodes = ast.walk(ast.parse(source))
    except (SyntaxError, ValueError):  # it is compiled, or broken and not needed so far
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (alias.name, *_parents(alias.name))
        elif isinstance(node, ast.ImportFrom) and (base := _whole(node, spec.parent or "")):
            yield from (base, *_parents(base))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _whole(node: ast.ImportFrom, package: str) -> str:
    """What a statement imports from, as seen from anywhere; "" where it is in no package."""
    try:
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:
        return ""


def _parents(name: str) -> Iterator[str]:
    """The packages that a module is in: their code runs before its own."""
    while name := name.rpartition(".")[0]:
        yield name
