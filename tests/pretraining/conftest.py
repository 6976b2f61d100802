from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regraft.backbones import Backbone
from regraft.pretraining import verb
from regraft.store import cache_folder


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {"folder": tmp_path_factory.mktemp("networks")}


@pytest.fixture
def opened_once(known: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """`pretrain` asks a process of its own what a user's file makes; the same text is asked once.

    The file and what was found are kept where they outlive a test.
    """
    plain: Callable[..., Backbone] = verb.open_backbone

    def remembered(name: str, **given: Any) -> Backbone:
        head, _, rest = name.partition("local:")
        path, _, function = rest.rpartition(":")
        if not function:
            return plain(name, **given)
        text = Path(path).read_text()
        key = f"{head} {function} {text}"
        if key not in known:
            kept = known["folder"] / f"network{len(known)}.py"
            kept.write_text(text)
            with monkeypatch.context() as patch:
                patch.setenv("REGRAFT_CACHE", str(known["folder"] / "cache"))
                known[key] = plain(f"{head}local:{kept}:{function}", **given)
        # The network has been named, as far as the test's own cache knows.
        names = Path("backbones", "names")
        shutil.copytree(
            known["folder"] / "cache" / names, cache_folder() / names, dirs_exist_ok=True
        )
        return known[key]

    monkeypatch.setattr(verb, "open_backbone", remembered)
